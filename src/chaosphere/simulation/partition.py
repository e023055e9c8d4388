"""One system over the ranks of an MPI communicator: each rank owns the tokens of some of the kernel's blocks.

A rank moves its own rows by a plan that the model distributes. Only attention couples tokens. Over pairs its plan
gathers all tokens and returns the rows that the rank owns, each sum in the order of the one-process kernel. Of Fourier
sums and harmonics the ranks add up the moments of their blocks, along one tree over all blocks, and no rank sees
another's tokens.

An error of one rank is raised on all: before they communicate they add up, in one number, how many have failed. One
that pickle loses, as of a class inside a function, is a RuntimeError with its type and text on the other ranks. What is
no Exception, as KeyboardInterrupt, comes at any moment, also to some of those that communicate: it leaves its rank at
once, and mpi4py's own `python -m mpi4py` ends the others.
"""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np

from chaosphere.common import errors, files, messages
from chaosphere.common.checks import Tokens
from chaosphere.common.contexts import contextmanager
from chaosphere.common.ordered_sums import Array, Nodes, join, root
from chaosphere.kernels import blocks as kernel
from chaosphere.simulation.checkpoints import Checkpoint
from chaosphere.simulation.solution import SimulationError

T = TypeVar("T")


class _ErrorOfSome(errors.Picklable, Exception):
    """What all processes raise since some have failed.

    Parameters
    ----------
    message : str
    error : Exception
    """

    def __init__(self, message: str, *, error: Exception) -> None:
        super().__init__(message)
        self.error = error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Who owns which tokens; `comm` None is one process that owns all.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm or None
    bounds : tuple of int
        Rank r owns tokens bounds[r] … bounds[r + 1] − 1.
    keeps_own : bool
        The states of the run are those of a process's own tokens, on each; else all have all.
    """

    comm: Any
    bounds: tuple[int, ...]
    keeps_own: bool = False

    @property
    def rank(self) -> int:
        """Rank of this process."""
        return 0 if self.comm is None else int(self.comm.Get_rank())

    @property
    def first(self) -> int:
        """First token that this process owns."""
        return self.bounds[self.rank]

    @property
    def stop(self) -> int:
        """One past the last token that this process owns."""
        return self.bounds[self.rank + 1]

    def _meet(self, error: Exception | None = None) -> None:
        """Raise on all processes if some come with an error; all come here before they communicate."""
        if self.comm is None:
            return
        n_failed = np.zeros(1, np.int64)
        self.comm.Allreduce(np.array([error is not None], np.int64), n_failed)
        if n_failed[0] == 0:
            return
        steps = self.comm.allgather(None if error is None else _step(error))
        _, rank = min((step, rank) for rank, step in enumerate(steps) if step is not None)
        raise _ErrorOfSome("some processes have failed", error=self._error_of(rank, error)) from error

    def _error_of(self, rank: int, error: Exception | None) -> Exception:
        """Return the error of one process on all; on that one the object itself.

        The errors of others, which may hold a state of the run each, are not sent. Where a process has no memory for
        this one, all make it of its text, and none waits.
        """
        text, notes, data = ("", [], b"") if error is None or self.rank != rank else errors.packed(error)
        text, notes, size = self.comm.bcast((text, notes, len(data)), root=rank)
        has_room, n_without = True, np.zeros(1, np.int64)
        try:
            received = data if self.rank == rank else bytearray(size)
        except MemoryError:
            has_room = False
        self.comm.Allreduce(np.array([not has_room], np.int64), n_without)
        if n_without[0] > 0:
            received = b""  # no pickle: its text stands for it
        else:
            self.comm.Bcast(received, root=rank)
        return errors.unpacked((text, notes, received)) if error is None or self.rank != rank else error

    def own(self, x: Tokens) -> Tokens:
        """Return the rows that this process owns of a state of the run."""
        return x if self.comm is None or self.keeps_own else np.ascontiguousarray(x[..., self.first : self.stop, :])

    def state(self, own: Tokens) -> Tokens:
        """Return a state of the run from the rows that each process owns."""
        return own if self.keeps_own else self.gather(own)

    def gather(self, own: Tokens) -> Tokens:
        """Return all tokens from the rows that each process owns, on every process."""
        if self.comm is None:
            return own
        leading, dim = own.shape[:-2], own.shape[-1]
        n_replicas = int(np.prod(leading))
        lengths = np.diff(self.bounds)
        flat, own = np.empty(n_replicas * self.bounds[-1] * dim, own.dtype), np.ascontiguousarray(own)
        self._meet()  # one of them may have no memory for these
        self.comm.Allgatherv(own, (flat, (n_replicas * dim * lengths).tolist()))
        parts = np.split(flat, n_replicas * dim * np.array(self.bounds[1:-1]))
        return np.concatenate(
            [part.reshape(*leading, length, dim) for part, length in zip(parts, lengths, strict=True)], axis=-2
        )

    def agree(self, mine: T) -> T:
        """Return the first process's value on every process."""
        self._meet()
        return mine if self.comm is None else self.comm.bcast(mine)

    def any(self, mine: bool) -> bool:
        """Return whether it holds on any process."""
        self._meet()
        return mine if self.comm is None else any(self.comm.allgather(mine))

    def total(self, own: Nodes, *, n_parts: int) -> Array:
        """Return the sum of the parts of all processes, along the tree of `chaosphere.common.ordered_sums`."""
        if self.comm is None:
            return root(own)
        self._meet()
        # MPI may join the nodes in any order.
        return root(self.comm.allreduce(own, op=partial(join, n_parts=n_parts)))

    def largest(self, mine: Array) -> Array:
        """Return the largest of the numbers of all processes, entry by entry; not a number where one is."""
        self._meet()
        return mine if self.comm is None else np.asarray(np.maximum.reduce(self.comm.allgather(mine)))

    def scan(self, state: Array, advance: Callable[[Array], object]) -> None:
        """Advance a state by what each process has, one after the other."""
        self._meet()
        if self.comm is not None and self.rank > 0:
            self.comm.Recv(state, source=self.rank - 1)
        try:
            advance(state)
        finally:  # after an error, too: the next process waits for it, and hears of the error when they meet
            if self.comm is not None and self.rank + 2 < len(self.bounds):
                self.comm.Send(state, dest=self.rank + 1)

    def least(self, mine: int) -> int:
        """Return the least of the processes' numbers."""
        self._meet()
        return mine if self.comm is None else min(self.comm.allgather(mine))

    def checkpoint(self, spec: Checkpoint) -> Checkpoint:
        """Return the checkpoint of this process: where each keeps a state of its own, each has a file of its own.

        Raises
        ------
        ValueError
            If there are files of another number of processes.
        """
        path, size = files.local(spec.path, "path"), len(self.bounds) - 1
        names = {p.name for p in path.parent.glob(glob.escape(path.name) + ".*-of-*")}
        foreign = sorted(name for name in names if name.split("-of-")[-1].split(".")[0] != str(size))
        if not self.keeps_own:
            foreign = sorted(names)
        elif path.exists():
            foreign.append(path.name)
        if self.any(bool(foreign)):
            own = f"{size} ranks with tokens of their own" if self.keeps_own else "one file for all tokens"
            raise ValueError(
                f"checkpoint {path} must be resumed by as many ranks as wrote it, got {own} and "
                f"{', '.join(foreign) or 'files of another number'}; remove them to start again"
            )
        if not self.keeps_own:
            return spec
        return dataclasses.replace(spec, path=path.with_name(f"{path.name}.{self.rank}-of-{size}"))

    def on_keepers(self, function: Callable[[], T]) -> T:
        """Call on each process that keeps a state of its own, or on the first for all; raise on all what one raises."""
        if self.comm is None or not self.keeps_own:
            return self.on_first(function)
        self._meet()
        return self._outcome(function)

    def on_first(self, function: Callable[[], T]) -> T:
        """Return what a call on the first process returns, or raise what it raises, on every process."""
        if self.comm is None:
            return function()
        self._meet()
        value = self._outcome(function if self.rank == 0 else lambda: None)
        answer: T = self.comm.bcast(value)
        return answer

    def _outcome(self, function: Callable[[], T]) -> T:
        """Return what a call on this process returns, or raise on all what that of one raises."""
        try:
            value = function()
        except Exception as error:
            self._meet(error)
            raise
        self._meet()
        return value


