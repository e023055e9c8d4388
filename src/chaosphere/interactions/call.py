"""The call of an interaction on tokens: its arguments are checked, and a plan is made for them or is there already."""

from __future__ import annotations

from typing import Any

from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.common.shape import Shape
from chaosphere.interactions.kept_plan import KeepsPlan, plan_of_call
from chaosphere.interactions.protocol import Interaction, drift_of, plan_of


def drift(
    interaction: Interaction, x: Tokens, *, weights: Any, n_threads: int | None, keeper: KeepsPlan | None = None
) -> Tokens:
    """Return the drift of tokens (N, d) or (R, N, d), of their shape and dtype.

    An interaction whose parts cannot change passes itself as the keeper of its plan, too.

    Raises
    ------
    TypeError, ValueError
        If x is not made of tokens on the unit sphere, the weights are no probabilities, or the interaction does not
        serve their shape.
    """
    batch = checks.tokens(x)
    threads = checks.threads(n_threads)
    shape, p = Shape.of(batch), checks.weights(weights, batch.shape[1])
    plan = plan_of_call(keeper, shape, p, make=lambda: plan_of(interaction, shape, p))
    values = drift_of(plan, batch, n_threads=threads)
    return values if x.ndim == 3 else values[0]
