"""Executors: those that can be named, how many workers one has, and how it reports that one died."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent import futures
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol
from urllib.parse import urlsplit

from chaosphere.common import checks, messages
from chaosphere.common.contexts import contextmanager
from chaosphere.ensembles.pool import Pool, processors, signals_blocked


def workers(executor: futures.Executor | None) -> tuple[int, int | None]:
    """Return the number of an executor's workers and the most on one machine, (1, None) where they are unknown."""
    if executor is None:
        return 1, 1
    if not hasattr(executor, "submit"):
        raise TypeError(f"executor must be None or a concurrent.futures.Executor, got {messages.shown(executor)}")
    client = getattr(executor, "_client", None)
    if client is not None and hasattr(client, "nthreads"):
        hosts: dict[str | None, int] = {}
        for address, n in client.nthreads().items():
            host = urlsplit(address).hostname
            hosts[host] = hosts.get(host, 0) + n
        if not hosts:
            raise ValueError("executor has no workers; wait for them with client.wait_for_workers(n)")
        return sum(hosts.values()), max(hosts.values())
    for name in ("num_workers", "_max_workers"):
        n = getattr(executor, name, None)
        if isinstance(n, int) and n >= 1:
            return n, n
    return 1, None


def refuse_fork(executor: futures.Executor | None) -> None:
    """Raise ValueError if the executor's workers start by a fork."""
    context = getattr(executor, "_mp_context", None)
    if context is None and isinstance(executor, futures.ProcessPoolExecutor):
        context = multiprocessing.get_context()
    if context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "executor must not fork, which copies OpenMP's state but not its threads: give the pool "
            "mp_context=multiprocessing.get_context('spawn')"
        )


def cancel(future: futures.Future[Any]) -> bool:
    """Cancel a future that no worker has begun, and return whether it was.

    When a process pool breaks, it sets an error on all its futures. In Python 3.11 one that was cancelled stops it
    there (python/cpython#107219), and workers are left that nobody ends: here the error is dropped.
    """
    is_cancelled = future.cancel()
    if is_cancelled:
        vars(future)["set_exception"] = lambda error: None
    return is_cancelled


def is_dask(executor: futures.Executor) -> bool:
    """Whether an executor is Dask's, which cancels runs that have started, and has workers on several machines."""
    return hasattr(executor, "_client")


def worker_deaths(executor: futures.Executor) -> tuple[type[Exception], ...]:
    """Return the errors by which an executor reports that a worker is gone."""
    if not is_dask(executor):
        return (futures.BrokenExecutor,)
    return futures.BrokenExecutor, checks.extra("distributed", "dask").KilledWorker


@contextmanager
def _this_process(*, n_workers: int | None, scheduler: str | None) -> Iterator[None]:
    yield None


@contextmanager
def _pool(*, n_workers: int | None, scheduler: str | None) -> Iterator[futures.Executor]:
    with Pool(n_workers or processors()) as pool:
        yield pool


@contextmanager
def _dask(*, n_workers: int | None, scheduler: str | None) -> Iterator[futures.Executor]:
    distributed = checks.extra("distributed", "dask")
    with ExitStack() as stack:
        address = scheduler
        if address is None:
            n = n_workers or processors()
            with signals_blocked():
                address = stack.enter_context(
                    distributed.LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0")
                )
        client = stack.enter_context(distributed.Client(address))
        client.wait_for_workers(1, timeout=60)
        yield client.get_executor()


@contextmanager
def _mpi(*, n_workers: int | None, scheduler: str | None) -> Iterator[futures.Executor]:
    mpi, pool = checks.extra("mpi4py.MPI", "mpi"), checks.extra("mpi4py.futures", "mpi")
    if mpi.COMM_WORLD.Get_size() < 2:
        raise ValueError(
            "executor 'mpi' needs at least two ranks: "
            "mpiexec -n 3 python -m mpi4py.futures -m chaosphere run FILE --executor mpi"
        )
    with pool.MPIPoolExecutor() as executor:
        yield executor


class ExecutorOpener(Protocol):
    """Starts workers, and stops them when the context ends."""

    def __call__(
        self, *, n_workers: int | None, scheduler: str | None
    ) -> AbstractContextManager[futures.Executor | None]:
        """Return the context of the executor; None is this process.

        Parameters
        ----------
        n_workers : int or None
            None: the number of processors. Of those that start on this machine.
        scheduler : str or None
            Address of a Dask scheduler that is there already.
        """


# That a study file or the command line can name.
EXECUTORS: dict[str, ExecutorOpener] = {"none": _this_process, "processes": _pool, "dask": _dask, "mpi": _mpi}
