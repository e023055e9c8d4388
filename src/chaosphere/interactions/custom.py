"""An interaction by a function of the user's, at the speed of Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.arrays import PerReplica
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.interactions import call
from chaosphere.interactions.protocol import InteractionPlan, Pullback, raise_no_derivative


@dataclass(frozen=True, slots=True, repr=False)
class CustomInteraction(Brief):
    """A drift that a function of your own returns.

    b(μ, x_i) for μ = Σ p_j δ_{x_j}; the model projects it onto the tangent space.

    Parameters
    ----------
    function : callable
        ``function(x, weights)`` returns the drift at every token of one system, an array of the shape of x. Its numbers
        are rounded to the dtype of x. x is an array (N, d) of the dtype of the run, and read-only; weights is an array
        of float64 (N,), >= 0 with sum 1. Tokens of weight 0 are passive tracers: others move them, and in the function
        they must not move others. The function must depend on its arguments alone. Workers of an ensemble import it by
        its name.

    Raises
    ------
    TypeError
        If the function is not callable.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.MultiHeadAttention : Several interactions at once.
    chaosphere.PotentialInteraction : Drift along the gradient of a potential of the cosine, by a compiled kernel.
    chaosphere.interactions.protocol.InteractionPlan : An interaction for tokens of one shape, with all that it may do.

    Notes
    -----
    The function is called once for each replica and evaluation, by one thread. What it returns is checked each time:
    another shape or a number that is not finite ends the run with an error. Checkpoints and stores hold the function's
    code, and refuse to continue with another.

    Examples
    --------
    Tokens that are drawn to their mean meet:

    >>> import chaosphere as cs
    >>> def to_mean(x, weights):
    ...     return 0 * x + weights @ x
    >>> model = cs.Transformer(attention=cs.CustomInteraction(to_mean), mlp=None, depth=50, horizon=20.0)
    >>> sol = cs.simulate(model, cs.sample_uniform(20, 3, rng=0), rng=0)
    >>> round(float(cs.measures.order_parameter(sol.final)), 3)
    1.0
    """

    function: Callable[[Tokens, Floats], Any]

    def __post_init__(self) -> None:
        """Check."""
        if not callable(self.function):
            raise TypeError(f"function must be a callable of (x, weights), got {messages.shown(self.function)}")

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> CustomInteraction:
        """Return the interaction itself: there is nothing to choose.

        Parameters
        ----------
        n_tokens : int
            N.
        dim : int
            d.
        dtype : dtype
            float64 or float32.

        Returns
        -------
        CustomInteraction
            Itself.

        See Also
        --------
        chaosphere.interactions.protocol.Interaction.resolve : An interaction with its choices made.

        Examples
        --------
        >>> import chaosphere as cs
        >>> interaction = cs.CustomInteraction(lambda x, weights: -x)
        >>> interaction.resolve(10, 3) is interaction
        True
        """
        return self

    def plan(self, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
        """Return the plan for tokens of one shape.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token.

        Returns
        -------
        InteractionPlan
            Calls the function.

        See Also
        --------
        chaosphere.interactions.protocol.Interaction.plan : Plan of any interaction.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> cs.CustomInteraction(lambda x, weights: -x).plan(Shape(n_tokens=10, dim=3)).pairs
        100.0
        """
        return _CustomPlan(self.function, shape, weights)

    def energy(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> PerReplica | None:
        """Return None: no energy is known that the function lowers.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        None
            Whatever the function is.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, or the weights are out of range.

        See Also
        --------
        chaosphere.MultiHeadAttention.energy : Energy of several heads.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> cs.CustomInteraction(lambda x, weights: -x).energy(x) is None
        True
        """
        checks.weights(weights, checks.tokens(x).shape[1])
        checks.threads(n_threads)
        return None

    def __call__(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> Tokens:
        """Return the drift of every token.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Has no effect: the function runs on one thread.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If an argument breaks a rule above, or the function returns what is no drift.

        See Also
        --------
        chaosphere.SoftmaxAttention.__call__ : Softmax attention of every token.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> to_mean = cs.CustomInteraction(lambda x, weights: 0 * x + weights @ x)
        >>> to_mean(np.eye(2), [0.25, 0.75])
        array([[0.25, 0.75],
               [0.25, 0.75]])
        """
        return call.drift(self, x, weights=weights, n_threads=n_threads)


class _CustomPlan(InteractionPlan):
    """One call of the function for each replica."""

    def __init__(self, function: Callable[[Tokens, Floats], Any], shape: Shape, weights: Floats | None) -> None:
        self.function, self.shape = function, shape
        self.pairs = float(shape.n_tokens) * shape.n_tokens
        if weights is None:
            self.weights = np.full(shape.n_tokens, 1 / shape.n_tokens)
        else:
            self.weights = np.append(weights, np.zeros(shape.n_tokens - len(weights)))
        self.weights.flags.writeable = False

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the drift; see `InteractionPlan`."""
        out = np.empty(x.shape, x.dtype)
        for replica, system in enumerate(x):
            view = system.view()
            view.flags.writeable = False
            out[replica] = self._checked(self.function(view, self.weights))
        return out

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Raise ValueError: nothing is known of the function but its values."""
        raise_no_derivative("CustomInteraction")

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Raise ValueError: nothing is known of the function but its values."""
        raise_no_derivative("CustomInteraction")

    def _checked(self, value: Any) -> Any:
        """Return what the function gave, or raise if it is no drift of one system."""
        expected = (self.shape.n_tokens, self.shape.dim)
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise TypeError(f"function must return an array of floating-point numbers, got {type(value).__name__}")
        if value.shape != expected:
            raise ValueError(f"function must return an array of shape {expected}, that of x, got {value.shape}")
        if not np.isfinite(value).all():
            raise ValueError("function must return finite numbers")
        return value
