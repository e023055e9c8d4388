"""Softmax attention of few tokens from the differences of their places, for V = vI.

P_x Σ w_j x_j = P_x Σ w_j (x_j − x): a token does not add to its own velocity, and one close to it adds little. So the
rounding is relative to the velocity, also where it is far below 1e-16, as between clusters at a large β.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape

MAX_NUMBERS = 2**20  # of the differences of one replica


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Differences:
    """The velocity of softmax attention with QᵀK = βI, β >= 0, and V = vI."""

    weights: Floats
    beta: float
    value_scale: float

    @classmethod
    def of(cls, shape: Shape, weights: Floats | None, *, beta: float, value_scale: float) -> Differences | None:
        """Return it for few tokens of float64; else None."""
        n_sources = shape.n_tokens if weights is None else len(weights)
        if shape.n_tokens * n_sources * shape.dim > MAX_NUMBERS or shape.dtype != np.float64:
            return None
        p = np.full(n_sources, 1 / n_sources) if weights is None else weights
        return cls(weights=p, beta=beta, value_scale=value_scale)

    def changed(self, *, beta: float | None, value_scale: float | None) -> Differences | None:
        """Return it for another β or v; None for β < 0."""
        beta = self.beta if beta is None else beta
        value_scale = self.value_scale if value_scale is None else value_scale
        return Differences(weights=self.weights, beta=beta, value_scale=value_scale) if beta >= 0 else None

    def velocity(self, x: Tokens) -> Tokens | None:
        """Return P_x Attn at tokens (R, N, d); None where the weights of a token underflow."""
        result = np.empty_like(x)
        for tokens, velocity in zip(x, result, strict=True):  # one by one: bits do not depend on the others
            difference = tokens[None, : len(self.weights)] - tokens[:, None]
            w = self.weights * np.exp(-0.5 * self.beta * (difference * difference).sum(axis=2))
            total = w.sum(axis=1)
            if (total < 1e-200).any():
                return None
            mean = (w[:, :, None] * difference).sum(axis=1) / total[:, None] * self.value_scale
            velocity[:] = mean - (mean * tokens).sum(axis=1)[:, None] * tokens
        return result
