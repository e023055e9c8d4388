"""A valid call of every public function, and arguments that are not what they should be.

The rules: what is refused is refused by a TypeError or ValueError, or an exception that the docstring lists under
Raises (a MemoryError where a huge number was put in); what is accepted gives finite numbers and leaves its arguments
alone; nothing crashes, and nothing takes longer than LIMIT seconds.
"""

import decimal
import fractions
import functools
import inspect
import os
import re
import types
from dataclasses import fields, is_dataclass

import numpy as np
from worker import Fault

import chaosphere as cs

LIMIT = 20
X = cs.sample_uniform(8, 3, rng=0)
BATCH = cs.sample_uniform(8, 3, rng=1, n_replicas=2)
CIRCLE = cs.sample_uniform(8, 2, rng=0)
P = np.arange(1.0, 9.0) / 36
ATTENTION = cs.SoftmaxAttention(beta=2.0)
MLP = cs.MLP(width=8, activation="tanh", bias_std=0.3)
KERNEL = MLP.kernel(3)
FIELD = cs.GaussianField(kernel=KERNEL)
MODEL = cs.Transformer(attention=ATTENTION, mlp=MLP, depth=4, horizon=1.0)
SDE = cs.LimitSDE(attention=ATTENTION, field=FIELD, horizon=1.0, n_steps=4)
CIRCLE_SDE = cs.LimitSDE(attention=ATTENTION, field=cs.GaussianField(kernel=MLP.kernel(2)), horizon=0.1, n_steps=4)
LAWS = (cs.laws.Uniform, cs.laws.VonMisesFisher, cs.laws.Mixture, cs.laws.Density)
UNIFORM, VMF = cs.laws.Uniform(dim=3), cs.laws.VonMisesFisher(mean_direction=(0.0, 0.6, 0.8), concentration=2.0)
MIXTURE = cs.laws.Mixture(components=(UNIFORM, VMF), proportions=(0.25, 0.75))
DENSITY = cs.laws.Density(function=lambda x: 1 + x[:, 0], dim=3, bound=2.0)
LAYER = MLP.draw(3, rng=np.random.default_rng(0))
NUMBERS = {name: getattr(LAYER, name) for name in ("u", "w", "b", "c", "activation", "weight_std")}
LIMITED = cs.CircleDensity(model=CIRCLE_SDE, law=cs.laws.Uniform(dim=2), n_modes=64)
MEAN_FIELD = cs.MeanField(model=MODEL, law=UNIFORM, n_nodes=60)
SQUARE = {"query": np.eye(3), "key": 2 * np.eye(3)}
COSINES = np.linspace(-1, 1, 5)
PAIR = {"kernel": KERNEL, "beta": 1.0, "value_scale": 0.5}
CLOUDS = {"x": X, "y": X[:5].copy(), "x_weights": P, "y_weights": None}
SYNCHRONIZING = cs.CovarianceKernel.from_activation("relu", dim=3)


def observe(time, x):
    return cs.measures.order_parameter(x)


