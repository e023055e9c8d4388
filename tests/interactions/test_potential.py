"""The drift along a potential against its dense twin, in every method, and what theory says of it."""

import math
import pickle

import numpy as np
import pytest
from numpy.polynomial import Chebyshev, Legendre, Polynomial
from support import cases, twins
from support.shares import Share

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.polynomials import KernelPolynomial
from chaosphere.simulation import identity

EDGES = [1, 2, 31, 32, 33, 257]
DIMS = [2, 3, 5, 17]
DTYPES = [np.float64, np.float32]
# A few powers, a few Chebyshev polynomials that take their series, one that oscillates, and constants.
POTENTIALS = {
    "mean": Polynomial([0.5, 1.0]),
    "quartic": Polynomial([1.0, -0.3, 0.5, -0.7, 0.2]),
    "series": Chebyshev(np.append(np.zeros(30), [1.0, 0.5, 0.25]) / 300),
    "waves": lambda u: np.cos(9 * u + 1) / 9,
    "nothing": Polynomial([3.0]),
}


def interaction_of(kind, **options):
    return cs.PotentialInteraction(POTENTIALS[kind], **options)


def tolerance(interaction, x):
    """Rounding of a cosine moves W′ by |W″|; the kernel's own error; sums of up to 192 terms at most 60 eps."""
    eps, dim = float(np.finfo(x.dtype).eps), x.shape[-1]
    curvature = np.abs(interaction.derivative.deriv()(np.linspace(-1, 1, 1001))).max()
    largest = np.abs(interaction.derivative(np.linspace(-1, 1, 1001))).max()
    kernel = KernelPolynomial.of(interaction.derivative.coef, dtype=x.dtype)
    return kernel.error + eps * ((dim + 4) * curvature + 64 * largest) + 1e-15 * largest


def check(kind, x, weights=None, **options):
    interaction = interaction_of(kind, **options)
    drift, _ = twins.potential(x, interaction.derivative, weights=weights)
    twins.assert_close(interaction(x, weights), drift, atol=tolerance(interaction, x), dtype=x.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("n", EDGES)
def test_every_block_shape(n, dim, dtype):
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    check("quartic", x[0], method="direct")
    check("series", x, cases.weights(n), method="direct")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", POTENTIALS)
def test_every_polynomial(kind, dtype):
    x = cases.tokens(130, 3, dtype, n_replicas=2)
    for method in ("direct", "harmonic"):
        check(kind, x, method=method)
        check(kind, x, cases.weights(130), method=method)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [2, 3, 4, 6])
def test_expansions_are_exact(dim, dtype):
    x = cases.tokens(400, dim, dtype, n_replicas=2)
    method = "fourier" if dim == 2 else "harmonic"
    for kind in ("mean", "quartic", "nothing"):
        for weights in (None, cases.weights(400)):
            fast, direct = (interaction_of(kind, method=m) for m in (method, "direct"))
            atol = 1e-14 if dtype == np.float64 else 1e-6
            np.testing.assert_allclose(fast(x, weights), direct(x, weights), rtol=0, atol=atol)
            energies = (one.energy(x, weights) for one in (fast, direct))
            np.testing.assert_allclose(*energies, rtol=0, atol=1e-14 if dtype == np.float64 else 1e-6)


@pytest.mark.parametrize(("dim", "degree"), [(2, 200), (3, 60), (4, 20)])
def test_expansions_of_high_degree(dim, degree):
    """Spread tokens, and clusters at the poles of the coordinates, against long double."""
    slope = Chebyshev.basis(degree)
    method = "fourier" if dim == 2 else "harmonic"
    for x in (cases.tokens(150, dim)[0], np.tile(np.eye(dim)[-1], (150, 1)), np.tile(np.eye(dim)[0], (150, 1))):
        want, _ = twins.potential(x, slope, dtype=np.longdouble)
        fast = cs.PotentialInteraction(slope.integ(), slope, method=method)
        twins.assert_close(fast(x), want, atol=2e-15 * degree)


def test_passive_tracers_are_not_felt():
    x, p = cases.tokens(60, 3), cases.weights(40)
    for method in ("direct", "harmonic"):
        interaction = interaction_of("quartic", method=method)
        want, _ = twins.potential(x, interaction.derivative, weights=np.append(p, np.zeros(20)))
        twins.assert_close(interaction.plan(Shape.of(x), p).drift(x, n_threads=1), want, atol=1e-14)


