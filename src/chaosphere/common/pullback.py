"""What the transpose of a derivative returns, and the error where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chaosphere.common.checks import Floats, Tokens


class NoDerivativeError(ValueError):
    """A function of the tokens has no derivative, or none that is known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pullback:
    """The gradient of Σ ⟨cotangent, f⟩ in all that a function f of the tokens depends on.

    Parameters
    ----------
    tokens : ndarray, shape (R, N, d)
        In the tokens, as any vectors of R^d.
    weights : ndarray of float64, shape (R, n_sources), or None
        In the weights of the source tokens, each taken as free; None where f does not depend on them.
    parameters : mapping of str to ndarray, shape (R, ...)
        In the parameters, by the names of the arguments that they are.
    """

    tokens: Tokens
    weights: Floats | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
