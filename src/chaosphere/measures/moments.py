"""Observables that follow from moments of the tokens: each process adds up those of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica, of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import count
from chaosphere.common.reprs import Brief
from chaosphere.interactions.protocol import Partition
from chaosphere.measures import statistics


class OfMoments(checks.ByValue, Brief):
    """An observable with weights that follows from moments of the tokens."""

    __slots__ = ()
    weights: Any
    _of: ClassVar[Callable[..., Floats]]  # from tokens (R, n, d) of a process and the weights of all to values (R, ...)

    def of_own(self, time: float, tokens: Tokens, *, partition: Partition) -> PerReplica:
        """Return the observable of the tokens of all processes.

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
        float, or ndarray of shape (...) or (R, ...)
            Bitwise that of all tokens in one process.

        Raises
        ------
        ValueError
            As a call with all tokens.

        See Also
        --------
        chaosphere.measures.token_means.SharedObservable.of_own : What a run calls.

        Notes
        -----
        A power spectrum gathers the tokens where processes own parts of blocks of moments, as where there are few.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.simulation.partition import rows
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> order, cosine = cs.measures.OrderParameter(), cs.measures.MeanCosine()
        >>> [f.of_own(0.0, x, partition=rows(None, 50)) == f(0.0, x) for f in (order, cosine)]
        [True, True]
        """
        batch = checks.tokens(tokens)
        p = checks.weights(self.weights, count(batch, partition))
        return of_replicas(self._of(batch, p, over=partition), tokens)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class OrderParameter(OfMoments):
    """The order parameter |Σ p_i x_i| as an observable.

    Parameters
    ----------
    weights : array_like of float, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).

    Raises
    ------
    TypeError, ValueError
        If the weights are out of range.

    See Also
    --------
    chaosphere.measures.order_parameter : The function of tokens.
    chaosphere.measures.MeanCosine : The mean cosine of pairs as an observable.
    chaosphere.measures.PowerSpectrum : Power by degree as an observable.
    chaosphere.measures.TokenMean : The mean over tokens of a function of each token.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(50, 3, rng=0)
    >>> cs.measures.OrderParameter()(0.0, x) == cs.measures.order_parameter(x)
    True
    """

    weights: Any = None

    def __post_init__(self) -> None:
        """Check."""
        _set_weights(self)

    def __call__(self, time: float, x: Tokens) -> PerReplica:
        """Return the order parameter of the tokens.

        Parameters
        ----------
        time : float
            Not used.
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere.

        Returns
        -------
        float, or ndarray of shape (R,)
            In [0, 1].

        Raises
        ------
        ValueError
            If there is not one weight for each token.

        See Also
        --------
        chaosphere.measures.order_parameter : The function of tokens.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.measures.OrderParameter(weights=[1.0, 0.0])(0.0, np.eye(2))
        1.0
        """
        return statistics.order_parameter(x, weights=self.weights)

    def _of(self, batch: Tokens, p: Floats | None, *, over: Partition) -> Floats:
        return statistics.order_of(batch, p, over=over)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MeanCosine(OfMoments):
    """The mean of ⟨x_i, x_j⟩ over pairs i ≠ j as an observable.

    Parameters
    ----------
    weights : array_like of float, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N); a pair weighs p_i p_j.

    Raises
    ------
    TypeError, ValueError
        If the weights are out of range.

    See Also
    --------
    chaosphere.measures.mean_cosine : The function of tokens.
    chaosphere.measures.OrderParameter : The order parameter as an observable.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(50, 3, rng=0)
    >>> cs.measures.MeanCosine()(0.0, x) == cs.measures.mean_cosine(x)
    True
    """

    weights: Any = None

    def __post_init__(self) -> None:
        """Check."""
        _set_weights(self)

    def __call__(self, time: float, x: Tokens) -> PerReplica:
        """Return the mean cosine of the tokens.

        Parameters
        ----------
        time : float
            Not used.
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            At least two tokens on the unit sphere.

        Returns
        -------
        float, or ndarray of shape (R,)
            1 at consensus, near 0 for uniform tokens.

        Raises
        ------
        ValueError
            If there is not one weight for each token, or a single token carries all the weight.

        See Also
        --------
        chaosphere.measures.mean_cosine : The function of tokens.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.measures.MeanCosine()(0.0, np.array([[1.0, 0.0], [-1.0, 0.0]]))
        -1.0
        """
        return statistics.mean_cosine(x, weights=self.weights)

    def _of(self, batch: Tokens, p: Floats | None, *, over: Partition) -> Floats:
        return statistics.cosine_of(batch, p, over=over)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PowerSpectrum(OfMoments):
    """The power of the tokens at degrees 0 … n_max as an observable.

    Parameters
    ----------
    n_max : int
        Largest degree, >= 0; at most as in `power_spectrum`.
    weights : array_like of float, shape (N,), optional
        p_i >= 0 with sum 1 (default 1/N).
    n_threads : int, optional
        Default: all that OpenMP may use; in an `ensemble` those of the worker. Does not change a bit of the result.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.measures.power_spectrum : The function of tokens.
    chaosphere.measures.OrderParameter : The order parameter as an observable.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(50, 3, rng=0)
    >>> power = cs.measures.PowerSpectrum(n_max=4)
    >>> bool((power(0.0, x) == cs.measures.power_spectrum(x, 4)).all())
    True
    """

    n_max: int
    weights: Any = None
    n_threads: int | None = None

    def __post_init__(self) -> None:
        """Check."""
        checks.integers(self, "n_max", low=0)
        _set_weights(self)
        if self.n_threads is not None:
            object.__setattr__(self, "n_threads", checks.threads(self.n_threads))

    def __call__(self, time: float, x: Tokens) -> Floats:
        """Return the power spectrum of the tokens.

        Parameters
        ----------
        time : float
            Not used.
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere.

        Returns
        -------
        ndarray of float64, shape (n_max + 1,) or (R, n_max + 1)
            Power at degree 0 (which is 1) to n_max.

        Raises
        ------
        ValueError
            If there is not one weight for each token, or n_max is too large for their dimension.

        See Also
        --------
        chaosphere.measures.power_spectrum : The function of tokens.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.measures.PowerSpectrum(n_max=2)(0.0, np.array([[1.0, 0.0], [-1.0, 0.0]])).round(12) + 0.0
        array([1., 0., 1.])
        """
        return statistics.power_spectrum(x, self.n_max, weights=self.weights, n_threads=self.n_threads)

    def _of(self, batch: Tokens, p: Floats | None, *, over: Partition) -> Floats:
        return statistics.power_of(batch, p, n_max=self.n_max, n_threads=self.n_threads, over=over)


def _set_weights(spec: Any) -> None:
    """Check the weights of a frozen spec, and convert them to an array."""
    if spec.weights is not None:
        object.__setattr__(spec, "weights", checks.weights(spec.weights, np.size(spec.weights)))
