"""States of a run, and the modes of densities on the circle."""

import numpy as np
import pytest

import chaosphere as cs


def test_states_of_a_run():
    states = cs.measures.lifetimes([5, 5, 3, 4, 4, 4], times=[0.0, 0.5, 2.0, 3.0, 7.0, 9.0])
    assert states.values.tolist() == [5, 3, 4]
    assert states.starts.tolist() == [0.0, 2.0, 3.0]
    assert states.ends.tolist() == [2.0, 3.0, 9.0]
    assert states.durations.tolist() == [2.0, 1.0, 6.0]
    assert states.is_complete.tolist() == [True, True, False]


def test_states_of_replicas():
    counts = np.random.default_rng(0).integers(1, 3, (50, 4))
    times = np.cumsum(np.random.default_rng(1).random(50))
    batch = cs.measures.lifetimes(counts, times=times)
    for row, states in zip(counts.T, batch, strict=True):
        np.testing.assert_array_equal(states.durations, cs.measures.lifetimes(row, times=times).durations)
        assert abs(states.durations.sum() - (times[-1] - times[0])) < 1e-12
        assert (np.diff(states.values) != 0).all()
        for value, start, end in zip(states.values, states.starts, states.ends, strict=True):
            inside = (times >= start) & ((times < end) | (end == times[-1]))
            assert set(row[inside][:-1]) <= {value}


def test_one_time():
    states = cs.measures.lifetimes([2], times=[1.0])
    assert (states.durations.tolist(), states.is_complete.tolist()) == ([0.0], [False])


@pytest.mark.parametrize(
    ("counts", "times", "message"),
    [
        ([], [], "counts and times must have shapes"),
        ([1, 2], [0.0], "counts and times must have shapes"),
        ([1, np.nan], [0.0, 1.0], "counts must be finite, got nan"),
        ([1, 2], [0.0, np.inf], "times must be finite"),
        ([1, 2], [1.0, 0.5], "times must not decrease"),
    ],
)
def test_bad_states(counts, times, message):
    with pytest.raises(ValueError, match=message):
        cs.measures.lifetimes(counts, times=times)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_modes_of_a_wave(k, shift):
    """Also where a maximum is at the angle 0, which is both ends of the grid."""
    angles = 2 * np.pi * np.arange(1000) / 1000
    peaks = cs.measures.modes(np.exp(np.cos(k * (angles - shift))))
    expected = np.sort((shift + 2 * np.pi * np.arange(k) / k) % (2 * np.pi))
    np.testing.assert_allclose(peaks.angles, expected, atol=0.0032)
    np.testing.assert_allclose(peaks.values, np.e, rtol=2e-4)


def test_prominence():
    density = np.array([0.0, 3.0, 2.5, 2.8, 1.0, 1.2, 0.9, 5.0])
    for prominence, places in ((0.0, [1, 3, 5, 7]), (0.25, [1, 3, 7]), (0.5, [1, 7]), (3.5, [7]), (5.5, [])):
        peaks = cs.measures.modes(density, prominence=prominence)
        np.testing.assert_allclose(peaks.angles, 2 * np.pi * np.array(places) / 8)
    for turn in range(8):  # nothing depends on where the grid begins
        assert len(cs.measures.modes(np.roll(density, turn), prominence=0.5).angles) == 2


def test_plateaus_and_batches():
    peaks = cs.measures.modes([1.0, 2.0, 2.0, 2.0, 1.0, 0.0])
    assert peaks.values.tolist() == [2.0]
    assert peaks.angles.tolist() == [2 * np.pi * 2 / 6]
    assert len(cs.measures.modes(np.ones(5)).angles) == 0
    batch = cs.measures.modes(np.random.default_rng(0).random((3, 20)))
    assert [len(one.angles) == len(one.values) > 0 for one in batch] == [True] * 3


def test_modes_of_the_mean_field_limit():
    """Near the uniform law the harmonic that grows fastest takes over: of degree 3 for β = 5."""
    attention = cs.SoftmaxAttention(beta=5.0)
    degrees = np.arange(1, 8)
    fastest = degrees[np.argmax([cs.theory.growth_rate(attention, int(degree), 2) for degree in degrees])]
    model = cs.LimitSDE(attention=attention, field=None, horizon=3.0, n_steps=60, scheme="rk4")
    law = cs.laws.Density(function=lambda x: 1 + 0.1 * np.cos(3 * np.arctan2(x[:, 1], x[:, 0])), dim=2, bound=1.2)
    solution = cs.CircleDensity(model=model, law=law, n_modes=128).solve(rng=0)
    density = solution.density(2 * np.pi * np.arange(240) / 240)[-1]
    assert len(cs.measures.modes(density, prominence=0.01).angles) == fastest == 3


@pytest.mark.parametrize(
    ("density", "prominence", "message"),
    [
        ([1.0, 2.0], 0.0, r"density must have shape \(n,\) or \(R, n\), n >= 3"),
        ([1.0, 2.0, np.inf], 0.0, "density must be finite"),
        ([1.0, 2.0, 1.0], -1.0, "prominence must be a finite number >= 0"),
    ],
)
def test_bad_densities(density, prominence, message):
    with pytest.raises(ValueError, match=message):
        cs.measures.modes(density, prominence=prominence)
