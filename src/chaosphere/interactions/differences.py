"""Softmax attention of few tokens from the differences of their places, for V = vI.

P_x Σ w_j x_j = P_x Σ w_j (x_j − x): a token does not add to its own velocity, and one close to it adds little. So the
rounding is relative to the velocity, also where it is far below 1e-16, as between clusters at a large β. NumPy sums
them, many times more slowly than the kernels, so only for tokens whose velocities are small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape

MAX_NUMBERS = 2**18  # of the differences of one replica
SLOW = 1e-5  # speed above which the rounding of the kernels, about 1e-16, is as good as relative to it


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

    def refine(self, x: Tokens, velocity: Tokens) -> None:
        """Replace P_x Attn at tokens (R, N, d) of those that are no faster than `SLOW`."""
        is_slow = np.einsum("rnd,rnd->rn", velocity, velocity) < SLOW**2
        for tokens, rows, to in zip(x, is_slow, velocity, strict=True):  # one by one: bits do not depend on the others
            if rows.any():
                to[rows] = self._velocity(tokens, tokens[rows])

    def _velocity(self, x: Tokens, at: Tokens) -> Tokens:
        (sources,) = np.nonzero(self.weights)
        difference = x[None, sources] - at[:, None]
        exponent = 0.5 * self.beta * (difference * difference).sum(axis=2)
        # Least exponents of 0: no sum underflows, wherever the token is.
        w = self.weights[sources] * np.exp(exponent.min(axis=1, keepdims=True) - exponent)
        mean = (w[:, :, None] * difference).sum(axis=1) / w.sum(axis=1)[:, None] * self.value_scale
        return np.asarray(mean - (mean * at).sum(axis=1)[:, None] * at)
