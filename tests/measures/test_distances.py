"""Distances between measures: closed forms, and each against the others."""

import math
import sys
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from scipy.special import eval_gegenbauer, ive

import chaosphere as cs
from chaosphere.geometry import laws
from chaosphere.geometry.harmonics import HarmonicBasis, multiplicity
from chaosphere.measures import distances
from chaosphere.measures.distances import (
    circular_wasserstein2,
    coupled_distance,
    entropic_wasserstein2,
    mmd,
    sliced_wasserstein2,
    sobolev,
    wasserstein2,
)

ALL = {
    "wasserstein2": wasserstein2,
    "circular": circular_wasserstein2,
    "sliced": lambda x, y, **k: sliced_wasserstein2(x, y, rng=0, **k),
    "entropic": lambda x, y, **k: entropic_wasserstein2(x, y, regularization=0.1, **k),
    "mmd": lambda x, y, **k: mmd(x, y, beta=2.0, **k),
    "sobolev": lambda x, y, **k: sobolev(x, y, order=1.5, n_max=12, **k),
}


def on_circle(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def equispaced(n, start=0.0):
    return on_circle(start + 2 * math.pi * np.arange(n) / n)


def random_weights(n, seed):
    p = np.random.default_rng(seed).exponential(size=n)
    return p / p.sum()


def harmonics(x, n_max):
    """Y_k(x_i), shape (N, K), by one unit coefficient per replica."""
    basis = HarmonicBasis(dim=x.shape[1], n_max=n_max)
    coefficients = np.zeros((basis.size, basis.size, basis.dim))
    coefficients[np.arange(basis.size), np.arange(basis.size), 0] = 1
    return basis.combine(np.repeat(x[None], basis.size, axis=0), coefficients)[:, :, 0].T, basis.degrees


@pytest.fixture
def without_pot(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)


# Two Diracs


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_two_diracs(dim):
    x, y = cs.sample_uniform(1, dim, rng=1), cs.sample_uniform(1, dim, rng=2)
    cosine, chord = float((x @ y.T).item()), float(np.linalg.norm(x - y))
    assert wasserstein2(x, y) == pytest.approx(chord, rel=1e-14)
    assert coupled_distance(x, y) == pytest.approx(chord, rel=1e-14)
    assert entropic_wasserstein2(x, y, regularization=0.5) == pytest.approx(chord, rel=1e-13)
    assert sliced_wasserstein2(x, y, rng=0) == pytest.approx(chord / math.sqrt(dim), rel=1e-13)
    assert mmd(x, y, beta=3.0) == pytest.approx(math.sqrt(2 - 2 * math.exp(3 * (cosine - 1))), rel=1e-13)
    # Σ (n (n + d − 2))^{−s} dim(n, d) (2 − 2 P_n(u)), with SciPy's polynomials
    total = 0.0
    for n in range(1, 10):
        ratio = math.cos(n * math.acos(cosine))
        if dim > 2:
            ratio = eval_gegenbauer(n, dim / 2 - 1, cosine) / eval_gegenbauer(n, dim / 2 - 1, 1.0)
        total += (n * (n + dim - 2)) ** -1.3 * multiplicity(n, dim) * (2 - 2 * ratio)
    assert sobolev(x, y, order=1.3, n_max=9) == pytest.approx(math.sqrt(total), rel=1e-12)


def test_two_diracs_on_the_circle():
    """Arc a: W2 = a; the Sobolev distance of order 1 is (2πa − a²)^{1/2} up to the stated remainder."""
    for a in (1e-6, 0.7, 2.0, math.pi):
        x, y = on_circle(np.array([3.0])), on_circle(np.array([3.0 + a]))  # across the cut of the angle
        assert circular_wasserstein2(x, y) == pytest.approx(a, rel=1e-9)
        d2, n_max = sobolev(x, y, order=1.0, n_max=500) ** 2, 500
        assert -1e-12 <= 2 * math.pi * a - a**2 - d2 <= 8 / n_max


def test_sobolev_remainder_covers_the_degrees_cut_off():
    for dim, s, n_max in ((2, 0.8, 10), (3, 1.2, 5), (3, 2.0, 20), (6, 3.0, 8)):
        x = cs.sample_uniform(1, dim, rng=0)
        more = sobolev(x, -x, order=s, n_max=20 * n_max) ** 2 - sobolev(x, -x, order=s, n_max=n_max) ** 2
        bound = 8 * (1 + (dim - 2) / (n_max + 1)) ** s * (n_max + dim - 2) ** (dim - 1 - 2 * s)
        bound /= math.factorial(dim - 2) * (2 * s - dim + 1)
        assert 0.1 * bound < more <= bound


# The uniform law and equispaced points


@pytest.mark.parametrize(("n", "factor"), [(1, 8), (5, 3), (16, 100)])
def test_equispaced_points_against_a_finer_grid(n, factor):
    """N points against kN by half a fine step off symmetry: each moves onto the k nearest, at the offsets below."""
    x, y = equispaced(n), equispaced(n * factor, start=math.pi / (n * factor) * (1 - factor % 2))
    step = 2 * math.pi / (n * factor)
    arcs = step * (np.arange(factor) - 0.5 * (factor - 1))
    assert circular_wasserstein2(x, y) == pytest.approx(math.sqrt((arcs**2).mean()), rel=1e-12)
    chords = 2 * np.sin(arcs / 2)
    assert wasserstein2(x, y) == pytest.approx(math.sqrt((chords**2).mean()), rel=1e-12)
    # Against the uniform law itself: W2² = (π/N)²/3 for the arc; a fine grid is within its own distance of it.
    assert abs(circular_wasserstein2(x, y) - math.pi / n / math.sqrt(3)) <= step / 2 / math.sqrt(3) + 1e-12


@pytest.mark.parametrize("beta", [0.3, 4.0, 60.0])
def test_mmd_and_sobolev_of_two_grids(beta):
    """Modes that the grid of 6 does not resolve and the grid of 24 does: e^{β cos} = I_0 + 2 Σ I_n cos n·."""
    x, y = equispaced(6), equispaced(24, start=0.1)
    modes = np.array([n for n in range(1, 400) if n % 6 == 0 and n % 24])
    both = np.arange(24, 400, 24)  # seen by both grids, at a different phase
    jump = np.abs(1 - np.exp(0.1j * both)) ** 2
    expected = 2 * ive(modes, beta).sum() + 2 * (ive(both, beta) * jump).sum()
    assert mmd(x, y, beta=beta) ** 2 == pytest.approx(expected, rel=1e-10, abs=2e-15 * (1 + beta))
    expected = 2 * (modes**-3.0).sum() + 2 * (both**-3.0 * jump).sum()
    assert sobolev(x, y, order=1.5, n_max=399) ** 2 == pytest.approx(expected, rel=1e-12)


def test_sobolev_of_a_dirac_from_the_uniform_law_on_the_sphere():
    """A product Gauss rule exact to degree 10 is the uniform law: D² = Σ_{n<=10} dim(n, 3) / (n (n + 1))^s."""
    z, w = np.polynomial.legendre.leggauss(6)
    circle = equispaced(11)
    nodes = np.concatenate([np.c_[math.sqrt(1 - h * h) * circle, np.full(11, h)] for h in z])
    n = np.arange(1, 11)
    d2 = sobolev(cs.sample_uniform(1, 3, rng=3), nodes, order=0.7, n_max=10, y_weights=np.repeat(w / 22, 11)) ** 2
    assert d2 == pytest.approx(((2 * n + 1) * (n * (n + 1.0)) ** -0.7).sum(), rel=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_sobolev_through_the_harmonics_themselves(dim):
    x, y = cs.sample_uniform(300, dim, rng=0), cs.sample_uniform(270, dim, rng=1)  # more than one tile
    p, q = random_weights(300, 0), random_weights(270, 1)
    (at_x, degrees), (at_y, _) = harmonics(x, 4), harmonics(y, 4)
    moments, n = (p @ at_x - q @ at_y)[1:], degrees[1:]
    expected = math.sqrt(((n * (n + dim - 2.0)) ** -1.0 * moments**2).sum())
    assert sobolev(x, y, order=1.0, n_max=4, x_weights=p, y_weights=q) == pytest.approx(expected, rel=1e-11)


# Exact transport


@pytest.mark.parametrize("phi", [1e-9, 0.02, 0.1])
def test_rotations_of_a_grid(phi):
    """Rotated by less than half a step, every point goes to its own image."""
    x, y = equispaced(25), equispaced(25, start=phi)
    assert circular_wasserstein2(x, y) == pytest.approx(phi, rel=1e-6)
    assert wasserstein2(x, y) == pytest.approx(2 * math.sin(phi / 2), rel=1e-6)
    assert circular_wasserstein2(x, y, x_weights=np.full(25, 0.04)) == pytest.approx(phi, rel=1e-6)


def test_rotation_of_a_parallel():
    """Points spread evenly over a parallel of radius r, turned by less than half a step: 2 r sin(φ/2)."""
    x, y = (np.c_[0.6 * equispaced(20, start), np.full(20, 0.8)] for start in (0.0, 0.1))
    assert wasserstein2(x, y) == pytest.approx(2 * 0.6 * math.sin(0.05), rel=1e-12)
    assert wasserstein2(x, x * [1, 1, -1]) == pytest.approx(1.6, rel=1e-14)  # its mirror image: straight down


def test_assignment_agrees_with_brute_force():
    x, y = cs.sample_uniform(6, 3, rng=0), cs.sample_uniform(6, 3, rng=1)
    best = min(((x - y[list(order)]) ** 2).sum() / 6 for order in permutations(range(6)))
    assert wasserstein2(x, y) == pytest.approx(math.sqrt(best), rel=1e-14)


def test_assignment_and_network_simplex_agree(monkeypatch):
    x, y = cs.sample_uniform(120, 3, rng=0), cs.sample_von_mises_fisher(120, [1.0, 0.0, 0.0], concentration=9.0, rng=1)
    by_assignment = wasserstein2(x, y)
    monkeypatch.setattr(distances.transport, "_SMALL", 0)
    assert wasserstein2(x, y) == pytest.approx(by_assignment, rel=1e-13)
    assert wasserstein2(x, x[::-1]) == 0
    # Half the tokens at weight 2/N and the others at 0 is the cloud of that half.
    weights = np.repeat([1 / 60, 0.0], 60)
    assert wasserstein2(x, y, x_weights=weights) == pytest.approx(wasserstein2(x[:60], y), rel=1e-13)


def test_a_token_may_be_split():
    x, y = cs.sample_uniform(30, 4, rng=0), cs.sample_uniform(37, 4, rng=1)
    p, q = random_weights(30, 0), random_weights(37, 1)
    expected = wasserstein2(x, y, x_weights=p, y_weights=q)
    split = wasserstein2(np.r_[x, x], y, x_weights=np.r_[0.3 * p, 0.7 * p], y_weights=q)
    assert split == pytest.approx(expected, rel=1e-12)
    assert wasserstein2(y, x, x_weights=q, y_weights=p) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (30, 30), (30, 45), (50, 7)])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_circle_against_the_linear_program(n, m, is_weighted):
    """Null: the formula with the best shift is the optimum of the transport problem with squared arcs as costs."""
    import ot

    rng = np.random.default_rng(n + m)
    a, b = rng.uniform(-4, 4, n), rng.vonmises(2.0, 1.5, m)
    p = random_weights(n, 0) if is_weighted else np.full(n, 1 / n)
    q = random_weights(m, 1) if is_weighted else np.full(m, 1 / m)
    arcs = np.abs(np.angle(np.exp(1j * (a[:, None] - b))))
    expected = math.sqrt(ot.emd2(p, q, arcs**2))
    x, y = on_circle(a), on_circle(b)
    weights = {"x_weights": p, "y_weights": q} if is_weighted else {}
    arc = circular_wasserstein2(x, y, **weights)
    assert arc == pytest.approx(expected, rel=1e-11)
    assert circular_wasserstein2(y, x, x_weights=q, y_weights=p) == pytest.approx(expected, rel=1e-11)
    chord = wasserstein2(x, y, **weights)
    assert 2 / math.pi * arc <= chord * (1 + 1e-12)
    assert chord <= arc * (1 + 1e-12)


