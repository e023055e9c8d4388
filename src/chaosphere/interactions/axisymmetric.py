"""Drifts of measures that are symmetric about an axis, at nodes on the axis.

The tangential part of the drift of such a measure is the gradient of a function Φ of the cosine u with the axis. For
the interactions here Φ is known:

    softmax attention: (δ/β) log ∫ e^{β⟨x,y⟩} dμ(y)          unnormalised: (δ/β) ∫ e^{β⟨x,y⟩} dμ(y)
    doubly stochastic: −(δ/β) log a(x)                        potential: ∫ W(⟨x,y⟩) dμ(y)

The mean of e^{β⟨x,y⟩} over the y with cosine v is e^{βuv} ₀F₁((d − 1)/2; z²/4), z = β √(1 − u²) √(1 − v²). All terms
are positive, so that Φ is right to rounding for every β, also where there is next to no mass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import scipy

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.geometry import axisymmetric
from chaosphere.geometry.axisymmetric import MAX_DIM, orthonormal, slopes
from chaosphere.geometry.gegenbauer import gegenbauer_series
from chaosphere.geometry.harmonics import per_harmonic
from chaosphere.interactions import linear

_SMALL_BETA, _N_TERMS = 1.0, 30  # up to this β a series, so that (e^{βu} − 1)/β is right to rounding
_MAX_SERIES = 20.0  # z from which Bessel functions serve
_MAX_ITERATIONS, _N_HALVINGS = 60, 4


class AxisymmetricDrift(Protocol):
    """A drift at n nodes, of a measure by its masses p at these nodes, >= 0 with sum 1.

    Attributes
    ----------
    max_speed : float
        The largest size √(1 − u²) |Φ′(u)| of the drift for any probability.
    """

    max_speed: float

    def potential(self, p: Floats) -> Floats:
        """Return Φ at the nodes, up to a constant."""

    def slope(self, p: Floats) -> Floats:
        """Return Φ′ at the nodes."""

    def derivative(self, p: Floats, *, order: int = 0) -> Floats:
        """Return the matrix that takes changes of masses, of sum 0, to those of Φ, up to a constant; shape (n, n).

        For an order m > 0 both are the factors of a harmonic of degree m of the direction about the axis, and there are
        no such conditions.
        """

    def energy(self, p: Floats) -> float | None:
        """Return the energy whose first variation is −Φ, up to a constant; None where there is none."""


def nodes(cosines: Any, dim: Any) -> tuple[Floats, int]:
    """Return the arguments of the interactions' methods, checked."""
    u, dim = checks.cosines(cosines, "cosines"), checks.integer(dim, "dim", low=2, high=MAX_DIM)
    if u.ndim != 1 or len(u) == 0:
        raise ValueError(f"cosines must be a list of one number or more, got shape {u.shape}")
    return u, dim


