"""An interaction whose parameters change over the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, Self

from chaosphere.common import schedules
from chaosphere.common.checks import Tokens
from chaosphere.interactions.protocol import InteractionPlan

Settings = tuple[tuple[str, Any], ...]  # names and values of the parameters that change

LOWEST = {"beta": 0.0, "value_scale": -math.inf}  # of the parameters that may change
_MAX_PLANS = 256  # that are kept


class MayChange:
    """A frozen dataclass with β and δ, each of which may change over the steps of a run."""

    __slots__ = ()

    def _scheduled(self) -> tuple[str, ...]:
        """Return the names of the parameters that change over the steps of a run."""
        return tuple(name for name in LOWEST if not schedules.is_constant(getattr(self, name)))

    def _set_scheduled(self, names: tuple[str, ...]) -> None:
        """Set the other fields to what they are with any numbers in place of the schedules."""
        plain = self._with(dict.fromkeys(names, 1.0))
        for field in fields(self):  # type: ignore[arg-type]
            if field.name not in names:
                object.__setattr__(self, field.name, getattr(plain, field.name))

    def _settings_at(self, time: float, *, step: int) -> Settings:
        """Return the values of the parameters that change."""
        return tuple(
            (name, schedules.at(getattr(self, name), name, time=time, step=step, low=LOWEST[name]))
            for name in self._scheduled()
        )

    def _with(self, settings: dict[str, Any]) -> Self:
        return replace(self, **settings)  # type: ignore[type-var]


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
