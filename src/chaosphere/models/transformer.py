"""The discrete transformer at initialisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Noise, Stream
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.noise.mlp import MLP


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """Attention, random MLP and layer normalisation, L times.

    Y = LN(X + (T/L) Attn(μ_X, X)),  X ← LN(Y + s √(T/L) G_{ℓ+1}(Y)),  LN(v) = v/|v|   (arXiv:2604.26898, eq. 1.1)

    Parameters
    ----------
    attention : SoftmaxAttention or None
        None leaves the first half out.
    mlp : MLP or None
        None leaves the second half out.
    depth : int
        Number L >= 1 of layers.
    horizon : float
        Time T > 0 that the L layers span.
    noise_scale : float
        s >= 0 (1 in the paper).
    n_merged : int
        Each layer's network is the scaled sum of this many; `coarsen` sets it.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or there is neither attention nor MLP.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(beta=2.0), mlp=cs.MLP(width=64), depth=20, horizon=1.0)
    >>> cs.simulate(model, cs.sample_uniform(100, 4, rng=0), rng=0).final.shape
    (100, 4)
    """

    attention: SoftmaxAttention | None
    mlp: MLP | None
    depth: int
    horizon: float
    noise_scale: float = 1.0
    n_merged: int = 1

    def __post_init__(self) -> None:
        """Check, and convert numbers to int and float."""
        if not isinstance(self.attention, SoftmaxAttention | None):
            raise TypeError(f"attention must be a SoftmaxAttention or None, got {self.attention!r}")
        if not isinstance(self.mlp, MLP | None):
            raise TypeError(f"mlp must be an MLP or None, got {self.mlp!r}")
        if self.attention is None and self.mlp is None:
            raise ValueError("attention and mlp must not both be None: nothing would move")
        checks.integers(self, "depth", "n_merged", low=1)
        checks.numbers(self, "horizon", above=0, high=checks.MAX_SIZE)
        checks.numbers(self, "noise_scale", low=0, high=checks.MAX_SIZE)

    @property
    def n_steps(self) -> int:
        """Number of steps: the depth."""
        return self.depth

    def prepare(self, n_tokens: int, dim: int | None = None, dtype: Any = "float64") -> Transformer:
        """Return the model with every automatic choice made for n_tokens tokens; without dim attention waits."""
        if self.attention is None or dim is None:
            return self
        return replace(self, attention=self.attention.resolve(n_tokens, dim, dtype))

    def coarsen(self, factor: int) -> Transformer:
        """Return the network of depth L/factor driven by the same noise.

        `factor` layers of width m, scaled by √(T/L), sum to one layer of width factor·m scaled by √(factor·T/L): the
        coarse network built from the layers of the fine one, so that runs of both with one seed are coupled.

        Parameters
        ----------
        factor : int
            Divides the depth.

        Returns
        -------
        Transformer

        Raises
        ------
        ValueError
            If factor does not divide the depth.
        """
        factor = checks.integer(factor, "factor", low=1)
        if self.depth % factor:
            raise ValueError(f"factor must divide the depth {self.depth}, got {factor}")
        return replace(self, depth=self.depth // factor, n_merged=factor * self.n_merged)

    def steps_at_once(self, x: Tokens) -> int:
        """Return how many layers `step` should take at once: more than one where nothing but attention moves them."""
        if self.attention is None or (self.mlp is not None and self.noise_scale > 0):
            return 1
        return self.attention.steps_at_once(x)

    def step(
        self,
        x: Tokens,
        index: int,
        *,
        noise: Noise,
        n_threads: int,
        weights: Floats | None = None,
        n_steps: int = 1,
    ) -> Tokens:
        """Return the tokens (R, N, d), weighted in attention, after layer `index` (from 0) and n_steps − 1 more.

        More than one where nothing but attention moves the tokens.
        """
        if n_steps > 1 and (self.attention is None or (self.mlp is not None and self.noise_scale > 0)):
            raise ValueError(f"n_steps must be 1 where random layers move the tokens, got {n_steps}")
        step_size = self.horizon / self.depth
        if self.attention is not None:
            x = self.attention.move(x, step_size, weights, n_threads=n_threads, n_steps=n_steps)
        if self.mlp is not None and self.noise_scale > 0:
            fine = range(index * self.n_merged, (index + 1) * self.n_merged)
            layer = self.mlp.draw_merged(x.shape[2], (noise.draws(Stream.LAYER, k) for k in fine))
            scale = self.noise_scale * math.sqrt(step_size)
            x = layer.move(x, scale, n_threads=n_threads)
        return x
