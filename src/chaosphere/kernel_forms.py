"""How a covariance kernel is evaluated: closed form, Hermite series, Gegenbauer series, callable.

Every form has `value(u)` = κ(u), `slope(u)` = κ′(u) and `spectrum(n_max, dim)` = (c_n, bound on
their absolute errors). `covariance.CovarianceKernel` holds one and is the public face of it.

Pre-activations of two tokens with cosine u are a Gaussian pair with variance q = w² + σ² and
covariance w² u + σ² (w² `weight_variance`, σ² `bias_variance`). The forms work with
q ∓ covariance = w²(1 − u) and w²(1 + u) + 2σ², which keep all digits at u = ±1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from scipy import fft, special

from chaosphere.activations import Activation
from chaosphere.chebyshev import Array, Function, chebyshev_series

EPS = float(np.finfo(np.float64).eps)

# How far φ is looked at, in standard deviations of the pre-activation: the normal density is e^{−1568} there, and φ²
# times it less than e^{−148} as long as φ is a float. The recurrence of Hermite functions starts at e^{−z²/4}.
_FARTHEST, _LAST_HERMITE = 56, 52

# Pre-activations of a larger variance are integrated conditionally, on panels fitted to φ; at most so many of them.
_STEEP, _MOST_PANELS = 9.0, 600
_CHUNK = 2**21  # values of φ at once


class Form(Protocol):
    """What `CovarianceKernel` asks of a way to evaluate κ."""

    def value(self, u: Array) -> Array: ...
    def slope(self, u: Array) -> Array: ...
    def spectrum(self, n_max: int, dim: int, /) -> tuple[Array, Array]: ...


# --- Gegenbauer polynomials ---------------------------------------------------------------------


def gegenbauer(u: Array, dim: int) -> Iterator[Array]:
    """Yield P_0(u), P_1(u), …: Gegenbauer polynomials of S^{dim−1} with P_n(1) = 1, dim ≥ 2."""
    before, now = np.ones_like(u), u
    yield before
    for n in itertools.count(1):
        yield now
        before, now = now, ((2 * n + dim - 2) * u * now - n * before) / (n + dim - 2)


def multiplicity(n_max: int, dim: int) -> Array:
    """Return the dimensions of the spherical harmonics of degree 0 … n_max on S^{dim−1}."""
    n = np.arange(1, n_max + 1)
    return np.concatenate(([1.0], (2 * n + dim - 2) / n * special.binom(n + dim - 3, n - 1)))


def project(value: Function, n_max: int, dim: int) -> tuple[Array, Array]:
    """Return c_0 … c_{n_max} of κ by quadrature, and bounds on their errors.

    Gauss–Legendre in θ = arccos u: the kernels of kinked activations have half-integer powers at
    u = ±1 and are smooth in θ. Nodes are doubled until the coefficients stop moving. P_n is of size
    multiplicity^{-1/2}, so rounding leaves an error that grows like multiplicity^{1/2}.

    On the circle, where thousands of degrees may be wanted, the c_n are Chebyshev coefficients: two cosine transforms
    that agree, which takes κ without jumps of φ. Else the nodes are Fejér's, for SciPy's would take half a minute.
    """
    if dim == 2:
        n_points = max(4096, 2 ** int(n_max + 1).bit_length() * 4)
        coarse, c = (chebyshev_series(value, n - 1)[: n_max + 1] for n in (n_points, 2 * n_points))
        noise = np.full(n_max + 1, 4.0 * EPS * float(np.max(np.abs(value(np.array([-1.0, 1.0]))))))
        if np.all(np.abs(c - coarse) <= noise):
            return c, noise
    counts = multiplicity(n_max, dim)
    n_nodes = n_max + dim // 2 + 64
    previous = None
    for _ in range(4 if dim > 2 else 2):
        x, w = special.roots_legendre(n_nodes) if dim > 2 else _fejer(n_nodes)
        theta = 0.5 * np.pi * (x + 1.0)
        u, w = np.cos(theta), w * np.sin(theta) ** (dim - 2)
        kappa = value(u)
        weighted = w / np.sum(w) * kappa
        moments = [p @ weighted for p in itertools.islice(gegenbauer(u, dim), n_max + 1)]
        c = counts * np.array(moments)
        noise = 4.0 * EPS * np.sqrt(counts) * np.max(np.abs(kappa))
        if dim == 2:
            noise *= 1.0 + np.arange(n_max + 1) / 32.0  # the recurrence's rounding, in as many steps as degrees
        if previous is not None:
            change = np.abs(c - previous)
            if np.all(change <= noise):
                return c, noise
        previous, n_nodes = c, 2 * n_nodes
    return c, change + noise


def _fejer(n_nodes: int) -> tuple[Array, Array]:
    """Return the nodes and weights of Fejér's first rule on [−1, 1], exact for polynomials of degree n_nodes − 1."""
    moments = np.zeros(n_nodes)
    moments[::2] = 2.0 / (1.0 - np.arange(0, n_nodes, 2) ** 2)  # ∫ T_k
    return np.cos(np.pi * (np.arange(n_nodes) + 0.5) / n_nodes), np.asarray(fft.dct(moments, type=3) / n_nodes)


