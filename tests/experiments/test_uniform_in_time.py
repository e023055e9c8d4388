"""Chaos over long times: quantiles, the linear theory, the martingale of two tokens, and the claims."""

import math

import numpy as np
import pytest
import scipy

import chaosphere as cs
from chaosphere.experiments.uniform_in_time import linear, runs, verdicts
from chaosphere.stats import Interval

LAW = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
NOISE = cs.CovarianceKernel.from_function(lambda u: 0.5 * (1 + u), dim=2)
SMALL = {"tokens": [8, 32], "n_nodes": 128, "horizon": 4.0, "n_steps": 40, "n_systems": 1}


def noise_alone(*, horizon, n_steps):
    field = cs.GaussianField(kernel=NOISE, method="spectral")
    return cs.LimitSDE(attention=None, field=field, horizon=horizon, n_steps=n_steps)


def test_quantiles():
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2**0.5
    np.testing.assert_allclose(runs.quantiles(cs.laws.Uniform(dim=2), 4), corners)
    # I1(1)/I0(1), and points in the middle of parts of mass 1/n.
    assert runs.quantiles(LAW, 4096).mean(axis=0) == pytest.approx([0.4463899658965345, 0.0], abs=1e-6)


def test_linear_theory_starts_at_the_distance_of_independent_tokens():
    # E W2² of N uniform tokens from the uniform law; 500 samples, five standard errors, false alarms below 1e-6.
    means = linear.linear_theory(1.0, tokens=[8, 64], times=np.array([0.0, 1.0]))
    np.testing.assert_allclose(means[:, 0], [math.pi**2 / 24, math.pi**2 / 192])
    rate = cs.theory.growth_rate(cs.SoftmaxAttention(beta=1.0), 1, 2)
    assert means[0, 0] < means[0, 1] < means[0, 0] * math.exp(2 * rate)
    x = cs.sample_uniform(64, 2, rng=0, n_replicas=500)
    squares = cs.measures.circular_wasserstein2(x, runs.quantiles(cs.laws.Uniform(dim=2), 256)) ** 2
    assert abs(squares.mean() - means[1, 0]) < 5 * squares.std() / 500**0.5


