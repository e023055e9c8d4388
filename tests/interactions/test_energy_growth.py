"""How fast attention alone raises the energy of the synchronization theorem: identities, sharpness, estimates."""

import math

import numpy as np
import pytest
import scipy
from support import twins

import chaosphere as cs
from chaosphere.experiments.synchronization import theorem
from chaosphere.interactions import growth

# (dE/dt)/(|δ| E) of two tokens of weight 1/2 with the cosine u, and the largest |δ| that the theorem allows at β: both
# computed by another program, in many digits.
TWO_TOKENS = {(1.0, 0.3): 0.5957056885803929, (4.0, -0.2): 0.0005201919281917871, (2.0, 0.9): 1.5452660341069997}
LARGEST_REPULSION = {
    ("relu", 64, 0.1): {0.25: 0.4319545888040073, 1.0: 0.17543632448654672, 4.0: 0.0015045480826358407},
    ("sigmoid", 5, 0.0): {0.25: 0.23854081825609685, 0.5: 0.23854081825609685, 2.0: 0.0373147207275481},
    ("relu", 5, 0.5): {0.25: 0.275, 0.5: 0.275, 1.0: 0.25342155881751527},
    ("tanh", 64, 0.1): {0.5: 0.3578925780205157, 2.0: 0.04589414470258631},
}


def ratio(attention, x, p=None, *, beta=None):
    """(dE_β/dt)/E_β under attention alone, from the drift that the attention gives."""
    beta = attention.beta if beta is None else beta
    p = np.full(len(x), 1 / len(x)) if p is None else p
    u = x @ x.T
    sums = np.exp(beta * (u - 1)) * p @ x
    drift = attention(x, p)
    drift -= (drift * x).sum(axis=1, keepdims=True) * x
    return -beta * float(p @ (drift * sums).sum(axis=1)) / (0.5 * twins.pair_energy(x, beta, p))


def pair(u):
    return np.array([[1.0, 0.0], [u, math.sqrt(1 - u * u)]])


@pytest.mark.parametrize(("beta", "u"), TWO_TOKENS)
def test_two_tokens(beta, u):
    expected = TWO_TOKENS[beta, u]
    assert 2 * beta * (1 - u * u) / math.expm1(2 * beta * (1 - u)) == pytest.approx(expected, rel=1e-14)
    attention = cs.SoftmaxAttention(beta=beta, value_scale=-0.7)
    assert ratio(attention, pair(u)) == pytest.approx(0.7 * expected, rel=1e-12)


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_close_tokens_reach_the_bound_and_none_exceed_it(beta, dim):
    attention = cs.SoftmaxAttention(beta=beta, value_scale=-0.5)
    answer = attention.energy_growth(beta, dim=dim)
    assert answer.is_exact
    assert answer.growth == 1.0
    assert ratio(attention, pair(1 - 1e-6)) == pytest.approx(1.0, rel=1e-4)
    rng = np.random.default_rng(0)
    largest = 0.0
    for k in range(200):
        n = int(rng.integers(2, 12))
        x = cs.normalize(rng.standard_normal(dim) + 10 ** rng.uniform(-2, 1) * rng.standard_normal((n, dim)))
        p = None if k % 4 == 0 else rng.dirichlet(np.full(n, 0.5))
        largest = max(largest, ratio(attention, x, p))
    assert 0.9 < largest <= 1.0 + 1e-9


def test_attraction_and_no_attention():
    for value_scale in (0.0, 1.0):
        answer = cs.SoftmaxAttention(beta=2.0, value_scale=value_scale).energy_growth(2.0)
        assert (answer.growth, answer.is_exact) == (0.0, True)
    assert ratio(cs.SoftmaxAttention(beta=2.0), pair(-1.0)) == 0.0


def test_matrices_are_read_as_what_they_are():
    for scale in (-1.0, 0.3, 0.0):
        plain = cs.SoftmaxAttention(beta=2.0, value_scale=scale)
        value = scale * np.eye(5)
        root = math.sqrt(2.0) * np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
        for matrices in ({"beta": 2.0, "value": value}, {"query": root, "key": root, "value": value}):
            assert cs.SoftmaxAttention(**matrices).energy_growth(2.0) == plain.energy_growth(2.0)
    split = cs.SoftmaxAttention(beta=2.0, value=root / math.sqrt(2.0), output=-root.T / math.sqrt(2.0))
    assert split.energy_growth(2.0).growth == pytest.approx(2.0, rel=1e-14)


