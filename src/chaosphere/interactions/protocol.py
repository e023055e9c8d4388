"""What models need of an interaction.

An interaction is a drift that depends on the empirical measure of the tokens. Its public object is a frozen spec. For
tokens of one shape the spec makes a plan: every automatic choice, every norm and every converted matrix is in it, so
that the time loop calls nothing but the plan.

The first `n_sources` tokens are the sources, whose measure the others feel. The rest are passive tracers: they move and
are not felt. Without weights all tokens are sources of weight 1/N.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.geometry import sphere


class Partition(Protocol):
    """Which tokens of a system this process owns, where several processes share it."""

    @property
    def first(self) -> int:
        """First token that this process owns."""

    @property
    def stop(self) -> int:
        """One past the last."""

    def gather(self, own: Tokens) -> Tokens:
        """Return all tokens from the rows that each process owns."""


class InteractionPlan(Protocol):
    """An interaction for tokens of one shape. A class that inherits from this needs `drift` and `pairs` alone.

    Attributes
    ----------
    pairs : float
        Pair interactions of one evaluation, of one replica.
    max_fused_steps : int
        How many steps `move` may take in one call.
    """

    pairs: float
    max_fused_steps: int = 1

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the drift at every token, an array of its own.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens of the plan's shape on the sphere; they are not checked again.
        n_threads : int
            Never changes a bit.
        """
        raise NotImplementedError

    def move(self, x: Tokens, step_size: float, *, n_threads: int, n_steps: int = 1) -> Tokens:
        """Return LN(x + τ drift(x)), n_steps times over; parameters as in `drift`."""
        for _ in range(n_steps):
            x = sphere.layer_norm_step(x, self.drift(x, n_threads=n_threads), step_size, n_threads, in_place=True)
        return x

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return rows first … stop − 1 of `drift`: bitwise those of the whole, at a share of the work where that is so.

        Both are where a block of the attention kernel starts, or the end.
        """
        return np.ascontiguousarray(self.drift(x, n_threads=n_threads)[:, first:stop])

    def distribute(self, partition: Partition) -> InteractionPlan:
        """Return the plan that takes and returns the tokens that this process owns.

        Raises
        ------
        ValueError
            If the interaction cannot be shared between processes.
        """
        return _Distributed(self, partition)


class Interaction(Protocol):
    """A drift that depends on the empirical measure: what `Transformer(attention=...)` takes."""

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> Interaction:
        """Return the interaction with every automatic choice made, as results record it."""

    def plan(self, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
        """Return the plan for tokens of this shape.

        Parameters
        ----------
        shape : Shape
        weights : ndarray of float64, shape (n_sources,), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token.

        Raises
        ------
        TypeError, ValueError
            If the interaction does not serve this shape.
        """


class _Distributed(InteractionPlan):
    """Each process gathers all tokens and evaluates its own rows."""

    def __init__(self, plan: InteractionPlan, partition: Partition) -> None:
        self.plan, self.partition, self.pairs = plan, partition, plan.pairs

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        first, stop = self.partition.first, self.partition.stop
        return self.plan.rows(self.partition.gather(x), first=first, stop=stop, n_threads=n_threads)


def check_interaction(value: object, name: str) -> None:
    """Raise TypeError unless an object offers what `Interaction` asks for, or is None."""
    if value is not None and not all(callable(getattr(value, member, None)) for member in ("resolve", "plan")):
        raise TypeError(f"{name} must be a SoftmaxAttention, another interaction, or None, got {value!r}")
