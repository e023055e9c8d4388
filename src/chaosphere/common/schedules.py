"""Parameters that may change over the steps of a run: a number, one number for each step, or a function of the time t.

A number is a schedule that is constant. The numbers of a sequence are those of steps 0, 1, …, L − 1; a function is
called with the time in the middle of a step, or where a scheme evaluates the drift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard, overload

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats

Schedule = float | Sequence[float] | Floats | Callable[[float], float]  # as given; `schedule` makes a tuple of numbers


def schedule(value: Any, name: str, **bounds: float) -> Schedule:
    """Return a number as a float, a sequence of numbers as a tuple, and a function as it is.

    Raises
    ------
    TypeError, ValueError
        If a number is no finite one within the bounds, those of `checks.number`.
    """
    if callable(value):
        function: Callable[[float], float] = value
        return function
    if not isinstance(value, list | tuple | np.ndarray) or np.ndim(value) == 0:
        return checks.number(value, name, **bounds)
    values = checks.array(value, name)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(
            f"{name} must be a number, a list of one number for each step, or a function, got {messages.shown(value)}"
        )
    return tuple(checks.number(number, f"{name}[{step}]", **bounds) for step, number in enumerate(values.tolist()))


def is_constant(value: Schedule | None) -> TypeGuard[float | None]:
    """Whether a schedule is a number, or there is none."""
    return value is None or isinstance(value, float)


@overload
def constant(value: Schedule, name: str) -> float: ...


@overload
def constant(value: Schedule | None, name: str) -> float | None: ...


def constant(value: Schedule | None, name: str) -> float | None:
    """Return a schedule that is a number, or None; ValueError for another."""
    if is_constant(value):
        return value
    raise ValueError(f"{name} must be a number here, got one that changes over time: take attention.at(time)")


def at(value: Schedule, name: str, *, time: float, step: int, **bounds: float) -> float:
    """Return the number at a time within a step; ValueError if a sequence has no such step."""
    if isinstance(value, float):
        return value
    if callable(value):
        return checks.number(value(time), f"{name} at time {time:g}", **bounds)
    if step >= len(value):
        raise ValueError(f"step must be below {len(value)}, the length of {name}, got {step}")
    return float(value[step])


def middle(step: int, step_size: float) -> float:
    """Return the time in the middle of a step."""
    return (step + 0.5) * step_size


def table(value: Schedule, name: str, *, n_steps: int, horizon: float, **bounds: float) -> Floats:
    """Return the numbers of all steps, shape (n_steps,): those in the middle of each.

    Raises
    ------
    TypeError, ValueError
        If a sequence has another length, or a function returns what is no finite number within the bounds.
    """
    if isinstance(value, float):
        return np.broadcast_to(np.float64(value), n_steps)
    if not callable(value) and len(value) != n_steps:
        raise ValueError(f"{name} must have one number for each of the {n_steps} steps, got {len(value)}")
    step_size = horizon / n_steps
    return np.array([at(value, name, time=middle(step, step_size), step=step, **bounds) for step in range(n_steps)])
