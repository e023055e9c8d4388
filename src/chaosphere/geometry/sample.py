"""Tokens of a law that are drawn in blocks, so that any process draws its own alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.common.streams import root
from chaosphere.geometry.law import check_law
from chaosphere.geometry.sphere import count_replicas

BLOCK = 65_536  # tokens; a change would change samples


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Sample(Brief):
    """Tokens to be drawn from a law: `simulate` takes it for its tokens, and each rank of MPI draws its own alone.

    Block b of 65 536 tokens is drawn with a seed of its own, a child of `rng`; the first with `rng` itself.

    Parameters
    ----------
    law : Law
        Of `chaosphere.laws`, or of a class of your own.
    n_tokens : int
        N >= 1.
    rng : int or SeedSequence
        No Generator: the ranks would move it apart.
    n_replicas : int, optional
        Number R of independent samples.
    dtype : {"float64", "float32"}
        Of the tokens.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.measures.TokenMean : An observable that no rank needs all tokens for.
    chaosphere.laws.Law : What a law of tokens offers.
    chaosphere.laws.Sample.rows : Draw some of the tokens.

    Examples
    --------
    Up to 65 536 tokens are those of the law's own method:

    >>> import chaosphere as cs
    >>> law = cs.laws.Uniform(dim=2)
    >>> sample = cs.laws.Sample(law=law, n_tokens=1000, rng=0)
    >>> bool((sample.rows(0, 1000) == law.sample(1000, rng=0)).all())
    True
    """

    law: Any
    n_tokens: int
    rng: Any
    n_replicas: int | None = None
    dtype: str = "float64"

    def __post_init__(self) -> None:
        """Check."""
        check_law(self.law)
        checks.integers(self, "n_tokens", low=1)
        count_replicas(self.n_replicas)
        checks.choice(self.dtype, "dtype", known=("float64", "float32"))
        if isinstance(self.rng, np.random.Generator):
            raise TypeError("rng must be an int >= 0 or a SeedSequence, got a Generator: each rank would move its own")
        root(self.rng)

    @property
    def shape(self) -> Shape:
        """The shape of all tokens.

        See Also
        --------
        chaosphere.common.shape.Shape : Replicas, tokens, dimension and dtype.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.laws.Sample(law=cs.laws.Uniform(dim=2), n_tokens=10**10, rng=0).shape.n_tokens
        10000000000
        """
        n_replicas, dtype = count_replicas(self.n_replicas), np.dtype(self.dtype)
        return Shape(n_replicas=n_replicas, n_tokens=self.n_tokens, dim=self.law.dim, dtype=dtype)

    def rows(self, first: int, stop: int) -> Tokens:
        """Draw tokens first … stop − 1.

        Parameters
        ----------
        first, stop : int
            0 <= first < stop <= N.

        Returns
        -------
        ndarray, shape (stop − first, d) or (R, stop − first, d)
            Points of the sphere; with n_replicas there is a first axis.

        Raises
        ------
        TypeError, ValueError
            If a number is out of range.

        See Also
        --------
        chaosphere.laws.Law.sample : Tokens of any law.
        chaosphere.laws.Sample : Tokens to be drawn from a law.

        Notes
        -----
        The cost of drawing the blocks in which these tokens are, and no others; memory for the tokens and one block.

        Examples
        --------
        >>> import chaosphere as cs
        >>> sample = cs.laws.Sample(law=cs.laws.Uniform(dim=2), n_tokens=100_000, rng=0)
        >>> x = sample.rows(0, 100_000)
        >>> bool((sample.rows(60_000, 70_000) == x[60_000:70_000]).all())
        True
        """
        first = checks.integer(first, "first", low=0, high=self.n_tokens - 1)
        stop = checks.integer(stop, "stop", low=first + 1, high=self.n_tokens)
        leading = () if self.n_replicas is None else (self.n_replicas,)
        checks.sample_size(stop - first, self.law.dim, count_replicas(self.n_replicas))
        out = np.empty((*leading, stop - first, self.law.dim), self.dtype)
        for start in range(first // BLOCK * BLOCK, stop, BLOCK):
            size = min(BLOCK, self.n_tokens - start)
            x = self.law.sample(size, rng=self._seed(start // BLOCK), n_replicas=self.n_replicas)
            low, high = max(first, start), min(stop, start + size)
            out[..., low - first : high - first, :] = x[..., low - start : high - start, :]
        return out

    def _seed(self, block: int) -> np.random.SeedSequence:
        own = root(self.rng)
        if block == 0:
            return own
        # Noise of a run appends streams, which are small numbers.
        key = (*own.spawn_key, 2**31 + block)
        return np.random.SeedSequence(own.entropy, spawn_key=key, pool_size=own.pool_size)
