"""The shape of a batch of tokens: what plans are made for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chaosphere.common.checks import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """R independent systems of N tokens in R^d.

    Attributes
    ----------
    n_replicas, n_tokens, dim : int
        R, N, d.
    dtype : numpy.dtype
        float64 or float32.

    Examples
    --------
    >>> Shape(n_tokens=10, dim=3).n_replicas
    1
    """

    n_replicas: int = 1
    n_tokens: int
    dim: int
    dtype: Any = field(default_factory=lambda: np.dtype(np.float64))

    @classmethod
    def of(cls, batch: Tokens) -> Shape:
        """Return the shape of tokens (R, N, d)."""
        n_replicas, n_tokens, dim = batch.shape
        return cls(n_replicas=n_replicas, n_tokens=n_tokens, dim=dim, dtype=batch.dtype)
