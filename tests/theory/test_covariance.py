"""Covariance kernels: closed forms, literals from mpmath, the paper's table, rates."""

import math
import pickle

import numpy as np
import pytest
from scipy import stats

from chaosphere import kernel_forms as forms
from chaosphere.activations import ACTIVATIONS, Activation
from chaosphere.covariance import CovarianceKernel

from_activation = CovarianceKernel.from_activation
U = np.cos(np.linspace(0.0, np.pi, 41))


# --- values -------------------------------------------------------------------------------------

# κ and κ′ by the 2-D trapezoid rule in mpmath (25 digits, step 1/14, cut at 9.6 standard
# deviations, variables (Z1 ± Z2)/2): activation, dim, bias_std, weight_std, u.
LITERALS = [
    ("tanh", 2, 0.0, None, 0.3, 0.0793713288738832982, 0.266182725935644678),
    ("tanh", 128, 0.1, None, -0.9, 0.00286747164641423713, 0.00754605806090232017),
    ("tanh", 5, 1.0, 3.0, 0.7, 0.472493867227485841, 0.720912778815116826),
    ("tanh", 5, 1.0, 3.0, 1.0, 0.757266276921318363, 1.49015178692738398),
    ("gelu", 5, 0.1, None, -0.5, -0.0149193441561599043, 0.0420753563279105191),
    ("gelu", 2, 1.0, 3.0, 0.9, 4.51646925937748482, 4.08422138446967423),
    ("silu", 64, 0.0, None, 1.0, 0.00395143939070457323, 0.00396634850668615832),
    ("silu", 5, 0.1, 1.0, -1.0, -0.142623823104729432, 0.122687877975790204),
    ("sigmoid", 5, 0.0, None, 0.25, 0.252846712162288422, 0.0113886628319228111),
    ("sigmoid", 2, 1.0, 1.0, -0.99, 0.250329716590472634, 0.0329717139353849816),
]


@pytest.mark.parametrize("case", LITERALS, ids=str)
def test_hermite_series_against_mpmath(case):
    name, dim, bias, weight, u, value, slope = case
    # mpmath took the decimal 0.1, the argument here is its float: 1e-16 apart.
    k = from_activation(name, dim=dim, bias_std=bias, weight_std=weight)
    assert k(u) == pytest.approx(value, rel=1e-13)
    assert k.derivative(u) == pytest.approx(slope, rel=1e-13)
    assert k.error_estimate < 1e-13


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "sigmoid", "softplus"])
@pytest.mark.parametrize("dim", [2, 128])
@pytest.mark.parametrize("bias", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, 1.0, 3.0])
def test_two_quadratures_agree(name, dim, bias, weight):
    # The 2-D rule shares no step with the Hermite series.
    k = from_activation(name, dim=dim, bias_std=bias, weight_std=weight)
    w2 = 1.0 / dim if weight is None else weight**2
    for u in (-1.0 + 1e-9, -0.4, 0.95):
        below, above = w2 * (1 - u), w2 * (1 + u) + 2 * bias**2
        other = forms.pair_expectation(ACTIVATIONS[name], (), below, above, 32)
        assert k(u) == pytest.approx(other, abs=1e-13 * k(1.0))


