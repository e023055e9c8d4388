"""Functions and tangent fields on S²: spherical harmonics, and a grid on which products are taken.

The transforms are those of the ducc0 library; `benches/bench_sphere.py` holds them against the harmonics of
`chaosphere.geometry.harmonics`, which serve every dimension.

Modes c_{l,m}, m = 0 … K, l = m … K, of a real function are those in the complex harmonics Y_{l,m} with Condon and
Shortley's phase, orthonormal for the uniform probability: Y_{0,0} = 1. They are packed in one axis, m by m; those of
m < 0 follow from them. A tangent field has components along e_θ and e_φ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats

Modes = NDArray[np.complex128]

MAX_MODES = 1024  # of the grid of such a density has five million points
_MIN_THREADED = 96  # a transform takes half a millisecond there; waking threads for less takes longer than it saves
_ROOT = math.sqrt(4 * math.pi)  # of the orthonormal harmonics over those of the library


def n_packed(n_modes: int) -> int:
    """Return the number of modes up to degree `n_modes`."""
    return (n_modes + 1) * (n_modes + 2) // 2


def degrees(n_modes: int) -> NDArray[np.int64]:
    """Return the degree of every mode."""
    return np.concatenate([np.arange(m, n_modes + 1) for m in range(n_modes + 1)])


def orders(n_modes: int) -> NDArray[np.int64]:
    """Return the order m of every mode."""
    return np.repeat(np.arange(n_modes + 1), np.arange(n_modes + 1, 0, -1))


def square(modes: Modes, n_modes: int) -> Modes:
    """Return modes (..., n) as (..., K + 1, K + 1), by degree and order, 0 where m > l."""
    out = np.zeros((*modes.shape[:-1], n_modes + 1, n_modes + 1), np.complex128)
    out[..., degrees(n_modes), orders(n_modes)] = modes
    return out


def packed(modes: Modes) -> Modes:
    """Return the opposite of `square`."""
    n_modes = modes.shape[-1] - 1
    return np.ascontiguousarray(modes[..., degrees(n_modes), orders(n_modes)])


def sizes(modes: Modes, n_modes: int) -> Floats:
    """Return (Σ_m |c_{l,m}|²)^{1/2} over all orders m, negative ones too, of modes (n,) for l = 0 … K."""
    power = np.where(orders(n_modes) == 0, 1, 2) * (modes.real**2 + modes.imag**2)
    return np.sqrt(np.bincount(degrees(n_modes), weights=power, minlength=n_modes + 1))


def values_at(modes: Modes, x: Floats, *, n_modes: int) -> Floats:
    """Return the values at points x (N, 3) of functions with modes (S, n), shape (S, N); each point by itself."""
    return _at_points(modes, x, n_modes=n_modes, spin=0)[:, 0]


def gradients_at(modes: Modes, x: Floats, *, n_modes: int) -> Floats:
    """Return the gradients there as vectors of R³, shape (S, N, 3)."""
    theta, phi = _angles(x)
    sin, cos = np.sin(theta), np.cos(theta)
    south = np.stack([cos * np.cos(phi), cos * np.sin(phi), -sin], axis=1)
    east = np.stack([-np.sin(phi), np.cos(phi), np.zeros_like(phi)], axis=1)
    parts = _at_points(modes, x, n_modes=n_modes, spin=1, mode="DERIV1")
    return np.asarray(parts[:, 0, :, None] * south + parts[:, 1, :, None] * east)


def _at_points(modes: Modes, x: Floats, *, n_modes: int, **options: Any) -> Floats:
    ducc0 = checks.extra("ducc0", "sphere")
    theta, phi = _angles(x)
    out = ducc0.sht.synthesis(
        alm=modes[:, None],
        theta=theta,
        lmax=n_modes,
        nphi=np.ones(len(x), np.uint64),
        phi0=phi,
        ringstart=np.arange(len(x), dtype=np.uint64),
        ringfactor=np.full(len(x), _ROOT),
        **options,
    )
    return np.asarray(out)


def _angles(x: Floats) -> tuple[Floats, Floats]:
    return np.arctan2(np.hypot(x[:, 0], x[:, 1]), x[:, 2]), np.arctan2(x[:, 1], x[:, 0])


class SphereGrid:
    """A product of Gauss and Legendre's rule in cos θ and equal angles φ, and transforms of modes up to a degree.

    Parameters
    ----------
    n_modes : int
        K >= 0.
    n_exact : int
        Polynomials up to this degree are summed exactly, n_exact >= 2K.
    n_threads : int
        For transforms from degree 96 on; bitwise identical for any number.

    Attributes
    ----------
    shape : tuple of int
        Rings, from north to south, and longitudes.
    points : ndarray of float64, shape (n, 3)
        Ring by ring.
    frame : ndarray of float64, shape (2, n, 3)
        e_θ and e_φ at the points.
    weights : ndarray of float64, shape (n,)
        Of the uniform probability.
    """

    def __init__(self, n_modes: int, *, n_exact: int, n_threads: int = 1) -> None:
        ducc0 = checks.extra("ducc0", "sphere")
        self.n_modes, self.n_threads = n_modes, n_threads
        n_rings, n_longitudes = self.shape = shape = _shape(n_exact)
        theta = ducc0.misc.GL_thetas(n_rings)
        phi = 2 * np.pi * np.arange(n_longitudes) / n_longitudes
        sin, cos = np.sin(theta)[:, None], np.cos(theta)[:, None]
        self.points = _vectors(sin * np.cos(phi), sin * np.sin(phi), cos, shape)
        self.frame = np.stack(
            [
                _vectors(cos * np.cos(phi), cos * np.sin(phi), -sin, shape),
                _vectors(-np.sin(phi), np.cos(phi), 0.0, shape),
            ]
        )
        of_ring = ducc0.misc.GL_weights(n_rings, n_longitudes) / (4 * np.pi)
        self.weights = np.repeat(of_ring, n_longitudes)
        self._synthesis, self._adjoint = ducc0.sht.synthesis, ducc0.sht.adjoint_synthesis
        self._to_points = np.full(n_rings, _ROOT)
        self._to_modes = _ROOT * of_ring
        # The place that the mode of degree 0 and order m would have.
        m = np.arange(n_modes + 1)
        self._starts = (m * (2 * n_modes + 1 - m) // 2).astype(np.uint64)
        self._geometry: dict[str, Any] = {
            "theta": theta,
            "nphi": np.full(n_rings, n_longitudes, np.uint64),
            "phi0": np.zeros(n_rings),
            "ringstart": np.arange(n_rings, dtype=np.uint64) * n_longitudes,
            "nthreads": n_threads if n_modes >= _MIN_THREADED else 1,
        }

    @property
    def n_points(self) -> int:
        """Number n of points."""
        return len(self.weights)

    def values(self, modes: Modes, *, degree: int | None = None) -> Floats:
        """Return the values at the points of functions with modes (..., n), of these up to a degree."""
        return self._at_points(modes, degree, spin=0)[..., 0, :]

    def gradient(self, modes: Modes, *, degree: int | None = None) -> Floats:
        """Return the gradients at the points, shape (..., 2, n)."""
        return self._at_points(modes, degree, spin=1, mode="DERIV1")

    def modes(self, values: Floats) -> Modes:
        """Return ∫ f conj(Y_{l,m}) for functions with values (..., n): modes if the sums are exact."""
        return self._sums(values[..., None, :], spin=0)

    def against_gradients(self, fields: Floats) -> Modes:
        """Return ∫ F · ∇conj(Y_{l,m}), the modes of −∇·F, for tangent fields (..., 2, n)."""
        out = self._sums(fields, spin=1, mode="DERIV1")
        out[..., 0] = 0.0
        return out

    def _at_points(self, modes: Modes, degree: int | None, **options: Any) -> Floats:
        degree = self.n_modes if degree is None else min(degree, self.n_modes)
        values = self._synthesis(
            alm=modes.reshape(-1, 1, modes.shape[-1]),
            lmax=degree,
            mstart=self._starts[: degree + 1],
            ringfactor=self._to_points,
            **self._geometry,
            **options,
        )
        return np.asarray(values.reshape(*modes.shape[:-1], *values.shape[1:]))

    def _sums(self, fields: Floats, **options: Any) -> Modes:
        sums = self._adjoint(
            map=fields.reshape(-1, *fields.shape[-2:]),
            lmax=self.n_modes,
            mstart=self._starts,
            ringfactor=self._to_modes,
            **self._geometry,
            **options,
        )
        return np.asarray(sums.reshape(*fields.shape[:-2], sums.shape[-1]))


def n_points(n_exact: int) -> int:
    """Return the number of points of a grid."""
    return math.prod(_shape(n_exact))


def _shape(n_exact: int) -> tuple[int, int]:
    return n_exact // 2 + 1, int(scipy.fft.next_fast_len(n_exact + 1, real=True))


def _vectors(x: Any, y: Any, z: Any, shape: tuple[int, int]) -> Floats:
    return np.stack([np.broadcast_to(part, shape) for part in (x, y, z)], axis=-1).reshape(-1, 3)
