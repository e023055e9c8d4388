"""What stands for infinitely many tokens with noise of their own: a density after every step, or many tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

import numpy as np

from chaosphere import measures
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Seed
from chaosphere.geometry import axisymmetric
from chaosphere.geometry.axisymmetric import AxisymmetricRule
from chaosphere.geometry.harmonics import rounded_multiplicities
from chaosphere.geometry.laws import Uniform, quadrature
from chaosphere.interactions import linear
from chaosphere.interactions.circle import Modes
from chaosphere.interactions.protocol import Interaction, InteractionPlan, offered
from chaosphere.models.axisymmetric import AxisymmetricDensity
from chaosphere.models.densities import CircleDensity
from chaosphere.models.sde import LimitSDE

_NEGLIGIBLE = 1e-17  # Fourier coefficients of a drift, relative to the largest


def attention_plan(model: LimitSDE, shape: Shape, weights: Floats | None = None) -> InteractionPlan | None:
    """Return the plan of the attention of a model, None where it has none."""
    attention = cast(Interaction | None, model.attention)
    return None if attention is None else attention.plan(shape, weights)


class Reference(Protocol):
    """Stands for infinitely many tokens.

    Attributes
    ----------
    n_sources : int
        Tokens of it that run before the copies.
    interaction : InteractionPlan or None
        Moves those and the copies.
    """

    n_sources: int
    interaction: InteractionPlan | None

    def values(self, step: int, copies: Tokens, beta: float) -> tuple[float, Floats]:
        """Return energy and mean vector after a step."""

    def target(self, step: int, copies: Tokens, n_points: int) -> tuple[Floats, Floats | None]:
        """Return points and weights that stand for the measure after a step."""


def reference_of(
    density: CircleDensity | AxisymmetricDensity | None,
    model: LimitSDE,
    *,
    n_sources: int,
    shape: Shape,
    layers: Seed,
    n_threads: int,
) -> Reference:
    """Return the density of the limit after every step, or without one a system of tokens before those of a shape."""
    times = np.linspace(0, model.horizon, model.n_steps + 1)
    if isinstance(density, CircleDensity):
        return _Circle(density, density.solve(rng=layers, save_at=times, n_threads=n_threads).modes)
    if density is not None:
        return _Axisymmetric(density, density.solve(save_at=times).modes)
    return _Tokens(model, shape, n_sources=n_sources)


class _Tokens(Reference):
    """A system of M tokens."""

    def __init__(self, model: LimitSDE, shape: Shape, *, n_sources: int) -> None:
        self.n_sources = n_sources
        weights = np.full(n_sources, 1 / n_sources)
        self.interaction = attention_plan(model, replace(shape, n_tokens=n_sources + shape.n_tokens), weights)

    def values(self, step: int, copies: Tokens, beta: float) -> tuple[float, Floats]:
        """Return energy and mean vector; see `Reference`."""
        sources = copies[: self.n_sources]
        return float(pair_energy(sources, beta)), np.asarray(measures.mean_vector(sources))

    def target(self, step: int, copies: Tokens, n_points: int) -> tuple[Floats, Floats | None]:
        """Return points and weights; see `Reference`."""
        return copies[: min(n_points, self.n_sources)], None


class _DensityDrift(InteractionPlan):
    """The drift of a density that is known after every step.

    Parameters
    ----------
    drifts : sequence of callable
        After 0, 1, … steps: takes tokens (N, d), returns the drift.
    step_size : float
    at_step : int
    """

    pairs = 0.0

    def __init__(self, drifts: Sequence[Callable[[Tokens], Tokens]], *, step_size: float, at_step: int = 0) -> None:
        self.drifts, self.step_size, self.at_step = drifts, step_size, at_step

    def at(self, time: float, *, step: int) -> _DensityDrift:
        """Return the drift at a time."""
        return _DensityDrift(self.drifts, step_size=self.step_size, at_step=round(time / self.step_size))

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the drift; see `InteractionPlan`."""
        return self.drifts[self.at_step](x[0])[None]


def pair_energy(x: Tokens, beta: float, *, n_threads: int | None = None) -> Any:
    """Return E_β over the pairs of different tokens, whose mean has no part of order 1/N where tokens are independent.

    A token with itself adds nothing to the sum over pairs, so this is N/(N − 1) times the energy.
    """
    n_tokens = x.shape[-2]
    return measures.energy(x, beta, n_threads=n_threads) * (n_tokens / (n_tokens - 1))


