"""setup.py builds what changed: contents decide, not dates."""

import ast
import os

import pytest
from support.builds import build_settings, setup_tree


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


def modules(folder, *, contents, date):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        path = folder / f"m{number}.so"
        path.write_text(contents)
        os.utime(path, (date, date))
    return folder


@pytest.mark.parametrize("is_folder", [False, True])
def test_modules_of_other_settings_replace_newer_ones(tmp_path, is_folder):
    """Those without OpenMP were compiled last; a build with it puts its own, older ones in their place."""
    with_openmp = modules(tmp_path / "compiled", contents="with", date=1e9)
    here = modules(tmp_path / "here", contents="without", date=2e9)
    copy = build_settings()["copy_changed"]
    if is_folder:
        copy(with_openmp, here)
    else:
        for path in with_openmp.iterdir():
            copy(path, here / path.name)
    assert [path.read_text() for path in here.iterdir()] == ["with", "with"]
    os.utime(here / "m0.so", (3e9, 3e9))
    copy(with_openmp, here)
    assert (here / "m0.so").stat().st_mtime == 3e9  # it is the same: nothing is written
    copy(with_openmp, tmp_path / "new" / "place")
    assert sorted(path.name for path in (tmp_path / "new" / "place").iterdir()) == ["m0.so", "m1.so"]


def test_the_build_copies_by_contents_alone():
    """setuptools would compare dates: nothing is copied by its methods."""
    (build,) = (node for node in setup_tree().body if isinstance(node, ast.ClassDef) and node.name == "BuildExt")
    methods = {node.name: ast.unparse(node) for node in build.body if isinstance(node, ast.FunctionDef)}
    assert "copy_changed(infile, outfile)" in methods["copy_file"]
    assert "copy_changed(compiled, target)" in methods["run"]
    assert "copy_tree" not in ast.unparse(build)


def test_other_directives_write_the_c_files_anew(tmp_path):
    """As after a build with CHAOSPHERE_DEBUG=1; and after one that failed."""
    write_anew, stamp, forced = build_settings()["write_anew"], tmp_path / "build" / "cython.txt", []

    def write(*, force):
        forced.append(force)

    for settings in ("debug", "debug", "release", "release"):
        write_anew(settings, stamp=stamp, write=write)
    assert forced == [True, False, True, False]
    with pytest.raises(ZeroDivisionError):
        write_anew("debug", stamp=stamp, write=lambda force: 1 / 0)
    write_anew("release", stamp=stamp, write=write)
    assert forced[-1]


def test_what_is_linked_is_known_to_the_modules():
    """A library of other contents is another module: every C file counts, that of the dispatch too."""
    assert {"csrc/isa.c", "csrc/dispatch.c", "csrc/layer.inc", "csrc/tuning.h"} <= set(build_settings()["C_PARTS"])