# What is called, and with which arguments: each of them in turn is replaced.
CALLS = {
    "MLP": (cs.MLP, {"width": 8, "activation": "tanh", "bias_std": 0.1, "output_bias_std": 0.1, "weight_std": 0.5}),
    "MLP.kernel": (MLP.kernel, {"dim": 3}),
    "MLP.draw": (MLP.draw, {"dim": 3, "rng": np.random.default_rng(0)}),
    "MLPLayer": (cs.MLPLayer, NUMBERS),
    "MLPLayer.__call__": (LAYER, {"x": X, "n_threads": 1}),
    "SoftmaxAttention": (cs.SoftmaxAttention, {"beta": 1.0, "value_scale": 1.0, "method": "auto", "rtol": None}),
    "SoftmaxAttention (matrices)": (cs.SoftmaxAttention, SQUARE | {"value": np.eye(3), "method": "direct"}),
    "SoftmaxAttention.resolve": (ATTENTION.resolve, {"n_tokens": 1000, "dim": 3, "dtype": "float64"}),
    "SoftmaxAttention.__call__": (ATTENTION, {"x": X, "weights": P, "n_threads": 1}),
    "SoftmaxAttention.evaluate": (ATTENTION.evaluate, {"x": X, "weights": P, "n_threads": 1}),
    "CovarianceKernel.from_activation": (
        cs.CovarianceKernel.from_activation,
        {"activation": "tanh", "dim": 3, "bias_std": 0.1, "output_bias_std": 0.0, "weight_std": 1.0},
    ),
    "CovarianceKernel.from_spectrum": (
        cs.CovarianceKernel.from_spectrum,
        {"coefficients": np.array([0.5, 0.25]), "dim": 3},
    ),
    "CovarianceKernel.from_function": (cs.CovarianceKernel.from_function, {"kappa": np.exp, "dim": 3}),
    "CovarianceKernel.__call__": (KERNEL, {"u": COSINES}),
    "CovarianceKernel.derivative": (KERNEL.derivative, {"u": COSINES}),
    "CovarianceKernel.difference_quotient": (KERNEL.difference_quotient, {"u": COSINES}),
    "CovarianceKernel.scaled": (KERNEL.scaled, {"noise_scale": 2.0}),
    "CovarianceKernel.spectrum": (KERNEL.spectrum, {"n_max": 4}),
    "CovarianceKernel.spectrum_tail": (KERNEL.spectrum_tail, {"n_max": 4}),
    "CovarianceKernel.lyapunov_exponent": (KERNEL.lyapunov_exponent, {}),
    "CovarianceKernel.lambda_bar": (KERNEL.lambda_bar, {}),
    "CovarianceKernel.dissipation_function": (KERNEL.dissipation_function, {"beta": 1.0, "u": COSINES[:-1]}),
    "CovarianceKernel.dissipation_rate": (KERNEL.dissipation_rate, {"beta": 1.0}),
    "CovarianceKernel.best_beta": (KERNEL.best_beta, {"epsilon": 0.0}),
    "CovarianceKernel.critical_noise_scale": (KERNEL.critical_noise_scale, {"value_scale": 1.0}),
    "CovarianceKernel.synchronizes": (SYNCHRONIZING.synchronizes, {}),
    "GaussianField": (cs.GaussianField, {"kernel": KERNEL, "method": "auto", "tolerance": 1e-6, "width": 64}),
    "GaussianField.resolve": (FIELD.resolve, {"n_tokens": 100}),
    "GaussianField.basis": (FIELD.basis, {}),
    "Transformer": (
        cs.Transformer,
        {"attention": ATTENTION, "mlp": MLP, "depth": 4, "horizon": 1.0, "noise_scale": 1.0, "n_fine_steps": 1},
    ),
    "Transformer.coarsen": (MODEL.coarsen, {"factor": 2}),
    "LimitSDE": (
        cs.LimitSDE,
        {
            "attention": ATTENTION,
            "field": FIELD,
            "horizon": 1.0,
            "n_steps": 4,
            "scheme": "heun",
            "temperature": 0.0,
            "n_fine_steps": 1,
        },
    ),
    "LimitSDE.coarsen": (SDE.coarsen, {"factor": 2}),
    "MeanField": (cs.MeanField, {"model": MODEL, "law": UNIFORM, "n_nodes": 60}),
    "MeanField.start": (MEAN_FIELD.start, {"passive": X}),
    "CircleDensity": (cs.CircleDensity, {"model": CIRCLE_SDE, "law": cs.laws.Uniform(dim=2), "n_modes": 64}),
    "CircleDensity.solve": (LIMITED.solve, {"rng": 0, "save_at": [0.1], "n_replicas": None, "n_threads": 1}),
    "DensitySolution.density": (LIMITED.solve(rng=0).density, {"angles": np.arange(3.0)}),
    "Checkpoint": (cs.Checkpoint, {"path": "c.npz", "every_steps": 2, "every_seconds": 1.0, "keep": False}),
    "Solution.to_xarray": (cs.simulate(MODEL, X, rng=0, observe={"r": observe}).to_xarray, {}),
    "normalize": (cs.normalize, {"x": X}),
    "sample_uniform": (cs.sample_uniform, {"n_tokens": 8, "dim": 3, "rng": 0, "n_replicas": 2}),
    "sample_von_mises_fisher": (
        cs.sample_von_mises_fisher,
        {"n_tokens": 8, "mean_direction": X[0], "concentration": 2.0, "rng": 0, "n_replicas": None},
    ),
    "show_config": (cs.show_config, {}),
    "simulate": (
        cs.simulate,
        {
            "model": MODEL,
            "x": X,
            "rng": 0,
            "save_at": np.array([0.5, 1.0]),
            "observe": {"r": observe},
            "shared_noise": False,
            "n_threads": 1,
            "save_states": True,
            "progress": False,
            "checkpoint": None,
        },
    ),
    "simulate (SDE)": (cs.simulate, {"model": SDE, "x": BATCH, "rng": [0, 1], "save_at": None, "n_threads": 1}),
    "trajectory": (
        lambda model, **options: list(cs.trajectory(model, **options)),
        {"model": MODEL, "x": X, "rng": 0, "shared_noise": False, "n_threads": 1, "first_step": 0},
    ),
    "ensemble": (
        cs.ensemble,
        {
            "model": MODEL,
            "x0": UNIFORM,
            "seeds": [0, 1],
            "observe": {"r": observe},
            "sweep": None,
            "n_tokens": 8,
            "save_at": None,
            "executor": None,
            "n_threads": 1,
            "store": None,
            "memory_limit": None,
            "progress": False,
        },
    ),
    "ensemble (sweep)": (
        cs.ensemble,
        {
            "model": lambda beta: cs.Transformer(
                attention=cs.SoftmaxAttention(beta=beta), mlp=MLP, depth=2, horizon=1.0
            ),
            "x0": X,
            "seeds": [0, 1],
            "observe": {"r": observe},
            "sweep": {"beta": [1.0, 2.0]},
        },
    ),
    "load_ensemble": (cs.load_ensemble, {"store": "no.zarr"}),
    "laws.Uniform": (cs.laws.Uniform, {"dim": 3}),
    "laws.VonMisesFisher": (cs.laws.VonMisesFisher, {"mean_direction": (0.0, 0.6, 0.8), "concentration": 2.0}),
    "laws.Mixture": (cs.laws.Mixture, {"components": (UNIFORM, VMF), "proportions": (0.25, 0.75)}),
    "laws.Density": (cs.laws.Density, {"function": lambda x: 1 + x[:, 0], "dim": 3, "bound": 2.0}),
    "laws.quadrature": (cs.laws.quadrature, {"law": VMF, "n_nodes": 60}),
    "measures.Energy": (cs.measures.Energy, {"beta": 1.0, "n_threads": 1}),
    "measures.energy": (cs.measures.energy, {"x": X, "beta": 1.0, "weights": P, "n_threads": 1}),
    "measures.cosine_histogram": (cs.measures.cosine_histogram, {"x": X, "n_bins": 9, "weights": P, "n_threads": 1}),
    "measures.power_spectrum": (cs.measures.power_spectrum, {"x": X, "n_max": 4, "weights": P, "n_threads": 1}),
    "measures.pair_fraction": (cs.measures.pair_fraction, {"x": X, "above": 0.5}),
    "measures.cluster_count": (cs.measures.cluster_count, {"x": X, "tolerance": 0.5}),
    "measures.cluster_labels": (cs.measures.cluster_labels, {"x": X, "tolerance": 0.5}),
    "measures.cluster_sizes": (cs.measures.cluster_sizes, {"x": X, "tolerance": 0.5, "n_largest": 3}),
    "measures.pairwise_cosines": (cs.measures.pairwise_cosines, {"x": X}),
    "measures.lyapunov_exponent": (
        cs.measures.lyapunov_exponent,
        {"model": MODEL, "x": X, "rng": 0, "separation": 1e-7, "n_replicas": None, "n_threads": 1},
    ),
    "measures.circular_wasserstein2": (
        cs.measures.circular_wasserstein2,
        {"x": CIRCLE, "y": CIRCLE[:5].copy(), "x_weights": P, "y_weights": None},
    ),
    "measures.coupled_distance": (cs.measures.coupled_distance, {"x": X, "y": X[::-1].copy(), "weights": P}),
    "measures.entropic_wasserstein2": (
        cs.measures.entropic_wasserstein2,
        CLOUDS | {"regularization": 0.5, "tolerance": 1e-6, "max_sweeps": 1000, "n_threads": 1},
    ),
    "measures.mmd": (cs.measures.mmd, CLOUDS | {"beta": 1.0, "n_threads": 1}),
    "measures.sliced_wasserstein2": (cs.measures.sliced_wasserstein2, CLOUDS | {"n_projections": 6, "rng": 0}),
    "measures.sobolev": (cs.measures.sobolev, CLOUDS | {"order": 1.0, "n_max": 8}),
    "measures.wasserstein2": (cs.measures.wasserstein2, CLOUDS),
    "stats.effective_replicas": (cs.stats.effective_replicas, {"values": P}),
    "stats.exponent_interval": (
        cs.stats.exponent_interval,
        {"x": P, "mean_squares": np.outer(P, P), "weights": P, "confidence": 0.9},
    ),
    "stats.mean_interval": (
        cs.stats.mean_interval,
        {"values": P, "confidence": 0.9, "at_least": 0.0, "at_most": 1.0},
    ),
    "stats.median_interval": (cs.stats.median_interval, {"values": P, "confidence": 0.9}),
    "stats.probability_interval": (cs.stats.probability_interval, {"outcomes": P > 0.1, "confidence": 0.9}),
    "stats.quantile_interval": (cs.stats.quantile_interval, {"values": P, "q": 0.5, "confidence": 0.9}),
    "stats.ratio_interval": (
        cs.stats.ratio_interval,
        {"numerator": P, "denominator": P[::-1].copy(), "confidence": 0.9},
    ),
    "stats.root_mean_square_interval": (
        cs.stats.root_mean_square_interval,
        {"mean_squares": P, "confidence": 0.9},
    ),
    "two_point.expectation": (cs.two_point.expectation, PAIR | {"f": np.square, "t": 0.5, "u0": 0.3}),
    "two_point.solve": (cs.two_point.solve, PAIR | {"f": np.square, "t": np.array([0.1, 0.5]), "u0": "uniform"}),
    "two_point.energy_ratio": (cs.two_point.energy_ratio, PAIR | {"t": 0.5, "u0": 0.3}),
    "two_point.hitting_probabilities": (
        cs.two_point.hitting_probabilities,
        {"kernel": SYNCHRONIZING, "u0": COSINES, "beta": 1.0, "value_scale": 0.5},
    ),
    "two_point.long_time": (cs.two_point.long_time, PAIR),
    "two_point.stationary_density": (
        cs.two_point.stationary_density,
        {"kernel": KERNEL, "u": COSINES[1:-1], "beta": 1.0, "value_scale": -0.5},
    ),
}
CALLS["coupled_run"] = (
    cs.coupled_run,
    {
        "model": MODEL,
        "x": X,
        "rng": 0,
        "refinement": 2,
        "tolerance": 1e-3,
        "save_at": None,
        "observe": {"r": observe},
        "n_threads": 1,
        "save_states": True,
        "progress": False,
        "checkpoint": None,
    },
)
for _name in ("mean_vector", "order_parameter", "mean_direction", "mean_cosine"):
    CALLS[f"measures.{_name}"] = (getattr(cs.measures, _name), {"x": X, "weights": P})