class ExponentialKernel:
    """e^{β⟨x,y⟩} between nodes: Z = offset + β X p with offset 1 for small β, so that no digits are lost, else 0.

    Parameters
    ----------
    cosines : ndarray of float64, shape (n,)
    beta : float
    dim : int

    Attributes
    ----------
    matrix, slope : ndarray of float64, shape (n, n)
        X and its derivative in the row's cosine.
    log_unit : float
        Logarithm of what Z is divided by: β where the offset is 0, else 0.
    """

    def __init__(self, cosines: Floats, *, beta: float, dim: int) -> None:
        self.beta, self.is_small, self.dim = beta, beta <= _SMALL_BETA, dim
        self.log_unit = 0.0 if self.is_small else beta
        u, v, theta = cosines[:, None], cosines, np.arccos(cosines)
        s = np.sqrt((1 - cosines) * (1 + cosines))
        # e^{βuv} ₀F₁ = e^{β(uv + st)} e^{−z} ₀F₁, uv + st = 1 − 2 sin²(Δθ/2).
        weight = np.exp(beta - self.log_unit - 2 * beta * np.sin(0.5 * (theta[:, None] - theta)) ** 2)
        z = beta * s[:, None] * s
        self._weight, self._z, self._rings = weight, z, s[:, None] * s
        values = weight * _scaled_hypergeometric(0.5 * (dim - 1), z)
        self.slope = v * values - beta / (dim - 1) * u * (1 - v**2) * (
            weight * _scaled_hypergeometric(0.5 * (dim + 1), z)
        )
        self.matrix = _small(cosines, beta=beta, dim=dim) if self.is_small else values / beta

    def of_order(self, order: int) -> Floats:
        """Return what X is for a harmonic of degree m = order > 0: (1/β) (z/2)^m Γ(b)/Γ(b + m) ₀F₁(b + m; z²/4)."""
        b = 0.5 * (self.dim - 1)
        factor = self.beta ** (order - 1) / math.prod(2 * (b + k) for k in range(order))
        return np.asarray(factor * self._rings**order * self._weight * _scaled_hypergeometric(b + order, self._z))

    def log_partition(self, p: Floats, minus_log_a: Floats | None = None) -> Floats:
        """Return log Z/β of the measure a μ, up to a constant if β is not small; log a = −β `minus_log_a`."""
        if minus_log_a is None:
            return self._logarithm(self.matrix @ p, 0.0)
        if self.is_small:
            change = self.relative_change(minus_log_a)
            return self._logarithm(self.matrix @ (p * (1 + self.beta * change)), float(p @ change))
        return self._logarithm(self.matrix @ (p * np.exp(-self.beta * minus_log_a)), 0.0)

    def relative_change(self, minus_log_a: Floats) -> Floats:
        """Return (a − 1)/β."""
        if self.beta == 0:
            return -minus_log_a
        return np.asarray(np.expm1(-self.beta * minus_log_a) / self.beta)

    def partition(self, p: Floats) -> Floats:
        """Return Z of masses of any sum."""
        out = self.beta * (self.matrix @ p)
        return np.asarray(out + p.sum() if self.is_small else out)

    def _logarithm(self, x: Floats, more: float) -> Floats:
        if not self.is_small:
            return np.asarray(np.log(self.beta * x) / self.beta)
        return np.asarray(np.log1p(self.beta * (x + more)) / self.beta) if self.beta > 0 else x + more


def _scaled_hypergeometric(b: float, z: Floats) -> Floats:
    """Return e^{−z} ₀F₁(b; z²/4) = Γ(b) (2/z)^{b−1} e^{−z} I_{b−1}(z)."""
    special, out = scipy.special, np.empty(z.shape)
    is_small = z < _MAX_SERIES
    small, large = z[is_small], z[~is_small]
    out[is_small] = np.exp(-small) * special.hyp0f1(b, 0.25 * small * small)
    out[~is_small] = np.exp(special.gammaln(b) + (b - 1) * np.log(2 / large)) * special.ive(b - 1, large)
    return out


def _small(cosines: Floats, *, beta: float, dim: int) -> Floats:
    """Return the mean of (e^{β⟨x,y⟩} − 1)/β, by its harmonics."""
    k = np.arange(_N_TERMS)
    # (λ_0 − 1)/β of λ_0 = ₀F₁(d/2; β²/4), and λ_0.
    terms = (0.25 * beta**2) ** k / np.cumprod((k + 1) * (0.5 * dim + k))
    constant = 0.25 * beta * float(terms.sum())
    factors = np.array([linear.relative_response(degree, dim=dim, beta=beta) for degree in range(1, _N_TERMS)])
    phi = orthonormal(cosines, _N_TERMS - 1, dim=dim)[:, 1:]
    return np.asarray(constant + (1 + beta * constant) * ((phi * factors) @ phi.T))