def test_circle_weights_as_repetitions():
    x, y = equispaced(7, start=0.3), cs.sample_uniform(12, 2, rng=0)
    counts = np.array([1, 2, 3, 1, 1, 3, 1])
    repeated = circular_wasserstein2(np.repeat(x, counts, axis=0), y)
    assert circular_wasserstein2(x, y, x_weights=counts / 12) == pytest.approx(repeated, rel=1e-12)


def test_circle_of_random_tokens():
    """Null: two i.i.d. uniform samples of N tokens; N W2² / (8π²) tends to Watson's U², of mean 1/12, variance 1/360.

    400 replicas of N = 1 000: five standard errors, false-alarm rate 6e-7. One of N = 200 000: U² exceeds t with
    probability at most 2 e^{−2π²t}, 1e-6 at t = 0.735.
    """
    x, y = (cs.sample_uniform(1000, 2, rng=k, n_replicas=400) for k in (0, 1))
    mean = np.mean([1000 * circular_wasserstein2(*pair) ** 2 for pair in zip(x, y, strict=True)]) / (8 * math.pi**2)
    assert mean == pytest.approx(1 / 12, abs=5 * math.sqrt(1 / 360 / 400))
    x, y = cs.sample_uniform(200_000, 2, rng=2), cs.sample_uniform(200_000, 2, rng=3)
    assert 200_000 * circular_wasserstein2(x, y) ** 2 / (8 * math.pi**2) < 0.735


