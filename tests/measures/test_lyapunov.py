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


FIELD = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3), tolerance=1e-3)
ATTENTION = cs.SoftmaxAttention(beta=2.0)
MODELS = {
    "layers": MODEL,
    "network": cs.Transformer(attention=ATTENTION, mlp=cs.MLP(width=16, activation="tanh"), depth=20, horizon=1.0),
    "field": cs.LimitSDE(attention=ATTENTION, field=FIELD, horizon=1.0, n_steps=20, scheme="heun"),
    "random heads": cs.Transformer(
        attention=cs.RandomAttention(head_dim=2, query_key_std=0.5), mlp=None, depth=20, horizon=1.0
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_tangents_against_differences(name):
    """A difference of 1e-6 carries an error of its order; relu has no kink between the copies."""
    x = cs.sample_uniform(4, 5 if name == "layers" else 3, rng=0)
    tangent, difference = (
        cs.measures.lyapunov_spectrum(MODELS[name], x, rng=3, n_exponents=3, separation=separation)
        for separation in (None, 1e-6)
    )
    np.testing.assert_allclose(tangent, difference, rtol=0, atol=1e-4)
    assert (tangent != difference).all()
    top, other = (
        cs.measures.lyapunov_exponent(MODELS[name], x, rng=3, separation=separation) for separation in (None, 1e-6)
    )
    assert top == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("scheme", [None, "projected-euler", "heun", "rk4"])
def test_spectrum_at_consensus(scheme):
    """N equal tokens stay: the mean of tangents stays, and their (N − 1)(d − 1) differences shrink, all alike.

    The factor in each layer is 1/(1 + hδ), and 1 − hδ in each step of the projected method. In continuous time the
    rate is −δ, which methods of order 2 and 4 reach at their order. The sum of the exponents is that of a volume, so
    that it does not depend on the first tangents.
    """
    attention, n_steps, horizon, delta = cs.SoftmaxAttention(beta=3.0, value_scale=0.7), 40, 2.0, 0.7
    if scheme is None:
        model = cs.Transformer(attention=attention, mlp=None, depth=n_steps, horizon=horizon)
    else:
        model = cs.LimitSDE(attention=attention, field=None, horizon=horizon, n_steps=n_steps, scheme=scheme)
    x = np.repeat(cs.sample_uniform(1, 3, rng=0), 4, axis=0)
    total = cs.measures.lyapunov_spectrum(model, x, rng=1).sum()
    step = delta * horizon / n_steps
    if scheme is None:
        assert total == pytest.approx(-6 * delta * np.log1p(step) / step, rel=1e-12)
    elif scheme == "projected-euler":  # X + h P_X Attn is X itself, so that nothing divides
        assert total == pytest.approx(6 * delta * np.log1p(-step) / step, rel=1e-12)
    else:
        assert total == pytest.approx(-6 * delta, rel=step ** (2 if scheme == "heun" else 4))


def test_steps_without_a_derivative_take_differences():
    """A spectrum and an exponent of an interaction that is a function, bitwise those of differences of 1e-7."""
    attention = cs.CustomInteraction(lambda x, weights: np.broadcast_to(weights @ x, x.shape).copy())
    model = cs.Transformer(attention=attention, mlp=cs.MLP(width=8), depth=10, horizon=1.0)
    x = cs.sample_uniform(4, 3, rng=0)
    for measure in (cs.measures.lyapunov_exponent, cs.measures.lyapunov_spectrum):
        np.testing.assert_array_equal(measure(model, x, rng=3), measure(model, x, rng=3, separation=1e-7))


def test_threads_do_not_change_a_bit():
    x = cs.sample_uniform(300, 3, rng=0)
    one, two = (cs.measures.lyapunov_exponent(MODELS["network"], x, rng=3, n_threads=n) for n in (1, 2))
    assert one == two
