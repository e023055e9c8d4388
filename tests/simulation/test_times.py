"""Times that are spaced by a factor."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.simulation import steps as steps_of_runs


def test_log_times():
    times = cs.log_times(first=0.5, last=1e12, n_times=50)
    assert times[0] == 0.0
    assert times[1] == 0.5
    assert times[-1] == 1e12
    np.testing.assert_allclose(times[2:] / times[1:-1], (2e12) ** (1 / 49), rtol=1e-12)


def test_a_run_is_recorded_at_them():
    model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=8.0, n_steps=80)
    times = cs.log_times(first=0.5, last=8.0, n_times=5)
    sol = cs.simulate(model, cs.sample_uniform(5, 3, rng=0), rng=0, save_at=times)
    np.testing.assert_allclose(sol.times, [0, 0.5, 1, 2, 4, 8], rtol=1e-12)


@pytest.mark.parametrize("steps", [[], [0], [3, 3, 3], [0, 0, 2, 5, 5, 5, 9]])
def test_places_of_recorded_steps(steps):
    """Found once a run: to look through all recorded times after each step takes a time quadratic in their number."""
    steps = np.array(steps, dtype=np.int64)
    places = steps_of_runs.places(steps)
    assert list(places) == sorted(set(steps.tolist()))
    for step, rows in places.items():
        np.testing.assert_array_equal(np.arange(len(steps))[rows], np.flatnonzero(steps == step))


def test_bad_arguments():
    with pytest.raises(ValueError, match="last must be larger"):
        cs.log_times(first=1.0, last=1.0, n_times=3)
    with pytest.raises(ValueError, match="do not all differ"):
        cs.log_times(first=1.0, last=1.0 + 1e-15, n_times=30)
