"""Growth rates of changes that break the symmetry of a stationary state about its axis."""

import numpy as np
import pytest

import chaosphere as cs


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize(
    "interaction",
    [
        cs.SoftmaxAttention(beta=3.0),
        cs.UnnormalizedAttention(beta=0.5),
        cs.SinkhornAttention(beta=2.0),
        cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(beta=1.0), cs.UnnormalizedAttention(beta=2.0, rescaled=True)]),
        cs.PotentialInteraction([0.0, 1.0, 0.5]),
    ],
    ids=lambda interaction: type(interaction).__name__,
)
def test_a_rotation_neither_grows_nor_decays(interaction, dim):
    """And all other changes of an ordered state decay; of order 0 the first is that of the state itself."""
    branch = cs.phases.branch(interaction, dim)
    (state,) = branch.states_at(0.7 * branch.critical_temperature)
    first, second = cs.phases.growth_rates(interaction, state, order=1, n_rates=2)
    assert abs(first) < 1e-9
    assert second < -0.1 * branch.critical_temperature
    assert cs.phases.growth_rates(interaction, state, order=0)[0] == pytest.approx(state.growth_rate, rel=1e-6)
    if dim > 2:
        assert cs.phases.growth_rates(interaction, state, order=2, n_rates=1) < -0.1 * branch.critical_temperature


@pytest.mark.parametrize(("dim", "beta", "share"), [(3, 15.0, 0.7), (3, 20.0, 0.55), (2, 30.0, 0.7), (5, 20.0, 0.7)])
def test_growth_rates_of_concentrated_states(dim, beta, share):
    """Their log ρ is stored by coefficients, which lose what ρ is where it is tiny."""
    interaction = cs.SoftmaxAttention(beta=beta)
    branch = cs.phases.branch(interaction, dim)
    state = branch.states_at(share * branch.critical_temperature)[0]
    first, second = cs.phases.growth_rates(interaction, state, order=1, n_rates=2)
    assert abs(first) < 1e-6
    assert second < -0.01
    with pytest.raises(ValueError, match="state must be stationary for the interaction"):
        cs.phases.growth_rates(cs.SoftmaxAttention(beta=1.001 * beta), state, order=1)


def test_growth_rates_at_the_uniform_law():
    """Of order m they are those of the harmonics of degree m and more."""
    interaction = cs.SoftmaxAttention(beta=4.0)
    for dim in (2, 3, 8):
        branch = cs.phases.branch(interaction, dim)
        tau = branch.critical_temperature
        for order in range(2 if dim == 2 else 4):
            degrees = range(max(order, 1), max(order, 1) + 3)
            rates = [cs.theory.growth_rate(interaction, degree, dim, temperature=tau) for degree in degrees]
            measured = cs.phases.growth_rates(interaction, branch.fold, order=order)
            assert measured == pytest.approx(sorted(rates, reverse=True), abs=1e-11)


@pytest.mark.parametrize("interaction", [cs.SoftmaxAttention(beta=2.0), cs.SinkhornAttention(beta=1.5)])
def test_growth_rates_on_the_circle(interaction):
    """Against the linearisation of the equation in Fourier modes, by differences, with no use of the symmetry."""
    branch = cs.phases.branch(interaction, 2)
    (state,) = branch.states_at(0.8 * branch.critical_temperature)
    n, n_points, h = 24, 96, 1e-6
    angle = 2 * np.pi * np.arange(n_points) / n_points
    start = np.fft.rfft(state.density(np.cos(angle)), norm="forward")[: n + 1]
    drift, wave = interaction.circle_drift(n), np.arange(n + 1)

    def slope(parts):
        modes = np.concatenate([[1.0], parts[:n] + 1j * parts[n:]])
        flux = np.fft.rfft(
            drift(modes[None], n_points)[0] * np.fft.irfft(modes, n_points, norm="forward"), norm="forward"
        )
        out = -1j * wave * flux[: n + 1] - state.temperature * wave**2 * modes
        return np.concatenate([out[1:].real, out[1:].imag])

    point = np.concatenate([start[1:].real, start[1:].imag])
    assert np.abs(slope(point)).max() < 1e-10
    columns = [(slope(point + e) - slope(point - e)) / (2 * h) for e in h * np.eye(2 * n)]
    rates = np.sort(np.linalg.eigvals(np.array(columns).T).real)[::-1]
    ours = np.concatenate([cs.phases.growth_rates(interaction, state, order=order, n_rates=4) for order in (0, 1)])
    assert np.sort(ours)[::-1][:6] == pytest.approx(rates[:6], abs=1e-6)


def test_growth_rates_refuse_another_interaction():
    state = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2).states_at(0.3)[0]
    with pytest.raises(ValueError, match="state must be stationary for the interaction"):
        cs.phases.growth_rates(cs.SoftmaxAttention(beta=2.1), state, order=1)
    with pytest.raises(ValueError, match="order must be an integer <= 1"):
        cs.phases.growth_rates(cs.SoftmaxAttention(beta=2.0), state, order=2)
    with pytest.raises(TypeError, match="state must be a StationaryState"):
        cs.phases.growth_rates(cs.SoftmaxAttention(beta=2.0), 0.3, order=1)
