"""setup.py builds what changed: contents decide, not dates."""

import os

import pytest
from support.builds import build_settings


@pytest.fixture
def build(tmp_path):
    """A function that updates a library from two sources, and says whether that compiled it."""
    update = build_settings()["update"]
    parts, product = [tmp_path / name for name in ("a.c", "b.h")], tmp_path / "liba.a"
    for part in parts:
        part.write_text("int f(void);")

    def build():
        compiled = []
        update(product, parts, folder=tmp_path, build=lambda: compiled.append(product.write_text("!<arch>")))
        return bool(compiled)

    assert build()
    assert not build()
    return build


def test_a_newer_date_alone_builds_nothing(build, tmp_path):
    os.utime(tmp_path / "a.c", (2e9, 2e9))
    assert not build()


def test_new_contents_of_an_older_date_are_built(build, tmp_path):
    (tmp_path / "b.h").write_text("int g(void);")
    os.utime(tmp_path / "b.h", (1e9, 1e9))
    assert build()
    assert not build()


def test_what_moves_from_one_file_to_the_next_is_built(build, tmp_path):
    (tmp_path / "a.c").write_text("int f")
    (tmp_path / "b.h").write_text("(void);int f(void);")
    assert build()


def test_a_lost_product_is_built(build, tmp_path):
    (tmp_path / "liba.a").unlink()
    assert build()


def test_a_build_that_failed_leaves_nothing_behind(tmp_path):
    update = build_settings()["update"]
    part, product = tmp_path / "a.c", tmp_path / "liba.a"
    part.write_text("old")
    update(product, [part], folder=tmp_path, build=lambda: product.write_text("of old"))
    part.write_text("wrong")
    with pytest.raises(ZeroDivisionError):
        update(product, [part], folder=tmp_path, build=lambda: 1 / 0)
    part.write_text("old")
    update(product, [part], folder=tmp_path, build=lambda: product.write_text("of old again"))
    assert product.read_text() == "of old again"


def test_what_is_linked_is_known_to_the_modules():
    """A library of other contents is another module: every C file counts, that of the dispatch too."""
    assert {"csrc/isa.c", "csrc/dispatch.c", "csrc/layer.inc", "csrc/tuning.h"} <= set(build_settings()["C_PARTS"])
