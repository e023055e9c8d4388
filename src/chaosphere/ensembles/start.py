"""The tokens that the runs of an ensemble start from."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.common.reprs import short
from chaosphere.ensembles.levels import Level, LevelLaw
from chaosphere.geometry.laws import Law


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InitialTokens:
    """Tokens that all replicas start from, shape (N, d), or each from its own, shape (R, N, d)."""

    x0: Tokens

    @property
    def fixed(self) -> Tokens | None:
        """The tokens."""
        return self.x0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the tokens."""
        return self.x0.dtype

    def shape(self, n_tokens: int | None, *, n_replicas: int) -> tuple[int, int]:
        """Return N and d of the tokens of a run, checked; N is not another argument."""
        if n_tokens is not None:
            raise ValueError("n_tokens must be left out where x0 is an array")
        if self.x0.ndim == 3 and len(self.x0) != n_replicas:
            raise ValueError(f"x0 must have shape (N, d), or (R, N, d) with one replica per seed, got {self.x0.shape}")
        return self.x0.shape[-2], self.x0.shape[-1]

    def at_level(self, level: Level) -> Tokens:
        """Return the tokens of all systems of a level of `estimate`."""
        return level.arranged(self.x0)

    def part(self, replicas: slice) -> InitialTokens:
        """Return the tokens of some replicas."""
        return self if self.x0.ndim == 2 else InitialTokens(x0=self.x0[replicas])

    def tokens(self, n_tokens: int, *, seeds: list[int]) -> Tokens:
        """Return the tokens of the replicas of these seeds, shape (R, N, d)."""
        return self.x0 if self.x0.ndim == 3 else np.repeat(self.x0[None], len(seeds), axis=0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InitialLaw:
    """A law of i.i.d. tokens, drawn where they are needed; the members are those of `InitialTokens`."""

    x0: Law

    @property
    def fixed(self) -> Tokens | None:
        """None: tokens are random, and of any number."""
        return None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the tokens."""
        return np.dtype(np.float64)

    def shape(self, n_tokens: int | None, *, n_replicas: int) -> tuple[int, int]:
        """Return N and d of the tokens of a run, checked."""
        n_tokens = checks.integer(n_tokens, "n_tokens", low=1)
        if not hasattr(self.x0, "dim"):
            raise TypeError(f"x0 must have dim, the dimension of its tokens, as a law has; got {short(self.x0)}")
        return n_tokens, checks.integer(self.x0.dim, "x0.dim", low=2)

    def at_level(self, level: Level) -> LevelLaw:
        """Return the law of the tokens of all systems of a level of `estimate`."""
        return LevelLaw(law=self.x0, level=level)

    def part(self, replicas: slice) -> InitialLaw:
        """Return the law: replicas differ by their seeds."""
        return self

    def tokens(self, n_tokens: int, *, seeds: list[int]) -> Tokens:
        """Return the tokens of the replicas of these seeds, shape (R, N, d)."""
        samples = [self.x0.sample(n_tokens, rng=seed) for seed in seeds]
        shape = (n_tokens, self.x0.dim)
        for sample in samples:
            if checks.tokens(sample, "what x0.sample returns").shape != (1, *shape) or sample.ndim != 2:
                raise ValueError(
                    f"x0.sample must return tokens of shape {shape}, as n_tokens and dim say, got {sample.shape}"
                )
        return np.stack(samples)


Initial = InitialTokens | InitialLaw


def initial(x0: Any) -> Initial:
    """Return what the argument x0 is, the one place that asks for it; TypeError if it is neither tokens nor a law."""
    if isinstance(x0, np.ndarray):
        checks.tokens(x0, "x0")
        return InitialTokens(x0=x0)
    remedy = checks.conversion(x0, "x0")
    if not hasattr(x0, "sample") or remedy:  # a table of pandas has a method of this name
        raise TypeError(f"x0 must be an array of tokens or a law, got {short(x0)}{remedy}")
    return InitialLaw(x0=x0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """The initial tokens of some replicas, which a worker draws if they are those of a law.

    Attributes
    ----------
    initial : InitialTokens or InitialLaw
    n_tokens : int
    seeds : list of int
        R of them.
    """

    initial: Initial
    n_tokens: int
    seeds: list[int]

    def tokens(self) -> Tokens:
        """Return the tokens, shape (R, N, d)."""
        return self.initial.tokens(self.n_tokens, seeds=self.seeds)
