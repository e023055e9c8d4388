"""Hardmax attention is the limit β → ∞ of softmax attention; what has no meaning for it is refused by name."""

import math

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.kernels.blocks import block_size

X = cs.sample_uniform(60, 3, rng=0)
Z = cs.sample_uniform(40, 3, rng=1)
QUERY, KEY = np.random.default_rng(0).standard_normal((2, 2, 3))
HARDMAX = cs.SoftmaxAttention(beta=math.inf)
KERNEL = cs.CovarianceKernel.from_activation("relu", dim=3)
GENERAL = cs.SoftmaxAttention(beta=math.inf, query=QUERY, key=KEY)


def gap(x, keys, form):
    """Least difference between the largest score and the next, over the queries."""
    scores = np.sort(x @ form.T @ keys.T, axis=1)
    return float((scores[:, -1] - scores[:, -2]).min())


@pytest.mark.parametrize("factor", [1.0, 10.0, 100.0])
def test_limit_of_softmax_attention(factor):
    # The other N − 1 tokens have at most e^{−β gap} of the weight each.
    beta = factor * math.log(1e3) / gap(X, X, KEY.T @ QUERY)
    soft = cs.SoftmaxAttention(query=beta * QUERY, key=KEY)(X)
    assert abs(soft - GENERAL(X)).max() <= 2 * len(X) * 1e-3**factor + 1e-14
    beta = factor * math.log(1e3) / gap(X, Z, np.eye(3))
    soft = cs.SoftmaxAttention(beta=beta)(X, sources=Z)
    assert abs(soft - HARDMAX(X, sources=Z)).max() <= 2 * len(Z) * 1e-3**factor + 1e-14


def test_ties_are_the_limit_with_weights():
    x = np.array([[0.6, 0.8], [-0.6, 0.8], [0.6, 0.8], [0.0, -1.0]])
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    query, key = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]])
    hard = cs.SoftmaxAttention(beta=math.inf, query=query, key=key)(x, weights)
    soft = cs.SoftmaxAttention(query=1e3 * query, key=key)(x, weights)
    np.testing.assert_allclose(hard, soft, atol=1e-14)
    np.testing.assert_allclose(hard[0], [(0.1 * 0.6 - 0.2 * 0.6 + 0.3 * 0.6) / 0.6, 0.8], atol=1e-15)


def test_every_token_attends_to_itself():
    assert np.array_equal(HARDMAX(X), X)
    assert HARDMAX.consensus_rate == 0.0
    assert GENERAL.consensus_rate is None
    assert cs.SoftmaxAttention(beta=math.inf, value=np.ones((3, 3)) + np.eye(3)).consensus_rate is None


