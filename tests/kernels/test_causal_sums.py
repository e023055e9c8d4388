"""Attention under a causal mask agrees with its dense twin, whatever the kernel."""

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape

DECAYS = [0.0, 3.0, 50.0, 1e4, 1e15]  # the third and more are beyond what is folded into weights


def factors(form):
    """Q and K, both dense, with QᵀK = form."""
    q = cases.rotation(len(form), 7) * 2
    return q, np.linalg.solve(q.T, form)


def check(attention, x, form, *, norm, weights=None, value=None, value_norm=1.0):
    result = attention.evaluate(x, weights, n_threads=1)
    mean, log_partition = twins.causal_attention(x, form, weights=weights, decay=attention.decay, value=value)
    dim, dtype = x.shape[-1], x.dtype.type
    atol = twins.attention_tolerance(norm, dim, dtype, value_norm=value_norm)
    twins.assert_close(result.value, mean, atol=atol, dtype=dtype)
    # The logarithm of a decay is rounded once, as large as it is.
    twins.assert_close(result.log_partition, log_partition, atol=atol, rtol=4 * np.finfo(dtype).eps)
    assert result.energy is None


@pytest.mark.parametrize(("n", "dim"), cases.SHAPES)
def test_every_shape(isa, dtype, n, dim):
    x = cases.tokens(n, dim, dtype, n_replicas=2 if n < 300 else 1)
    attention = cs.SoftmaxAttention(beta=3.0, mask="causal", method="direct")
    for weights in (None, cases.weights(n)):
        check(attention, x, 3.0, norm=3.0, weights=weights)


@pytest.mark.parametrize("decay", DECAYS)
def test_decay(isa, dtype, decay):
    for n, dim in ((1, 3), (2, 2), (33, 5), (193, 3), (300, 3), (520, 23)):
        x = cases.tokens(n, dim, dtype, n_replicas=2)
        attention = cs.SoftmaxAttention(beta=3.0, mask="causal", decay=decay, value_scale=-0.5, method="direct")
        for weights in (None, cases.weights(n)):
            # The decay is folded into weights, and there it is rounded.
            check(attention, x, 3.0, norm=4.0, value=-0.5, weights=weights)


@pytest.mark.parametrize("kind", ["psd", "general"])
@pytest.mark.parametrize("norm", [3.0, 20.0, 300.0])
def test_general_matrices(dtype, kind, norm):
    for n, dim in ((70, 3), (300, 17), (520, 23)):
        form, value = cases.form(kind, dim, norm), cases.form("general", dim, 2.0, seed=3)
        query, key = factors(form)
        x, p = cases.tokens(n, dim, dtype), cases.weights(n)
        for decay in (0.0, 10.0, 1e3):
            attention = cs.SoftmaxAttention(query=query, key=key, value=value, mask="causal", decay=decay)
            # V adds a product of `dim` terms of size |V| <= 2; A x, rounded, another of size norm.
            check(attention, x, form, norm=2 * norm + 1, weights=p, value=value, value_norm=2.0)


@pytest.mark.parametrize("decay", [0.0, 40.0])
@pytest.mark.parametrize(("k", "v"), [(2, 3), (9, 1)])
def test_heads(isa, dtype, decay, k, v):
    rng, dim, x = np.random.default_rng(5), 40, cases.tokens(300, 40, dtype, n_replicas=2)
    query, key, value, output = (m / np.linalg.norm(m, 2) for m in rng.standard_normal((4, max(k, v), dim)))
    query, key, value, output = 2 * query[:k], 2 * key[:k], value[:v], output[:v].T
    attention = cs.SoftmaxAttention(query=query, key=key, value=value, output=output, mask="causal", decay=decay)
    assert attention.plan(Shape.of(x)).head is not None
    check(attention, x, query.T @ key, norm=2 * 4 + 1, value=output @ value)


@pytest.mark.parametrize("decay", [0.0, 3.0, 1e3])
@pytest.mark.parametrize(("n", "dim"), [(33, 3), (300, 3), (1600, 3), (600, 23)])
@pytest.mark.parametrize("n_replicas", [1, 40])
def test_threads_do_not_change_a_bit(dtype, decay, n, dim, n_replicas):
    x = cases.tokens(n, dim, dtype, n_replicas=1 if n > 1000 else n_replicas)
    attention = cs.SoftmaxAttention(beta=3.0, mask="causal", decay=decay, method="direct")
    one = attention.evaluate(x, n_threads=1)
    for n_threads in (2, 3, 7):
        several = attention.evaluate(x, n_threads=n_threads)
        assert np.array_equal(several.value, one.value)
        assert np.array_equal(several.log_partition, one.log_partition)
    for replica in (0, len(x) - 1):
        assert np.array_equal(attention(x[replica], n_threads=2), one.value[replica])


@pytest.mark.parametrize("decay", [0.0, 3.0, 1e3])
@pytest.mark.parametrize("beta", [2.0, 1e3])
def test_rows_are_those_of_the_whole(dtype, decay, beta):
    n, size = 600, 96
    x = cases.tokens(n, 3, dtype, n_replicas=2)
    p = cases.weights(n)
    plan = cs.SoftmaxAttention(beta=beta, mask="causal", decay=decay, method="direct").plan(Shape.of(x), p)
    full = plan.attend(x, n_threads=2)
    for first, stop in ((0, size), (size, 3 * size), (3 * size, n), (n - n % size, n)):
        part = plan.attend_part(x, first=first, stop=stop, n_threads=2)
        assert np.array_equal(part.mean, full.mean[:, first:stop])
        assert np.array_equal(part.log_partition(), full.log_partition()[:, first:stop])


@pytest.mark.parametrize("decay", [0.0, 3.0, 1e3])
@pytest.mark.parametrize("dim", [3, 23])
def test_later_tokens_change_no_bit(dtype, decay, dim):
    n, kept = 600, 300
    x = cases.tokens(n, dim, dtype)[0]
    y = np.concatenate([x[:kept], x[kept:][::-1], x[:0]])
    attention = cs.SoftmaxAttention(beta=3.0, mask="causal", decay=decay, method="direct")
    before, after = attention.evaluate(x), attention.evaluate(y)
    assert np.array_equal(before.value[:kept], after.value[:kept])
    assert np.array_equal(before.log_partition[:kept], after.log_partition[:kept])
    assert not np.array_equal(before.value[kept:], after.value[kept:])


def test_a_token_far_from_all_before_it(dtype):
    """With little weight of its own, the common shift loses its prefix: it is summed anew."""
    n, beta = 300, 480.0 if dtype == np.float64 else 40.0
    x = np.repeat(np.array([[0.0, 0.6, 0.8]], dtype), n, axis=0)
    x[[70, 150, 299]] *= -1
    p = np.ones(n)
    p[[70, 150, 299]] = 1e-300 if dtype == np.float64 else 1e-30
    p /= p.sum()
    attention = cs.SoftmaxAttention(beta=beta, mask="causal", method="direct")
    result = attention.evaluate(x, p)
    mean, log_partition = twins.causal_attention(x, beta, weights=p)
    atol = twins.attention_tolerance(beta, 3, dtype)
    twins.assert_close(result.value, mean, atol=atol, dtype=dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)
