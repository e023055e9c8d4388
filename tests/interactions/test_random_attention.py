"""Attention whose heads are drawn anew for every layer, as noise of networks and of their limit."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Stream
from chaosphere.models.protocol import StepContext
from chaosphere.noise.protocol import is_noise

VALUES = cs.RandomAttention(n_heads=2, beta=1.5, value_std=0.5)
HEADS = cs.RandomAttention(n_heads=3, head_dim=2, query_key_std=1.2, value_std=0.5)
BOTH = pytest.mark.parametrize("noise", [VALUES, HEADS], ids=["values", "heads"])
# Each statistical test accepts a fault-free state but with probability 1e-6.
FALSE_ALARM = 1e-6


class Stop(Exception):
    pass


class Until:
    """An observable that stops the run after a time, which makes no other observable."""

    version = 1

    def __init__(self, end):
        self.end = end

    def __call__(self, t, x):
        if t > self.end:
            raise Stop
        return x.mean()


def network(noise, *, depth=8, horizon=1.0, mlp=None):
    return cs.Transformer(attention=noise, mlp=mlp, depth=depth, horizon=horizon)


def twin_layer(x, noise, step, *, seed, size, weights=None, replica=0):
    """Return LN(x + √h G(x)) of one system (N, d) from the normals of the seed."""
    dim = x.shape[1]
    shapes = [(noise.n_heads, dim, dim)]
    if noise.head_dim is not None:
        shapes += 2 * [(noise.n_heads, noise.head_dim, dim)]
    v, *q_k = (
        drawn[replica] for drawn in Noise(seed, n_replicas=replica + 1).draws(Stream.HEADS, step).normals(*shapes)
    )
    total = 0.0
    for h in range(noise.n_heads):
        form = noise.beta if noise.beta is not None else noise.query_key_std**2 * q_k[0][h].T @ q_k[1][h]
        mean, _ = twins.attention(x, form, weights=weights)
        total = total + mean @ v[h].T
    y = x + math.sqrt(size / noise.n_heads) * noise.value_std * total
    return y / np.linalg.norm(y, axis=1, keepdims=True)


@BOTH
@pytest.mark.parametrize("dim", [2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layers_against_their_twin(noise, dim, dtype):
    x = cases.tokens(70, dim, dtype, n_replicas=2)
    end = cs.simulate(network(noise, depth=3), x, rng=4).final
    expected = x.astype(np.float64)
    for r in range(2):
        for step in range(3):
            expected[r] = twin_layer(expected[r], noise, step, seed=4, size=1 / 3, replica=r)
    twins.assert_close(end, expected, atol=1e-13 if dtype == np.float64 else 3e-6, dtype=dtype)


@BOTH
def test_the_limit_in_split_steps_is_the_network(noise):
    """To the bit, with the same heads; the other schemes of Itô differ by the size of a step."""
    x = cases.tokens(40, 3)[0]
    end = cs.simulate(network(noise, depth=50), x, rng=1).final
    limits = {
        scheme: cs.LimitSDE(attention=None, field=noise, horizon=1.0, n_steps=50, scheme=scheme)
        for scheme in ("split", "projected-euler", "geodesic-euler")
    }
    ends = {scheme: cs.simulate(limit, x, rng=1).final for scheme, limit in limits.items()}
    assert np.array_equal(ends["split"], end)
    for scheme in ("projected-euler", "geodesic-euler"):
        assert 0 < cs.measures.coupled_distance(ends[scheme], end) < 0.15
        assert cs.measures.coupled_distance(ends[scheme], cs.simulate(limits[scheme], x, rng=2).final) > 0.5


@BOTH
def test_coarse_noise_is_the_sum_of_fine(noise):
    x, shape = cases.tokens(30, 3, n_replicas=2), Shape(n_replicas=2, n_tokens=30, dim=3)
    plan, noises = noise.noise_plan(shape), Noise(3, n_replicas=2)
    parts = [noises.draws(Stream.HEADS, k) for k in range(4)]
    coarse = plan.increment(parts, duration=0.4)(x, n_threads=1)
    fine = sum(plan.increment([part], duration=0.1)(x, n_threads=1) for part in parts)
    twins.assert_close(coarse, fine, atol=1e-14)
    # A coarse network and a fine one of the same seed are near each other.
    fine, coarse = (network(noise, depth=64, mlp=cs.MLP(width=8)).coarsen(factor) for factor in (1, 4))
    ends = [cs.simulate(model, x, rng=0).final for model in (fine, coarse)]
    distance = cs.measures.coupled_distance(*ends).max()
    assert distance < 0.4
    assert cs.measures.coupled_distance(ends[0], cs.simulate(coarse, x, rng=1).final).min() > 2 * distance


def fourth_cumulants(noise):
    """Of a component of one step, and of two steps of half its length together, with standard errors by 50 batches."""
    n, x = 40_000, np.array([[1.0, 0.0], [-0.8, 0.6], [-0.8, -0.6]])
    plan, noises = noise.noise_plan(Shape(n_replicas=n, n_tokens=3, dim=2)), Noise(3, n_replicas=n)
    for n_parts in (1, 2):
        parts = [noises.draws(Stream.HEADS, k) for k in range(n_parts)]
        y = plan.increment(parts, duration=1.0)(np.tile(x, (n, 1, 1)), n_threads=1)[:, 0, 0]
        squares = (y**2).mean()
        batches = (y**4 - 6 * squares * y**2 + 3 * squares**2).reshape(50, -1).mean(axis=1)  # to first order
        yield batches.mean(), batches.std() / 50**0.5


def test_levels_of_random_queries_have_other_laws():
    """Null: of H heads the fourth cumulant is twice that of 2H; with fixed Q and K both are 0. 5 standard errors, 6e-7.

    So `estimate` refuses the former: the sum over its levels would not be the finest of them.
    """
    heads = cs.RandomAttention(head_dim=1, query_key_std=2.0)
    (one, error), (two, error_of_two) = fourth_cumulants(heads)
    assert abs(one - 2 * two) < 5 * math.hypot(error, 2 * error_of_two)
    assert one - two > 5 * math.hypot(error, error_of_two)
    values = cs.RandomAttention(beta=2.0)
    assert all(abs(cumulant) < 5 * error for cumulant, error in fourth_cumulants(values))
    shape = Shape(n_tokens=3, dim=2)
    with pytest.raises(ValueError, match="field must be a RandomAttention with beta=, got one with head_dim="):
        heads.noise_plan(shape).check_levels()
    values.noise_plan(shape).check_levels()


@BOTH
def test_noise_depends_neither_on_threads_nor_on_tokens_that_are_not_felt(noise):
    x = cases.tokens(300, 3)[0]
    one, two = (cs.simulate(network(noise), x, rng=0, n_threads=n).final for n in (1, 2))
    assert np.array_equal(one, two)
    limit = cs.MeanField(model=network(noise), law=cs.laws.Uniform(dim=3), n_nodes=50)
    alone = cs.simulate(limit, limit.start(), rng=0).final
    joined = cs.simulate(limit, limit.start(x), rng=0).final
    np.testing.assert_allclose(joined[: len(alone)], alone, rtol=0, atol=1e-14)
    expected = limit.nodes
    for step in range(8):
        expected = twin_layer(expected, noise, step, seed=0, size=1 / 8, weights=limit.weights)
    twins.assert_close(alone, expected, atol=1e-12)


@BOTH
def test_replicas(noise):
    """Each has heads of its own, those of a run alone; shared ones are those of the first."""
    x = cases.tokens(20, 3, n_replicas=3)
    own = cs.simulate(network(noise), x, rng=[5, 6, 7]).final
    for r in range(3):
        assert np.array_equal(own[r], cs.simulate(network(noise), x[r], rng=5 + r).final)
    for dim in (3, 5):
        x = cases.tokens(20, dim, n_replicas=3)
        shared = cs.simulate(network(noise), x, rng=5, shared_noise=True).final
        for r in range(3):
            assert np.array_equal(shared[r], cs.simulate(network(noise), x[r], rng=5).final)


@BOTH
def test_it_has_no_mask_beside_attention_that_has_one(noise):
    """Under a causal mask nodes have weights by places; the noise feels all of them."""
    causal = cs.SoftmaxAttention(beta=2.0, mask="causal")
    model = cs.LimitSDE(attention=causal, field=noise, horizon=0.5, n_steps=10, scheme="split")
    laws = [cs.laws.VonMisesFisher(mean_direction=mean, concentration=4.0) for mean in ((1.0, 0.0), (0.0, 1.0))]
    grid = np.linspace(-math.pi, math.pi, 4001)
    quantiles = np.arange(1, 1025) * (math.sqrt(5) - 1) / 2 % 1
    angle = np.interp(quantiles, scipy.stats.vonmises(4.0).cdf(grid), grid)
    start = np.concatenate([np.stack([np.cos(a), np.sin(a)], axis=1) for a in (angle, angle + np.pi / 2)])
    means = np.mean(np.split(cs.simulate(model, start, rng=5).final, 2), axis=1)
    limit = cs.MeanField(model=model, law=laws, n_nodes=32, n_places=8)
    weighted = 2 * limit.weights[:, None] * cs.simulate(limit, limit.start(), rng=5).final
    assert np.abs(means - np.sum(np.split(weighted, 2), axis=1)).max() < 0.005


@pytest.mark.parametrize("method", ["fourier", "harmonic"])
def test_fast_sums(method):
    x = cases.tokens(500, 2 if method == "fourier" else 3)[0]
    direct, fast = (cs.simulate(network(replace(VALUES, method=m)), x, rng=0) for m in ("direct", method))
    np.testing.assert_allclose(fast.final, direct.final, rtol=0, atol=1e-8)
    assert network(VALUES).plan(Shape(n_tokens=10**6, dim=x.shape[1])).describe().attention.method == method


@pytest.mark.parametrize("depth", [100, 200, 400])
def test_orthogonal_tokens_end_opposite_with_the_probability_of_the_pair_equation(depth):
    """Null: the probability .3364 for d = 3, β = 2, at three sizes of steps.

    2 000 pairs, which have settled by time 10. The share is within 5 standard errors: false-alarm rate 6e-7.
    """
    noise, n = cs.RandomAttention(beta=2.0), 2000
    x = np.zeros((n, 2, 3))
    x[:, 0, 0] = x[:, 1, 1] = 1.0
    model = cs.Transformer(attention=noise, mlp=None, depth=depth, horizon=10.0)
    end = cs.simulate(model, x, rng=depth).final
    u = np.einsum("rc,rc->r", end[:, 0], end[:, 1])
    exact = float(cs.two_point.hitting_probabilities(noise.pair(3), 0.0).minus)
    assert np.mean(np.abs(u) > 0.9) > 0.98
    assert abs(np.mean(u < 0) - exact) < 5 * math.sqrt(exact * (1 - exact) / n)


@pytest.mark.parametrize(("dim", "beta"), [(3, 1.0), (4, 2.0)])
def test_exponents_of_two_tokens(dim, beta):
    """log|X ∓ Y| after time T is Gaussian: about consensus with mean −½(d − 1)σ²T and variance σ²T, about an antipodal
    pair with ½σ²[(d − 3) − (d − 1) t²] T and σ²(1 + t²) T, t = tanh β.

    Null: these laws, of 1 000 replicas. The mean is compared by its standard error, the variance by that of χ²; both
    have an allowance of 2 % for steps of 1/400. False-alarm rate 1e-6 each.
    """
    r, horizon, sigma = 1000, 0.2, 0.7
    noise = cs.RandomAttention(beta=beta, value_std=sigma)
    model = network(noise, depth=80, horizon=horizon)
    x = np.zeros((r, 2, dim))
    t = math.tanh(beta)
    laws = {
        1.0: (-0.5 * (dim - 1) * sigma**2, sigma**2),
        -1.0: (0.5 * sigma**2 * ((dim - 3) - (dim - 1) * t**2), sigma**2 * (1 + t**2)),
    }
    for sign, (mean, variance) in laws.items():
        x[:, :, 0], x[:, 1, 1] = [1.0, sign], 1e-6
        y = cs.simulate(model, cs.normalize(x), rng=11).final
        log = np.log(np.linalg.norm(y[:, 0] - sign * y[:, 1], axis=1) / 1e-6)
        z = scipy.stats.norm.isf(FALSE_ALARM / 2)
        variance *= horizon
        assert abs(log.mean() - mean * horizon) < z * math.sqrt(variance / r) + 0.02 * abs(mean) * horizon
        assert abs(log.var(ddof=1) / variance - 1) < z * math.sqrt(2 / r) + 0.02


def test_many_heads_have_the_covariance_of_the_limit():
    """E⟨m(x), m(y)⟩ of two tokens under Gaussian QᵀK, against quadrature (N = 2).

    Null: with R = 1 500 independent layers of one head, the mean of ⟨G(x), G(y)⟩/(dσ²) is the quadrature; its standard
    error is estimated, z for a false-alarm rate of 1e-6, and 1 % allows for head_dim = 64 instead of infinity.
    """
    u, std, dim, k, r = 0.5, 1.0, 3, 64, 1500
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = np.outer(weight, weight) / weight.sum() ** 2
    scale = math.sqrt(2 * (1 - u)) * std
    g = scale * node[:, None] + 0 * node, scale * (u * node[:, None] + math.sqrt(1 - u * u) * node)
    p, q = (1 / (1 + np.exp(-part)) for part in g)
    s_xx = 1 - 2 * (1 - u) * np.sum(weight * p * (1 - p))
    s_xy = u + (1 - u) * np.sum(weight * (p * q + (1 - p) * (1 - q)))
    np.testing.assert_allclose([s_xx, s_xy], [0.7933790358580928, 0.771428325631705], atol=1e-9)
    noise = cs.RandomAttention(head_dim=k, query_key_std=k**-0.25 * math.sqrt(std))
    x = np.tile(np.array([[1.0, 0.0, 0.0], [u, math.sqrt(1 - u * u), 0.0]]), (r, 1, 1))
    plan = noise.noise_plan(Shape.of(x))
    g = plan.increment([Noise(2, n_replicas=r).draws(Stream.HEADS, 0)], duration=1.0)(x, n_threads=1)
    for a, b, expected in ((0, 0, s_xx), (0, 1, s_xy)):
        products = np.einsum("rc,rc->r", g[:, a], g[:, b]) / dim
        error = products.std(ddof=1) / math.sqrt(r)
        assert abs(products.mean() - expected) < scipy.stats.norm.isf(FALSE_ALARM / 2) * error + 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of beta and head_dim must be given"),
        ({"beta": 1.0, "head_dim": 2}, "one of beta and head_dim must be given"),
        ({"beta": 1.0, "query_key_std": 1.0}, "query_key_std must be None with beta"),
        ({"head_dim": 2}, "query_key_std must be given with head_dim"),
        ({"head_dim": 0, "query_key_std": 1.0}, "head_dim must be an integer >= 1"),
        ({"head_dim": 2, "query_key_std": -1.0}, "query_key_std must be a finite number"),
        ({"head_dim": 2, "query_key_std": 1.0, "method": "fourier"}, "method must be 'auto' or 'direct'"),
        ({"beta": -1.0}, "beta must be"),
        ({"beta": math.inf}, "beta must be a finite number"),
        ({"beta": 1.0, "n_heads": 0}, "n_heads must be an integer >= 1"),
        ({"beta": 1.0, "value_std": math.nan}, "value_std must be a finite number"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        cs.RandomAttention(**arguments)


def test_what_does_not_take_it():
    for schedule in ([1.0, 2.0], lambda t: t):
        with pytest.raises(ValueError, match=r"beta must be a number.*draws of one law"):
            cs.RandomAttention(beta=schedule)
    with pytest.raises(ValueError, match="evaluates the noise twice"):
        cs.LimitSDE(attention=None, field=VALUES, horizon=1.0, n_steps=2, scheme="heun")
    with pytest.raises(ValueError, match="it has no order with a field"):
        cs.LimitSDE(attention=None, field=VALUES, horizon=1.0, n_steps=2, scheme="rk4")
    with pytest.raises(TypeError, match="attention must be a SoftmaxAttention"):
        cs.LimitSDE(attention=VALUES, field=None, horizon=1.0, n_steps=2)
    with pytest.raises(TypeError, match="field must be a GaussianField, another common noise"):
        cs.LimitSDE(attention=None, field=cs.SoftmaxAttention(), horizon=1.0, n_steps=2)
    limit = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=VALUES, horizon=1.0, n_steps=2)
    with pytest.raises(ValueError, match="must have a GaussianField or no field"):
        cs.CircleDensity(model=limit, law=cs.laws.Uniform(dim=2), n_modes=8)
    with pytest.raises(ValueError, match="attention without random heads"):
        cs.coupled_run(network(VALUES, mlp=cs.MLP(width=8)), cases.tokens(5, 3)[0], rng=0)


def test_cost_and_checkpoint(tmp_path):
    assert is_noise(VALUES)
    cost = network(HEADS).plan(Shape(n_tokens=10, dim=3)).cost
    assert (cost.pairs, cost.normals) == (300.0, 3 * (9 + 2 * 6))
    x, path = cases.tokens(10, 3)[0], tmp_path / "run.npz"
    model, context = network(HEADS), StepContext(noise=Noise(0), n_threads=1)
    plan = model.plan(Shape.of(x[None]))
    by_hand = x[None]
    for step in range(8):
        by_hand = plan.advance(by_hand, range(step, step + 1), context)

    options = {"rng": 0, "checkpoint": cs.Checkpoint(path=path, every_steps=1)}
    with pytest.raises(Stop):
        cs.simulate(model, x, observe={"mean": Until(0.5)}, **options)
    assert np.array_equal(cs.simulate(model, x, observe={"mean": Until(2.0)}, **options).final, by_hand[0])
