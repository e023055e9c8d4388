"""Two clouds of tokens: their checks, sums over their pairs, and estimates of time."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import duration
from chaosphere.kernels.rows import attend_rows

LOG2_E = math.log2(math.e)
_MAX_SECONDS = 600.0  # that a call may take by its estimate

_P = ParamSpec("_P")


class Cloud(NamedTuple):
    """Tokens, and their weights in the measure."""

    points: Floats  # (N, d), C-contiguous
    weights: Floats  # (N,), positive, sum 1
    is_uniform: bool


def cloud(x: Any, weights: Any, *, name: str, weights_name: str) -> Cloud:
    """Check one cloud; tokens of weight 0 are left out."""
    batch = checks.tokens(x, name)
    points = np.ascontiguousarray(batch[0], dtype=np.float64)
    p = checks.weights(weights, len(points), weights_name)
    if p is None:
        return Cloud(points, np.full(len(points), 1 / len(points)), True)
    keep = p > 0
    points, p = points[keep], p[keep]
    return Cloud(points, p / p.sum(), bool((p == p[0]).all()))


def clouds(x: Any, y: Any, *, x_weights: Any, y_weights: Any) -> tuple[Cloud, Cloud]:
    """Check two clouds, of one dim."""
    both = (
        cloud(x, x_weights, name="x", weights_name="x_weights"),
        cloud(y, y_weights, name="y", weights_name="y_weights"),
    )
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x and y must have one dim, got shapes {x.shape} and {y.shape}")
    return both


def over_replicas(distance: Callable[_P, PerReplica]) -> Callable[_P, PerReplica]:
    """Let a distance of two clouds x, y take replicas of them: it is then an array (R,), replica by replica.

    A cloud without replicas is that of every one.
    """

    @functools.wraps(distance)
    def batched(*args: _P.args, **kwargs: _P.kwargs) -> PerReplica:
        both = (*args[:2], kwargs.get("x"), kwargs.get("y"))
        if not any(isinstance(z, np.ndarray) and z.ndim == 3 for z in both):
            return distance(*args, **kwargs)
        options = inspect.signature(distance).bind(*args, **kwargs).arguments
        x, y = options.pop("x"), options.pop("y")
        for name, z in (("x", x), ("y", y)):
            checks.tokens(z, name)  # errors name the replica
        if x.ndim == y.ndim == 3 and len(x) != len(y):
            raise ValueError(f"x and y must have as many replicas, got shapes {x.shape} and {y.shape}")
        n_replicas = len(x) if x.ndim == 3 else len(y)
        pairs = ((z if z.ndim == 3 else np.broadcast_to(z, (n_replicas, *z.shape))) for z in (x, y))
        alone: Callable[..., PerReplica] = distance
        return np.array([alone(one, two, **options) for one, two in zip(*pairs, strict=True)])

    return batched


def refuse_long(seconds: float, what: str, *, instead: str) -> None:
    """Raise ValueError if a call would take more than ten minutes by its estimate."""
    if seconds > _MAX_SECONDS:
        raise ValueError(f"x and y are too large: {what} would take about {duration(seconds)}; {instead}")


def attention_sums(
    x: Floats, sources: Cloud, *, v: Floats, scale: float, n_threads: int
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the means of the sources y_j under weights q_j 2^{v_j + scale ⟨x_i, y_j⟩}, and log2 of their sums."""
    top = v.max()
    q = sources.weights * np.exp2(v - top)
    means, sums, exponents = attend_rows(x[None], sources.points[None], None, None, q, scale, n_threads)
    return means[0], np.log2(sums[0]) + exponents[0] + top


def attention_seconds(mu: Cloud, nu: Cloud, *, n_threads: int) -> float:
    """Return a rough time of one attention pass over N M pairs."""
    dim: int = mu.points.shape[1]
    return len(mu.points) * len(nu.points) * (1 + 0.06 * dim) * 1e-9 / n_threads
