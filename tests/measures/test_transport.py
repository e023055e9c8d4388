"""Optimal transport, exact, entropic, on the circle and on lines: closed forms, and each against another method."""

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from support.distances import equispaced, on_circle, random_weights

import chaosphere as cs
from chaosphere.geometry import laws
from chaosphere.measures import distances
from chaosphere.measures.distances import (
    circular_wasserstein2,
    entropic_wasserstein2,
    sliced_wasserstein2,
    wasserstein2,
)


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


@pytest.mark.parametrize("phi", [1e-9, 0.02, 0.1])
def test_rotations_of_a_grid(phi):
    """Rotated by less than half a step, every point goes to its own image."""
    x, y = equispaced(25), equispaced(25, start=phi)
    assert circular_wasserstein2(x, y) == pytest.approx(phi, rel=1e-6)
    assert wasserstein2(x, y) == pytest.approx(2 * math.sin(phi / 2), rel=1e-6)
    assert circular_wasserstein2(x, y, x_weights=np.full(25, 0.04)) == pytest.approx(phi, rel=1e-6)


def test_rotation_of_a_parallel():
    """Points spread evenly over a parallel of radius r, rotated by less than half a step: 2 r sin(φ/2)."""
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
