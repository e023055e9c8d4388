"""A Zarr group that holds the members of an ensemble and grows while they run.

Every array of results has one chunk per batch of members. Chunks are written to temporary names, renamed and forced to
disk; a member's flag in `finished` is raised after all its results are there, so a reader may open the group at any
time, and a killed writer or a power failure leaves nothing that the next one trusts wrongly.

Every chunk ends with its CRC-32C. The files that are written once, which say what the chunks are, have their SHA-256 in
the attributes of the group, and those attributes have their own. What does not agree is refused, with the name of the
file and what to do.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks, files
from chaosphere.common.checks import Floats
from chaosphere.common.config import configuration
from chaosphere.simulation.identity import differences

Batch = tuple[tuple[int, ...], slice]  # indices of the parameter point, and which replicas
Coordinate = tuple[tuple[str, ...], np.ndarray[Any, Any]]  # dimensions, values
Variable = tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], np.dtype[Any]]  # dimensions, shape, chunks, dtype

_CODECS = {"zstd", "blosc", "zlib", "lz4", "crc32c"}  # numbers in, numbers out: none can hold objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The arrays of a group.

    Attributes
    ----------
    coordinates : mapping of name to (dims, values)
    variables : mapping of name to (dims, shape, chunks, dtype)
    """

    coordinates: Mapping[str, Coordinate]
    variables: Mapping[str, Variable]


