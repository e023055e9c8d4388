"""What an error says: it names an argument of the call as the signature does, in one line that is not long."""

import inspect
import re

import numpy as np
import pytest
from call_table import CALLS

MAX_LENGTH = 600  # letters; arrays, lists and objects go by type, shape, or their beginning
KEYWORDS = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


class Large:
    """An object of a stranger's class that prints a lot."""

    def __repr__(self):
        return "large\n" * 1000


WRONG = [
    np.linspace(0.0, 1.0, 900).reshape(30, 30),
    np.linspace(0.1, 2.0, 3000).tolist(),
    Large(),
    lambda *_, **__: None,
]


def signature(function, arguments):
    """The names of the arguments of a function; for one that takes any, those of the call."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind not in KEYWORDS} | set(arguments)


def problem(text, names):
    """Return what is wrong with the message of an error, None if nothing is."""
    if len(text) > MAX_LENGTH or "\n" in text:
        return f"{len(text)} letters: {text[:200]}"
    if not any(re.search(rf"\b{name}\b", text) for name in names):
        return f"names no argument: {text}"
    return None


@pytest.mark.filterwarnings("ignore")
def test_messages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    faults = {}
    for name, (function, arguments) in CALLS.items():
        for key in arguments:
            for value in WRONG:
                copies = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
                try:
                    function(**copies | {key: value})
                except (TypeError, ValueError) as error:
                    if fault := problem(str(error), signature(function, arguments)):
                        faults[name, key] = fault
                except Exception:  # how others read is not the point here
                    continue
    assert faults == {}


def test_the_rules_themselves():
    assert problem("width must be >= 1, got -1", {"width"}) is None
    assert problem("objective must return a tuple", {"loss"}) == "names no argument: objective must return a tuple"
    assert problem("x" * 601, {"x"}).startswith("601 letters")
    assert "\n" in repr(Large())
