"""Gegenbauer's nodes, weights and polynomials against closed forms."""

import itertools
import math

import numpy as np
import pytest
from scipy import special

from chaosphere.geometry.axisymmetric import AxisymmetricRule, density, orthonormal, slopes
from chaosphere.geometry.gegenbauer import gegenbauer
from chaosphere.geometry.harmonics import multiplicities


@pytest.mark.parametrize("dim", [2, 3, 4, 10, 64])
def test_nodes_weights_and_polynomials(dim):
    rule = AxisymmetricRule(dim=dim, n_modes=40, n_nodes=64)
    assert rule.weights.sum() == pytest.approx(1, abs=1e-13)
    assert (rule.weights * rule.cosines**2).sum() == pytest.approx(1 / dim, rel=1e-13)
    weighted = rule.weights[:, None] * rule.basis
    np.testing.assert_allclose(rule.basis.T @ weighted, np.eye(41), rtol=0, atol=1e-13)
    stiffness = rule.slopes.T @ ((rule.weights * (1 - rule.cosines**2))[:, None] * rule.slopes)
    np.testing.assert_allclose(stiffness, np.diag(rule.eigenvalues), rtol=1e-12, atol=1e-9)
    exponential = math.exp(math.lgamma(dim / 2)) * (2 / 5) ** (dim / 2 - 1) * special.iv(dim / 2 - 1, 5.0)
    assert rule.weights @ np.exp(5 * rule.cosines) == pytest.approx(exponential, rel=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_polynomials_are_those_of_gegenbauer(dim):
    u = np.linspace(-1, 1, 9)
    known = np.stack(list(itertools.islice(gegenbauer(u, dim), 13)), axis=1)
    norms = np.sqrt(multiplicities(12, dim))
    np.testing.assert_allclose(orthonormal(u, 12, dim=dim), norms * known, rtol=0, atol=1e-12 * norms.max())
    h, inner = 1e-6, u[1:-1]
    difference = (orthonormal(inner + h, 12, dim=dim) - orthonormal(inner - h, 12, dim=dim)) / (2 * h)
    exact = slopes(inner, 12, dim=dim)
    np.testing.assert_allclose(exact, difference, rtol=0, atol=1e-8 * np.abs(exact).max())
    assert slopes(u, 0, dim=dim).tolist() == [[0.0]] * 9


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_densities_and_their_modes(dim):
    """The von Mises–Fisher law: ∫ P_l dμ = I_{l+ν}(c)/I_ν(c)."""
    rule = AxisymmetricRule(dim=dim, n_modes=30, n_nodes=40)
    masses = rule.weights * np.exp(3 * rule.cosines)
    modes = rule.modes(masses / masses.sum())
    order = np.arange(31) + dim / 2 - 1
    np.testing.assert_allclose(modes, special.iv(order, 3.0) / special.iv(order[0], 3.0), rtol=0, atol=1e-14)
    u = np.linspace(-1, 1, 5)
    expected = np.exp(3 * u) / (rule.weights @ np.exp(3 * rule.cosines))
    np.testing.assert_allclose(density(np.stack([modes, modes]), u, dim=dim), [expected] * 2, rtol=0, atol=1e-12)
