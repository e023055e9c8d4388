"""Pictures: what can be drawn, and files that are complete or absent."""

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
