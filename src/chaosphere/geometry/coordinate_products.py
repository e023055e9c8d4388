"""Coordinates times spherical harmonics, which are harmonics of one degree more and of one less.

A harmonic of degree n in dimension k is L(ξ) (1 − t²)^{l/2} G^l_p(t) at (√(1 − t²) ξ, t), with a harmonic L of degree l
in dimension k − 1 and the orthonormal Gegenbauer polynomial of degree p = n − l for λ = l + (k − 2)/2. So

    t G^l_p = a^l_{p+1} G^l_{p+1} + a^l_p G^l_{p−1},              a² = p (p + 2λ − 1) / (4 (p + λ) (p + λ − 1)),
    G^l_p = u^l_p G^{l+1}_p − v^l_p G^{l+1}_{p−2},                u² = (p + 2λ) (p + 2λ + 1) / (4 (p + λ) (p + λ + 1)),
    (1 − t²) G^{l+1}_p = u^l_p G^l_p − v^l_{p+2} G^l_{p+2},       v² = p (p − 1) / (4 (p + λ) (p + λ − 1)).

The first is x_k times a harmonic. The others, with ξ_c L in dimension k − 1, are x_c = √(1 − t²) ξ_c times one, c < k.
On the circle the products are those of sines and cosines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats
from chaosphere.geometry.harmonics import harmonics_below, multiplicities


class Entries(NamedTuple):
    """Entries of a sparse matrix: rows, columns (int64) and values, of one length."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Floats


class SparseRows:
    """A sparse matrix that is applied row by row; none of its rows is empty.

    Parameters
    ----------
    entries : Entries
        No two at one place.

    Attributes
    ----------
    starts : ndarray of int64, shape (rows + 1,)
    columns, values : ndarray
        Row by row, the columns ascending.
    """

    def __init__(self, entries: Entries) -> None:
        order = np.lexsort((entries.columns, entries.rows))
        self.columns, self.values = entries.columns[order], entries.values[order]
        counts = np.bincount(entries.rows)
        self.starts = np.concatenate([[0], np.cumsum(counts)])

    def __call__(self, vector: Floats) -> Floats:
        """Return the product with a vector."""
        return np.asarray(np.add.reduceat(self.values * vector[self.columns], self.starts[:-1]))


@lru_cache(maxsize=16)
def coordinate_products(dim: int, n_max: int) -> Entries:
    """Return the matrix from Y of degrees <= n_max + 1 to Y, x_1 Y, …, x_d Y of degrees <= n_max.

    Rows are (harmonic, coordinate) of shape (K, d + 1), flat; harmonics are in the order of `HarmonicBasis`.
    """
    n_harmonics, width = harmonics_below(n_max + 1, dim), dim + 1
    every = np.arange(n_harmonics)
    parts = [Entries(width * every, every, np.ones(n_harmonics))]
    for c, product in enumerate(_products(dim, n_max)):
        parts.append(Entries(width * product.rows + c + 1, product.columns, product.values))
    entries = _joined(parts)
    for array in entries:
        array.flags.writeable = False
    return entries


@lru_cache(maxsize=16)
def matrix_of(dim: int, n_max: int) -> SparseRows:
    """Return the same matrix, to be applied."""
    return SparseRows(coordinate_products(dim, n_max))


def times_coordinates(moments: Floats, *, dim: int, n_max: int) -> Floats:
    """Return the moments of Y, x_1 Y, …, x_d Y for degrees <= n_max from those of Y for degrees <= n_max + 1.

    Parameters
    ----------
    moments : ndarray of float64, shape (R, K′)
    dim, n_max : int

    Returns
    -------
    ndarray of float64, shape (R, K, d + 1)
    """
    matrix = matrix_of(dim, n_max)
    return np.stack([matrix(row) for row in moments]).reshape(len(moments), -1, dim + 1)