# Bounds between the distances


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_order_of_the_distances(dim):
    x, y = cs.sample_uniform(80, dim, rng=0), cs.sample_uniform(80, dim, rng=1)
    y = cs.normalize(y + 0.8 * x[0])
    w2 = wasserstein2(x, y)
    assert w2 <= coupled_distance(x, y)
    assert sliced_wasserstein2(x, y, n_projections=5 * dim, rng=0) <= w2 / math.sqrt(dim)
    for beta in (0.1, 1.0, 30.0):
        assert mmd(x, y, beta=beta) <= math.sqrt(beta) * w2
    assert float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0))) <= w2
    # The first degree of Sobolev's series is the distance of the means: Y_{1,j} = √d x_j.
    first = sobolev(x, y, order=1.0, n_max=1) * math.sqrt((dim - 1) / dim)
    assert first == pytest.approx(float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0))), rel=1e-12)


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.02])
def test_bias_of_entropic_transport(epsilon, is_weighted):
    x, y = cs.sample_uniform(60, 3, rng=0), cs.sample_von_mises_fisher(45, [0.0, 1.0, 0.0], concentration=4.0, rng=1)
    weights = {"x_weights": random_weights(60, 0), "y_weights": random_weights(45, 1)} if is_weighted else {}
    exact = wasserstein2(x, y, **weights) ** 2
    bias = entropic_wasserstein2(x, y, regularization=epsilon, tolerance=1e-3, **weights) ** 2 - exact
    assert 0 < bias <= epsilon * math.log(45) + 16e-3


