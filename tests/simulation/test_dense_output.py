"""Recorded times between the steps of the adaptive scheme: against quadrature and small steps, order, and bits."""

import itertools
import math

import numpy as np
import pytest
import scipy
from scipy.integrate import RK45

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise
from chaosphere.models import adaptive
from chaosphere.models.protocol import Inside, StepContext, save_steps
from chaosphere.simulation.steps import Between

X = cs.sample_uniform(12, 3, rng=0, n_replicas=3)
TIMES = [0.0, 0.1, 0.77, 1.0, 1.5, 1.51, 2.9, 3.0]


def model(*, horizon=3.0, n_steps=1, attention=None, **options):
    attention = cs.SoftmaxAttention(beta=4.0) if attention is None else attention
    return cs.LimitSDE(
        attention=attention, field=None, horizon=horizon, n_steps=n_steps, scheme="dormand-prince", **options
    )


def test_coefficients_are_those_of_scipy():
    np.testing.assert_allclose(adaptive._D, RK45.P, rtol=1e-14)
    np.testing.assert_allclose(np.sum(adaptive._D, axis=1)[:6], adaptive._B, atol=1e-14)  # at θ = 1


@pytest.mark.parametrize(
    "attention",
    [
        cs.SoftmaxAttention(beta=4.0),
        cs.SoftmaxAttention(query=np.diag([1.0, 2.0, 3.0]), key=np.eye(3), value=np.diag([1.0, -1.0, 0.5])),
        cs.SoftmaxAttention(beta=lambda t: 2.0 + t),
        cs.SoftmaxAttention(beta=4.0, mask="causal"),
    ],
)
def test_against_steps_that_end_at_the_times(attention):
    states = [X]
    for start, end in itertools.pairwise(TIMES):
        shifted = attention
        if callable(attention.beta):
            shifted = cs.SoftmaxAttention(beta=lambda t, start=start: 2.0 + start + t)
        states.append(
            cs.simulate(model(horizon=end - start, attention=shifted, tolerance=1e-12), states[-1], rng=0).final
        )
    for tolerance in (1e-4, 1e-6, 1e-8):
        sol = cs.simulate(model(attention=attention, tolerance=tolerance), X, rng=0, save_at=TIMES)
        np.testing.assert_array_equal(sol.times, TIMES)
        np.testing.assert_allclose(np.linalg.norm(sol.states, axis=-1), 1, atol=1e-15)
        assert abs(sol.states - states).max() < 20 * tolerance
        if attention.mask == "causal":  # which cannot move the first token
            np.testing.assert_array_equal(sol.states[:, :, 0], np.broadcast_to(X[:, 0], (len(TIMES), 3, 3)))


@pytest.mark.parametrize(("beta", "ratio"), [(1.0, 1.0), (16.0, 0.5), (16.0, 0.1)])
def test_against_quadrature(beta, ratio):
    # θ̇ = −2 sin θ/(1 + e^{β(1 − cos θ)}) from θ = 1.2; the time to the recorded angle is the recorded time.
    def time(angle):
        return scipy.integrate.quad(
            lambda a: (1 + math.exp(beta * (1 - math.cos(a)))) / (2 * math.sin(a)), angle, 1.2, epsabs=0, epsrel=1e-12
        )[0]

    horizon = time(0.1)
    x = np.array([[1.0, 0.0], [math.cos(1.2), math.sin(1.2)]])
    at = ratio * horizon * np.array([0.3, 0.55, 0.99])
    tokens = cs.simulate(
        model(horizon=horizon, attention=cs.SoftmaxAttention(beta=beta), tolerance=1e-10), x, rng=0, save_at=at
    ).states
    for angle, expected in zip(2 * np.arcsin(np.linalg.norm(tokens[:, 0] - tokens[:, 1], axis=1) / 2), at, strict=True):
        speed = 2 * math.sin(angle) / (1 + math.exp(beta * (1 - math.cos(angle))))
        assert abs(time(angle) - expected) * speed < 1e-8  # a hundred inner steps at most


