"""Densities on S² against closed forms, the solver about an axis, nodes and stationary states."""

import math
import sys

import numpy as np
import pytest
import scipy

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise
from chaosphere.geometry import sphere_grid
from chaosphere.geometry.sphere_grid import SphereGrid
from chaosphere.models import sphere_density

pytest.importorskip("ducc0", reason='the transforms need the extra "sphere"')
AXIS = np.array([1.0, -2.0, 2.0]) / 3
KERNEL = cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(3)
FIELD = cs.GaussianField(kernel=KERNEL.scaled(0.2))
SOFTMAX = cs.SoftmaxAttention(beta=2.0)


def cluster(concentration=1.0, direction=AXIS):
    return cs.laws.VonMisesFisher(mean_direction=tuple(direction), concentration=concentration)


SKEW = cs.laws.Mixture(
    components=(cluster(1.5), cluster(2.0, (0.0, 0.0, 1.0)), cluster(1.0, (0.0, -1.0, 0.0))),
    proportions=(0.5, 0.3, 0.2),
)


def model(**changes):
    options = {"attention": SOFTMAX, "field": None, "horizon": 0.5, "n_steps": 5, "temperature": 0.1}
    return cs.LimitSDE(**(options | changes))


def solve(of, *, law=SKEW, n_modes=16, rng=0, **options):
    return cs.SphereDensity(model=of, law=law, n_modes=n_modes).solve(rng=rng, **options)


def modes_of(x, n_modes, weights):
    """Modes ∫ conj(Y_{l,m}) dμ of tokens."""
    theta, phi = np.arccos(np.clip(x[:, 2], -1, 1)), np.arctan2(x[:, 1], x[:, 0])
    degree, m = np.indices((n_modes + 1, n_modes + 1))[..., None]
    y = np.where(m <= degree, np.sqrt(4 * np.pi) * scipy.special.sph_harm_y(degree, m, theta, phi), 0)
    return y.conj() @ weights


def test_noise_alone_is_the_heat_equation():
    sol = solve(model(attention=None, temperature=0.3, horizon=2.0, n_steps=3), n_modes=24, save_at=[0.0, 2.0])
    degree = np.arange(25)[:, None]
    np.testing.assert_allclose(sol.modes[1], sol.modes[0] * np.exp(-0.6 * degree * (degree + 1)), rtol=0, atol=1e-13)
    assert np.abs(sol.modes[0, 1:]).max() > 0.1


@pytest.mark.parametrize(
    "attention",
    [
        SOFTMAX,
        cs.UnnormalizedAttention(beta=1.0),
        cs.SinkhornAttention(beta=2.0, tolerance=1e-11),
        cs.PotentialInteraction([0.0, 0.2, 0.5]),
        cs.MultiHeadAttention(heads=[SOFTMAX, cs.UnnormalizedAttention(beta=0.5, value_scale=-1.0)]),
    ],
    ids=lambda attention: type(attention).__name__,
)
def test_the_solver_about_an_axis(attention):
    """About an axis that is none of the grid."""
    of = model(attention=attention, horizon=0.1, n_steps=1)
    sol = solve(of, law=cluster())
    axial = cs.AxisymmetricDensity(model=of, law=cluster(), n_modes=16, axis=tuple(AXIS)).solve()
    u = np.linspace(-1, 1, 9)
    across = np.cross(AXIS, [1.0, 0.0, 0.0])
    x = u[:, None] * AXIS + np.sqrt(1 - u * u)[:, None] * across / np.linalg.norm(across)
    np.testing.assert_allclose(sol.density(x), axial.density(u), rtol=0, atol=1e-9)
    np.testing.assert_allclose(sol.mean_vector[0], axial.modes[0, 1] * AXIS, rtol=0, atol=1e-12)


def test_a_rotated_law_has_a_rotated_solution():
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    rotated = cs.laws.Mixture(
        components=tuple(cluster(c.concentration, q @ np.array(c.mean_direction)) for c in SKEW.components),
        proportions=SKEW.proportions,
    )
    x = cs.sample_uniform(30, 3, rng=0)
    one, two = solve(model()), solve(model(), law=rotated)
    np.testing.assert_allclose(one.density(x), two.density(x @ q.T), rtol=0, atol=1e-9)
    np.testing.assert_allclose(one.mean_vector @ q.T, two.mean_vector, rtol=0, atol=1e-10)
    assert np.abs(one.density(x) - two.density(x)).max() > 0.1


