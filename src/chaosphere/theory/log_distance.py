"""The law of the distance of two close tokens under parameters that change over time."""

from __future__ import annotations

import math
from typing import Any

import scipy

from chaosphere.common import checks, messages, schedules
from chaosphere.common.schedules import Schedule
from chaosphere.noise.covariance import CovarianceKernel

_TOLERANCE = 1e-10


def log_distance_law(
    kernel: CovarianceKernel, *, horizon: float, noise_scale: Any = 1.0, value_scale: Any = 0.0
) -> tuple[float, float]:
    """Return mean and variance of log(|X − Y|_T / |X − Y|_0) for two tokens of a cluster, which is Gaussian.

    Under noise of strength s(t) and attention with V = δ(t) I the logarithm of the distance of two close tokens is a
    Brownian motion with drift: log(|X − Y|_T / |X − Y|_0) has mean ∫ (s² λ1 − δ) dt and variance
    (κ(1) + κ′(1) + 2η(1)) ∫ s² dt, for any Q, K and number of tokens, as long as the distance is small (linear theory;
    λ1 of arXiv:2604.26898). The mean square distance then changes by the factor exp(2 mean + 2 variance).

    Parameters
    ----------
    kernel : CovarianceKernel
        κ of the noise with s = 1.
    horizon : float
        T > 0.
    noise_scale : float, sequence of float, or callable
        s >= 0: a number, numbers for equal steps that span [0, T], or a function of the time t.
    value_scale : float, sequence of float, or callable
        δ, likewise: the rate at which attention alone contracts a cluster. Of other interactions it is their
        `consensus_rate`: δ e^β for unnormalised attention. For the k-th token under a causal mask, and its distance
        from the first, it is (1 − 1/k) δ.

    Returns
    -------
    mean : float
        ∫ (s² λ1 − δ) dt.
    variance : float
        (κ(1) + κ′(1) + 2η(1)) ∫ s² dt.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or a function returns what is; also where its integral does not converge.

    See Also
    --------
    chaosphere.CovarianceKernel.lyapunov_exponent : The exponent λ1 of two close tokens.
    chaosphere.CovarianceKernel.critical_noise_scale : Noise strength at which clusters gain or lose stability.
    chaosphere.L2Attention.at : Attention by distances at a time.
    chaosphere.SinkhornAttention.at : Doubly stochastic attention at a time.
    chaosphere.SoftmaxAttention.at : Softmax attention at a time.
    chaosphere.UnnormalizedAttention.at : Unnormalised attention at a time.

    Notes
    -----
    Functions are integrated by adaptive quadrature, to 1e-10 of the integral or of T.

    Examples
    --------
    Noise that becomes stronger, against a repulsion that fades:

    >>> import math
    >>> import chaosphere as cs
    >>> kernel = cs.CovarianceKernel.from_activation("relu", dim=5)
    >>> mean, variance = cs.theory.log_distance_law(
    ...     kernel,
    ...     horizon=4.0,
    ...     noise_scale=lambda t: 1 + t / 8,
    ...     value_scale=lambda t: -0.3 * math.exp(-t),
    ... )
    >>> round(mean, 4), round(variance, 4)
    (-0.3388, 1.2667)

    Unnormalised attention with a β that changes:

    >>> attention = cs.UnnormalizedAttention(beta=lambda t: 1 - t / 4, value_scale=-0.1)
    >>> mean, variance = cs.theory.log_distance_law(
    ...     kernel, horizon=4.0, value_scale=lambda t: attention.at(t).consensus_rate
    ... )
    >>> round(mean, 4), round(variance, 4)
    (0.2873, 0.8)
    """
    if not isinstance(kernel, CovarianceKernel):
        raise TypeError(
            f"kernel must be a CovarianceKernel, got {messages.shown(kernel)}; a layer has one: MLP(...).kernel(dim)"
        )
    horizon = checks.number(horizon, "horizon", above=0, high=checks.MAX_SIZE)
    noise = schedules.schedule(noise_scale, "noise_scale", low=0.0, high=checks.MAX_STD)
    value = schedules.schedule(value_scale, "value_scale", low=-checks.MAX_SIZE, high=checks.MAX_SIZE)
    squares = _integral(noise, "noise_scale", horizon=horizon, power=2, low=0.0, high=checks.MAX_STD)
    values = _integral(value, "value_scale", horizon=horizon, power=1, low=-checks.MAX_SIZE, high=checks.MAX_SIZE)
    exponent = kernel.lyapunov_exponent()
    # λ̄ = 2 λ1 + 2 s²: the exponent of the second moment of a lognormal distance.
    variance = 0.5 * kernel.lambda_bar() - exponent
    return exponent * squares - values, variance * squares


def _integral(value: Schedule, name: str, *, horizon: float, power: int, **bounds: float) -> float:
    """Return the integral of a power of a schedule over [0, T]."""
    if isinstance(value, float):
        return value**power * horizon
    if not callable(value):
        return math.fsum(number**power for number in value) * (horizon / len(value))

    def function(time: float) -> float:
        return schedules.at(value, name, time=time, step=0, **bounds) ** power

    options: dict[str, Any] = {"epsabs": _TOLERANCE * horizon, "epsrel": _TOLERANCE, "limit": 500}
    total, _, _, *message = scipy.integrate.quad(function, 0.0, horizon, full_output=True, **options)
    if message:
        raise ValueError(f"{name} must be a function whose integral converges: {message[0]}")
    return float(total)
