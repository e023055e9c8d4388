"""Layers of attention heads with matrices of their own: what networks and their limit share.

Much of this file is docstrings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief, Row, short
from chaosphere.geometry.sphere import DegenerateTokenError
from chaosphere.interactions.head import largest_value
from chaosphere.models.operations import projected
from chaosphere.training.heads import Heads
from chaosphere.training.losses import Objective, evaluated

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
    states : ndarray, shape (L + 1, B, N, d), or None
        The tokens before every layer and after the last, if they were to be saved.
    adjoints : ndarray, shape (L + 1, B, N, d), or None
        The gradients of the loss in them, as vectors of R^d.

    See Also
    --------
    chaosphere.training.AttentionNetwork.gradient : What returns it.
    chaosphere.training.TrainingLimit.gradient : The same of the limit.

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
    states: Tokens | None = None
    adjoints: Tokens | None = None

    def _rows(self) -> list[Row]:
        facts = {"value": self.value, "parameters": self.parameters.shape, "final": self.final.shape}
        return [(name, short(fact)) for name, fact in facts.items()]


class Pass(Protocol):
    """What one layer did.

    Attributes
    ----------
    after : ndarray, shape (B, N, d)
        The tokens after it.
    """

    after: Tokens

    def pull(self, cotangent: Tokens, *, out: Floats) -> Tokens:
        """Return the gradient in the tokens before, from that in those after; write that in the heads to `out`."""


class Move:
    """The tokens N(x + v), and the derivative of N.

    Parameters
    ----------
    x, v : ndarray, shape (B, N, d)
    is_normalized : bool
        Whether N(x) = x/|x|; else x.
    layer : int
        For the message of an error.
    """

    def __init__(self, x: Tokens, v: Tokens, *, is_normalized: bool, layer: int) -> None:
        y = x + v
        self.length = None
        is_good = np.isfinite(y)
        if is_normalized:
            self.length = np.sqrt(np.square(y).sum(axis=2, keepdims=True))
            is_good = np.isfinite(self.length) & (self.length > 0)
            y = np.divide(y, self.length, out=y, where=is_good)
        if not is_good.all():
            sequence, token = np.argwhere(~is_good.all(axis=2))[0]
            what = "not finite" if self.length is None else "zero or not finite"
            raise DegenerateTokenError(f"token {token} of sequence {sequence} is {what} after layer {layer}")
        self.after = y

    def pull(self, cotangent: Tokens) -> Tokens:
        """Return the gradient in x + v from that in N(x + v)."""
        return cotangent if self.length is None else projected(self.after, cotangent) / self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """L layers, or cells of the depth, of H heads each. `AttentionNetwork` and `TrainingLimit` document the fields."""

    dim: int
    key_dim: int | None = None
    horizon: float = 1.0
    std: float = 1.0
    value_scale: float = 0.0
    mask: str | None = None
    normalization: str = "post"

    def __post_init__(self) -> None:
        """Check."""
        checks.integers(self, "dim", low=2)
        checks.numbers(self, "horizon", above=0)
        checks.numbers(self, "std", low=0)
        checks.numbers(self, "value_scale")
        if self.key_dim is not None:
            checks.integers(self, "key_dim", low=1)
        if self.mask is not None:
            checks.choice(self.mask, "mask", known=("causal",))
        checks.choice(self.normalization, "normalization", known=("post", "identity"))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the parameters, (L, H, 2k + d, d) or (S, M, 2k + d, d).

        See Also
        --------
        chaosphere.training.AttentionNetwork.initial : Random parameters.
        chaosphere.training.TrainingLimit.initial : Those of the limit.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.training.AttentionNetwork(depth=4, n_heads=2, dim=3, key_dim=1).shape
        (4, 2, 5, 3)
        """
        k = self.dim if self.key_dim is None else self.key_dim
        return *self._size(), 2 * k + self.dim, self.dim

    @property
    def n_units(self) -> int:
        """The number of heads that share the loss, L H or S M: what `AdamW.step` divides ε by.

        See Also
        --------
        chaosphere.training.AdamW.step : A step of these heads.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.training.AttentionNetwork(depth=4, n_heads=2, dim=3).n_units
        8
        """
        return math.prod(self._size())

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
        chaosphere.training.TrainingLimit.gradient : The gradients in the limit.
        chaosphere.training.TrainingLimit.initial : Random parameters of the limit.

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
        state, threads = checked_tokens(self, x, parameters=parameters), checks.threads(n_threads)
        for layer in range(self.shape[0]):
            state = self._passed(parameters[layer], state, layer=layer, n_threads=threads).after
        return state

    def gradient(
        self,
        parameters: Floats,
        x: Tokens,
        *,
        objective: Objective,
        save_states: bool = False,
        n_threads: int | None = None,
    ) -> NetworkGradient:
        """Return a loss of the final tokens, and its gradients in the parameters and the initial tokens.

        Parameters
        ----------
        parameters : ndarray of float64, shape (L, H, 2k + d, d)
            Of the heads.
        x : ndarray of float64 or float32, shape (B, N, d)
            B sequences of N tokens on the unit sphere.
        objective : callable
            objective(tokens) ↦ (value, gradient), a tuple of a number and an array, such as a `MeanRegression`; tokens
            and gradient have the shape of x.
        save_states : bool
            Return the tokens at all layers, and the gradients in them.
        n_threads : int, optional
            As in `forward`.

        Returns
        -------
        NetworkGradient
            The loss and its gradients, exact to rounding.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range or of another shape, or if the loss, its gradient in the final tokens or one
            of those that are returned is not finite.
        DegenerateTokenError
            If a token becomes zero or not finite; an ArithmeticError.

        See Also
        --------
        chaosphere.training.AttentionNetwork.forward : The final tokens alone.
        chaosphere.training.TrainingLimit.forward : Those of the limit.
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
        return differentiate(
            self, x, parameters=parameters, objective=objective, save_states=save_states, n_threads=n_threads
        )

    def _size(self) -> tuple[int, int]:
        """Return L and H."""
        raise NotImplementedError

    def _n_evaluations(self) -> int:
        """Return how often a layer evaluates its heads."""
        raise NotImplementedError

    def _passed(self, matrices: Floats, x: Tokens, *, layer: int, n_threads: int) -> Pass:
        """Return what a layer does with tokens."""
        raise NotImplementedError

    def _heads(self, matrices: Floats, x: Tokens, *, n_threads: int) -> Heads:
        return Heads(matrices, x, is_causal=self.mask is not None, n_threads=n_threads)

    def _moved(self, x: Tokens, v: Tokens, *, layer: int) -> Move:
        return Move(x, v, is_normalized=self.normalization == "post", layer=layer)

    def _scaled(self, normals: list[Floats]) -> Floats:
        """Return matrices (H, 2k + d, d) of one layer from standard normals: N(0, σ²/d), with the mean δI of V."""
        matrices = self.std / math.sqrt(self.dim) * np.stack(normals)
        matrices[:, -self.dim :] += self.value_scale * np.eye(self.dim)
        return np.asarray(matrices)


def checked_tokens(network: Stack, x: Tokens, *, parameters: Floats, name: str = "parameters") -> Tokens:
    """Return tokens that suit the network and the parameters; a name of these for the messages of errors."""
    if not isinstance(parameters, np.ndarray) or parameters.dtype != np.float64:
        raise TypeError(f"{name} must be a float64 array, got {type(parameters).__name__}")
    if parameters.shape != network.shape:
        raise ValueError(f"{name} must have the shape of the network's, {network.shape}, got {parameters.shape}")
    if not np.isfinite(parameters).all():
        raise ValueError(f"{name} must be finite")
    batch = np.ascontiguousarray(checks.tokens(x))
    if x.ndim != 3 or x.shape[2] != network.dim:
        raise ValueError(f"x must have shape (n_sequences, n_tokens, {network.dim}), got {x.shape}")
    if not abs(parameters).max() <= largest_value(x.dtype):
        raise ValueError(f"{name} must be <= {largest_value(x.dtype):.3g} in size for tokens of {x.dtype}")
    return batch


def differentiate(
    network: Stack,
    x: Tokens,
    *,
    parameters: Floats,
    objective: Objective,
    save_states: bool = False,
    n_threads: int | None = None,
    name: str = "objective",
) -> NetworkGradient:
    """Return the result of `Stack.gradient`; a name of the objective for the messages of errors."""
    state, threads = checked_tokens(network, x, parameters=parameters), checks.threads(n_threads)
    if not callable(objective):
        raise TypeError(f"{name} must be a function of the final tokens, got {messages.shown(objective)}")
    checks.flag(save_states, "save_states")
    depth, of_head = (
        network.shape[0],
        2 * network.shape[2] * network.dim + state.shape[0] * state.shape[1] * (network.dim + 1),
    )
    is_kept = state.itemsize * network._n_evaluations() * network.n_units * of_head <= _KEPT_BYTES
    stride = math.isqrt(depth - 1) + 1
    states = np.empty((depth + 1, *state.shape), state.dtype) if save_states else None
    adjoints = None if states is None else np.empty_like(states)
    starts: dict[int, Tokens] = {}
    passes: list[Pass] = []
    for layer in range(depth):
        if layer % stride == 0 and not is_kept:
            starts[layer] = state
        passed = network._passed(parameters[layer], state, layer=layer, n_threads=threads)
        passes += [passed] * is_kept
        if states is not None:
            states[layer], states[layer + 1] = state, passed.after
        state = passed.after
    del passed
    value, cotangent = evaluated(objective, state, name=name)
    out = np.empty(network.shape)
    own: list[Tokens] = []
    for layer in reversed(range(depth)):
        if adjoints is not None:
            adjoints[layer + 1] = cotangent
        if not passes:
            if not own:
                first = layer // stride * stride
                own = [starts.pop(first)]
                for between in range(first, layer):
                    again = network._passed(parameters[between], own[-1], layer=between, n_threads=threads)
                    own.append(again.after)
            passes = [network._passed(parameters[layer], own.pop(), layer=layer, n_threads=threads)]
        with np.errstate(over="ignore", invalid="ignore"):
            cotangent = passes.pop().pull(cotangent, out=out[layer])
        if not (np.isfinite(cotangent).all() and np.isfinite(out[layer]).all()):
            raise ValueError(f"{name} must have a gradient that is finite in {state.dtype} before layer {layer}")
    if adjoints is not None:
        adjoints[0] = cotangent
    return NetworkGradient(
        value=value,
        tokens=cotangent,
        parameters=out,
        final=state,
        states=states,
        adjoints=adjoints,
    )
