"""Exponents of close tokens: spectrum, moments, dimensions."""

import math

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.noise.covariance import CovarianceKernel


def power(n, dim):
    return CovarianceKernel.from_function(lambda u: u**n, dim=dim, derivative=lambda u: n * u ** (n - 1))


def kernel_of(dim, value, slope):
    """A kernel with given κ(1) and κ′(1): c_0 + c_1 u."""
    return CovarianceKernel.from_spectrum([value - slope, slope], dim=dim)


@pytest.mark.parametrize(
    ("dim", "value", "slope", "spectrum", "moments", "critical"),
    [
        (4, 0.7, 0.5, [-0.8, -1.3, -1.8], [-0.25, -0.2, 0.8, 3.0], 4 / 3),
        (3, 0.5, 0.5, [-0.5, -1.0], [-0.125, 0.0, 1.0, 3.0], 1.0),
        (5, 0.1, 0.1, [-0.1, -0.2, -0.3, -0.4], [-0.025, 0.0, 0.2, 0.6], 1.0),
    ],
)
def test_spectrum_and_moments(dim, value, slope, spectrum, moments, critical):
    k = kernel_of(dim, value, slope)
    np.testing.assert_allclose(k.lyapunov_spectrum(), spectrum, rtol=1e-14)
    np.testing.assert_allclose([k.moment_exponent(p) for p in (0.5, 1, 2, 3)], moments, rtol=1e-13, atol=1e-15)
    assert k.critical_moment() == pytest.approx(critical, rel=1e-14)
    assert k.moment_exponent(k.critical_moment()) == pytest.approx(0.0, abs=1e-15)
    assert k.moment_exponent(2.0) == pytest.approx(k.lambda_bar(), rel=1e-13)
    assert k.correlation_dimension() == k.kaplan_yorke_dimension() == 0.0


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_the_sum_of_all_exponents(dim):
    """The divergence of the flow: −½(d−1)[κ′(1) + (d−1)κ(1)]."""
    k = CovarianceKernel.from_activation("silu", dim=dim, bias_std=0.2)
    expected = -0.5 * (dim - 1) * (k.derivative(1.0) + (dim - 1) * k(1.0))
    assert k.lyapunov_spectrum().sum() == pytest.approx(expected, rel=1e-13)
    assert k.lyapunov_spectrum()[0] == k.lyapunov_exponent()


@pytest.mark.parametrize(("dim", "n", "correlation", "kaplan_yorke"), [(5, 3, 0.5, 1.5), (8, 3, 2.0, 3.6)])
def test_dimensions(dim, n, correlation, kaplan_yorke):
    k = power(n, dim)
    assert k.correlation_dimension() == pytest.approx(correlation, rel=1e-12)
    assert k.kaplan_yorke_dimension() == pytest.approx(kaplan_yorke, rel=1e-12)


@pytest.mark.parametrize("name", ["critical_moment", "correlation_dimension", "kaplan_yorke_dimension"])
def test_no_noise(name):
    k = CovarianceKernel.from_spectrum([0.0], dim=4)
    with pytest.raises(ValueError, match=r"kernel: kappa\(1\) = 0"):
        getattr(k, name)()


@pytest.mark.parametrize("dim", [2, 5])
def test_moments_of_small_distances(dim):
    """E|X − Y|^p of pairs at a distance of 1e-8 is e^{Λ(p)T} times that at the start, for p = ½, 1, 2.

    Null: |X − Y|^p is log-normal, with Λ(p) and s². 3 000 pairs, T = 0.3 in 100 steps of the geodesic scheme; the
    standard error of the mean is exact, z for a false-alarm rate of 1e-6, and 1.5 % allow for the steps.
    """
    kernel = CovarianceKernel.from_function(lambda u: 0.1 + 0.4 * u + 0.1 * u**2, dim=dim)
    n, horizon = 3000, 0.3
    field = cs.GaussianField(kernel=kernel)
    model = cs.LimitSDE(attention=None, field=field, horizon=horizon, n_steps=100, scheme="geodesic-euler")
    x = np.zeros((n, 2, dim))
    x[:, :, 0], x[:, 1, 1] = 1.0, 1e-8
    y = cs.simulate(model, cs.normalize(x), rng=5).final
    ratio = np.linalg.norm(y[:, 0] - y[:, 1], axis=1) / 1e-8
    s2 = kernel(1.0) + kernel.derivative(1.0)
    for p in (0.5, 1.0, 2.0):
        expected = math.exp(kernel.moment_exponent(p) * horizon)
        error = expected * math.sqrt(math.expm1(p**2 * s2 * horizon) / n)
        assert abs((ratio**p).mean() - expected) < 4.9 * error + 0.015 * expected
