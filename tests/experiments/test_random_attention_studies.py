"""Random attention: what the studies measure, and bad arguments of theirs."""

import math

import numpy as np
import pytest

from chaosphere.experiments.random_attention import cold, ends, heads, splits


def test_ends():
    """Null: the pair equation, with an allowance for steps of 0.08: 0.03 of a probability, 0.05 of an exponent.

    600 pairs in each of two cells, in 20 replicas. An estimate is within 2.7 half-widths of 99 %, for an exponent 7.7
    standard errors from 20 replicas: false-alarm rate 3e-7 each (Student's).
    """
    data = ends.run(rng=3, dims=[3, 4], betas=[1.0], n_pairs=30, horizon=8.0, n_steps=100, n_replicas=20)
    claims = ends.claims(data)
    assert len(claims) == 6
    assert [claim.expected is None for claim in claims] == [False, False, False, True, False, False]
    for claim in claims:
        half, allowance = (claim.high - claim.low) / 2, 0.03 if "probability" in claim.quantity else 0.05
        assert half < 0.3
        assert claim.expected is None or abs(claim.measured - claim.expected) < 2.7 * half + allowance
    assert "0.2224" in ends.table(data)
    assert ends.threshold(2) == ends.threshold(3) == 0
    assert math.tanh(ends.threshold(5.0)) ** 2 == pytest.approx(0.5)


def test_exponents_of_large_size_keep_pairs_near_the_ends():
    """d = 64: |X − Y| falls as e^{−31.5 t}, which is followed for no longer than a factor e⁵."""
    data = ends.run(rng=0, dims=[64], betas=[1.0], n_pairs=4, n_steps=400, n_replicas=2)
    np.testing.assert_allclose(data["exponent"].mean("replica").values[0, 0], [-31.5, 12.23], rtol=0.15)


def test_pairs_that_never_end_opposite_have_an_interval():
    data = ends.run(rng=0, dims=[8], betas=[0.1], n_pairs=50, n_steps=20, n_replicas=2)
    low, high = ends.claims(data)[0].low, ends.claims(data)[0].high
    assert low == 0
    assert 0 < high < 0.1


@pytest.mark.slow
def test_heads():
    """Null: the equation of two tokens, with 0.01 for the steps. 20 replicas of 50 pairs; within 2.7 half-widths of
    99 %, at least 7.7 standard errors from 20 replicas: false-alarm rate 3e-7 each (Student's).
    """
    data = heads.run(rng=0, heads=[1, 3], n_head_steps=13, n_head_pairs=50, n_head_replicas=20)
    assert np.array_equal(data["cosine"].values[:, :, 0], np.zeros((20, 2)))
    steps = data["time"].values * 13
    np.testing.assert_allclose(steps, steps.round(), atol=1e-12)  # those of the states
    claims = heads.claims(data)
    assert len(claims) == 4
    for claim in claims:
        half = (claim.high - claim.low) / 2
        assert half < 0.12
        assert abs(claim.measured - claim.expected) < 2.7 * half + 0.01


@pytest.mark.slow
def test_splits():
    """Null: the mean hitting time of two tokens, with 3 % for layers of 0.02. 20 replicas of 30 systems; within 2.7
    half-widths of 99 %, at least 7.7 standard errors from 20 replicas: false-alarm rate 3e-7 each (Student's).
    """
    data = splits.run(rng=1, splits=[1], n_split_systems=30, n_split_replicas=20)
    (claim,) = splits.claims(data)
    half = (claim.high - claim.low) / 2
    assert half < 0.2 * claim.expected
    assert abs(claim.measured - claim.expected) < 2.7 * half + 0.03 * claim.expected
    assert "its power -0.734" in splits.table(data)
    assert splits.exponent(0.1, 8) == 0
    assert splits.difference(1.0, 4) == pytest.approx(0.094, abs=1e-3)


def test_cold():
    """Null: the kernel of low temperature, with 0.01 for scores of 64 and 4 000 tokens. 20 replicas of 6 heads; within
    2.7 half-widths of 99 %, at least 7.7 standard errors from 20 replicas: false-alarm rate 3e-7 each (Student's).
    """
    data = cold.run(rng=0, cold_head_dims=[3], n_cold_tokens=4000, n_cold_heads=6, n_cold_replicas=20)
    claims = cold.claims(data)
    assert len(claims) == 3
    for claim in claims:
        half = (claim.high - claim.low) / 2
        assert half < 0.06
        assert abs(claim.measured - claim.expected) < 2.7 * half + 0.01
    assert "k = 3: λ1 = 0 for values of variance 1, critical" in cold.table(data)


@pytest.mark.parametrize(
    ("run", "changed", "message"),
    [
        (splits.run, {"splits": [2, 1]}, "splits must be increasing"),
        (splits.run, {"split_beta": 0.0}, "split_beta must be a finite number > 0"),
        (splits.run, {"n_layers_per_time": 5}, "n_layers_per_time must be an integer >= 10"),
        (cold.run, {"cold_dim": 2}, "cold_dim must be an integer >= 3"),
        (cold.run, {"cold_head_dims": [2]}, "cold_head_dims must be an integer >= 3"),
        (cold.run, {"scores": [8.0]}, "scores must be increasing, at least two"),
        (cold.run, {"concentration": -1.0}, "concentration must be a finite number >= 0"),
        (ends.run, {"dims": [1]}, "dims must be an integer >= 2"),
        (ends.run, {"betas": []}, "betas must be increasing, at least one"),
        (ends.run, {"betas": [2.0, 1.0]}, "betas must be increasing, at least one"),
        (ends.run, {"cosine": 1.0}, "cosine must be < 1"),
        (ends.run, {"cosine": -1.0}, "cosine must be a finite number > -1"),
        (ends.run, {"n_pairs": 0}, "n_pairs must be an integer >= 1"),
        (ends.run, {"n_replicas": 1}, "n_replicas must be an integer >= 2"),
        (heads.run, {"heads": [4, 1]}, "heads must be increasing"),
        (heads.run, {"head_dim": 0}, "head_dim must be an integer >= 1"),
        (heads.run, {"query_key_std": 50.0}, "query_key_std is too large for a pair"),
    ],
)
def test_bad_input(run, changed, message):
    with pytest.raises(ValueError, match=message):
        run(rng=0, **changed)
