"""Intervals of heavy-tailed means hold what they say."""

import numpy as np
import pytest
from scipy import stats

from chaosphere.experiments import synchronization
from chaosphere.reporting import intervals

FALSE_ALARM = 1e-6


def worst_case(n_trials, probability):
    """Number of misses that is passed with probability at most 1e-6 if each happens with the given probability."""
    return int(stats.binom.isf(FALSE_ALARM, n_trials, probability))


def test_band_of_log_normal_paths():
    """Null: where there is a band at one time it misses the mean with probability at most 1.6 % (nominally 1 %).

    Energies are exp(s B_t): log-normal, as squares of distances under a common noise. 20 000 samples of 32 replicas at
    each of four variances of the logarithm; false-alarm rate 1e-6 each. Student's interval misses 3.4 % at variance 1
    and 8 % at 2.25, and fails the same bound.
    """
    rng = np.random.default_rng(1)
    n_samples = 20_000
    for variance in (0.01, 0.25, 1.0, 2.25):
        values = np.exp(np.sqrt(variance) * rng.standard_normal((32, n_samples)))
        _, low, high = intervals.mean_interval(values, at_least=0)
        has_band = np.isfinite(low)
        misses = has_band & ~((low <= np.exp(variance / 2)) & (np.exp(variance / 2) <= high))
        assert has_band.mean() > 0.7
        assert misses.sum() <= worst_case(n_samples, 0.016)
    _, low, high = intervals.root_mean_square(values)
    student = ~((low**2 <= np.exp(variance / 2)) & (np.exp(variance / 2) <= high**2))
    assert student.sum() > worst_case(n_samples, 0.016)


def test_fractions_of_few_replicas():
    """Null: the interval of a mean in [0, 1] misses it with probability at most 1.6 % (nominally 1 %).

    20 000 samples of 10 replicas of fractions of 20 draws, near 1 and in the middle; false-alarm rate 1e-6 each.
    """
    rng = np.random.default_rng(2)
    n_samples = 20_000
    for p in (0.5, 0.9, 0.99):
        values = rng.binomial(20, p, size=(10, n_samples)) / 20
        _, low, high = intervals.mean_interval(values, at_least=0, at_most=1)
        assert (low >= 0).all()
        assert (high <= 1).all()
        assert ((low > p) | (high < p)).sum() <= worst_case(n_samples, 0.016)


@pytest.mark.statistical
def test_band_of_the_energy_holds_the_pair_equation():
    """Null: at each of three times a band leaves out the exact mean with probability at most 4 %.

    Nominally 1 %; the rest is left to the bias of the step and the width. 60 independent runs of 32 replicas, sigmoid
    and relu; false-alarm rate 1e-6 for each activation and time. At time 8 of sigmoid fewer than two replicas carry the
    mean, and there must be no band.
    """
    times = (1.0, 2.0, 4.0)
    misses, shown = np.zeros((2, len(times))), np.zeros((2, len(times)))
    for seed in range(60):
        data = synchronization.run(
            ["sigmoid", "relu"], rng=seed, dim=5, n_tokens=6, width=64, depth=80, horizon=8.0, n_replicas=32
        )
        row = data.sel(time=list(times), method="nearest")
        has_band = np.isfinite(row["energy_low"].values)
        inside = (row["energy_low"] <= row["pair_equation"]) & (row["pair_equation"] <= row["energy_high"])
        shown += has_band
        misses += has_band & ~inside.values
        assert np.isnan(data["energy_low"].values[0, -1])
    assert shown[:, :2].min() == 60
    for n_shown, n_missed in zip(shown.ravel(), misses.ravel(), strict=True):
        assert n_missed <= worst_case(int(n_shown), 0.04)
