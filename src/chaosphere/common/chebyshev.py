"""Chebyshev series of a function, for `numpy.polynomial.chebyshev`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]


def chebyshev_series(function: Function, degree: int) -> Array:
    """Return the coefficients that interpolate a function at degree + 1 roots on [−1, 1]."""
    n = degree + 1
    values = np.asarray(function(np.cos(np.pi * (np.arange(n) + 0.5) / n)), dtype=np.float64)
    coefficients = np.asarray(scipy.fft.dct(values) / n, dtype=np.float64)
    coefficients[0] *= 0.5
    return coefficients


def trimmed(coefficients: Array, *, relative: float, min_degree: int = 0) -> Array:
    """Return a series up to its last coefficient above `relative` times the largest, of degree min_degree or more."""
    sizes = np.abs(coefficients)
    return coefficients[: np.flatnonzero(sizes > relative * np.max(sizes)).max(initial=min_degree) + 1]
