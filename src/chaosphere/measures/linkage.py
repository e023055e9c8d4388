"""Clusters of tokens by single linkage at a scale: their labels, sizes, centres and radii."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief

MAX_LINKS = 50  # of a token, on average, that are listed
MAX_PAIRS = 2**20  # of points, whose distances are looked at at once


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
    chaosphere.measures.modes : Local maxima of a density on the circle.

    Notes
    -----
    A k-d tree finds the links: O(N log N) in few dimensions, towards O(N²) in many. Where tokens have more than 50
    links on average, those in one cell of a grid are joined first, so that memory stays O(N).

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
    masses = np.asarray(np.bincount(labels, weights=weights), dtype=np.float64)
    centres = np.where(norms > 1e-12 * masses[:, None], sums / np.where(norms > 0, norms, 1.0), x[firsts])
    radii = np.zeros(n_clusters)
    np.maximum.at(radii, labels, np.linalg.norm(x - centres[labels], axis=1))
    return Clusters(
        labels=labels,
        sizes=sizes,
        weights=masses,
        centres=centres,
        radii=radii,
    )


def linked(x: Floats, scale: float) -> NDArray[np.int64]:
    """Return the cluster of each token (N, d), counted in the order of their first tokens."""
    from scipy.spatial import cKDTree

    places, inverse = np.unique(x, axis=0, return_inverse=True)
    labels = np.arange(len(places))
    if scale > 0:
        tree = cKDTree(places)
        some = places[:: max(1, len(places) // 1000)]  # both ways give the same labels: an estimate will do
        if tree.count_neighbors(cKDTree(some), scale) <= (MAX_LINKS + 1) * len(some):
            labels = _components(tree.query_pairs(scale, output_type="ndarray"), len(places))
        else:
            labels = _linked_cells(places, scale)
    _, firsts, labels = np.unique(labels[inverse.reshape(-1)], return_index=True, return_inverse=True)
    rank = np.empty(len(firsts), dtype=np.int64)
    rank[np.argsort(firsts)] = np.arange(len(firsts))
    return np.asarray(rank[labels.reshape(-1)])


def _linked_cells(x: Floats, scale: float) -> NDArray[np.int64]:
    """Return the same labels, in any order, for tokens that have many neighbours.

    Tokens in one cell of a grid whose diagonals are below the scale are linked. So are cells whose first tokens are.
    Of two groups of such cells that may be, the nearest two tokens decide.
    """
    side = scale / np.sqrt(x.shape[1]) * (1 - 1e-9)
    _, firsts, cell = np.unique(np.floor(x / side), axis=0, return_index=True, return_inverse=True)
    cell, n_cells = cell.reshape(-1), len(firsts)
    members = np.split(np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell))[:-1])
    sizes, group = np.bincount(cell), np.arange(n_cells)
    for links in _close_pairs(x[firsts], scale):
        group = _components(group[links], n_cells)[group]
    # Tokens a scale apart are in cells whose first tokens are at most two diagonals farther apart. Of cells with one
    # token each all is known.
    joined = [np.empty((0, 2), dtype=np.int64)]
    for pairs in _close_pairs(x[firsts], 3 * scale):
        is_open = (group[pairs[:, 0]] != group[pairs[:, 1]]) & (sizes[pairs].sum(axis=1) > 2)
        joined.append(_linked_groups(x, pairs[is_open], group=group, members=members, scale=scale))
    return np.asarray(_components(np.concatenate(joined), n_cells)[group][cell])


def _linked_groups(
    x: Floats, pairs: NDArray[np.int64], *, group: NDArray[np.int64], members: list[NDArray[np.int64]], scale: float
) -> NDArray[np.int64]:
    """Return the pairs of groups of cells, shape (n, 2), that have a short link in one of these pairs of cells."""
    from scipy.spatial import cKDTree

    is_back = group[pairs[:, 0]] > group[pairs[:, 1]]
    pairs = np.where(is_back[:, None], pairs[:, ::-1], pairs)
    groups, which, counts = np.unique(group[pairs], axis=0, return_inverse=True, return_counts=True)
    ordered = pairs[np.argsort(which.reshape(-1), kind="stable")]
    is_linked = np.zeros(len(groups), dtype=bool)
    ends = np.cumsum(counts)
    for k, cells in enumerate(ordered[end - count : end] for end, count in zip(ends, counts, strict=True)):
        sides = [np.concatenate([members[cell] for cell in np.unique(side)]) for side in cells.T]
        small, large = sorted(sides, key=len)
        nearest, _ = cKDTree(x[large]).query(x[small], distance_upper_bound=np.nextafter(scale, np.inf))
        is_linked[k] = nearest.min() <= scale
    return np.asarray(groups[is_linked])


def _close_pairs(x: Floats, distance: float) -> Iterator[NDArray[np.int64]]:
    """Yield all pairs of points that are at most so far from one another, shape (n, 2), about a million at once."""
    from scipy.spatial import cKDTree

    tree, rows = cKDTree(x), max(1, MAX_PAIRS // len(x))
    for first in range(0, len(x), rows):
        pairs = cKDTree(x[first : first + rows]).sparse_distance_matrix(tree, distance, output_type="ndarray")
        i, j = pairs["i"] + first, pairs["j"]
        yield np.stack([i[i < j], j[i < j]], axis=1)


def _components(links: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the connected component of each of n points."""
    if not len(links):  # as where clusters have merged, at every inner step of a run
        return np.arange(n)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(links), dtype=bool), (links[:, 0], links[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