def _products(dim: int, n_max: int) -> list[Entries]:
    """Return the matrices from harmonics of degree <= n_max + 1 to x_c times those of degree <= n_max, c = 1 … d."""
    if dim == 2:
        return _circle_products(n_max)
    degrees = np.repeat(np.arange(n_max + 2), multiplicities(n_max + 1, dim - 1).astype(np.int64))
    starts = np.array([harmonics_below(n, dim) for n in range(n_max + 2)])

    def placed(lower: Entries, terms: Callable[[Any, Any, Any], list[tuple[int, Any]]]) -> Entries:
        """Return entries for all p from those of dimension k − 1 and factors for (l, l′, p) with changes of n."""
        entry, p = np.nonzero(degrees[lower.rows][:, None] + np.arange(n_max + 1) <= n_max)
        rows, columns, values = (array[entry] for array in lower)
        low, n = degrees[rows], degrees[rows] + p
        parts = []
        for more, factors in terms(low, degrees[columns], p):
            (there,) = np.nonzero(factors)
            target = starts[n[there] + more] + columns[there]
            parts.append(Entries(starts[n[there]] + rows[there], target, values[there] * factors[there]))
        return _joined(parts)

    def root_terms(low: Any, target: Any, p: Any) -> list[tuple[int, Any]]:
        is_up, least = target > low, np.minimum(low, target) + (dim - 2) / 2
        return [
            (1, np.where(is_up, _u(p, least), -_v(p + 2, least))),
            (-1, np.where(is_up, -_v(p, least), _u(p, least))),
        ]

    def last_terms(low: Any, _: Any, p: Any) -> list[tuple[int, Any]]:
        return [(1, _a(p + 1, low + (dim - 2) / 2)), (-1, _a(p, low + (dim - 2) / 2))]

    every = np.arange(harmonics_below(n_max + 1, dim - 1))
    last = placed(Entries(every, every, np.ones(len(every))), last_terms)
    return [*(placed(lower, root_terms) for lower in _products(dim - 1, n_max)), last]


def _circle_products(n_max: int) -> list[Entries]:
    """Return those of 1, √2 cos mφ and √2 sin mφ times cos φ and sin φ."""
    m = np.arange(1, n_max + 1)
    first = m == 1
    cosine, sine = 2 * m - 1, 2 * m
    half, to_lower = np.full(n_max, 0.5), np.where(first, math.sqrt(0.5), 0.5)
    constant = Entries(np.array([0]), np.array([1]), np.array([math.sqrt(0.5)]))
    by_cosine = [
        constant,
        Entries(cosine, cosine + 2, half),
        Entries(cosine, np.where(first, 0, cosine - 2), to_lower),
        Entries(sine, sine + 2, half),
        Entries(sine[1:], sine[1:] - 2, half[1:]),
    ]
    by_sine = [
        constant._replace(columns=np.array([2])),
        Entries(cosine, sine + 2, half),
        Entries(cosine[1:], sine[1:] - 2, -half[1:]),
        Entries(sine, cosine + 2, -half),
        Entries(sine, np.where(first, 0, cosine - 2), to_lower),
    ]
    return [_joined(by_cosine), _joined(by_sine)]


def _joined(parts: list[Entries]) -> Entries:
    rows, columns, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Entries(rows, columns, values)


def _a(p: Any, parameter: Any) -> Any:
    return np.sqrt(p * (p + 2 * parameter - 1) / _quadruple(p, parameter))


def _u(p: Any, parameter: Any) -> Any:
    return np.sqrt((p + 2 * parameter) * (p + 2 * parameter + 1) / _quadruple(p + 1, parameter))


def _v(p: Any, parameter: Any) -> Any:
    return np.sqrt(p * (p - 1) / _quadruple(p, parameter))


def _quadruple(p: Any, parameter: Any) -> Any:
    """Return 4 (p + λ) (p + λ − 1), at least 3 for p > 0; for p = 0, where the numerators are 0, another number."""
    return np.maximum(4 * (p + parameter) * (p + parameter - 1), 1)
