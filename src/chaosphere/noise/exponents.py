"""Exponents of tokens close to each other under the noise alone: spectrum, moments, dimensions.

Functions of a kernel, which `CovarianceKernel` has as methods of the same names.

References
----------
arXiv:2604.26898 (Agazzi, Bruno, Mosig García, Saviozzi, Romito, 2026).
"""

from __future__ import annotations

import numpy as np

from chaosphere.common import checks
from chaosphere.common.chebyshev import Array
from chaosphere.noise.kernel import Kernel
from chaosphere.noise.rates import lyapunov_exponent


def log_distance_variance(kernel: Kernel) -> float:
    """Return s² = κ(1) + κ′(1) + 2η(1), the variance per unit of time of log|X − Y| of two close tokens.

    Raises
    ------
    ValueError
        If there is no noise, or the noise only turns the sphere.
    """
    variance = kernel(1.0) + kernel.derivative(1.0) + 2.0 * kernel.eta(1.0)
    if not kernel(1.0) > 0.0:
        raise ValueError("kernel: kappa(1) = 0, must be > 0: without noise distances do not change")
    if not variance > 0.0:
        raise ValueError("kernel: kappa(1) + kappa'(1) + 2 eta(1) must be > 0: rotations do not change distances")
    return variance


def lyapunov_spectrum(kernel: Kernel) -> Array:
    """Return the d − 1 Lyapunov exponents λ_i = ½[(d−1−2i)κ′(1) − (d−1)κ(1)] − iη(1) of the noise flow, i = 1 … d−1.

    λ_1 is `lyapunov_exponent`; each next one is lower by κ′(1) + η(1). The sum of the first k is the exponent of
    k-dimensional volumes. They are the exponents of an isotropic Brownian flow (Le Jan, 1985; Baxendale, 1986).

    Returns
    -------
    float64 array, shape (d − 1,)
        The exponents, not increasing.

    See Also
    --------
    chaosphere.CovarianceKernel.lyapunov_exponent : The exponent λ1 of two close tokens.
    chaosphere.CovarianceKernel.kaplan_yorke_dimension : The dimension that the spectrum gives.
    chaosphere.measures.lyapunov_spectrum : Exponents of a model along a run.

    Notes
    -----
    Over a time T the exponents of volumes, measured by QR factorisation, are jointly Gaussian: T times the i-th has
    mean λ_i T, and the covariance of the i-th and the j-th is T(κ(1) + η(1) + (κ′(1) + η(1))δ_ij).

    References
    ----------
    Y. Le Jan, On isotropic Brownian motions, Z. Wahrscheinlichkeitstheorie verw. Gebiete 70 (1985), 609–620.
    P. Baxendale, The Lyapunov spectrum of a stochastic flow of diffeomorphisms, Lecture Notes in Mathematics 1186
    (1986), 322–337.

    Examples
    --------
    >>> import chaosphere as cs
    >>> cs.CovarianceKernel.from_activation("relu", dim=5).lyapunov_spectrum().round(12)
    array([-0.1, -0.2, -0.3, -0.4])
    """
    step = kernel.derivative(1.0) + kernel.eta(1.0)
    return np.asarray(lyapunov_exponent(kernel) - step * np.arange(kernel.dim - 1.0))


def moment_exponent(kernel: Kernel, p: float) -> float:
    """Return Λ(p) = pλ1 + ½p²s², s² = κ(1) + κ′(1) + 2η(1), the exponent of E|X − Y|^p of two close tokens.

    It holds as long as the tokens stay close: log|X − Y| is then Gaussian of mean λ1 t and variance s²t.

    Parameters
    ----------
    p : float
        Order of the moment, at most 1e100 in size.

    Returns
    -------
    float
        Λ(p); Λ(2) is λ̄.

    Raises
    ------
    TypeError, ValueError
        If p is out of range, or κ(1) = 0.

    See Also
    --------
    chaosphere.CovarianceKernel.critical_moment : The p at which Λ changes its sign.
    chaosphere.CovarianceKernel.lambda_bar : The exponent λ̄ of their mean square distance.
    chaosphere.CovarianceKernel.lyapunov_exponent : The exponent λ1 of two close tokens.
    chaosphere.CovarianceKernel.energy_decay_rate : Exponential rate at which the mean energy decays.

    Examples
    --------
    The mean of a low power of the distance decays, its mean square grows:

    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_activation("relu", dim=5)
    >>> round(k.moment_exponent(0.5), 12), round(k.moment_exponent(2.0), 12)
    (-0.025, 0.2)
    """
    p = checks.number(p, "p", low=-1e100, high=1e100)
    return p * lyapunov_exponent(kernel) + 0.5 * p**2 * log_distance_variance(kernel)


