"""The discrete transformer against exact expectations and against the theory's figures.

Statistical tests state null, sample size and false-alarm rate; seeds are fixed. Figures "of the pair equation" are
expectations of u = ⟨X, Y⟩ at time 1 for two tokens from u0 = 0.3 with pre-activations ⟨w, y⟩, w ~ N(0, I), no bias,
solved as a partial differential equation in arXiv:2604.26898's limit; the simulated depth 200 adds a bias below one
standard error of these sample sizes.
"""

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import erf

import chaosphere as cs
from chaosphere.common.streams import Noise, Stream

FIVE_SIGMA = 5.0  # two-sided false-alarm rate 5.7e-7

# activation, d, β, E u, E u²
PAIR_FIGURES = [
    ("relu", 3, None, 0.3577, 0.4633),
    ("erf", 3, None, 0.2363, 0.4708),
    ("linear", 3, None, 0.2220, 0.6603),
    ("relu", 8, None, 0.6249, 0.5371),
    ("erf", 2, None, 0.2415, 0.4784),
    ("relu", 3, 2.0, 0.5744, 0.6258),
    ("erf", 4, 4.0, 0.3379, 0.5505),
]


def pair_at(cosine, dim, n_replicas):
    """Two tokens at a given cosine, in every replica."""
    x = np.zeros((n_replicas, 2, dim))
    x[:, 0, 0] = 1
    x[:, 1, 0], x[:, 1, 1] = cosine, np.sqrt(1 - cosine**2)
    return cs.normalize(x)


def check_pair_figures(activation, dim, beta, mean, square, n_replicas):
    attention = None if beta is None else cs.SoftmaxAttention(beta=beta)
    mlp = cs.MLP(width=16, activation=activation, weight_std=1.0)
    model = cs.Transformer(attention=attention, mlp=mlp, depth=200, horizon=1.0)
    final = cs.simulate(model, pair_at(0.3, dim, n_replicas), rng=2026).final
    u = (final[:, 0] * final[:, 1]).sum(axis=1)
    for sample, expected in ((u, mean), (u**2, square)):
        error = sample.std(ddof=1) / np.sqrt(n_replicas)
        assert abs(sample.mean() - expected) < FIVE_SIGMA * error, (sample.mean(), expected, error)


@pytest.mark.parametrize(("activation", "dim", "beta", "mean", "square"), PAIR_FIGURES)
def test_two_tokens(activation, dim, beta, mean, square):
    """Null: E u, E u² are the pair equation's; 1 000 replicas, five standard errors (5.7e-7)."""
    check_pair_figures(activation, dim, beta, mean, square, n_replicas=1000)


@pytest.mark.statistical
@pytest.mark.parametrize(("activation", "dim", "beta", "mean", "square"), PAIR_FIGURES)
def test_two_tokens_many_replicas(activation, dim, beta, mean, square):
    """Null as above; 20 000 replicas, five standard errors (5.7e-7)."""
    check_pair_figures(activation, dim, beta, mean, square, n_replicas=20_000)


def resultant_length(ratio):
    """E⟨y, LN(y + g/ratio)⟩ for a standard normal g in R³: the mean length of the projected normal law."""
    if ratio > 1e3:
        return 1 - 1 / ratio**2
    return np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) / ratio + (1 - 1 / ratio**2) * erf(ratio / np.sqrt(2))


def one_layer_contraction(step_size, width):
    """E⟨X', X⟩ after one layer with φ(x) = x, d = 3: the layer at one point is N(0, s²I), s² = χ²_width / (3 width)."""

    def integrand(chi2):
        return resultant_length(1 / np.sqrt(step_size * chi2 / (3 * width))) * stats.chi2.pdf(chi2, width)

    low, high = stats.chi2.ppf([1e-16, 1 - 1e-16], width)
    return integrate.quad(integrand, low, high, epsabs=1e-13, limit=200)[0]


