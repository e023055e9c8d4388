"""Times that are spaced by a factor."""

import numpy as np
import pytest

import chaosphere as cs


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


def test_bad_arguments():
    with pytest.raises(ValueError, match="last must be larger"):
        cs.log_times(first=1.0, last=1.0, n_times=3)
    with pytest.raises(ValueError, match="do not all differ"):
        cs.log_times(first=1.0, last=1.0 + 1e-15, n_times=30)