@dataclass(frozen=True, slots=True)
class GegenbauerSeries:
    """κ(u) = Σ c_n P_n(u)."""

    coefficients: Array
    dim: int

    def value(self, u: Array) -> Array:
        total = np.zeros_like(u)
        for c, p in zip(self.coefficients, gegenbauer(u, self.dim), strict=False):
            total += c * p
        return total

    def slope(self, u: Array) -> Array:
        # P_n′ = n(n + d − 2)/(d − 1) P_{n−1} of dimension d + 2.
        n = np.arange(1, len(self.coefficients))
        factors = n * (n + self.dim - 2) / (self.dim - 1) * self.coefficients[1:]
        total = np.zeros_like(u)
        for c, p in zip(factors, gegenbauer(u, self.dim + 2), strict=False):
            total += c * p
        return total

    def spectrum(self, n_max: int, _dim: int, /) -> tuple[Array, Array]:
        c = np.zeros(n_max + 1)
        n = min(n_max + 1, len(self.coefficients))
        c[:n] = self.coefficients[:n]
        return c, np.zeros(n_max + 1)


# --- closed forms -------------------------------------------------------------------------------
# Each takes (covariance, below, above), below = q − covariance, above = q + covariance.


def _relu_value(_: Array, below: Array, above: Array) -> Array:
    # (q/2π)(√(1−c²) + c(π − arccos c)) with c = −cos t is (q/2π)(sin t − t cos t), and that bracket
    # is t² j₁(t): no cancellation where κ → 0.
    t = 2.0 * np.arctan2(np.sqrt(above), np.sqrt(below))
    return np.asarray((below + above) / (4.0 * np.pi) * t**2 * special.spherical_jn(1, t))


def _relu_slope(_: Array, below: Array, above: Array) -> Array:
    return np.asarray(np.arctan2(np.sqrt(above), np.sqrt(below)) / np.pi)


def _erf_value(covariance: Array, below: Array, above: Array) -> Array:
    return np.asarray(2.0 / np.pi * np.arcsin(2.0 * covariance / (1.0 + below + above)))


def _erf_slope(_: Array, below: Array, above: Array) -> Array:
    return np.asarray(4.0 / np.pi / np.sqrt((1.0 + 2.0 * below) * (1.0 + 2.0 * above)))


def _sin_value(covariance: Array, below: Array, above: Array) -> Array:
    # e^{-q} sinh(covariance), which must neither overflow nor cancel.
    size = -np.expm1(-2.0 * np.abs(covariance)) * np.exp(-np.minimum(below, above))
    return np.asarray(0.5 * np.sign(covariance) * size)


def _cos_value(_: Array, below: Array, above: Array) -> Array:
    return 0.5 * (np.exp(-below) + np.exp(-above))


def _leaky_relu_value(covariance: Array, below: Array, above: Array) -> Array:
    # φ = a x + (1 − a) relu with a = 0.01, and E X relu(Y) is half the covariance c: κ = a c + (1 − a)² κ_relu.
    return 0.01 * covariance + 0.9801 * _relu_value(covariance, below, above)


def _leaky_relu_slope(covariance: Array, below: Array, above: Array) -> Array:
    return 0.01 + 0.9801 * _relu_slope(covariance, below, above)


def _gaussian_value(_: Array, below: Array, above: Array) -> Array:
    # E e^{−(X² + Y²)/2} is det(I + Σ)^{−1/2}; the eigenvalues of Σ are q ∓ covariance.
    return np.asarray(1.0 / np.sqrt((1.0 + below) * (1.0 + above)))


