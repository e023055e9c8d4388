"""The time loop: what is saved when, labelled results, and checkpoints that resume to the bit."""

import json

import numpy as np
import pytest
from support.stops import Stop, stop_at

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Stream
from chaosphere.geometry.sphere import DegenerateTokenError
from chaosphere.models.protocol import ModelPlan

MODEL = cs.Transformer(
    attention=cs.SoftmaxAttention(beta=1.0), mlp=cs.MLP(width=16, bias_std=0.1), depth=20, horizon=2.0
)
X = cs.sample_uniform(40, 3, rng=0)


def test_final_state_only_by_default():
    sol = cs.simulate(MODEL, X, rng=0)
    assert sol.times.tolist() == [2.0]
    assert sol.states.shape == (1, 40, 3)
    assert np.array_equal(sol.states[0], sol.final)


def test_saved_states_are_those_after_the_last_whole_layer():
    path = [tokens for _, tokens in cs.trajectory(MODEL, X, rng=0)]
    times = [0.0, 0.1, 0.25, 1.99, 2.0]
    sol = cs.simulate(MODEL, X, rng=0, save_at=times)
    assert sol.times.tolist() == [0.0, 0.1, 0.2, 1.9, 2.0]  # those of the states, not those that were asked for
    assert np.array_equal(sol.times, sol.state_times)
    for state, step in zip(sol.states, [0, 1, 2, 19, 20], strict=True):
        assert np.array_equal(state, path[step])


def test_states_may_be_left_out():
    options = {"rng": 0, "save_at": [0.0, 1.0], "observe": {"energy": cs.measures.Energy()}}
    with_states, without = (cs.simulate(MODEL, X, save_states=flag, **options) for flag in (True, False))
    assert without.states.shape == (1, 40, 3)
    assert without.state_times.tolist() == [2.0]
    assert np.array_equal(without.observables["energy"], with_states.observables["energy"])


def test_observables_follow_save_at_or_every_step():
    observe = {"energy": cs.measures.Energy(beta=1.0), "mean": lambda t, x: cs.measures.mean_vector(x)}
    every = cs.simulate(MODEL, X, rng=0, observe=observe)
    assert every.observables["energy"].shape == (21,)
    assert every.observables["mean"].shape == (21, 3)
    assert every.times.shape == (21,)
    some = cs.simulate(MODEL, X, rng=0, observe=observe, save_at=[0.0, 1.0])
    assert np.array_equal(some.observables["energy"], every.observables["energy"][[0, 10]])
    assert some.observables["energy"][1] == cs.measures.energy(some.states[1], 1.0)


