"""Checks of observables, the functions of (time, tokens) that a run records, and of what they return."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np

from chaosphere.common import messages
from chaosphere.common.checks import Tokens
from chaosphere.common.contexts import contextmanager
from chaosphere.common.errors import add_note
from chaosphere.interactions.protocol import Partition
from chaosphere.measures.observables import Observable, sees_radii, value_of
from chaosphere.measures.token_means import SharedObservable, SharedStateObservable

RADIUS = "radius"  # in `Solution.to_xarray`, of a model that has them
OF_CONDITION = ("stopped_at", "hitting_times", "hitting_times_0")  # in `Solution.to_xarray`, with a condition
_RESERVED = {"x", "token", "coordinate", "time", "state_time", "replica"}  # in `Solution.to_xarray`


def observables(observe: Any) -> dict[str, Observable]:
    """Return `observe` as a dict, checked: names of their own, functions of (time, tokens)."""
    if observe is None:
        return {}
    if not isinstance(observe, Mapping):
        raise TypeError(
            f"observe must be a mapping of names to functions of (time, tokens), got {messages.shown(observe)}; "
            'for the energy: {"energy": chaosphere.measures.Energy(beta=1.0)}'
        )
    for name, function in observe.items():
        if not isinstance(name, str):
            raise TypeError(f"observe must have names that are text, got {name!r}")
        stem, _, axis = name.rpartition("_")
        if name in _RESERVED or (stem in observe and axis.isdecimal()):
            of = f"an axis of observe[{stem!r}]" if stem in observe else "the states, or a dimension"
            raise ValueError(f"observe[{name!r}] must have another name: in to_xarray() it is that of {of}")
        if sees_radii(function):
            what = f"observe[{name!r}] must have of_state on (time, tokens, radii)"
            check_signature(function.of_state, (0.0, None, None), what=what)
            continue
        if not callable(function):
            raise TypeError(f"observe[{name!r}] must be callable on (time, tokens), got {messages.shown(function)}")
        called = getattr(function, "__name__", "f")
        hint = f"; for a function of tokens: lambda t, x: {called}(x)"
        what = f"observe[{name!r}] must be callable on (time, tokens)"
        check_signature(function, (0.0, None), what=what, hint=hint)
    return dict(observe)


def check_radii(observe: Mapping[str, Observable], *, has_radius: bool) -> None:
    """Raise ValueError if an observable needs radii that the model has not, or has their name."""
    for name, function in observe.items():
        if sees_radii(function) and not has_radius:
            raise ValueError(
                f"observe[{name!r}] needs a model with radii, such as a Transformer with normalization='pre' or "
                f"'peri', got {messages.shown(function)} for a model without"
            )
        if name == RADIUS and has_radius:
            raise ValueError(f"observe[{name!r}] must have another name: in to_xarray() it is that of the radii")


def check_condition_names(observe: Mapping[str, Observable]) -> None:
    """Raise ValueError if an observable has a name of what a condition adds."""
    for name in OF_CONDITION:
        if name in observe:
            raise ValueError(
                f"observe[{name!r}] must have another name: in to_xarray() it is that of what `until` gives"
            )


def stacked(
    recorded: Mapping[str, list[np.ndarray[Any, Any]]],
    observe: Mapping[str, Observable],
    *,
    time: float,
    tokens: Tokens,
    radii: Tokens | None,
) -> dict[str, np.ndarray[Any, Any]]:
    """Return what each observable gave, stacked along times.

    Where it was never recorded, as the run ended before, its shape and type are those of its value at the end.
    """
    out = {name: np.array(rows) for name, rows in recorded.items()}
    never = {name: observe[name] for name, rows in recorded.items() if not rows}
    ends = values(never, time, tokens=read_only(tokens), radii=radii, where=f"time {time:g}")
    return out | {name: np.empty((0, *value.shape), value.dtype) for name, value in ends}


def check_shared(observe: Mapping[str, Observable]) -> None:
    """Raise ValueError if an observable needs all tokens, which no rank has."""
    for name, function in observe.items():
        kind, method = (SharedStateObservable, "of_own_state") if sees_radii(function) else (SharedObservable, "of_own")
        if not isinstance(function, kind):
            raise ValueError(
                f"observe[{name!r}] must be a sum over tokens where each rank draws its own, such as "
                f"measures.Energy or measures.TokenMean, with a method {method}, got {messages.shown(function)}; "
                "for others pass the tokens as an array"
            )


def shared_values(
    observe: Mapping[str, Observable],
    time: float,
    *,
    tokens: Tokens,
    radii: Tokens | None,
    partition: Partition,
    where: str,
) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield the name and the value, checked, of each observable of tokens that several processes own."""
    for name, function in observe.items():
        with naming(name, where=where):
            if sees_radii(function):
                of_state, own = cast(SharedStateObservable, function).of_own_state, cast(Tokens, radii)
                value = of_state(time, tokens, own, partition=partition)
            else:
                value = cast(SharedObservable, function).of_own(time, tokens, partition=partition)
        yield name, observed(value, name, where=where)


def check_signature(function: Any, arguments: tuple[Any, ...], *, what: str, hint: str = "") -> None:
    """Raise TypeError, with what a function must be, if it cannot be called with arguments of this number."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some compiled functions have none
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        called = getattr(function, "__name__", "f")
        raise TypeError(f"{what}, got {called}{signature}{hint}") from None


def read_only(tokens: Tokens) -> Tokens:
    """Return a view that cannot be written to."""
    view = tokens.view()
    view.flags.writeable = False
    return view


def values(
    observe: Mapping[str, Observable], time: float, *, tokens: Tokens, radii: Tokens | None, where: str
) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield the name and the value, checked, of each observable."""
    for name, function in observe.items():
        with naming(name, where=where):
            value = value_of(function, time, tokens=tokens, radii=radii)
        yield name, observed(value, name, where=where)


@contextmanager
def naming(name: str, *, where: str) -> Iterator[None]:
    """Note on an error which observable raised it, and at which step."""
    try:
        yield
    except Exception as error:
        add_note(error, f"in observe[{name!r}] at {where}")
        raise


def observed(value: Any, name: str, *, where: str) -> np.ndarray[Any, Any]:
    """Return what an observable gave as an array, checked to be a number or an array of numbers."""
    try:
        array = np.array(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "biufc":
        kind = type(value).__name__ if array.dtype == object else str(array.dtype)
        raise TypeError(f"observe[{name!r}] must return a number or an array of numbers, got {kind} at {where}")
    return array
