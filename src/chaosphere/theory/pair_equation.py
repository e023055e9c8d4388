"""The diffusion of the cosine of two tokens: its coefficients, a coordinate, its matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from chaosphere.common import checks, messages
from chaosphere.common.chebyshev import Array
from chaosphere.noise import pair_diffusion
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.pair_diffusion import Point, at_y
from chaosphere.noise.pair_noise import PairNoise
from chaosphere.noise.rates import bose, regular_polygon

# Root of 1 − |u| that makes the coordinate of the pair PDE. A higher one reaches longer times but
# takes more points.
_ROOT = 6

# `expectation` and `energy_ratio` refuse to return a value with a larger error estimate; resolutions are no longer
# doubled at the smaller one.
TOLERANCE, TARGET = 1e-5, 1e-9


class _OfKernel:
    """What a pair needs of a kernel, as `PairNoise` has it."""

    def __init__(self, kernel: CovarianceKernel) -> None:
        self.kernel, self.dim, self.is_odd = kernel, kernel.dim, kernel.is_odd
        self.dissipation_function = kernel.dissipation_function

    def coefficients(self, point: Point) -> tuple[Array, Array]:
        """Return a and b at the points."""
        return pair_diffusion.coefficients(self.kernel, point)

    def exponents(self) -> tuple[float, float]:
        """Return the exponents at u = 1, and at u = −1 if the field is odd."""
        plus = self.kernel.lyapunov_exponent()
        return plus, plus if self.is_odd else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Coefficients of the generator: those of the noise and the drift of attention."""

    noise: _OfKernel | PairNoise
    beta: float
    value_scale: float

    @classmethod
    def of(cls, kernel: CovarianceKernel | PairNoise, *, beta: float | None, value_scale: float) -> Pair:
        """Return the pair of two tokens under the noise of a kernel and, unless beta is None, attention; checked."""
        if not isinstance(kernel, (CovarianceKernel, PairNoise)):
            raise TypeError(
                f"kernel must be a CovarianceKernel or a PairNoise, got {messages.shown(kernel)}; a layer has one: "
                "MLP(...).kernel(dim), RandomAttention(...).pair(dim)"
            )
        value_scale = checks.number(value_scale, "value_scale")
        if beta is None and value_scale != 0.0:
            raise ValueError(f"value_scale = {value_scale} needs beta, got beta = None")
        beta = 0.0 if beta is None else checks.number(beta, "beta", low=0)
        if isinstance(kernel, PairNoise):
            return cls(noise=kernel, beta=beta, value_scale=value_scale)
        if not kernel(1.0) > 0.0:
            raise ValueError("kernel: kappa(1) = 0, must be > 0: without noise there is no law")
        if (period := regular_polygon(kernel)) is not None:
            raise ValueError(f"kernel: two tokens that are 2π/{period} apart stay so; there is no law for all cosines")
        return cls(noise=_OfKernel(kernel), beta=beta, value_scale=value_scale)

    def coefficients(self, point: Point) -> tuple[Array, Array]:
        """Return a, b of L = a ∂²/∂s² + b ∂/∂s in the coordinate s of the points."""
        a, b = self.noise.coefficients(point)
        return point.change(a, b + point.gap * point.rest * self.attention(point.gap))

    def exponents(self) -> tuple[float, float]:
        """Return the exponents of |X − Y| at u = 1 and of |X + Y| at u = −1, NaN where that is left at once."""
        plus, minus = self.noise.exponents()
        return plus - self.value_scale, minus + 2.0 * self.value_scale * float(scipy.special.expit(-2 * self.beta))

    def attention(self, gap: Array) -> Array:
        """Return 2δ e^{βu}/(e^β + e^{βu}), the attention drift over 1 − u², at u = 1 − gap."""
        return np.asarray(2.0 * self.value_scale * scipy.special.expit(-self.beta * gap))


