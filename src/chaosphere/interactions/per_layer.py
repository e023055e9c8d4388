"""An interaction for each layer, or step, of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.interactions import layered
from chaosphere.interactions.protocol import (
    Interaction,
    InteractionPlan,
    Pullback,
    check_interaction,
    check_schedule,
    is_ordered_of,
    plan_of,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PerLayer(Brief):
    """What a model makes of a sequence of interactions.

    Parameters
    ----------
    interactions : tuple of Interaction
        One for each layer or step.
    """

    interactions: tuple[Interaction, ...]

    @property
    def is_ordered(self) -> bool:
        """Whether the drift of a layer depends on the order of the tokens."""
        return any(is_ordered_of(interaction) for interaction in self.interactions)

    def check_schedule(self, *, n_steps: int, horizon: float) -> None:
        """Raise ValueError unless there is one interaction for each step; see `Interaction`."""
        if len(self.interactions) != n_steps:
            raise ValueError(
                f"attention must have one interaction for each of the {n_steps} steps, got {len(self.interactions)}"
            )
        for interaction in self.interactions:
            check_schedule(interaction, n_steps=n_steps, horizon=horizon)

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> PerLayer:
        """Return the interactions with every automatic choice made; see `Interaction`."""
        return replace(self, interactions=tuple(part.resolve(n_tokens, dim, dtype) for part in self.interactions))

    def plan(self, shape: Shape, weights: Floats | None = None) -> PerLayerPlan:
        """Return the plan for tokens of one shape; see `Interaction`."""
        unordered = layered.of_all(weights)
        plans: dict[int, InteractionPlan] = {}  # layers that share an interaction share its plan
        for part in self.interactions:
            if id(part) not in plans:
                plans[id(part)] = plan_of(part, shape, weights if is_ordered_of(part) else unordered)
        return PerLayerPlan([plans[id(part)] for part in self.interactions])


class PerLayerPlan(InteractionPlan):
    """The plan of each layer.

    Parameters
    ----------
    plans : list of InteractionPlan
    """

    def __init__(self, plans: list[InteractionPlan]) -> None:
        self.plans = plans
        self.pairs = float(np.mean([plan.pairs for plan in plans]))
        self.is_ordered, self.n_fixed = any(plan.is_ordered for plan in plans), min(plan.n_fixed for plan in plans)

    def at(self, time: float, *, step: int) -> InteractionPlan:
        """Return the plan of a step; see `InteractionPlan`."""
        return self.plans[step].at(time, step=step)

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Raise ValueError: there is no drift without a step."""
        _raise_without_step()

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Raise ValueError: there is no drift without a step."""
        _raise_without_step()

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Raise ValueError: there is no drift without a step."""
        _raise_without_step()


def _raise_without_step() -> NoReturn:
    raise ValueError("interactions that differ from layer to layer have a drift in a step alone: take `at` it")


def per_layer(attention: Any) -> Any:
    """Return a sequence of interactions as one that has them all, and anything else as it is.

    Raises
    ------
    TypeError, ValueError
        If the sequence is empty, or something in it is no interaction.
    """
    if not isinstance(attention, Sequence) or isinstance(attention, str):
        return attention
    if len(attention) == 0:
        raise ValueError("attention must have one interaction for each layer, got none")
    for number, interaction in enumerate(attention):
        if interaction is None:
            raise TypeError(f"attention[{number}] must be an interaction, got None; value_scale=0 switches one off")
        check_interaction(interaction, f"attention[{number}]")
    return PerLayer(interactions=tuple(attention))
