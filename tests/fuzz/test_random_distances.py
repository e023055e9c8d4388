"""Distances of random clouds on every instruction set against long double, to the bounds of their docstrings."""

import math

import numpy as np
from clouds import ISAS, probabilities, tokens
from hypothesis import strategies as st
from long_double import LONG, NEEDS_LONG_DOUBLE, instruction_set, on_the_sphere
from scipy.optimize import linear_sum_assignment

from chaosphere import measures

pytestmark = NEEDS_LONG_DOUBLE


@st.composite
def pairs_of_clouds(draw):
    dim = draw(st.integers(2, 9))
    n = draw(st.integers(1, 40))
    sizes = (n, draw(st.just(n) | st.integers(1, 40)))
    x, y = (draw(tokens(sizes=st.just(size), dims=st.just(dim), n_replicas=st.just(1)))[0] for size in sizes)
    if draw(st.booleans()):
        y = x.copy()
    weights = [draw(st.none() | probabilities(len(z))) for z in (x, y)]
    return x, y, *weights, draw(st.sampled_from(ISAS)), draw(st.integers(0, 2**31))


def check_distances(value):
    x, y, p, q, isa, seed = value
    options = {"x_weights": p, "y_weights": q}
    with instruction_set(isa):
        distances = {
            "w2": measures.wasserstein2(x, y, **options),
            "sliced": measures.sliced_wasserstein2(x, y, rng=seed, **options),
            "mmd": measures.mmd(x, y, beta=1.0 + seed % 7, **options),
            "sobolev": measures.sobolev(x, y, order=1.5, n_max=6, **options),
        }
        if x.shape[1] == 2:
            distances["circular"] = measures.circular_wasserstein2(x, y, **options)
    assert all(math.isfinite(number) and number >= 0 for number in distances.values()), distances
    # SW2 <= W2 / √d for every seed where d divides the number of projections; W2² is off by 1e-14.
    assert distances["sliced"] ** 2 <= distances["w2"] ** 2 / x.shape[1] + 2e-14
    a, b = on_the_sphere(x), on_the_sphere(y)
    pa, pb = (np.full(len(z), 1 / LONG(len(z))) if w is None else w.astype(LONG) for z, w in ((x, p), (y, q)))
    pa, pb = pa / pa.sum(), pb / pb.sum()

    def square(kernel):
        return float(pa @ kernel(a @ a.T) @ pa + pb @ kernel(b @ b.T) @ pb - 2 * (pa @ kernel(a @ b.T) @ pb))

    beta = 1.0 + seed % 7
    assert abs(distances["mmd"] ** 2 - square(lambda u: np.exp(beta * (u - 1)))) <= (1 + beta) * 2e-15 + 1e-14
    sizes = np.array([float((n * (n + x.shape[1] - 2)) ** -1.5 * harmonics(n, x.shape[1])) for n in range(1, 7)])
    assert abs(distances["sobolev"] ** 2 - square(lambda u: zonal(u, sizes, x.shape[1]))) <= 1e-15 * 6 * sizes.sum()
    if p is None and q is None and len(x) == len(y):
        check_transport(x, y, distances)


def harmonics(n, dim):
    """The number of spherical harmonics of degree n >= 1."""
    return math.comb(n + dim - 1, dim - 1) - math.comb(n + dim - 3, dim - 1)


def zonal(u, sizes, dim):
    """Σ_n sizes_n P_n(u), P_n(1) = 1, by the recurrence of Gegenbauer's polynomials."""
    below, here, total = np.ones_like(u), u, sizes[0] * u
    for n in range(1, len(sizes)):
        below, here = here, ((2 * n + dim - 2) * u * here - n * below) / LONG(n + dim - 2)
        total = total + sizes[n] * here
    return total


def check_transport(x, y, distances):
    """W2 of as many tokens of equal weight is an assignment, whose cost is summed in long double."""
    x, y = x.astype(LONG), y.astype(LONG)
    cost = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    best = linear_sum_assignment(cost.astype(float))
    assert abs(distances["w2"] ** 2 - float(cost[best].mean())) <= 2e-14
    if "circular" in distances:
        angles = [np.arctan2(z[:, 1], z[:, 0]) for z in (x, y)]
        arc = np.abs(angles[0][:, None] - angles[1][None])
        cost = np.minimum(arc, 2 * LONG(np.pi) - arc) ** 2
        best = linear_sum_assignment(cost.astype(float))
        assert abs(distances["circular"] ** 2 - float(cost[best].mean())) <= 2e-14


def test_distances(effort):
    effort.explore(check_distances, pairs_of_clouds(), n_fixed=60)