def _gaussian_slope(covariance: Array, below: Array, above: Array) -> Array:
    return np.asarray(covariance * ((1.0 + below) * (1.0 + above)) ** -1.5)


def _linear_value(covariance: Array, _below: Array, _above: Array) -> Array:
    return covariance


def _linear_slope(covariance: Array, _below: Array, _above: Array) -> Array:
    return np.ones_like(covariance)


_Closed = Callable[[Array, Array, Array], Array]
CLOSED_FORMS: dict[str, tuple[_Closed, _Closed]] = {
    "relu": (_relu_value, _relu_slope),
    "erf": (_erf_value, _erf_slope),
    "sin": (_sin_value, _cos_value),
    "cos": (_cos_value, _sin_value),
    "linear": (_linear_value, _linear_slope),
    "leaky_relu": (_leaky_relu_value, _leaky_relu_slope),
    "gaussian": (_gaussian_value, _gaussian_slope),
}


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """κ of a named activation in closed form."""

    activation: Activation
    weight_variance: float
    bias_variance: float

    def _pair(self, u: Array) -> tuple[Array, Array, Array]:
        below = self.weight_variance * (1.0 - u)
        above = self.weight_variance * (1.0 + u) + 2.0 * self.bias_variance
        return self.weight_variance * u + self.bias_variance, below, above

    def value(self, u: Array) -> Array:
        return CLOSED_FORMS[self.activation.name][0](*self._pair(u))

    def slope(self, u: Array) -> Array:
        return self.weight_variance * CLOSED_FORMS[self.activation.name][1](*self._pair(u))

    def spectrum(self, n_max: int, dim: int) -> tuple[Array, Array]:
        return _best_spectrum(self, self.activation, n_max, dim)


# --- Hermite series -----------------------------------------------------------------------------


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
    weight_variance: float
    bias_variance: float

    @property
    def _variance(self) -> float:
        return self.weight_variance + self.bias_variance

    def value(self, u: Array) -> Array:
        c = (self.weight_variance * u + self.bias_variance) / self._variance
        return np.asarray(polynomial.polyval(c, self.squares))

    def slope(self, u: Array) -> Array:
        c = (self.weight_variance * u + self.bias_variance) / self._variance
        slope = polynomial.polyval(c, polynomial.polyder(self.squares))
        return np.asarray(self.weight_variance / self._variance * slope)

    def spectrum(self, n_max: int, dim: int) -> tuple[Array, Array]:
        # Horner's rule on Gegenbauer coefficients. u P_n is a combination of P_{n+1} and P_{n−1}
        # with positive weights, so every term is positive and no digits cancel.
        n = np.arange(max(len(self.squares), n_max + 1))
        up = np.ones(len(n))
        up[1:] = (n[1:] + dim - 2) / (2 * n[1:] + dim - 2)
        down = 1.0 - up
        weight, bias = self.weight_variance / self._variance, self.bias_variance / self._variance
        c = np.zeros(len(n))
        for square in self.squares[::-1]:
            shifted = bias * c
            shifted[1:] += weight * up[:-1] * c[:-1]
            shifted[:-1] += weight * down[1:] * c[1:]
            shifted[0] += square
            c = shifted
        return c[: n_max + 1], 1e-13 * c[: n_max + 1]


