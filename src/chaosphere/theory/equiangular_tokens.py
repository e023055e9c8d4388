"""Tokens that all have one cosine, under attention and a rule of normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import scipy
from numpy.typing import ArrayLike

from chaosphere.common import checks, messages
from chaosphere.common.arrays import like
from chaosphere.common.checks import Floats

_MAX_TIME = 1e9
_TOLERANCE = 1e-13  # of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """Where the tokens are: time t, radius r, ⟨θ, A⟩ and |A| of the attention A at a token θ."""

    time: float
    radius: float
    along: float
    norm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """θ' = P_θ A/q and r' = g; g None where there is no radius."""

    slowdown: Callable[[_Moment], float]
    growth: Callable[[_Moment], float] | None = None


_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "post": _Rule(slowdown=lambda at: 1.0),
        "pre": _Rule(slowdown=lambda at: at.radius, growth=lambda at: at.along),
        "peri": _Rule(slowdown=lambda at: at.radius * at.norm, growth=lambda at: at.along / at.norm),
        "ngpt": _Rule(slowdown=lambda at: at.norm),
        "sqrt": _Rule(slowdown=lambda at: math.sqrt(at.time + 1)),
    }
)


def equiangular(
    normalization: str, *, n_tokens: int, beta: float, cosine: float, times: ArrayLike, initial_radius: float = 1.0
) -> tuple[float | Floats, float | Floats]:
    """Return the cosine and the radius of tokens that start with one cosine, in the limit of many layers.

    N tokens of radius r, any two of which have the cosine ρ, stay such tokens under softmax attention A without noise.
    With D = e^β + (N−1) e^{βρ},

        ρ' = 2 e^{βρ} (1−ρ) (1 + (N−1)ρ) / (D q),

    where q is 1 for "post", r for "pre", r|A| for "peri", |A| for "ngpt" and √(t+1) for "sqrt". The radius has r' =
    ⟨θ, A⟩ for "pre" and ⟨θ, A⟩/|A| for "peri". As t → ∞, 1 − ρ falls as e^{−2t} for "post" and "ngpt", as t^{−2} for
    "pre" and "peri", and as e^{−4√(t+1)} for "sqrt".

    Parameters
    ----------
    normalization : {"post", "pre", "peri", "ngpt", "sqrt"}
        Of `Transformer`.
    n_tokens : int
        N >= 2.
    beta : float
        β >= 0 of `SoftmaxAttention`.
    cosine : float
        ρ at time 0, in (−1/(N−1), 1).
    times : array_like of float
        Times t, in [0, 1e9].
    initial_radius : float
        r > 0 at time 0, for "pre" and "peri"; from 1e-30 to 1e30.

    Returns
    -------
    cosines : float or ndarray
        ρ(t), of the shape of `times`.
    radii : float or ndarray
        r(t), of the shape of `times`; 1 without a radius.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.Transformer : The discrete transformer, with its `normalization`.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.

    Notes
    -----
    A Runge–Kutta method of order 8 solves the equations of log(1 − ρ) and r. The error of ρ is at most 1e-10, and so is
    that of r relative to r.

    Examples
    --------
    Six tokens under Pre-LN, and a network of 1000 layers from the same start:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> cosine, radius = cs.theory.equiangular("pre", n_tokens=6, beta=2.0, cosine=0.1, times=3.0)
    >>> round(float(cosine), 3), round(float(radius), 3)
    (0.747, 3.041)
    >>> x = np.linalg.cholesky(0.9 * np.eye(6) + 0.1)
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> model = cs.Transformer(
    ...     attention=attention, mlp=None, depth=1000, horizon=3.0, normalization="pre"
    ... )
    >>> mean = cs.measures.RadiusMoment(power=1)
    >>> sol = cs.simulate(model, x, rng=0, observe={"mean radius": mean})
    >>> ends = [sol.final[0] @ sol.final[1], sol.observables["mean radius"][-1]]
    >>> [round(float(end), 2) for end in ends]
    [0.75, 3.04]
    """
    rule = _RULES[checks.choice(normalization, "normalization", known=_RULES)]
    n = checks.integer(n_tokens, "n_tokens", low=2, high=checks.MAX_COUNT)
    beta = checks.number(beta, "beta", low=0)
    cosine = checks.number(cosine, "cosine")
    if not -1 / (n - 1) < cosine < 1:
        raise ValueError(f"cosine must lie between -1/(n_tokens - 1) = {-1 / (n - 1):g} and 1, got {cosine:g}")
    t = checks.array(times, "times")
    if t.size == 0:
        raise ValueError("times must hold at least one time, got none")
    if not ((t >= 0) & (t <= _MAX_TIME)).all():
        raise ValueError(f"times must lie in [0, {_MAX_TIME:g}], got {messages.shown(times)}")
    radius = checks.number(initial_radius, "initial_radius", low=1 / checks.MAX_STD, high=checks.MAX_STD)
    if rule.growth is None and radius != 1:
        raise ValueError(f"initial_radius must be 1 for normalization={normalization!r}, got {radius:g}")

    def slope(time: float, state: Floats) -> list[float]:
        gap, r = math.exp(state[0]), float(state[1])
        rho, e = 1 - gap, math.exp(-beta * gap)
        total = 1 + (n - 1) * e
        square = 1 + 2 * (n - 1) * rho * e + (n - 1) * e**2 * (1 + (n - 2) * rho)
        at = _Moment(time=time, radius=r, along=(1 + (n - 1) * rho * e) / total, norm=math.sqrt(square) / total)
        return [
            -2 * e * (1 + (n - 1) * rho) / (total * rule.slowdown(at)),
            0.0 if rule.growth is None else rule.growth(at),
        ]

    unique, where = np.unique(t, return_inverse=True)
    run = scipy.integrate.solve_ivp(
        slope,
        (0.0, unique[-1] or 1.0),
        [math.log1p(-cosine), radius],
        method="DOP853",
        t_eval=unique,
        rtol=_TOLERANCE,
        atol=_TOLERANCE,
    )
    gaps, radii = run.y[:, where].reshape(2, *t.shape)
    return like(times, -np.expm1(gaps)), like(times, radii)
