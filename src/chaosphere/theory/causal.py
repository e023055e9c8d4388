"""Covariance of tokens under causal attention, to first order in 1/N."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy

from chaosphere.common import checks
from chaosphere.theory.linear_growth import growth_rate

_MIN_POSITION = 1e-9  # of the first of a billion tokens


def causal_covariance(
    interaction: Any, degree: int, dim: int, *, earlier: float, later: float, time: float, decay: float = 0.0
) -> float:
    """Return the limit of N times the covariance of two positions under causal attention, from a uniform start.

    Token i of N has position σ = i/N and sees the tokens up to its own position, with extra weights
    e^{−λ(σ − σ')} under a decay λ. Tokens start i.i.d. uniform and move without noise. For a harmonic Y of degree l
    with mean square 1,

        N Cov(Y(X_σ(t)), Y(X_σ₀(0))) → c a t ₀F₁(2; a t Λ),

    where a is the growth rate of degree l, Λ = log(σ/σ₀) and c = 1/σ without decay, and with it

        Λ = log((e^{λσ} − 1)/(e^{λσ₀} − 1)),  c = λ e^{−λ(σ − σ₀)}/(1 − e^{−λσ}).

    Parameters
    ----------
    interaction : SoftmaxAttention, UnnormalizedAttention, or another interaction
        Without its mask; `growth_rate` says which are served.
    degree : int
        Degree l of the harmonic, in [1, 100 000].
    dim : int
        Dimension d of the space, in [2, 100 000].
    earlier, later : float
        Positions σ₀ < σ, in [1e-9, 1].
    time : float
        Time t >= 0.
    decay : float
        λ, in [0, 500].

    Returns
    -------
    float
        The limit as N → ∞; infinite where it is larger than any float.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the interaction has no linear response.

    See Also
    --------
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.

    Notes
    -----
    Each moment of the prefix obeys a linear equation about the uniform law, whose solution by iteration is the series
    of ₀F₁(2; z) = I₁(2√z)/√z.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> round(cs.theory.causal_covariance(attention, 1, 2, earlier=0.3, later=1.0, time=2.0), 6)
    1.034912
    """
    degree = checks.integer(degree, "degree", low=1)
    later = checks.number(later, "later", low=_MIN_POSITION, high=1)
    earlier = checks.number(earlier, "earlier", low=_MIN_POSITION)
    if not earlier < later:
        raise ValueError(f"earlier must be < later, got {earlier:g} and {later:g}")
    time, decay = checks.number(time, "time", low=0), checks.number(decay, "decay", low=0, high=500)
    growth = growth_rate(interaction, degree, dim) * time
    if decay == 0:
        ratio, scale = math.log(later / earlier), 1 / later
    else:
        ratio = math.log(math.expm1(decay * later) / math.expm1(decay * earlier))
        scale = decay * math.exp(-decay * (later - earlier)) / -math.expm1(-decay * later)
    with np.errstate(over="ignore"):
        return float(scale * growth * scipy.special.hyp0f1(2, growth * ratio))
