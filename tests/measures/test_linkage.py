"""Clusters by linkage: against all pairs, their centres and radii, weights and replicas."""

import tracemalloc

import numpy as np
import pytest
import scipy.spatial

import chaosphere as cs
from chaosphere.measures import linkage


def by_all_pairs(x, scale):
    """Labels by a search over all pairs."""
    near = np.linalg.norm(x[:, None] - x[None], axis=2) <= scale
    labels = np.full(len(x), -1)
    for i in range(len(x)):
        if labels[i] >= 0:
            continue
        label, queue = labels.max() + 1, [i]
        while queue:
            j = queue.pop()
            if labels[j] < 0:
                labels[j] = label
                queue += np.flatnonzero(near[j]).tolist()
    return labels


@pytest.mark.parametrize(("dim", "scale"), [(2, 0.01), (2, 0.1), (3, 0.2), (3, 0.5), (8, 1.0), (3, 0.0)])
def test_labels_are_those_of_all_pairs(dim, scale):
    x = cs.sample_uniform(100, dim, rng=0)
    x[50:60] = x[3]
    groups = cs.measures.clusters(x, scale=scale)
    assert np.array_equal(groups.labels, by_all_pairs(x, scale))
    assert np.array_equal(groups.sizes, np.bincount(groups.labels))


@pytest.mark.parametrize(("dim", "scale"), [(2, 0.001), (2, 0.05), (3, 0.05), (3, 0.2), (5, 0.6), (8, 1.1)])
def test_labels_by_cells(dim, scale, monkeypatch):
    x = cs.sample_uniform(300, dim, rng=0)
    x[100:200] = cs.normalize(x[:100] + 0.3 * scale * cs.sample_uniform(100, dim, rng=1))
    monkeypatch.setattr(linkage, "MAX_LINKS", -1)
    assert np.array_equal(cs.measures.clusters(x, scale=scale).labels, by_all_pairs(x, scale))


@pytest.mark.parametrize(("factor", "n_clusters"), [(1 - 1e-9, 1), (1 + 1e-9, 2)])
def test_cells_are_linked_by_their_nearest_tokens_up_to_the_scale(factor, n_clusters, monkeypatch):
    """Two cells of two tokens each, whose first ones (of the smallest cosine) are farther apart than the scale."""
    gap = 2 * np.arcsin(0.05 * factor)
    angles = np.array([0.02, 0.045, 0.045 + gap, 0.17])
    monkeypatch.setattr(linkage, "MAX_LINKS", -1)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert len(cs.measures.clusters(x, scale=0.1).sizes) == n_clusters


def test_groups_that_are_apart_are_compared_once(monkeypatch):
    """Two tight clusters more than a scale and less than three from one another, in many cells each."""
    centres = np.zeros((2, 8))
    centres[:, :2] = [[1.0, 0.0], [np.cos(0.65), np.sin(0.65)]]
    x = cs.normalize(np.repeat(centres, 500, axis=0) + 0.05 * np.random.default_rng(0).standard_normal((1000, 8)))
    counts = []
    query = scipy.spatial.cKDTree.query

    class Counting(scipy.spatial.cKDTree):
        def query(self, *arguments, **options):
            counts.append(1)
            return query(self, *arguments, **options)

    monkeypatch.setattr(scipy.spatial, "cKDTree", Counting)
    labels = cs.measures.clusters(x, scale=0.25).labels
    assert np.array_equal(labels, by_all_pairs(x, 0.25))
    assert 1 <= len(counts) <= 20  # every pair of cells would take thousands


def test_many_tokens_in_few_clusters():
    """A list of all links would have 4e8 of them."""
    centres = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    x = cs.normalize(np.repeat(centres, 20_000, axis=0) + 0.01 * cs.sample_uniform(40_000, 3, rng=0))
    assert cs.measures.clusters(x, scale=0.1).sizes.tolist() == [20_000, 20_000]


@pytest.mark.parametrize("scale", [0.8, 1.3])
def test_many_neighbours_in_many_dimensions_take_memory_of_the_tokens(scale):
    """Nearly every token has a cell of its own and many neighbours: a list of their pairs would take 80 MB or more."""
    x = cs.sample_uniform(4000, 8, rng=0)
    cs.measures.clusters(x[:10], scale=scale)  # imports
    tracemalloc.start()
    try:
        groups = cs.measures.clusters(x, scale=scale)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6
    assert groups.sizes.sum() == 4000


def test_centres_of_light_clusters_are_means():
    x = cs.normalize(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.02]]))
    light = cs.measures.clusters(x, scale=0.1, weights=[1 - 2e-13, 1e-13, 1e-13])
    equal = cs.measures.clusters(x, scale=0.1, weights=[0.2, 0.4, 0.4])
    np.testing.assert_allclose(light.centres, equal.centres, rtol=0, atol=1e-15)
    np.testing.assert_allclose(light.radii, equal.radii, rtol=0, atol=1e-15)


def test_centres_radii_and_weights():
    x = cs.normalize(np.array([[1.0, 0.1], [-1.0, 0.0], [1.0, -0.1]]))
    groups = cs.measures.clusters(x, scale=0.3, weights=[0.25, 0.5, 0.25])
    np.testing.assert_allclose(groups.centres, [[1.0, 0.0], [-1.0, 0.0]], atol=1e-15)
    np.testing.assert_allclose(groups.radii, [2 * np.sin(np.arctan(0.1) / 2), 0.0], atol=1e-15)
    assert groups.weights.tolist() == [0.5, 0.5]
    opposite = cs.measures.clusters(x[:2] * [[1.0, 1.0], [1.0, 1.0]], scale=2.0)
    assert opposite.sizes.tolist() == [2]
    assert np.isfinite(opposite.centres).all()


def test_replicas_and_float32():
    x = cs.sample_uniform(30, 3, rng=0, n_replicas=2).astype(np.float32)
    batch = cs.measures.clusters(x, scale=0.3)
    assert [np.array_equal(g.labels, by_all_pairs(t.astype(float), 0.3)) for g, t in zip(batch, x, strict=True)] == [
        True,
        True,
    ]


def test_bad_arguments():
    x = cs.sample_uniform(5, 3, rng=0)
    for scale in (-0.1, 2.1, np.nan):
        with pytest.raises(ValueError, match="scale"):
            cs.measures.clusters(x, scale=scale)
