"""Drifts of densities on S², from their modes in spherical harmonics.

Each is made of gradients of sums ∫ f(⟨x, y⟩) dμ(y), whose modes are those of μ times numbers λ_l (Funk and Hecke).
Modes are packed as in `chaosphere.geometry.sphere_grid`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.geometry import expansions, sphere_grid
from chaosphere.geometry.gegenbauer import gegenbauer_series
from chaosphere.geometry.harmonics import per_harmonic
from chaosphere.geometry.sphere_grid import Modes, SphereGrid
from chaosphere.interactions.balance import UnbalancedError, balance, root_mean_square
from chaosphere.interactions.circle import PartitionError, max_circle_speed

_DIM = 3
_LEFT_OUT = 1e-18  # share of e^β that degrees above the last carry


class SphereDrift(Protocol):
    """The tangential part of a drift, as a function of the measure that moves.

    Attributes
    ----------
    max_speed : float
        The largest size for any probability.
    """

    max_speed: float

    def __call__(self, modes: Modes, grid: SphereGrid) -> Floats:
        """Return e_θ · b(μ, x) and e_φ · b(μ, x) at the points of a grid for the modes of a measure, shape (2, n)."""


class ExponentialFactors:
    """Z = e^{−|β|} ∫ e^{β⟨x,y⟩} dμ(y) and its gradient over β.

    Parameters
    ----------
    beta : float
    n_modes : int
        K.
    """

    def __init__(self, *, beta: float, n_modes: int) -> None:
        n_modes = _checked(n_modes)
        self.beta, is_negative, beta = beta, beta < 0, abs(beta)
        every = expansions.multipliers(beta, _DIM)
        last = int(np.flatnonzero(expansions.tails(beta, _DIM) <= _LEFT_OUT)[0])
        self.degree = min(n_modes, max(last, 1))
        degree = np.arange(1, len(every))
        # λ_l = λ_{l−1} β / (2l + d − 2 + β λ_{l+1}/λ_l), as in `expansions`: over β it is there at β = 0, too.
        over_beta = np.concatenate(
            [[0.0], every[:-1] / (2 * degree + _DIM - 2 + beta * _next_ratios(beta, len(every)))]
        )
        if is_negative:  # λ_l is (−1)^l times that of |β|
            signs = 1.0 - 2 * (np.arange(len(every)) % 2)
            every, over_beta = signs * every, -signs * over_beta
        of_mode = sphere_grid.degrees(n_modes)
        self.partition, self.slope = (_of_modes(f, of_mode) for f in (every, over_beta))

    def values(self, modes: Modes, grid: SphereGrid) -> Floats:
        """Return Z."""
        return grid.values(self.partition * modes, degree=self.degree)

    def gradient(self, modes: Modes, grid: SphereGrid) -> Floats:
        """Return ∇Z/β."""
        return grid.gradient(self.slope * modes, degree=self.degree)

    def mean(self, modes: Modes, grid: SphereGrid, *, scale: float) -> Floats:
        """Return ∇Z/(βZ), the tangential part of a mean of unit vectors, times a number."""
        z, dz = self.values(modes, grid), self.gradient(modes, grid)
        dz /= z
        if not (z.min() > 0 and (dz[0] * dz[0] + dz[1] * dz[1]).max() <= 1):
            raise PartitionError(self.beta)
        dz *= scale
        return dz


def _checked(n_modes: int) -> int:
    return checks.integer(n_modes, "n_modes", low=1, high=sphere_grid.MAX_MODES)


def _next_ratios(beta: float, n: int) -> Floats:
    """Return λ_{l+1}/λ_l for l = 1 … n − 1."""
    return expansions.ratios(n, beta, _DIM)[1:]


def _of_modes(factors: Floats, of_mode: NDArray[np.int64]) -> Floats:
    """Return the factor of every mode, 0 beyond the last."""
    longer = np.zeros(max(len(factors), int(of_mode.max()) + 1))
    longer[: len(factors)] = factors
    return longer[of_mode]


class SoftmaxSphere:
    """δ ∇Z/(βZ).

    Parameters
    ----------
    factors : ExponentialFactors
    value_scale : float
    """

    def __init__(self, factors: ExponentialFactors, *, value_scale: float) -> None:
        self.factors, self.value_scale, self.max_speed = factors, value_scale, abs(value_scale)

    def __call__(self, modes: Modes, grid: SphereGrid) -> Floats:
        """Return the drift; see `SphereDrift`."""
        return self.factors.mean(modes, grid, scale=self.value_scale)


class UnnormalizedSphere:
    """∇Z/β times a number, δ e^β or δ.

    Parameters
    ----------
    factors : ExponentialFactors
    max_value : float
    """

    def __init__(self, factors: ExponentialFactors, *, max_value: float) -> None:
        self.factors, self.max_value, self.max_speed = factors, max_value, abs(max_value)

    def __call__(self, modes: Modes, grid: SphereGrid) -> Floats:
        """Return the drift; see `SphereDrift`."""
        return self.max_value * self.factors.gradient(modes, grid)


class PotentialSphere:
    """∇Φ with Φ = ∫ W(⟨x, y⟩) dμ(y).

    Parameters
    ----------
    potential, derivative : ndarray of float64
        The Chebyshev series of W and W′.
    n_modes : int
        K.
    """

    def __init__(self, *, potential: Floats, derivative: Floats, n_modes: int) -> None:
        n_modes = _checked(n_modes)
        self.max_speed = max_circle_speed(derivative)
        factors = per_harmonic(gegenbauer_series(potential, dim=_DIM), _DIM)
        self.degree = min(n_modes, max(len(factors) - 1, 1))
        self.factors = _of_modes(factors, sphere_grid.degrees(n_modes))

    def __call__(self, modes: Modes, grid: SphereGrid) -> Floats:
        """Return the drift; see `SphereDrift`."""
        return grid.gradient(self.factors * modes, degree=self.degree)


class SinkhornSphere:
    """δ ∇Z/(βZ) of the measure a μ, where a Z = 1.

    Parameters
    ----------
    factors : ExponentialFactors
    value_scale : float
    tolerance : float
        Of a Z − 1, in L²(μ).
    """

    def __init__(self, factors: ExponentialFactors, *, value_scale: float, tolerance: float) -> None:
        self.factors, self.value_scale, self.max_speed = factors, value_scale, abs(value_scale)
        self.tolerance = tolerance

    def __call__(self, modes: Modes, grid: SphereGrid) -> Floats:
        """Return the drift; see `SphereDrift`."""
        # What is below 0 is the rounding of a density of next to nothing, or the density is not resolved.
        density = np.maximum(grid.values(modes), 0.0)
        mass = float(grid.weights @ density)
        density /= mass

        def sums(rows: NDArray[np.int64], a: Floats) -> Floats:
            return self.factors.values(grid.modes(density * a), grid)

        try:
            balanced = balance(
                sums, (grid.weights * density)[None], n_replicas=1, tolerance=self.tolerance, size=root_mean_square
            )
        except UnbalancedError as error:
            raise PartitionError(self.factors.beta) from error
        scaled = grid.modes(density * np.exp(balanced.log_a[0]))
        return self.factors.mean(scaled, grid, scale=self.value_scale)


class CombinedSphere:
    """The mean or the sum of drifts.

    Parameters
    ----------
    drifts : sequence of SphereDrift
    combine : callable
        From numbers or arrays to one.
    """

    def __init__(self, drifts: Sequence[SphereDrift], combine: Callable[[Any], Any]) -> None:
        self.drifts, self.combine = drifts, combine
        self.max_speed = float(combine(drift.max_speed for drift in drifts))

    def __call__(self, modes: Modes, grid: SphereGrid) -> Floats:
        """Return the drift; see `SphereDrift`."""
        return np.asarray(self.combine(drift(modes, grid) for drift in self.drifts))
