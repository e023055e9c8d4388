"""Axisymmetric densities over time against closed forms, the solver on the circle, nodes and stationary states."""

import math

import numpy as np
import pytest
from scipy import special

import chaosphere as cs
from chaosphere.geometry.axisymmetric import AxisymmetricRule
from chaosphere.models import axisymmetric


def cluster(dim, concentration=1.0):
    return cs.laws.VonMisesFisher(mean_direction=(1.0, *[0.0] * (dim - 1)), concentration=concentration)


def model(**changes):
    options = {"attention": cs.SoftmaxAttention(beta=2.0), "field": None, "horizon": 0.5, "n_steps": 10}
    return cs.LimitSDE(**(options | changes))


def solve(of, law, *, n_modes=48, save_at=None, **options):
    return cs.AxisymmetricDensity(model=of, law=law, n_modes=n_modes, **options).solve(save_at=save_at)


def zonal(function, dim, bound=3.0):
    return cs.laws.Density(function=lambda x: function(x[:, 0]), dim=dim, bound=bound)


@pytest.mark.parametrize("dim", [2, 3, 5, 30, 64])
def test_noise_alone_is_the_heat_equation(dim):
    sol = solve(model(attention=None, temperature=0.3, horizon=2.0, n_steps=3), cluster(dim), save_at=[0.0, 2.0])
    degree = np.arange(49)
    decay = np.exp(-0.3 * 2.0 * degree * (degree + dim - 2))
    np.testing.assert_allclose(sol.modes[1], sol.modes[0] * decay, rtol=0, atol=1e-15)
    order = dim / 2 - 1 + degree
    expected = special.iv(order, 1.0) / special.iv(order[0], 1.0)
    if dim < 64:  # where SciPy's Bessel functions underflow
        np.testing.assert_allclose(sol.modes[0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_drift_to_the_mean_on_the_circle_keeps_poisson_kernels(temperature):
    """At β = 0 and τ = 0: m_k = a^k with a′ = a (1 − a²)/2; with noise the kernels are no longer kept."""
    a = 0.4
    law = zonal(lambda u: (1 - a * a) / (1 - 2 * a * u + a * a), 2)
    of = model(attention=cs.SoftmaxAttention(beta=0.0), horizon=1.0, n_steps=20, temperature=temperature)
    sol = solve(of, law, n_modes=96)
    exact = np.sqrt(a**2 * np.e / (1 - a**2 + a**2 * np.e)) ** np.arange(97)
    error = np.abs(sol.modes[0] - exact).max()
    assert (error < 1e-9) == (temperature == 0.0)
    assert sol.errors[0] < 1e-7


@pytest.mark.parametrize(
    "attention",
    [
        cs.SoftmaxAttention(beta=4.0, value_scale=-2.0),
        cs.UnnormalizedAttention(beta=1.0),
        cs.SinkhornAttention(beta=2.0),
        cs.PotentialInteraction([0.0, 0.2, 0.5]),
        cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(beta=1.0), cs.UnnormalizedAttention(beta=0.5)]),
    ],
)
def test_the_solver_on_the_circle_without_noise(attention):
    of = model(attention=attention, n_steps=20)
    circle = cs.CircleDensity(model=of, law=cluster(2), n_modes=64).solve(rng=0)
    np.testing.assert_allclose(solve(of, cluster(2), n_modes=64).modes, circle.modes.real, rtol=0, atol=1e-12)


def test_the_solver_on_the_circle_with_noise():
    """It splits drift and noise, of order 2 in its step: extrapolated, the error falls by 16."""
    exact = solve(model(temperature=0.2, horizon=1.0, n_steps=40), cluster(2)).modes[0]
    errors = []
    for n_steps in (4, 8):
        coarse, fine = (
            cs.CircleDensity(
                model=model(temperature=0.2, horizon=1.0, n_steps=k * n_steps), law=cluster(2), n_modes=48
            ).solve(rng=0)
            for k in (1, 2)
        )
        errors.append(np.abs((4 * fine.modes[0].real - coarse.modes[0].real) / 3 - exact).max())
    assert errors[1] < 1e-8
    assert 12 < errors[0] / errors[1] < 20