def test_the_angle_of_two_tokens_is_a_martingale():
    # E sup θ² = 2πε − ε² over all times, from 4 000 pairs: five standard errors are below 1e-6 of false alarms.
    # The supremum over steps misses up to 8 % of it here; ε² alone would be a tenth.
    angle = 0.5
    x = np.array([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    largest, early = np.zeros(4000), np.zeros(4000)
    for time, state in cs.trajectory(noise_alone(horizon=30.0, n_steps=600), np.tile(x, (4000, 1, 1)), rng=0):
        cosine = np.clip((state[:, 0] * state[:, 1]).sum(axis=1), -1, 1)
        largest = np.maximum(largest, np.arccos(cosine) ** 2)
        early = largest if time <= 2.0 else early
    error = 5 * largest.std() / 4000**0.5
    expected = 2 * math.pi * angle - angle**2
    assert 0.92 * expected - error < largest.mean() < expected + error
    # The supremum up to t = 2, of points that far apart; five standard errors are 0.15, and steps miss as much of both.
    left = math.log2(largest.mean() / early.mean())
    assert left == pytest.approx(linear.growth_left(n_tokens=4, time=2.0), abs=0.25)


def test_the_growth_that_is_left_to_two_points_falls_from_all_of_it_to_none():
    left = [linear.growth_left(n_tokens=64, time=time) for time in (1e-9, 1.0, 4.0, 9.0, 30.0)]
    assert left[0] == pytest.approx(math.log2(2 * math.pi * 8 - 1), rel=1e-3)  # (2πε − ε²)/ε² with ε = 1/8
    assert (np.diff(left) < 0).all()
    assert left[-1] == pytest.approx(0, abs=1e-3)
    assert linear.growth_left(n_tokens=4096, time=9.0) > left[3]


def test_the_limit_is_at_no_distance_from_itself():
    model = noise_alone(horizon=2.0, n_steps=40)
    limit, x = (
        cs.simulate(model, y, rng=3, shared_noise=True, save_at=np.linspace(0, 2, 9)).states
        for y in (runs.quantiles(LAW, 64)[None], LAW.sample(16, rng=0, n_replicas=2))
    )
    out = runs.distances(limit, [limit, x])
    assert out.shape == (2, 9)
    assert (out[0] == 0).all()
    assert (np.diff(out, axis=1) >= 0).all()
    one, two = (runs.distances(limit, [x[:, k : k + 1]])[0, -1] for k in range(2))
    assert out[1, -1] == pytest.approx((one + two) / 2)


def test_exponents_in_time_and_tokens():
    times = np.linspace(0, 40, 41)
    rows = np.outer([1.0, 1.1, 0.9], times**0.5)
    assert verdicts.growth(rows).value == pytest.approx(0.5)
    largest = np.outer([1.0, 1.1, 0.9], np.array([16.0, 64.0, 256.0]) ** -0.5)
    assert verdicts.fall(np.array([16, 64, 256]), largest).value == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("function", "ratio"), [(lambda t: np.exp(0.001 * t**2), 2.0), (lambda t: np.exp(0.1 * t), 1.0), (lambda t: t, 0.5)]
)
def test_acceleration_tells_the_theorem_s_constant_from_an_exponential(function, ratio):
    times = np.linspace(0, 40, 41)
    values = function(times)
    interval = verdicts.acceleration(np.outer([1.0, 1.1, 0.9], values), 40.0)
    before = math.log(values[20] / values[10]) / 10
    assert interval.value == pytest.approx((ratio - 1.5) * before)
    assert interval.low == pytest.approx(interval.high)


def test_acceleration_has_an_interval_of_the_replicas():
    # Means of log-normal values of known expectation. Of 200 intervals of 99 % 13 miss with a probability below 1e-6.
    generator, misses = np.random.default_rng(0), 0
    for _ in range(200):
        rows = np.exp(0.3 * generator.standard_normal((60, 41)) + 0.1 * np.linspace(0, 40, 41))
        interval = verdicts.acceleration(rows, 40.0)
        misses += not interval.low < 0.1 - 0.15 < interval.high
    assert misses < 13


@pytest.mark.parametrize(
    ("in_time", "in_tokens", "late", "early"),
    [
        ((0.0, 0.1), (-1.0, -0.5), "uniform", "undecided"),
        ((0.3, 0.6), (-1.0, -0.5), "not uniform", "undecided"),
        ((0.0, 0.1), (-0.1, 0.1), "not uniform", "not uniform"),
        ((0.0, 0.1), (-0.5, -0.1), "undecided", "undecided"),
        ((0.0, math.inf), (-1.0, -0.5), "undecided", "undecided"),
        ((math.nan, math.nan), (math.nan, math.nan), "undecided", "undecided"),
    ],
)
def test_decision(in_time, in_tokens, late, early):
    for is_late, expected in ((True, late), (False, early)):
        assert verdicts.decision(Interval(0.0, *in_time), Interval(0.0, *in_tokens), is_late=is_late) == expected


def uniform_start(data):
    return [claim for claim in runs.claims(data) if claim.quantity.startswith("no noise, uniform start: ")]


def assert_no_claim_beside_coarse_nodes(data):
    """Of the uniform start: it has the same rows, and expects nothing in them."""
    coarse = uniform_start(data.assign(nodes=0.5 * data["largest"][:, :, -1]))
    assert [claim.quantity for claim in coarse] == [claim.quantity for claim in uniform_start(data)]
    assert {claim.verdict for claim in coarse} == {"no claim"}


def test_the_level_is_that_of_one_point_once_all_tokens_are_there():
    # The linear theory is 2e6 times the level; of 64 systems few are not at one point.
    options = {"tokens": [8, 16], "n_nodes": 64, "n_steps": 200, "n_systems": 12, "n_replicas": 4}
    data = runs.run(rng=0, horizon=20.0, **options)
    claims = {claim.quantity: claim for claim in runs.claims(data)}
    level = claims["no noise, uniform start: E sup W2² at T = 20, N = 16"]
    off = claims[f"{level.quantity}, off π²/3 by a share of at most"]
    assert level.expected is None
    assert 0.9 < level.measured / (math.pi**2 / 3) <= 1.0001
    assert off.verdict == "agrees"
    assert_no_claim_beside_coarse_nodes(data)


@pytest.mark.parametrize("beta", [1.0, 20.0])
def test_the_nodes_of_the_uniform_start_stay(beta):
    """Half of n nodes are at π²/n² from all of them, at all times; for n = 4N this is 3/(16N) of the tokens' start."""
    data = runs.run(rng=0, beta=beta, tokens=[2, 3], n_nodes=12, horizon=14.0, n_steps=160, n_systems=1, n_replicas=2)
    nodes = data["nodes"].sel(case="no noise, uniform start")
    np.testing.assert_allclose(nodes, math.pi**2 / 144, rtol=1e-9)
    assert nodes[0, 0] / (math.pi**2 / 9) == pytest.approx(3 / 16 / 3)
    assert not [claim for claim in uniform_start(data) if "nodes" in claim.quantity]


@pytest.mark.parametrize(
    "options",
    [
        {"horizon": 4.0},
        {"horizon": 0.01},
        {"beta": 5.0, "horizon": 12.0, "n_steps": 120},
        {"beta": 20.0},
        {"beta": 100.0, "horizon": 2.0},
    ],
)
def test_nothing_is_expected_of_a_start_that_has_not_come_to_one_point(options):
    # The mean over four systems in each of four replicas: intervals that leave π²/3 out.
    data = runs.run(rng=0, n_replicas=4, **SMALL | {"n_systems": 4} | options)
    claims = uniform_start(data)
    assert not [claim for claim in runs.claims(data) if claim.verdict == "differs"]
    assert not [claim for claim in claims if "π²/3" in claim.quantity]
    [level] = [claim for claim in claims if "E sup" in claim.quantity and "T = " in claim.quantity]
    assert level.high < math.pi**2 / 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, set()),  # T = 4: two points are still on their way
        (
            {"beta": 5.0, "horizon": 12.0, "n_steps": 120, "tokens": [4, 8]},
            {"noise alone"},
        ),  # clusters under attraction
        (
            {"horizon": 14.0, "n_steps": 160, "tokens": [4, 8]},
            {"no noise", "noise alone", "noise, attraction"},
        ),
    ],
)
def test_growth_and_fall_are_claimed_once_two_points_have_been_apart(options, expected):
    claims = runs.claims(runs.run(rng=0, n_replicas=2, **SMALL | options))
    growth = {
        claim.quantity.partition(":")[0] for claim in claims if "exponent in" in claim.quantity and claim.is_bound
    }
    assert growth == expected


