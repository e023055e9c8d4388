"""κ of an activation with kinks, or a steep one, by quadrature over the pair of pre-activations."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from chaosphere.common.chebyshev import Array, Function, chebyshev_series, trimmed
from chaosphere.noise.activations import Activation
from chaosphere.noise.hermite import best_spectrum, panels, reach
from chaosphere.noise.layer_law import GaussianPair

_EPS = float(np.finfo(np.float64).eps)

# Pre-activations of a larger variance are integrated conditionally, on panels fitted to φ; at most so many of them.
_STEEP, _MAX_PANELS = 9.0, 600
_CHUNK = 2**21  # values of φ at once


@dataclass(frozen=True, slots=True)
class ThetaSeries:
    """Chebyshev series in θ = arccos u of κ, and of κ′ by exact differentiation of it."""

    coefficients: Array
    slope_coefficients: Array

    def value(self, u: Array) -> Array:
        """Return κ(u)."""
        return np.asarray(chebyshev.chebval(_theta_to_x(np.arccos(u)), self.coefficients))

    def slope(self, u: Array) -> Array:
        """Return κ′(u)."""
        theta = np.arccos(u)
        near = np.minimum(theta, np.pi - theta)
        # dκ/dθ = θ(π − θ) r(θ), so κ′ = −r θ(π − θ)/sin θ is finite at both ends.
        factor = (np.pi - near) / np.sinc(near / np.pi)
        return np.asarray(-factor * chebyshev.chebval(_theta_to_x(theta), self.slope_coefficients))


def _theta_to_x(theta: Array) -> Array:
    return 2.0 / np.pi * theta - 1.0


def theta_series(value: Function) -> tuple[ThetaSeries, float]:
    """Return the Chebyshev series of κ in θ and its relative error (the size of its tail).

    A tail below 1e-7 that falls by less than eight when the degree doubles, from 128 on, is left as it is.
    """
    tail = math.inf
    for degree in (32, 64, 128, 256, 512):
        before = tail
        c = chebyshev_series(lambda x: value(np.cos(0.5 * np.pi * (x + 1.0))), degree)
        tail = float(np.max(np.abs(c[-degree // 8 :])) / max(np.max(np.abs(c)), 1e-300))
        if tail < 2e-14 or (degree >= 128 and before / 8 < tail < 1e-7):
            break
    # Rounding in the tail would be multiplied by degree² in the slope.
    c = trimmed(c, relative=2.0 * _EPS, min_degree=2)
    # dκ/dθ vanishes at both ends: divide by θ(π − θ) = (π²/4)(1 − x²) in coefficients.
    quotient, _ = chebyshev.chebdiv(chebyshev.chebder(c) * (2.0 / np.pi), [0.5, 0.0, -0.5])
    return ThetaSeries(c, np.asarray(quotient, dtype=np.float64) * (4.0 / np.pi**2)), tail


@dataclass(frozen=True, slots=True)
class Quadrature:
    """κ of an activation with kinks and no closed form: Chebyshev series of 2-D quadratures.

    `derivative_series` is that of E φ′(Z1) φ′(Z2), for activations that state φ′.
    """

    series: ThetaSeries
    derivative_series: ThetaSeries | None
    activation: Activation
    pair: GaussianPair

    def value(self, u: Array) -> Array:
        """Return κ(u)."""
        return self.series.value(u)

    def slope(self, u: Array) -> Array:
        """Return κ′(u)."""
        if self.derivative_series is None:
            return self.series.slope(u)
        return self.pair.weight_variance * self.derivative_series.value(u)

    def spectrum(self, n_max: int, dim: int, /) -> tuple[Array, Array]:
        """Return c_0 … c_{n_max} and bounds on their errors."""
        return best_spectrum(self.value, self.activation, pair=self.pair, n_max=n_max, dim=dim)


def quadrature(activation: Activation, pair: GaussianPair) -> tuple[Quadrature, float]:
    """Return κ by quadrature and its relative error (Chebyshev tail, and more nodes per panel on a wider range)."""
    cut, _ = reach(activation, pair.variance, min_cut=9, tail=1e-15)
    mesh = _mesh(activation, (cut + 3) * math.sqrt(pair.variance)) if pair.variance > _STEEP else None

    def expectation(phi: Function, u: Array, *, n_nodes: int = 16, reach: int = cut) -> Array:
        values = []
        for below, above in zip(pair.below(u), pair.above(u), strict=True):
            options = {"below": below, "above": above, "n_nodes": n_nodes, "reach": reach}
            if mesh is None:
                values.append(pair_expectation(phi, activation.kinks, **options))
            else:
                values.append(conditional_expectation(phi, mesh, **options))
        return np.array(values)

    series, error = theta_series(lambda u: expectation(activation.function, u))
    u = np.cos(np.array([1e-3, 0.1, 0.5, 1.2, 1.9, 2.6, 3.1]))
    check = expectation(activation.function, u, n_nodes=24, reach=cut + 3)
    error = max(error, float(np.max(np.abs(check - series.value(u))) / np.max(np.abs(check))))
    derivative_series = None
    if (derivative := activation.derivative) is not None:
        derivative_series, _ = theta_series(lambda u: expectation(derivative, u))
        slope = pair.weight_variance * derivative_series.value(u)
        if not np.allclose(slope, series.slope(u), rtol=1e-5, atol=1e-5 * np.max(np.abs(slope))):
            raise ValueError(
                f"activation: the derivative of {activation.name!r} does not fit its function "
                "(for a φ with jumps it must be None)"
            )
    return Quadrature(series, derivative_series, activation, pair), error


def pair_expectation(
    phi: Function, kinks_of_phi: tuple[float, ...], *, below: float, above: float, n_nodes: int, reach: int = 9
) -> float:
    """Return E φ(a + b) φ(a − b), a ~ N(0, above/2) and b ~ N(0, below/2) independent.

    The variable of smaller spread is outside: for each of its values the inner integral has its
    panels cut exactly where a + b or a − b is a kink.
    """
    kinks = np.array(kinks_of_phi)
    differences = np.unique(np.subtract.outer(kinks, kinks)) / 2
    sums = np.unique(np.add.outer(kinks, kinks)) / 2
    is_b_outside = below <= above
    spread, inner_spread = np.sqrt(0.5 * np.sort([below, above]))
    s, w = _gaussian_panels(differences if is_b_outside else sums, spread, n_nodes=n_nodes, reach=reach)
    cuts = kinks - s[:, None], (kinks + s[:, None] if is_b_outside else s[:, None] - kinks)
    r, v = _gaussian_panels(np.concatenate(cuts, axis=1), inner_spread, n_nodes=n_nodes, reach=reach)
    minus = r - s[:, None] if is_b_outside else s[:, None] - r
    return float(w @ np.sum(v * phi(s[:, None] + r) * phi(minus), axis=1))


def _gaussian_panels(cuts: Array, spread: float, *, n_nodes: int, reach: int) -> tuple[Array, Array]:
    """Return nodes and weights for N(0, spread²) with panels also cut at `cuts` (last axis)."""
    n_panels = int(np.ceil(2.0 * reach * max(1.0, spread)))
    grid = np.linspace(-reach * spread, reach * spread, n_panels + 1)
    grid = np.broadcast_to(grid, (*cuts.shape[:-1], len(grid)))
    edges = np.concatenate((grid, np.clip(cuts, grid[..., :1], grid[..., -1:])), axis=-1)
    nodes, weights = panels(np.sort(edges, axis=-1), n_nodes)
    density = np.exp(-0.5 * (nodes / spread) ** 2) / (spread * np.sqrt(2.0 * np.pi))
    return nodes, weights * density


class _Mesh(NamedTuple):
    """Points between which φ is a polynomial of degree 15 to rounding, and its kinks among them."""

    edges: Array
    kinks: Array


def _mesh(activation: Activation, half_width: float) -> _Mesh:
    """Return a mesh for φ on [−half_width, half_width], by halving.

    On wide panels φ may bend between the nodes: it is also probed at distances 2^k from 0 and from its kinks.
    """

    def on_panel(s: Array, *, middle: float, half: float) -> Array:
        return activation.function(middle + half * s)

    size = float(np.max(np.abs(activation.function(np.linspace(-1.0, 1.0, 65) * half_width / 12.0))))
    kinks = np.array([k for k in activation.kinks if abs(k) < half_width])
    steps = 0.7 * 2.0 ** np.arange(-4, np.log2(half_width) + 1)
    probes = np.unique(np.add.outer(np.append(kinks, 0.0), np.concatenate((-steps, steps))))
    intervals = list(itertools.pairwise(np.unique(np.concatenate(([-half_width, 0.0, half_width], kinks)))))
    edges = [half_width]
    while intervals:
        left, right = intervals.pop()
        middle, half = 0.5 * (left + right), 0.5 * (right - left)
        c = chebyshev_series(partial(on_panel, middle=middle, half=half), 15)
        inside = probes[(probes > left) & (probes < right)]
        misfit = np.abs(chebyshev.chebval((inside - middle) / half, c) - activation.function(inside))
        slack = 16.0 * _EPS * max(size, float(np.max(np.abs(c))))
        if np.max(np.abs(c[-3:])) <= slack and np.max(misfit, initial=0.0) <= 16.0 * slack:
            edges.append(left)
        else:
            intervals += [(left, middle), (middle, right)]
        if len(edges) + len(intervals) > _MAX_PANELS:
            raise ValueError(
                f"activation: {activation.name!r} takes more than {_MAX_PANELS} panels of degree 15 on "
                f"[{-half_width:g}, {half_width:g}], where its pre-activation may lie; state its kinks in an "
                "Activation, or lower weight_std or bias_std"
            )
    return _Mesh(np.sort(edges), kinks)


def conditional_expectation(
    phi: Function, mesh: _Mesh, *, below: float, above: float, n_nodes: int, reach: int
) -> float:
    """Return E φ(X) φ(Y) as that of φ(X) E[φ(Y) | X]; (X, Y) is Gaussian of variance q, q ∓ covariance as stated.

    Y = cX + σZ. The outer panels end where φ(X) changes and where its smoothed copy at cX does, on the scale σ.
    """
    variance = 0.5 * (below + above)
    c, sigma = 0.5 * (above - below) / variance, math.sqrt(below * above / variance)
    scale = math.sqrt(variance)
    widths = np.diff(mesh.edges, prepend=-np.inf, append=np.inf)
    is_sharp = (np.minimum(widths[:-1], widths[1:]) < 4.0 * sigma) | np.isin(mesh.edges, mesh.kinks)
    steps = np.unique(np.add.outer(np.round(mesh.edges[is_sharp] / sigma), np.arange(-reach, reach + 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        smoothed = steps * sigma / c
    end = reach * scale
    edges = np.concatenate((mesh.edges, smoothed[np.isfinite(smoothed)], np.arange(-reach, reach + 1) * scale))
    x, weights = panels(np.unique(edges[np.abs(edges) <= end]), n_nodes)
    weights *= phi(x) * np.exp(-0.5 * (x / scale) ** 2) / (scale * math.sqrt(2.0 * math.pi))
    total = 0.0
    rows = max(1, _CHUNK // (n_nodes * (2 * reach + len(mesh.edges))))
    for start in range(0, len(x), rows):
        mean = c * x[start : start + rows, None]
        z, inner = _gaussian_panels((mesh.edges - mean) / sigma, 1.0, n_nodes=n_nodes, reach=reach)
        total += float(weights[start : start + rows] @ np.sum(inner * phi(mean + sigma * z), axis=1))
    return total
