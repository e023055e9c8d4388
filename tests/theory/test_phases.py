"""Stationary states against tables of another program, closed forms and independent iterations."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, special

import chaosphere as cs
from chaosphere.geometry.axisymmetric import AxisymmetricRule

# Computed without this library. (attention, d, β): the order parameters at shares of the critical temperature, the
# fold's and coexistence's temperatures over the critical one with the order parameters there.
RATIOS = (0.8, 0.9, 0.98, 1.02)
TABLE = {
    ("softmax", 2, 2): (0.6377035060325048, 0.49152806548118505, 0.24072564561188206, 0.0),
    ("softmax", 2, 4): (0.7259802948155117, 0.5920180796456292, 0.3213928302213691, 0.0),
    ("softmax", 3, 4): (0.608113396159785, 0.4594646724144912, 0.22263880178089052, 0.0),
    ("softmax", 5, 2): (0.48018507205217525, 0.34096807198079565, 0.1531393724276148, 0.0),
    ("softmax", 5, 8): (0.5928208543772799, 0.43468079578999796, 0.2015521797799333, 0.0),
    ("usa", 2, 2): (0.8033216087723032, 0.658724784841657, 0.3651673950281393, 0.0),
    ("usa", 2, 4): (0.9357050837543405, 0.8880119070092719, 0.8156594225086705, 0.7503843832688163),
    ("usa", 3, 4): (0.969401896738219, 0.9602756796590074, 0.9493517342988871, 0.9419238472594594),
    ("usa", 5, 2): (0.8901292532673121, 0.8490574407125348, 0.7904763284691879, 0.7366317424815857),
}
TURNS = {
    (2, 4): (1.058877177029668, 0.5471279511950038, 1.0469593720625028, 0.6688055209832103),
    (3, 4): (1.2632464036879, 0.7295539759803603, 1.210243333936295, 0.8585805598132206),
    (5, 2): (1.0566519317577792, 0.5672051947355586, 1.0436112026682882, 0.6775741446394928),
}
THRESHOLDS = {2: 2.4469183112890582, 3: 1.8161545254358846, 5: 1.4454854324658397, 8: 1.266553024520936}


def attention(kind, beta):
    return (cs.SoftmaxAttention if kind == "softmax" else cs.UnnormalizedAttention)(beta=float(beta))


@pytest.mark.parametrize("case", TABLE)
def test_order_parameters(case):
    kind, dim, beta = case
    branch = cs.phases.branch(attention(kind, beta), dim)
    for ratio, expected in zip(RATIOS, TABLE[case], strict=True):
        states = branch.states_at(ratio * branch.critical_temperature)
        assert [state.is_stable for state in states] == ([False] * (ratio > 1) + [True]) * (expected > 0)
        if expected > 0:
            assert states[-1].order_parameter == pytest.approx(expected, abs=1e-11)
            assert states[-1].temperature == pytest.approx(ratio * branch.critical_temperature, rel=1e-13)
    if case[1:] not in TURNS or kind == "softmax":
        assert branch.fold.temperature == pytest.approx(branch.critical_temperature, rel=1e-13)
        assert branch.fold.order_parameter < 1e-15
        assert branch.coexistence is None
        assert branch.is_stable[1:].all()


@pytest.mark.parametrize("case", TURNS)
def test_turns(case):
    dim, beta = case
    branch = cs.phases.branch(attention("usa", beta), dim)
    critical = branch.critical_temperature
    values = [
        value
        for state in (branch.fold, branch.coexistence)
        for value in (state.temperature / critical, state.order_parameter)
    ]
    # The table has the order parameter at the fold to 2e-8: there it moves by the root of the temperature's error.
    assert (np.abs(np.array(values) - TURNS[case]) < [1e-11, 1e-7, 1e-11, 1e-11]).all()
    assert abs(branch.fold.growth_rate) < 1e-7
    assert abs(branch.coexistence.free_energy) < 1e-13
    assert branch.coexistence.is_stable
    # One change of stability, at the fold, where the branch turns.
    top = int(branch.temperatures.argmax())
    stable = branch.is_stable
    assert not stable[:top].any()
    assert stable[top + 1 :].all()


@pytest.mark.parametrize("dim", THRESHOLDS)
def test_tricritical_beta(dim):
    beta = cs.phases.tricritical_beta(dim)
    assert beta == pytest.approx(THRESHOLDS[dim], rel=1e-13)
    below, above = (cs.phases.transition(cs.UnnormalizedAttention(beta=beta + h), dim) for h in (-1e-3, 1e-3))
    assert below.is_continuous
    assert not above.is_continuous
    # 1/C is 0 there: linear in between.
    assert 1 / below.coefficient + 1 / above.coefficient == pytest.approx(0, abs=1e-2 / below.coefficient)


@pytest.mark.parametrize("dim", [2, 3, 5, 11])
@pytest.mark.parametrize("beta", [0.05, 1.0, 4.0, 9.0])
def test_coefficients(dim, beta):
    """The third order of the equation about the uniform law, for both kinds of attention, with r_l = I_{l+ν}/I_ν."""
    r = [special.ive(dim / 2 - 1 + degree, beta) / special.ive(dim / 2 - 1, beta) for degree in range(3)]
    theta, q = 1 / r[1], r[2] / r[1]
    bracket = theta + dim - (dim - 1) * q * (theta - 1) / (1 - q)
    softmax = (dim + 2) / (dim * r[1] ** 2 * (theta - 1) * bracket)
    unnormalized = (dim + 2) / dim / (1 - (dim - 1) * q / (1 - q))
    for kind, expected in (("softmax", softmax), ("usa", unnormalized)):
        transition = cs.phases.transition(attention(kind, beta), dim)
        assert transition.coefficient == pytest.approx(expected, rel=1e-7)
        assert transition.temperature == cs.theory.critical_temperature(attention(kind, beta), dim)
        assert transition.degree == 1
        assert transition.is_continuous == (expected > 0)


@pytest.mark.parametrize("dim", [2, 3, 6, 40])
def test_drift_to_the_mean_has_von_mises_and_fisher_states(dim):
    """With W(u) = u, which is every attention at β = 0: τ = A(c)/c and m_l = I_{l+ν}(c)/I_ν(c), A = I_{ν+1}/I_ν."""
    interactions = (
        cs.PotentialInteraction([0.0, 1.0]),
        cs.SoftmaxAttention(beta=0.0),
        cs.UnnormalizedAttention(beta=0.0),
        cs.SinkhornAttention(beta=0.0),
    )
    c, order = 7.0, dim / 2 - 1 + np.arange(6)
    expected = special.iv(order, c) / special.iv(order[0], c)
    for interaction in interactions:
        branch = cs.phases.branch(interaction, dim, lowest=0.9 * expected[1] / c)
        (state,) = branch.states_at(expected[1] / c)
        np.testing.assert_allclose(state.modes[:6], expected, rtol=0, atol=1e-12)
        u = np.array([-1.0, 0.3, 1.0])
        density = np.exp(c * u) / special.hyp0f1(dim / 2, c * c / 4)
        np.testing.assert_allclose(state.density(u), density, rtol=1e-10)


def test_liquid_crystals():
    """W(u) = u²/2 on S² is the model of Maier and Saupe, whose transition to order is discontinuous.

    Stationary: ρ ∝ e^{s P_2} with m_2 = 3 τ s; at the fold τ is the largest, at coexistence the free energy is 0.
    """

    def p2(u):
        return 1.5 * u * u - 0.5

    def moments(s):
        mass = integrate.quad(lambda u: np.exp(s * p2(u)), 0, 1, epsabs=1e-13)[0]
        return mass, integrate.quad(lambda u: p2(u) * np.exp(s * p2(u)), 0, 1, epsabs=1e-13)[0] / mass

    def free_energy(s):
        mass, order = moments(s)
        return order / (3 * s) * (s * order - math.log(mass)) - order**2 / 6

    fold = optimize.minimize_scalar(lambda s: -moments(s)[1] / (3 * s), bracket=(1.0, 1.5), tol=1e-10)
    coexistence = optimize.brentq(free_energy, 1.7, 2.2, xtol=1e-13)
    branch = cs.phases.branch(cs.PotentialInteraction([0.0, 0.0, 0.5]), 3)
    assert branch.degree == 2
    assert branch.critical_temperature == pytest.approx(1 / 15, rel=1e-14)
    assert branch.fold.temperature == pytest.approx(-fold.fun, rel=1e-12)
    order = moments(coexistence)[1]
    assert branch.coexistence.modes[2] == pytest.approx(order, rel=1e-10)
    assert branch.coexistence.temperature == pytest.approx(order / (3 * coexistence), rel=1e-11)
    assert round(order, 3) == 0.429  # as in textbooks
    assert branch.order_parameters.max() < 1e-13
    transition = cs.phases.transition(cs.PotentialInteraction([0.0, 0.0, 0.5]), 3)
    assert (transition.degree, transition.coefficient, transition.is_continuous) == (2, 0.0, False)


def test_doubly_stochastic_attention_by_iteration():
    """Stationary: ρ ∝ Z^γ with γ = 1/(βτ) and Z = ∫ e^{β⟨x,y⟩} Z^{γ−1}/∫Z^γ, on the circle by sums over the angle."""
    beta, tau = 3.0, 0.09
    angle = 2 * np.pi * np.arange(256) / 256
    kernel, z = np.exp(beta * np.cos(angle[:, None] - angle)), np.exp(0.5 * np.cos(angle))
    gamma = 1 / (beta * tau)
    for _ in range(3000):
        z = np.sqrt(z * (kernel @ z ** (gamma - 1) / 256) / np.mean(z**gamma))
    density = z**gamma / np.mean(z**gamma)
    branch = cs.phases.branch(cs.SinkhornAttention(beta=beta), 2, lowest=0.95 * tau)
    (state,) = branch.states_at(tau)
    assert state.is_stable
    np.testing.assert_allclose(state.density(np.cos(angle)), density, rtol=0, atol=1e-11)


@pytest.mark.parametrize("beta", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("dim", [2, 3, 6])
def test_softmax_attention_orders_at_no_temperature_above_birkhoff_s(beta, dim):
    """For τ > tanh(β)/β the map ρ → Z^{1/(βτ)} is a contraction: from a few starts it ends in the uniform law."""
    branch = cs.phases.branch(cs.SoftmaxAttention(beta=beta), dim)
    bound = math.tanh(beta) / beta
    assert branch.fold.temperature < bound
    rule = AxisymmetricRule(dim=dim, n_modes=30, n_nodes=80)
    drift = cs.SoftmaxAttention(beta=beta).axisymmetric_drift(rule.cosines, dim)
    rng = np.random.default_rng(0)
    for size in (1.0, 10.0, 40.0):
        p = rule.weights * np.exp(size * (rule.cosines - 1) + rng.standard_normal(80))
        for _ in range(3000):
            p = rule.weights * np.exp(drift.potential(p / p.sum()) / (1.01 * bound))
            p /= p.sum()
        np.testing.assert_allclose(p, rule.weights, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    "interaction",
    [
        cs.UnnormalizedAttention(beta=4.0),
        cs.SinkhornAttention(beta=2.0),
        cs.PotentialInteraction([0.0, 0.0, 0.5]),
        cs.MultiHeadAttention(heads=[cs.UnnormalizedAttention(beta=2.0), cs.PotentialInteraction([0.0, 1.0])]),
    ],
)
def test_free_energies(interaction):
    """Along a branch dF/dτ is ∫ρ log ρ: the change of the state does not count."""
    branch = cs.phases.branch(interaction, 3)
    temperature = 0.8 * branch.critical_temperature
    h = 1e-4 * temperature
    low, state, high = (branch.states_at(temperature + sign * h)[-1] for sign in (-1, 0, 1))
    rule = AxisymmetricRule(dim=3, n_modes=1, n_nodes=300)
    density = np.maximum(state.density(rule.cosines), 1e-300)
    entropy = rule.weights @ (density * np.log(density))
    assert (high.free_energy - low.free_energy) / (2 * h) == pytest.approx(entropy, rel=1e-6)
    assert cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 3).free_energies is None


@pytest.mark.parametrize("kind", ["softmax", "usa"])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_growth_rates_next_to_the_uniform_law(kind, dim):
    """Along a branch that leaves it continuously a change decays at twice the rate at which the uniform law's grows."""
    interaction = attention(kind, 1.0)
    branch = cs.phases.branch(interaction, dim)
    for share in (0.999, 0.9999):
        tau = share * branch.critical_temperature
        (state,) = branch.states_at(tau)
        growth = cs.theory.growth_rate(interaction, 1, dim, temperature=tau)
        assert state.growth_rate == pytest.approx(-2 * growth, rel=20 * (1 - share))


