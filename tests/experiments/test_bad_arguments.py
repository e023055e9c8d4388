"""Every argument of the functions that run an experiment: what is of a wrong type or far too large is named."""

import importlib
import inspect
import math
import pkgutil

import pytest

import chaosphere as cs
from chaosphere import experiments
from chaosphere.experiments import pieces
from chaosphere.experiments.cases import Case
from chaosphere.experiments.fluctuations import runs as fluctuations
from chaosphere.experiments.limits import runs as limits

OF_ALL = ("rng", "n_threads", "store", "on_step", "on_part", "on_run")
NUMBERS = ("ten", None, [1, 2], 1j, math.nan, 10**400)


def runs():
    """The functions with an argument `store`, by module, and the module itself."""
    for info in pkgutil.walk_packages(experiments.__path__, experiments.__name__ + "."):
        module = importlib.import_module(info.name)
        function = getattr(module, "run", None)
        is_run = inspect.isfunction(function) and "store" in inspect.signature(function).parameters
        if is_run and function.__module__ == info.name and not info.name.endswith("command"):
            yield info.name.removeprefix(experiments.__name__ + "."), function


def needed(function):
    """What has no default."""
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=2, horizon=0.5)
    several = {"name": "a", "model": model, "law": cs.laws.Uniform(dim=2), "n_nodes": 16}
    case = fluctuations.Case(**several) if function is fluctuations.run else Case(**several, tokens=(16, 32))
    every = {"cases": [case], "mlp": cs.MLP(width=4)}
    if function is limits.run:
        every["attention"] = cs.SoftmaxAttention()
    return {name: every[name] for name in every if name in inspect.signature(function).parameters}


def arguments():
    for name, function in runs():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name in OF_ALL:
                continue
            default = parameter.default
            if isinstance(default, str):
                bad = ("ten", 10**400)
            elif isinstance(default, (int, float)):
                bad = NUMBERS
            elif default is None:
                bad = ("ten", 1j)
            elif default is parameter.empty:
                bad = ("ten", 7, [object()])
            else:
                bad = ("ten", 7, None, [object()])
            for k, value in enumerate(bad):
                yield pytest.param(function, parameter.name, value, id=f"{name}-{parameter.name}-{k}")


@pytest.mark.parametrize(("function", "name", "value"), list(arguments()))
def test_the_argument_is_named(function, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        pieces.check(lambda: function(**needed(function) | {"rng": 0, name: value}))
    text = str(caught.value)
    assert name.rstrip("s") in text
    assert len(text) < 300
