"""Contexts from generators: as those of contextlib, also for errors whose attributes cannot be set."""

import contextlib
import dataclasses
import traceback

import pytest

from chaosphere.common import contexts

KINDS = (contextlib.contextmanager, contexts.contextmanager)


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    why: str


def passing():
    yield 1


def suppressing():
    with contextlib.suppress(ValueError, StopIteration):
        yield 1


def replacing():
    try:
        yield 1
    except ValueError as error:
        raise KeyError("other") from error


def converting():
    try:
        yield 1
    except Exception as error:
        raise KeyError("converted") from error


def empty():
    return
    yield 1


def ending():
    try:
        yield 1
    except ValueError:
        raise StopIteration from None


def twice():
    with contextlib.suppress(ValueError):
        yield 1
    yield 2


def outcome(context, error):
    """The type of what leaves the context, and that of its cause."""
    try:
        with context as value:
            assert value == 1
            if error is not None:
                raise error
    except BaseException as raised:
        return type(raised), type(raised.__cause__), raised is error
    return None


@pytest.mark.parametrize("error", [None, ValueError, StopIteration, RuntimeError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("function", [passing, suppressing, replacing, converting, ending, empty, twice])
def test_the_outcome_is_that_of_contextlib(function, error):
    of_library, own = (outcome(kind(function)(), error and error("why")) for kind in KINDS)
    assert own == of_library


def test_a_frozen_error_passes_with_its_traceback():
    error = Frozen("mine")
    with pytest.raises(Frozen) as caught, contexts.contextmanager(passing)():
        raise error
    assert caught.value is error
    lines = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert lines == ["test_a_frozen_error_passes_with_its_traceback"]


def test_a_function_keeps_its_name():
    assert contexts.contextmanager(passing).__name__ == "passing"