def test_the_extension_has_order_four():
    # In one inner step the error is O(h⁵); a tolerance of 0.1 leaves it at that.
    errors = []
    for h in (0.2, 0.1, 0.05):
        at = [0.3 * h, 0.8 * h]
        rough = cs.simulate(model(horizon=h, tolerance=0.1), X, rng=0, save_at=at).states
        errors.append(abs(rough - cs.simulate(model(horizon=h, tolerance=1e-13), X, rng=0, save_at=at).states).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 4.6).all(), orders
    assert (orders < 5.6).all(), orders


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_bits(dtype):
    """Bitwise the same end with and without times, and identical for one member, any threads, and resumed."""
    x, spec = X.astype(dtype), model(n_steps=2)
    sol = cs.simulate(spec, x, rng=0, save_at=TIMES)
    assert sol.states.dtype == dtype
    np.testing.assert_array_equal(sol.final, cs.simulate(spec, x, rng=0).final)
    np.testing.assert_array_equal(sol.states[-1], sol.final)
    np.testing.assert_array_equal(sol.states[4], cs.simulate(spec, x, rng=0, save_at=[1.5]).states[0])
    np.testing.assert_array_equal(sol.states[2:3], cs.simulate(spec, x, rng=0, save_at=[TIMES[2]]).states)
    np.testing.assert_array_equal(sol.states, cs.simulate(spec, x, rng=0, save_at=TIMES, n_threads=1).states)
    for r in range(len(x)):
        np.testing.assert_array_equal(sol.states[:, r], cs.simulate(spec, x[r], rng=0, save_at=TIMES).states)


def test_observables_are_at_the_times():
    seen = []
    sol = cs.simulate(
        model(),
        X,
        rng=0,
        save_at=TIMES,
        save_states=False,
        observe={"first": lambda time, tokens: seen.append(time) or tokens[:, 0]},
    )
    assert seen == TIMES
    np.testing.assert_array_equal(sol.times, TIMES)
    assert sol.states.shape == (1, *X.shape)
    np.testing.assert_array_equal(
        sol.observables["first"], cs.simulate(model(), X, rng=0, save_at=TIMES).states[:, :, 0]
    )


def test_a_resumed_run_is_bitwise_identical(tmp_path):
    spec, calls = model(n_steps=3), []

    def observe(time, tokens):
        calls.append(time)
        if time > 2 and len(calls) < 9:
            raise KeyboardInterrupt
        return tokens[0, 0, 0]

    observe.version = 1  # what it refers to changes
    keywords = {"rng": 0, "save_at": TIMES, "observe": {"first": observe}, "checkpoint": tmp_path / "run.npz"}
    with pytest.raises(KeyboardInterrupt):
        cs.simulate(spec, X, **keywords)
    calls += [0.0] * 9
    resumed = cs.simulate(spec, X, **keywords)
    full = cs.simulate(spec, X, rng=0, save_at=TIMES)
    np.testing.assert_array_equal(resumed.states, full.states)
    np.testing.assert_array_equal(resumed.observables["first"], full.states[:, 0, 0, 0])


def test_with_merged_clusters():
    # Clusters of three merge within 1e-3, and the flow contracts what this moves.
    spec, at = model(horizon=12.0), np.linspace(0, 12, 25)
    merged = cs.simulate(spec, X[0], rng=0, save_at=at, coalesce=1e-3)
    assert len(cs.measures.clusters(merged.final, scale=0.0).sizes) < 12
    np.testing.assert_allclose(merged.states, cs.simulate(spec, X[0], rng=0, save_at=at).states, atol=2e-3)
    np.testing.assert_array_equal(merged.final, cs.simulate(spec, X[0], rng=0, coalesce=1e-3).final)


