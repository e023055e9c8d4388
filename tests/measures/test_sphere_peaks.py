"""Local maxima of densities on S²."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common import checks
from chaosphere.geometry import sphere_grid
from chaosphere.measures import SphereModes, sphere_modes, sphere_peaks


def expansion(function, n_modes):
    grid = sphere_grid.SphereGrid(n_modes, n_exact=4 * n_modes)
    return sphere_grid.square(grid.modes(function(grid.points)), n_modes)


class Bumps:
    """A sum of von Mises–Fisher bumps, and its maxima: x is along its own gradient, Σ w_i e^{κ⟨x, c_i⟩} c_i."""

    def __init__(self, n_bumps, *, concentration, seed):
        self.concentration = concentration
        self.centres = cs.sample_uniform(n_bumps, 3, rng=seed)
        self.centres[0] = 0.0, 0.0, 1.0  # a pole of the grid
        self.heights = np.random.default_rng(seed).uniform(0.5, 1.5, n_bumps)

    def terms(self, x):
        return self.heights * np.exp(self.concentration * (x @ self.centres.T - 1))

    def __call__(self, x):
        return self.terms(x).sum(axis=1)

    def maxima(self):
        x = self.centres.copy()
        for _ in range(3000):
            x = self.terms(x) @ self.centres
            x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x[np.unique(x.round(6), axis=0, return_index=True)[1]]


@pytest.mark.parametrize(("n_bumps", "concentration", "n_modes"), [(2, 20.0, 48), (5, 20.0, 48), (12, 40.0, 80)])
def test_sums_of_bumps(n_bumps, concentration, n_modes):
    bumps = Bumps(n_bumps, concentration=concentration, seed=1)
    maxima = bumps.maxima()
    peaks = sphere_modes(expansion(bumps, n_modes))
    distances = np.linalg.norm(peaks.points[:, None] - maxima, axis=2)
    assert peaks.points.shape == maxima.shape
    assert distances.min(axis=0).max() < 1e-8
    assert distances.min(axis=1).max() < 1e-8
    np.testing.assert_allclose(peaks.values, bumps(peaks.points), atol=1e-10)
    assert (np.diff(peaks.values) <= 0).all()


def test_prominence_is_the_height_above_the_pass():
    # Two bumps in the plane of the third axis: the pass is where the density along the arc between them is least.
    bumps = Bumps(2, concentration=20.0, seed=0)
    bumps.centres[1] = np.sin(0.9), 0.0, np.cos(0.9)
    bumps.heights[:] = 1.0, 0.8
    angle = np.linspace(0, 0.9, 2001)
    least = bumps(np.stack([np.sin(angle), np.zeros(2001), np.cos(angle)], axis=1)).min()
    m = expansion(bumps, 48)
    height = sphere_modes(m).values[1] - least
    assert len(sphere_modes(m, prominence=0.95 * height).points) == 2
    assert len(sphere_modes(m, prominence=1.05 * height).points) == 1
    assert len(sphere_modes(m, prominence=2.0).points) == 0


def test_quadratic_forms_have_two_maxima_at_their_axis():
    form = np.diag([0.3, -0.2, -0.1])
    rotation, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))
    matrix = rotation @ form @ rotation.T
    peaks = sphere_modes(expansion(lambda x: 1 + np.einsum("ni,ij,nj->n", x, matrix, x), 4))
    np.testing.assert_allclose(abs(peaks.points @ rotation[:, 0]), 1.0, atol=1e-14)
    np.testing.assert_allclose(peaks.values, 1.3, atol=1e-13)


def test_a_band_leaves_one_maximum_with_a_prominence():
    axis = np.array([0.3, 0.5, 0.81])
    axis /= np.linalg.norm(axis)
    m = expansion(lambda x: np.exp(-8 * (x @ axis) ** 2), 24)
    (point,) = sphere_modes(m, prominence=0.05).points
    assert abs(point @ axis) < 1e-7


def test_constant_densities_have_no_maximum():
    m = np.zeros((2, 5, 5), complex)
    m[:, 0, 0] = 1.0
    m[1, 1, 0] = 0.1
    constant, other = sphere_modes(m)
    assert constant.points.shape == (0, 3)
    np.testing.assert_allclose(other.points, [[0, 0, 1]], atol=1e-7)


def random_coefficients(seed, n_modes=10):
    rng, degree = np.random.default_rng(seed), np.arange(n_modes + 1)
    m = rng.standard_normal((n_modes + 1, n_modes + 1)) + 1j * rng.standard_normal((n_modes + 1, n_modes + 1))
    m[:, 0] = m[:, 0].real
    return m * np.exp(-degree / 3)[:, None]


def test_zeros_of_higher_degree_change_nothing():
    for seed in range(20):
        m = random_coefficients(seed)
        padded = np.pad(m, ((0, 30), (0, 30)))
        np.testing.assert_array_equal(sphere_modes(padded).points, sphere_modes(m).points)
    other = padded.copy()
    other[20, 3] = 1.0
    both = sphere_modes(np.stack([padded, other]))  # each has its own grid
    np.testing.assert_array_equal(both[0].points, sphere_modes(m).points)
    np.testing.assert_array_equal(both[1].points, sphere_modes(other).points)


def test_maxima_that_the_grid_does_not_show(monkeypatch):
    """As many as on a grid with forty points in the shortest wave; there are twelve of the first."""
    densities = [random_coefficients(seed) for seed in (27, *range(25))]
    ours = [sphere_modes(m) for m in densities]
    assert len(ours[0].points) == 12
    monkeypatch.setattr(sphere_peaks, "_FINE", 40)
    for m, peaks in zip(densities, ours, strict=True):
        fine = sphere_modes(m, prominence=1e-9)
        np.testing.assert_allclose(peaks.points, fine.points, atol=1e-7)
        np.testing.assert_allclose(peaks.values, fine.values, rtol=1e-12)


def test_the_zero_function_has_no_maximum():
    assert sphere_modes(np.zeros((4, 4))).points.shape == (0, 3)
    first, second = sphere_modes(np.stack([np.zeros((3, 3)), np.eye(3)[::-1]]))
    assert len(first.points) == 0
    assert len(second.points) > 0


def test_a_grid_beyond_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(checks, "machine_memory", lambda: 4e9)
    m = np.zeros((1025, 1025))
    m[1, 0] = 1.0
    assert len(sphere_modes(m).points) == 1
    m[1024, 0] = 1e-3
    with pytest.raises(ValueError, match=r"degree 1024 would take about 13.* GB, and this machine has 4 GB"):
        sphere_modes(m)


def test_a_run_of_attention_from_three_bumps():
    directions = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, -0.6, 0.8]])
    bumps = tuple(cs.laws.VonMisesFisher(mean_direction=v, concentration=12.0) for v in directions)
    law = cs.laws.Mixture(components=bumps, proportions=(0.4, 0.35, 0.25))
    model = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=8.0), field=None, horizon=0.2, n_steps=2)
    sol = cs.SphereDensity(model=model, law=law, n_modes=48).solve(rng=0, save_at=[0.0, 0.2])
    first, last = sphere_modes(sol.modes)
    assert len(first.points) == len(last.points) == 3
    np.testing.assert_allclose(sol.density(last.points)[1], last.values)
    assert isinstance(last, SphereModes)
    assert (last.values > first.values).all()


@pytest.mark.parametrize(
    ("coefficients", "error", "message"),
    [
        (np.zeros((3, 4)), ValueError, "coefficients must have shape"),
        (np.zeros((1, 1)), ValueError, "coefficients must have shape"),
        (np.full((3, 3), "a"), TypeError, "coefficients must be numbers"),
        (np.full((3, 3), np.nan), ValueError, "coefficients must be finite"),
        (np.full((3, 3), 1j), ValueError, "coefficients of order 0 must be real"),
    ],
)
def test_bad_arguments(coefficients, error, message):
    with pytest.raises(error, match=message):
        sphere_modes(coefficients)
    with pytest.raises(ValueError, match="prominence must be"):
        sphere_modes(np.eye(3), prominence=-1.0)


def test_neighbours_across_a_pole():
    """Every point has eight, and is one of theirs; three of the first ring's are on the other side of the pole."""
    neighbours = sphere_peaks._neighbours(4, 6)
    for point in range(24):
        assert len({point, *neighbours[:, point]}) == 9
        assert all(point in neighbours[:, other] for other in neighbours[:, point])
    assert set(neighbours[:, 1]) == {0, 2, 6, 7, 8, 3, 4, 5}
    assert set(neighbours[:, 18]) == {23, 19, 12, 13, 17, 20, 21, 22}