def test_a_branch():
    branch = cs.phases.branch(attention("usa", 4), 3)
    assert branch.temperatures[0] == branch.critical_temperature
    assert branch.temperatures[-1] == pytest.approx(0.5 * branch.critical_temperature, rel=1e-14)
    assert branch.modes.shape == (len(branch.temperatures), branch.modes.shape[1])
    np.testing.assert_allclose(branch.modes[:, 0], 1, rtol=0, atol=0)
    assert (np.diff(branch.order_parameters) > 0).all()
    u = np.linspace(-1, 1, 5)
    (state,) = branch.states_at(branch.temperatures[-1])
    np.testing.assert_allclose(branch.density(u)[-1], state.density(u), rtol=0, atol=1e-9)
    assert branch.states_at(1.01 * branch.fold.temperature) == []
    assert repr(branch).startswith(
        "Branch(interaction=UnnormalizedAttention(beta=4.0), dim=3, critical_temperature=1.2"
    )
    data = branch.to_xarray()
    assert data["temperature"].values.tolist() == branch.temperatures.tolist()
    assert data["free_energy"].dims == ("state",)
    assert data.attrs["critical_temperature"] == branch.critical_temperature


def test_few_modes_at_the_start_make_no_difference(monkeypatch):
    monkeypatch.setattr(cs.phases, "_N_MODES", 16)
    few = cs.phases.branch(attention("usa", 4), 3).states_at(1.1)[-1]
    monkeypatch.setattr(cs.phases, "_N_MODES", 200)
    many = cs.phases.branch(attention("usa", 4), 3).states_at(1.1)[-1]
    np.testing.assert_allclose(few.modes[:30], many.modes[:30], rtol=0, atol=1e-12)


