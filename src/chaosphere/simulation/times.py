"""Times at which a run is recorded."""

from __future__ import annotations

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats


def log_times(*, first: float, last: float, n_times: int) -> Floats:
    """Return 0 and times from one to another, each larger than the one before by the same factor.

    For `save_at` of runs over long times. A run records the state of the last step at or before each time, so `first`
    should not be shorter than a step.

    Parameters
    ----------
    first, last : float
        0 < first < last; `last` is returned to the bit.
    n_times : int
        How many, without 0; at least 2.

    Returns
    -------
    ndarray of float64, shape (n_times + 1,)
        Increasing.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the times are too close to differ.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.measures.lifetimes : States of a run and how long they last.

    Examples
    --------
    >>> import chaosphere as cs
    >>> cs.log_times(first=0.1, last=100.0, n_times=4)
    array([  0. ,   0.1,   1. ,  10. , 100. ])
    """
    first = checks.number(first, "first", above=0, high=checks.MAX_SIZE)
    last = checks.number(last, "last", above=0, high=checks.MAX_SIZE)
    n_times = checks.integer(n_times, "n_times", low=2, high=checks.MAX_COUNT)
    if not first < last:
        raise ValueError(f"last must be larger than first, {first:g}, got {last:g}")
    times = np.concatenate([[0.0], np.geomspace(first, last, n_times)])
    if (np.diff(times) <= 0).any():
        raise ValueError(f"n_times must be smaller: {n_times} times from {first:g} to {last:g} do not all differ")
    return times
