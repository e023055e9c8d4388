"""Softmax attention under a causal mask: token i attends to the tokens j <= i.

    Attn_i = Σ_{j<=i} w_ij V x_j / Σ_{j<=i} w_ij,     w_ij = p_j e^{⟨Qx_i, Kx_j⟩ − λ(i−j)/N}

Here the sums are over pairs, half of those of `chaosphere.interactions.direct`, and one side of each. The decay λ is
folded into the weights, p_j e^{−λ(N−1−j)/N}, as long as these and the scores together fit one shift; beyond, the kernel
of rows takes it as a bias of the exponents, relative to the token. `chaosphere.interactions.prefix` takes O(N) sums.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.interactions import direct
from chaosphere.interactions.attended import Attended, relative_weights
from chaosphere.interactions.direct import LOST, MAX_RANGE, DirectPlan
from chaosphere.interactions.few_tokens import has_few_keys, is_few, is_slow
from chaosphere.interactions.head import EXPONENTIAL, LOG2_E, MAXIMUM, Head
from chaosphere.interactions.symmetric_head import SymmetricHead
from chaosphere.kernels import causal as kernel
from chaosphere.kernels.blocks import block_size

MASKS = ("causal",)
_MIN_MASS = 1e-280  # smaller ones may be subnormal numbers
MAX_DECAY = 1e15  # far beyond where only the token itself is left; no exponent is so large


class CausalPlan(DirectPlan):
    """Causal attention as sums over pairs, for tokens of one shape.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (N,), optional
    decay : float
        λ.
    beta, form, value, value_scale, head, parameters
        As of `DirectPlan`.

    Raises
    ------
    ValueError
        If some tokens have no weight, or the first has the weight 0.
    """

    is_ordered = True

    def __init__(
        self,
        shape: Shape,
        weights: Floats | None,
        *,
        decay: float,
        beta: float | None,
        form: Floats | None,
        value: Floats | None,
        value_scale: float,
        head: Head | None = None,
        parameters: dict[str, Any],
    ) -> None:
        check_weights(weights, shape.n_tokens)
        self.decay: float = decay
        is_scalar = value is None or np.array_equal(value, value[0, 0] * np.eye(len(value)))
        self.own_scale = None if not is_scalar else value_scale if value is None else float(value[0, 0])
        matrices: dict[str, Any] = {"form": form, "value": value, "head": head, "parameters": parameters}
        super().__init__(shape, None, beta=beta, value_scale=value_scale, **matrices)
        n = shape.n_tokens
        self.own_weights = weights
        self.pairs = 0.5 * n * (n + 1)
        self.weights, self.log_unit = relative_weights(weights, n)
        self.distance = decay / n * np.arange(n - 1.0, -1, -1)  # of the last token from each
        # The token itself counts at least 2^-60 of the rest then: no sum of weights is lost.
        is_alike = self.is_bounded and weights is None and beta is not None
        # Steps in one call leave the first token where it is if V is not a matrix.
        self.is_fused = is_alike and is_few(n, shape.dim) and (value is None or not is_scalar)
        self.pair_weights = self.weights
        if self.is_bounded and decay > 0:
            folded = np.exp(-self.distance)
            self.pair_weights = folded if self.weights is None else folded * self.weights
        self.n_fixed = 0 if self.own_scale is None else 1
        self._choose_path()

    def _choose_kernel(self, beta: float | None, form: Floats | None) -> None:
        super()._choose_kernel(beta, form)
        # The weight of a token itself is the largest if QᵀK = βI; else scores may take as much as 2 shifts.
        dtype, decay = self.shape.dtype, self.decay * LOG2_E
        scores = 0.0 if beta is not None else 2 * self.shift
        self.is_bounded = self.is_bounded and is_slow(decay, dtype) and scores + decay < MAX_RANGE[dtype]

    def _symmetric(self, head: Head | None, form: Floats | None) -> SymmetricHead | None:
        return None  # a weight serves one order

    def _operations(self) -> float:
        products = 2 * self.shape.dim + 1
        return products + EXPONENTIAL + (0 if self.is_bounded else MAXIMUM)

    def attend(self, x: Tokens, *, n_threads: int) -> Attended:
        """Return attention and partition sums of all tokens (R, N, d)."""
        return self.attend_part(x, first=0, stop=x.shape[1], n_threads=n_threads)

    def attend_part(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Attended:
        """Return attention and partition sums of rows first … stop − 1: bitwise those of the whole, at their share."""
        by = self._by_rows if self.is_by_rows else self._by_pairs
        mean, sums, log_scale = by(x, first=first, stop=stop, n_threads=n_threads)
        if first == 0 and self.own_scale is not None:
            mean[:, 0] = self.own_scale * x[:, 0]  # to the bit: it sees itself alone
        return Attended(mean=mean, sums=sums, log_scale=log_scale, n_direct=np.full(len(x), stop - first))

    def _is_faster_by_rows(self) -> bool:
        n, dim = self.shape.n_tokens, self.shape.dim
        return has_few_keys(n, dim) and not (is_few(n, dim) and self.pair_map is None)

    def _choose_path(self) -> None:
        super()._choose_path()
        # Steps in one call leave the first token where it is if V is not a matrix.
        is_plain = self.own_scale is None or (self.head is None and self.value_map is None)
        if self.moves_by_rows and not is_plain:
            self.moves_by_rows, self.max_fused_steps = False, 1

    def attend_few_rows(self, queries: Tokens, keys: Tokens, *, n_threads: int, **several: Any) -> Any:
        """Return what `kernels.replica_rows.attend_replica_rows` gives for tokens from `first_query` on."""
        places = {"first_query": 0, "decay": self.decay * LOG2_E / self.shape.n_tokens} | several
        return super().attend_few_rows(queries, keys, n_threads=n_threads, **places)

    def attend_some(self, x: Tokens, rows: Any, *, n_threads: int) -> tuple[Tokens, Floats, Floats]:
        """Return attention, sums and the log of what these count for some rows of one system (1, N, d), by blocks."""
        size = block_size(x.shape[1])
        starts = np.unique(rows // size) * size
        parts = []
        for run in np.split(starts, np.flatnonzero(np.diff(starts) > size) + 1):
            first, stop = int(run[0]), min(int(run[-1]) + size, x.shape[1])
            at = rows[(rows >= first) & (rows < stop)] - first
            attended = self._by_rows(x, first=first, stop=stop, n_threads=n_threads)
            parts.append([values[0, at] for values in attended])
        mean, sums, log_scale = (np.concatenate(of_runs) for of_runs in zip(*parts, strict=True))
        return mean, sums, log_scale

    def _by_pairs(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> tuple[Tokens, Floats, Floats]:
        if self.is_of_few:
            results = self.attend_few(x, n_threads=n_threads, value_scale=self.value_scale)
            mean, sums = (np.ascontiguousarray(result[:, first:stop]) for result in results)
        else:
            mean, sums = kernel.attend_causal(
                x,
                self.pair_map,
                self.value_map,
                self.pair_weights,
                self.scale,
                self.shift,
                n_threads,
                first,
                stop,
                self.value_scale,
            )
        scale = self.log_shift + self.log_unit + self.distance[first:stop]
        log_scale = np.broadcast_to(scale, sums.shape).copy()
        # A token of little weight, far from all before it: its weights were dropped, so take it alone.
        lost = sums < LOST[x.dtype]
        for replica in np.flatnonzero(lost.any(axis=1)):
            rows = np.flatnonzero(lost[replica])
            alone = self.attend_some(x[replica : replica + 1], first + rows, n_threads=n_threads)
            mean[replica, rows], sums[replica, rows], log_scale[replica, rows] = alone
        return mean, sums, log_scale

    def _by_rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> tuple[Tokens, Floats, Floats]:
        queries, decay = x[:, first:stop], self.decay * LOG2_E / x.shape[1]
        if has_few_keys(x.shape[1], x.shape[2]):
            mean, sums, exponents = self.attend_few_rows(queries, x, n_threads=n_threads, first_query=first)
        elif self.head is not None:
            head = self.head
            q, k, v = head.projected(queries, x, n_threads=n_threads)
            mean, sums, exponents = kernel.attend_causal_rows(
                q,
                k,
                None,
                head.output,
                self.weights,
                head.scale,
                decay,
                n_threads,
                first,
                head.value_scale,
                v,
                head.is_small,
            )
        else:
            mean, sums, exponents = kernel.attend_causal_rows(
                queries,
                x,
                self.row_map,
                self.value_map,
                self.weights,
                self.row_scale,
                decay,
                n_threads,
                first,
                self.value_scale,
            )
        return mean, sums, exponents / LOG2_E + self.log_unit


def set_mask(spec: Any) -> None:
    """Check the mask of a frozen spec, and convert its decay to float."""
    if spec.mask is not None:
        checks.choice(spec.mask, "mask", known=MASKS)
    checks.numbers(spec, "decay", low=0, high=MAX_DECAY)
    if spec.decay > 0 and spec.mask is None:
        raise ValueError(f"decay must be 0 without mask='causal', got {spec.decay:g}: it is by places in the order")


def need_no_mask(spec: Any, what: str) -> None:
    """Raise ValueError if a spec has a mask, under which something has no meaning."""
    if spec.mask is not None:
        raise ValueError(
            f"mask must be None for {what}, got {spec.mask!r}: under it each token sees a measure of its own"
        )


def prefix_mass(weights: Floats | None, n_tokens: int, *, decay: float) -> Floats:
    """Return Σ_{j<=i} p_j e^{−λ(i−j)/N}, shape (N,).

    Raises
    ------
    ValueError
        If some tokens have no weight, the first has the weight 0, or a sum vanishes.
    """
    from scipy.signal import lfilter  # takes long to import

    check_weights(weights, n_tokens)
    p = np.full(n_tokens, 1 / n_tokens) if weights is None else weights
    mass = np.cumsum(p) if decay == 0 else lfilter([1.0], [1.0, -math.exp(-decay / n_tokens)], p)
    if not mass.min() >= _MIN_MASS:
        raise ValueError(
            f"decay is too fast for weights of 0, got {decay:.6g}: nothing is left of what token {mass.argmin()} sees"
        )
    return np.asarray(mass)


def direct_nanoseconds(n_tokens: int, dim: int, dtype: Any) -> float:
    """Return the time that the sum over pairs takes on one processor, from that without a mask.

    Half of the pairs, with 2d + 14 operations each instead of (3d + 15)/2 (docs/developers/kernels.md).
    """
    return direct.direct_nanoseconds(n_tokens, dim, dtype) * (2 * dim + 14) / (3 * dim + 15)


def check_weights(weights: Floats | None, n_tokens: int) -> None:
    """Raise ValueError unless every token has a place and the first counts."""
    if weights is None:
        return
    if len(weights) < n_tokens:
        raise ValueError(
            f"weights must have one entry per token, {n_tokens}, with mask='causal', got {len(weights)}: passive "
            "tokens have no place in the order"
        )
    if weights[0] == 0:
        raise ValueError("weights[0] must be > 0 with mask='causal', got 0: the first token sees only itself")