SOFTMAX = cs.SoftmaxAttention(beta=2.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 1}, r"dim must be an integer >= 2, got 1"),
        ({"dim": 200}, r"dim must be an integer <= 64, got 200"),
        ({"lowest": 0.0}, r"lowest must be a finite number > 0, got 0.0"),
        ({"lowest": 1.0}, r"lowest must be below the critical temperature 0.268\d*, got 1"),
        ({"interaction": cs.SoftmaxAttention(beta=1.0, value_scale=-1.0)}, r"here none grows at any"),
        ({"interaction": cs.CustomInteraction(lambda x, p: x)}, r"with the method linear_response"),
        ({"interaction": cs.SoftmaxAttention(beta=1e5)}, r"interaction must need at most 384 modes: it is too steep"),
        ({"interaction": cs.SoftmaxAttention(beta=1e4)}, r"lowest must be higher, or the interaction less steep"),
        ({"interaction": cs.PotentialInteraction(np.polynomial.Chebyshev([0.0] * 300 + [1.0]))}, r"a degree <= 96"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        cs.phases.branch(**({"interaction": SOFTMAX, "dim": 3} | arguments))


def test_states_that_need_too_many_modes(monkeypatch):
    monkeypatch.setattr("chaosphere.theory.continuation.MAX_MODES", 96)
    message = r"lowest must be higher: the state at temperature 0.00\d+ needs more than 96 modes"
    with pytest.raises(ValueError, match=message):
        cs.phases.branch(SOFTMAX, 3, lowest=1e-5)


def test_bad_arguments_of_what_a_branch_offers():
    branch = cs.phases.branch(SOFTMAX, 3)
    for temperature in (0.01, -1.0):
        with pytest.raises(ValueError, match=r"temperature must be"):
            branch.states_at(temperature)
    with pytest.raises(ValueError, match=r"cosines = 2.0 must be in \[-1, 1\]"):
        branch.density([2.0])
    with pytest.raises(ValueError, match=r"cosines must be a list of numbers, got shape \(\)"):
        branch.fold.density(0.5)
    with pytest.raises(ValueError, match=r"dim must be an integer >= 2, got 1"):
        cs.phases.tricritical_beta(1)
    with pytest.raises(ValueError, match=r"dim must be an integer >= 2, got 1"):
        cs.phases.transition(SOFTMAX, 1)


@pytest.mark.parametrize("dim", [40, 64])
def test_high_dimension(dim):
    """W = u: von Mises–Fisher states with the concentration m/τ, whose order parameter is m."""
    branch = cs.phases.branch(cs.PotentialInteraction([0.0, 1.0]), dim)
    m, tau = branch.order_parameters[-1], branch.temperatures[-1]
    concentration = m / tau
    assert special.ive(dim / 2, concentration) / special.ive(dim / 2 - 1, concentration) == pytest.approx(m, rel=1e-10)


@pytest.mark.parametrize("share", [0.9, 0.98, 0.99])
def test_transition_beside_another_degree(share):
    """d = 2, W = ½u + q u²: C = 1/(½ − 1/(4(τ_c/w₂ − ½))) with w₂ = q/2, beside degree 2."""
    exact = 1 / (0.5 - 1 / (4 * (0.5 / share - 0.5)))
    onset = cs.phases.transition(cs.PotentialInteraction([0.0, 0.5, share]), 2)
    assert onset.coefficient == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("share", [0.99999, 1.0])
def test_two_degrees_at_one_temperature_are_refused(share):
    with pytest.raises(ValueError, match="interaction must"):
        cs.phases.transition(cs.PotentialInteraction([0.0, 0.5, share]), 2)


def test_transition_at_the_threshold():
    """At β* the term of m² vanishes."""
    beta = cs.phases.tricritical_beta(3)
    onset = cs.phases.transition(cs.UnnormalizedAttention(beta=beta), 3)
    assert onset.coefficient == math.inf
