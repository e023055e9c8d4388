"""Drifts of densities on the circle, from their Fourier modes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere.common.checks import Floats
from chaosphere.interactions.balance import UnbalancedError, balance, root_mean_square

Modes = NDArray[np.complex128]

MAX_MODES = 2**24  # a gibibyte of them in the arrays of a step

# Up to this β the partition function of any measure, at least e^{−2β} of the largest possible, is far above rounding.
_SAFE_BETA = 14.0


class CircleDrift(Protocol):
    """The tangential part of a drift, as a function of the measure that moves.

    Attributes
    ----------
    max_speed : float
        The largest value for any probability.
    """

    max_speed: float

    def __call__(self, modes: Modes, n_points: int) -> Floats:
        """Return e_θ · b(μ, e(θ)) at θ = 2πj/n for the modes (R, K + 1) of a measure, shape (R, n)."""


class PartitionError(ArithmeticError):
    """The partition function of the modes is that of no probability.

    Parameters
    ----------
    beta : float
    """

    def __init__(self, beta: float) -> None:
        super().__init__(beta)
        self.beta = beta

    @property
    def is_rounding(self) -> bool:
        """Whether β is so large that rounding alone may be the cause."""
        return abs(self.beta) > _SAFE_BETA


def values(modes: Modes, n_points: int) -> Floats:
    """Return the values at the grid of real functions with the given modes 0 … K."""
    return np.asarray(scipy.fft.irfft(modes, n=n_points, axis=-1, norm="forward"))


def _bessel(beta: float, n_modes: int) -> tuple[Floats, Modes]:
    """Return e^{−|β|} I_k(β), k <= K, of the partition function, and i k I_k(β)/β e^{−|β|} of its derivative over β."""
    bessel = scipy.special.ive(np.arange(n_modes + 2), abs(beta))
    if beta < 0:
        bessel[1::2] *= -1
    # k I_k(β)/β = (I_{k−1} − I_{k+1})/2 holds at β = 0 too.
    return bessel[:-1], 0.5j * (np.concatenate([bessel[1:2], bessel[:-2]]) - bessel[1:])


class SoftmaxDrift:
    """δ Z′/(βZ) with Z = Σ_k I_k(β) m_k e^{ikθ}.

    Parameters
    ----------
    beta, value_scale : float
    n_modes : int
        K.
    """

    def __init__(self, *, beta: float, value_scale: float, n_modes: int) -> None:
        self.beta, self.value_scale, self.max_speed = beta, value_scale, abs(value_scale)
        self.partition, self.derivative = _bessel(beta, n_modes)

    def __call__(self, modes: Modes, n_points: int) -> Floats:
        """Return the drift; see `CircleDrift`."""
        z, dz = values(np.stack([self.partition * modes, self.derivative * modes]), n_points)
        if not (np.abs(dz) <= z).all():  # a mean of unit vectors is no longer than 1
            raise PartitionError(self.beta)
        return np.asarray(self.value_scale * dz / z)


def max_circle_speed(derivative: Floats) -> float:
    """Return a bound on |W′(cos θ) sin θ| from the Chebyshev series of W′: to 2 %, at eight points a degree."""
    theta = np.pi * np.arange(8 * len(derivative) + 9) / (8 * len(derivative) + 8)
    slopes = np.polynomial.chebyshev.chebval(np.cos(theta), derivative) * np.sin(theta)
    return 1.02 * float(np.abs(slopes).max())


class PotentialDrift:
    """dΦ/dθ with Φ = ∫ W(cos(θ − φ)) dμ(φ) = Σ_k ½ c_k m_k e^{ikθ}, for W = Σ_k c_k T_k.

    Parameters
    ----------
    potential : ndarray of float64
        c_0, c_1, …
    derivative : ndarray of float64
        The Chebyshev series of W′.
    n_modes : int
        K.
    """

    def __init__(self, *, potential: Floats, derivative: Floats, n_modes: int) -> None:
        self.max_speed = max_circle_speed(derivative)
        n = min(n_modes + 1, len(potential))
        self.derivative = np.zeros(n_modes + 1, np.complex128)
        self.derivative[:n] = 0.5j * np.arange(n) * potential[:n]

    def __call__(self, modes: Modes, n_points: int) -> Floats:
        """Return the drift; see `CircleDrift`."""
        return values(self.derivative * modes, n_points)


class UnnormalizedDrift:
    """δ Z′/β with the same Z.

    Parameters
    ----------
    beta : float
    max_value : float
        δ e^β, or δ for the rescaled drift.
    n_modes : int
        K.
    """

    def __init__(self, *, beta: float, max_value: float, n_modes: int) -> None:
        self.max_speed, self.derivative = abs(max_value), max_value * _bessel(beta, n_modes)[1]

    def __call__(self, modes: Modes, n_points: int) -> Floats:
        """Return the drift; see `CircleDrift`."""
        return values(self.derivative * modes, n_points)


class SinkhornDrift:
    """δ Z′/(βZ) with the same Z of the measure a μ, where a Z = 1.

    Parameters
    ----------
    beta, value_scale : float
    n_modes : int
        K.
    tolerance : float
        Of a Z − 1, in L²(μ).
    """

    def __init__(self, *, beta: float, value_scale: float, n_modes: int, tolerance: float) -> None:
        self.beta, self.value_scale, self.max_speed = beta, value_scale, abs(value_scale)
        self.partition, self.derivative = _bessel(beta, n_modes)
        self.tolerance = tolerance

    def __call__(self, modes: Modes, n_points: int) -> Floats:
        """Return the drift; see `CircleDrift`."""
        # What is below 0 is the rounding of a density of next to nothing, or the density is not resolved.
        p = np.maximum(values(modes, n_points), 0.0) / n_points
        p /= p.sum(axis=1, keepdims=True)

        def scaled(rows: NDArray[np.int64], a: Floats) -> Modes:
            return np.asarray(scipy.fft.rfft(p[rows] * a, axis=-1)[:, : len(self.partition)])

        def sums(rows: NDArray[np.int64], a: Floats) -> Floats:
            of_measure = scaled(rows, a)
            return values(self.partition[: of_measure.shape[1]] * of_measure, n_points)

        try:
            balanced = balance(sums, p, n_replicas=len(p), tolerance=self.tolerance, size=root_mean_square)
        except UnbalancedError as error:
            raise PartitionError(self.beta) from error
        of_measure = scaled(np.arange(len(p)), np.exp(balanced.log_a))
        n_modes = of_measure.shape[1]
        z, dz = values(
            np.stack([self.partition[:n_modes] * of_measure, self.derivative[:n_modes] * of_measure]), n_points
        )
        if not (np.abs(dz) <= z).all():
            raise PartitionError(self.beta)
        return np.asarray(self.value_scale * dz / z)
