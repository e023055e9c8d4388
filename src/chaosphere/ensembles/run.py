"""Many runs over seeds and parameters, on any executor, into one labelled dataset."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from chaosphere.common import checks, files
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.contexts import contextmanager
from chaosphere.common.progress import bar as progress_bar
from chaosphere.ensembles.dataset import Memory, identity, layout, with_means
from chaosphere.ensembles.dispatch import Dispatch
from chaosphere.ensembles.executors import refuse_fork, workers
from chaosphere.ensembles.plan import Plan, make_plan
from chaosphere.ensembles.ranks import Ranks
from chaosphere.ensembles.spread import SpreadRuns
from chaosphere.ensembles.store import Batch, Store
from chaosphere.geometry.laws import Law
from chaosphere.measures.observables import Observable
from chaosphere.models.protocol import Model
from chaosphere.simulation.checkpoints import remove
from chaosphere.simulation.identity import check
from chaosphere.simulation.signals import Interrupted
from chaosphere.simulation.until import Condition


def ensemble(
    model: Model | Callable[..., Model],
    x0: Law | Tokens,
    *,
    seeds: Sequence[int],
    observe: Mapping[str, Observable],
    sweep: Mapping[str, Sequence[Any]] | None = None,
    n_tokens: int | None = None,
    save_at: Any = None,
    executor: futures.Executor | None = None,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    memory_limit: int | None = None,
    progress: bool = False,
    until: Condition | None = None,
    coalesce: float | None = None,
) -> Any:
    """Run a model for every seed and every point of a grid of parameters.

    The member with seed s at a point is bitwise identical to
    `simulate(model(**point), law.sample(n_tokens, rng=s), rng=s)`: the same initial tokens and noise at every point.

    Parameters
    ----------
    model : model, or function that returns one
        With `sweep`, it is called with one value of each parameter by name; with a swept `n_tokens` only if it has a
        parameter of that name.
    x0 : Law or ndarray, shape (N, d) or (R, N, d)
        The law of the initial tokens, or the tokens: the same for all seeds, or a replica for each.
    seeds : sequence of int
        R distinct seeds, one per replica.
    observe : mapping of str to callable
        Each is called with (time, tokens of shape (R', N, d)) for any R' and returns an array with R' first.
    sweep : mapping of str to sequence, optional
        Values, numbers or strings, of each parameter; a number may be infinite where the model takes it. Where x0 is a
        law, `n_tokens` may be one of them.
    n_tokens : int, optional
        N, where x0 is a law and N is not swept.
    save_at : array_like of float, optional
        Increasing times at which to observe. Default: after every step.
    executor : concurrent.futures.Executor, optional
        None: this process. Else a process pool (of a context other than fork), `client.get_executor()` of Dask,
        `mpi4py.futures.MPIPoolExecutor`, or any other. Does not change a bit of the result.
    n_threads : int, optional
        Of each worker. Default: the processors that it may use, divided by the workers on its machine; 1 where their
        number is unknown. Does not change a bit of the result.
    store : path, optional
        Zarr group that keeps finished members and grows by batches; see `load_ensemble`. Members of the same
        study that it holds are not run again, also where `seeds` has more than it holds; functions are known by their
        names only.
    memory_limit : int, optional
        Bytes. Default: this machine's memory.
    progress : bool
        Show a bar with the time that is left: on stderr where that is a terminal, or in the cell of a notebook.
        Needs tqdm.
    until : callable, optional
        As that of `simulate`, with one bool for each replica: a run ends after the step at which it is True.
    coalesce : float, optional
        As that of `simulate`: clusters that are tight are merged. Batches are then of one replica.

    Returns
    -------
    xarray.Dataset
        Each observable with dimensions (parameters ..., replica, time, ...), its mean over replicas NAME_mean with a
        Student 99 % interval NAME_low, NAME_high, the coordinate `seed` and the flag `finished`. Attributes carry the
        study, the versions and the instruction set. With `until` there is also `hitting_times`, of dimensions
        (parameters ..., replica, 2), as in `Solution`. Observables of a run are then NaN at times after its
        condition first held, which `simulate` leaves out, and a mean is over the runs where it had not held before.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the memory would pass the limit, or the store is damaged or holds another study.
    RuntimeError
        If a worker uses another instruction set, which would change bits.
    OSError
        If the store cannot be written, such as on a full disk, or another process writes it; or a worker died
        (ChildProcessError). It keeps what is finished.
    Interrupted
        A KeyboardInterrupt: if SIGINT or SIGTERM stopped an ensemble with a store.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.plot.observables : Draw observables over time.
    chaosphere.Checkpoint : A file that keeps the state of a run.
    chaosphere.load_ensemble : Read the store of an ensemble.
    chaosphere.Interrupted : A signal stopped a run.
    chaosphere.Solution.to_xarray : The solution as a labelled dataset.
    chaosphere.estimate : Expectation of an observable to a tolerance.
    chaosphere.until.Clustered : End a run where few balls cover the tokens.
    chaosphere.until.Threshold : End a run at a bound of an observable.

    Notes
    -----
    Runs of one point go through the kernels in batches of max(1, 4096 // N) replicas: the unit that a worker takes, and
    a chunk of the store. With a store, this process and workers of a process pool also keep a `Checkpoint` of each
    running batch beside it. A failing member ends the ensemble with a note of its coordinates; finished ones stay in
    the store.

    Examples
    --------
    Five seeds at each of two values of β:

    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=8)
    >>> def model(beta):
    ...     attention = cs.SoftmaxAttention(beta=beta)
    ...     return cs.Transformer(attention=attention, mlp=mlp, depth=4, horizon=1.0)
    >>> data = cs.ensemble(
    ...     model,
    ...     cs.laws.Uniform(dim=3),
    ...     n_tokens=10,
    ...     seeds=range(5),
    ...     sweep={"beta": [1.0, 4.0]},
    ...     observe={"energy": cs.measures.Energy(beta=1.0)},
    ... )
    >>> dict(data["energy"].sizes)
    {'beta': 2, 'replica': 5, 'time': 5}
    """
    plan = make_plan(
        model,
        x0,
        seeds=seeds,
        observe=observe,
        sweep=sweep,
        n_tokens=n_tokens,
        save_at=save_at,
        until=until,
        coalesce=coalesce,
        memory_limit=memory_limit,
    )
    return run_plan(
        plan, executor=executor, n_threads=n_threads, store=store, memory_limit=memory_limit, progress=progress
    )


def run_plan(
    plan: Plan,
    *,
    executor: futures.Executor | None = None,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    memory_limit: int | None = None,
    progress: bool = False,
) -> Any:
    """Run a plan; parameters, result and errors as in `ensemble`."""
    checks.extra("xarray", "io")
    checks.flag(progress, "progress")
    if n_threads is not None:
        checks.integer(n_threads, "n_threads", low=1)
    refuse_fork(executor)
    n_workers, workers_per_host = workers(executor)
    plan.check_memory(workers_per_host or 1, memory_limit)
    dispatch = Dispatch(
        plan=plan,
        executor=executor,
        n_workers=n_workers,
        workers_per_host=workers_per_host,
        n_threads=n_threads,
        checkpoints=None,
        is_stored=store is not None,
    )
    if store is None:
        return _run_in_memory(dispatch, progress=progress)
    with _opened(plan, store) as disk:
        is_local = executor is None or isinstance(executor, futures.ProcessPoolExecutor)
        with _checkpoint_folder(disk) if is_local else nullcontext() as folder:
            _run_into_store(dataclasses.replace(dispatch, checkpoints=folder), disk, progress=progress)
        return load_ensemble(disk.path)


def run_spread(
    plan: Plan,
    ranks: Ranks,
    *,
    store: Path,
    n_threads: int | None = None,
    progress: bool = False,
) -> Any:
    """Run a plan with the tokens of each run spread over ranks, which all make this call.

    The first keeps the store, and returns the dataset of `ensemble`; the others return None. Errors as of `ensemble`,
    of each rank for itself.
    """
    checks.extra("xarray", "io")
    folder = _running(store)
    threads = ranks.n_threads if n_threads is None else n_threads
    runs = SpreadRuns(plan=plan, ranks=ranks, n_threads=threads, checkpoints=folder)
    if not ranks.is_first:
        for _ in runs.results(()):
            pass
        return None
    with _opened(plan, store) as disk, _checkpoint_folder(disk):
        _run_into_store(runs, disk, progress=progress)
        return load_ensemble(disk.path)


@contextmanager
def _opened(plan: Plan, store: str | os.PathLike[str]) -> Iterator[Store]:
    """Lock the store of a plan, and open it."""
    disk = Store(files.local(store, "store"))
    with disk.lock():
        facts = identity(plan)
        check(facts, "store")
        if disk.open(facts, layout(plan)):
            shutil.rmtree(_running(disk.path), ignore_errors=True)  # checkpoints of batches of fewer seeds
        yield disk


class _Runs(Protocol):
    """What runs the batches of a plan: `Dispatch` and `SpreadRuns`."""

    @property
    def plan(self) -> Plan:
        """The plan."""

    def checkpoint(self, batch: Batch) -> Path | None:
        """Return the file that keeps the state of a batch, to be removed once the store has its results."""

    def results(self, batches: Sequence[Batch]) -> Iterator[tuple[Batch, dict[str, Floats]]]:
        """Yield batches with their results."""


def _run_in_memory(dispatch: Dispatch, *, progress: bool) -> Any:
    plan = dispatch.plan
    facts, memory = identity(plan), Memory(plan)
    try:
        with _bar(plan.n_members, 0, progress=progress) as advance:
            for batch, values in dispatch.results(plan.batches):
                memory.write(batch, values)
                advance(_length(batch))
    except ChildProcessError as error:
        raise ChildProcessError(f"{error}; with a store, what is finished is kept") from error.__cause__
    return memory.dataset(facts)


def _run_into_store(dispatch: _Runs, disk: Store, *, progress: bool) -> None:
    plan = dispatch.plan
    batches = [part for batch in plan.batches for part in disk.unfinished(batch)]
    n_finished = plan.n_members - sum(map(_length, batches))
    try:
        with _bar(plan.n_members, n_finished, progress=progress) as advance:
            for batch, values in dispatch.results(batches):
                disk.write(batch, values)
                if (checkpoint := dispatch.checkpoint(batch)) is not None:
                    remove(checkpoint)
                advance(_length(batch))
    except KeyboardInterrupt as error:
        stopped = str(error).partition(";")[0] or "interrupted at once"  # the rest tells how to resume one run
        raise Interrupted(
            f"{stopped}; {disk.n_finished()} of {plan.n_members} runs are in {disk.path}, and the same call again "
            "continues from there"
        ) from None
    except ChildProcessError as error:
        raise ChildProcessError(
            f"{error}; {disk.path} keeps {disk.n_finished()} of {plan.n_members} runs, and the same call again "
            "continues from there"
        ) from error.__cause__


def _length(batch: Batch) -> int:
    _, replicas = batch
    return int(replicas.stop - replicas.start)


def _running(store: Path) -> Path:
    return store.with_name(store.name + ".running")


@contextmanager
def _checkpoint_folder(disk: Store) -> Iterator[Path]:
    """Make the folder for the checkpoints of running batches; after an error it stays, unless it is empty."""
    folder = _running(disk.path)
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    shutil.rmtree(folder, ignore_errors=True)  # a kill may have left the checkpoint of a batch that is in the store


@contextmanager
def _bar(total: int, initial: int, *, progress: bool) -> Iterator[Callable[[int], object]]:
    """Show a bar of runs where `progress` is set, and yield the function that advances it."""
    if not progress:
        yield lambda n: None
        return
    with progress_bar(total, initial=initial, unit="run") as bar:
        yield bar.update


def load_ensemble(store: str | os.PathLike[str]) -> Any:
    """Return the dataset of an ensemble's store as it is now, also while it is being written.

    Parameters
    ----------
    store : path
        The store that `ensemble` writes.

    Returns
    -------
    xarray.Dataset
        As `ensemble` returns; results of members that are not `finished` are NaN, and means are over the finished ones.

    Raises
    ------
    ValueError
        If there is no store at the path, or it is damaged.

    See Also
    --------
    chaosphere.ensemble : Run a model for many seeds and parameters.

    Notes
    -----
    Checksums of all that is read are verified; a store of version 0.1.0, which has none, is read with a warning. The
    store is a plain Zarr group: `xarray.open_zarr(store, consolidated=False)` reads parts of it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.Transformer(attention=attention, mlp=None, depth=4, horizon=1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Path(folder) / "study.zarr"
    ...     data = cs.ensemble(
    ...         model,
    ...         cs.laws.Uniform(dim=3),
    ...         n_tokens=10,
    ...         seeds=range(5),
    ...         observe={"energy": cs.measures.Energy(beta=1.0)},
    ...         store=store,
    ...     )
    ...     cs.load_ensemble(store).equals(data)
    True
    """
    return with_means(Store(files.local(store, "store")).read())
