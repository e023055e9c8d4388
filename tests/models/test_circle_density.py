"""The Fourier solver on the circle against closed forms and against nodes moved under the same noise."""

import numpy as np
import pytest
from scipy import special

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise
from chaosphere.models import densities
from chaosphere.models.densities import moments
from chaosphere.stats import exponent_interval

SMOOTH = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
FIELD = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(2))
POISSON = 0.4  # modes m_k = 0.4^k
POISSON_LAW = cs.laws.Density(
    function=lambda x: (1 - POISSON**2) / (1 - 2 * POISSON * x[:, 0] + POISSON**2), dim=2, bound=3.0
)


def model(**changes):
    options = {"attention": cs.SoftmaxAttention(beta=1.0), "field": FIELD, "horizon": 0.25, "n_steps": 16}
    return cs.LimitSDE(**(options | {"scheme": "heun"} | changes))


def solve(of, *, law=SMOOTH, n_modes=128, rng=0, **options):
    return cs.CircleDensity(model=of, law=law, n_modes=n_modes).solve(rng=rng, **options)


def nodes(of, *, law=SMOOTH, n_nodes=256, n_replicas=1, rng=0):
    """Moments of the nodes at the end, shape (R, 5)."""
    limit = cs.MeanField(model=of, law=law, n_nodes=n_nodes)
    start = np.tile(limit.start(), (n_replicas, 1, 1))
    return moments(cs.simulate(limit, start, rng=rng).final, 4, weights=limit.weights)


def test_mass_is_conserved_to_the_bit():
    sol = solve(model(attention=cs.SoftmaxAttention(beta=3.0, value_scale=-1.0)), save_at=[0.0, 0.1, 0.25])
    assert (sol.modes[:, 0] == 1).all()
    values = sol.density(2 * np.pi * np.arange(512) / 512)
    np.testing.assert_allclose(values.mean(axis=1), 1, rtol=0, atol=1e-14)
    assert (values > 0).all()


def test_the_initial_law_is_its_bessel_series():
    modes = solve(model(), law=cs.laws.VonMisesFisher(mean_direction=(0.0, 1.0), concentration=3.0), save_at=[0.0])
    degree = np.arange(129)
    np.testing.assert_allclose(
        modes.modes[0], (-1j) ** degree * special.iv(degree, 3.0) / special.iv(0, 3.0), rtol=0, atol=1e-14
    )


def test_attention_at_beta_0_keeps_poisson_kernels():
    """Then m_k = a^k with a′ = δ a (1 − a²)/2: the density moves by Möbius maps."""
    exact = np.sqrt(POISSON**2 * np.e / (1 - POISSON**2 + POISSON**2 * np.e))
    attention = cs.SoftmaxAttention(beta=0.0)
    errors = []
    for n_modes in (64, 128):
        sol = solve(
            model(attention=attention, field=None, horizon=1.0, n_steps=4), law=POISSON_LAW, n_modes=n_modes, rng=0
        )
        errors.append(np.abs(sol.modes[0] - exact ** np.arange(n_modes + 1)).max())
    assert errors[0] < 3e-9
    assert errors[1] < 2e-10


def test_constant_noise_moves_poisson_kernels_by_moebius_maps():
    """With κ constant ΔW is one vector w for all tokens: m_k = ā^k, a ↦ (a + t)/(1 + t̄ a), t = tanh(|w|/2) w/|w|."""
    field = cs.GaussianField(kernel=cs.CovarianceKernel.from_spectrum([0.5], dim=2))
    of = model(attention=None, field=field, horizon=1.0, n_steps=50)
    a = complex(POISSON)
    for step in range(50):
        w = of.plan(Shape(n_tokens=1, dim=2)).increment(step, Noise(0))(np.array([[[1.0, 0.0]]]))[0, 0] @ (1, 1j)
        t = np.tanh(abs(w) / 2) * w / abs(w)
        a = (a + t) / (1 + np.conj(t) * a)
    sol = solve(of, law=POISSON_LAW, n_modes=256)
    np.testing.assert_allclose(sol.modes[0], np.conj(a) ** np.arange(257), rtol=0, atol=1e-8)


