"""The sum of the heads of one layer and its gradients, in a few calls over all heads and sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.interactions.head import LOG2_E
from chaosphere.kernels.heads import attend_heads, pull_heads
from chaosphere.kernels.rows import map_tokens


class Heads:
    """Σ_h V_h Attn(Q_h, K_h; X) for tokens of B sequences.

    Heads and sequences are shared among threads. The sums of a head are taken in one order, and so is that over heads:
    bitwise identical for any number of threads.

    Parameters
    ----------
    matrices : ndarray of float64, shape (H, 2k + d, d)
        Rows of Q, of K and of V of each head.
    x : ndarray of float64 or float32, shape (B, N, d)
    is_causal : bool
        Token i sees the tokens j <= i.
    n_threads : int

    Attributes
    ----------
    drift : ndarray, shape (B, N, d)
        The sum, of the dtype of x.
    """

    def __init__(self, matrices: Floats, x: Tokens, *, is_causal: bool, n_threads: int) -> None:
        self.x, self.is_causal, self.n_threads = x, is_causal, n_threads
        self.k = (matrices.shape[1] - matrices.shape[2]) // 2
        self.matrices = np.ascontiguousarray(matrices, dtype=x.dtype)
        scaled = matrices.copy()
        scaled[:, : self.k] *= LOG2_E
        self.scaled = scaled.astype(x.dtype)
        self.mean, self.logs = attend_heads(x, self.scaled, self.k, is_causal, n_threads)
        values = np.concatenate(list(self.matrices[:, 2 * self.k :]), axis=1)
        self.drift = map_tokens(_joined(self.mean).swapaxes(1, 2), values, n_threads)

    def vjp(self, cotangent: Tokens, *, out: Floats) -> Tokens:
        """Return the gradient of the sum of cotangent times drift in the tokens; write that in the matrices to `out`.

        With coefficients P_ij, w the cotangent and m_i the mean that token i sees, the gradient in the score of i and j
        is P_ij ⟨Vᵀw_i, x_j − m_i⟩. It gives those in the queries and keys; that in V x_j is Σ_i P_ij w_i.
        """
        transposed = np.ascontiguousarray(self.matrices[:, 2 * self.k :].swapaxes(1, 2))
        settings: Any = (self.is_causal, self.n_threads)
        pulled = pull_heads(self.x, cotangent, self.scaled, transposed, self.mean, self.logs, *settings)
        joined, flat = _joined(pulled), self.matrices.reshape(-1, self.x.shape[2])
        gradients = np.zeros(flat.shape)
        for of_sequence, tokens in zip(joined, self.x, strict=True):
            # As a map of the N entries of each row: no BLAS is called, whose sums may depend on its threads.
            rows = map_tokens(of_sequence[None], np.ascontiguousarray(tokens.T), self.n_threads)
            gradients += rows[0]
        out[:] = gradients.reshape(out.shape)
        return map_tokens(joined.swapaxes(1, 2), np.ascontiguousarray(flat.T), self.n_threads)


def _joined(of_heads: Tokens) -> Tokens:
    """Return coordinates of heads (B, H, m, N), those of one head after those of another, as (B, H m, N)."""
    n_sequences, n_heads, width, n_tokens = of_heads.shape
    return of_heads.reshape(n_sequences, n_heads * width, n_tokens)