for _name, _law in {"Uniform": UNIFORM, "VonMisesFisher": VMF, "Mixture": MIXTURE, "Density": DENSITY}.items():
    CALLS[f"laws.{_name}.sample"] = (_law.sample, {"n_tokens": 8, "rng": 0, "n_replicas": None})
    CALLS[f"laws.{_name}.density"] = (_law.density, {"x": X})

# Results and exceptions, which the library makes itself, and methods for tokens that are checked already.
NOT_CALLED = {
    "AttentionResult",
    "CoupledRun",
    "DensitySolution",
    "Interrupted",
    "SimulationError",
    "Solution",
    "CovarianceKernel",
}
NOT_CALLED |= {"UnresolvedDensityError", "laws.Law", "laws.Quadrature", "two_point.LongTime"}
NOT_CALLED |= {
    "two_point.HittingProbabilities",
    "two_point.PairSolution",
    "laws",
    "measures",
    "plot",
    "stats",
    "measures.LyapunovEstimate",
    "stats.CONFIDENCE",
    "stats.FEWEST_REPLICAS",
    "stats.Interval",
    "two_point",
}
# Where the docstring says that a value may be NaN.
MAY_BE_NAN = {"CovarianceKernel.critical_noise_scale", "two_point.long_time"} | {
    name for name in CALLS if name.startswith("stats.")
}


