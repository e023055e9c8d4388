"""The pair diffusion: printed values, exact laws, and the PDE against the scale function."""

import math

import numpy as np
import pytest
from scipy import stats

from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.theory import two_point

from_activation = CovarianceKernel.from_activation


def identity(u):
    return u


# E u and E u² at t = 1 from u0 = 0.3, weight_std = 1, V = I where β is given; computed by another
# solver and confirmed by simulation (20 000 replicas of width 16 and 200 layers).
PRINTED = [
    ("relu", 3, None, "0.3577", "0.4633"),
    ("erf", 3, None, "0.2363", "0.4708"),
    pytest.param("linear", 3, None, "0.2220", "0.6603", marks=pytest.mark.slow),
    pytest.param("relu", 8, None, "0.6249", "0.5371", marks=pytest.mark.slow),
    pytest.param("erf", 2, None, "0.2415", "0.4784", marks=pytest.mark.slow),
    ("relu", 3, 2.0, "0.5744", "0.6258"),
    ("erf", 4, 4.0, "0.3379", "0.5505"),
]


@pytest.mark.parametrize(("name", "dim", "beta", "mean", "square"), PRINTED)
def test_printed_moments(name, dim, beta, mean, square):
    k = from_activation(name, dim=dim, weight_std=1.0)
    settings = {"u0": 0.3, "beta": beta, "value_scale": 0.0 if beta is None else 1.0}
    assert f"{two_point.expectation(k, identity, 1.0, **settings):.4f}" == mean
    assert f"{two_point.expectation(k, np.square, 1.0, **settings):.4f}" == square
    assert two_point.solve(k, np.square, 1.0, **settings).error_estimate < 1e-8


@pytest.mark.parametrize(("name", "dim"), [("linear", 3), ("linear", 8), ("tanh", 2), ("sin", 2)])
def test_angle_is_a_martingale(name, dim):
    # L θ = 0 for θ = arccos u if d = 2, or if the field is linear.
    k = from_activation(name, dim=dim, weight_std=1.0)
    for u0 in (-0.9, 0.3, 0.999):
        angle = two_point.expectation(k, np.arccos, np.array([0.5, 3.0]), u0=u0)
        np.testing.assert_allclose(angle, math.acos(u0), atol=1e-8)


@pytest.mark.parametrize("name", ["tanh", "erf", "linear"])
def test_hitting_probability_on_the_circle(name):
    # θ is a bounded martingale that ends at 0 or π: P(u → 1) = 1 − θ0/π.
    k = from_activation(name, dim=2)
    u0 = np.array([-1.0, -0.999, -0.3, 0.0, 0.5, 0.999999, 1.0])
    plus, minus = two_point.hitting_probabilities(k, u0)
    np.testing.assert_allclose(plus, 1 - np.arccos(u0) / np.pi, atol=1e-12)
    np.testing.assert_allclose(plus + minus, 1.0, atol=1e-15)


@pytest.mark.parametrize(("beta", "value_scale"), [(None, 0.0), (1.0, 0.3)])
def test_pair_pde_ends_where_the_scale_function_says(beta, value_scale):
    k = from_activation("erf", dim=4, weight_std=1.0)
    plus, minus = two_point.hitting_probabilities(k, 0.3, beta=beta, value_scale=value_scale)
    times = np.array([60.0, 120.0])
    mean = two_point.expectation(k, identity, times, u0=0.3, beta=beta, value_scale=value_scale)
    gaps = np.abs(mean - (plus - minus))
    assert gaps[1] < 1e-3
    assert gaps[1] < gaps[0]
    assert (plus > 0.65) is (beta is not None)


