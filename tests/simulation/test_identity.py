"""What tells runs apart: values, the code of functions and what it refers to."""

import dataclasses
import functools
import sys
import threading
import typing

import numpy as np
import pytest
from support import programs

import chaosphere as cs
from chaosphere.models.protocol import ModelPlan
from chaosphere.noise.activations import Activation
from chaosphere.simulation.identity import check, describe, differences, identify

SCALE = 2.0


def level(t, x, c):
    return np.full(len(x), c)


def scaled(t, x):
    return SCALE * x.mean()


class Level:
    def __init__(self, c):
        self.c = c

    def __call__(self, t, x):
        return self.c

    def method(self, t, x):
        return self.c


@dataclasses.dataclass
class Field:
    c: float

    def __call__(self, t, x):
        return self.c


def closure(c):
    return lambda t, x: c


def default(c):
    return lambda t, x, c=c: c


def decorated(c):
    def wrap(function):
        @functools.wraps(function)
        def wrapped(t, x):
            return c * function(t, x)

        return wrapped

    return wrap(scaled)


def activation(c):
    return cs.MLP(width=4, activation=lambda x: np.tanh(c * x))


def named(c):
    return Activation(name="mine", function=lambda x: np.tanh(c * x), is_odd=True, lipschitz=2.0)


def density(c):
    return cs.laws.Density(function=lambda x: np.full(len(x), c), dim=3, bound=9.0)


MAKERS = [
    functools.partial(functools.partial, level),
    Level,
    Field,
    closure,
    default,
    decorated,
    activation,
    named,
    density,
    lambda c: functools.partial(level, c=c),
    lambda c: Level(c).method,
    lambda c: np.vectorize(closure(c)),
    lambda c: {"a": [closure(c), {c, 7.0}]},
    lambda c: np.array([c, None]),
    lambda c: cs.SoftmaxAttention(beta=c),
    lambda c: float("nan") if c == 1.0 else float("inf"),
]


@pytest.mark.parametrize("make", MAKERS)
def test_what_differs_in_a_value_is_told_apart(make):
    assert describe(make(1.0)) == describe(make(1.0))
    assert describe(make(1.0)) != describe(make(2.0))
    check(describe(make(1.0)), "checkpoint")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (lambda t, x: x.mean(), lambda t, x: x.max()),
        (lambda t, x: [y for y in x if y > 0], lambda t, x: [y for y in x if y > 1]),
        (np.sin, np.cos),
        (len, max),
        (int, float),
    ],
)
def test_what_differs_in_its_code_is_told_apart(a, b):
    assert describe(a) == describe(a)
    assert describe(a) != describe(b)


def test_globals_of_a_function_count(monkeypatch):
    before = describe(scaled)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert differences(before, describe(scaled)) == "globals.SCALE is 2.0, not 3.0"


def test_code_does_not_depend_on_where_it_stands():
    programs = ["f = lambda t, x: x.sum()", "# moved\n\n\nf = lambda t, x: x.sum()"]
    spaces = [{}, {}]
    for program, space in zip(programs, spaces, strict=True):
        exec(compile(program, "program", "exec"), space)
    assert describe(spaces[0]["f"]) == describe(spaces[1]["f"])


def test_what_a_class_inherits_from_the_package_does_not_count(monkeypatch):
    """Such as a docstring that is written anew."""

    class Plan(ModelPlan):
        pass

    def documented(self):
        """Another text."""

    before = describe(Plan)
    documented.__module__ = ModelPlan.__module__
    monkeypatch.setattr(ModelPlan, "describe", documented)
    assert describe(Plan) == before
    Plan.describe = lambda self: None
    assert describe(Plan) != before


def test_what_a_protocol_gives_a_class_does_not_count(monkeypatch):
    """Libraries that are imported later, such as typing_extensions, replace functions that its methods use."""

    class Plan(ModelPlan):
        def advance(self, x, steps, context):
            return x

    def original(arguments):
        return arguments

    original.__module__ = "typing"
    (name,) = {"_collect_parameters", "_collect_type_parameters"} & set(vars(typing))  # before Python 3.13, and since
    monkeypatch.setattr(typing, name, original)
    before = describe(Plan)
    monkeypatch.setattr(typing, name, lambda arguments: arguments)
    assert describe(Plan) == before
    Plan.advance = lambda self, x, steps, context: -x
    assert describe(Plan) != before


