"""Activation functions of the random layers and the facts about them that the theory needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from chaosphere.common import checks, messages
from chaosphere.common.chebyshev import Array, Function, chebyshev_series
from chaosphere.common.reprs import Brief, Row, short
from chaosphere.kernels import abi

# Where a user's callable is probed. The ends are not round numbers, so that repeated halving does
# not land on a kink at a round number and step over it.
_PROBE = (-30.618034, 31.415927)
_MAX_INTERVALS = 10_000
_MAX_KINKS = 8


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Activation(Brief):
    """An activation function φ: R → R.

    Build one of these to give `chaosphere` more than `get` can find out about a callable, for
    example exact kinks.

    Parameters
    ----------
    name : str
        Name used in messages and results.
    function : callable
        φ, elementwise on float64 arrays.
    derivative : callable or None
        φ′, elementwise, which gradients need. A kernel κ by quadrature has κ′ to 1e-14 with it and to
        1e-10 without. It must be None for a φ with jumps. At a kink it is the slope on one side; those
        of this library take the left one, so that relu′(0) = 0.
    is_odd : bool
        Whether φ(−x) = −φ(x). With no bias an odd φ makes the layer odd: x and −x stay antipodal.
    lipschitz : float
        Lipschitz constant of φ.
    kernel_id : int or None
        Index of the compiled kernel; None for a user's callable, which runs at Python speed.
    kinks : tuple of float
        Points where φ is not smooth. Quadrature splits its panels there.

    See Also
    --------
    chaosphere.MLP : Random layers of a network.
    chaosphere.noise.layer_law.LayerLaw : The law of a random layer.
    chaosphere.CovarianceKernel.from_activation : Kernel of a random layer.

    Examples
    --------
    A hard tanh whose kinks are known exactly:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> from chaosphere.noise.activations import Activation
    >>> hard_tanh = Activation(
    ...     name="hard tanh",
    ...     function=lambda x: np.clip(x, -1, 1),
    ...     is_odd=True,
    ...     lipschitz=1.0,
    ...     kinks=(-1.0, 1.0),
    ... )
    >>> mlp = cs.MLP(width=64, activation=hard_tanh)
    >>> layer = mlp.draw(3, rng=np.random.default_rng(0))
    >>> layer(cs.sample_uniform(10, 3, rng=0)).shape
    (10, 3)
    """

    name: str
    function: Function
    derivative: Function | None = None
    is_odd: bool
    lipschitz: float
    kernel_id: int | None = None
    kinks: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check."""
        object.__setattr__(self, "kinks", tuple(checks.array(self.kinks, "kinks").tolist()))

    def __call__(self, x: Array) -> Array:
        """Return φ(x), elementwise.

        Parameters
        ----------
        x : ndarray of float64
            Pre-activations, of any shape.

        Returns
        -------
        ndarray of float64
            Of the shape of x.

        See Also
        --------
        chaosphere.MLPLayer.hidden : The hidden units.

        Examples
        --------
        >>> import numpy as np
        >>> from chaosphere.noise import activations
        >>> activations.get("relu")(np.array([-1.0, 2.0]))
        array([0., 2.])
        """
        return self.function(x)

    def _rows(self) -> list[Row]:
        return [("name", short(self.name))]

    def identity_facts(self) -> object:
        """Return what tells activations apart in checkpoints and stores.

        Returns
        -------
        str or NotImplemented
            The name of a compiled activation; a user's is told from others by all that it holds.

        See Also
        --------
        chaosphere.CovarianceKernel.identity_facts : What tells kernels apart.

        Examples
        --------
        >>> from chaosphere.noise import activations
        >>> activations.get("tanh").identity_facts()
        'tanh'
        """
        return NotImplemented if self.kernel_id is None else self.name


_FLAT = 1e3  # a size beyond which e^{-|x|} is 0: products of 0 and infinite x would be no numbers


def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


def _relu_derivative(x: Array) -> Array:
    return np.heaviside(x, 0.0)


def _silu(x: Array) -> Array:
    return np.asarray(np.maximum(x, -_FLAT) * scipy.special.expit(x))


def _silu_derivative(x: Array) -> Array:
    x = np.clip(x, -_FLAT, _FLAT)
    return np.asarray(scipy.special.expit(x) * (1.0 + x * scipy.special.expit(-x)))


