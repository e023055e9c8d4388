"""κ of a smooth activation as a power series in the correlation, by the Hermite coefficients of φ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import polynomial

from chaosphere.common.chebyshev import Array, Function
from chaosphere.geometry.gegenbauer import project
from chaosphere.noise.activations import Activation
from chaosphere.noise.layer_law import GaussianPair

# How far φ is looked at, in standard deviations of the pre-activation: the normal density is e^{−1568} there, and φ²
# times it less than e^{−148} as long as φ is a float. The recurrence of Hermite functions starts at e^{−z²/4}.
_FARTHEST, _LAST_HERMITE = 56, 52


def panels(edges: Array, n_nodes: int) -> tuple[Array, Array]:
    """Return composite Gauss–Legendre nodes and weights between sorted edges (last axis)."""
    x, w = np.polynomial.legendre.leggauss(n_nodes)
    half = 0.5 * np.diff(edges)[..., None]
    nodes = edges[..., :-1, None] + half * (1.0 + x)
    shape = (*edges.shape[:-1], -1)
    return nodes.reshape(shape), (half * w).reshape(shape)


@dataclass(frozen=True, slots=True)
class HermiteSeries:
    """κ = Σ a_n² c^n, c the correlation of the pair and a_n the Hermite coefficients of φ(√q ·)."""

    squares: Array
    pair: GaussianPair

    def value(self, u: Array) -> Array:
        """Return κ(u)."""
        return np.asarray(polynomial.polyval(self._correlation(u), self.squares))

    def slope(self, u: Array) -> Array:
        """Return κ′(u)."""
        slope = polynomial.polyval(self._correlation(u), polynomial.polyder(self.squares))
        return np.asarray(self.pair.weight_variance / self.pair.variance * slope)

    def _correlation(self, u: Array) -> Array:
        return self.pair.covariance(u) / self.pair.variance

    def spectrum(self, n_max: int, dim: int, /) -> tuple[Array, Array]:
        """Return c_0 … c_{n_max} and bounds on their errors."""
        # Horner's rule on Gegenbauer coefficients. u P_n is a combination of P_{n+1} and P_{n−1}
        # with positive weights, so every term is positive and no digits cancel.
        n = np.arange(max(len(self.squares), n_max + 1))
        up = np.ones(len(n))
        up[1:] = (n[1:] + dim - 2) / (2 * n[1:] + dim - 2)
        down = 1.0 - up
        weight, bias = self.pair.weight_variance / self.pair.variance, self.pair.bias_variance / self.pair.variance
        c = np.zeros(len(n))
        for square in self.squares[::-1]:
            shifted = bias * c
            shifted[1:] += weight * up[:-1] * c[:-1]
            shifted[:-1] += weight * down[1:] * c[1:]
            shifted[0] += square
            c = shifted
        return c[: n_max + 1], 1e-13 * c[: n_max + 1]


def reach(activation: Activation, variance: float, *, min_cut: int, tail: float) -> tuple[int, float]:
    """Return how many standard deviations of N(0, variance) carry all of E φ² but a relative `tail`, and what is left.

    Raises
    ------
    ValueError
        If E φ² diverges, or its integrand has not decayed where φ overflows or at 56 standard deviations.
    """
    z = np.arange(1, 8 * _FARTHEST + 1) / 8.0
    both = np.stack([-z, z])
    with np.errstate(all="ignore"):
        phi = np.asarray(activation.function(np.sqrt(variance) * both.ravel()), dtype=np.float64).reshape(both.shape)
        logs = 2.0 * np.log(np.abs(phi)) - 0.5 * z**2
    is_bad = ~np.isfinite(phi).all(axis=0)
    logs = np.max(logs[:, : int(np.argmax(is_bad)) if is_bad.any() else len(z)], axis=0)
    last, before = logs[-8:], logs[-16:-8]
    if len(logs) >= 8 * (min_cut + 2) and last.max() <= before.max():
        masses = np.exp(logs - max(logs.max(), -1e300))
        outside = np.append(np.cumsum(masses[::-1])[::-1], 0.0) / max(masses.sum(), 1e-300)
        for cut in range(min_cut, min(len(logs) // 8 - 1, _LAST_HERMITE + 1)):
            if outside[8 * cut] <= tail:
                return cut, float(outside[8 * cut])
    raise ValueError(
        f"activation: E φ² of {activation.name!r} under a variance of {variance:g} diverges or cannot be told: it has "
        f"not decayed within {len(logs) / 8:g} standard deviations; lower weight_std or bias_std"
    )


def hermite_squares(activation: Activation, variance: float, *, n_terms: int, n_nodes: int = 64) -> tuple[Array, float]:
    """Return a_n² for n < n_terms and E φ² = Σ a_n², by one composite Gauss–Legendre rule."""
    scale = float(np.sqrt(variance))
    cut, _ = reach(activation, variance, min_cut=14, tail=1e-28)
    kinks = np.array(activation.kinks) / scale
    edges = np.sort(np.concatenate((np.arange(-cut, cut + 1.0), kinks[np.abs(kinks) < cut])))
    z, w = panels(edges, n_nodes)
    phi = np.asarray(activation.function(scale * z), dtype=np.float64)
    # ψ_n = h_n(z) e^{−z²/4} (2π)^{−1/4}, h_n orthonormal: bounded, with a stable recurrence.
    before, now = np.zeros_like(z), np.exp(-0.25 * z**2) * (2.0 * np.pi) ** -0.25
    weighted = w * phi * now
    with np.errstate(over="ignore"):
        total = float(np.sum(w * (phi * now) ** 2))
    if not np.isfinite(total):
        raise ValueError(f"activation: E φ² of {activation.name!r} under a variance of {variance:g} overflows")
    squares = np.empty(n_terms)
    for n in range(n_terms):
        squares[n] = (now @ weighted) ** 2
        before, now = now, (z * now - np.sqrt(n) * before) / np.sqrt(n + 1)
    return squares, total


def hermite_series(activation: Activation, pair: GaussianPair) -> tuple[HermiteSeries, float] | None:
    """Return the Hermite series of κ and its relative error, or None if it converges too slowly."""
    for n_terms in (64, 256, 1024, 4096):
        squares, total = hermite_squares(activation, pair.variance, n_terms=n_terms)
        slopes = np.arange(n_terms) * squares
        if np.sum(slopes[-n_terms // 4 :]) <= 1e-16 * np.sum(slopes):
            check, _ = hermite_squares(activation, pair.variance, n_terms=n_terms, n_nodes=48)
            error = max(abs(total - np.sum(squares)), float(np.sum(np.abs(check - squares))))
            # What lies beyond the cut, by the Cauchy–Schwarz inequality.
            error += 2.0 * total * math.sqrt(reach(activation, pair.variance, min_cut=14, tail=1e-28)[1])
            n_kept = int(np.flatnonzero(slopes > 1e-20 * np.sum(slopes)).max(initial=0)) + 1
            return HermiteSeries(squares[:n_kept], pair), error / max(total, np.finfo(np.float64).tiny)
    return None


def best_spectrum(
    kappa: Function, activation: Activation, *, pair: GaussianPair, n_max: int, dim: int
) -> tuple[Array, Array]:
    """Return each c_n of κ from the Hermite series or from quadrature, whichever is more exact, and error bounds.

    Where the terms fall, the first K of the series leave out less than what the second half of them brings, and
    lose no digits; that is little where n² ≪ K and the dimension is high. Quadrature loses digits
    exactly there. Where n² ≫ K the terms still grow, and the second half brings more than the first.
    """
    c, error = project(kappa, n_max, dim=dim)
    if pair.variance == 0.0:
        return c, error
    squares, _ = hermite_squares(activation, pair.variance, n_terms=2048)
    series, _ = HermiteSeries(squares, pair).spectrum(n_max, dim)
    half, _ = HermiteSeries(squares[:1024], pair).spectrum(n_max, dim)
    series_error = series - half + 1e-13 * series
    better = (series_error < error) & (series - half < 0.5 * half)
    return np.where(better, series, c), np.where(better, series_error, error)
