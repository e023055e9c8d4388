"""A study: model, law, sweep, observables, executor, picture; its plan, its run, what is printed and drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from concurrent import futures
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import duration
from chaosphere.ensembles import drawing
from chaosphere.ensembles.dataset import means
from chaosphere.ensembles.executors import EXECUTORS
from chaosphere.ensembles.plan import Plan, make_plan
from chaosphere.ensembles.pool import processors
from chaosphere.ensembles.ranks import Ranks
from chaosphere.ensembles.run import run_plan, run_spread
from chaosphere.ensembles.study_parts import ModelFactory
from chaosphere.ensembles.sweep import HITTING_TIMES
from chaosphere.geometry.laws import Law
from chaosphere.measures.observables import Measure
from chaosphere.reporting.claims import Claim
from chaosphere.reporting.digits import with_interval
from chaosphere.simulation.signals import Interrupted, StopRequest
from chaosphere.simulation.until import Condition

_MAX_WORKERS = 1024  # processes on this machine
_MAX_THREADS = 2**31 - 1  # what OpenMP counts to


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What `drawing.phase_diagram` or `drawing.lines` draws.

    Attributes
    ----------
    value : str
        An observable.
    x : str
        A swept parameter or "time".
    y : str or None
        Another, for a map of colours; None draws a line for each value of the parameter that is left, if any.
    critical : bool
        Draw s_c with s_c² = δ/λ1 over x, where y is the noise scale.
    """

    value: str
    x: str
    y: str | None = None
    critical: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """A study as `study_file.read` checked it.

    Attributes
    ----------
    name, title : str
    model : ModelFactory
        Returns the model at a point of the sweep.
    law : Law
    n_tokens : int or None
        None where it is swept.
    sweep : dict of str to list
    observe : dict of str to Measure
    replicas, first_seed : int
    save_at : ndarray or None
    until : callable or None
    coalesce : float or None
    executor : str
        In `EXECUTORS`.
    workers, threads : int or None
    scheduler : str or None
        Address of a Dask scheduler.
    memory_limit_gb : float or None
    picture : Picture or None
    ranks : Ranks or None
        Those that share the tokens of each run, instead of an executor.
    """

    name: str
    title: str
    model: ModelFactory
    law: Law
    n_tokens: int | None
    sweep: dict[str, list[Any]]
    observe: dict[str, Measure]
    replicas: int
    first_seed: int
    save_at: Floats | None
    until: Condition | None
    coalesce: float | None
    executor: str
    workers: int | None
    threads: int | None
    scheduler: str | None
    memory_limit_gb: float | None
    picture: Picture | None
    ranks: Ranks | None = None

    def __post_init__(self) -> None:
        """Check what says where to run, which the command line may change."""
        for name, value, most in (("workers", self.workers, _MAX_WORKERS), ("threads", self.threads, _MAX_THREADS)):
            if value is not None and checks.integer(value, name, low=1) > most:
                raise ValueError(f"{name} must be at most {most}, got {value}")
        if self.scheduler is not None and self.executor != "dask":
            raise ValueError(f"scheduler is for executor 'dask', got executor {self.executor!r}")
        if self.workers is not None and (self.executor in ("none", "mpi") or self.scheduler is not None):
            raise ValueError("workers is for executor 'processes', or 'dask' without a scheduler")

    @property
    def memory_limit(self) -> int | None:
        """The limit in bytes."""
        return None if self.memory_limit_gb is None else round(self.memory_limit_gb * 1e9)

    def plan(self) -> Plan:
        """Return the plan of the ensemble."""
        return make_plan(
            self.model,
            self.law,
            n_tokens=self.n_tokens,
            seeds=range(self.first_seed, self.first_seed + self.replicas),
            sweep=self.sweep,
            observe=self.observe,
            save_at=self.save_at,
            until=self.until,
            coalesce=self.coalesce,
            memory_limit=self.memory_limit,
            ranks=self.ranks,
        )

    def open_executor(self) -> AbstractContextManager[futures.Executor | None]:
        """Start the workers that the file names, and stop them at the end."""
        return EXECUTORS[self.executor](n_workers=self.workers, scheduler=self.scheduler)


