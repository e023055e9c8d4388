"""Spectra of kernels: Gegenbauer coefficients in closed form, from mpmath, and their sums."""

import math

import numpy as np
import pytest
from scipy import special

from chaosphere.noise.activations import Activation
from chaosphere.noise.covariance import CovarianceKernel

from_activation = CovarianceKernel.from_activation
U = np.cos(np.linspace(0.0, np.pi, 41))


@pytest.mark.parametrize(("dim", "tail"), [(2, "1.4e-05"), (3, "3.0e-05"), (5, "6.4e-05")])
def test_relu_tail_beyond_degree_16(dim, tail):
    k = from_activation("relu", dim=dim, weight_std=1.0)
    assert f"{k.spectrum_tail(16):.1e}" == tail


@pytest.mark.parametrize("dim", [2, 3, 8, 20, 128])
def test_relu_spectrum_is_exact_where_known(dim):
    # relu = x/2 + |x|/2, so the odd part of κ is u/4: c_1 = 1/4 and all other odd c_n are 0.
    c = from_activation("relu", dim=dim, weight_std=1.0).spectrum(9)
    np.testing.assert_allclose(c[1::2], [0.25, 0, 0, 0, 0], atol=1e-13)
    assert c.shape == (10,)


# c_n of relu (weight_std 1) from mpmath: quadrature of κ P_n sin^{d−2} with 30 digits.
def test_relu_spectrum_against_mpmath():
    assert from_activation("relu", dim=3, weight_std=1.0).spectrum(2)[2] == pytest.approx(15 / 256, rel=1e-13)
    for dim, n, value in RELU_COEFFICIENTS:
        c = from_activation("relu", dim=dim, weight_std=1.0).spectrum(n)
        assert c[n] == pytest.approx(value, rel=1e-6)


RELU_COEFFICIENTS = [
    (3, 16, 1.30931730382e-05),
    (8, 40, 1.54650341e-06),
    (20, 30, 1.10872477977e-05),
    (128, 16, 1.29896842610e-04),
]


@pytest.mark.parametrize("name", ["tanh", "silu", "erf", "relu"])
@pytest.mark.parametrize("dim", [2, 5, 64])
def test_spectrum_rebuilds_the_kernel(name, dim):
    k = from_activation(name, dim=dim, bias_std=0.2, output_bias_std=0.1)
    c = k.spectrum(60)
    assert np.all(c >= 0)
    assert np.sum(c) + k.spectrum_tail(60) == pytest.approx(k(1.0), rel=1e-12)
    again = CovarianceKernel.from_spectrum(c, dim=dim)
    tail = k.spectrum_tail(60) + 1e-13 * k(1.0)
    assert np.max(np.abs(again(U) - k(U))) <= 2 * tail
    np.testing.assert_array_equal(again.spectrum(70)[:61], c)


SIGN = Activation(name="sign", function=np.sign, is_odd=True, lipschitz=math.inf, kinks=(0.0,))


def test_spectra_on_the_circle_are_those_of_their_fourier_series():
    """sign: 1 − 2θ/π, c_n = 8/(πn)² for odd n; relu (q = 1): c_n = (4/π²)/(n² − 1)² for even n, to degree 1999."""
    n = np.arange(2000)
    odd = n % 2 == 1
    sign = from_activation(SIGN, dim=2)
    exact = np.where(odd, 8 / (np.pi * np.maximum(n, 1)) ** 2, 0)
    np.testing.assert_allclose(sign.spectrum(1999), exact, rtol=0, atol=2e-13)
    relu = from_activation("relu", dim=2, weight_std=1.0)
    exact = np.zeros(2000)
    exact[2::2] = 4 / np.pi**2 / (n[2::2] ** 2 - 1.0) ** 2
    exact[:2] = 2 / np.pi**2, 0.25
    np.testing.assert_allclose(relu.spectrum(1999), exact, rtol=0, atol=2e-15)


def test_spectra_on_the_circle_cost_no_gauss_rule(monkeypatch):
    """SciPy's rule of 16 520 nodes takes half a minute."""
    monkeypatch.setattr(special, "roots_legendre", None)
    for activation in ("relu", "erf", SIGN, lambda x: np.maximum(x, 0.1 * x)):
        k = from_activation(activation, dim=2)
        assert k.spectrum(1999).sum() == pytest.approx(k(1.0), rel=1e-3)


def test_spectrum_series_derivative():
    k = CovarianceKernel.from_spectrum([0.1, 0.2, 0.0, 0.3], dim=3)
    np.testing.assert_allclose(k.derivative(U), 0.2 + 0.3 * (7.5 * U**2 - 1.5), atol=1e-14)


def test_positive_definiteness_depends_on_the_dimension():
    def chebyshev4(u):
        return 8 * u**4 - 8 * u**2 + 1

    assert CovarianceKernel.from_function(chebyshev4, dim=2).spectrum(5)[4] == pytest.approx(1.0)
    # On S² its mean is ∫ T_4 du/2 = −1/15.
    with pytest.raises(ValueError, match=r"dim = 3: c_0 = -6.667e-02"):
        CovarianceKernel.from_function(chebyshev4, dim=3)


@pytest.mark.parametrize("dim", [2, 5, 128])
def test_kernel_from_a_function(dim):
    relu = from_activation("relu", dim=dim, bias_std=0.1)
    k = CovarianceKernel.from_function(relu, dim=dim)
    np.testing.assert_allclose(k.derivative(U), relu.derivative(U), atol=1e-9 * relu(1.0))
    assert k.lambda_bar() == pytest.approx(relu.lambda_bar(), rel=1e-8)
    kernel = CovarianceKernel.from_function(relu, dim=dim, derivative=relu.derivative)
    assert kernel.lambda_bar() == relu.lambda_bar()
    assert kernel.spectrum(40).sum() <= relu(1.0) * (1 + 1e-9)
