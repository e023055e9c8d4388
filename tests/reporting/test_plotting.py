"""Pictures: what can be drawn, and files that are complete or absent."""

import re

import matplotlib
import numpy as np
import pytest

from chaosphere.common import files
from chaosphere.reporting import plotting


def test_text_that_cannot_be_drawn_is_refused():
    for text in (r"decay $e^{-\lambda t}$", "cost: 5 $", r"a \$ and a \$"):
        plotting.check_text(text, "title")
    with pytest.raises(ValueError, match=r"title must be text that can be drawn.*Expected .frac"):
        plotting.check_text(r"bad $\frac{1$", "title")
    plotting.check_text(plotting.plain(r"bad $\frac{1$"), "title")


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.png"
    canvas, axes = plotting.figure()
    plotting.write(canvas, path)
    before = path.read_bytes()
    axes.plot([1, 2])
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        plotting.write(canvas, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.svg", b"<?xml"), ("a", b"\x89PNG")]
)
def test_a_picture_is_what_its_suffix_says(tmp_path, name, start):
    with plotting.picture(tmp_path / name, width=plotting.ONE_COLUMN, height=1.0) as canvas:
        canvas.subplots()
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_suffix_that_is_no_picture_is_refused(tmp_path):
    canvas, _ = plotting.figure()
    with pytest.raises(ValueError, match=r"path must end in .*\.pdf.*\.png.*\.svg"):
        plotting.write(canvas, tmp_path / "a.xyz")
    assert not list(tmp_path.iterdir())


def test_a_picture_leaves_the_style_of_others_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    with plotting.picture(tmp_path / "a.png", width=1.0, height=1.0):
        assert matplotlib.rcParams["font.size"] == plotting.FONT_SIZE != before["font.size"]
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("d = 2", "$d = 2$"),
        ("σ_U = 0.3, δ = -1", r"$\sigma_U = 0.3$, $\delta = -1$"),
        ("M = 300 tokens", "$M = 300$ tokens"),
        ("β = 1e-05", "β = 1e-05"),  # a number that is no formula
        ("seed = 3", "seed = 3"),
    ],
)
def test_values_of_symbols_are_formulas(text, formula):
    assert plotting.formulas(text) == formula


def test_lines_of_a_headline_part_no_value_from_its_name():
    canvas, _ = plotting.figure(plotting.ONE_COLUMN, 2.0)
    plotting.headline(canvas, "first\n" + ", ".join(f"N = {k}" for k in range(30)))
    first, *rest = canvas.get_suptitle().splitlines()
    assert first == "first"
    assert len(rest) > 1
    assert re.findall(r"\$N = \d+\$", "".join(rest)) == [f"$N = {k}$" for k in range(30)]


def test_ticks_stand_at_every_value_and_eight_have_labels():
    _, axes = plotting.figure()
    axes.set_xscale("log")
    plotting.label_ladder(axes, [2**k for k in range(10)])
    assert axes.get_xticks().tolist() == [2**k for k in range(10)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "", "4", "", "16", "", "64", "", "256", ""]


def test_bars_without_an_interval_have_no_length():
    bars = plotting.bars(np.array([1.0, 2.0]), np.array([0.5, np.nan]), np.array([3.0, np.nan]))
    assert bars.tolist() == [[0.5, 0.0], [2.0, 0.0]]
