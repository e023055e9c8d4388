"""Two tokens under noise that depends on their cosine, random attention above all."""

import math

import numpy as np
import pytest
import scipy

import chaosphere as cs
from chaosphere.interactions.random_pair import mean_products
from chaosphere.noise.pair_diffusion import at_y
from chaosphere.theory.pair_equation import Pair

two_point = cs.two_point
from_covariance = two_point.PairNoise.from_covariance

# P(antipodal) from u0 = −½, 0, ½ under random values, σ = 1: quadrature of the scale function, to 1e-10.
ANTIPODAL = {
    (2, 4.0): [0.6666666666666656, 0.49999999999999845, 0.3333333333333329],
    (3, 0.25): [0.07362159417082281, 0.037181578903605295, 0.015484280315016252],
    (3, 1.0): [0.3999030340502461, 0.222422563062446, 0.09666089570705816],
    (4, 0.5): [0.0, 0.0, 0.0],
    (4, 1.0): [0.204188634873383, 0.08442724732232898, 0.023823198806137924],
    (6, 4.0): [0.5360978436140702, 0.3084845615082794, 0.1042650845938563],
}


def values(beta, dim, std=1.0):
    return cs.RandomAttention(beta=beta, value_std=std).pair(dim)


@pytest.mark.parametrize(("dim", "beta"), ANTIPODAL)
def test_probabilities_of_antipodal_tokens(dim, beta):
    expected = ANTIPODAL[dim, beta]
    for std in (1.0, 0.3):  # which scales time alone
        _, minus = two_point.hitting_probabilities(values(beta, dim, std), np.array([-0.5, 0.0, 0.5]))
        np.testing.assert_allclose(minus, expected, rtol=0, atol=1e-9)
    # The same by the integral as it is written, S′(y) = sech y exp(−(d − 2) ∫ sech(β(1 − tanh s)) ds).
    if math.tanh(beta) ** 2 - (dim - 3) / (dim - 1) > 0.2:  # else S′ decays slowly

        def slope(y):
            inner, _ = scipy.integrate.quad(lambda s: 1 / math.cosh(beta * (1 - math.tanh(s))), 0, y, epsabs=1e-12)
            return math.exp(-(dim - 2) * inner) / math.cosh(y)

        parts = [scipy.integrate.quad(slope, *ends, limit=200)[0] for ends in ((-40, 0), (0, 40))]
        assert abs(parts[1] / sum(parts) - expected[1]) < 1e-7


@pytest.mark.parametrize(
    ("dim", "beta", "antipodal"),
    [(3, 1.0, -0.5800256583859739), (4, 0.5, 0.17967159944889116), (4, 2.0, -0.8940237627202534)],
)
def test_exponents(dim, beta, antipodal):
    behaviour = two_point.long_time(values(beta, dim, 0.5))
    assert behaviour.exponent_plus == pytest.approx(-0.25 * 0.5 * (dim - 1), abs=1e-14)
    assert behaviour.exponent_minus == pytest.approx(0.25 * antipodal, abs=1e-14)
    # Antipodal tokens attract iff tanh²β > (d − 3)/(d − 1).
    assert (behaviour.description == "u converges to 1 or to -1") == (math.tanh(beta) ** 2 > (dim - 3) / (dim - 1))


def test_a_noise_that_does_not_depend_on_the_tokens_is_a_kernel():
    cubic = cs.CovarianceKernel.from_function(lambda u: u + u**3, dim=5)
    plain = cs.CovarianceKernel.from_function(lambda u: np.exp(u - 1), dim=3)
    for kernel in (cubic, plain):
        noise = from_covariance(lambda u, k=kernel: k(1.0) + 0 * u, kernel, dim=kernel.dim, is_odd=kernel.is_odd)
        y = np.array([-3.0, -1.0, 0.0, 0.5, 3.0, 18.0])
        ours, theirs = (Pair.of(n, beta=1.0, value_scale=0.3).coefficients(at_y(y)) for n in (noise, kernel))
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        ours, theirs = (two_point.long_time(n, beta=1.0, value_scale=0.3) for n in (noise, kernel))
        assert ours.description == theirs.description
        np.testing.assert_allclose(ours.exponent_plus, theirs.exponent_plus, atol=1e-12)
        np.testing.assert_allclose(ours.exponent_minus, theirs.exponent_minus, atol=1e-12)
        for a, b in (
            [two_point.energy_ratio(n, [0.1, 0.3], beta=1.0, u0=0.3) for n in (noise, kernel)],
            [two_point.expectation(n, np.square, [0.5, 2.0], u0=0.3) for n in (noise, kernel)],
        ):
            np.testing.assert_allclose(a, b, atol=1e-8)


def test_an_extra_drift_is_that_of_attention():
    """(1 − u²) f(u) with the f of attention is attention."""
    beta, delta = 1.5, 0.4

    def drift(u):
        return 2 * delta * scipy.special.expit(beta * (u - 1))

    for is_odd, kappa in ((True, lambda u: u + u**3), (False, lambda u: np.exp(u - 1))):
        plain, driven = (
            from_covariance(lambda u, k=kappa: k(1.0) + 0 * u, kappa, dim=4, is_odd=is_odd, drift=f)
            for f in (None, drift)
        )
        y = np.array([-8.0, -1.0, 0.5, 3.0])
        expected = Pair.of(plain, beta=beta, value_scale=delta).coefficients(at_y(y))
        np.testing.assert_allclose(
            Pair.of(driven, beta=None, value_scale=0.0).coefficients(at_y(y)), expected, rtol=1e-9
        )


