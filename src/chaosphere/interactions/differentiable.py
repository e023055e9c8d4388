"""The derivative of an interaction at tokens: its arguments are checked, and a plan made for them is used once."""

from __future__ import annotations

from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.interactions.protocol import InteractionPlan, Pullback


class Differentiable:
    """An interaction whose plans have derivatives."""

    __slots__ = ()

    def plan(self, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
        """Return the plan for tokens of one shape."""
        raise NotImplementedError

    def jvp(self, x: Tokens, tangent: Tokens, *, weights: Any = None, n_threads: int | None = None) -> Tokens:
        """Return the derivative of the drift at x in a direction, the Jacobian times a tangent.

        The drift b is taken as a function of x in the ambient space, its formula for any x of R^d: the result is the
        derivative of b(x + ε tangent) in ε at 0.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        tangent : ndarray, of the shape and dtype of x
            Any finite vectors, of the tangent space or not.
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
        """
        batch, directions = checks.tokens(x), vectors(tangent, "tangent", x=x)
        threads = checks.threads(n_threads)
        plan = self.plan(Shape.of(batch), checks.weights(weights, batch.shape[1]))
        out = plan.jvp(batch, directions, n_threads=threads)
        return out if x.ndim == 3 else out[0]

    def vjp(self, x: Tokens, cotangent: Tokens, *, weights: Any = None, n_threads: int | None = None) -> Pullback:
        """Return the gradients of Σ_i ⟨w_i, b(x)_i⟩ for cotangents w, in the tokens, the weights and the parameters.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        cotangent : ndarray, of the shape and dtype of x
            w, any finite vectors.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        Pullback
            The gradients; without the axis R for tokens (N, d).

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range or of another shape, or β or δ changes over a run: `at` gives the attention
            at a time.
        """
        batch, directions = checks.tokens(x), vectors(cotangent, "cotangent", x=x)
        threads = checks.threads(n_threads)
        plan = self.plan(Shape.of(batch), checks.weights(weights, batch.shape[1]))
        back = plan.vjp(batch, directions, n_threads=threads)
        if x.ndim == 3:
            return back
        parameters = {name: values[0] for name, values in back.parameters.items()}
        return Pullback(tokens=back.tokens[0], weights=back.weights[0], parameters=parameters)


def vectors(v: Any, name: str, *, x: Tokens) -> Tokens:
    """Return v, finite vectors of the shape and dtype of tokens x (N, d) or (R, N, d), as (R, N, d)."""
    values = checks.floating(v, name)
    if values.shape != x.shape:
        raise ValueError(f"{name} must have the shape of x, {x.shape}, got {values.shape}")
    if values.dtype != x.dtype:
        raise TypeError(f"{name} must have the dtype of x, {x.dtype}, got {values.dtype}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite")
    return values if values.ndim == 3 else values[None]
