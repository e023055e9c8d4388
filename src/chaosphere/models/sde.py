"""The deep-and-wide limit: a stochastic differential equation with attention as drift and a common noise field."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Noise, Stream
from chaosphere.geometry import sphere
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.noise.gaussian import GaussianField, Increment, normalized_sum

SCHEMES = ("projected-euler", "geodesic-euler", "heun", "split", "rk4")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSDE:
    """The limiting equation of deep and wide transformers at initialisation, and a scheme for it.

    dX = P_X Attn(μ, X) dt + P_X ∘ dW(X) + √(2τ) P_X ∘ dB^i   (Stratonovich; arXiv:2604.26898, the limiting SDE)

    W is the field of `GaussianField`, common to all tokens; B^i are independent Brownian motions in R^d.

    Parameters
    ----------
    attention : SoftmaxAttention or None
    field : GaussianField or None
    horizon : float
        T > 0.
    n_steps : int
        Steps of length h = T / n_steps.
    scheme : str
        All schemes stay on the sphere and share one limit. Orders in h, strong and weak:
        "projected-euler" (½, 1) X ← LN(X + P(Attn h + ΔW)); "geodesic-euler" (½, 1) along the great circle of
        P(Attn h + ΔW); "heun" (½, 1) trapezoidal, two evaluations, order 2 without noise;
        "split" (½, 1) the transformer with a Gaussian layer: attention, then noise; "rk4" order 4, without any noise.
    temperature : float
        τ >= 0 of the noise that each token has for itself.
    n_merged : int
        Each step takes the noise of this many finer ones; `coarsen` sets it.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, nothing would move, or the scheme does not suit the noise.

    Notes
    -----
    A step costs one (heun: two, rk4: four) evaluations of attention, O(N² d), and of the field.

    Examples
    --------
    >>> import chaosphere as cs
    >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="erf").kernel(3))
    >>> model = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=1.0), field=field, horizon=1.0, n_steps=50)
    >>> cs.simulate(model, cs.sample_uniform(20, 3, rng=0), rng=0).final.shape
    (20, 3)
    """

    attention: SoftmaxAttention | None
    field: GaussianField | None
    horizon: float
    n_steps: int
    scheme: str = "projected-euler"
    temperature: float = 0.0
    n_merged: int = 1

    def __post_init__(self) -> None:
        """Check, and convert numbers to int and float."""
        if not isinstance(self.attention, SoftmaxAttention | None):
            raise TypeError(f"attention must be a SoftmaxAttention or None, got {self.attention!r}")
        if not isinstance(self.field, GaussianField | None):
            raise TypeError(f"field must be a GaussianField or None, got {self.field!r}")
        checks.integers(self, "n_steps", "n_merged", low=1)
        checks.numbers(self, "horizon", above=0, high=checks.MAX_SIZE)
        checks.numbers(self, "temperature", low=0, high=checks.MAX_SIZE)
        if self.scheme not in SCHEMES:
            near = difflib.get_close_matches(str(self.scheme), SCHEMES, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"scheme: unknown {self.scheme!r}; {hint}known: {', '.join(SCHEMES)}")
        if self.attention is None and not self._is_noisy:
            raise ValueError("attention, field and temperature must not all be absent: nothing would move")
        if self.scheme == "rk4" and self._is_noisy:
            raise ValueError("scheme='rk4' is for attention alone; it has no order with a field or a temperature")

    @property
    def _is_noisy(self) -> bool:
        return self.field is not None or self.temperature > 0

    def coarsen(self, factor: int) -> LimitSDE:
        """Return the same equation with n_steps/factor steps, each driven by the sum of `factor` increments.

        Raises
        ------
        ValueError
            If factor does not divide n_steps.
        """
        factor = checks.integer(factor, "factor", low=1)
        if self.n_steps % factor:
            raise ValueError(f"factor must divide n_steps {self.n_steps}, got {factor}")
        return replace(self, n_steps=self.n_steps // factor, n_merged=factor * self.n_merged)

    def prepare(self, n_tokens: int, dim: int | None = None, dtype: Any = "float64") -> LimitSDE:
        """Return the model with every automatic choice made for n_tokens tokens; without dim attention waits."""
        if dim is not None:
            self._check_dim(dim)
        field = None if self.field is None else self.field.resolve(n_tokens)
        if self.attention is None or dim is None:
            return replace(self, field=field)
        return replace(self, field=field, attention=self.attention.resolve(n_tokens, dim, dtype))

    def _check_dim(self, dim: int) -> None:
        if self.field is not None and self.field.kernel.dim != dim:
            raise ValueError(f"x must have dim {self.field.kernel.dim}, that of the field's kernel, got {dim}")

    def increment(self, index: int, *, noise: Noise, n_tokens: int) -> Increment | None:
        """Return the common noise of step `index` (from 0) as a function of position; None without a field."""
        if self.field is None:
            return None
        parts = (noise.draws(Stream.BROWNIAN, k) for k in self._fine(index))
        return self.field.increment(parts, duration=self.horizon / self.n_steps, n_tokens=n_tokens)

    def _fine(self, index: int) -> range:
        """Return the finer steps whose noise step `index` takes."""
        return range(index * self.n_merged, (index + 1) * self.n_merged)

    def step(self, x: Tokens, index: int, *, noise: Noise, n_threads: int, weights: Floats | None = None) -> Tokens:
        """Return the tokens (R, N, d), weighted in attention, after step `index` (from 0)."""
        step_size = self.horizon / self.n_steps
        self._check_dim(x.shape[2])
        increment = self.increment(index, noise=noise, n_tokens=x.shape[1])
        own = None
        if self.temperature > 0:
            own_parts = (noise.draws(Stream.IDIOSYNCRATIC, k) for k in self._fine(index))
            normals = normalized_sum(own_parts, x.shape[1:])
            own = (math.sqrt(2 * self.temperature * step_size) * normals).astype(x.dtype)

        def drift(y: Tokens) -> Tokens:
            assert self.attention is not None
            return self.attention(y, weights, n_threads=n_threads)

        def shake(y: Tokens) -> Tokens:
            total = np.zeros_like(y) if increment is None else increment(y, n_threads=n_threads)
            return total if own is None else total + own

        def move(y: Tokens) -> Tokens:
            total = shake(y)
            if self.attention is not None:
                total += y.dtype.type(step_size) * drift(y)
            return _tangent(y, total)

        if self.scheme == "projected-euler":
            return sphere.layer_norm_step(x, move(x), 1.0, n_threads)
        if self.scheme == "geodesic-euler":
            return _exponential(x, move(x))
        if self.scheme == "heun":
            first = move(x)
            second = move(sphere.layer_norm_step(x, first, 1.0, n_threads))
            return sphere.layer_norm_step(x, first + second, 0.5, n_threads)
        if self.scheme == "split":
            if self.attention is not None:
                x = self.attention.move(x, step_size, weights, n_threads=n_threads)
            return sphere.layer_norm_step(x, shake(x), 1.0, n_threads) if self._is_noisy else x
        return self._runge_kutta(x, drift, step_size, n_threads)

    def _runge_kutta(self, x: Tokens, drift: Callable[[Tokens], Tokens], step_size: float, n_threads: int) -> Tokens:
        """Classical order 4 for the field y ↦ P_{LN y} Attn(LN y), whose flow keeps the sphere."""

        def slope(y: Tokens) -> Tokens:
            return _tangent(y, drift(y))

        k1 = slope(x)
        k2 = slope(sphere.layer_norm_step(x, k1, 0.5 * step_size, n_threads))
        k3 = slope(sphere.layer_norm_step(x, k2, 0.5 * step_size, n_threads))
        k4 = slope(sphere.layer_norm_step(x, k3, step_size, n_threads))
        return sphere.layer_norm_step(x, k1 + 2 * k2 + 2 * k3 + k4, step_size / 6, n_threads)


def _tangent(x: Tokens, v: Tokens) -> Tokens:
    return np.asarray(v - np.einsum("rik,rik->ri", x, v)[:, :, None] * x)


def _exponential(x: Tokens, v: Tokens) -> Tokens:
    """Return the end of the great circle from x with velocity v, a tangent vector."""
    length = np.sqrt(np.einsum("rik,rik->ri", v, v))[:, :, None]
    return sphere.normalize(np.cos(length) * x + np.sinc(length / np.pi) * v)
