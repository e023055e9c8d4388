"""Attention-only transformers whose heads have matrices of their own in every layer, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief, Row, short
from chaosphere.common.streams import Noise, Seed, Stream
from chaosphere.geometry.sphere import DegenerateTokenError
from chaosphere.interactions.head import largest_value
from chaosphere.models.operations import projected
from chaosphere.training.heads import Heads

Objective = Callable[[Tokens], tuple[float, Tokens]]
_KEPT_BYTES = 2**27  # of what gradients need of layers: as long as that is enough, nothing is computed twice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NetworkGradient(Brief):
    """The loss of a network, and its gradients.

    Parameters
    ----------
    value : float
        The loss.
    tokens : ndarray, shape (B, N, d)
        In the initial tokens, as vectors of R^d, of their dtype.
    parameters : ndarray of float64, shape (L, H, 2k + d, d)
        In the matrices of the heads, laid out as the parameters are.
    final : ndarray, shape (B, N, d)
        The final tokens.

    See Also
    --------
    chaosphere.training.AttentionNetwork.gradient : What returns it.

    Examples
    --------
    >>> import chaosphere as cs
    >>> network = cs.training.AttentionNetwork(depth=2, n_heads=3, dim=4)
    >>> x = cs.sample_uniform(5, 4, rng=0)[None]
    >>> loss = cs.training.MeanRegression(targets=[[1.0, 0.0, 0.0, 0.0]])
    >>> network.gradient(network.initial(0), x, objective=loss).parameters.shape
    (2, 3, 12, 4)
    """

    value: float
    tokens: Tokens
    parameters: Floats
    final: Tokens

    def _rows(self) -> list[Row]:
        facts = {"value": self.value, "parameters": self.parameters.shape, "final": self.final.shape}
        return [(name, short(fact)) for name, fact in facts.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionNetwork:
    """An attention-only transformer with L layers of H heads, each with matrices Q, K, V of its own.

    Layer ℓ maps the tokens X of a sequence to N(X + T/(L H) Σ_h V_h Attn(Q_h, K_h; X)), with N(x) = x/|x| or x, and
    Attn(Q, K; X)_i = Σ_j e^{⟨Qx_i, Kx_j⟩} x_j / Σ_j e^{⟨Qx_i, Kx_j⟩}, over all j or, with a causal mask, j <= i.

    Parameters
    ----------
    depth : int
        L >= 1.
    n_heads : int
        H >= 1.
    dim : int
        d >= 2.
    key_dim : int, optional
        k >= 1, the rows of Q and K. Default: d.
    horizon : float
        T > 0.
    std : float
        σ >= 0: the entries of Q, K and V at the start are independent with law N(0, σ²/d).
    mask : {"causal"}, optional
        Token i sees the tokens j <= i.
    normalization : {"post", "identity"}
        N. "post" (default): N(x) = x/|x|, so that tokens stay on the unit sphere. "identity": N(x) = x.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.training.AdamW : The optimiser.
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
    dim: int
    key_dim: int | None = None
    horizon: float = 1.0
    std: float = 1.0
    mask: str | None = None
    normalization: str = "post"

    def __post_init__(self) -> None:
        """Check."""
        checks.integers(self, "depth", "n_heads", low=1)
        checks.integers(self, "dim", low=2)
        checks.numbers(self, "horizon", above=0)
        checks.numbers(self, "std", low=0)
        if self.key_dim is not None:
            checks.integers(self, "key_dim", low=1)
        if self.mask is not None:
            checks.choice(self.mask, "mask", known=("causal",))
        checks.choice(self.normalization, "normalization", known=("post", "identity"))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the parameters, (L, H, 2k + d, d).

        See Also
        --------
        chaosphere.training.AttentionNetwork.initial : Random parameters.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.training.AttentionNetwork(depth=4, n_heads=2, dim=3, key_dim=1).shape
        (4, 2, 5, 3)
        """
        return self.depth, self.n_heads, 2 * self._k + self.dim, self.dim

    @property
    def n_units(self) -> int:
        """The number of heads that share the loss, L H: what `AdamW.step` divides ε by.

        See Also
        --------
        chaosphere.training.AdamW.step : A step of these heads.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.training.AttentionNetwork(depth=4, n_heads=2, dim=3).n_units
        8
        """
        return self.depth * self.n_heads

    @property
    def _k(self) -> int:
        return self.dim if self.key_dim is None else self.key_dim

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

        Examples
        --------
        >>> import chaosphere as cs
        >>> few, more = (cs.training.AttentionNetwork(depth=2, n_heads=h, dim=3).initial(0) for h in (2, 4))
        >>> bool((few == more[:, :2]).all())
        True
        """
        noise = Noise(rng)
        _, heads, *matrices = self.shape
        layers = [noise.draws(Stream.TRAINED_HEADS, layer) for layer in range(self.depth)]
        normals = [np.stack([head[0] for head in draws.normals(*[tuple(matrices)] * heads)]) for draws in layers]
        return np.asarray(self.std / math.sqrt(self.dim) * np.stack(normals))

    def forward(self, parameters: Floats, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the final tokens.

        Parameters
        ----------
        parameters : ndarray of float64, shape (L, H, 2k + d, d)
            Of the heads.
        x : ndarray of float64 or float32, shape (B, N, d)
            B sequences of N tokens on the unit sphere.
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (B, N, d)
            The tokens after the last layer, of the dtype of x.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range or of another shape.
        DegenerateTokenError
            If a token becomes zero or not finite; an ArithmeticError.

        See Also
        --------
        chaosphere.training.AttentionNetwork.gradient : Gradients of a loss of the final tokens.
        chaosphere.training.AttentionNetwork.initial : Random parameters.

        Notes
        -----
        The time is proportional to B N² L H.

        Examples
        --------
        Without values nothing moves:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> network = cs.training.AttentionNetwork(depth=2, n_heads=2, dim=3)
        >>> x = cs.sample_uniform(4, 3, rng=0)[None]
        >>> bool(np.allclose(network.forward(np.zeros(network.shape), x), x))
        True
        """
        state, threads = self._checked(parameters, x), checks.threads(n_threads)
        for layer in range(self.depth):
            state = self._passed(parameters, state, layer=layer, n_threads=threads).after
        return state

    def gradient(
        self, parameters: Floats, x: Tokens, *, objective: Objective, n_threads: int | None = None
    ) -> NetworkGradient:
        """Return a loss of the final tokens, and its gradients in the parameters and the initial tokens.

        Parameters
        ----------
        parameters : ndarray of float64, shape (L, H, 2k + d, d)
            Of the heads.
        x : ndarray of float64 or float32, shape (B, N, d)
            B sequences of N tokens on the unit sphere.
        objective : callable
            objective(tokens) ↦ (value, gradient), such as a `MeanRegression`; tokens and gradient have the shape of x.
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        NetworkGradient
            The loss and its gradients, exact to rounding.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range or of another shape, or the loss or its gradient is not finite.
        DegenerateTokenError
            If a token becomes zero or not finite; an ArithmeticError.

        See Also
        --------
        chaosphere.training.AttentionNetwork.forward : The final tokens alone.
        chaosphere.training.NetworkGradient : The loss and its gradients.
        chaosphere.training.train : Steps along these gradients.
        chaosphere.training.MeanRegression.__call__ : A loss.
        chaosphere.training.KernelMatching.__call__ : Another loss.

        Notes
        -----
        States are kept every √L layers, and the others are computed again: O(B N d (√L + H)) numbers of memory. Where
        all that is needed of all layers takes less than 128 MB it is kept, and nothing is computed again.

        Examples
        --------
        >>> import chaosphere as cs
        >>> network = cs.training.AttentionNetwork(depth=4, n_heads=2, dim=3)
        >>> x = cs.sample_uniform(8, 3, rng=0)[None]
        >>> loss = cs.training.MeanRegression(targets=[[1.0, 0.0, 0.0]])
        >>> network.gradient(network.initial(0), x, objective=loss).tokens.shape
        (1, 8, 3)
        """
        state, threads = self._checked(parameters, x), checks.threads(n_threads)
        if not callable(objective):
            raise TypeError(f"objective must be a function of the final tokens, got {objective!r}")
        n_kept = self.n_units * (state.shape[0] * state.shape[1] * (self.dim + 1) + 2 * self.shape[2] * self.dim)
        is_kept = state.itemsize * n_kept <= _KEPT_BYTES
        stride = math.isqrt(self.depth - 1) + 1
        starts: dict[int, Tokens] = {}
        passes: list[_Pass] = []
        for layer in range(self.depth):
            if layer % stride == 0 and not is_kept:
                starts[layer] = state
            passed = self._passed(parameters, state, layer=layer, n_threads=threads)
            passes += [passed] * is_kept
            state = passed.after
        del passed
        value, pulled = objective(state.copy())
        cotangent = np.asarray(pulled, dtype=state.dtype)
        if cotangent.shape != state.shape or not (np.isfinite(value) and np.isfinite(cotangent).all()):
            raise ValueError("objective must return a finite value and a finite gradient of the shape of the tokens")
        out = np.empty(self.shape)
        for layer in reversed(range(len(passes))):
            cotangent = self._pulled(passes.pop(), cotangent, out=out[layer])
        for first in sorted(starts, reverse=True):
            own = [starts.pop(first)]
            for layer in range(first, min(first + stride, self.depth) - 1):
                own.append(self._passed(parameters, own[-1], layer=layer, n_threads=threads).after)
            for layer in reversed(range(first, first + len(own))):
                passed = self._passed(parameters, own.pop(), layer=layer, n_threads=threads)
                cotangent = self._pulled(passed, cotangent, out=out[layer])
        return NetworkGradient(value=float(value), tokens=cotangent, parameters=out, final=state)

    def _checked(self, parameters: Floats, x: Tokens) -> Tokens:
        """Return tokens that, with the parameters, suit the network."""
        if not isinstance(parameters, np.ndarray) or parameters.dtype != np.float64:
            raise TypeError(f"parameters must be a float64 array, got {type(parameters).__name__}")
        if parameters.shape != self.shape:
            raise ValueError(f"parameters must have the shape of the network's, {self.shape}, got {parameters.shape}")
        if not np.isfinite(parameters).all():
            raise ValueError("parameters must be finite")
        batch = np.ascontiguousarray(checks.tokens(x))
        if x.ndim != 3 or x.shape[2] != self.dim:
            raise ValueError(f"x must have shape (n_sequences, n_tokens, {self.dim}), got {x.shape}")
        if not abs(parameters).max() <= largest_value(x.dtype):
            raise ValueError(f"parameters must be <= {largest_value(x.dtype):.3g} in size for tokens of {x.dtype}")
        return batch

    def _passed(self, parameters: Floats, x: Tokens, *, layer: int, n_threads: int) -> _Pass:
        """Return what a layer does with tokens."""
        heads = Heads(parameters[layer], x, is_causal=self.mask is not None, n_threads=n_threads)
        y = x + x.dtype.type(self._scale) * heads.drift
        length = None
        if self.normalization == "post":
            length = np.sqrt(np.square(y).sum(axis=2, keepdims=True))
            is_good = np.isfinite(length) & (length > 0)
            y = np.divide(y, length, out=y, where=is_good)
        else:
            is_good = np.isfinite(y)
        if not is_good.all():
            sequence, token = np.argwhere(~is_good.all(axis=2))[0]
            raise DegenerateTokenError(
                f"token {token} of sequence {sequence} is {'zero or ' if length is not None else ''}not finite after "
                f"layer {layer}"
            )
        return _Pass(heads=heads, after=y, length=length)

    def _pulled(self, passed: _Pass, cotangent: Tokens, *, out: Floats) -> Tokens:
        """Return the gradient in the tokens before a layer, and write those of its heads into `out`."""
        if passed.length is not None:
            cotangent = projected(passed.after, cotangent) / passed.length
        scaled = np.ascontiguousarray(cotangent.dtype.type(self._scale) * cotangent)
        return np.asarray(cotangent + passed.heads.vjp(scaled, out=out))

    @property
    def _scale(self) -> float:
        return self.horizon / (self.depth * self.n_heads)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pass:
    """What a layer did: its heads, the tokens after it, and their lengths before they were normalised."""

    heads: Heads
    after: Tokens
    length: Tokens | None  # (B, N, 1)
