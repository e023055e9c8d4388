"""The limit of attention-only transformers of many layers and heads, under training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Noise, Seed, Stream
from chaosphere.models.operations import projected
from chaosphere.training.heads import Heads
from chaosphere.training.stack import Move, Pass, Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLimit(Stack):
    """The limit L, H → ∞ of an `AttentionNetwork`: tokens and adjoints solve ODEs in the depth s from 0 to 1.

    dX/ds = T ∫ V Attn(Q, K; X) dρ_s(Q, K, V), under "post" projected onto the tangent spaces of the sphere, where ρ_s
    is the law of the heads at depth s. A step of AdamW moves each head by its own gradient, so the laws change.

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
        N of the network. "post" (default): tokens stay on the unit sphere. "identity": they move in R^d.
    n_cells : int
        S >= 1: the depth is cut into so many cells, in each of which the law is constant. A cell is one step of the
        midpoint rule.
    n_heads : int
        M >= 2, even: heads that represent the law of a cell.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.training.AttentionNetwork : The network.
    chaosphere.training.train : The steps of a training, of either.

    Notes
    -----
    The error is of order S^-2 by the steps and the cells, and (S M)^(-1/2) by the heads. Two resolutions measure it:
    that of (S, M) is less than the difference from (S/2, M/2), by a factor of about 2 or more. Results are bitwise
    identical for any number of threads.

    Examples
    --------
    At the start with δ = 0 the mean of V is zero, and tokens do not move:

    >>> import chaosphere as cs
    >>> limit = cs.training.TrainingLimit(n_cells=2, n_heads=8, dim=3)
    >>> x = cs.sample_uniform(8, 3, rng=0)[None]
    >>> bool(abs(limit.forward(limit.initial(0), x) - x).max() < 1e-15)
    True
    """

    n_cells: int
    n_heads: int

    def __post_init__(self) -> None:
        """Check."""
        Stack.__post_init__(self)
        checks.integers(self, "n_cells", low=1)
        checks.integers(self, "n_heads", low=2)
        if self.n_heads % 2:
            raise ValueError(f"n_heads must be even, got {self.n_heads}: heads come in pairs")

    def initial(self, rng: Seed) -> Floats:
        """Return random heads of the law at the start.

        Parameters
        ----------
        rng : int, SeedSequence or Generator
            Pair j of cell c depends on the seed, c and j alone. No network of this seed has these heads.

        Returns
        -------
        ndarray of float64, shape (S, M, 2k + d, d)
            Two heads of a pair share Q and K, and their V are δI ± Ξ. Entries have the law N(0, σ²/d), V around δI.

        Raises
        ------
        TypeError, ValueError
            If rng is no seed.

        See Also
        --------
        chaosphere.training.TrainingLimit.forward : The limit with these heads.
        chaosphere.training.TrainingLimit.shape : Their shape.
        chaosphere.training.AttentionNetwork.initial : Heads of a network.
        chaosphere.training.AttentionNetwork.forward : The network with its heads.
        chaosphere.training.AttentionNetwork.shape : The shape of those.

        Examples
        --------
        >>> import chaosphere as cs
        >>> limit = cs.training.TrainingLimit(n_cells=2, n_heads=8, dim=3)
        >>> limit.initial(0).shape
        (2, 8, 9, 3)
        """
        noise, (_, heads, *matrices) = Noise(rng), self.shape
        cells = [noise.draws(Stream.LIMIT_HEADS, cell) for cell in range(self.n_cells)]
        signs = np.ones((2, matrices[0], 1))
        signs[1, -self.dim :] = -1
        shapes = [tuple(matrices)] * (heads // 2)
        return np.stack(
            [self._scaled([s * pair[0] for pair in draws.normals(*shapes) for s in signs]) for draws in cells]
        )

    def _size(self) -> tuple[int, int]:
        return self.n_cells, self.n_heads

    def _n_evaluations(self) -> int:
        return 2

    def _passed(self, matrices: Floats, x: Tokens, *, layer: int, n_threads: int) -> Pass:
        scale = x.dtype.type(self.horizon / self.n_units)
        start = self._heads(matrices, x, n_threads=n_threads)
        half = self._moved(x, x.dtype.type(0.5) * scale * start.drift, layer=layer)
        middle = self._heads(matrices, half.after, n_threads=n_threads)
        drift = middle.drift
        if self.normalization == "post":
            drift = projected(half.after, drift)
        move = self._moved(x, scale * drift, layer=layer)
        return _Cell((start, half), (middle, move), scale=scale)


class _Cell:
    """N(x + scale · drift(y)), with the drift tangent to the sphere at y = N(x + ½ scale · drift(x))."""

    def __init__(self, first: tuple[Heads, Move], second: tuple[Heads, Move], *, scale: np.floating) -> None:
        self.first, self.second, self.scale, self.after = first, second, scale, second[1].after

    def pull(self, cotangent: Tokens, *, out: Floats) -> Tokens:
        """Return the gradient in the tokens before; see `Pass`."""
        (start, half), (middle, move) = self.first, self.second
        y, of_start = half.after, np.empty(out.shape)
        inner = move.pull(cotangent)
        of_drift, of_y = self.scale * inner, np.zeros_like(y)
        if half.length is not None:
            b, u = middle.drift, of_drift
            along = np.einsum("rik,rik->ri", y, b)[..., None], np.einsum("rik,rik->ri", y, u)[..., None]
            of_y -= along[0] * u + along[1] * b
            of_drift = u - along[1] * y
        of_y += middle.vjp(np.ascontiguousarray(of_drift), out=out)
        back = half.pull(of_y)
        of_x = start.vjp(np.ascontiguousarray(inner.dtype.type(0.5) * self.scale * back), out=of_start)
        out += of_start
        return np.asarray(inner + back + of_x)
