"""Causal attention at a cost proportional to N: sums over the tokens up to each, by the expansions of `series`.

The kernels cut the tokens into chunks (`chaosphere.kernels.prefix`): moments of what is before a chunk, and the tokens
within it. The error is controlled as in `chaosphere.geometry.expansions`, for the tokens up to each one: with P their
weight, sums are off by at most t_L P + γ, and γ has the sizes of the moments before the chunk and, of the tokens within
it, the largest possible. A token whose sum is too small, compared with that, is summed directly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import is_aligned, own
from chaosphere.common.shape import Shape
from chaosphere.geometry import expansions
from chaosphere.interactions import series
from chaosphere.interactions.attended import Attended
from chaosphere.interactions.causal import CausalPlan, direct_nanoseconds
from chaosphere.interactions.fast_sums import FastSumsPlan
from chaosphere.interactions.head import LOG2_E
from chaosphere.interactions.moment_matrix import matrix_of
from chaosphere.interactions.protocol import Partition
from chaosphere.kernels import prefix as kernel

_MAX_DECAY = 30.0  # of the exponent by which weights decay within a chunk whose tokens meet in pairs
_MIN_SUM = 1e-280  # smaller ones may be of subnormal numbers
_EPS = float(np.finfo(np.float64).eps)


class PrefixPlan(FastSumsPlan):
    """Causal attention of QᵀK = βI for tokens of one shape, to a given accuracy.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (N,), optional
    direct : CausalPlan
        For the same tokens, weights and decay.
    beta, rtol : float
        A token is served while Z̃ is at least 2/rtol times the error.
    value : ndarray of float64, shape (d, d)
        V.
    """

    is_ordered = True

    def __init__(
        self,
        shape: Shape,
        weights: Floats | None,
        *,
        direct: CausalPlan,
        beta: float,
        rtol: float,
        value: Floats,
    ) -> None:
        self.direct: CausalPlan = direct
        self.shape, self.weights, self.beta, self.rtol = shape, weights, beta, rtol  # β < 0 on the circle alone
        self.value = value
        self.pairs, self.n_fixed = direct.pairs, direct.n_fixed
        self._log_scale = abs(beta) - (math.log(shape.n_tokens) if weights is None else 0.0)
        n, dim, decay = shape.n_tokens, shape.dim, direct.decay
        n_max = expansions.degree(beta, dim, rtol)
        self.factors = expansions.multipliers(beta, dim)[: n_max + 1]
        self.tail = float(expansions.tails(beta, dim)[n_max])
        self.chunk = chunk_of(n, beta, dim, rtol)
        kept = np.exp(np.longdouble(-decay) * self.chunk / n)
        # On the circle the kernel takes several chunks at once.
        self.block = self.chunk * (kernel.N_CHUNKS if dim == 2 else 1)
        self.keep_chunk = float(kept), float(kept - np.longdouble(float(kept)))
        self.starts = np.arange(0, n, self.chunk)
        self.mass = np.broadcast_to(1.0, n) if weights is None else weights
        self.chunk_mass = np.add.reduceat(self.mass, self.starts)
        squares = self.chunk_mass if weights is None else np.add.reduceat(weights**2, self.starts)
        # Roundings of a sum of a chunk, one token after the other, besides those of a power.
        growth = expansions.growth(n_max, dim) + 0.5 * math.sqrt(self.chunk)
        self.growth = np.abs(self.factors) * expansions.counts(n_max + 1, dim) * growth
        self.noise = 4 * np.sqrt(np.concatenate([[0.0], np.cumsum(squares)[:-1]]))
        if dim == 2:
            self.keep = math.exp(-decay / n)
            self.terms = _circle_factors(self.factors)
        else:
            self._prepare_sphere(n, dim, decay=decay)

    def _prepare_sphere(self, n: int, dim: int, *, decay: float) -> None:
        self.matrix = matrix_of(self.beta, dim, self.rtol)
        place, last = np.arange(self.chunk), min(self.chunk, n) - 1
        self.up, self.down = np.exp(decay / n * np.maximum(last - place, 0)), np.exp(-decay / n * (place + 1))
        self.seen = self.weights
        if decay > 0:
            self.seen = self.mass * np.exp(-decay / n * (last - np.arange(n) % self.chunk))

    def attend(self, x: Tokens, *, n_threads: int) -> Attended:
        """Return attention and partition sums of all tokens (R, N, d)."""
        mean, z, lost = self._sums(x, n_threads=n_threads)
        log_scale: Any = self._log_scale
        n_direct = np.zeros(len(x), np.int64)
        for replica in range(len(x)):
            rows = lost[replica]
            if len(rows) == 0:
                continue
            system = x[replica : replica + 1]
            log_scale = log_scale if isinstance(log_scale, np.ndarray) else np.full(z.shape, log_scale)
            if 2 * len(rows) > x.shape[1]:
                full = self.direct.attend(system, n_threads=n_threads)
                mean[replica], z[replica], log_scale[replica] = full.mean[0], full.sums[0], full.log_scale
                n_direct[replica] = x.shape[1]
            else:
                alone = self.direct.attend_some(system, rows, n_threads=n_threads)
                mean[replica, rows], z[replica, rows], log_scale[replica, rows] = alone
                n_direct[replica] = len(rows)
        if self.direct.own_scale is not None:
            mean[:, 0] = self.direct.own_scale * x[:, 0]
        return Attended(mean=mean, sums=z, log_scale=log_scale, n_direct=n_direct)

    def attend_own(self, x: Tokens, partition: Partition, *, n_threads: int) -> Attended:
        """Return attention and partition sums of this process's tokens (R, n, d).

        The moments before its chunks come from the processes before it. Where a token of any process is to be summed
        directly, all tokens are gathered.
        """
        if is_aligned(partition, self.block):
            mean, z, lost = self._sums(x, n_threads=n_threads, over=partition)
            if not partition.any(any(map(len, lost))):
                if self.direct.own_scale is not None and partition.first == 0:
                    mean[:, 0] = self.direct.own_scale * x[:, 0]
                n_direct = np.zeros(len(x), np.int64)
                return Attended(mean=mean, sums=z, log_scale=self._log_scale, n_direct=n_direct)
        first, stop = partition.first, partition.stop
        return self.attend_part(partition.gather(x), first=first, stop=stop, n_threads=n_threads)

    def _sums(
        self, x: Tokens, *, n_threads: int, over: Partition | None = None
    ) -> tuple[Tokens, Floats, list[NDArray[np.int64]]]:
        """Return attention and sums of the tokens of this process, and which of each system are lost."""
        scan = None if over is None else over.scan
        if x.shape[2] == 2:
            mean, z, least, moments = kernel.fourier_prefix(
                x, own(self.weights, over), self.terms, self.chunk, self.keep, *self.keep_chunk, n_threads, scan
            )
            sizes = np.hypot(moments[..., 0], moments[..., 1])
        else:
            mean, z, least, moments = self._on_sphere(x, n_threads=n_threads, over=over)
            sizes = self.matrix.sizes(moments)
        self._map(mean)
        first = 0 if over is None else over.first
        return mean, z, [self._lost(*parts, first=first) for parts in zip(z, least, sizes, strict=True)]

    def _on_sphere(self, x: Tokens, *, n_threads: int, over: Partition | None) -> tuple[Tokens, Floats, Floats, Floats]:
        matrix = self.matrix
        return kernel.harmonic_prefix(
            x,
            own(self.seen, over),
            matrix.of_moments.n_max,
            matrix.of_moments.steps,
            matrix.basis.n_max,
            matrix.basis.steps,
            matrix.of_moments.scratch_rows,
            matrix.matrix.starts,
            matrix.matrix.columns,
            matrix.matrix.values,
            self.beta * LOG2_E,
            self.chunk,
            self.up,
            self.down,
            *self.keep_chunk,
            n_threads,
            None if over is None else over.scan,
        )

    def _map(self, mean: Tokens) -> None:
        """Apply V in place."""
        own_scale = self.direct.own_scale
        if own_scale is None:
            mean[:] = mean @ self.value.T
        elif own_scale != 1:
            mean *= mean.dtype.type(own_scale)

    def _lost(self, z: Floats, least: Floats, sizes: Floats, *, first: int) -> NDArray[np.int64]:
        """Return which tokens of a system, from `first` on, have sums that are too small, compared with the error."""
        at, n_chunks = first // self.chunk, len(least)
        chunk_mass, noise = self.chunk_mass[at : at + n_chunks], self.noise[at : at + n_chunks]
        before = sizes[:, 0]
        near = sizes[:, : len(self.factors)] + noise[:, None]
        near[:, 1:] = np.maximum(near[:, 1:], near[:, :-1])  # the moments of x Y are of degrees l ± 1
        near[:, :-1] = np.maximum(near[:, :-1], near[:, 1:])
        near[:, -1] = before  # that of degree L + 1 is not there
        weighted = np.einsum("ck,k->c", np.minimum(near, before[:, None]), self.growth)
        most = self.growth.sum()

        def needed(chunks: Any, within: Floats) -> Any:
            """Return the least sum that serves tokens of some chunks, of which `within` is the weight up to them."""
            error = self.tail * (before[chunks] + within) + _EPS * (weighted[chunks] + most * within)
            return np.maximum(2 * error / self.rtol, _MIN_SUM)

        # `not >=` sees a NaN as well.
        suspects = np.flatnonzero(~(least >= needed(slice(None), chunk_mass)))
        rows = []
        for chunk in suspects:
            start = int(chunk) * self.chunk
            stop = min(start + self.chunk, z.shape[0])
            bounds = needed(chunk, np.cumsum(self.mass[first + start : first + stop]))
            rows.append(start + np.flatnonzero(~(z[start:stop] >= bounds)))
        return np.concatenate(rows) if rows else np.empty(0, np.int64)


def chunk_of(n_tokens: int, beta: float, dim: int, rtol: float) -> int:
    """Return the number of tokens of a chunk.

    On the circle eight chunks run at once, and there are to be some for many threads. Beyond, the pairs within a chunk
    take about as long as the coefficients of its field, and moments take less than 50 bytes per token.
    """
    if dim == 2:
        return min(512, 64 * math.ceil(n_tokens / 8192))
    terms = expansions.n_harmonics(beta, dim, rtol) * (1 if dim == 3 else dim + 1)
    return int(min(max(2 ** round(math.log2(max(10 * math.sqrt(terms), terms / 4))), 128), 4096))


def serves(n_tokens: int, beta: float, dim: int, *, decay: float, rtol: float) -> bool:
    """Whether prefix sums are offered: as the expansions; on spheres for β >= 0 and a decay slow within a chunk."""
    if not expansions.serves(beta, dim, rtol) or (dim > 2 and beta < 0):
        return False
    return dim == 2 or decay * min(chunk_of(n_tokens, beta, dim, rtol) / n_tokens, 1) <= _MAX_DECAY


def check_decay(decay: float, n_tokens: int, *, beta: float, dim: int, rtol: float) -> None:
    """Raise ValueError if β is negative, or the decay too fast for the chunks, on a sphere."""
    if dim > 2 and beta < 0:
        raise ValueError(
            f"method='harmonic' needs beta >= 0 with mask='causal', got {beta:g}: the kernel of pairs within a chunk "
            "takes products of tokens times √beta; use method='auto' or 'direct'"
        )
    if not serves(n_tokens, beta, dim, decay=decay, rtol=rtol):
        most = _MAX_DECAY * max(n_tokens / chunk_of(n_tokens, beta, dim, rtol), 1)
        raise ValueError(
            f"method='harmonic' serves a decay up to {most:.6g} here, got {decay:.6g}; use method='auto' or 'direct'"
        )


def fastest(n_tokens: int, dim: int, dtype: Any, *, beta: float | None, decay: float, rtol: float | None) -> str:
    """Return the method of least expected time."""
    if beta is None or rtol is None:
        return "direct"
    expected = nanoseconds(n_tokens, beta, dim, decay=decay, rtol=rtol)
    if direct_nanoseconds(n_tokens, dim, dtype) <= expected:
        return "direct"
    return "fourier" if dim == 2 else "harmonic"


def nanoseconds(n_tokens: int, beta: float, dim: int, *, decay: float, rtol: float) -> float:
    """Return the time that prefix sums take on one processor; infinite where none are offered.

    It is 1.1 to 1.9 times that of the expansions without a mask, as measured by benches/bench_causal.py.
    """
    if not serves(n_tokens, beta, dim, decay=decay, rtol=rtol):
        return math.inf
    return 1.7 * series.nanoseconds(n_tokens, beta, dim, rtol)


def _circle_factors(factors: Floats) -> Floats:
    """Return what Σ p e^{β (cos φ − 1)} {1, cos φ, sin φ} has of A_k, A_k and B_k, see chaosphere.h."""
    n_max = len(factors)  # one more than the degree: cos φ and sin φ shift it
    above = np.concatenate([factors[1:], np.zeros(2)])
    below = np.concatenate([factors[:1] * 0, factors])
    terms = np.zeros((n_max + 2, 3))
    terms[: n_max + 1, 0] = 2 * np.append(factors, 0.0)
    terms[: n_max + 1, 1] = below + above
    terms[: n_max + 1, 2] = below - above
    terms[0] = factors[0], factors[1] if len(factors) > 1 else 0.0, 0.0
    return terms
