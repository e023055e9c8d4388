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
import itertools
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks, files
from chaosphere.common.checks import Floats
from chaosphere.common.config import configuration
from chaosphere.common.contexts import contextmanager
from chaosphere.ensembles.sweep import HITTING_TIMES
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
        files.check_writable(self.path, "store", is_store=True)
        with ExitStack() as stack:
            try:
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
    ) -> bool:
        """Create the group, or open one that holds the same study; the caller holds the lock of the path.

        A group of fewer seeds gets room for the others, and keeps what it holds.

        Parameters
        ----------
        identity : dict
            JSON-able facts that decide the results.
        layout : Layout

        Returns
        -------
        bool
            Whether the group held fewer seeds.

        Raises
        ------
        ValueError
            If the path holds something else, another study, or one that is damaged.
        OSError
            If the group cannot be written, such as on a full disk.
        """
        identity = json.loads(json.dumps(identity))
        if not self.path.exists() and self._replaced.exists():  # killed between two renames of `_extend`
            self._replaced.replace(self.path)
        if not self.path.exists():
            self._create(identity, layout)
        stored = self._open("r+")
        if stored is None:
            raise ValueError(f"store {self.path} exists and is not a store; remove it or give another name")
        shutil.rmtree(self._replaced, ignore_errors=True)
        is_more = set(identity["seeds"]) > set(stored["seeds"])
        mismatch = differences(stored | {"seeds": identity["seeds"]} if is_more else stored, identity)
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
        if is_more:
            self._extend(identity, layout)
        return is_more

    @property
    def _replaced(self) -> Path:
        """Where the group is while a larger one takes its place."""
        return self.path.with_name(self.path.name + ".replaced")

    def _extend(self, identity: dict[str, Any], layout: Layout) -> None:
        """Put a group with more seeds in the place of this one, with the members that are there."""
        finished, arrays = list(self._finished_batches()), self._arrays
        seeds = layout.coordinates["seed"][1].tolist()
        places = np.array([seeds.index(seed) for seed in arrays["seed"][...].tolist()])

        def fill(folder: Path) -> None:
            self._fill(folder, identity, layout=layout)
            group = self._arrays_in(folder, "r+")
            for name in layout.variables:
                for point, replicas in finished:
                    group[name].oindex[(*point, places[replicas])] = self._chunk(name, (point, replicas))
            for point, replicas in finished:
                group["finished"].oindex[(*point, places[replicas])] = np.int8(1)

        try:
            files.create_folder(self.path, fill, previous=self._replaced)
        except OSError as error:
            raise OSError(error.errno, f"store {self.path} could not be extended ({error.strerror})") from error
        shutil.rmtree(self._replaced, ignore_errors=True)
        self._open("r+")
        for _ in self._finished_batches():
            pass

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
        point, replicas = batch
        try:
            for part in self._chunks(batch):
                own = slice(part.start - replicas.start, part.stop - replicas.start)
                for name, array in values.items():
                    self._write_chunk(name, (point, part), values=array[own])
                self._write_chunk("finished", (point, part), values=np.int8(1))
                self._flags[(*point, part)] = 1
        except OSError as error:
            raise OSError(
                error.errno,
                f"store {self.path} could not be written ({error.strerror}); it keeps {self.n_finished()} runs, "
                "and the same call again continues from there",
            ) from error

    def _chunks(self, batch: Batch) -> list[slice]:
        """Return the replicas of a batch, cut where chunks end."""
        size, (_, replicas) = self._arrays["finished"].chunks[-1], batch
        cuts = [*range(replicas.start + size - replicas.start % size, replicas.stop, size), replicas.stop]
        return [slice(a, b) for a, b in itertools.pairwise([replicas.start, *cuts])]

    def _write_chunk(self, name: str, batch: Batch, *, values: Any) -> None:
        if not self._flags[(*batch[0], self._chunk_of(batch))].any():
            self._file(name, batch).unlink(missing_ok=True)  # what a killed writer left, which may be damaged
        self._arrays[name][(*batch[0], batch[1])] = values
        # Zarr renames a finished file; a disk may still order that after the flag, unless this one forces it.
        files.sync(self._file(name, batch))

    def _file(self, name: str, batch: Batch) -> Path:
        array = self._arrays[name]
        at = [*batch[0], batch[1].start // array.chunks[len(batch[0])]]
        return self.path / name / ".".join(map(str, at + [0] * (array.ndim - len(at))))

    def _chunk_of(self, batch: Batch) -> slice:
        """Return the replicas of the chunk that a part of a batch is in."""
        size = self._arrays["finished"].chunks[-1]
        start = batch[1].start - batch[1].start % size
        return slice(start, start + size)

    def unfinished(self, batch: Batch) -> list[Batch]:
        """Return the parts of a batch that are not there."""
        point, replicas = batch
        return [
            (point, slice(replicas.start + a, replicas.start + b))
            for a, b in _runs(self._flags[(*point, replicas)] != 1)
        ]

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
        if not self.path.exists() and os.path.exists(self._replaced):  # whose name may be too long to exist
            return Store(self._replaced).read()
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
        for name in [*identity["observe"], *([HITTING_TIMES] if "until" in identity else [])]:
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
        self._arrays = self._arrays_in(self.path, mode)
        return identity

    def _arrays_in(self, path: Path, mode: str) -> dict[str, Any]:
        with self._zarr.config.set({"array.write_empty_chunks": True}):  # a chunk that is not there is damage
            return dict(self._zarr.open_group(path, mode=mode, zarr_format=2, use_consolidated=False).arrays())

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
        """Read the flags, and yield the parts of chunks that have theirs up."""
        flags = self._arrays["finished"]
        self._flags = np.zeros(flags.shape, dtype=np.int8)
        size, n_replicas = flags.chunks[-1], flags.shape[-1]
        for point in np.ndindex(flags.shape[:-1]):
            for start in range(0, n_replicas, size):
                batch: Batch = point, slice(start, min(start + size, n_replicas))
                if self._file("finished", batch).exists():
                    self._flags[(*point, batch[1])] = self._chunk("finished", batch)
                    for a, b in _runs(self._flags[(*point, batch[1])] == 1):
                        yield point, slice(start + a, start + b)

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


def _runs(flags: Any) -> list[tuple[int, int]]:
    """Return where runs of true flags start and stop."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _digest(attributes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(attributes), sort_keys=True).encode()).hexdigest()