def test_the_linear_theory_needs_partition_functions_that_vary_little():
    # Σ_l (2/N)(I_l/I_0)² = (I_0(2β)/I_0(β)² − 1)/N, the variance of e^{β cos θ} over N and its mean squared.
    for beta in (1.0, 20.0, 100.0):
        i = scipy.special.ive(0, np.array([beta, 2 * beta]))
        variance = linear.partition_variance(beta, n_tokens=32, times=np.array([0.0, 1.0]))
        assert variance[0] == pytest.approx((i[1] / i[0] ** 2 - 1) / 32, rel=1e-6)
        assert variance[0] < variance[1]
    assert linear.is_one_cluster_first(1.044)  # I_1(β) = 4 I_2(β) at 1.0445
    assert not linear.is_one_cluster_first(1.045)


def test_claims_of_a_small_run():
    # The intervals are of 99 %; the seed is fixed.
    data = runs.run(rng=0, n_replicas=4, **SMALL)
    claims = {claim.quantity: claim for claim in runs.claims(data)}
    assert all(claim.verdict != "differs" for claim in claims.values())
    level = claims["no noise, uniform start: E sup W2² at T = 4, N = 32"]
    assert 0.1 < level.measured < math.pi**2 / 3
    assert level.expected is None
    assert [claim.expected for claim in uniform_start(data)] == [0.2, None]  # of the rate, and of the level
    assert_no_claim_beside_coarse_nodes(data)
    assert "noise, repulsion" in runs.table(data)
    few = data.isel(replica=slice(0, 2))  # two replicas may tell nothing
    assert len(runs.claims(few)) == len(claims) == 15
    assert "undecided" in runs.table(few)


def test_nodes_that_are_too_few_are_refuted_and_nothing_is_claimed_beside_them():
    data = runs.run(rng=0, n_replicas=2, **SMALL | {"horizon": 14.0, "n_steps": 160, "tokens": [4, 8]})
    coarse = data.assign(nodes=0.5 * data["largest"][:, :, -1])
    assert all(claim.expected is not None for claim in runs.claims(data) if "of half of the nodes" in claim.quantity)
    nodes = [claim for claim in runs.claims(coarse) if claim.expected is not None]
    assert [claim.verdict for claim in nodes] == ["differs"] * 4
    assert all("of half of the nodes" in claim.quantity and claim.expected == 0.1 for claim in nodes)
    assert [claim.verdict for claim in runs.claims(coarse)].count("no claim") == 10
    assert runs.table(coarse).count("undecided") == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, "beta must be"),
        ({"repulsion": -1.0}, "repulsion must be"),
        ({"tokens": [8]}, "tokens must be at least two increasing numbers"),
        ({"tokens": [8, 64], "n_nodes": 255}, "n_nodes must be"),
        ({"tokens": [8, 64], "n_nodes": 257}, "n_nodes must be even, got 257"),
        ({"horizon": 40.0, "n_steps": 360}, "n_steps must be a multiple of 40, at least 400, got 360"),
        ({"horizon": 1.0, "n_steps": 50}, "n_steps must be a multiple of 40, at least 40, got 50"),
        ({"horizon": 70.0, "n_steps": 800}, r"horizon must be at most 62.7 for beta = 1, .* e\^28 .* got 70"),
        ({"n_systems": 0}, "n_systems must be"),
        ({"n_replicas": 1}, "n_replicas must be"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        runs.run(rng=0, **options)