class SoftmaxAxisymmetric:
    """Φ = (δ/β) log Z.

    Parameters
    ----------
    kernel : ExponentialKernel
    value_scale : float
    """

    def __init__(self, kernel: ExponentialKernel, *, value_scale: float) -> None:
        self.kernel, self.value_scale, self.max_speed = kernel, value_scale, abs(value_scale)

    def potential(self, p: Floats) -> Floats:
        """Return Φ; see `AxisymmetricDrift`."""
        return self.value_scale * self.kernel.log_partition(p)

    def slope(self, p: Floats) -> Floats:
        """Return Φ′; see `AxisymmetricDrift`."""
        return np.asarray(self.value_scale * (self.kernel.slope @ p) / self.kernel.partition(p))

    def derivative(self, p: Floats, *, order: int = 0) -> Floats:
        """Return the derivative of Φ; see `AxisymmetricDrift`."""
        matrix = self.kernel.of_order(order) if order else self.kernel.matrix
        return np.asarray(self.value_scale * matrix / self.kernel.partition(p)[:, None])

    def energy(self, p: Floats) -> float | None:
        """Return None: softmax attention is no gradient flow in the distance of Wasserstein."""
        return None


class LinearAxisymmetric:
    """Φ = X p: unnormalised attention, and potentials.

    Parameters
    ----------
    matrix, slope : ndarray of float64, shape (n, n)
        X, symmetric, and its derivative in the row's cosine.
    max_speed : float
    of_order : callable
        Takes an order m > 0, returns what X is for harmonics of degree m of the direction about the axis.
    """

    def __init__(self, matrix: Floats, slope: Floats, *, max_speed: float, of_order: Callable[[int], Floats]) -> None:
        self.matrix, self.slope_matrix, self.max_speed, self.of_order = matrix, slope, max_speed, of_order

    @classmethod
    def of_potential(cls, series: Floats, cosines: Floats, *, dim: int, max_speed: float) -> LinearAxisymmetric:
        """Return that of the Chebyshev series of a potential."""
        factors = per_harmonic(gegenbauer_series(series, dim=dim), dim)
        phi, dphi = (f(cosines, len(factors) - 1, dim=dim) for f in (orthonormal, slopes))

        def of_order(order: int) -> Floats:
            n_max = len(factors) - 1 - order
            if n_max < 0:
                return np.zeros((len(cosines), len(cosines)))
            psi = axisymmetric.of_order(cosines, n_max, dim=dim, order=order)
            return np.asarray((psi * factors[order:]) @ psi.T)

        return cls((phi * factors) @ phi.T, (dphi * factors) @ phi.T, max_speed=max_speed, of_order=of_order)

    def potential(self, p: Floats) -> Floats:
        """Return Φ; see `AxisymmetricDrift`."""
        return np.asarray(self.matrix @ p)

    def slope(self, p: Floats) -> Floats:
        """Return Φ′; see `AxisymmetricDrift`."""
        return np.asarray(self.slope_matrix @ p)

    def derivative(self, p: Floats, *, order: int = 0) -> Floats:
        """Return the derivative of Φ; see `AxisymmetricDrift`."""
        return self.of_order(order) if order else self.matrix

    def energy(self, p: Floats) -> float | None:
        """Return the energy; see `AxisymmetricDrift`."""
        return -0.5 * float(p @ self.matrix @ p)


