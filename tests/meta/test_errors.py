"""Every exception of the package survives pickle; a pool of processes waits for ever for one that does not."""

import concurrent.futures
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil

import pytest

import chaosphere as cs


def classes():
    """All exception classes that a module of the package defines, private ones included."""
    names = ["chaosphere", *(m.name for m in pkgutil.walk_packages(cs.__path__, "chaosphere."))]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    members = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    errors = (c for c in members if issubclass(c, BaseException) and c.__module__.startswith("chaosphere"))
    return sorted(errors, key=lambda c: c.__qualname__)


def example(kind):
    """An instance with a value of its own for every argument."""
    try:
        parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    except ValueError:
        parameters = []
    keywords = {p.name: (p.name, k) for k, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY}
    return kind("what went wrong", **keywords)


def test_the_walk_sees_classes_that_are_public_and_that_are_not():
    names = {c.__name__ for c in classes()}
    assert {"SimulationError", "Interrupted", "UnresolvedDensityError"} <= names
    assert {"DegenerateTokenError", "InUseError", "PartitionError"} <= names


@pytest.mark.parametrize("kind", classes(), ids=lambda c: c.__qualname__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_exception_survives_pickle(kind, protocol):
    error = example(kind)
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert again.args == error.args
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def unresolved(concentration):
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=concentration)
    model = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=1.0), field=None, horizon=1.0, n_steps=2)
    return cs.CircleDensity(model=model, law=law, n_modes=16).solve(rng=0).times[-1]


def test_a_worker_s_error_arrives():
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        error = pool.submit(unresolved, 1e4).exception(timeout=120)
    assert isinstance(error, cs.UnresolvedDensityError)
    assert (error.step, error.n_modes) == (0, 128)
    assert "n_modes = 16 does not resolve the density" in str(error)
