"""Checkpoints of a run: when they are written, and what they hold."""

from __future__ import annotations

import dataclasses
import json
import os
import time as clock
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from chaosphere.common import checks, files, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.simulation.identity import differences
from chaosphere.simulation.until import known_at


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Checkpoint(Brief):
    """A file that keeps the state of a run, and how often it is written.

    Parameters
    ----------
    path : path
        Written to a temporary name that is forced to disk and renamed; the one before is kept as `path` + ".previous".
        All are removed at the end of the run, unless `keep`. `~` is expanded, and a symbolic link is followed.
    every_steps : int, optional
        At least 1; write after this many steps.
    every_seconds : float, optional
        At least 0; write after the first step that ends this long after the last writing began. Default 60.
    keep : bool
        At the end leave the file as it was last written, for the caller to remove once the result is safe: killed
        before that, the same call continues from it. Default False.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or neither period is given.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.Interrupted : A signal stopped a run.
    chaosphere.ensemble : Run a model for many seeds and parameters.
    chaosphere.training.train : Train a network.

    Notes
    -----
    Each writing costs the time of writing the tokens and all that was saved so far.

    Examples
    --------
    A run that writes its state after every hundred steps:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.Transformer(attention=attention, mlp=None, depth=250, horizon=1.0)
    >>> x = cs.sample_uniform(5, 3, rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = cs.Checkpoint(path=Path(folder) / "run.npz", every_steps=100)
    ...     cs.simulate(model, x, rng=0, checkpoint=checkpoint).final.shape
    (5, 3)
    """

    path: str | os.PathLike[str]
    every_steps: int | None = None
    every_seconds: float | None = 60.0
    keep: bool = False

    def __post_init__(self) -> None:
        """Check."""
        _check_path(self.path, "path")
        if self.every_steps is not None:
            checks.integers(self, "every_steps", low=1)
        if self.every_seconds is not None:
            checks.numbers(self, "every_seconds", low=0)
        checks.flag(self.keep, "keep")
        if self.every_steps is None and self.every_seconds is None:
            raise ValueError("every_steps and every_seconds must not both be None: nothing would be written")


def checkpoint_of(value: Any) -> Checkpoint:
    """Return the argument `checkpoint` of a run, a path or a `Checkpoint`, as the latter."""
    if isinstance(value, Checkpoint):
        return value
    _check_path(value, "checkpoint")
    return Checkpoint(path=value)


def _check_path(value: Any, name: str) -> None:
    if not files.local(value, name).parent.is_dir():
        raise ValueError(f"{name} must lie in a folder that exists, got {messages.shown(os.fspath(value))}")


@dataclasses.dataclass(slots=True, kw_only=True)
class Record:
    """What a run has produced so far, up to and including `step`; −1 before the start. States are those of the plan."""

    step: int
    state: Tokens
    states: list[Tokens]
    observables: dict[str, list[np.ndarray[Any, Any]]]
    hits: Floats | None = None  # intervals of hitting times, where the run has a condition

    def add(self, name: str, value: np.ndarray[Any, Any], *, where: str) -> None:
        """Append what an observable gave.

        Raises
        ------
        ValueError
            If its shape is not that of the values before.
        """
        values = self.observables[name]
        if values and value.shape != values[0].shape:
            raise ValueError(
                f"observe[{name!r}] must return arrays of one shape, got {value.shape} at {where} and "
                f"{values[0].shape} before"
            )
        values.append(value)


