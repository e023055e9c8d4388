"""Schemes for the limiting equation. A scheme is an object that states its orders and how it takes a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.geometry import sphere
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.noise.gaussian import Increment


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """The equation over one step: its drift, and the noise that falls into the step.

    Attributes
    ----------
    interaction : InteractionPlan or None
    increment : callable or None
        ΔW, the common noise, as a function of position.
    own : ndarray, shape (R, N, d), or None
        The noise that each token has for itself.
    step_size : float
        h.
    n_threads : int
    """

    interaction: InteractionPlan | None
    increment: Increment | None
    own: Tokens | None
    step_size: float
    n_threads: int

    @property
    def is_noisy(self) -> bool:
        """Whether there is any noise."""
        return self.increment is not None or self.own is not None

    def noise(self, x: Tokens) -> Tokens:
        """Return ΔW(x), plus each token's own noise."""
        total = np.zeros_like(x) if self.increment is None else self.increment(x, n_threads=self.n_threads)
        return total if self.own is None else total + self.own

    def velocity(self, x: Tokens) -> Tokens:
        """Return P_x (h drift(x) + noise(x))."""
        total = self.noise(x)
        if self.interaction is not None:
            total += x.dtype.type(self.step_size) * self.interaction.drift(x, n_threads=self.n_threads)
        return tangent(x, total)


class Scheme(Protocol):
    """A way to take one step of length h that stays on the sphere.

    Attributes
    ----------
    order : int
        Without noise.
    strong_order, weak_order : float or None
        With noise; None where the scheme does not take any.
    evaluations : int
        Of the interaction and of the noise, in a step.
    """

    order: int
    strong_order: float | None
    weak_order: float | None
    evaluations: int

    def step(self, x: Tokens, flow: Flow) -> Tokens:
        """Return the tokens (R, N, d) at the end of the step."""


class ProjectedEuler(Scheme):
    """X ← LN(X + P_X (h Attn + ΔW))."""

    order, strong_order, weak_order, evaluations = 1, 0.5, 1.0, 1

    def step(self, x: Tokens, flow: Flow) -> Tokens:
        """Return the tokens at the end of the step."""
        return sphere.layer_norm_step(x, flow.velocity(x), 1.0, flow.n_threads)


class GeodesicEuler(Scheme):
    """From X along the great circle of P_X (h Attn + ΔW)."""

    order, strong_order, weak_order, evaluations = 1, 0.5, 1.0, 1

    def step(self, x: Tokens, flow: Flow) -> Tokens:
        """Return the tokens at the end of the step."""
        v = flow.velocity(x)
        length = np.sqrt(np.einsum("rik,rik->ri", v, v))[:, :, None]
        return sphere.normalize(np.cos(length) * x + np.sinc(length / np.pi) * v)


class Heun(Scheme):
    """The trapezoidal rule, with the end of a step of `ProjectedEuler` as the second point."""

    order, strong_order, weak_order, evaluations = 2, 0.5, 1.0, 2

    def step(self, x: Tokens, flow: Flow) -> Tokens:
        """Return the tokens at the end of the step."""
        first = flow.velocity(x)
        second = flow.velocity(sphere.layer_norm_step(x, first, 1.0, flow.n_threads))
        return sphere.layer_norm_step(x, first + second, 0.5, flow.n_threads)


class Split(Scheme):
    """The transformer with a Gaussian layer: a step of attention, then one of noise."""

    order, strong_order, weak_order, evaluations = 1, 0.5, 1.0, 1

    def step(self, x: Tokens, flow: Flow) -> Tokens:
        """Return the tokens at the end of the step."""
        if flow.interaction is not None:
            x = flow.interaction.move(x, flow.step_size, n_threads=flow.n_threads)
        return sphere.layer_norm_step(x, flow.noise(x), 1.0, flow.n_threads) if flow.is_noisy else x


class RungeKutta4(Scheme):
    """The classical method of order 4 for y ↦ P_{LN y} Attn(LN y), whose flow keeps the sphere; without noise."""

    order, strong_order, weak_order, evaluations = 4, None, None, 4

    def step(self, x: Tokens, flow: Flow) -> Tokens:
        """Return the tokens at the end of the step."""
        interaction, h, n_threads = flow.interaction, flow.step_size, flow.n_threads
        assert interaction is not None

        def slope(y: Tokens) -> Tokens:
            return tangent(y, interaction.drift(y, n_threads=n_threads))

        k1 = slope(x)
        k2 = slope(sphere.layer_norm_step(x, k1, 0.5 * h, n_threads))
        k3 = slope(sphere.layer_norm_step(x, k2, 0.5 * h, n_threads))
        k4 = slope(sphere.layer_norm_step(x, k3, h, n_threads))
        return sphere.layer_norm_step(x, k1 + 2 * k2 + 2 * k3 + k4, h / 6, n_threads)


SCHEMES: dict[str, Scheme] = {
    "projected-euler": ProjectedEuler(),
    "geodesic-euler": GeodesicEuler(),
    "heun": Heun(),
    "split": Split(),
    "rk4": RungeKutta4(),
}
"""The schemes that `LimitSDE` knows, by name."""


def tangent(x: Tokens, v: Tokens) -> Tokens:
    """Return P_x v, the part of v that is orthogonal to x."""
    return np.asarray(v - np.einsum("rik,rik->ri", x, v)[:, :, None] * x)
