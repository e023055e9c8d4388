"""Two tokens under random attention: the coefficients of the diffusion of their cosine."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np
import scipy
from numpy.polynomial import chebyshev

from chaosphere.common.chebyshev import chebyshev_series, trimmed
from chaosphere.common.checks import Floats
from chaosphere.noise.pair_noise import PairNoise

_N_COSINES, _MAX_ERROR = 96, 1e-7  # of the coefficients under random Q and K
_LARGEST = 2.0  # standard deviation of the entries, times k^{1/4}, that is surely resolved


def of_values(dim: int, *, beta: float, variance: float, weight: float) -> PairNoise:
    """Return the noise of random V, of variance σ², at QᵀK = βI, for two tokens of the weights p and 1 − p."""
    if weight == 0.5:
        diffusion = partial(_pair_diffusion, beta=beta, variance=variance)
        drift = partial(_pair_drift, beta=beta, variance=variance, dim=dim)
        return PairNoise(diffusion=diffusion, drift=drift, dim=dim, is_odd=True)
    # Opposite tokens of different weights do not stay opposite: their attention means differ in length.
    diffusion = partial(_uneven_diffusion, beta=beta, variance=variance, weight=weight)
    drift = partial(_uneven_drift, beta=beta, variance=variance, dim=dim, weight=weight)
    return PairNoise(diffusion=diffusion, drift=drift, dim=dim, is_odd=False)


def of_heads(dim: int, *, head_dim: int, std: float, variance: float) -> PairNoise:
    """Return the noise of random V, Q and K, with entries of standard deviation `std` in the last two."""
    own, both = mean_products(head_dim, std)
    return PairNoise.from_covariance(
        partial(_sum, variance * own), partial(_sum, variance * both), dim=dim, is_odd=True
    )


def _sum(series: Floats, u: Floats) -> Floats:
    return np.asarray(chebyshev.chebval(u, series))


def _pair_diffusion(u: Floats, *, beta: float, variance: float) -> Floats:
    t = np.tanh(0.5 * beta * (1.0 - u))
    return np.asarray(0.5 * variance * (1.0 + t**2))


def _pair_drift(u: Floats, *, beta: float, variance: float, dim: int) -> Floats:
    t = np.tanh(0.5 * beta * (1.0 - u))
    return np.asarray(0.5 * variance * ((dim - 2) * (1.0 - t**2) - u * (1.0 + t**2)))


def _coefficients(u: Floats, *, beta: float, weight: float) -> tuple[Floats, Floats]:
    """Return the attention coefficient of the first token in the mean at each of the two."""
    odds = math.log(weight) - math.log1p(-weight)
    return scipy.special.expit(odds + beta * (1.0 - u)), scipy.special.expit(odds - beta * (1.0 - u))


def _uneven_diffusion(u: Floats, *, beta: float, variance: float, weight: float) -> Floats:
    # With the coefficients a and b, (1 − u) times this is half of |m(x)|² + |m(y)|² − 2u⟨m(x), m(y)⟩.
    a, b = _coefficients(u, beta=beta, weight=weight)
    return np.asarray(variance * ((a + b - 1.0) ** 2 + (1.0 + u) * (a + b - 2.0 * a * b)))


def _uneven_drift(u: Floats, *, beta: float, variance: float, dim: int, weight: float) -> Floats:
    a, b = _coefficients(u, beta=beta, weight=weight)
    product = 1.0 - (1.0 - u) * (a + b - 2.0 * a * b)  # ⟨m(x), m(y)⟩
    lengths = (a + b - 1.0) ** 2 + (1.0 + u) * (a * (1.0 - a) + b * (1.0 - b))
    return np.asarray(variance * ((dim - 1) * lengths - (1.0 + u) * product))


@lru_cache(maxsize=32)
def mean_products(head_dim: int, std: float) -> tuple[Floats, Floats]:
    """Return E|m(x)|² and E⟨m(x), m(y)⟩ of two tokens over Gaussian Q and K, as Chebyshev series in the cosine u.

    Given K, the scores ⟨Qx, K(x−y)⟩ and ⟨Qy, K(x−y)⟩ are centred Gaussians of correlation u with the standard deviation
    std² √(2(1−u)) r, where r² is χ² of head_dim degrees of freedom. In polar coordinates of both, the quadrature runs
    over r, their radius and their angle.
    """
    cosines = np.cos(np.pi * (np.arange(_N_COSINES) + 0.5) / _N_COSINES)
    values = _products(cosines, head_dim, std, n=64)
    error = np.abs(values[:, ::16] - _products(cosines[::16], head_dim, std, n=96)).max()
    own, both = (_series(row) for row in values)
    error = max(error, np.abs(own[-4:]).max(), np.abs(both[-4:]).max())
    if not error <= _MAX_ERROR:
        raise ValueError(
            f"query_key_std is too large for a pair, got {std:g}: the coefficients have an error of {error:.1e}; up to "
            f"{_LARGEST / head_dim**0.25:.2g} it is small enough for head_dim={head_dim}"
        )
    return trimmed(own, relative=1e-13), trimmed(both, relative=1e-13)


def _series(values: Floats) -> Floats:
    """Return the Chebyshev series of a function from its values at the points of `chebyshev_series`."""
    return chebyshev_series(lambda _: values, len(values) - 1)


def _products(cosines: Floats, head_dim: int, std: float, *, n: int) -> Floats:
    node, share = np.polynomial.legendre.leggauss(n)
    centre = math.sqrt(head_dim)
    low, high = max(centre - 8.0, 0.0), centre + 8.0
    r, radius, angle = low + (high - low) * (node + 1) / 2, 4.5 * (node + 1), np.pi * (np.arange(2 * n) + 0.5) / (2 * n)
    with np.errstate(divide="ignore"):
        log_r = (head_dim - 1) * np.log(r / max(centre, 1.0)) - 0.5 * (r**2 - centre**2)
    of_r, of_radius = share * np.exp(log_r), share * radius * np.exp(-0.5 * radius**2)
    # Both radii enter by their product alone.
    both, weight = np.multiply.outer(r, radius).ravel(), np.multiply.outer(of_r, of_radius).ravel()
    is_kept = weight > 1e-18 * weight.max()
    both, weight = both[is_kept], weight[is_kept] / weight[is_kept].sum()
    out = np.empty((2, len(cosines)))
    for i, u in enumerate(cosines):
        scale = std**2 * math.sqrt(2.0 * (1.0 - u))
        p = scipy.special.expit(np.multiply.outer(scale * both, np.cos(angle)))
        q = scipy.special.expit(
            np.multiply.outer(scale * both, u * np.cos(angle) + math.sqrt(1.0 - u**2) * np.sin(angle))
        )
        mixed, equal = (weight @ term.mean(axis=1) for term in (p * (1 - p), p * q + (1 - p) * (1 - q)))
        out[:, i] = 1 - 2 * (1 - u) * mixed, u + (1 - u) * equal
    return out