def test_entropic_is_an_upper_bound_even_if_stopped_early():
    """One sweep leaves half of the mass where it must not be; the repaired plan is a plan and costs at least W2²."""
    x = cs.sample_von_mises_fisher(60, [0.0, 0.0, 1.0], concentration=30.0, rng=0)
    y = np.r_[x[:6], -x[:54]]
    assert entropic_wasserstein2(x, y, regularization=0.05, tolerance=1.0) >= wasserstein2(x, y)
    y = np.r_[x[:54], -x[:6]]
    assert entropic_wasserstein2(x, y, regularization=0.05, tolerance=1.0) >= wasserstein2(x, y)


def test_entropic_against_pot():
    import ot

    x, y = cs.sample_uniform(40, 3, rng=0), cs.sample_uniform(30, 3, rng=1)
    p, q = random_weights(40, 0), random_weights(30, 1)
    cost = ((x[:, None] - y) ** 2).sum(axis=2)
    plan = ot.sinkhorn(p, q, cost, 0.2, method="sinkhorn_log", stopThr=1e-13, numItermax=10_000)
    ours = entropic_wasserstein2(x, y, regularization=0.2, tolerance=1e-12, x_weights=p, y_weights=q)
    assert ours**2 == pytest.approx((plan * cost).sum(), rel=1e-10)


def test_entropic_with_infinite_regularization_is_independence():
    x, y = cs.sample_uniform(40, 3, rng=0), cs.sample_uniform(30, 3, rng=1)
    expected = 2 - 2 * x.mean(axis=0) @ y.mean(axis=0)
    assert entropic_wasserstein2(x, y, regularization=1e12) ** 2 == pytest.approx(expected, rel=1e-11)


def test_entropic_stops_unfinished():
    x, y = cs.sample_uniform(40, 3, rng=0), cs.sample_uniform(30, 3, rng=1)
    with pytest.raises(RuntimeError, match=r"regularization = 0\.01 is too small for 3 sweeps"):
        entropic_wasserstein2(x, y, regularization=0.01, max_sweeps=3)


