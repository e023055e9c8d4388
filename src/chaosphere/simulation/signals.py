"""Signals that stop runs after a complete step, with all their work on disk."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)
_is_stopped = threading.Event()  # whether `stop_runs` was called in this process


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM arrived, and the run stopped after a complete step with all its work on disk.

    It is a KeyboardInterrupt. The same call again continues from there.

    See Also
    --------
    chaosphere.Checkpoint : A file that keeps the state of a run.
    chaosphere.ensemble : Run a model for many seeds and parameters.

    Examples
    --------
    A run that gets SIGINT during its second step leaves a checkpoint:

    >>> import signal
    >>> import tempfile
    >>> from pathlib import Path
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.Transformer(attention=attention, mlp=None, depth=10, horizon=10.0)
    >>> x = cs.sample_uniform(5, 3, rng=0)
    >>> def stop(time, tokens):
    ...     if time == 2.0:
    ...         signal.raise_signal(signal.SIGINT)
    ...     return time
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = Path(folder) / "run.npz"
    ...     try:
    ...         cs.simulate(
    ...             model, x, rng=0, observe={"clock": stop}, checkpoint=checkpoint
    ...         )
    ...     except cs.Interrupted:
    ...         checkpoint.exists()
    True
    """


def stop_runs() -> None:
    """Stop every run with a checkpoint in this process, now and later, as SIGTERM would."""
    _is_stopped.set()


def _is_first_process() -> bool:
    """Whether multiprocessing has not started this process."""
    from multiprocessing import parent_process

    return parent_process() is None


class StopRequest:
    """While entered, SIGINT and SIGTERM are noted in `received`; a second one raises KeyboardInterrupt at once.

    One entered inside another shares what is noted. Only the main thread of a process gets signals: in others this
    notes nothing. A signal that the process ignores, as under nohup, stays ignored. In a process that multiprocessing
    started, SIGTERM raises nothing however often it comes: a pool sends it to all that are left when one has died.
    """

    def __init__(self) -> None:
        self._noted: list[signal.Signals] = []
        self._handlers: dict[signal.Signals, Any] = {}

    @property
    def received(self) -> signal.Signals | None:
        """The first signal, if any."""
        if self._noted:
            return self._noted[0]
        return signal.SIGTERM if _is_stopped.is_set() else None

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            outer = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
            if isinstance(outer, StopRequest):
                self._noted = outer._noted
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(signal.Signals(number))
        if len(self._noted) > 1 and (number != signal.SIGTERM or _is_first_process()):
            raise KeyboardInterrupt
