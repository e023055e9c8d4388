"""How fast interactions other than softmax attention raise the energy of the synchronization theorem."""

import math

import numpy as np
import pytest
import scipy
from scipy.special import softmax
from support import twins

import chaosphere as cs
from chaosphere.experiments.synchronization import theorem

# Four tokens, with weights, whose E_β rises under attraction by doubly stochastic attention, and (dE_β/dt)/E_β there by
# another program in 30 digits.
RISING = {
    2.0: (
        [[-0.759, -0.329, 0.562], [0.195, -0.764, 0.614], [0.219, 0.371, -0.902], [0.042, 0.209, 0.977]],
        [117, 117, 9648, 117],
        0.0029198011,
    ),
}


def ratio(interaction, x, p=None, *, beta, floor=0.0):
    """(dE_β/dt)/E_β under an interaction alone, from the drift that it gives; with a floor of the energy, of e^β."""
    p = np.full(len(x), 1 / len(x)) if p is None else p
    sums = np.exp(beta * (x @ x.T - 1)) * p @ x
    drift = interaction(x, p)
    drift -= (drift * x).sum(axis=1, keepdims=True) * x
    return -beta * float(p @ (drift * sums).sum(axis=1)) / (0.5 * twins.pair_energy(x, beta, p) + floor)


def pair(u):
    return np.array([[1.0, 0.0], [u, math.sqrt(1 - u * u)]])


def clouds(dim, n_clouds=100):
    """Tokens near one point or anywhere, with weights."""
    rng = np.random.default_rng(0)
    for _ in range(n_clouds):
        n = int(rng.integers(2, 12))
        x = cs.normalize(rng.standard_normal(dim) + 10 ** rng.uniform(-2, 1) * rng.standard_normal((n, dim)))
        yield x, rng.dirichlet(np.full(n, 0.5))


@pytest.mark.parametrize("is_rescaled", [False, True])
@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_unnormalized_repulsion(beta, dim, is_rescaled):
    """Close tokens reach the bound, and no cloud exceeds it."""
    attention = cs.UnnormalizedAttention(beta=beta, value_scale=-0.5, rescaled=is_rescaled)
    answer = attention.energy_growth(beta, dim=dim)
    assert (answer.is_bound, answer.is_exact) == (True, True)
    assert answer.growth == pytest.approx(1.0 if is_rescaled else math.exp(beta), rel=1e-14)
    assert answer.growth == -2 * attention.consensus_rate
    assert ratio(attention, pair(1 - 1e-6), beta=beta) == pytest.approx(answer.growth, rel=1e-4)
    largest = max(ratio(attention, x, p, beta=beta) / answer.growth for x, p in clouds(dim))
    assert 0.9 < largest <= 1.0 + 1e-9


@pytest.mark.parametrize("beta", [0.5, 6.0])
def test_no_weighted_tokens_are_found_that_exceed_the_bound(beta):
    """By ascent from tokens anywhere: the largest growth that four of them reach is that of close ones."""
    attention = cs.UnnormalizedAttention(beta=beta, value_scale=-1.0, rescaled=True)

    def parts(point):
        return cs.normalize(point[:12].reshape(4, 3)), softmax(point[12:])

    def negative(point):
        return -ratio(attention, *parts(point), beta=beta, floor=1e-7)  # rounding decides closer to consensus

    rng, largest = np.random.default_rng(0), []
    for spread in (1.0, 1.0, 0.3):
        start = np.append(np.tile([0.0, 0.0, 1.0], 4) + spread * rng.standard_normal(12), rng.standard_normal(4))
        end = scipy.optimize.minimize(negative, start, method="L-BFGS-B", options={"maxiter": 30})
        largest.append(-end.fun)
        assert end.fun < negative(start)
    assert 1.9 < max(largest) <= 2.0


def test_unnormalized_attraction_and_other_betas():
    for value_scale in (0.0, 1.0):
        answer = cs.UnnormalizedAttention(beta=2.0, value_scale=value_scale).energy_growth(2.0)
        assert (answer.growth, answer.is_exact) == (0.0, True)
    assert cs.UnnormalizedAttention(beta=2.0).energy_growth(1.0) is None
    free = cs.UnnormalizedAttention(beta=0.0, value_scale=-1.0)
    assert free.energy_growth(0.0) == cs.SoftmaxAttention(beta=0.0, value_scale=-1.0).energy_growth(0.0)
    for x, p in clouds(3, 30):
        assert ratio(cs.UnnormalizedAttention(beta=2.0), x, p, beta=2.0) <= 1e-12


def test_attention_by_distances_is_softmax_attention_at_twice_beta():
    root = math.sqrt(1.5) * np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    distances = cs.L2Attention(query=root, key=root, value_scale=-0.5)
    assert distances.energy_growth(3.0) == cs.SoftmaxAttention(beta=3.0, value_scale=-0.5).energy_growth(3.0)
    largest = max(ratio(distances, x, p, beta=3.0) for x, p in clouds(3))
    assert 0.9 < largest <= 1.0 + 1e-9
    general = cs.L2Attention(query=root, key=root, value=np.diag([1.0, -2.0, 0.5])).energy_growth(3.0)
    assert not general.is_bound
    assert general.growth >= 4.0 - 1e-12
    assert cs.L2Attention(query=root, key=np.diag([1.0, 2.0, 3.0]) @ root).energy_growth(3.0) is None