def public_names():
    """Every name that a user may call, as in the keys of CALLS."""
    names = set(cs.__all__)
    for module in (cs.laws, cs.measures, cs.stats, cs.two_point):
        names |= {f"{module.__name__.split('.')[-1]}.{name}" for name in module.__all__}
    return names


class Odd:
    """An object of a stranger's class."""

    def __repr__(self):
        return "Odd()"


class Path(os.PathLike):
    def __fspath__(self):
        return "no/such/folder/c.npz"


def numbers():
    """Numbers of all types and sizes; by functions, so that no case sees what another did to them."""
    yield from (lambda v=v: v for v in (0, 1, 2, 3, -1, 7, 10**9, 2**31, 2**63, -(2**63), 10**18, 10**30, 10**400))
    yield from (lambda v=v: v for v in (0.0, -0.0, 1.0, 0.5, 2.5, -1.0, np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324))
    yield from (lambda v=v: v for v in (1e-308, 1e-16, 1e16, 700.0, 1e4, 1e9, True, False, None, 1j, "1", b"1", ""))
    yield from (
        lambda v=v: v for v in (decimal.Decimal("0.5"), fractions.Fraction(1, 2), "nan", "auto", "relu", "heun")
    )
    for kind in (
        np.float16,
        np.float32,
        np.float64,
        np.longdouble,
        np.int8,
        np.uint8,
        np.int64,
        np.uint64,
        np.complex64,
    ):
        yield lambda kind=kind: kind(3)
    yield from (lambda: np.float32(0.1), lambda: np.float64(np.nan), lambda: np.bool_(True), lambda: np.str_("relu"))
    yield from (lambda: np.array(1.0), lambda: np.array([1.0]), lambda: np.ma.masked, lambda: np.datetime64("2020"))


