"""Metastability: what the studies measure, what is expected of them, and bad arguments of theirs."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import chaosphere as cs
from chaosphere.experiments.causal import centres
from chaosphere.experiments.metastability import counts, hitting, lifetimes, merging


def test_merging():
    """Every claim agrees: the bracket of a run and the quadrature, to 1e-6, over eight decades."""
    data = merging.run(rng=0, barriers=[1.0, 10.0, 20.0])
    assert data["expected"].values[0] < 2
    assert data["expected"].values[-1] > 1e7
    low, high = data["time"].values.T
    assert (low < high).all()
    assert [claim.verdict for claim in merging.claims(data)] == ["agrees"] * 3
    assert "quadrature" in merging.table(data)


def test_the_quadrature_is_the_equation():
    """An independent integration of the angle, at another β."""

    def slope(time, angle):
        return -2 * np.sin(angle) / (1 + np.exp(5.0 * (1 - np.cos(angle))))

    time = merging.merging_time(1.2, 5.0)
    end = solve_ivp(slope, (0, time), [1.2], method="DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
    assert abs(end - 0.1) < 1e-9


def test_bracket():
    """The condition does not hold at the first time, and holds at the last, which is within the precision."""
    flow = hitting.Flow(4.0, tolerance=1e-8, coalesce=1e-3, n_threads=1)
    x = hitting.on_circle(np.array([0.0, 1.0]))
    low, high = hitting.bracket(flow, x, has_ended=lambda y: y[0] @ y[1] > 0.9, precision=1e-3)
    assert 0 < high - low <= 1e-3 * low
    assert flow.after(x, low)[0] @ flow.after(x, low)[1] < 0.9 < flow.after(x, high)[0] @ flow.after(x, high)[1]


@pytest.mark.parametrize(("k", "barrier"), [(3, 12.0), (6, 12.0)])
def test_lifetimes_against_an_integration_of_the_angles(k, barrier):
    """The lifetime of a run is that of SciPy's for the angles, to the precision of the bracket, 1 %."""
    beta = barrier / (1 - math.cos(2 * math.pi / k))
    start = 2 * math.pi * np.arange(k) / k + 1e-5 * np.random.default_rng(0).standard_normal(k)

    def slope(time, angle):
        gap = angle[None] - angle[:, None]
        weight = np.exp(beta * (np.cos(gap) - 1))
        return (weight * np.sin(gap)).sum(axis=1) / weight.sum(axis=1)

    def nearest(time, angle):
        ordered = np.sort(angle % (2 * math.pi))
        gaps = np.diff(np.append(ordered, ordered[0] + 2 * math.pi))
        return gaps.min() - 2 * math.asin(0.5 / math.sqrt(beta))

    nearest.terminal = True
    options = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-12, "events": nearest}
    expected = solve_ivp(slope, (0, 1e6), start, **options).t_events[0][0]
    assert abs(lifetimes._lifetime(hitting.on_circle(start), beta, n_threads=1) / expected - 1) < 0.011
    assert abs(math.log(lifetimes.lifetime(k, beta, disturbance=1e-5) / expected)) < 0.3  # a draw of the disturbance


def test_slopes_of_lifetimes():
    """They agree with what is expected; no draw is needed for that, as the logarithm of a disturbance moves little."""
    data = lifetimes.run(rng=0, k_clusters=[5, 6], lifetime_barriers=[9.0, 12.0], n_lifetime_replicas=2)
    for claim, k in zip(lifetimes.claims(data), (5, 6), strict=True):
        assert abs(claim.measured - claim.expected) < 0.01
        assert claim.expected < 1 - math.cos(2 * math.pi / k)
    assert "k = 6" in lifetimes.table(data)


def test_peaks():
    """The spectrum's ends: one harmonic alone has its degree as the number of peaks, and √(2β) is near for large β."""
    assert abs(counts.peaks(1e4, 10**9) / math.sqrt(2e4) - 1) < 0.05
    assert 0.9 < counts.peaks(64.0, 512) / math.sqrt(128) < 1
    # By a draw: the peaks of the potential of uniform tokens at time 0, where few tokens leave S_0 = 1 no time.
    tokens, beta = 8, 16.0
    x = cs.sample_uniform(tokens, 2, rng=0, n_replicas=400)
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    grid = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    potential = np.exp(beta * (np.einsum("gd,rnd->rgn", grid, x) - 1)).sum(axis=2)
    n_peaks = ((potential > np.roll(potential, 1, axis=1)) & (potential > np.roll(potential, -1, axis=1))).sum(axis=1)
    assert abs(n_peaks.mean() / counts.peaks(beta, tokens) - 1) < 0.25  # few tokens are not Gaussian


SMALL = {"count_betas": [4.0, 16.0], "n_tokens": 128, "horizon": 30.0, "n_times": 16, "n_replicas": 2}


def test_counts():
    data = counts.run(rng=0, **SMALL)
    count = data["count"].values
    assert (count[:, :, 1] <= 2).all()  # tokens are everywhere
    assert (count[:, :, -1] <= counts.first_clusters(data)).all()
    expected = data["expected"].values
    assert (np.abs(counts.first_clusters(data).mean(axis=0) / expected - 1) < 0.4).all()
    assert counts.claims(data)[0].quantity.startswith("exponent")
    assert "β = 16" in counts.table(data)
    again = counts.run(rng=0, **SMALL, n_threads=1)
    np.testing.assert_array_equal(data["angle"], again["angle"])


def test_cars_that_park():
    """Null: the mean of draws; 600 of them, 5.5 standard errors, false alarms 4e-8. And Rényi's constant."""
    n_tokens, distance = 60, 0.4
    rng = np.random.default_rng(1)
    n_centres = [len(centres.centres(angle, distance)) for angle in rng.uniform(-np.pi, np.pi, (600, n_tokens))]
    error = np.std(n_centres) / math.sqrt(len(n_centres))
    assert abs(np.mean(n_centres) - centres.parked(n_tokens, distance)) < 5.5 * error
    assert abs(centres.parked(10**7, 0.4) * 0.4 / (2 * math.pi) - 0.74760) < 1e-4


@pytest.mark.parametrize(
    ("run", "changed", "message"),
    [
        (counts.run, {"count_betas": [4.0]}, "count_betas must be increasing, at least two"),
        (counts.run, {"n_tokens": 100}, "n_tokens must be at least 328 for β = 128"),
        (counts.run, {"horizon": 1e12}, "horizon must be"),
        (counts.run, {"n_replicas": 1}, "n_replicas must be"),
        (lifetimes.run, {"k_clusters": [2, 3]}, "k_clusters must be an integer >= 3"),
        (lifetimes.run, {"k_clusters": []}, "k_clusters must be increasing"),
        (lifetimes.run, {"lifetime_barriers": [8.0]}, "lifetime_barriers must be increasing, at least two"),
        (lifetimes.run, {"lifetime_barriers": [8.0, 40.0]}, "lifetime_barriers must be a finite number >= 8"),
        (merging.run, {"barriers": []}, "barriers must be increasing, between 0.319 and 2β = 32"),
        (merging.run, {"barriers": [2.0, 1.0]}, "barriers must be increasing, between"),
        (merging.run, {"merging_beta": 4.0}, "barriers must be increasing, between 0.0797 and 2β = 8"),
        (merging.run, {"barriers": [50.0]}, "barriers must be a finite number > 0 and <= 40"),
    ],
)
def test_bad_input(run, changed, message):
    with pytest.raises(ValueError, match=message):
        run(rng=0, **changed)
