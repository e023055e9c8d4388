"""The time loop, its result, and its checkpoints.

A model is known by its `n_steps`, `horizon` and `step` alone; a Transformer may take several steps at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere import checks, distributed
from chaosphere.activations import Activation
from chaosphere.checkpoints import Checkpoint, CheckpointFile, Interrupted, Record, StopRequest
from chaosphere.checks import Floats, Tokens
from chaosphere.covariance import CovarianceKernel
from chaosphere.errors import Picklable
from chaosphere.kernels import abi
from chaosphere.measures import Steps
from chaosphere.seeds import STREAM_VERSION, Noise, Seed, roots
from chaosphere.sphere import DegenerateTokenError
from chaosphere.transformer import Transformer

Observable = Callable[[float, Tokens], Any]
_COSINES = np.linspace(-1, 1, 9)  # κ at these tells kernels apart


class SimulationError(Picklable, RuntimeError):
    """A run stopped because a token became zero or not finite.

    Attributes
    ----------
    step : int
        The step that failed, from 0.
    last_state : ndarray
        The tokens before it.
    """

    def __init__(self, message: str, *, step: int, last_state: Tokens) -> None:
        super().__init__(message)
        self.step = step
        self.last_state = last_state


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """The result of `simulate`.

    Attributes
    ----------
    times : ndarray, shape (n_times,)
        When the observables were recorded: save_at; without save_at every step from 0 to T if anything is observed,
        else T alone.
    state_times : ndarray, shape (n_states,)
        When the states were saved: save_at, or T alone.
    states : ndarray, shape (n_states, N, d) or (n_states, R, N, d)
    final : ndarray, shape (N, d) or (R, N, d)
        The tokens at time T.
    observables : dict of ndarray
        First axis along times.
    attributes : dict
        The model, with the methods that were chosen for it, the seed, the versions of the noise streams, of chaosphere
        and of NumPy, and the instruction set, as JSON-able values.
    """

    times: Floats
    state_times: Floats
    states: Tokens
    final: Tokens
    observables: dict[str, np.ndarray[Any, Any]]
    attributes: dict[str, Any]

    def to_xarray(self) -> Any:
        """Return an xarray.Dataset with dimensions time, (replica,) token, coordinate.

        States stand on a dimension state_time where their times differ from those of the observables.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        xarray = checks.extra("xarray", "io")
        same = np.array_equal(self.times, self.state_times)
        state_dim = "time" if same else "state_time"
        replica = ("replica",) if self.final.ndim == 3 else ()
        variables: dict[str, Any] = {"x": ((state_dim, *replica, "token", "coordinate"), self.states)}
        for name, values in self.observables.items():
            is_per_replica = bool(replica) and values.ndim > 1 and values.shape[1] == self.final.shape[0]
            leading = ("time", *replica) if is_per_replica else ("time",)
            trailing = tuple(f"{name}_{axis}" for axis in range(values.ndim - len(leading)))
            variables[name] = (leading + trailing, values)
        coordinates = {"time": self.times} | ({} if same else {"state_time": self.state_times})
        attributes = {
            key: json.dumps(value) if isinstance(value, dict) else value for key, value in self.attributes.items()
        }
        return xarray.Dataset(variables, coords=coordinates, attrs=attributes)