def test_sliced_weights_as_repetitions():
    x, y = cs.sample_uniform(5, 3, rng=0), cs.sample_uniform(8, 3, rng=1)
    counts = np.array([3, 1, 1, 2, 1])
    repeated = sliced_wasserstein2(np.repeat(x, counts, axis=0), y, rng=4)
    assert sliced_wasserstein2(x, y, x_weights=counts / 8, rng=4) == pytest.approx(repeated, rel=1e-12)
    assert sliced_wasserstein2(np.repeat(x, 3, axis=0), y, rng=4) == pytest.approx(
        sliced_wasserstein2(x, y, rng=4), rel=1e-12
    )


@pytest.mark.parametrize("concentration", range(20, 60, 3))
def test_sliced_weights_of_a_wide_range(concentration):
    """Sums of weights that end at 1 before the last token; tokens of weight below 1e-17 change nothing to 1e-13."""
    x = cs.sample_uniform(50, 2, rng=0)
    rule = laws.quadrature(laws.VonMisesFisher(mean_direction=(0.6, 0.8), concentration=float(concentration)), 200)
    keep = rule.weights > 1e-17
    assert not keep.all()
    kept = rule.weights[keep] / rule.weights[keep].sum()
    value = sliced_wasserstein2(rule.nodes, x, x_weights=rule.weights, rng=0)
    assert value == pytest.approx(sliced_wasserstein2(rule.nodes[keep], x, x_weights=kept, rng=0), rel=1e-13)
    arc = circular_wasserstein2(rule.nodes, x, x_weights=rule.weights)
    assert arc == pytest.approx(circular_wasserstein2(rule.nodes[keep], x, x_weights=kept), rel=1e-7)


def test_the_line_with_weights_of_a_wide_range_against_exact_arithmetic():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(40), rng.standard_normal(30)
    p, q = 10.0 ** rng.uniform(-40, 0, 40), 10.0 ** rng.uniform(-40, 0, 30)
    p, q = p / p.sum(), q / q.sum()

    def exact():
        left, right = ([(Fraction(v), Fraction(m)) for v, m in sorted(zip(*z, strict=True))] for z in ((x, p), (y, q)))
        totals = [sum(m for _, m in side) for side in (left, right)]
        left, right = ([[v, m / t] for v, m in side] for side, t in zip((left, right), totals, strict=True))
        cost, i, j = Fraction(0), 0, 0
        while i < len(left) and j < len(right):
            mass = min(left[i][1], right[j][1])
            cost += mass * (left[i][0] - right[j][0]) ** 2
            for side, k in ((left, i), (right, j)):
                side[k][1] -= mass
            i, j = i + (left[i][1] == 0), j + (right[j][1] == 0)
        return float(cost)

    assert distances.line._line_squared(x, y, p=p, q=q) == pytest.approx(exact(), rel=1e-14)


@pytest.mark.parametrize("kind", [np.matrix, np.ma.array])
@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", ALL)
def test_arrays_with_an_arithmetic_of_their_own_are_refused(name, kind):
    x = equispaced(4)
    with pytest.raises(TypeError, match="x must not be a"):
        ALL[name](kind(x), x)
    with pytest.raises(TypeError, match="y_weights must not be a"):
        ALL[name](x, x, y_weights=kind(np.full(4, 0.25)))


def test_sliced_directions():
    """Null: frames are uniform, so SW2² has the mean of the squared distance over all directions, from a dense grid.

    1 000 independent frames of the plane, five standard errors of their means (from the same grid): 6e-7.
    """
    x, y = equispaced(2), equispaced(3, start=1.0)
    x6, y6 = x.repeat(3, axis=0), y.repeat(2, axis=0)
    values = ((np.sort(x6 @ equispaced(4000).T, axis=0) - np.sort(y6 @ equispaced(4000).T, axis=0)) ** 2).mean(axis=0)
    error = (0.5 * (values + np.roll(values, 1000))).std() / math.sqrt(1000)
    assert error < 0.01 * values.mean()
    value = sliced_wasserstein2(x, y, n_projections=2000, rng=0) ** 2
    assert value == pytest.approx(values.mean(), abs=5 * error)
    assert value != sliced_wasserstein2(x, y, n_projections=2000, rng=1) ** 2


def test_more_directions_begin_with_the_same():
    x, y = cs.sample_uniform(9, 3, rng=0), cs.sample_uniform(9, 3, rng=1)
    sums = [n * sliced_wasserstein2(x, y, n_projections=n, rng=5) ** 2 for n in range(1, 30)]
    assert (np.diff(sums) > 0).all()


