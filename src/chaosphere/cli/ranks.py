"""One command on all ranks of `mpiexec`: the first prints and writes, and an error on one ends all."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from chaosphere.cli.progress import say
from chaosphere.common import checks

FLAG = "--spread"
_PATIENCE = 1.0  # seconds in which the first rank may tell of the same error, in its own words


class _Nowhere(io.TextIOBase):
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


class AllRanks:
    """The ranks of `mpiexec`, of which all but the first are silent from here on.

    One window of memory, on the first rank, counts those that have failed: the one that is counted first tells why.

    Raises
    ------
    ImportError
        If mpi4py is not installed.
    """

    def __init__(self) -> None:
        self._mpi = checks.extra("mpi4py.MPI", "mpi")
        self._comm = self._mpi.COMM_WORLD
        self._failures = self._mpi.Win.Allocate(8, 8, comm=self._comm)
        np.frombuffer(self._failures.tomemory(), np.int64)[:] = 0
        self._comm.Barrier()
        self._silence = contextlib.ExitStack()
        if not self.is_first:
            self._silence.enter_context(contextlib.redirect_stdout(_Nowhere()))
            self._silence.enter_context(contextlib.redirect_stderr(_Nowhere()))

    @property
    def is_first(self) -> bool:
        """Whether this one prints and writes."""
        return bool(self._comm.Get_rank() == 0)

    def fail(self, text: str, code: int) -> NoReturn:
        """Say why the command failed, unless another rank has, and end all ranks with this exit code.

        The others wait for what this one will not send, so that no rank can just leave.
        """
        if not self.is_first:
            time.sleep(_PATIENCE)
        count, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        self._failures.Lock(0)
        self._failures.Fetch_and_op(one, count, 0)
        self._failures.Unlock(0)
        if count[0] == 0:
            self.speak()
            say(text)
            self._comm.Abort(code)
        while True:  # until that ends this one
            time.sleep(_PATIENCE)

    def speak(self) -> None:
        """Let this rank print again."""
        self._silence.close()

    def close(self) -> None:
        """Wait for the others, at the end of a command that succeeded."""
        self._failures.Free()
        self.speak()


def all_ranks(arguments: Sequence[str] | None) -> AllRanks | None:
    """Return the ranks if the arguments spread a command over them, else None."""
    return AllRanks() if FLAG in (sys.argv[1:] if arguments is None else arguments) else None
