"""What stands for an error that pickle loses."""

import copyreg
import pickle

import pytest

from chaosphere.common.errors import packed, portable, unpacked


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
    for copy in (portable(error), unpacked(packed(error))):
        assert type(copy) is RuntimeError
        assert str(copy) == f"{type(error).__name__}: a b"
        assert copy.__notes__ == ["in a run"]
        assert pickle.loads(pickle.dumps(copy)).__notes__ == copy.__notes__


def test_other_errors_are_themselves():
    error = ValueError("bad")
    error.add_note("in a run")
    assert portable(error) is error
    copy = unpacked(packed(error))
    assert type(copy) is ValueError
    assert copy.__notes__ == ["in a run"]


def test_an_error_without_a_length_is_an_error():
    error = Empty("why")
    assert portable(error) is error
    copy = unpacked(packed(error))
    assert type(copy) is Empty
    assert str(copy) == "why"


@pytest.mark.parametrize(
    ("notes", "kept"), [([3, "a note"], ["a note"]), (("a note",), ["a note"]), (3, []), ("no", [])]
)
def test_notes_that_are_no_text_are_left_out(notes, kept):
    error = ValueError("bad")
    error.function = lambda: 0
    error.__notes__ = notes
    for copy in (portable(error), unpacked(packed(error))):
        assert type(copy) is RuntimeError
        assert str(copy) == "ValueError: bad"
        assert getattr(copy, "__notes__", []) == kept


def test_notes_that_raise_are_left_out():
    class Notes(Exception):
        @property
        def __notes__(self):
            raise LookupError

    for copy in (portable(Notes("bad")), unpacked(packed(Notes("bad")))):
        assert str(copy) == "Notes: bad"


def test_a_class_that_only_the_other_process_has():
    error = ValueError("bad")
    error.add_note("in a run")
    text, notes, data = packed(error)
    copy = unpacked((text, notes, data.replace(b"ValueError", b"ValuedError")))
    assert type(copy) is RuntimeError
    assert str(copy) == "ValueError: bad"
    assert copy.__notes__ == ["in a run"]
