"""What the observables and the condition of an ensemble return, seen at the start before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.measures.observables import Observable, value_of
from chaosphere.models.protocol import ModelPlan, radii_of
from chaosphere.simulation.observables import naming, observed
from chaosphere.simulation.until import Condition, holds

Shapes = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]  # of one value of each observable of one member
Starts = Mapping[int, tuple[Tokens, ModelPlan]]  # by the number of tokens: those of one replica, and a plan for them


def shapes_of(observe: Mapping[str, Observable], time: float, *, starts: Starts) -> Shapes:
    """Return the shape and the type of what each observable returns, which is one for all numbers of tokens.

    Raises
    ------
    TypeError, ValueError
        If it is no array of real numbers with one entry per replica first.
    """
    shapes = {n_tokens: _shapes_at(observe, time, start=start) for n_tokens, start in starts.items()}
    (first, of_first), *others = shapes.items()
    for n_tokens, other in others:
        for name in of_first:
            if other[name] != of_first[name]:
                raise ValueError(
                    f"observe[{name!r}] must return one shape for all numbers of tokens where they are swept: per "
                    f"replica it returned {of_first[name][0]} for {first} tokens, {other[name][0]} for {n_tokens}"
                )
    return of_first


def check_condition(until: Condition, time: float, *, starts: Starts) -> None:
    """Raise TypeError or ValueError if a condition does not return a bool for each replica.

    One bool for all would let the runs of a batch stop one another.
    """
    for start, _ in starts.values():
        x = _pair(start)
        holds(until, time, x)
        if (shape := np.shape(until(time, x))) != (2,):
            raise ValueError(
                f"until must return one bool for each replica in an ensemble: for tokens {x.shape} it returned shape "
                f"{shape}"
            )


def _pair(start: Tokens) -> Tokens:
    """Return two replicas, read-only."""
    x = np.repeat(start, 2, axis=0)
    x.flags.writeable = False
    return x


def _shapes_at(observe: Mapping[str, Observable], time: float, *, start: tuple[Tokens, ModelPlan]) -> Shapes:
    """Observe the start of two replicas and of one."""
    (tokens, plan), shapes = start, {}
    x = _pair(tokens)
    for name, function in observe.items():
        value, alone = (_observed(function, name, time=time, tokens=x[:n], plan=plan) for n in (2, 1))
        # For another number of replicas, what is no axis of theirs keeps its length.
        if alone.shape != (1, *value.shape[1:]):
            raise ValueError(
                f"observe[{name!r}] must return an array with one entry per replica first: for tokens {x.shape} it "
                f"returned shape {value.shape}, for tokens {x[:1].shape} shape {alone.shape}"
            )
        dtype = np.dtype(np.float32) if value.dtype == np.float32 else np.dtype(np.float64)
        shapes[name] = (value.shape[1:], dtype)
    return shapes


def _observed(function: Observable, name: str, *, time: float, tokens: Tokens, plan: ModelPlan) -> np.ndarray[Any, Any]:
    """Return the value of an observable, checked to be real numbers with one entry per replica first."""
    where = f"time {time:g}, before the run"
    with naming(name, where=where):
        value = value_of(function, time, tokens=tokens, radii=radii_of(plan, plan.start(tokens)))
    value = observed(value, name, where=where)
    if value.dtype.kind == "c":
        raise TypeError(f"observe[{name!r}] must return real numbers, got {value.dtype}")
    if value.size == 0:
        raise ValueError(f"observe[{name!r}] must return at least one number per replica, got shape {value.shape}")
    if value.shape[:1] != (len(tokens),):
        raise ValueError(
            f"observe[{name!r}] must return an array with one entry per replica first: for tokens {tokens.shape} "
            f"shape ({len(tokens)}, ...), got {value.shape}"
        )
    return value