def test_attention_alone_agrees_with_nodes():
    of = model(temperature=0.0, horizon=0.25, scheme="rk4", attention=cs.SoftmaxAttention(beta=1.0))
    sol = solve(of, n_modes=32)
    limit = cs.MeanField(model=of, law=SKEW, n_nodes=800)
    nodes = cs.simulate(limit, limit.start(), rng=0).final
    np.testing.assert_allclose(sol.modes[0, :4, :4], modes_of(nodes, 3, limit.weights), rtol=0, atol=1e-6)


def test_constant_noise_moves_the_uniform_law_by_moebius_maps():
    """With κ constant ΔW is one vector w for all tokens: a token of cosine u with w has artanh u ↦ artanh u + |w|.

    Areas are divided by (cosh |w| + u sinh |w|)².
    """
    field = cs.GaussianField(kernel=cs.CovarianceKernel.from_spectrum([0.03], dim=3))
    of = model(attention=None, field=field, temperature=0.0, horizon=1.0, n_steps=4)
    x = start = cs.sample_uniform(40, 3, rng=0)
    density = np.ones(len(x))
    for step in range(4):
        w = of.plan(Shape(n_tokens=1, dim=3)).increment(step, Noise(0))(np.array([[[1.0, 0.0, 0.0]]]))[0, 0]
        size = np.linalg.norm(w)
        cosh = np.cosh(size) + x @ w / size * np.sinh(size)
        along = (np.sinh(size) + x @ w / size * (np.cosh(size) - 1)) / size
        x = (x + along[:, None] * w) / cosh[:, None]
        density *= cosh**2
    assert np.abs(x - start).max() > 0.1
    sol = solve(of, law=cs.laws.Uniform(dim=3), n_modes=24)
    np.testing.assert_allclose(sol.density(x)[0], density, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["spectral", "features"])
