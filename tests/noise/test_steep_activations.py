"""Kernels of activations that grow, bend, jump or are steep."""

import math

import numpy as np
import pytest
from scipy import stats

from chaosphere.noise.activations import ACTIVATIONS, Activation
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.hermite import hermite_squares

from_activation = CovarianceKernel.from_activation
U = np.cos(np.linspace(0.0, np.pi, 41))

COSINES = np.array([-1.0, -0.5, 0.3, 0.9, 0.9999, 1.0])


def holds(k, exact):
    """Whether κ is as close to the exact values as its estimate claims, and the claim is of use."""
    return k.error_estimate < 1e-9 and np.max(np.abs(k(COSINES) - exact)) <= (k.error_estimate + 1e-14) * k(1.0)


@pytest.mark.parametrize("weight", [1.0, 2.5, 3.0, 4.0, 8.0, 12.0])
def test_growing_activations_in_closed_form(weight):
    """E e^X e^Y = e^{q + C}; E cosh X cosh Y = e^q cosh C."""
    q = weight**2
    assert holds(from_activation(np.exp, dim=5, weight_std=weight), np.exp(q + q * COSINES))
    assert holds(from_activation(np.cosh, dim=5, weight_std=weight), np.exp(q) * np.cosh(q * COSINES))


def gauss_growth(x):
    return np.exp(np.minimum(x**2 / 8, 800.0))


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize(("variance", "converges"), [(0.5, True), (1.0, True), (1.5, True), (1.999, False),
                                                     (2.0, False), (2.5, False), (9.0, False)])  # fmt: skip
def test_growth_like_a_gaussian_converges_or_is_refused(variance, converges):
    """E e^{(X² + Y²)/8} = [(1 − (q + C)/4)(1 − (q − C)/4)]^{−1/2}; E φ² diverges from q = 2 on."""
    phi = Activation(name="growth", function=gauss_growth, is_odd=False, lipschitz=math.inf)
    if converges:
        c = variance * COSINES
        exact = ((1 - (variance + c) / 4) * (1 - (variance - c) / 4)) ** -0.5
        assert holds(from_activation(phi, dim=3, weight_std=math.sqrt(variance)), exact)
    else:
        with pytest.raises(ValueError, match=r"E φ² of 'growth' .* diverges or cannot be told"):
            from_activation(phi, dim=3, weight_std=math.sqrt(variance))


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_growth_beyond_the_floats_is_refused():
    with pytest.raises(ValueError, match=r"E φ² of 'exp' .* (overflows|cannot be told)"):
        from_activation(np.exp, dim=3, weight_std=20.0)
    with pytest.raises(ValueError, match=r"E φ² of '<lambda>' .* cannot be told"):
        from_activation(lambda x: np.exp(np.exp(x / 8)), dim=3, weight_std=1.0)
    with pytest.raises(ValueError, match="cannot be told"):  # the constant kernel, too
        from_activation(np.exp, dim=3, weight_std=0.0, bias_std=20.0)


@pytest.mark.parametrize("weight", [1.0, pytest.param(3.1, marks=pytest.mark.slow)])
def test_growth_with_a_jump(weight):
    """E e^{X+Y} 1{X, Y > 0} = e^{q+C} P(X, Y > −(q + C)); up to q = 9 in rotated variables, then conditionally."""
    phi = Activation(
        name="jump", function=lambda x: np.exp(x) * (x > 0), is_odd=False, lipschitz=math.inf, kinks=(0.0,)
    )
    k = from_activation(phi, dim=3, weight_std=weight)
    q = weight**2
    assert k(1.0) == pytest.approx(math.exp(2 * q) * stats.norm.cdf(2 * weight), rel=1e-12)
    for u in (-0.5, 0.3, 0.9):
        both = stats.multivariate_normal(cov=[[1, u], [u, 1]]).cdf(np.full(2, weight * (1 + u)))
        assert k(u) == pytest.approx(math.exp(q + q * u) * both, abs=1e-10 * k(1.0))


def softplus(x):
    return np.logaddexp(0, x)


@pytest.mark.parametrize("weight", [3.5, 20.0, 1e4])
def test_steep_kinked_activations(weight):
    k = from_activation(lambda x: np.maximum(x, 0.1 * x), dim=5, weight_std=weight)
    relu = from_activation("relu", dim=5, weight_std=weight)
    np.testing.assert_allclose(k(U), 0.1 * weight**2 * U + 0.81 * relu(U), atol=1e-12 * k(1.0))


@pytest.mark.slow
def test_steep_smooth_activation_against_its_hermite_series():
    """At |c| ≤ 0.99 4096 terms leave out 0.99^4096 = 1e-18."""
    k = from_activation(softplus, dim=5, weight_std=20.0)
    squares, _ = hermite_squares(ACTIVATIONS["relu"], 1.0, n_terms=1)
    phi = Activation(name="softplus", function=softplus, is_odd=False, lipschitz=1.0)
    squares, _ = hermite_squares(phi, 400.0, n_terms=4096, n_nodes=160)
    u = np.linspace(-0.99, 0.99, 21)
    np.testing.assert_allclose(k(u), np.polynomial.polynomial.polyval(u, squares), rtol=0, atol=1e-13 * k(1.0))
    assert k.error_estimate < 1e-12


def test_very_steep_smooth_activation_against_its_limit():
    """softplus = relu + h with ∫h = π²/6: (π/6)√(1−c²) and (π²/6)²/(2πq√(1−c²)) more than relu, up to O(q^{-2})."""
    k = from_activation(softplus, dim=5, weight_std=1e4)
    relu = from_activation("relu", dim=5, weight_std=1e4)
    u = np.linspace(-0.99, 0.99, 21)
    root = np.sqrt(1 - u**2)
    exact = relu(u) + np.pi / 6 * root + (np.pi**2 / 6) ** 2 / (2e8 * np.pi * root)
    np.testing.assert_allclose(k(u), exact, rtol=0, atol=1e-13 * k(1.0))


def test_kinks_may_be_any_sequence():
    phi = Activation(name="a", function=np.abs, is_odd=False, lipschitz=1.0, kinks=np.array([0.0], np.float32))
    assert phi.kinks == (0.0,)
    assert hash(from_activation(phi, dim=3)) == hash(from_activation(phi, dim=3))


def test_what_is_too_rough_is_refused_first():
    wave = Activation(name="wave", function=lambda x: np.sin(20 * x) ** 3, is_odd=True, lipschitz=60.0)
    with pytest.raises(ValueError, match=r"'wave' takes more than 600 panels .* lower weight_std or bias_std"):
        from_activation(wave, dim=5, weight_std=1e4)


def test_a_jump_is_not_blurred():
    # The kernel of sign is (2/π) arcsin u.
    sign = Activation(
        name="sign", function=np.sign, is_odd=True, lipschitz=math.inf, kinks=(0.0,)
    )  # fmt: skip
    k = from_activation(sign, dim=3)
    np.testing.assert_allclose(k(U), 2 / np.pi * np.arcsin(U), atol=1e-13)


def test_a_wrong_kink_is_noticed():
    # Told that sign jumps at 0.2, the quadrature crosses the jump; it must not claim 1e-12.
    wrong = Activation(name="s", function=np.sign, is_odd=True, lipschitz=math.inf, kinks=(0.2,))
    with pytest.raises(ValueError, match="limit 1e-6"):
        from_activation(wrong, dim=3)