def _gelu(x: Array) -> Array:
    return np.asarray(np.maximum(x, -_FLAT) * scipy.special.ndtr(x))


def _gelu_derivative(x: Array) -> Array:
    x = np.clip(x, -_FLAT, _FLAT)
    return np.asarray(scipy.special.ndtr(x) + x * np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi))


def _tanh_derivative(x: Array) -> Array:
    # sech² x as 4 s(2x) s(−2x): 1 − tanh² would lose every digit where tanh saturates.
    return np.asarray(4.0 * scipy.special.expit(2.0 * x) * scipy.special.expit(-2.0 * x))


def _sigmoid(x: Array) -> Array:
    return np.asarray(scipy.special.expit(x))


def _sigmoid_derivative(x: Array) -> Array:
    return np.asarray(scipy.special.expit(x) * scipy.special.expit(-x))


def _erf(x: Array) -> Array:
    return np.asarray(scipy.special.erf(x))


def _erf_derivative(x: Array) -> Array:
    return np.asarray(2.0 / np.sqrt(np.pi) * np.exp(-x * x))


def _minus_sin(x: Array) -> Array:
    return -np.sin(x)


def _identity(x: Array) -> Array:
    return np.array(x, dtype=np.float64)


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0.0, x))


def _leaky_relu(x: Array) -> Array:
    return np.maximum(x, 0.01 * x)


def _leaky_relu_derivative(x: Array) -> Array:
    return 0.01 + 0.99 * np.heaviside(x, 0.0)


def _elu(x: Array) -> Array:
    return np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))


def _elu_derivative(x: Array) -> Array:
    return np.exp(np.minimum(x, 0.0))


def _gaussian(x: Array) -> Array:
    return np.exp(-0.5 * x * x)


def _gaussian_derivative(x: Array) -> Array:
    x = np.clip(x, -_FLAT, _FLAT)
    return -x * _gaussian(x)


def _table() -> dict[str, Activation]:
    # name: φ, φ′, odd, Lipschitz constant, kinks. The compiled table, csrc/activations.def, has the same names.
    # sup silu′ is at x = 2.3993572805…, sup gelu′ = Φ(√2) + √2 ϕ(√2); both from mpmath, 30 digits.
    # softplus′ = 1/(1 + e^{−x}) rises to 1; elu′ is e^x up to 0, then 1. gaussian″ = (x² − 1) e^{−x²/2} is 0 at ±1,
    # and there |gaussian′| = |x| e^{−x²/2} is e^{−1/2}.
    rows: dict[str, tuple[Function, Function, bool, float, tuple[float, ...]]] = {
        "relu": (_relu, _relu_derivative, False, 1.0, (0.0,)),
        "silu": (_silu, _silu_derivative, False, 1.0998393201288669, ()),
        "gelu": (_gelu, _gelu_derivative, False, 1.1289041451851548, ()),
        "tanh": (np.tanh, _tanh_derivative, True, 1.0, ()),
        "sigmoid": (_sigmoid, _sigmoid_derivative, False, 0.25, ()),
        "erf": (_erf, _erf_derivative, True, 2.0 / np.sqrt(np.pi), ()),
        "sin": (np.sin, np.cos, True, 1.0, ()),
        "cos": (np.cos, _minus_sin, False, 1.0, ()),
        "linear": (_identity, np.ones_like, True, 1.0, ()),
        "softplus": (_softplus, _sigmoid, False, 1.0, ()),
        "leaky_relu": (_leaky_relu, _leaky_relu_derivative, False, 1.0, (0.0,)),
        "elu": (_elu, _elu_derivative, False, 1.0, (0.0,)),
        "gaussian": (_gaussian, _gaussian_derivative, False, np.exp(-0.5), ()),
    }
    kernel_ids = {name: kernel_id for kernel_id, name in enumerate(abi.activation_names())}
    return {
        name: Activation(
            name=name,
            function=function,
            derivative=derivative,
            is_odd=is_odd,
            lipschitz=float(lipschitz),
            kernel_id=kernel_ids[name],
            kinks=kinks,
        )
        for name, (function, derivative, is_odd, lipschitz, kinks) in rows.items()
    }


