"""Linear growth of harmonics about the uniform law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.interactions import linear
from chaosphere.interactions.polynomials import MAX_DEGREE
from chaosphere.interactions.protocol import offered

# Beyond the degrees of a polynomial there are tails alone: of them one this small, relative to the largest, is the end.
_NEGLIGIBLE = 1e-3


def growth_rate(interaction: Any, degree: int, dim: int, *, temperature: float = 0.0) -> float:
    """Return the rate at which a small harmonic of one degree grows about the uniform law.

    The uniform law is stationary for every interaction that commutes with rotations. The density 1 + εY with respect to
    it, Y a harmonic of degree l, is 1 + ε e^{σt} Y + O(ε²) at time t, with

        σ_l = l (l + d − 2) (δ/β) g_l

    and g_l = r = I_{l+ν}(β)/I_ν(β) for softmax attention, r/(1 + r) for doubly stochastic attention, and
    Γ(d/2) (2/β)^ν I_{l+ν}(β) for unnormalised attention, times e^{−β} if that is rescaled; ν = d/2 − 1. For the drift
    along a potential W it is σ_l = l (l + d − 2) W_l, with the Funk–Hecke coefficient W_l of W for the uniform
    probability. Noise of each token's own, of temperature τ, lowers the rate by τ l (l + d − 2).

    Parameters
    ----------
    interaction : SoftmaxAttention, UnnormalizedAttention, SinkhornAttention, PotentialInteraction, or another one
        Attention with QᵀK = βI and V = δI; another one needs a method `linear_response(degree, dim)`.
    degree : int
        Degree l of the harmonic, in [0, 100 000].
    dim : int
        Dimension d of the space, in [2, 100 000].
    temperature : float
        Temperature τ >= 0 of the tokens' own noise.

    Returns
    -------
    float
        The rate σ_l − τ l (l + d − 2). For β = 0 it is the limit β → 0. Below the smallest float σ_l is 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the interaction has no linear response, or its β is larger than 1e8.

    See Also
    --------
    chaosphere.theory.equiangular : Cosine and radius of tokens that start with one cosine.
    chaosphere.theory.critical_temperature : Temperature below which the uniform law is unstable.
    chaosphere.theory.fluctuation : Fluctuation of the harmonics of many tokens about the uniform law.
    chaosphere.phases.growth_rates : Rates of small changes of stationary states.
    chaosphere.SoftmaxAttention.linear_response : Response of softmax attention to a small harmonic.
    chaosphere.UnnormalizedAttention.linear_response : Response of unnormalised attention to a small harmonic.
    chaosphere.PotentialInteraction.linear_response : Response of the drift along a potential to a small harmonic.
    chaosphere.UnnormalizedAttention : Attention without the division by the partition sum.
    chaosphere.theory.causal_covariance : Covariance of tokens under causal attention.
    chaosphere.PotentialInteraction : Drift along the gradient of any potential of the cosine.
    chaosphere.SinkhornAttention.linear_response : Response of doubly stochastic attention to a small harmonic.
    chaosphere.SinkhornAttention : Doubly stochastic attention.
    chaosphere.measures.power_spectrum : Mean squares of the harmonics of tokens.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
    chaosphere.SphereDensity : The mean-field limit on S², solved for its density.

    Examples
    --------
    The degree that grows fastest is the number of clusters that form first on the circle:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=16.0)
    >>> rates = [cs.theory.growth_rate(attention, degree, 2) for degree in range(10)]
    >>> max(range(10), key=lambda degree: rates[degree])
    6
    """
    degree = checks.integer(degree, "degree", low=0)
    dim = checks.integer(dim, "dim", low=2)
    temperature = checks.number(temperature, "temperature", low=0, high=checks.MAX_SIZE)
    response = offered(interaction, "linear_response", name="interaction")
    # A density keeps its mass: degree 0 does not grow.
    if degree == 0:
        return 0.0
    return degree * (degree + dim - 2) * (float(response(degree, dim)) - temperature)


def critical_temperature(interaction: Any, dim: int) -> float:
    """Return the temperature τ_c of the tokens' own noise below which the uniform law is unstable.

    A small harmonic of degree l grows at the rate l (l + d − 2) (c_l − τ), where c_l is the response of the interaction
    to it (`linear_response`). So τ_c is the largest c_l: I_{ν+1}(β)/(β I_ν(β)) with ν = d/2 − 1 for softmax attention,
    for which degree 1 is the first to grow; for a potential W it is the largest of its Funk–Hecke coefficients.

    Parameters
    ----------
    interaction : SoftmaxAttention, UnnormalizedAttention, SinkhornAttention, PotentialInteraction, or another one
        As in `growth_rate`.
    dim : int
        Dimension d of the space, in [2, 100 000].

    Returns
    -------
    float
        τ_c; 0 where no harmonic grows at any temperature, as under repulsion.

    Raises
    ------
    TypeError, ValueError
        As in `growth_rate`.

    See Also
    --------
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.theory.fluctuation : Fluctuation of the harmonics of many tokens about the uniform law.
    chaosphere.phases.branch : Stationary states at all temperatures.
    chaosphere.phases.transition : How the uniform law loses its stability.

    Notes
    -----
    All degrees up to 1025, that of the largest polynomial, are compared, and further ones until the response has fallen
    to a thousandth of the largest.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> round(cs.theory.critical_temperature(attention, 2), 10)
    0.348887329
    """
    return max(0.0, leading_response(interaction, dim)[1])


def fluctuation(
    interaction: Any, degree: int, dim: int, *, temperature: float = 0.0, time: ArrayLike = math.inf
) -> float | Floats:
    """Return N times the expected power at one degree, for many tokens that start independent and uniform.

    The power a/N of N tokens at degree l >= 1 is `measures.power_spectrum`; for l = 1 it is the squared order
    parameter. At the start a has the mean 1. Each token's own noise, of temperature τ, feeds it, and the harmonic grows
    at the rate σ_l of `growth_rate`. As N → ∞, without a common noise,

        d/dt E a = 2 σ_l E a + 2 τ l (l + d − 2),   E a = 1 at time 0.

    With the response c_l of the interaction, σ_l = l (l + d − 2) (c_l − τ). Where τ > c_l, E a → 1/(1 − c_l/τ).

    Parameters
    ----------
    interaction : SoftmaxAttention, UnnormalizedAttention, SinkhornAttention, PotentialInteraction, or another one
        As in `growth_rate`.
    degree : int
        Degree l of the harmonics, in [1, 100 000].
    dim : int
        Dimension d of the space, in [2, 100 000].
    temperature : float
        Temperature τ >= 0 of the tokens' own noise.
    time : array_like of float
        Times t >= 0. Default: the limit of late times, infinite where the harmonic grows.

    Returns
    -------
    float or ndarray of float64
        E a, of the shape of `time`.

    Raises
    ------
    TypeError, ValueError
        As in `growth_rate`, or if a time is negative or no number.

    See Also
    --------
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.theory.critical_temperature : Temperature below which the uniform law is unstable.
    chaosphere.measures.power_spectrum : Mean squares of the harmonics of tokens.

    Notes
    -----
    The limit N → ∞ is that at a fixed time. A harmonic that grows is described until a is no longer small beside N.
    Under softmax attention a token attends to itself, too, which lowers its drift by the fraction
    e^β/(N ∫ e^{β⟨x, y⟩} dy): 4 % for β = 4, d = 3 and N = 200.

    Examples
    --------
    The mean square of the order parameter of 1000 tokens, at 1.5 times the critical temperature:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> temperature = 1.5 * cs.theory.critical_temperature(attention, 3)
    >>> a = float(cs.theory.fluctuation(attention, 1, 3, temperature=temperature))
    >>> round(a, 12), round(a / 1000, 6)
    (3.0, 0.003)
    """
    degree = checks.integer(degree, "degree", low=1)
    rate = growth_rate(interaction, degree, dim, temperature=temperature)
    source = 2 * temperature * degree * (degree + dim - 2)
    values = checks.array(time, "time")
    if not (values >= 0).all():
        raise ValueError(f"time must be >= 0, got {values[~(values >= 0)].ravel()[0]:g}")
    late = -0.5 * source / rate if rate < 0 else math.inf if rate > 0 or source > 0 else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        z = 2 * rate * values
        out = np.where(np.isinf(values) | (z == -np.inf), late, np.exp(z) + source * values * scipy.special.exprel(z))
    return out if out.ndim else float(out)


def leading_response(interaction: Any, dim: int) -> tuple[int, float]:
    """Return the degree to which an interaction responds most, and its response."""
    dim = checks.integer(dim, "dim", low=2)
    response = offered(interaction, "linear_response", name="interaction")
    degree, largest, size = 1, -math.inf, 0.0
    for other in range(1, linear.MAX_SIZE + 1):
        value = checks.number(response(other, dim), "interaction.linear_response")
        if value > largest:
            degree, largest = other, value
        size = max(size, abs(value))
        if other > MAX_DEGREE and abs(value) <= _NEGLIGIBLE * size:
            break
    return degree, largest
