"""Attention-only transformers whose heads have matrices of their own in every layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Noise, Seed, Stream
from chaosphere.training.heads import Heads
from chaosphere.training.stack import Move, Pass, Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionNetwork(Stack):
    """An attention-only transformer with L layers of H heads, each with matrices Q, K, V of its own.

    Layer ℓ maps the tokens X of a sequence to N(X + T/(L H) Σ_h V_h Attn(Q_h, K_h; X)), with N(x) = x/|x| or x, and
    Attn(Q, K; X)_i = Σ_j e^{⟨Qx_i, Kx_j⟩} x_j / Σ_j e^{⟨Qx_i, Kx_j⟩}, over all j or, with a causal mask, j <= i.

    Parameters
    ----------
    dim : int
        d >= 2.
    key_dim : int, optional
        k >= 1, the rows of Q and K. Default: d.
    horizon : float
        T > 0.
    std : float
        σ >= 0: the entries of Q, K and V at the start are independent with law N(0, σ²/d), those of V around δI.
    value_scale : float
        δ, 0 by default.
    mask : {"causal"}, optional
        Token i sees the tokens j <= i.
    normalization : {"post", "identity"}
        N. "post" (default): N(x) = x/|x|, so that tokens stay on the unit sphere. "identity": N(x) = x.
    depth : int
        L >= 1.
    n_heads : int
        H >= 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.training.AdamW : The optimiser.
    chaosphere.training.TrainingLimit : Many layers and heads.
    chaosphere.training.train : The steps of a training.

    Notes
    -----
    Parameters are an array (L, H, 2k + d, d): the rows of Q, of K and of V of each head. Results are bitwise identical
    for any number of threads.

    Examples
    --------
    >>> import chaosphere as cs
    >>> network = cs.training.AttentionNetwork(depth=4, n_heads=2, dim=3)
    >>> x = cs.sample_uniform(8, 3, rng=0)[None]
    >>> network.forward(network.initial(0), x).shape
    (1, 8, 3)
    """

    depth: int
    n_heads: int

    def __post_init__(self) -> None:
        """Check."""
        Stack.__post_init__(self)
        checks.integers(self, "depth", "n_heads", low=1)

    def initial(self, rng: Seed) -> Floats:
        """Return random parameters.

        Parameters
        ----------
        rng : int, SeedSequence or Generator
            The matrices of head h in layer ℓ depend on the seed, ℓ and h alone: networks of other L or H share those
            that they have in common.

        Returns
        -------
        ndarray of float64, shape (L, H, 2k + d, d)
            Independent entries of law N(0, σ²/d).

        Raises
        ------
        TypeError, ValueError
            If rng is no seed.

        See Also
        --------
        chaosphere.training.AttentionNetwork.forward : The network with these parameters.
        chaosphere.training.AttentionNetwork.shape : Their shape.
        chaosphere.training.TrainingLimit.initial : Heads of the limit.
        chaosphere.training.TrainingLimit.forward : The limit with its heads.
        chaosphere.training.TrainingLimit.shape : The shape of those.

        Examples
        --------
        >>> import chaosphere as cs
        >>> few, more = (cs.training.AttentionNetwork(depth=2, n_heads=h, dim=3).initial(0) for h in (2, 4))
        >>> bool((few == more[:, :2]).all())
        True
        """
        noise, (_, heads, *matrices) = Noise(rng), self.shape
        layers = [noise.draws(Stream.TRAINED_HEADS, layer) for layer in range(self.depth)]
        shapes = [tuple(matrices)] * heads
        return np.stack([self._scaled([head[0] for head in draws.normals(*shapes)]) for draws in layers])

    def _size(self) -> tuple[int, int]:
        return self.depth, self.n_heads

    def _n_evaluations(self) -> int:
        return 1

    def _passed(self, matrices: Floats, x: Tokens, *, layer: int, n_threads: int) -> Pass:
        heads = self._heads(matrices, x, n_threads=n_threads)
        scale = x.dtype.type(self.horizon / self.n_units)
        return _Layer(heads, self._moved(x, scale * heads.drift, layer=layer), scale=scale)


class _Layer:
    """N(x + scale · drift)."""

    def __init__(self, heads: Heads, move: Move, *, scale: np.floating) -> None:
        self.heads, self.move, self.scale, self.after = heads, move, scale, move.after

    def pull(self, cotangent: Tokens, *, out: Floats) -> Tokens:
        """Return the gradient in the tokens before; see `Pass`."""
        inner = self.move.pull(cotangent)
        return np.asarray(inner + self.heads.vjp(np.ascontiguousarray(self.scale * inner), out=out))