def test_the_noise_is_that_of_tokens(method):
    """Nodes that follow P ΔW of each step exactly have the moments of the density, to the errors of both."""
    kernel = cs.MLP(width=1, activation="sin", weight_std=0.4, bias_std=0.3).kernel(3)
    field = cs.GaussianField(kernel=kernel, method=method, tolerance=1e-6, width=64)
    of = model(attention=None, field=field, temperature=0.0, horizon=0.1, n_steps=2)
    limit = cs.MeanField(model=of, law=SKEW, n_nodes=800)
    x = limit.start()[None]
    for step in range(2):
        increment = of.plan(Shape(n_tokens=10**4, dim=3)).increment(step, Noise(3))

        def slope(y, increment=increment):
            y = y / np.linalg.norm(y, axis=-1, keepdims=True)
            g = increment(y)
            return (g - (g * y).sum(axis=-1, keepdims=True) * y) / 8

        for _ in range(8):
            a = slope(x)
            b = slope(x + a / 2)
            c = slope(x + b / 2)
            x = x + (a + 2 * b + 2 * c + slope(x + c)) / 6
            x /= np.linalg.norm(x, axis=-1, keepdims=True)
    assert np.abs(x[0] - limit.start()).max() > 0.1
    sol = solve(of, n_modes=32, rng=3)
    np.testing.assert_allclose(sol.modes[0, :4, :4], modes_of(x[0], 3, limit.weights), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_order_against_nodes_under_the_same_noise():
    """Heun's scheme of the nodes and this one differ by order 1 in the step."""
    fine = model(
        attention=cs.SoftmaxAttention(beta=1.0),
        field=cs.GaussianField(kernel=KERNEL.scaled(0.5)),
        horizon=0.0625,
        n_steps=64,
        temperature=0.0,
        scheme="heun",
    )
    gaps = []
    for factor in (16, 1):
        of = fine.coarsen(factor)
        limit = cs.MeanField(model=of, law=SKEW, n_nodes=800)
        nodes = cs.simulate(limit, np.tile(limit.start(), (6, 1, 1)), rng=0).final
        means = cs.measures.mean_vector(nodes, weights=limit.weights)
        gaps.append(np.sqrt(((solve(of, n_modes=48, n_replicas=6).mean_vector[0] - means) ** 2).mean()))
    assert gaps[-1] < 1e-4
    assert 0.7 < math.log(gaps[0] / gaps[-1]) / math.log(16) < 1.3


@pytest.mark.parametrize(
    "attention", [cs.SoftmaxAttention(beta=3.0), cs.UnnormalizedAttention(beta=2.0, rescaled=True)]
)
@pytest.mark.parametrize(("degree", "order"), [(1, 1), (2, 1), (3, 2)])
def test_small_harmonics_grow_at_their_rate(attention, degree, order):
    def near(x):
        y = scipy.special.sph_harm_y(degree, order, np.arccos(np.clip(x[:, 2], -1, 1)), np.arctan2(x[:, 1], x[:, 0]))
        return 1 + 1e-6 * y.real

    law = cs.laws.Density(function=near, dim=3, bound=1.1)
    sol = solve(model(attention=attention, temperature=0.05, horizon=0.2, n_steps=2), law=law, save_at=[0.0, 0.2])
    rate = math.log((sol.modes[1, degree, order] / sol.modes[0, degree, order]).real) / 0.2
    assert rate == pytest.approx(cs.theory.growth_rate(attention, degree, 3, temperature=0.05), rel=1e-6)


@pytest.mark.slow
def test_it_settles_in_the_stationary_state():
    """From a law without symmetry: the direction is the law's, the state about it that of the branch."""
    (state,) = cs.phases.branch(SOFTMAX, 3).states_at(0.2)
    end = solve(model(temperature=0.2, horizon=-18 / state.growth_rate, n_steps=40))
    axis = end.mean_vector[0] / np.linalg.norm(end.mean_vector[0])
    x = cs.sample_uniform(50, 3, rng=0)
    np.testing.assert_allclose(np.linalg.norm(end.mean_vector[0]), state.order_parameter, rtol=0, atol=1e-6)
    np.testing.assert_allclose(end.density(x)[0], state.density(x @ axis), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_tokens_with_noise_of_their_own_beside_the_common_one():
    """64 replicas, each with the common noise of its density: the mean square error of the mean token falls like 1/N.

    Null: the ratio is 16 for N and 16 N. A square of three components, none with more than 0.65 of the variance, has a
    standard deviation of its mean at most, so that the logarithm of the ratio has one of 0.2 at most; log 3 is 5.5 of
    them, a false alarm in 4e-8 of all seeds.
    The scheme's step, of order 1 under one noise, adds to the error at N = 1600 less than a tenth of its square.
    """
    of = model(field=cs.GaussianField(kernel=KERNEL.scaled(0.4)), n_steps=32, horizon=0.25)
    density = solve(of, n_modes=32, n_replicas=64).mean_vector[0]
    squares = []
    for n_tokens in (100, 1600):
        x = SKEW.sample(n_tokens, rng=1, n_replicas=64)
        means = cs.simulate(of, x, rng=0, save_states=False).final.mean(axis=1)
        shares = ((means - density) ** 2).mean(axis=0)
        assert shares.max() < 0.65 * shares.sum()
        squares.append(shares.sum())
    assert 16 / 3 < squares[0] / squares[1] < 16 * 3
    assert squares[0] < 3 / 100
    # Under the noise of another replica it is far off.
    assert ((means - np.roll(density, 1, axis=0)) ** 2).sum(axis=1).mean() > 10 * squares[1]


def test_mass_positivity_and_errors():
    of = model(field=FIELD, horizon=0.2, n_steps=4)
    sol = solve(of, n_modes=20, save_at=[0.0, 0.1, 0.2])
    assert (sol.modes[:, 0, 0] == 1).all()
    grid = SphereGrid(20, n_exact=60)
    values = sol.density(grid.points)
    np.testing.assert_allclose(values @ grid.weights, 1, rtol=0, atol=1e-14)
    assert (values > 0).all()
    finer = solve(of, n_modes=28, save_at=[0.0, 0.1, 0.2])
    actual = np.abs(finer.modes[:, :21, :21] - sol.modes).max(axis=(1, 2))
    assert (actual < sol.errors + 1e-14).all()
    assert (sol.errors < 1e-4).all()
    assert repr(sol).startswith("SphereSolution(times=3 from 0.0 to 0.2, n_modes=20, largest error=")
    mean = grid.weights @ (values[2, :, None] * grid.points)
    np.testing.assert_allclose(sol.mean_vector[2], mean, rtol=0, atol=1e-13)


def test_replicas_parts_and_threads_change_nothing():
    of = model(field=FIELD, horizon=0.1, n_steps=4)

    def run(**options):
        return solve(of, n_modes=20, **options)

    both = run(n_replicas=2, save_at=[0.05, 0.1])
    assert both.modes.shape == (2, 2, 21, 21)
    assert both.errors.shape == (2, 2)
    assert both.mean_vector.shape == (2, 2, 3)
    assert both.density(np.eye(3)).shape == (2, 2, 3)
    assert np.abs(both.modes[1, 0] - both.modes[1, 1]).max() > 1e-2
    one = run(n_threads=1)
    np.testing.assert_allclose(one.modes[0], both.modes[1, 0], rtol=0, atol=1e-13)
    assert np.array_equal(one.modes, run(n_threads=2).modes)
    part = run(n_replicas=2, save_at=[0.0, 0.05])
    rest = run(n_replicas=2, start=part, save_at=[0.05, 0.075, 0.1])
    assert np.array_equal(rest.modes[[0, 2]], both.modes)
    assert np.array_equal(rest.coarse_modes[[0, 2]], both.coarse_modes)
    assert np.array_equal(run(start=run(save_at=[0.025])).modes, one.modes)


def test_order_of_the_method(monkeypatch):
    """Fixed numbers of substeps, by a bound that allows any step."""
    monkeypatch.setattr(sphere_density, "_COURANT", 1e9)
    ends = [solve(model(horizon=1.0, n_steps=n)).modes[0] for n in (4, 8, 64)]
    errors = [np.abs(end - ends[-1]).max() for end in ends[:-1]]
    assert math.log2(errors[0] / errors[1]) > 3.5


def test_an_unresolved_density_is_refused_and_enough_modes_are_named():
    of = model(temperature=0.0, horizon=4.0, n_steps=20)
    with pytest.raises(cs.UnresolvedDensityError, match=r"n_modes = 16 does not resolve.*use n_modes = \d+") as info:
        solve(of)
    assert 0 < info.value.step <= 20
    with pytest.raises(cs.UnresolvedDensityError, match=r"after step 0 \(time 0\): modes above 12") as info:
        solve(of, law=cluster(20.0))
    solve(model(n_steps=1, horizon=1e-4), law=cluster(20.0), n_modes=info.value.n_modes)


def test_a_lost_coarse_run_is_refused(monkeypatch):
    advance = sphere_density._Level.advance

    def lost(level, c, shake, *, n_substeps):
        return advance(level, c, shake, n_substeps=n_substeps) * (1 if level.grid.n_modes == 16 else np.nan)

    monkeypatch.setattr(sphere_density._Level, "advance", lost)
    with pytest.raises(
        cs.UnresolvedDensityError, match=r"after step 1 .*: with three quarters of the modes it is lost"
    ):
        solve(model(n_steps=1))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_diffusion_does_not_hide_an_unresolved_flow(temperature):
    kernel = cs.MLP(width=1, activation="cos", bias_std=0.3).kernel(3).scaled(3.0)
    field = cs.GaussianField(kernel=kernel, tolerance=1e-2)
    of = model(attention=None, field=field, horizon=0.2, n_steps=4, temperature=temperature)
    with pytest.raises(cs.UnresolvedDensityError, match=r"after step 1 \(time 0.05\): modes above 18 reach"):
        solve(of, n_modes=24)


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        ([1.0, 1.2 * math.sqrt(3)], "a degree reaches 1.2"),
        ([1.0, 0.9 * math.sqrt(3)], "it falls to -1.7"),
    ],
)
def test_modes_that_belong_to_no_probability_are_refused(coefficients, message):
    of = cs.SphereDensity(model=model(), law=SKEW, n_modes=8)
    c = np.zeros(sphere_grid.n_packed(8), dtype=complex)
    c[:2] = coefficients
    with pytest.raises(cs.UnresolvedDensityError, match=message):
        of._check(SphereGrid(8, n_exact=24), c, 3)


