"""Checks of what a part of a model returns that a user may have written: a plan, and the vectors at the tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.common.reprs import short


def check_part(value: object, name: str, *, rule: str, members: tuple[str, ...], hint: str = "") -> None:
    """Raise TypeError if an object lacks what a model asks of one of its parts.

    Parameters
    ----------
    value : object
        An argument.
    name : str
        Its name.
    rule : str
        What it must be.
    members : tuple of str
        Attributes and methods that it must have.
    hint : str
        End of the message.
    """
    if isinstance(value, type):
        kind = value.__name__
        raise TypeError(f"{name} must be {rule}, got the class {kind}: pass an object of it, {kind}(...)")
    if missing := [member for member in members if not hasattr(value, member)]:
        raise TypeError(f"{name} must be {rule}, got {short(value)}: it has no {', '.join(missing)}{hint}")


def check_plan(plan: object, *, base: type, needs: tuple[str, ...], source: str) -> None:
    """Raise TypeError if what a method returned is no plan: a class that inherits from `base` and has what it `needs`.

    Parameters
    ----------
    plan : object
        What was returned.
    base : type
        The protocol.
    needs : tuple of str
        Attributes without a default, and methods that must be written.
    source : str
        The method that returned it, such as "WindPlan.plan".
    """
    rule = f"{source} must return a plan, an object of a class that inherits from {base.__module__}.{base.__name__}"
    members = [name for name in (*vars(base), *needs) if not name.startswith("_")]
    if not all(hasattr(plan, name) for name in members if name not in needs):
        raise TypeError(f"{rule}, got {short(plan)}")
    unwritten = [name for name in needs if getattr(type(plan), name, None) is vars(base).get(name, base)]
    if missing := [name for name in needs if name in unwritten or not hasattr(plan, name)]:
        raise TypeError(f"{rule} and has {', '.join(needs)}; {type(plan).__name__} has no {', '.join(missing)}")


def check_function(value: object, name: str) -> None:
    """Raise TypeError unless what a method of this name returned is a function of the tokens."""
    if not callable(value):
        raise TypeError(f"{name} must return a function of the tokens, got {short(value)}")


def name_of(function: object) -> str:
    """Return how messages name a function of the tokens."""
    return str(getattr(function, "__qualname__", type(function).__name__))


def check_vectors(vectors: Any, name: str, *, x: Tokens) -> None:
    """Raise TypeError unless a function of the tokens x returned one vector for each, as an array like x.

    Parameters
    ----------
    vectors : object
        What the function returned.
    name : str
        Of the function.
    x : ndarray, shape (R, N, d)
        The tokens.
    """
    is_array = isinstance(vectors, np.ndarray)
    if is_array and vectors.shape == x.shape and vectors.dtype == x.dtype and vectors.flags.c_contiguous:
        return
    kind = f"{vectors.dtype} of shape {vectors.shape}" if is_array else short(vectors)
    is_strided = is_array and not vectors.flags.c_contiguous
    raise TypeError(
        f"{name} must return a contiguous array of {x.dtype} and shape {x.shape}, as the tokens, got {kind}"
        f"{', which is not contiguous: numpy.ascontiguousarray copies it' if is_strided else ''}"
    )