ACTIVATIONS: dict[str, Activation] = _table()
"""The named activations. gelu is the exact one, x Φ(x); softplus is log(1 + e^x), leaky_relu max(x, 0.01 x), elu x or
e^x − 1 where that is negative, gaussian e^{−x²/2}."""


def get(activation: str | Function | Activation) -> Activation:
    """Return the activation with this name, or wrap a callable.

    Parameters
    ----------
    activation : str, callable or Activation
        A key of `ACTIVATIONS`, a function elementwise on float64 arrays, or an `Activation`, which
        is returned as it is.

    Returns
    -------
    Activation

    Raises
    ------
    ValueError
        If the name is unknown (the message suggests the nearest), or the callable does not return
        finite real numbers of the shape of its input or has more than 8 kinks.
    TypeError
        If `activation` is none of the three.

    Notes
    -----
    A callable runs at Python speed in simulations. It is probed on [−30.6, 31.4]: oddness and the
    Lipschitz constant come from 4001 points (the constant is a lower bound), kinks from halving the
    intervals on which no polynomial of degree 31 follows it, about 2000 evaluations per kink. A
    kink outside that interval, or a jump in a high derivative, is not seen; pass an `Activation` to
    state it.

    Examples
    --------
    >>> get("relu").kinks
    (0.0,)
    >>> import numpy as np
    >>> leaky = get(lambda x: np.maximum(x, 0.1 * x))
    >>> leaky.is_odd, [round(k, 6) + 0.0 for k in leaky.kinks]
    (False, [0.0])
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        if activation in ACTIVATIONS:
            return ACTIVATIONS[activation]
        raise ValueError(f"activation: unknown name {messages.unknown(activation, ACTIVATIONS)}")
    if callable(activation):
        return _wrap(activation)
    raise TypeError(f"activation must be a name, a callable or an Activation, got {type(activation).__name__}")


def _wrap(function: Function) -> Activation:
    name = getattr(function, "__name__", type(function).__name__)
    x = np.linspace(-30.0, 30.0, 4001)
    try:
        y = np.asarray(function(x))
    except Exception as error:
        raise ValueError(f"activation: {name!r} failed on a float64 array ({error}); it must be elementwise") from error
    if y.shape != x.shape:
        raise ValueError(f"activation: {name!r} must return the shape of its input, {x.shape}, got {y.shape}")
    if np.iscomplexobj(y) or not np.all(np.isfinite(np.asarray(y, dtype=np.float64))):
        raise ValueError(f"activation: {name!r} must return finite real numbers on [-30, 30]")
    y = np.asarray(y, dtype=np.float64)
    return Activation(
        name=name,
        function=function,
        is_odd=bool(np.max(np.abs(y + y[::-1])) <= 1e-12 * np.max(np.abs(y))),
        lipschitz=float(np.max(np.abs(np.diff(y) / np.diff(x)))),
        kinks=tuple(_find_kinks(function)),
    )


def _find_kinks(function: Function) -> list[float]:
    """Return the points around which only ever smaller intervals let a polynomial follow φ.

    A steep smooth piece may be reported too. That is harmless: a kink is only a place where
    quadrature panels are cut.
    """
    message = f"activation: φ must be smooth between at most {_MAX_KINKS} kinks"
    n_visited = 0

    def search(left: float, right: float) -> list[float]:
        nonlocal n_visited
        n_visited += 1
        if n_visited > _MAX_INTERVALS:
            raise ValueError(message)
        middle, half = 0.5 * (left + right), 0.5 * (right - left)
        scale = max(1.0, abs(middle))
        if half < 1e-9 * scale:
            return [middle]
        c = np.abs(chebyshev_series(lambda s: function(middle + half * s), 31))
        # Rounding of x alone moves φ by about 1e-16 |φ′ x|, and c[0] stands for |φ|.
        if np.max(c[-4:]) <= 1e-14 * max(scale, c[0]):
            return []
        kinks = search(left, middle) + search(middle, right)
        # Both halves are followed to rounding: a kink at the cut is as exact as can be told.
        return [middle] if not kinks and half < 0.05 else kinks

    kinks: list[float] = []
    for kink in search(*_PROBE):
        if not kinks or kink - kinks[-1] > 1e-8 * max(1.0, abs(kink)):
            kinks.append(kink)
    if len(kinks) > _MAX_KINKS:
        raise ValueError(message)
    return kinks
