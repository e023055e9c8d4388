"""What observables may do, what they may return, and what they may be called."""

import dataclasses

import numpy as np
import pytest

import chaosphere as cs

MODEL = cs.Transformer(attention=cs.SoftmaxAttention(beta=1.0), mlp=cs.MLP(width=8), depth=6, horizon=1.0)


@pytest.fixture
def x():
    return cs.sample_uniform(8, 3, rng=0)


def sort(t, x):
    x.sort(axis=0)
    return x[4]


@pytest.mark.parametrize("n_replicas", [None, 2])
def test_the_state_cannot_be_changed_from_an_observable(n_replicas):
    x = cs.sample_uniform(8, 3, rng=0, n_replicas=n_replicas)
    before = x.copy()
    with pytest.raises(ValueError, match="read-only"):
        cs.simulate(MODEL, x, rng=0, observe={"m": sort})
    assert np.array_equal(x, before)
    assert x.flags.writeable
    sol = cs.simulate(MODEL, x, rng=0, observe={"m": lambda t, y: np.sort(y, axis=0)[..., 4, :]})
    assert np.array_equal(sol.final, cs.simulate(MODEL, x, rng=0).final)
    assert sol.final.flags.writeable


def test_the_state_cannot_be_changed_from_a_trajectory(x):
    states = [tokens for _, tokens in cs.trajectory(MODEL, x, rng=0)]
    for tokens in states:
        with pytest.raises(ValueError, match="read-only"):
            tokens += 1
    assert np.array_equal(states[-1], cs.simulate(MODEL, x, rng=0).final)
    assert x.flags.writeable


def test_an_observable_that_keeps_its_tokens_keeps_those_of_its_time(x):
    kept = []
    sol = cs.simulate(MODEL, x, rng=0, observe={"x0": lambda t, y: kept.append(y) or y[0]})
    for tokens, value in zip(kept, sol.observables["x0"], strict=True):
        assert np.array_equal(tokens[0], value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "NoneType"),
        ({"a": 1.0}, "dict"),
        ("text", "<U4"),
        ([[1.0], [1.0, 2.0]], "list"),
        (np.array([1.0, None]), "ndarray"),
        (np.datetime64("2026-01-01"), "datetime64"),
    ],
)
@pytest.mark.parametrize("from_time", [0.0, 0.5])
def test_what_is_no_number_is_refused_at_its_step(x, tmp_path, value, kind, from_time):
    """Also late in the run; the checkpoint then holds all before it and is continued with a mended observable."""
    path = tmp_path / "run.npz"

    def log(t, tokens):
        return value if t >= from_time else 1.0

    def mended(t, tokens):
        return 1.0

    log.version = mended.version = 1
    step = 0 if from_time == 0 else 3
    with pytest.raises(TypeError, match=rf"observe\['log'\] must return a number .*, got {kind}.* at step {step} "):
        cs.simulate(MODEL, x, rng=0, observe={"log": log}, checkpoint=path)
    if from_time:
        mended.__qualname__, mended.__module__ = log.__qualname__, log.__module__
        with np.load(path) as saved:
            assert int(saved["step"]) == 2
        sol = cs.simulate(MODEL, x, rng=0, observe={"log": mended}, checkpoint=path)
        assert sol.observables["log"].tolist() == [1.0] * 7
        assert np.array_equal(sol.final, cs.simulate(MODEL, x, rng=0).final)


def test_a_shape_that_changes_is_refused_at_its_step_and_the_checkpoint_kept(x, tmp_path):
    path = tmp_path / "run.npz"
    message = (
        r"observe\['n'\] must return arrays of one shape, got \(4,\) at step 4 \(time 0.666667\) and \(3,\) before"
    )
    with pytest.raises(ValueError, match=message):
        cs.simulate(MODEL, x, rng=0, observe={"n": lambda t, y: np.ones(3 if t < 0.6 else 4)}, checkpoint=path)
    with np.load(path) as saved:
        assert int(saved["step"]) == 3
        assert saved["observable_0"].shape == (4, 3)


@pytest.mark.parametrize("name", ["x", "token", "coordinate", "time", "state_time", "replica"])
def test_names_of_the_states_are_refused_before_the_run(x, name):
    def never(t, tokens):
        raise AssertionError("ran")

    with pytest.raises(ValueError, match=rf"observe\['{name}'\] must have another name"):
        cs.simulate(MODEL, x, rng=0, observe={name: never})


def test_names_of_axes_are_refused(x):
    mean = {"a": lambda t, y: y.mean(axis=0), "a_0": lambda t, y: 0.0}
    with pytest.raises(ValueError, match=r"observe\['a_0'\] .* that of an axis of observe\['a'\]"):
        cs.simulate(MODEL, x, rng=0, observe=mean)
    data = cs.simulate(MODEL, x, rng=0, observe={"a": mean["a"], "b_0": mean["a_0"]}).to_xarray()
    assert data["x"].ndim == 3
    assert data["a"].dims == ("time", "a_0")