def test_the_energy_under_random_values():
    """The generator of two tokens on e^β − e^{βu} against its definition, and the mean energy along a run.

    Null: the equation is right. 2 000 replicas of two tokens, T = 0.5 in 50 steps; the standard error is estimated,
    z = 5 (false-alarm rate 5.7e-7), and 1 % allows for the size of the steps.
    """
    beta, dim, u0, horizon, r = 1.0, 3, -0.2, 0.5, 2000
    noise = values(beta, dim)
    ratio = two_point.energy_ratio(noise, horizon, u0=u0, beta=beta)
    x = np.zeros((r, 2, dim))
    x[:, 0, 0], x[:, 1, 0], x[:, 1, 1] = 1.0, u0, math.sqrt(1 - u0**2)
    attention = cs.RandomAttention(beta=beta)
    model = cs.Transformer(attention=attention, mlp=None, depth=50, horizon=horizon)
    final = cs.simulate(model, x, rng=3).final
    u = np.einsum("rc,rc->r", final[:, 0], final[:, 1])
    energy = (math.exp(beta) - np.exp(beta * u)) / (math.exp(beta) - math.exp(beta * u0))
    assert abs(energy.mean() - ratio) < 5 * energy.std(ddof=1) / math.sqrt(r) + 0.01 * ratio


def test_random_queries_and_keys():
    """E|m(x)|² and E⟨m(x), m(y)⟩ for scores of infinitely many dimensions, σ_A = 1 and 2: from quadrature to 1e-9."""
    expected = {
        (0.5, 1.0): (0.7933790358580928, 0.771428325631705),
        (0.3, 2.0): (0.8095037815629345, 0.6938457587849598),
    }
    for (u, std), products in expected.items():
        k = np.array([1e4, 2e4])
        series = [mean_products(int(n), n**-0.25 * math.sqrt(std)) for n in k]
        at = np.array([[np.polynomial.chebyshev.chebval(u, part) for part in parts] for parts in series])
        np.testing.assert_allclose(2 * at[1] - at[0], products, atol=2e-9)  # the error is of order 1/k


def test_the_largest_scores_that_a_message_names_are_resolved():
    for head_dim in (1, 64):
        cs.RandomAttention(head_dim=head_dim, query_key_std=2 * head_dim**-0.25).pair(3)


def test_one_score_dimension_against_monte_carlo():
    """E|m(x)|² and E⟨m(x), m(y)⟩ for head_dim = 1: 10⁶ draws, five standard errors (false-alarm rate 5.7e-7)."""
    rng, u, std, n = np.random.default_rng(0), 0.2, 1.5, 10**6
    q, k = (std * rng.standard_normal((2, n)) for _ in range(2))
    x, y = np.array([1.0, 0.0]), np.array([u, math.sqrt(1 - u * u)])
    difference = k[0] * (x - y)[0] + k[1] * (x - y)[1]
    p, p_other = (scipy.special.expit((q[0] * z[0] + q[1] * z[1]) * difference) for z in (x, y))
    products = u + (1 - u) * (p * p_other + (1 - p) * (1 - p_other))
    squares = 1 - 2 * (1 - u) * p * (1 - p)
    for values, series in zip((squares, products), mean_products(1, std), strict=True):
        expected = np.polynomial.chebyshev.chebval(u, series)
        assert abs(values.mean() - expected) < 5 * values.std() / math.sqrt(n)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: values(1.0, 1), ValueError, "dim must be an integer >= 2"),
        (lambda: values(1.0, 3, 0.0), ValueError, "value_std must be > 0"),
        (lambda: cs.RandomAttention(head_dim=2, query_key_std=30.0).pair(3), ValueError, "query_key_std is too large"),
        (
            lambda: two_point.PairNoise(diffusion=np.sin, drift=np.cos, dim=3),
            ValueError,
            "must be > 0 within",
        ),
        (
            lambda: two_point.PairNoise(diffusion=np.zeros_like, drift=np.cos, dim=3),
            ValueError,
            "diffusion must be > 0",
        ),
        (lambda: values(1.0, 3, 1e-170), ValueError, "value_std must be > 0"),
        (lambda: two_point.PairNoise(diffusion=1.0, drift=np.cos, dim=3), TypeError, "diffusion must be a function"),
        (
            lambda: two_point.PairNoise(diffusion=np.ones_like, drift=np.log, dim=3),
            ValueError,
            "drift must return finite",
        ),
        (
            lambda: from_covariance(np.ones_like, lambda u: 2 * u, dim=3),
            ValueError,
            "covariance must be at most variance",
        ),
        (lambda: from_covariance(np.ones_like, lambda u: u / 2, dim=3), ValueError, r"must be the variance at u = 1$"),
        (
            lambda: from_covariance(np.ones_like, lambda u: u**2, dim=3, is_odd=True),
            ValueError,
            "its negative at u = -1 for an odd noise",
        ),
        (lambda: from_covariance(np.ones_like, lambda u: 1 - abs(u - 1) / 3, dim=3, is_odd=2), TypeError, "is_odd"),
        (
            lambda: from_covariance(np.ones_like, lambda u: 1 - np.abs(1 - np.abs(u)) ** 0.5 / 3, dim=3),
            ValueError,
            "must be smooth",
        ),
        (lambda: two_point.long_time(cs.RandomAttention(beta=1.0)), TypeError, r"RandomAttention\(...\).pair"),
    ],
)
def test_bad_input(make, error, message):
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        make()
