"""Coordinates times harmonics."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.geometry.coordinates import raising_entries, weights_of_neighbours
from chaosphere.geometry.gegenbauer import gegenbauer
from chaosphere.geometry.harmonics import HarmonicBasis


def harmonics(basis, x):
    """Y_k(x_i), shape (N, K)."""
    eye = np.eye(basis.size)
    blocks = np.pad(eye, ((0, 0), (0, -basis.size % basis.dim))).reshape(basis.size, -1, basis.dim)
    fields = [basis.combine(x[None], np.ascontiguousarray(block)[None])[0] for block in np.moveaxis(blocks, 1, 0)]
    return np.concatenate(fields, axis=1)[:, : basis.size]


@pytest.mark.parametrize(("dim", "n_max"), [(2, 0), (2, 1), (2, 6), (3, 7), (4, 4), (6, 3), (9, 1)])
def test_coordinates_times_harmonics(dim, n_max):
    basis = HarmonicBasis(dim=dim, n_max=n_max)
    x = cs.sample_uniform(40, dim, rng=0)
    y = harmonics(basis, x)
    n_columns = basis.size - np.count_nonzero(basis.degrees == n_max)
    coordinates, rows, columns, values = raising_entries(n_max, dim)
    assert (basis.degrees[rows] == basis.degrees[columns] + 1).all()
    for i in range(dim):
        matrix, mine = np.zeros((basis.size, basis.size)), coordinates == i
        matrix[rows[mine], columns[mine]] = values[mine]
        products = y @ (matrix + matrix.T)
        np.testing.assert_allclose(products[:, :n_columns], x[:, [i]] * y[:, :n_columns], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_cosine_times_gegenbauer(dim):
    u, p = np.linspace(-1, 1, 11), gegenbauer(np.linspace(-1, 1, 11), dim)
    before, now, after = (next(p) for _ in range(3))
    up, down = weights_of_neighbours(1, dim)
    assert (up[0], down[0]) == (1, 0)
    np.testing.assert_allclose(u * now, up[1] * after + down[1] * before, atol=1e-15)
