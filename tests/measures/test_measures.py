"""Statistics of the empirical measure against closed forms."""

import numpy as np
import pytest
from scipy import stats

import chaosphere as cs
from chaosphere import measures


def test_energy_of_antipodal_pair():
    x = np.array([[0.0, 1.0], [0.0, -1.0]])
    assert measures.energy(x, 2.0) == pytest.approx((np.exp(2.0) - np.exp(-2.0)) / 4, rel=1e-15)


def test_energy_keeps_relative_accuracy_near_consensus():
    angle = 1e-9
    x = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    assert measures.energy(x, 3.0) == pytest.approx(np.exp(3.0) * 3.0 * angle**2 / 8, rel=1e-9)


def test_energy_from_the_attention_pass():
    x = cs.sample_uniform(500, 4, rng=0, n_replicas=3)
    p = np.random.default_rng(0).random(500)
    p /= p.sum()
    attention = cs.SoftmaxAttention(beta=5.0)
    np.testing.assert_allclose(attention.evaluate(x).energy, measures.energy(x, 5.0), rtol=1e-13)
    np.testing.assert_allclose(attention.evaluate(x, p).energy, measures.energy(x, 5.0, weights=p), rtol=1e-13)
    assert cs.SoftmaxAttention(query=np.diag([1.0, 2, 3, 4]), key=np.eye(4)).evaluate(x).energy is None


def test_energy_is_invariant_when_a_token_is_split():
    x = cs.sample_uniform(50, 3, rng=0)
    doubled = np.concatenate([x, x[:1]])
    p = np.full(51, 1 / 50)
    p[[0, 50]] = 1 / 100
    assert measures.energy(doubled, 2.0, weights=p) == pytest.approx(measures.energy(x, 2.0), rel=1e-14)


def test_mean_statistics():
    x = cs.sample_uniform(100, 3, rng=0)
    p = np.random.default_rng(0).random(100)
    p /= p.sum()
    np.testing.assert_allclose(measures.mean_vector(x, weights=p), p @ x, atol=1e-16)
    assert measures.order_parameter(x, weights=p) == pytest.approx(np.linalg.norm(p @ x), rel=1e-14)
    assert np.linalg.norm(measures.mean_direction(x)) == pytest.approx(1, rel=1e-15)
    assert measures.mean_cosine(x) == pytest.approx(measures.pairwise_cosines(x).mean(), rel=1e-12)
    off = ~np.eye(100, dtype=bool)
    assert measures.mean_cosine(x, weights=p) == pytest.approx(
        np.average((x @ x.T)[off], weights=np.outer(p, p)[off]), rel=1e-12
    )


def test_cosine_histogram_counts_pairs():
    x = cs.sample_uniform(400, 3, rng=0)
    probabilities, edges = measures.cosine_histogram(x, n_bins=20)
    expected = np.histogram(measures.pairwise_cosines(x), bins=edges)[0] / (400 * 399 / 2)
    np.testing.assert_allclose(probabilities, expected, atol=1e-14)


def test_cluster_count():
    centres = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]])
    x = cs.normalize(np.repeat(centres, 30, axis=0) + 1e-3 * np.random.default_rng(0).standard_normal((90, 3)))
    assert measures.cluster_count(x, 0.05) == 3
    assert measures.cluster_count(np.stack([x, np.repeat(x[:1], 90, axis=0)]), 0.05).tolist() == [3, 1]


def test_cluster_labels_and_sizes():
    centres = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]])
    x = cs.normalize(np.repeat(centres, [3, 50, 7], axis=0) + 1e-3 * np.random.default_rng(0).standard_normal((60, 3)))
    assert measures.cluster_labels(x, 0.05).tolist() == [0] * 3 + [1] * 50 + [2] * 7
    assert measures.cluster_sizes(x, 0.05).tolist() == [50, 7, 3]
    batch = np.stack([x, np.repeat(x[:1], 60, axis=0)])
    assert measures.cluster_labels(batch, 0.05)[1].tolist() == [0] * 60
    assert measures.cluster_sizes(batch, 0.05).tolist() == [[50, 7, 3], [60, 0, 0]]
    assert measures.cluster_sizes(batch, 0.05, n_largest=2).tolist() == [[50, 7], [60, 0]]
    assert measures.cluster_sizes(batch, 0.05, n_largest=4).tolist() == [[50, 7, 3, 0], [60, 0, 0, 0]]


