"""Hardmax attention, the limit β → ∞ of softmax attention.

    Attn(μ, x) = V (mean under μ of the y with the largest ⟨Qx, Ky⟩)

If several tokens have the largest score they count by their weights, as in the limit. With QᵀK = βI a token of weight
> 0 attends to itself alone, since ⟨x, y⟩ is largest at y = x; a passive tracer, or a query of other sources, attends to
the nearest source. Under a causal mask the tokens y are those up to x, and a decay λ gives those of equal scores the
weights p_j e^{−λ(i−j)/N}.

Here the sums are over all pairs, O(N² d), or half of them under the mask. Where QᵀK = βI the kernel compares distances,
so that a token is nearest to itself whatever its rounding. Elsewhere it compares scores to the bit: those of equal
tokens are equal, those of others may differ by their rounding alone.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from chaosphere.common import messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.pullback import NoDerivativeError
from chaosphere.common.shape import Shape
from chaosphere.interactions import causal, head
from chaosphere.interactions.attended import Attended, relative_weights
from chaosphere.interactions.protocol import InteractionPlan, Pullback
from chaosphere.kernels import hardmax as kernel

MAX_DECAY = 500.0  # e^-500 times a weight is a normal number
_MIN_WEIGHT = 1e-80


class HardmaxPlan(InteractionPlan):
    """Hardmax attention over all pairs, for tokens of one shape.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
    query, key : ndarray of float64, shape (k, d), optional
        Q and K; None where QᵀK = βI.
    value : ndarray of float64, shape (d, d), optional
        V; else V = value_scale · I.
    value_scale : float
    mask : {None, "causal"}
    decay : float
        λ, with the mask.

    Raises
    ------
    ValueError
        With the mask, if some tokens have no weight, the first has the weight 0, or the decay is too fast.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Floats | None,
        *,
        query: Floats | None,
        key: Floats | None,
        value: Floats | None,
        value_scale: float,
        mask: str | None,
        decay: float,
    ) -> None:
        n_sources = shape.n_tokens if weights is None else len(weights)
        self.sources, self.pairs = slice(n_sources), float(shape.n_tokens) * n_sources
        self.is_ordered = mask is not None
        if self.is_ordered:
            causal.check_weights(weights, shape.n_tokens)
            self.pairs = 0.5 * shape.n_tokens * (shape.n_tokens + 1)
        self.weights, _ = relative_weights(weights, shape.n_tokens)
        if decay > 0:
            self.weights = _decaying(self.weights, shape.n_tokens, decay=decay)
        self.query, self.key = (
            None if matrix is None else np.ascontiguousarray(_of_unit_norm(matrix), dtype=shape.dtype)
            for matrix in (query, key)
        )
        self.value = None if value is None else np.ascontiguousarray(value, dtype=shape.dtype)
        self.value_scale = value_scale

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return attention; see `InteractionPlan`."""
        return self.attend(x, n_threads=n_threads).mean

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return some rows of attention at their share of the work; see `InteractionPlan`."""
        return self._attend(x[:, first:stop], x, first=first, n_threads=n_threads).mean

    def attend(self, x: Tokens, *, n_threads: int) -> Attended:
        """Return attention of all tokens (R, N, d); their partition sums are infinite."""
        return self._attend(x, x, first=0, n_threads=n_threads)

    def attend_to(self, queries: Tokens, tokens: Tokens, *, n_threads: int) -> Attended:
        """Return attention of queries (R, M, d), without a mask, to tokens (R, N, d) of the plan's shape."""
        assert not self.is_ordered
        return self._attend(queries, tokens, first=0, n_threads=n_threads)

    def _attend(self, queries: Tokens, tokens: Tokens, *, first: int, n_threads: int) -> Attended:
        """Return attention of queries, which are the tokens from `first` on if there is a mask."""
        mean, mass = kernel.hardmax(
            queries,
            tokens[:, self.sources],
            self.query,
            self.key,
            self.value,
            self.weights,
            n_threads,
            self.value_scale,
            self.is_ordered,
            first if self.is_ordered else 0,
        )
        n_direct = np.full(len(queries), queries.shape[1])
        return Attended(mean=mean, sums=mass, log_scale=math.inf, n_direct=n_direct)

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Raise ValueError: which tokens have the largest score changes at once."""
        _raise_no_derivative()

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Raise ValueError: which tokens have the largest score changes at once."""
        _raise_no_derivative()


def check(spec: Any) -> None:
    """Raise ValueError unless method, decay and rtol of softmax attention go with β = ∞."""
    if spec.method not in ("auto", "direct"):
        raise ValueError(f"method must be 'auto' or 'direct' with beta=inf, got {spec.method!r}")
    if spec.rtol is not None:
        raise ValueError(f"rtol must be None with beta=inf, got {messages.shown(spec.rtol)}")
    if spec.decay > MAX_DECAY:
        raise ValueError(
            f"decay must be <= {MAX_DECAY:g} with beta=inf, got {spec.decay:g}: weights of early tokens would vanish"
        )


def _raise_no_derivative() -> NoReturn:
    raise NoDerivativeError(
        "beta must be finite for derivatives, got inf: hardmax attention jumps where two tokens have the largest score"
    )


def _decaying(weights: Floats | None, n_tokens: int, *, decay: float) -> Floats:
    """Return p_j e^{−λ(N−1−j)/N}; only the ratios of weights count."""
    factors = np.exp(-decay / n_tokens * np.arange(n_tokens - 1.0, -1, -1))
    if weights is None:
        return factors
    if weights[weights > 0].min() < _MIN_WEIGHT:
        raise ValueError(f"weights must be 0 or >= {_MIN_WEIGHT:g} times the largest with a decay and beta=inf")
    return np.asarray(factors * weights)


def _of_unit_norm(matrix: Floats) -> Floats:
    """Return a matrix times the power of two that brings its norm near 1, which changes no comparison of scores."""
    size = head.norm(matrix)
    return np.ldexp(matrix, -math.frexp(size)[1]) if size > 0 else matrix
