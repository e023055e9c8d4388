"""Laws of the rules of normalisation: equiangular tokens, rates of consensus, and what noise does to radii.

Statistical tests state null, sample size and false-alarm rate; seeds are fixed.
"""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from support import cases

import chaosphere as cs
from chaosphere.models.normalization import NORMALIZATIONS

WITH_RADIUS = ("pre", "peri")
ATTENTION = cs.SoftmaxAttention(beta=2.0)
Z = scipy.stats.norm.isf(5e-7)  # of a false-alarm rate of 1e-6, two-sided

# ρ(T) and r(T) of 6 tokens with β = 2, ρ(0) = 0.1, r(0) = 1.5; "ngpt" has the step α = 0.7, which is T/0.7 here.
EQUIANGULAR = {
    "post": {1: (0.4527401556013849, 1.5), 3: (0.9748573561009249, 1.5), 10: (0.9999999784615788, 1.5)},
    "pre": {
        1: (0.27145078707883086, 2.0978729561119245),
        3: (0.5912351213335638, 3.412240182692662),
        10: (0.9363037084042224, 9.49860436007459),
    },
    "peri": {
        1: (0.3568031732968835, 2.398272454573563),
        3: (0.7024758337893499, 4.155821572574693),
        10: (0.9507097888426743, 10.82667391422776),
    },
    "ngpt": {1: (0.46209440339950797, 1.5), 3: (0.9447824377541518, 1.5), 10: (0.9999968049476406, 1.5)},
    "sqrt": {1: (0.3777737252619087, 1.5), 3: (0.8433955476128334, 1.5), 10: (0.9990132443554322, 1.5)},
}


def network(normalization, **options):
    options = {"attention": ATTENTION, "mlp": None, "depth": 8, "horizon": 2.0} | options
    return cs.Transformer(normalization=normalization, **options)


def with_radius(normalization, radius):
    return {"initial_radius": radius} if normalization in WITH_RADIUS else {}


def equiangular_start(n_tokens, cosine):
    return cs.normalize(np.linalg.cholesky((1 - cosine) * np.eye(n_tokens) + cosine))


def extrapolated(values):
    """The limit of values at depths L, 2L, 4L, …, whose errors are series in 1/L."""
    order = 1
    while len(values) > 1:
        values = [(2**order * fine - coarse) / (2**order - 1) for coarse, fine in itertools.pairwise(values)]
        order += 1
    return values[0]


@pytest.mark.parametrize("horizon", [1, 3, 10])
@pytest.mark.parametrize("rule", NORMALIZATIONS)
def test_equiangular_tokens(rule, horizon):
    """Cosine and radius, extrapolated from four depths, are those of the table; so is `theory.equiangular`."""
    time = 0.7 * horizon if rule == "ngpt" else float(horizon)
    radius = with_radius(rule, 1.5)
    x, ends = equiangular_start(6, 0.1), []
    for depth in (256, 512, 1024, 2048):
        sol = cs.simulate(network(rule, depth=depth, horizon=time, **radius), x, rng=0)
        cosines = cs.measures.pairwise_cosines(sol.final)
        np.testing.assert_allclose(cosines, cosines[0], atol=1e-12)
        ends.append(np.array([cosines[0], 1.5 if sol.final_radii is None else sol.final_radii[0]]))
    expected = np.array(EQUIANGULAR[rule][horizon])
    assert abs(ends[-1] - expected).max() > 1e-5 * horizon**-9  # far from the limit, before the extrapolation
    np.testing.assert_allclose(extrapolated(ends), expected, rtol=1e-8, atol=1e-8)
    cosine, r = cs.theory.equiangular(rule, n_tokens=6, beta=2.0, cosine=0.1, times=time, **radius)
    assert abs(cosine - expected[0]) < 1e-10
    assert abs(r - (expected[1] if radius else 1)) < 1e-10


@pytest.mark.parametrize("rule", NORMALIZATIONS)
def test_the_error_is_of_first_order_in_the_depth(rule):
    exact, _ = cs.theory.equiangular(rule, n_tokens=5, beta=1.0, cosine=-0.2, times=2.0)
    errors = []
    for depth in (200, 400, 800):
        final = cs.simulate(network(rule, depth=depth, attention=cs.SoftmaxAttention(beta=1.0)), START, rng=0).final
        errors.append(final[0] @ final[1] - exact)
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, rtol=0.05)


START = equiangular_start(5, -0.2)