def test_attraction_can_raise_the_energy_of_another_beta():
    attention = cs.SoftmaxAttention(beta=4.0)
    answer = attention.energy_growth(1.0, dim=2)
    assert not answer.is_exact
    assert answer.growth > 0.015
    assert attention.energy_growth(1.0, dim=2) == answer  # the same starts each time


def test_estimates_are_reached_and_hold_the_limit_of_close_tokens():
    rng = np.random.default_rng(3)
    query, key, value = rng.standard_normal((3, 3, 3))
    attention = cs.SoftmaxAttention(query=query, key=key, value=value)
    answer = attention.energy_growth(1.0)
    lowest, vectors = np.linalg.eigh(0.5 * (value + value.T))
    assert answer.growth >= -2 * lowest[0]
    near = cs.normalize(vectors[:, 0] + 1e-4 * np.eye(3)[:2])
    assert ratio(attention, near, beta=1.0) == pytest.approx(-2 * lowest[0], rel=1e-2)
    for _ in range(200):
        x = cs.sample_uniform(3, 3, rng=rng)
        assert ratio(attention, x, rng.dirichlet(np.ones(3)), beta=1.0) <= answer.growth


@pytest.mark.parametrize("beta", [0.0, 1.7])
def test_gradients_of_the_estimate(beta):
    rng = np.random.default_rng(1)
    form, value = rng.standard_normal((2, 4, 4))
    point = rng.standard_normal(3 * 5)
    for part, gradient in enumerate(growth._changes(point, form, value, beta)[2]):
        numeric = scipy.optimize.approx_fprime(point, lambda q, k=part: growth._changes(q, form, value, beta)[k])
        np.testing.assert_allclose(gradient, numeric, atol=1e-6)


@pytest.mark.parametrize(("name", "dim", "bias"), LARGEST_REPULSION)
def test_the_theorem_allows_repulsion_up_to_the_known_strength(name, dim, bias):
    kernel = cs.CovarianceKernel.from_activation(name, dim=dim, bias_std=bias, output_bias_std=bias)
    for beta, largest in LARGEST_REPULSION[name, dim, bias].items():
        rates = []
        for factor in (1 - 1e-9, 1 + 1e-9):
            attention = cs.SoftmaxAttention(beta=beta, value_scale=-factor * largest)
            rates.append(theorem(kernel, attention, beta=beta))
        assert rates[0][0] == pytest.approx(0.0, abs=1e-8)
        assert rates[0][0] < 0
        assert rates[1] == (None, rates[1][1])
        assert "attention repels" in rates[1][1]


def test_the_theorem():
    kernel = cs.CovarianceKernel.from_activation("sigmoid", dim=5)
    free, _ = theorem(kernel, None, beta=2.0)
    assert free == kernel.dissipation_rate(2.0)
    assert theorem(kernel, cs.SoftmaxAttention(beta=2.0), beta=2.0)[0] == free
    assert theorem(kernel, cs.SoftmaxAttention(beta=2.0), beta=1.0)[0] is None  # the energy of another β
    repulsion = cs.SoftmaxAttention(beta=2.0, value=-np.eye(5))
    assert theorem(kernel, repulsion, beta=2.0)[0] is None
    weak = cs.SoftmaxAttention(beta=2.0, value=-0.01 * np.eye(5))
    assert theorem(kernel, weak, beta=2.0)[0] == pytest.approx(free + 0.02, rel=1e-12)
    odd = cs.CovarianceKernel.from_activation("tanh", dim=5)
    assert theorem(odd, None, beta=2.0)[0] is None
    assert theorem(cs.CovarianceKernel.from_activation("relu", dim=5), None, beta=2.0)[0] is None


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda a: a.energy_growth(-1.0), ValueError, "beta must be a finite number >= 0"),
        (lambda a: a.energy_growth(np.nan), ValueError, "beta must be a finite number"),
        (lambda a: a.energy_growth("1"), TypeError, "beta must be a real number"),
        (lambda a: a.energy_growth(1.0, dim=1), ValueError, "dim must be an integer >= 2"),
        (lambda a: a.energy_growth(1.0, dim=4), ValueError, "dim must be 3, that of the matrices, got 4"),
        (lambda a: cs.SoftmaxAttention(mask="causal").energy_growth(1.0), ValueError, "mask"),
    ],
)
def test_bad_input(call, error, text):
    with pytest.raises(error, match=text):
        call(cs.SoftmaxAttention(beta=1.0, value=np.diag([1.0, 2.0, 3.0])))