def test_hitting_where_one_end_or_none_attracts():
    relu, tanh = from_activation("relu", dim=5), from_activation("tanh", dim=5)
    assert two_point.hitting_probabilities(relu, -1.0) == (1.0, 0.0)
    assert two_point.hitting_probabilities(relu, 0.3, beta=1.0, value_scale=-1.0) == (0.0, 0.0)
    # δ = −1 makes u = 1 repel; at u = −1 the exponent is lowered to λ1 − 2/(1 + e²).
    assert two_point.hitting_probabilities(tanh, 0.3, beta=1.0, value_scale=-1.0) == (0.0, 1.0)
    assert two_point.hitting_probabilities(tanh, 1.0, beta=1.0, value_scale=-1.0) == (1.0, 0.0)


def test_long_time():
    relu, tanh = from_activation("relu", dim=5), from_activation("tanh", dim=5)
    behaviour = two_point.long_time(relu, beta=1.0, value_scale=0.5)
    assert behaviour.exponent_plus == pytest.approx(-0.1 - 0.5)
    assert math.isnan(behaviour.exponent_minus)
    behaviour = two_point.long_time(tanh, beta=1.0, value_scale=0.5)
    exponent = tanh.lyapunov_exponent() + 1.0 / (1.0 + math.exp(2.0))
    assert behaviour.exponent_minus == pytest.approx(exponent, rel=1e-12)
    assert two_point.long_time(tanh).description == "u converges to 1 or to -1"


@pytest.mark.parametrize(
    ("kernel", "beta", "value_scale"),
    [
        (from_activation("relu", dim=3, weight_std=1.0), 1.0, -2.0),
        (from_activation("silu", dim=5, bias_std=0.1), 0.5, -0.8),
        (CovarianceKernel.from_spectrum([0, 0, 0, 0.1], dim=8), 2.0, -0.8),
    ],
    ids=["relu", "silu", "odd"],
)
def test_stationary_law_is_stationary(kernel, beta, value_scale):
    attention = {"beta": beta, "value_scale": value_scale}
    x, w = np.polynomial.legendre.leggauss(400)
    # du = sech² y dy, y = artanh u: resolves the ends.
    y = 15.0 * x
    u, w = np.tanh(y), 15.0 * w / np.cosh(y) ** 2
    inside = np.abs(u) < 1.0
    u, w = u[inside], w[inside]
    p = two_point.stationary_density(kernel, u, **attention) * w
    assert np.sum(p) == pytest.approx(1.0, abs=1e-7)
    for f in (identity, np.exp):
        mean = two_point.expectation(kernel, f, 1.5, u0=(u, p / np.sum(p)), **attention)
        assert mean == pytest.approx(np.sum(p * f(u)), abs=1e-7)


def test_no_stationary_density_where_an_end_attracts():
    with pytest.raises(ValueError, match="no stationary density; u converges to 1"):
        two_point.stationary_density(from_activation("relu", dim=5), 0.0)


# --- energy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("value_scale", [0.0, 0.7])
def test_energy_ratio_against_the_expectation(name, value_scale):
    k, beta, u0 = from_activation(name, dim=5), 2.0, -0.4
    times = np.array([0.0, 0.4, 2.0])

    def energy(u):
        return math.exp(beta) - np.exp(beta * u)

    ratio = two_point.energy_ratio(k, times, beta=beta, u0=u0, value_scale=value_scale)
    mean = two_point.expectation(k, energy, times, u0=u0, beta=beta, value_scale=value_scale)
    np.testing.assert_allclose(ratio * energy(u0), mean, atol=1e-8)


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("value_scale", [0.0, -0.5])
def test_energy_ratio_of_close_tokens(name, value_scale):
    # u0 → 1: exponent of E|X − Y|², λ̄ − 2δ. The plain quotient would be 0/0.
    k = from_activation(name, dim=5)
    ratio = two_point.energy_ratio(k, 2.0, beta=3.0, u0=1.0, value_scale=value_scale)
    assert ratio == pytest.approx(math.exp(2.0 * (k.lambda_bar() - 2 * value_scale)), rel=1e-10)
    near = two_point.energy_ratio(k, 0.1, beta=3.0, u0=1 - 1e-12, value_scale=value_scale)
    limit = math.exp(0.1 * (k.lambda_bar() - 2 * value_scale))
    assert near == pytest.approx(limit, rel=1e-5)