def test_passive_tracers_attend_to_the_nearest_source():
    batch = np.concatenate([Z, X])[None]
    plan = HARDMAX.plan(Shape.of(batch), np.full(len(Z), 1 / len(Z)))
    drift = plan.drift(batch, n_threads=1)[0]
    nearest = ((X[:, None] - Z) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(drift, np.concatenate([Z, Z[nearest]]))
    assert np.array_equal(plan.rows(batch, first=32, stop=100, n_threads=1)[0], drift[32:])
    weights = np.append(np.full(len(Z), 1 / len(Z)), np.zeros(len(X)))
    assert np.array_equal(HARDMAX(batch[0], weights), drift)


def test_value_and_scale():
    value = cases.form("general", 3, 2.0)
    mapped = cs.SoftmaxAttention(beta=math.inf, query=QUERY, key=KEY, value=value)(X)
    np.testing.assert_allclose(mapped, GENERAL(X) @ value.T, atol=1e-15)
    narrow = cs.SoftmaxAttention(beta=math.inf, query=QUERY, key=KEY, value=value[:1], output=value[:, :1])(X)
    np.testing.assert_allclose(narrow, GENERAL(X) @ (value[:, :1] @ value[:1]).T, atol=1e-14)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_the_size_of_the_matrices_does_not_matter(size):
    scaled = cs.SoftmaxAttention(beta=math.inf, query=size * QUERY, key=size * KEY)
    assert np.array_equal(scaled(X.astype(np.float32)), GENERAL(X.astype(np.float32)))


def test_runs_schedules_and_heads():
    # With V = δI and QᵀK = ∞I tokens stay where they are; with general matrices they meet.
    model = cs.Transformer(attention=HARDMAX, mlp=None, depth=30, horizon=3.0)
    np.testing.assert_allclose(cs.simulate(model, X, rng=0).final, X, atol=1e-14)
    model = cs.Transformer(attention=GENERAL, mlp=None, depth=200, horizon=20.0)
    assert cs.measures.cluster_count(cs.simulate(model, X, rng=0).final, tolerance=1e-3) < 10
    fading = cs.SoftmaxAttention(beta=math.inf, query=QUERY, key=KEY, value_scale=[1.0, 0.0])
    np.testing.assert_array_equal(fading.at(0.0, step=0)(X), GENERAL(X))
    model = cs.Transformer(attention=fading, mlp=None, depth=2, horizon=1.0)
    step = cs.Transformer(attention=GENERAL, mlp=None, depth=1, horizon=0.5)
    np.testing.assert_allclose(cs.simulate(model, X, rng=0).final, cs.simulate(step, X, rng=0).final, atol=1e-15)
    heads = cs.MultiHeadAttention(heads=[GENERAL, cs.SoftmaxAttention(beta=1.0)])
    np.testing.assert_allclose(heads(X), (GENERAL(X) + cs.SoftmaxAttention(beta=1.0)(X)) / 2, atol=1e-15)


CAUSAL = cs.SoftmaxAttention(beta=math.inf, query=QUERY, key=KEY, mask="causal")


def test_under_a_mask_it_is_the_limit_of_causal_attention():
    x = X.copy()
    x[30:] = x[:30]  # equal scores, at different places
    weights = cases.weights(60)
    weights[0] = max(weights[0], 0.1)
    weights /= weights.sum()
    scores = np.where(np.tri(60, dtype=bool), (x @ QUERY.T) @ (x @ KEY.T).T, -np.inf)
    gaps = [np.diff(np.unique(row[np.isfinite(row)].round(12)))[-1:] for row in scores]
    beta = 40 / min(gap[0] for gap in gaps if len(gap))
    for decay, p in ((0.0, None), (3.0, None), (3.0, weights)):
        hard = cs.SoftmaxAttention(beta=math.inf, query=QUERY, key=KEY, mask="causal", decay=decay)
        soft = cs.SoftmaxAttention(query=beta * QUERY, key=KEY, mask="causal", decay=decay)
        np.testing.assert_allclose(hard(x, p), soft(x, p), atol=1e-10)
        want = twins.hardmax(x, x, query=QUERY, key=KEY, weights=p, is_causal=True, decay=decay)
        np.testing.assert_allclose(hard(x, p), want, atol=1e-14)


def test_under_a_mask_with_scores_of_the_identity_a_token_attends_to_itself():
    masked = cs.SoftmaxAttention(beta=math.inf, mask="causal")
    assert masked.is_ordered
    assert np.array_equal(masked(X), X)
    weights = np.append(np.full(30, 1 / 30), np.zeros(30))
    nearest = ((X[30:, None] - X[:30]) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(masked(X, weights)[30:], X[:30][nearest])


def test_masked_runs_heads_and_parts():
    x = cs.sample_uniform(200, 3, rng=0, n_replicas=2)
    drift = CAUSAL(x)
    plan = CAUSAL.plan(Shape.of(x))
    assert plan.is_ordered
    assert plan.pairs == 200 * 201 / 2
    size = block_size(200)
    np.testing.assert_array_equal(plan.rows(x, first=size, stop=2 * size, n_threads=2), drift[:, size : 2 * size])
    np.testing.assert_array_equal(CAUSAL(x[:, :120]), drift[:, :120])
    heads = cs.MultiHeadAttention(heads=[CAUSAL, cs.SoftmaxAttention(beta=1.0, mask="causal")])
    soft = cs.SoftmaxAttention(beta=1.0, mask="causal")(x)
    np.testing.assert_allclose(heads(x), (drift + soft) / 2, atol=1e-15)
    model = cs.Transformer(attention=CAUSAL, mlp=None, depth=20, horizon=2.0)
    np.testing.assert_array_equal(
        cs.simulate(model, x, rng=0).final[:, :120], cs.simulate(model, x[:, :120], rng=0).final
    )


def test_under_a_mask_places_of_infinitely_many_tokens():
    # Each layer sees those before it and half of its own; which token has the largest score does not depend on that.
    law = cs.laws.Uniform(dim=3)
    model = cs.LimitSDE(attention=CAUSAL, field=None, horizon=1.0, n_steps=4)
    limit = cs.MeanField(model=model, law=law, n_nodes=72, n_places=2)
    final = cs.simulate(limit, limit.start(), rng=0).final
    alone = cs.LimitSDE(attention=GENERAL, field=None, horizon=1.0, n_steps=4)
    np.testing.assert_allclose(final[:72], cs.simulate(alone, limit.nodes[:72], rng=0).final, atol=1e-14)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.append(0.0, np.full(59, 1 / 59)), "must be > 0 with mask='causal'"),
        (np.append(np.full(59, 1 / 59), 1e-90), "weights must be 0 or >= 1e-80"),
    ],
)
def test_weights_under_a_mask(weights, message):
    masked = cs.SoftmaxAttention(beta=math.inf, mask="causal", decay=1.0)
    with pytest.raises(ValueError, match=message):
        masked(X, weights)


