"""Gegenbauer polynomials: closed forms, and rules and expansions in them."""

import itertools

import numpy as np
import pytest
from scipy.special import eval_gegenbauer

from chaosphere.geometry import gegenbauer as module
from chaosphere.geometry.gegenbauer import cosine_rule, gegenbauer, gegenbauer_in_place, project

U = np.cos(np.linspace(0.0, np.pi, 41))


def test_polynomials_against_closed_forms():
    p = list(itertools.islice(gegenbauer(U, 2), 6))
    np.testing.assert_allclose(p[5], np.cos(5 * np.arccos(U)), atol=1e-14)
    legendre = list(itertools.islice(gegenbauer(U, 3), 4))
    np.testing.assert_allclose(legendre[3], (5 * U**3 - 3 * U) / 2, atol=1e-14)


@pytest.mark.parametrize("dim", [3, 4, 9])
def test_both_recurrences_against_scipy(dim):
    for n, *values in zip(range(30), gegenbauer(U, dim), gegenbauer_in_place(U, dim), strict=False):
        expected = eval_gegenbauer(n, dim / 2 - 1, U) / eval_gegenbauer(n, dim / 2 - 1, 1.0)
        np.testing.assert_allclose(values[0], expected, atol=1e-13)
        np.testing.assert_allclose(values[1], expected, atol=1e-13)


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_cosine_rule_has_the_moments_of_uniform_points(dim):
    """E u² = 1/d and E u⁴ = 3/(d(d + 2))."""
    u, w = cosine_rule(*np.polynomial.legendre.leggauss(64), dim=dim)
    moments = [w @ u**k for k in range(5)]
    np.testing.assert_allclose(moments, [1, 0, 1 / dim, 0, 3 / (dim * (dim + 2))], rtol=0, atol=1e-14)


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_projection_finds_the_coefficients(dim):
    c = np.array([0.5, 0.0, 0.25, 0.125])

    def function(u):
        return sum(a * p for a, p in zip(c, gegenbauer(u, dim), strict=False))

    projected, error = project(function, 6, dim=dim)
    assert (np.abs(projected - np.append(c, np.zeros(3))) <= error).all()
    assert error.max() < 1e-12


def test_fejer_rule_is_exact_to_its_degree():
    for n in (1, 2, 9, 64):
        x, w = module._fejer(n)
        for k in range(n):
            assert w @ x**k == pytest.approx(0 if k % 2 else 2 / (k + 1), abs=1e-15)
