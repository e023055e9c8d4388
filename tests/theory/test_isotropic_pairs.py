"""Two tokens under noise with E W(x)W(y)ᵀ = κ(u) I + η(u) y xᵀ.

Statistical tests: null as stated, seeds fixed, false-alarm rate 5.7e-7 (five standard errors) per comparison.
"""

import math

import numpy as np
import pytest
import scipy

import chaosphere as cs
from chaosphere.common.streams import Noise, Stream
from chaosphere.models.schemes import SCHEMES, Flow
from chaosphere.noise.pair_diffusion import at_y
from chaosphere.theory import two_point
from chaosphere.theory.pair_equation import Pair, generator

from_function = cs.CovarianceKernel.from_function


def quadratic_form(dim, gamma=0.0):
    """W(x) = A x + γ g, A symmetric: κ = u + γ², η = 1."""
    return from_function(lambda u: u + gamma**2, dim=dim, derivative=np.ones_like, eta=np.ones_like)


def kappa(u):
    return 0.2 + 0.4 * u + 0.3 * u**2


def eta(u):
    return 0.3 + 0.25 * u


def general(dim):
    return from_function(kappa, dim=dim, derivative=lambda u: 0.4 + 0.6 * u, eta=eta)


def coefficients(u, dim):
    """a and b of the generator a f″ + b f′, as they are written."""
    a = (1 - u**2) * (kappa(1.0) - u * kappa(u) + eta(u) * (1 - u**2))
    return a, (dim - 2 + u**2) * kappa(u) - (dim - 1) * kappa(1.0) * u - eta(u) * u * (1 - u**2)


def pair_at(u, n_replicas):
    x = np.array([[1.0, 0.0, 0.0], [u, math.sqrt(1 - u**2), 0.0]])
    return np.repeat(x[None], n_replicas, axis=0)


def cosines(x):
    return np.einsum("ra,ra->r", x[:, 0], x[:, 1])


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_coefficients(dim):
    u = np.linspace(-0.999, 0.999, 23)
    a, b = Pair.of(general(dim), beta=None, value_scale=0.0).coefficients(at_y(np.arctanh(u)))
    plain_a, plain_b = coefficients(u, dim)
    # With y = artanh u: y′ = 1/(1 − u²), y″ = 2u/(1 − u²)².
    np.testing.assert_allclose(a * (1 - u**2) ** 2, plain_a, rtol=1e-11)
    np.testing.assert_allclose(b * (1 - u**2) - 2 * u * plain_a / (1 - u**2), plain_b, rtol=1e-10, atol=1e-13)


def test_coefficients_of_the_random_quadratic_form_at_both_ends():
    """dy = 2 tanh y dt + 2 dB in every dimension, as far out as 1 − |u| = 1e-104."""
    y = np.linspace(-120.0, 120.0, 41)
    for dim in (2, 3, 9):
        a, b = Pair.of(quadratic_form(dim), beta=None, value_scale=0.0).coefficients(at_y(y))
        np.testing.assert_allclose(a, 2.0, rtol=1e-15)
        np.testing.assert_allclose(b, 2 * np.tanh(y), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if scheme.strong_order is not None])
