"""Layers of given matrices, such as those of a trained model, and one layer for each depth.

More than half of this file is docstrings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.pullback import Pullback
from chaosphere.common.reprs import Brief
from chaosphere.common.streams import Draws
from chaosphere.noise import activations
from chaosphere.noise.activations import Activation
from chaosphere.noise.mlp import MLP, MLPLayer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class FixedMLP(checks.ByValue, Brief):
    """A two-layer network with matrices of your own, such as those of a trained model.

    G(y) = W φ(U y + b_U) + b_W,  U: (m, d), W: (d, m)

    Nothing is scaled: there is no m^{-1/2}, and U is taken as it is.

    Parameters
    ----------
    inner : array_like, shape (m, d)
        U, with m >= 1 and d >= 2. Entries here and below are at most 1e30 in size.
    outer : array_like, shape (d, m)
        W.
    inner_bias : array_like, shape (m,), optional
        b_U; default 0.
    outer_bias : array_like, shape (d,), optional
        b_W; default 0.
    activation : str or callable
        φ: a key of `activations.ACTIVATIONS`, as relu, gelu (exact, x Φ(x)) or tanh, runs in the compiled kernel; a
        callable, elementwise on float64 arrays, runs at Python speed.

    Raises
    ------
    TypeError, ValueError
        If an array has another shape or an entry that is out of range, or the activation is unknown.

    See Also
    --------
    chaosphere.MLP : A random network.
    chaosphere.MLPLayer : A network as a function, for each replica.
    chaosphere.Transformer : A network that has it as its MLP.
    chaosphere.Transformer.from_layers : The layers of a model, one after the other.
    chaosphere.SoftmaxAttention : Attention, with matrices of your own as well.

    Notes
    -----
    A `Transformer` takes it as one network, with the step sT/L, and not as noise, with the step s√(T/L). Arrays are
    copied, as float64; float32 tokens are computed with the float32 numbers next to them.

    Examples
    --------
    A layer that adds the positive part of the first coordinate to the second:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> mlp = cs.FixedMLP(inner=np.array([[1.0, 0.0]]), outer=np.array([[0.0], [1.0]]))
    >>> mlp(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    array([[0., 1.],
           [0., 0.]])
    """

    inner: Floats
    outer: Floats
    inner_bias: Floats | None = None
    outer_bias: Floats | None = None
    activation: str | Callable[[Floats], Floats] | Activation = "relu"

    def __post_init__(self) -> None:
        """Check, and convert to arrays."""
        fill = object.__setattr__
        fill(self, "inner", checks.matrix(self.inner, "inner"))
        fill(self, "outer", checks.matrix(self.outer, "outer", low=1))
        width, dim = self.inner.shape
        if self.outer.shape != (dim, width):
            raise ValueError(
                f"outer must have the shape {(dim, width)}, that of inner in reverse, got shape {self.outer.shape}"
            )
        for name, size in (("inner_bias", width), ("outer_bias", dim)):
            if getattr(self, name) is not None:
                fill(self, name, _vector(getattr(self, name), name, size=size))
        for name in ("inner", "outer", "inner_bias", "outer_bias"):
            array = getattr(self, name)
            if array is not None and not (largest := float(abs(array).max())) <= checks.MAX_STD:
                raise ValueError(f"{name} must have entries of size <= {checks.MAX_STD:g}, found {largest:.6g}")
        activation = activations.get(self.activation)
        if not isinstance(self.activation, str):
            fill(self, "activation", activation)

    def plan(self, dim: int) -> FixedLayerPlan:
        """Return what gives the layer to a model in dimension d.

        Parameters
        ----------
        dim : int
            d >= 2.

        Returns
        -------
        FixedLayerPlan
            Its `draw` returns the layer.

        Raises
        ------
        ValueError
            If the matrices are of another dimension.

        See Also
        --------
        chaosphere.MLP.plan : The same of a random network.
        chaosphere.FixedMLP.__call__ : The network at tokens.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> mlp = cs.FixedMLP(inner=np.ones((8, 3)), outer=np.ones((3, 8)))
        >>> mlp.plan(3).draw([])
        MLPLayer(dim=3, width=8, activation='relu', n_replicas=1)
        """
        if self.inner.shape[1] != dim:
            raise ValueError(f"x must have dim {self.inner.shape[1]}, that of the matrices of the mlp, got {dim}")
        b, c = (None if bias is None else bias[None] for bias in (self.inner_bias, self.outer_bias))
        layer = MLPLayer(
            u=self.inner[None],
            w=self.outer[None],
            b=b,
            c=c,
            activation=activations.get(self.activation),
            weight_std=1.0,
            output_scale=1.0,
        )
        return FixedLayerPlan(layer)

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return G(x_i) for every token.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere of the dimension of the matrices, or the result is not finite.

        See Also
        --------
        chaosphere.MLPLayer.__call__ : The same of one realisation of a random network.
        chaosphere.FixedMLP.plan : What gives the layer to a model.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> inner, outer = np.random.default_rng(0).standard_normal((2, 3, 3))
        >>> mlp = cs.FixedMLP(inner=inner, outer=outer, activation="tanh")
        >>> x = cs.sample_uniform(10, 3, rng=0)
        >>> np.allclose(mlp(x), np.tanh(x @ inner.T) @ outer.T)
        True
        """
        batch = checks.tokens(x)
        out = self.plan(batch.shape[2]).layer.values(batch, n_threads=checks.threads(n_threads))
        if not np.isfinite(out).all():
            raise ValueError("inner, outer and the biases must be such that the layer is finite at x; it is not")
        return out if x.ndim == 3 else out[0]

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the derivative at tokens, in a direction at each: W diag(φ′(U x + b_U)) U t.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere.
        tangent : ndarray, shape and dtype of x
            A vector of R^d for each token, which need not be tangent to the sphere.
        n_threads : int, optional
            As in `__call__`.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens of the dimension of the matrices, tangent has another shape or dtype, or the
            activation is a function that came without its derivative.

        See Also
        --------
        chaosphere.FixedMLP.vjp : The transpose of the derivative.
        chaosphere.MLPLayer.jvp : The same of a random layer.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> inner, outer = np.random.default_rng(0).standard_normal((2, 3, 3))
        >>> mlp = cs.FixedMLP(inner=inner, outer=outer, activation="sin")
        >>> x, y = cs.sample_uniform(10, 3, rng=0, n_replicas=2)
        >>> slope = np.cos(x @ inner.T)
        >>> np.allclose(mlp.jvp(x, y), (slope * (y @ inner.T)) @ outer.T)
        True
        """
        layer = self.plan(checks.tokens(x).shape[2]).layer
        return layer.jvp(x, tangent, n_threads=n_threads)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        """Return the gradient of Σ_i ⟨cotangent_i, G(x_i)⟩ in the tokens and in the matrices.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere.
        cotangent : ndarray, shape and dtype of x
            A vector of R^d for each token.
        n_threads : int, optional
            As in `__call__`.

        Returns
        -------
        Pullback
            `tokens` of the shape of x; `parameters` with "inner", "outer" and the biases that there are, of the shape
            of the matrices, for each replica of x if it has some.

        Raises
        ------
        TypeError, ValueError
            As of `jvp`.

        See Also
        --------
        chaosphere.FixedMLP.jvp : The derivative in a direction.
        chaosphere.MLPLayer.vjp : The same of a random layer.
        chaosphere.MLPLayer.parameter_gradient : The gradient in the matrices of each replica.
        chaosphere.gradient : Gradient of a function of the tokens at the end of a run.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> inner, outer = np.random.default_rng(0).standard_normal((2, 3, 3))
        >>> mlp = cs.FixedMLP(inner=inner, outer=outer, activation="sin")
        >>> x, y = cs.sample_uniform(10, 3, rng=0, n_replicas=2)
        >>> back = mlp.vjp(x, y)
        >>> np.allclose(back.parameters["outer"], y.T @ np.sin(x @ inner.T))
        True
        """
        plan = self.plan(checks.tokens(x).shape[2])
        return plan.vjp(plan.layer, x, cotangent=cotangent, n_threads=n_threads)


class LayerSource(Protocol):
    """What gives a `Transformer` the networks of its layers, made by the `plan` of an `MLP` or a `FixedMLP`.

    Attributes
    ----------
    n_normals : int
        Random numbers of a network.
    resample : bool
        Whether each layer has a network of its own, scaled as noise.
    """

    n_normals: int
    resample: bool

    def draw(self, steps: Iterable[Draws]) -> MLPLayer:
        """Return the network that some draws give."""

    def vjp(self, layer: MLPLayer, x: Tokens, *, cotangent: Tokens, n_threads: int | None) -> Pullback:
        """Return the gradient in the tokens, and in the matrices that are parameters."""


class FixedLayerPlan:
    """Gives one layer, whatever the draws.

    Parameters
    ----------
    layer : MLPLayer
    """

    n_normals, resample = 0, False

    def __init__(self, layer: MLPLayer) -> None:
        self.layer = layer

    def draw(self, steps: Iterable[Draws]) -> MLPLayer:
        """Return the layer."""
        return self.layer

    def vjp(self, layer: MLPLayer, x: Tokens, *, cotangent: Tokens, n_threads: int | None) -> Pullback:
        """Return the gradient in the tokens and in the matrices."""
        tokens = layer.vjp(x, cotangent, n_threads=n_threads).tokens
        gradients = layer.parameter_gradient(x, cotangent, n_threads=n_threads)
        arrays = {"inner": layer.u, "outer": layer.w, "inner_bias": layer.b, "outer_bias": layer.c}
        parameters = {
            name: gradients[short] if x.ndim == 3 else gradients[short][0]
            for (name, array), short in zip(arrays.items(), "uwbc", strict=True)
            if array is not None
        }
        return Pullback(tokens=tokens, parameters=parameters)


def _vector(value: Any, name: str, *, size: int) -> Floats:
    """Return value as a read-only float64 array of this many finite numbers."""
    vector = np.array(checks.array(value, name))
    if vector.shape != (size,):
        raise ValueError(f"{name} must have the shape {(size,)}, got shape {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} must be finite, found {vector[~np.isfinite(vector)][0]} in it")
    vector.flags.writeable = False
    return vector


def check_mlp(mlp: Any, *, depth: int) -> MLP | FixedMLP | tuple[MLP | FixedMLP, ...] | None:
    """Return the networks of a model of some layers: one for all of them, or a tuple with one for each.

    Raises
    ------
    TypeError, ValueError
        If something in it is no network, or there is not one for each layer.
    """
    if mlp is None or isinstance(mlp, MLP | FixedMLP):
        return mlp
    if not isinstance(mlp, Sequence) or isinstance(mlp, str):
        raise TypeError(f"mlp must be an MLP, a FixedMLP, a sequence of these, or None, got {messages.shown(mlp)}")
    for number, network in enumerate(mlp):
        if not isinstance(network, MLP | FixedMLP):
            hint = "; noise_scale = 0 switches one off" if network is None else ""
            raise TypeError(f"mlp[{number}] must be an MLP or a FixedMLP, got {messages.shown(network)}{hint}")
    if len(mlp) != depth:
        raise ValueError(f"mlp must have one network for each of the {depth} layers, got {len(mlp)}")
    return tuple(mlp)


def layer_sources(
    mlp: MLP | FixedMLP | Sequence[MLP | FixedMLP] | None, *, dim: int, depth: int
) -> tuple[LayerSource, ...]:
    """Return what gives each layer its network, none without an MLP. Layers that share a network share this, too."""
    if mlp is None:
        return ()
    mlps = (mlp,) * depth if isinstance(mlp, MLP | FixedMLP) else mlp
    plans: dict[int, LayerSource] = {}
    for network in mlps:
        if id(network) not in plans:
            plans[id(network)] = network.plan(dim)
    return tuple(plans[id(network)] for network in mlps)
