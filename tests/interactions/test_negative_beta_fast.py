"""Sums of O(N) for QᵀK = βI, β < 0: fast is direct to the tolerance, and what an expansion cannot serve is direct."""

import numpy as np
import pytest
from support import twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.geometry import expansions

BETAS = [-0.1, -1.0, -8.0]
METHODS = [("fourier", 2), ("harmonic", 3), ("harmonic", 4), ("nufft", 2), ("nufft", 3)]


def errors(attention, x, p=None):
    """Largest errors of attention and of log Z, beside the sums over pairs."""
    fast = attention.evaluate(x, p)
    want, log_partition = twins.attention(x.astype(np.float64), attention.beta, weights=p)
    return abs(fast.value - want).max(), abs(fast.log_partition - log_partition).max()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(("method", "dim"), METHODS)
@pytest.mark.parametrize("rtol", [1e-4, 1e-9, None])
def test_fast_is_direct(method, dim, beta, rtol):
    x = cs.sample_uniform(400, dim, rng=0)
    attention = cs.SoftmaxAttention(beta=beta, method=method, rtol=rtol)
    tolerance = attention.resolve(400, dim).rtol
    of_mean, of_sum = errors(attention, x)
    assert of_mean <= tolerance + 1e-13
    assert of_sum <= tolerance + 1e-13
    n_direct = attention.plan(Shape.of(x[None])).attend(x[None], n_threads=1).n_direct
    assert n_direct == 0 or (method == "nufft" and n_direct < 40)


@pytest.mark.parametrize(("method", "dim"), METHODS)
def test_weights_and_float32(method, dim):
    x = cs.sample_uniform(300, dim, rng=1)
    p = np.random.default_rng(0).dirichlet(np.ones(300))
    attention = cs.SoftmaxAttention(beta=-4.0, method=method, rtol=1e-8)
    assert max(errors(attention, x, p)) <= 1e-8
    small = cs.SoftmaxAttention(beta=-4.0, method=method, rtol=1e-5)
    assert max(errors(small, x.astype(np.float32), p)) <= 2e-5


@pytest.mark.parametrize(("method", "dim"), METHODS)
@pytest.mark.parametrize("beta", BETAS)
def test_clusters_are_summed_directly_where_the_terms_cancel(method, dim, beta):
    # All terms are near e^{−|β|}: in units of e^{|β|} they are e^{−2|β|}, the sums of an expansion cancel.
    x = cs.sample_uniform(300, dim, rng=2)
    x = x + 12 * np.eye(dim)[0]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    attention = cs.SoftmaxAttention(beta=beta, method=method, rtol=1e-9)
    assert max(errors(attention, x)) <= 1e-9
    n_direct = attention.plan(Shape.of(x[None])).attend(x[None], n_threads=1).n_direct
    if beta == -0.1 and method != "nufft":
        assert (n_direct == 0).all()
    if beta == -8.0 and method == "nufft":
        assert (n_direct == 300).all()


@pytest.mark.parametrize("beta", [-200.0, -9e3])
def test_large_sizes_on_the_circle(beta):
    x = cs.sample_uniform(3000, 2, rng=3)
    assert max(errors(cs.SoftmaxAttention(beta=beta, method="fourier", rtol=1e-9), x)) <= 1e-9


@pytest.mark.parametrize("beta", BETAS)
def test_under_a_mask_on_the_circle(beta):
    x = cs.sample_uniform(500, 2, rng=4)
    p = np.random.default_rng(0).dirichlet(np.ones(500))
    for decay, weights in ((0.0, None), (5.0, p)):
        attention = cs.SoftmaxAttention(beta=beta, mask="causal", decay=decay, method="fourier", rtol=1e-9)
        want, log_partition = twins.causal_attention(x, beta, weights=weights, decay=decay)
        result = attention.evaluate(x, weights)
        assert abs(result.value - want).max() <= 1e-9
        assert abs(result.log_partition - log_partition).max() <= 1e-9


def test_under_a_mask_on_spheres_it_is_direct():
    masked = cs.SoftmaxAttention(beta=-1.0, mask="causal")
    assert masked.resolve(10**6, 2).method == "fourier"
    assert masked.resolve(10**6, 3).method == "direct"
    with pytest.raises(ValueError, match=r"method='harmonic' needs beta >= 0 with mask='causal'"):
        cs.SoftmaxAttention(beta=-1.0, mask="causal", method="harmonic").resolve(10**6, 3)


def test_values_matrices_and_threads():
    x = cs.sample_uniform(700, 3, rng=5)
    value = np.random.default_rng(0).standard_normal((3, 3))
    attention = cs.SoftmaxAttention(query=-2 * np.eye(3), key=np.eye(3), value=value, method="harmonic", rtol=1e-10)
    want = twins.attention(x, -2.0)[0] @ value.T
    results = [attention(x, n_threads=n_threads) for n_threads in (1, 2, 3)]
    assert abs(results[0] - want).max() <= 1e-10 * np.linalg.norm(value, 2)
    assert all(np.array_equal(result, results[0]) for result in results)


def test_auto_takes_them_for_many_tokens():
    negative = cs.SoftmaxAttention(beta=-4.0)
    positive = cs.SoftmaxAttention(beta=4.0)
    for n_tokens in (100, 1000, 10_000, 10**6):
        for dim in (2, 3, 5):
            assert negative.resolve(n_tokens, dim).method == positive.resolve(n_tokens, dim).method
            assert negative.resolve(n_tokens, dim).rtol == positive.resolve(n_tokens, dim).rtol


def test_a_run_takes_them():
    x = cs.sample_uniform(600, 2, rng=6)
    fast, direct = (
        cs.simulate(
            cs.Transformer(
                attention=cs.SoftmaxAttention(beta=-2.0, value_scale=-1.0, method=method),
                mlp=None,
                depth=20,
                horizon=1.0,
            ),
            x,
            rng=0,
        ).final
        for method in ("fourier", "direct")
    )
    np.testing.assert_allclose(fast, direct, atol=1e-11)


def test_factors_alternate():
    for dim in (2, 3, 7):
        plus, minus = expansions.multipliers(3.0, dim), expansions.multipliers(-3.0, dim)
        np.testing.assert_array_equal(minus[::2], plus[::2])
        np.testing.assert_array_equal(minus[1::2], -plus[1::2])
        np.testing.assert_array_equal(expansions.tails(-3.0, dim), expansions.tails(3.0, dim))
        assert expansions.degree(-3.0, dim, 1e-9) == expansions.degree(3.0, dim, 1e-9)


@pytest.mark.parametrize(("method", "dim"), [("harmonic", 2), ("fourier", 3), ("nufft", 4)])
def test_what_is_not_served_is_refused(method, dim):
    with pytest.raises(ValueError, match=rf"method='{method}' serves dim"):
        cs.SoftmaxAttention(beta=-1.0, method=method).resolve(1000, dim)
    with pytest.raises(ValueError, match=r"method='nufft' serves \|β\| from 0.1"):
        cs.SoftmaxAttention(beta=-0.05, method="nufft").resolve(1000, 2)
    with pytest.raises(ValueError, match=r"needs QᵀK = βI; use method"):
        cs.SoftmaxAttention(query=np.diag([1.0, 2.0]), key=np.eye(2), method=method)
