"""Runs whose tight clusters are merged into single weighted tokens.

The state of a run keeps all N tokens; those that are merged are equal to the bit, which is all that a resumed run needs
to know of them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.measures.linkage import clusters, linked
from chaosphere.models.protocol import Inside, Model, ModelPlan, StepContext, has_own_noise_of, model_plan_of


class CoalescedPlan(ModelPlan):
    """The plan of a model for the distinct tokens of one system, which merges clusters that are tight.

    Parameters
    ----------
    model : Model
    shape : Shape
    weights : ndarray of float64, shape (N,), optional
    tolerance : float
        Largest radius of a cluster that is merged.
    """

    def __init__(self, model: Model, shape: Shape, weights: Floats | None, *, tolerance: float) -> None:
        if shape.n_replicas > 1:
            raise ValueError(f"coalesce needs one system, whose clusters are its own, got {shape.n_replicas} replicas")
        if has_own_noise_of(model):
            raise ValueError(
                "coalesce needs a model without noise of each token's own, which keeps tokens from merging"
            )
        n = shape.n_tokens
        self.model, self.tolerance, self.dtype = model, tolerance, shape.dtype
        self.weights = np.full(n, 1 / n) if weights is None else weights
        try:
            self.inner = model_plan_of(model, shape, self.weights)
        except ValueError as error:
            raise ValueError(f"coalesce needs a model that takes weights of tokens: {error}") from error
        if self.inner.is_ordered or self.inner.has_radius:
            raise ValueError("coalesce needs a model of tokens without an order and without radii")
        self.cost, self.changing, self.is_dense = self.inner.cost, self.inner.changing, self.inner.is_dense
        self._last: tuple[bytes, ModelPlan] = (self.weights.tobytes(), self.inner)

    def advance(self, x: Tokens, steps: range, context: StepContext) -> Tokens:
        """Return all tokens after some steps; see `ModelPlan`."""
        for step in steps:
            x = self._advanced(x, step, None, context=context)
        return x

    def advance_through(self, x: Tokens, step: int, *, inside: Inside, context: StepContext) -> Tokens:
        """Take a step and fill in all tokens at times within it; see `ModelPlan`."""
        return self._advanced(x, step, inside, context=context)

    def _advanced(self, x: Tokens, step: int, inside: Inside | None, *, context: StepContext) -> Tokens:
        labels = linked(x[0], 0.0)
        y, weights = _distinct(x, labels), _summed(labels, self.weights)
        elapsed: float | None = 0.0
        while elapsed is not None:
            rest = None if inside is None else _after(inside, elapsed, shape=y.shape)
            y, elapsed = self._plan(weights, x.shape[2]).advance_until(
                y, step, start=elapsed, stop=partial(self._is_tight, weights), context=context, inside=rest
            )
            if inside is not None and rest is not None:
                n_known = len(rest.times) if elapsed is None else int((rest.times <= elapsed).sum())
                first = len(inside.times) - len(rest.times)
                inside.states[first : first + n_known] = rest.states[:n_known][:, :, labels]
            if (groups := self._groups(y, weights)) is not None:
                labels = groups[0][labels]
                y, weights = groups[1], _summed(groups[0], weights)
        return np.ascontiguousarray(y[:, labels])

    def _is_tight(self, weights: Floats, y: Tokens) -> bool:
        return self._groups(y, weights) is not None

    def _plan(self, weights: Floats, dim: int) -> ModelPlan:
        """Return the model's plan for as many tokens as there are weights."""
        key = weights.tobytes()
        if key != self._last[0]:
            self._last = (key, self.model.plan(Shape(n_tokens=len(weights), dim=dim, dtype=self.dtype), weights))
        return self._last[1]

    def _groups(self, y: Tokens, weights: Floats) -> tuple[NDArray[np.int64], Tokens] | None:
        """Return the group of each token and the merged tokens; None where nothing is tight enough to merge."""
        linkage = clusters(y[0], scale=self.tolerance, weights=weights / weights.sum())
        is_tight = (linkage.radii <= self.tolerance) & (linkage.sizes > 1)
        if not is_tight.any():
            return None
        n = len(weights)
        # Tokens of other groups stay as they are, each in a group of its own.
        keys = np.where(is_tight[linkage.labels], linkage.labels, n + np.arange(n))
        _, firsts, inverse = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(firsts)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        merged = y[:, firsts[order]].copy()
        of_first = linkage.labels[firsts[order]]
        merged[0, is_tight[of_first]] = linkage.centres[of_first[is_tight[of_first]]]
        return rank[inverse], merged

    def describe(self) -> Any:
        """Return the model with every automatic choice made for all tokens."""
        return self.inner.describe()


def _after(inside: Inside, elapsed: float, *, shape: tuple[int, ...]) -> Inside:
    """Return the times within a step after one of them, for tokens of a shape."""
    times = inside.times[inside.times > elapsed]
    return Inside(times=times, states=np.empty((len(times), *shape), dtype=inside.states.dtype))


def check_coalesce(coalesce: float | None) -> float | None:
    """Return the tolerance, checked; None for none."""
    return None if coalesce is None else checks.number(coalesce, "coalesce", above=0, high=0.1)


def plan_of(model: Model, shape: Shape, *, weights: Floats | None = None, coalesce: float | None = None) -> ModelPlan:
    """Return the plan of a model, which merges clusters where there is a tolerance."""
    if coalesce is None:
        return model_plan_of(model, shape, weights)
    return CoalescedPlan(model, shape, weights, tolerance=coalesce)


def _summed(labels: NDArray[np.int64], weights: Floats) -> Floats:
    """Return the weight of each label."""
    return np.asarray(np.bincount(labels, weights=weights), dtype=np.float64)


def _distinct(x: Tokens, labels: NDArray[np.int64]) -> Tokens:
    """Return the first token of each label."""
    _, firsts = np.unique(labels, return_index=True)
    return np.ascontiguousarray(x[:, firsts])
