"""Fields of dataclasses: whether one is at its default, and which of them an identity has."""

from __future__ import annotations

import dataclasses
from typing import Any

_ADDED = "chaosphere: not in the identity where it is at its default"


def added(default: Any) -> Any:
    """Return a field that the identity of a dataclass has only where it is not at its default.

    For fields that came after results had been stored: checkpoints and stores without the field are then still those of
    the same run. Its default must never change.
    """
    return dataclasses.field(default=default, metadata={_ADDED: True})


def in_identity(value: Any) -> list[str]:
    """Return the names of the fields of a dataclass instance that its identity has."""
    return [
        field.name
        for field in dataclasses.fields(value)
        if field.name != "n_threads"  # does not change a result
        and not (_ADDED in field.metadata and is_default(getattr(value, field.name), field))
    ]


def is_default(value: Any, field: dataclasses.Field[Any]) -> bool:
    """Whether a value is the default of a field, and of its type."""
    default = field.default
    if default is dataclasses.MISSING:
        return False
    return value is default or bool(type(value) is type(default) and value == default)
