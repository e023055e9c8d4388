"""What the transpose of a derivative returns, and the error where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chaosphere.common.checks import Tokens
from chaosphere.common.reprs import Brief


class NoDerivativeError(ValueError):
    """A function of the tokens has no derivative, or none that is known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Pullback(Brief):
    """Gradients of Σ_i ⟨w_i, f(x)_i⟩ for a function f of tokens and given vectors w_i, the cotangents.

    f is the drift of an interaction, a layer, the noise of a step, or the step itself.

    Parameters
    ----------
    tokens : ndarray, shape (R, N, d)
        In the tokens, as vectors of the ambient space, of the dtype of the tokens.
    weights : ndarray of float64, shape (R, n_sources), or None
        In the weights p_j of the sources, each as a free variable: their sum is not held at 1. None where f does not
        depend on them.
    parameters : mapping of str to ndarray of float64
        In the numbers and matrices of an interaction or a layer, by their names, with R as first axis. Those that are
        None there are left out; those of several heads are named as in ``heads[0].beta``. Of a step, those of each
        argument of the model by its name.

    See Also
    --------
    chaosphere.interactions.protocol.InteractionPlan.vjp : Gradients by the transpose of the derivative.

    Notes
    -----
    Of tokens (N, d), without replicas, no array has the axis R.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(10, 3, rng=0)
    >>> back = cs.SoftmaxAttention(beta=1.0).vjp(x, np.ones_like(x))
    >>> back.tokens.shape, back.weights.shape, sorted(back.parameters)
    ((10, 3), (10,), ['beta', 'value_scale'])
    """

    tokens: Tokens
    weights: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