def test_small_weights_keep_their_digits():
    x, p = cases.tokens(3, 3, np.float32)[0], np.array([1e-300, 1e-42, 1.0])
    drift = interaction_of("mean")(x, p / p.sum())
    assert np.array_equal(drift, np.repeat(x[2:], 3, axis=0))
    small = np.full(3000, 1 / 3000)
    x = np.repeat(x[:1], 3000, axis=0)
    np.testing.assert_allclose(interaction_of("mean")(x, small), x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", ["direct", "harmonic"])
def test_layouts_of_memory_change_nothing(method):
    x = cases.tokens(200, 3, n_replicas=2)
    interaction = interaction_of("quartic", method=method)
    drift, energy = interaction(x, cases.weights(200)), interaction.energy(x)
    for name, y in cases.layouts(x).items():
        assert np.array_equal(interaction(y, cases.weights(200)), drift), name
        assert np.array_equal(interaction.energy(y), energy), name


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("method", ["direct", "harmonic"])
def test_threads_change_nothing(method, n_threads):
    x, interaction = cs.sample_uniform(300, 3, rng=0), interaction_of("series", method=method)
    assert np.array_equal(interaction(x, n_threads=1), interaction(x, n_threads=n_threads))
    assert interaction.energy(x, n_threads=1) == interaction.energy(x, n_threads=n_threads)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["direct", "harmonic"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_rows_of_a_process_are_those_of_the_whole(method, dtype, is_weighted):
    x = cases.tokens(100, 3, dtype, n_replicas=2)
    plan = interaction_of("quartic", method=method).plan(Shape.of(x), cases.weights(100) if is_weighted else None)
    drift = plan.drift(x, n_threads=1)
    for first, stop in [(0, 32), (32, 100)]:
        mine = plan.distribute(Share(x, first, stop)).drift(x[:, first:stop], n_threads=2)
        assert np.array_equal(mine, drift[:, first:stop])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_fused_steps_are_single_ones(dtype, is_weighted):
    x = cases.tokens(70, 3, dtype, n_replicas=3)
    plan = interaction_of("quartic", method="direct").plan(Shape.of(x), cases.weights(70) if is_weighted else None)
    one = x
    for _ in range(3):
        one = plan.move(one, 0.1, n_threads=1)
    assert plan.max_fused_steps >= 3
    for n_threads in (1, 2):
        assert np.array_equal(plan.move(x, 0.1, n_threads=n_threads, n_steps=3), one)
    drift = plan.drift(x, n_threads=1)
    step = (x + dtype(0.1) * drift).astype(np.float64)
    step /= np.linalg.norm(step, axis=2, keepdims=True)
    np.testing.assert_allclose(plan.move(x, 0.1, n_threads=1), step, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("beta", [0.5, 4.0, 40.0])
@pytest.mark.parametrize("dim", [2, 3, 9])
def test_exponential_potentials_are_unnormalised_attention(beta, dim):
    x, p = cs.sample_uniform(100, dim, rng=0), cases.weights(100)
    interaction = cs.PotentialInteraction(
        lambda u: np.exp(beta * (u - 1)) / beta, lambda u: np.exp(beta * (u - 1)), tolerance=1e-13
    )
    usa = cs.UnnormalizedAttention(beta=beta, rescaled=True)
    np.testing.assert_allclose(interaction(x, p), usa(x, p), rtol=0, atol=3e-13)
    consensus = -0.5 / beta
    np.testing.assert_allclose(interaction.energy(x, p) - consensus, usa.energy(x, p), rtol=0, atol=1e-13)
    assert interaction.consensus_rate == pytest.approx(usa.consensus_rate, rel=1e-12)
    for degree in (1, 2, 5):
        response = interaction.linear_response(degree, dim)
        assert response == pytest.approx(usa.linear_response(degree, dim), abs=1e-13 / beta)


def test_the_quadratic_potential():
    """b = Mx with the second moments M, E = −|M|²/4, and W′(1) = 1."""
    interaction = cs.PotentialInteraction(Polynomial([0.0, 0.0, 0.5]))
    for dim in (2, 3, 30):
        x, p = cs.sample_uniform(50, dim, rng=dim), cases.weights(50)
        moments = (x.T * p) @ x
        np.testing.assert_allclose(interaction(x, p), x @ moments, rtol=0, atol=1e-15)
        assert interaction.energy(x, p) == pytest.approx(-0.25 * (moments**2).sum(), rel=1e-14)
    assert interaction.consensus_rate == 1.0


@pytest.mark.parametrize("kind", ["quartic", "waves"])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_change_of_the_energy_along_the_flow(kind, dim):
    """Central differences of the energy along the flow miss −∫|P b|² dμ by a multiple of the squared step."""
    x, forward = cs.sample_uniform(40, dim, rng=1), interaction_of(kind)
    backward = cs.PotentialInteraction(-forward.potential)
    drift = forward(x)
    tangent = drift - (drift * x).sum(axis=1, keepdims=True) * x
    change, errors = -np.mean((tangent**2).sum(axis=1)), []
    for step in (0.04, 0.02, 0.01):
        models = (
            cs.LimitSDE(attention=one, field=None, horizon=step, n_steps=1, scheme="rk4") for one in (forward, backward)
        )
        ahead, behind = (forward.energy(cs.simulate(model, x, rng=0).final) for model in models)
        errors.append((ahead - behind) / (2 * step) - change)
    assert abs(errors[-1]) < 1e-2 * abs(change)
    assert (abs(np.log2(np.abs(np.divide(errors[:-1], errors[1:]))) - 2) < 0.1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_energy(dtype):
    for n, dim in [(1, 2), (33, 3), (257, 17), (300, 40)]:
        x, p = cases.tokens(n, dim, dtype, n_replicas=2), cases.weights(n)
        for kind in POTENTIALS:
            interaction = interaction_of(kind, method="direct")
            cosines = np.asarray(x, np.float64) @ np.asarray(x, np.float64).swapaxes(1, 2)
            want = -0.5 * np.einsum("i,rij,j->r", p, interaction.potential(cosines), p)
            twins.assert_close(interaction.energy(x, p), want, atol=1e-13)
            uniform = -0.5 * interaction.potential(cosines).mean(axis=(1, 2))
            twins.assert_close(interaction.energy(x), uniform, atol=1e-13)
        assert interaction.energy(x[0], p) == interaction.energy(x, p)[0]


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_a_zonal_potential_moves_one_degree(dim):
    """W = P_l, with P_l(1) = 1: W_l = 1/dim(l, d), and all other coefficients are 0."""
    zonal = {2: Chebyshev.basis(4), 3: Legendre.basis(4), 6: Polynomial([1, 0, -16, 0, 48 - 8])}[dim]
    if dim == 6:  # C_4^{(2)}(u) = 80 u⁴ − 48 u² + 3 over its value 35 at 1
        zonal = Polynomial([3.0, 0.0, -48.0, 0.0, 80.0]) / 35
    interaction = cs.PotentialInteraction(zonal)
    count = {2: 2, 3: 9, 6: 105}[dim]
    for degree in range(1, 9):
        rate = cs.theory.growth_rate(interaction, degree, dim)
        want = 4 * (4 + dim - 2) / count if degree == 4 else 0.0
        assert rate == pytest.approx(want, rel=1e-14, abs=1e-15)
    assert interaction.linear_response(4, dim) > 0
    assert interaction.linear_response(100_000, 100_000) == 0


@pytest.mark.parametrize("dim", [2, 3, 7, 60])
def test_growth_rates_by_quadrature(dim):
    u, w = np.polynomial.legendre.leggauss(200)
    theta = 0.5 * np.pi * (u + 1)
    w = w * np.sin(theta) ** (dim - 2)
    w /= w.sum()
    u, interaction = np.cos(theta), interaction_of("waves")
    before, now = np.ones_like(u), u
    for degree in range(1, 20):
        rate = cs.theory.growth_rate(interaction, degree, dim)
        want = degree * (degree + dim - 2) * (w * POTENTIALS["waves"](u) * now).sum()
        assert rate == pytest.approx(want, abs=1e-11 * degree * (degree + dim))
        before, now = now, ((2 * degree + dim - 2) * u * now - degree * before) / (degree + dim - 2)


@pytest.mark.parametrize("kind", ["quartic", "waves"])
def test_small_modes_of_a_density(kind):
    for degree in (1, 2, 3, 6):
        law = cs.laws.Density(
            function=lambda x, k=degree: 1 + 1e-5 * np.cos(k * np.arctan2(x[:, 1], x[:, 0])), dim=2, bound=1.1
        )
        model = cs.LimitSDE(attention=interaction_of(kind), field=None, horizon=0.5, n_steps=40)
        modes = cs.CircleDensity(model=model, law=law, n_modes=32).solve(rng=0, save_at=[0.0, 0.5]).modes
        grown = math.log(abs(modes[1, degree] / modes[0, degree])) / 0.5
        assert grown == pytest.approx(cs.theory.growth_rate(interaction_of(kind), degree, 2), rel=1e-6, abs=1e-9)


def test_the_drift_of_a_density_is_that_of_tokens():
    """Of few tokens, with all of their modes that count."""
    x, interaction = cs.sample_uniform(7, 2, rng=0), interaction_of("waves")
    angles = np.arctan2(x[:, 1], x[:, 0])
    modes = np.exp(-1j * np.outer(np.arange(65), angles)).mean(axis=1)[None]
    drift = interaction.circle_drift(64)
    grid = 2 * np.pi * np.arange(200) / 200
    points = np.stack([np.cos(grid), np.sin(grid)], axis=1)
    want = (interaction.derivative(points @ x.T) @ x / 7 * np.stack([-points[:, 1], points[:, 0]], axis=1)).sum(axis=1)
    np.testing.assert_allclose(drift(modes, 200)[0], want, rtol=0, atol=1e-13)
    u = np.linspace(-1, 1, 100_001)
    fastest = abs(interaction.derivative(u) * np.sqrt(1 - u**2)).max()
    assert fastest <= drift.max_speed <= 1.021 * fastest
    few = interaction.circle_drift(2)  # fewer modes than the polynomial has
    np.testing.assert_allclose(few(modes[:, :3], 8), drift(modes * (np.arange(65) < 3), 8), rtol=0, atol=1e-15)


def test_equality_pickles_and_identities():
    one, other = interaction_of("waves"), cs.PotentialInteraction(lambda u: np.cos(9 * u + 1.0) / 9)
    assert one == other
    assert hash(one) == hash(other)
    assert one != interaction_of("quartic")
    assert one != interaction_of("waves", method="direct")
    assert one != 3
    assert pickle.loads(pickle.dumps(one)) == one
    assert identity.describe(one) == identity.describe(other)
    assert identity.describe(one) != identity.describe(cs.PotentialInteraction(lambda u: np.cos(9 * u + 1.001) / 9))
    identity.check(identity.describe(one), "checkpoint")
    again = cs.PotentialInteraction(one.potential, one.derivative)
    assert again == one
    assert repr(interaction_of("quartic", method="direct")) == (
        "PotentialInteraction(potential=polynomial of degree 4, method='direct')"
    )
    with pytest.raises(ValueError, match="read-only"):
        one.potential.coef[0] = 1.0


def test_resolve():
    interaction = interaction_of("quartic")
    assert [interaction.resolve(n, 3).method for n in (10, 10**6)] == ["direct", "harmonic"]
    assert interaction.resolve(10**6, 2).method == "fourier"
    assert interaction.resolve(10**6, 300).method == "direct"  # too many harmonics
    resolved = interaction.resolve(10**6, 3)
    assert resolved.resolve(10**6, 3) == resolved
    assert np.array_equal(resolved.derivative.coef, interaction.derivative.coef)


def test_models():
    """All take it; tracers at nodes follow them."""
    mlp = cs.MLP(width=8, activation="tanh", bias_std=0.3)
    field = cs.GaussianField(kernel=mlp.kernel(3), tolerance=1e-2)
    options = {"attention": interaction_of("waves"), "horizon": 1.0}
    for dtype in DTYPES:
        x = cs.sample_uniform(40, 3, rng=0, n_replicas=2).astype(dtype)
        for model in (
            cs.Transformer(**options, mlp=mlp, depth=12),
            cs.Transformer(**options, mlp=None, depth=12),
            cs.LimitSDE(**options, field=field, n_steps=12),
        ):
            solution = cs.simulate(model, x, rng=0)
            assert solution.final.dtype == dtype
            facts = solution.attributes["model"]["attention"]
            assert facts["type"] == "PotentialInteraction"
            assert facts["potential"] == interaction_of("waves").potential.coef.tolist()
            limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=3), n_nodes=60)
            followed = cs.simulate(limit, limit.start(limit.nodes.astype(dtype)), rng=0).final
            np.testing.assert_allclose(*np.split(followed, 2), rtol=0, atol=1e-12 if dtype == np.float64 else 1e-4)


def test_heads():
    x, potential = cs.sample_uniform(30, 3, rng=0), interaction_of("quartic")
    softmax, usa = cs.SoftmaxAttention(beta=1.0), cs.UnnormalizedAttention(beta=1.0, value_scale=-2.0)
    pair = cs.MultiHeadAttention(heads=[potential, softmax], combine="sum")
    np.testing.assert_allclose(pair(x), potential(x) + softmax(x), rtol=0, atol=1e-15)
    flow = cs.MultiHeadAttention(heads=[potential, usa], combine="sum")
    assert flow.energy(x) == pytest.approx(potential.energy(x) - 2 * usa.energy(x), rel=1e-14)
    assert flow.consensus_rate == potential.consensus_rate + usa.consensus_rate
    assert flow.linear_response(2, 3) == potential.linear_response(2, 3) + usa.linear_response(2, 3)
