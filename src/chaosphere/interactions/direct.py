"""Softmax attention over all pairs of tokens, O(N² d), for any QᵀK.

The bounded kernel takes one shift for all scores; when QᵀK is symmetric, one exponential serves (i, j) and (j, i).
The kernel of rows keeps a running maximum for each token; it serves scores of any size, passive tracers, and tokens so
far from all sources that their weights vanish under the common shift; and, where a head has fewer dimensions than the
tokens, scores and sums in those. A head with a symmetric QᵀK and a bound has both: one exponential for two orders, and
sums in its own dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.geometry import sphere
from chaosphere.interactions.attended import Attended, relative_weights
from chaosphere.interactions.differences import Differences
from chaosphere.interactions.few_tokens import FUSED_WORK, are_even, has_few_keys, is_faster_by_rows, is_few
from chaosphere.interactions.head import EXPONENTIAL, LOG2_E, MAXIMUM, Head
from chaosphere.interactions.protocol import InteractionPlan, Partition, Pullback
from chaosphere.interactions.symmetric_head import SymmetricHead
from chaosphere.interactions.tangent import Maps, SoftmaxTangent
from chaosphere.kernels import attention as kernel
from chaosphere.kernels.replica_rows import attend_replica_rows
from chaosphere.kernels.replicas import attend_replicas
from chaosphere.kernels.rows import attend_rows

# Of the base-2 logarithm of the largest weight over the smallest: one shift must neither overflow nor lose a whole row.
MAX_RANGE = {np.dtype(np.float64): 800.0, np.dtype(np.float32): 50.0}
# Sums below this were made of weights that the kernel counts as 0, those below 2^-960 (float32: 2^-102).
LOST = {np.dtype(np.float64): 2.0**-800, np.dtype(np.float32): 2.0**-50}


class DirectPlan(InteractionPlan):
    """Softmax attention over all pairs, for tokens of one shape.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
        Those that are 0 make their tokens passive tracers, too.
    beta : float, optional
        QᵀK = βI; else `form`.
    form : ndarray of float64, shape (d, d), optional
        A with ⟨Qx, Ky⟩ = ⟨Ax, y⟩.
    value : ndarray of float64, shape (d, d), optional
        V; else V = value_scale · I.
    value_scale : float
    head : Head, optional
        The same attention with scores in R^k and values in R^v, one of them below d. It is used where it takes fewer
        vector operations a pair: (k + 2v + 15)/2 where QᵀK is symmetric and k + v + 14 where it is not, against
        (3d + 15)/2 and 2d + 14 (see chaosphere.interactions.head and symmetric_head). Where its norm is too large for
        one shift of all scores, it is k + v + 18 against 2d + 18; 4 of these are the running maximum.
    parameters : dict
        Numbers and matrices of the attention, as of `chaosphere.interactions.tangent.Maps`: of its derivative.
    """

    decay: float | None = None  # of a causal mask
    differences: Differences | None = None

    def __init__(
        self,
        shape: Shape,
        weights: Floats | None,
        *,
        beta: float | None,
        form: Floats | None,
        value: Floats | None,
        value_scale: float,
        head: Head | None = None,
        parameters: dict[str, Any],
    ) -> None:
        self.shape, self.value_scale = shape, value_scale
        self.parameters, self.own_weights = parameters, weights
        if beta is not None and beta >= 0 and value is None and not self.is_ordered:
            self.differences = Differences.of(shape, weights, beta=beta, value_scale=value_scale)
        self._derivative: SoftmaxTangent | None = None
        self.weights: Floats | None
        self.sources: Any
        self.tracers: Any
        self.head: Head | None = head
        self.symmetric_head: SymmetricHead | None = None
        self.is_bounded = False
        operations = math.inf if head is None else head.operations(shape.dim)
        # Else the matrices (d, d), and their norm, are not needed.
        if operations >= self._fewest_operations() or _may_be_symmetric(form):
            self.value_map = None if value is None else value.astype(shape.dtype)
            self._choose_kernel(beta, form)
            self.symmetric_head = self._symmetric(head, form)
            if self.symmetric_head is not None:  # the head is for single rows
                self.log_shift = self.symmetric_head.shift / LOG2_E
            elif operations >= self._operations():
                self.head = None
            else:
                self.is_bounded = False
        relative, self.log_unit = relative_weights(weights, shape.n_tokens)
        self.weights, self.sources, self.tracers, n_sources = None, slice(None), None, shape.n_tokens
        self.n_weights = shape.n_tokens if weights is None else len(weights)
        if relative is not None:
            is_source = np.append(relative > 0, np.zeros(shape.n_tokens - len(relative), dtype=bool))
            self.weights, self.sources, n_sources = relative[relative > 0], _rows(is_source), int(is_source.sum())
            self.tracers = None if is_source.all() else _rows(~is_source)
        self.pair_weights = self.weights
        self.pairs = float(shape.n_tokens) * n_sources
        self.is_uniform = weights is None
        self.is_fused = self.is_bounded and beta is not None and self.is_uniform and self.symmetric_head is None
        self.n_sources = n_sources
        self._choose_path()

    def _choose_path(self) -> None:
        """Choose, by numbers of tokens and dimensions alone, between blocks, pairs of few tokens, and rows."""
        n, shape = self.n_sources, self.shape
        self.is_by_rows = not self.is_bounded or self._is_faster_by_rows()
        self.is_of_few = not self.is_by_rows and is_few(n, shape.dim) and self.pair_map is None
        if self._is_symmetric_of_few():
            self.is_by_rows, self.is_of_few, self.is_fused = False, True, self.tracers is None
            self.shift = self.log_shift = 0.0
        self.is_small = self.is_bounded and 2 * self.shift < MAX_RANGE[shape.dtype] and are_even(self.weights)
        self.moves_by_rows = self.is_by_rows and self.tracers is None and has_few_keys(n, shape.dim)
        work = shape.n_replicas * shape.n_tokens**2 * (shape.dim + 4)
        self.max_fused_steps = max(1, int(FUSED_WORK / work)) if self.is_fused or self.moves_by_rows else 1

    def _is_symmetric_of_few(self) -> bool:
        """Whether one weight serves both orders of pairs of few tokens though QᵀK is a matrix."""
        is_plain = self.is_bounded and self.is_symmetric and self.symmetric_head is None and self.pair_map is not None
        return is_plain and self.weights is None and not self.is_ordered and is_few(self.n_sources, self.shape.dim)

    def _is_faster_by_rows(self) -> bool:
        """Whether the sums over the sources are those of rows though one shift would do."""
        has_matrix, dim = self.symmetric_head is not None or self.pair_map is not None, self.shape.dim
        return has_matrix and is_faster_by_rows(self.n_sources, dim, is_symmetric=self.is_symmetric)

    def _choose_kernel(self, beta: float | None, form: Floats | None) -> None:
        """Set the maps, the scale and the shift of the kernels."""
        dtype = self.shape.dtype
        if beta is not None:
            self.row_map, self.row_scale = None, beta * LOG2_E
            self.pair_map, self.scale, self.shift = None, math.sqrt(beta * LOG2_E), beta * LOG2_E
            self.log_shift, self.is_symmetric = beta, True
            # Tokens off the sphere by the tolerance push exponents above 0, by this much at most.
            self.is_bounded = bool(2.5 * checks.SPHERE_TOLERANCE[dtype] * beta * LOG2_E < 100)
            return
        assert form is not None
        norm = float(np.linalg.norm(form, 2))
        self.row_map, self.row_scale = np.ascontiguousarray(form * LOG2_E, dtype=dtype), 1.0
        self.is_symmetric = bool(abs(form - form.T).max() <= 1e-15 * norm * len(form))
        self.is_bounded = 2 * norm * LOG2_E < MAX_RANGE[dtype]
        symmetric = 0.5 * (form + form.T) if self.is_symmetric else form
        self.pair_map = np.ascontiguousarray(symmetric * LOG2_E, dtype=dtype)
        self.scale, self.shift, self.log_shift = 1.0, norm * LOG2_E, norm

    def _operations(self) -> float:
        """Return the vector operations of a pair of tokens, without a head."""
        products = 2 * self.shape.dim + 1
        if not self.is_bounded:
            return products + EXPONENTIAL + MAXIMUM
        return self._fewest_operations() if self.is_symmetric else products + EXPONENTIAL

    def _fewest_operations(self) -> float:
        """Return the same at best: a symmetric weight serves both orders of a pair, each with its own sums."""
        return 0.5 * (3 * self.shape.dim + 2 + EXPONENTIAL)

    def _symmetric(self, head: Head | None, form: Floats | None) -> SymmetricHead | None:
        """Return the head with one exponential for both orders of a pair, where that is possible and the least work."""
        if head is None or not (self.is_bounded and self.is_symmetric):
            return None
        if form is None:
            symmetric = SymmetricHead.of_multiple(head, scale=self.scale, shift=self.shift)
        else:
            symmetric = SymmetricHead.of_form(head, form=form * LOG2_E)
        others = min(head.operations(self.shape.dim), self._operations())
        return symmetric if symmetric.operations(self.shape.dim) < others else None

    def changed(self, *, beta: float | None = None, value_scale: float | None = None) -> DirectPlan:
        """Return the plan with another β or δ, of a plan that has none of them as a matrix or in a head."""
        plan = copy(self)
        changed = {"beta": beta, "value_scale": value_scale}
        plan._derivative = None
        plan.parameters = self.parameters | {name: value for name, value in changed.items() if value is not None}
        if value_scale is not None:
            plan.value_scale = value_scale
        if self.differences is not None:
            plan.differences = self.differences.changed(beta=beta, value_scale=value_scale)
        if beta is not None:
            plan._choose_kernel(beta, None)
            plan.is_fused = plan.is_bounded and plan.is_uniform
            plan._choose_path()
        return plan

    def tangential_drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return P_x drift(x), from differences of the tokens where they are few and slow; see `InteractionPlan`."""
        velocity = super().tangential_drift(x, n_threads=n_threads)
        if self.differences is not None:
            self.differences.refine(x, velocity)
        return velocity

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return attention; see `InteractionPlan`."""
        return self.attend(x, n_threads=n_threads).mean

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative in a direction; see `InteractionPlan`."""
        return self.linearized(x, n_threads=n_threads)(tangent)

    def linearized(self, x: Tokens, *, n_threads: int) -> Callable[[Tokens], Tokens]:
        """Return `jvp` at tokens as a function of the tangent; attention itself is evaluated once."""
        attended = self.attend(x, n_threads=n_threads)
        return self._tangent().linearized(x, drift=attended.mean, log_z=attended.log_partition(), n_threads=n_threads)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients; see `InteractionPlan`."""
        attended = self.attend(x, n_threads=n_threads)
        log_z = attended.log_partition()
        return self._tangent().vjp(x, cotangent, drift=attended.mean, log_z=log_z, n_threads=n_threads)

    def _tangent(self) -> SoftmaxTangent:
        """Return the derivative, made when it is first needed: norms of matrices take long."""
        if self._derivative is None:
            maps = Maps(self.shape.dim, **self.parameters)
            self._derivative = SoftmaxTangent(maps, self.own_weights, decay=self.decay)
        return self._derivative

    def move(self, x: Tokens, step_size: float, *, n_threads: int, n_steps: int = 1) -> Tokens:
        """Return LN(x + τ Attn(μ_x, x)), n_steps times over; see `InteractionPlan`.

        One pass over the tokens for QᵀK = βI without weights, and for few tokens by rows; many small systems then stay
        in the cache from step to step.
        """
        if self.moves_by_rows:
            steps: dict[str, Any] = {"step": step_size, "n_steps": n_steps}
            return sphere.raise_if_degenerate(*self.attend_few_rows(x, x, n_threads=n_threads, **steps))
        if not self.is_fused:
            return super().move(x, step_size, n_threads=n_threads, n_steps=n_steps)
        several: dict[str, Any] = {"step": step_size, "n_steps": n_steps, "value_scale": self.value_scale}
        if self.is_of_few:
            return sphere.raise_if_degenerate(*self.attend_few(x, n_threads=n_threads, **several))
        settings = (None, self.value_map, None, self.scale, self.shift, True, n_threads)
        return sphere.raise_if_degenerate(*kernel.attend_bounded(x, *settings, **several))

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return some rows of attention at their share of the work; see `InteractionPlan`."""
        return self.attend_part(x, first=first, stop=stop, n_threads=n_threads).mean

    def attend_part(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Attended:
        """Return attention and partition sums of rows first … stop − 1: bitwise those of the whole, at their share."""
        if self.tracers is None:
            return self._sources(x, n_threads=n_threads, first=first, stop=stop)
        if first >= self.n_weights:
            return self.attend_to(x[:, first:stop], x, n_threads=n_threads)
        return self.attend(x, n_threads=n_threads).rows(first, stop)

    def attend_own(self, x: Tokens, partition: Partition, *, n_threads: int) -> Attended:
        """Return attention and partition sums of the tokens (R, n, d) that this process owns; it gathers the others."""
        every = partition.gather(x)
        return self.attend_part(every, first=partition.first, stop=partition.stop, n_threads=n_threads)

    def attend(self, x: Tokens, *, n_threads: int) -> Attended:
        """Return attention and partition sums of all tokens (R, N, d)."""
        if self.tracers is None:
            return self._sources(x, n_threads=n_threads)
        keys = x[:, self.sources]
        of_sources = self._sources(keys, n_threads=n_threads)
        mean, sums, log_scale_of_tracers = self.attend_rows(x[:, self.tracers], keys, n_threads=n_threads)
        attended = Attended(
            mean=np.empty(x.shape, x.dtype),
            sums=np.empty(x.shape[:2]),
            log_scale=np.empty(x.shape[:2]),
            n_direct=np.full(len(x), x.shape[1]),
        )
        log_scale: Any = attended.log_scale
        attended.mean[:, self.sources], attended.mean[:, self.tracers] = of_sources.mean, mean
        attended.sums[:, self.sources], attended.sums[:, self.tracers] = of_sources.sums, sums
        log_scale[:, self.sources], log_scale[:, self.tracers] = of_sources.log_scale, log_scale_of_tracers
        return attended

    def attend_to(self, queries: Tokens, tokens: Tokens, *, n_threads: int) -> Attended:
        """Return attention of queries (R, M, d) to tokens (R, N, d) of the plan's shape."""
        mean, sums, log_scale = self.attend_rows(queries, tokens[:, self.sources], n_threads=n_threads)
        return Attended(mean=mean, sums=sums, log_scale=log_scale, n_direct=np.full(*queries.shape[:2]))

    def attend_rows(self, queries: Tokens, keys: Tokens, *, n_threads: int) -> tuple[Tokens, Floats, Floats]:
        """Return attention of queries (R, M, d) to keys, all the sources, its sums, and the log of what these count."""
        if has_few_keys(keys.shape[1], keys.shape[2]):
            mean, sums, exponents = self.attend_few_rows(queries, keys, n_threads=n_threads)
        elif self.head is not None:
            mean, sums, exponents = self.head.attend(queries, keys, weights=self.weights, n_threads=n_threads)
        else:
            mean, sums, exponents = attend_rows(
                queries, keys, self.row_map, self.value_map, self.weights, self.row_scale, n_threads, self.value_scale
            )
        return mean, sums, exponents / LOG2_E + self.log_unit

    def attend_few_rows(self, queries: Tokens, keys: Tokens, *, n_threads: int, **several: Any) -> Any:
        """Return what `kernels.replica_rows.attend_replica_rows` gives for the sources as keys."""
        if self.head is not None:
            return self.head.attend_few(queries, keys, weights=self.weights, n_threads=n_threads, **several)
        y = np.ascontiguousarray(keys)
        x = y if queries is keys else np.ascontiguousarray(queries)
        several |= {"query": self.row_map, "output": self.value_map, "is_small": self.is_small}
        return attend_replica_rows(x, y, self.weights, self.row_scale, n_threads, self.value_scale, **several)

    def attend_few(self, x: Tokens, *, n_threads: int, **several: Any) -> tuple[Any, Any]:
        """Return what `kernels.replicas.attend_replicas` gives for the sources x, where QᵀK = βI."""
        x, p = np.ascontiguousarray(x), None if self.pair_weights is None else self.pair_weights[None]
        several |= {"is_causal": self.is_ordered, "value": self.value_map, "query": self.pair_map}
        return attend_replicas(x, p, self.scale, self.shift, n_threads, **several)

    def _sources(self, x: Tokens, *, n_threads: int, first: int = 0, stop: int = -1) -> Attended:
        """Return attention between the sources x, of all of them or of rows first … stop − 1."""
        log_scale: Any
        own = x if stop < 0 else x[:, first:stop]
        n_direct = np.full(len(own), own.shape[1])
        if self.is_by_rows:
            mean, sums, log_scales = self.attend_rows(own, x, n_threads=n_threads)
            return Attended(mean=mean, sums=sums, log_scale=log_scales, n_direct=n_direct)
        if self.symmetric_head is not None:
            mean, sums = self.symmetric_head.attend(
                x, weights=self.weights, n_threads=n_threads, first=first, stop=stop
            )
        elif self.is_of_few:
            mean, sums = self.attend_few(x, n_threads=n_threads, value_scale=self.value_scale)
            if stop >= 0:
                mean, sums = (np.ascontiguousarray(result[:, first:stop]) for result in (mean, sums))
        else:
            mean, sums = kernel.attend_bounded(
                x,
                self.pair_map,
                self.value_map,
                None if self.weights is None else self.weights[None],
                self.scale,
                self.shift,
                self.is_symmetric,
                n_threads,
                first,
                stop,
                self.value_scale,
            )
        log_scale = self.log_shift + self.log_unit
        if self.is_fused:  # weights have a bound, or each token its own of 1: no sum is lost
            return Attended(mean=mean, sums=sums, log_scale=log_scale, n_direct=n_direct)
        # A token of little weight, far from all others: its weights were dropped, so take it alone.
        lost = sums < LOST[x.dtype]
        if lost.any():
            log_scale = np.full(sums.shape, log_scale)
            for replica in np.flatnonzero(lost.any(axis=1)):
                rows = np.flatnonzero(lost[replica])
                alone = self.attend_rows(own[replica][None, rows], x[replica : replica + 1], n_threads=n_threads)
                mean[replica, rows], sums[replica, rows], log_scale[replica, rows] = (part[0] for part in alone)
        return Attended(mean=mean, sums=sums, log_scale=log_scale, n_direct=n_direct)


def direct_nanoseconds(n_tokens: int, dim: int, dtype: Any) -> float:
    """Return the time that the direct sum takes on one processor, as measured by benches/crossover.py."""
    pair = 0.18 + 0.041 * dim if np.dtype(dtype) == np.float64 else 0.075 + 0.022 * dim
    return 3e4 + pair * n_tokens**2


def _may_be_symmetric(form: Floats | None) -> bool:
    """Return whether a matrix is symmetric by its Frobenius norm, at least; None is a multiple of the identity."""
    return form is None or bool(abs(form - form.T).max() <= 1e-15 * float(np.linalg.norm(form)) * len(form))


def _rows(mask: NDArray[np.bool_]) -> Any:
    """Return an index of the rows where a mask holds: a slice if they follow each other."""
    rows = np.flatnonzero(mask)
    is_run = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
    return slice(int(rows[0]), int(rows[-1]) + 1) if is_run else rows
