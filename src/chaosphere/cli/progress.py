"""Messages and progress on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Self

from chaosphere.common.reprs import duration

_INTERVAL = 0.2  # seconds between two drawings of the line
_NO_WORK = 1e-3  # seconds: a step that is counted faster was found in a file


def say(text: str, *, end: str = "\n") -> None:
    """Write to standard error; nobody may be there to read it, and that stops no work."""
    with contextlib.suppress(OSError):
        print(text, end=end, file=sys.stderr, flush=True)


class Progress:
    """A line on standard error that counts, from the start, where that is a terminal; silent otherwise.

    The time that is left is told from the steps that took time: those found in a file are counted at once.
    """

    def __init__(self, total: int, *, name: str, unit: str) -> None:
        self.total, self.name, self.unit, self.done = total, name, unit, 0
        self._is_shown = sys.stderr.isatty()
        self._start = self._last = self._drawn = time.monotonic()
        self._n_timed, self._seconds = 0, 0.0

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(self, *unused: object) -> None:
        self._draw()
        if self._is_shown:
            say("")

    def step(self) -> None:
        """Count one."""
        now = time.monotonic()
        self.done += 1
        if now - self._last > _NO_WORK:
            self._n_timed += 1
            self._seconds += now - self._last
        self._last = now
        if now - self._drawn > _INTERVAL:
            self._draw()

    def _draw(self) -> None:
        if not self._is_shown:
            return
        self._drawn = time.monotonic()
        left = ""
        if self._n_timed and self.done < self.total:
            left = f", {duration(self._seconds / self._n_timed * (self.total - self.done))} left"
        text = f"{self.name}: {self.done} of {self.total} {self.unit}, {duration(self._drawn - self._start)}{left}"
        say(f"\r{text:<78}", end="")
