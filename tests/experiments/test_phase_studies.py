"""Runs up and down in temperature: what they measure, and bad arguments."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.experiments.phases import hysteresis


def test_order_and_critical_temperature():
    """Null: the stationary states, with 0.02 for 100 tokens and the steps.

    12 replicas. An estimate is within 3.3 half-widths of 99 %, ten standard errors: false-alarm rate 7e-7 each
    (Student's).
    """
    options = {
        "beta": 1.0,
        "dim": 2,
        "shares": [0.4, 1.6],
        "n_tokens": 100,
        "periods": 14.0,
        "n_steps": 160,
        "n_threads": 1,
    }
    data = hysteresis.run(rng=0, n_replicas=12, n_systems=16, **options)
    claims = hysteresis.claims(data)
    names = [claim.quantity for claim in claims]
    assert names == [
        f"{name}: {quantity}"
        for name in ("softmax", "unnormalized")
        for quantity in (
            "N E |m|² at 1.5 τ_c, over the prediction",
            "order at 0.4 τ_c, rising",
            "order at 0.4 τ_c, falling",
        )
    ]
    for claim in claims:
        half = (claim.high - claim.low) / 2
        assert half < (0.25 if "order" not in claim.quantity else 0.05), claim
        assert abs(claim.measured - claim.expected) < 3.3 * half + 0.02, claim
    branch = cs.phases.branch(
        cs.SoftmaxAttention(beta=1.0), 2, lowest=0.39 * cs.theory.critical_temperature(cs.SoftmaxAttention(beta=1.0), 2)
    )
    (state,) = branch.states_at(0.4 * branch.critical_temperature)
    assert float(data["stable"].sel(attention="softmax", share=0.4)) == pytest.approx(state.order_parameter, rel=1e-5)
    assert np.isnan(data["stable"].sel(attention="softmax", share=1.6))
    assert "continuous (C = " in hysteresis.table(data)


def test_hysteresis():
    """Unnormalised attention on S² at β = 4, 1.2 τ_c: order stays, and disorder.

    Null for the first: the stable state, with 0.02 for 200 tokens and the steps; as above, with 4 half-widths of 6
    replicas, 7 in a million of them outside by Student's law with 5 degrees of freedom.
    """
    options = {
        "attentions": ["unnormalized"],
        "shares": [0.9, 1.2],
        "n_tokens": 200,
        "periods": 4.0,
        "n_steps": 200,
        "n_threads": 1,
    }
    data = hysteresis.run(rng=0, n_replicas=6, n_systems=2, **options)
    order = data["order"].sel(attention="unnormalized", share=1.2)
    stable, unstable = (float(data[name].sel(attention="unnormalized", share=1.2)) for name in ("stable", "unstable"))
    assert 0.5 < unstable < stable < 0.9
    _, low, high = cs.stats.mean_interval(order.sel(direction="rising").values)
    assert abs((low + high) / 2 - stable) < 2 * (high - low) + 0.02
    assert high - low < 0.1
    assert order.sel(direction="falling").values.max() < unstable
    bound = next(claim for claim in hysteresis.claims(data) if claim.is_bound)
    assert (bound.quantity, bound.expected) == ("unnormalized: order at 1.2 τ_c, falling", unstable)
    assert bound.verdict == "agrees"
    assert "discontinuous" in hysteresis.table(data)
    assert "fold at 1.26325 τ_c, coexistence at 1.21024 τ_c" in hysteresis.table(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attentions": []}, "attentions must be different values, at least one"),
        ({"attentions": ["sinkhorn"]}, "attentions: unknown 'sinkhorn'"),
        ({"shares": [1.1, 1.2]}, "shares must be increasing, from below 1 to above 1"),
        ({"shares": [0.9, 0.8, 1.2]}, "shares must be increasing, from below 1 to above 1"),
        ({"shares": []}, "shares must be increasing, from below 1 to above 1"),
        ({"beta": -1.0}, "beta must be a finite number >= 0"),
        ({"dim": 1}, "dim must be an integer >= 2"),
        ({"n_tokens": 7}, "n_tokens must be an integer >= 8"),
        ({"periods": 0.0}, "periods must be a finite number > 0"),
        ({"n_steps": 1}, "n_steps must be an integer >= 2"),
        ({"n_systems": 0}, "n_systems must be an integer >= 1"),
        ({"n_replicas": 1}, "n_replicas must be an integer >= 2"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        hysteresis.run(rng=0, **changes)
