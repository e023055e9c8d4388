"""A pool of processes that leaves signals to the process that started it, and their share of the processors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from chaosphere.common.contexts import contextmanager
from chaosphere.simulation.signals import STOPPING, stop_runs


class Pool(futures.ProcessPoolExecutor):
    """A pool of spawned processes whose running batches this process can stop.

    A terminal and a batch system send their signals to all processes of a group. Here the first process alone gets
    them. The workers hold the other end of a pipe: once this process closes it or dies, each ends its run after the
    current step with a checkpoint; once this process is gone they are too.

    Parameters
    ----------
    n_workers : int
    """

    def __init__(self, n_workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        worker_end, self._stop_pipe = context.Pipe(duplex=False)
        super().__init__(n_workers, mp_context=context, initializer=_start_worker, initargs=(worker_end,))
        with signals_blocked():  # also while they start
            for _ in range(n_workers):
                self.submit(processors)

    def stop_runs(self) -> None:
        """End all runs, those that workers take up later included; of those with a checkpoint no step is lost."""
        self._stop_pipe.close()

    def __exit__(self, kind: Any, *caught: Any) -> None:
        """Wait for the workers, which an error ends early."""
        if kind is not None:
            self.stop_runs()
        if self._broken:  # a worker died: the others, which hold back the executor's SIGTERM, have nothing to take up
            for process in list((self._processes or {}).values()):
                process.kill()
        super().__exit__(kind, *caught)
        self.stop_runs()


_SECONDS_TO_SEND = 5.0  # that a worker has to send the error of a run that a signal stopped
_stop_pipe: Connection | None = None  # of a worker to its pool


def end_if_stopped() -> None:
    """Stop the runs of this worker if its pool has ended them; the thread that waits for this may be late."""
    if _stop_pipe is not None and _stop_pipe.poll():
        stop_runs()


def end_after_stop(caller: int) -> None:
    """End this process soon, if it is a worker of the caller's pool, other than `Pool`; a signal has stopped its run.

    A worker that has no run holds the lock of its pool's queue. If it dies then, the pool sends SIGTERM to the others
    and waits for them. Their runs note the signal and stop, and these workers would wait for that lock for ever.
    """
    parent = multiprocessing.parent_process()  # the caller's own process, or one that it did not start, is no worker
    is_worker = parent is not None and parent.pid == caller
    if is_worker and threading.current_thread() is threading.main_thread() and _stop_pipe is None:
        timer = threading.Timer(_SECONDS_TO_SEND, os._exit, [1])
        timer.daemon = True
        timer.start()


def _start_worker(stop_pipe: Connection) -> None:
    """Prepare a worker."""
    global _stop_pipe
    _stop_pipe = stop_pipe
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    threading.Thread(target=_end_with_pool, args=(stop_pipe,), daemon=True).start()


def _end_with_pool(stop_pipe: Connection) -> None:
    with suppress(EOFError):  # that the other end is closed
        stop_pipe.recv()
    stop_runs()
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM; processes and threads started meanwhile never get them."""
    resource_tracker.ensure_running()  # it ends the blocking where the first process started is what starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def processors() -> int:
    """Return the number of processors that this process may use: its affinity mask, where there is one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