def trajectory(
    model: Steps,
    x: Tokens,
    *,
    rng: Seed | Sequence[Seed],
    shared_noise: bool = False,
    n_threads: int | None = None,
    first_step: int = 0,
) -> Iterator[tuple[float, Tokens]]:
    """Iterate over a run: yield (time, tokens) at the start and after every step.

    Parameters as in `simulate`; `first_step` > 0 continues from tokens that are the state after that many steps.

    Yields
    ------
    time : float
    tokens : ndarray, shape of x

    Raises
    ------
    SimulationError
        If a token becomes zero or not finite.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=4, horizon=2.0)
    >>> [time for time, tokens in trajectory(model, cs.sample_uniform(5, 3, rng=0), rng=0)]
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    run = _steps(model, x, rng=rng, shared_noise=shared_noise, n_threads=n_threads, first_step=first_step, stops=None)
    del x  # a caller who keeps no state needs memory for one
    for index, tokens in run:
        yield index * model.horizon / model.n_steps, tokens


def _steps(
    model: Steps,
    x: Tokens,
    *,
    rng: Seed | Sequence[Seed],
    shared_noise: bool,
    n_threads: int | None,
    first_step: int,
    stops: NDArray[np.int64] | None,
) -> Iterator[tuple[int, Tokens]]:
    """Yield (steps taken, tokens) at the start and after every step; with stops at least there, to the same bits."""
    batch = checks.tokens(x)
    model = model.prepare(batch.shape[1], batch.shape[2], batch.dtype)
    n_threads = checks.threads(n_threads)
    noise = Noise(rng, n_replicas=batch.shape[0], is_shared=shared_noise, n_threads=n_threads)
    is_batch = x.ndim == 3
    yield first_step, x
    del x
    index = first_step
    while index < model.n_steps:
        n_steps = 1
        try:
            if stops is not None and isinstance(model, Transformer):
                n_steps = min(model.steps_at_once(batch), int(stops[stops > index][0]) - index)
                batch = model.step(batch, index, noise=noise, n_threads=n_threads, n_steps=n_steps)
            else:
                batch = model.step(batch, index, noise=noise, n_threads=n_threads)
        except DegenerateTokenError as error:
            if n_steps > 1:  # which of them?
                stops = np.arange(model.n_steps + 1)
                continue
            raise SimulationError(
                f"step {index} (time {index * model.horizon / model.n_steps:g}): {error}", step=index, last_state=batch
            ) from error
        index += n_steps
        yield index, batch if is_batch else batch[0]


def simulate(
    model: Steps,
    x: Tokens,
    *,
    rng: Seed | Sequence[Seed],
    save_at: Any = None,
    observe: Mapping[str, Observable] | None = None,
    shared_noise: bool = False,
    n_threads: int | None = None,
    save_states: bool = True,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    comm: Any = None,
) -> Solution:
    """Run a model from tokens x.

    Parameters
    ----------
    model : Transformer or another model
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere. R replicas are independent systems with independent noise.
    rng : int, SeedSequence or Generator
        The same int gives the same noise for every N and for every model over the same time grid. A list of R seeds
        makes replica r, to the bit, the run of its tokens alone with seed r.
    save_at : array_like of float, optional
        Increasing times in [0, T]. The state at time t is that after ⌊t L / T⌋ steps. Default: the final state only.
    observe : mapping of str to callable, optional
        Each is called with (time, tokens) at the times of `save_at`, or at every step without it; returns a number or
        an array of fixed shape.
    shared_noise : bool
        All replicas see the same noise (the law given the noise).
    n_threads : int, optional
        Does not change a bit of the result.
    save_states : bool
        False keeps the final state only, also with `save_at`.
    progress : bool
        Show a progress bar on stderr.
    checkpoint : path or Checkpoint, optional
        File that keeps the state of the run: written every minute, or as often as the Checkpoint says, and on SIGINT
        and SIGTERM, which then stop the run after the current step. If it exists the run continues from it, with the
        same bits as a run that was never interrupted. It is removed at the end, unless kept.
    comm : mpi4py.MPI.Comm, optional
        Spread one system over the ranks, which all make this same call: each owns whole blocks of the tokens and
        gathers the others once per evaluation of attention. The same bits as one process, on every rank. The first
        rank reads and writes the checkpoint. For a Transformer, or a LimitSDE whose tokens have no noise of their own.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or a checkpoint is damaged or belongs to another run.
    SimulationError
        If a token becomes zero or not finite; it keeps the last good state.
    OSError
        If a checkpoint cannot be written, such as on a full disk; the last good one is kept.
    Interrupted
        A KeyboardInterrupt: if SIGINT or SIGTERM stopped a run with a checkpoint.

    Notes
    -----
    Cost and memory are those of the model's steps, plus the saved states. With P ranks each evaluates attention between
    its N/P tokens and all N (fast sums whole), sends N d / P numbers and receives N d; memory is O(N d) on each. Start
    such a program with `mpiexec -n P python -m mpi4py`, so that an error on one rank ends the others.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(beta=1.0), mlp=cs.MLP(width=32), depth=10, horizon=1.0)
    >>> x = cs.sample_uniform(50, 3, rng=0)
    >>> sol = cs.simulate(model, x, rng=0, observe={"energy": cs.measures.Energy(beta=1.0)})
    >>> sol.observables["energy"].shape, sol.final.shape
    ((11,), (50, 3))
    """
    batch = checks.tokens(x)
    n_replicas, n_tokens, dim = batch.shape
    model = model.prepare(n_tokens, dim, x.dtype)
    sequences = roots(rng, n_replicas=n_replicas, is_shared=shared_noise)
    observe = dict(observe or {})
    for name, function in observe.items():
        if not callable(function):
            raise TypeError(f"observe[{name!r}] must be callable on (time, tokens), got {function!r}")
    if save_at is None:
        state_times = np.array([model.horizon])
        times = np.linspace(0, model.horizon, model.n_steps + 1) if observe else state_times
    else:
        times = state_times = save_times(save_at, model.horizon)
    if not save_states:
        state_times = np.array([model.horizon])
    state_steps, steps = steps_at(state_times, model), steps_at(times, model)
    over = distributed.rows(comm, n_tokens)
    # A Generator stands for other noise on every rank: the first one's serves all.
    sequences = over.agree(sequences)
    attributes: dict[str, Any] = {
        "model": describe(model),
        "entropy": _one_or_list([sequence.entropy for sequence in sequences]),
        "spawn_key": _one_or_list([tuple(sequence.spawn_key) for sequence in sequences]),
        "stream_version": STREAM_VERSION,
        "shared_noise": int(shared_noise),
        "chaosphere": version("chaosphere"),
        "numpy": np.__version__,
        "instruction_set": abi.isa_in_use(),
    }
    file = None
    record = Record(step=-1, tokens=x, states=[], observables={name: [] for name in observe})
    if checkpoint is not None:
        spec = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(path=checkpoint)
        identity = attributes | {"save_at": times.tolist(), "observe": describe(observe), "tokens": describe(x)}
        file = CheckpointFile(spec, identity, steps, state_steps)
        record = over.on_first(lambda: file.read(list(observe))) or record
    bar = checks.extra("tqdm", "progress").tqdm(total=model.n_steps, unit="step") if progress else None
    first_step = max(record.step, 0)
    run = _steps(
        distributed.spread(model, over),
        over.own(record.tokens),
        rng=sequences if len(sequences) > 1 else sequences[0],
        shared_noise=shared_noise,
        n_threads=n_threads,
        first_step=first_step,
        # A checkpoint may be due after any step.
        stops=np.union1d([*state_steps, *steps], model.n_steps) if file is None else None,
    )
    stop = StopRequest()
    try:
        with stop if file is not None else nullcontext():
            for step, own in run:
                is_stopping = file is not None and over.any(stop.received is not None)
                is_due = file is not None and over.agree(file.is_due(step))
                is_recorded = step > record.step and (step in steps or step in state_steps)
                is_needed = is_recorded or is_due or is_stopping or step == model.n_steps
                tokens = over.gather(own) if is_needed else own
                if step > record.step:
                    for time in times[steps == step]:
                        for name, function in observe.items():
                            record.observables[name].append(np.array(function(float(time), tokens)))
                    record.states += [tokens] * int((state_steps == step).sum())
                    record.step, record.tokens = step, tokens
                if bar is not None:
                    bar.update(step - bar.n)
                if file is not None and (is_due or is_stopping):
                    over.on_first(lambda: file.write(record))
                if file is not None and is_stopping:
                    raise Interrupted(_stopped(stop, file, step, model.n_steps))
            if file is not None and over.any(stop.received is not None):  # since the last step
                over.on_first(lambda: file.write(record))
                raise Interrupted(_stopped(stop, file, step, model.n_steps))
    except BaseException:
        # Ranks do not fail together, so with several there is nobody to gather from.
        if file is not None and comm is None and record.step >= 0:
            file.write(record)
        raise
    finally:
        if bar is not None:
            bar.close()
    if file is not None and not file.spec.keep:
        over.on_first(file.remove)
    return Solution(
        times=times,
        state_times=state_times,
        states=np.stack(record.states),
        final=record.tokens,
        observables={name: np.stack(values) for name, values in record.observables.items()},
        attributes=attributes,
    )


def _one_or_list(values: list[Any]) -> str:
    return str(values[0] if len(values) == 1 else values)


def _stopped(stop: StopRequest, file: CheckpointFile, step: int, n_steps: int) -> str:
    name = stop.received.name if stop.received is not None else "a signal to another rank"
    return (
        f"{name}: stopped after step {step} of {n_steps}; {file.path} holds it, and the same call again continues from "
        "there"
    )


def save_times(save_at: Any, horizon: float) -> Floats:
    """Return `save_at` as an array, checked to increase within [0, horizon]."""
    times = np.array(save_at, dtype=np.float64)
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"save_at must be a list of times, got {times.tolist()}")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any() or times[0] < 0 or times[-1] > horizon * (1 + 1e-12):
        raise ValueError(f"save_at must increase within [0, {horizon:g}], got {times.tolist()}")
    return times


def steps_at(times: Floats, model: Steps) -> NDArray[np.int64]:
    """Return ⌊t L / T⌋ for each time t: the steps made by then."""
    # The small excess absorbs the rounding of t L / T for times that lie on the grid.
    return np.floor(times * model.n_steps / model.horizon + 1e-9).astype(np.int64)


def describe(value: Any) -> Any:
    """Return a model, or any part of one, as JSON-able values; arrays by shape, dtype and SHA-256.

    Numbers of threads are left out: they change no bit.
    """
    if isinstance(value, Activation):
        return value.name
    if isinstance(value, CovarianceKernel):
        return {"type": "CovarianceKernel", "name": value.name, "dim": value.dim, "values": value(_COSINES).tolist()}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name != "n_threads"]
        return {"type": type(value).__name__} | {name: describe(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {name: describe(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": digest}
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return value