def _at_x(x: Array, is_odd: bool) -> Point:
    """Return points in the coordinate x ∈ [−1, 1] of the pair PDE, −1 < x < 1.

    Near u = 1 the law of u spreads over many orders of magnitude of 1 − u. x is a high root of it
    there: x = tanh(artanh(u)/6) for odd fields, whose two ends are alike, else
    1 − 2(arccos(u)/π)^{1/6}, which is regular at u = −1.
    """
    if is_odd:
        stretch = _ROOT / (1.0 - x**2)
        point = at_y(_ROOT * np.arctanh(x))
        slope = stretch * point.log_speed_slope + 2.0 * x / (1.0 - x**2)
        return point._replace(speed=stretch * point.speed, log_speed_slope=slope)
    w = 0.5 * (1.0 - x)
    theta, theta_slope = np.pi * w**_ROOT, -0.5 * np.pi * _ROOT * w ** (_ROOT - 1)
    return Point(
        gap=2.0 * np.sin(0.5 * theta) ** 2,
        rest=2.0 * np.cos(0.5 * theta) ** 2,
        speed=-np.sin(theta) * theta_slope,
        log_speed_slope=theta_slope / np.tan(theta) - 0.5 * (_ROOT - 1) / w,
    )


def to_x(u: Array, is_odd: bool) -> Array:
    """Return the coordinate x of cosines u."""
    if is_odd:
        with np.errstate(divide="ignore"):
            return np.asarray(np.tanh(np.arctanh(u) / _ROOT))
    return np.asarray(1.0 - 2.0 * (np.arccos(u) / np.pi) ** (1.0 / _ROOT))


def to_u(x: Array, is_odd: bool) -> Array:
    """Return the cosines u at x, the inverse of `to_x`."""
    if is_odd:
        with np.errstate(divide="ignore"):
            return np.asarray(np.tanh(_ROOT * np.arctanh(x)))
    return np.asarray(np.cos(np.pi * (0.5 * (1.0 - x)) ** _ROOT))


def generator(pair: Pair, n: int, *, is_energy: bool) -> tuple[Array, Array]:
    """Return n + 1 Chebyshev points x, increasing, and the matrix of the generator there."""
    i = np.arange(n + 1)
    x = -np.cos(i * np.pi / n)
    # Differences as products of sines, and rows that sum to zero, keep the digits.
    half_sum, half_difference = np.add.outer(i, i), np.subtract.outer(i, i)
    gaps = 2.0 * np.sin(half_sum * np.pi / (2 * n)) * np.sin(half_difference * np.pi / (2 * n))
    np.fill_diagonal(gaps, 1.0)
    c = (-1.0) ** i * np.where((i == 0) | (i == n), 2.0, 1.0)
    d1 = np.divide.outer(c, c) / gaps
    np.fill_diagonal(d1, 0.0)
    np.fill_diagonal(d1, -np.sum(d1, axis=1))
    d2 = d1 @ d1
    np.fill_diagonal(d2, 0.0)
    np.fill_diagonal(d2, -np.sum(d2, axis=1))

    # u = 1, and for odd fields u = −1, are fixed points: a = b = 0 there.
    a, b, potential = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1)
    point = _at_x(x[1:-1], pair.noise.is_odd)
    a[1:-1], b[1:-1] = pair.coefficients(point)
    if is_energy:
        # h = E g(u_t)/g(u_0), g = e^β − e^{βu}:  h_t = a h″ + (b + 2a g_s/g) h′ + (L g/g) h.
        b[1:-1] -= 2.0 * a[1:-1] * bose(pair.beta * point.gap) * point.speed / point.gap
        gap = np.concatenate(([2.0], point.gap, [0.0]))
        dissipation = np.asarray(pair.noise.dissipation_function(pair.beta, 1.0 - gap))
        potential = -dissipation - (2.0 - gap) * bose(pair.beta * gap) * pair.attention(gap)
    matrix = a[:, None] * d2 + b[:, None] * d1 + np.diag(potential)
    if not pair.noise.is_odd:
        # u = −1 is an interior point of the sphere, about which f is even in π − θ. Solve
        # f_x = 0 there for the first value, and let it follow the others.
        closure = -d1[0, 1:] / d1[0, 0]
        matrix[1:, 1:] += np.outer(matrix[1:, 0], closure)
        matrix[0, 1:] = closure @ matrix[1:, 1:]
        matrix[:, 0] = 0.0
    return x, matrix


def interpolation(x: Array, targets: Array) -> Array:
    """Return the matrix of barycentric interpolation from Chebyshev points to targets."""
    c = (-1.0) ** np.arange(len(x))
    c[[0, -1]] *= 0.5
    differences = targets[:, None] - x
    is_node = differences == 0.0
    rows = c / np.where(is_node, 1.0, differences)
    rows = np.where(is_node.any(axis=1, keepdims=True), is_node, rows)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))
