"""Intervals of multilevel Monte Carlo hold, though the numbers of samples follow from the samples."""

import numpy as np
import pytest
from scipy.stats import binom

import chaosphere as cs
from chaosphere.ensembles import level_runs

N_REPEATS = 200
FALSE_ALARM = 1e-6


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("scheme", ["split", "heun"])
def test_intervals_of_the_mean_energy_hold(scheme, monkeypatch, capsys):
    """Null: an interval misses the exact mean with probability at most 1 %.

    200 seeds of each scheme, "heun" with antithetic runs; the limit of tokens and of steps without attention, whose
    mean energy the pair equation has. False-alarm rate 1e-6 for each bound. The interval without the bound of the bias
    must hold too, up to that bound: null, 3 %.
    """
    monkeypatch.setattr(level_runs, "COARSEST_TOKENS", 8)
    kernel = cs.MLP(width=1, activation="erf", bias_std=0.3).kernel(3)
    field = cs.GaussianField(kernel=kernel, tolerance=1e-4)
    model = cs.LimitSDE(attention=None, field=field, horizon=0.5, n_steps=4, scheme=scheme)
    (exact,) = cs.two_point.expectation(kernel, lambda u: (np.e - np.exp(u)) / 2, [0.5], u0="uniform")
    results = [
        cs.estimate(model, cs.laws.Uniform(dim=3), cs.measures.Energy(beta=1.0), tolerance=0.03, rng=seed, n_threads=1)
        for seed in range(N_REPEATS)
    ]
    misses = sum(not result.low <= exact <= result.high for result in results)
    reaches = np.array([result.high - result.value - result.bias for result in results])
    errors = np.array([result.value - exact for result in results])
    bare = int((np.abs(errors) > reaches).sum())
    with capsys.disabled():
        print(
            f"{scheme}: {misses} of {N_REPEATS} intervals miss, {bare} without the bound of the bias; mean error",
            end=" ",
        )
        print(f"{errors.mean():.5f} ± {errors.std() / np.sqrt(N_REPEATS):.5f}, rms {np.sqrt((errors**2).mean()):.5f}")
    assert misses <= binom.isf(FALSE_ALARM, N_REPEATS, 0.01)
    assert bare <= binom.isf(FALSE_ALARM, N_REPEATS, 0.03)
    assert all(result.high - result.low <= 0.06 for result in results)