@pytest.mark.parametrize("combine", ["mean", "sum"])
def test_heads_that_repel(combine):
    """Softmax and unnormalised heads of one β: the combined rate is exact, and what no cloud exceeds."""
    heads = [
        cs.SoftmaxAttention(beta=1.5, value_scale=-0.5),
        cs.UnnormalizedAttention(beta=1.5, value_scale=-0.2),
        cs.UnnormalizedAttention(beta=1.5, value_scale=0.0),
    ]
    attention = cs.MultiHeadAttention(heads=heads, combine=combine)
    answer = attention.energy_growth(1.5)
    share = 3 if combine == "mean" else 1
    assert answer.growth == pytest.approx((1 + 0.4 * math.exp(1.5)) / share, rel=1e-14)
    assert (answer.is_bound, answer.is_exact) == (True, True)
    largest = max(ratio(attention, x, p, beta=1.5) / answer.growth for x, p in clouds(3))
    assert 0.9 < largest <= 1.0 + 1e-9


def test_heads_of_which_some_repel():
    heads = [cs.SoftmaxAttention(beta=1.5, value_scale=-0.5), cs.UnnormalizedAttention(beta=1.5, value_scale=0.1)]
    attention = cs.MultiHeadAttention(heads=heads, combine="sum")
    answer = attention.energy_growth(1.5)
    assert (answer.growth, answer.is_bound, answer.is_exact) == (1.0, True, False)
    assert all(ratio(attention, x, p, beta=1.5) <= 1.0 for x, p in clouds(3))
    attracting = cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(beta=1.5), heads[1]]).energy_growth(1.5)
    assert (attracting.growth, attracting.is_exact) == (0.0, True)


def test_heads_without_a_bound():
    repels = cs.SoftmaxAttention(beta=1.5, value_scale=-0.5)
    for other in (
        cs.SinkhornAttention(beta=1.5),
        cs.PotentialInteraction([0.0, 1.0]),
        cs.CustomInteraction(lambda x, weights: -x),
        cs.SoftmaxAttention(beta=1.0),
        cs.UnnormalizedAttention(beta=1.0),
    ):
        assert cs.MultiHeadAttention(heads=[repels, other]).energy_growth(1.5) is None


@pytest.mark.parametrize("beta", RISING)
def test_doubly_stochastic_attraction_can_raise_the_energy(beta):
    """So that it has no `energy_growth`: attraction by softmax attention never does."""
    tokens, weights, expected = RISING[beta]
    x, p = cs.normalize(np.array(tokens)), np.array(weights) / sum(weights)
    assert ratio(cs.SinkhornAttention(beta=beta, tolerance=1e-13), x, p, beta=beta) == pytest.approx(expected, rel=0.02)
    assert ratio(cs.SoftmaxAttention(beta=beta), x, p, beta=beta) < 0


def test_the_theorem_takes_every_interaction():
    kernel = cs.CovarianceKernel.from_activation("sigmoid", dim=5)
    free = kernel.dissipation_rate(2.0)
    weak = cs.UnnormalizedAttention(beta=2.0, value_scale=-0.01 * math.exp(-2.0))
    assert theorem(kernel, weak, beta=2.0)[0] == pytest.approx(free + 0.02, rel=1e-12)
    strong = cs.UnnormalizedAttention(beta=2.0, value_scale=free / 2)
    assert "attention repels" in theorem(kernel, strong, beta=2.0)[1]
    assert theorem(kernel, strong, beta=2.0)[0] is None
    several = cs.MultiHeadAttention(heads=[weak, cs.SoftmaxAttention(beta=2.0)])
    assert theorem(kernel, several, beta=2.0)[0] == pytest.approx(free + 0.01, rel=1e-12)
    for unknown in (cs.SinkhornAttention(beta=2.0), cs.PotentialInteraction([0.0, 1.0]), several.heads[0]):
        rate, reason = theorem(kernel, unknown, beta=2.0 if unknown is not weak else 1.0)
        assert (rate, reason) == (None, "no bound is known on how fast attention alone raises the energy")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cs.UnnormalizedAttention().energy_growth(-1.0), ValueError, "beta must be a finite number >= 0"),
        (lambda: cs.UnnormalizedAttention().energy_growth(1.0, dim=1), ValueError, "dim must be an integer >= 2"),
        (lambda: cs.UnnormalizedAttention(mask="causal").energy_growth(1.0), ValueError, "mask"),
        (lambda: cs.UnnormalizedAttention(value_scale=[1.0]).energy_growth(2.0), ValueError, "must be a number here"),
        (
            lambda: cs.L2Attention(query=np.eye(3), key=np.eye(3)).energy_growth(1.0, dim=4),
            ValueError,
            "dim must be 3, that of the matrices, got 4",
        ),
        (
            lambda: cs.L2Attention(query=np.eye(3), key=np.eye(3), value_scale=lambda t: t).energy_growth(1.0),
            ValueError,
            "value_scale must be a number here",
        ),
        (
            lambda: cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(beta=[1.0])]).energy_growth(1.0),
            ValueError,
            "beta must be a number here",
        ),
        (lambda: cs.MultiHeadAttention(heads=[cs.SoftmaxAttention()]).energy_growth("1"), TypeError, "beta must be"),
    ],
)
def test_bad_input(call, error, text):
    with pytest.raises(error, match=text):
        call()
