"""From moments of tokens to the coefficients of attention on the sphere, as one sparse matrix in the kernels' order.

The field has, for each harmonic Y, the moments of Y, x_1 Y, …, x_d Y times a multiplier. For d = 3 these are made of
the moments of Y alone, of degrees one more and one less (see `series`); beyond, the kernel takes all of them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats
from chaosphere.geometry import expansions
from chaosphere.interactions.series import coordinate_factors

Triples = tuple[Any, Any, Any]
_ROWS = 256  # of moments at once: an array of all of them is large


class MomentMatrix:
    """Coefficients of the field of attention, from moments.

    Attributes
    ----------
    basis, of_moments : HarmonicBasis
        Of the field, of degree L, and of the moments, of degree L + 1 for d = 3.
    n_rows : int
        1, or d + 1 for moments with those of x_1 Y, …, x_d Y.
    row_starts, columns, entries : ndarray
        The matrix, row by row.
    """

    def __init__(self, factors: Floats, dim: int) -> None:
        from scipy.sparse import coo_array  # takes long to import

        n_max, rows = len(factors) - 1, dim + 1
        self.basis = expansions.basis(dim, n_max)
        self.of_moments = expansions.basis(dim, n_max + 1) if dim == 3 else self.basis
        self.n_rows = 1 if dim == 3 else rows
        if dim == 3:
            to, of, values = _with_coordinates(n_max)
        else:
            to = of = np.arange(self.basis.size * rows)
            values = np.ones(len(to))
        scale = np.repeat(self.basis.factors * factors[self.basis.degrees], rows)
        values = values * scale[to] * np.repeat(self.of_moments.factors, self.n_rows)[of]
        place_to, place_of = np.argsort(self.basis.order(rows)), np.argsort(self.of_moments.order(self.n_rows))
        shape = (len(place_to), len(place_of))
        matrix = coo_array((values, (place_to[to], place_of[of])), shape=shape).tocsr()
        matrix.eliminate_zeros()
        self.row_starts, self.columns = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
        self.entries = matrix.data

    def sizes(self, moments: Floats) -> Floats:
        """Return the sizes s_l of the moments of Y, by degree, from the kernel's (…, size): (…, L + 1) or one more."""
        basis = self.of_moments
        order = basis.order(self.n_rows)
        where = np.flatnonzero(order % self.n_rows == 0)
        place = where[np.argsort(order[where])]  # of each harmonic
        counts = np.bincount(basis.degrees)
        firsts = np.cumsum(counts) - counts
        squares = np.empty((*moments.shape[:-1], len(counts)))
        rows, to = moments.reshape(-1, moments.shape[-1]), squares.reshape(-1, len(counts))
        for first in range(0, len(rows), _ROWS):
            part = slice(first, first + _ROWS)
            to[part] = np.add.reduceat((rows[part][:, place] * basis.factors) ** 2, firsts, axis=1)
        return np.asarray(np.sqrt(squares / counts))


@lru_cache(maxsize=16)
def matrix_of(beta: float, dim: int, rtol: float) -> MomentMatrix:
    """Return the matrix for a given accuracy, made once."""
    n_max = expansions.degree(beta, dim, rtol)
    return MomentMatrix(expansions.multipliers(beta, dim)[: n_max + 1], dim)


def _with_coordinates(n_max: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return where and what the entries are that make moments of Y, x_1 Y, x_2 Y, x_3 Y, degrees <= n_max, from Y's.

    In arrays (K, 4) and (K′,) in the order of `HarmonicBasis`; entries at one place add up. `series` has the
    recurrences of the complex harmonics.
    """
    n, m = np.tril_indices(n_max + 1)
    up, down, third = (factors[:, n, m] for factors in coordinate_factors(n_max))
    plus = [(up[0], n + 1, m + 1), (-up[1], n - 1, m + 1)]
    minus = [(down[0], n - 1, m - 1), (-down[1], n + 1, m - 1)]
    last = [(third[0], n + 1, m), (third[1], n - 1, m)]
    parts: list[Triples] = [_entries(n, m, 0, [(np.ones(len(n)), n, m)], turn=0)]
    for terms, sign in ((plus, 1), (minus, -1)):
        half = [(0.5 * factor, degree, order) for factor, degree, order in terms]
        parts.append(_entries(n, m, 1, half, turn=0))
        parts.append(_entries(n, m, 2, [(sign * factor, *place) for factor, *place in half], turn=1))
    parts.append(_entries(n, m, 3, last, turn=0))
    to, of, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return to, of, values


def _entries(n: Any, m: Any, column: int, terms: list[Triples], *, turn: int) -> Triples:
    """Return the entries that add (−i)^turn Σ factor · C_{degree, order} to the moments C_{n,m} of a column.

    Real harmonics are √2 Re C and √2 Im C for orders m > 0, C for m = 0; C_{n,−1} is −1 times the conjugate of C_{n,1}.
    """
    to, of, values = [], [], []
    weight = np.where(m > 0, math.sqrt(2), 1.0)
    for factor, degree, order in terms:
        is_there = (degree >= 0) & (abs(order) <= degree)
        size = abs(order)
        first = np.where(is_there, degree**2 + 2 * size - (size > 0), 0)
        scale = np.where(is_there, factor * weight / np.where(size > 0, math.sqrt(2), 1.0), 0.0)
        real, imaginary = np.where(order < 0, -scale, scale), np.where(size > 0, scale, 0.0)
        # Times −i: the real part is the imaginary, the imaginary part −1 times the real.
        to_real, to_imaginary = 4 * (n**2 + 2 * m - (m > 0)) + column, 4 * (n**2 + 2 * m) + column
        second = np.where(size > 0, first + 1, first)
        pairs = [(to_real, first, real), (to_imaginary, second, np.where(m > 0, imaginary, 0.0))]
        if turn:
            pairs = [(to_real, second, imaginary), (to_imaginary, first, np.where(m > 0, -real, 0.0))]
        for target, source, value in pairs:
            to.append(target)
            of.append(source)
            values.append(value)
    return np.concatenate(to), np.concatenate(of), np.concatenate(values)