def critical_noise_scale(study: Study, x: str) -> Floats:
    """Return s_c = √(δ/λ1) at each value of the swept parameter x; see `ModelFactory.critical_noise_scale`."""
    first = {name: values[0] for name, values in study.sweep.items()}
    return np.array([study.model.critical_noise_scale(**(first | {x: value})) for value in study.sweep[x]])


def claims(dataset: Any) -> list[Claim]:
    """Return the mean of every scalar observable at the last time, with its interval, at every point.

    Of runs that a condition ends: the share of those that it ended, and their mean hitting time where that is all of
    them, from the steps before to the steps after. An observable's mean is over the runs that are left.
    """
    rows = [] if HITTING_TIMES not in dataset else _claims_of_hitting_times(dataset)
    for name in dataset.data_vars:
        if f"{name}_mean" not in dataset or dataset[name].dims[-1] != "time":
            continue
        for at, where in _points(dataset):
            row = dataset.isel({**at, "time": -1})
            mean, low, high = (float(row[f"{name}_{part}"]) for part in ("mean", "low", "high"))
            if math.isfinite(mean):
                rows.append(Claim(quantity=f"{name}{where}", measured=mean, low=low, high=high, expected=None))
    return rows


def _points(dataset: Any) -> Iterator[tuple[dict[str, int], str]]:
    """Iterate over the points of the sweep: the index of each parameter, and their values as text."""
    parameters = [d for d in dataset["finished"].dims if d != "replica"]
    for point in np.ndindex(*(dataset.sizes[d] for d in parameters)):
        at = dict(zip(parameters, point, strict=True))
        row = dataset.isel(at)
        where = ", ".join(
            f"{d} = {row[d].item():g}" if row[d].dtype.kind == "f" else f"{d} = {row[d].item()}" for d in parameters
        )
        yield at, f"{' at ' if where else ''}{where}"


def _claims_of_hitting_times(dataset: Any) -> list[Claim]:
    rows = []
    for at, where in _points(dataset):
        early, late = np.moveaxis(dataset[HITTING_TIMES].isel(at).values, -1, 0)
        share, low, high = stats.probability_interval(np.isfinite(late))
        rows.append(Claim(quantity=f"share of ended runs{where}", measured=share, low=low, high=high, expected=None))
        if share == 1:
            ends = stats.mean_interval(early, at_least=0), stats.mean_interval(late, at_least=0)
            (first, low, _), (last, _, high) = ends
            rows.append(
                Claim(quantity=f"hitting time{where}", measured=(first + last) / 2, low=low, high=high, expected=None)
            )
    return rows


def table(dataset: Any) -> str:
    """Return the means at the last time as text."""
    time = float(dataset["time"][-1])
    lines = [
        dataset.attrs["title"],
        f"{dataset['finished'].size} runs; means over {dataset.sizes['replica']} replicas at time {time:g}:",
    ]
    rows = claims(dataset)
    for claim in rows[:30]:
        mean, low, high = with_interval(claim.measured, low=claim.low, high=claim.high)
        interval = f"[{low}, {high}]" if claim.low <= claim.high else "no interval: few replicas"
        lines.append(f"{claim.quantity:>50} {mean:>11}   {interval}")
    if len(rows) > 30:
        lines.append(f"… and {len(rows) - 30} more in the file")
    return "\n".join(lines)


def run(study: Study, *, store: Path, progress: bool = False) -> Any:
    """Run a study into a store, or resume it, and return its dataset; errors as those of `ensemble`.

    Of ranks that share the tokens the first returns it, and the others None.
    """
    plan = study.plan()
    if study.ranks is not None:
        dataset = run_spread(plan, study.ranks, store=store, n_threads=study.threads, progress=progress)
        return None if dataset is None else _with_intervals(study, dataset)
    with StopRequest() as stop, study.open_executor() as executor:
        if stop.received is not None:
            raise Interrupted(f"{stop.received.name}: stopped before the first run")
        dataset = run_plan(
            plan,
            executor=executor,
            n_threads=study.threads,
            store=store,
            memory_limit=study.memory_limit,
            progress=progress,
        )
    return _with_intervals(study, dataset)


