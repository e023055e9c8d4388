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


@pytest.mark.parametrize("error", [Odd("a", "b"), Other("a b"), Deep("a b"), Local("a b")])
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


def test_a_class_that_only_the_other_process_has():
    text, data = packed(ValueError("bad"))
    assert data is not None
    copy = unpacked((text, data.replace(b"ValueError", b"ValuedError")))
    assert type(copy) is RuntimeError
    assert str(copy) == "ValueError: bad"
