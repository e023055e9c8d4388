"""Pictures: what can be drawn, and files that are complete or absent."""

import re

import matplotlib
import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common import files
from chaosphere.plot import style


def test_text_that_cannot_be_drawn_is_refused():
    for text in (r"decay $e^{-\lambda t}$", "cost: 5 $", r"a \$ and a \$"):
        style.check_text(text, "title")
    with pytest.raises(ValueError, match=r"title must be text that can be drawn.*Expected .frac"):
        style.check_text(r"bad $\frac{1$", "title")
    with pytest.raises(TypeError, match="title must be a str, got 3"):
        style.check_text(3, "title")
    style.check_text(style.plain(r"bad $\frac{1$"), "title")


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.png"
    canvas, axes = style.figure(4, 3)
    style.write(canvas, path)
    before = path.read_bytes()
    axes.plot([1, 2])
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        style.write(canvas, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml"), ("new/a.svg", b"<?xml")]
)
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_the_suffix_says_what_a_file_is(tmp_path, name, start, kind):
    ax = cs.plot.tokens(cs.sample_uniform(5, 2, rng=0))
    assert cs.plot.save(ax, kind(tmp_path / name)) == tmp_path / name
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.txt", ".png"])
def test_another_suffix_is_refused_before_anything_is_drawn(tmp_path, name, monkeypatch):
    canvas, ax = style.figure(4, 3)
    monkeypatch.setattr(canvas, "savefig", None)
    refused = re.escape(f"path must end in .png or .pdf or .svg, got {str(tmp_path / name)!r}")
    with pytest.raises(ValueError, match=refused):
        style.write(canvas, tmp_path / name)
    with pytest.raises(ValueError, match=refused):
        cs.plot.save(ax, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_only_axes_are_saved(tmp_path):
    with pytest.raises(TypeError, match=r"ax must be an Axes of Matplotlib, .* got NoneType"):
        cs.plot.save(None, tmp_path / "a.png")


def test_a_picture_leaves_the_style_of_others_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    with style.picture(tmp_path / "a.png", width=1.0, height=1.0):
        assert matplotlib.rcParams["font.size"] == style.FONT_SIZE != before["font.size"]
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("d = 2", "$d = 2$"),
        ("σ_U = 0.3, δ = -1", r"$\sigma_U = 0.3$, $\delta = -1$"),
        ("(δ = −1.5)", r"($\delta = -1.5$)"),  # the sign of typography
        ("M = 300 tokens", "$M = 300$ tokens"),
        ("β = 1e-05", "β = 1e-05"),  # a number that is no formula
        ("seed = 3", "seed = 3"),
    ],
)
def test_values_of_symbols_are_formulas(text, formula):
    assert style.formulas(text) == formula


def test_lines_of_a_headline_part_no_value_from_its_name():
    canvas, _ = style.figure(style.ONE_COLUMN, 2.0)
    style.headline(canvas, "first\n" + ", ".join(f"N = {k}" for k in range(30)))
    first, *rest = canvas.get_suptitle().splitlines()
    assert first == "first"
    assert len(rest) > 1
    assert re.findall(r"\$N = \d+\$", "".join(rest)) == [f"$N = {k}$" for k in range(30)]


def test_ticks_stand_at_every_value_and_eight_have_labels():
    _, axes = style.figure(4, 3)
    axes.set_xscale("log")
    style.label_ladder(axes, [2**k for k in range(10)])
    assert axes.get_xticks().tolist() == [2**k for k in range(10)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "", "4", "", "16", "", "64", "", "256", ""]


def test_bars_without_an_interval_have_no_length():
    bars = style.bars(np.array([1.0, 2.0]), np.array([0.5, np.nan]), np.array([3.0, np.nan]))
    assert bars.tolist() == [[0.5, 0.0], [2.0, 0.0]]


def test_a_headline_keeps_formulas_of_its_own_in_one_piece():
    canvas, _ = style.figure(1.0, 1.0)
    style.headline(canvas, r"$N = 4, \ \beta \to \infty$, N = 64")
    assert canvas.get_suptitle().splitlines() == [r"$N = 4, \ \beta \to \infty$,", "$N = 64$"]
