"""Contexts from generators that let every error pass, also one whose attributes cannot be set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class _Context(AbstractContextManager[T], Generic[T]):
    def __init__(self, generator: Iterator[T]) -> None:
        self._generator = cast(Generator[T, Any, Any], generator)

    def __enter__(self) -> T:
        try:
            return next(self._generator)
        except StopIteration:
            raise RuntimeError("a context must yield once") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            if error is None:
                next(self._generator)
            else:
                self._generator.throw(error)
        except StopIteration as end:
            return error is not None and end is not error
        except BaseException as raised:
            # Python makes a RuntimeError of a StopIteration that leaves a generator.
            is_made = isinstance(error, StopIteration) and type(raised) is RuntimeError and raised.__cause__ is error
            is_same = raised is error or is_made
            if error is None or not is_same:
                raise
            error.with_traceback(traceback)  # without the lines of this module
            return False
        raise RuntimeError("a context must yield once")


def contextmanager(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Make contexts of a generator as `contextlib.contextmanager` does, and set no attribute of an error that passes.

    That of the library sets `__traceback__`. A frozen dataclass refuses it, and its error would be lost.
    """

    @functools.wraps(function)
    def context(*args: P.args, **options: P.kwargs) -> AbstractContextManager[T]:
        return _Context(function(*args, **options))

    return context