def objects():
    """Whatever else may come by mistake."""
    yield from (Odd, lambda: Odd, list, dict, tuple, set, lambda: [1.0], lambda: (0, 1), lambda: {"a": 1}, lambda: [[]])
    yield from (lambda: [None], lambda: ["a", "b"], lambda: range(3), lambda: iter([1, 2]), lambda: slice(None), Path)
    yield from (
        lambda: np.sin,
        lambda: lambda x: None,
        lambda: lambda *a, **k: np.nan,
        lambda: lambda x: x[:0],
        lambda: len,
    )
    yield from (lambda: object(), lambda: NotImplemented, lambda: ..., lambda: np, lambda: np.float64, lambda: types)
    yield from (lambda: np.random.default_rng(0), lambda: np.random.SeedSequence(1), lambda: np.random.RandomState(0))
    yield from (
        lambda: cs.SoftmaxAttention,
        lambda: MODEL,
        lambda: ATTENTION,
        lambda: MLP,
        lambda: KERNEL,
        lambda: UNIFORM,
    )
    yield from (
        lambda: SDE,
        lambda: FIELD,
        lambda: VMF,
        lambda: CIRCLE_SDE,
        lambda: MEAN_FIELD,
        lambda: "a\0b",
        lambda: "é",
    )
    yield from (
        lambda: {"r": observe, "r_mean": observe},
        lambda: {"": observe},
        lambda: {1: observe},
        lambda: [observe],
    )
    yield from (lambda: {"n": lambda t, x: None}, lambda: {"n": lambda t, x: "a"}, lambda: {"n": lambda t, x: np.nan})
    yield from (lambda: {"n": lambda t, x: {}}, lambda: {"n": lambda x: 1.0}, lambda: {"x": observe})
    yield from (lambda: {"n": lambda t, x: np.zeros(int(10 * t))}, lambda: {"n": lambda t, x: x.sort()})


