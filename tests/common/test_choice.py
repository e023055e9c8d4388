"""One name out of several: what a message says of an unknown one."""

import pytest

from chaosphere.common import checks, messages

NAMES = ("heun", "split", "Euler", "attention.beta")


@pytest.mark.parametrize("name", NAMES)
def test_known_names(name):
    assert checks.choice(name, "scheme", known=NAMES) == name


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("huen", "'huen'; did you mean 'heun'? "),
        ("HEUN", "'HEUN'; did you mean 'heun'? "),
        ("euler", "'euler'; did you mean 'Euler'? "),
        ("beta", "'beta'; did you mean 'attention.beta'? "),
        ("verlet-xyz", "'verlet-xyz'; "),
        (None, "None; "),
        (["heun"], "['heun']; did you mean 'heun'? "),
    ],
)
def test_unknown_names(value, shown):
    with pytest.raises(ValueError, match="scheme: unknown") as caught:
        checks.choice(value, "scheme", known=NAMES)
    assert str(caught.value) == f"scheme: unknown {shown}known: heun, split, Euler, attention.beta"


def test_nothing_is_known():
    assert messages.unknown("a", (), heading="allowed") == "'a'; allowed: none"