def test_a_limit_and_an_ensemble_have_the_times():
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
    spec = model(attention=cs.SoftmaxAttention(beta=1.0))
    limit = cs.MeanField(model=spec, law=law, n_nodes=16)
    np.testing.assert_array_equal(cs.simulate(limit, limit.start(), rng=0, save_at=TIMES).times, TIMES)
    data = cs.ensemble(
        spec, law, n_tokens=4, seeds=[0, 1], save_at=TIMES, observe={"mean": lambda t, x: cs.measures.mean_vector(x)}
    )
    np.testing.assert_array_equal(data["time"], TIMES)
    alone = cs.simulate(spec, law.sample(4, rng=1), rng=1, save_at=TIMES).states
    np.testing.assert_allclose(data["mean"].sel(seed=1), alone.mean(axis=1), atol=1e-14)


@pytest.mark.parametrize("save_states", [True, False])
def test_a_stopped_run_keeps_the_times_up_to_where_the_condition_held(save_states):
    keywords = {"rng": 0, "save_at": [0.5, 1.2, 1.4, 1.6], "observe": {"first": lambda time, x: x[:, 0]}}
    full = cs.simulate(model(n_steps=2), X, **keywords)
    sol = cs.simulate(model(n_steps=2), X, **keywords, until=lambda time, x: time > 1, save_states=save_states)
    assert sol.stopped_at == 1.5
    assert sol.hitting_times.tolist() == [[0.5, 1.2]] * 3
    np.testing.assert_array_equal(sol.times, [0.5, 1.2])
    np.testing.assert_array_equal(sol.state_times, [0.5, 1.2] if save_states else [1.5])
    np.testing.assert_array_equal(sol.states, full.states[:2] if save_states else sol.final[None])
    np.testing.assert_array_equal(sol.observables["first"], full.observables["first"][:2])
    np.testing.assert_array_equal(sol.final, cs.simulate(model(n_steps=1, horizon=1.5), X, rng=0).final)


def test_a_stopped_run_and_its_member_of_an_ensemble_have_the_same_times():
    """Also where a run is stopped in the last step, and where others of its batch go on."""
    law, at = cs.laws.Uniform(dim=3), np.linspace(0, 30, 61)
    options = {"save_at": at, "until": cs.until.Clustered(tolerance=0.1, n_clusters=2)}
    observe = {"cosine": lambda time, x: cs.measures.mean_cosine(x)}
    for n_steps in (1, 3):
        spec = model(horizon=30.0, n_steps=n_steps)
        data = cs.ensemble(spec, law, n_tokens=6, seeds=range(6), observe=observe, **options)
        sizes = []
        for r in range(6):
            sol = cs.simulate(spec, law.sample(6, rng=r), rng=r, observe=observe, **options)
            member = data["cosine"].values[r]
            np.testing.assert_array_equal(member[: len(sol.times)], sol.observables["cosine"])
            assert np.isnan(member[len(sol.times) :]).all()
            np.testing.assert_array_equal(data["hitting_times"][r], sol.hitting_times)
            assert sol.times[-1] == sol.hitting_times[1] < sol.stopped_at
            sizes.append(len(sol.times))
        assert len(set(sizes)) > 1


def test_conditions_are_called_at_the_times_too():
    def thresholds(time, tokens):
        return time > np.array([0.3 + 1e-9, 1.45, 2.2 + 1e-9])

    sol = cs.simulate(model(), X, rng=0, save_at=np.linspace(0, 3, 31), until=thresholds)
    assert sol.stopped_at == 3.0
    np.testing.assert_allclose(sol.hitting_times, [[0.3, 0.4], [1.4, 1.5], [2.2, 2.3]])
    without = cs.simulate(model(), X, rng=0, until=thresholds)
    np.testing.assert_array_equal(without.hitting_times, [[0.0, 3.0]] * 3)
    np.testing.assert_array_equal(without.final, sol.final)


def test_times_near_a_step_are_at_it():
    times, steps = save_steps(np.array([0.1, 1 / 3, 1], dtype=np.float32), model(horizon=1.0, n_steps=3), is_dense=True)
    assert steps.tolist() == [1, 1, 3]
    assert times.tolist() == [float(np.float32(0.1)), 1 / 3, 1.0]


