"""Statistics of the pairs of tokens: energy, cosines, close pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica, of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.interactions.energies import pair_deficit
from chaosphere.interactions.protocol import Partition
from chaosphere.kernels import pairs as kernel

_MAX_DENSE = 2**30  # bytes that pairwise_cosines may take
_MAX_BINS = 2**24


def energy(x: Tokens, beta: float = 1.0, *, weights: Any = None, n_threads: int | None = None) -> PerReplica:
    """Return the interaction energy E_β = ½ Σ_ij p_i p_j (e^β − e^{β⟨x_i, x_j⟩}), zero exactly at consensus.

    arXiv:2604.26898, section 1 (the energy of the synchronization theorem).

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere; R independent systems.
    beta : float
        Inverse temperature β, in (0, 700].
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.

    Returns
    -------
    float, or ndarray of shape (R,)
        E_β >= 0, for each system.

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or beta or the weights are out of range.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.SoftmaxAttention.evaluate : Attention with its partition sums and energy.
    chaosphere.SoftmaxAttention.energy : Energy of softmax attention.
    chaosphere.UnnormalizedAttention.energy : Energy of unnormalised attention.
    chaosphere.measures.Energy : The energy as an observable.
    chaosphere.measures.pairwise_cosines : Cosines of all pairs.
    chaosphere.measures.mmd : Maximum mean discrepancy for the kernel of attention.
    chaosphere.two_point.energy_ratio : Factor by which a pair's energy changes.
    chaosphere.measures.Energy.__call__ : The energy of tokens in a run.

    Notes
    -----
    Double precision whatever the dtype of x, and a relative accuracy of 1e-12 down to consensus. For many tokens O(N K)
    with K harmonics, E_β = ½ e^β (1 − Σ_l e^{−β} λ_l Σ_k M_{l,k}²) of tokens projected onto the sphere (see
    `chaosphere.geometry.expansions`), where the error bound of this difference allows; else, that is for few tokens or
    close to consensus, O(N² d) over pairs, by differences x_i − x_j or, where tokens of many dimensions are apart, by
    products. Results are bitwise identical for any number of threads.

    Examples
    --------
    Two antipodal tokens have the energy ¼ (e^β − e^{−β}), tokens that have met have none:

    >>> import math
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    >>> round(float(cs.measures.energy(x, beta=1.0)), 6)
    0.587601
    >>> round((math.e - 1 / math.e) / 4, 6)
    0.587601
    >>> cs.measures.energy(x[[0, 0]], beta=1.0)
    0.0
    """
    batch = checks.tokens(x)
    return of_replicas(energy_of(batch, checks.weights(weights, batch.shape[1]), beta=beta, n_threads=n_threads), x)


def energy_of(
    batch: Tokens, p: Floats | None, *, beta: float = 1.0, n_threads: int | None = None, over: Partition | None = None
) -> Floats:
    """Return the energies of tokens (R, N, d), shape (R,); those of this process, and p of all, where shared."""
    beta = checks.number(beta, "beta", above=0, high=700)
    missing = pair_deficit(batch, p, beta=beta, n_threads=checks.threads(n_threads), over=over)
    return np.asarray(0.5 * math.exp(beta) * missing)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Energy(Brief):
    """E_β as an observable: a callable on (time, tokens) for `simulate(..., observe=...)`.

    Parameters
    ----------
    beta : float
        Inverse temperature β, in (0, 700].
    n_threads : int, optional
        Default: all that OpenMP may use; in an `ensemble` those of the worker. Does not change a bit of the result.

    See Also
    --------
    chaosphere.until.Threshold : Stop a run at a bound of an observable.
    chaosphere.simulate : Run a model.
    chaosphere.measures.energy : Interaction energy of tokens.
    chaosphere.measures.RadiusMoment : Mean of a power of the radii.
    chaosphere.measures.TokenMean : The mean over tokens of a function of each token.

    Examples
    --------
    The energy of the tokens after every layer:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> model = cs.Transformer(attention=attention, mlp=None, depth=20, horizon=20.0)
    >>> x = cs.sample_uniform(50, 3, rng=0)
    >>> observe = {"energy": cs.measures.Energy(beta=1.0)}
    >>> sol = cs.simulate(model, x, rng=0, observe=observe)
    >>> sol.observables["energy"][[0, 5, 10, 20]].round(3)
    array([0.767, 0.729, 0.468, 0.   ])
    """

    beta: float = 1.0
    n_threads: int | None = None

    def __post_init__(self) -> None:
        """Check."""
        checks.numbers(self, "beta", above=0, high=700)
        if self.n_threads is not None:
            object.__setattr__(self, "n_threads", checks.threads(self.n_threads))

    def __call__(self, time: float, x: Tokens) -> PerReplica:
        """Return the energy E_β of the tokens.

        Parameters
        ----------
        time : float
            Not used: the energy is a function of the tokens alone.
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere.

        Returns
        -------
        float, or ndarray of shape (R,)
            As `energy` returns it.

        See Also
        --------
        chaosphere.measures.energy : Interaction energy of tokens.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> cs.measures.Energy(beta=2.0)(0.0, x) == cs.measures.energy(x, beta=2.0)
        True
        """
        return energy(x, self.beta, n_threads=self.n_threads)

    def of_own(self, time: float, tokens: Tokens, *, partition: Partition) -> PerReplica:
        """Return the energy of the tokens of all processes.

        Parameters
        ----------
        time : float
            Not used.
        tokens : ndarray of float64 or float32, shape (n, d) or (R, n, d)
            Tokens of this process.
        partition : Partition
            Which tokens these are.

        Returns
        -------
        float, or ndarray of shape (R,)
            Bitwise the energy of all tokens in one process.

        See Also
        --------
        chaosphere.measures.token_means.SharedObservable.of_own : What a run calls.

        Notes
        -----
        From the moments of each process's tokens; where `energy` sums over pairs, the tokens are gathered.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.simulation.partition import rows
        >>> observable, x = cs.measures.Energy(beta=2.0), cs.sample_uniform(50, 3, rng=0)
        >>> observable.of_own(0.0, x, partition=rows(None, 50)) == observable(0.0, x)
        True
        """
        batch = checks.tokens(tokens)
        return of_replicas(energy_of(batch, None, beta=self.beta, n_threads=self.n_threads, over=partition), tokens)


def pairwise_cosines(x: Tokens) -> Floats:
    """Return the N(N−1)/2 cosines ⟨x_i, x_j⟩, i < j, in the order of `numpy.triu_indices`.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.

    Returns
    -------
    ndarray of float64, shape (N(N−1)/2,) or (R, N(N−1)/2)
        Cosines in [−1, 1].

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, or the result would exceed 1 GiB; `cosine_histogram` needs no
        such array.

    See Also
    --------
    chaosphere.measures.energy : Interaction energy of tokens.
    chaosphere.measures.cosine_histogram : Histogram of the cosines of pairs.
    chaosphere.measures.mean_cosine : Mean of the cosines of pairs.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> cs.measures.pairwise_cosines(x)
    array([ 0., -1.,  0.])
    """
    batch = checks.tokens(x).astype(np.float64, copy=False)
    n_bytes = 8 * batch.shape[0] * batch.shape[1] ** 2
    if n_bytes > _MAX_DENSE:
        raise ValueError(
            f"x is too large for a dense array of cosines ({n_bytes / 2**30:.1f} GiB, limit 1); use cosine_histogram"
        )
    upper = np.triu_indices(batch.shape[1], k=1)
    cosines = np.einsum("rik,rjk->rij", batch, batch)[:, upper[0], upper[1]]
    return np.asarray(of_replicas(np.clip(cosines, -1, 1), x))


def cosine_histogram(
    x: Tokens, n_bins: int = 50, *, weights: Any = None, n_threads: int | None = None
) -> tuple[Floats, Floats]:
    """Return the law of ⟨x_i, x_j⟩ over pairs i ≠ j as a histogram on [−1, 1].

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere.
    n_bins : int
        Number of equal bins, at most 2^24.
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).
    n_threads : int, optional
        As in `energy`.

    Returns
    -------
    probabilities : ndarray, shape (n_bins,) or (R, n_bins)
        Sum to 1; a pair weighs p_i p_j.
    edges : ndarray, shape (n_bins + 1,)
        Ends of the bins, from −1 to 1.

    Raises
    ------
    TypeError, ValueError
        As in `energy`, and if there is no pair.

    See Also
    --------
    chaosphere.measures.pairwise_cosines : Cosines of all pairs.
    chaosphere.measures.pair_fraction : Fraction of close pairs.
    chaosphere.plot.cosines : Draw the histogram.

    Notes
    -----
    O(N² d) without an N×N array. Bitwise identical for any number of threads.

    Examples
    --------
    The cosine of two independent uniform tokens in R³ is uniform on [−1, 1]:

    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(2000, 3, rng=0)
    >>> probabilities, edges = cs.measures.cosine_histogram(x, n_bins=4)
    >>> edges, probabilities.round(2)
    (array([-1. , -0.5,  0. ,  0.5,  1. ]), array([0.25, 0.25, 0.25, 0.25]))
    """
    n_bins = checks.integer(n_bins, "n_bins", low=1, high=_MAX_BINS)
    batch = checks.tokens(x)
    p, threads = checks.weights(weights, batch.shape[1]), checks.threads(n_threads)
    _, histogram = kernel.pair_statistics(batch.astype(np.float64, copy=False), p, None, n_bins, threads)
    total = histogram.sum(axis=1, keepdims=True)
    if (total <= 0).any():
        raise ValueError("x must hold at least two tokens of positive weight")
    return of_replicas(histogram / total, x), np.linspace(-1, 1, n_bins + 1)


def pair_fraction(x: Tokens, above: float) -> PerReplica:
    """Return the fraction of pairs i ≠ j with ⟨x_i, x_j⟩ >= `above`.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        At least two tokens on the unit sphere.
    above : float
        Least cosine of a pair that counts, in [−1, 1].

    Returns
    -------
    float, or ndarray of shape (R,)
        In [0, 1].

    Raises
    ------
    TypeError, ValueError
        If x is not made of two or more tokens on the unit sphere, or `above` is out of range.

    See Also
    --------
    chaosphere.measures.cosine_histogram : Histogram of the cosines of pairs.
    chaosphere.measures.cluster_count : Number of clusters.
    chaosphere.measures.correlation_dimension : Correlation dimension of tokens.

    Notes
    -----
    O(N² d) in double precision, in blocks of rows of the N × N cosines: each is 1 − |x_i − x_j|²/2, summed over the
    coordinates in order, so that the same tokens give the same count alone and among other replicas.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> cs.measures.pair_fraction(x, 0.999)
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
    fractions = (counts - n_tokens) / (n_tokens * (n_tokens - 1))  # less the pairs (i, i)
    return of_replicas(fractions, x)
