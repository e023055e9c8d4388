"""Softmax attention by sums that take O(N), with the tokens that they cannot serve summed directly."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Sharing, is_aligned
from chaosphere.common.shape import Shape
from chaosphere.interactions.attended import Attended
from chaosphere.interactions.direct import DirectPlan
from chaosphere.interactions.protocol import InteractionPlan, Partition, Pullback


class Sums(Protocol):
    """Sums over tokens (R, N, d) with weights (N,), or None for 1/N."""

    def block(self, n_tokens: int) -> int:
        """Return the tokens of a block whose sums one process makes, or 0 if processes cannot share them."""

    def __call__(
        self, x: Tokens, p: Floats | None, *, n_threads: int, over: Sharing | None = None
    ) -> tuple[Tokens, Floats, Floats, Floats]:
        """Return attention (R, N, d) mapped by V, Z̃ = e^{−|β|} Z (R, N), its least value and error bound (R,).

        Where processes share the tokens, x are those of this one and p the weights of all, or of those of this one. The
        least value is that of this process.
        """

    def partition(
        self, x: Tokens, p: Floats, *, n_threads: int, over: Sharing | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return the same without attention."""


class FastSumsPlan(InteractionPlan):
    """Softmax attention of QᵀK = βI for tokens of one shape, to a given accuracy.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
    sums : Sums
    direct : DirectPlan
        For the same tokens and weights.
    size, rtol : float
        |β|. A token is served while Z̃ is at least 2/rtol times the error.
    """

    def __init__(
        self, shape: Shape, weights: Floats | None, *, sums: Sums, direct: DirectPlan, size: float, rtol: float
    ) -> None:
        self.sums, self.direct, self.size, self.rtol = sums, direct, size, rtol
        self.pairs, self.block = direct.pairs, sums.block(shape.n_tokens)
        self.weights = None if weights is None else np.append(weights, np.zeros(shape.n_tokens - len(weights)))

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return attention; see `InteractionPlan`."""
        return self.attend(x, n_threads=n_threads).mean

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative of the exact sums, over all pairs; see `InteractionPlan`."""
        return self.direct.jvp(x, tangent, n_threads=n_threads)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients of the exact sums, over all pairs; see `InteractionPlan`."""
        return self.direct.vjp(x, cotangent, n_threads=n_threads)

    def attend(self, x: Tokens, *, n_threads: int) -> Attended:
        """Return attention and partition sums of all tokens (R, N, d)."""
        mean, sums, least, error = self.sums(x, self.weights, n_threads=n_threads)
        log_scale: Any = self.size
        n_direct = np.zeros(len(x), np.int64)
        # A token whose own sum is too small, compared with the error, is summed directly; `not >=` sees a NaN as well.
        for replica in np.flatnonzero(~(least >= 2 * error / self.rtol)):
            is_lost = ~(sums[replica] >= 2 * error[replica] / self.rtol)
            rows: Any = np.flatnonzero(is_lost)
            system = x[replica : replica + 1]
            log_scale = log_scale if isinstance(log_scale, np.ndarray) else np.full(sums.shape, log_scale)
            if 2 * len(rows) > x.shape[1]:
                attended = self.direct.attend(system, n_threads=n_threads)
                mean[replica], sums[replica], log_scale[replica] = (
                    attended.mean[0],
                    attended.sums[0],
                    attended.log_scale,
                )
                n_direct[replica] = x.shape[1]
                continue
            alone = self.direct.attend_rows(system[:, rows], system[:, self.direct.sources], n_threads=n_threads)
            mean[replica, rows], sums[replica, rows], log_scale[replica, rows] = (part[0] for part in alone)
            n_direct[replica] = len(rows)
        return Attended(mean=mean, sums=sums, log_scale=log_scale, n_direct=n_direct)

    def attend_part(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Attended:
        """Return attention and partition sums of rows first … stop − 1, from those of all tokens."""
        return self.attend(x, n_threads=n_threads).rows(first, stop)

    def shared_drift(self, x: Tokens, partition: Partition, *, n_threads: int) -> Tokens:
        """Return attention from the moments of each process's tokens; see `InteractionPlan`."""
        return self.attend_own(x, partition, n_threads=n_threads).mean

    def attend_own(self, x: Tokens, partition: Partition, *, n_threads: int) -> Attended:
        """Return attention and partition sums of this process's tokens (R, n, d).

        Where a token of any process is to be summed directly, it takes all tokens: they are gathered.
        """
        if is_aligned(partition, self.block):
            mean, sums, least, error = self.sums(x, self.weights, n_threads=n_threads, over=partition)
            if not partition.any(not (least >= 2 * error / self.rtol).all()):
                n_direct = np.zeros(len(x), np.int64)
                return Attended(mean=mean, sums=sums, log_scale=self.size, n_direct=n_direct)
        first, stop = partition.first, partition.stop
        return self.attend_part(partition.gather(x), first=first, stop=stop, n_threads=n_threads)
