"""What a function of numbers or arrays returns."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common.checks import Floats


def like(argument: ArrayLike, values: Floats) -> float | Floats:
    """Return values as a float if the argument was a number, else as the array that they are."""
    return float(values) if np.ndim(argument) == 0 else values
