"""What exceptions with attributes of their own share."""

from __future__ import annotations

from typing import Any


class Picklable(BaseException):
    """An exception that survives pickle whatever the arguments of its `__init__`; pools of processes rely on it.

    By default pickle calls the class with `args` alone, which an `__init__` with keyword-only arguments refuses: the
    worker's answer is lost, and `multiprocessing.Pool` waits for it for ever.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make a copy without `__init__`: by the message and the attributes."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error