def test_it_compares_and_resolves():
    assert cs.SoftmaxAttention(beta=np.float32("inf")) == HARDMAX
    assert cs.SoftmaxAttention(beta=1.0) != HARDMAX
    assert HARDMAX.resolve(10**6, 3).method == "direct"
    assert repr(HARDMAX) == "SoftmaxAttention(beta=inf)"
    assert GENERAL.energy(X) is None


REFUSED = {
    "partition sums": lambda: HARDMAX.evaluate(X),
    "energy": lambda: HARDMAX.energy(X),
    "energy growth": lambda: HARDMAX.energy_growth(1.0),
    "growth of general matrices": lambda: GENERAL.energy_growth(1.0),
    "growth of a head": lambda: cs.MultiHeadAttention(heads=[HARDMAX]).energy_growth(1.0),
    "circle drift": lambda: HARDMAX.circle_drift(8),
    "sphere drift": lambda: HARDMAX.sphere_drift(8),
    "axisymmetric drift": lambda: HARDMAX.axisymmetric_drift([0.0, 1.0], 3),
    "linear response": lambda: HARDMAX.linear_response(1, 3),
    "growth rate": lambda: cs.theory.growth_rate(HARDMAX, 1, 3),
    "critical temperature": lambda: cs.theory.critical_temperature(HARDMAX, 3),
    "jvp": lambda: HARDMAX.jvp(X, X),
    "vjp": lambda: HARDMAX.vjp(X, X),
    "gradient": lambda: cs.gradient(
        cs.Transformer(attention=HARDMAX, mlp=None, depth=2, horizon=1.0), X, lambda x: (0.0, x), rng=0
    ),
    "schedule": lambda: cs.SoftmaxAttention(beta=[1.0, math.inf]),
    "function": lambda: cs.SoftmaxAttention(beta=lambda t: math.inf).check_schedule(n_steps=2, horizon=1.0),
    "unnormalised": lambda: cs.UnnormalizedAttention(beta=math.inf),
    "sinkhorn": lambda: cs.SinkhornAttention(beta=math.inf),
    "random": lambda: cs.RandomAttention(beta=math.inf),
    "measure": lambda: cs.measures.energy(X, math.inf),
    "two tokens": lambda: cs.two_point.energy_ratio(KERNEL, 1.0, beta=math.inf, u0=0.0),
    "equiangular": lambda: cs.theory.equiangular("pre", n_tokens=6, beta=math.inf, cosine=0.1, times=3.0),
    "masked partition sums": lambda: CAUSAL.evaluate(X),
    "masked jvp": lambda: CAUSAL.jvp(X, X),
    "minus infinity": lambda: cs.SoftmaxAttention(beta=-math.inf),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_meaning_is_refused(name):
    with pytest.raises(ValueError, match="beta"):
        REFUSED[name]()


@pytest.mark.parametrize(
    "options", [{"method": "fourier"}, {"method": "nufft"}, {"rtol": 1e-6}, {"decay": 501.0, "mask": "causal"}]
)
def test_options_that_do_not_go_with_it(options):
    with pytest.raises(ValueError, match=rf"{next(iter(options))} must be .* with beta=inf"):
        cs.SoftmaxAttention(beta=math.inf, **options)