class CheckpointFile:
    """The checkpoint of one particular run.

    Parameters
    ----------
    spec : Checkpoint
    identity : dict
        JSON-able facts; a file with others belongs to another run.
    start : Record
        Of the run before its first step: what a file holds must be of its shapes and types.
    check : callable
        (state, name) ↦ None; it raises ValueError if the run cannot have had the state.
    n_steps : int
        The run's last step.
    step_size : float
        Its length, in the time of `Record.hits`.
    steps, state_steps : ndarray of int
        The steps at which observables and states are recorded.
    """

    def __init__(
        self,
        spec: Checkpoint,
        *,
        identity: dict[str, Any],
        start: Record,
        check: Callable[[Tokens, str], object],
        n_steps: int,
        step_size: float,
        steps: Any,
        state_steps: Any,
    ) -> None:
        self.spec, self.path = spec, files.local(spec.path, "path")
        self.previous = self.path.with_name(self.path.name + ".previous")
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))
        self.start, self.check = start, check
        self.n_steps, self.steps, self.state_steps = n_steps, steps, state_steps
        self.step_size = step_size
        self.step = -1  # of the newest file
        self.has_failed = False
        self._last_write = clock.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is to be written after this step."""
        by_steps = self.spec.every_steps is not None and step - max(self.step, 0) >= self.spec.every_steps
        elapsed = clock.monotonic() - self._last_write
        return by_steps or (self.spec.every_seconds is not None and elapsed > self.spec.every_seconds)

    def write(self, record: Record) -> None:
        """Write unless this step is on disk already; a failure leaves the last good file."""
        if record.step <= self.step or self.has_failed:
            return
        self._last_write = clock.monotonic()
        # An interruption may have come half way through recording a later step: keep what belongs to record.step.
        n_times, n_states = self._counts(record.step)
        arrays: dict[str, Any] = {
            f"observable_{i}": np.array(v[:n_times]) for i, v in enumerate(record.observables.values())
        }
        if record.hits is not None:
            arrays["hits"] = known_at(record.hits, record.step * self.step_size)

        def save(stream: BinaryIO) -> None:
            np.savez(
                stream,
                identity=np.array(json.dumps(self.identity)),
                step=np.array(record.step),
                tokens=record.state,
                states=np.array(record.states[:n_states]),
                **arrays,
            )

        try:
            files.replace(self.path, save, previous=self.previous)
        except OSError as error:
            self.has_failed = True
            kept = f"it keeps step {self.step}" if self.step >= 0 else "there is none yet"
            raise OSError(
                error.errno,
                f"checkpoint {self.path} could not be written at step {record.step} ({error.strerror}); {kept}",
            ) from error
        self.step = record.step

    def _counts(self, step: int) -> tuple[int, int]:
        """Return how many times and states are recorded up to and including a step."""
        return int((self.steps <= step).sum()), int((self.state_steps <= step).sum())

    def _check(self, record: Record) -> None:
        """Raise ValueError if a record cannot have come from this run: its checksums say only that nothing was lost."""
        if not 0 <= record.step <= self.n_steps:
            raise ValueError(f"its step {record.step} is not one of 0 … {self.n_steps}")
        n_times, n_states = self._counts(record.step)
        shape, dtype = self.start.state.shape, self.start.state.dtype
        for name, states, n in (("tokens", [record.state], 1), ("states", record.states, n_states)):
            if len(states) != n or any(state.shape != shape or state.dtype != dtype for state in states):
                raise ValueError(f"its {name} are not {n} of shape {shape} and {dtype}")
            for state in states:
                self.check(state, name)
        if record.hits is not None and self.start.hits is not None and record.hits.shape != self.start.hits.shape:
            raise ValueError(f"its hitting times have shape {record.hits.shape}, not {self.start.hits.shape}")
        for name, values in record.observables.items():
            if len(values) != n_times:
                raise ValueError(f"it has {len(values)} values of {name!r}, not {n_times}")

    def open(self, stack: ExitStack) -> Record | None:
        """Lock the file for as long as `stack` lasts, and return what it holds, as `read` does."""
        files.check_writable(self.path, "checkpoint")
        stack.enter_context(files.Lock(self.path, "checkpoint"))
        return self.read()

    def read(self) -> Record | None:
        """Return what the file holds; None if there is neither it nor the one before.

        Raises
        ------
        ValueError
            If the file is damaged or belongs to another run.
        """
        # Killed between two renames there is only the one before.
        path = self.path if self.path.exists() or not self.previous.exists() else self.previous
        return self._load(path) if path.exists() else None

    def back(self, record: Record | None, step: int) -> Record | None:
        """Return the record of a step that is not after the one read: of several ranks one may have written more often.

        Raises
        ------
        ValueError
            If neither file holds that step.
        """
        if record is None or record.step == step:
            return record
        if step < 0:  # another rank has none
            self.step = -1
            return None
        older = self._load(self.previous) if self.previous.exists() else record
        if older.step != step:
            raise ValueError(
                f"checkpoint {self.path} holds step {record.step}, and another rank's step {step}; remove them all to "
                "start again"
            )
        return older

    def _load(self, path: Path) -> Record:
        """Return what one file holds."""
        try:
            # The CRC of each array is checked as its last byte is read.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                identity: dict[str, Any] = json.loads(str(file["identity"]))
                if identity == self.identity:
                    record = Record(
                        step=int(file["step"]),
                        state=file["tokens"],
                        states=list(file["states"]),
                        observables={
                            name: list(file[f"observable_{i}"]) for i, name in enumerate(self.start.observables)
                        },
                        hits=None if self.start.hits is None else file["hits"],
                    )
                    self._check(record)
                    self.step = record.step
                    return record
        except Exception as error:  # whatever a reader of a broken file may raise
            other = f", or rename {self.previous.name} to it" if path == self.path and self.previous.exists() else ""
            raise ValueError(
                f"checkpoint {path} is damaged ({type(error).__name__}: {error}); remove it to start again{other}"
            ) from error
        mismatch = differences(identity, self.identity)
        raise ValueError(f"checkpoint {path} belongs to another run: {mismatch}; remove it or give another name")

    def remove(self) -> None:
        """Remove the file and the one before."""
        remove(self.path)


def remove(path: Path) -> None:
    """Remove a checkpoint, the one before, and what a writer that was killed has left."""
    for name in (path.name + ".tmp", path.name + ".previous", path.name):
        path.with_name(name).unlink(missing_ok=True)
