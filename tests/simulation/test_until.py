"""Conditions that end a run: when it stops, what it returns, and that a resumed run stops at the same step."""

import math

import numpy as np
import pytest

import chaosphere as cs

ATTENTION = cs.SoftmaxAttention(beta=1.0)
X = cs.sample_uniform(12, 3, rng=0)
FIELD = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
LAW = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
NETWORK = cs.Transformer(attention=ATTENTION, mlp=cs.MLP(width=8), depth=20, horizon=2.0)
MODELS = {
    "network": NETWORK,
    "pre": cs.Transformer(attention=ATTENTION, mlp=None, depth=20, horizon=2.0, normalization="pre"),
    **{
        scheme: cs.LimitSDE(attention=ATTENTION, field=field, horizon=2.0, n_steps=20, scheme=scheme)
        for scheme, field in [
            ("projected-euler", FIELD),
            ("geodesic-euler", FIELD),
            ("heun", FIELD),
            ("split", FIELD),
            ("rk4", None),
        ]
    },
    "own noise": cs.LimitSDE(attention=ATTENTION, field=None, horizon=2.0, n_steps=20, temperature=0.1),
    "mean field": cs.MeanField(model=NETWORK, law=LAW, n_nodes=8),
}


def late(time, tokens):
    return time > 0.65


@pytest.mark.parametrize("name", MODELS)
def test_a_run_stops_with_the_bits_of_a_run_that_does_not(name):
    model = MODELS[name]
    x = model.start() if name == "mean field" else X
    observe = {"mean": lambda time, tokens: cs.measures.mean_vector(tokens)}
    path = [tokens.copy() for _, tokens in cs.trajectory(model, x, rng=0)]
    sol = cs.simulate(model, x, rng=0, until=late, observe=observe)
    assert sol.stopped_at == pytest.approx(0.7)
    assert sol.hitting_times == pytest.approx([0.6, 0.7])
    assert np.array_equal(sol.final, path[7])
    assert np.array_equal(sol.states[0], path[7])
    assert sol.state_times == pytest.approx([0.7])
    assert sol.observables["mean"].shape == (8, 3)
    assert sol.times == pytest.approx(0.1 * np.arange(8))
    assert "stopped at" in str(sol)


def test_saved_states_end_where_the_run_does():
    sol = cs.simulate(NETWORK, X, rng=0, until=late, save_at=[0.1, 0.5, 1.0])
    assert sol.times.tolist() == sol.state_times.tolist() == [0.1, 0.5]
    assert sol.states.shape == (2, 12, 3)
    observe = {"t": lambda t, x: t, "mean": lambda t, x: x.mean(axis=0), "n": lambda t, x: len(x)}
    none = cs.simulate(NETWORK, X, rng=0, until=late, save_at=[1.0], observe=observe)
    assert none.states.shape == (0, 12, 3)
    assert {name: values.shape for name, values in none.observables.items()} == {"t": (0,), "mean": (0, 3), "n": (0,)}
    assert none.observables["n"].dtype == np.int64
    assert none.to_xarray()["mean"].dims == ("time", "mean_0")
    assert "none" in str(none)


def test_a_dataset_says_when_a_run_was_stopped():
    one = cs.simulate(NETWORK, X, rng=0, until=late).to_xarray()
    assert one["stopped_at"].item() == pytest.approx(0.7)
    assert one["hitting_times"].dims == ("hitting_times_0",)
    np.testing.assert_allclose(one["hitting_times"], [0.6, 0.7])
    batch = cs.simulate(NETWORK, np.stack([X, X]), rng=0, until=lambda t, x: [t > 0.55, False]).to_xarray()
    assert np.isnan(batch["stopped_at"])
    assert batch["hitting_times"].dims == ("replica", "hitting_times_0")
    np.testing.assert_allclose(batch["hitting_times"], [[0.5, 0.6], [2.0, math.inf]])
    assert "stopped_at" not in cs.simulate(NETWORK, X, rng=0).to_xarray()


@pytest.mark.parametrize("name", ["stopped_at", "hitting_times", "hitting_times_0"])
def test_names_of_a_condition_are_its_own(name):
    observe = {name: lambda t, x: t}
    assert name in cs.simulate(NETWORK, X, rng=0, observe=observe).to_xarray()
    with pytest.raises(ValueError, match=rf"observe\['{name}'\] must have another name"):
        cs.simulate(NETWORK, X, rng=0, observe=observe, until=late)


