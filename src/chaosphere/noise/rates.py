"""What a covariance kernel implies about tokens under its noise: exponents, rates of decay, synchronization.

Functions of a kernel, which `CovarianceKernel` has as methods of the same names. They stand below `theory`, so that the
class can take them from here.

More than half of this file is docstrings.

References
----------
arXiv:2604.26898 (Agazzi, Bruno, Mosig García, Saviozzi, Romito, 2026).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.polynomial import chebyshev

from chaosphere.common import checks
from chaosphere.common.arrays import like
from chaosphere.common.chebyshev import Array, chebyshev_series, trimmed
from chaosphere.common.reprs import Brief
from chaosphere.noise.kernel import Kernel


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Synchronization(Brief):
    """Verdict of `CovarianceKernel.synchronizes`.

    Parameters
    ----------
    synchronizes : bool or None
        Whether the noise alone brings all tokens together; None where linear theory cannot tell.
    reason : str
        The condition that decided.
    is_odd : bool
        Whether the noise field is odd almost surely.
    lyapunov_exponent, lambda_bar : float
        The exponents λ1 and λ̄.

    See Also
    --------
    chaosphere.CovarianceKernel.synchronizes : Whether the noise brings all tokens together.

    Examples
    --------
    >>> import chaosphere as cs
    >>> verdict = cs.MLP(width=1, activation="sigmoid").kernel(64).synchronizes()
    >>> verdict.synchronizes, verdict.lambda_bar < 0
    (True, True)
    """

    synchronizes: bool | None
    reason: str
    is_odd: bool
    lyapunov_exponent: float
    lambda_bar: float


def lyapunov_exponent(kernel: Kernel) -> float:
    """Return λ1 = ½[(d−3)κ′(1) − (d−1)κ(1)] − η(1), the exponent of |X − Y| of two close tokens.

    λ1 of the noise flow without attention (arXiv:2604.26898). Attention V = δI lowers it by δ.

    Returns
    -------
    float
        λ1; negative: the noise brings close tokens together.

    See Also
    --------
    chaosphere.CovarianceKernel.lambda_bar : The exponent λ̄ of their mean square distance.
    chaosphere.CovarianceKernel.synchronizes : Whether the noise brings all tokens together.
    chaosphere.CovarianceKernel.critical_noise_scale : Noise strength at which clusters gain or lose stability.
    chaosphere.CovarianceKernel.lyapunov_spectrum : All exponents of the noise.
    chaosphere.CovarianceKernel.moment_exponent : The exponent Λ(p) of E|X − Y|^p.
    chaosphere.measures.lyapunov_exponent : Exponent of a model along a run.
    chaosphere.theory.log_distance_law : Law of the distance of two close tokens.
    chaosphere.two_point.long_time : What two tokens do as t → ∞.

    Examples
    --------
    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation("relu", dim=5)
    >>> round(k.lyapunov_exponent(), 12)
    -0.1
    """
    return 0.5 * ((kernel.dim - 3) * kernel.derivative(1.0) - (kernel.dim - 1) * kernel(1.0)) - kernel.eta(1.0)


def lambda_bar(kernel: Kernel) -> float:
    """Return λ̄ = (d−1)κ′(1) − (d−3)κ(1) + 2η(1), the exponent of E|X − Y|² of two close tokens.

    λ̄ < 0 is the condition of the synchronization theorem (arXiv:2604.26898). Tokens that are not close do not
    follow it: their mean energy decays wherever λ1 < 0 and the field is not odd, see `energy_decay_rate`.

    Returns
    -------
    float
        λ̄, at least 2λ1.

    See Also
    --------
    chaosphere.CovarianceKernel.lyapunov_exponent : The exponent λ1 of two close tokens.
    chaosphere.CovarianceKernel.moment_exponent : The exponent Λ(p) of E|X − Y|^p.
    chaosphere.CovarianceKernel.energy_decay_rate : Exponential rate at which the mean energy decays.
    chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.
    chaosphere.CovarianceKernel.synchronizes : Whether the noise brings all tokens together.

    Examples
    --------
    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation("relu", dim=5)
    >>> round(k.lambda_bar(), 12)
    0.2
    """
    return (kernel.dim - 1) * kernel.derivative(1.0) - (kernel.dim - 3) * kernel(1.0) + 2.0 * kernel.eta(1.0)


def dissipation_function(kernel: Kernel, beta: float, u: float | Array) -> float | Array:
    """Return F(u), the rate at which the noise dissipates the energy of a pair of cosine u.

    d/dt E g(u_t) = −E[F(u_t) g(u_t)] with g(u) = e^β − e^{βu} for the noise alone:
    F(u) = βe^{βu}[b(u) + βa(u)]/(e^β − e^{βu}) with b(u) = (d−2+u²)κ(u) − (d−1)κ(1)u − u(1−u²)η(u)
    and a(u) = (1−u²)(κ(1) − uκ(u) + (1−u²)η(u)) (arXiv:2604.26898, proof of the synchronization
    theorem, for η = 0).

    Parameters
    ----------
    beta : float
        β ≥ 0; 0 is the limit, the energy ¼∬|x − y|².
    u : float or array of float
        Cosines in [−1, 1]; F(1) is the limit −λ̄.

    Returns
    -------
    float or float64 array of the shape of `u`
        F(u).

    See Also
    --------
    chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.

    Notes
    -----
    Written with the difference quotient of κ and expm1, so that nothing cancels as u → 1.

    Examples
    --------
    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation("relu", dim=5)
    >>> round(float(k.dissipation_function(1.0, 1.0)), 12)  # −λ̄
    -0.2
    """
    beta = checks.number(beta, "beta", low=0)
    x = checks.cosines(u, "u", slack=checks.COSINE_SLACK)
    value, quotient, eta = kernel(x), kernel.difference_quotient(x), (1.0 + x) * kernel.eta(x)
    z = beta * (1.0 - x)
    bracket = (kernel.dim - 1) * (kernel(1.0) - quotient) - (1.0 + x) * value - x * eta
    return like(u, bose(z) * (bracket + z * (1.0 + x) * (quotient + value + eta)))


def dissipation_rate(kernel: Kernel, beta: float) -> float:
    """Return λ̄′ = −inf F over [−1, 1): E[E_β(μ_t)] ≤ e^{(ε+λ̄′)t} E[E_β(μ_0)].

    ε bounds the growth of the energy under attention alone (0 for QᵀK = βI, V = I with the same β;
    `SoftmaxAttention.energy_growth`). λ̄′ ≥ λ̄, with equality when the infimum is the limit u → 1
    (arXiv:2604.26898, synchronization).

    Parameters
    ----------
    beta : float
        β ≥ 0 of the energy: that of the attention, where there is any.

    Returns
    -------
    float
        λ̄′; negative: the bound decays. The mean energy may decay where it is not (`energy_decay_rate`).

    See Also
    --------
    chaosphere.CovarianceKernel.lambda_bar : The exponent λ̄ of their mean square distance.
    chaosphere.CovarianceKernel.dissipation_function : Rate at which the noise dissipates a pair's energy.
    chaosphere.CovarianceKernel.best_beta : The β of the best bound for noise alone.
    chaosphere.SoftmaxAttention.energy_growth : Rate at which attention alone can raise the energy.
    chaosphere.UnnormalizedAttention.energy_growth : The same of unnormalised attention.
    chaosphere.L2Attention.energy_growth : The same of attention by distances.
    chaosphere.MultiHeadAttention.energy_growth : The same of several heads.
    chaosphere.CovarianceKernel.energy_decay_rate : Exponential rate at which the mean energy decays.
    chaosphere.two_point.energy_ratio : Factor by which a pair's energy changes.

    Notes
    -----
    Compares F at both ends, at every stationary point of its Chebyshev series in arccos u
    (degree doubled until the series has converged, at most 512) and on 4097 points clustered
    at the ends. About 10 ms.

    Examples
    --------
    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation(
    ...     "relu", dim=64, bias_std=0.1, output_bias_std=0.1
    ... )
    >>> round(k.dissipation_rate(1.0), 3), round(k.lambda_bar(), 3)
    (-0.351, -0.899)
    """
    beta = checks.number(beta, "beta", low=0)

    def function(x: Array) -> Array:
        return np.asarray(dissipation_function(kernel, beta, np.cos(0.5 * np.pi * (x + 1.0))))

    for degree in (32, 64, 128, 256, 512):
        c = chebyshev_series(function, degree)
        if np.max(np.abs(c[-degree // 8 :])) <= 1e-11 * np.max(np.abs(c)):
            break
    c = trimmed(c, relative=1e-12)
    roots = chebyshev.chebroots(chebyshev.chebder(c)) if len(c) > 2 else np.empty(0)
    # A double root may come out as a complex pair: take the real parts of all near ones.
    near = roots[(np.abs(roots.imag) < 1e-3) & (np.abs(roots.real) <= 1.0)].real
    grid = np.cos(np.linspace(0.0, np.pi, 4097))
    return -float(np.min(function(np.concatenate((near, grid)))))


def best_beta(kernel: Kernel, epsilon: float | Callable[[float], float] = 0.0) -> tuple[float, float]:
    """Return the β in [0.01, 100] with the smallest ε + λ̄′, and that value: for noise alone.

    Noise alone makes every energy E_β decay, so that β may be chosen. With attention on it may not: attention with
    QᵀK = βI and V = I lowers the energy of its own β, and can raise that of another. Then the bound is
    ε + `dissipation_rate` at the β of the attention, with ε from `SoftmaxAttention.energy_growth`.

    Parameters
    ----------
    epsilon : float or callable
        Bound ε on the growth of E_β by what acts beside the noise, a constant or a function of β; it must hold at every
        β. 0 (default) is right for noise alone.

    Returns
    -------
    beta : float
        The best β.
    rate : float
        ε + λ̄′ there; if negative, it proves synchronization at that rate.

    See Also
    --------
    chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.
    chaosphere.SoftmaxAttention.energy_growth : Rate at which attention alone can raise the energy.

    Notes
    -----
    33 values of β, then Brent's method around the best: about 0.5 s.

    Examples
    --------
    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation(
    ...     "relu", dim=64, bias_std=0.1, output_bias_std=0.1
    ... )
    >>> beta, rate = k.best_beta()
    >>> round(rate, 3), round(k.dissipation_rate(1.0), 3)
    (-0.899, -0.351)
    """

    def rate(log_beta: float) -> float:
        beta = math.exp(log_beta)
        offset = checks.number(epsilon(beta) if callable(epsilon) else epsilon, "epsilon")
        return offset + dissipation_rate(kernel, beta)

    grid = np.linspace(math.log(0.01), math.log(100.0), 33)
    rates = [rate(x) for x in grid]
    i = int(np.argmin(rates))
    bounds = (grid[max(i - 1, 0)], grid[min(i + 1, 32)])
    refined = scipy.optimize.minimize_scalar(rate, bounds=bounds, method="bounded")
    if refined.fun < rates[i]:
        return math.exp(float(refined.x)), float(refined.fun)
    return math.exp(grid[i]), rates[i]


def critical_noise_scale(kernel: Kernel, value_scale: float) -> float:
    """Return s_c = √(δ/λ1), the noise strength at which s²λ1 − δ changes sign.

    s²λ1 − δ is the top exponent of a cluster under attention with V = δI and noise s G.

    Parameters
    ----------
    value_scale : float
        δ.

    Returns
    -------
    float
        NaN when δ/λ1 is not positive: then noise of any strength leaves the sign alone.

    See Also
    --------
    chaosphere.CovarianceKernel.scaled : Kernel of the field times a factor.
    chaosphere.CovarianceKernel.lyapunov_exponent : The exponent λ1 of two close tokens.
    chaosphere.theory.log_distance_law : Law of the distance of two close tokens.
    chaosphere.SoftmaxAttention.consensus_rate : Rate δ of softmax attention.
    chaosphere.UnnormalizedAttention.consensus_rate : Rate of unnormalised attention.
    chaosphere.SinkhornAttention.consensus_rate : Rate of doubly stochastic attention.
    chaosphere.L2Attention.consensus_rate : Rate of attention by distances.
    chaosphere.PotentialInteraction.consensus_rate : Rate of the drift along a potential.

    Examples
    --------
    Noise of relu layers in dimension 5 must be 3.16 times as strong to beat a repulsion δ = −1:

    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation("relu", dim=5)
    >>> round(k.critical_noise_scale(-1.0), 6)
    3.162278
    """
    value_scale = checks.number(value_scale, "value_scale")
    exponent = lyapunov_exponent(kernel)
    if exponent == 0.0 or not value_scale / exponent > 0.0:
        return math.nan
    return math.sqrt(value_scale / exponent)


def synchronizes(kernel: Kernel) -> Synchronization:
    """Return whether the noise alone makes all tokens meet, and why.

    Returns
    -------
    Synchronization
        Verdict, the condition that decided, and both exponents.

    See Also
    --------
    chaosphere.CovarianceKernel.is_odd : Whether the field is odd.
    chaosphere.CovarianceKernel.lyapunov_exponent : The exponent λ1 of two close tokens.
    chaosphere.CovarianceKernel.lambda_bar : The exponent λ̄ of their mean square distance.
    chaosphere.CovarianceKernel.energy_decay_rate : Exponential rate at which the mean energy decays.
    chaosphere.noise.rates.Synchronization : Verdict on synchronization.
    chaosphere.two_point.long_time : What two tokens do as t → ∞.

    Notes
    -----
    Two tokens are a diffusion of their cosine u on [−1, 1]. u = 1 attracts iff λ1 < 0; u = −1
    is a fixed point iff the field is odd. On the circle a field with η may give tokens an angle 2π/p
    apart the same push, so that they stay so. Else tokens meet almost surely if λ1 < 0 and the field is
    not odd, and their energy, which is bounded, tends to 0 in mean as well: at an exponential rate,
    `energy_decay_rate`. λ̄ < 0 is the condition of the theorem of arXiv:2604.26898, which bounds the mean
    energy by its start times e^{λ̄′t}, and lets attention with ε + λ̄′ < 0 in.

    Examples
    --------
    >>> import chaosphere as cs
    >>> verdict = cs.CovarianceKernel.from_activation("tanh", dim=5).synchronizes()
    >>> verdict.synchronizes, verdict.reason
    (False, 'the field is odd: tokens gather at two antipodal points')
    """
    exponent, bar, is_odd = lyapunov_exponent(kernel), lambda_bar(kernel), kernel.is_odd
    verdict: bool | None
    if kernel(1.0) == 0.0:
        verdict, reason = False, "κ = 0: there is no noise"
    elif exponent > 0.0:
        verdict, reason = False, "λ1 > 0: the noise separates close tokens"
    elif exponent == 0.0:
        verdict, reason = None, "λ1 = 0: marginal"
    elif is_odd:
        verdict, reason = False, "the field is odd: tokens gather at two antipodal points"
    elif (period := regular_polygon(kernel)) is not None:
        verdict, reason = False, f"tokens an angle 2π/{period} apart get the same push and stay so"
    else:
        theorem = "λ̄ < 0: the theorem bounds it" if bar < 0.0 else "λ̄ >= 0: the theorem has no bound for it"
        verdict = True
        reason = f"not odd and λ1 < 0: tokens meet almost surely, the mean energy decays exponentially; {theorem}"
    return Synchronization(
        synchronizes=verdict,
        reason=reason,
        is_odd=is_odd,
        lyapunov_exponent=exponent,
        lambda_bar=bar,
    )


def bose(z: Array) -> Array:
    """Return z/(e^z − 1) for z ≥ 0, with value 1 at 0 and no overflow."""
    safe = np.where(z > 0.0, z, 1.0)
    return np.where(z > 0.0, safe * np.exp(-safe) / -np.expm1(-safe), 1.0)


def regular_polygon(kernel: Kernel) -> int | None:
    """Return an odd p such that tokens an angle 2π/p apart stay so; None if there is none up to 61.

    Then the tangential field is the same at both: its covariance uκ(u) − (1 − u²)η(u) is κ(1) at u = cos 2π/p. Without
    η, or for d ≥ 3 where λ1 < 0, this is the case for p = 2 alone, an odd field.
    """
    if kernel.dim > 2 or not kernel.has_eta:
        return None
    periods = np.arange(3, 62, 2)
    u, v = np.cos(2 * np.pi / periods), np.sin(2 * np.pi / periods)
    is_same = u * kernel(u) - v**2 * kernel.eta(u) >= (1.0 - 1e-12) * kernel(1.0)
    return int(periods[is_same][0]) if is_same.any() else None
