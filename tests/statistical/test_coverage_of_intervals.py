"""Intervals of heavy-tailed means hold what they say."""

import numpy as np
import pytest
from scipy.stats import binom

from chaosphere import stats
from chaosphere.experiments import synchronization

FALSE_ALARM = 1e-6


def worst_case(n_trials, probability):
    """Number of misses that is passed with probability at most 1e-6 if each happens with the given probability."""
    return int(binom.isf(FALSE_ALARM, n_trials, probability))


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
        _, low, high = stats.mean_interval(values, at_least=0)
        has_band = np.isfinite(low)
        misses = has_band & ~((low <= np.exp(variance / 2)) & (np.exp(variance / 2) <= high))
        assert has_band.mean() > 0.7
        assert misses.sum() <= worst_case(n_samples, 0.016)
    _, low, high = stats.root_mean_square_interval(values)
    student = ~((low**2 <= np.exp(variance / 2)) & (np.exp(variance / 2) <= high**2))
    assert student.sum() > worst_case(n_samples, 0.016)


def test_student_s_interval_of_normal_values():
    """Null: the interval misses the mean with a probability of exactly 5 %.

    20 000 samples of 4 normal values, a confidence of 95 %; false-alarm rate 1e-6, half of it for each side.
    """
    n_samples = 20_000
    _, low, high = stats.mean_interval(np.random.default_rng(3).standard_normal((4, n_samples)), confidence=0.95)
    misses = ((low > 0) | (high < 0)).sum()
    assert binom.ppf(FALSE_ALARM / 2, n_samples, 0.05) <= misses <= binom.isf(FALSE_ALARM / 2, n_samples, 0.05)


def test_exponents_and_ratios_of_errors_with_common_noise():
    """Null: the interval of 99 % misses the exponent, or the ratio, with a probability of at most 1.8 %.

    1 000 samples of 24 replicas. The mean square of an error is χ² with 10 degrees of freedom over 10, times x^{-1},
    times a factor that all x of a replica share, log-normal of variance 0.1; false-alarm rate 1e-6 each.
    """
    rng = np.random.default_rng(4)
    n_samples, x = 1000, np.array([10.0, 20.0, 40.0, 80.0])
    missed = np.zeros(2, dtype=int)
    for _ in range(n_samples):
        shared = np.exp(np.sqrt(0.1) * rng.standard_normal((24, 1)))
        squares = shared * rng.chisquare(10, size=(24, 4)) / 10 / x
        for i, (expected, (_, low, high)) in enumerate(
            [(-0.5, stats.exponent_interval(x, squares)), (2.0, stats.ratio_interval(squares[:, 0], squares[:, 1]))]
        ):
            missed[i] += not low <= expected <= high
    assert missed.max() <= worst_case(n_samples, 0.018)
    assert missed.min() > 0  # they are no wider than they must be


@pytest.mark.parametrize("q", [0.1, 0.5])
def test_quantiles_of_any_law(q):
    """Null: the interval misses the quantile with the probability that the binomial law gives, which is at most 1 %.

    20 000 samples of 60 values of Cauchy's law, which has no mean; false-alarm rate 1e-6, half of it for each side.
    """
    n_samples, n = 20_000, 60
    values = np.random.default_rng(5).standard_cauchy((n, n_samples))
    _, low, high = stats.quantile_interval(values, q)
    quantile = np.tan(np.pi * (q - 0.5))
    below, above = binom.ppf(0.005, n, q), binom.isf(0.005, n, q) + 1
    probability = binom.cdf(below - 1, n, q) + binom.sf(above - 1, n, q)
    assert probability <= 0.01
    misses = ((low > quantile) | (high < quantile)).sum()
    assert binom.ppf(FALSE_ALARM / 2, n_samples, probability) <= misses
    assert misses <= binom.isf(FALSE_ALARM / 2, n_samples, probability)


def test_probabilities_of_rare_and_of_likely_events():
    """Each end leaves the probability out with a probability of at most 2.5 %: summed over all outcomes, no sample."""
    n = 30
    outcomes = np.arange(n)[:, None] < np.arange(n + 1)  # column k has k of them
    _, low, high = stats.probability_interval(outcomes, confidence=0.95)
    for p in np.linspace(0.001, 0.999, 500):
        law = binom.pmf(np.arange(n + 1), n, p)
        assert law[low > p].sum() <= 0.025
        assert law[high < p].sum() <= 0.025


def test_fractions_of_few_replicas():
    """Null: the interval of a mean in [0, 1] misses it with probability at most 1.6 % (nominally 1 %).

    20 000 samples of 10 replicas of fractions of 20 draws, near 1 and in the middle; false-alarm rate 1e-6 each.
    """
    rng = np.random.default_rng(2)
    n_samples = 20_000
    for p in (0.5, 0.9, 0.99):
        values = rng.binomial(20, p, size=(10, n_samples)) / 20
        _, low, high = stats.mean_interval(values, at_least=0, at_most=1)
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