@pytest.mark.parametrize(
    "attention", [cs.SoftmaxAttention(beta=2.0), cs.UnnormalizedAttention(beta=1.0), cs.SinkhornAttention(beta=2.0)]
)
def test_nodes_on_the_sphere(attention):
    """Under a law about the third axis; nodes are exact for polynomials up to degree 39 at the start."""
    law = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=1.0)
    of = model(attention=attention, n_steps=20, scheme="rk4")
    sol = solve(of, law, axis=(0.0, 0.0, 1.0))
    limit = cs.MeanField(model=of, law=law, n_nodes=800)
    u = cs.simulate(limit, limit.start(), rng=0).final[:, 2]
    moments = [limit.weights @ u, limit.weights @ (1.5 * u * u - 0.5)]
    np.testing.assert_allclose(sol.modes[0, 1:3], moments, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("dim", "temperature"), [pytest.param(2, 0.3, marks=pytest.mark.slow), (3, 0.2), (5, 0.15)])
def test_it_settles_in_the_stationary_state(dim, temperature):
    attention = cs.SoftmaxAttention(beta=2.0)
    (state,) = cs.phases.branch(attention, dim).states_at(temperature)
    of = model(attention=attention, temperature=temperature, horizon=-28 / state.growth_rate, n_steps=100)
    end = solve(of, cluster(dim), n_modes=32).modes[0]
    np.testing.assert_allclose(end, state.modes[:33], rtol=0, atol=1e-11)


@pytest.mark.parametrize("attention", [cs.SoftmaxAttention(beta=3.0), cs.UnnormalizedAttention(beta=2.0)])
@pytest.mark.parametrize(("dim", "degree"), [(2, 1), (3, 2), (6, 3)])
def test_small_harmonics_grow_at_their_rate(attention, dim, degree):
    tau = 0.05
    rule = AxisymmetricRule(dim=dim, n_modes=degree, n_nodes=8)
    coefficients = np.polynomial.polynomial.polyfit(rule.cosines, rule.basis[:, degree] / rule.norms[degree], degree)
    law = zonal(lambda u: 1 + 1e-6 * np.polynomial.polynomial.polyval(u, coefficients), dim, bound=1.1)
    sol = solve(model(attention=attention, temperature=tau), law, n_modes=24, save_at=[0.0, 0.5])
    rate = math.log(sol.modes[1, degree] / sol.modes[0, degree]) / 0.5
    assert rate == pytest.approx(cs.theory.growth_rate(attention, degree, dim, temperature=tau), rel=1e-6)


@pytest.mark.parametrize(
    ("attention", "dim", "share", "which"),
    [
        (cs.SoftmaxAttention(beta=2.0), 3, 0.8, 0),
        pytest.param(cs.UnnormalizedAttention(beta=2.0), 5, 1.04, 0, marks=pytest.mark.slow),
        (cs.UnnormalizedAttention(beta=2.0), 5, 1.04, 1),
        pytest.param(cs.SinkhornAttention(beta=2.0), 2, 0.6, 0, marks=pytest.mark.slow),
    ],
)
def test_changes_of_stationary_states_grow_at_their_rate(attention, dim, share, which):
    branch = cs.phases.branch(attention, dim)
    tau = share * branch.critical_temperature
    state = branch.states_at(tau)[which]

    def near(u):
        return state.density(u) * (1 + 1e-6 * u)

    times = np.array([5.0, 6.0]) / abs(state.growth_rate)  # when faster changes have decayed
    of = model(attention=attention, temperature=tau, horizon=times[1], n_steps=6)
    sol = solve(of, zonal(near, dim, bound=1e3), n_modes=40, save_at=[times[1] * 5 / 6, times[1]])
    change = sol.modes[:, 1] - state.modes[1]
    rate = math.log(change[1] / change[0]) * abs(state.growth_rate)
    # To first order in the change, and as well as the others have decayed.
    assert rate == pytest.approx(state.growth_rate, rel=1e-3)


