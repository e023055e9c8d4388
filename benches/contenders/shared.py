"""What contenders share: the types of their methods, the import of a peer, the scales of a layer."""

import importlib
import math
from collections.abc import Callable

import numpy as np
from registry import Case

Run = Callable[[], object]
Draws = list[tuple[np.ndarray, np.ndarray]]


class Missing(Exception):
    """A peer is not installed."""


def require(name: str):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"peer not installed: {name}") from error


def with_scales(case: Case, u: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both scales of a layer put into its weights, transposed: hidden = φ(x u), out = hidden w."""
    u, w = u.T / math.sqrt(case.dim), w.T / math.sqrt(case.width)
    return u.astype(case.dtype, order="C"), w.astype(case.dtype, order="C")
