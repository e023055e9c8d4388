"""The correlation dimension of tokens: laws with a known one, and the attractor of a noise."""

import numpy as np
import pytest
from scipy import stats

import chaosphere as cs

RATE = 1e-6
dimension = cs.measures.correlation_dimension


def widened(interval, n_replicas, confidence=cs.stats.CONFIDENCE):
    """The interval of 99 % at the false-alarm rate of these tests."""
    ratio = stats.t.isf(RATE / 2, n_replicas - 1) / stats.t.isf((1 - confidence) / 2, n_replicas - 1)
    value, low, high = np.log(interval)
    return np.exp([value - ratio * (value - low), value + ratio * (high - value)])


def cantor(n_tokens, n_replicas):
    """Points of the circle whose angles have ternary digits 0 and 2 alone, at random: dimension log 2/log 3."""
    digits = np.random.default_rng(0).integers(0, 2, size=(n_replicas, n_tokens, 30))
    angle = digits @ (2 * 3.0 ** -np.arange(1, 31))
    return np.stack([np.cos(angle), np.sin(angle)], axis=2)


@pytest.mark.parametrize(("dim", "radius"), [(2, 0.05), (3, 0.7), (4, 0.2)])
def test_uniform_tokens_fill_the_sphere(dim, radius):
    """Null: D = d − 1; exact at every radius for d = 3, up to radius²/12 of it for the others. False alarms 1e-6."""
    n_replicas = 100
    interval = dimension(cs.sample_uniform(200, dim, rng=1, n_replicas=n_replicas), radius=radius)
    low, high = widened(interval, n_replicas)
    assert low < dim - 1 < high
    assert high - low < 0.35 * (dim - 1)


def test_a_great_circle_of_a_large_sphere():
    """The dimension is that of the set and not of the space; null D = 1, false alarms 1e-6."""
    circle = np.pad(cs.sample_uniform(200, 2, rng=0, n_replicas=60), ((0, 0), (0, 0), (0, 6)))
    low, high = widened(dimension(circle, radius=0.05), 60)
    assert low < 1 < high


def test_a_cantor_set():
    """Null: D = log 2/log 3 = 0.631, up to 3 % as P(|X − Y| < r) is no pure power; false alarms below 1e-6."""
    for radius in (0.3, 0.1, 0.03):
        value, low, high = dimension(cantor(200, 100), radius=radius)
        assert value == pytest.approx(np.log(2) / np.log(3), rel=0.06)
        assert high - low < 0.05


def test_definition():
    """The likelihood of distances of density D r^{D−1}/r_0^D: D = n/Σ log(r_0/r), over all replicas together."""
    x = cs.sample_uniform(30, 3, rng=2, n_replicas=4)
    distances = [np.linalg.norm(t[i] - t[j]) for t in x for i in range(30) for j in range(i)]
    close = [r for r in distances if r < 0.4]
    assert dimension(x, radius=0.4).value == pytest.approx(len(close) / np.sum(np.log(0.4 / np.array(close))))
    one = dimension(x[0], radius=0.4)
    assert np.isnan(one.low)
    assert dimension(x[:1], radius=0.4).value == one.value


def test_blocks_of_rows_do_not_matter(monkeypatch):
    x = cs.sample_uniform(100, 3, rng=0)
    one_block = dimension(x, radius=0.5).value
    monkeypatch.setattr("chaosphere.measures.dimension._BLOCK", 700)
    assert dimension(x, radius=0.5).value == pytest.approx(one_block, rel=1e-12)


def test_tokens_that_have_met():
    """Distances of 0 count as 2e-16: the estimate is then small, not undefined."""
    x = np.repeat(cs.sample_uniform(1, 3, rng=0), 5, axis=0)
    assert dimension(x, radius=0.1).value == pytest.approx(1 / np.log(0.1 / np.finfo(float).eps))


def test_bad_arguments():
    x = cs.sample_uniform(5, 3, rng=0)
    with pytest.raises(ValueError, match=r"radius = 1e-06 is too small: no two tokens are closer"):
        dimension(x, radius=1e-6)
    with pytest.raises(ValueError, match="radius must be"):
        dimension(x, radius=0.0)
    with pytest.raises(TypeError, match="x must be float64"):
        dimension(x.astype(np.float32))


def test_stationary_density_has_the_dimension_of_the_kernel():
    """P(|X − Y| < r) ~ r^{D₂} is a density of order (1−u)^{D₂/2−1}."""
    for dim, n in ((5, 3), (8, 3), (8, 2)):
        kernel = cs.CovarianceKernel.from_function(
            lambda u, n=n: u**n, dim=dim, derivative=lambda u, n=n: n * u ** (n - 1)
        )
        gap = np.array([1e-8, 1e-6])
        density = cs.two_point.stationary_density(kernel, 1 - gap)
        slope = np.diff(np.log(density))[0] / np.diff(np.log(gap))[0]
        assert slope == pytest.approx(kernel.correlation_dimension() / 2 - 1, abs=1e-4)


@pytest.mark.statistical
def test_attractor_of_a_noise():
    """Null: tokens under κ = u² in d = 8 have D₂ = 1 at T = 8, 500 replicas; false alarms 1e-6.

    The step 1/100 and the radius 0.2 add a tenth, within the interval. The Kaplan–Yorke dimension, 2.4, and that of the
    sphere, 7, are outside it.
    """
    kernel = cs.CovarianceKernel.from_function(lambda u: u**2, dim=8, derivative=lambda u: 2 * u)
    model = cs.LimitSDE(attention=None, field=cs.GaussianField(kernel=kernel), horizon=8.0, n_steps=800)
    x = cs.sample_uniform(8, 8, rng=0, n_replicas=500)
    sol = cs.simulate(model, x, rng=1, save_at=[8.0])
    low, high = widened(dimension(sol.states[-1], radius=0.2), 500)
    assert low < kernel.correlation_dimension() < high
    assert high < kernel.kaplan_yorke_dimension()


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "expected", "horizon"), [(5, 0.5, 16.0), (8, 2.0, 4.0)])
def test_attractors_of_a_cubic_noise(dim, expected, horizon):
    """Null: tokens under κ = u³ have D₂ = 2λ1/s², up to a tenth; 64 tokens, 300 replicas, false alarms 1e-6 each.

    The step 0.02 of "heun" takes 8 % from it: pairs at a distance of 1e-6 that take a few such steps have
    E|v|^{-D} = 1 for D = 0.46 and 1.83. The radius 0.3 and the time add 4 and 3 %, by the stationary density and the
    pair equation. The Kaplan–Yorke dimensions, 1.5 and 3.6, are far outside of the interval.
    """
    kernel = cs.CovarianceKernel.from_function(lambda u: u**3, dim=dim, derivative=lambda u: 3 * u**2)
    assert kernel.correlation_dimension() == pytest.approx(expected, rel=1e-12)
    field, n_steps = cs.GaussianField(kernel=kernel), round(horizon / 0.02)
    model = cs.LimitSDE(attention=None, field=field, horizon=horizon, n_steps=n_steps, scheme="heun")
    x = cs.sample_uniform(64, dim, rng=0, n_replicas=300)
    low, high = widened(dimension(cs.simulate(model, x, rng=1, save_states=False).final, radius=0.3), 300)
    assert low / 1.1 < expected < 1.1 * high
    assert high < 0.7 * kernel.kaplan_yorke_dimension()
    assert high < 1.8 * low  # so that half or twice the dimension would be seen
