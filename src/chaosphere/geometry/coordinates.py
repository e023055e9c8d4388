"""The coordinates of a point times a spherical harmonic, as sums of harmonics of the two neighbouring degrees."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats
from chaosphere.geometry.harmonics import harmonics_below, multiplicity

Indices = NDArray[np.int64]


class Entries(NamedTuple):
    """Numbers ∫ x_i Y_k Y_l: the coordinates i, the rows l, the columns k, the values."""

    coordinates: Indices
    rows: Indices
    columns: Indices
    values: Floats


def weights_of_neighbours(n_max: int, dim: int) -> tuple[Floats, Floats]:
    """Return α_n and β_n of u P_n = α_n P_{n+1} + β_n P_{n−1}, P_n the Gegenbauer polynomials with P_n(1) = 1.

    α_n + β_n = 1. For harmonics Y of degree n, α_n is the share of the square of the field x Y(x) whose components are
    harmonics of degree n + 1.
    """
    n = np.arange(1.0, n_max + 1)
    down = np.concatenate(([0.0], n / (2 * n + dim - 2)))
    return 1.0 - down, down


def linear_harmonics(dim: int) -> Indices:
    """Return the places in `HarmonicBasis` of √d x_1, …, √d x_d, the harmonics of degree 1."""
    # In the basis they are √d times x_d, x_{d−1}, …, x_3, x_1, x_2.
    return 1 + np.array([dim - 2, dim - 1, *range(dim - 3, -1, -1)])


def raising_entries(n_max: int, dim: int) -> Entries:
    """Return the part of degree n + 1 of x_i Y_k, for all coordinates i and harmonics Y_k of degree n < n_max.

    Harmonics are in the order of `HarmonicBasis`. The part of degree n − 1 has the same numbers with rows and columns
    exchanged.

    Notes
    -----
    With r² = 1 − x_d², the harmonics of dimension d are f_{n,l}(x_d) Y((x_1, …, x_{d−1})/r), Y a harmonic of dimension
    d − 1 and degree l. Then x_d f_{n,l} and r f_{n,l} have two terms each, as the associated Legendre functions have.
    """
    entries = _on_the_circle(n_max)
    for k in range(3, dim + 1):
        entries = _one_dimension_up(entries, n_max, dim=k)
    return entries


def partial_derivatives(n_max: int, dim: int) -> list[Any]:
    """Return for each coordinate i the sparse matrix (K, K) that makes coefficients of ∂_i Σ_k c_k H_k from those c_k.

    H_k = r^n Y_k are the harmonic polynomials, functions on all of R^d. As x_i H_k of degree n is a harmonic polynomial
    plus r² ∂_i H_k/(2n + d − 2), the part of degree n − 1 of x_i Y_k on the sphere is ∂_i H_k/(2n + d − 2).
    """
    import scipy.sparse

    size = harmonics_below(n_max + 1, dim)
    entries = raising_entries(n_max, dim)
    degrees = np.repeat(np.arange(n_max + 1), [multiplicity(n, dim) for n in range(n_max + 1)])
    values = entries.values * (2 * degrees[entries.rows] + dim - 2)
    matrices = []
    for i in range(dim):
        own = entries.coordinates == i
        places = entries.columns[own], entries.rows[own]
        matrices.append(scipy.sparse.csr_array((values[own], places), shape=(size, size)))
    return matrices


def _join(*parts: Entries) -> Entries:
    return Entries(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _on_the_circle(n_max: int) -> Entries:
    """Return the entries of dimension 2, with harmonics 1, √2 cos θ, √2 sin θ, √2 cos 2θ and so on."""
    cosine = 2 * np.arange(1, n_max) - 1  # of degree 1 … n_max − 1
    half, zero = np.full(len(cosine), 0.5), np.zeros_like(cosine)
    parts = [
        Entries(zero, cosine + 2, cosine, half),
        Entries(zero, cosine + 3, cosine + 1, half),
        Entries(zero + 1, cosine + 3, cosine, half),
        Entries(zero + 1, cosine + 2, cosine + 1, -half),
    ]
    if n_max > 0:
        parts.append(Entries(np.array([0, 1]), np.array([1, 2]), np.array([0, 0]), np.full(2, 0.5**0.5)))
    return _join(*parts)


def _one_dimension_up(entries: Entries, n_max: int, *, dim: int) -> Entries:
    """Return the entries of dimension `dim` from those of dim − 1."""
    low = np.repeat(np.arange(n_max + 1), [multiplicity(n, dim - 1) for n in range(n_max + 1)])
    starts = np.array([harmonics_below(n, dim) for n in range(n_max + 2)])
    n = np.arange(n_max)[:, None]  # degree of the column
    norm = np.sqrt((2.0 * n + dim) * (2 * n + dim - 2))

    def spread(inner: Entries, first: Indices, factors: Floats) -> Entries:
        """Return entry j of dimension dim − 1 for every degree n ≥ first[j], times factors[n, j]."""
        degree, j = np.nonzero(n >= first)
        rows, columns = starts[degree + 1] + inner.rows[j], starts[degree] + inner.columns[j]
        return Entries(inner.coordinates[j], rows, columns, factors[degree, j] * inner.values[j])

    # r f_{n,l} = p f_{n+1,l+1} − q f_{n−1,l+1}; read backwards, r f_{n,l+1} has −q f_{n+1,l}.
    below = low[entries.columns]
    swapped = entries._replace(rows=entries.columns, columns=entries.rows)
    up = spread(entries, below, np.sqrt((n + below + dim - 2.0) * (n + below + dim - 1)) / norm)
    down = spread(swapped, below + 1, -np.sqrt(np.maximum((n + 1.0 - below) * (n - below), 0.0)) / norm)
    index = np.arange(len(low))
    axis = Entries(np.full(len(low), dim - 1), index, index, np.ones(len(low)))
    along = spread(axis, low, np.sqrt(np.maximum((n + 1.0 - low) * (n + dim - 2 + low), 0.0)) / norm)
    return _join(up, down, along)
