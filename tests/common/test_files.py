"""Paths, locks and files that are whole or absent."""

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.programs import run, started

from chaosphere.common import checks, files

HOLD = """
import sys, time
from pathlib import Path
from chaosphere.common import checks, files
with files.Lock(Path(sys.argv[1]), "store"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path):
    """A path, and a process that holds its lock."""
    path = tmp_path / "s.zarr"
    with started([sys.executable, "-c", HOLD, path]) as process:
        assert process.stdout.readline() == "held\n"
        yield path, process


def test_home_and_links_are_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert files.local("~/run.nc", "out") == tmp_path / "run.nc"
    assert files.local(Path("~/link"), "out") == tmp_path / "target"


@pytest.mark.parametrize("path", ["s3://bucket/run.zarr", Path("s3://bucket/run.zarr"), "file:///tmp/x", "gs://b"])
def test_urls_are_refused(path):
    with pytest.raises(ValueError, match=r"store must be a path on this machine, got the URL"):
        files.local(path, "store")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"x", TypeError),
        (3, TypeError),
        (None, TypeError),
        ("", ValueError),
        ("a\0b", ValueError),
        ("~nobody9/x", ValueError),
    ],
)
def test_what_is_no_path_is_refused(path, kind):
    with pytest.raises(kind, match="store must be a path"):
        files.local(path, "store")


def test_a_relative_path_needs_a_current_folder(tmp_path):
    """The folder is that of a process, which removes it: local() says so, and takes absolute paths as before."""
    code = (
        "import os, sys\nfrom chaosphere.common import files\nos.chdir(sys.argv[1])\nos.rmdir(sys.argv[1])\n"
        "assert str(files.local('/x/y', 'store')) == '/x/y'\n"
        "for path in ('run.nc', '../run.nc', '.'):\n"
        "    try:\n"
        "        print(files.local(path, 'store'))\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    (tmp_path / "gone").mkdir()
    said = run(code, str(tmp_path / "gone")).splitlines()
    assert len(said) == 3
    for path, line in zip(("run.nc", "../run.nc", "."), said, strict=True):
        assert line.startswith(f"store must be a path, got '{path}', which is relative, and the current folder does ")


def test_a_path_that_cannot_be_followed(monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os.path, "realpath", refused)
    with pytest.raises(ValueError, match="store must be a path, got 'x', which cannot be followed: Permission denied"):
        files.local("x", "store")


def test_replace_follows_links(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    files.replace(link, lambda stream: stream.write(b"new"))
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail(stream):
        stream.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.replace(path, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_bytes() == b"old"


def test_a_folder_is_complete_or_absent(tmp_path):
    path = tmp_path / "x"

    def fill(folder):
        folder.mkdir()
        (folder / "a").write_text("half")
        assert not path.exists()

    def fail(folder):
        fill(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.create_folder(path, fail)
    assert list(tmp_path.iterdir()) == []
    files.create_folder(path, fill)
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["x", "x/a"]


def test_places_that_cannot_be_written_are_found(tmp_path):
    (tmp_path / "f").touch()
    files.check_writable(tmp_path / "new" / "x.nc", "out")
    assert list((tmp_path / "new").iterdir()) == []
    for path in (tmp_path / "f" / "x.nc", tmp_path / ("n" * 300), tmp_path / "new"):
        with pytest.raises(ValueError, match="out: "):
            files.check_writable(path, "out")


def test_what_is_beside_a_path_that_is_tried_stays(tmp_path):
    """A file, a link to nothing and a folder, each of which had the name of the trial."""
    user, link, folder = (tmp_path / f"{name}.writable" for name in ("file", "link", "folder"))
    user.write_text("mine")
    link.symlink_to(tmp_path / "nothing")
    folder.mkdir()
    for path in (user, link, folder):
        for is_store in (False, True):
            files.check_writable(path.with_suffix(""), "store", is_store=is_store)
    assert set(tmp_path.iterdir()) == {link, user, folder}
    assert user.read_text() == "mine"


def test_names_made_from_one_that_can_be_written_can_be_written(tmp_path):
    path = tmp_path / ("n" * 246)
    files.check_writable(path, "out")
    path.with_name(path.name + ".previous").touch()
    with pytest.raises(ValueError, match="File name too long"):
        files.check_writable(tmp_path / ("n" * 247), "out")


def test_a_lock_keeps_others_out_and_names_its_holder(lock):
    path, process = lock
    with pytest.raises(files.InUseError, match=rf"store .*s.zarr is in use by process {process.pid} on .* since 20"):
        files.Lock(path, "store").__enter__()


def test_the_lock_of_a_killed_process_is_no_lock(lock):
    path, process = lock
    process.kill()
    process.wait()
    left = path.with_name("s.zarr.lock")
    assert left.exists()
    with files.Lock(path, "store"):
        assert json.loads(left.read_text())["pid"] == os.getpid()
    assert not left.exists()


def test_a_file_with_the_name_of_a_lock_stays(tmp_path):
    user = tmp_path / "x.lock"
    own = '{"pid": 7, "host": "a", "since": "2026-01-01T00:00:00+00:00"}'
    for content in ("mine", '{"packages": []}', "\0" * 8 + "mine", '{"pid": 7, "my": 1}', f"{own}\n", own + " " * 2000):
        user.write_text(content)
        with pytest.raises(ValueError, match=r"store .*x needs x.lock beside it as its lock, and that is a file of an"):
            files.Lock(tmp_path / "x", "store").__enter__()
        assert user.read_text() == content


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_has_the_name_of_a_lock(tmp_path, kind):
    make = {"folder": Path.mkdir, "link": lambda path: path.symlink_to(tmp_path / "other"), "pipe": os.mkfifo}
    make[kind](tmp_path / "x.lock")
    with pytest.raises(ValueError, match=r"x needs x.lock beside it as its lock, and that is a file of another kind"):
        files.Lock(tmp_path / "x", "store").__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\0" * 80,
        '{"pid',
        '{"pid": 3',
        '{"pid": 3, "ho',
        '{"pid": 3, "host": "a-b.c',
        '{"pid": 3, "host": "a", "since": "20\0\0',
    ],
)
def test_a_lock_that_was_cut_short_is_no_lock(tmp_path, content):
    (tmp_path / "x.lock").write_text(content)
    with files.Lock(tmp_path / "x", "store"):
        assert json.loads((tmp_path / "x.lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_not_shared_within_a_process(tmp_path):
    with files.Lock(tmp_path / "x", "checkpoint"), pytest.raises(files.InUseError, match=str(os.getpid())):
        files.Lock(tmp_path / "x", "checkpoint").__enter__()


def test_many_processes_take_turns_at_a_lock(tmp_path):
    """Each adds one to a number under the lock; without it some additions would be lost."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom chaosphere.common import files\npath = Path(sys.argv[1])\n"
        "for _ in range(30):\n"
        "    with files.Lock(path, 'file'):\n"
        "        path.write_text(str(int(path.read_text()) + 1))\n"
    )
    path = tmp_path / "number"
    path.write_text("0")
    with ExitStack() as stack:
        processes = [stack.enter_context(started([sys.executable, "-c", code, path])) for _ in range(3)]
        assert [process.wait() for process in processes] == [0, 0, 0]
    assert path.read_text() == "90"


