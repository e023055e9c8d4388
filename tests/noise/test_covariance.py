"""Covariance kernels: closed forms, literals from mpmath, the paper's table, rates."""

import math
import pickle

import numpy as np
import pytest

from chaosphere.noise.activations import ACTIVATIONS, Activation
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.hermite import hermite_series
from chaosphere.noise.layer_law import GaussianPair
from chaosphere.noise.pair_quadrature import pair_expectation

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
        other = pair_expectation(ACTIVATIONS[name], (), below=below, above=above, n_nodes=32)
        assert k(u) == pytest.approx(other, abs=1e-13 * k(1.0))


@pytest.mark.parametrize("name", ["erf", "sin", "cos", "linear", "gaussian"])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_closed_forms_against_the_hermite_series(name, bias):
    k = from_activation(name, dim=3, bias_std=bias, weight_std=1.0)
    series, _ = hermite_series(ACTIVATIONS[name], GaussianPair(1.0, bias**2))
    np.testing.assert_allclose(k(U), series.value(U), atol=1e-14)
    np.testing.assert_allclose(k.derivative(U), series.slope(U), atol=1e-13)


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_relu_closed_form_against_quadrature(bias):
    k = from_activation("relu", dim=3, bias_std=bias)
    w2 = 1.0 / 3.0
    for u in (-0.9, 0.1, 0.99):
        below, above = w2 * (1 - u), w2 * (1 + u) + 2 * bias**2
        other = pair_expectation(ACTIVATIONS["relu"], (0.0,), below=below, above=above, n_nodes=24)
        assert k(u) == pytest.approx(other, rel=1e-12)
        h = 1e-5
        assert k.derivative(u) == pytest.approx((k(u + h) - k(u - h)) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("name", ["leaky_relu", "elu"])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_kinked_kernels_against_quadrature(name, bias):
    # Of leaky_relu a closed form, of elu a series of such quadratures: between its nodes it is another thing.
    k, phi = from_activation(name, dim=3, bias_std=bias), ACTIVATIONS[name]
    for u in (-0.93, 0.17, 0.99):
        pair = {"below": (1 - u) / 3, "above": (1 + u) / 3 + 2 * bias**2, "n_nodes": 32}
        value = pair_expectation(phi, (0.0,), **pair)
        slope = pair_expectation(phi.derivative, (0.0,), **pair) / 3
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
        (lambda: CovarianceKernel.from_spectrum([0.5, 1e308], dim=3), ValueError, r"c_n <= 1e\+300, got inf"),
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