@pytest.mark.parametrize("shape", [(40, 32, 8), (3, 300, 3), (1, 20, 2)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("value", [None, "matrix"])
def test_fused_steps_have_the_bits_of_single_steps(shape, dtype, value):
    n_replicas, n_tokens, dim = shape
    x = cs.sample_uniform(n_tokens, dim, rng=0, n_replicas=n_replicas).astype(dtype)
    matrix = None if value is None else np.eye(dim) + 0.1 * np.random.default_rng(1).standard_normal((dim, dim))
    attention = cs.SoftmaxAttention(beta=2.0, value=matrix, method="direct")
    model = cs.Transformer(attention=attention, mlp=None, depth=12, horizon=3.0)
    assert model.plan(Shape.of(x)).max_fused_steps >= 12
    states = [tokens for _, tokens in cs.trajectory(model, x, rng=0, n_threads=2)]
    sol = cs.simulate(model, x, rng=0, save_at=[0.0, 1.25, 1.5, 3.0], n_threads=2)
    for state, step in zip(sol.states, (0, 5, 6, 12), strict=True):
        assert np.array_equal(state, states[step])
    assert np.array_equal(cs.simulate(model, x, rng=0, n_threads=1).final, states[-1])


def test_random_layers_come_one_at_a_time():
    assert MODEL.plan(Shape.of(X[None])).max_fused_steps == 1


class FailsInStepFive(cs.Transformer):
    def plan(self, shape, weights=None):
        plan = super().plan(shape, weights)
        advance = plan.advance

        def failing(x, steps, context):
            if 5 in steps:
                raise DegenerateTokenError("token 0 of replica 0: zero")
            return advance(x, steps, context)

        plan.advance = failing
        return plan


def test_an_error_among_fused_steps_names_its_own_step():
    x = cs.sample_uniform(10, 3, rng=0)
    settings = {"attention": cs.SoftmaxAttention(beta=2.0), "mlp": None, "depth": 12, "horizon": 3.0}
    states = [tokens for _, tokens in cs.trajectory(cs.Transformer(**settings), x, rng=0)]
    with pytest.raises(cs.SimulationError, match="step 5") as info:
        cs.simulate(FailsInStepFive(**settings), x, rng=0)
    assert info.value.step == 5
    assert np.array_equal(info.value.last_state[0], states[5])


def test_float32_stays_float32_and_follows_float64():
    sol = cs.simulate(MODEL, X.astype(np.float32), rng=0)
    assert sol.final.dtype == np.float32
    np.testing.assert_allclose(sol.final, cs.simulate(MODEL, X, rng=0).final, atol=1e-4)


def test_seeds_of_every_kind():
    by_int = cs.simulate(MODEL, X, rng=5).final
    assert np.array_equal(by_int, cs.simulate(MODEL, X, rng=np.random.SeedSequence(5)).final)
    generator = np.random.default_rng(5)
    first, second = cs.simulate(MODEL, X, rng=generator), cs.simulate(MODEL, X, rng=generator)
    assert not np.array_equal(first.final, second.final)
    again = np.random.SeedSequence(json.loads(first.attributes["entropy"]))
    assert np.array_equal(first.final, cs.simulate(MODEL, X, rng=again).final)


def test_noise_depends_on_its_address_alone():
    noise = Noise(3, n_replicas=2)
    late = noise.draws(Stream.LAYER, 7).normals((5,))[0][1]
    noise.draws(Stream.LAYER, 2).normals((3,), (40, 2))
    assert np.array_equal(late, noise.draws(Stream.LAYER, 7).normals((5,))[0][1])
    assert np.array_equal(late, Noise(3, n_replicas=9).draws(Stream.LAYER, 7).normals((5,))[0][1])
    others = [(Stream.LAYER, 8, 1), (Stream.BROWNIAN, 7, 1), (Stream.LAYER, 7, 0)]
    for stream, step, replica in others:
        assert not np.intersect1d(late, noise.draws(stream, step).normals((5,))[0][replica]).size


def test_samples_are_nested_in_the_number_of_tokens():
    assert np.array_equal(cs.sample_uniform(10, 4, rng=3), cs.sample_uniform(1000, 4, rng=3)[:10])


def test_a_list_of_seeds_makes_replicas_the_runs_of_their_seeds():
    seeds = [3, 11, np.random.SeedSequence(4, spawn_key=(2,))]
    x = np.stack([cs.sample_uniform(40, 3, rng=seed) for seed in seeds])
    field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3), tolerance=1e-3)
    for model in (
        MODEL,
        cs.LimitSDE(attention=cs.SoftmaxAttention(), field=field, horizon=1.0, n_steps=7, temperature=0.1),
    ):
        batch = cs.simulate(model, x, rng=seeds, observe={"energy": cs.measures.Energy()})
        for r, seed in enumerate(seeds):
            alone = cs.simulate(model, x[r], rng=seed, observe={"energy": cs.measures.Energy()})
            assert np.array_equal(batch.final[r], alone.final)
            assert np.array_equal(batch.observables["energy"][:, r], alone.observables["energy"])
    with pytest.raises(ValueError, match=r"rng must hold one seed per replica, 3, got 2"):
        cs.simulate(MODEL, x, rng=[0, 1])
    with pytest.raises(ValueError, match=r"rng must be one seed where shared_noise is True"):
        cs.simulate(MODEL, x, rng=seeds, shared_noise=True)