def test_attention_lost_to_rounding_is_refused():
    with pytest.raises(ValueError, match=r"beta = 60 is too large for this density"):
        solve(model(attention=cs.SoftmaxAttention(beta=60.0)), law=cluster(60.0), n_modes=64)


def test_a_density_that_breaks_down_within_a_step_is_unresolved():
    of = model(attention=cs.SoftmaxAttention(beta=8.0), temperature=0.0, horizon=8.0, n_steps=1)
    with pytest.raises(cs.UnresolvedDensityError, match=r"loses its sign; use n_modes = 16 or more"):
        solve(of, n_modes=8, law=cluster(0.9))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": 1.0}, TypeError, r"model must be a LimitSDE, got 1.0"),
        ({"law": cs.laws.Uniform(dim=2)}, ValueError, r"law must have dim 3, the sphere S²; got 2"),
        ({"n_modes": 3}, ValueError, r"n_modes must be an integer >= 4, got 3"),
        ({"n_modes": 5000}, ValueError, r"n_modes must be an integer <= 1024"),
        ({"model": model(attention=cs.SoftmaxAttention(query=np.eye(3), key=np.eye(3)))}, ValueError, r"general"),
        ({"model": model(attention=cs.CustomInteraction(lambda x, p: x))}, ValueError, r"method sphere_drift"),
        ({"model": model(attention=cs.UnnormalizedAttention(beta=30.0))}, ValueError, r"at most 16777216 substeps"),
        (
            {"model": model(field=cs.GaussianField(kernel=cs.MLP(width=1).kernel(2)))},
            ValueError,
            r"kernel has dim 3, the sphere S²; got 2",
        ),
        (
            {"model": model(field=cs.GaussianField(kernel=KERNEL, method="dense")), "n_modes": 4},
            ValueError,
            r"a function of position, got method 'dense'",
        ),
        (
            {"model": model(field=cs.RandomAttention(beta=1.0), temperature=0.0)},
            ValueError,
            r"a GaussianField or no field",
        ),
    ],
)
def test_bad_specs(changes, error, message):
    with pytest.raises(error, match=message):
        cs.SphereDensity(**({"model": model(), "law": SKEW, "n_modes": 8} | changes))