@pytest.mark.parametrize("horizon", [1e6, 1e12])
def test_early_and_late_times_of_one_long_step(horizon):
    """Any share of a step is between its ends: the states are those of a short run."""
    spec, at = model(horizon=horizon), [0.1, 1.0, 10.0]
    late = [horizon * (1 - 1e-10), horizon]
    sol = cs.simulate(spec, X[0], rng=0, save_at=at + late, coalesce=1e-9)
    np.testing.assert_array_equal(sol.times, at + late)
    short = cs.simulate(model(horizon=10.0), X[0], rng=0, save_at=at)
    np.testing.assert_allclose(sol.states[:3], short.states, atol=1e-7)
    assert abs(sol.states[0] - X[0]).max() > 0.01
    steps = save_steps(at + late, spec, is_dense=True)[1]
    assert Between(sol.times, steps, model=spec).offsets[1].tolist() == at + late[:1]

    law, first = cs.laws.Uniform(dim=3), {"first": lambda time, x: x[..., 0, :]}
    data = cs.ensemble(spec, law, n_tokens=12, seeds=[0], save_at=at, observe=first, coalesce=1e-9)
    short = cs.simulate(model(horizon=10.0), law.sample(12, rng=0), rng=0, save_at=at)
    np.testing.assert_allclose(data["first"][0], short.states[:, 0], atol=1e-7)


def test_a_condition_of_early_times_of_one_long_step():
    until = cs.until.Threshold(observable=lambda time, x: abs(x - X[0]).max(), at_least=0.01)
    sol = cs.simulate(model(horizon=1e12), X[0], rng=0, save_at=[0.01, 0.1, 1.0], until=until, coalesce=1e-9)
    assert sol.hitting_times.tolist() == [0.01, 0.1]


def test_times_of_a_grid_are_those_of_steps():
    """To the rounding of linspace and of multiples, for many numbers of steps; and other times lie within one step."""
    rng = np.random.default_rng(0)
    for n_steps in [*range(1, 200), 1000, 12345, 10**6]:
        horizon = float(rng.uniform(0.1, 1e3)) * 10.0 ** rng.integers(-3, 10)
        spec = model(horizon=horizon, n_steps=n_steps)
        index = np.unique(rng.integers(0, n_steps + 1, 20))
        for grid in (np.linspace(0, horizon, n_steps + 1)[index], index * (horizon / n_steps)):
            grid = np.minimum(grid, horizon)
            times, steps = save_steps(grid, spec, is_dense=True)
            np.testing.assert_array_equal(steps, index)
            np.testing.assert_array_equal(times, grid)
            assert not Between(times, steps, model=spec).offsets
        at = np.unique(rng.uniform(0, horizon, 50) * 10.0 ** rng.integers(-15, 1, 50))
        for offsets in Between(*save_steps(at, spec, is_dense=True), model=spec).offsets.values():
            assert (offsets > 0).all()
            assert (offsets <= horizon / n_steps).all()


def test_times_past_the_end_by_a_rounding_are_the_end():
    for n_steps in (1, 3, 10**5):
        spec = model(horizon=7.0, n_steps=n_steps)
        times, steps = save_steps([7.0 * (1 + 5e-13)], spec, is_dense=True)
        assert (times.tolist(), steps.tolist()) == ([7.0], [n_steps])


def test_other_plans_leave_the_states_as_they_are():
    plan = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=1).plan(Shape.of(X))
    inside = Inside(times=np.array([0.5]), states=np.zeros((1, *X.shape)))
    context = StepContext(noise=Noise(0), n_threads=1)
    end = plan.advance_through(X, 0, inside=inside, context=context)
    np.testing.assert_array_equal(end, plan.advance(X, range(1), context))
    assert not plan.is_dense
    assert not inside.states.any()