def test_one_token_decays_as_each_layer_says():
    """Null: E⟨X_L, x0⟩ is the L-th power of one layer's contraction, exactly; 4 000 replicas, 5.7e-7."""
    depth, width, n_replicas = 50, 8, 4000
    model = cs.Transformer(attention=None, mlp=cs.MLP(width=width, activation="linear"), depth=depth, horizon=2.0)
    x0 = np.repeat(cs.sample_uniform(1, 3, rng=0)[None], n_replicas, axis=0)
    u = (cs.simulate(model, x0, rng=11).final * x0).sum(axis=(1, 2))
    expected = one_layer_contraction(2.0 / depth, width) ** depth
    assert abs(u.mean() - expected) < FIVE_SIGMA * u.std(ddof=1) / np.sqrt(n_replicas)
    assert abs(expected - 1) > 100 * u.std(ddof=1) / np.sqrt(n_replicas) / FIVE_SIGMA  # the test has power


def test_contraction_tends_to_heat_decay():
    """E⟨X_t, x0⟩ → e^{−κ(1)(d−1)t/2} with κ(1) = 1/3, d = 3, at rate 1/L."""
    limit = np.exp(-(1 / 3) * 2 * 2.0 / 2)
    errors = [abs(one_layer_contraction(2.0 / depth, 8) ** depth - limit) for depth in (100, 200, 400)]
    assert errors[2] < 0.003
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 2, atol=0.05)


@pytest.mark.parametrize(
    ("activation", "dim", "expected"),
    [("relu", 3, -0.500), ("erf", 2, -0.517), pytest.param("erf", 6, -0.307, marks=pytest.mark.slow)],
)
def test_lyapunov_exponent(activation, dim, expected):
    """Null: the mean exponent is λ1; 400 replicas, T = 4, five standard errors (5.7e-7)."""
    mlp = cs.MLP(width=16, activation=activation, weight_std=1.0)
    model = cs.Transformer(attention=None, mlp=mlp, depth=400, horizon=4.0)
    x = cs.sample_uniform(1, dim, rng=3, n_replicas=400)
    sample = cs.measures.lyapunov_exponent(model, x, rng=4)
    assert abs(sample.mean() - expected) < FIVE_SIGMA * sample.std(ddof=1) / np.sqrt(400)


def test_cluster_contracts_at_the_rate_of_attention():
    """Without noise a tight pair closes at rate δ: log distance falls by δT up to O(T/L)."""
    model = cs.Transformer(attention=cs.SoftmaxAttention(beta=3.0), mlp=None, depth=2000, horizon=1.0)
    near = cs.normalize(np.array([[1.0, 0.0, 0.0], [1.0, 1e-6, 0.0]]))
    after = cs.simulate(model, near, rng=0).final
    rate = np.log(np.linalg.norm(after[0] - after[1]) / np.linalg.norm(near[0] - near[1]))
    assert abs(rate + 1.0) < 1e-3


@pytest.mark.parametrize("width", [pytest.param(1, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize(
    ("activation", "kappa"),
    [
        ("relu", lambda c: (np.sqrt(1 - c**2) + c * (np.pi - np.arccos(c))) / (2 * np.pi)),
        ("erf", lambda c: 2 / np.pi * np.arcsin(2 * c / 3)),
        ("linear", lambda c: c),
        ("sin", lambda c: np.exp(-1) * np.sinh(c)),
    ],
)
def test_layer_covariance(activation, kappa, width):
    """Null: E[G(x)G(y)ᵀ] = κ(⟨x, y⟩) I for every width, q = 1; 40 000 layers, each entry 5.7e-7."""
    n = 40_000
    x = pair_at(0.4, 3, 1)[0]
    layers = (
        cs.MLP(width=width, activation=activation, weight_std=1.0)
        .plan(3)
        .draw([Noise(1, n_replicas=n).draws(Stream.LAYER, 0)])
    )
    g = layers(np.repeat(x[None], n, axis=0))
    products = g[:, 0, :, None] * g[:, 1, None, :]
    error = products.std(axis=0, ddof=1) / np.sqrt(n)
    assert (np.abs(products.mean(axis=0) - kappa(0.4) * np.eye(3)) < FIVE_SIGMA * error).all()