def test_xarray_labels():
    x = cs.sample_uniform(40, 3, rng=0, n_replicas=2)
    sol = cs.simulate(MODEL, x, rng=0, observe={"energy": cs.measures.Energy(beta=1.0)}, save_at=[0.0, 2.0])
    data = sol.to_xarray()
    assert data["x"].dims == ("time", "replica", "token", "coordinate")
    assert data["energy"].dims == ("time", "replica")
    assert json.loads(data.attrs["model"])["depth"] == 20
    every = cs.simulate(MODEL, x, rng=0, observe={"energy": cs.measures.Energy(beta=1.0)}).to_xarray()
    assert every["x"].dims[0] == "state_time"
    assert every.sizes["time"] == 21


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.7, 2.0])
def test_resume_is_bit_identical(tmp_path, moment):
    options = {"rng": 0, "save_at": [0.0, 0.3, 1.0, 1.5, 2.0]}
    expected = cs.simulate(MODEL, X, observe={"first": stop_at(9)}, **options)
    file = tmp_path / "run.npz"
    with pytest.raises(Stop):
        cs.simulate(MODEL, X, observe={"first": stop_at(moment)}, checkpoint=file, **options)
    assert file.exists() == (moment > 0)
    resumed = cs.simulate(MODEL, X, observe={"first": stop_at(9)}, checkpoint=file, **options)
    assert np.array_equal(resumed.states, expected.states)
    assert np.array_equal(resumed.observables["first"], expected.observables["first"])
    assert not file.exists()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("depth", "horizon"), [(10, 1.0), (7, 0.3), (100, 2.0), (10, 3.0)])
def test_times_of_a_grid_in_any_type_are_on_it(dtype, depth, horizon):
    model = cs.Transformer(attention=None, mlp=cs.MLP(width=2), depth=depth, horizon=horizon)
    sol = cs.simulate(model, X[:5], rng=0, save_at=np.linspace(0, horizon, depth + 1).astype(dtype))
    for state, (_, tokens) in zip(sol.states, cs.trajectory(model, X[:5], rng=0), strict=True):
        assert np.array_equal(state, tokens)
    assert sol.times == pytest.approx(np.linspace(0, horizon, depth + 1), rel=1e-12, abs=0)


def test_a_time_just_before_a_step_is_before_it():
    """A thousandth of a step is no rounding."""
    sol = cs.simulate(MODEL, X, rng=0, save_at=[0.0999, 0.1])
    assert sol.times.tolist() == [0.0, 0.1]
    assert np.array_equal(sol.states[0], X)


def test_observables_are_told_the_time_of_the_state():
    sol = cs.simulate(MODEL, X, rng=0, save_at=[0.15, 0.3], observe={"t": lambda t, x: t})
    assert sol.observables["t"].tolist() == sol.times.tolist() == [0.1, 0.3]


class Own:
    """A model of a user's own: tokens turn about the first axis plane, or do what they must not."""

    n_steps, horizon = 4, 2.0

    def __init__(self, change=lambda y, index: y):
        self.change = change

    def plan(self, shape, weights=None):
        return OwnPlan(self.change)


class OwnPlan(ModelPlan):
    def __init__(self, change):
        self.change = change

    def advance(self, x, steps, context):
        assert len(steps) == 1
        c, s = np.cos(0.1), np.sin(0.1)
        y = x.copy()
        y[..., 0], y[..., 1] = c * x[..., 0] - s * x[..., 1], s * x[..., 0] + c * x[..., 1]
        return self.change(y, steps[0])


