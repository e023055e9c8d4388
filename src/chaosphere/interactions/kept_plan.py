"""The plan of an interaction that is called again: for few tokens it takes as long as the sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from chaosphere.common.checks import Floats
from chaosphere.common.shape import Shape

MAX_TOKENS = 8192  # with more of them a plan takes no time beside the sums, and could take memory

Plan = TypeVar("Plan")


class KeepsPlan:
    """An interaction that keeps the plan of its last call without weights, for tokens of one shape.

    The plan is no field: comparisons, copies and pickles do without it. It takes the memory of some matrices (d, d).
    """

    __slots__ = ("_kept",)
    _kept: tuple[Shape, Any]
    plan: Callable[..., Any]


def plan_of_call(keeper: KeepsPlan | None, shape: Shape, weights: Floats | None, *, make: Callable[[], Plan]) -> Plan:
    """Return the plan of the last call if that was for the same shape, else what `make` returns, and keep it.

    Threads that share the interaction see one plan or the other: results are bitwise identical.
    """
    if keeper is None or weights is not None or shape.n_tokens > MAX_TOKENS or _has_own_plan(keeper):
        return make()
    try:
        kept, plan = keeper._kept
    except AttributeError:  # no call yet
        kept = None
    if kept != shape:
        plan = make()
        object.__setattr__(keeper, "_kept", (shape, plan))
    last: Plan = plan
    return last


def _has_own_plan(keeper: KeepsPlan) -> bool:
    """Whether the class is a user's, with a plan that may depend on more than the fields."""
    return not type(keeper).plan.__module__.startswith("chaosphere.")
