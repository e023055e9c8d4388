"""An interaction whose parameters change over the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import Field, fields, replace
from functools import lru_cache
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from chaosphere.common import checks, schedules
from chaosphere.common.checks import Tokens
from chaosphere.interactions.protocol import InteractionPlan, Pullback

Settings = tuple[tuple[str, Any], ...]  # names and values of the parameters that change

_MAX_PLANS = 256  # that are kept


class MayChange:
    """A frozen dataclass with β or δ, or both, which may change over the steps of a run."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    _lowest: ClassVar[dict[str, float]] = {"beta": 0.0, "value_scale": -math.inf}  # of the parameters that may change
    _may_be_infinite: ClassVar[tuple[str, ...]] = ()

    def check_schedule(self, *, n_steps: int, horizon: float) -> None:
        """Raise unless β and δ are right at every step of a model; a number is.

        Parameters
        ----------
        n_steps : int
            L.
        horizon : float
            T.

        Raises
        ------
        TypeError, ValueError
            If a sequence has another length than L, or a function returns what is out of range.

        See Also
        --------
        chaosphere.L2Attention.at : Attention by distances at a time.
        chaosphere.SinkhornAttention.at : Doubly stochastic attention at a time.
        chaosphere.SoftmaxAttention.at : Softmax attention at a time.
        chaosphere.UnnormalizedAttention.at : Unnormalised attention at a time.
        chaosphere.MultiHeadAttention.check_schedule : The same of several heads.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.SoftmaxAttention(value_scale=[1.0, 0.5]).check_schedule(n_steps=3, horizon=1.0)
        Traceback (most recent call last):
            ...
        ValueError: value_scale must have one number for each of the 3 steps, got 2
        """
        largest: dict[str, float] = {}
        for name in self._scheduled():
            values = schedules.table(
                getattr(self, name), name, n_steps=n_steps, horizon=horizon, low=self._lowest[name]
            )
            largest[name] = float(values[abs(values).argmax()])
        if largest:
            self._with(largest)  # which checks its size

    def at(self, time: float, *, step: int = 0) -> Self:
        """Return the attention at a time, with numbers for β and δ; itself where both are numbers.

        Parameters
        ----------
        time : float
            t >= 0, for functions of t.
        step : int
            The step from 0, for sequences.

        Returns
        -------
        Interaction
            Of the same type, without schedules.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, a sequence has no such step, or a function returns what is out of range.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.at : The interaction at a time.
        chaosphere.MultiHeadAttention.at : Several heads at a time.
        chaosphere.L2Attention.check_schedule : Check attention by distances at all steps of a model.
        chaosphere.SinkhornAttention.check_schedule : Check doubly stochastic attention at all steps of a model.
        chaosphere.SoftmaxAttention.check_schedule : Check softmax attention at all steps of a model.
        chaosphere.UnnormalizedAttention.check_schedule : Check unnormalised attention at all steps of a model.
        chaosphere.theory.log_distance_law : Law of the distance of two close tokens, under schedules.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention(beta=2.0, value_scale=lambda t: 1 - t)
        >>> attention.at(0.25)
        SoftmaxAttention(beta=2.0, value_scale=0.75)
        """
        time, step = checks.number(time, "time", low=0), checks.integer(step, "step", low=0)
        settings = self._settings_at(time, step=step)
        return self._with(dict(settings)) if settings else self

    def _convert(self) -> None:
        """Check β and δ, and convert them to a float, a tuple or a function; None where it is the default stays."""
        for name in self._may_change():
            value, default = getattr(self, name), self.__dataclass_fields__[name].default
            if value is not None or default is not None:
                finite = name not in self._may_be_infinite or np.ndim(value) > 0 or value != math.inf
                converted = schedules.schedule(value, name, low=self._lowest[name]) if finite else math.inf
                object.__setattr__(self, name, converted)

    def _may_change(self) -> tuple[str, ...]:
        return tuple(name for name in self._lowest if name in self.__dataclass_fields__)

    def _scheduled(self) -> tuple[str, ...]:
        """Return the names of the parameters that change over the steps of a run."""
        return tuple(name for name in self._may_change() if not schedules.is_constant(getattr(self, name)))

    def _set_rest(self) -> None:
        """Set the other fields to what they are with any numbers in place of the schedules."""
        names = self._scheduled()
        plain = self._with(dict.fromkeys(names, 1.0))
        for field in fields(self):
            if field.name not in names:
                object.__setattr__(self, field.name, getattr(plain, field.name))

    def _settings_at(self, time: float, *, step: int) -> Settings:
        """Return the values of the parameters that change."""
        return tuple(
            (name, schedules.at(getattr(self, name), name, time=time, step=step, low=self._lowest[name]))
            for name in self._scheduled()
        )

    def _with(self, settings: dict[str, Any]) -> Self:
        return replace(self, **settings)

    def _planned(self, make: Callable[[Self], InteractionPlan]) -> InteractionPlan:
        """Return the plan that a function makes of numbers β and δ, or one that has the plans of a run."""
        names = self._scheduled()
        if not names:
            return make(self)
        example = make(self._with(dict.fromkeys(names, 1.0)))
        return ScheduledPlan(self._settings_at, lambda settings: make(self._with(dict(settings))), example=example)


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
        _raise_without_time()

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Raise ValueError: there is no drift without a time."""
        _raise_without_time()

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Raise ValueError: there is no drift without a time."""
        _raise_without_time()


def _raise_without_time() -> NoReturn:
    raise ValueError("attention that changes over time has a drift at a time alone: take attention.at(time)")