def _energy(modes: Floats | Modes, beta: float, dim: int) -> float:
    """Return E_β of a density by Σ |∫ Y dμ|² over the harmonics of each degree: dim(l, d) |m_l|²."""
    relative = [beta * linear.relative_response(degree, dim=dim, beta=beta) for degree in range(1, len(modes))]
    overlap = rounded_multiplicities(len(modes) - 1, dim) * np.abs(modes) ** 2
    return 0.5 * math.exp(beta) * (1 - linear.uniform_partition(beta, dim) * float(overlap @ [1.0, *relative]))


class _Circle(Reference):
    """A density on the circle."""

    n_sources = 0

    def __init__(self, density: CircleDensity, modes: Modes) -> None:
        self.modes, model = modes, density.model
        self.interaction = None
        if model.attention is not None:
            drift = offered(model.attention, "circle_drift", name="attention")(density.n_modes)
            on_grid = [drift(m[None], density.n_points)[0] for m in modes]
            drifts = [partial(_circle_drift, np.fft.rfft(v, norm="forward")) for v in on_grid]
            self.interaction = _DensityDrift(drifts, step_size=model.horizon / model.n_steps)

    def values(self, step: int, copies: Tokens, beta: float) -> tuple[float, Floats]:
        """Return energy and mean vector; see `Reference`."""
        m = self.modes[step]
        return _energy(m, beta, 2), np.array([m[1].real, -m[1].imag])

    def target(self, step: int, copies: Tokens, n_points: int) -> tuple[Floats, Floats | None]:
        """Return points and weights; see `Reference`."""
        n = max(n_points, 2 * self.modes.shape[1])
        angle = 2 * np.pi * np.arange(n) / n
        weights = np.maximum(np.fft.irfft(self.modes[step], n=n, norm="forward"), 0)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1), weights / weights.sum()


def _circle_drift(coefficients: Modes, x: Tokens) -> Tokens:
    kept = np.flatnonzero(np.abs(coefficients) > _NEGLIGIBLE * np.abs(coefficients).max())
    z, value = x[:, 0] + 1j * x[:, 1], np.zeros(len(x), np.complex128)
    for c in coefficients[kept.max(initial=0) : 0 : -1]:
        value = (value + c) * z
    speed = coefficients[0].real + 2 * value.real
    return np.stack([-speed * x[:, 1], speed * x[:, 0]], axis=1)


class _Axisymmetric(Reference):
    """A density that is symmetric about the first axis."""

    n_sources = 0

    def __init__(self, density: AxisymmetricDensity, modes: Floats) -> None:
        self.modes, self.dim, model = modes, density.law.dim, density.model
        self.interaction = None
        if model.attention is not None:
            rule = AxisymmetricRule(dim=self.dim, n_modes=density.n_modes, n_nodes=density.n_nodes)
            drift = offered(model.attention, "axisymmetric_drift", name="attention")(rule.cosines, self.dim)
            masses = rule.weights * axisymmetric.density(modes, rule.cosines, dim=self.dim)
            slopes = np.stack([drift.slope(p) for p in masses])
            coefficients = axisymmetric.without_rounding((rule.weights * slopes) @ rule.basis) * rule.norms
            drifts = [partial(_axial_drift, np.trim_zeros(c, "b")) for c in coefficients]
            self.interaction = _DensityDrift(drifts, step_size=model.horizon / model.n_steps)

    def values(self, step: int, copies: Tokens, beta: float) -> tuple[float, Floats]:
        """Return energy and mean vector; see `Reference`."""
        m = self.modes[step]
        return _energy(m, beta, self.dim), m[1] * np.eye(self.dim)[0]

    def target(self, step: int, copies: Tokens, n_points: int) -> tuple[Floats, Floats | None]:
        """Return points and weights; see `Reference`."""
        rule = quadrature(Uniform(dim=self.dim), n_points)
        density = axisymmetric.density(self.modes[step], np.clip(rule.nodes[:, 0], -1, 1), dim=self.dim)
        weights = rule.weights * np.maximum(density, 0)
        return rule.nodes, weights / weights.sum()


def _axial_drift(coefficients: Floats, x: Tokens) -> Tokens:
    out = np.zeros_like(x)
    out[:, 0] = axisymmetric.combination(coefficients, x[:, 0], dim=x.shape[1])
    return out
