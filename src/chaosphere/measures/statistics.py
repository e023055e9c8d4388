"""Statistics of the empirical measure μ_x = Σ p_i δ_{x_i}."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.geometry import expansions
from chaosphere.geometry.harmonics import harmonics_below
from chaosphere.interactions.series import is_cheaper
from chaosphere.kernels import pairs as kernel

_LARGEST_DENSE = 2**30  # bytes that pairwise_cosines may take
_MOST_BINS = _MOST_DEGREES = 2**24


def _pair_statistics(x: Tokens, beta: float, n_bins: int, weights: Any, n_threads: int | None) -> tuple[Floats, Floats]:
    batch = checks.tokens(x)
    p = checks.weights(weights, batch.shape[1])
    sums, histogram = kernel.pair_statistics(
        batch.astype(np.float64, copy=False), p, beta, n_bins, checks.threads(n_threads)
    )
    return sums, histogram


def _scalar_or_array(values: Floats, x: Tokens) -> Any:
    return values if x.ndim == 3 else values[0].item() if values[0].ndim == 0 else values[0]


def energy(x: Tokens, beta: float = 1.0, *, weights: Any = None, n_threads: int | None = None) -> float | Floats:
    """Return the interaction energy E_β = ½ Σ_ij p_i p_j (e^β − e^{β⟨x_i, x_j⟩}), zero exactly at consensus.

    arXiv:2604.26898, section 1 (the energy of the synchronization theorem).

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
    beta : float
        In (0, 700].
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).
    n_threads : int, optional

    Returns
    -------
    float, or ndarray of shape (R,)

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or beta or the weights are out of range.

    Notes
    -----
    Double precision whatever the dtype of x, and a relative accuracy of 1e-12 down to consensus. For many tokens O(N K)
    with K harmonics, E_β = ½ e^β (1 − Σ_l e^{−β} λ_l Σ_k M_{l,k}²) of tokens projected onto the sphere (see
    `chaosphere.geometry.expansions`), where the error bound of this difference allows; else, that is for few tokens or
    close to consensus, O(N² d) over pairs, by differences x_i − x_j or, where tokens of many dimensions are apart, by
    products. Results are bitwise identical for any number of threads.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> bool(np.isclose(energy(x, beta=1.0), 0.25 * (math.e - 1 / math.e)))
    True
    """
    beta = checks.number(beta, "beta", above=0, high=700)
    batch = checks.tokens(x)
    p, threads = checks.weights(weights, batch.shape[1]), checks.threads(n_threads)
    missing = np.full(len(batch), np.nan)  # Σ p_i p_j (1 − e^{β(⟨x_i, x_j⟩ − 1)})
    if is_cheaper(batch.shape[1], beta, batch.shape[2], 1e-13, np.float64):
        present, error = expansions.mean_kernel(batch, p, beta, threads)
        missing = np.where(error <= 1e-12 * (1 - present), 1 - present, np.nan)
    left = np.isnan(missing)
    if left.any():
        missing[left] = kernel.pair_statistics(batch[left].astype(np.float64, copy=False), p, beta, 0, threads)[0]
    values: Floats = 0.5 * math.exp(beta) * missing
    return _scalar_or_array(values, x)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """E_β as an observable: a callable on (time, tokens) for `simulate(..., observe=...)`.

    Parameters
    ----------
    beta : float
        In (0, 700].
    n_threads : int, optional

    Examples
    --------
    >>> Energy(beta=1.0)(0.0, np.array([[1.0, 0.0], [1.0, 0.0]]))
    0.0
    """

    beta: float = 1.0
    n_threads: int | None = None

    def __post_init__(self) -> None:
        """Check."""
        checks.numbers(self, "beta", above=0, high=700)
        if self.n_threads is not None:
            object.__setattr__(self, "n_threads", checks.threads(self.n_threads))

    def __call__(self, time: float, x: Tokens) -> float | Floats:
        """Return `energy(x, beta)`."""
        return energy(x, self.beta, n_threads=self.n_threads)


def mean_vector(x: Tokens, *, weights: Any = None) -> Floats:
    """Return the mean vector Σ p_i x_i, shape (d,) or (R, d); O(N d).

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
    weights : array_like, shape (N,), optional

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> mean_vector(np.array([[1.0, 0.0], [0.0, 1.0]]))
    array([0.5, 0.5])
    """
    batch = checks.tokens(x).astype(np.float64, copy=False)
    p = checks.weights(weights, batch.shape[1])
    mean: Floats = batch.mean(axis=1) if p is None else (p[None, :, None] * batch).sum(axis=1)
    return mean if x.ndim == 3 else mean[0]


def order_parameter(x: Tokens, *, weights: Any = None) -> float | Floats:
    """Return |Σ p_i x_i|: 1 at consensus, about N^{-1/2} for uniform tokens; O(N d).

    Parameters and errors as in `mean_vector`.

    Examples
    --------
    >>> order_parameter(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    0.0
    """
    length = np.linalg.norm(mean_vector(x, weights=weights), axis=-1)
    return length if x.ndim == 3 else float(length)


def mean_direction(x: Tokens, *, weights: Any = None) -> Floats:
    """Return the unit vector along Σ p_i x_i, shape (d,) or (R, d); O(N d).

    Parameters as in `mean_vector`.

    Raises
    ------
    ValueError
        Also if the mean vector is shorter than 1e-12: it then has no direction.

    Examples
    --------
    >>> mean_direction(np.array([[0.6, 0.8], [0.6, -0.8]]))
    array([1., 0.])
    """
    mean = mean_vector(x, weights=weights)
    length = np.linalg.norm(mean, axis=-1, keepdims=True)
    if (length < 1e-12).any():
        raise ValueError(f"x must have a mean direction: the mean vector has length {length.min():.2g}")
    return np.asarray(mean / length)


def mean_cosine(x: Tokens, *, weights: Any = None) -> float | Floats:
    """Return the mean of ⟨x_i, x_j⟩ over pairs i ≠ j, weighted by p_i p_j; O(N d).

    Parameters as in `mean_vector`.

    Raises
    ------
    ValueError
        Also if a single token carries all the weight: there is no pair.

    Examples
    --------
    >>> mean_cosine(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    -1.0
    """
    batch = checks.tokens(x)
    p = checks.weights(weights, batch.shape[1])
    alone = 1 / batch.shape[1] if p is None else float((p**2).sum())
    if 1 - alone < 1e-15:
        raise ValueError("x must hold at least two tokens of positive weight")
    square = np.sum(mean_vector(x, weights=weights) ** 2, axis=-1)
    value = (square - alone) / (1 - alone)
    return np.asarray(value) if x.ndim == 3 else float(value)


def pairwise_cosines(x: Tokens) -> Floats:
    """Return the N(N−1)/2 cosines ⟨x_i, x_j⟩, i < j, in the order of `numpy.triu_indices`.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)

    Returns
    -------
    ndarray of float64, shape (N(N−1)/2,) or (R, N(N−1)/2)

    Raises
    ------
    ValueError
        Also if the result would exceed 1 GiB; `cosine_histogram` needs no such array.

    Examples
    --------
    >>> pairwise_cosines(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    array([ 0., -1.,  0.])
    """
    batch = checks.tokens(x).astype(np.float64, copy=False)
    n_bytes = 8 * batch.shape[0] * batch.shape[1] ** 2
    if n_bytes > _LARGEST_DENSE:
        raise ValueError(
            f"x is too large for a dense array of cosines ({n_bytes / 2**30:.1f} GiB, limit 1); use cosine_histogram"
        )
    upper = np.triu_indices(batch.shape[1], k=1)
    values: Floats = np.clip(np.einsum("rik,rjk->rij", batch, batch)[:, upper[0], upper[1]], -1, 1)
    return values if x.ndim == 3 else values[0]


def cosine_histogram(
    x: Tokens, n_bins: int = 50, *, weights: Any = None, n_threads: int | None = None
) -> tuple[Floats, Floats]:
    """Return the law of ⟨x_i, x_j⟩ over pairs i ≠ j as a histogram on [−1, 1].

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
    n_bins : int
        Number of equal bins, at most 2^24.
    weights : array_like, shape (N,), optional
    n_threads : int, optional

    Returns
    -------
    probabilities : ndarray, shape (n_bins,) or (R, n_bins)
        Sum to 1; a pair weighs p_i p_j.
    edges : ndarray, shape (n_bins + 1,)

    Raises
    ------
    TypeError, ValueError
        As in `energy`, and if there is no pair.

    Notes
    -----
    O(N² d) without an N×N array. Same bits for any number of threads.

    Examples
    --------
    >>> cosine_histogram(np.array([[1.0, 0.0], [-1.0, 0.0]]), n_bins=4)[0]
    array([1., 0., 0., 0.])
    """
    n_bins = checks.integer(n_bins, "n_bins", low=1, high=_MOST_BINS)
    _, histogram = _pair_statistics(x, 1.0, n_bins, weights, n_threads)
    total = histogram.sum(axis=1, keepdims=True)
    if (total <= 0).any():
        raise ValueError("x must hold at least two tokens of positive weight")
    return _scalar_or_array(histogram / total, x), np.linspace(-1, 1, n_bins + 1)


def power_spectrum(x: Tokens, n_max: int, *, weights: Any = None, n_threads: int | None = None) -> Floats:
    """Return the means of P_n(⟨x_i, x_j⟩) over all ordered pairs, i = j included, for n = 0 … n_max.

    P_n is Gegenbauer's polynomial with P_n(1) = 1: cos nθ for d = 2, Legendre's for d = 3. By the addition theorem the
    mean is Σ_k |Σ_i p_i Y_{n,k}(x_i)|² / dim(n, d) >= 0, the power of μ at degree n: 1 at consensus, about 1/N for
    uniform tokens; n = 1 is the squared order parameter.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
    n_max : int
        Largest degree, >= 0; at most 2^24 for d = 2, and 40 000 harmonics for d >= 3.
    weights : array_like, shape (N,), optional
    n_threads : int, optional

    Returns
    -------
    ndarray of float64, shape (n_max + 1,) or (R, n_max + 1)

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or another argument is out of range.

    Notes
    -----
    O(N K) with K harmonics, in double precision; tokens are projected onto the sphere first. Same bits for any number
    of threads.

    Examples
    --------
    >>> power_spectrum(np.array([[1.0, 0.0], [-1.0, 0.0]]), 3).round(12) + 0.0
    array([1., 0., 1., 0.])
    """
    batch = checks.tokens(x)
    p = checks.weights(weights, batch.shape[1])
    n_max = checks.integer(n_max, "n_max", low=0, high=_MOST_DEGREES)
    dim = batch.shape[2]
    if dim > 2 and harmonics_below(n_max + 1, dim) > expansions.MOST_HARMONICS:
        raise ValueError(f"n_max = {n_max} is too large in dim {dim}: more than {expansions.MOST_HARMONICS} harmonics")
    values = expansions.power_spectrum(expansions.moments(batch, p, n_max, checks.threads(n_threads)), n_max, dim)
    return values if x.ndim == 3 else values[0]


def pair_fraction(x: Tokens, above: float) -> float | Floats:
    """Return the fraction of pairs i ≠ j with ⟨x_i, x_j⟩ >= `above`.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        At least two tokens.
    above : float
        In [−1, 1].

    Returns
    -------
    float, or ndarray of shape (R,)

    Raises
    ------
    TypeError, ValueError
        If x is not made of two or more tokens on the unit sphere, or `above` is out of range.

    Notes
    -----
    O(N² d) in double precision, in blocks of rows of the N × N cosines: each is 1 − |x_i − x_j|²/2, summed over the
    coordinates in order, so that the same tokens give the same count alone and among other replicas.

    Examples
    --------
    >>> pair_fraction(np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), 0.999)
    0.3333333333333333
    """
    above = checks.number(above, "above", low=-1, high=1)
    batch = checks.tokens(x).astype(np.float64, copy=False)
    n_replicas, n_tokens, dim = batch.shape
    if n_tokens < 2:
        raise ValueError(f"x must hold at least two tokens, got shape {x.shape}")
    counts = np.zeros(n_replicas, dtype=np.int64)
    n_rows = max(1, 2**18 // (n_replicas * n_tokens))
    for start in range(0, n_tokens, n_rows):
        rows = batch[:, start : start + n_rows]
        square = np.zeros((n_replicas, rows.shape[1], n_tokens))
        for k in range(dim):
            square += (rows[:, :, None, k] - batch[:, None, :, k]) ** 2
        counts += (square <= 2 - 2 * above).sum(axis=(1, 2))
    fraction: Floats = (counts - n_tokens) / (n_tokens * (n_tokens - 1))  # less the pairs (i, i)
    return fraction if x.ndim == 3 else fraction[0].item()


def cluster_count(x: Tokens, tolerance: float) -> int | NDArray[np.int64]:
    """Return how many balls of radius `tolerance` (chordal distance) a greedy cover of the tokens takes.

    The first token opens a ball and takes every token in it, the next one left opens another, and so on: for clusters
    narrower than `tolerance` and further apart than it, their number.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
    tolerance : float
        In (0, 2].

    Returns
    -------
    int, or ndarray of int of shape (R,)

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or tolerance is out of range.

    Notes
    -----
    O(N d) per ball.

    Examples
    --------
    >>> cluster_count(np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]), 0.1)
    2
    """
    tolerance = checks.number(tolerance, "tolerance", above=0, high=2)
    counts = [_greedy_cover(tokens.astype(np.float64), tolerance) for tokens in checks.tokens(x)]
    return np.array(counts) if x.ndim == 3 else counts[0]


def _greedy_cover(left: Floats, tolerance: float) -> int:
    count = 0
    while len(left):
        left = left[((left - left[0]) ** 2).sum(axis=1) > tolerance**2]
        count += 1
    return count
