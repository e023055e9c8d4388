"""Which systems have so few tokens that kernels with lanes along systems serve them."""

from __future__ import annotations

MAX_TOKENS = 64
MAX_DIM = 16  # up to which twice as many tokens are few


def is_few(n_tokens: int, dim: int) -> bool:
    """Whether a system is one of few tokens, whatever the number of systems."""
    return n_tokens <= (2 * MAX_TOKENS if dim <= MAX_DIM else MAX_TOKENS)