@pytest.mark.parametrize("name", ["", ".zarray", "..", "a/b", "a\\b", "a\nb", " a", "a\0", "\ud800", "é" * 101])
def test_names_that_no_folder_can_have(name):
    with pytest.raises(ValueError, match="a name in observe must be a printable name"):
        checks.dataset_names({name: 0}, others=())
    with pytest.raises(TypeError, match=r"a name in observe must be a name, a str, got 3 \(int\)"):
        checks.dataset_names({3: 0}, others=())


@pytest.mark.parametrize(
    ("observables", "message"),
    [
        ({"e": 0, "e_mean": 0}, r"'e_mean' is observe\['e_mean'\] and the mean of observe\['e'\]"),
        ({"e_mean": 0, "e": 0}, r"'e_mean' is the mean of observe\['e'\] and observe\['e_mean'\]"),
        ({"a": 1, "a_0": 0}, r"'a_0' is observe\['a_0'\] and axis 0 of observe\['a'\]"),
        ({"x": 0}, r"'x' is observe\['x'\] and another part of the dataset"),
        ({"beta": 2}, r"'beta_1' is axis 1 of observe\['beta'\] and another part"),
    ],
)
def test_two_parts_of_a_dataset_do_not_share_a_name(observables, message):
    with pytest.raises(ValueError, match=message):
        checks.dataset_names(observables, others=("x", "beta_1"), suffixes=("_mean",))


def test_other_names_are_taken():
    checks.dataset_names({"e": 2, "e_mean": 1, "e_2": 0, "énergie libre": 0, "a.b": 0}, others=("x", "time"))
