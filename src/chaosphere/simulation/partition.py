"""One system over the ranks of an MPI communicator: each rank owns the tokens of some of the kernel's blocks.

A rank moves its own rows by a plan that the model distributes. Only attention couples tokens: its plan gathers all
tokens and returns the rows that the rank owns, each sum in the order of the one-process kernel. Ranks share the sum
over pairs; Fourier sums, harmonics and the NUFFT, which take O(N), each computes whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.kernels import blocks as kernel

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Who owns which tokens; `comm` None is one process that owns all.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm or None
    bounds : tuple of int
        Rank r owns tokens bounds[r] … bounds[r + 1] − 1.
    """

    comm: Any
    bounds: tuple[int, ...]

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

    def own(self, x: Tokens) -> Tokens:
        """Return the rows of (N, d) or (R, N, d) tokens that this process owns."""
        return x if self.comm is None else np.ascontiguousarray(x[..., self.first : self.stop, :])

    def gather(self, own: Tokens) -> Tokens:
        """Return all tokens from the rows that each process owns, on every process."""
        if self.comm is None:
            return own
        leading, dim = own.shape[:-2], own.shape[-1]
        n_replicas = int(np.prod(leading))
        lengths = np.diff(self.bounds)
        flat = np.empty(n_replicas * self.bounds[-1] * dim, own.dtype)
        self.comm.Allgatherv(np.ascontiguousarray(own), (flat, (n_replicas * dim * lengths).tolist()))
        parts = np.split(flat, n_replicas * dim * np.array(self.bounds[1:-1]))
        return np.concatenate(
            [part.reshape(*leading, length, dim) for part, length in zip(parts, lengths, strict=True)], axis=-2
        )

    def agree(self, mine: T) -> T:
        """Return the first process's value on every process."""
        return mine if self.comm is None else self.comm.bcast(mine)

    def any(self, mine: bool) -> bool:
        """Return whether it holds on any process."""
        return mine if self.comm is None else any(self.comm.allgather(mine))

    def on_first(self, function: Callable[[], T]) -> T:
        """Return what a call on the first process returns, or raise what it raises, on every process."""
        if self.comm is None:
            return function()
        value, error = None, None
        if self.rank == 0:
            try:
                value = function()
            except Exception as caught:
                error = caught
        error = self.comm.bcast(error)
        if error is not None:
            raise error
        answer: T = self.comm.bcast(value)
        return answer


def rows(comm: Any, n_tokens: int) -> Rows:
    """Return how n_tokens are spread over the ranks of comm, whole blocks of the attention kernel to each.

    Raises
    ------
    TypeError, ValueError
        If comm is no communicator, or has more ranks than there are blocks.
    """
    if comm is None:
        return Rows(comm=None, bounds=(0, n_tokens))
    for name in ("Get_rank", "Get_size", "Allgatherv", "allgather", "bcast"):
        if not hasattr(comm, name):
            raise TypeError(f"comm must be an mpi4py communicator such as MPI.COMM_WORLD, got {comm!r}")
    block = kernel.block_size(n_tokens)
    n_blocks, size = -(-n_tokens // block), int(comm.Get_size())
    if size > n_blocks:
        raise ValueError(
            f"comm must have at most {n_blocks} ranks, one per block of {block} of the {n_tokens} tokens, got {size}"
        )
    bounds = tuple(min(n_tokens, block * (rank * n_blocks // size)) for rank in range(size + 1))
    return Rows(comm=comm, bounds=(*bounds[:-1], n_tokens))