@pytest.mark.parametrize(
    ("observe", "message"),
    [
        (["energy"], r"observe must be a mapping of names to functions of \(time, tokens\), got \['energy'\]"),
        (
            {"r": cs.measures.order_parameter},
            r"observe\['r'\] must be callable on \(time, tokens\), got order_parameter",
        ),
        ({"r": lambda x: x.mean()}, r"observe\['r'\] must be callable on \(time, tokens\), got <lambda>\(x\)"),
        ({1: sort}, r"observe must have names that are text, got 1"),
        ({"r": "energy"}, r"observe\['r'\] must be callable on \(time, tokens\), got 'energy'"),
    ],
)
def test_what_is_no_observable_is_refused(x, observe, message):
    with pytest.raises(TypeError, match=message):
        cs.simulate(MODEL, x, rng=0, observe=observe)


def test_errors_of_an_observable_are_its_own(x):
    def broken(t, tokens):
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine") as caught:
        cs.simulate(MODEL, x, rng=0, observe={"r": broken})
    assert str(caught.value) == "mine"
    with pytest.raises(TypeError, match=r"^mine\nin observe\['r'\] at time 0, before the run"):
        cs.ensemble(MODEL, cs.laws.Uniform(dim=3), seeds=[3], n_tokens=5, observe={"r": broken})


def late(t, x):
    if t > 0.4:
        raise KeyError("a")
    return x[..., 0].mean(axis=-1)


class LateOfRadii:
    def of_state(self, time, tokens, radii):
        return late(time, tokens)


class LateOfOwn(cs.measures.TokenMean):
    __slots__ = ()

    def of_own(self, time, tokens, *, partition):
        return late(time, tokens)


class LateOfOwnState(cs.measures.RadiusMoment):
    __slots__ = ()

    def of_own_state(self, time, tokens, radii, *, partition):
        return late(time, tokens)


class Alone:
    """A communicator of one process."""

    def Get_rank(self):
        return 0

    def Get_size(self):
        return 1

    def Allreduce(self, own, total):
        total[:] = own

    def Allgatherv(self, own, parts):
        parts[0][:] = own.ravel()

    def allgather(self, value):
        return [value]

    def allreduce(self, value, op):
        return value

    def bcast(self, value, root=0):
        return value

    def Bcast(self, value, root):
        pass


@pytest.mark.parametrize(
    ("observable", "is_shared"),
    [
        (late, False),
        (LateOfRadii(), False),
        (LateOfOwn(function=lambda x: x), True),
        (LateOfOwnState(power=1), True),
    ],
)
def test_an_error_of_an_observable_names_it_and_its_step(x, observable, is_shared):
    model = dataclasses.replace(MODEL, normalization="peri")
    start = cs.laws.Sample(law=cs.laws.Uniform(dim=3), n_tokens=8, rng=0) if is_shared else x
    with pytest.raises(KeyError) as caught:
        cs.simulate(model, start, rng=0, observe={"first": observable}, comm=Alone() if is_shared else None)
    assert caught.value.args == ("a",)
    assert caught.value.__notes__ == ["in observe['first'] at step 3 (time 0.5)"]


def test_an_error_of_an_observable_in_an_ensemble_names_the_runs_too():
    with pytest.raises(KeyError) as caught:
        cs.ensemble(MODEL, cs.laws.Uniform(dim=3), seeds=[3, 4], n_tokens=5, observe={"first": late}, n_threads=1)
    assert caught.value.__notes__ == [
        "in observe['first'] at step 3 (time 0.5)",
        "in the runs with no swept parameter and seeds 3 … 4",
    ]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    why: str


def frozen(time, x):
    if time > 0:
        raise Frozen("mine")
    return [0.0] * len(x)


def test_an_error_whose_attributes_cannot_be_set_is_raised(x, tmp_path):
    of_step = "in observe['first'] at step 1 (time 0.166667)"
    for options in ({}, {"comm": Alone()}, {"checkpoint": tmp_path / "run.npz"}):
        with pytest.raises(Frozen, match="mine") as caught:
            cs.simulate(MODEL, x, rng=0, observe={"first": frozen}, **options)
        assert caught.value.__notes__ == [of_step]
    for options in ({}, {"store": tmp_path / "study.zarr"}):
        with pytest.raises(Frozen, match="mine") as caught:
            cs.ensemble(MODEL, x, seeds=[3], observe={"first": frozen}, n_threads=1, **options)
        assert caught.value.__notes__ == [of_step, "in the runs with no swept parameter and seeds 3 … 3"]
