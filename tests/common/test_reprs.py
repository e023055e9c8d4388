"""What users see of an object: what it is, in a line or few, and never a wall of digits."""

import copy
import functools
import inspect
import pickle
from html.parser import HTMLParser

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common import reprs
from chaosphere.common.streams import Noise, Stream

X = cs.sample_uniform(200, 3, rng=0)
ATTENTION = cs.SoftmaxAttention(beta=4.0)
MLP = cs.MLP(width=64, activation="tanh", bias_std=0.3)
KERNEL = MLP.kernel(2)
FIELD = cs.GaussianField(kernel=KERNEL)
TRANSFORMER = cs.Transformer(attention=ATTENTION, mlp=MLP, depth=4, horizon=1.0)
SDE = cs.LimitSDE(attention=ATTENTION, field=FIELD, horizon=1.0, n_steps=4)
LAW = cs.laws.VonMisesFisher(mean_direction=tuple(cs.sample_uniform(1, 50, rng=0)[0]), concentration=2.0)
DENSITY = cs.CircleDensity(model=SDE, law=cs.laws.Uniform(dim=2), n_modes=256)
SHORT_SDE = "LimitSDE(attention=SoftmaxAttention(beta=4.0), field=GaussianField(kernel=CovarianceKernel(dim=2, "
SHORT_SDE += "name='tanh', bias_std=0.3)), horizon=1.0, n_steps=4)"
NOISE = Noise([3, 4], n_replicas=2)

LINES = [
    (ATTENTION, "SoftmaxAttention(beta=4.0)"),
    (cs.SoftmaxAttention(value_scale=-1.0), "SoftmaxAttention(beta=1.0, value_scale=-1.0)"),
    (
        cs.SoftmaxAttention(query=np.eye(3), key=np.eye(3), value=np.eye(3)),
        "SoftmaxAttention(query=float64[3, 3], key=float64[3, 3], value=float64[3, 3])",
    ),
    (MLP, "MLP(width=64, activation='tanh', bias_std=0.3)"),
    (cs.MLP(width=2, activation=np.tanh), "MLP(width=2, activation=Activation(name='tanh'))"),
    (
        TRANSFORMER,
        "Transformer(attention=SoftmaxAttention(beta=4.0), mlp=MLP(width=64, activation='tanh', bias_std=0.3), "
        "depth=4, horizon=1.0)",
    ),
    (SDE, SHORT_SDE),
    (KERNEL.scaled(2.0), "CovarianceKernel(dim=2, name='tanh', bias_std=0.3, scale=4.0)"),
    (cs.CovarianceKernel.from_spectrum([0.5, 0.5], dim=4), "CovarianceKernel(dim=4, name='spectrum')"),
    (
        cs.MeanField(model=SDE, law=cs.laws.Uniform(dim=2), n_nodes=8),
        f"MeanField(model={SHORT_SDE}, law=Uniform(dim=2), n_nodes=8)",
    ),
    (DENSITY, f"CircleDensity(model={SHORT_SDE}, law=Uniform(dim=2), n_modes=256)"),
    (DENSITY.solve(rng=0, save_at=[0.0, 1.0]), "DensitySolution(times=2 from 0.0 to 1.0, n_modes=256)"),
    (DENSITY.solve(rng=0, n_replicas=2), "DensitySolution(times=1.0, n_modes=256, n_replicas=2)"),
    (MLP.draw(5, rng=np.random.default_rng(0)), "MLPLayer(dim=5, width=64, activation='tanh', n_replicas=1)"),
    (
        cs.laws.Density(function=lambda x: 1 + x[:, 0], dim=3, bound=2.0),
        "Density(function=<lambda>, dim=3, bound=2.0)",
    ),
    (cs.laws.quadrature(cs.laws.Uniform(dim=3), 8), "Quadrature(nodes=float64[8, 3], weights=float64[8], degree=3)"),
    (cs.measures.Energy(beta=2.0), "Energy(beta=2.0)"),
    (cs.Checkpoint(path="run.npz", every_steps=5), "Checkpoint(path='run.npz', every_steps=5)"),
    (NOISE, "Noise([3, 4], n_replicas=2)"),
    (NOISE.draws(Stream.LAYER, 3), "Draws(keys=uint32[2, 2], step=3)"),
    (
        cs.two_point.hitting_probabilities(KERNEL, np.array([0.0, 0.5])),
        "HittingProbabilities(plus=float64[2], minus=float64[2])",
    ),
]


