"""Functions of one cosine on the sphere: densities that are symmetric about an axis, in Gegenbauer polynomials.

With respect to the uniform probability on S^{d−1} the cosine u with an axis has a density ∝ (1 − u²)^{(d−3)/2}. The
polynomials φ_l = √dim(l, d) P_l are orthonormal for it; P_l is as in `chaosphere.geometry.gegenbauer`.
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from chaosphere.common.checks import Floats
from chaosphere.geometry.harmonics import rounded_multiplicities

MAX_DIM = 64  # up to which nodes and weights are tested
_ROUNDING, _WINDOW = 1e-14, 6  # of coefficients in the orthonormal φ_l, relative to the largest; so many in a row


def orthonormal(u: Floats, n_max: int, *, dim: int) -> Floats:
    """Return φ_0(u) … φ_{n_max}(u), shape (n, n_max + 1)."""
    out = np.empty((len(u), n_max + 1))
    out[:, 0] = 1.0
    before, root = np.zeros(len(u)), 0.0
    for n in range(1, n_max + 1):
        # u φ_{n−1} = b_n φ_n + b_{n−1} φ_{n−2}; for d = 2 the quotient is 0/0 at n = 1.
        square = n * (n + dim - 3) / ((2 * n + dim - 2) * (2 * n + dim - 4)) if 2 * n + dim > 4 else 0.5
        now, back = out[:, n - 1], root
        root = math.sqrt(square)
        out[:, n] = (u * now - back * before) / root
        before = now
    return out


def slopes(u: Floats, n_max: int, *, dim: int) -> Floats:
    """Return φ_0′(u) … φ_{n_max}′(u): of degree l it is a multiple of φ_{l−1} in dimension d + 2."""
    degree = np.arange(n_max + 1)
    out = np.zeros((len(u), n_max + 1))
    factors = np.sqrt(degree[1:] * (degree[1:] + dim - 2) * (dim / (dim - 1)))
    out[:, 1:] = factors * orthonormal(u, max(n_max - 1, 0), dim=dim + 2)[:, :n_max]
    return out


def of_order(u: Floats, n_max: int, *, dim: int, order: int) -> Floats:
    """Return ψ_k(u) = s^m φ_k(u)/√c, k = 0 … n_max, with s = √(1 − u²) and the φ_k of dimension d + 2m.

    ψ_k(u) Y(ω), Y a harmonic of degree m = order of the direction ω about the axis, of mean square 1, is a harmonic of
    degree m + k on the sphere, of mean square 1.
    """
    return np.asarray(_power(u, dim=dim, order=order)[:, None] * orthonormal(u, n_max, dim=dim + 2 * order))


def slopes_of_order(u: Floats, n_max: int, *, dim: int, order: int) -> Floats:
    """Return (1 − u²) ψ_k′(u)."""
    squares = ((1 - u) * (1 + u))[:, None]
    phi, dphi = orthonormal(u, n_max, dim=dim + 2 * order), slopes(u, n_max, dim=dim + 2 * order)
    return np.asarray(_power(u, dim=dim, order=order)[:, None] * (squares * dphi - order * u[:, None] * phi))


def _power(u: Floats, *, dim: int, order: int) -> Floats:
    """Return s^m over the root of its mean square."""
    j = np.arange(order)
    return np.asarray(np.sqrt((1 - u) * (1 + u)) ** order / math.sqrt(np.prod((dim - 1 + 2 * j) / (dim + 2 * j))))


class AxisymmetricRule:
    """Gauss and Gegenbauer's nodes and weights, and the polynomials up to a degree at the nodes.

    Parameters
    ----------
    dim : int
        d in [2, 64].
    n_modes : int
        K >= 1, the largest degree.
    n_nodes : int
        Number n of nodes: sums are exact for polynomials of degree 2n − 1.

    Attributes
    ----------
    cosines, weights : ndarray of float64, shape (n,)
        Of sum 1.
    basis, slopes : ndarray of float64, shape (n, K + 1)
        φ_l and its derivative at the nodes.
    norms : ndarray of float64, shape (K + 1,)
        √dim(l, d).
    eigenvalues : ndarray of float64, shape (K + 1,)
        l (l + d − 2), of minus the Laplacian.
    """

    def __init__(self, *, dim: int, n_modes: int, n_nodes: int) -> None:
        self.dim, self.n_modes, self.n_nodes = dim, n_modes, n_nodes
        u = np.asarray(scipy.special.roots_gegenbauer(n_nodes, 0.5 * dim - 1)[0])
        # Christoffel's numbers lose fewer digits than SciPy's weights, for d = 3 above all.
        phi = orthonormal(u, max(n_nodes - 1, n_modes), dim=dim)
        self.cosines, self.weights = u, 1 / (phi[:, :n_nodes] ** 2).sum(axis=1)
        self.basis, self.slopes = phi[:, : n_modes + 1].copy(), slopes(u, n_modes, dim=dim)
        self.norms = np.sqrt(rounded_multiplicities(n_modes, dim))
        degree = np.arange(n_modes + 1.0)
        self.eigenvalues = degree * (degree + dim - 2)

    def modes(self, masses: Floats) -> Floats:
        """Return ∫ P_l dμ for l = 0 … K, of masses at the nodes."""
        return np.asarray(masses @ self.basis / self.norms)


def without_rounding(coefficients: Floats) -> Floats:
    """Return coefficients (..., K + 1) in the φ_l, with 0 from where they are lost in rounding.

    φ_l(1) is large beside the mean of φ_l, more so in high dimension: what rounding leaves would hide the sum.
    """
    size = np.abs(coefficients)
    padded = np.concatenate([size, np.zeros((*size.shape[:-1], _WINDOW - 1))], axis=-1)
    ahead = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=-1).max(axis=-1)
    is_kept = np.logical_and.accumulate(ahead > _ROUNDING * size.max(axis=-1, keepdims=True), axis=-1)
    return np.where(is_kept, coefficients, 0.0)


def density(modes: Floats, u: Floats, *, dim: int) -> Floats:
    """Return ρ(u) = Σ_l dim(l, d) m_l P_l(u) of modes m_l = ∫ P_l dμ, shape (..., K + 1) to (..., n)."""
    norms = np.sqrt(rounded_multiplicities(modes.shape[-1] - 1, dim))
    return combination(norms * without_rounding(norms * modes), u, dim=dim)


def combination(coefficients: Floats, u: Floats, *, dim: int) -> Floats:
    """Return Σ_l c_l P_l(u), shape (..., K + 1) to (..., n)."""
    n_max = coefficients.shape[-1] - 1
    norms = np.sqrt(rounded_multiplicities(n_max, dim))
    return np.asarray((coefficients / norms) @ orthonormal(u, n_max, dim=dim).T)