def test_a_condition_that_holds_at_the_start_and_one_that_never_holds():
    start = cs.simulate(NETWORK, X, rng=0, until=lambda t, x: True)
    assert start.stopped_at == 0.0
    assert start.hitting_times.tolist() == [0.0, 0.0]
    assert np.array_equal(start.final, X)
    never = cs.simulate(NETWORK, X, rng=0, until=lambda t, x: False)
    assert never.stopped_at is None
    assert never.hitting_times.tolist() == [2.0, math.inf]
    assert np.array_equal(never.final, cs.simulate(NETWORK, X, rng=0).final)


def test_each_replica_has_its_hitting_time():
    model = cs.LimitSDE(attention=ATTENTION, field=None, horizon=20.0, n_steps=200)
    x = cs.sample_uniform(12, 3, rng=1, n_replicas=3)
    until = cs.until.Clustered(tolerance=0.1)
    batch = cs.simulate(model, x, rng=0, until=until)
    alone = [cs.simulate(model, member, rng=0, until=until) for member in x]
    assert np.array_equal(batch.hitting_times, [sol.hitting_times for sol in alone])
    assert batch.stopped_at == max(sol.stopped_at for sol in alone)
    assert len({sol.stopped_at for sol in alone}) > 1


def test_a_resumed_run_stops_at_the_same_step(tmp_path):
    x = cs.sample_uniform(12, 3, rng=1, n_replicas=2)

    class Fails:
        version = 1

        def __init__(self, at):
            self.at = at

        def identity_facts(self):
            return "until"

        def __call__(self, time, tokens):
            if time > self.at:
                raise RuntimeError("stopped here")
            return np.array([time > 0.25, time > 0.85])

    checkpoint = cs.Checkpoint(path=tmp_path / "run.npz", every_steps=1)
    with pytest.raises(RuntimeError, match="stopped here"):
        cs.simulate(NETWORK, x, rng=0, until=Fails(0.55), checkpoint=checkpoint)
    assert checkpoint.path.exists()
    resumed = cs.simulate(NETWORK, x, rng=0, until=Fails(9.0), checkpoint=checkpoint)
    whole_run = cs.simulate(NETWORK, x, rng=0, until=Fails(9.0))
    assert np.array_equal(resumed.final, whole_run.final)
    assert np.array_equal(resumed.hitting_times, whole_run.hitting_times)
    assert resumed.hitting_times == pytest.approx(np.array([[0.2, 0.3], [0.8, 0.9]]))


def test_thresholds():
    up = cs.until.Threshold(observable=lambda t, x: t, at_least=0.5)
    down = cs.until.Threshold(observable=lambda t, x: -t, at_most=-0.5)
    assert [bool(up(t, X)) for t in (0.4, 0.5)] == [bool(down(t, X)) for t in (0.4, 0.5)] == [False, True]
    with pytest.raises(ValueError, match="at_least and at_most"):
        cs.until.Threshold(observable=late)
    with pytest.raises(TypeError, match="observable must be callable"):
        cs.until.Threshold(observable=3, at_least=0.5)
    with pytest.raises(TypeError, match="observable must return numbers"):
        cs.until.Threshold(observable=lambda t, x: "far", at_least=0.5)(0.0, X)
    with pytest.raises(ValueError, match=r"finite numbers, got nan at time 0.5"):
        cs.until.Threshold(observable=lambda t, x: np.nan, at_least=0.5)(0.5, X)


def test_bad_conditions_are_refused():
    with pytest.raises(TypeError, match=r"until must be callable on \(time, tokens\), got <lambda>\(t\)"):
        cs.simulate(NETWORK, X, rng=0, until=lambda t: True)
    with pytest.raises(TypeError, match="until must be callable"):
        cs.simulate(NETWORK, X, rng=0, until=1.0)
    with pytest.raises(TypeError, match="until must return True or False"):
        cs.simulate(NETWORK, X, rng=0, until=lambda t, x: 1.0)
    with pytest.raises(ValueError, match="one for each replica"):
        cs.simulate(NETWORK, X, rng=0, until=lambda t, x: np.array([True, False]))
