"""An interaction whose parameters change over the steps of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from chaosphere.common.checks import Tokens
from chaosphere.interactions.protocol import InteractionPlan

Settings = tuple[tuple[str, Any], ...]  # names and values of the parameters that change

_MAX_PLANS = 256  # that are kept


class ScheduledPlan(InteractionPlan):
    """The plans of an interaction at the values of its parameters that occur: each is made when it is first needed.

    Parameters
    ----------
    settings_at : callable
        From a time and ``step=`` to the values.
    make : callable
        From the values to the plan.
    example : InteractionPlan
        A plan of the interaction at any values.
    """

    def __init__(
        self,
        settings_at: Callable[..., Settings],
        make: Callable[[Settings], InteractionPlan],
        *,
        example: InteractionPlan,
    ) -> None:
        self.settings_at, self.make = settings_at, lru_cache(maxsize=_MAX_PLANS)(make)
        self.pairs, self.is_ordered, self.n_fixed = example.pairs, example.is_ordered, example.n_fixed

    def at(self, time: float, *, step: int) -> InteractionPlan:
        """Return the plan at a time within a step; see `InteractionPlan`."""
        return self.make(self.settings_at(time, step=step))

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Raise ValueError: there is no drift without a time."""
        raise ValueError("attention that changes over time has a drift at a time alone: take the plan `at` it")
