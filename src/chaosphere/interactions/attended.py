"""One evaluation of attention, with its partition sums, and the weights that these count by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats, Tokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attended:
    """One evaluation of attention for tokens (R, N, d).

    Attributes
    ----------
    mean : ndarray, shape (R, N, d)
        Attention, V applied.
    sums : ndarray of float64, shape (R, N)
        Partition sums as the kernel computes them: Z = sums · e^log_scale.
    log_scale : float or ndarray of float64, shape (R, N)
    n_direct : ndarray of int, shape (R,)
        Tokens that were summed over all pairs.
    """

    mean: Tokens
    sums: Floats
    log_scale: float | Floats
    n_direct: NDArray[np.int64]

    def log_partition(self) -> Floats:
        """Return log Z, shape (R, N)."""
        return np.asarray(np.log(self.sums) + self.log_scale)

    def over(self, log_unit: float) -> Floats:
        """Return Z e^−log_unit, shape (R, N)."""
        return np.asarray(self.sums * np.exp(self.log_scale - log_unit))

    def rows(self, first: int, stop: int) -> Attended:
        """Return that of the tokens first … stop − 1."""
        part, scale = (slice(None), slice(first, stop)), self.log_scale
        return Attended(
            mean=np.ascontiguousarray(self.mean[part]),
            sums=self.sums[part],
            log_scale=scale[part] if isinstance(scale, np.ndarray) else scale,
            n_direct=self.n_direct,
        )


def relative_weights(weights: Floats | None, n_tokens: int) -> tuple[Floats | None, float]:
    """Return weights with largest about 1, or None, and the log of what 1 stands for.

    A quotient of a subnormal weight would lose digits: weights with such among them are scaled by a power of two.
    """
    if weights is None:
        return None, -math.log(n_tokens)
    unit = float(weights.max())
    if weights.min(where=weights > 0, initial=1.0) < np.finfo(np.float64).tiny:
        unit = 2.0 ** (math.frexp(unit)[1] - 1)  # at most the largest, which is at most 1: nothing is scaled down
    return weights / unit, math.log(unit)
