"""Which systems have so few tokens that kernels with lanes along systems serve them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chaosphere.common.checks import Floats

FUSED_WORK = 4e9  # multiply-adds of steps taken in one call, some tenths of a second
MAX_TOKENS = 64
MAX_DIM = 128  # up to which twice as many tokens are few
MAX_KEY_DIM = 256  # of tokens whose rows are summed; benches/small_systems.py compares with blocks
# Up to which rows take less time than blocks with one shift of all scores, where QᵀK is a matrix.
MAX_ROW_TOKENS, MAX_ROW_DIM = 63, 64
MIN_WEIGHT = 2.0**-48  # relative: above it, with bounded scores and a slow decay, no power vanishes
# Of the base-2 logarithm of a decay over all tokens: beyond it products of weights could be subnormal numbers.
_MAX_DECAY = {np.dtype(np.float64): 60.0, np.dtype(np.float32): 22.0}


def is_few(n_tokens: int, dim: int) -> bool:
    """Whether a system is one of few tokens, whatever the number of systems."""
    return n_tokens <= (2 * MAX_TOKENS if dim <= MAX_DIM else MAX_TOKENS)


def has_few_keys(n_tokens: int, dim: int) -> bool:
    """Whether rows of any queries are summed over few tokens, whatever the numbers of queries and of systems."""
    return n_tokens <= 2 * MAX_TOKENS and dim <= MAX_KEY_DIM


def is_faster_by_rows(n_tokens: int, dim: int, *, is_symmetric: bool) -> bool:
    """Whether rows of a matrix QᵀK are summed over few tokens though one shift of all scores would do."""
    if not has_few_keys(n_tokens, dim):
        return False
    if is_symmetric:  # one exponential of blocks serves two orders
        return n_tokens <= (MAX_ROW_TOKENS if dim <= MAX_ROW_DIM // 2 else MAX_ROW_TOKENS // 2)
    return n_tokens <= (2 * MAX_TOKENS if dim <= MAX_ROW_DIM else MAX_ROW_TOKENS)


def are_even(weights: Floats | None) -> bool:
    """Whether no weight, relative to the largest, asks for more range than scores with a bound have."""
    return weights is None or bool(weights.min() >= MIN_WEIGHT)


def is_slow(decay: float, dtype: Any) -> bool:
    """Whether a decay, a base-2 logarithm over all tokens, leaves range enough for scores with a bound and weights."""
    return decay < _MAX_DECAY[np.dtype(dtype)]
