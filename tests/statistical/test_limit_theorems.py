"""The statistical suite: minutes of sampling, run by `pytest -m statistical`.

Every test states its null, its sample size and its false-alarm rate: the chance that it fails for a fresh seed although
the null holds, at most 1e-6 per comparison. Seeds are fixed.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import chaosphere as cs
from chaosphere.common.streams import Noise, Stream
from chaosphere.experiments import cases, chaos, limits
from chaosphere.stats import CONFIDENCE
from chaosphere.theory import two_point

pytestmark = pytest.mark.statistical

RATE = 1e-6
MODEL = cs.Transformer(
    attention=cs.SoftmaxAttention(beta=1.0),
    mlp=cs.MLP(width=64, activation="tanh", bias_std=0.3),
    depth=32,
    horizon=1.0,
)


def p_value(sample, expected):
    """Student's two-sided p-value of the mean of independent values."""
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    return float(2 * stats.t.sf(abs(sample.mean() - expected) / error, len(sample) - 1))


def check_claims(claims, n_replicas):
    """Each interval, widened from 99 % to the false-alarm rate of the suite, holds the expected value."""
    wider = stats.t.isf(RATE / 2, n_replicas - 1) / stats.t.isf((1 - CONFIDENCE) / 2, n_replicas - 1)
    checked = 0
    for claim in claims:
        if claim.expected is None:
            continue
        low, high = (claim.measured + wider * (end - claim.measured) for end in (claim.low, claim.high))
        assert low <= claim.expected, claim
        assert claim.is_bound or claim.expected <= high, claim
        checked += 1
    return checked


def test_the_checks_fail_on_wrong_data():
    """A mean off by a fifth of a standard deviation in 4 000 values is rejected, and an exponent of 0."""
    sample = np.random.default_rng(0).standard_normal(4000)
    assert p_value(sample, 0.0) > RATE
    assert p_value(sample, 0.2) < RATE
    data = chaos.run(cases.rates(MODEL, dims=[2], tokens=[32, 128, 512]), rng=0, n_replicas=24)
    particles = next(claim for claim in chaos.claims(data) if "max_t" in claim.quantity)
    assert check_claims([particles], 24) == 1
    with pytest.raises(AssertionError):
        check_claims([replace(particles, expected=0.0)], 24)


@pytest.mark.parametrize("dim", [2, 3, 4, 5])
def test_rates_in_the_number_of_tokens(dim):
    """Null: exponents −1/2 (energy, mean), −1 (particles), of W2² the sharper one, and at most r_d(N).

    24 replicas, N = 64 … 1 024 (W2² to 512 for d > 2); 1e-6 each. The intervals of the exponents of particles and W2²
    are narrower than 0.5 at 99 %, so that a half is told from one.
    """
    data = chaos.run(cases.rates(MODEL, dims=[dim], tokens=[64, 128, 256, 512, 1024]), rng=dim, n_replicas=24)
    claims = chaos.claims(data)
    assert check_claims(claims, 24) == 5
    for claim in claims[2:]:
        assert claim.high - claim.low < 0.5


def test_regimes():
    """Null: the same exponents for attraction, none and repulsion, with, without and conditional on the noise.

    16 replicas, N = 64 … 2 048 on the circle; 1e-6 each of 30 comparisons.
    """
    data = chaos.run(cases.regimes(MODEL), rng=1, n_replicas=16)
    assert check_claims(chaos.claims(data), 16) == 30


def test_uniform_in_depth():
    """Null: the same exponents at L = 8 … 128, and the errors at L = 128 and 64 are one; 16 replicas; 1e-6 each."""
    data = chaos.run(cases.depths(MODEL), rng=2, n_replicas=16)
    assert check_claims(chaos.depth_claims(data), 16) == 27


def test_limits_commute():
    """Null: exponents −1 in N, L, m and all together, corner over the sum of both orders 1; 64 replicas; 1e-6 each."""
    data = limits.run(MODEL.mlp, rng=3, attention=MODEL.attention, n_replicas=64)
    assert check_claims(limits.claims(data), 64) == 5


@pytest.mark.parametrize("concentration", [0.0, 2.0])
def test_pair_law_given_no_noise_is_the_pair_equation(concentration):
    """Null: E ∬ ⟨x, y⟩² dμ_t dμ_t is the pair equation's, averaged over the start; 600 noises, d = 3, T = 1; 1e-6."""
    kernel = cs.MLP(width=1, activation="tanh", bias_std=0.5).kernel(3)
    sde = cs.LimitSDE(attention=None, field=cs.GaussianField(kernel=kernel), horizon=1.0, n_steps=50, scheme="heun")
    limit = cs.MeanField(model=sde, law=cases.start_law(3, concentration), n_nodes=200)
    start = np.repeat(limit.start()[None], 600, axis=0)
    nodes, p = cs.simulate(limit, start, rng=4).final, limit.weights
    # ∬ ⟨x, y⟩² = |Σ p x xᵀ|²
    second = np.einsum("rni,n,rnj->rij", nodes, p, nodes)
    sample = (second**2).sum(axis=(1, 2))
    u = (limit.nodes @ limit.nodes.T).clip(-1, 1)
    start_law = (u.ravel(), np.outer(p, p).ravel())
    expected = float(two_point.expectation(kernel, np.square, 1.0, u0=start_law))
    assert p_value(sample, expected) > RATE
    assert p_value(sample, float(p @ u**2 @ p)) < RATE  # the test has power: the start's own value is rejected


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("width", [1, 64])
def test_covariance_of_a_layer(activation, width):
    """Null: E[G(x)·G(y)]/d = κ(⟨x, y⟩) for every width; 20 000 layers; 1e-6."""
    mlp = cs.MLP(width=width, activation=activation, bias_std=0.4, output_bias_std=0.2)
    x = cs.sample_uniform(2, 4, rng=9)
    noise = Noise(5, n_replicas=20_000)
    layer = mlp.plan(4).draw([noise.draws(Stream.LAYER, 0)])
    g = layer(np.repeat(x[None], 20_000, axis=0), n_threads=1)
    kernel = mlp.kernel(4)
    for i, j in ((0, 0), (0, 1)):
        assert p_value((g[:, i] * g[:, j]).sum(axis=1) / 4, float(kernel(float(x[i] @ x[j])))) > RATE


def test_one_token_is_brownian_motion():
    """Null: E⟨X_T, x0⟩ = e^{−κ(1)(d−1)T/2}; 10 000 replicas of the geodesic scheme, 100 steps; 1e-6.

    One step of length √(κ(1)h)·χ along a geodesic turns by E cos = e^{−κ(1)(d−1)h/2}(1 + O(h²)): at h = 1/100 the bias
    is under a tenth of the standard error.
    """
    kernel = cs.MLP(width=1, activation="tanh", bias_std=0.5).kernel(3)
    field = cs.GaussianField(kernel=kernel, tolerance=1e-4)
    sde = cs.LimitSDE(attention=None, field=field, horizon=1.0, n_steps=100, scheme="geodesic-euler")
    x0 = cs.sample_uniform(1, 3, rng=0)
    final = cs.simulate(sde, np.repeat(x0[None], 10_000, axis=0), rng=6).final
    sample = (final[:, 0] * x0[0]).sum(axis=1)
    assert p_value(sample, float(np.exp(-kernel(1.0)))) > RATE
