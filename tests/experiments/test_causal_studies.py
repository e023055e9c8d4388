"""Causal attention: what the two studies measure, and bad arguments of theirs."""

import dataclasses

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.experiments.cases import own_tokens, rates
from chaosphere.experiments.causal import centres, correlation


@pytest.mark.parametrize(("dim", "degree", "decay", "value_scale"), [(2, 1, 0.0, 1.0), (3, 2, 2.0, -1.0)])
def test_correlation(dim, degree, decay, value_scale):
    """Null: the limit, off by up to 6 % of it at N = 200; 99 % intervals, 48 replicas, seed fixed.

    An estimate is within 2.8 half-widths, 7.5 standard errors, of its mean in all but 1e-9 of all seeds (Student's).
    """
    data = correlation.run(
        rng=1, value_scale=value_scale, decay=decay, dim=dim, degree=degree, n_tokens=200, n_steps=10, n_replicas=48
    )
    claims = correlation.claims(data)
    assert len(claims) == 8
    for claim in claims:
        assert np.sign(claim.expected) == value_scale
        half = (claim.high - claim.low) / 2
        assert half < 0.2 * abs(claim.expected)
        assert abs(claim.measured - claim.expected) < 2.8 * half + 0.06 * abs(claim.expected)


def test_the_estimate_is_the_covariance():
    """Null: N Cov of two tokens by its definition, from 5 000 draws without coupling; 5.5 standard errors, 4e-8."""
    data = correlation.run(rng=0, n_tokens=8, earlier=[0.25], horizon=1.0, n_steps=10, n_replicas=400)
    x = cs.sample_uniform(8, 2, rng=5, n_replicas=5_000)
    attention = cs.SoftmaxAttention(beta=2.0, mask="causal")
    model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10, scheme="rk4")
    products = 8 * (cs.simulate(model, x, rng=0).final[:, 2:] * x[:, 1:2]).sum(axis=2)
    bins = [products[:, part].mean(axis=1) for part in np.array_split(np.arange(6), 4)]
    for k, values in enumerate(bins):
        measured, low, high = correlation.interval(data.isel(earlier=0), k)
        error = np.hypot((high - low) / 5.2, values.std() / np.sqrt(len(values)))
        assert abs(measured - values.mean()) < 5.5 * error


def test_centres():
    """Angles of a hand-made line, and the first token of a run, which stays where it is."""
    assert centres.centres(np.array([0.0, 0.4, 1.0, -0.9, 0.6, 3.1, -3.1]), 0.5).tolist() == [0, 2, 3, 5]
    data = centres.run(rng=0, betas=[4, 16], n_centre_tokens=30, centre_horizon=2.0, n_centre_replicas=2)
    angle = data["angle"].values
    assert (angle[:, :, :, 0] == angle[:, :, :1, 0]).all()
    assert (np.abs(np.diff(angle[:, :, :, 1:], axis=2)).max(axis=(2, 3)) > 1e-3).all()
    for replica in range(2):
        for k, beta in enumerate((4, 16)):
            parked = []
            for at in angle[replica, k, 0].astype(np.float64):
                if all(abs(np.angle(np.exp(1j * (at - other)))) > 4 / np.sqrt(beta) for other in parked):
                    parked.append(at)
            assert data["n_centres"].values[replica, k] == len(parked) > 1


@pytest.mark.parametrize(
    ("run", "changed", "message"),
    [
        (correlation.run, {"earlier": []}, "earlier must hold at least one"),
        (correlation.run, {"earlier": [0.5, 0.25]}, "earlier must hold increasing positions"),
        (correlation.run, {"earlier": [0.999]}, "earlier must hold increasing positions of different tokens, from 1/N"),
        (correlation.run, {"n_tokens": 4}, "n_tokens must be"),
        (correlation.run, {"decay": -1.0}, "decay must be"),
        (correlation.run, {"degree": 0}, "degree must be"),
        (correlation.run, {"n_replicas": 1}, "n_replicas must be"),
        (centres.run, {"betas": [4.0]}, "betas must be increasing, at least two"),
        (centres.run, {"betas": [4.0, 4.0]}, "betas must be increasing, at least two"),
        (centres.run, {"betas": [1.0, 4.0]}, "spacing must be < π √β = 3.142, got 4"),
        (centres.run, {"centre_horizon": 0.0}, "centre_horizon must be"),
        (centres.run, {"n_centre_tokens": 10**9}, "this would take about"),
    ],
)
def test_bad_input(run, changed, message):
    with pytest.raises((ValueError, MemoryError), match=message):
        run(rng=0, **changed)


def test_expected_rates_under_a_mask():
    """Coupled particles have log N / N; nothing is said of W2 for d = 3, nor of the theorem, which has no mask."""
    network = cs.Transformer(attention=cs.SoftmaxAttention(mask="causal"), mlp=cs.MLP(width=8), depth=4, horizon=1.0)
    two, three = rates(network, dims=[2, 3], tokens=[16, 64])
    assert two.has_log("coupled particles")
    np.testing.assert_allclose(two.log_factor("coupled particles"), np.log([16, 64]))
    assert not two.has_log("transport")
    assert (two.expected("coupled particles"), two.expected("transport")) == (-1.0, -1.0)
    assert np.isnan(three.expected("transport"))
    assert np.isnan(two.theorem_rate()).all()
    (plain,) = rates(dataclasses.replace(network, attention=cs.SoftmaxAttention()), dims=[2], tokens=[16, 64])
    assert not plain.has_log("coupled particles")
    assert np.isfinite(plain.theorem_rate()).all()
    with pytest.raises(ValueError, match="x0 must be None under a causal mask"):
        own_tokens(network, cs.sample_uniform(200, 2, rng=0))