@pytest.mark.parametrize(
    ("rule", "rate"),
    [
        ("post", lambda t: -2 * t),
        ("pre", lambda t: -2 * math.log(t)),
        ("peri", lambda t: -2 * math.log(t)),
        ("ngpt", lambda t: -2 * t),
        ("sqrt", lambda t: -4 * math.sqrt(t + 1)),
    ],
)
def test_rates_of_consensus(rule, rate):
    """Between two late times log(1 − ρ) falls as it should, and so in networks as in the equation."""
    first, last = {"pre": (300.0, 3000.0), "peri": (300.0, 3000.0), "sqrt": (20.0, 50.0)}.get(rule, (4.0, 8.0))
    cosines, _ = cs.theory.equiangular(rule, n_tokens=5, beta=1.0, cosine=-0.2, times=[first, last])
    expected = rate(last) - rate(first)
    assert abs(np.diff(np.log1p(-cosines))[0] / expected - 1) < 0.02
    model = network(rule, attention=cs.SoftmaxAttention(beta=1.0), depth=6000, horizon=last)
    states = cs.simulate(model, START, rng=0, save_at=[first, last]).states
    gaps = [0.5 * ((x[0] - x[1]) ** 2).sum() for x in states]
    assert abs(math.log(gaps[1] / gaps[0]) / expected - 1) < 0.02


@pytest.mark.parametrize(("depth", "width", "radius"), [(1, 1, 1.0), (2, 3, 0.5), (16, 2, 2.0)])
@pytest.mark.parametrize("activation", ["relu", pytest.param("tanh", marks=pytest.mark.slow)])
def test_the_mean_square_radius_under_noise(depth, width, radius, activation):
    """Null: E r² = r0² + d κ(1) T exactly, for every depth and width; 20 000 replicas, 1e-6.

    For "peri" E r² = r0² + s² T in the same way, where no layer is zero.
    """
    mlp = cs.MLP(width=width, activation=activation, bias_std=0.4, output_bias_std=0.3)
    x = np.tile(cases.tokens(1, 3), (20_000, 1, 1))
    for rule, growth in (("pre", 3 * mlp.kernel(3)(1.0)), ("peri", 1.0)):
        model = network(rule, attention=None, mlp=mlp, depth=depth, horizon=1.5, noise_scale=0.8, initial_radius=radius)
        squares = cs.simulate(model, x, rng=5).final_radii[:, 0] ** 2
        error = squares.std(ddof=1) / math.sqrt(len(squares))
        expected = radius**2 + 0.64 * growth * 1.5
        assert 0.64 * growth * 1.5 > 20 * error
        assert abs(squares.mean() - expected) < max(Z * error, 1e-12)


def sine_squared(dim, ratio):
    """E sin²ψ under the density of cos ψ proportional to (1−c²)^{(d−3)/2} / (1 + q(1−c²)), q = κ′(1)/κ(1)."""
    angles, weights = np.polynomial.legendre.leggauss(200)
    angles = (angles + 1) * math.pi / 2  # dc = sin ψ dψ
    density = weights * np.sin(angles) ** (dim - 2) / (1 + ratio * np.sin(angles) ** 2)
    return float(density @ np.sin(angles) ** 2 / density.sum())


@pytest.mark.parametrize(
    ("dim", "kappa", "slope", "power"),
    [
        (4, 0.7, 0.5, -0.2441017360745265),
        (5, 0.1, 0.1, -0.11529813340629413),
        (3, 0.5, 0.5, -0.19772183827552287),
    ],
)
@pytest.mark.parametrize("n_replicas", [200, pytest.param(4000, marks=pytest.mark.slow)])
def test_close_tokens_under_noise_of_pre_ln(dim, kappa, slope, power, n_replicas):
    """Null: |θ1 − θ2| falls as t^power, power = −½(1 − (κ′/κ) E sin²ψ), in the mean of its logarithm; 1e-6.

    The noise grows exponentially, so that 1 500 layers span a factor e^15 of the time ∫ s² dt. The bias of a layer is
    about one half of its part of that, 1 % of the power.
    """
    ratio = slope / kappa
    assert abs(-0.5 * (1 - ratio * sine_squared(dim, ratio)) - power) < 1e-12
    growth = 0.01  # of the time, in a layer

    def noise_scale(t):
        return math.sqrt(growth / (dim * kappa)) * math.exp(growth * t / 2)

    mlp = cs.MLP(width=2, activation="linear", weight_std=math.sqrt(slope), output_bias_std=math.sqrt(kappa - slope))
    assert abs(mlp.kernel(dim)(1.0) - kappa) < 1e-12
    model = network("pre", attention=None, mlp=mlp, depth=1500, horizon=1500.0, noise_scale=noise_scale)
    x = np.zeros((n_replicas, 2, dim))
    x[:, :, 0] = 1
    x[:, 1, 1] = 1e-6
    states = cs.simulate(model, cs.normalize(x), rng=1, save_at=[500.0, 1500.0]).states
    logs = np.log(np.linalg.norm(states[:, :, 0] - states[:, :, 1], axis=-1))
    sample = (logs[1] - logs[0]) / (growth * 1000)
    error = Z * sample.std(ddof=1) / math.sqrt(n_replicas)
    assert error < (0.75 if n_replicas == 200 else 0.2) * abs(power)  # 0 is another power
    assert abs(sample.mean() - power) < error + 0.01 * abs(power)
