"""Models and interactions of a user's own do all that those of the library do; plans leave nothing to the time loop."""

import dataclasses

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common import checks
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Stream
from chaosphere.geometry import sphere
from chaosphere.interactions import direct
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.protocol import Cost, ModelPlan
from chaosphere.models.schemes import SCHEMES
from chaosphere.noise.gaussian import GaussianField

X = cs.sample_uniform(30, 3, rng=0)


class PullPlan(ModelPlan):
    """Tokens are pulled to the weighted mean, and shaken by one random vector that they share."""

    max_fused_steps = 3

    def __init__(self, shape, weights, strength, step_size):
        self.weights = np.full(shape.n_tokens, 1 / shape.n_tokens) if weights is None else weights
        self.strength, self.step_size = strength, step_size
        self.cost = Cost(pairs=len(self.weights) * shape.n_tokens, normals=shape.dim)

    def advance(self, x, steps, context):
        assert 1 <= len(steps) <= 3
        for index in steps:
            mean = np.einsum("j,rjk->rk", self.weights, x[:, : len(self.weights)])
            (shake,) = context.noise.draws(Stream.LAYER, index).normals((x.shape[2],))
            v = self.step_size * self.strength * mean + np.sqrt(self.step_size) * shake
            x = sphere.normalize(x + v[:, None, :])
        return x


@dataclasses.dataclass(frozen=True)
class Pull:
    strength: float = 1.0
    n_steps: int = 8
    horizon: float = 1.0
    has_own_noise = False

    def plan(self, shape, weights=None):
        return PullPlan(shape, weights, self.strength, self.horizon / self.n_steps)


def stop_at(moment):
    def observable(time, x):
        if time >= moment:
            raise KeyboardInterrupt
        return x.mean(axis=-2)

    observable.version = 1
    return observable


def test_a_model_of_ones_own_runs_in_the_loop():
    states = [tokens for _, tokens in cs.trajectory(Pull(), X, rng=0)]
    assert len(states) == 9
    sol = cs.simulate(Pull(), X, rng=0, save_at=[0.125, 1.0])
    assert np.array_equal(sol.states, [states[1], states[8]])
    assert sol.attributes["model"] == {
        "type": "Pull", "strength": 1.0, "n_steps": 8, "horizon": 1.0, "code": sol.attributes["model"]["code"]
    }  # fmt: skip


def test_a_model_of_ones_own_resumes(tmp_path):
    path = tmp_path / "run.npz"
    expected = cs.simulate(Pull(), X, rng=0, observe={"m": stop_at(9)})
    with pytest.raises(KeyboardInterrupt):
        cs.simulate(Pull(), X, rng=0, observe={"m": stop_at(0.5)}, checkpoint=path)
    with pytest.raises(ValueError, match=r"model\.strength is 1\.0, not 2\.0"):
        cs.simulate(Pull(2.0), X, rng=0, observe={"m": stop_at(9)}, checkpoint=path)
    sol = cs.simulate(Pull(), X, rng=0, observe={"m": stop_at(9)}, checkpoint=path)
    assert np.array_equal(sol.final, expected.final)
    assert np.array_equal(sol.observables["m"], expected.observables["m"])


def test_another_plan_is_another_run(monkeypatch):
    """The code of a plan is told apart, though the model's class is the same."""
    before = cs.simulate(Pull(), X, rng=0).attributes["model"]
    assert cs.simulate(Pull(), X, rng=0).attributes["model"] == before

    def still(self, x, steps, context):
        return x

    monkeypatch.setattr(PullPlan, "advance", still)
    after = cs.simulate(Pull(), X, rng=0).attributes["model"]
    assert after["code"] != before["code"]
    assert {**after, "code": 0} == {**before, "code": 0}


def test_a_model_of_ones_own_runs_in_ensembles(tmp_path):
    data = cs.ensemble(
        Pull,
        cs.laws.Uniform(dim=3),
        n_tokens=30,
        seeds=[3, 4],
        sweep={"strength": [0.5, 2.0]},
        observe={"energy": cs.measures.Energy()},
        store=tmp_path / "study.zarr",
        n_threads=1,
    )
    for strength in (0.5, 2.0):
        alone = cs.simulate(
            Pull(strength), cs.sample_uniform(30, 3, rng=4), rng=4, observe={"energy": cs.measures.Energy()}
        )
        assert np.array_equal(data["energy"].sel(strength=strength).values[1], alone.observables["energy"])


def test_a_model_of_ones_own_has_a_mean_field_limit():
    """The nodes of the limit move by their own mean, tracers with them: those of 20 000 tokens are near."""
    limit = cs.MeanField(
        model=Pull(), law=cs.laws.VonMisesFisher(mean_direction=(0, 0, 1), concentration=2), n_nodes=400
    )
    nodes = cs.simulate(limit, limit.start(X), rng=0).final
    alone = cs.simulate(limit, limit.start(), rng=0).final
    assert np.array_equal(nodes[: len(alone)], alone)
    tokens = cs.sample_von_mises_fisher(20_000, [0, 0, 1], concentration=2, rng=1)
    many = cs.simulate(Pull(), tokens, rng=0).final
    np.testing.assert_allclose(limit.weights @ alone, many.mean(axis=0), atol=0.02)


def test_a_mean_field_limit_needs_a_model_without_noise_of_its_own():
    law = cs.laws.Uniform(dim=3)

    @dataclasses.dataclass(frozen=True)
    class Silent:
        n_steps: int = 2
        horizon: float = 1.0

        def plan(self, shape, weights=None):
            return PullPlan(shape, weights, 1.0, 0.5)

    with pytest.raises(ValueError, match="nodes do not carry the diffusion of each token's own noise"):
        cs.MeanField(model=Silent(), law=law, n_nodes=8)


