"""Paths, locks, and files that are complete or absent, and stay so if the power fails."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
import time as clock
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from chaosphere.common import messages
from chaosphere.common.contexts import contextmanager

_WAIT = 2.0  # seconds: longer than the workers of a process that was killed live on
_IMPOSSIBLE = {  # what the system says of a path at which there is nothing and nothing can be written
    errno.ENAMETOOLONG: "it, or a name in it, is too long",
    errno.ENOTDIR: "a part of it is a file, not a folder",
    errno.ELOOP: "its symbolic links form a circle",
}
# What a lock file holds: these bytes, and in turn what the expressions between them match.
_LOCK = (b'{"pid": ', rb"\d*", b', "host": "', rb'[^"]*', b'", "since": "', rb"[-+:T\d]*", b'"}')
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class InUseError(OSError):
    """Another process writes to this file or store."""


def local(path: Any, name: str) -> Path:
    """Return a path of the local file system: `~` is expanded and symbolic links are followed.

    Every path that a user names goes through here once, so that what is written and what is read are one file.

    Raises
    ------
    TypeError, ValueError
        If it is not a path, is empty, is a URL, which nothing here can write, or is a path that no file can have: it is
        too long, a file stands where it has a folder, or its symbolic links form a circle. Also if it is relative to
        the current folder, and that has been removed.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{name} must be a path, got {messages.shown(path)}; pass a str or an os.PathLike of str")
    text = os.fspath(path)
    if not text or "\0" in text:
        raise ValueError(
            f"{name} must be a path that is not empty and has no null character, got {messages.shown(text)}"
        )
    # pathlib joins the slashes of a URL: Path("s3://bucket") is "s3:/bucket".
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise ValueError(
            f"{name} must be a path on this machine, got the URL {messages.shown(text)}; only local files can "
            "be written"
        )
    try:
        target = Path(os.path.realpath(Path(text).expanduser()))
        problem = _problem(target)
    except (RuntimeError, UnicodeEncodeError) as error:  # ~somebody; half of a surrogate pair
        raise ValueError(f"{name} must be a path, got {messages.shown(text)}: {error}") from None
    except FileNotFoundError as error:  # of a relative path: there is nothing that it could be relative to
        raise ValueError(
            f"{name} must be a path, got {messages.shown(text)}, which is relative, and the current folder does not "
            "exist; go to another folder, or pass an absolute path"
        ) from error
    except OSError as error:
        raise ValueError(
            f"{name} must be a path, got {messages.shown(text)}, which cannot be followed: {error.strerror or error}"
        ) from error
    if problem:
        raise ValueError(f"{name} must be a path that a file can have, got {messages.shown(text)}: {problem}")
    return target


def _problem(target: Path) -> str:
    """Return why no file can have a path; nothing where one is, or could be."""
    try:
        target.stat()
    except OSError as error:
        return _IMPOSSIBLE.get(error.errno or 0, "")
    return ""


def check_writable(path: Path, name: str, *, is_store: bool = False) -> None:
    """Make the folder of a file that will be written, and try to write a file there; called before long work.

    Parameters
    ----------
    path : Path
    name : str
        Of the argument, for errors.
    is_store : bool
        A folder will be written, not a file.

    Raises
    ------
    ValueError
        If a folder stands in the place of the file, or the file's name or folder cannot be written.
    """
    try:
        if path.is_dir() and not is_store:
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name that no file has: those beside the path are the user's, or of another process that tries as well. Nine
        # letters more than the path's, as have the longest names that are made from it.
        descriptor, trial = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
        os.close(descriptor)
        os.unlink(trial)
    except OSError as error:
        raise ValueError(f"{name}: {path} cannot be written ({error.strerror or error}); name another place") from error


def replace(path: Path, write: Callable[[BinaryIO], object], *, previous: Path | None = None) -> None:
    """Write a file so that `path` holds either the old bytes or all of the new ones, whenever the process dies.

    Parameters
    ----------
    path : Path
        A symbolic link is followed: it stays, and the file that it names is replaced.
    write : callable
        Writes the bytes to the open stream that it is given.
    previous : Path, optional
        Name under which the old file is kept. Killed between the two renames, `path` is absent and `previous` complete.

    Raises
    ------
    OSError
        If the bytes cannot be written, such as on a full disk; `path` then is what it was.
    """
    with _renamed_to(Path(os.path.realpath(path)), previous=previous) as temporary, temporary.open("wb") as stream:
        write(stream)
        stream.flush()
        os.fsync(stream.fileno())