def test_temperature_alone_is_the_heat_equation():
    sol = solve(model(attention=None, field=None, temperature=0.7, horizon=2.0, n_steps=7), law=POISSON_LAW)
    degree = np.arange(129)
    exact = POISSON**degree * np.exp(-0.7 * 2.0 * degree**2)
    np.testing.assert_allclose(sol.modes[0], exact, rtol=0, atol=1e-14)


@pytest.mark.slow
def test_attention_at_beta_0_and_temperature_settle_in_the_known_state():
    """Stationary: von Mises of concentration c = r/τ with r = I_1(c)/I_0(c); the splitting has order 2."""
    tau = 0.3
    c = 2.0
    for _ in range(200):
        c = special.iv(1, c) / special.iv(0, c) / tau
    errors = []
    for n_steps in (300, 600):
        of = model(attention=cs.SoftmaxAttention(beta=0.0), field=None, temperature=tau, horizon=60.0, n_steps=n_steps)
        modes = solve(of, n_modes=24).modes[0]
        errors.append(np.abs(modes[:6] - special.iv(np.arange(6), c) / special.iv(0, c)).max())
    assert errors[1] < 1e-3
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1


@pytest.mark.parametrize(("beta", "value_scale"), [(0.0, 1.0), (1.0, 1.0), (4.0, -2.0), (12.0, 1.0)])
def test_attention_alone_agrees_with_nodes(beta, value_scale):
    law = cs.laws.Mixture(
        components=(SMOOTH, cs.laws.VonMisesFisher(mean_direction=(0.0, 1.0), concentration=4.0)),
        proportions=(0.5, 0.5),
    )
    attention = cs.SoftmaxAttention(beta=beta, value_scale=value_scale)
    of = model(attention=attention, field=None, horizon=0.5, n_steps=50, scheme="rk4")
    np.testing.assert_allclose(solve(of, law=law).modes[0, :5], nodes(of, law=law)[0], rtol=0, atol=1e-9)


def test_attention_alone_agrees_with_nodes_in_heun_steps():
    of = model(field=None, n_steps=4000, horizon=0.5)
    np.testing.assert_allclose(
        solve(model(field=None, n_steps=50, horizon=0.5)).modes[0, :5], nodes(of, n_nodes=64)[0], rtol=0, atol=1e-8
    )


@pytest.mark.slow
def test_orders_against_nodes_under_the_same_noise():
    """Nested grids, 80 replicas: order 1 between the two at one step, ½ from the nodes' limit.

    The width of a 99 % interval (jackknife, Student's) is 5.3 standard errors; 1.1 of it are 5.8, a false alarm in
    2e-7 of all seeds.
    """
    fine = model(horizon=0.125, n_steps=512)
    factors = np.array([8, 16, 32, 64])
    limit = nodes(fine, n_nodes=96, n_replicas=80)
    gaps, errors = [], []
    for factor in factors:
        coarse = fine.coarsen(int(factor))
        density = solve(coarse, n_modes=128, n_replicas=80).modes[0, :, :5]
        gaps.append((np.abs(density - nodes(coarse, n_nodes=96, n_replicas=80)) ** 2).mean(axis=1))
        errors.append((np.abs(density - limit) ** 2).mean(axis=1))
    gap_order = exponent_interval(factors, np.stack(gaps, axis=1))
    # The limit has a step of its own, of one fine step: the mean squares differ by that much.
    order = exponent_interval(factors - 1, np.stack(errors, axis=1))
    for (slope, low, high), expected in ((gap_order, 1.0), (order, 0.5)):
        assert high - low < 0.32
        assert abs(slope - expected) < 1.1 * (high - low)


