"""NetCDF files of studies: complete or absent, verified when they are read, and of one study each."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from chaosphere.common import checks, files
from chaosphere.common.config import configuration
from chaosphere.common.contexts import contextmanager
from chaosphere.simulation.identity import differences, identify

_MARK = b"\nSHA-256 of all before this line: "
_NOTE = {"checksum": "SHA-256 at the end of the file"}  # an attribute, so that an end which is lost is missed


def require() -> None:
    """Raise ImportError unless NetCDF files can be written here; called before long work."""
    for module in ("xarray", "h5netcdf", "h5py"):
        checks.extra(module, "io")


def save(dataset: Any, path: str | os.PathLike[str]) -> None:
    """Write an xarray.Dataset as NetCDF, so that the file is complete or what it was before.

    Facts about this installation go into the attribute `configuration`. The file ends with the SHA-256 of all that is
    before it, which `load` verifies and other readers leave alone; for them, arrays of numbers carry checksums.

    Parameters
    ----------
    dataset : xarray.Dataset
    path : path

    Raises
    ------
    ImportError
        If xarray, h5netcdf or h5py is not installed.
    OSError
        If the file cannot be written, such as on a full disk.

    Notes
    -----
    The file is put together in memory. `locked` keeps other processes from writing it.
    """
    require()
    target = files.local(path, "path")
    dataset = dataset.assign_attrs(_NOTE, configuration=json.dumps(configuration()))
    arrays = [name for name, array in dataset.variables.items() if array.ndim and array.size]
    summed = {name: {"fletcher32": True} for name in arrays if dataset[name].dtype.kind in "biuf"}
    # HDF5 that fails to write a file cannot close it either, and crashes later.
    buffer = io.BytesIO()
    dataset.to_netcdf(buffer, engine="h5netcdf", encoding=summed)
    content = buffer.getvalue()

    def write(stream: BinaryIO) -> None:
        stream.write(content)
        stream.write(_MARK + _digest(content))

    try:
        with files.Lock(target.with_name(target.name + ".tmp"), "file"):
            files.replace(target, write)
    except files.InUseError:
        raise
    except OSError as error:
        raise OSError(error.errno, f"{target} could not be written ({error.strerror})") from error


def load(path: str | os.PathLike[str]) -> Any:
    """Read a dataset that `save` wrote, all into memory, and close the file.

    Raises
    ------
    ImportError
        If xarray, h5netcdf or h5py is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If the file is damaged, or is not NetCDF.

    Notes
    -----
    A file without its SHA-256, as version 0.1.0 wrote it or as other programs leave it, is read with a warning.
    """
    require()
    target = files.local(path, "path")
    content = target.read_bytes()
    content, end = content[: -len(_MARK) - 64], content[-len(_MARK) - 64 :]
    has_mark, has_digest = end.startswith(_MARK), end.endswith(_digest(content))
    try:
        if has_mark != has_digest:
            raise ValueError("it does not agree with its checksum")
        dataset = checks.extra("xarray", "io").load_dataset(
            io.BytesIO(content if has_mark else content + end), engine="h5netcdf"
        )
        if _NOTE.keys() & dataset.attrs.keys() and not has_mark:
            raise ValueError("its checksum is lost")
    except Exception as error:  # whatever the libraries raise for a broken file
        raise ValueError(
            f"{target} is damaged, or is not NetCDF ({str(error) or type(error).__name__}); remove it and run again, "
            "or bring back a copy"
        ) from error
    if not has_mark:
        warnings.warn(
            f"{target} has no checksum, as version 0.1.0 wrote it: not all damage can be noticed", stacklevel=2
        )
    for name in _NOTE:
        dataset.attrs.pop(name, None)
    return dataset


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def identity(parameters: Mapping[str, Any], sequence: np.random.SeedSequence) -> str:
    """Return what decides the numbers of a study, its parameters and its seed, as JSON."""
    return json.dumps(identify(parameters, sequences=[sequence], with_installation=False))


def resume(path: str | os.PathLike[str] | None, identity: str) -> Any:
    """Return the dataset in a file, None if there is none yet; the attribute `identity` says which study it is.

    Raises
    ------
    ValueError
        If the file is damaged or holds another study; the message names the parameters that differ.
    """
    target = None if path is None else files.local(path, "store")
    if target is None or not target.exists():
        return None
    dataset = load(target)
    stored = dataset.attrs.get("identity")
    if stored != identity:
        raise ValueError(
            f"{target} holds another study ({study_differences(stored, identity)}); remove it or name another "
            "place (on the command line: --out)"
        )
    return dataset


def study_differences(stored: Any, identity: str) -> str:
    """Return in which parameters two studies differ, as text: "model.depth is 8, not 16; ..."."""
    try:
        return differences(_parameters(json.loads(stored)), _parameters(json.loads(identity)))
    except (TypeError, ValueError):
        return "it does not say of which"


def _parameters(study: Any) -> dict[str, Any]:
    """Return the values of an identity by the path of their names; one that is the same in all cases stands once."""
    values: dict[str, list[Any]] = {}

    def visit(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                visit(inner, f"{path}.{key}" if path else ("seed" if key == "entropy" else key))
        elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
            for inner in value:
                visit(inner, path)
        elif value not in values.setdefault(path, []):
            values[path].append(value)

    visit(study, "")
    return {path: inner[0] if len(inner) == 1 else inner for path, inner in values.items()}


@contextmanager
def locked(store: str | os.PathLike[str] | None, identity: str) -> Iterator[tuple[Path | None, Any]]:
    """Hold the NetCDF file of an experiment for this process, and yield its path and what it holds so far.

    Parameters
    ----------
    store : path or None
        None, for an experiment that keeps no file, yields (None, None).
    identity : str
        The study, as JSON; see `resume`.

    Raises
    ------
    ValueError
        If the file cannot be written, or holds another study.
    OSError
        If another process writes it.
    """
    if store is None:
        yield None, None
        return
    require()
    path = files.local(store, "store")
    files.check_writable(path, "store")
    with files.Lock(path, "file"):
        yield path, resume(path, identity)
