"""Sums over pairs of tokens that energies are made of, accurate down to consensus."""

from __future__ import annotations

import math

import numpy as np

from chaosphere.common import ordered_sums
from chaosphere.common.checks import Floats, Tokens
from chaosphere.geometry import expansions
from chaosphere.interactions.few_tokens import is_few
from chaosphere.interactions.protocol import Partition
from chaosphere.interactions.series import is_cheaper
from chaosphere.kernels import pairs as kernel
from chaosphere.kernels import replicas

MAX_BETA = 700.0  # e^β is finite


def exponential(batch: Tokens, p: Floats | None, *, beta: float, n_threads: int) -> Floats:
    """Return E_β = ½ Σ_ij p_i p_j (e^β − e^{β⟨x_i, x_j⟩}) for tokens (R, N, d), shape (R,)."""
    if beta > MAX_BETA:
        raise ValueError(f"beta must be <= {MAX_BETA:g} for the energy, got {beta:.6g}: e^beta overflows")
    if beta < -0.5 * MAX_BETA:
        raise ValueError(f"beta must be >= {-0.5 * MAX_BETA:g} for the energy, got {beta:.6g}: it overflows")
    if beta == 0:
        return np.zeros(len(batch))
    return np.asarray(0.5 * math.exp(beta) * pair_deficit(batch, p, beta=beta, n_threads=n_threads))


def pair_deficit(
    batch: Tokens, p: Floats | None, *, beta: float, n_threads: int, over: Partition | None = None
) -> Floats:
    """Return Σ_ij p_i p_j (1 − e^{β(⟨x_i, x_j⟩ − 1)}) for tokens (R, N, d), shape (R,), to a relative 1e-12.

    β may be negative down to −350, where the largest term is near e^700; the sum is over pairs then.

    Where processes share the tokens, batch has those of this one and p the weights of all. A sum over pairs gathers.
    """
    n_tokens, dim = ordered_sums.count(batch, over), batch.shape[2]
    if over is not None and not ordered_sums.is_aligned(over, expansions.block(n_tokens, dim)):
        batch, over = over.gather(batch), None
    missing = np.full(len(batch), np.nan)
    if beta >= 0 and is_cheaper(n_tokens, beta, dim, 1e-13, np.float64):
        present, error = expansions.mean_kernel(batch, p, beta=beta, n_threads=n_threads, over=over)
        missing = np.where(error <= 1e-12 * (1 - present), 1 - present, np.nan)
    by_pairs = np.isnan(missing)
    if by_pairs.any():
        everyone = batch if over is None else over.gather(batch)
        some = np.ascontiguousarray(everyone[by_pairs], dtype=np.float64)
        if is_few(n_tokens, dim):
            missing[by_pairs] = replicas.pair_deficits(some, p, beta, n_threads)
        else:
            missing[by_pairs] = kernel.pair_statistics(some, p, beta, 0, n_threads)[0]
    return missing


def spread(batch: Tokens, p: Floats | None) -> Floats:
    """Return ½ Σ_ij p_i p_j |x_i − x_j|², that is Σ_ij p_i p_j (1 − ⟨x_i, x_j⟩), for tokens (R, N, d), shape (R,).

    It is the variance of the tokens. They are taken relative to the one that is nearest to their mean: its square
    distance from the mean, which is subtracted, is then at most the variance.
    """
    q = np.full(batch.shape[1], 1 / batch.shape[1]) if p is None else p
    distance = ((batch - np.einsum("i,rik->rk", q, batch)[:, None, :]) ** 2).sum(axis=2)
    offset = batch - batch[np.arange(len(batch)), distance.argmin(axis=1)][:, None, :].astype(np.float64)
    mean = np.einsum("i,rik->rk", q, offset)
    return np.asarray((q * (offset**2).sum(axis=2)).sum(axis=1) - (mean**2).sum(axis=1))


def sinkhorn_series(batch: Floats, p: Floats | None, *, beta: float) -> Floats:
    """Return −½ |m|² − (β/4) tr C² for tokens (R, N, d) of mean m and covariance C, shape (R,).

    It is (1/β) ∫ log a dμ with a(x) ∫ e^{β⟨x, y⟩} a(y) dμ(y) = 1, to β²: log a begins with β (½ |m|² − ⟨x, m⟩), and the
    next term of its mean is −¼ β² times the mean of the variance of ⟨x − m, y⟩, which is ⟨x − m, C (x − m)⟩.
    """
    q = np.full(batch.shape[1], 1 / batch.shape[1]) if p is None else p
    mean = np.einsum("i,rik->rk", q, batch)
    offset = batch - mean[:, None, :]
    covariance = np.einsum("i,rik,ril->rkl", q, offset, offset)
    return np.asarray(-0.5 * (mean**2).sum(axis=1) - 0.25 * beta * (covariance**2).sum(axis=(1, 2)))
