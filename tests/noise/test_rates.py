"""Exponents and rates of kernels: the paper's table, closed forms, and verdicts on synchronization."""

import math

import numpy as np
import pytest

from chaosphere.noise.covariance import CovarianceKernel

from_activation = CovarianceKernel.from_activation


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
    # The energy is bounded: where tokens meet almost surely, its mean decays, and at a rate.
    assert ("the mean energy decays exponentially" in answer.reason) is verdict


def test_is_odd():
    assert from_activation("sin", dim=3).is_odd
    assert not from_activation("sin", dim=3, bias_std=0.01).is_odd
    assert not from_activation("sin", dim=3, output_bias_std=0.01).is_odd
    assert not from_activation("relu", dim=3).is_odd
