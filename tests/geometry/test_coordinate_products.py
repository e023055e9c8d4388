"""Coordinates times harmonics, against sums over tokens."""

import numpy as np
import pytest
from support import cases

from chaosphere.geometry import expansions
from chaosphere.geometry.coordinate_products import Entries, SparseRows, coordinate_products, times_coordinates
from chaosphere.geometry.harmonics import harmonics_below


@pytest.mark.parametrize("dim", [3, 4, 5, 7])
@pytest.mark.parametrize("n_max", [0, 1, 2, 5])
def test_moments_of_coordinates_times_harmonics(dim, n_max):
    """The moments of x_c Y with weights p are those of Y with weights p x_c."""
    x, p = cases.tokens(50, dim, n_replicas=2), cases.weights(50)
    more = expansions.basis(dim, n_max + 1).moments(x, p, n_threads=1)
    got = times_coordinates(more, dim=dim, n_max=n_max)
    basis = expansions.basis(dim, n_max)
    for replica, system in enumerate(x):
        for c, weights in enumerate([p, *np.ascontiguousarray(p * system.T)]):
            want = basis.moments(system[None], weights, n_threads=1)[0]
            np.testing.assert_allclose(got[replica, :, c], want, rtol=0, atol=1e-14, err_msg=f"coordinate {c}")


@pytest.mark.parametrize(("dim", "n_max"), [(3, 20), (4, 8), (6, 4)])
def test_the_squares_of_the_coordinates_are_one(dim, n_max):
    """The entries of the row of x_c Y are its coefficients; their squares, summed over c, are those of |x|² Y² = Y²."""
    rows, _, values = coordinate_products(dim, n_max)
    sizes = np.bincount(rows, weights=values**2).reshape(harmonics_below(n_max + 1, dim), dim + 1)
    np.testing.assert_allclose(sizes[:, 0], 1, rtol=0, atol=0)
    np.testing.assert_allclose(sizes[:, 1:].sum(axis=1), 1, rtol=0, atol=1e-14)


def test_sparse_rows_are_a_matrix():
    rows, columns = np.array([1, 0, 2, 1]), np.array([3, 1, 0, 2])
    values, dense = np.array([2.0, -1.0, 0.5, 4.0]), np.zeros((3, 4))
    dense[rows, columns] = values
    matrix = SparseRows(Entries(rows, columns, values))
    assert matrix.starts.tolist() == [0, 1, 3, 4]
    assert matrix.columns.tolist() == [1, 2, 3, 0]
    vector = np.array([1.0, 10.0, 100.0, 1000.0])
    assert matrix(vector).tolist() == (dense @ vector).tolist()
