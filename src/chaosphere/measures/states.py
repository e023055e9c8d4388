"""How long a run stays at one value of a count, such as the number of clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Lifetimes(Brief):
    """What `lifetimes` finds in one run: its states, in the order of time.

    Parameters
    ----------
    values : ndarray of float64, shape (K,)
        The count in each state.
    starts : ndarray of float64, shape (K,)
        The first recorded time of each.
    ends : ndarray of float64, shape (K,)
        The first recorded time of the next state; of the last state, its last recorded time.
    durations : ndarray of float64, shape (K,)
        ends less starts.
    is_complete : ndarray of bool, shape (K,)
        Whether the run left the state: False for the last one.

    See Also
    --------
    chaosphere.measures.lifetimes : States of a run and how long they last.

    Examples
    --------
    >>> import chaosphere as cs
    >>> cs.measures.lifetimes([5, 5, 3, 3, 2], times=[0.0, 1.0, 10.0, 100.0, 1000.0]).durations
    array([ 10., 990.,   0.])
    """

    values: Floats
    starts: Floats
    ends: Floats
    durations: Floats
    is_complete: Any


def lifetimes(counts: Any, *, times: Any) -> Any:
    """Return the states of a run, which are its stretches of time at one count, and how long they last.

    Parameters
    ----------
    counts : array_like, shape (n_times,) or (n_times, R)
        A number at each time, as an observable of a run.
    times : array_like of float, shape (n_times,)
        Not decreasing.

    Returns
    -------
    Lifetimes, or list of Lifetimes
        One for each of R replicas.

    Raises
    ------
    TypeError, ValueError
        If the arguments are no finite numbers, their shapes do not agree, or the times decrease.

    See Also
    --------
    chaosphere.measures.Lifetimes : Values, starts, ends and durations.
    chaosphere.measures.cluster_count : The number of balls that cover the tokens, as an observable.
    chaosphere.log_times : Times for `save_at` that are spaced by a factor.

    Notes
    -----
    A state that begins and ends between two recorded times is not seen. Start and end of the others are late by less
    than the time to the record before.

    Examples
    --------
    How long three and two clusters of a run last:

    >>> import chaosphere as cs
    >>> model = cs.LimitSDE(
    ...     attention=cs.SoftmaxAttention(beta=4.0), field=None, horizon=60.0, n_steps=300
    ... )
    >>> sol = cs.simulate(
    ...     model,
    ...     cs.sample_uniform(12, 2, rng=0),
    ...     rng=0,
    ...     observe={"clusters": lambda t, x: cs.measures.cluster_count(x, 0.3)},
    ... )
    >>> states = cs.measures.lifetimes(sol.observables["clusters"], times=sol.times)
    >>> bool(states.durations.sum() == 60.0), states.is_complete.tolist()[-1]
    (True, False)
    """
    count, time = checks.array(counts, "counts"), checks.array(times, "times")
    if count.ndim not in (1, 2) or time.shape != count.shape[:1] or not len(time):
        raise ValueError(
            f"counts and times must have shapes (n_times,) or (n_times, R), and (n_times,), got {count.shape} and "
            f"{time.shape}"
        )
    if not np.isfinite(count).all():
        raise ValueError(f"counts must be finite, got {count[~np.isfinite(count)][0]}")
    if not (np.abs(time) <= checks.MAX_SIZE).all():
        raise ValueError(f"times must be finite, of at most {checks.MAX_SIZE:g}, got {time.tolist()[:10]}")
    if (time[1:] < time[:-1]).any():
        raise ValueError(f"times must not decrease, got {time.tolist()[:10]}")
    return _of_run(count, time) if count.ndim == 1 else [_of_run(row, time) for row in count.T]


def _of_run(count: Floats, time: Floats) -> Lifetimes:
    firsts = np.concatenate([[0], 1 + np.flatnonzero(count[1:] != count[:-1])])
    starts = time[firsts]
    ends = np.append(starts[1:], time[-1])
    return Lifetimes(
        values=count[firsts],
        starts=starts,
        ends=ends,
        durations=ends - starts,
        is_complete=np.arange(len(firsts)) < len(firsts) - 1,
    )
