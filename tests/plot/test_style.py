"""Pictures: what can be drawn, and files that are complete or absent."""

import re

import pytest

import chaosphere as cs
from chaosphere.common import files
from chaosphere.plot import style


def test_text_that_cannot_be_drawn_is_refused():
    for text in (r"decay $e^{-\lambda t}$", "cost: 5 $", r"a \$ and a \$"):
        style.check_text(text, "title")
    with pytest.raises(ValueError, match=r"title must be text that can be drawn.*Expected .frac"):
        style.check_text(r"bad $\frac{1$", "title")
    style.check_text(style.plain(r"bad $\frac{1$"), "title")


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.png"
    canvas, axes = style.figure()
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
    canvas, ax = style.figure()
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
