"""Statistics of the empirical measure μ_x = Σ p_i δ_{x_i} at a cost proportional to N: means, powers, clusters.

More than half of this file is docstrings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica, of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Sharing, count, is_aligned, over_tokens
from chaosphere.common.ordered_sums import own as own_weights
from chaosphere.geometry import expansions
from chaosphere.geometry.harmonics import harmonics_below
from chaosphere.interactions.protocol import Partition

_MAX_DEGREES = 2**24
_MAX_CLUSTERS = 2**24


def mean_vector(x: Tokens, *, weights: Any = None) -> Floats:
    """Return the mean vector Σ p_i x_i.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).

    Returns
    -------
    ndarray of float64, shape (d,) or (R, d)
        In the unit ball.

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or the weights are out of range.

    See Also
    --------
    chaosphere.measures.mean_direction : Direction of the mean of the tokens.
    chaosphere.measures.order_parameter : Length of the mean of the tokens.
    chaosphere.SphereSolution.mean_vector : That of a density on S².
    chaosphere.measures.TokenMean : The mean over tokens of a function of each token.

    Notes
    -----
    O(N d), in double precision whatever the dtype of x.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> cs.measures.mean_vector(np.array([[1.0, 0.0], [0.0, 1.0]]))
    array([0.5, 0.5])
    """
    batch = checks.tokens(x)
    mean: Floats = of_replicas(mean_of(batch, checks.weights(weights, batch.shape[1])), x)
    return mean


def mean_of(batch: Tokens, p: Floats | None, *, over: Sharing | None = None) -> Floats:
    """Return the mean vectors of tokens (R, N, d), shape (R, d); those of this process, and p of all, where shared."""
    mine = own_weights(p, over)

    def terms(first: int, stop: int) -> Floats:
        part = batch[:, first:stop].astype(np.float64, copy=False)
        return part if mine is None else mine[None, first:stop, None] * part

    total = over_tokens(terms, batch, over=over)
    return np.asarray(total / count(batch, over) if p is None else total)


def order_parameter(x: Tokens, *, weights: Any = None) -> PerReplica:
    """Return the order parameter |Σ p_i x_i|: 1 at consensus, about N^{-1/2} for uniform tokens.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).

    Returns
    -------
    float, or ndarray of shape (R,)
        In [0, 1].

    Raises
    ------
    TypeError, ValueError
        As `mean_vector`.

    See Also
    --------
    chaosphere.measures.mean_vector : Mean of the tokens.
    chaosphere.measures.mean_direction : Direction of the mean of the tokens.
    chaosphere.measures.mean_cosine : Mean of the cosines of pairs.
    chaosphere.measures.power_spectrum : Power of the tokens by degree.
    chaosphere.phases.StationaryState.order_parameter : Length of the mean token of a stationary state.
    chaosphere.measures.OrderParameter : The order parameter as an observable.
    chaosphere.measures.OrderParameter.__call__ : As an observable.

    Notes
    -----
    O(N d), in double precision whatever the dtype of x.

    Examples
    --------
    >>> import chaosphere as cs
    >>> round(float(cs.measures.order_parameter(cs.sample_uniform(10_000, 3, rng=0))), 2)
    0.01
    >>> law = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=100.0)
    >>> round(float(cs.measures.order_parameter(law.sample(10_000, rng=0))), 2)
    0.99
    """
    batch = checks.tokens(x)
    return of_replicas(order_of(batch, checks.weights(weights, batch.shape[1])), x)


def order_of(batch: Tokens, p: Floats | None, *, over: Sharing | None = None) -> Floats:
    """Return the order parameters of tokens (R, N, d), shape (R,); shared as in `mean_of`."""
    return np.asarray(np.linalg.norm(mean_of(batch, p, over=over), axis=1))


def mean_direction(x: Tokens, *, weights: Any = None) -> Floats:
    """Return the unit vector along the mean vector Σ p_i x_i.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).

    Returns
    -------
    ndarray of float64, shape (d,) or (R, d)
        A point of the sphere.

    Raises
    ------
    TypeError, ValueError
        As `mean_vector`, and if the mean vector is shorter than 1e-12: it then has no direction.

    See Also
    --------
    chaosphere.measures.mean_vector : Mean of the tokens.
    chaosphere.measures.order_parameter : Length of the mean of the tokens.

    Notes
    -----
    O(N d), in double precision whatever the dtype of x.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> cs.measures.mean_direction(np.array([[0.6, 0.8], [0.6, -0.8]]))
    array([1., 0.])
    """
    mean = mean_vector(x, weights=weights)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    if (length < 1e-12).any():
        raise ValueError(f"x must have a mean direction: the mean vector has length {length.min():.2g}")
    return np.asarray(mean / length)


def mean_cosine(x: Tokens, *, weights: Any = None) -> PerReplica:
    """Return the mean of ⟨x_i, x_j⟩ over pairs i ≠ j, weighted by p_i p_j.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        At least two tokens on the unit sphere.
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).

    Returns
    -------
    float, or ndarray of shape (R,)
        1 at consensus, near 0 for uniform tokens.

    Raises
    ------
    TypeError, ValueError
        As `mean_vector`, and if a single token carries all the weight: there is no pair.

    See Also
    --------
    chaosphere.measures.pairwise_cosines : Cosines of all pairs.
    chaosphere.measures.order_parameter : Length of the mean of the tokens.
    chaosphere.measures.MeanCosine : The mean cosine as an observable.
    chaosphere.measures.MeanCosine.__call__ : As an observable.

    Notes
    -----
    O(N d), from the mean vector.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> cs.measures.mean_cosine(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    -1.0
    """
    batch = checks.tokens(x)
    return of_replicas(cosine_of(batch, checks.weights(weights, batch.shape[1])), x)


def cosine_of(batch: Tokens, p: Floats | None, *, over: Sharing | None = None) -> Floats:
    """Return the mean cosines of tokens (R, N, d), shape (R,); shared as in `mean_of`."""
    alone = 1 / count(batch, over) if p is None else float((p**2).sum())
    if 1 - alone < 1e-15:
        raise ValueError("x must hold at least two tokens of positive weight")
    square = np.sum(mean_of(batch, p, over=over) ** 2, axis=1)
    return np.asarray((square - alone) / (1 - alone))


def power_spectrum(x: Tokens, n_max: int, *, weights: Any = None, n_threads: int | None = None) -> Floats:
    """Return the means of P_n(⟨x_i, x_j⟩) over all ordered pairs, i = j included, for n = 0 … n_max.

    P_n is Gegenbauer's polynomial with P_n(1) = 1: cos nθ for d = 2, Legendre's for d = 3. By the addition theorem the
    mean is Σ_k |Σ_i p_i Y_{n,k}(x_i)|² / dim(n, d) >= 0, the power of μ at degree n: 1 at consensus, about 1/N for
    uniform tokens; n = 1 is the squared order parameter.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    n_max : int
        Largest degree, >= 0; at most 2^24 for d = 2, and 40 000 harmonics for d >= 3.
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.

    Returns
    -------
    ndarray of float64, shape (n_max + 1,) or (R, n_max + 1)
        Power at degree 0 (which is 1) to n_max.

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or another argument is out of range.

    See Also
    --------
    chaosphere.CovarianceKernel.spectrum : Coefficients in Gegenbauer polynomials.
    chaosphere.measures.order_parameter : Length of the mean of the tokens.
    chaosphere.measures.sobolev : Negative Sobolev distance.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.theory.fluctuation : Fluctuation of the harmonics of many tokens about the uniform law.
    chaosphere.measures.PowerSpectrum : The power spectrum as an observable.
    chaosphere.measures.PowerSpectrum.__call__ : As an observable.

    Notes
    -----
    O(N K) with K harmonics, in double precision; tokens are projected onto the sphere first. Bitwise identical for
    any number of threads.

    Examples
    --------
    Two antipodal clusters have power at even degrees alone:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> cs.measures.power_spectrum(x, 3).round(12) + 0.0
    array([1., 0., 1., 0.])
    """
    batch = checks.tokens(x)
    p = checks.weights(weights, batch.shape[1])
    power: Floats = of_replicas(power_of(batch, p, n_max=n_max, n_threads=n_threads), x)
    return power


def power_of(
    batch: Tokens, p: Floats | None, *, n_max: int, n_threads: int | None, over: Partition | None = None
) -> Floats:
    """Return the power spectra of tokens (R, N, d), shape (R, n_max + 1); shared as in `mean_of`.

    Where a process owns parts of a block of moments, all tokens are gathered.
    """
    n_max = checks.integer(n_max, "n_max", low=0, high=_MAX_DEGREES)
    dim = batch.shape[2]
    if dim > 2 and harmonics_below(n_max + 1, dim) > expansions.MAX_HARMONICS:
        raise ValueError(f"n_max = {n_max} is too large in dim {dim}: more than {expansions.MAX_HARMONICS} harmonics")
    if over is not None and not is_aligned(over, expansions.block(count(batch, over), dim)):
        batch, over = over.gather(batch), None
    moments = expansions.moments(batch, p, n_max=n_max, n_threads=checks.threads(n_threads), over=over)
    return expansions.power_spectrum(moments, n_max, dim)


def cluster_count(x: Tokens, tolerance: float) -> PerReplica:
    """Return how many balls of radius `tolerance` (chordal distance) a greedy cover of the tokens takes.

    The first token opens a ball and takes every token in it, the next one left opens another, and so on: for clusters
    narrower than `tolerance` and further apart than it, their number.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    tolerance : float
        Radius of a ball, in (0, 2].

    Returns
    -------
    int, or ndarray of int of shape (R,)
        Number of balls, from 1 to N.

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or tolerance is out of range.

    See Also
    --------
    chaosphere.measures.clusters : Clusters by single linkage.
    chaosphere.measures.lifetimes : How long a run stays at one number.
    chaosphere.until.Clustered : Stop a run where few balls cover the tokens.
    chaosphere.measures.pair_fraction : Fraction of close pairs.
    chaosphere.measures.cluster_labels : The ball that each token is in.
    chaosphere.measures.cluster_sizes : How many tokens each ball has taken.

    Notes
    -----
    O(N d) per ball.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    >>> cs.measures.cluster_count(x, 0.1)
    2
    """
    tolerance = _radius(tolerance)
    counts = [sum(1 for _ in _balls(tokens, tolerance)) for tokens in checks.tokens(x)]
    return of_replicas(np.array(counts), x)


def cluster_labels(x: Tokens, tolerance: float) -> NDArray[np.int64]:
    """Return the ball of each token in the greedy cover of `cluster_count`.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    tolerance : float
        Radius of the balls in chordal distance, in (0, 2].

    Returns
    -------
    ndarray of int, shape (N,) or (R, N)
        Balls are counted from 0 in the order in which they were opened: 0 is that of the first token.

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or tolerance is out of range.

    See Also
    --------
    chaosphere.measures.cluster_count : The number of balls.
    chaosphere.measures.cluster_sizes : How many tokens each has taken.

    Notes
    -----
    O(N d) per ball.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    >>> cs.measures.cluster_labels(x, 0.1)
    array([0, 1, 0])
    """
    return np.asarray(of_replicas(_labels(x, tolerance), x))


def cluster_sizes(x: Tokens, tolerance: float, *, n_largest: int | None = None) -> NDArray[np.int64]:
    """Return how many tokens each ball in the greedy cover of `cluster_count` has taken, the largest number first.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    tolerance : float
        Radius of the balls in chordal distance, in (0, 2].
    n_largest : int, optional
        K >= 1: the K largest numbers, with zeros where there are fewer balls. An observable needs it: its shape must
        not change along a run.

    Returns
    -------
    ndarray of int, shape (K,) or (R, K)
        Without `n_largest` K is the number of balls, of the replica that has most; the others end with zeros.

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or another argument is out of range.

    See Also
    --------
    chaosphere.measures.cluster_count : The number of balls.
    chaosphere.measures.cluster_labels : The ball that each token is in.

    Notes
    -----
    O(N d) per ball.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    >>> cs.measures.cluster_sizes(x, 0.1)
    array([2, 1])
    >>> cs.measures.cluster_sizes(x, 0.1, n_largest=3)
    array([2, 1, 0])
    """
    if n_largest is not None:
        n_largest = checks.integer(n_largest, "n_largest", low=1, high=_MAX_CLUSTERS)
    labels = _labels(x, tolerance)
    sizes = np.zeros((len(labels), max(n_largest or 0, int(labels.max()) + 1)), dtype=np.int64)
    for row, own in zip(sizes, labels, strict=True):
        counts = np.bincount(own)
        row[: len(counts)] = np.sort(counts)[::-1]
    return np.asarray(of_replicas(sizes[:, :n_largest], x))


def _labels(x: Tokens, tolerance: float) -> NDArray[np.int64]:
    """Return the ball of each token, shape (R, N)."""
    tolerance, batch = _radius(tolerance), checks.tokens(x)
    labels = np.empty(batch.shape[:2], dtype=np.int64)
    for own, tokens in zip(labels, batch, strict=True):
        left = np.arange(len(tokens))
        for ball, is_beyond in enumerate(_balls(tokens, tolerance)):
            own[left[~is_beyond]] = ball
            left = left[is_beyond]
    return labels


def _radius(tolerance: float) -> float:
    return checks.number(tolerance, "tolerance", above=0, high=2)


def _balls(tokens: Tokens, tolerance: float) -> Iterator[NDArray[np.bool_]]:
    """Yield for each ball which of the tokens left are beyond it."""
    left = tokens.astype(np.float64)
    while len(left):
        is_beyond = ((left - left[0]) ** 2).sum(axis=1) > tolerance**2
        yield is_beyond
        left = left[is_beyond]
