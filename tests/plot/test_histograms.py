"""The histogram of cosines is that of the measure, as a density, beside the law of uniform tokens."""

import numpy as np
import pytest
from scipy import integrate, special

import chaosphere as cs


def heights(patch):
    return patch.get_data().values


def test_heights_are_the_measure_s_and_the_area_is_one():
    x = cs.sample_uniform(60, 4, rng=0)
    ax = cs.plot.cosines(x, n_bins=20)
    probabilities, edges = cs.measures.cosine_histogram(x, 20)
    assert np.allclose(heights(ax.patches[0]), probabilities * 10)
    assert np.allclose(ax.patches[0].get_data().edges, edges)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_dashed_line_is_the_law_of_uniform_tokens(dim):
    ax = cs.plot.cosines(cs.sample_uniform(10, dim, rng=0), n_bins=8)
    line = next(patch for patch in ax.patches if patch.get_label() == "uniform tokens")
    total = special.beta((dim - 1) / 2, 0.5)
    edges = np.linspace(-1, 1, 9)
    for height, low, high in zip(heights(line), edges[:-1], edges[1:], strict=True):
        # By the angle: sin^{d−2} of it.
        area = integrate.quad(lambda t: np.sin(t) ** (dim - 2), np.arccos(high), np.arccos(low))[0] / total
        assert height == pytest.approx(4 * area, rel=1e-9)


def test_a_second_histogram_has_another_colour_and_no_second_dashed_line():
    x = cs.sample_uniform(30, 3, rng=0, n_replicas=2)
    ax = cs.plot.cosines(x[0], label="first")
    assert cs.plot.cosines(x, ax=ax, label="both") is ax
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["first", "uniform tokens", "both"]
    first, uniform, both = legend.get_lines()
    assert first.get_color() != both.get_color()
    assert uniform.get_linestyle() == "--"


def test_replicas_are_taken_together():
    x = cs.sample_uniform(30, 3, rng=0, n_replicas=2)
    both, first, second = (heights(cs.plot.cosines(y).patches[0]) for y in (x, x[0], x[1]))
    assert np.allclose(both, (first + second) / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.array([[1.0, 0.0]])}, "at least two tokens"),
        ({"n_bins": 0}, "n_bins must be an integer >= 1, got 0"),
        ({"label": r"$\frac{1$"}, "label must be text that can be drawn"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        cs.plot.cosines(**{"x": cs.sample_uniform(4, 3, rng=0)} | arguments)
