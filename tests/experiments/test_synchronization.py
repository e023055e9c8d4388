"""What `chaosphere sync` claims of late times: true of a run, and refuted where the theory is changed."""

from functools import cache

import numpy as np
import pytest

from chaosphere.experiments import synchronization

SIZES = {"n_tokens": 6, "width": 32, "depth": 400, "horizon": 20.0, "n_replicas": 32}


@cache
def sigmoid():
    return synchronization.run(["sigmoid"], rng=0, **SIZES)


def verdicts(dataset):
    return {claim.quantity.partition(": ")[2]: claim.verdict for claim in synchronization.claims(dataset)}


def verdict(dataset, part):
    (seen,) = [value for quantity, value in verdicts(dataset).items() if part in quantity]
    return seen


LATE, TYPICAL, PAIR = "late rate of the pair equation", "rate of the median energy", "mean energy at time"


def test_a_run_agrees():
    data = sigmoid()
    assert {k: verdict(data, k) for k in (LATE, TYPICAL, PAIR)} == {LATE: "agrees", TYPICAL: "agrees", PAIR: "agrees"}
    assert "differs" not in verdicts(data).values()
    assert data["sharp_kind"].values.tolist() == ["essential spectrum"]
    # Far from late times, the run says nothing of the sharp rate.
    assert verdict(data, "rate of the mean energy from time") == "inconclusive"


@pytest.mark.parametrize(
    ("name", "factor", "part"),
    [
        ("sharp_rate", 1.2, LATE),
        ("pair_rate", 1.2, LATE),
        ("pair_equation", 3.0, PAIR),
        ("lyapunov_exponent", 1.6, TYPICAL),
    ],
)
def test_another_theory_is_refuted(name, factor, part):
    data = sigmoid().copy(deep=True)
    data[name] = factor * data[name]
    assert verdict(data, part) == "differs"


def test_the_sharp_rate_of_a_run_that_can_tell():
    """A mean with a narrow band that decays as at late times agrees, and one of twice the rate differs."""
    data = sigmoid().copy(deep=True)
    times, rate = data["time"].values, float(data["sharp_rate"][0])
    with np.errstate(divide="ignore"):
        late = np.minimum(1.0, times**-1.5) * np.exp(-rate * times)
    for key, factor in (("energy_mean", 1.0), ("energy_low", 0.9), ("energy_high", 1.1), ("pair_equation", 1.0)):
        data[key].values[0] = factor * late
    part = "rate of the mean energy from time 10 to 20, sharp rate"
    assert verdict(data, part) == "agrees"
    for key in ("energy_mean", "energy_low", "energy_high"):
        data[key].values[0] *= np.exp(-rate * times)
    assert verdict(data, part) == "differs"


def test_where_the_noise_does_not_synchronize_there_is_no_sharp_rate():
    small = {"n_tokens": 4, "width": 8, "depth": 40, "horizon": 2.0, "n_replicas": 4}
    odd = synchronization.run(["tanh"], rng=0, bias_std=0.0, output_bias_std=0.0, **small)
    attracted = synchronization.run(["relu"], rng=0, value_scale=1.0, **small)
    for data in (odd, attracted):
        assert data["sharp_kind"].values.tolist() == ["none"]
        assert np.isnan(data["sharp_rate"].values).all()
        assert not any("sharp rate" in quantity for quantity in verdicts(data))


def test_typical_energy_under_attraction():
    """λ1 − δ with δ = 1: the median of the energy of a cluster decays at twice that."""
    data = synchronization.run(["relu"], rng=1, value_scale=1.0, **{**SIZES, "horizon": 10.0})
    assert verdict(data, TYPICAL) == "agrees"