def test_tokens_with_noise_of_their_own():
    """On S⁴, 24 replicas of 500 tokens from a law with two clusters: modes 1 and 2.

    Null: the mean over replicas is the mode, up to one standard error for the bias of finitely many tokens and steps
    (in 96 replicas it was 0.004 at most). Eight standard errors are then a false alarm in 4e-7 of all seeds, by
    Student's law with 23 degrees of freedom.
    """
    dim = 5
    law = cs.laws.Mixture(
        components=(cluster(dim, 6.0), cs.laws.VonMisesFisher(mean_direction=(-1.0, *[0.0] * 4), concentration=4.0)),
        proportions=(0.75, 0.25),
    )
    of = model(attention=cs.SoftmaxAttention(beta=2.0), temperature=0.05, horizon=1.0, n_steps=100)
    modes = solve(of, law, n_modes=40).modes[0]
    x = law.sample(500, rng=0, n_replicas=24)
    u = cs.simulate(of, x, rng=1, save_states=False).final[..., 0]
    for degree, values in ((1, u), (2, (dim * u**2 - 1) / (dim - 1))):
        means = values.mean(axis=1)
        error = means.std(ddof=1) / math.sqrt(len(means))
        assert abs(means.mean() - modes[degree]) < 8 * error
        assert 8 * error < 0.2 * abs(modes[degree])


def test_mass_positivity_and_errors():
    of = model(attention=cs.SoftmaxAttention(beta=4.0), temperature=0.05, horizon=2.0, n_steps=20)
    sol = solve(of, cluster(3, 2.0), n_modes=64, save_at=[0.0, 1.0, 2.0])
    assert (sol.modes[:, 0] == 1).all()
    assert (sol.density(np.linspace(-1, 1, 201)) > 0).all()
    finer = solve(of, cluster(3, 2.0), n_modes=96, save_at=[0.0, 1.0, 2.0])
    actual = np.abs(finer.modes[:, :65] - sol.modes).max(axis=1)
    assert (actual < sol.errors + 1e-14).all()
    assert (sol.errors < 1e-6).all()
    assert repr(sol).startswith("AxisymmetricSolution(dim=3, times=3 from 0.0 to 2.0, n_modes=64, largest error=")


def test_order_of_the_method(monkeypatch):
    """Fixed numbers of substeps, by a bound that allows any step."""
    monkeypatch.setattr(axisymmetric, "COURANT", 1e9)
    attention = cs.SoftmaxAttention(beta=2.0)
    ends = [
        solve(model(attention=attention, temperature=0.1, horizon=1.0, n_steps=n), cluster(3, 2.0), n_modes=24).modes[0]
        for n in (4, 8, 16, 256)
    ]
    errors = [np.abs(end - ends[-1]).max() for end in ends[:-1]]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 3.5).all()


def test_an_unresolved_density_is_refused_and_enough_modes_are_named():
    of = model(attention=cs.SoftmaxAttention(beta=2.0), horizon=4.0, n_steps=40)
    with pytest.raises(cs.UnresolvedDensityError, match=r"n_modes = 32 does not resolve.*use n_modes = \d+") as info:
        solve(of, cluster(3), n_modes=32)
    assert 0 < info.value.step <= 40
    with pytest.raises(cs.UnresolvedDensityError, match=r"after step 0 \(time 0\): modes above 24") as info:
        solve(of, cluster(3, 500.0), n_modes=32)
    solve(model(n_steps=1, horizon=1e-4), cluster(3, 500.0), n_modes=2 * info.value.n_modes)


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [([1.0, 1.2 * math.sqrt(3)], "a mode reaches 1.2"), ([1.0, 0.9 * math.sqrt(3)], "a node has the mass -")],
)
def test_modes_that_belong_to_no_probability_are_refused(coefficients, message):
    of = cs.AxisymmetricDensity(model=model(), law=cluster(3), n_modes=8)
    c = np.zeros(9)
    c[:2] = coefficients
    with pytest.raises(cs.UnresolvedDensityError, match=message):
        of._check(of._rule(8), c, 3)