def critical_moment(kernel: Kernel) -> float:
    """Return p_c = −2λ1/(κ(1) + κ′(1) + 2η(1)), the order p ≠ 0 with Λ(p) = 0.

    Λ is the exponent of E|X − Y|^p of two close tokens. Where λ1 < 0, it is negative for 0 < p < p_c.

    Returns
    -------
    float
        p_c; negative where λ1 > 0.

    Raises
    ------
    ValueError
        If κ(1) = 0.

    See Also
    --------
    chaosphere.CovarianceKernel.moment_exponent : The exponent Λ(p) of E|X − Y|^p.
    chaosphere.CovarianceKernel.correlation_dimension : Dimension of the attractor, −p_c where λ1 > 0.

    Examples
    --------
    For relu layers without biases p_c = 1 in every dimension:

    >>> import chaosphere as cs
    >>> [round(cs.CovarianceKernel.from_activation("relu", dim=d).critical_moment(), 12) for d in (2, 5, 64)]
    [1.0, 1.0, 1.0]
    """
    return -2.0 * lyapunov_exponent(kernel) / log_distance_variance(kernel)


def correlation_dimension(kernel: Kernel) -> float:
    """Return D₂ = 2λ1/(κ(1) + κ′(1) + 2η(1)) where λ1 > 0: the correlation dimension of where noise drives tokens.

    Under a noise with λ1 > 0 tokens spread over a random attractor. P(|X − Y| < r) of two of them is of order r^{D₂} as
    r → 0 once their cosine has its stationary density, which is of order (1−u)^{D₂/2−1} as u → 1. The probability is
    over the noise as well.

    Returns
    -------
    float
        D₂, at most d − 3; 0 where λ1 <= 0, as tokens then gather at a point, or at two opposite ones.

    Raises
    ------
    ValueError
        If κ(1) = 0.

    See Also
    --------
    chaosphere.CovarianceKernel.kaplan_yorke_dimension : The dimension that the spectrum gives.
    chaosphere.CovarianceKernel.critical_moment : The p at which Λ changes its sign.
    chaosphere.measures.correlation_dimension : Correlation dimension of tokens.
    chaosphere.two_point.stationary_density : Stationary density of the cosine.

    Examples
    --------
    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_function(lambda u: u**3, dim=8)
    >>> round(k.correlation_dimension(), 9)
    2.0
    """
    return max(0.0, -critical_moment(kernel))


def kaplan_yorke_dimension(kernel: Kernel) -> float:
    """Return the Kaplan–Yorke dimension k + (λ_1 + … + λ_k)/|λ_{k+1}| of the Lyapunov spectrum.

    k is the highest number of exponents whose sum is not negative: volumes of dimension k do not shrink. It is the
    dimension of almost every attractor, not below the correlation dimension (Ledrappier and Young, 1988).

    Returns
    -------
    float
        The dimension, in [0, d − 1); 0 where λ1 < 0.

    Raises
    ------
    ValueError
        If κ(1) = 0.

    See Also
    --------
    chaosphere.CovarianceKernel.lyapunov_spectrum : All exponents of the noise.
    chaosphere.CovarianceKernel.correlation_dimension : Correlation dimension of the attractor.

    References
    ----------
    F. Ledrappier and L.-S. Young, Dimension formula for random transformations, Communications in Mathematical
    Physics 117 (1988), 529–548.

    Examples
    --------
    >>> import chaosphere as cs
    >>> k = cs.CovarianceKernel.from_function(lambda u: u**3, dim=8)
    >>> round(k.kaplan_yorke_dimension(), 9)
    3.6
    """
    log_distance_variance(kernel)
    spectrum = lyapunov_spectrum(kernel)
    sums = np.append(0.0, np.cumsum(spectrum))
    # The sum of all is −½(d−1)(κ′(1) + (d−1)κ(1) + dη(1)) < 0, so there is a next exponent.
    k = int(np.flatnonzero(sums >= 0.0)[-1])
    return k + float(sums[k] / -spectrum[k])
