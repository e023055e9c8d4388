"""A Zarr group that holds the members of an ensemble and grows while they run.

Every array of results has one chunk per batch of members. Chunks are written to temporary names, renamed and forced to
disk; a member's flag in `finished` is raised after all its results are there, so a reader may open the group at any
time, and a killed writer or a power failure leaves nothing that the next one trusts wrongly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import checks, files
from chaosphere.checkpoints import differences
from chaosphere.checks import Floats
from chaosphere.results import configuration

Batch = tuple[tuple[int, ...], slice]  # indices of the parameter point, and which replicas
Coordinate = tuple[tuple[str, ...], np.ndarray[Any, Any]]  # dimensions, values
Variable = tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], np.dtype[Any]]  # dimensions, shape, chunks, dtype


class Store:
    """Results on disk, addressed by batch; see the module.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zarr = checks.extra("zarr", "store")
        self._group: Any = None

    def open(
        self,
        identity: dict[str, Any],
        coordinates: Mapping[str, Coordinate],
        variables: Mapping[str, Variable],
    ) -> None:
        """Create the group, or open one that holds the same study.

        Parameters
        ----------
        identity : dict
            JSON-able facts that decide the results.
        coordinates : mapping of name to (dims, values)
        variables : mapping of name to (dims, shape, chunks, dtype)

        Raises
        ------
        ValueError
            If the path holds something else, or another study.
        """
        identity = json.loads(json.dumps(identity))
        if self.path.exists():
            found = self._read_identity()
            if found is None:
                raise ValueError(f"store {self.path} exists and is not a store; remove it or give another name")
            told = differences(found, identity)
            if told:
                raise ValueError(f"store {self.path} holds another study: {told}; remove it or give another name")
        else:
            # Made beside its place and renamed, so that what is there is whole.
            new = self.path.with_name(self.path.name + ".new")
            self._create(new, identity, coordinates, variables)
            new.rename(self.path)
        self._group = self._zarr.open_group(self.path, mode="r+", zarr_format=2)

    def _create(
        self,
        path: Path,
        identity: dict[str, Any],
        coordinates: Mapping[str, Coordinate],
        variables: Mapping[str, Variable],
    ) -> None:
        group = self._zarr.open_group(path, mode="w", zarr_format=2)
        for name, (dims, values) in coordinates.items():
            array = group.create_array(name, shape=values.shape, dtype=values.dtype, fill_value=None)
            array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
            array[...] = values
        for name, (dims, shape, chunks, dtype) in variables.items():
            array = group.create_array(name, shape=shape, chunks=chunks, dtype=dtype, fill_value=np.nan)
            array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
            array.attrs["coordinates"] = "seed"
        dims, shape, chunks, _ = next(iter(variables.values()))
        n_axes = dims.index("replica") + 1
        flags = group.create_array(
            "finished", shape=shape[:n_axes], chunks=chunks[:n_axes], dtype=np.int8, fill_value=None
        )
        flags.attrs["_ARRAY_DIMENSIONS"] = list(dims[:n_axes])
        flags[...] = 0
        group.attrs["configuration"] = json.dumps(configuration())
        group.attrs["identity"] = json.dumps(identity)

    def write(self, batch: Batch, values: Mapping[str, Floats]) -> None:
        """Write the results of a batch, then raise its flags.

        Raises
        ------
        OSError
            If they cannot be written, such as on a full disk; the batches before are kept.
        """
        try:
            for name, array in values.items():
                self._write_chunk(name, batch, array)
            self._write_chunk("finished", batch, np.int8(1))
        except OSError as error:
            raise OSError(
                error.errno,
                f"store {self.path} could not be written ({error.strerror}); it keeps {self.n_finished()} runs, "
                "and the same call again continues from there",
            ) from error

    def _write_chunk(self, name: str, batch: Batch, values: Any) -> None:
        array = self._group[name]
        array[(*batch[0], batch[1])] = values
        # Zarr renames a finished file; a disk may still order that after the flag, unless it is told.
        at = [*batch[0], batch[1].start // array.chunks[len(batch[0])]]
        file = self.path / name / ".".join(map(str, at + [0] * (array.ndim - len(at))))
        if file.exists():  # a chunk of nothing but NaN has none
            files.sync(file)

    def is_finished(self, batch: Batch) -> bool:
        """Whether all members of a batch are there."""
        return bool(np.all(self._group["finished"][(*batch[0], batch[1])] == 1))

    def n_finished(self) -> int:
        """Return the number of members that are there."""
        return int((self._group["finished"][...] == 1).sum())

    def read(self) -> Any:
        """Return the dataset, whole in memory, as it is now; results of unfinished members are NaN.

        Raises
        ------
        ValueError
            If there is no store at the path.
        """
        xarray = checks.extra("xarray", "io")
        identity = self._read_identity()
        if identity is None:
            raise ValueError(f"store {self.path} is not there, or is not a store")
        # Flags first: whatever a writer adds meanwhile then counts as not finished.
        with xarray.open_zarr(self.path, consolidated=False, chunks=None) as data:
            finished = data["finished"].load().astype(bool)
            dataset = data.load()
        known = {name: dataset[name].where(finished) for name in identity["observe"]}
        return dataset.drop_vars([*known, "finished"]).assign(known | {"finished": finished})

    def _read_identity(self) -> dict[str, Any] | None:
        try:
            attributes = json.loads((self.path / ".zattrs").read_text())
            identity: dict[str, Any] = json.loads(attributes["identity"])
        except (OSError, KeyError, ValueError):
            return None
        return identity
