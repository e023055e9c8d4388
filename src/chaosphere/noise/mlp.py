"""The random layers of the transformer: a common noise that moves all tokens at once.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.fields import added
from chaosphere.common.pullback import Pullback
from chaosphere.common.reprs import Brief, Row, short
from chaosphere.common.streams import Draws
from chaosphere.geometry import sphere
from chaosphere.kernels import layer as kernel
from chaosphere.noise import activations, layer_derivative
from chaosphere.noise.activations import Activation
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.layer_law import LayerLaw

_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
# From standard normals.
_WEIGHTS: dict[str, Callable[[Floats], Floats]] = {
    "gaussian": lambda z: z,
    "rademacher": lambda z: np.copysign(1.0, z),
    "uniform": lambda z: math.sqrt(3.0) * np.asarray(scipy.special.erf(z / math.sqrt(2.0))),
}
_ROWS_AT_ONCE = 4096  # tokens per slice when a callable activation makes an explicit (rows, width) array


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MLP(Brief):
    """A random two-layer network, drawn anew in every layer of the transformer and shared by all tokens.

    G(y) = m^{-1/2} W φ(w U y + b_U) + b_W,  U: (m, d), W: (d, m)   (arXiv:2604.26898, section 1)

    with i.i.d. entries U, W ~ N(0, 1), b_U ~ N(0, σ_U²), b_W ~ N(0, σ_W²). Then E[G(x) G(y)ᵀ] = κ(⟨x, y⟩) I for every
    width.

    `weights` chooses another law of the entries of U and W, with variance 1. Then the covariance is still a multiple of
    I for every width, but not a function of ⟨x, y⟩, since rotations change the law of U.

    Parameters
    ----------
    width : int
        Number m >= 1 of hidden units.
    activation : str or callable
        φ: a key of `activations.ACTIVATIONS`, as relu, gelu (exact, x Φ(x)) or tanh, runs in the compiled kernel; a
        callable, elementwise on float64 arrays, runs at Python speed.
    bias_std, output_bias_std : float
        σ_U, σ_W >= 0.
    weight_std : float, optional
        w >= 0; default d^{-1/2}. With 0 the layer is constant: it moves all tokens in one direction.
    weights : str
        Law of the entries of U and W, of mean 0 and variance 1: "gaussian"; "rademacher", ±1; "uniform", on [−√3, √3].
        Biases are Gaussian.
    resample : bool
        Whether each layer of a transformer is drawn anew. False: one network for all of them, which a `Transformer`
        scales by T/L; many layers then solve an ordinary differential equation.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or the activation is unknown.

    See Also
    --------
    chaosphere.Transformer : The discrete transformer.
    chaosphere.MLPLayer : One realisation of a random layer.
    chaosphere.FixedMLP : A network with matrices of your own.
    chaosphere.CovarianceKernel : Covariance of the common noise.
    chaosphere.GaussianField : Gaussian noise with a given covariance.
    chaosphere.noise.layer_law.LayerLaw : The law of a random layer.
    chaosphere.noise.activations.Activation : An activation function and its facts.

    Examples
    --------
    One layer of width 128, at ten tokens:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=128, activation="tanh", bias_std=0.1)
    >>> layer = mlp.draw(3, rng=np.random.default_rng(0))
    >>> layer(cs.sample_uniform(10, 3, rng=0)).shape
    (10, 3)
    """

    width: int
    activation: str | Callable[[Floats], Floats] | Activation = "relu"
    bias_std: float = 0.0
    output_bias_std: float = 0.0
    weight_std: float | None = None
    weights: str = added("gaussian")
    resample: bool = added(True)

    def __post_init__(self) -> None:
        """Check, and convert numbers to int and float."""
        checks.integers(self, "width", low=1)
        checks.choice(self.weights, "weights", known=_WEIGHTS)
        checks.flag(self.resample, "resample")
        object.__setattr__(self, "resample", bool(self.resample))
        activation = activations.get(self.activation)
        if not isinstance(self.activation, str):
            object.__setattr__(self, "activation", activation)  # a callable is examined once, not at every draw
        law = self.law
        for name in ("weight_std", "bias_std", "output_bias_std"):
            object.__setattr__(self, name, getattr(law, name))

    @property
    def law(self) -> LayerLaw:
        """The law of the layers, whatever their width.

        See Also
        --------
        chaosphere.MLP.of : Network with a given law of its layers.
        chaosphere.noise.layer_law.LayerLaw : The law of a random layer.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.MLP(width=64, bias_std=0.1).law == cs.MLP(width=128, bias_std=0.1).law
        True
        """
        return LayerLaw(
            activation=activations.get(self.activation),
            weight_std=self.weight_std,
            bias_std=self.bias_std,
            output_bias_std=self.output_bias_std,
            limit=checks.MAX_STD,
        )

    @classmethod
    def of(cls, law: LayerLaw, *, width: int) -> MLP:
        """Return the network of this width whose layers have this law.

        Parameters
        ----------
        law : LayerLaw
            Activation and standard deviations.
        width : int
            Number m >= 1 of hidden units.

        Returns
        -------
        MLP
            A network with that law.

        See Also
        --------
        chaosphere.MLP.law : The law of the layers, whatever their width.
        chaosphere.noise.layer_law.LayerLaw : The law of a random layer.

        Examples
        --------
        >>> import chaosphere as cs
        >>> narrow = cs.MLP(width=64, activation="tanh", bias_std=0.1)
        >>> cs.MLP.of(narrow.law, width=4096).bias_std
        0.1
        """
        return cls(
            width=width,
            activation=law.activation,
            weight_std=law.weight_std,
            bias_std=law.bias_std,
            output_bias_std=law.output_bias_std,
        )

    def kernel(self, dim: int) -> CovarianceKernel:
        """Return κ with E[G(x) G(y)ᵀ] = κ(⟨x, y⟩) I in dimension d, the same for every width.

        Parameters
        ----------
        dim : int
            d >= 2.

        Returns
        -------
        CovarianceKernel
            The kernel κ.

        Raises
        ------
        ValueError
            Unless the weights are Gaussian: with others there is no such function.

        See Also
        --------
        chaosphere.CovarianceKernel.from_activation : Kernel of a random layer.

        Examples
        --------
        >>> import chaosphere as cs
        >>> k = cs.MLP(width=1, activation="relu").kernel(5)
        >>> round(k.lyapunov_exponent(), 12), round(k.lambda_bar(), 12)
        (-0.1, 0.2)
        """
        if self.weights != "gaussian":
            raise ValueError(
                f"weights must be 'gaussian' for a kernel, got {self.weights!r}: their covariance has no function κ"
            )
        law = self.law
        return CovarianceKernel.from_activation(
            law.activation,
            dim=dim,
            bias_std=law.bias_std,
            output_bias_std=law.output_bias_std,
            weight_std=law.weight_std,
        )

    def plan(self, dim: int) -> LayerPlan:
        """Return what draws layers in dimension d, with all that does not change from layer to layer.

        Parameters
        ----------
        dim : int
            d >= 2.

        Returns
        -------
        LayerPlan
            Its `draw` makes an `MLPLayer` from the normals of `Noise.draws`.

        See Also
        --------
        chaosphere.MLP.draw : Draw one layer.
        chaosphere.FixedMLP.plan : The same of a network with matrices of your own.
        chaosphere.common.streams.Noise.draws : Normals of a step.

        Examples
        --------
        The layers of a run, one after another:

        >>> import chaosphere as cs
        >>> from chaosphere.common.streams import Noise, Stream
        >>> plan, noise = cs.MLP(width=16).plan(3), Noise(0)
        >>> layers = [plan.draw([noise.draws(Stream.LAYER, step)]) for step in range(2)]
        >>> layers[0].u.shape, bool((layers[0].u == layers[1].u).any())
        ((1, 16, 3), False)
        """
        return LayerPlan(self, dim)

    def draw(self, dim: int, *, rng: np.random.Generator) -> MLPLayer:
        """Draw one realisation in dimension d, a function on the sphere; see `MLPLayer`.

        Parameters
        ----------
        dim : int
            d >= 2.
        rng : numpy.random.Generator
            Gives the key of 2md + m + d normals at most, always in double precision.

        Returns
        -------
        MLPLayer
            A function of position.

        Raises
        ------
        TypeError, ValueError
            If dim is no integer >= 2, or rng is not a Generator.

        See Also
        --------
        chaosphere.MLP.plan : What draws the layers of a run.
        chaosphere.MLPLayer : One realisation of a random layer.
        chaosphere.common.streams.Draws.of : Draws from a NumPy generator.
        chaosphere.MLPLayer.__call__ : The layer at tokens.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> layer = cs.MLP(width=64).draw(3, rng=np.random.default_rng(0))
        >>> layer(cs.sample_uniform(10, 3, rng=0)).shape
        (10, 3)
        """
        if not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"rng must be a numpy Generator, such as np.random.default_rng(0), got {messages.shown(rng)}"
            )
        return self.plan(checks.integer(dim, "dim", low=2)).draw([Draws.of(rng)])


class LayerPlan:
    """Draws layers of an MLP in one dimension.

    Parameters
    ----------
    mlp : MLP
    dim : int

    Attributes
    ----------
    n_normals : int
        Random numbers of a layer: 2md + m + d.
    resample : bool
        Whether each layer has a network of its own.
    """

    def __init__(self, mlp: MLP, dim: int) -> None:
        self.mlp, self.dim, self.resample, law = mlp, dim, mlp.resample, mlp.law
        self.activation, self.weight_std = law.activation, law.weight_in(dim)
        self.n_normals = mlp.width * (2 * dim + 1) + dim

    def draw(self, steps: Iterable[Draws]) -> MLPLayer:
        """Draw one layer per replica, the scaled sum of r networks: r^{-1/2} Σ_k G_k, again a network, of width rm.

        Parameters
        ----------
        steps : iterable of r Draws
            Item k draws network k of every replica.

        Returns
        -------
        MLPLayer
        """
        parts = [self._draw_one(draws) for draws in steps]
        u, w, b, c = ([part[i] for part in parts] for i in range(4))
        return MLPLayer(
            u=parts[0][0] if len(parts) == 1 else np.concatenate(u, axis=1),
            w=parts[0][1] if len(parts) == 1 else np.concatenate(w, axis=2),
            b=None if b[0] is None else np.concatenate(b, axis=1),
            c=None if c[0] is None else sum(c) / math.sqrt(len(parts)),
            activation=self.activation,
            weight_std=self.weight_std,
        )

    def vjp(self, layer: MLPLayer, x: Tokens, *, cotangent: Tokens, n_threads: int | None) -> Pullback:
        """Return the gradient in the tokens; the weights are random."""
        return layer.vjp(x, cotangent, n_threads=n_threads)

    def _draw_one(self, draws: Draws) -> tuple[Any, Any, Any, Any]:
        m, dim = self.mlp.width, self.dim
        u, w, b, c = draws.normals((m, dim), (dim, m), (m,), (dim,))
        u, w = _WEIGHTS[self.mlp.weights](u), _WEIGHTS[self.mlp.weights](w)
        return (
            u,
            w,
            self.mlp.bias_std * b if self.mlp.bias_std else None,
            self.mlp.output_bias_std * c if self.mlp.output_bias_std else None,
        )


def _check_array(array: Any, name: str, shape: tuple[int, ...]) -> None:
    """Raise unless this is a contiguous float64 or float32 array of that shape."""
    if type(array) is not np.ndarray or array.dtype not in _FLOATS:
        kind = f"array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be a float64 or float32 array, got {kind}")
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be contiguous in C order; numpy.ascontiguousarray({name}) makes it so")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MLPLayer(Brief):
    """One realisation of an `MLP`: a function of position, the same for all tokens of a replica.

    Parameters
    ----------
    u, w : ndarray, shapes (R, m, d) and (R, d, m)
        Inner and outer weights U and W; R = 1 serves every replica.
    b, c : ndarray, shapes (R, m) and (R, d), or None
        Biases b_U and b_W.
    activation : Activation
        The activation φ.
    weight_std : float
        The factor w of the inner weights.
    output_scale : float, optional
        The factor of W φ(·); default m^{-1/2}.

    Raises
    ------
    TypeError, ValueError
        If an array has another dtype, shape or layout.

    See Also
    --------
    chaosphere.MLP : Random layers of a network.
    chaosphere.MLP.draw : Draw one layer.
    chaosphere.FixedMLP : A network with matrices of your own, for all replicas.

    Examples
    --------
    A layer from weights of your own, with one hidden unit:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> from chaosphere.noise import activations
    >>> u, w = np.array([[[1.0, 0.0]]]), np.array([[[0.0], [1.0]]])
    >>> relu = activations.get("relu")
    >>> layer = cs.MLPLayer(u=u, w=w, b=None, c=None, activation=relu, weight_std=1.0)
    >>> layer(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    array([[0., 1.],
           [0., 0.]])
    """

    u: NDArray[np.float64]
    w: NDArray[np.float64]
    b: NDArray[np.float64] | None
    c: NDArray[np.float64] | None
    activation: Activation
    weight_std: float
    output_scale: float | None = None

    def __post_init__(self) -> None:
        """Check, and fill in the default."""
        shape = np.shape(self.u)
        _check_array(self.u, "u", shape)
        if len(shape) != 3 or 0 in shape or shape[2] < 2:
            raise ValueError(f"u must have shape (R, m, d) with R, m >= 1 and d >= 2, got {shape}")
        r, m, d = shape
        _check_array(self.w, "w", (r, d, m))
        if self.b is not None:
            _check_array(self.b, "b", (r, m))
        if self.c is not None:
            _check_array(self.c, "c", (r, d))
        if not isinstance(self.activation, Activation):
            raise TypeError(
                f"activation must be an Activation, got {messages.shown(self.activation)}; activations.get makes one"
            )
        checks.number(self.weight_std, "weight_std")
        scale = m**-0.5 if self.output_scale is None else checks.number(self.output_scale, "output_scale")
        object.__setattr__(self, "output_scale", scale)

    def _rows(self) -> list[Row]:
        n_replicas, width, dim = self.u.shape
        facts = {"dim": dim, "width": width, "activation": self.activation.name}
        return [(name, short(fact)) for name, fact in (facts | {"n_replicas": n_replicas}).items()]

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return G(x_i) for every token.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere. Float32 tokens are computed with float32 weights, rounded from the same numbers.
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere of this layer's dimension and replicas.

        See Also
        --------
        chaosphere.MLP.draw : Draw one layer.
        chaosphere.FixedMLP.__call__ : A network with matrices of your own at tokens.
        chaosphere.MLPLayer.jvp : The derivative in a direction.
        chaosphere.MLPLayer.values : The layer at tokens, without checks.
        chaosphere.MLPLayer.hidden : The hidden units.

        Notes
        -----
        O(N m d), memory O(N d): the (N, m) array never exists. The error is at most 1e-15 (float32: 5e-7) times
        m^{-1/2} Σ_h |W_h| (|φ(z_h)| + Lip(φ) ζ_h), ζ_h the sum of the magnitudes of the terms of z_h = w U_h y + b_h,
        for every compiled activation. Bitwise identical for any number of threads.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> mlp = cs.MLP(width=64, activation="tanh")
        >>> layer = mlp.draw(3, rng=np.random.default_rng(0))
        >>> x = cs.sample_uniform(10, 3, rng=0)
        >>> bool(np.array_equal(layer(-x), -layer(x)))  # tanh without bias is odd
        True
        """
        out = self.values(self._checked(x), n_threads=checks.threads(n_threads))
        if not np.isfinite(out).all():
            raise ValueError("u, w, b, c and weight_std must be such that the layer is finite at x; it is not")
        return out if x.ndim == 3 else out[0]

    def values(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return G(x_i) for tokens that are not checked again.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        n_threads : int
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Of the dtype of x.

        See Also
        --------
        chaosphere.MLPLayer.__call__ : The layer at tokens.
        chaosphere.MLPLayer.move : A step of the tokens under the layer.
        chaosphere.MLPLayer.hidden : The hidden units.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> layer = cs.MLP(width=64).draw(3, rng=np.random.default_rng(0))
        >>> x = cs.sample_uniform(10, 3, rng=0)
        >>> bool(np.array_equal(layer.values(x[None], n_threads=1)[0], layer(x)))
        True
        """
        if self.activation.kernel_id is None:
            return self._call_slowly(x)
        out: Tokens = kernel.layer(x, *self._arguments(x), n_threads)
        return out

    def move(self, x: Tokens, alpha: float, *, n_threads: int) -> Tokens:
        """Return LN(x + αG(x)) for tokens that are not checked again.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        alpha : float
            Step α.
        n_threads : int
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Tokens on the unit sphere, of the dtype of x.

        Raises
        ------
        DegenerateTokenError
            If x + αG(x) is zero or not finite at some token.

        See Also
        --------
        chaosphere.MLPLayer.values : The layer at tokens, without checks.
        chaosphere.interactions.protocol.InteractionPlan.move : Steps of the tokens along the drift.

        Notes
        -----
        One pass over the tokens for a compiled activation.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> layer = cs.MLP(width=64).draw(3, rng=np.random.default_rng(0))
        >>> x = cs.sample_uniform(10, 3, rng=0)
        >>> y = layer.move(x[None], 0.1, n_threads=1)[0]
        >>> np.allclose(y, cs.normalize(x + 0.1 * layer(x)))
        True
        """
        if self.activation.kernel_id is None:
            return sphere.layer_norm_step(x, self._call_slowly(x), alpha, n_threads)
        out, bad = kernel.layer(x, *self._arguments(x), n_threads, alpha)
        return sphere.raise_if_degenerate(out, bad)

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the derivative at tokens, in a direction at each: s W diag(φ′(w U x + b)) w U t.

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
            If x is not made of tokens of this layer's dimension and replicas, tangent has another shape or dtype, or
            the activation is a function that came without its derivative.

        See Also
        --------
        chaosphere.MLPLayer.vjp : The transpose of the derivative.
        chaosphere.FixedMLP.jvp : The same of a network with matrices of your own.
        chaosphere.MLPLayer.__call__ : The layer at tokens.

        Notes
        -----
        O(N m d), by blocks of tokens and neurons: memory O(N d).

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> mlp = cs.MLP(width=64, activation="linear")
        >>> layer = mlp.draw(3, rng=np.random.default_rng(0))
        >>> x = cs.sample_uniform(10, 3, rng=0)
        >>> np.allclose(layer.jvp(x, x), layer(x))  # for a linear layer
        True
        """
        batch, direction = self._checked(x), checks.like(tangent, "tangent", x=x)
        out = layer_derivative.push(self._arrays(batch), batch, tangent=direction, n_threads=checks.threads(n_threads))
        return out if x.ndim == 3 else out[0]

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        """Return the gradient of Σ_i ⟨cotangent_i, G(x_i)⟩ in the tokens.

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
            Its `tokens` have the shape of x. The weights of the layer are random, so it has no parameters.

        Raises
        ------
        TypeError, ValueError
            As of `jvp`.

        See Also
        --------
        chaosphere.MLPLayer.jvp : The derivative in a direction.
        chaosphere.MLPLayer.parameter_gradient : The gradient in the weights of the layer.
        chaosphere.FixedMLP.vjp : The same of a network with matrices of your own.
        chaosphere.gradient : Gradient of a function of the tokens at the end of a run.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> mlp = cs.MLP(width=64, activation="tanh")
        >>> layer = mlp.draw(3, rng=np.random.default_rng(0))
        >>> x, y, z = cs.sample_uniform(10, 3, rng=0, n_replicas=3)
        >>> np.isclose(np.vdot(z, layer.jvp(x, y)), np.vdot(layer.vjp(x, z).tokens, y))
        np.True_
        """
        batch, direction = self._checked(x), checks.like(cotangent, "cotangent", x=x)
        out = layer_derivative.pull(
            self._arrays(batch), batch, cotangent=direction, n_threads=checks.threads(n_threads)
        )
        return Pullback(tokens=out if x.ndim == 3 else out[0])

    def parameter_gradient(
        self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return the gradient of Σ_i ⟨cotangent_i, G(x_i)⟩ in u, w, b and c.

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
        dict of str to ndarray
            "u", "w", "b" and "c", of the shape that the layer's would have for the replicas of x; also of a bias that
            the layer does not have.

        Raises
        ------
        TypeError, ValueError
            As of `jvp`.

        See Also
        --------
        chaosphere.MLPLayer.vjp : The gradient in the tokens.
        chaosphere.FixedMLP.vjp : Both, of a network with matrices of your own.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> layer = cs.MLP(width=64).draw(3, rng=np.random.default_rng(0))
        >>> x, y = cs.sample_uniform(10, 3, rng=0, n_replicas=2)
        >>> layer.parameter_gradient(x, y)["u"].shape
        (1, 64, 3)
        """
        batch, direction = self._checked(x), checks.like(cotangent, "cotangent", x=x)
        return layer_derivative.parameters(
            self._arrays(batch), batch, cotangent=direction, n_threads=checks.threads(n_threads)
        )

    def hidden(self, x: Floats, *, replica: int = 0) -> Floats:
        """Return the hidden units φ(w U x_i + b_U) of one replica.

        Parameters
        ----------
        x : ndarray of float64, shape (N, d)
            Points.
        replica : int
            Whose parameters are used.

        Returns
        -------
        ndarray of float64, shape (N, m)
            Values of the m hidden units at each point.

        See Also
        --------
        chaosphere.MLPLayer.__call__ : The layer at tokens.
        chaosphere.MLPLayer.values : The layer at tokens, without checks.
        chaosphere.noise.activations.Activation.__call__ : Values of the activation.

        Notes
        -----
        At NumPy's speed, with an (N, m) array.

        Examples
        --------
        The layer is their sum with the outer weights, over the root of the width:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> layer = cs.MLP(width=64).draw(3, rng=np.random.default_rng(0))
        >>> x = cs.sample_uniform(10, 3, rng=0)
        >>> np.allclose(layer.hidden(x) @ layer.w[0].T / 8, layer(x))
        True
        """
        before: Floats = self.weight_std * (x @ self.u[replica].T)
        if self.b is not None:
            before = before + self.b[replica]
        return self.activation(before)

    def _checked(self, x: Tokens) -> Tokens:
        batch = checks.tokens(x)
        if batch.shape[2] != self.u.shape[2]:
            raise ValueError(f"x must have dim {self.u.shape[2]}, that of the layer, got shape {x.shape}")
        if self.u.shape[0] not in (1, batch.shape[0]):
            raise ValueError(f"x must have {self.u.shape[0]} replicas, one per layer, got shape {x.shape}")
        return batch

    def _arrays(self, x: Tokens) -> layer_derivative.LayerArrays:
        """Return what the derivative takes, weights in the dtype of x."""
        u, w, b = (None if a is None else a.astype(x.dtype, copy=False) for a in (self.u, self.w, self.b))
        assert u is not None
        assert w is not None
        assert self.output_scale is not None
        return layer_derivative.LayerArrays(
            u=u, w=w, b=b, activation=self.activation, weight_std=self.weight_std, output_scale=self.output_scale
        )

    def _arguments(self, x: Tokens) -> tuple[Any, Any, Any, Any, int, float, float]:
        """Return what the kernel takes, weights in the dtype of x."""
        u, w = self.u.astype(x.dtype, copy=False), self.w.astype(x.dtype, copy=False)
        b, c = (None if a is None else a.astype(x.dtype, copy=False) for a in (self.b, self.c))
        assert self.activation.kernel_id is not None
        assert self.output_scale is not None
        return u, b, w, c, self.activation.kernel_id, self.weight_std, self.output_scale

    def _call_slowly(self, x: Tokens) -> Tokens:
        out, scale = np.empty_like(x), self.output_scale
        for replica in range(x.shape[0]):
            of = replica if self.u.shape[0] > 1 else 0
            for start in range(0, x.shape[1], _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                after = scale * (self.hidden(x[replica, rows].astype(np.float64), replica=of) @ self.w[of].T)
                out[replica, rows] = after if self.c is None else after + self.c[of]
        return out