def test_a_model_of_ones_own_runs_with_checkpoints_and_in_ensembles(tmp_path):
    expected = [tokens for _, tokens in cs.trajectory(Own(), X, rng=0)]
    observe = {"first": stop_at(1.0)}
    with pytest.raises(Stop):
        cs.simulate(Own(), X, rng=0, observe=observe, checkpoint=tmp_path / "run.npz")
    observe = {"first": stop_at(9)}
    sol = cs.simulate(Own(), X, rng=0, observe=observe, checkpoint=tmp_path / "run.npz")
    assert np.array_equal(sol.final, expected[-1])
    assert sol.to_xarray().attrs["model"]
    data = cs.ensemble(
        Own(), X, seeds=[0, 1], observe={"m": lambda t, x: x.mean(axis=1)}, store=tmp_path / "s.zarr", n_threads=1
    )
    assert np.allclose(data["m"].values[0], [tokens.mean(axis=0) for tokens in expected], rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, index: y * (np.nan if index == 2 else 1), r"step 2 .*: tokens must lie on .* it is not finite"),
        (lambda y, index: y * (1.22 if index == 2 else 1), r"step 2 .*: tokens must lie on .* \| \|x\| - 1 \| = 0.22"),
    ],
)
def test_states_that_leave_the_sphere_are_refused(change, message):
    every = {"observe": {"t": lambda t, x: t}}
    for run in (
        lambda: cs.simulate(Own(change), X, rng=0, **every),
        lambda: list(cs.trajectory(Own(change), X, rng=0)),
    ):
        with pytest.raises(cs.SimulationError, match=message) as caught:
            run()
        assert caught.value.step == 2
    with pytest.raises(cs.SimulationError, match=r"step 3 .* or one before it"):
        cs.simulate(Own(change), X, rng=0)


@pytest.mark.parametrize(
    "change", [lambda y, index: y[0], lambda y, index: y.astype("float32"), lambda y, index: y[:, 1:]]
)
def test_states_of_another_shape_or_type_are_refused(change):
    with pytest.raises(TypeError, match=r"model must return tokens of shape \(1, 40, 3\) and float64 from a step"):
        cs.simulate(Own(change), X, rng=0)


@pytest.mark.parametrize("part", [cs.SoftmaxAttention(), cs.MLP(width=4), None, "transformer"])
def test_parts_of_a_model_are_no_model(part):
    for run in (lambda: cs.simulate(part, X, rng=0), lambda: list(cs.trajectory(part, X, rng=0))):
        with pytest.raises(TypeError, match=r"model must be a model .* it has no n_steps, horizon"):
            run()


def test_weights_are_those_of_the_measure(tmp_path):
    """Nodes with weights, and tokens of weight 0 beside them, move as in the mean-field limit, to the bit."""
    model = cs.Transformer(attention=cs.SoftmaxAttention(beta=2.0), mlp=cs.MLP(width=8), depth=6, horizon=1.0)
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
    limit = cs.MeanField(model=model, law=law, n_nodes=16)
    x = limit.start(cs.sample_uniform(5, 2, rng=0))
    expected = cs.simulate(limit, x, rng=0).final
    weights = np.append(limit.weights, np.zeros(5))
    sol = cs.simulate(model, x, rng=0, weights=weights)
    np.testing.assert_allclose(sol.final, expected, atol=1e-14)
    *_, (_, last) = cs.trajectory(model, x, rng=0, weights=weights)
    np.testing.assert_array_equal(last, sol.final)
    assert np.abs(cs.simulate(model, x, rng=0).final - expected).max() > 0.01
    file = cs.Checkpoint(path=tmp_path / "run.npz", every_steps=1, keep=True)
    cs.simulate(model, x, rng=0, weights=weights, checkpoint=file)
    with pytest.raises(ValueError, match="weights"):
        cs.simulate(model, x, rng=0, weights=weights[::-1], checkpoint=file)
    with pytest.raises(ValueError, match="weights"):
        cs.simulate(model, x, rng=0, checkpoint=file)
    with pytest.raises(ValueError, match=r"weights must sum to 1"):
        cs.simulate(model, x, rng=0, weights=2 * weights)
    with pytest.raises(ValueError, match=r"weights must be None for a MeanField"):
        cs.simulate(limit, x, rng=0, weights=weights)
    assert "weights" in sol.to_xarray().attrs