def test_spectral_convergence_in_modes(monkeypatch):
    monkeypatch.setattr(densities, "LARGEST_TAIL", 1.0)
    reference = solve(model(), n_modes=96).modes[0, :5]
    errors = np.array([np.abs(solve(model(), n_modes=n).modes[0, :5] - reference).max() for n in (12, 16, 24)])
    assert (errors[1:] < 0.05 * errors[:-1]).all()
    assert errors[-1] < 1e-9


def test_replicas_are_those_of_single_runs():
    both = solve(model(), n_replicas=2, save_at=[0.125, 0.25])
    assert both.modes.shape == (2, 2, 129)
    np.testing.assert_allclose(solve(model(), save_at=[0.125, 0.25]).modes, both.modes[:, 0], rtol=0, atol=1e-13)
    assert np.abs(both.modes[1, 0] - both.modes[1, 1]).max() > 1e-2
    assert both.density([0.0, 1.0, 2.0]).shape == (2, 2, 3)


def test_tokens_with_noise_of_their_own_beside_the_common_one():
    """64 replicas, each with the common noise of its density: the mean square of m_1^N − m_1 falls like 1/N.

    Null: the ratio is 16 for N and 16 N. A square has a standard deviation of about its mean, so that the logarithm of
    the ratio has one of 0.2 at most; log 3 is 5.5 of them, a false alarm in 4e-8 of all seeds. The scheme's step, of
    order 1 under one noise, adds to the error at N = 1600 less than a tenth of its square.
    """
    of = model(temperature=0.1, n_steps=64)
    density = solve(of, n_modes=64, n_replicas=64).modes[0, :, 1]
    squares = []
    for n_tokens in (100, 1600):
        x = SMOOTH.sample(n_tokens, rng=1, n_replicas=64)
        final = cs.simulate(of, x, rng=0, save_states=False).final
        squares.append((np.abs(moments(final, 1)[:, 1] - density) ** 2).mean())
    assert 16 / 3 < squares[0] / squares[1] < 16 * 3
    assert squares[0] < 3 / 100
    other = np.roll(density, 1)  # under the noise of another replica it is far off
    assert (np.abs(moments(final, 1)[:, 1] - other) ** 2).mean() > 10 * squares[1]


def test_threads_change_nothing():
    assert np.array_equal(solve(model(), n_threads=1).modes, solve(model(), n_threads=2).modes)


def test_an_unresolved_density_is_refused_and_enough_modes_are_named():
    with pytest.raises(cs.UnresolvedDensityError, match=r"n_modes = 16 does not resolve.*use n_modes = \d+") as info:
        solve(model(), n_modes=16)
    assert info.value.n_modes >= 32
    assert 0 < info.value.step <= 16
    solve(model(), n_modes=4 * info.value.n_modes)
    with pytest.raises(cs.UnresolvedDensityError, match=r"after step 0 \(time 0\)"):
        solve(model(), law=cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=500.0), n_modes=32)


@pytest.mark.parametrize("temperature", [0.0, 0.1, 1.0])
def test_diffusion_does_not_hide_an_unresolved_flow(temperature):
    """Four steps of strong noise: the flow makes modes of 2 within a step; densities were −5 after the diffusion."""
    kernel = cs.MLP(width=1, activation="cos", bias_std=0.3).kernel(2).scaled(10.0)
    field = cs.GaussianField(kernel=kernel, tolerance=1e-2)
    of = model(attention=None, field=field, horizon=1.0, n_steps=4, temperature=temperature)
    with pytest.raises(cs.UnresolvedDensityError, match=r"after step 1 \(time 0.25\): modes above 96 reach"):
        solve(of)


