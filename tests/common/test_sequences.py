"""What counts as a sequence, and how a message shows values that cannot print themselves."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common import checks
from chaosphere.common.messages import shown
from chaosphere.common.reprs import short
from chaosphere.experiments.depth_width import runs as depth_width


@pytest.mark.parametrize(
    "values", [b"\x03\x05", bytearray(b"\x03"), memoryview(b"\x03"), {3, 5}, frozenset([3]), {3: 5}, {3: 5}.keys(),
               np.array(3), "ab", 3, None]
)  # fmt: skip
def test_what_is_no_sequence_is_refused(values):
    for check in (checks.sequence, checks.distinct, checks.increasing, checks.ladder):
        with pytest.raises(TypeError, match=r"^widths must be a sequence, got"):
            check(values, "widths")


@pytest.mark.parametrize(
    "values", [[3, 5], (3, 5), range(3, 6, 2), np.array([3, 5]), iter([3, 5]), {3: 0, 5: 0}.values()]
)
def test_sequences_are_listed_in_their_order(values):
    if not isinstance(values, type({}.values())):
        assert checks.ladder(values, "widths") == (3, 5)
    else:
        assert checks.sequence(values, "widths") == [0, 0]


def test_widths_may_be_an_iterator():
    def run(widths):
        mlp, few = cs.MLP(width=1), {"n_tokens": 4, "depths": [2, 4], "refinement": 2, "n_replicas": 2}
        return depth_width.run(mlp, rng=0, widths=widths, n_threads=1, **few)

    assert run(iter([4, 8]))["mean_square"].equals(run([4, 8])["mean_square"])
    assert run(iter([]))["mean_square"].equals(run([])["mean_square"])


class Broken(int):
    def __repr__(self):
        raise LookupError


class Wrong(int):
    def __int__(self):
        raise LookupError


def test_what_cannot_print_itself_is_shown_by_its_type():
    assert shown(Broken(3)) == "<Broken>"
    assert shown([Broken(3), 4]) == "[<Broken>, 4]"
    assert shown(Wrong(3)) == "<Wrong>"


@pytest.mark.parametrize("show", [shown, short])
def test_a_list_that_holds_itself_is_shown(show):
    ring = [1]
    ring.append(ring)
    assert show(ring) == "[1, […]]"


def test_a_deep_list_is_shown():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert len(shown(deep)) <= 240