def test_a_step_moves_the_cosine_by_the_generator(scheme):
    """Null: E Δu = b h and Var Δu = 2a h up to O(h²), in every scheme; 4000 pairs of steps under ΔW and −ΔW."""
    field, n, h, slack = cs.GaussianField(kernel=general(3)), 4_000, 1e-3, 1e-2
    increment = field.increment([Noise(3, n_replicas=n).draws(Stream.BROWNIAN, 0)], duration=h, n_tokens=2)
    for u in (-0.6, 0.4):
        x, ends = pair_at(u, n), []
        for sign in (1, -1):

            def signed(z, *, n_threads=None, sign=sign):
                return sign * increment(z)

            flow = Flow(interaction=None, increment=signed, own=None, step_size=h, n_threads=1)
            ends.append(cosines(SCHEMES[scheme].step(x, flow)))
        drift, spread = (0.5 * (ends[0] + ends[1]) - u) / h, 0.25 * (ends[0] - ends[1]) ** 2 / (2 * h)
        for sample, expected in zip((spread, drift), coefficients(u, 3), strict=True):
            assert abs(sample.mean() - expected) < 5 * sample.std() / math.sqrt(n) + slack


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_the_random_quadratic_form_ends_as_the_angle_says(dim):
    u = np.array([-1.0, -0.999, -0.6, 0.3, 0.5, 0.999999, 1.0])
    plus, minus = two_point.hitting_probabilities(quadratic_form(dim), u)
    np.testing.assert_allclose(plus, 1 - np.arccos(u) / np.pi, atol=1e-12)
    np.testing.assert_allclose(plus + minus, 1.0, atol=1e-15)
    # Literals of another program.
    assert plus[3] == pytest.approx(0.5969866840206782, abs=1e-12)
    assert plus[2] == pytest.approx(0.2951672353008665, abs=1e-12)
    behaviour = two_point.long_time(quadratic_form(dim))
    assert behaviour.exponent_plus == behaviour.exponent_minus == pytest.approx(-2.0, rel=1e-14)


def test_the_angle_is_a_martingale():
    angle = two_point.expectation(quadratic_form(4), np.arccos, np.array([0.5, 3.0]), u0=0.3)
    np.testing.assert_allclose(angle, math.acos(0.3), atol=1e-9)


def test_close_tokens():
    k = quadratic_form(5)
    assert two_point.energy_ratio(k, 0.5, beta=1.0, u0=1.0) == pytest.approx(math.exp(2.0), rel=1e-10)
    k = general(4)
    assert two_point.energy_ratio(k, 0.5, beta=3.0, u0=1.0) == pytest.approx(math.exp(0.5 * k.lambda_bar()), rel=1e-10)


def test_energy_ratio_against_the_expectation():
    times, beta, u0 = np.array([0.0, 1.0, 2.0]), 2.0, -0.4

    def energy(u):
        return math.exp(beta) - np.exp(beta * u)

    settings = {"beta": beta, "u0": u0, "value_scale": 0.7}
    ratio = two_point.energy_ratio(general(3), times, **settings)
    mean = two_point.expectation(general(3), energy, times, **settings)
    np.testing.assert_allclose(ratio * energy(u0), mean, atol=1e-8)


def test_the_distance_falls_like_the_edge_of_the_spectrum():
    """E sin θ_t ~ C t^{−3/2} e^{−t/2} for the random quadratic form, by finite differences in y = artanh u."""
    y = np.linspace(-120.0, 120.0, 1201)
    h = y[1] - y[0]
    a, b = Pair.of(quadratic_form(3), beta=None, value_scale=0.0).coefficients(at_y(y))
    up, down = a / h**2 + b / (2 * h), a / h**2 - b / (2 * h)
    edge = 2 * math.sqrt(up[-1] * down[-1]) - up[-1] - down[-1]
    assert edge == pytest.approx(-0.5, abs=h**2 / 20)
    # A birth and death process is symmetric with respect to its reversible law.
    root = np.concatenate(([0.0], np.cumsum(0.5 * np.log(up[:-1] / down[1:]))))
    root = np.exp(root - root[600])
    values, vectors = scipy.linalg.eigh_tridiagonal(-up - down, np.sqrt(up[:-1] * down[1:]))
    weights = vectors[600] * (vectors.T @ (root / np.cosh(y)))  # sin θ = 1/cosh y, from u = 0
    times = np.array([50.0, 100.0, 200.0])
    means = np.array([np.exp((values - edge) * t) @ weights for t in times])
    powers = np.diff(np.log(means)) / math.log(2)
    assert 2 * powers[1] - powers[0] == pytest.approx(-1.5, abs=0.01)


# Slowest rates of the pair, and γ, by another program to 1e-11.
SLOW = [(3, 0.1, 0.07200036566861186), (5, 0.03, 0.030824818867571643), (3, 0.3, 0.23957628610604875)]


