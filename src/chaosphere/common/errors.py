"""Errors between processes: what those with attributes of their own share, and what stands for one that is lost."""

from __future__ import annotations

import pickle
from contextlib import suppress
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


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error of any class, also to one whose attributes cannot be set; raises nothing."""
    try:
        error.add_note(note)
    except Exception:  # of a class of its own, as a frozen dataclass
        with suppress(Exception):
            object.__setattr__(error, "__notes__", [*_notes(error), note])


def portable(error: Exception) -> Exception:
    """Return an error that another process can read: itself, or a RuntimeError with its type, text and notes."""
    text = described(error)
    return error if _bytes(error, text) is not None else _substitute(text, _notes(error))


def described(error: Exception) -> str:
    """Return the type and the text of an error, as one line of a traceback has them."""
    try:
        text = str.__str__(str(error))  # no object of a subclass of str
    except Exception as failure:  # of a class of its own
        text = f"<its text raises {type(failure).__name__}>"
    return f"{type(error).__name__}: {text}"


def packed(error: Exception) -> tuple[str, list[str], bytes]:
    """Return what another process makes an error of, by `unpacked`; raises nothing, whatever the error is."""
    text = described(error)
    return text, _notes(error), _bytes(error, text) or b""


def unpacked(parts: tuple[str, list[str], bytes | bytearray]) -> Exception:
    """Return the error of another process; a RuntimeError with its text where pickle loses it or its class."""
    text, notes, data = parts
    error = _loaded(data)
    if error is None:
        return _substitute(text, notes)
    for note in notes[len(_notes(error)) :]:  # some classes have a pickle without their notes
        add_note(error, note)
    return error


def _bytes(error: Exception, text: str) -> bytes | None:
    """Return the pickle of an error; None where it cannot be made, or does not give the error and its text back."""
    try:
        data = pickle.dumps(error, protocol=5)  # with one copy of an array
        copy = pickle.loads(data)
        is_kept = type(copy) is type(error) and (described(copy) == text or _is_alike(copy.args, error.args))
        copy.__traceback__ = None  # so do pools of processes
    except Exception:  # methods of a class may raise any
        return None
    return data if is_kept else None


def _is_alike(copy: tuple[Any, ...], args: tuple[Any, ...]) -> bool:
    """Whether arguments came back, though their text may hold an address or the order of a set."""
    return [type(arg) for arg in copy] == [type(arg) for arg in args] and all(
        a == b for a, b in zip(copy, args, strict=True) if isinstance(a, str | bytes | int | float)
    )


def _loaded(data: bytes | bytearray) -> Exception | None:
    try:
        error = pickle.loads(data)
    except Exception:
        return None
    return error if isinstance(error, Exception) else None


def _notes(error: BaseException) -> list[str]:
    """Return the notes of an error that are text; a program may have put anything in their place."""
    try:
        notes = error.__notes__
        return [str.__str__(note) for note in notes if isinstance(note, str)] if isinstance(notes, list | tuple) else []
    except Exception:  # none, or of a class of its own
        return []


def _substitute(text: str, notes: list[str]) -> Exception:
    substitute = RuntimeError(text)
    for note in notes:
        substitute.add_note(note)
    return substitute
