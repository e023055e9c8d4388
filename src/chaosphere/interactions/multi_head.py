"""Several interactions at once, as the heads of multi-head attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.interactions import call
from chaosphere.interactions.protocol import Interaction, InteractionPlan, check_interaction

COMBINE = ("mean", "sum")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MultiHeadAttention(Brief):
    """The mean or the sum of several interactions, the heads.

    Parameters
    ----------
    heads : sequence of interactions
        At least one: `SoftmaxAttention` with Q, K and V of its own for each, or any other interaction.
    combine : {"mean", "sum"}
        How the drifts of the heads are combined.

    Raises
    ------
    TypeError, ValueError
        If there is no head, one is no interaction, or `combine` is unknown.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention, a head.
    chaosphere.CustomInteraction : An interaction by a function of your own.

    Notes
    -----
    The heads are evaluated one after the other: the time is the sum of theirs. The mean of equal heads is bitwise that
    of one. Results are bitwise identical for any number of threads.

    Examples
    --------
    A transformer of two heads with matrices of their own:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> q, k, v = np.random.default_rng(0).standard_normal((3, 2, 4, 4)) / 2
    >>> heads = [cs.SoftmaxAttention(query=q[h], key=k[h], value=v[h]) for h in range(2)]
    >>> attention = cs.MultiHeadAttention(heads=heads)
    >>> x = cs.sample_uniform(50, 4, rng=0)
    >>> bool(abs(attention(x) - (heads[0](x) + heads[1](x)) / 2).max() < 1e-15)
    True
    """

    heads: Sequence[Interaction]
    combine: str = "mean"

    def __post_init__(self) -> None:
        """Check."""
        checks.choice(self.combine, "combine", known=COMBINE)
        if not isinstance(self.heads, list | tuple):
            raise TypeError(f"heads must be a list or tuple of interactions, got {type(self.heads).__name__}")
        if not self.heads:
            raise ValueError("heads must hold at least one interaction")
        for number, head in enumerate(self.heads):
            if head is None:
                raise TypeError(f"heads[{number}] must be a SoftmaxAttention or another interaction, got None")
            check_interaction(head, f"heads[{number}]")
        object.__setattr__(self, "heads", tuple(self.heads))

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> MultiHeadAttention:
        """Return this interaction with the choices of its heads made.

        Parameters
        ----------
        n_tokens : int
            N >= 1.
        dim : int
            d >= 2.
        dtype : dtype
            float64 or float32.

        Returns
        -------
        MultiHeadAttention
            With resolved heads.

        Raises
        ------
        TypeError, ValueError
            If a head does not serve this size.

        See Also
        --------
        chaosphere.interactions.protocol.Interaction.resolve : An interaction with its choices made.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(beta=4.0)])
        >>> attention.resolve(100_000, 3)
        MultiHeadAttention(heads=(SoftmaxAttention(beta=4.0, method='harmonic', rtol=1.5e-12),))
        """
        return replace(self, heads=tuple(head.resolve(n_tokens, dim, dtype) for head in self.heads))

    def plan(self, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
        """Return the plan for tokens of one shape.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token.

        Returns
        -------
        InteractionPlan
            Has the plans of the heads.

        Raises
        ------
        TypeError, ValueError
            If a head does not serve this shape.

        See Also
        --------
        chaosphere.interactions.protocol.Interaction.plan : Plan of any interaction.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> heads = [cs.SoftmaxAttention(beta=1.0), cs.SoftmaxAttention(beta=2.0)]
        >>> cs.MultiHeadAttention(heads=heads).plan(Shape(n_tokens=10, dim=3)).pairs
        200.0
        """
        return _MultiHeadPlan([head.plan(shape, weights) for head in self.heads], is_mean=self.combine == "mean")

    def __call__(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> Tokens:
        """Return the drift of every token.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If an argument breaks a rule above, or a head does not serve this shape.

        See Also
        --------
        chaosphere.SoftmaxAttention.__call__ : Softmax attention of every token.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> head = cs.SoftmaxAttention(beta=2.0)
        >>> bool((cs.MultiHeadAttention(heads=[head] * 3)(x) == head(x)).all())
        True
        """
        return call.drift(self, x, weights=weights, n_threads=n_threads)


class _MultiHeadPlan(InteractionPlan):
    """The heads one after the other."""

    def __init__(self, plans: list[InteractionPlan], *, is_mean: bool) -> None:
        self.plans, self.is_mean = plans, is_mean
        self.pairs, self.n_fixed = sum(plan.pairs for plan in plans), min(plan.n_fixed for plan in plans)
        self.is_ordered = any(plan.is_ordered for plan in plans)

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the combined drift; see `InteractionPlan`."""
        return self._combined(plan.drift(x, n_threads=n_threads) for plan in self.plans)

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return some rows at their share of the work; see `InteractionPlan`."""
        return self._combined(plan.rows(x, first=first, stop=stop, n_threads=n_threads) for plan in self.plans)

    def _combined(self, drifts: Iterator[Tokens]) -> Tokens:
        """Return the sum of the drifts, or their mean by updates: of equal heads it is each of them to the bit."""
        total = next(drifts)
        for number, drift in enumerate(drifts, start=2):
            total = total + ((drift - total) / number if self.is_mean else drift)
        return total
