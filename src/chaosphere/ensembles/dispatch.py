"""The batches of a plan on an executor: handed out, collected as they finish, stopped by a signal."""

from __future__ import annotations

import dataclasses
import itertools
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import nullcontext
from pathlib import Path

from chaosphere.common.checks import Floats
from chaosphere.ensembles.executors import cancel, is_dask, worker_deaths
from chaosphere.ensembles.plan import Plan
from chaosphere.ensembles.pool import Pool
from chaosphere.ensembles.store import Batch
from chaosphere.ensembles.worker import Task, run_task, run_task_apart
from chaosphere.kernels import abi
from chaosphere.simulation.signals import Interrupted, StopRequest

_WINDOW_OF_UNKNOWN = 64  # batches in hand of an executor whose number of workers is unknown


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dispatch:
    """How the batches of a plan are run.

    Attributes
    ----------
    plan : Plan
    executor : Executor or None
        None is this process.
    n_workers : int
    workers_per_host : int or None
        None where they are unknown.
    n_threads : int or None
        Of each worker.
    checkpoints : Path or None
        Folder for the checkpoints of running batches.
    is_stored : bool
        Finished batches are kept on disk: signals then wait until the running ones are.
    """

    plan: Plan
    executor: futures.Executor | None
    n_workers: int
    workers_per_host: int | None
    n_threads: int | None
    checkpoints: Path | None
    is_stored: bool

    def checkpoint(self, batch: Batch) -> Path | None:
        """Return the file that keeps the state of a batch while it runs."""
        point, replicas = batch
        name = "-".join(map(str, (*point, replicas.start))) + ".npz"
        return None if self.checkpoints is None else self.checkpoints / name

    def results(self, batches: Sequence[Batch]) -> Iterator[tuple[Batch, dict[str, Floats]]]:
        """Yield batches with their results as they finish; a stop lets the running ones finish where that keeps them.

        Raises
        ------
        Interrupted
            If a signal stopped the runs.
        ChildProcessError
            If a worker died.
        """
        call = uuid.uuid4().hex
        stop = StopRequest()
        with stop if self.is_stored else nullcontext():
            if self.executor is None:
                yield from self._results_here(batches, call=call, stop=stop)
            else:
                yield from self._results_of_workers(batches, call=call, stop=stop)

    def _task(self, batch: Batch, call: str) -> Task:
        plan, (point, _) = self.plan, batch
        start = plan.start(batch)
        parameters = zip(plan.names, plan.values, point, strict=True)
        return Task(
            model=plan.models[point],
            description=plan.descriptions[point],
            start=start,
            observe=plan.observe,
            shapes={name: (len(start.seeds), *shape) for name, (shape, _) in plan.shapes.items()},
            save_at=plan.save_at,
            until=plan.until,
            coalesce=plan.coalesce,
            times=plan.times,
            point={name: values[index].item() for name, values, index in parameters},
            checkpoint=self.checkpoint(batch),
            n_threads=self.n_threads,
            workers_per_host=self.workers_per_host,
            isa=abi.isa_in_use(),
            call=call,
            caller=os.getpid(),
        )

    def _results_here(
        self, batches: Sequence[Batch], *, call: str, stop: StopRequest
    ) -> Iterator[tuple[Batch, dict[str, Floats]]]:
        for batch in batches:
            yield batch, run_task(self._task(batch, call))
            if stop.received is not None:
                raise Interrupted(stop.received.name)

    def _results_of_workers(
        self, batches: Sequence[Batch], *, call: str, stop: StopRequest
    ) -> Iterator[tuple[Batch, dict[str, Floats]]]:
        executor = self.executor
        assert executor is not None
        run = run_task if isinstance(executor, futures.ThreadPoolExecutor) else run_task_apart
        # Enough in hand that no worker waits, and no more: finished results would pile up.
        window = _WINDOW_OF_UNKNOWN if self.workers_per_host is None else 2 * self.n_workers
        left = iter(batches)
        running: dict[futures.Future[dict[str, Floats]], Batch] = {}
        interrupted: Interrupted | None = None
        broken: Exception | None = None
        try:
            while broken is None:
                if stop.received is not None and interrupted is None:
                    interrupted = Interrupted(stop.received.name)
                    if isinstance(executor, Pool):
                        executor.stop_runs()
                if interrupted is None:
                    try:
                        for batch in itertools.islice(left, window - len(running)):
                            running[executor.submit(run, self._task(batch, call))] = batch
                    except futures.BrokenExecutor as error:
                        broken = error
                elif not is_dask(executor):  # it would cancel those that run, too
                    running = {future: batch for future, batch in running.items() if not cancel(future)}
                if not running:
                    break
                ready, _ = futures.wait(running, timeout=1.0, return_when=futures.FIRST_COMPLETED)
                for future in ready:
                    batch = running.pop(future)
                    try:
                        values = future.result()
                    except KeyboardInterrupt as error:  # a signal to a worker, which names it if it came in a run
                        name = str(error) if stop.received is None else stop.received.name
                        interrupted = interrupted or Interrupted(name or "a signal to a worker")
                    except worker_deaths(executor) as error:
                        if stop.received is None:
                            broken = error  # but others of these may be there
                        else:  # one that caught it between two runs is gone
                            interrupted = Interrupted(stop.received.name)
                    else:
                        yield batch, values
        finally:
            for future in running:
                cancel(future)
        if interrupted is not None:
            raise interrupted
        if broken is not None:
            raise ChildProcessError("a worker died, killed or out of memory (the system's log may tell)") from broken
