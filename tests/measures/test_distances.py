"""All distances between measures: two Diracs, kernels by their series, bounds, invariance, replicas, errors."""

import math
import sys

import numpy as np
import pytest
from scipy.special import eval_gegenbauer, ive
from support.distances import ALL, equispaced, on_circle, random_weights

import chaosphere as cs
from chaosphere.geometry.harmonics import HarmonicBasis, multiplicity
from chaosphere.measures.distances import (
    circular_wasserstein2,
    coupled_distance,
    entropic_wasserstein2,
    mmd,
    sliced_wasserstein2,
    sobolev,
    wasserstein2,
)


def harmonics(x, n_max):
    """Y_k(x_i), shape (N, K), by one unit coefficient per replica."""
    basis = HarmonicBasis(dim=x.shape[1], n_max=n_max)
    coefficients = np.zeros((basis.size, basis.size, basis.dim))
    coefficients[np.arange(basis.size), np.arange(basis.size), 0] = 1
    return basis.combine(np.repeat(x[None], basis.size, axis=0), coefficients)[:, :, 0].T, basis.degrees


@pytest.fixture
def without_pot(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)


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


@pytest.mark.parametrize("kind", [np.matrix, np.ma.array])
@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", ALL)
def test_arrays_with_an_arithmetic_of_their_own_are_refused(name, kind):
    x = equispaced(4)
    with pytest.raises(TypeError, match="x must not be a"):
        ALL[name](kind(x), x)
    with pytest.raises(TypeError, match="y_weights must not be a"):
        ALL[name](x, x, y_weights=kind(np.full(4, 0.25)))


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
        assert distance(y=y, x=x, **options).tolist() == both.tolist()
        assert distance(x, y[0], **options).tolist() == [distance(one, y[0], **options) for one in x]
        assert distance(x[0], y, **options).tolist() == [distance(x[0], two, **options) for two in y]
    assert isinstance(distance(x[0], y[0]), float)


def test_directions_are_the_same_in_all_replicas():
    x, y = (np.repeat(cs.sample_uniform(5, 3, rng=seed)[None], 3, axis=0) for seed in (1, 2))
    values = sliced_wasserstein2(x, y, n_projections=2, rng=np.random.default_rng(0))
    assert values.tolist() == [sliced_wasserstein2(x[0], y[0], n_projections=2, rng=np.random.default_rng(0))] * 3


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
    with pytest.raises(ValueError, match=r"assignment of 10000 tokens .* (min|days); .*transport.*sliced_wasserstein2"):
        wasserstein2(x, -x)
    with pytest.raises(ValueError, match=r"200000 x 200000 costs \(298\.0 GiB, limit 2\); use sliced_wasserstein2"):
        wasserstein2(big, x)
    with pytest.raises(ValueError, match=r"64 degrees on all pairs would take .* (min|days); lower n_max"):
        sobolev(np.repeat(cs.sample_uniform(10_000, 6, rng=0), 20, axis=0), cs.sample_uniform(10, 6, rng=0), order=1.0)
    with pytest.raises(ValueError, match=r"10 sweeps .* (min|days); use sliced_wasserstein2"):
        entropic_wasserstein2(big, big, regularization=1.0, n_threads=1)
    with pytest.raises(ValueError, match=r"is too large in dim 3000"):
        sobolev(*(cs.sample_uniform(2, 3000, rng=k) for k in (0, 1)), order=1.0, n_max=500)


def test_pot_is_asked_for(without_pot):
    x, y = cs.sample_uniform(3, 3, rng=0), cs.sample_uniform(5, 3, rng=0)
    with pytest.raises(ImportError, match=r"pip install POT, or .*'\.\[transport\]'"):
        wasserstein2(x, y)
