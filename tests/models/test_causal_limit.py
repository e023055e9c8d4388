"""The limit of infinitely many tokens under a causal mask: a measure for each place, on layers of nodes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from support import twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.layered import prefix_shares
from chaosphere.models.protocol import Model
from chaosphere.simulation.identity import describe, differences

LAWS = [cs.laws.VonMisesFisher(mean_direction=mean, concentration=2.0) for mean in ((1.0, 0.0), (0.0, 1.0))]
SOFTMAX, UNNORMALIZED = cs.SoftmaxAttention(beta=2.0), cs.UnnormalizedAttention(beta=1.0)
FORM = cs.SoftmaxAttention(query=np.diag([1.0, 2.0]), key=np.eye(2), value=np.eye(2))
HEADS = cs.MultiHeadAttention(heads=[SOFTMAX, cs.SoftmaxAttention(beta=1.0, mask="causal", decay=1.0)])
MLP = cs.MLP(width=16, activation="tanh", bias_std=0.3)


def network(attention, *, depth=8, mlp=MLP):
    return cs.Transformer(attention=attention, mlp=mlp, depth=depth, horizon=1.0)


def masked(attention, *, decay=0.0):
    return replace(attention, mask="causal", decay=decay)


@pytest.mark.parametrize("attention", [SOFTMAX, UNNORMALIZED, FORM])
@pytest.mark.parametrize("decay", [0.0, 2.0])
def test_one_law_at_all_places_is_the_limit_without_a_mask(attention, decay):
    passive = cs.sample_uniform(5, 2, rng=1)
    finals = []
    for of_model in (attention, masked(attention, decay=decay)):
        limit = cs.MeanField(model=network(of_model), law=LAWS[0], n_nodes=32)
        finals.append(cs.simulate(limit, limit.start(passive), rng=3).final)
    assert np.array_equal(*finals)
    # Several places of one law say the same, each up to rounding.
    limit = cs.MeanField(model=network(masked(attention, decay=decay)), law=LAWS[0], n_nodes=32, n_places=3)
    final = cs.simulate(limit, limit.start(passive), rng=3).final
    for place in range(3):
        np.testing.assert_allclose(final[32 * place : 32 * (place + 1)], finals[0][:32], rtol=0, atol=1e-13)
    np.testing.assert_allclose(final[96:], finals[0][32:], rtol=0, atol=1e-13)


def twin_drift(x, weights, *, n_passive, decay, drift):
    """Return the drift of layers, and of passive tokens interpolated between their edges; `drift(queries, keys, p)`."""
    k_layers, n = weights.shape
    nodes, passive = x[: k_layers * n].reshape(k_layers, n, -1), x[k_layers * n :]

    def seen(k, own_share, queries):
        low = np.arange(k) / k_layers
        high = np.append(low[1:], (k - 1 + own_share) / k_layers)
        share = high - low if decay == 0 else (np.exp(decay * high) - np.exp(decay * low)) / decay
        p = (share / share.sum())[:, None] * weights[:k]
        return drift(queries, nodes[:k].reshape(-1, x.shape[1]), p.ravel())

    edges = np.arange(1, k_layers + 1) / k_layers
    at_edges = np.array([seen(k, 1.0, passive) for k in range(1, k_layers + 1)])
    of_passive = np.empty_like(passive)
    for i, c in np.ndindex(passive.shape):
        of_passive[i, c] = np.interp((i + 1) / n_passive, edges, at_edges[:, i, c])
    return np.concatenate([*(seen(k + 1, 0.5, nodes[k]) for k in range(k_layers)), of_passive])


@pytest.mark.parametrize("decay", [0.0, 3.0])
@pytest.mark.parametrize("n_passive", [0, 1, 2, 11])
@pytest.mark.parametrize("method", ["direct", "harmonic"])
def test_drift_against_its_twin(decay, n_passive, method):
    n, k_layers, dim = 70, 3, 3
    x = cs.sample_uniform(k_layers * n + n_passive, dim, rng=0, n_replicas=2)
    weights = np.random.default_rng(0).dirichlet(np.ones(n), k_layers)

    def softmax(queries, keys, p):
        w = p * np.exp(1.5 * queries @ keys.T)
        return w @ keys / w.sum(axis=1, keepdims=True)

    def unnormalized(queries, keys, p):
        return (p * np.exp(1.5 * queries @ keys.T)) @ keys

    kinds = {softmax: cs.SoftmaxAttention, unnormalized: cs.UnnormalizedAttention}
    for twin, kind in kinds.items():
        attention = kind(beta=1.5, mask="causal", decay=decay, method=method)
        plan = attention.plan(Shape.of(x), weights)
        assert not plan.is_ordered
        expected = [twin_drift(y, weights, n_passive=n_passive, decay=decay, drift=twin) for y in x]
        np.testing.assert_allclose(plan.drift(x, n_threads=2), expected, rtol=0, atol=1e-9)
        twins.assert_close(plan.drift(x, n_threads=1), plan.drift(x, n_threads=2), atol=0)
        assert n_passive or plan.pairs == n * n * 6


def test_error_is_of_second_order_in_the_number_of_places():
    """The mean of the tokens of each law, and passive tokens at 1/2 and 1, against many places, with noise."""

    def values(n_places):
        limit = cs.MeanField(model=network(masked(SOFTMAX, decay=1.0)), law=LAWS, n_nodes=16, n_places=n_places)
        final = cs.simulate(limit, limit.start(np.array([[0.6, 0.8], [0.0, -1.0]])), rng=0).final
        weighted = limit.weights[:, None] * final[:-2]
        return np.array([*np.sum(np.split(weighted, 2), axis=1), *final[-2:]])

    reference = values(96)
    errors = np.array([abs(values(k) - reference).max(axis=1) for k in (4, 8, 16)])
    assert errors[:, [0, 2]].max() < 1e-13  # the first law alone
    assert (-np.diff(np.log2(errors[:, [1, 3]]), axis=0) > 1.6).all()
    assert errors[2].max() < 2e-3


@pytest.mark.parametrize("attention", [masked(SOFTMAX, decay=1.0), HEADS])
def test_many_tokens_approach_it(attention):
    """Tokens at quantiles of their law, those of every prefix spread evenly: the error falls as log N / N."""
    model, n = network(attention), 1024
    grid = np.linspace(-math.pi, math.pi, 4001)
    quantiles = np.arange(1, n + 1) * (math.sqrt(5) - 1) / 2 % 1
    angle = np.interp(quantiles, scipy.stats.vonmises(2.0).cdf(grid), grid)
    start = np.concatenate([np.stack([np.cos(a), np.sin(a)], axis=1) for a in (angle, angle + np.pi / 2)])
    means = np.mean(np.split(cs.simulate(model, start, rng=5).final, 2), axis=1)
    limit = cs.MeanField(model=model, law=LAWS, n_nodes=32, n_places=16)
    weighted = 2 * limit.weights[:, None] * cs.simulate(limit, limit.start(), rng=5).final
    expected = np.sum(np.split(weighted, 2), axis=1)
    assert np.abs(means - expected).max() < 2e-3
    plain = cs.simulate(network(SOFTMAX), start, rng=5).final
    assert np.abs(np.mean(np.split(plain, 2), axis=1) - expected).max() > 0.05


def test_shares():
    assert prefix_shares(1, decay=0.0, own_share=0.5).tolist() == [1.0]
    assert prefix_shares(3, decay=0.0, own_share=0.5).tolist() == [0.4, 0.4, 0.2]
    assert prefix_shares(3, decay=1e12, own_share=0.5).tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(prefix_shares(3, decay=1e-9, own_share=0.5), [0.4, 0.4, 0.2], atol=1e-9)
    np.testing.assert_allclose(prefix_shares(2, decay=np.log(2), own_share=1.0), [1 / 3, 2 / 3], atol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_places": 0}, "n_places must be an integer >= 1"),
        ({"law": LAWS, "n_places": 3}, "n_places must be a multiple of the number of laws, 2, got 3"),
        ({"law": []}, "law must be a law, or a list or tuple of laws"),
        ({"law": [LAWS[0], cs.laws.Uniform(dim=3)]}, r"laws of one dim, got dims \[2, 3\]"),
        ({"model": network(SOFTMAX), "n_places": 2}, "one law and one place for a model without a causal mask"),
        ({"model": network(SOFTMAX), "law": LAWS}, "one law and one place for a model without a causal mask"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        cs.MeanField(**{"model": network(masked(SOFTMAX)), "law": LAWS[0], "n_nodes": 8} | arguments)
    with pytest.raises(TypeError, match=r"law\[1\] must have dim"):
        cs.MeanField(model=network(masked(SOFTMAX)), law=[LAWS[0], 3], n_nodes=8)


def test_a_model_that_does_not_say_that_it_is_ordered():
    class Hidden(Model):
        n_steps, horizon, has_own_noise = 8, 1.0, False

        def plan(self, shape, weights=None):
            return network(masked(SOFTMAX)).plan(shape, weights)

    limit = cs.MeanField(model=Hidden(), law=LAWS[0], n_nodes=8)
    with pytest.raises(ValueError, match="model must say that it is ordered"):
        cs.simulate(limit, limit.start(), rng=0)


def test_identity_knows_the_places():
    limit = cs.MeanField(model=network(masked(SOFTMAX)), law=list(LAWS), n_nodes=8, n_places=4)
    same, other = replace(limit, law=tuple(LAWS)), replace(limit, n_nodes=16, n_places=2)
    first, second, third = (describe(spec.plan(Shape(n_tokens=32, dim=2)).describe()) for spec in (limit, same, other))
    assert first == second
    assert "n_places is 4, not 2" in differences(first, third)
    plain = describe(replace(limit, law=LAWS[0], n_places=None).plan(Shape(n_tokens=8, dim=2)).describe())
    assert "n_places" not in plain
