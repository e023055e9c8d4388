"""Lyapunov exponents over replicas."""

import numpy as np
import pytest
from scipy import stats

import chaosphere as cs

FALSE_ALARM = 1e-6
MODEL = cs.Transformer(attention=None, mlp=cs.MLP(width=64, activation="relu"), depth=60, horizon=1.0)
X = cs.sample_uniform(1, 5, rng=0)


def test_replicas_are_runs_of_a_batch_of_the_same_tokens():
    estimate = cs.measures.lyapunov_exponent(MODEL, X, rng=3, n_replicas=8)
    batch = cs.measures.lyapunov_exponent(MODEL, np.repeat(X[None], 8, axis=0), rng=3)
    np.testing.assert_array_equal(estimate.per_replica, batch)
    assert estimate.per_replica[0] == cs.measures.lyapunov_exponent(MODEL, X, rng=3)
    assert (estimate.value, estimate.low, estimate.high) == cs.stats.mean_interval(batch)
    assert "per_replica" not in repr(estimate)


def test_interval_holds_lambda_1():
    """Null: the mean over replicas is λ1; the bias of the depth and the width is below a standard error.

    1 000 replicas; false-alarm rate 1e-6, so the interval of 99 % is widened by the ratio of Student's quantiles.
    """
    n = 1000
    expected = MODEL.mlp.kernel(5).lyapunov_exponent()
    estimate = cs.measures.lyapunov_exponent(MODEL, X, rng=1, n_replicas=n)
    wider = stats.t.isf(FALSE_ALARM / 2, n - 1) / stats.t.isf(0.005, n - 1)
    assert estimate.low < estimate.value < estimate.high
    assert abs(estimate.value - expected) < wider * (estimate.high - estimate.value)
    # Narrow enough to tell λ1 from 0.
    assert wider * (estimate.high - estimate.value) < abs(expected)


def test_bad_numbers_of_replicas():
    with pytest.raises(ValueError, match="n_replicas must be an integer >= 2, got 1"):
        cs.measures.lyapunov_exponent(MODEL, X, rng=0, n_replicas=1)
    with pytest.raises(ValueError, match=r"n_replicas = 1000000000000000000 .* more than the"):
        cs.measures.lyapunov_exponent(MODEL, X, rng=0, n_replicas=10**18)
    with pytest.raises(ValueError, match=r"n_replicas is for x of shape \(n_tokens, dim\)"):
        cs.measures.lyapunov_exponent(MODEL, X[None], rng=0, n_replicas=3)


def test_the_first_exponent_of_the_spectrum_is_the_top_one():
    """The same growth of one vector; its random direction differs in rounding alone."""
    top = cs.measures.lyapunov_exponent(MODEL, X, rng=3)
    first = cs.measures.lyapunov_spectrum(MODEL, X, rng=3, n_exponents=1)
    assert first.shape == (1,)
    assert first[0] == pytest.approx(top, abs=1e-5)
    batch = cs.measures.lyapunov_spectrum(MODEL, np.stack([X, X[:, ::-1]]), rng=3, n_exponents=2)
    assert batch.shape == (2, 2)
    assert batch[0, 0] == pytest.approx(first[0], abs=1e-5)


def test_spectrum_of_attention():
    """Two tokens that attract each other, V = δI: distances shrink at the rate δ, a rotation of both keeps theirs."""
    attention = cs.SoftmaxAttention(beta=1.0, value_scale=1.0)
    model = cs.Transformer(attention=attention, mlp=None, depth=400, horizon=4.0)
    start = cs.normalize(np.array([[1.0, 0.0, 1e-4], [1.0, 0.0, -1e-4]]))
    exponents = cs.measures.lyapunov_spectrum(model, start, rng=0)
    np.testing.assert_allclose(np.sort(exponents), [-1.0, -1.0, 0.0, 0.0], atol=0.25)
    assert exponents.sum() == pytest.approx(-2.0, abs=0.01)


@pytest.mark.parametrize(
    ("n_replicas", "n_steps"), [(1500, 100), pytest.param(8000, 200, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_law_of_the_spectrum(n_replicas, n_steps):
    """Null: T times the exponents of one token are Gaussian, means λ_i T, covariance T(κ(1) + κ′(1)δ_ij).

    T = 1, d = 4, so nine comparisons: three means, by the normal law; the variances of the three, of their sum and of
    two contrasts, by χ². False-alarm rate 1e-7 each, 1e-6 together. The step 1/100 (1/200) biases means by 0.01 (0.006)
    and variances by at most 4 % (2 %), less than a half of what the tests can tell.
    """
    kernel = cs.CovarianceKernel.from_spectrum([0.2, 0.5], dim=4)
    field = cs.GaussianField(kernel=kernel)
    model = cs.LimitSDE(attention=None, field=field, horizon=1.0, n_steps=n_steps)
    x = np.repeat(cs.sample_uniform(1, 4, rng=0)[None], n_replicas, axis=0)
    exponents = cs.measures.lyapunov_spectrum(model, x, rng=5)
    value, slope = kernel(1.0), kernel.derivative(1.0)
    covariance = value + slope * np.eye(3)
    error = np.sqrt(np.diag(covariance) / n_replicas)
    z = (exponents.mean(axis=0) - kernel.lyapunov_spectrum()) / error
    assert np.all(2 * stats.norm.sf(np.abs(z)) > 1e-7)
    for row in [*np.eye(3), np.ones(3), np.array([1.0, -1.0, 0.0]), np.array([1.0, 1.0, -2.0])]:
        ratio = (n_replicas - 1) * np.var(exponents @ row, ddof=1) / (row @ covariance @ row)
        tails = stats.chi2.cdf(ratio, n_replicas - 1), stats.chi2.sf(ratio, n_replicas - 1)
        assert 2 * min(tails) > 1e-7
        # The contrasts have the variance of κ′(1) alone: without the common part the test would fail.
        assert stats.chi2.sf(1.5 * ratio, n_replicas - 1) < 1e-7


def test_bad_numbers_of_exponents():
    with pytest.raises(ValueError, match=r"n_exponents must be an integer <= 4, got 5"):
        cs.measures.lyapunov_spectrum(MODEL, X, rng=0, n_exponents=5)
    with pytest.raises(TypeError, match="x must be float64"):
        cs.measures.lyapunov_spectrum(MODEL, X.astype(np.float32), rng=0)
