"""The grid on S² and its transforms against SciPy's harmonics."""

import numpy as np
import pytest
import scipy

import chaosphere as cs
from chaosphere.geometry import sphere_grid
from chaosphere.geometry.sphere_grid import SphereGrid

pytest.importorskip("ducc0", reason='the transforms need the extra "sphere"')
K = 9


def modes(n_modes=K, seed=0):
    rng = np.random.default_rng(seed)
    c = rng.normal(size=sphere_grid.n_packed(n_modes)) + 1j * rng.normal(size=sphere_grid.n_packed(n_modes))
    return np.where(sphere_grid.orders(n_modes) == 0, c.real, c)


def function(c, x, n_modes=K):
    theta, phi = np.arccos(x[:, 2]), np.arctan2(x[:, 1], x[:, 0])
    degree, m = sphere_grid.degrees(n_modes)[:, None], sphere_grid.orders(n_modes)[:, None]
    y = np.sqrt(4 * np.pi) * scipy.special.sph_harm_y(degree, m, theta, phi)
    return (np.where(m == 0, 1, 2) * c[:, None] * y).real.sum(axis=0)


def test_values_and_modes():
    grid, c = SphereGrid(K, n_exact=3 * K), modes()
    np.testing.assert_allclose(grid.values(c), function(c, grid.points), rtol=0, atol=1e-12)
    np.testing.assert_allclose(grid.modes(grid.values(c)), c, rtol=0, atol=1e-13)
    assert grid.weights.sum() == pytest.approx(1, abs=1e-14)
    assert grid.n_points == sphere_grid.n_points(3 * K)
    few = np.where(sphere_grid.degrees(K) <= 4, c, 0)
    np.testing.assert_allclose(grid.values(c, degree=4), function(few, grid.points), rtol=0, atol=1e-12)
    both = np.stack([c, few])
    assert np.array_equal(grid.values(both)[0], grid.values(c))


def test_values_at_any_points():
    x = np.concatenate([cs.sample_uniform(20, 3, rng=0), np.eye(3), -np.eye(3)])
    c = np.stack([modes(), modes(seed=1)])
    values = sphere_grid.values_at(c, x, n_modes=K)
    np.testing.assert_allclose(values, [function(row, x) for row in c], rtol=0, atol=1e-12)


def test_gradients_and_divergences():
    grid, c, h = SphereGrid(K, n_exact=3 * K), modes(), 1e-6
    ahead, behind = (np.cos(h) * grid.points + sign * np.sin(h) * grid.frame for sign in (1, -1))
    differences = np.stack([function(c, a) - function(c, b) for a, b in zip(ahead, behind, strict=True)]) / (2 * h)
    np.testing.assert_allclose(grid.gradient(c), differences, rtol=0, atol=1e-6)
    degree = sphere_grid.degrees(K)
    np.testing.assert_allclose(grid.against_gradients(grid.gradient(c)), degree * (degree + 1) * c, rtol=0, atol=1e-10)
    rotation = np.stack([-grid.gradient(c)[1], grid.gradient(c)[0]])  # it has no divergence
    np.testing.assert_allclose(grid.against_gradients(rotation), 0, rtol=0, atol=1e-10)


def test_forms_and_sizes_of_modes():
    c = modes()
    by_order = sphere_grid.square(c, K)
    assert by_order.shape == (K + 1, K + 1)
    assert by_order[3, 2] == c[(sphere_grid.degrees(K) == 3) & (sphere_grid.orders(K) == 2)]
    assert (by_order[np.triu_indices(K + 1, 1)] == 0).all()
    assert np.array_equal(sphere_grid.packed(by_order), c)
    grid = SphereGrid(K, n_exact=3 * K)
    mean_square = grid.weights @ grid.values(c) ** 2
    assert (sphere_grid.sizes(c, K) ** 2).sum() == pytest.approx(mean_square, rel=1e-12)


@pytest.mark.parametrize("n_modes", [5, 100])
def test_threads_change_nothing(n_modes):
    c = modes(n_modes)
    one, two = (SphereGrid(n_modes, n_exact=3 * n_modes, n_threads=n) for n in (1, 2))
    assert np.array_equal(one.values(c), two.values(c))
    assert np.array_equal(one.gradient(c), two.gradient(c))
    fields = one.gradient(c)
    assert np.array_equal(one.against_gradients(fields), two.against_gradients(fields))
    assert np.array_equal(one.modes(fields[0]), two.modes(fields[0]))
