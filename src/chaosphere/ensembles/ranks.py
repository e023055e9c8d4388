"""The ranks of MPI that share the tokens of each run of a plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from chaosphere.common import checks
from chaosphere.common.shape import Shape
from chaosphere.ensembles.pool import processors
from chaosphere.models.protocol import ModelPlan
from chaosphere.simulation import partition

T = TypeVar("T")

_COPIES = 6  # of the tokens of a rank in a step by moments, radii and sums included


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranks:
    """The ranks of a communicator.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm
    n_here : int
        How many of them are on this machine.
    """

    comm: Any
    n_here: int

    @classmethod
    def of_world(cls) -> Ranks:
        """Return all that `mpiexec` started."""
        mpi = checks.extra("mpi4py.MPI", "mpi")
        comm = mpi.COMM_WORLD
        here = comm.Split_type(mpi.COMM_TYPE_SHARED)
        n_here = here.Get_size()
        here.Free()
        return cls(comm=comm, n_here=n_here)

    @property
    def size(self) -> int:
        """Number of ranks."""
        return int(self.comm.Get_size())

    @property
    def is_first(self) -> bool:
        """Whether this one prints and writes."""
        return int(self.comm.Get_rank()) == 0

    @property
    def n_threads(self) -> int:
        """Threads of this rank where none are set: its share of the processors."""
        return max(1, processors() // self.n_here)

    def lead(self, function: Callable[[int], T]) -> Callable[[int], T]:
        """Return a function that calls this one with its number on all ranks, where the others `take_part`."""
        return lambda number: function(self.comm.bcast(number))

    def take_part(self, function: Callable[[int], object]) -> None:
        """Call a function with each number that the first rank does, until that lets this one go."""
        while (number := self.comm.bcast(None)) is not None:
            function(number)

    def dismiss(self) -> None:
        """Let the others go on, from the first rank."""
        self.comm.bcast(None)

    def check(self, plan: ModelPlan, n_tokens: int) -> None:
        """Raise TypeError or ValueError if a model cannot be spread over the ranks."""
        plan.distribute(partition.rows(self.comm, n_tokens, block=plan.block, keeps_own=True))

    def token_bytes(self, shape: Shape, *, block: int) -> int:
        """Estimate of the memory that one run takes on a rank: for sums by moments of its own tokens alone."""
        if block == 1:  # it gathers
            return 12 * (shape.n_tokens + 24) * (shape.dim + 1) * 8
        return _COPIES * -(-shape.n_tokens // self.size) * (shape.dim + 1) * 8