@pytest.mark.parametrize("beta", [0.0, 1.0, 8.0])
@pytest.mark.parametrize(
    "kernel",
    [
        from_activation("relu", dim=64, bias_std=0.1, output_bias_std=0.1),
        from_activation("sigmoid", dim=5),
    ],
)
def test_energy_ratio_obeys_the_dissipation_rate(kernel, beta):
    times = np.array([0.1, 1.0])
    bound = np.exp(kernel.dissipation_rate(beta) * times)
    for u0 in (-1.0, -0.5, 0.5, 0.99):
        assert np.all(two_point.energy_ratio(kernel, times, beta=beta, u0=u0) <= bound + 1e-9)


# --- the solver ---------------------------------------------------------------------------------


def test_times_may_come_in_any_order_and_shape():
    k = from_activation("relu", dim=4)
    times = np.array([[2.0, 0.0], [0.5, 2.0]])
    values = two_point.expectation(k, identity, times, u0=0.1)
    assert values.shape == (2, 2)
    assert values[0, 1] == 0.1
    assert values[0, 0] == values[1, 1]
    single = two_point.expectation(k, identity, 0.5, u0=0.1)
    assert type(single) is float
    assert values[1, 0] == pytest.approx(single, abs=1e-10)


def test_uniform_start_and_point_masses():
    k = from_activation("relu", dim=4)
    # E u = 0 and E u² = 1/d for two independent uniform tokens.
    assert two_point.expectation(k, identity, 0.0, u0="uniform") == pytest.approx(0.0, abs=1e-14)
    assert two_point.expectation(k, np.square, 0.0, u0="uniform") == pytest.approx(0.25, rel=1e-13)
    mixed = two_point.expectation(k, identity, 1.0, u0=([-0.5, 0.7], [0.25, 0.75]))
    parts = [two_point.expectation(k, identity, 1.0, u0=u0) for u0 in (-0.5, 0.7)]
    assert mixed == pytest.approx(0.25 * parts[0] + 0.75 * parts[1], abs=1e-9)


def test_error_estimate_is_honest():
    k = from_activation("relu", dim=3, weight_std=1.0)

    def step(u):
        return (u > 0.5) * 1.0

    solution = two_point.solve(k, step, 1.0, u0=0.3)
    assert 1e-7 < solution.error_estimate < 1e-2
    with pytest.raises(ValueError, match=r"use two_point.solve"):
        two_point.expectation(k, step, 1.0, u0=0.3)
    # Steps smoothed over width h are resolved, and differ by O(h²): extrapolate to h = 0.
    wide, narrow = (
        two_point.expectation(k, lambda u, h=h: 0.5 + 0.5 * np.tanh((u - 0.5) / h), 1.0, u0=0.3) for h in (0.08, 0.04)
    )
    exact = narrow + (narrow - wide) / 3
    assert abs(solution.values - exact) < 10 * solution.error_estimate + 1e-4
    assert abs(solution.values - exact) < 1e-3