def test_a_model_of_ones_own_has_a_lyapunov_exponent():
    """A common vector moves tokens by Möbius maps; attraction to the mean brings them together."""
    x = cs.sample_uniform(2, 3, rng=0, n_replicas=50)
    attracted = cs.measures.lyapunov_exponent(Pull(strength=5.0, n_steps=100, horizon=2.0), x, rng=1).mean()
    free = cs.measures.lyapunov_exponent(Pull(strength=0.0, n_steps=100, horizon=2.0), x, rng=1).mean()
    assert attracted < free < 0


def test_a_model_of_ones_own_says_whether_ranks_can_share_it():
    with pytest.raises(TypeError, match="comm needs a model whose plan can be distributed, got PullPlan"):
        Pull().plan(Shape.of(X[None])).distribute(None)


class NearestPlan(InteractionPlan):
    """Every token is drawn to the mean of the tokens within a cap around it."""

    def __init__(self, shape, height):
        self.height, self.pairs = height, float(shape.n_tokens**2)

    def drift(self, x, *, n_threads):
        near = (x @ x.swapaxes(1, 2) >= self.height).astype(x.dtype)
        return np.ascontiguousarray(near @ x / near.sum(axis=2, keepdims=True))


@dataclasses.dataclass(frozen=True)
class Nearest:
    height: float

    def resolve(self, n_tokens, dim, dtype="float64"):
        return self

    def plan(self, shape, weights=None):
        return NearestPlan(shape, self.height)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_an_interaction_of_ones_own_runs_in_every_model(scheme):
    n, h = 400, 1.0 / 400
    want = X.copy()
    for _ in range(n):  # Euler, for comparison
        near = want @ want.T >= 0.5
        v = near @ want / near.sum(axis=1, keepdims=True)
        want = cs.normalize(want + h * v)
    transformer = cs.Transformer(attention=Nearest(0.5), mlp=None, depth=n, horizon=1.0)
    np.testing.assert_allclose(cs.simulate(transformer, X, rng=0).final, want, atol=1e-13)
    sde = cs.LimitSDE(attention=Nearest(0.5), field=None, horizon=1.0, n_steps=n, scheme=scheme)
    # A token that enters a cap a step earlier or later is off by the order of a step.
    np.testing.assert_allclose(cs.simulate(sde, X, rng=0).final, want, atol=20 * h)


@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if scheme.strong_order is None])
def test_schemes_without_an_order_under_noise_refuse_it(scheme):
    with pytest.raises(ValueError, match="is for attention alone"):
        cs.LimitSDE(attention=SoftmaxAttention(), field=None, horizon=1.0, n_steps=2, temperature=0.1, scheme=scheme)


def test_schemes_evaluate_as_often_as_they_say():
    for name, scheme in SCHEMES.items():
        model = cs.LimitSDE(attention=SoftmaxAttention(), field=None, horizon=1.0, n_steps=2, scheme=name)
        assert model.plan(Shape.of(X[None])).cost.pairs == scheme.evaluations * 900


MATRIX = np.random.default_rng(0).standard_normal((3, 3))
LAYERS = cs.MLP(width=8, activation="tanh", bias_std=0.1)
MODELS = {
    "pairs": lambda n: cs.Transformer(attention=SoftmaxAttention(beta=2.0), mlp=LAYERS, depth=n, horizon=1.0),
    "matrices": lambda n: cs.Transformer(
        attention=SoftmaxAttention(query=MATRIX, key=np.eye(3)), mlp=LAYERS, depth=n, horizon=1.0
    ),
    "harmonics": lambda n: cs.Transformer(
        attention=SoftmaxAttention(beta=2.0, method="harmonic"), mlp=LAYERS, depth=n, horizon=1.0
    ),
    "equation": lambda n: cs.LimitSDE(
        attention=SoftmaxAttention(query=MATRIX, key=np.eye(3)),
        field=GaussianField(kernel=LAYERS.kernel(3), tolerance=1e-2),
        horizon=1.0,
        n_steps=n,
        scheme="heun",
        temperature=0.1,
    ),
    "limit": lambda n: cs.MeanField(model=MODELS["matrices"](n), law=cs.laws.Uniform(dim=3), n_nodes=30),
}


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_chosen_or_checked_again_in_the_time_loop(monkeypatch, name):
    """The same number of calls for two steps and for twelve."""
    counts = {}

    def counting(owner, attribute):
        function = getattr(owner, attribute)

        def counted(*args, **kwargs):
            counts[attribute] = counts.get(attribute, 0) + 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, attribute, counted)

    for owner, attribute in [
        (SoftmaxAttention, "resolve"),
        (SoftmaxAttention, "_check_norm"),
        (GaussianField, "resolve"),
        (np.linalg, "norm"),
        (np.linalg, "svd"),
        (direct, "_rows"),
        (dataclasses, "replace"),
        (checks, "tokens"),
    ]:
        counting(owner, attribute)
    totals = []
    for n_steps in (2, 12):
        model = MODELS[name](n_steps)
        x = model.start(X) if name == "limit" else X
        counts.clear()
        cs.simulate(model, x, rng=0, n_threads=1)
        totals.append(dict(counts))
    assert totals[0] == totals[1]
    assert totals[0]["tokens"] >= 1
