"""Checks of what several experiments take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from chaosphere.common import checks, messages
from chaosphere.noise.mlp import MLP


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Kind = TypeVar("Kind", bound=_Named)


def checked(cases: Sequence[Kind], kind: type[Kind]) -> list[Kind]:
    """Return cases of a kind as a list; their names must differ."""
    listed = checks.sequence(cases, "cases")
    for case in listed:
        if not isinstance(case, kind):
            raise TypeError(
                f"cases must hold {kind.__name__} objects, got {messages.shown(case)} ({type(case).__name__})"
            )
    names = [case.name for case in listed]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"cases must have different names, at least one; got {names}")
    return listed


def check_mlp(value: object) -> None:
    """Raise TypeError unless value is an MLP."""
    if not isinstance(value, MLP):
        raise TypeError(f"mlp must be an MLP, got {messages.shown(value)} ({type(value).__name__})")
