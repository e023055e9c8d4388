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
    with pytest.raises(ValueError, match=r"n_replicas is for x of shape \(n_tokens, dim\)"):
        cs.measures.lyapunov_exponent(MODEL, X[None], rng=0, n_replicas=3)