def reach(activation: Activation, variance: float, *, least: int, tail: float) -> tuple[int, float]:
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
    if len(logs) >= 8 * (least + 2) and last.max() <= before.max():
        masses = np.exp(logs - max(logs.max(), -1e300))
        outside = np.append(np.cumsum(masses[::-1])[::-1], 0.0) / max(masses.sum(), 1e-300)
        for cut in range(least, min(len(logs) // 8 - 1, _LAST_HERMITE + 1)):
            if outside[8 * cut] <= tail:
                return cut, float(outside[8 * cut])
    raise ValueError(
        f"activation: E φ² of {activation.name!r} under a variance of {variance:g} diverges or cannot be told: it has "
        f"not decayed within {len(logs) / 8:g} standard deviations; lower weight_std or bias_std"
    )


def hermite_squares(activation: Activation, variance: float, n_terms: int, n_nodes: int = 64) -> tuple[Array, float]:
    """Return a_n² for n < n_terms and E φ² = Σ a_n², by one composite Gauss–Legendre rule."""
    scale = float(np.sqrt(variance))
    cut, _ = reach(activation, variance, least=14, tail=1e-28)
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


def hermite_series(
    activation: Activation, weight_variance: float, bias_variance: float
) -> tuple[HermiteSeries, float] | None:
    """Return the Hermite series of κ and its relative error, or None if it converges too slowly."""
    variance = weight_variance + bias_variance
    for n_terms in (64, 256, 1024, 4096):
        squares, total = hermite_squares(activation, variance, n_terms)
        slopes = np.arange(n_terms) * squares
        if np.sum(slopes[-n_terms // 4 :]) <= 1e-16 * np.sum(slopes):
            check, _ = hermite_squares(activation, variance, n_terms, n_nodes=48)
            error = max(abs(total - np.sum(squares)), float(np.sum(np.abs(check - squares))))
            # What lies beyond the cut, by the Cauchy–Schwarz inequality.
            error += 2.0 * total * math.sqrt(reach(activation, variance, least=14, tail=1e-28)[1])
            n_kept = int(np.flatnonzero(slopes > 1e-20 * np.sum(slopes)).max(initial=0)) + 1
            series = HermiteSeries(squares[:n_kept], weight_variance, bias_variance)
            return series, error / max(total, np.finfo(np.float64).tiny)
    return None


def _best_spectrum(form: ClosedForm | Quadrature, activation: Activation, n_max: int, dim: int) -> tuple[Array, Array]:
    """Return each c_n from the Hermite series or from quadrature, whichever is more exact.

    Where the terms fall, the first K of the series leave out less than what the second half of them brings, and
    lose no digits; that is little where n² ≪ K and the dimension is high. Quadrature loses digits
    exactly there. Where n² ≫ K the terms still grow, and the second half brings more than the first.
    """
    w2, s2 = form.weight_variance, form.bias_variance
    c, error = project(form.value, n_max, dim)
    if w2 + s2 == 0.0:
        return c, error
    squares, _ = hermite_squares(activation, w2 + s2, 2048)
    series, _ = HermiteSeries(squares, w2, s2).spectrum(n_max, dim)
    half, _ = HermiteSeries(squares[:1024], w2, s2).spectrum(n_max, dim)
    series_error = series - half + 1e-13 * series
    better = (series_error < error) & (series - half < 0.5 * half)
    return np.where(better, series, c), np.where(better, series_error, error)


# --- quadrature and callables -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ThetaSeries:
    """Chebyshev series in θ = arccos u of κ, and of κ′ by exact differentiation of it."""

    coefficients: Array
    slope_coefficients: Array

    def value(self, u: Array) -> Array:
        return np.asarray(chebyshev.chebval(_theta_to_x(np.arccos(u)), self.coefficients))

    def slope(self, u: Array) -> Array:
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
    c = c[: np.flatnonzero(np.abs(c) > 2.0 * EPS * np.max(np.abs(c))).max(initial=2) + 1]
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
    weight_variance: float
    bias_variance: float

    def value(self, u: Array) -> Array:
        return self.series.value(u)

    def slope(self, u: Array) -> Array:
        if self.derivative_series is None:
            return self.series.slope(u)
        return self.weight_variance * self.derivative_series.value(u)

    def spectrum(self, n_max: int, dim: int, /) -> tuple[Array, Array]:
        return _best_spectrum(self, self.activation, n_max, dim)


def quadrature(activation: Activation, weight_variance: float, bias_variance: float) -> tuple[Quadrature, float]:
    """Return κ by quadrature and its relative error (Chebyshev tail, and more nodes per panel on a wider range)."""
    variance = weight_variance + bias_variance
    cut, _ = reach(activation, variance, least=9, tail=1e-15)
    mesh = _mesh(activation, (cut + 3) * math.sqrt(variance)) if variance > _STEEP else None

    def expectation(phi: Function, u: Array, n_nodes: int, extra: int = 0) -> Array:
        below = weight_variance * (1.0 - u)
        above = weight_variance * (1.0 + u) + 2.0 * bias_variance
        pairs = zip(below, above, strict=True)
        if mesh is None:
            return np.array([pair_expectation(phi, activation.kinks, *p, n_nodes, reach=cut + extra) for p in pairs])
        return np.array([conditional_expectation(phi, mesh, *p, n_nodes=n_nodes, reach=cut + extra) for p in pairs])

    series, error = theta_series(lambda u: expectation(activation.function, u, 16))
    u = np.cos(np.array([1e-3, 0.1, 0.5, 1.2, 1.9, 2.6, 3.1]))
    check = expectation(activation.function, u, 24, 3)
    error = max(error, float(np.max(np.abs(check - series.value(u))) / np.max(np.abs(check))))
    derivative_series = None
    if (derivative := activation.derivative) is not None:
        derivative_series, _ = theta_series(lambda u: expectation(derivative, u, 16))
        slope = weight_variance * derivative_series.value(u)
        if not np.allclose(slope, series.slope(u), rtol=1e-5, atol=1e-5 * np.max(np.abs(slope))):
            raise ValueError(
                f"activation: the derivative of {activation.name!r} does not fit its function "
                "(for a φ with jumps it must be None)"
            )
    form = Quadrature(series, derivative_series, activation, weight_variance, bias_variance)
    return form, error


def pair_expectation(
    phi: Function, kinks_of_phi: tuple[float, ...], below: float, above: float, n_nodes: int, *, reach: int = 9
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
    s, w = _gaussian_panels(differences if is_b_outside else sums, spread, n_nodes, reach)
    cuts = kinks - s[:, None], (kinks + s[:, None] if is_b_outside else s[:, None] - kinks)
    r, v = _gaussian_panels(np.concatenate(cuts, axis=1), inner_spread, n_nodes, reach)
    minus = r - s[:, None] if is_b_outside else s[:, None] - r
    return float(w @ np.sum(v * phi(s[:, None] + r) * phi(minus), axis=1))


def _gaussian_panels(cuts: Array, spread: float, n_nodes: int, reach: int) -> tuple[Array, Array]:
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
    size = float(np.max(np.abs(activation.function(np.linspace(-1.0, 1.0, 65) * half_width / 12.0))))
    kinks = np.array([k for k in activation.kinks if abs(k) < half_width])
    steps = 0.7 * 2.0 ** np.arange(-4, np.log2(half_width) + 1)
    probes = np.unique(np.add.outer(np.append(kinks, 0.0), np.concatenate((-steps, steps))))
    left_over = list(itertools.pairwise(np.unique(np.concatenate(([-half_width, 0.0, half_width], kinks)))))
    edges = [half_width]
    while left_over:
        left, right = left_over.pop()
        middle, half = 0.5 * (left + right), 0.5 * (right - left)
        c = chebyshev_series(lambda s, m=middle, h=half: activation.function(m + h * s), 15)  # type: ignore[misc]
        inside = probes[(probes > left) & (probes < right)]
        misfit = np.abs(chebyshev.chebval((inside - middle) / half, c) - activation.function(inside))
        slack = 16.0 * EPS * max(size, float(np.max(np.abs(c))))
        if np.max(np.abs(c[-3:])) <= slack and np.max(misfit, initial=0.0) <= 16.0 * slack:
            edges.append(left)
        else:
            left_over += [(left, middle), (middle, right)]
        if len(edges) + len(left_over) > _MOST_PANELS:
            raise ValueError(
                f"activation: {activation.name!r} takes more than {_MOST_PANELS} panels of degree 15 on "
                f"[{-half_width:g}, {half_width:g}], where its pre-activation may lie; state its kinks in an "
                "Activation, or lower weight_std or bias_std"
            )
    return _Mesh(np.sort(edges), kinks)


def conditional_expectation(
    phi: Function, mesh: _Mesh, below: float, above: float, *, n_nodes: int, reach: int
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
        z, inner = _gaussian_panels((mesh.edges - mean) / sigma, 1.0, n_nodes, reach)
        total += float(weights[start : start + rows] @ np.sum(inner * phi(mean + sigma * z), axis=1))
    return total


@dataclass(frozen=True, slots=True)
class FunctionForm:
    """κ given as a callable, with its derivative."""

    kappa: Function
    derivative: Function

    def value(self, u: Array) -> Array:
        return np.asarray(self.kappa(u), dtype=np.float64)

    def slope(self, u: Array) -> Array:
        return np.asarray(self.derivative(u), dtype=np.float64)

    def spectrum(self, n_max: int, dim: int) -> tuple[Array, Array]:
        return project(self.value, n_max, dim)
