"""Sums of attention coefficients without means, and means with weights of each system's own."""

import math

import numpy as np
import pytest
from support import cases, twins

from chaosphere.kernels import attention

LOG2_E = math.log2(math.e)


def arguments(beta):
    """Scale and shift of e^{β(⟨x, y⟩ − 1)}."""
    return math.sqrt(beta * LOG2_E), beta * LOG2_E


def weights(n, n_replicas=2):
    return np.stack([cases.weights(n, seed) for seed in range(n_replicas)])


@pytest.mark.parametrize(("n", "dim"), cases.SHAPES)
def test_every_block_shape(n, dim, dtype, isa):
    x, p, beta = cases.tokens(n, dim, dtype, n_replicas=2), weights(n), 3.0
    sums = attention.partition_sums(x, p, *arguments(beta), 1)
    want = np.stack([twins.unnormalized(y, beta, weights=q, rescaled=True)[1] for y, q in zip(x, p, strict=True)])
    rtol = twins.attention_tolerance(beta, dim, dtype)
    twins.assert_close(sums, want, atol=rtol * want)
    assert np.array_equal(attention.partition_sums(x, p, *arguments(beta), 3), sums)
    assert np.array_equal(attention.partition_sums(x[1:], p[1:], *arguments(beta), 1), sums[1:])
    alike = attention.partition_sums(x, p[:1], *arguments(beta), 1)
    assert np.array_equal(alike, attention.partition_sums(x, np.repeat(p[:1], 2, axis=0), *arguments(beta), 1))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize(("n", "dim", "n_replicas"), [(33, 3, 5), (300, 3, 2), (40, 3, 60), (520, 23, 2)])
def test_means_with_weights_of_each_system(n, dim, n_replicas, n_threads, dtype, isa):
    x, p = cases.tokens(n, dim, dtype, n_replicas=n_replicas), weights(n, n_replicas)
    means, sums = attention.attend_bounded(x, None, None, p, *arguments(2.0), True, n_threads)
    for r in range(n_replicas):
        mean, total = attention.attend_bounded(x[r : r + 1], None, None, p[r : r + 1], *arguments(2.0), True, 1)
        assert np.array_equal(means[r], mean[0])
        assert np.array_equal(sums[r], total[0])


def test_coefficients_that_vanish(dtype, isa):
    """Of two antipodal clusters each sees itself alone."""
    x = np.repeat(np.array([[1.0, 0.0], [-1.0, 0.0]]), 20, axis=0).astype(dtype)[None]
    sums = attention.partition_sums(x, np.full((1, 40), 0.25), *arguments(1e4), 1)
    np.testing.assert_allclose(sums, 5.0, rtol=0, atol=2e-11 if dtype == np.float64 else 0.02)