@pytest.mark.parametrize(("dim", "gamma", "rate"), SLOW)
def test_slow_rates_of_the_forced_quadratic_form(dim, gamma, rate):
    k = quadratic_form(dim, gamma=gamma)
    _, matrix = generator(Pair.of(k, beta=None, value_scale=0.0), 128, is_energy=False)
    values = np.sort(-np.linalg.eigvals(matrix).real)
    np.testing.assert_allclose(values[:2], 0.0, atol=1e-8)  # constants, and the row that the closure leaves
    assert values[2] == pytest.approx(rate, rel=2e-6)
    assert values[3] > 0.27
    decay = k.energy_decay_rate()
    assert decay.kind == "isolated eigenvalue"
    assert decay.rate == pytest.approx(rate, rel=1e-9)
    assert two_point.long_time(k).description == "u converges to 1"


@pytest.mark.parametrize("dim", [2, 6])
def test_slow_rates_approach_their_law(dim):
    """(4/π) γ/B((d − 1)/2, ½) as γ → 0; the corrections look like γ and γ log γ, which three values of γ take out."""
    gammas = np.array([0.04, 0.02, 0.01])
    matrices = [
        generator(Pair.of(quadratic_form(dim, gamma=g), beta=None, value_scale=0.0), 192, is_energy=False)[1]
        for g in gammas
    ]
    rates = np.array([np.sort(-np.linalg.eigvals(matrix).real)[2] for matrix in matrices])
    terms = np.stack([np.ones(3), gammas, gammas * np.log(gammas)], axis=1)
    limit = np.linalg.solve(terms, rates * scipy.special.beta((dim - 1) / 2, 0.5) / gammas)[0]
    assert limit == pytest.approx(4 / math.pi, rel=5e-3)


@pytest.mark.parametrize(
    ("n", "n_steps", "slack"), [(2_000, 100, 5e-3), pytest.param(20_000, 800, 1e-3, marks=pytest.mark.statistical)]
)
def test_runs_end_together_as_often_as_the_angle_says(n, n_steps, slack):
    """Null: P(u > 0 at t = 5) = 1 − θ/π; from u = 0.3 the two ends of a pair are 1e-3 wrong by then."""
    model = cs.LimitSDE(attention=None, field=cs.GaussianField(kernel=quadratic_form(3)), horizon=5.0, n_steps=n_steps)
    u = cosines(cs.simulate(model, pair_at(0.3, n), rng=11).final)
    expected = 1 - math.acos(0.3) / math.pi
    assert abs((u > 0).mean() - expected) < 5 * math.sqrt(expected * (1 - expected) / n) + slack


def test_a_run_has_the_exponent_of_its_kernel():
    """Null: log |X − Y| of close tokens has mean λ1 t and variance s² t, s² = κ + κ′ + 2η; 2000 pairs, t = 1."""
    k, n = general(3), 2_000
    model = cs.LimitSDE(attention=None, field=cs.GaussianField(kernel=k), horizon=1.0, n_steps=100)
    x = pair_at(1 - 5e-11, n)
    end = cs.simulate(model, x, rng=4).final
    growth = np.log(np.linalg.norm(end[:, 0] - end[:, 1], axis=1) / np.linalg.norm(x[:, 0] - x[:, 1], axis=1))
    variance = k(1.0) + k.derivative(1.0) + 2 * k.eta(1.0)
    assert abs(growth.mean() - k.lyapunov_exponent()) < 5 * math.sqrt(variance / n) + 0.02
    assert growth.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / n) + 0.02)


def test_stationary_law_of_repelled_tokens():
    x, w = np.polynomial.legendre.leggauss(200)
    cosine, w = np.tanh(15 * x), 15 * w / np.cosh(15 * x) ** 2
    inside = np.abs(cosine) < 1
    cosine, w = cosine[inside], w[inside]
    settings = {"beta": 1.0, "value_scale": -3.0}
    p = two_point.stationary_density(general(3), cosine, **settings) * w
    assert p.sum() == pytest.approx(1.0, abs=1e-5)
    mean = two_point.expectation(general(3), np.exp, 1.5, u0=(cosine, p / p.sum()), **settings)
    assert mean == pytest.approx(p @ np.exp(cosine), abs=1e-5)
