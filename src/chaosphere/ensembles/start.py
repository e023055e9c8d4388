"""The tokens that the runs of an ensemble start from."""

from __future__ import annotations

import dataclasses

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.common.reprs import short
from chaosphere.geometry.laws import Law


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """The initial tokens of some replicas, which a worker draws if they are those of a law.

    Attributes
    ----------
    x0 : Law or ndarray, shape (N, d) or (R, N, d)
    n_tokens : int
    seeds : list of int
        R of them.
    """

    x0: Law | Tokens
    n_tokens: int
    seeds: list[int]

    def tokens(self) -> Tokens:
        """Return the tokens, shape (R, N, d)."""
        if isinstance(self.x0, np.ndarray):
            return self.x0 if self.x0.ndim == 3 else np.repeat(self.x0[None], len(self.seeds), axis=0)
        samples = [self.x0.sample(self.n_tokens, rng=seed) for seed in self.seeds]
        shape = (self.n_tokens, self.x0.dim)
        for sample in samples:
            if checks.tokens(sample, "what x0.sample returns").shape != (1, *shape) or sample.ndim != 2:
                raise ValueError(
                    f"x0.sample must return tokens of shape {shape}, as n_tokens and dim say, got {sample.shape}"
                )
        return np.stack(samples)


def token_shape(x0: Law | Tokens, *, n_tokens: int | None, n_replicas: int) -> tuple[int, int]:
    """Return N and d of the initial tokens, checked."""
    if isinstance(x0, np.ndarray):
        if n_tokens is not None:
            raise ValueError("n_tokens must be left out where x0 is an array")
        shape = checks.tokens(x0, "x0").shape
        if x0.ndim == 3 and len(x0) != n_replicas:
            raise ValueError(f"x0 must have shape (N, d), or (R, N, d) with one replica per seed, got {x0.shape}")
        return shape[1], shape[2]
    remedy = checks.conversion(x0, "x0")
    if not hasattr(x0, "sample") or remedy:  # a table of pandas has a method of this name
        raise TypeError(f"x0 must be an array of tokens or a law, got {short(x0)}{remedy}")
    n_tokens = checks.integer(n_tokens, "n_tokens", low=1)
    if not hasattr(x0, "dim"):
        raise TypeError(f"x0 must have dim, the dimension of its tokens, as a law has; got {short(x0)}")
    return n_tokens, checks.integer(x0.dim, "x0.dim", low=2)
