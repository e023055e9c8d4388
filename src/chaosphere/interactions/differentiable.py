"""The derivative of an interaction at tokens: its arguments are checked, and a plan made for them is used once."""

from __future__ import annotations

from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.common.shape import Shape
from chaosphere.interactions.head import largest_value
from chaosphere.interactions.protocol import Interaction, Pullback


class Differentiable:
    """An interaction whose plans have derivatives."""

    __slots__ = ()

    def jvp(
        self: Interaction, x: Tokens, tangent: Tokens, *, weights: Any = None, n_threads: int | None = None
    ) -> Tokens:
        """Return the derivative of the drift at x in a direction, the Jacobian times a tangent.

        The drift b is taken as a function of x in the ambient space, its formula for any x of R^d: the result is the
        derivative of b(x + ε tangent) in ε at 0.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        tangent : ndarray, of the shape and dtype of x
            Any vectors, of the tangent space or not, of entries <= 1e100 in size; float32 3.4e30.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range or of another shape, or β or δ changes over a run: `at` gives the attention
            at a time.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.jvp : The same of a plan.
        chaosphere.L2Attention.vjp : Gradients of attention by distances.
        chaosphere.MultiHeadAttention.vjp : Gradients of several heads.
        chaosphere.PotentialInteraction.vjp : Gradients of a drift along a potential.
        chaosphere.SinkhornAttention.vjp : Gradients of doubly stochastic attention.
        chaosphere.SoftmaxAttention.vjp : Gradients of softmax attention.
        chaosphere.UnnormalizedAttention.vjp : Gradients of unnormalised attention.

        Notes
        -----
        Over all pairs, whatever the method of the interaction: the derivative is that of the exact sums.

        Examples
        --------
        A rotation of all tokens rotates the drift of softmax attention:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(100, 3, rng=0)
        >>> attention = cs.SoftmaxAttention(beta=2.0)
        >>> generator = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        >>> bool(np.allclose(attention.jvp(x, x @ generator.T), attention(x) @ generator.T))
        True
        """
        batch, directions = contiguous(x), vectors(tangent, "tangent", x=x)
        threads = checks.threads(n_threads)
        plan = self.plan(Shape.of(batch), checks.weights(weights, batch.shape[1]))
        out = plan.jvp(batch, directions, n_threads=threads)
        return out if x.ndim == 3 else out[0]

    def vjp(
        self: Interaction, x: Tokens, cotangent: Tokens, *, weights: Any = None, n_threads: int | None = None
    ) -> Pullback:
        """Return the gradients of Σ_i ⟨w_i, b(x)_i⟩ for cotangents w, in the tokens, the weights and the parameters.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        cotangent : ndarray, of the shape and dtype of x
            w, any vectors of entries <= 1e100 in size; float32 3.4e30.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            As in `jvp`.

        Returns
        -------
        Pullback
            The gradients; without the axis R for tokens (N, d).

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range or of another shape, or β or δ changes over a run: `at` gives the attention
            at a time.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.vjp : The same of a plan.
        chaosphere.L2Attention.jvp : Derivative in a direction of attention by distances.
        chaosphere.MultiHeadAttention.jvp : Derivative in a direction of several heads.
        chaosphere.PotentialInteraction.jvp : Derivative in a direction of a drift along a potential.
        chaosphere.SinkhornAttention.jvp : Derivative in a direction of doubly stochastic attention.
        chaosphere.SoftmaxAttention.jvp : Derivative in a direction of softmax attention.
        chaosphere.UnnormalizedAttention.jvp : Derivative in a direction of unnormalised attention.

        Notes
        -----
        Over all pairs, whatever the method of the interaction: the gradients are those of the exact sums.

        Examples
        --------
        The transpose of the derivative:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x, v, w = (cs.sample_uniform(100, 3, rng=seed) for seed in range(3))
        >>> attention = cs.SoftmaxAttention(beta=2.0)
        >>> back = attention.vjp(x, w)
        >>> bool(np.isclose((w * attention.jvp(x, v)).sum(), (back.tokens * v).sum()))
        True

        How the sum of all drifts along w changes with β:

        >>> more = cs.SoftmaxAttention(beta=2.0 + 1e-6)
        >>> change = (w * (more(x) - attention(x))).sum() / 1e-6
        >>> bool(np.isclose(back.parameters["beta"], change, atol=1e-4))
        True
        """
        batch, directions = contiguous(x), vectors(cotangent, "cotangent", x=x)
        threads = checks.threads(n_threads)
        plan = self.plan(Shape.of(batch), checks.weights(weights, batch.shape[1]))
        back = plan.vjp(batch, directions, n_threads=threads)
        if x.ndim == 3:
            return back
        parameters = {name: values[0] for name, values in back.parameters.items()}
        return Pullback(tokens=back.tokens[0], weights=back.weights[0], parameters=parameters)


def contiguous(x: Any) -> Tokens:
    """Return checked tokens (R, N, d) in one layout: the order of sums of derivatives depends on it."""
    return np.ascontiguousarray(checks.tokens(x))


def vectors(v: Any, name: str, *, x: Tokens) -> Tokens:
    """Return v, vectors of the shape and dtype of tokens x (N, d) or (R, N, d), as (R, N, d)."""
    return np.ascontiguousarray(checks.like(v, name, x=x, high=largest_value(x.dtype)))
