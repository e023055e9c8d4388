"""How the messages of errors show values and names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral, Real
from reprlib import recursive_repr
from typing import Any

import numpy as np

from chaosphere.common import reprs

_MAX_NAMES = 40  # of those that a message lists


@recursive_repr("[…]")
def shown(value: Any) -> str:
    """Return how a message shows a value: one line of some 240 letters at most.

    Numbers have all their digits, except integers of thousands of digits. Arrays of more than a few numbers go by type
    and shape.

    Examples
    --------
    >>> print(shown(0.1 + 0.2), shown("relu"), shown(np.zeros((100, 3))), shown(list(range(100))))
    0.30000000000000004 'relu' float64[100, 3] [0, 1, 2, …, 99; 100 in all]
    """
    try:
        return _shown(value)
    except Exception:  # an object of a user, whose text is not worth an error
        return f"<{type(value).__name__}>"


def _shown(value: Any) -> str:
    if isinstance(value, Integral) and abs(int(value)) >= 10**30:
        return f"an integer of {int(value).bit_length()} bits"
    if type(value) in (list, tuple):
        return reprs.cut(reprs.sequence(value, show=shown))
    if isinstance(value, np.ndarray) and value.size <= 4:
        return reprs.cut(" ".join(repr(value).split()))
    return reprs.cut(repr(value)) if isinstance(value, (str, bytes, Real, np.generic)) else reprs.short(value)


def unknown(value: Any, known: Iterable[str], *, heading: str = "known") -> str:
    """Return how a message shows a name that is not known: the name, the nearest that is, and all that are.

    Names are compared without regard to case. The nearest to the last part of a dotted name is that name.
    """
    names = tuple(known)
    lowered = {name.lower(): name for name in names}
    text = value if isinstance(value, str) else shown(value)
    near = [name for name in names if name.split(".")[-1] == text]
    near = near or [lowered[name] for name in difflib.get_close_matches(text.lower(), lowered, n=1)]
    hint = f"did you mean {near[0]!r}? " if near else ""
    rest = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{shown(value)}; {hint}{heading}: {', '.join(names[:_MAX_NAMES]) or 'none'}{rest}"
