"""Observables that are sums over tokens, which no process needs all tokens for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from chaosphere.common import messages
from chaosphere.common.arrays import of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import count, over_tokens
from chaosphere.common.reprs import Brief, short
from chaosphere.interactions.protocol import Partition


@runtime_checkable
class SharedObservable(Protocol):
    """An observable of tokens of which each process has its own: `Energy`, `TokenMean`, or one of your own.

    See Also
    --------
    chaosphere.measures.TokenMean : The mean over tokens of a function of a token.
    chaosphere.simulate : Run a model.
    chaosphere.interactions.protocol.Partition : Which tokens a process owns.
    chaosphere.measures.token_means.SharedStateObservable : An observable of radii of which each process has its own.

    Examples
    --------
    >>> import chaosphere as cs
    >>> from chaosphere.measures.token_means import SharedObservable
    >>> isinstance(cs.measures.Energy(beta=1.0), SharedObservable)
    True
    """

    def of_own(self, time: float, tokens: Tokens, *, partition: Partition) -> Any:
        """Return a number or an array of fixed shape, the same on every process.

        Parameters
        ----------
        time : float
            t.
        tokens : ndarray, shape (n, d) or (R, n, d)
            Tokens of this process, a read-only view.
        partition : Partition
            Which tokens these are, and how to add up what each process has.

        Returns
        -------
        float or ndarray
            In an ensemble with R first.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.total : Add up what each process has.
        chaosphere.measures.TokenMean.of_own : The mean over all tokens from those of a process.
        chaosphere.measures.Energy.of_own : The energy from the tokens of a process.
        chaosphere.measures.MeanCosine.of_own : The mean cosine from the tokens of a process.
        chaosphere.measures.OrderParameter.of_own : The order parameter from the tokens of a process.
        chaosphere.measures.PowerSpectrum.of_own : The power spectrum from the tokens of a process.
        """


@runtime_checkable
class SharedStateObservable(Protocol):
    """An observable of tokens with radii of which each process has its own, such as `RadiusMoment`.

    See Also
    --------
    chaosphere.measures.token_means.SharedObservable : The same of tokens alone.
    chaosphere.measures.RadiusMoment : Mean of a power of the radii.
    chaosphere.measures.observables.StateObservable : An observable of radii of your own.
    chaosphere.simulate : Run a model.

    Examples
    --------
    >>> import chaosphere as cs
    >>> from chaosphere.measures.token_means import SharedStateObservable
    >>> isinstance(cs.measures.RadiusMoment(power=2), SharedStateObservable)
    True
    """

    def of_own_state(self, time: float, tokens: Tokens, radii: Tokens, *, partition: Partition) -> Any:
        """Return a number or an array of fixed shape, the same on every process.

        Parameters
        ----------
        time : float
            t.
        tokens : ndarray, shape (n, d) or (R, n, d)
            Unit tokens of this process, a read-only view.
        radii : ndarray, shape (n,) or (R, n)
            Their radii.
        partition : Partition
            As in `of_own`.

        Returns
        -------
        float or ndarray
            In an ensemble with R first.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.total : Add up what each process has.
        chaosphere.measures.RadiusMoment.of_own_state : Mean of a power of the radii.
        """


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TokenMean(Brief):
    """The mean over tokens of a function of each token, as an observable: moments, and histograms of a coordinate.

    Parameters
    ----------
    function : callable
        From tokens (..., d) to numbers (...) or arrays (..., k), each a function of its own token alone. It sees at
        most 65 536 tokens at once.

    Raises
    ------
    TypeError
        If the function is not callable.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.measures.Energy : The energy as an observable.
    chaosphere.measures.mean_vector : The mean vector of tokens.
    chaosphere.laws.Sample : Tokens that each rank draws alone.
    chaosphere.measures.TokenMean.of_own : The mean over all tokens from those of a process.
    chaosphere.measures.token_means.SharedObservable : An observable of tokens of which each process has its own.
    chaosphere.measures.OrderParameter : The order parameter as an observable.

    Notes
    -----
    The terms are added along one binary tree over all tokens, so that the result is bitwise identical for any number of
    processes, if the function is: NumPy's operations element by element are, products of matrices are not. The error
    is at most ε log₂ N times the mean of the absolute values.

    Examples
    --------
    The mean vector, of which the length is the order parameter:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> mean = cs.measures.TokenMean(function=lambda x: x)
    >>> x = cs.sample_uniform(1000, 3, rng=0)
    >>> bool(np.allclose(mean(0.0, x), cs.measures.mean_vector(x), rtol=0, atol=1e-15))
    True
    """

    function: Callable[[Tokens], Any]

    def __post_init__(self) -> None:
        """Check."""
        if not callable(self.function):
            raise TypeError(f"function must be callable on tokens, got {messages.shown(self.function)}")

    def __call__(self, time: float, x: Tokens) -> Any:
        """Return the mean over all tokens.

        Parameters
        ----------
        time : float
            Not used.
        x : ndarray, shape (N, d) or (R, N, d)
            Tokens.

        Returns
        -------
        float or ndarray, shape (k,), (R,) or (R, k)
            The mean.

        Raises
        ------
        ValueError
            If the function returns no number or array for each token.

        See Also
        --------
        chaosphere.measures.TokenMean.of_own : The mean over all tokens from those of a process.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> height = cs.measures.TokenMean(function=lambda x: x[..., 1] ** 2)
        >>> float(height(0.0, np.array([[1.0, 0.0], [0.0, 1.0]])))
        0.5
        """
        return self._mean(x, None)

    def of_own(self, time: float, tokens: Tokens, *, partition: Partition) -> Any:
        """Return the mean over the tokens of all processes.

        Parameters
        ----------
        time : float
            Not used.
        tokens : ndarray, shape (n, d) or (R, n, d)
            Tokens of this process.
        partition : Partition
            Which tokens these are.

        Returns
        -------
        float or ndarray, shape (k,), (R,) or (R, k)
            Bitwise the mean of all tokens in one process.

        Raises
        ------
        ValueError
            If the function returns no number or array for each token.

        See Also
        --------
        chaosphere.measures.token_means.SharedObservable.of_own : What a run calls.
        chaosphere.measures.TokenMean : The mean over tokens of a function of each token.
        chaosphere.measures.TokenMean.__call__ : The mean over all tokens.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.simulation.partition import rows
        >>> mean, x = cs.measures.TokenMean(function=lambda x: x), cs.sample_uniform(10, 3, rng=0)
        >>> bool((mean.of_own(0.0, x, partition=rows(None, 10)) == mean(0.0, x)).all())
        True
        """
        return self._mean(tokens, partition)

    def _mean(self, x: Tokens, partition: Partition | None) -> Any:
        batch = x if x.ndim == 3 else x[None]
        total = over_tokens(lambda first, stop: self._terms(x[..., first:stop, :]), batch, over=partition)
        return of_replicas(total / count(batch, partition), x)

    def _terms(self, x: Tokens) -> Floats:
        """Return the function of tokens, checked, with an axis of replicas."""
        values = np.asarray(self.function(x))
        if values.dtype.kind not in "biuf" or values.shape[: x.ndim - 1] != x.shape[:-1] or values.ndim > x.ndim:
            raise ValueError(
                f"function must return real numbers of shape {x.shape[:-1]} or {(*x.shape[:-1], 'k')} for tokens "
                f"{x.shape}, got {values.dtype} of shape {values.shape} from {short(self.function)}"
            )
        terms = values.astype(np.float64, copy=False)
        return terms if x.ndim == 3 else terms[None]