def test_bad_options():
    still = model(attention=None, n_steps=10)
    early, late = (solve(still, save_at=[t]) for t in (0.1, 0.5))
    for options, error, message in [
        ({"save_at": [0.7]}, ValueError, r"save_at must increase within \[0, 0.5\]"),
        ({"n_replicas": 0}, ValueError, r"n_replicas must be an integer >= 1"),
        ({"n_threads": 0}, ValueError, r"n_threads must be an integer >= 1"),
        ({"rng": None}, TypeError, r"rng must be an int"),
        ({"start": 3}, TypeError, r"start must be a SphereSolution, got 3"),
        ({"start": early, "n_modes": 8}, ValueError, r"start must have modes of shape \(9, 9\) at each time"),
        ({"start": early, "n_replicas": 1}, ValueError, r"start must have modes of shape \(1, 17, 17\) at each time"),
        ({"start": late, "save_at": [0.1]}, ValueError, r"save_at must not be before the end of start, 0.5"),
    ]:
        with pytest.raises(error, match=message):
            solve(still, **options)
    with pytest.raises(ValueError, match=r"start must end at a step of the model, a multiple of 0.125, got 0.1"):
        solve(model(attention=None, n_steps=4), start=early)
    with pytest.raises(ValueError, match=r"start must end within \[0, 0.25\], got 0.5"):
        solve(model(attention=None, horizon=0.25), start=late)
    with pytest.raises(ValueError, match=r"x must have shape \(n, 3\), got \(2, 2\)"):
        early.density(np.eye(2))
    with pytest.raises(ValueError, match=r"x must lie on the unit sphere"):
        early.density(2 * np.eye(3))
    nothing = cs.laws.Density(function=lambda x: 0 * x[:, 0], dim=3, bound=1.0)
    with pytest.raises(ValueError, match=r"law must have a positive density"):
        solve(still, law=nothing)


def test_it_says_what_to_install(monkeypatch):
    sol = solve(model(attention=None))
    monkeypatch.setitem(sys.modules, "ducc0", None)
    for call in (lambda: solve(model()), lambda: sol.density(np.eye(3))):
        with pytest.raises(ImportError, match=r"ducc0 is needed here .*: pip install ducc0, or .*'\.\[sphere\]'"):
            call()
