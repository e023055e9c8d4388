"""Mean hitting times of two tokens, and two clusters of different weights under random values."""

import math

import numpy as np
import pytest
from scipy.integrate import dblquad

import chaosphere as cs
from chaosphere import two_point
from chaosphere.noise.pair_diffusion import at_y

RELU = cs.MLP(width=1, activation="relu").kernel(5)


def exponent(dim, beta):
    square = math.tanh(beta) ** 2
    return ((dim - 1) * square - (dim - 3)) / (1 + square)


def gap(beta, weight):
    """t₁ − t₂."""
    odds = 0.5 * math.log(weight / (1 - weight))
    return math.tanh(beta + odds) - math.tanh(beta - odds)


def test_jacobi_diffusion():
    """a = (1 − u²)(1 − u), b = (1 − u)(2 − u): the double integral of the scale function and the speed density."""
    noise = two_point.PairNoise(diffusion=np.ones_like, drift=lambda u: 2.0 - u, dim=4, is_odd=False)

    # b/a = (2 − u)/(1 − u²): S′ = (1 + u)^{−3/2}(1 − u)^{1/2} and 1/(a S′) = (1 + u)^{1/2}(1 − u)^{−5/2}.
    def integrand(w, z):
        return (1 + z) ** -1.5 * (1 - z) ** 0.5 * (1 + w) ** 0.5 * (1 - w) ** -2.5

    for u0 in (-1.0, -0.9, 0.2):
        exact, _ = dblquad(integrand, u0, 0.4, -1, lambda z: z, epsabs=1e-12, epsrel=1e-11)
        assert two_point.mean_hitting_time(noise, u0, 0.4) == pytest.approx(exact, rel=1e-8, abs=0)


def test_both_sides():
    """Repelling tokens have a stationary law, so that every cosine is reached from either side."""
    repelling = {"beta": 1.0, "value_scale": -1.0}
    times = two_point.mean_hitting_time(RELU, np.array([-1.0, -0.5, 0.1, 0.5, 0.99, 1.0]), 0.1, **repelling)
    assert times[2] == 0
    assert np.isinf(times[5])
    assert times[0] > times[1] > 0
    assert times[4] > times[3] > 0


def test_ends_that_attract_are_never_left():
    assert two_point.mean_hitting_time(RELU, 0.5, 0.1) == math.inf
    odd = cs.RandomAttention(beta=2.0).pair(3)
    assert two_point.mean_hitting_time(odd, np.array([-0.5, 0.5]), 0.0).tolist() == [math.inf, math.inf]
    repelled = cs.RandomAttention(beta=0.0).pair(5)  # opposite tokens repel, but stay where they are
    times = two_point.mean_hitting_time(repelled, np.array([-1.0, -0.999]), 0.0)
    assert times[0] == math.inf
    assert 0 < times[1] < 10


def test_backward_equation():
    """a τ″ + b τ′ = −1, by differences."""
    noise, h = cs.RandomAttention(beta=1.0).pair(3, weight=0.6), 1e-4
    u = np.array([-0.99, -0.5, 0.2])
    below, here, above = (two_point.mean_hitting_time(noise, u + s, 0.5) for s in (-h, 0.0, h))
    a, b = noise.coefficients(at_y(np.arctanh(u)))
    np.testing.assert_allclose(a * (above - 2 * here + below) / h**2 + b * (above - below) / (2 * h), -1, rtol=1e-3)


@pytest.mark.parametrize("weight", [0.1, 0.4, 0.7])
def test_weights_of_two_tokens(weight):
    """Half the sum of the variances, and the covariance, of the attention means; at −1 the drift ½σ²(d−1)(t₁ − t₂)²."""
    beta, dim, variance = 1.3, 5, 0.49
    noise = cs.RandomAttention(beta=beta, value_std=0.7).pair(dim, weight=weight)
    p = np.array([weight, 1 - weight])
    for u in (-0.999, -0.3, 0.8):
        x = np.array([[1.0, 0.0], [u, math.sqrt(1 - u * u)]])
        share = p * np.exp(beta * x @ x.T)
        m = (share / share.sum(axis=1, keepdims=True)) @ x
        own, both = variance * (m**2).sum(axis=1), variance * m[0] @ m[1]
        a, b = noise.coefficients(at_y(np.arctanh(np.array([u]))))
        assert a[0] == pytest.approx(0.5 * (1 - u * u) * (own.sum() - 2 * u * both), rel=1e-11)
        assert b[0] == pytest.approx((dim - 2 + u * u) * both - 0.5 * (dim - 1) * u * own.sum(), rel=1e-10, abs=1e-13)
    drift = 0.5 * variance * (dim - 1) * gap(beta, weight) ** 2
    assert 2 * noise.drift(np.array([-1.0]))[0] == pytest.approx(drift, rel=1e-12)


def test_nearly_equal_weights_are_equal_ones():
    equal, nearly = (cs.RandomAttention(beta=1.0).pair(4, weight=w) for w in (0.5, 0.5 + 1e-9))
    points = at_y(np.linspace(-3, 3, 7))
    np.testing.assert_allclose(equal.coefficients(points), nearly.coefficients(points), rtol=1e-6)


@pytest.mark.parametrize(("dim", "beta"), [(2, 1.0), (3, 1.0), (3, 3.0), (4, 2.0)])
def test_lifetimes_of_nearly_even_splits(dim, beta):
    """The mean time that opposite clusters stay apart grows as (t₁ − t₂)^{−p}, p <= 1, and not with the power 2."""
    attention = cs.RandomAttention(beta=beta)
    weights = [0.5 + 0.25 * difference * math.cosh(beta) ** 2 for difference in (1e-4, 1e-5)]
    first, second = (two_point.mean_hitting_time(attention.pair(dim, weight=w), -1.0, 0.0) for w in weights)
    power = math.log(second / first) / math.log(gap(beta, weights[1]) / gap(beta, weights[0]))
    assert power == pytest.approx(-exponent(dim, beta), abs=4e-3)
    assert exponent(dim, beta) <= 1


def test_what_rounding_hides_is_refused():
    """t₁ − t₂ = 4e-8: its square is of the size of the rounding of 1 + u."""
    with pytest.raises(ValueError, match="not resolved"):
        two_point.mean_hitting_time(cs.RandomAttention(beta=3.0).pair(4, weight=0.5 + 1e-6), -1.0, 0.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"target": 1.0}, "target must be < 1"),
        ({"target": -1.0}, "target must be a finite number > -1"),
        ({"u0": 1.5}, "u0 = 1.5 must be"),
        ({"value_scale": 1.0}, "value_scale = 1.0 needs beta"),
    ],
)
def test_bad_arguments(changed, message):
    with pytest.raises(ValueError, match=message):
        two_point.mean_hitting_time(**({"kernel": RELU, "u0": 0.0, "target": 0.5} | changed))


@pytest.mark.parametrize("weight", [0.0, 1.0, -0.5, math.nan])
def test_bad_weights(weight):
    with pytest.raises(ValueError, match="weight must be"):
        cs.RandomAttention(beta=1.0).pair(3, weight=weight)
    with pytest.raises(ValueError, match=r"weight must be 0\.5 with random Q and K"):
        cs.RandomAttention(head_dim=3, query_key_std=0.5).pair(3, weight=0.4)