@pytest.mark.parametrize(
    ("modes", "message"),
    [
        ([1.0, 1.1, 0, 0, 0, 0, 0, 0, 0], "a mode reaches 1.1"),
        ([1.0, 0.9, 0, 0, 0, 0, 0, 0, 0], "it falls to -7.9e-01"),
    ],
)
def test_modes_that_belong_to_no_probability_are_refused(modes, message):
    """ρ = 1 + 1.8 cos θ is −0.79 on the 25 points of the grid, with no tail at all."""
    of = cs.CircleDensity(model=model(), law=SMOOTH, n_modes=8)
    with pytest.raises(cs.UnresolvedDensityError, match=message):
        of._check(np.array([modes], dtype=complex), 3)
    of._check(np.array([[1.0, 0.5, 0, 0, 0, 0, 0, 0, 0]], dtype=complex), 3)  # 1 + cos θ touches 0


def test_resolved_densities_are_positive_with_noise_attention_and_diffusion():
    sol = solve(model(temperature=0.1), save_at=np.linspace(0, 0.25, 9), n_replicas=4)
    assert (sol.density(np.linspace(0, 6.28, 300)) > 0).all()
    assert (np.abs(sol.modes) <= 1).all()


def test_attention_lost_to_rounding_is_refused():
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=200.0)
    with pytest.raises(ValueError, match=r"beta = 40 is too large for this density"):
        solve(model(attention=cs.SoftmaxAttention(beta=40.0)), law=law)


def test_a_density_that_breaks_down_within_a_step_is_unresolved():
    """One step so long that the modes blow up before the step ends; n_modes is to blame, not β."""
    of = model(attention=cs.SoftmaxAttention(beta=8.0), field=None, horizon=20.0, n_steps=1)
    with pytest.raises(cs.UnresolvedDensityError, match=r"loses its sign; use n_modes = 24 or more"):
        solve(of, n_modes=12)


def test_moments_of_tokens():
    angle = np.array([0.3, 2.0, -1.0])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    p = [0.5, 0.25, 0.25]
    expected = np.exp(-1j * np.outer(np.arange(4), angle)) @ p
    np.testing.assert_allclose(moments(x, 3, weights=p), expected, rtol=0, atol=1e-15)
    np.testing.assert_allclose(moments(np.stack([x, x]), 3, weights=p)[1], expected, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match=r"x must have dim 2, the circle; got shape \(5, 3\)"):
        moments(cs.sample_uniform(5, 3, rng=0), 2)


KERNEL_3 = cs.MLP(width=1).kernel(3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": 1.0}, TypeError, r"model must be a LimitSDE, got 1.0"),
        (
            {"model": model(attention=cs.SoftmaxAttention(query=np.eye(2), key=np.eye(2)))},
            ValueError,
            r"attention with QᵀK = βI and V = δI, got general matrices",
        ),
        ({"law": cs.laws.Uniform(dim=3)}, ValueError, r"law must have dim 2, the circle; got 3"),
        ({"model": model(field=cs.GaussianField(kernel=KERNEL_3))}, ValueError, r"kernel has dim 2, the circle; got 3"),
        (
            {"model": model(field=cs.GaussianField(kernel=FIELD.kernel, method="dense"))},
            ValueError,
            r"a function of position, got method 'dense'",
        ),
        ({"n_modes": 3}, ValueError, r"n_modes must be an integer >= 4, got 3"),
    ],
)
def test_bad_specs(changes, error, message):
    with pytest.raises(error, match=message):
        cs.CircleDensity(**({"model": model(), "law": SMOOTH, "n_modes": 16} | changes))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"save_at": [0.2, 0.1]}, ValueError, r"save_at must increase within \[0, 0.25\]"),
        ({"save_at": [0.3]}, ValueError, r"save_at must increase within"),
        ({"n_replicas": 0}, ValueError, r"n_replicas must be an integer >= 1"),
        ({"n_threads": 0}, ValueError, r"n_threads must be an integer >= 1"),
        ({"rng": None}, TypeError, r"rng must be an int"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        solve(model(), **options)


def test_a_law_that_vanishes_on_the_grid_is_refused():
    law = cs.laws.Density(function=lambda x: np.zeros(len(x)), dim=2, bound=1.0)
    with pytest.raises(ValueError, match=r"law must have a positive density"):
        solve(model(), law=law)
