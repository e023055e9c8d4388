"""Attention with QᵀK = βI agrees with its dense twin for every block shape, layout, weight and size of β."""

from functools import cache

import numpy as np
import pytest
from support import cases, twins

from chaosphere.interactions.softmax import SoftmaxAttention


@cache
def expected(n, dim, dtype, n_replicas, beta, weighted):
    x = cases.tokens(n, dim, dtype, n_replicas=n_replicas)
    return twins.attention(x, beta, weights=cases.weights(n) if weighted else None)


def check(x, beta, weights=None, want=None, n_threads=1):
    """One evaluation against the twin, within the derived bound."""
    result = SoftmaxAttention(beta=beta).evaluate(x, weights, n_threads=n_threads)
    mean, log_partition = twins.attention(x, beta, weights=weights) if want is None else want
    atol = twins.attention_tolerance(beta, x.shape[-1], x.dtype)
    twins.assert_close(result.value, mean, atol=atol, dtype=x.dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)
    return result


@pytest.mark.parametrize(("n", "dim"), cases.SHAPES)
def test_every_block_shape(isa, dtype, n, dim):
    check(cases.tokens(n, dim, dtype)[0], 2.0, want=tuple(a[0] for a in expected(n, dim, dtype, 1, 2.0, False)))


@pytest.mark.parametrize(("n", "dim"), [s for s in cases.SHAPES if s[0] < 1000])
def test_every_block_shape_with_weights_and_replicas(isa, dtype, n, dim):
    x = cases.tokens(n, dim, dtype, n_replicas=3)
    check(x, 5.0, cases.weights(n), expected(n, dim, dtype, 3, 5.0, True))


@pytest.mark.parametrize("beta", [0.0, 1e-30, 1e-3, 50.0, 700.0, 1e4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "dim"), [(65, 5), (300, 47)])  # weights kept in chunks, and all at once
def test_sizes_of_beta(isa, dtype, beta, weighted, n, dim):
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    check(x, beta, cases.weights(n) if weighted else None, expected(n, dim, dtype, 2, beta, weighted))


def test_beta_zero_is_the_weighted_mean(isa):
    x, p = cases.tokens(100, 3)[0], cases.weights(100)
    eps = np.finfo(float).eps
    mean = np.broadcast_to(p @ x, x.shape)
    # Sums of terms p_i x_i of total size <= 1 in chains of at most a few dozen.
    twins.assert_close(SoftmaxAttention(beta=0.0)(x, p, n_threads=1), mean, atol=8 * eps)


def test_the_limit_of_beta(isa, dtype):
    # At the limit weights carry a few hundredths by statement; a lone token and exact duplicates must come out exactly.
    limit = 0.0099 / float(np.finfo(dtype).eps)
    x = cases.tokens(40, 3, dtype)[0]
    x[20:] = x[:20]
    value = SoftmaxAttention(beta=limit)(x, n_threads=1)
    twins.assert_close(value, x, atol=4 * np.finfo(dtype).eps, dtype=dtype)
    with pytest.raises(ValueError, match="beta must be <="):
        SoftmaxAttention(beta=1.02 * limit)(x, n_threads=1)


@pytest.mark.parametrize("beta", [1e9, 1e11, 1e12, 4e13])
@pytest.mark.parametrize("radius", [1 - 9e-10, 1 + 9e-10])
def test_tokens_at_the_edge_of_the_tolerance_do_not_overflow(isa, beta, radius):
    # |x| may be off by 1e-9: scores exceed β by up to 2e-9 β, thousands of powers of two at the largest β.
    x = radius * cases.tokens(40, 3)[0]
    twins.assert_close(SoftmaxAttention(beta=beta)(x, n_threads=1), x, atol=1e-15)


@pytest.mark.parametrize("beta", [5e-324, 1e-300, 1e-100, 1e-85])
def test_tiny_beta_gives_the_mean(isa, dtype, beta):
    x = cases.tokens(40, 3, dtype)[0]
    mean = np.broadcast_to(x.astype(float).mean(axis=0), x.shape)
    twins.assert_close(SoftmaxAttention(beta=beta)(x, n_threads=1), mean, atol=8 * np.finfo(dtype).eps, dtype=dtype)


