"""Many runs over seeds and parameters, on any executor, into one labelled dataset."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import os
import shutil
import time as clock
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np

from chaosphere.common import checks, files
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import STREAM_VERSION
from chaosphere.ensembles.executors import Pool, end_if_stopped, processors, refuse_fork, workers
from chaosphere.ensembles.store import Batch, Coordinate, Store, Variable
from chaosphere.geometry.laws import Law
from chaosphere.kernels import abi
from chaosphere.models.protocol import Steps, missing_members, save_steps
from chaosphere.reporting import results
from chaosphere.simulation.checkpoints import Checkpoint, Interrupted, StopRequest, remove
from chaosphere.simulation.identity import check, describe
from chaosphere.simulation.loop import Observable, observables, simulate, trajectory

_TOKENS_PER_BATCH = 4096  # enough that the kernels, not Python, take the time; small enough to spread over workers
# Calls of `ensemble` whose runs a signal ended in this process, which has others in hand; and its words.
_stopped: dict[str, str] = {}
_RESERVED = ("replica", "time", "seed", "finished")
_MEANS = ("_mean", "_low", "_high")
_MEMBER_BYTES = 100  # a seed, its text in the identity, its flag


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What `ensemble` will run, checked; `plan` makes it.

    Attributes
    ----------
    names : tuple of str
        Of the parameters.
    values : tuple of ndarray
        Of each parameter.
    models : dict
        The model at each parameter point, by its indices into `values`.
    x0 : Law or ndarray
    n_tokens, dim : int
    seeds : tuple of int
    observe : dict of str to callable
    times : ndarray
        That the observables are recorded at.
    save_at : array_like or None
        That `simulate` is asked for.
    shapes : dict of str to (shape, dtype)
        Of one value of each observable of one member.
    batch_size : int
        Replicas that run as one batch; a function of the number of tokens alone.
    """

    names: tuple[str, ...]
    values: tuple[np.ndarray[Any, Any], ...]
    models: dict[tuple[int, ...], Steps]
    x0: Law | Tokens
    n_tokens: int
    dim: int
    seeds: tuple[int, ...]
    observe: dict[str, Observable]
    times: Floats
    save_at: Any
    shapes: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
    batch_size: int

    @property
    def n_members(self) -> int:
        """Number of runs: parameter points times replicas."""
        return len(self.models) * len(self.seeds)

    @property
    def batches(self) -> list[Batch]:
        """The batches, in the order in which they are started."""
        slices = [
            slice(start, min(start + self.batch_size, len(self.seeds)))
            for start in range(0, len(self.seeds), self.batch_size)
        ]
        return [(point, part) for point in self.models for part in slices]

    @property
    def n_pairs(self) -> float:
        """Pair interactions of attention over all runs, N² each time that it is evaluated."""
        evaluations = sum(m.n_steps * _evaluations_per_step(m) for m in self.models.values())
        return float(evaluations) * len(self.seeds) * self.n_tokens**2

    @property
    def result_bytes(self) -> int:
        """Size of the results."""
        per_time = sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.shapes.values())
        return self.n_members * len(self.times) * per_time

    @property
    def batch_bytes(self) -> int:
        """Estimate of the memory of one running batch: tokens, workspaces, weights of a layer, and its results."""
        n_replicas = min(self.batch_size, len(self.seeds))
        # Tokens before, between and after; blocks of keys, values, queries and double sums, padded by up to 24 tokens.
        tokens = 12 * n_replicas * (self.n_tokens + 24) * (self.dim + 1) * 8
        layer = max(_layer_numbers(m, self.dim, self.n_tokens) for m in self.models.values())
        own = self.result_bytes // self.n_members * n_replicas
        return tokens + 2 * 8 * n_replicas * layer + 2 * own

    def memory(self, n_workers: int) -> int:
        """Estimate of the bytes that results, their means and this many running batches take together."""
        return 2 * self.result_bytes + n_workers * self.batch_bytes + _MEMBER_BYTES * self.n_members

    def start(self, batch: Batch) -> tuple[Tokens | Law, list[int]]:
        """Return what a worker needs to make the initial tokens of a batch, and its seeds."""
        seeds = list(self.seeds[batch[1]])
        if not isinstance(self.x0, np.ndarray):
            return self.x0, seeds
        return (self.x0[batch[1]] if self.x0.ndim == 3 else self.x0), seeds

    def seconds(self, *, n_workers: int = 1, n_threads: int | None = None) -> float:
        """Estimate how long the runs take, from up to half a second of steps and of observing at four of the points."""
        x0, seeds = self.start(self.batches[0])
        x = _initial_tokens(x0, seeds, self.n_tokens)
        models, per_run = list(self.models.values()), []
        for index in np.unique(np.linspace(0, len(models) - 1, 4).astype(int)):
            model = models[index]
            steps = trajectory(model, x, rng=seeds, n_threads=n_threads)
            next(steps)
            step = _median_seconds(functools.partial(next, steps), min(model.n_steps, 1000))
            once = _median_seconds(lambda: [f(0.0, x) for f in self.observe.values()], 1000)
            per_run.append((step * model.n_steps + once * len(self.times)) / len(seeds))
        return float(np.mean(per_run)) * self.n_members / n_workers