def test_another_process_describes_the_same():
    program = (
        "import json, functools, numpy as np\nfrom chaosphere.simulation.identity import describe\n"
        "def level(t, x, c=frozenset('abc')): return {'a', 'b', 'c', str(c)} & set('abc')\n"
        "print(json.dumps(describe({'f': functools.partial(level, c=2), 'g': level, 's': set('abcdef')})))"
    )
    assert programs.run(program, PYTHONHASHSEED="1") == programs.run(program, PYTHONHASHSEED="2")


def test_what_refers_to_itself_is_described():
    item = Level(1.0)
    item.c = item
    assert "(itself)" in str(describe(item))


def test_threads_make_no_other_run():
    energies = [cs.measures.Energy(n_threads=n) for n in (1, 2)]
    assert describe(energies[0]) == describe(energies[1])


def test_a_field_that_came_later_counts_where_it_is_set():
    """Runs that were stored without the field stay those that they were."""
    described = describe(cs.SoftmaxAttention(beta=2.0))
    names = ["beta", "value_scale", "query", "key", "value", "method", "rtol"]
    assert list(described) == ["type", *names]
    low_rank = cs.SoftmaxAttention(beta=2.0, value=np.ones((1, 3)), output=np.ones((3, 1)))
    assert list(describe(low_rank)) == ["type", *names[:5], "output", *names[5:]]


def test_a_version_stands_for_what_cannot_be_described(tmp_path):
    x = cs.sample_uniform(8, 3, rng=0)
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=2, horizon=1.0)
    observe = {"f": closure(threading.Lock())}
    with pytest.raises(TypeError, match=r"checkpoint needs .* observe\.f\.closure\.c cannot .* an attribute `version`"):
        cs.simulate(model, x, rng=0, observe=observe, checkpoint=tmp_path / "run.npz")
    assert not list(tmp_path.iterdir())
    observe["f"].version = 1
    assert describe(observe["f"]) == {"name": f"{__name__}.closure.<locals>.<lambda>", "version": 1}


def test_partials_do_not_share_a_store(tmp_path):
    model = cs.Transformer(attention=None, mlp=cs.MLP(width=8), depth=3, horizon=1.0)

    def run(c, store=tmp_path / "s.zarr"):
        observe = {"f": functools.partial(level, c=c)}
        data = cs.ensemble(model, cs.laws.Uniform(dim=3), n_tokens=5, seeds=range(3), observe=observe, store=store)
        return data["f"].values[0, 0]

    assert run(1.0) == run(1.0) == 1.0
    with pytest.raises(ValueError, match=r"another study: observe.f.keywords.c is 1.0, not 2.0"):
        run(2.0)


@dataclasses.dataclass
class Own:
    """Says what tells it from others where it has a name."""

    name: str
    values: tuple

    def identity_facts(self):
        return {"name": self.name, "values": self.values} if self.name else NotImplemented


def test_an_object_says_itself_what_tells_it_apart():
    assert describe(Own("a", (1, np.float64(2.0)))) == {"name": "a", "values": [1, 2.0]}
    assert describe(Own("", (1,)))["type"] == "Own"
    assert describe(Own)["class"].endswith("Own")


def test_an_identity_holds_parts_seeds_and_installation():
    seed = np.random.SeedSequence(5, spawn_key=(1, 2))
    alone = identify({"beta": 1.0, "depths": (2, 3)}, sequences=[seed], with_installation=False)
    assert alone == {"beta": 1.0, "depths": [2, 3], "entropy": "5", "spawn_key": "(1, 2)", "stream_version": 2}
    several = identify({}, sequences=[seed, np.random.SeedSequence(6)])
    assert (several["entropy"], several["spawn_key"]) == ("[5, 6]", "[(1, 2), ()]")
    assert {"chaosphere", "numpy", "instruction_set"} < several.keys()


def test_a_value_of_none_differs_from_one_that_is_missing():
    """As where a version adds a field: the message names it."""
    stored, expected = {"model": {"beta": 1.0}}, {"model": {"beta": 1.0, "output": None}}
    assert differences(stored, expected) == "model.output is missing, not null"
    assert differences(expected, stored) == "model.output is null, not missing"
    assert differences(stored, stored) == ""
