"""The time loop, its result, and its checkpoints. A model is known by its `n_steps`, `horizon` and `step` alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time as clock
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere import checks
from chaosphere.activations import Activation
from chaosphere.checks import Floats, Tokens
from chaosphere.covariance import CovarianceKernel
from chaosphere.measures import Steps
from chaosphere.seeds import STREAM_VERSION, Noise, Seed, root
from chaosphere.sphere import DegenerateTokenError

Observable = Callable[[float, Tokens], Any]
_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_COSINES = np.linspace(-1, 1, 9)  # κ at these tells kernels apart


class SimulationError(RuntimeError):
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
        The model, with the methods that were chosen for it, the seed, the version of the noise streams, as JSON-able
        values.
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
    model: Steps, x: Tokens, *, rng: Seed, shared_noise: bool = False, n_threads: int | None = None, first_step: int = 0
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
    batch = checks.tokens(x)
    model = model.prepare(batch.shape[1], batch.shape[2], batch.dtype)
    n_threads = checks.threads(n_threads)
    noise = Noise(rng, n_replicas=batch.shape[0], is_shared=shared_noise, n_threads=n_threads)
    yield first_step * model.horizon / model.n_steps, x
    for index in range(first_step, model.n_steps):
        try:
            batch = model.step(batch, index, noise=noise, n_threads=n_threads)
        except DegenerateTokenError as error:
            raise SimulationError(
                f"step {index} (time {index * model.horizon / model.n_steps:g}): {error}", step=index, last_state=batch
            ) from error
        yield (index + 1) * model.horizon / model.n_steps, batch if x.ndim == 3 else batch[0]


def simulate(
    model: Steps,
    x: Tokens,
    *,
    rng: Seed,
    save_at: Any = None,
    observe: Mapping[str, Observable] | None = None,
    shared_noise: bool = False,
    n_threads: int | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Solution:
    """Run a model from tokens x.

    Parameters
    ----------
    model : Transformer or another model
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere. R replicas are independent systems with independent noise.
    rng : int, SeedSequence or Generator
        The same int gives the same noise for every N and for every model over the same time grid.
    save_at : array_like of float, optional
        Increasing times in [0, T]. The state at time t is that after ⌊t L / T⌋ steps. Default: the final state only.
    observe : mapping of str to callable, optional
        Each is called with (time, tokens) at the times of `save_at`, or at every step without it; returns a number or
        an array of fixed shape.
    shared_noise : bool
        All replicas see the same noise (the law given the noise).
    n_threads : int, optional
        Does not change a bit of the result.
    progress : bool
        Show a progress bar on stderr.
    checkpoint : path, optional
        File that keeps the state of the run: written about every minute and on interruption, each time to a temporary
        name that is then renamed, and removed at the end. If it exists the run continues from it, with the same bits as
        a run that was never interrupted; a checkpoint of another run is refused.

    Returns
    -------
    Solution

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    SimulationError
        If a token becomes zero or not finite; it keeps the last good state.

    Notes
    -----
    Cost and memory are those of the model's steps, plus the saved states.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(beta=1.0), mlp=cs.MLP(width=32), depth=10, horizon=1.0)
    >>> x = cs.sample_uniform(50, 3, rng=0)
    >>> sol = cs.simulate(model, x, rng=0, observe={"energy": cs.measures.Energy(beta=1.0)})
    >>> sol.observables["energy"].shape, sol.final.shape
    ((11,), (50, 3))
    """
    model = model.prepare(checks.tokens(x).shape[1], x.shape[-1], x.dtype)
    sequence = root(rng)
    observe = dict(observe or {})
    for name, function in observe.items():
        if not callable(function):
            raise TypeError(f"observe[{name!r}] must be callable on (time, tokens), got {function!r}")
    if save_at is None:
        state_times = np.array([model.horizon])
        times = np.linspace(0, model.horizon, model.n_steps + 1) if observe else state_times
    else:
        times = state_times = save_times(save_at, model.horizon)
    state_steps, steps = steps_at(state_times, model), steps_at(times, model)
    attributes: dict[str, Any] = {
        "model": describe(model),
        "entropy": str(sequence.entropy),
        "spawn_key": str(tuple(sequence.spawn_key)),
        "stream_version": STREAM_VERSION,
        "shared_noise": int(shared_noise),
    }
    record = _Record(step=-1, tokens=x, states=[], observables={name: [] for name in observe})
    identity = attributes | {"save_at": times.tolist(), "observe": list(observe), "tokens": describe(x)}
    file = None if checkpoint is None else _Checkpoint(Path(checkpoint), json.dumps(identity), steps, state_steps)
    if file is not None and file.path.exists():
        record = file.read(list(observe))
    bar = checks.extra("tqdm", "progress").tqdm(total=model.n_steps, unit="step") if progress else None
    first_step = max(record.step, 0)
    run = trajectory(
        model, record.tokens, rng=sequence, shared_noise=shared_noise, n_threads=n_threads, first_step=first_step
    )
    try:
        for step, (_, tokens) in enumerate(run, start=first_step):
            if step > record.step:
                for time in times[steps == step]:
                    for name, function in observe.items():
                        record.observables[name].append(np.array(function(float(time), tokens)))
                record.states += [tokens] * int((state_steps == step).sum())
                record.step, record.tokens = step, tokens
            if bar is not None:
                bar.update(step - bar.n)
            if file is not None:
                file.write_if_due(record)
    except BaseException:
        if file is not None and record.step >= 0:
            file.write(record)
        raise
    finally:
        if bar is not None:
            bar.close()
    if file is not None:
        file.path.unlink(missing_ok=True)
    return Solution(
        times=times,
        state_times=state_times,
        states=np.stack(record.states),
        final=record.tokens,
        observables={name: np.stack(values) for name, values in record.observables.items()},
        attributes=attributes,
    )


def save_times(save_at: Any, horizon: float) -> Floats:
    """Return `save_at` as an array, checked to increase within [0, horizon]."""
    times = np.array(save_at, dtype=np.float64)
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"save_at must be a list of times, got {save_at!r}")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any() or times[0] < 0 or times[-1] > horizon * (1 + 1e-12):
        raise ValueError(f"save_at must increase within [0, {horizon:g}], got {save_at!r}")
    return times


def steps_at(times: Floats, model: Steps) -> NDArray[np.int64]:
    """Return ⌊t L / T⌋ for each time t: the steps made by then."""
    # The small excess absorbs the rounding of t L / T for times that lie on the grid.
    return np.floor(times * model.n_steps / model.horizon + 1e-9).astype(np.int64)


def describe(value: Any) -> Any:
    """Return a model, or any part of one, as JSON-able values; arrays by shape, dtype and SHA-256."""
    if isinstance(value, Activation):
        return value.name
    if isinstance(value, CovarianceKernel):
        return {"type": "CovarianceKernel", "name": value.name, "dim": value.dim, "values": value(_COSINES).tolist()}
    if dataclasses.is_dataclass(value):
        fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__} | fields
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": digest}
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return value


@dataclasses.dataclass(slots=True, kw_only=True)
class _Record:
    """What a run has produced so far, up to and including `step`; −1 before the start."""

    step: int
    tokens: Tokens
    states: list[Tokens]
    observables: dict[str, list[np.ndarray[Any, Any]]]


class _Checkpoint:
    """A file that holds a `_Record` of one particular run."""

    def __init__(self, path: Path, identity: str, steps: Any, state_steps: Any) -> None:
        self.path, self.identity = path, identity
        self.steps, self.state_steps = steps, state_steps
        self.last_write = clock.monotonic()

    def write_if_due(self, record: _Record) -> None:
        if clock.monotonic() - self.last_write > _SECONDS_BETWEEN_CHECKPOINTS:
            self.write(record)

    def write(self, record: _Record) -> None:
        # An interruption may have come half way through recording a later step: keep what belongs to record.step.
        n_times, n_states = int((self.steps <= record.step).sum()), int((self.state_steps <= record.step).sum())
        arrays = {f"observable_{i}": np.array(v[:n_times]) for i, v in enumerate(record.observables.values())}
        temporary = self.path.with_name(self.path.name + ".tmp")
        with temporary.open("wb") as stream:
            np.savez(
                stream,
                identity=np.array(self.identity),
                step=np.array(record.step),
                tokens=record.tokens,
                states=np.array(record.states[:n_states]),
                **arrays,  # type: ignore[arg-type]
            )
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.path)
        self.last_write = clock.monotonic()

    def read(self, names: list[str]) -> _Record:
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                identity = str(file["identity"])
                record = (
                    _Record(
                        step=int(file["step"]),
                        tokens=file["tokens"],
                        states=list(file["states"]),
                        observables={name: list(file[f"observable_{i}"]) for i, name in enumerate(names)},
                    )
                    if identity == self.identity
                    else None
                )
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"checkpoint {self.path} is damaged ({error}); remove it to start again") from error
        if record is None:
            raise ValueError(
                f"checkpoint {self.path} belongs to another run (its model, tokens, seed, times or observables "
                "differ); remove it or give another name"
            )
        return record
