"""What stands for an error that pickle loses."""

import copy
import copyreg
import dataclasses
import json
import pickle

import pytest

from chaosphere.common.errors import add_note, packed, portable, unpacked


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


class Other(Exception):
    """Its pickle is that of something else."""

    def __reduce__(self):
        return str, ("text",)


class Deep(Exception):
    """Its pickle never ends."""

    def __reduce__(self):
        return Deep, (Deep("deeper"),)


class Local(Exception):
    def __reduce__(self):
        raise LookupError


class Named(Exception):
    """Its pickle is read, with its text as the argument that is only a part of it."""

    def __init__(self, second, first="a"):
        super().__init__(f"{first} {second}")


class Empty(Exception):
    def __len__(self):
        return 0


@pytest.mark.parametrize("error", [Odd("a", "b"), Other("a b"), Deep("a b"), Local("a b"), Named("b")])
def test_an_error_that_pickle_loses_is_its_type_and_text(error, monkeypatch):
    # Dask teaches pickle all classes of errors that it sees.
    monkeypatch.delitem(copyreg.dispatch_table, type(error), raising=False)
    error.add_note("in a run")
    for read in (portable(error), unpacked(packed(error))):
        assert type(read) is RuntimeError
        assert str(read) == f"{type(error).__name__}: a b"
        assert read.__notes__ == ["in a run"]
        assert pickle.loads(pickle.dumps(read)).__notes__ == read.__notes__


def test_other_errors_are_themselves():
    error = ValueError("bad")
    error.add_note("in a run")
    assert portable(error) is error
    read = unpacked(packed(error))
    assert type(read) is ValueError
    assert read.__notes__ == ["in a run"]


@pytest.mark.parametrize(
    "error", [KeyError(object()), ValueError("bad", {str(k) for k in range(20)})], ids=["address", "set"]
)
def test_the_text_of_an_argument_may_differ(error):
    """It holds an address, or a set in another order."""
    assert portable(error) is error


def test_notes_arrive_that_the_pickle_of_a_class_leaves_out():
    error = json.JSONDecodeError("bad", "{", 1)
    error.add_note("in a run")
    read = unpacked(packed(error))
    assert type(read) is json.JSONDecodeError
    assert str(read) == str(error)
    assert read.__notes__ == ["in a run"]


def test_an_error_without_a_length_is_an_error():
    error = Empty("why")
    assert portable(error) is error
    read = unpacked(packed(error))
    assert type(read) is Empty
    assert str(read) == "why"


@pytest.mark.parametrize(
    ("notes", "kept"), [([3, "a note"], ["a note"]), (("a note",), ["a note"]), (3, []), ("no", [])]
)
def test_notes_that_are_no_text_are_left_out(notes, kept):
    error = ValueError("bad")
    error.function = lambda: 0
    error.__notes__ = notes
    for read in (portable(error), unpacked(packed(error))):
        assert type(read) is RuntimeError
        assert str(read) == "ValueError: bad"
        assert getattr(read, "__notes__", []) == kept


def test_notes_that_raise_are_left_out():
    class Notes(Exception):
        @property
        def __notes__(self):
            raise LookupError

    for read in (portable(Notes("bad")), unpacked(packed(Notes("bad")))):
        assert str(read) == "Notes: bad"


def test_a_class_that_only_the_other_process_has():
    error = ValueError("bad")
    error.add_note("in a run")
    text, notes, data = packed(error)
    read = unpacked((text, notes, data.replace(b"ValueError", b"ValuedError")))
    assert type(read) is RuntimeError
    assert str(read) == "ValueError: bad"
    assert read.__notes__ == ["in a run"]


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    why: str


@pytest.mark.parametrize(
    ("notes", "kept"), [(None, []), (["first"], ["first"]), (("first", 3), ["first"]), (3, [])], ids=repr
)
@pytest.mark.parametrize("kind", [ValueError, Frozen])
def test_every_error_takes_a_note(kind, notes, kept):
    error = kind("bad")
    if notes is not None:
        object.__setattr__(error, "__notes__", copy.copy(notes))
    add_note(error, "a note")
    assert error.__notes__ == [*kept, "a note"]


def test_an_error_that_takes_no_note_is_left_alone():
    class Sealed(Exception):
        __notes__ = property()

    error = Sealed("bad")
    add_note(error, "a note")
    assert error.args == ("bad",)