def arrays(value):
    """The same array in other forms, or broken."""
    yield from (lambda: value.tolist(), lambda: tuple(value.tolist()), lambda: np.ma.masked_array(value))
    yield from (
        lambda: np.ma.masked_array(value, value > value.mean()),
        lambda: np.asmatrix(value.reshape(-1, value.shape[-1])),
    )
    for kind in ("f2", "f4", "g", "i8", "u1", "c16", "O", "U", "?", ">f8"):
        yield lambda kind=kind: value.astype(kind)
    yield from (lambda: np.asfortranarray(value), lambda: value[::-1], lambda: value[..., ::-1], lambda: value[:0])
    yield from (
        lambda: value[..., :0],
        lambda: value[..., :1],
        lambda: value[0],
        lambda: value[None],
        lambda: value[None, None],
    )
    yield from (lambda: value * 0, lambda: value * 1e300, lambda: value * 1e-320, lambda: -value, lambda: value * 1.001)
    yield from (
        lambda: np.repeat(value, 3, axis=0),
        lambda: np.stack([value, value]),
        lambda: value.T,
        lambda: value.view(Sub),
    )
    for bad in (np.nan, np.inf, -np.inf, 1e308, 0.0, -1.0):
        yield lambda bad=bad: _with(value, bad)


class Sub(np.ndarray):
    """A subclass that changes no arithmetic."""


def _with(value, bad):
    changed = value.astype(np.float64)
    changed.flat[changed.size // 2] = bad
    return changed


def wrong(value, rng):
    """Something in place of a value."""
    pools = [list(numbers()), list(objects())]
    if isinstance(value, np.ndarray):
        pools += [list(arrays(value))] * 3
    elif isinstance(value, int | float):
        pools += [pools[0]] * 3
        if rng.random() < 0.3:
            return float(10.0 ** rng.uniform(-320, 308) * rng.choice([-1, 1]))
    elif isinstance(value, tuple | list):
        pools += [[lambda: value[:0], lambda: value[:1], lambda: [*value, *value], lambda: [*value, None]]] * 2
        pools += [list(arrays(np.array(value, dtype=object)))] if value and isinstance(value[0], float) else []
    pool = pools[rng.integers(len(pools))]
    return pool[rng.integers(len(pool))]()


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
            arguments[key] = wrong(arguments[key], rng)
        except (TypeError, ValueError):  # this value has no such form
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
    if not allowed & names and not _is_from(error, {__file__}):
        raise error
    text = str(error)
    if not isinstance(error, MemoryError) and not _is_ours(error) and not _is_from(error, {__file__}):
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
    return "chaosphere" in code.co_filename or code.co_filename == __file__


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


def uses(result):
    """What a public object is good for, as calls that follow it."""
    if isinstance(result, cs.SoftmaxAttention):
        yield cs.SoftmaxAttention.evaluate, (result, X)
    elif isinstance(result, cs.MLP) and result.width <= 10**5:
        yield lambda mlp: mlp.draw(3, rng=np.random.default_rng(0))(X), (result,)
        yield lambda mlp: mlp.kernel(3).lyapunov_exponent(), (result,)
    elif isinstance(result, cs.MLPLayer):
        yield cs.MLPLayer.__call__, (result, X)
        yield cs.MLPLayer.__call__, (result, BATCH)
    elif isinstance(result, cs.CovarianceKernel):
        yield lambda k: k(COSINES), (result,)
        yield cs.CovarianceKernel.lyapunov_exponent, (result,)
    elif isinstance(result, cs.Transformer | cs.LimitSDE | cs.MeanField) and result.n_steps <= 10**3:
        x = result.start() if isinstance(result, cs.MeanField) else X
        yield lambda m: cs.simulate(m, x, rng=0).final, (result,)
        yield lambda m: cs.simulate(m, BATCH, rng=0, n_threads=2).final, (result,)
    elif isinstance(result, cs.CircleDensity) and result.n_modes <= 1000:
        yield lambda c: c.solve(rng=0), (result,)
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
