"""What counts as a sequence, and how a message shows values that cannot print themselves."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common import checks
from chaosphere.common.messages import shown
from chaosphere.common.reprs import short
from chaosphere.experiments import cases
from chaosphere.experiments.chaos import own_noise
from chaosphere.experiments.depth_width import runs as depth_width
from chaosphere.experiments.paper import runs as paper


@pytest.mark.parametrize(
    "values", [b"\x03\x05", bytearray(b"\x03"), memoryview(b"\x03"), {3, 5}, frozenset([3]), {3: 5},
               np.array(3), "ab", 3, None]
)  # fmt: skip
def test_what_is_no_sequence_is_refused(values):
    for check in (checks.sequence, checks.distinct, checks.increasing, checks.ladder):
        with pytest.raises(TypeError, match=r"^widths must be a sequence, got"):
            check(values, "widths")


@pytest.mark.parametrize(
    "values",
    [[3, 5], (3, 5), range(3, 6, 2), np.array([3, 5]), iter([3, 5]), {3: 0, 5: 0}.keys(), {3: 0, 5: 0}.values()],
)
def test_sequences_are_listed_in_their_order(values):
    if not isinstance(values, type({}.values())):
        assert checks.ladder(values, "widths") == (3, 5)
    else:
        assert checks.sequence(values, "widths") == [0, 0]


MODEL = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=4, horizon=1.0)
X = cs.sample_uniform(4, 3, rng=0, n_replicas=2)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda raw: checks.array(raw, "weights"), "weights must be an array of real numbers, got "),
        (lambda raw: cs.simulate(MODEL, X, rng=0, save_at=raw), "save_at must be a list of times, got "),
        (lambda raw: cs.simulate(MODEL, X, rng=raw), "rng must be an int >= 0, a numpy SeedSequence or "),
        (lambda raw: cs.plot.tokens(X[0], view=raw), "view must be \\(elevation, azimuth\\) in degrees, got "),
        (lambda raw: paper.figure(2, rng=0, dims=raw), "dims must be a sequence, got "),
        (lambda raw: cases.rates(MODEL, dims=raw), "dims must be a sequence, got "),
        (lambda raw: cases.own_tokens(MODEL, X[0], tokens=raw), "tokens must be a sequence, got "),
        (lambda raw: cases.depths(MODEL, depths=raw), "depths must be a sequence, got "),
        (lambda raw: own_noise.cases(MODEL, temperature=1.0, tokens=raw), "tokens must be a sequence, got "),
    ],
)
def test_bytes_are_no_numbers(kind, call, message):
    with pytest.raises(TypeError, match=message):
        call(kind(b"\0\1"))


def test_masked_times_are_refused():
    with pytest.raises(TypeError, match="save_at must not be a masked array"):
        cs.simulate(MODEL, X, rng=0, save_at=np.ma.array([0.0, 0.5], mask=[False, True]))


def test_what_has_no_order_is_refused():
    near, far = (cs.laws.VonMisesFisher(mean_direction=(sign, 0.0), concentration=5.0) for sign in (1.0, -1.0))
    for components in ({near, far}, {near: 0.5, far: 0.5}):
        with pytest.raises(TypeError, match="components must be a sequence, got"):
            cs.laws.Mixture(components=components, proportions=(0.25, 0.75))
    run = {"a": [1.0], "b": [2.0]}
    with pytest.raises(TypeError, match="names must be a sequence, got"):
        cs.plot.observables(run, {"a", "b"}, times=[0.0])
    with pytest.raises(TypeError, match="tokens must be a sequence, got"):
        cases.rates(MODEL, tokens={64, 128})


def test_numbers_of_tokens_may_be_an_iterator():
    planned = cases.rates(MODEL, dims=iter([2, 3]), tokens=iter([8, 16]))
    assert [case.tokens for case in planned] == [(8, 16), (8, 16)]


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
