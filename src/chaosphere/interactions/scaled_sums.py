"""Doubly stochastic attention for tokens of one shape: scalings by sums without values, then one sum of the values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import ordered_sums
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import is_aligned
from chaosphere.common.shape import Shape
from chaosphere.geometry import sphere
from chaosphere.interactions.balance import Alone, Balanced, Blocks, Reductions, balance, largest
from chaosphere.interactions.head import LOG2_E
from chaosphere.interactions.protocol import InteractionPlan, Partition, Pullback
from chaosphere.interactions.sinkhorn_tangent import SinkhornTangent
from chaosphere.interactions.softmax import SoftmaxAttention, attending
from chaosphere.interactions.tangent import Maps, weights_of
from chaosphere.kernels import attention as kernel
from chaosphere.kernels.rows import attend_rows

_MIN_SHARE = 2.0**-80  # of the least weight in the largest, for float32: sums of rows that are less would vanish


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaled:
    """One evaluation of tokens (R, N, d), with a for the kernel e^{β(⟨x, y⟩ − 1)}.

    Attributes
    ----------
    value : ndarray, shape (R, N, d)
    log_a : ndarray of float64, shape (R, N)
    residual : ndarray of float64, shape (R,)
    n_iterations : ndarray of int, shape (R,)
    """

    value: Tokens
    log_a: Floats
    residual: Floats
    n_iterations: NDArray[np.int64]


class _LostError(ArithmeticError):
    """A sum at a token of some process is to be made over pairs, of tokens that other processes have."""


class SinkhornPlan(InteractionPlan):
    """Doubly stochastic attention for tokens of one shape.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
        Those that are 0 make their tokens passive tracers, too.
    softmax : SoftmaxAttention
        With the values of the attention, resolved.
    tolerance : float
        Of the residual.
    beta, value_scale : float
        Those of the attention.

    Notes
    -----
    At a token of weight p_i the equation gives a_i² p_i <= 1, as the token's own coefficient is 1: no a_j p_j of a
    token that counts is far from the others, and no sum over them vanishes, whatever β.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Floats | None,
        *,
        softmax: SoftmaxAttention,
        tolerance: float,
        beta: float,
        value_scale: float,
    ) -> None:
        self.shape, self.softmax, self.tolerance = shape, softmax, tolerance
        self.beta, self.value_scale = beta, value_scale
        self.weights = weights
        p = weights_of(weights, shape.n_tokens)
        is_source = np.zeros(shape.n_tokens, dtype=bool)
        is_source[: len(p)] = p > 0
        self.has_tracers = not is_source.all()
        self.sources: Any = np.flatnonzero(is_source) if self.has_tracers else slice(None)
        self.tracers, self.p = np.flatnonzero(~is_source), p[p > 0]
        self.pairs = float(shape.n_tokens) * len(self.p)
        is_wide = self.p.min() < _MIN_SHARE * self.p.max()
        self.dtype = np.dtype(np.float64) if is_wide else shape.dtype
        self.of_one = replace(shape, n_replicas=1)
        plan = softmax.plan(self.of_one, weights)  # refuses what is too large for the dtype
        self.fast: Any = None if softmax.method == "direct" else plan
        self.reductions: Reductions = Alone()
        if self.fast is not None and shape.n_tokens >= ordered_sums.MIN_WEIGHED and not self.has_tracers:
            self.reductions, self.block = Blocks(self.fast.block), self.fast.block
        self.scale, self.shift = math.sqrt(self.beta * LOG2_E), self.beta * LOG2_E

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the attention; see `InteractionPlan`."""
        return self.evaluate(x, n_threads=n_threads).value

    def evaluate(self, x: Tokens, *, n_threads: int) -> Scaled:
        """Return the attention of tokens (R, N, d), with the scalings of all of them."""
        keys = self._keys(x)
        balanced = self._balanced(keys, n_threads)
        q = self.p * np.exp(balanced.log_a)
        log_a = np.empty(x.shape[:2])
        if self.fast is not None:
            value = self._fast_values(x, q, log_a=log_a, n_threads=n_threads)
        else:
            value = self._direct_values(x, keys, q=q, log_a=log_a, n_threads=n_threads)
        log_a[:, self.sources] = balanced.log_a
        return Scaled(value=value, log_a=log_a, residual=balanced.residual, n_iterations=balanced.n_iterations)

    def shared_drift(self, x: Tokens, partition: Partition, *, n_threads: int) -> Tokens:
        """Return the attention at this process's tokens, from the moments of each; see `InteractionPlan`.

        Where there are tracers, or a sum over pairs is needed, all tokens are gathered.
        """
        if self.block > 1 and is_aligned(partition, self.block):
            try:
                return self._drift_at_own(x, partition, n_threads=n_threads)
            except _LostError:  # on every process
                pass
        first, stop = partition.first, partition.stop
        return self.rows(partition.gather(x), first=first, stop=stop, n_threads=n_threads)

    def _drift_at_own(self, x: Tokens, over: Partition, *, n_threads: int) -> Tokens:
        keys, p, reductions = x.astype(self.dtype, copy=False), self.p[over.first : over.stop], Blocks(self.block, over)

        def attend(attended: Any) -> Any:
            least, error = attended[-2:]
            if over.any(not (least >= 2 * error / self.fast.rtol).all()):
                raise _LostError
            return attended[0][0]

        def sums(rows: NDArray[np.int64], a: Floats) -> Floats:
            out = np.empty(a.shape)
            for at, r in enumerate(rows):
                q = p * a[at]
                total = reductions.total(q[None])[0]
                out[at] = attend(self.fast.sums.partition(keys[r : r + 1], q / total, n_threads=n_threads, over=over))
                out[at] *= total
            return out

        balanced = balance(
            sums,
            p[None],
            n_replicas=len(x),
            tolerance=self.tolerance,
            size=largest,
            norm_weights=0.5 * (p + 1 / len(self.p))[None],
            reductions=reductions,
        )
        q, value = p * np.exp(balanced.log_a), np.empty(x.shape, x.dtype)
        for r, total in enumerate(reductions.total(q)):
            value[r] = attend(self.fast.sums(x[r : r + 1], q[r] / total, n_threads=n_threads, over=over))
        return value

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative in a direction; see `InteractionPlan`."""
        return self._tangent(x, n_threads=n_threads).jvp(tangent.astype(self.dtype)).astype(x.dtype)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients; see `InteractionPlan`."""
        back = self._tangent(x, n_threads=n_threads).vjp(cotangent.astype(self.dtype))
        return replace(back, tokens=back.tokens.astype(x.dtype))

    def _tangent(self, x: Tokens, *, n_threads: int) -> SinkhornTangent:
        """Return the derivative at tokens, with its sums over all pairs."""
        scaled, keys = self.evaluate(x, n_threads=n_threads), self._keys(x)
        a = np.exp(scaled.log_a[:, self.sources])

        def times_p(y: Floats) -> Floats:
            return np.asarray(a * kernel.partition_sums(keys, self.p * a * y, self.scale, self.shift, n_threads))

        return SinkhornTangent(
            Maps(self.shape.dim, beta=self.beta, value_scale=self.value_scale),
            x.astype(self.dtype, copy=False),
            p=weights_of(self.weights, x.shape[1]),
            drift=scaled.value,
            log_a=scaled.log_a,
            times_p=times_p,
            tolerance=self.tolerance,
            n_threads=n_threads,
        )

    def mean_log_scaling(self, x: Tokens, *, n_threads: int) -> Floats:
        """Return Σ_i p_i log a_i for tokens (R, N, d), shape (R,)."""
        return self._balanced(self._keys(x), n_threads).mean_log_a

    def _keys(self, x: Tokens) -> Tokens:
        keys: Tokens = x[:, self.sources].astype(self.dtype, copy=False)
        return keys

    def _balanced(self, keys: Tokens, n_threads: int) -> Balanced:
        """Return the scalings of the sources."""

        def sums(rows: NDArray[np.int64], a: Floats) -> Floats:
            some = keys if len(rows) == len(keys) else keys[rows]
            if self.fast is None:
                return kernel.partition_sums(some, self.p * a, self.scale, self.shift, n_threads)
            return np.stack(
                [self._fast_sums(some[r : r + 1], self.p * a[r], n_threads=n_threads) for r in range(len(rows))]
            )

        norm_weights = 0.5 * (self.p + 1 / len(self.p))[None]
        return balance(
            sums,
            self.p[None],
            n_replicas=len(keys),
            tolerance=self.tolerance,
            size=largest,
            norm_weights=norm_weights,
            reductions=self.reductions,
        )

    def _fast_sums(self, keys: Tokens, q: Floats, *, n_threads: int) -> Floats:
        """Return Σ_j q_j e^{β(⟨x_i, x_j⟩ − 1)} at the tokens of one system (1, n, d); directly where they are small."""
        assert self.fast is not None
        total = self.reductions.total(q[None])[0]
        z, least, error = self.fast.sums.partition(keys, q / total, n_threads=n_threads)
        floor = 2 * error[0] / self.fast.rtol
        if not least[0] >= floor:
            lost = np.flatnonzero(~(z[0] >= floor))
            # On the sphere as in the expansion: a token that is lost once and not the next time would see two sums.
            keys = sphere.normalize(keys.astype(np.float64, copy=False))
            if 2 * len(lost) > z.shape[1]:
                return np.asarray(kernel.partition_sums(keys, q[None], self.scale, self.shift, n_threads)[0])
            z[0, lost] = np.exp(self._rows(keys[:, lost], keys, q=q[None] / total, n_threads=n_threads)[1][0])
        return np.asarray(total * z[0])

    def _direct_values(self, x: Tokens, keys: Tokens, *, q: Floats, log_a: Floats, n_threads: int) -> Tokens:
        """Return the attention of all tokens, and write the scaling of the tracers."""
        of_sources: Tokens
        of_sources, _ = kernel.attend_bounded(
            keys, None, None, q, self.scale, self.shift, True, n_threads, value_scale=self.value_scale
        )
        if not self.has_tracers:
            return of_sources.astype(x.dtype, copy=False)
        value = np.empty(x.shape, x.dtype)
        value[:, self.sources] = of_sources
        value[:, self.tracers], log_sums = self._rows(x[:, self.tracers], keys, q=q, n_threads=n_threads)
        log_a[:, self.tracers] = -log_sums
        return value

    def _fast_values(self, x: Tokens, q: Floats, *, log_a: Floats, n_threads: int) -> Tokens:
        """Return the same by expansions, and write minus the logarithm of the sums."""
        value = np.empty(x.shape, x.dtype)
        for r in range(len(x)):
            weights, total = np.zeros(x.shape[1]), self.reductions.total(q[r : r + 1])[0]
            weights[self.sources] = q[r] / total
            attended = attending(self.softmax, self.of_one, weights).attend(x[r : r + 1], n_threads=n_threads)
            value[r] = attended.mean[0]
            log_a[r] = self.beta - attended.log_partition()[0] - math.log(total)
        return value

    def _rows(self, queries: Tokens, keys: Tokens, *, q: Floats, n_threads: int) -> tuple[Tokens, Floats]:
        """Return means, times δ, and log sums of the tokens (R, M, d) over the sources, token by token."""
        queries = queries.astype(keys.dtype, copy=False)
        mean, sums, exponents = attend_rows(
            queries, keys, None, None, None, self.shift, n_threads, self.value_scale, bias=np.log2(q)
        )
        return mean, np.log(sums) + exponents / LOG2_E - self.beta
