"""The shape of a batch of tokens: what plans are made for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chaosphere.common.checks import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """R independent systems of N tokens in R^d.

    Parameters
    ----------
    n_replicas : int
        R, the number of systems.
    n_tokens : int
        N, in each.
    dim : int
        d.
    dtype : numpy.dtype
        float64 or float32.

    See Also
    --------
    chaosphere.models.protocol.ModelPlan : A model for tokens of one shape.
    chaosphere.models.protocol.Model.plan : Plan of any model.
    chaosphere.common.shape.Shape.of : Shape of an array of tokens.
    chaosphere.laws.Sample.shape : The shape of all tokens.

    Examples
    --------
    >>> from chaosphere.common.shape import Shape
    >>> Shape(n_tokens=10, dim=3).n_replicas
    1
    """

    n_replicas: int = 1
    n_tokens: int
    dim: int
    dtype: Any = field(default_factory=lambda: np.dtype(np.float64))

    @classmethod
    def of(cls, batch: Tokens) -> Shape:
        """Return the shape of tokens.

        Parameters
        ----------
        batch : ndarray, shape (R, N, d)
            Tokens of R systems.

        Returns
        -------
        Shape
            R, N, d and the dtype.

        See Also
        --------
        chaosphere.common.shape.Shape : Replicas, tokens, dimension and dtype.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> Shape.of(cs.sample_uniform(10, 3, rng=0, n_replicas=4)).n_replicas
        4
        """
        n_replicas, n_tokens, dim = batch.shape
        return cls(n_replicas=n_replicas, n_tokens=n_tokens, dim=dim, dtype=batch.dtype)
