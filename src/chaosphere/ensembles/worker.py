"""What a worker does: run the replicas of one batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats
from chaosphere.common.errors import add_note, portable
from chaosphere.ensembles.pool import end_after_stop, end_if_stopped, processors
from chaosphere.ensembles.start import Start
from chaosphere.ensembles.sweep import HITTING_TIMES
from chaosphere.kernels import abi
from chaosphere.measures.observables import Observable, with_threads
from chaosphere.models.protocol import Model
from chaosphere.simulation.checkpoints import Checkpoint
from chaosphere.simulation.identity import differences
from chaosphere.simulation.loop import simulate
from chaosphere.simulation.signals import Interrupted
from chaosphere.simulation.until import Condition, are_over

# Calls of `ensemble` whose runs a signal ended in this process, which has others in hand; and its words.
_stopped: dict[str, str] = {}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One batch of replicas at one parameter point, with all that a worker needs to run it.

    Attributes
    ----------
    model : Model
    description : object
        Of the model, with the automatic choices that the process which started the ensemble made.
    start : Start
    observe : dict of str to callable
    shapes : dict of str to tuple of int
        Of the values of each observable at one time, replicas first.
    save_at : array_like or None
    until : callable or None
    coalesce : float or None
    times : ndarray
        That the observables are recorded at.
    point : dict
        The values of the swept parameters, for errors.
    checkpoint : Path or None
        Where the runs keep their state.
    n_threads : int or None
        None divides the processors of the worker's machine by `workers_per_host`.
    workers_per_host : int or None
        None where it is unknown: one thread then.
    isa : str
        The instruction set of the process that started the ensemble.
    call : str
        Tells the tasks of one call of `ensemble` from those of others.
    caller : int
        The process that started the ensemble.
    """

    model: Model
    description: Any
    start: Start
    observe: dict[str, Observable]
    shapes: dict[str, tuple[int, ...]]
    save_at: Any
    until: Condition | None
    coalesce: float | None
    times: Floats
    point: dict[str, Any]
    checkpoint: Path | None
    n_threads: int | None
    workers_per_host: int | None
    isa: str
    call: str
    caller: int


def run_task(task: Task) -> dict[str, Floats]:
    """Run the replicas of one batch, and return what was observed: arrays (replica, time, ...)."""
    if abi.isa_in_use() != task.isa:
        raise RuntimeError(
            f"a worker uses the instruction set {abi.isa_in_use()}, this process {task.isa}, which would change bits: "
            "set CHAOSPHERE_ISA to one that both have"
        )
    end_if_stopped()
    if task.call in _stopped:
        raise Interrupted(_stopped[task.call])
    try:
        return _run(task)
    except KeyboardInterrupt as error:
        _stopped[task.call] = str(error)
        raise
    except Exception as error:
        seeds = task.start.seeds
        add_note(error, f"in the runs with {task.point or 'no swept parameter'} and seeds {seeds[0]} … {seeds[-1]}")
        raise


def run_task_apart(task: Task) -> dict[str, Floats]:
    """Run a task in another process, which must be able to read what this raises: else a RuntimeError stands for it.

    A pool takes an answer that it cannot read for the death of its worker.
    """
    try:
        return run_task(task)
    except KeyboardInterrupt:
        end_after_stop(task.caller)
        raise
    except Exception as error:
        readable = portable(error)
        if readable is error:
            raise
        raise readable from error


def _run(task: Task) -> dict[str, Floats]:
    n_threads = task.n_threads
    if n_threads is None:
        n_threads = 1 if task.workers_per_host is None else max(1, processors() // task.workers_per_host)
    solution = simulate(
        task.model,
        task.start.tokens(),
        rng=task.start.seeds,
        save_at=task.save_at,
        observe={name: with_threads(function, n_threads) for name, function in task.observe.items()},
        n_threads=n_threads,
        save_states=False,
        checkpoint=None if task.checkpoint is None else Checkpoint(path=task.checkpoint, keep=True),
        until=task.until,
        coalesce=task.coalesce,
    )
    if solution.attributes["model"] != task.description:
        difference = differences(solution.attributes["model"], task.description)
        raise RuntimeError(f"a worker chose another method, which would change bits: {difference}")
    observables = solution.observables
    for name, shape in task.shapes.items():
        values = observables[name]
        if values.shape[1:] != shape or values.dtype.kind not in "iufb":
            raise ValueError(
                f"observe[{name!r}] must return real numbers of one shape for as many tokens: before the run it "
                f"was {shape}, now {values.shape[1:]} of {values.dtype}"
            )
    results = {name: np.moveaxis(values, 0, 1) for name, values in observables.items()}
    return results if task.until is None else _until_hit(results, solution.hitting_times, task=task)


def _until_hit(results: dict[str, Floats], hitting_times: Floats, *, task: Task) -> dict[str, Floats]:
    """Return the results with those of each replica after it was hit missing, and the hitting times.

    A batch runs until all of its replicas are hit, and what a replica gives must not depend on the others.
    """
    is_over = are_over(hitting_times, task.times)
    parts = {HITTING_TIMES: hitting_times}
    for name, values in results.items():
        n_replicas, n_times, *shape = values.shape
        parts[name] = np.full((n_replicas, len(task.times), *shape), np.nan, np.result_type(values, np.float32))
        parts[name][:, :n_times] = values
        parts[name][is_over] = np.nan
    return parts
