"""Clusters of tokens by single linkage at a scale: their labels, sizes, centres and radii."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Clusters(Brief):
    """What `clusters` finds in the tokens of one system; the clusters are in the order of their first tokens.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        The cluster of each token, from 0.
    sizes : ndarray of int, shape (K,)
        Tokens of each cluster.
    weights : ndarray of float64, shape (K,)
        Weight of each cluster; the sum is 1.
    centres : ndarray of float64, shape (K, d)
        Unit vector along the weighted mean of its tokens, or along its first token where that mean is 0.
    radii : ndarray of float64, shape (K,)
        Largest chordal distance of its tokens from the centre.

    See Also
    --------
    chaosphere.measures.clusters : Find the clusters of tokens.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = cs.normalize(np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.02]]))
    >>> cs.measures.clusters(x, scale=0.1).sizes
    array([2, 1])
    """

    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    weights: Floats
    centres: Floats
    radii: Floats


def clusters(x: Tokens, *, scale: float, weights: Any = None) -> Any:
    """Return the clusters of tokens by single linkage: tokens are in one if a chain of short links joins them.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    scale : float
        Largest chordal distance of a link, in [0, 2]; 0 joins tokens that coincide.
    weights : array_like, shape (N,), optional
        Weights of the tokens, >= 0 with sum 1; default 1/N each.

    Returns
    -------
    Clusters, or list of Clusters
        One for each of R replicas.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.measures.Clusters : Labels, sizes, centres and radii.
    chaosphere.measures.cluster_count : The number of balls that cover the tokens, as an observable.

    Notes
    -----
    A k-d tree finds the links: O(N log N) in few dimensions, plus the number of links, up to N²/2 for tokens in one
    ball; towards O(N²) in many dimensions. Tokens that coincide are joined first, and cost no links.

    Examples
    --------
    Tokens of attention at β = 16 on the circle, after a time at which they have formed clusters:

    >>> import chaosphere as cs
    >>> model = cs.LimitSDE(
    ...     attention=cs.SoftmaxAttention(beta=16.0), field=None, horizon=10.0, n_steps=100
    ... )
    >>> sol = cs.simulate(model, cs.sample_uniform(100, 2, rng=0), rng=0)
    >>> groups = cs.measures.clusters(sol.final, scale=0.1)
    >>> int(groups.sizes.sum()), bool(groups.radii.max() < 0.2)
    (100, True)
    """
    batch = checks.tokens(x)
    scale = checks.number(scale, "scale", low=0, high=2)
    p = checks.weights(weights, batch.shape[1])
    p = np.full(batch.shape[1], 1 / batch.shape[1]) if p is None else p
    result = [_clusters(tokens.astype(np.float64), scale=scale, weights=p) for tokens in batch]
    return result if x.ndim == 3 else result[0]


def _clusters(x: Floats, *, scale: float, weights: Floats) -> Clusters:
    labels = linked(x, scale)
    sizes = np.bincount(labels)
    n_clusters = len(sizes)
    firsts = np.full(n_clusters, len(x))
    np.minimum.at(firsts, labels, np.arange(len(x)))
    sums = np.zeros((n_clusters, x.shape[1]))
    np.add.at(sums, labels, weights[:, None] * x)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    centres = np.where(norms > 1e-12 * weights.max(), sums / np.where(norms > 0, norms, 1.0), x[firsts])
    radii = np.zeros(n_clusters)
    np.maximum.at(radii, labels, np.linalg.norm(x - centres[labels], axis=1))
    return Clusters(
        labels=labels,
        sizes=sizes,
        weights=np.asarray(np.bincount(labels, weights=weights), dtype=np.float64),
        centres=centres,
        radii=radii,
    )


def linked(x: Floats, scale: float) -> NDArray[np.int64]:
    """Return the cluster of each token (N, d), counted in the order of their first tokens."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    places, inverse = np.unique(x, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    labels = inverse
    if scale > 0:
        links = cKDTree(places).query_pairs(scale, output_type="ndarray")
        ones, n = np.ones(len(links), dtype=bool), len(places)
        graph = coo_array((ones, (links[:, 0], links[:, 1])), shape=(n, n))
        labels = connected_components(graph, directed=False)[1][inverse]
    _, firsts, labels = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(firsts), dtype=np.int64)
    rank[np.argsort(firsts)] = np.arange(len(firsts))
    return np.asarray(rank[labels.reshape(-1)])