@pytest.mark.parametrize("name", ["erf", "sin", "cos", "linear", "gaussian"])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_closed_forms_against_the_hermite_series(name, bias):
    k = from_activation(name, dim=3, bias_std=bias, weight_std=1.0)
    series, _ = forms.hermite_series(ACTIVATIONS[name], 1.0, bias**2)
    np.testing.assert_allclose(k(U), series.value(U), atol=1e-14)
    np.testing.assert_allclose(k.derivative(U), series.slope(U), atol=1e-13)


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_relu_closed_form_against_quadrature(bias):
    k = from_activation("relu", dim=3, bias_std=bias)
    w2 = 1.0 / 3.0
    for u in (-0.9, 0.1, 0.99):
        pair = (w2 * (1 - u), w2 * (1 + u) + 2 * bias**2)
        other = forms.pair_expectation(ACTIVATIONS["relu"], (0.0,), *pair, 24)
        assert k(u) == pytest.approx(other, rel=1e-12)
        h = 1e-5
        assert k.derivative(u) == pytest.approx((k(u + h) - k(u - h)) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("name", ["leaky_relu", "elu"])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_kinked_kernels_against_quadrature(name, bias):
    # Of leaky_relu a closed form, of elu a series of such quadratures: between its nodes it is another thing.
    k, phi = from_activation(name, dim=3, bias_std=bias), ACTIVATIONS[name]
    for u in (-0.93, 0.17, 0.99):
        pair = ((1 - u) / 3, (1 + u) / 3 + 2 * bias**2)
        value = forms.pair_expectation(phi, (0.0,), *pair, 32)
        slope = forms.pair_expectation(phi.derivative, (0.0,), *pair, 32) / 3
        assert k(u) == pytest.approx(value, rel=1e-12)
        assert k.derivative(u) == pytest.approx(slope, rel=1e-12)
    assert k.error_estimate < 1e-12


def test_gaussian_kernel_against_mpmath():
    # det(I + Σ)^{-1/2} with variance 0.25 + 0.09 and covariance 0.25 u + 0.09, and its derivative, 30 digits.
    k = from_activation("gaussian", dim=4, bias_std=0.3)
    assert k(0.4) == pytest.approx(0.753885455053167739, rel=1e-14)
    assert k.derivative(0.4) == pytest.approx(0.0203521222591790097, rel=1e-14)


def test_relu_keeps_its_digits_near_the_antipode():
    # (√(1−u²) + u(π − arccos u))/(10π) at the float u, mpmath with 60 digits.
    k = from_activation("relu", dim=5)
    assert k(-0.9999) == pytest.approx(3.00106939270295547e-8, rel=1e-13)
    assert k(-0.99999999) == pytest.approx(3.00105441131024461e-14, rel=1e-13)
    assert k(0.5) == pytest.approx(0.0608997781044229358, rel=1e-14)
    assert k(-1.0) == 0.0


def test_sin_kernel_does_not_overflow():
    k = from_activation("sin", dim=2, weight_std=40.0)
    assert k(1.0) == pytest.approx(0.5, rel=1e-14)
    assert k(-1.0) == -k(1.0)


def test_leaky_relu_given_as_a_callable():
    # φ = 0.1 x + 0.9 relu: κ = 0.01 u/d + 0.09 u/d + 0.81 κ_relu, as E x relu(y) = u/(2d).
    k = from_activation(lambda x: np.maximum(x, 0.1 * x), dim=5)
    relu = from_activation("relu", dim=5)
    np.testing.assert_allclose(k(U), 0.1 * U / 5 + 0.81 * relu(U), atol=1e-13 * k(1.0))
    slope = 0.02 + 0.81 * relu.derivative(U)
    np.testing.assert_allclose(k.derivative(U), slope, atol=1e-9 * k.derivative(1.0))
    assert k.error_estimate < 1e-12
    np.testing.assert_allclose(k.spectrum(6)[1:], 0.81 * relu.spectrum(6)[1:] + [
        0.02, 0, 0, 0, 0, 0], atol=1e-12)  # fmt: skip


def test_stated_derivative_sharpens_the_slope():
    # clip(x, 0, 60) is relu as far as N(0, 0.21) can see, but has no closed form here.
    relu = from_activation("relu", dim=5, bias_std=0.1)
    settings = {"function": lambda x: np.clip(x, 0, 60), "is_odd": False, "lipschitz": 1.0}
    stated = Activation(name="clip", derivative=lambda x: (x > 0) * 1.0, kinks=(0.0, 60.0), **settings)
    k = from_activation(stated, dim=5, bias_std=0.1)
    np.testing.assert_allclose(k(U), relu(U), atol=1e-14 * k(1.0))
    np.testing.assert_allclose(k.derivative(U), relu.derivative(U), atol=1e-13 * k.derivative(1.0))
    wrong = Activation(name="clip", derivative=np.ones_like, kinks=(0.0, 60.0), **settings)
    with pytest.raises(ValueError, match="does not fit its function"):
        from_activation(wrong, dim=5)


# --- growing and steep activations --------------------------------------------------------------

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


@pytest.mark.parametrize("weight", [1.0, 3.1])
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


def test_steep_smooth_activation_against_its_hermite_series():
    """At |c| ≤ 0.99 4096 terms leave out 0.99^4096 = 1e-18."""
    k = from_activation(softplus, dim=5, weight_std=20.0)
    squares, _ = forms.hermite_squares(ACTIVATIONS["relu"], 1.0, 1)
    phi = Activation(name="softplus", function=softplus, is_odd=False, lipschitz=1.0)
    squares, _ = forms.hermite_squares(phi, 400.0, 4096, n_nodes=160)
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


def test_biases_and_noise_scale():
    k = from_activation("relu", dim=4, bias_std=0.3, output_bias_std=0.2)
    assert k(1.0) == pytest.approx(0.5 * (0.25 + 0.09) + 0.04, rel=1e-14)
    assert k.scaled(3.0)(0.3) == pytest.approx(9 * k(0.3), rel=1e-15)
    assert k.scaled(3.0).derivative(0.3) == pytest.approx(9 * k.derivative(0.3), rel=1e-15)
    assert k.scaled(3.0).spectrum(3) == pytest.approx(9 * k.spectrum(3), rel=1e-13)
    assert k.scaled(0.0)(0.3) == 0.0
    constant = from_activation("tanh", dim=4, bias_std=0.5, weight_std=0.0)
    assert constant(-1.0) == constant(1.0) > 0.0
    assert constant.derivative(0.2) == 0.0
    assert from_activation("sigmoid", dim=4, weight_std=0.0)(0.1) == 0.25


def test_scalars_in_scalars_out():
    k = from_activation("gelu", dim=4)
    for method in (
        k,
        k.derivative,
        k.difference_quotient,
        lambda u: k.dissipation_function(1.0, u),
    ):
        assert type(method(0.5)) is float
        assert method(np.zeros((2, 3))).shape == (2, 3)
        assert method(np.float32(1.0) + np.float32(1e-7)) == method(1.0)
        with pytest.raises(ValueError, match=r"u = .* must be in \[-1, 1\]"):
            method(np.array([0.0, 1.1]))
        with pytest.raises(ValueError, match="u = nan"):
            method(math.nan)


def test_kernels_pickle():
    for name in ACTIVATIONS:
        k = from_activation(name, dim=4, bias_std=0.1)
        again = pickle.loads(pickle.dumps(k))
        assert again(0.3) == k(0.3)
        assert again == k


def kappa(u):
    return np.exp(u - 1)


class Unhashable:
    __hash__ = None

    def __call__(self, u):
        return np.exp(u - 1)


def test_kernels_compare_and_hash_by_value():
    steps = Unhashable()

    def every():
        return [
            from_activation("relu", dim=3),
            from_activation("relu", dim=4),
            from_activation("tanh", dim=3, bias_std=0.1),
            from_activation("tanh", dim=3, bias_std=np.float32(0.1)),
            from_activation(np.arctan, dim=3),
            CovarianceKernel.from_spectrum([0.1, 0.2], dim=3),
            CovarianceKernel.from_spectrum([0.2, 0.1], dim=3),
            CovarianceKernel.from_function(kappa, dim=3),
            CovarianceKernel.from_function(kappa, dim=3, derivative=kappa),
            CovarianceKernel.from_function(steps, dim=3),
            from_activation("relu", dim=3).scaled(2.0),
        ]

    one, two = every(), every()
    assert one == two
    assert [hash(k) for k in one] == [hash(k) for k in two]
    assert len(set(one + two)) == len(one)
    assert CovarianceKernel.from_function(Unhashable(), dim=3) != CovarianceKernel.from_function(steps, dim=3)


# --- spectrum -----------------------------------------------------------------------------------


def test_gegenbauer_polynomials():
    p = list(zip(range(6), forms.gegenbauer(U, 2), strict=False))
    np.testing.assert_allclose(p[5][1], np.cos(5 * np.arccos(U)), atol=1e-14)
    legendre = dict(zip(range(6), forms.gegenbauer(U, 3), strict=False))
    np.testing.assert_allclose(legendre[3], (5 * U**3 - 3 * U) / 2, atol=1e-14)


def test_multiplicity():
    for dim in (2, 3, 5, 9):
        for n, value in enumerate(forms.multiplicity(6, dim)):
            exact = math.comb(n + dim - 1, n) - (math.comb(n + dim - 3, n - 2) if n > 1 else 0)
            assert value == pytest.approx(exact, rel=1e-14)


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
    monkeypatch.setattr(forms.special, "roots_legendre", None)
    for activation in ("relu", "erf", SIGN, lambda x: np.maximum(x, 0.1 * x)):
        k = from_activation(activation, dim=2)
        assert k.spectrum(1999).sum() == pytest.approx(k(1.0), rel=1e-3)


def test_fejer_rule_is_exact_to_its_degree():
    for n in (1, 2, 9, 64):
        x, w = forms._fejer(n)
        for k in range(n):
            assert w @ x**k == pytest.approx(0 if k % 2 else 2 / (k + 1), abs=1e-15)


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
    given = CovarianceKernel.from_function(relu, dim=dim, derivative=relu.derivative)
    assert given.lambda_bar() == relu.lambda_bar()
    assert given.spectrum(40).sum() <= relu(1.0) * (1 + 1e-9)


# --- exponents and rates ------------------------------------------------------------------------

# arXiv:2604.26898, Table 1, rows as printed: σ_U = σ_W = σ; κ(1), κ′(1), λ1, λ̄.
TABLE_1 = [
    ("relu", 5, 0.0, "1.00e-01", "1.00e-01", "-1.00e-01", "2.00e-01"),
    ("relu", 5, 0.1, "1.15e-01", "1.00e-01", "-1.30e-01", "1.70e-01"),
    ("relu", 64, 0.1, "2.28e-02", "7.81e-03", "-4.80e-01", "-8.99e-01"),
    ("sigmoid", 5, 0.0, "2.61e-01", "1.14e-02", "-5.11e-01", "-4.77e-01"),
    ("sigmoid", 64, 0.1, "2.62e-01", "9.64e-04", "-8.21e+00", "-1.59e+01"),
    ("tanh", 5, 0.0, "1.47e-01", "1.51e-01", "-1.44e-01", "3.09e-01"),
    ("tanh", 64, 0.1, "3.44e-02", "1.49e-02", "-6.29e-01", "-1.16e+00"),
]


@pytest.mark.parametrize("row", TABLE_1, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}")
def test_table_1(row):
    name, dim, std, *printed = row
    k = from_activation(name, dim=dim, bias_std=std, output_bias_std=std)
    computed = [k(1.0), k.derivative(1.0), k.lyapunov_exponent(), k.lambda_bar()]
    assert [f"{x:.2e}" for x in computed] == printed


@pytest.mark.parametrize("dim", [2, 3, 7])
@pytest.mark.parametrize(("bias", "output_bias"), [(0.0, 0.0), (0.3, 0.5)])
def test_relu_exponents_in_closed_form(dim, bias, output_bias):
    k = from_activation("relu", dim=dim, bias_std=bias, output_bias_std=output_bias)
    constant = bias**2 + 2 * output_bias**2
    assert k.lyapunov_exponent() == pytest.approx(-1 / (2 * dim) - constant * (dim - 1) / 4, rel=1e-13)
    assert k.lambda_bar() == pytest.approx(1 / dim - constant * (dim - 3) / 2, rel=1e-12)
    assert k.lambda_bar() == pytest.approx(2 * k.lyapunov_exponent() + 2 * k(1.0) + 2 * k.derivative(1.0), abs=1e-14)


def test_lyapunov_exponents_at_weight_std_1():
    # −1/2 exactly for relu, d = 3; the erf values as printed for arXiv:2604.26898's noise flow.
    def exponent(name, dim):
        return from_activation(name, dim=dim, weight_std=1.0).lyapunov_exponent()

    assert exponent("relu", 3) == pytest.approx(-0.5, rel=1e-14)
    assert f"{exponent('erf', 2):.3f}" == "-0.517"
    assert f"{exponent('erf', 6):.3f}" == "-0.307"


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_dissipation_function(name, beta):
    k = from_activation(name, dim=6, bias_std=0.2)
    u = np.linspace(-1.0, 0.9, 21)
    d, kappa, top = 6, k(u), k(1.0)
    drift = (d - 2 + u**2) * kappa - (d - 1) * top * u
    plain = beta * np.exp(beta * u) * (drift + beta * (1 - u**2) * (top - u * kappa))
    plain /= np.exp(beta) - np.exp(beta * u)
    np.testing.assert_allclose(k.dissipation_function(beta, u), plain, rtol=1e-12, atol=1e-14)
    assert k.dissipation_function(beta, 1.0) == pytest.approx(-k.lambda_bar(), rel=1e-13)
    # F is continuous at u = 1, up to a square root for relu; the plain formula has no digits here.
    near = k.dissipation_function(beta, 1 - 1e-13)
    assert near == pytest.approx(-k.lambda_bar(), abs=1e-5 * k(1.0))


def test_difference_quotient_of_relu_near_one():
    # (κ(1) − κ(u))/(1−u) = ½ − √(2(1−u))/3π + O((1−u)^{3/2}) for weight_std = 1.
    k = from_activation("relu", dim=3, weight_std=1.0)
    for v in (2.0**-12, 2.0**-20, 2.0**-40):
        expected = 0.5 - math.sqrt(2 * v) / (3 * math.pi)
        assert k.difference_quotient(1 - v) == pytest.approx(expected, abs=v**1.5 + 1e-12)


def test_dissipation_rates():
    assert from_activation("relu", dim=5).dissipation_rate(1.0) == pytest.approx(0.2, rel=1e-12)
    k = from_activation("relu", dim=64, bias_std=0.1, output_bias_std=0.1)
    assert f"{k.dissipation_rate(1.0):.3f}" == "-0.351"
    assert k.dissipation_rate(0.0) >= k.lambda_bar() - 1e-12


@pytest.mark.parametrize("beta", [0.0, 1.0, 60.0])
@pytest.mark.parametrize(
    "kernel",
    [
        CovarianceKernel.from_spectrum([1.0] + 38 * [0.0] + [0.02, 0.01], dim=2),
        CovarianceKernel.from_spectrum([0.2, 0.1] + 60 * [0.0] + [0.001], dim=4),
        from_activation("gelu", dim=64, bias_std=0.1, weight_std=1.0),
    ],
    ids=["d2", "d4", "gelu"],
)
def test_dissipation_rate_finds_the_deepest_well(kernel, beta):
    theta = np.linspace(0.0, np.pi, 100_001)
    brute = -np.min(kernel.dissipation_function(beta, np.cos(theta)))
    rate = kernel.dissipation_rate(beta)
    assert rate == pytest.approx(brute, rel=1e-6)
    assert rate >= brute - 1e-10 * abs(brute)
    assert rate >= kernel.lambda_bar() - 1e-12


def test_best_beta():
    k = from_activation("relu", dim=64, bias_std=0.1, output_bias_std=0.1)
    beta, rate = k.best_beta(lambda b: 0.02 * (b - 3.0) ** 2)
    values = [0.02 * (b - 3.0) ** 2 + k.dissipation_rate(b) for b in np.linspace(0.1, 5.0, 50)]
    assert rate <= min(values) + 1e-12
    assert 0.02 * (beta - 3.0) ** 2 + k.dissipation_rate(beta) == pytest.approx(rate, rel=1e-12)


def test_critical_noise_scale():
    k = from_activation("relu", dim=5)
    scale = k.critical_noise_scale(-1.0)
    assert k.scaled(scale).lyapunov_exponent() == pytest.approx(-1.0, rel=1e-13)
    assert math.isnan(k.critical_noise_scale(1.0))
    assert math.isnan(k.critical_noise_scale(0.0))


@pytest.mark.parametrize(
    ("kernel", "verdict", "reason"),
    [
        (from_activation("sigmoid", dim=5), True, "λ̄ < 0"),
        (from_activation("relu", dim=5), True, "λ̄ >= 0"),
        (from_activation("tanh", dim=5), False, "odd"),
        (from_activation("tanh", dim=64, bias_std=0.1, output_bias_std=0.1), True, "λ̄ < 0"),
        (CovarianceKernel.from_spectrum([0, 0, 0, 0, 1.0], dim=8), False, "λ1 > 0"),
        (CovarianceKernel.from_spectrum([0.0], dim=8), False, "no noise"),
    ],
)
def test_synchronizes(kernel, verdict, reason):
    answer = kernel.synchronizes()
    assert answer.synchronizes is verdict
    assert reason in answer.reason
    assert answer.lyapunov_exponent == kernel.lyapunov_exponent()
    assert answer.is_odd is kernel.is_odd


def test_is_odd():
    assert from_activation("sin", dim=3).is_odd
    assert not from_activation("sin", dim=3, bias_std=0.01).is_odd
    assert not from_activation("sin", dim=3, output_bias_std=0.01).is_odd
    assert not from_activation("relu", dim=3).is_odd


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_activation("relu", dim=1), ValueError, "dim must be an integer >= 2, got 1"),
        (lambda: from_activation("relu", dim=2.5), TypeError, "dim must be an integer >= 2, got 2.5"),
        (lambda: from_activation("relu", dim=3, bias_std=-1), ValueError, "bias_std must be .* got -1"),
        (lambda: from_activation("relu", dim=3, weight_std=math.inf), ValueError, "weight_std"),
        (lambda: from_activation("tanh", dim=3, bias_std=1e160), ValueError, r"bias_std must be .* <= 1e\+150"),
        (lambda: from_activation("relu", dim=3).scaled(1e200), ValueError, r"noise_scale must be .* <= 1e\+150"),
        (
            lambda: from_activation("relu", dim=3, weight_std=1e100).scaled(1e100),
            ValueError,
            r"noise_scale = 1e\+100 is too large: kappa\(1\) = 5e\+199 times it overflows",
        ),
        (lambda: from_activation("relu", dim=3)(np.ma.array([0.5])), TypeError, "u must not be a masked array"),
        (
            lambda: CovarianceKernel.from_spectrum(np.ma.array([0.5]), dim=3),
            TypeError,
            "coefficients must not be a masked array",
        ),
        (lambda: from_activation("rleu", dim=3), ValueError, "did you mean 'relu'"),
        (
            lambda: CovarianceKernel.from_spectrum([1.0, -0.1], dim=3),
            ValueError,
            r"coefficients\[1\] = -0.1",
        ),
        (lambda: CovarianceKernel.from_spectrum([[1.0]], dim=3), ValueError, r"got \(1, 1\)"),
        (
            lambda: CovarianceKernel.from_function(lambda u: u / 0.0 * 0, dim=3),
            ValueError,
            "kappa must return finite",
        ),
        (lambda: from_activation("relu", dim=3).spectrum(-1), ValueError, "n_max must be an integer >= 0, got -1"),
        (lambda: from_activation("relu", dim=3).spectrum(2.0), TypeError, "n_max"),
        (lambda: from_activation("relu", dim=3).dissipation_rate(-1.0), ValueError, "beta must be .* got -1"),
        (lambda: from_activation("relu", dim=3).scaled(math.nan), ValueError, "noise_scale must be .* got nan"),
        (
            lambda: from_activation("relu", dim=3).critical_noise_scale(math.nan),
            ValueError,
            "value_scale must be .* got nan",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