def test_an_even_law_about_any_axis():
    """W = u²/2 about an axis that no coordinate has: degree 1 stays absent."""
    axis = np.array([1.0, 2.0, 2.0]) / 3
    law = cs.laws.Density(function=lambda x: 1 + 0.3 * (x @ axis) ** 2, dim=3, bound=1.3)
    of = model(attention=cs.PotentialInteraction([0.0, 0.0, 0.5]), temperature=0.02, horizon=5.0)
    sol = solve(of, law, axis=tuple(axis), save_at=[0.0, 5.0])
    assert np.abs(sol.modes[:, 1::2]).max() < 1e-13
    assert sol.modes[1, 2] > sol.modes[0, 2] > 0.01


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": 1.0}, TypeError, r"model must be a LimitSDE, got 1.0"),
        (
            {"model": model(field=cs.GaussianField(kernel=cs.MLP(width=1).kernel(3)))},
            ValueError,
            r"model must have no field",
        ),
        ({"law": cs.laws.VonMisesFisher(mean_direction=(0.0, 1.0, 0.0), concentration=1.0)}, ValueError, r"pass axis"),
        ({"law": cs.laws.Uniform(dim=65)}, ValueError, r"law must have dim <= 64, got 65"),
        ({"law": cs.laws.Density(function=lambda x: 0 * x[:, 0], dim=3, bound=1.0)}, ValueError, r"positive density"),
        ({"n_modes": 3}, ValueError, r"n_modes must be an integer >= 4, got 3"),
        ({"n_modes": 5000}, ValueError, r"n_modes must be an integer <= 1024"),
        ({"axis": (1.0, 0.0)}, ValueError, r"axis must have shape \(3,\), as the law has dim 3, got \(2,\)"),
        ({"axis": (2.0, 0.0, 0.0)}, ValueError, r"axis must lie on the unit sphere"),
        (
            {"model": model(attention=cs.CustomInteraction(lambda x, p: x))},
            ValueError,
            r"method axisymmetric_drift",
        ),
        ({"model": model(attention=cs.SoftmaxAttention(mask="causal"))}, ValueError, r"mask"),
        (
            {"model": model(attention=cs.UnnormalizedAttention(beta=30.0))},
            ValueError,
            r"at most 16777216 substeps",
        ),
    ],
)
def test_bad_specs(changes, error, message):
    with pytest.raises(error, match=message):
        cs.AxisymmetricDensity(**({"model": model(), "law": cluster(3), "n_modes": 16} | changes))


def test_bad_arguments():
    of = cs.AxisymmetricDensity(model=model(), law=cluster(3), n_modes=32)
    with pytest.raises(ValueError, match=r"save_at must increase within \[0, 0.5\]"):
        of.solve(save_at=[0.7])
    with pytest.raises(ValueError, match=r"cosines = -2.0 must be in \[-1, 1\]"):
        of.solve().density([-2.0])
    with pytest.raises(ValueError, match=r"cosines must be a list of numbers, got shape \(1, 1\)"):
        of.solve().density([[0.0]])


@pytest.mark.parametrize(("dim", "n_modes"), [(16, 512), (32, 128), (64, 64), (64, 96)])
@pytest.mark.parametrize("concentration", [0.1, 1.0, 20.0])
def test_rounding_of_modes_does_not_hide_densities(dim, n_modes, concentration):
    """Rounding of a mode is multiplied by dim(l, d) at the axis: what it leaves in high degrees is left out."""
    law = cs.laws.VonMisesFisher(mean_direction=tuple(np.eye(dim)[0]), concentration=concentration)
    still = cs.LimitSDE(attention=None, field=None, horizon=1e-3, n_steps=1, temperature=1e-9)
    u, nu = np.array([-1.0, -0.5, 0.0, 0.9, 1.0]), dim / 2 - 1
    sol = cs.AxisymmetricDensity(model=still, law=law, n_modes=n_modes).solve()
    log_mean = special.gammaln(dim / 2) + nu * np.log(2 / concentration) + np.log(special.ive(nu, concentration))
    exact = np.exp(concentration * (u - 1) - log_mean)
    np.testing.assert_allclose(sol.density(u)[-1], exact, rtol=0, atol=3e-6 * exact.max())
    uniform = cs.AxisymmetricDensity(model=still, law=cs.laws.Uniform(dim=dim), n_modes=n_modes).solve()
    np.testing.assert_allclose(uniform.density(u)[-1], 1, rtol=0, atol=1e-12)
