"""Equiangular tokens against integrals; test_normalization_laws.py has networks and a table."""

import math

import numpy as np
import pytest
from scipy import integrate

import chaosphere as cs

RULES = ("post", "pre", "peri", "ngpt", "sqrt")


def equiangular(normalization="pre", **options):
    options = {"n_tokens": 6, "beta": 2.0, "cosine": 0.1, "times": 1.0} | options
    return cs.theory.equiangular(normalization, **options)


@pytest.mark.parametrize("beta", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("rule", ["post", "sqrt"])
def test_two_tokens_merge_in_the_time_of_an_integral(rule, beta):
    """∫ (1 + e^{β(1 − cos ψ)}) / (2 sin ψ) dψ between the angles of end and start; for "sqrt" that is 2√(t+1) − 2."""
    angles = np.array([2.5, 1.0, 1e-2])

    def integrand(angle):
        return (1 + math.exp(beta * (1 - math.cos(angle)))) / (2 * math.sin(angle))

    spent = [integrate.quad(integrand, a, angles[0], epsabs=1e-13, epsrel=1e-13, limit=200)[0] for a in angles]
    times = np.array(spent) if rule == "post" else (1 + np.array(spent) / 2) ** 2 - 1
    cosines, radii = equiangular(rule, n_tokens=2, beta=beta, cosine=math.cos(2.5), times=times)
    np.testing.assert_allclose(cosines, np.cos(angles), atol=1e-10)
    assert (radii == 1).all()


def test_tokens_without_preference_under_ngpt():
    """β = 0 and many tokens at ρ: A is their mean, of length √ρ, so that (√ρ)' = 1 − ρ: √ρ = tanh."""
    times = np.linspace(0, 3, 7)
    cosines, _ = equiangular("ngpt", n_tokens=2**50, beta=0.0, cosine=0.04, times=times)
    np.testing.assert_allclose(cosines, np.tanh(times + math.atanh(0.2)) ** 2, atol=1e-10)


@pytest.mark.parametrize("rule", ["pre", "peri"])
def test_the_radius_is_a_unit_of_time(rule):
    times = np.array([0.5, 2.0, 30.0])
    cosines, radii = equiangular(rule, times=times)
    scaled, large = equiangular(rule, times=40 * times, initial_radius=40.0)
    np.testing.assert_allclose(scaled, cosines, atol=1e-10)
    np.testing.assert_allclose(large, 40 * radii, rtol=1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_shapes(rule):
    times = np.array([[3.0, 0.0], [1.0, 3.0]])
    cosines, radii = equiangular(rule, times=times)
    assert cosines.shape == radii.shape == (2, 2)
    assert abs(cosines[0, 1] - 0.1) < 1e-15
    assert cosines[0, 0] == cosines[1, 1]
    alone, radius = equiangular(rule, times=1)
    assert (type(alone), type(radius)) == (float, float)
    assert abs(alone - cosines[1, 0]) < 1e-11
    assert equiangular(rule, times=0.0) == (pytest.approx(0.1, abs=1e-15), 1.0)
    late = equiangular(rule, times=1e9)[0]
    assert 1 - 1e-12 < late <= 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"normalization": "rms"}, ValueError, "normalization: unknown 'rms'"),
        ({"n_tokens": 1}, ValueError, "n_tokens must be"),
        ({"n_tokens": 2.5}, TypeError, "n_tokens must be"),
        ({"beta": -1.0}, ValueError, "beta must be"),
        ({"beta": math.inf}, ValueError, "beta must be"),
        ({"cosine": 1.0}, ValueError, r"cosine must lie between -1/\(n_tokens - 1\) = -0.2 and 1, got 1"),
        ({"cosine": -0.2}, ValueError, "cosine must lie between"),
        ({"cosine": math.nan}, ValueError, "cosine must be"),
        ({"times": -1.0}, ValueError, r"times must lie in \[0, 1e\+09\]"),
        ({"times": [0.0, math.nan]}, ValueError, "times must lie in"),
        ({"times": 1e10}, ValueError, "times must lie in"),
        ({"times": []}, ValueError, "times must hold at least one time"),
        ({"times": "1"}, TypeError, "times must be"),
        ({"initial_radius": 0.0}, ValueError, "initial_radius must be"),
        ({"initial_radius": None}, TypeError, "initial_radius must be"),
        ({"normalization": "post", "initial_radius": 2.0}, ValueError, "initial_radius must be 1 for normalization"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        equiangular(**options)
