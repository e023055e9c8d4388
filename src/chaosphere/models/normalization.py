"""How the layers of a transformer normalise: a rule for half a layer, by its name.

θ is a unit token, A the drift or the noise at the unit tokens, h the step, LN(v) = v/|v|. Rules with a radius move
x = r θ. To add a rule, add a class with the method `step` and a line to `NORMALIZATIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.geometry import sphere

_DIVIDED = "the drift or noise, which is divided by its norm,"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HalfLayer:
    """The drift or the noise A of one layer, and how far it moves tokens.

    Attributes
    ----------
    velocity : callable
        (tokens, n_threads=) ↦ A at every token.
    move : callable
        (tokens, step, n_threads=) ↦ LN(θ + step A), in one pass where a kernel has it.
    step : float
        Factor of A.
    length : float
        Factor of A/|A|.
    """

    velocity: Callable[..., Tokens]
    move: Callable[..., Tokens]
    step: float
    length: float


class Normalization(Protocol):
    """A rule. Its `step` is all that a layer calls.

    Attributes
    ----------
    has_radius : bool
        Whether the state is x = r θ; else it is θ.
    is_linear : bool
        Whether steps are linear in A, so that the noise of several layers is that of one.
    is_fused : bool
        Whether it takes several layers of attention in one call of `HalfLayer.move`.
    """

    has_radius: bool = False
    is_linear: bool = True
    is_fused: bool = False

    def step(self, x: Tokens, half: HalfLayer, *, time: float, n_threads: int) -> Tokens:
        """Return the state (R, N, d) after half a layer.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            The state before.
        half : HalfLayer
        time : float
            t in the middle of the layer.
        n_threads : int
            Does not change a bit of the result.

        Raises
        ------
        DegenerateTokenError
            If a token becomes zero or not finite, or A is where the rule divides by its norm.
        """
        raise NotImplementedError


class Post(Normalization):
    """Post-LN: θ ← LN(θ + h A)."""

    is_fused = True

    def step(self, x: Tokens, half: HalfLayer, *, time: float, n_threads: int) -> Tokens:
        """Return the unit tokens after half a layer; see `Normalization`."""
        return half.move(x, half.step, n_threads=n_threads)


class Pre(Normalization):
    """Pre-LN: x ← x + h A."""

    has_radius = True

    def step(self, x: Tokens, half: HalfLayer, *, time: float, n_threads: int) -> Tokens:
        """Return x = r θ after half a layer; see `Normalization`."""
        v = half.velocity(sphere.directions(x, n_threads), n_threads=n_threads)
        return _sum(x, v, half.step, n_threads)


class Peri(Normalization):
    """Peri-LN: x ← x + h A/|A|."""

    has_radius, is_linear = True, False

    def step(self, x: Tokens, half: HalfLayer, *, time: float, n_threads: int) -> Tokens:
        """Return x = r θ after half a layer; see `Normalization`."""
        v = half.velocity(sphere.directions(x, n_threads), n_threads=n_threads)
        return _sum(x, sphere.directions(v, n_threads, what=_DIVIDED), half.length, n_threads)


class NGPT(Normalization):
    """nGPT: θ ← LN(θ + h A/|A|)."""

    is_linear = False

    def step(self, x: Tokens, half: HalfLayer, *, time: float, n_threads: int) -> Tokens:
        """Return the unit tokens after half a layer; see `Normalization`."""
        v = sphere.directions(half.velocity(x, n_threads=n_threads), n_threads, what=_DIVIDED)
        return sphere.layer_norm_step(x, v, half.length, n_threads, in_place=True)


class Sqrt(Normalization):
    """LayerNorm scaling: θ ← LN(θ + h A/√(t+1))."""

    def step(self, x: Tokens, half: HalfLayer, *, time: float, n_threads: int) -> Tokens:
        """Return the unit tokens after half a layer; see `Normalization`."""
        return half.move(x, half.step / math.sqrt(time + 1), n_threads=n_threads)


NORMALIZATIONS: Mapping[str, Normalization] = MappingProxyType(
    {"post": Post(), "pre": Pre(), "peri": Peri(), "ngpt": NGPT(), "sqrt": Sqrt()}
)


def _sum(x: Tokens, v: Tokens, alpha: float, n_threads: int) -> Tokens:
    """Return x + αv; DegenerateTokenError where that is zero or not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        end = alpha * v
        end += x
    sphere.directions(end, n_threads, what="x + alpha v")
    return end
