"""Tables of a study file: keys that are known, values that are checked, errors that name both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chaosphere.common import checks, messages

_MAX_COUNT = 100_000  # values of a swept parameter
_RANGE_KEYS = ("from", "to", "count", "scale")


class Table:
    """One table of the file.

    Parameters
    ----------
    values : object
        What the file holds there; TypeError if it is no table.
    name : str
        "model.attention" for [model.attention]; empty for the file itself.
    allowed : sequence of str, optional
        The keys that it may have, any if None; ValueError for another.
    """

    def __init__(self, values: Any, name: str, *, allowed: Sequence[str] | None = None) -> None:
        self.name, self.where = name, f"[{name}] " if name else ""
        if not isinstance(values, dict):
            raise TypeError(f"{name} must be a table, [{name}], got {messages.shown(values)}")
        self.values: dict[str, Any] = values
        for key in () if allowed is None else values:
            if key not in (allowed or ()):
                raise ValueError(f"{self.where}unknown key {unknown(key, allowed or ())}")

    def take(self, key: str, default: Any = dataclasses.MISSING) -> Any:
        """Return the value of a key, or the default; ValueError if there is neither."""
        if key not in self.values and default is dataclasses.MISSING:
            raise ValueError(f"{self.where}{key if self.name else f'a table [{key}]'} must be given")
        return self.values.get(key, default)

    def choice(self, key: str, allowed: Sequence[str], *, default: Any = dataclasses.MISSING) -> str:
        """Return a value that is one of those allowed."""
        value = self.take(key, default)
        if value not in allowed:
            raise ValueError(f"{self.where}{key}: unknown {unknown(value, allowed)}")
        return str(value)

    def integer(self, key: str, *, low: int, default: Any = dataclasses.MISSING) -> Any:
        """Return an integer, or the default."""
        value = self.take(key, default)
        return value if value is None else checks.integer(value, f"{self.where}{key}", low=low)

    def number(self, key: str, *, default: Any = dataclasses.MISSING, **bounds: float) -> Any:
        """Return a number, or the default."""
        value = self.take(key, default)
        return value if value is None else checks.number(value, f"{self.where}{key}", **bounds)

    def text(self, key: str, *, default: Any = dataclasses.MISSING) -> Any:
        """Return a string, or the default."""
        value = self.take(key, default)
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{self.where}{key} must be a string, got {messages.shown(value)}")
        return value


def unknown(value: Any, allowed: Sequence[str]) -> str:
    """Return how a message shows a name that is not allowed."""
    return messages.unknown(value, allowed, heading="allowed")


def build(cls: Any, where: str, *, values: dict[str, Any]) -> Any:
    """Return cls(**values), its errors naming the table."""
    fields = dataclasses.fields(cls)
    Table(values, where, allowed=[field.name for field in fields])
    for field in fields:
        if field.name not in values and field.default is dataclasses.MISSING:
            raise ValueError(f"[{where}] {field.name} must be given")
    return called(where, lambda: cls(**values))


def called(where: str, function: Callable[[], Any]) -> Any:
    """Return what a function returns; its errors name the table."""
    try:
        return function()
    except (TypeError, ValueError) as error:
        raise type(error)(f"[{where}] {error}") from error


def list_of_values(entry: Any, where: str) -> list[Any]:
    """Return a list of values, written out or as {from, to, count, scale}."""
    if isinstance(entry, list):
        if not entry:
            raise ValueError(f"{where} must not be empty")
        return entry
    if not isinstance(entry, dict):
        raise TypeError(
            f"{where} must be a list or {{from = …, to = …, count = …, scale = 'linear' or 'log'}}, got "
            f"{messages.shown(entry)}"
        )
    for key in entry:
        if key not in _RANGE_KEYS:
            raise ValueError(f"{where}: unknown key {unknown(key, _RANGE_KEYS)}")
    for key in ("from", "to", "count"):
        if key not in entry:
            raise ValueError(f"{where}.{key} must be given")
    count = checks.integer(entry["count"], f"{where}.count", low=1)
    if count > _MAX_COUNT:
        raise ValueError(f"{where}.count must be at most {_MAX_COUNT}, got {count}")
    scale = entry.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise ValueError(f"{where}.scale: unknown {unknown(scale, ('linear', 'log'))}")
    bounds = {"above": 0.0} if scale == "log" else {}
    start, stop = (checks.number(entry[key], f"{where}.{key}", **bounds) for key in ("from", "to"))
    spaced = np.linspace(start, stop, count) if scale == "linear" else np.geomspace(start, stop, count)
    # Twelve digits print as they were meant: 0.1 + 0.2 as 0.3.
    return [float(f"{value:.12g}") for value in spaced]