class Store:
    """Results on disk, addressed by batch; see the module.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zarr = checks.extra("zarr", "store")
        self._arrays: dict[str, Any] = {}
        self._attributes: dict[str, str] = {}
        self._flags: Any = None  # as this process knows them
        self._has_checksums = False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """While entered, no other process writes this store or the checkpoints beside it.

        Raises
        ------
        InUseError
            If another process does.
        ValueError
            If the folder that the store is in cannot be written.
        """
        with ExitStack() as stack:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(files.Lock(self.path, "store"))
            except files.InUseError:
                raise
            except OSError as error:
                raise ValueError(
                    f"store: {self.path} cannot be written ({error.strerror or error}); name another place"
                ) from error
            yield

    def open(
        self,
        identity: dict[str, Any],
        layout: Layout,
    ) -> None:
        """Create the group, or open one that holds the same study; the caller holds the lock of the path.

        Parameters
        ----------
        identity : dict
            JSON-able facts that decide the results.
        layout : Layout

        Raises
        ------
        ValueError
            If the path holds something else, another study, or one that is damaged.
        OSError
            If the group cannot be written, such as on a full disk.
        """
        identity = json.loads(json.dumps(identity))
        if not self.path.exists():
            self._create(identity, layout)
        stored = self._open("r+")
        if stored is None:
            raise ValueError(f"store {self.path} exists and is not a store; remove it or give another name")
        mismatch = differences(stored, identity)
        if mismatch:
            raise ValueError(f"store {self.path} holds another study: {mismatch}; remove it or give another name")
        if not self._has_checksums:
            raise ValueError(
                f"store {self.path} has no checksums, as an earlier version wrote it, and is not added to: "
                "load_ensemble reads it; remove it or give another name to run the study again"
            )
        for batch in self._finished_batches():
            for name in layout.variables:
                self._chunk(name, batch)

    def _create(self, identity: dict[str, Any], layout: Layout) -> None:
        try:
            files.create_folder(self.path, lambda folder: self._fill(folder, identity, layout=layout))
        except OSError as error:
            raise OSError(error.errno, f"store {self.path} could not be written ({error.strerror})") from error

    def _fill(self, folder: Path, identity: dict[str, Any], *, layout: Layout) -> None:
        codecs = checks.extra("numcodecs", "store")
        # The checksum is of the packed bytes, so that a damaged chunk is never unpacked.
        packed = {"filters": [codecs.Zstd(level=0), codecs.CRC32C()], "compressors": None}
        group = self._zarr.open_group(folder, mode="w", zarr_format=2)
        for name, (dims, values) in layout.coordinates.items():
            array = group.create_array(name, shape=values.shape, dtype=values.dtype, fill_value=None, **packed)
            array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
            array[...] = values
        for name, (dims, shape, chunks, dtype) in layout.variables.items():
            array = group.create_array(name, shape=shape, chunks=chunks, dtype=dtype, fill_value=np.nan, **packed)
            array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
            array.attrs["coordinates"] = "seed"
        dims, shape, chunks, _ = next(iter(layout.variables.values()))
        n_axes = dims.index("replica") + 1
        flags = group.create_array(
            "finished", shape=shape[:n_axes], chunks=chunks[:n_axes], dtype=np.int8, fill_value=0, **packed
        )
        flags.attrs["_ARRAY_DIMENSIONS"] = list(dims[:n_axes])
        attributes = {"configuration": json.dumps(configuration()), "identity": json.dumps(identity)}
        constant = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / ".zattrs")
        attributes["files_sha256"] = json.dumps(
            {file.relative_to(folder).as_posix(): _sha256(file) for file in constant}
        )
        group.attrs.update(attributes | {"attributes_sha256": _digest(attributes)})

    def write(self, batch: Batch, values: Mapping[str, Floats]) -> None:
        """Write the results of a batch, then raise its flags.

        Raises
        ------
        OSError
            If they cannot be written, such as on a full disk; the batches before are kept.
        """
        try:
            for name, array in values.items():
                self._write_chunk(name, batch, values=array)
            self._write_chunk("finished", batch, values=np.int8(1))
        except OSError as error:
            raise OSError(
                error.errno,
                f"store {self.path} could not be written ({error.strerror}); it keeps {self.n_finished()} runs, "
                "and the same call again continues from there",
            ) from error
        self._flags[(*batch[0], batch[1])] = 1

    def _write_chunk(self, name: str, batch: Batch, *, values: Any) -> None:
        self._arrays[name][(*batch[0], batch[1])] = values
        # Zarr renames a finished file; a disk may still order that after the flag, unless this one forces it.
        files.sync(self._file(name, batch))

    def _file(self, name: str, batch: Batch) -> Path:
        array = self._arrays[name]
        at = [*batch[0], batch[1].start // array.chunks[len(batch[0])]]
        return self.path / name / ".".join(map(str, at + [0] * (array.ndim - len(at))))

    def is_finished(self, batch: Batch) -> bool:
        """Whether all members of a batch are there."""
        return bool(np.all(self._flags[(*batch[0], batch[1])] == 1))

    def n_finished(self) -> int:
        """Return the number of members that are there."""
        return int((self._flags == 1).sum())

    def read(self) -> Any:
        """Return the dataset, read into memory, as it is now; results of unfinished members are NaN.

        Raises
        ------
        ValueError
            If there is no store at the path, or it is damaged.
        """
        xarray = checks.extra("xarray", "io")
        identity = self._open("r")
        if identity is None:
            raise ValueError(f"store {self.path} is not there, or is not a store")
        if not self._has_checksums:
            warnings.warn(
                f"store {self.path} has no checksums, as an earlier version wrote it: damage cannot be noticed",
                stacklevel=3,
            )
        # Flags first: whatever a writer adds meanwhile then counts as not finished.
        batches = list(self._finished_batches())
        dims = {name: tuple(array.attrs["_ARRAY_DIMENSIONS"]) for name, array in self._arrays.items()}
        variables = {}
        for name in identity["observe"]:
            values = np.full(self._arrays[name].shape, np.nan, self._arrays[name].dtype)
            for batch in batches:
                index: Any = (*batch[0], batch[1])
                values[index] = self._chunk(name, batch)
            variables[name] = (dims[name], values)
        coordinates = {
            name: (dims[name], self._arrays[name][...]) for name in dims if name not in variables and name != "finished"
        }
        flags = {"finished": (dims["finished"], self._flags == 1)}
        return xarray.Dataset(variables | flags, coords=coordinates, attrs=self._attributes)

    def _open(self, mode: str) -> dict[str, Any] | None:
        """Open the group once its constant files are verified, and return its identity; None if there is no store."""
        file, is_store = self.path / ".zattrs", (self.path / "finished" / ".zarray").exists()
        if not file.exists():
            if is_store:
                raise self._damaged(file, "it is missing")
            return None
        content = file.read_bytes()
        try:
            attributes = json.loads(content)
            identity: dict[str, Any] = json.loads(attributes["identity"])
            self._attributes = {name: attributes[name] for name in ("configuration", "identity")}
            self._has_checksums = "attributes_sha256" in attributes
            if self._has_checksums and attributes.pop("attributes_sha256") != _digest(attributes):
                raise ValueError("it does not agree with its checksum")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if not is_store:
                return None  # a group of somebody else's
            raise self._damaged(file, error) from error
        self._verify(json.loads(attributes["files_sha256"]) if self._has_checksums else {})
        with self._zarr.config.set({"array.write_empty_chunks": True}):  # a chunk that is not there is damage
            group = self._zarr.open_group(self.path, mode=mode, zarr_format=2, use_consolidated=False)
            self._arrays = dict(group.arrays())
        return identity

    def _verify(self, sums: Mapping[str, str]) -> None:
        for name, expected in sums.items():
            file = self.path / name
            if not file.is_file():
                raise self._damaged(file, "it is missing")
            if _sha256(file) != expected:
                raise self._damaged(file, "it does not agree with its checksum")
        for file in self.path.glob("*/.zarray"):
            try:
                header = json.loads(file.read_bytes())
                codecs = {codec["id"] for codec in [*(header["filters"] or []), header["compressor"]] if codec}
                is_plain = re.fullmatch(r"[<>|][biufU]\d+", header["dtype"]) is not None and codecs <= _CODECS
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise self._damaged(file, error) from error
            if not is_plain:  # before anything is unpacked: some codecs run what they read
                raise self._damaged(file, "it names a type or a codec that no store has")

    def _finished_batches(self) -> Iterator[Batch]:
        """Read the flags, and yield the batches that have theirs up."""
        flags = self._arrays["finished"]
        self._flags = np.zeros(flags.shape, dtype=np.int8)
        size, n_replicas = flags.chunks[-1], flags.shape[-1]
        for point in np.ndindex(flags.shape[:-1]):
            for start in range(0, n_replicas, size):
                batch: Batch = point, slice(start, min(start + size, n_replicas))
                if self._file("finished", batch).exists():
                    self._flags[(*point, batch[1])] = self._chunk("finished", batch)
                    if self.is_finished(batch):
                        yield batch

    def _chunk(self, name: str, batch: Batch) -> Any:
        """Read and verify a chunk."""
        file, flag = self._file(name, batch), self._file("finished", batch)
        remedy = f"remove {flag} and run the study again to compute its {batch[1].stop - batch[1].start} runs anew"
        if self._has_checksums and not file.exists():
            raise self._damaged(file, "it is missing", remedy=remedy)
        try:
            return self._arrays[name][(*batch[0], batch[1])]
        except OSError:
            raise
        except Exception as error:  # whatever a codec may raise
            raise self._damaged(file, error, remedy=remedy) from error

    def _damaged(
        self, file: Path, how: object, *, remedy: str = "remove the store, or bring back a copy"
    ) -> ValueError:
        return ValueError(f"store {self.path} is damaged in {file.relative_to(self.path)} ({how}); {remedy}")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _digest(attributes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(attributes), sort_keys=True).encode()).hexdigest()
