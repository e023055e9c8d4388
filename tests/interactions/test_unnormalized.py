"""Unnormalised attention against its dense twin, in every method, and the energies of both attentions."""

import math

import numpy as np
import pytest
from support import cases, twins
from support.shares import Share

import chaosphere as cs
from chaosphere.common.shape import Shape

EDGES = [1, 2, 31, 32, 33, 257]
DIMS = [2, 3, 5, 17]
DTYPES = [np.float64, np.float32]


def tolerance(beta, x, *, value_scale=1.0):
    """For each token's drift over its partition sum: mean and sum are off by the bound of attention, e^s by |s| ε."""
    eps = float(np.finfo(x.dtype).eps)
    return abs(value_scale) * (
        2 * twins.attention_tolerance(beta, x.shape[-1], x.dtype)
        + (beta + math.log(x.shape[-2]) + 4) * np.finfo(float).eps
        + 2 * eps
    )


def check(x, *, beta, weights=None, value_scale=1.0, rescaled=False):
    attention = cs.UnnormalizedAttention(beta=beta, value_scale=value_scale, rescaled=rescaled, method="direct")
    drift, sums = twins.unnormalized(x, beta, weights=weights, value_scale=value_scale, rescaled=rescaled)
    atol = tolerance(beta, x, value_scale=value_scale) * sums[..., None]
    twins.assert_close(attention(x, weights), drift, atol=atol, dtype=x.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("n", EDGES)
def test_every_block_shape(n, dim, dtype):
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    check(x[0], beta=2.0)
    check(x, beta=5.0, weights=cases.weights(n), value_scale=-0.7, rescaled=True)
    check(x, beta=5.0, weights=cases.weights(n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [0.0, 1e-30, 1e-3, 50.0])
def test_sizes_of_beta(beta, dtype):
    check(cases.tokens(65, 5, dtype), beta=beta)


@pytest.mark.parametrize("beta", [300.0, 1e4, 1e8])
def test_rescaled_serves_any_beta(beta):
    """Far tokens have sums that underflow; a token's own weight, 1/N, does not."""
    x = cases.tokens(65, 3)
    check(x, beta=beta, rescaled=True)
    far = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    drift = cs.UnnormalizedAttention(beta=beta, rescaled=True)(far, [1.0, 0.0, 0.0])
    assert np.array_equal(drift[:, 1], np.zeros(3))
    rtol = 8 * (beta + 4) * np.finfo(float).eps  # of exponents up to 2β
    np.testing.assert_allclose(drift[:, 0], [1.0, math.exp(-2 * beta), math.exp(-beta)], rtol=rtol, atol=0)


@pytest.mark.parametrize("method", ["fourier", "harmonic", "nufft"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rescaled", [False, True])
def test_expansions_keep_their_tolerance(method, dtype, rescaled):
    rtol, beta = 1e-5, 6.0
    for dim in {"fourier": (2,), "harmonic": (3, 4), "nufft": (2, 3)}[method]:
        x = cases.tokens(400, dim, dtype, n_replicas=2)
        for weights in (None, cases.weights(400)):
            fast = cs.UnnormalizedAttention(beta=beta, value_scale=-2.0, rescaled=rescaled, method=method, rtol=rtol)
            drift, sums = twins.unnormalized(x, beta, weights=weights, value_scale=-2.0, rescaled=rescaled)
            slack = 0.0 if dtype == np.float64 else 2 * beta * 1e-7  # tokens are projected onto the sphere
            atol = 2.0 * (1.5 * rtol + slack) * sums[..., None]
            twins.assert_close(fast(x, weights), drift, atol=atol, dtype=dtype)


def test_an_expansion_sums_far_tokens_directly():
    """A few tokens opposite to all others, whose sums are lost in the error of the series."""
    x = np.concatenate([cs.sample_von_mises_fisher(2000, [1.0, 0.0], concentration=1e4, rng=0), [[-1.0, 0.0]]])
    p = np.append(np.full(2000, 1 / 2000), 0.0)
    fast, direct = (
        cs.UnnormalizedAttention(beta=20.0, rescaled=True, method=m)(x, p, n_threads=1) for m in ("fourier", "direct")
    )
    assert abs(direct[-1]).max() < 1e-16
    np.testing.assert_allclose(fast[-1], direct[-1], rtol=1e-13, atol=0)


@pytest.mark.parametrize("method", ["direct", "harmonic", "nufft"])
def test_layouts_of_memory_change_nothing(method):
    x = cases.tokens(200, 3, n_replicas=2)
    attention = cs.UnnormalizedAttention(beta=2.0, method=method)
    drift = attention(x, cases.weights(200))
    for name, y in cases.layouts(x).items():
        assert np.array_equal(attention(y, cases.weights(200)), drift), name


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize(("n", "method"), [(300, "direct"), (300, "harmonic")])
def test_threads_change_nothing(n, method, n_threads):
    x, attention = cs.sample_uniform(n, 3, rng=0), cs.UnnormalizedAttention(beta=2.0, method=method)
    assert np.array_equal(attention(x, n_threads=1), attention(x, n_threads=n_threads))


def test_rescaled_differs_by_a_factor():
    x = cs.sample_uniform(100, 3, rng=0)
    plain, rescaled = (cs.UnnormalizedAttention(beta=3.0, rescaled=flag)(x) for flag in (False, True))
    np.testing.assert_allclose(rescaled * math.exp(3.0), plain, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("dim", "beta", "method"), [(3, 4.0, "direct"), (3, 4.0, "harmonic"), (2, 1e12, "direct")])
def test_rows_of_a_process_are_those_of_the_whole(dim, beta, method, dtype):
    beta = min(beta, 1e4) if dtype == np.float32 else beta
    x = cases.tokens(100, dim, dtype, n_replicas=2)
    plan = cs.UnnormalizedAttention(beta=beta, rescaled=True, method=method).plan(Shape.of(x))
    drift = plan.drift(x, n_threads=1)
    for first, stop in [(0, 32), (32, 100)]:
        mine = plan.distribute(Share(x, first, stop)).drift(x[:, first:stop], n_threads=2)
        assert np.array_equal(mine, drift[:, first:stop])


def test_passive_tracers_are_not_felt():
    x, p = cases.tokens(60, 3), cases.weights(40)
    for method in ("direct", "harmonic"):
        plan = cs.UnnormalizedAttention(beta=2.0, method=method).plan(Shape.of(x), p)
        want, sums = twins.unnormalized(x, 2.0, weights=np.append(p, np.zeros(20)))
        drift = plan.drift(x, n_threads=1)
        twins.assert_close(drift, want, atol=1e-11 * sums[..., None])
        for first, stop in ((0, 32), (40, 60), (32, 60)):
            assert np.array_equal(plan.rows(x, first=first, stop=stop, n_threads=1), drift[:, first:stop])


def test_resolved_once_is_resolved():
    resolved = cs.UnnormalizedAttention(beta=4.0, rescaled=True).resolve(100_000, 3)
    assert (resolved.method, resolved.rescaled, resolved.beta) == ("harmonic", True, 4.0)
    assert resolved.resolve(100_000, 3) == resolved
    assert resolved.rtol == cs.SoftmaxAttention(beta=4.0).resolve(100_000, 3).rtol


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"beta": -1.0}, ValueError, r"beta must be a finite number >= 0, got -1.0"),
        ({"beta": None}, TypeError, r"beta must be a real number, got None"),
        ({"beta": math.inf}, ValueError, r"beta must be a finite number"),
        ({"beta": 1e15, "rescaled": True}, ValueError, r"beta must be <= 4.5e\+13"),
        ({"value_scale": math.nan}, ValueError, r"value_scale must be a finite number"),
        ({"value_scale": "1"}, TypeError, r"value_scale must be a real number"),
        ({"rescaled": 1}, TypeError, r"rescaled must be True or False, got 1 \(int\)"),
        ({"method": "fast"}, ValueError, r"method: unknown 'fast'"),
        ({"rtol": 2.0}, ValueError, r"rtol must be a finite number >= 1e-13 and <= 0.1"),
        ({"rtol": 1e-6, "method": "direct"}, ValueError, r"rtol must be None with method='direct'"),
        (
            {"beta": 231.0},
            ValueError,
            r"e\^beta, and value_scale times it, must be <= 1e\+100 .* got beta = 231 and value_scale = 1; rescaled",
        ),
        ({"beta": 229.0, "value_scale": -1e3}, ValueError, r"value_scale times it, must be <= 1e\+100"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        cs.UnnormalizedAttention(**changes)


def test_beta_that_is_too_large_for_the_tokens():
    x = cs.sample_uniform(10, 3, rng=0)
    attention = cs.UnnormalizedAttention(beta=75.0)
    assert np.isfinite(attention(x)).all()
    with pytest.raises(ValueError, match=r"must be <= 3.4e\+30 in size for float32 tokens, got beta = 75"):
        attention(x.astype(np.float32))
    model = cs.Transformer(attention=attention, mlp=None, depth=2, horizon=1.0)
    with pytest.raises(ValueError, match=r"rescaled=True divides by e\^beta"):
        cs.simulate(model, x.astype(np.float32), rng=0)
    rescaled = cs.UnnormalizedAttention(beta=75.0, rescaled=True)
    assert np.isfinite(rescaled(x.astype(np.float32))).all()
    with pytest.raises(ValueError, match="got beta = 1000 and value_scale = 0"):
        cs.UnnormalizedAttention(beta=1e3, value_scale=0.0)


@pytest.mark.parametrize("method", ["__call__", "energy"])
def test_bad_calls(method):
    call, x = getattr(cs.UnnormalizedAttention(), method), cs.sample_uniform(10, 3, rng=0)
    with pytest.raises(ValueError, match="x must lie on the unit sphere"):
        call(2 * x)
    with pytest.raises(ValueError, match="weights must sum to 1"):
        call(x, np.ones(10))
    with pytest.raises(ValueError, match="n_threads must be an integer >= 1"):
        call(x, n_threads=0)
