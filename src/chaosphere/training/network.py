"""Attention-only transformers whose heads have matrices of their own in every layer, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief, Row, short
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Seed, Stream
from chaosphere.geometry import sphere
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.models.operations import projected

Objective = Callable[[Floats], tuple[float, Floats]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NetworkGradient(Brief):
    """The loss of a network, and its gradients.

    Parameters
    ----------
    value : float
        The loss.
    tokens : ndarray of float64, shape (B, N, d)
        In the initial tokens, as vectors of R^d.
    parameters : ndarray of float64, shape (L, H, 2k + d, d)
        In the matrices of the heads, laid out as the parameters are.
    final : ndarray of float64, shape (B, N, d)
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
    tokens: Floats
    parameters: Floats
    final: Floats

    def _rows(self) -> list[Row]:
        facts = {"value": self.value, "parameters": self.parameters.shape, "final": self.final.shape}
        return [(name, short(fact)) for name, fact in facts.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionNetwork:
    """An attention-only transformer with L layers of H heads, each with matrices Q, K, V of its own.

    Layer ℓ maps the tokens X of a sequence to LN(X + T/(L H) Σ_h V_h Attn(Q_h, K_h; X)), with LN(x) = x/|x| and
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

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.training.AdamW : The optimiser.

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

    def forward(self, parameters: Floats, x: Floats, *, n_threads: int | None = None) -> Floats:
        """Return the final tokens.

        Parameters
        ----------
        parameters : ndarray of float64, shape (L, H, 2k + d, d)
            Of the heads.
        x : ndarray of float64, shape (B, N, d)
            B sequences of N tokens on the unit sphere.
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray of float64, shape (B, N, d)
            The tokens after the last layer.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range or of another shape.

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
            state = self._advanced(state, self._plans(parameters[layer], state), n_threads=threads)
        return state

    def gradient(
        self, parameters: Floats, x: Floats, *, objective: Objective, n_threads: int | None = None
    ) -> NetworkGradient:
        """Return a loss of the final tokens, and its gradients in the parameters and the initial tokens.

        Parameters
        ----------
        parameters : ndarray of float64, shape (L, H, 2k + d, d)
            Of the heads.
        x : ndarray of float64, shape (B, N, d)
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

        See Also
        --------
        chaosphere.training.AttentionNetwork.forward : The final tokens alone.
        chaosphere.training.NetworkGradient : The loss and its gradients.
        chaosphere.training.MeanRegression.__call__ : A loss.
        chaosphere.training.KernelMatching.__call__ : Another loss.

        Notes
        -----
        States are kept every √L layers and those between are computed again: the memory for them is O(B N d √L).

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
        stride, kept = math.isqrt(self.depth - 1) + 1, {}
        for layer in range(self.depth):
            if layer % stride == 0:
                kept[layer] = state
            state = self._advanced(state, self._plans(parameters[layer], state), n_threads=threads)
        value, cotangent = objective(state.copy())
        cotangent = np.asarray(cotangent, dtype=np.float64)
        if cotangent.shape != state.shape or not (np.isfinite(value) and np.isfinite(cotangent).all()):
            raise ValueError("objective must return a finite value and a finite gradient of the shape of the tokens")
        out = np.empty(self.shape)
        for first in sorted(kept, reverse=True):
            states = [kept.pop(first)]
            for layer in range(first, min(first + stride, self.depth) - 1):
                states.append(self._advanced(states[-1], self._plans(parameters[layer], states[-1]), n_threads=threads))
            for layer in reversed(range(first, first + len(states))):
                start = states.pop()
                plans = self._plans(parameters[layer], start)
                cotangent = self._pulled(start, cotangent, plans=plans, out=out[layer], n_threads=threads)
        return NetworkGradient(value=float(value), tokens=cotangent, parameters=out, final=state)

    def _checked(self, parameters: Floats, x: Floats) -> Floats:
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
        if x.dtype != np.float64:
            raise TypeError(f"x must be float64, got {x.dtype}")
        return batch

    def _plans(self, layer: Floats, x: Floats) -> list[InteractionPlan]:
        """Return the plans of the heads of a layer."""
        k, shape = self._k, Shape.of(x)
        options: Any = {} if self.mask is None else {"mask": self.mask}
        return [
            SoftmaxAttention(query=head[:k], key=head[k : 2 * k], value=head[2 * k :], method="direct", **options).plan(
                shape, None
            )
            for head in layer
        ]

    def _moved(self, x: Floats, plans: list[InteractionPlan], *, n_threads: int) -> Floats:
        total = np.zeros_like(x)
        for plan in plans:
            total += plan.drift(x, n_threads=n_threads)
        return np.asarray(x + self._scale * total)

    def _advanced(self, x: Floats, plans: list[InteractionPlan], *, n_threads: int) -> Floats:
        """Return the tokens after a layer."""
        return np.asarray(sphere.normalize(self._moved(x, plans, n_threads=n_threads)))

    def _pulled(
        self, x: Floats, cotangent: Floats, *, plans: list[InteractionPlan], out: Floats, n_threads: int
    ) -> Floats:
        """Return the gradient in the tokens before a layer, and write those of its heads into `out`."""
        y = self._moved(x, plans, n_threads=n_threads)
        length = np.linalg.norm(y, axis=2, keepdims=True)
        inner = projected(y / length, cotangent) / length
        back, scaled = inner.copy(), np.ascontiguousarray(self._scale * inner)
        for plan, of_head in zip(plans, out, strict=True):
            pullback = plan.vjp(x, scaled, n_threads=n_threads)
            back += pullback.tokens
            parts = [pullback.parameters[name].sum(axis=0) for name in ("query", "key", "value")]
            np.concatenate(parts, out=of_head)
        return np.asarray(back)

    @property
    def _scale(self) -> float:
        return self.horizon / (self.depth * self.n_heads)
