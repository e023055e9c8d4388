"""Stated rounding errors of attention, its log partition and its energy, against long double sums.

A weight carries a relative error of about |QᵀK| eps, yet the mean hardly feels it while the tokens are spread: at large
β the weights that matter belong to tokens within β^{-1/2} of the query, so errors of order β eps multiply a spread of
that order. The bounds here are those measured (9e-16 and 2e-7 over these cases) with a factor of two or more to spare.
"""

from functools import cache

import numpy as np
import pytest
from support import cases, twins

from chaosphere.interactions.softmax import SoftmaxAttention

pytestmark = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 2e-19, reason="long double is no wider than double on this machine"
)
BETAS = [0.0, 0.5, 1.0, 5.0, 20.0, 50.0]
N = 300
MEAN = {np.float64: 2e-15, np.float32: 1e-6}


@cache
def reference(dim, dtype, beta, is_weighted):
    p = cases.weights(N) if is_weighted else None
    return twins.attention(cases.tokens(N, dim, dtype)[0], beta, weights=p, dtype=np.longdouble)


def with_reference(dim, dtype, beta, is_weighted=False):
    p = cases.weights(N) if is_weighted else None
    result = SoftmaxAttention(beta=beta).evaluate(cases.tokens(N, dim, dtype)[0], p, n_threads=1)
    return result, *reference(dim, dtype, beta, is_weighted)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dim", cases.DIMS)
def test_attention_of_spread_tokens(isa, dtype, dim, beta):
    result, mean, log_partition = with_reference(dim, dtype, beta)
    twins.assert_close(result.value, mean, atol=MEAN[dtype], dtype=dtype)
    # The largest score, β|x|², is a sum of dim terms; the logarithm adds a rounding of its own value.
    eps = float(np.finfo(dtype).eps)
    twins.assert_close(result.log_partition, log_partition, atol=eps * (2 + beta * (2 + dim**0.5)) + 4e-15)


@pytest.mark.parametrize("beta", BETAS)
def test_attention_with_weights(isa, dtype, beta):
    result, mean, _ = with_reference(3, dtype, beta, True)
    twins.assert_close(result.value, mean, atol=MEAN[dtype], dtype=dtype)


@pytest.mark.parametrize("beta", [0.0, 0.02, 1.0, 50.0, 1e3, 1e4])
@pytest.mark.parametrize("spread", [1e-2, 1e-6])
@pytest.mark.parametrize("is_polar", [False, True], ids=["one cluster", "two antipodal clusters"])
def test_attention_of_clustered_tokens(isa, dtype, spread, is_polar, beta):
    # Weights within a cluster are off by β eps, but multiply differences of its size. At small β the far cluster
    # counts as well, with weights e^{-2β}; there β eps is small.
    pole = np.array([0.0, 0.6, 0.8])
    x = pole + spread * np.random.default_rng(1).standard_normal((N, 3))
    x[::2] *= -1 if is_polar else 1
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)
    mean, _ = twins.attention(x, beta, dtype=np.longdouble)
    eps = float(np.finfo(dtype).eps)
    got = SoftmaxAttention(beta=beta)(x, n_threads=1)
    twins.assert_close(got, mean, atol=MEAN[dtype] + eps * beta * spread, dtype=dtype)


@pytest.mark.parametrize("beta", [200.0, 1e3, 1e4])
@pytest.mark.parametrize("dim", [2, 3, 17])
def test_attention_at_large_beta(isa, dtype, dim, beta):
    # |error| <= β eps × β^{-1/2}, plus the rounding of the value; measured 7e-15 and 4e-6 at 1e4, a third of this.
    result, mean, _ = with_reference(dim, dtype, beta)
    eps = float(np.finfo(dtype).eps)
    twins.assert_close(result.value, mean, atol=eps * (2 + beta**0.5), dtype=dtype)


@pytest.mark.parametrize("beta", [0.5, 1.0, 20.0, 700.0])
@pytest.mark.parametrize("spread", [1.0, 1e-3, 0.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_energy_of_the_same_pass(isa, beta, spread, weighted):
    # Absolute, in units of e^β: the weights of near tokens carry (|x|² − 1) β, that is a few β eps.
    x = cases.tokens(200, 3)[0] * spread + (1 - spread) * np.array([0.0, 0.6, 0.8])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    p = cases.weights(200) if weighted else None
    got = SoftmaxAttention(beta=beta).evaluate(x, p, n_threads=1).energy * np.exp(-np.longdouble(beta))
    exact = twins.pair_energy(x, beta, p) / 2
    assert float(abs(got - exact)) <= (2 + 2 * beta) * 2.3e-16


@pytest.mark.parametrize("beta", [1.0, 5.0])
def test_energy_of_the_same_pass_in_single_precision(isa, beta):
    x = cases.tokens(200, 3, np.float32)[0]
    got = SoftmaxAttention(beta=beta).evaluate(x, n_threads=1).energy * np.exp(-beta)
    assert abs(got - twins.pair_energy(x, beta) / 2) <= (2 + 2 * beta) * 1.2e-7