@contextmanager
def errors_on_all(comm: Any) -> Iterator[None]:
    """Raise on all processes what some raise within: that of the first step, and of the first process there.

    Raises
    ------
    TypeError
        If comm is no communicator.
    """
    _check_comm(comm)
    over = Rows(comm=comm, bounds=())
    try:
        try:
            yield
            over._meet()
        except _ErrorOfSome:
            raise
        except Exception as error:
            over._meet(error)
            raise
    except _ErrorOfSome as failed:
        raise failed.error from failed.error.__cause__


def _step(error: Exception) -> int:
    """Return the step at which a run failed; −1 of other errors, which come first."""
    try:
        return int(error.step) if isinstance(error, SimulationError) else -1
    except Exception:  # of a class of its own
        return -1


def _check_comm(comm: Any) -> None:
    for name in ("Get_rank", "Get_size", "Allgatherv", "Allreduce", "Bcast", "allgather", "allreduce", "bcast"):
        if comm is not None and not hasattr(comm, name):
            raise TypeError(f"comm must be an mpi4py communicator such as MPI.COMM_WORLD, got {messages.shown(comm)}")


def rows(comm: Any, n_tokens: int, *, block: int = 1, keeps_own: bool = False) -> Rows:
    """Return how n_tokens are spread over the ranks of comm, whole blocks to each.

    Blocks have `block` tokens, as the model wants them; where that is 1, or there are fewer than ranks, they are those
    of the kernel that sums over pairs.

    Raises
    ------
    TypeError, ValueError
        If comm is no communicator, or has more ranks than there are blocks.
    """
    if comm is None:
        return Rows(comm=None, bounds=(0, n_tokens))
    _check_comm(comm)
    size, of_pairs = int(comm.Get_size()), kernel.block_size(n_tokens)
    block = block if block > 1 and -(-n_tokens // block) >= size else of_pairs
    n_blocks = -(-n_tokens // block)
    if size > n_blocks:
        raise ValueError(
            f"comm must have at most {n_blocks} ranks, one per block of {block} of the {n_tokens} tokens, got {size}"
        )
    bounds = tuple(min(n_tokens, block * (rank * n_blocks // size)) for rank in range(size + 1))
    return Rows(comm=comm, bounds=(*bounds[:-1], n_tokens), keeps_own=keeps_own)