@pytest.mark.parametrize(("value", "line"), LINES, ids=lambda part: type(part).__name__)
def test_line(value, line):
    assert repr(value) == line


def test_a_long_direction_is_cut():
    x, y, z, *_, last = LAW.mean_direction
    shown = f"({x:.6g}, {y:.6g}, {z:.6g}, …, {last:.6g}; 50 in all)"
    assert repr(LAW) == f"VonMisesFisher(mean_direction={shown}, concentration=2.0)"


def test_an_evaluation_is_named_by_its_shapes():
    text = repr(ATTENTION.evaluate(X))
    assert text.startswith("AttentionResult(value=float64[200, 3], log_partition=float64[200], energy=")
    assert text.endswith(", n_direct=200)")


@pytest.mark.parametrize("value", [value for value, _ in LINES if isinstance(value, reprs.Brief)], ids=repr)
def test_what_prints_briefly_is_copied_compared_and_pickled_as_before(value):
    assert repr(copy.copy(value)) == repr(value)
    if "lambda" not in repr(value):
        assert repr(pickle.loads(pickle.dumps(value))) == repr(value)


def test_the_line_of_a_spec_makes_it_again():
    names = {name: getattr(cs, name) for name in cs.__all__}
    for spec in (TRANSFORMER, cs.SoftmaxAttention(beta=0.3, rtol=1e-5), cs.Checkpoint(path="a", keep=True)):
        assert eval(repr(spec), names) == spec


def test_every_public_class_prints_briefly():
    """Dataclasses, whose own way is to print all that they hold."""
    for name in cs.__all__:
        kind = getattr(cs, name)
        if inspect.isclass(kind) and not issubclass(kind, BaseException):
            assert issubclass(kind, reprs.Brief) or kind in (cs.Solution, cs.CoupledRun, cs.Estimate), name


class Cells(HTMLParser):
    """The text of all cells of a table, and the tags."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag in ("th", "td"):
            self.cells.append("")

    def handle_data(self, data):
        self.cells[-1] += data


def test_a_notebook_sees_a_table():
    table = Cells(TRANSFORMER._repr_html_())
    assert table.cells[:3] == ["Transformer", "attention", "SoftmaxAttention(beta=4.0)"]
    assert table.cells[-2:] == ["horizon", "1.0"]


def test_text_in_a_table_is_escaped():
    law = cs.laws.Density(function=lambda x: 1 + x[:, 0], dim=3, bound=2.0)
    parsed = Cells(law._repr_html_())
    assert parsed.tags == {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert "<lambda>" in parsed.cells


def test_an_object_that_cannot_print_itself_is_named_by_its_type():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    assert reprs.short(Broken()) == "<Broken>"


def test_other_texts():
    long = type("Long", (), {"__repr__": lambda self: "a\nb " * 200})()
    assert len(reprs.short(long)) == 240
    assert reprs.short(long).startswith("a b a b")
    assert reprs.short(functools.partial(np.clip, 3)) == "partial of clip"
    assert reprs.short((1,)) == "(1,)"
    assert reprs.short(np.float64(1e300)) == "1e+300"
    assert reprs.short(1 / 3) == "0.333333"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (2.5e-4, "0.25 ms"),
        (0.0949, "95 ms"),
        (0.096, "0.1 s"),
        (1.24, "1.2 s"),
        (59.96, "1 min"),
        (100, "2 min"),
        (3569, "59 min"),
        (3571, "1 h 0 min"),
        (9000, "2 h 30 min"),
        (172_769, "47 h 59 min"),
        (172_771, "2 days"),
        (400_000, "4.6 days"),
        (17_782 * 3600 + 240, "741 days"),
        (1e300, "1.2e+295 days"),
    ],
)
def test_times_on_the_clock(seconds, text):
    assert reprs.duration(seconds) == text
