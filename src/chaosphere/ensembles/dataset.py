"""The labelled dataset of an ensemble: its layout, its identity, its means."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.config import configuration
from chaosphere.ensembles.plan import Plan
from chaosphere.ensembles.store import Batch, Coordinate, Layout, Variable
from chaosphere.ensembles.sweep import HITTING_TIMES, MEAN_SUFFIXES, N_TOKENS
from chaosphere.geometry.sample import BLOCK
from chaosphere.simulation.identity import identify
from chaosphere.simulation.until import are_over


def layout(plan: Plan) -> Layout:
    """Return the arrays of a plan's dataset."""
    return Layout(coordinates=_coordinates(plan), variables=_variables(plan))


def _coordinates(plan: Plan) -> dict[str, Coordinate]:
    parameters = {name: ((name,), values) for name, values in zip(plan.names, plan.values, strict=True)}
    return {**parameters, "seed": (("replica",), np.array(plan.seeds, dtype=np.int64)), "time": (("time",), plan.times)}


def _variables(plan: Plan) -> dict[str, Variable]:
    """Return the dimensions, shape, chunks (one per batch) and dtype of the array of each observable."""
    arrays: dict[str, Variable] = {}
    n_replicas, n_times = len(plan.seeds), len(plan.times)
    ones = (1,) * len(plan.names)
    for name, (shape, dtype) in plan.shapes.items():
        dims = (*plan.names, "replica", "time", *(f"{name}_{axis}" for axis in range(len(shape))))
        full_shape = (*map(len, plan.values), n_replicas, n_times, *shape)
        chunks = (*ones, min(plan.batch_size, n_replicas), n_times, *shape)
        arrays[name] = (dims, full_shape, chunks, dtype)
    if plan.until is not None:
        dims = (*plan.names, "replica", f"{HITTING_TIMES}_0")
        chunks = (*ones, min(plan.batch_size, n_replicas), 2)
        arrays[HITTING_TIMES] = (dims, (*map(len, plan.values), n_replicas, 2), chunks, np.dtype(np.float64))
    return arrays


def identity(plan: Plan) -> dict[str, Any]:
    """Return what decides the bits of the results, as JSON-able values; the models by the first and a digest of all."""
    models = list(plan.descriptions.values())
    # Ranks draw many tokens block by block.
    of_ranks = plan.ranks is not None and max(plan.n_tokens.values()) > BLOCK
    ending = {"until": plan.until, "coalesce": plan.coalesce}
    return identify(
        ({"sample_block": BLOCK} if of_ranks else {})
        | {
            "model": models[0],
            "models_sha256": hashlib.sha256(json.dumps(models).encode()).hexdigest(),
            "sweep": {name: values.tolist() for name, values in zip(plan.names, plan.values, strict=True)},
            "x0": plan.initial.x0,
            "n_tokens": None if N_TOKENS in plan.names else next(iter(plan.n_tokens.values())),
            "seeds": plan.seeds,
            "observe": plan.observe,
            "times": plan.times.tolist(),
        }
        | {name: value for name, value in ending.items() if value is not None}
    )


class Memory:
    """The results of an ensemble without a store, filled batch by batch.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._variables = _variables(plan)
        self._arrays = {name: np.full(shape, np.nan, dtype) for name, (_, shape, _, dtype) in self._variables.items()}
        self._finished = np.zeros((*map(len, plan.values), len(plan.seeds)), dtype=bool)

    def write(self, batch: Batch, values: Mapping[str, Floats]) -> None:
        """Keep the results of a batch."""
        index: Any = (*batch[0], batch[1])
        self._finished[index] = True
        for name, array in values.items():
            self._arrays[name][index] = array

    def dataset(self, identity: Mapping[str, Any]) -> Any:
        """Return the results so far, with their means."""
        xarray = checks.extra("xarray", "io")
        arrays = {name: (dims, self._arrays[name]) for name, (dims, _, _, _) in self._variables.items()}
        flags = {"finished": ((*self._plan.names, "replica"), self._finished)}
        attributes = {"identity": json.dumps(identity), "configuration": json.dumps(configuration())}
        return with_means(xarray.Dataset(arrays | flags, coords=_coordinates(self._plan), attrs=attributes))


def means(dataset: Any, name: str, **limits: float) -> Floats:
    """Return the mean of an observable over its finished replicas and the ends of its interval, shape (3, …).

    Parameters
    ----------
    dataset : xarray.Dataset
    name : str
    **limits : float
        Of the values, for `stats.mean_interval`.
    """
    values, counts = dataset[name].values, dataset["finished"].values
    points, rest = counts.shape[:-1], values.shape[counts.ndim :]
    counts = np.broadcast_to(counts[..., None], (*counts.shape, rest[0]))
    if HITTING_TIMES in dataset:
        counts = counts & ~are_over(dataset[HITTING_TIMES].values, dataset["time"].values)
    out = np.full((3, *points, *rest), np.nan)
    for point in np.ndindex(*points):
        patterns, which = np.unique(counts[point], axis=1, return_inverse=True)
        for k, is_in in enumerate(patterns.T):
            times = np.flatnonzero(which.reshape(-1) == k)
            rows = values[point][is_in][:, times]
            if len(rows) > 1:
                out[(slice(None), *point, times)] = np.stack(stats.mean_interval(rows, **limits))
            elif len(rows) == 1:
                out[(0, *point, times)] = rows[0]
    return out


def with_means(dataset: Any) -> Any:
    """Add the mean of each observable over its finished replicas, with a Student 99 % interval (NaN below two).

    Where a condition ends the runs, the mean at a time is over those that have not ended before.
    """
    added: dict[str, Any] = {}
    for name, variable in dataset.data_vars.items():
        if not {"replica", "time"} <= set(variable.dims):
            continue
        dims, rows = tuple(d for d in variable.dims if d != "replica"), means(dataset, name)
        added |= {f"{name}{suffix}": (dims, rows[i]) for i, suffix in enumerate(MEAN_SUFFIXES)}
    return dataset.assign(added)
