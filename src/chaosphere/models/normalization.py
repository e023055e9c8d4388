"""How the layers of a transformer normalise: a rule for half a layer, by its name.

θ is a unit token, A the drift or the noise at the unit tokens, h the step, LN(v) = v/|v|. Rules with a radius move
x = r θ. To add a rule, add a class with the method `step` and a line to `NORMALIZATIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from chaosphere.common.checks import Tokens
from chaosphere.models.operations import Operations, Velocity

_DIVIDED = "the drift or noise, which is divided by its norm,"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HalfLayer:
    """The drift or the noise A of one layer, and how far it moves tokens.

    Attributes
    ----------
    velocity : Velocity
        A at every token.
    move : callable
        (tokens, step, n_threads=) ↦ LN(θ + step A), in one pass where a kernel has it.
    step : float
        Factor of A.
    length : float
        Factor of A/|A|.
    """

    velocity: Velocity
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

    def step(self, x: Any, half: HalfLayer, *, time: float, operations: Operations) -> Any:
        """Return the state (R, N, d) after half a layer.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            The state before.
        half : HalfLayer
        time : float
            t in the middle of the layer.
        operations : Operations
            What the step is made of.

        Raises
        ------
        DegenerateTokenError
            If a token becomes zero or not finite, or A is where the rule divides by its norm.
        """
        raise NotImplementedError


class Post(Normalization):
    """Post-LN: θ ← LN(θ + h A)."""

    is_fused = True

    def step(self, x: Any, half: HalfLayer, *, time: float, operations: Operations) -> Any:
        """Return the unit tokens after half a layer; see `Normalization`."""
        return operations.move(x, half.velocity, step=half.step, fused=half.move)


class Pre(Normalization):
    """Pre-LN: x ← x + h A."""

    has_radius = True

    def step(self, x: Any, half: HalfLayer, *, time: float, operations: Operations) -> Any:
        """Return x = r θ after half a layer; see `Normalization`."""
        v = operations.evaluate(operations.directions(x), half.velocity)
        return operations.sum(x, v, alpha=half.step)


class Peri(Normalization):
    """Peri-LN: x ← x + h A/|A|."""

    has_radius, is_linear = True, False

    def step(self, x: Any, half: HalfLayer, *, time: float, operations: Operations) -> Any:
        """Return x = r θ after half a layer; see `Normalization`."""
        v = operations.evaluate(operations.directions(x), half.velocity)
        return operations.sum(x, operations.directions(v, what=_DIVIDED), alpha=half.length)


class NGPT(Normalization):
    """nGPT: θ ← LN(θ + h A/|A|)."""

    is_linear = False

    def step(self, x: Any, half: HalfLayer, *, time: float, operations: Operations) -> Any:
        """Return the unit tokens after half a layer; see `Normalization`."""
        v = operations.directions(operations.evaluate(x, half.velocity), what=_DIVIDED)
        return operations.layer_norm_step(x, v, alpha=half.length, in_place=True)


class Sqrt(Normalization):
    """LayerNorm scaling: θ ← LN(θ + h A/√(t+1))."""

    def step(self, x: Any, half: HalfLayer, *, time: float, operations: Operations) -> Any:
        """Return the unit tokens after half a layer; see `Normalization`."""
        step = half.step / math.sqrt(time + 1)
        return operations.move(x, half.velocity, step=step, fused=half.move)


NORMALIZATIONS: dict[str, Normalization] = {
    "post": Post(),
    "pre": Pre(),
    "peri": Peri(),
    "ngpt": NGPT(),
    "sqrt": Sqrt(),
}
"""The rules that `Transformer` knows, by name."""
