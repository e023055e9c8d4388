"""From moments of tokens to the coefficients of attention on the sphere, as one sparse matrix in the kernels' order.

The field has, for each harmonic Y, the moments of Y, x_1 Y, …, x_d Y times a multiplier, and these are made of the
moments of Y alone, of degrees one more and one less: `chaosphere.geometry.coordinate_products`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from chaosphere.common.checks import Floats
from chaosphere.geometry import expansions
from chaosphere.geometry.coordinate_products import Entries, SparseRows, coordinate_products

_ROWS = 256  # of moments at once: an array of all of them is large


class MomentMatrix:
    """Coefficients of the field of attention, from moments.

    Attributes
    ----------
    basis, of_moments : HarmonicBasis
        Of the field, of degree L, and of the moments, of degree L + 1.
    matrix : SparseRows
    """

    def __init__(self, factors: Floats, dim: int) -> None:
        n_max, width = len(factors) - 1, dim + 1
        self.basis, self.of_moments = expansions.basis(dim, n_max), expansions.basis(dim, n_max + 1)
        to, of, values = coordinate_products(dim, n_max)
        scale = np.repeat(self.basis.factors * factors[self.basis.degrees], width)
        values = values * scale[to] * self.of_moments.factors[of]
        place_to, place_of = np.argsort(self.basis.order(width)), np.argsort(self.of_moments.order(1))
        self.matrix = SparseRows(Entries(place_to[to], place_of[of], values))

    def sizes(self, moments: Floats) -> Floats:
        """Return the sizes s_l of the moments of Y, by degree, from the kernel's (…, size): (…, L + 2)."""
        basis = self.of_moments
        place = np.argsort(basis.order(1))  # of each harmonic
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