class SinkhornAxisymmetric:
    """Φ = −(δ/β) log a with a(x) ∫ e^{β⟨x,y⟩} a(y) dμ(y) = 1.

    With φ = −log(a)/β that is φ = L(φ), L(φ) = (1/β) log ∫ e^{β⟨x,y⟩} a dμ, whose derivative is −W with a stochastic
    matrix W of eigenvalues in [0, 1]: Newton's method, after a few steps φ ← (φ + L(φ))/2, which halve the error.

    Parameters
    ----------
    kernel : ExponentialKernel
    value_scale : float
    """

    def __init__(self, kernel: ExponentialKernel, *, value_scale: float) -> None:
        self.kernel, self.value_scale, self.max_speed = kernel, value_scale, abs(value_scale)

    def _balanced(self, p: Floats) -> Floats:
        """Return φ."""
        phi = np.zeros(len(p))
        before = np.inf
        for number in range(_MAX_ITERATIONS):
            r = self.kernel.log_partition(p, phi) - phi
            size = float(np.abs(r).max())
            if number >= _N_HALVINGS and not size < 0.5 * before:  # rounding, or Newton's step went astray
                if size <= 1e-12 * (1 + float(np.abs(phi).max())):
                    break
                phi = phi + 0.5 * r
            elif number < _N_HALVINGS:
                phi = phi + 0.5 * r
            else:
                phi = phi + np.linalg.solve(np.eye(len(p)) + self._coefficients(p, phi), r)
            before = size
        return phi

    def _coefficients(self, p: Floats, phi: Floats) -> Floats:
        """Return W."""
        masses = p * np.exp(-self.kernel.beta * phi)
        values = self.kernel.beta * self.kernel.matrix + self.kernel.is_small
        return np.asarray(values * masses / self.kernel.partition(masses)[:, None])

    def potential(self, p: Floats) -> Floats:
        """Return Φ; see `AxisymmetricDrift`."""
        return self.value_scale * self._balanced(p)

    def slope(self, p: Floats) -> Floats:
        """Return Φ′; see `AxisymmetricDrift`."""
        masses = p * np.exp(-self.kernel.beta * self._balanced(p))
        return np.asarray(self.value_scale * (self.kernel.slope @ masses) / self.kernel.partition(masses))

    def derivative(self, p: Floats, *, order: int = 0) -> Floats:
        """Return the derivative of Φ; see `AxisymmetricDrift`."""
        phi = self._balanced(p)
        a = np.exp(-self.kernel.beta * phi)
        if order:
            right = self.kernel.of_order(order) * a / self.kernel.partition(p * a)[:, None]
            return np.asarray(self.value_scale * np.linalg.solve(np.eye(len(p)) + self.kernel.beta * right * p, right))
        right = self.kernel.matrix * a
        if self.kernel.is_small:
            right = right + self.kernel.relative_change(phi)
        right = right / self.kernel.partition(p * a)[:, None]
        return np.asarray(self.value_scale * np.linalg.solve(np.eye(len(p)) + self._coefficients(p, phi), right))

    def energy(self, p: Floats) -> float | None:
        """Return the energy (δ/β) ∫ log a dμ; see `AxisymmetricDrift`."""
        return -self.value_scale * float(p @ self._balanced(p))


class CombinedAxisymmetric:
    """The mean or the sum of drifts.

    Parameters
    ----------
    drifts : sequence of AxisymmetricDrift
    combine : callable
        From numbers or arrays to one.
    """

    def __init__(self, drifts: Sequence[AxisymmetricDrift], combine: Callable[[Any], Any]) -> None:
        self.drifts, self.combine = drifts, combine
        self.max_speed = float(combine(drift.max_speed for drift in drifts))

    def potential(self, p: Floats) -> Floats:
        """Return Φ; see `AxisymmetricDrift`."""
        return np.asarray(self.combine(drift.potential(p) for drift in self.drifts))

    def slope(self, p: Floats) -> Floats:
        """Return Φ′; see `AxisymmetricDrift`."""
        return np.asarray(self.combine(drift.slope(p) for drift in self.drifts))

    def derivative(self, p: Floats, *, order: int = 0) -> Floats:
        """Return the derivative of Φ; see `AxisymmetricDrift`."""
        return np.asarray(self.combine(drift.derivative(p, order=order) for drift in self.drifts))

    def energy(self, p: Floats) -> float | None:
        """Return the energy, if every drift has one; see `AxisymmetricDrift`."""
        energies = [drift.energy(p) for drift in self.drifts]
        return None if None in energies else float(self.combine(energies))