# Equal clouds, invariance, dtype, determinism


@pytest.mark.parametrize(
    ("name", "dim"),
    [("circular", 2), *((name, dim) for name in ("wasserstein2", "sliced", "mmd", "sobolev") for dim in (2, 3))],
)
def test_equal_clouds_are_at_distance_zero(name, dim):
    x = cs.sample_uniform(300, dim, rng=0)
    p = random_weights(300, 0)
    assert ALL[name](x, x) == 0
    if name != "wasserstein2":
        assert ALL[name](x, x, x_weights=p, y_weights=p) == 0
    shuffled = np.random.default_rng(0).permutation(300)
    assert ALL[name](x, x[shuffled]) < 1e-6  # roots of rounding, where the distance is a difference of sums
    assert ALL[name](x, -x) > 1e-3


@pytest.mark.parametrize("name", ["wasserstein2", "entropic", "mmd", "sobolev"])
def test_symmetry_and_rotation(name):
    x, y = cs.sample_uniform(30, 3, rng=0), cs.sample_uniform(60, 3, rng=1)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    value = ALL[name](x, y)
    rel = 1e-4 if name == "entropic" else 1e-11  # its sweeps stop at 1e-6
    assert ALL[name](y, x) == pytest.approx(value, rel=rel)
    assert ALL[name](cs.normalize(x @ rotation), cs.normalize(y @ rotation)) == pytest.approx(value, rel=rel)


@pytest.mark.parametrize("name", ALL)
def test_float32_and_layout(name):
    x, y = cs.sample_uniform(40, 2, rng=0), cs.sample_uniform(40, 2, rng=1)
    value = ALL[name](x, y)
    assert isinstance(value, float)
    assert ALL[name](x.astype(np.float32), y.astype(np.float32)) == pytest.approx(value, rel=1e-5)
    x.flags.writeable = False
    assert ALL[name](np.asfortranarray(x), y[::-1][::-1]) == value


@pytest.mark.parametrize("name", ["entropic", "mmd"])
def test_threads_do_not_change_a_bit(name):
    x, y = cs.sample_uniform(700, 3, rng=0), cs.sample_uniform(500, 3, rng=1)
    assert ALL[name](x, y, n_threads=1) == ALL[name](x, y, n_threads=3)


@pytest.mark.parametrize("beta", [1e-300, 1.0, 1e4, 1e8])
def test_mmd_is_never_nan(beta):
    x = cs.sample_uniform(50, 3, rng=0)
    near = cs.normalize(x + 1e-9 * x[::-1])
    for y in (x, -x, near, x[::-1].copy(), x.astype(np.float32)):
        assert 0 <= mmd(x, y, beta=beta) <= math.sqrt(2)
    assert mmd(x, x[::-1].copy(), beta=beta) <= math.sqrt(1 + beta) * 5e-8


def test_mmd_of_a_narrow_kernel_counts_tokens():
    """β so large that only coinciding tokens see each other: MMD² = 1/N + 1/M."""
    assert mmd(equispaced(10), equispaced(15, start=0.05), beta=1e6) ** 2 == pytest.approx(1 / 10 + 1 / 15, rel=1e-9)


def test_sobolev_is_a_norm_of_the_difference():
    """Triangle inequality and scaling: ν = (1 − t) μ + t ρ lies at t times the distance of ρ."""
    x, y = cs.sample_uniform(20, 3, rng=0), cs.sample_uniform(30, 3, rng=1)
    mixture = np.r_[np.full(20, 0.75 / 20), np.full(30, 0.25 / 30)]
    for name in ("mmd", "sobolev"):
        assert ALL[name](x, np.r_[x, y], y_weights=mixture) == pytest.approx(0.25 * ALL[name](x, y), rel=1e-10)


# Replicas


@pytest.mark.parametrize("name", [*ALL, "coupled"])
def test_replicas_are_compared_one_by_one(name):
    """Bitwise as alone; a cloud without replicas stands for one that is the same in all."""
    distance = ALL.get(name, coupled_distance)
    x, y = (cs.sample_uniform(9, 2, rng=seed, n_replicas=3) for seed in (1, 2))
    weights = {"weights": random_weights(9, 0)} if name == "coupled" else {"x_weights": random_weights(9, 0)}
    for options in ({}, weights):
        if options and name == "wasserstein2":
            pytest.importorskip("ot")
        both = distance(x, y, **options)
        assert both.shape == (3,)
        assert both.tolist() == [distance(one, two, **options) for one, two in zip(x, y, strict=True)]
        assert distance(x, y[0], **options).tolist() == [distance(one, y[0], **options) for one in x]
        assert distance(x[0], y, **options).tolist() == [distance(x[0], two, **options) for two in y]
    assert isinstance(distance(x[0], y[0]), float)