def test_long_times_of_an_odd_field_do_not_drift():
    # At a fixed resolution a cut-off domain would keep losing probability to its end.
    k = from_activation("erf", dim=4, weight_std=1.0)
    one = two_point.solve(k, np.ones_like, np.array([1.0, 200.0]), u0=0.3)
    np.testing.assert_allclose(one.values, 1.0, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda k, e: e(k, identity, -1.0, u0=0.0), ValueError, "t = -1.0"),
        (lambda k, e: e(k, identity, math.nan, u0=0.0), ValueError, "t = nan"),
        (lambda k, e: e(k, identity, 1.0, u0=1.5), ValueError, "u0"),
        (lambda k, e: e(k, identity, 1.0, u0="gauss"), ValueError, "'gauss'"),
        (lambda k, e: e(k, identity, 1.0, u0=[0.1]), TypeError, "u0 must be"),
        (lambda k, e: e(k, identity, 1.0, u0=([0.1], [0.5])), ValueError, "sum 1"),
        (lambda k, e: e(k, identity, 1.0, u0=([0.1], [0.5, 0.5])), ValueError, "equally long"),
        (lambda k, e: e(k, identity, 1.0, u0=0.0, value_scale=1.0), ValueError, "needs beta"),
        (lambda k, e: e(k, identity, 1.0, u0=0.0, beta=-1.0), ValueError, "beta must be a finite number >= 0, got -1"),
        (lambda k, e: e(k, lambda u: u[:2], 1.0, u0=0.0), ValueError, "f must return"),
        (lambda _, e: e(0.3, identity, 1.0, u0=0.0), TypeError, "kernel must be"),
        (lambda k, e: e(k.scaled(0.0), identity, 1.0, u0=0.0), ValueError, "without noise"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(from_activation("relu", dim=3), two_point.expectation)


def test_bad_energy_input():
    k = from_activation("relu", dim=3)
    with pytest.raises(TypeError, match="beta must be a number"):
        two_point.energy_ratio(k, 1.0, beta=None, u0=0.0)
    with pytest.raises(ValueError, match="u0"):
        two_point.energy_ratio(k, 1.0, beta=1.0, u0="uniform")
    with pytest.raises(ValueError, match="open interval"):
        two_point.stationary_density(k, 1.0, beta=1.0, value_scale=-1.0)


@pytest.mark.parametrize(("noise_scale", "slack"), [(1e-2, 1e-3), (1e-3, 1e-5), (1e-4, 1e-5)])
def test_repelled_tokens_under_weak_noise_settle_in_a_gamma_law(noise_scale, slack):
    """Near u = −1, w = 1 + u: a = 2Kw, b = (d−1)K − gw, K = κ(1) + κ(−1), g = 4|δ|/(e^{2β}+1): shape (d−1)/2."""
    k = from_activation("relu", dim=5).scaled(noise_scale)
    scale = 2 * (k(1.0) + k(-1.0)) * (math.exp(2.0) + 1) / 4
    u = -1 + np.array([0.5, 2.0]) * scale
    density = two_point.stationary_density(k, u, beta=1.0, value_scale=-1.0)
    np.testing.assert_allclose(density, stats.gamma.pdf(1 + u, 2, scale=scale), rtol=slack)


def test_noise_that_attention_swamps_is_refused():
    """What came out was NaN, which passed as resolved."""
    k = from_activation("relu", dim=5).scaled(1e-100)
    with pytest.raises(ValueError, match=r"error estimate nan .* the noise is too weak against the attention"):
        two_point.stationary_density(k, np.array([-0.9, 0.0, 0.9]), beta=1.0, value_scale=-1.0)
    k = from_activation("tanh", dim=4).scaled(1e-6)
    with pytest.raises(ValueError, match=r"not resolved, error estimate .* the noise is too weak"):
        two_point.hitting_probabilities(k, 0.0, beta=30.0, value_scale=1.0)


@pytest.mark.parametrize("argument", ["beta", "value_scale"])
def test_attention_of_two_tokens_takes_numbers(argument):
    k = from_activation("relu", dim=3)
    settings = {"beta": 1.0, "value_scale": -1.0}
    right = two_point.hitting_probabilities(k, 0.0, **settings)
    assert two_point.hitting_probabilities(k, 0.0, **settings | {argument: np.float32(settings[argument])}) == right
    for value, error in (("1", TypeError), (10**400, ValueError), (math.nan, ValueError)):
        with pytest.raises(error, match=f"{argument} must be a"):
            two_point.hitting_probabilities(k, 0.0, **settings | {argument: value})


def test_masked_cosines_are_refused():
    with pytest.raises(TypeError, match="u0 must not be a masked array"):
        two_point.hitting_probabilities(from_activation("relu", dim=3), np.ma.array([0.5, 0.1]))