def _with_intervals(study: Study, dataset: Any) -> Any:
    """Return a dataset with the title, the names of the observables, and intervals that their ranges respect."""
    for name, measure in study.observe.items():
        statistic = measure.statistic
        dataset[name].attrs["long_name"] = measure.words
        _, low, high = means(dataset, name, at_least=statistic.at_least, at_most=statistic.at_most)
        for part, end in (("low", low), ("high", high)):
            dataset[f"{name}_{part}"] = (dataset[f"{name}_mean"].dims, end)
    return dataset.assign_attrs(title=study.title)


def draw(study: Study, dataset: Any, path: Path) -> None:
    """Draw the study's picture to a file, whose suffix says its kind."""
    picture = study.picture
    assert picture is not None
    if picture.y is None:
        drawing.lines(dataset, path, value=picture.value, x=picture.x)
        return
    critical = critical_noise_scale(study, picture.x) if picture.critical else None
    drawing.phase_diagram(dataset, path, value=picture.value, x=picture.x, y=picture.y, critical=critical)


def dry_run(study: Study) -> str:
    """Return the plan of a study as text: runs, pairs, bytes, and the time from a short calibration.

    Raises
    ------
    ValueError
        If the memory would pass the limit.
    """
    plan = study.plan()
    n_workers = 1 if study.executor in ("none", "mpi") else study.workers or processors()
    n_threads = study.threads or max(1, processors() // n_workers)
    if study.ranks is not None:
        n_workers, n_threads = study.ranks.size, study.threads or study.ranks.n_threads
    n_here = n_workers if study.ranks is None else study.ranks.n_here
    plan.check_memory(n_here, study.memory_limit)
    steps = sum(model.n_steps for model in plan.models.values()) * len(plan.seeds)
    sizes = " … ".join(map(str, sorted({min(plan.n_tokens.values()), max(plan.n_tokens.values())})))
    n_replicas = max(replicas.stop - replicas.start for _, replicas in plan.batches)
    is_least = any(cost.is_least for cost in plan.costs.values())
    remarks = ["divided by the number of workers"] if study.executor == "mpi" or study.scheduler is not None else []
    remarks += [] if study.until is None else ["where no run ends early"]
    rows = [
        ("parameter points", " × ".join(f"{len(v)} {n}" for n, v in study.sweep.items()) or "1"),
        ("runs", f"{plan.n_members} ({len(plan.seeds)} replicas, seeds {plan.seeds[0]} … {plan.seeds[-1]})"),
        ("steps", f"{steps:.4g}, of {sizes} tokens in dimension {plan.dim}"),
        ("pair interactions", f"{'at least ' if is_least else ''}{plan.n_pairs:.3g}"),
        ("results", f"{plan.result_bytes:,} bytes: {', '.join(study.observe)} at {len(plan.times)} times"),
        *([] if study.until is None else [("until", repr(study.until))]),
        ("memory", f"about {plan.memory(n_here) / 1e9:.3g} GB on this machine"),
        ("batches", f"{len(plan.batches)}, of up to {n_replicas} replicas"),
    ]
    if study.ranks is None:
        seconds = plan.seconds(n_workers=n_workers, n_threads=n_threads)
        rows += [
            ("executor", f"{study.executor}, {n_workers} worker(s) of {n_threads} thread(s)"),
            (
                "estimated time",
                "not known, as steps are refined" if is_least else ", ".join([duration(seconds), *remarks]),
            ),
        ]
    else:  # a step of all tokens is not timed on one rank
        rows += [("ranks", f"{n_workers} of {n_threads} thread(s), which share the tokens of each run")]
    return "\n".join([study.title, *(f"{name:>18}  {text}" for name, text in rows)])
