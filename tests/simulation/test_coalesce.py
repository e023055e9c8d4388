"""Runs with merged clusters against runs of all tokens; resumed runs; what is refused."""

import math

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.models.protocol import Inside
from chaosphere.simulation.coalesce import _after

X = cs.sample_uniform(40, 3, rng=0)
ATTENTION = cs.SoftmaxAttention(beta=9.0)


def model(scheme="dormand-prince", field=None, horizon=12.0, n_steps=24, **options):
    return cs.LimitSDE(attention=ATTENTION, field=field, horizon=horizon, n_steps=n_steps, scheme=scheme, **options)


@pytest.mark.parametrize("scheme", ["dormand-prince", "rk4", "projected-euler"])
@pytest.mark.parametrize("weights", [None, np.arange(1.0, 41.0) / np.arange(1.0, 41.0).sum()])
def test_against_all_tokens(scheme, weights):
    spec, tolerance = model(scheme), 1e-5
    full = cs.simulate(spec, X, rng=0, weights=weights).final
    merged = cs.simulate(spec, X, rng=0, weights=weights, coalesce=tolerance).final
    assert len(np.unique(merged, axis=0)) < 40  # some did merge
    np.testing.assert_allclose(merged, full, atol=100 * tolerance)


def test_the_bound():
    """Two pairs of tokens merge at the start, and errors grow by exp(3 + 2β) in a unit of time at most."""
    spec = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=0.5), field=None, horizon=0.5, n_steps=20, scheme="rk4")
    for tolerance in (1e-2, 1e-4, 1e-6):
        x = np.array([[1.0, 0.0, 0.0], [1.0, tolerance, 0.0], [0.0, 0.0, 1.0], [0.0, tolerance, 1.0]])
        x /= np.linalg.norm(x, axis=1)[:, None]
        distance = np.linalg.norm(
            cs.simulate(spec, x, rng=0, coalesce=tolerance).final - cs.simulate(spec, x, rng=0).final, axis=1
        ).max()
        assert 1e-2 * tolerance < distance < tolerance * math.exp(4.0 * 0.5)


def on_circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def merged(x, *, coalesce, weights=None):
    """The tokens after a step that is too short to move them, but for merging."""
    spec = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1e-12, n_steps=1, scheme="rk4")
    return cs.simulate(spec, x, rng=0, coalesce=coalesce, weights=weights).final


def test_a_chain_of_close_tokens_that_is_longer_than_the_tolerance_stays():
    chain = on_circle(0.9e-3 * np.arange(5))
    np.testing.assert_allclose(merged(chain, coalesce=1e-3), chain, atol=1e-9)
    assert len(np.unique(merged(chain, coalesce=1e-2), axis=0)) == 1


def test_tokens_merge_at_their_weighted_mean():
    x, weights = on_circle(np.array([0.0, 1e-3, 2.0])), [0.675, 0.075, 0.25]
    end = merged(x, coalesce=1e-2, weights=weights)
    np.testing.assert_allclose(end[:2], on_circle(np.array([1e-4, 1e-4])), atol=1e-9)
    np.testing.assert_allclose(end[2], x[2], atol=1e-9)


def test_times_within_a_step_are_filled_in_once():
    inside = Inside(times=np.array([0.1, 0.2, 0.3]), states=np.empty((3, 1, 4, 2)))
    assert _after(inside, 0.2, shape=(1, 2, 2)).times.tolist() == [0.3]


def test_common_noise_moves_merged_tokens_alike():
    field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
    spec = model("heun", field, n_steps=200)
    full = cs.simulate(spec, X, rng=0).final
    merged = cs.simulate(spec, X, rng=0, coalesce=1e-6).final
    assert len(np.unique(merged, axis=0)) < 40
    np.testing.assert_allclose(merged, full, atol=1e-4)


def test_resumed_runs_are_bitwise_identical(tmp_path):
    class Observe:
        is_failing = True

        def identity_facts(self):
            return "t"

        def __call__(self, time, tokens):
            if self.is_failing and time > 8:
                raise RuntimeError("in the middle")
            return time

    observe = Observe()
    options = {"rng": 0, "coalesce": 1e-4, "observe": {"t": observe}}
    path = tmp_path / "run.npz"
    with pytest.raises(RuntimeError, match="in the middle"):
        cs.simulate(model(), X, checkpoint=cs.Checkpoint(path=path, every_steps=1), **options)
    assert path.exists()
    observe.is_failing = False
    resumed = cs.simulate(model(), X, checkpoint=cs.Checkpoint(path=path, every_steps=1), **options)
    assert np.array_equal(resumed.final, cs.simulate(model(), X, **options).final)


def test_long_times():
    """Inner steps grow once clusters are single tokens: without merging this time needs millions of them."""
    sol = cs.simulate(model(horizon=1e7, n_steps=1), X, rng=0, coalesce=1e-9)
    groups = cs.measures.clusters(sol.final, scale=0.0)
    assert len(groups.sizes) < 10
    assert groups.sizes.sum() == 40


def test_what_is_refused():
    with pytest.raises(ValueError, match="coalesce needs a model without noise"):
        cs.simulate(model("projected-euler", temperature=0.1), X, rng=0, coalesce=1e-6)
    with pytest.raises(ValueError, match="coalesce needs one system"):
        cs.simulate(model(), np.stack([X, X]), rng=0, coalesce=1e-6)
    causal = cs.Transformer(attention=cs.SoftmaxAttention(mask="causal"), mlp=None, depth=2, horizon=1.0)
    with pytest.raises(ValueError, match="without an order"):
        cs.simulate(causal, X, rng=0, coalesce=1e-6)
    with pytest.raises(ValueError, match="coalesce must"):
        cs.simulate(model(), X, rng=0, coalesce=0.0)
    nodes = cs.MeanField(model=model("projected-euler"), law=cs.laws.Uniform(dim=3), n_nodes=8)
    with pytest.raises(ValueError, match="coalesce needs a model that takes weights"):
        cs.simulate(nodes, X, rng=0, coalesce=1e-6)
