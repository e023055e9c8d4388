"""Which systems have so few tokens that kernels with lanes along systems serve them."""

from __future__ import annotations

MAX_TOKENS = 64
MAX_DIM = 16  # up to which twice as many tokens are few
MAX_KEY_DIM = 256  # of tokens whose rows are summed; benches/small_systems.py compares with blocks
MAX_ROW_TOKENS = 31  # up to which rows take less time than blocks with one shift of all scores, where QᵀK is a matrix


def is_few(n_tokens: int, dim: int) -> bool:
    """Whether a system is one of few tokens, whatever the number of systems."""
    return n_tokens <= (2 * MAX_TOKENS if dim <= MAX_DIM else MAX_TOKENS)


def has_few_keys(n_tokens: int, dim: int) -> bool:
    """Whether rows of any queries are summed over few tokens, whatever the numbers of queries and of systems."""
    return n_tokens <= 2 * MAX_TOKENS and dim <= MAX_KEY_DIM