@pytest.mark.parametrize("beta", [1.0, 30.0, 1e4])
def test_antipodes(isa, dtype, beta):
    x = cases.tokens(33, 3, dtype)[0]
    x = np.concatenate([x, -x])
    check(x, beta)
    value = SoftmaxAttention(beta=beta)(x, n_threads=1)
    # Attention of a set that is symmetric under x -> -x is odd; only the order of the sums differs.
    twins.assert_close(value[33:], -value[:33], atol=twins.attention_tolerance(beta, 3, dtype), dtype=dtype)


@pytest.mark.parametrize("beta", [1.0, 1e4])
def test_duplicates_and_consensus(isa, dtype, beta):
    x = cases.tokens(50, 17, dtype)[0]
    x[10:] = x[np.arange(40) % 10]
    value = check(x, beta).value
    same = np.repeat(x[:1], 70, axis=0)
    # Equal tokens have equal weights whatever the rounding of the score, so β does not enter. Each of two sums of 70
    # equal terms is off by 70/4 eps at most; the largest of 200 tokens was 17 eps for both.
    consensus = SoftmaxAttention(beta=beta)(same, n_threads=1)
    twins.assert_close(consensus, same, rtol=(70 / 2 + 4) * np.finfo(dtype).eps, dtype=dtype)
    twins.assert_close(value[10:20], value[:10], atol=twins.attention_tolerance(beta, 17, dtype), dtype=dtype)


@pytest.mark.parametrize("beta", [1.0, 60.0, 1e3, 1e4])
def test_a_token_of_weight_zero_far_from_all_others(isa, dtype, beta):
    # e^{-2β} underflows: the partition of the lone token must come from another pass.
    n = 70
    x = cases.tokens(n, 3, dtype)[0]
    x[:, 2] = -3 - np.abs(x[:, 2])
    x[[0, 40]] = [[0, 0, 1], [0.6, 0, 0.8]]
    x = x / np.linalg.norm(x, axis=1, keepdims=True).astype(dtype)
    p = cases.weights(n)
    p[[0, 40]] = 0
    check(np.stack([x, x[::-1], x]), beta, p / p.sum(), want=None)


def test_tiny_weights(isa, dtype):
    n = 40
    x = cases.tokens(n, 3, dtype)[0]
    p = 10.0 ** -np.linspace(0, 320, n)  # down to subnormal
    for beta in (1.0, 300.0):
        check(x, beta, p / p.sum())
        check(x[::-1].copy(), beta, (p / p.sum())[::-1].copy())


def test_all_weight_on_one_token(isa, dtype):
    x, p = cases.tokens(50, 3, dtype)[0], np.zeros(50)
    p[33] = 1
    twins.assert_close(
        SoftmaxAttention(beta=500.0)(x, p, n_threads=1),
        np.repeat(x[33:34], 50, axis=0),
        atol=4 * np.finfo(dtype).eps,
        dtype=dtype,
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_layouts_do_not_matter(isa, dtype, weighted):
    x = cases.tokens(70, 5, dtype, n_replicas=2)
    p = cases.weights(70) if weighted else None
    want = SoftmaxAttention(beta=3.0)(x, p, n_threads=1)
    for name, same in cases.layouts(x).items():
        assert np.array_equal(same, x), name
        assert np.array_equal(SoftmaxAttention(beta=3.0)(same, p, n_threads=1), want), name
    if p is not None:
        p.flags.writeable = False
        assert np.array_equal(SoftmaxAttention(beta=3.0)(x, p, n_threads=1), want)
        assert np.array_equal(SoftmaxAttention(beta=3.0)(x, np.repeat(p, 2)[::2], n_threads=1), want)


def test_one_token_in_many_replicas_without_a_copy(isa):
    x = np.broadcast_to(cases.tokens(40, 3), (4, 40, 3))
    value = SoftmaxAttention(beta=3.0)(x, n_threads=1)
    assert np.array_equal(value, np.broadcast_to(value[:1], value.shape))


@pytest.mark.parametrize("n", [1, 33, 257])
def test_replicas_equal_single_runs_bit_for_bit(isa, dtype, n):
    x, p = cases.tokens(n, 3, dtype, n_replicas=3), cases.weights(n)
    for weights in (None, p):
        batch = SoftmaxAttention(beta=4.0).evaluate(x, weights, n_threads=1)
        for replica in range(3):
            alone = SoftmaxAttention(beta=4.0).evaluate(x[replica], weights, n_threads=1)
            assert np.array_equal(batch.value[replica], alone.value)
            assert np.array_equal(batch.log_partition[replica], alone.log_partition)
            assert batch.energy[replica] == alone.energy
