"""Checks of arguments: one message per rule, before any work starts."""

from __future__ import annotations

import importlib
import itertools
import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.kernels import abi, sphere

Tokens = NDArray[Any]  # float64 or float32
Floats = NDArray[np.float64]

_FLOATS = (np.float64, np.float32)
SPHERE_TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}


def integer(value: Any, name: str, *, low: int) -> int:
    """Return value as an int that is at least low."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer >= {low}, got {value!r} ({type(value).__name__})")
    if value < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value}")
    return int(value)


def ladder(values: Any, name: str, *, low: int = 1) -> tuple[int, ...]:
    """Return values as a tuple of at least two increasing integers."""
    steps = tuple(integer(value, name, low=low) for value in values)
    if len(steps) < 2 or any(a >= b for a, b in itertools.pairwise(steps)):
        raise ValueError(f"{name} must be at least two increasing numbers (a slope is fitted), got {list(steps)}")
    return steps


def number(value: Any, name: str, *, low: float = -math.inf, high: float = math.inf, above: float = -math.inf) -> float:
    """Return value as a finite float in [low, high], larger than above."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {value!r} ({type(value).__name__})")
    number = float(value)
    if not math.isfinite(number) or number < low or number > high or number <= above:
        rules = [f">= {low:g}"] * (low > -math.inf) + [f"> {above:g}"] * (above > -math.inf)
        rules += [f"<= {high:g}"] * (high < math.inf)
        raise ValueError(f"{name} must be a finite number{' ' if rules else ''}{' and '.join(rules)}, got {value!r}")
    return number


def square_matrix(value: Any, name: str) -> Floats:
    """Return value as a read-only (d, d) float64 array."""
    matrix = np.array(value, dtype=np.float64, order="C")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape[0] < 2:
        raise ValueError(f"{name} must be a square matrix (d, d) with d >= 2, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, found {matrix[~np.isfinite(matrix)][0]} in it")
    matrix.flags.writeable = False
    return matrix


def tokens(x: Any, name: str = "x") -> Tokens:
    """Return x, an (N, d) or (R, N, d) floating-point array of points on the unit sphere, as (R, N, d)."""
    if not isinstance(x, np.ndarray) or x.dtype not in _FLOATS:
        kind = f"array of {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{name} must be a float64 or float32 array, got {kind}")
    if x.ndim not in (2, 3):
        raise ValueError(f"{name} must have shape (n_tokens, dim) or (n_replicas, n_tokens, dim), got {x.shape}")
    if 0 in x.shape[:-1]:
        raise ValueError(f"{name} must hold at least one token, got shape {x.shape}")
    if x.shape[-1] < 2:
        raise ValueError(f"{name} must have dim >= 2 (points on the sphere of R^dim), got shape {x.shape}")
    batch = x if x.ndim == 3 else x[None]
    off, (replica, token) = sphere.deviation(batch)
    if off > SPHERE_TOLERANCE[x.dtype]:
        where = f"token {token}" + (f" of replica {replica}" if x.ndim == 3 else "")
        problem = f"| |x| - 1 | = {off:.3g}" if math.isfinite(off) else "it is not finite"
        raise ValueError(
            f"{name} must lie on the unit sphere to {SPHERE_TOLERANCE[x.dtype]:g}: at {where} {problem}; "
            "chaosphere.normalize(x) projects"
        )
    return batch


def weights(p: Any, n_tokens: int, name: str = "weights") -> Floats | None:
    """Return p as (N,) float64 probabilities; None stands for 1/N each."""
    if p is None:
        return None
    values = np.ascontiguousarray(p, dtype=np.float64)
    if values.shape != (n_tokens,):
        raise ValueError(f"{name} must have shape ({n_tokens},), one per token, got {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        at = int(np.flatnonzero(~np.isfinite(values) | (values < 0))[0])
        raise ValueError(f"{name} must be finite and >= 0: {name}[{at}] = {values[at]}")
    if abs(values.sum() - 1) > 1e-9:
        raise ValueError(f"{name} must sum to 1, got {float(values.sum())!r}; pass {name} / {name}.sum()")
    return values


def threads(n_threads: Any) -> int:
    """Return the number of threads, no more than a call starts; None stands for all that OpenMP may use."""
    return abi.max_threads() if n_threads is None else min(integer(n_threads, "n_threads", low=1), abi.thread_limit())


def extra(module: str, group: str) -> Any:
    """Return an optional module, or say which extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} is needed here: pip install 'chaosphere[{group}]'") from error