@pytest.mark.parametrize("dim", [2, 5])
def test_a_ball_holds_what_is_near_its_first_token(dim):
    """The three functions are of one cover, and the cover is the one that `cluster_count` describes."""
    x, tolerance = cs.sample_uniform(200, dim, rng=1, n_replicas=3), 0.7
    labels = measures.cluster_labels(x, tolerance)
    np.testing.assert_array_equal(labels.max(axis=1) + 1, measures.cluster_count(x, tolerance))
    for own, tokens, sizes in zip(labels, x, measures.cluster_sizes(x, tolerance), strict=True):
        assert sorted(np.bincount(own))[::-1] == sizes[sizes > 0].tolist()
        centres = tokens[[np.flatnonzero(own == ball)[0] for ball in range(own.max() + 1)]]
        near = np.linalg.norm(tokens[:, None] - centres, axis=2) <= tolerance
        np.testing.assert_array_equal(own, near.argmax(axis=1))


def test_cluster_sizes_are_observables():
    model = cs.Transformer(attention=cs.SoftmaxAttention(beta=4.0), mlp=None, depth=40, horizon=20.0)
    data = cs.ensemble(
        model,
        cs.laws.Uniform(dim=2),
        n_tokens=30,
        seeds=range(3),
        save_at=[0.0, 20.0],
        observe={"sizes": lambda t, x: measures.cluster_sizes(x, 0.1, n_largest=4)},
    )
    assert data["sizes"].dims == ("replica", "time", "sizes_0")
    assert (data["sizes"][:, 1].sum("sizes_0") == 30).all()
    assert (data["sizes"][:, 0].sum("sizes_0") < 30).all()


def test_uniform_sample_is_uniform():
    """Null: a coordinate in d = 3 is uniform on [−1, 1]; 20 000 tokens, Kolmogorov–Smirnov at 1e-6."""
    x = cs.sample_uniform(20_000, 3, rng=1)
    for k in range(3):
        assert stats.kstest(x[:, k], "uniform", args=(-1, 2)).pvalue > 1e-6


@pytest.mark.parametrize(("dim", "concentration"), [(2, 3.0), (3, 3.0), (8, 20.0)])
def test_von_mises_fisher_has_its_mean(dim, concentration):
    """Null: E⟨m, x⟩ = I_{d/2}(c) / I_{d/2−1}(c); 20 000 tokens, five standard errors (5.7e-7)."""
    from scipy.special import ive

    m = np.zeros(dim)
    m[-1] = 1
    u = cs.sample_von_mises_fisher(20_000, m, concentration=concentration, rng=2)[:, -1]
    expected = ive(dim / 2, concentration) / ive(dim / 2 - 1, concentration)
    assert abs(u.mean() - expected) < 5 * u.std() / np.sqrt(20_000)


@pytest.mark.parametrize("dim", [2, 3])
def test_replicas_have_the_values_of_each_system_alone(dim):
    """Bitwise, with as many tokens as sums over expansions take."""
    x = cs.sample_uniform(1500, dim, rng=0, n_replicas=5)
    for measure in (cs.measures.energy, cs.measures.mean_cosine, lambda y: cs.measures.power_spectrum(y, 4)):
        assert np.array_equal(measure(x), [measure(cloud) for cloud in x])


def test_pair_fraction():
    x = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [1.0, 0.0]])
    assert cs.measures.pair_fraction(x, 1.0) == 1 / 6
    assert cs.measures.pair_fraction(x, 0.5) == 3 / 6
    assert cs.measures.pair_fraction(x, -1.0) == 1.0
    y = cs.sample_uniform(700, 5, rng=0)  # more rows than one block holds
    upper = np.triu_indices(700, k=1)
    assert cs.measures.pair_fraction(y, 0.3) == ((y @ y.T)[upper] >= 0.3).mean()
    with pytest.raises(ValueError, match="at least two tokens"):
        cs.measures.pair_fraction(x[:1], 0.5)
    with pytest.raises(ValueError, match="above must be a finite number >= -1 and <= 1"):
        cs.measures.pair_fraction(x, 1.5)