def test_directions_are_the_same_in_all_replicas():
    x, y = (np.repeat(cs.sample_uniform(5, 3, rng=seed)[None], 3, axis=0) for seed in (1, 2))
    values = sliced_wasserstein2(x, y, n_projections=2, rng=np.random.default_rng(0))
    assert values.tolist() == [sliced_wasserstein2(x[0], y[0], n_projections=2, rng=np.random.default_rng(0))] * 3


# Errors


@pytest.mark.parametrize("name", ALL)
def test_bad_clouds(name):
    x = cs.sample_uniform(4, 2, rng=0)
    with pytest.raises(ValueError, match=r"y must lie on the unit sphere"):
        ALL[name](x, 2 * x)
    with pytest.raises(ValueError, match=r"x and y must have as many replicas, got shapes \(2, 4, 2\) and \(3, 4, 2\)"):
        ALL[name](np.stack([x, x]), np.stack([x, x, x]))
    with pytest.raises(ValueError, match=r"y must lie on the unit sphere .* token 0 of replica 1"):
        ALL[name](x, np.stack([x, 2 * x]))
    with pytest.raises(ValueError, match=r"x and y must have one dim"):
        ALL[name](x, cs.sample_uniform(4, 3, rng=0))
    with pytest.raises(TypeError, match=r"x must be a float64 or float32 array"):
        ALL[name]([[1.0, 0.0]], x)
    with pytest.raises(ValueError, match=r"y_weights must sum to 1"):
        ALL[name](x, x, y_weights=np.ones(4))
    with pytest.raises(ValueError, match=r"x_weights must be finite and >= 0: x_weights\[1\] = -0.5"):
        ALL[name](x, x, x_weights=[1.0, -0.5, 0.25, 0.25])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sobolev(x, x, order=0.0), "order must be a finite number > 0"),
        (lambda x: sobolev(x, x, order=1.0, n_max=0), "n_max must be an integer >= 1"),
        (lambda x: mmd(x, x, beta=0.0), "beta must be a finite number > 0"),
        (lambda x: mmd(x, x, beta=1e9), "beta must be"),
        (lambda x: entropic_wasserstein2(x, x, regularization=0.001), "regularization must be"),
        (lambda x: sliced_wasserstein2(x, x, n_projections=0, rng=0), "n_projections must be"),
        (lambda x: circular_wasserstein2(x, x), "x must have dim 2"),
        (lambda x: coupled_distance(x, x[:2]), "x and y must have one shape"),
    ],
)
def test_bad_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call(cs.sample_uniform(3, 3, rng=0))


def test_large_requests_are_refused(without_pot):
    x = cs.sample_uniform(10_000, 3, rng=0)
    big = np.repeat(x, 20, axis=0)
    with pytest.raises(ValueError, match=r"assignment of 10000 tokens .* minutes; .*transport.*sliced_wasserstein2"):
        wasserstein2(x, -x)
    with pytest.raises(ValueError, match=r"200000 x 200000 costs \(298\.0 GiB, limit 2\); use sliced_wasserstein2"):
        wasserstein2(big, x)
    with pytest.raises(ValueError, match=r"64 degrees on all pairs would take .* minutes; lower n_max"):
        sobolev(np.repeat(cs.sample_uniform(10_000, 6, rng=0), 20, axis=0), cs.sample_uniform(10, 6, rng=0), order=1.0)
    with pytest.raises(ValueError, match=r"10 sweeps .* minutes; use sliced_wasserstein2"):
        entropic_wasserstein2(big, big, regularization=1.0, n_threads=1)
    with pytest.raises(ValueError, match=r"is too large in dim 3000"):
        sobolev(*(cs.sample_uniform(2, 3000, rng=k) for k in (0, 1)), order=1.0, n_max=500)


def test_pot_is_asked_for(without_pot):
    x, y = cs.sample_uniform(3, 3, rng=0), cs.sample_uniform(5, 3, rng=0)
    with pytest.raises(ImportError, match=r"pip install POT, or .*'\.\[transport\]'"):
        wasserstein2(x, y)
