"""Networks before training: the exponents of their fluctuations and of their mean error, as docs/concepts derives them.

The statistics are means over independent networks, or pairs of them. They or their logarithms are taken to be normal
with their standard errors; 5.5 of them are exceeded with a probability of 4e-8, for any seeds but these.
"""

import numpy as np
import pytest
from support.attention_network import first_order

import chaosphere as cs
from chaosphere.models.operations import projected
from chaosphere.training import AttentionNetwork, MeanRegression, TrainingLimit
from chaosphere.training.heads import Heads

pytestmark = pytest.mark.statistical

OPTIONS = {"dim": 3, "horizon": 2.0, "value_scale": 1.0}
X = np.stack([cs.sample_uniform(6, 3, rng=seed) for seed in range(2)])
X = cs.normalize(X + np.array([0.5, 0.0, 0.0]))  # not symmetric: the mean error is not small by chance
LOSS = MeanRegression(targets=[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])


def ends(network, seed):
    """The final tokens, and the adjoints of the initial ones, of one seed: (2, B, N, d)."""
    result = network.gradient(network.initial(seed), X, objective=LOSS)
    return np.stack([result.final, 12 * projected(X, result.tokens)])


def pairs(depth, n_heads, *, n_pairs, **more):
    network = AttentionNetwork(depth=depth, n_heads=n_heads, **OPTIONS, **more)
    return np.stack([ends(network, seed) for seed in range(2 * n_pairs)]).reshape(n_pairs, 2, 2, -1)


def log_ratio(a, b):
    """The logarithm of the ratio of two means over pairs, and its standard error."""
    return np.log(a.mean() / b.mean()), np.sqrt(sum(v.var(ddof=1) / len(v) / v.mean() ** 2 for v in (a, b)))


@pytest.mark.parametrize("kind", [0, 1], ids=["tokens", "adjoints"])
def test_fluctuations_have_the_size_of_one_over_the_root_of_all_heads(kind):
    """Null: the mean square over 300 pairs falls by 16 from L = H = 4 to 16, up to a factor e^{0.4} by L = 4."""
    few, many = (pairs(size, size, n_pairs=300)[:, :, kind] for size in (4, 16))
    measured, error = log_ratio(*(np.square(x[:, 0] - x[:, 1]).sum(axis=1) for x in (few, many)))
    assert error < 0.12
    assert abs(measured - np.log(16)) < 0.4 + 5.5 * error


@pytest.mark.parametrize("kind", [0, 1], ids=["tokens", "adjoints"])
def test_the_mean_error_has_the_size_of_one_over_the_number_of_layers(kind):
    """Null: |E e|² falls by 16 from L = 4 to L = 16, up to a factor e^{0.5} by terms in 1/L² and 1/(L H).

    Two networks of a pair have independent errors e and e', so that the mean of ⟨e, e'⟩ is |E e|². Fluctuations are
    small here, with σ = 0.2.
    """
    limit = ends(TrainingLimit(n_cells=32, n_heads=256, std=0.2, **OPTIONS), 0)[kind].ravel()
    products = []
    for depth in (4, 16):
        e = pairs(depth, 16, n_pairs=100, std=0.2)[:, :, kind] - limit
        products.append((e[:, 0] * e[:, 1]).sum(axis=1))
    measured, error = log_ratio(*products)
    assert abs(measured - np.log(16)) < 0.5 + 5.5 * error
    assert error < 0.3


def test_the_mean_error_is_that_of_eulers_method_to_first_order():
    """Null: E e = a/L + O(1/L² + 1/(L H)), with a of the page; here the last term is less than 0.01 a/L, as σ = 0.2.

    s is the part of L e along a, in units of a, and 400 networks of each size take its mean. Its terms in 1/L leave
    2 s(2L) − s(L), which is 1 up to O(1/L²), and the same holds for the exponents −1 between two sizes.
    """
    options = OPTIONS | {"std": 0.2}
    heads = TrainingLimit(n_cells=1, n_heads=256, **options).initial(0)[0]  # the error of a is 1e-3 of it

    def f(x):
        return 2 / len(heads) * Heads(heads, x[None].copy(), is_causal=False, n_threads=1).drift[0]

    exact, a = first_order(f, X[0])
    means, errors = [], []
    for depth in (4, 8, 16):
        network = AttentionNetwork(depth=depth, n_heads=16, **options)
        ends_of_seeds = (network.forward(network.initial(seed), X[:1])[0] for seed in range(400))
        s = [depth * ((end - exact) * a).sum() / (a * a).sum() for end in ends_of_seeds]
        means.append(np.mean(s))
        errors.append(np.std(s) / 20)
    for k in range(2):
        error = np.hypot(2 * errors[k + 1], errors[k])
        assert error < 0.02
        assert abs(2 * means[k + 1] - means[k] - 1) < 0.03 + 5.5 * error
    exponents = np.diff(np.log2(means)) - 1
    error = np.linalg.norm(np.array([1, 3, 2]) * np.array(errors) / means) / np.log(2)  # of 2 p(8, 16) − p(4, 8)
    assert error < 0.04
    assert abs(2 * exponents[1] - exponents[0] + 1) < 0.03 + 5.5 * error
