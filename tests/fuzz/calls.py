"""The calls of `call_table` with arguments of `wrong_values`: what is refused, and what comes of the others.

The rules: what is refused is refused by a TypeError or ValueError, or an exception that the docstring lists under
Raises (a MemoryError where a huge number was put in); what is accepted gives finite numbers and leaves its arguments
alone; nothing crashes, and nothing takes longer than LIMIT seconds.
"""

import functools
import inspect
import os
import re
from dataclasses import fields, is_dataclass

import call_table
import numpy as np
import subjects
import wrong_values
from call_table import CALLS, MAY_BE_NAN
from subjects import BATCH, COSINES, LAWS, X
from worker import Fault

import chaosphere as cs

LIMIT = 20
# Here are the functions that a user would write, and `check`, whose call of the library counts as the library.
OWN_FILES = {__file__, call_table.__file__, subjects.__file__, wrong_values.__file__}


def cases(folder):
    os.chdir(folder)
    return case


def case(rng):
    name = list(CALLS)[rng.integers(len(CALLS))]
    function, arguments = CALLS[name]
    arguments = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
    swapped = rng.permutation(list(arguments))[: 1 + (rng.random() < 0.25)] if arguments else []
    for key in swapped:
        try:
            arguments[key] = wrong_values.wrong(arguments[key], rng)
        except (TypeError, ValueError, OverflowError):  # this value has no such form
            continue
    if rng.random() < 0.3:
        for value in arguments.values():
            if type(value) is np.ndarray:
                value.flags.writeable = False
    shown = ", ".join(f"{key}={_short(value)}" for key, value in arguments.items() if key in swapped)
    return f"{name}({shown})", functools.partial(check, name, function, arguments)


def _short(value):
    try:
        text = (
            f"array({value.tolist()!r}, {type(value).__name__}, {value.dtype})"
            if isinstance(value, np.ndarray)
            else repr(value)
        )
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 160 else text[:157] + "…"


def check(name, function, arguments):
    before = {key: _frozen(value) for key, value in arguments.items()}
    try:
        result = function(**arguments)
    except Exception as error:
        _judge(name, function, arguments, error)
        result = None
    for key, value in arguments.items():
        if _frozen(value) != before[key]:
            raise Fault(f"{name}: the argument {key} was changed")
    if name in MAY_BE_NAN:
        return
    bad = not_finite(result)
    if bad:
        raise Fault(f"{name}: not finite: {bad}")
    use(name, result)


def _judge(name, function, arguments, error):
    """Raise unless this exception may come out."""
    allowed = {"TypeError", "ValueError"} | documented(function)
    if any(isinstance(v, int | float) and abs(v) >= 1e9 for v in arguments.values()):
        allowed |= {"MemoryError"}
    names = {cls.__name__ for cls in type(error).__mro__}
    # Functions of the user's own may raise what they like.
    if not allowed & names and not _is_from(error, OWN_FILES):
        raise error
    text = str(error)
    if not isinstance(error, MemoryError) and not _is_ours(error) and not _is_from(error, OWN_FILES):
        raise Fault(f"{name}: {type(error).__name__} from another library: {text[:200]}")
    if not text:
        raise Fault(f"{name}: {type(error).__name__} without a message")


def _frames(error):
    trace, last = error.__traceback__, []
    while trace is not None:
        last.append(trace.tb_frame.f_code)
        trace = trace.tb_next
    return last


def _is_from(error, files):
    """Whether it was raised in one of these files by something other than `check`."""
    code = _frames(error)[-1]
    return code.co_filename in files and code.co_name != "check"


def _is_ours(error):
    """Whether chaosphere raised it, and not a library that it handed an argument to; the signature counts as ours."""
    code = _frames(error)[-1]
    return "chaosphere" in code.co_filename or code.co_filename in OWN_FILES


@functools.cache
def documented(function):
    """The exceptions that a docstring lists under Raises."""
    is_plain = inspect.isroutine(function) or inspect.isclass(function)
    parts = [function] if is_plain else [type(function), type(function).__call__]
    text = " ".join(inspect.getdoc(part) or "" for part in parts)
    raises = re.search(r"Raises\s*\n-+\n(.*?)(\n\n[A-Z][a-z]+\n-+|\Z)", text, re.DOTALL)
    names = [line for line in raises[1].splitlines() if not line.startswith(" ")] if raises else []
    return set(re.findall(r"\w+Error", " ".join(names)))


