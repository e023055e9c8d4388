"""Conditions that end a run: when they first hold, between which times, and those that have a name.

A condition is any function of (time, tokens) that returns True or False, or one of them for each replica.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.measures.observables import Observable, sees_radii, value_of
from chaosphere.measures.statistics import cluster_count
from chaosphere.simulation.observables import check_signature, read_only

__all__ = ["Clustered", "Threshold"]


def __dir__() -> list[str]:
    return __all__


Condition = Callable[[float, Tokens], Any]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Clustered(Brief):
    """Holds where few balls cover the tokens: `measures.cluster_count` is at most a number.

    Parameters
    ----------
    tolerance : float
        Radius of the balls in chordal distance, in (0, 2].
    n_clusters : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.ensemble : Run a model for many seeds and parameters.
    chaosphere.until.Threshold : A bound of an observable.
    chaosphere.measures.cluster_count : The number of balls.

    Notes
    -----
    O(N d) per ball, at every step.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.LimitSDE(
    ...     attention=cs.SoftmaxAttention(beta=1.0), field=None, horizon=20.0, n_steps=200
    ... )
    >>> x = cs.sample_uniform(20, 3, rng=0)
    >>> sol = cs.simulate(model, x, rng=0, until=cs.until.Clustered(tolerance=0.01))
    >>> sol.stopped_at < 20.0, cs.measures.cluster_count(sol.final, 0.01)
    (True, 1)
    """

    tolerance: float
    n_clusters: int = 1

    def __post_init__(self) -> None:
        """Check."""
        checks.numbers(self, "tolerance", above=0, high=2)
        checks.integers(self, "n_clusters", low=1)

    def __call__(self, time: float, tokens: Tokens) -> NDArray[np.bool_]:
        """Return whether the condition holds.

        Parameters
        ----------
        time : float
            t.
        tokens : ndarray, shape (N, d) or (R, N, d)
            Tokens on the unit sphere.

        Returns
        -------
        ndarray of bool, shape () or (R,)
            For each replica.

        See Also
        --------
        chaosphere.until.Threshold.__call__ : Of a bound of an observable.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(20, 3, rng=0)
        >>> bool(cs.until.Clustered(tolerance=0.01)(0.0, x))
        False
        """
        return np.asarray(cluster_count(tokens, self.tolerance)) <= self.n_clusters


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Threshold(Brief):
    """Holds where an observable is not below one bound, or not above another.

    Parameters
    ----------
    observable : callable
        A function of (time, tokens) that returns a number, or one for each replica.
    at_least, at_most : float, optional
        The bound: one of them.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or there is not one bound.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.ensemble : Run a model for many seeds and parameters.
    chaosphere.until.Clustered : Few balls cover the tokens.
    chaosphere.measures.Energy : The energy as an observable.

    Examples
    --------
    When the mean cosine of two tokens first reaches 0.9, between two times:

    >>> import chaosphere as cs
    >>> model = cs.LimitSDE(
    ...     attention=cs.SoftmaxAttention(beta=1.0), field=None, horizon=20.0, n_steps=200
    ... )
    >>> x = cs.sample_uniform(20, 3, rng=0)
    >>> aligned = cs.until.Threshold(
    ...     observable=lambda time, tokens: cs.measures.mean_cosine(tokens), at_least=0.9
    ... )
    >>> sol = cs.simulate(model, x, rng=0, until=aligned)
    >>> low, high = sol.hitting_times
    >>> float(round(high - low, 6)), bool(sol.stopped_at == high)
    (0.1, True)
    """

    observable: Observable
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        """Check."""
        if not callable(self.observable) or sees_radii(self.observable):
            raise TypeError(f"observable must be callable on (time, tokens), got {messages.shown(self.observable)}")
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("at_least and at_most: one of them must be given")
        checks.numbers(self, "at_least" if self.at_most is None else "at_most")

    def __call__(self, time: float, tokens: Tokens) -> NDArray[np.bool_]:
        """Return whether the condition holds.

        Parameters
        ----------
        time : float
            t.
        tokens : ndarray, shape (N, d) or (R, N, d)
            Tokens on the unit sphere.

        Returns
        -------
        ndarray of bool, shape () or (R,)
            For each replica.

        See Also
        --------
        chaosphere.until.Clustered.__call__ : Of few balls that cover the tokens.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(20, 3, rng=0)
        >>> late = cs.until.Threshold(observable=lambda time, tokens: time, at_least=1.0)
        >>> bool(late(2.0, x))
        True
        """
        value = np.asarray(value_of(self.observable, time, tokens=tokens, radii=None))
        if value.dtype.kind not in "biuf":
            raise TypeError(f"observable must return numbers, got {value.dtype}")
        if not np.isfinite(value).all():
            raise ValueError(f"observable must return finite numbers, got {value} at time {time:g}")
        return value >= self.at_least if self.at_most is None else value <= self.at_most


def check_until(until: object) -> None:
    """Raise TypeError if a condition cannot be called."""
    if until is None:
        return
    if not callable(until):
        raise TypeError(f"until must be callable on (time, tokens), got {messages.shown(until)}")
    check_signature(until, (0.0, None), what="until must be callable on (time, tokens)")


def holds(until: Condition, time: float, tokens: Tokens) -> NDArray[np.bool_]:
    """Return whether a condition holds, for each of the R replicas; R = 1 for tokens without.

    Raises
    ------
    TypeError, ValueError
        If it does not return a bool, or R of them.
    """
    value = np.array(until(time, tokens))
    n_replicas = len(tokens) if tokens.ndim == 3 else 1
    if value.dtype != np.bool_:
        raise TypeError(f"until must return True or False, got {value.dtype} at time {time:g}")
    if value.shape not in ((), (n_replicas,) if tokens.ndim == 3 else ()):
        raise ValueError(f"until must return one bool, or one for each replica, got shape {value.shape}")
    return np.broadcast_to(value, (n_replicas,))


def not_hit(n_replicas: int) -> Floats:
    """Return the intervals of hitting times before any is known, shape (R, 2): infinite."""
    return np.full((n_replicas, 2), math.inf)


def after(intervals: Floats | None, until: Condition, *, since: float, time: float, tokens: Tokens) -> Floats:
    """Return the intervals known at a time: where the condition first holds, from the time at which it was called."""
    assert intervals is not None
    is_new = holds(until, time, read_only(tokens)) & np.isinf(intervals[:, 1])
    return np.where(is_new[:, None], [since, time], intervals)


def is_hit(intervals: Floats | None) -> bool:
    """Whether the condition has held for each replica; False without a condition."""
    return intervals is not None and bool(np.isfinite(intervals).all())


def are_over(intervals: Floats, times: Floats) -> NDArray[np.bool_]:
    """Return which times (n,) are later than the condition of each replica first held, shape (…, n), of (…, 2)."""
    # Both are times of steps, with roundings of their own.
    return times > intervals[..., 1:] * (1 + 1e-9)


def known_at(intervals: Floats, time: float) -> Floats:
    """Return what of the intervals was known at a time."""
    return np.where(intervals[:, 1:] <= time, intervals, math.inf)


def result(intervals: Floats | None, *, horizon: float, is_batch: bool) -> Floats | None:
    """Return the intervals of hitting times as a solution has them: from T to infinity where there was none."""
    if intervals is None:
        return None
    ends = np.where(np.isfinite(intervals), intervals, [horizon, math.inf])
    return ends if is_batch else ends[0]
