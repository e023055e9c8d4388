"""What an object is, in a line of text or a small table of HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from reprlib import recursive_repr
from typing import Any, ClassVar

import numpy as np

from chaosphere.common.fields import is_default

_MAX_ITEMS = 6  # of a sequence that is shown in full
_MAX_LENGTH = 240  # letters of the text of an object that is not of this package

Row = tuple[str, str]


class Brief:
    """A dataclass that prints as the call that makes it; for `@dataclass(repr=False)`.

    Fields that have their default are left out, arrays print as type and shape.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # of the dataclass that inherits this

    def _rows(self) -> list[Row]:
        """Return names and texts of what is shown."""
        shown = [field for field in fields(self) if field.repr]
        return [(f.name, short(getattr(self, f.name))) for f in shown if not is_default(getattr(self, f.name), f)]

    def __repr__(self) -> str:
        """Return one line."""
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in self._rows())})"

    def _repr_html_(self) -> str:
        """Return a table, for notebooks."""
        return table(type(self).__name__, self._rows())


@recursive_repr("[…]")
def short(value: Any) -> str:
    """Return one line of text that says what a value is: arrays by type and shape, numbers to six digits.

    Examples
    --------
    >>> print(short(np.zeros((100, 3))), short(0.1 + 0.2), short(np.float32(2)), short(range(3)))
    float64[100, 3] 0.3 2.0 range(0, 3)
    >>> print(short(tuple(range(100))), short([0.5, "a"]))
    (0, 1, 2, …, 99; 100 in all) [0.5, 'a']
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, float):
        return min(repr(value), repr(float(f"{value:.6g}")), key=len)
    if isinstance(value, Path):
        return repr(str(value))
    if type(value) in (tuple, list):
        return sequence(value)
    if isinstance(value, partial):
        return f"partial of {short(value.func)}"
    if isinstance(value, Brief):
        return repr(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__).rpartition(".<locals>.")[2]
    return _text(value)


def sequence(value: Any, *, show: Callable[[Any], str] = short) -> str:
    """Return what a list or a tuple has: all of few items, else the first, the last and their number."""
    left, right = "()" if isinstance(value, tuple) else "[]"
    if len(value) > _MAX_ITEMS:
        return f"{left}{', '.join(map(show, value[:3]))}, …, {show(value[-1])}; {len(value)} in all{right}"
    return f"{left}{', '.join(map(show, value))}{',' * (len(value) == 1 and left == '(')}{right}"


def _text(value: Any) -> str:
    """Return what another object prints, on one line that is not too long."""
    try:
        return cut(" ".join(repr(value).split()))
    except Exception:  # an object of a user, whose text is not worth an error
        return f"<{type(value).__name__}>"


def cut(text: str) -> str:
    """Return a text, or its beginning where it is long."""
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"


def span(times: Any) -> str:
    """Return how many times there are, and the first and the last.

    Examples
    --------
    >>> span(np.linspace(0, 5, 51)), span(np.array([2.5]))
    ('51 from 0.0 to 5.0', '2.5')
    """
    first, last = short(times[0]), short(times[-1])
    return first if len(times) == 1 else f"{len(times)} from {first} to {last}"


def duration(seconds: float) -> str:
    """Return a time on the clock in one unit; between one hour and two days in hours and minutes.

    Examples
    --------
    >>> [duration(seconds) for seconds in (0.0251, 7.25, 480, 9000, 6.4e7)]
    ['25 ms', '7.2 s', '8 min', '2 h 30 min', '741 days']
    """
    if seconds < 0.095:
        return f"{1e3 * seconds:.2g} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 59.5:
        return f"{minutes:.0f} min"
    if minutes < 2879.5:
        return f"{round(minutes) // 60} h {round(minutes) % 60} min"
    days = minutes / 1440
    return f"{days:.0f} days" if 9.95 <= days < 1e6 else f"{days:.2g} days"


def block(title: str, rows: Iterable[Row]) -> str:
    """Return a title and a line for each row, names in one column."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in rows)])


def table(title: str, rows: Iterable[Row]) -> str:
    """Return a table of HTML with a row for each name; all text is escaped.

    Examples
    --------
    >>> table("Pair", [("<b>", "1 < 2")]).count("&lt;")
    2
    """
    import html  # its list of entities takes a while

    left = 'style="text-align: left"'
    body = "".join(
        f"<tr><th {left}>{html.escape(name)}</th><td {left}><code>{html.escape(text)}</code></td></tr>"
        for name, text in rows
    )
    head = f'<tr><th colspan="2" {left}>{html.escape(title)}</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