def create_folder(path: Path, fill: Callable[[Path], object], *, previous: Path | None = None) -> None:
    """Make a folder so that `path` is absent or holds all that belongs to it, whenever the process dies.

    Parameters
    ----------
    path : Path
        Absent so far, where there is no `previous`.
    fill : callable
        Makes the folder whose path it is given, and writes what is in it.
    previous : Path, optional
        Name under which the old folder is kept. Killed between the two renames, `path` is absent and `previous`
        complete.

    Raises
    ------
    OSError
        If it cannot be written, such as on a full disk; `path` then is what it was.
    """
    with _renamed_to(path, previous=previous) as temporary:
        fill(temporary)
        for part in (*temporary.rglob("*"), temporary):
            _sync_where_possible(part)


@contextmanager
def _renamed_to(path: Path, *, previous: Path | None = None) -> Iterator[Path]:
    """Yield a temporary name beside a path; what was written there is renamed, or removed after an error."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        raise
    _sync_where_possible(path.parent)


def sync(path: Path) -> None:
    """Force a file that another library has written and renamed, and its name, to disk."""
    _sync(path)
    _sync_where_possible(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_where_possible(path: Path) -> None:
    """Force the names in a folder or the bytes of a file to disk; some file systems cannot do that for folders."""
    with suppress(OSError):
        _sync(path)


class Lock:
    """While entered, no other process (or other lock in this one) can enter a lock of the same path.

    The lock is a file beside the path, `path` + ".lock", which names its holder. The operating system holds it for the
    process, so that it ends with the process however that ends: a file that a killed process left behind locks nothing.

    Parameters
    ----------
    path : Path
        Of what is protected; a file, a folder, or nothing yet.
    name : str
        What to call it in the error: "checkpoint", "store".

    Raises
    ------
    InUseError
        On entering, if another process holds it and does not let go within two seconds.
    ValueError
        On entering, if a file that is no lock, not even one cut short as the power failed, has the name of the lock.

    Notes
    -----
    On a file system without locks a warning is given in their place.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.file = path.with_name(path.name + ".lock")
        self._descriptor = -1

    def __enter__(self) -> Self:
        end = clock.monotonic() + _WAIT
        while True:
            self._check_kind()
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                if self._try(descriptor):
                    if not _is_lock(os.pread(descriptor, 1000, 0)) or os.fstat(descriptor).st_size > 1000:
                        raise self._other_kind()
                    self._descriptor = descriptor
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, json.dumps(_holder()).encode())
                    return self
                if clock.monotonic() > end:
                    raise InUseError(
                        f"{self.name} {self.path} is in use by {_text(descriptor)}; wait for it, stop it, or give "
                        "another name"
                    )
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            clock.sleep(0.05)

    def _check_kind(self) -> None:
        """Raise ValueError if a folder, a link or another thing that is no file has the name of the lock."""
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(self.file).st_mode):
                raise self._other_kind()

    def _other_kind(self) -> ValueError:
        return ValueError(
            f"{self.name} {self.path} needs {self.file.name} beside it as its lock, and that is a file of another "
            "kind; move it, or give another name"
        )

    def _try(self, descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                f"{self.name} {self.path}: this file system has no locks; see that one process at a time writes it",
                stacklevel=4,
            )
            return True
        # The holder before may have removed the file between our opening and our locking it.
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self.file.stat())
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.unlink(missing_ok=True)
        os.close(self._descriptor)


def _holder() -> dict[str, Any]:
    import socket  # takes long to import

    return {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _is_lock(content: bytes) -> bool:
    """Whether this is what a lock holds. After a power failure it may be cut short, or end in zeros."""
    left = content.rstrip(b"\0")
    for k, part in enumerate(_LOCK):
        if k % 2:
            matched = re.match(part, left)
            left = left[matched.end() :] if matched else left
        elif part.startswith(left):  # cut short, or the end
            return True
        elif left.startswith(part):
            left = left[len(part) :]
        else:
            return False
    return False


def _text(descriptor: int) -> str:
    """Return who wrote a lock file."""
    try:
        holder = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