def _median_seconds(function: Callable[[], object], most: int) -> float:
    """Time a call, repeated for a quarter of a second or `most` times."""
    spent: list[float] = []
    while len(spent) < most and sum(spent) < 0.25:
        began = clock.perf_counter()
        function()
        spent.append(clock.perf_counter() - began)
    return float(np.median(spent))


def plan(
    model: Steps | Callable[..., Steps],
    x0: Law | Tokens,
    *,
    seeds: Sequence[int],
    observe: Mapping[str, Observable],
    sweep: Mapping[str, Sequence[Any]] | None = None,
    n_tokens: int | None = None,
    save_at: Any = None,
    memory_limit: int | None = None,
) -> Plan:
    """Check what `ensemble` is asked for, and return the plan; parameters and errors as there."""
    try:
        n_seeds = len(seeds)
    except TypeError as error:
        raise TypeError(f"seeds must be a sequence of integers, such as range(5), got {seeds!r}") from error
    if not isinstance(sweep, Mapping | None):
        raise TypeError(f"sweep must be a mapping of parameters' names to their values, got {sweep!r}")
    sweep = dict(sweep or {})
    values = tuple(parameter_values(given, f"sweep[{name!r}]") for name, given in sweep.items())
    check_names(sweep, observe if isinstance(observe, Mapping) else ())
    observe = observables(observe)
    if not observe:
        raise ValueError("observe must hold at least one observable: nothing else is kept")
    n_members = math.prod(map(len, values)) * n_seeds
    _check_bytes(n_members * (_MEMBER_BYTES + 8 * len(observe)), n_members, memory_limit)  # before they are listed
    seeds = tuple(checks.integer(seed, "seeds", low=0, high=2**63) for seed in seeds)
    if not seeds or len(set(seeds)) < len(seeds) or max(seeds) >= 2**63:
        raise ValueError(f"seeds must be distinct integers below 2**63, at least one, got {list(seeds)[:10]}")
    models: dict[tuple[int, ...], Steps] = {}
    is_model = hasattr(model, "step") and hasattr(model, "n_steps")
    if is_model and sweep:
        raise TypeError("model must be a function of the swept parameters that returns a model, where sweep is given")
    if not is_model and not callable(model):
        raise TypeError(f"model must be a model or a function that returns one, got {model!r}")
    for point in np.ndindex(*map(len, values)):
        parameters = {name: given[i] for (name, given), i in zip(sweep.items(), point, strict=True)}
        try:
            models[point] = cast(Steps, model) if is_model else cast(Callable[..., Steps], model)(**parameters)
        except Exception as error:
            error.add_note(f"while making the model for {parameters}")
            raise
        if missing := missing_members(models[point]):
            raise TypeError(
                f"model must return a model, got {models[point]!r} for {parameters}: it has no {', '.join(missing)}"
            )
    if isinstance(x0, np.ndarray):
        if n_tokens is not None:
            raise ValueError("n_tokens must be left out where x0 is an array")
        shape = checks.tokens(x0, "x0").shape
        if x0.ndim == 3 and len(x0) != len(seeds):
            raise ValueError(f"x0 must have shape (N, d), or (R, N, d) with one replica per seed, got {x0.shape}")
        n_tokens, dim = shape[1:]
    elif hasattr(x0, "sample"):
        n_tokens, dim = checks.integer(n_tokens, "n_tokens", low=1), checks.integer(_dim(x0), "x0.dim", low=2)
    else:
        raise TypeError(f"x0 must be an array of tokens or a law, got {x0!r}")
    dtype = x0.dtype if isinstance(x0, np.ndarray) else np.dtype(np.float64)
    models = {point: made.prepare(n_tokens, dim, dtype) for point, made in models.items()}
    grids = {(model.horizon, model.n_steps) for model in models.values()}
    if save_at is None and len(grids) == 1:
        n_times = min(grids)[1] + 1
        _check_bytes(n_members * (_MEMBER_BYTES + 8 * len(observe) * n_times), n_members, memory_limit)
    times = _times(save_at, models.values())
    made = Plan(
        names=tuple(sweep),
        values=values,
        models=models,
        x0=x0,
        n_tokens=n_tokens,
        dim=dim,
        seeds=seeds,
        observe=observe,
        times=times,
        save_at=save_at,
        shapes={},
        batch_size=max(1, _TOKENS_PER_BATCH // n_tokens),
    )
    check_memory(made, 1, memory_limit)  # before the first tokens are drawn, to see what the observables return
    made = dataclasses.replace(made, shapes=_shapes(made))
    names = {name: len(shape) for name, (shape, _) in made.shapes.items()}
    checks.dataset_names(names, others=(*_RESERVED, *sweep), suffixes=_MEANS)
    return made


def _times(save_at: Any, models: Iterable[Steps]) -> Floats:
    """Return the times that all models record."""
    grids = {(model.horizon, model.n_steps): model for model in models}
    if save_at is None:
        if len(grids) > 1:
            raise ValueError("save_at must be given where the models differ in horizon or number of steps")
        [(horizon, n_steps)] = grids
        return np.linspace(0, horizon, n_steps + 1)
    times, *others = (save_steps(save_at, model)[0] for model in grids.values())
    for other in others:
        if (differs := times != other).any():
            at = int(np.flatnonzero(differs)[0])
            raise ValueError(
                "save_at must hold times that every model reaches after a whole number of its steps, where the models "
                f"differ in them: save_at[{at}] = {np.asarray(save_at)[at]} is that of {times[at]:g} in one and of "
                f"{other[at]:g} in another"
            )
    return times


def ensemble(
    model: Steps | Callable[..., Steps],
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
) -> Any:
    """Run a model for every seed and every point of a grid of parameters.

    The member with seed s at a point is, to the bit, `simulate(model(**point), law.sample(n_tokens, rng=s), rng=s)`:
    the same initial tokens and noise at every point.

    Parameters
    ----------
    model : model, or function that returns one
        With `sweep`, it is called with one value of each parameter by name.
    x0 : Law or ndarray, shape (N, d) or (R, N, d)
        The law of the initial tokens, or the tokens: the same for all seeds, or a replica for each.
    seeds : sequence of int
        R distinct seeds, one per replica.
    observe : mapping of str to callable
        Each is called with (time, tokens of shape (R', N, d)) for any R' and returns an array with R' first.
    sweep : mapping of str to sequence, optional
        Values, numbers or strings, of each parameter.
    n_tokens : int
        N, where x0 is a law.
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
        study that it holds are not run again; functions are known by their names only.
    memory_limit : int, optional
        Bytes. Default: this machine's memory.
    progress : bool
        Show a bar with the time that is left on stderr.

    Returns
    -------
    xarray.Dataset
        Each observable with dimensions (parameters ..., replica, time, ...), its mean over replicas NAME_mean with a
        Student 99 % interval NAME_low, NAME_high, the coordinate `seed` and the flag `finished`. Attributes carry the
        study, the versions and the instruction set.

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

    Notes
    -----
    Runs of one point go through the kernels in batches of max(1, 4096 // N) replicas: the unit that a worker takes, and
    a chunk of the store. With a store, this process and workers of a process pool also keep a `Checkpoint` of each
    running batch beside it. A failing member ends the ensemble with a note of its coordinates; finished ones stay in
    the store.

    Examples
    --------
    >>> import chaosphere as cs
    >>> def model(beta):
    ...     return cs.Transformer(attention=cs.SoftmaxAttention(beta=beta), mlp=cs.MLP(width=8), depth=4, horizon=1.0)
    >>> data = cs.ensemble(
    ...     model, cs.laws.Uniform(dim=3), n_tokens=10, seeds=range(5), sweep={"beta": [1.0, 4.0]},
    ...     observe={"energy": cs.measures.Energy(beta=1.0)},
    ... )
    >>> dict(data["energy"].sizes)
    {'beta': 2, 'replica': 5, 'time': 5}
    """
    made = plan(
        model,
        x0,
        seeds=seeds,
        observe=observe,
        sweep=sweep,
        n_tokens=n_tokens,
        save_at=save_at,
        memory_limit=memory_limit,
    )
    return run(made, executor=executor, n_threads=n_threads, store=store, memory_limit=memory_limit, progress=progress)


def run(
    made: Plan,
    *,
    executor: futures.Executor | None = None,
    n_threads: int | None = None,
    store: str | os.PathLike[str] | None = None,
    memory_limit: int | None = None,
    progress: bool = False,
) -> Any:
    """Run a plan; parameters, result and errors as in `ensemble`."""
    checks.extra("xarray", "io")
    if n_threads is not None:
        checks.integer(n_threads, "n_threads", low=1)
    refuse_fork(executor)
    n_workers, n_per_host = workers(executor)
    check_memory(made, n_per_host or 1, memory_limit)
    disk = None if store is None else Store(files.local(store, "store"))
    with nullcontext() if disk is None else disk.lock():
        return _run(
            made,
            disk,
            executor=executor,
            n_workers=n_workers,
            n_per_host=n_per_host,
            n_threads=n_threads,
            progress=progress,
        )


def _run(
    made: Plan,
    disk: Store | None,
    *,
    executor: futures.Executor | None,
    n_workers: int,
    n_per_host: int | None,
    n_threads: int | None,
    progress: bool,
) -> Any:
    identity = _identity(made)
    if disk is not None:
        check(identity, "store")
        disk.open(identity, _coordinates(made), _variables(made))
    todo = [batch for batch in made.batches if disk is None or not disk.is_finished(batch)]
    memory = {}
    if disk is None:
        memory = {name: np.full(shape, np.nan, dtype) for name, (_, shape, _, dtype) in _variables(made).items()}
    done = np.zeros((*map(len, made.values), len(made.seeds)), dtype=bool)
    n_done = made.n_members - sum(b[1].stop - b[1].start for b in todo)
    bar = None
    if progress:
        bar = checks.extra("tqdm", "progress").tqdm(total=made.n_members, initial=n_done, unit="run")
    is_local = executor is None or isinstance(executor, futures.ProcessPoolExecutor)
    folder = None
    if disk is not None and is_local:
        folder = disk.path.with_name(disk.path.name + ".running")
        folder.mkdir(exist_ok=True)
    share = 1 if executor is None else n_per_host
    try:
        for batch, values in _finished(made, todo, executor, n_workers, share, n_threads, folder, disk is not None):
            index: Any = (*batch[0], batch[1])
            if disk is not None:
                disk.write(batch, values)
                if folder is not None:
                    remove(folder / _checkpoint_name(batch))
            else:
                done[index] = True
                for name, array in values.items():
                    memory[name][index] = array
            if bar is not None:
                bar.update(batch[1].stop - batch[1].start)
    except KeyboardInterrupt as error:
        if disk is None:
            raise
        stopped = str(error).partition(";")[0] or "interrupted at once"  # the rest tells how to go on with one run
        raise Interrupted(
            f"{stopped}; {disk.n_finished()} of {made.n_members} runs are in {disk.path}, and the same call again "
            "continues from there"
        ) from None
    except ChildProcessError as error:
        if disk is None:
            raise ChildProcessError(f"{error}; with a store, what is finished is kept") from error.__cause__
        raise ChildProcessError(
            f"{error}; {disk.path} keeps {disk.n_finished()} of {made.n_members} runs, and the same call again "
            "continues from there"
        ) from error.__cause__
    finally:
        if bar is not None:
            bar.close()
        if folder is not None and not any(folder.iterdir()):
            folder.rmdir()
    if disk is not None:
        if folder is not None:  # a kill may have left the checkpoint of a batch that is in the store
            shutil.rmtree(folder, ignore_errors=True)
        return load_ensemble(disk.path)
    xarray = checks.extra("xarray", "io")
    variables = {name: (dims, memory[name]) for name, (dims, _, _, _) in _variables(made).items()}
    flags = {"finished": ((*made.names, "replica"), done)}
    attributes = {"identity": json.dumps(identity), "configuration": json.dumps(results.configuration())}
    return _with_means(xarray.Dataset(variables | flags, coords=_coordinates(made), attrs=attributes))


def load_ensemble(store: str | os.PathLike[str]) -> Any:
    """Return the dataset of an ensemble's store as it is now, also while it is being written.

    Parameters
    ----------
    store : path

    Returns
    -------
    xarray.Dataset
        As `ensemble` returns; results of members that are not `finished` are NaN, and means are over the finished ones.

    Raises
    ------
    ValueError
        If there is no store at the path, or it is damaged.

    Notes
    -----
    Checksums of all that is read are verified; a store of version 0.1.0, which has none, is read with a warning. The
    store is a plain Zarr group: `xarray.open_zarr(store, consolidated=False)` reads parts of it.

    Examples
    --------
    >>> load_ensemble("nowhere.zarr")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: store ...nowhere.zarr is not there, or is not a store
    """
    return _with_means(Store(files.local(store, "store")).read())


def check_memory(made: Plan, n_workers: int, limit: int | None) -> None:
    """Raise ValueError if the estimate for this machine passes the limit in bytes; None is the machine's memory."""
    _check_bytes(made.memory(n_workers), made.n_members, limit)


def _check_bytes(n_bytes: int, n_members: int, limit: int | None) -> None:
    if limit is None:
        limit, kind = checks.machine_memory(), "this machine's memory"
    else:
        limit, kind = checks.integer(limit, "memory_limit", low=1), "memory_limit"
    if n_bytes > limit:
        raise ValueError(
            f"memory_limit: {n_members} runs would take about {n_bytes / 1e9:.3g} GB here, more than "
            f"{limit / 1e9:.3g} GB ({kind}); take fewer tokens, or observe less or at fewer times (save_at)"
        )


def _finished(
    made: Plan,
    todo: list[Batch],
    executor: futures.Executor | None,
    n_workers: int,
    share: int | None,
    n_threads: int | None,
    folder: Path | None,
    is_stored: bool,
) -> Iterator[tuple[Batch, dict[str, Floats]]]:
    """Yield batches with their results as they finish; a stop lets the running ones finish where that keeps them."""
    isa, call = abi.isa_in_use(), uuid.uuid4().hex

    def arguments(batch: Batch) -> tuple[Any, ...]:
        x0, seeds = made.start(batch)
        path = None if folder is None else folder / _checkpoint_name(batch)
        model = made.models[batch[0]]
        where = dict(zip(made.names, (v[i].item() for v, i in zip(made.values, batch[0], strict=True)), strict=True))
        shapes = {name: (len(seeds), *shape) for name, (shape, _) in made.shapes.items()}
        observe, save_at = (made.observe, shapes), made.save_at
        return model, x0, seeds, made.n_tokens, observe, save_at, n_threads, share, isa, path, where, call

    stop = StopRequest()
    with stop if is_stored else nullcontext():
        if executor is None:
            for batch in todo:
                yield batch, _run_batch(*arguments(batch))
                if stop.received is not None:
                    raise Interrupted(stop.received.name)
            return
        # Enough in hand that no worker waits, and no more: finished results would pile up.
        window = 64 if share is None else 2 * n_workers
        left = iter(todo)
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
                            running[executor.submit(_run_batch, *arguments(batch))] = batch
                    except futures.BrokenExecutor as error:
                        broken = error
                elif not hasattr(executor, "_client"):  # Dask would cancel those that run, too
                    running = {future: batch for future, batch in running.items() if not future.cancel()}
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
                    except _worker_deaths(executor) as error:
                        if stop.received is None:
                            broken = error  # but others of these may be there
                        else:  # one that caught it between two runs is gone
                            interrupted = Interrupted(stop.received.name)
                    else:
                        yield batch, values
        finally:
            for future in running:
                future.cancel()
        if interrupted is not None:
            raise interrupted
        if broken is not None:
            raise ChildProcessError("a worker died, killed or out of memory (the system's log may tell)") from broken


def _worker_deaths(executor: futures.Executor) -> tuple[type[Exception], ...]:
    """Return the errors by which an executor reports that a worker is gone."""
    if not hasattr(executor, "_client"):
        return (futures.BrokenExecutor,)
    return futures.BrokenExecutor, checks.extra("distributed", "dask").KilledWorker


def _checkpoint_name(batch: Batch) -> str:
    return "-".join(map(str, (*batch[0], batch[1].start))) + ".npz"


def _run_batch(
    model: Steps,
    x0: Law | Tokens,
    seeds: list[int],
    n_tokens: int,
    observe: tuple[dict[str, Observable], dict[str, tuple[int, ...]]],
    save_at: Any,
    n_threads: int | None,
    share: int | None,
    isa: str,
    checkpoint: Path | None,
    where: dict[str, Any],
    call: str,
) -> dict[str, Floats]:
    """Run replicas of one parameter point; what a worker does. Returns arrays (replica, time, ...).

    `observe` holds the observables and the shapes of one value of each.
    """
    if abi.isa_in_use() != isa:
        raise RuntimeError(
            f"a worker uses the instruction set {abi.isa_in_use()}, this process {isa}, which would change bits: set "
            f"CHAOSPHERE_ISA to one that both have"
        )
    end_if_stopped()
    if call in _stopped:
        raise Interrupted(_stopped[call])
    if n_threads is None:
        n_threads = 1 if share is None else max(1, processors() // share)
    functions = {name: _with_threads(function, n_threads) for name, function in observe[0].items()}
    try:
        x = _initial_tokens(x0, seeds, n_tokens)
        sol = simulate(
            model,
            x,
            rng=seeds,
            save_at=save_at,
            observe=functions,
            n_threads=n_threads,
            save_states=False,
            checkpoint=None if checkpoint is None else Checkpoint(path=checkpoint, keep=True),
        )
        for name, shape in observe[1].items():
            values = sol.observables[name]
            if values.shape[1:] != shape or values.dtype.kind not in "iufb":
                raise ValueError(
                    f"observe[{name!r}] must return real numbers of one shape for as many tokens: before the run it "
                    f"was {shape}, now {values.shape[1:]} of {values.dtype}"
                )
        return {name: np.moveaxis(values, 0, 1) for name, values in sol.observables.items()}
    except KeyboardInterrupt as error:
        _stopped[call] = str(error)
        raise
    except Exception as error:
        error.add_note(f"in the runs with {where or 'no swept parameter'} and seeds {seeds[0]} … {seeds[-1]}")
        raise


def _with_threads(function: Observable, n_threads: int) -> Observable:
    """Return an observable that asks for as many threads as the run, where it has a field for them that is unset."""
    if dataclasses.is_dataclass(function) and getattr(function, "n_threads", 0) is None:
        threaded: Observable = dataclasses.replace(cast(Any, function), n_threads=n_threads)
        return threaded
    return function


def _initial_tokens(x0: Law | Tokens, seeds: Sequence[int], n_tokens: int) -> Tokens:
    if not isinstance(x0, np.ndarray):
        samples = [x0.sample(n_tokens, rng=seed) for seed in seeds]
        for sample in samples:
            if checks.tokens(sample, "what x0.sample returns").shape != (1, n_tokens, x0.dim) or sample.ndim != 2:
                raise ValueError(
                    f"x0.sample must return tokens of shape {(n_tokens, x0.dim)}, as n_tokens and dim say, got "
                    f"{sample.shape}"
                )
        return np.stack(samples)
    return x0 if x0.ndim == 3 else np.repeat(x0[None], len(seeds), axis=0)


def parameter_values(given: Sequence[Any], name: str) -> np.ndarray[Any, Any]:
    """Return the values of a swept parameter as an array, checked."""
    kinds = {isinstance(value, str) for value in given}
    values = np.array(list(given) if len(kinds) == 1 else [])
    if values.ndim != 1 or not len(values) or values.dtype.kind not in "iufUb":
        raise ValueError(f"{name} must be a list of numbers or of strings, got {given!r}")
    if len(np.unique(values)) < len(values) or (values.dtype.kind == "f" and not np.isfinite(values).all()):
        raise ValueError(f"{name} must be finite and distinct, got {given!r}")
    return values


def check_names(sweep: Iterable[str], observe: Iterable[str]) -> None:
    """Raise TypeError or ValueError if a name cannot be one of the dataset's, or stands for two of its parts."""
    for name in [*sweep, *observe]:
        if name in _RESERVED or (isinstance(name, str) and "/" in name):
            raise ValueError(
                f"sweep and observe need names other than {', '.join(_RESERVED)} and without /, got {name!r}"
            )
    for name in sweep:
        checks.label(name, "a name in sweep")
    if set(sweep) & set(observe):
        raise ValueError(f"sweep and observe must not share names, got {sorted(set(sweep) & set(observe))}")
    checks.dataset_names(dict.fromkeys(observe, 0), others=(*_RESERVED, *sweep), suffixes=_MEANS)


def _shapes(made: Plan) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Observe the start of two replicas and of one, to see what each observable returns."""
    x0, seeds = made.start(((), slice(0, 1)))
    x = np.repeat(_initial_tokens(x0, seeds, made.n_tokens), 2, axis=0)
    x.flags.writeable = False
    shapes = {}
    for name, function in made.observe.items():
        value, alone = (_observed(function, name, time=float(made.times[0]), tokens=x[:n]) for n in (2, 1))
        # For another number of replicas, what is no axis of theirs keeps its length.
        if alone.shape != (1, *value.shape[1:]):
            raise ValueError(
                f"observe[{name!r}] must return an array with one entry per replica first: for tokens {x.shape} it "
                f"returned shape {value.shape}, for tokens {x[:1].shape} shape {alone.shape}"
            )
        dtype = np.dtype(np.float32) if value.dtype == np.float32 else np.dtype(np.float64)
        shapes[name] = (value.shape[1:], dtype)
    return shapes


def _observed(function: Observable, name: str, *, time: float, tokens: Tokens) -> np.ndarray[Any, Any]:
    """Return the value of an observable, checked to be real numbers with one entry per replica first."""
    returned = function(time, tokens)
    try:
        value = np.asarray(returned)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"observe[{name!r}] must return an array of real numbers, got {returned!r}") from error
    if value.dtype.kind not in "iufb":
        raise TypeError(f"observe[{name!r}] must return real numbers, got {value.dtype} ({type(returned).__name__})")
    if value.size == 0:
        raise ValueError(f"observe[{name!r}] must return at least one number per replica, got shape {value.shape}")
    if value.shape[:1] != (len(tokens),):
        raise ValueError(
            f"observe[{name!r}] must return an array with one entry per replica first: for tokens {tokens.shape} "
            f"shape ({len(tokens)}, ...), got {value.shape}"
        )
    return value


def _dim(law: Any) -> Any:
    if not hasattr(law, "dim"):
        raise TypeError(f"x0 must have dim, the dimension of its tokens, as a law has; got {law!r}")
    return law.dim


def _coordinates(made: Plan) -> dict[str, Coordinate]:
    parameters = {name: ((name,), values) for name, values in zip(made.names, made.values, strict=True)}
    return {**parameters, "seed": (("replica",), np.array(made.seeds, dtype=np.int64)), "time": (("time",), made.times)}


def _variables(made: Plan) -> dict[str, Variable]:
    found: dict[str, Variable] = {}
    n_replicas, n_times = len(made.seeds), len(made.times)
    ones = (1,) * len(made.names)
    for name, (shape, dtype) in made.shapes.items():
        dims = (*made.names, "replica", "time", *(f"{name}_{axis}" for axis in range(len(shape))))
        whole = (*map(len, made.values), n_replicas, n_times, *shape)
        chunks = (*ones, min(made.batch_size, n_replicas), n_times, *shape)
        found[name] = (dims, whole, chunks, dtype)
    return found


def _identity(made: Plan) -> dict[str, Any]:
    """Return what decides the bits of the results, as JSON-able values; the models by the first and a digest of all."""
    models = [describe(model) for model in made.models.values()]
    return {
        "model": models[0],
        "models_sha256": hashlib.sha256(json.dumps(models).encode()).hexdigest(),
        "sweep": {name: values.tolist() for name, values in zip(made.names, made.values, strict=True)},
        "x0": describe(made.x0),
        "n_tokens": made.n_tokens,
        "seeds": list(made.seeds),
        "observe": describe(made.observe),
        "times": made.times.tolist(),
        "stream_version": STREAM_VERSION,
        "instruction_set": abi.isa_in_use(),
        **{key: results.configuration()[key] for key in ("chaosphere", "numpy")},
    }


def _with_means(dataset: Any) -> Any:
    """Add the mean of each variable over its finished replicas, with a Student 99 % interval (NaN below two)."""
    finished = dataset["finished"]
    points = finished.shape[:-1]
    added: dict[str, Any] = {}
    for name, variable in dataset.data_vars.items():
        if name == "finished" or "replica" not in variable.dims:
            continue
        values, rest = variable.values, variable.shape[len(points) + 1 :]
        out = np.full((3, *points, *rest), np.nan)
        for point in np.ndindex(*points):
            rows = values[point][finished.values[point]]
            if len(rows) > 1:
                out[(slice(None), *point)] = results.mean_interval(rows)
            elif len(rows) == 1:
                out[(0, *point)] = rows[0]
        dims = tuple(d for d in variable.dims if d != "replica")
        added |= {f"{name}_{part}": (dims, out[i]) for i, part in enumerate(("mean", "low", "high"))}
    return dataset.assign(added)


def _evaluations_per_step(model: Any) -> int:
    """How often a step of the model evaluates attention."""
    inner = getattr(model, "model", model)  # of a mean-field limit
    if getattr(inner, "attention", None) is None:
        return 0
    return {"heun": 2, "rk4": 4}.get(getattr(inner, "scheme", ""), 1)


def _layer_numbers(model: Any, dim: int, n_tokens: int) -> int:
    """How many normals a step of the model draws for a replica."""
    inner = getattr(model, "model", model)
    mlp, field = getattr(inner, "mlp", None), getattr(inner, "field", None)
    n_merged = getattr(inner, "n_merged", 1)
    if mlp is not None:
        return n_merged * int(mlp.width) * (2 * dim + 1)
    if field is None:
        return 0
    if field.method == "spectral":
        return int(field.basis()[0].size) * dim
    return n_tokens * (dim + 2 * n_tokens) if field.method == "dense" else n_merged * field.width * (2 * dim + 1)