def _frozen(value):
    """What must not change in an argument."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype, np.asarray(value).tobytes() if value.dtype != object else repr(value))
    if isinstance(value, dict | list):
        return repr(value)
    return None


def not_finite(value, depth=0):
    """Return the first number in a result that is not finite, as text; None if there is none."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
        return None if np.isfinite(value).all() else f"array of shape {value.shape}"
    if isinstance(value, float | np.floating):
        return None if np.isfinite(value) else repr(value)
    if depth > 4:
        return None
    if is_dataclass(value) and not isinstance(value, type):
        items = {f.name: getattr(value, f.name) for f in fields(value) if f.init}.items()
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    elif type(value).__name__ == "Dataset":
        # An interval of one replica is NaN, and so says the docstring of `ensemble`.
        items = {
            name: value[name].values for name in value.data_vars if not str(name).endswith(("_low", "_high"))
        }.items()
    else:
        return None
    for key, item in items:
        bad = not_finite(item, depth + 1)
        if bad:
            return f"{key}: {bad}"
    return None


def is_short(model):
    """Whether a run of a model takes a moment: few steps, and for steps of their own size a short time."""
    is_long = isinstance(model, cs.LimitSDE) and model.scheme == "dormand-prince" and model.horizon > 100
    return model.n_steps <= 10**3 and not is_long


def uses(result):
    """What a public object is good for, as calls that follow it."""
    if isinstance(result, cs.SoftmaxAttention):
        yield cs.SoftmaxAttention.evaluate, (result, X)
    elif isinstance(result, cs.UnnormalizedAttention | cs.PotentialInteraction):
        yield type(result).__call__, (result, X)
        yield type(result).energy, (result, X)
    elif isinstance(result, cs.SinkhornAttention):
        yield cs.SinkhornAttention.evaluate, (result, X)
        yield cs.SinkhornAttention.energy, (result, X)
    elif isinstance(result, cs.MLP) and result.width <= 10**5:
        yield lambda mlp: mlp.draw(3, rng=np.random.default_rng(0))(X), (result,)
        yield lambda mlp: mlp.kernel(3).lyapunov_exponent(), (result,)
    elif isinstance(result, cs.MLPLayer | cs.FixedMLP):
        yield type(result).__call__, (result, X)
        yield type(result).__call__, (result, BATCH)
    elif isinstance(result, cs.CovarianceKernel):
        yield lambda k: k(COSINES), (result,)
        yield cs.CovarianceKernel.lyapunov_exponent, (result,)
    elif isinstance(result, cs.Transformer | cs.LimitSDE | cs.MeanField) and is_short(result):
        x = result.start() if isinstance(result, cs.MeanField) else X
        yield lambda m: cs.simulate(m, x, rng=0).final, (result,)
        yield lambda m: cs.simulate(m, BATCH, rng=0, n_threads=2).final, (result,)
    elif isinstance(result, cs.CircleDensity) and result.n_modes <= 1000:
        yield lambda c: c.solve(rng=0), (result,)
    elif isinstance(result, cs.AxisymmetricDensity) and result.n_modes <= 200:
        yield lambda c: c.solve(), (result,)
    elif isinstance(result, cs.SphereDensity) and result.n_modes <= 40:
        yield lambda s: s.solve(rng=0), (result,)
    elif isinstance(result, cs.GaussianField) and result.width <= 10**5:
        yield (
            lambda f: cs.simulate(cs.LimitSDE(attention=None, field=f, horizon=1.0, n_steps=2), X, rng=0).final,
            (result,),
        )
    elif isinstance(result, LAWS) and result.dim <= 10**5:
        yield lambda law: law.sample(3, rng=0), (result,)
        yield lambda law: law.density(law.sample(2, rng=0)), (result,)


def use(name, result):
    for function, arguments in uses(result):
        try:
            outcome = function(*arguments)
        except (TypeError, ValueError, cs.SimulationError, cs.UnresolvedDensityError):
            continue
        bad = not_finite(outcome)
        if bad:
            raise Fault(f"{name}: its result gives what is not finite: {bad}")
