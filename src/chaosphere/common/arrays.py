"""The shape of results: of functions of numbers or arrays, and of one system of tokens or a batch of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chaosphere.common.checks import Floats, Tokens

# Of one system a number, of R replicas an array with R first: Any, as NumPy has it, for callers know which they passed.
PerReplica = Any


def like(argument: ArrayLike, values: Floats) -> float | Floats:
    """Return values as a float if the argument was a number, else as the array that they are."""
    return float(values) if np.ndim(argument) == 0 else values


def of_replicas(values: NDArray[Any], x: Tokens) -> PerReplica:
    """Return values (R, …) as they are for tokens x (R, N, d); for (N, d) those of the only one, a number if it is."""
    if x.ndim == 3:
        return values
    return values[0].item() if values[0].ndim == 0 else values[0]
