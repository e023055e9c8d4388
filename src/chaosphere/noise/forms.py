"""How a covariance kernel is evaluated: closed form, Hermite series, quadrature, Gegenbauer series, callable.

Every form has `value(u)` = κ(u), `slope(u)` = κ′(u) and `spectrum(n_max, dim)` = (c_n, bound on
their absolute errors). `covariance.CovarianceKernel` has one and is the public face of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy

from chaosphere.common.chebyshev import Array, Function
from chaosphere.geometry.gegenbauer import gegenbauer, project
from chaosphere.noise import activations
from chaosphere.noise.activations import Activation
from chaosphere.noise.hermite import best_spectrum, hermite_series, hermite_squares
from chaosphere.noise.layer_law import GaussianPair, LayerLaw
from chaosphere.noise.pair_quadrature import quadrature

EPS = float(np.finfo(np.float64).eps)

_MAX_VARIANCE, _MAX_VARIANCE_OF_DERIVATIVE = 1e10, 1e4  # of a pre-activation, in quadratures of φ and of φ′


class Form(Protocol):
    """What `CovarianceKernel` takes as a way to evaluate κ."""

    def value(self, u: Array) -> Array:
        """Return κ(u)."""

    def slope(self, u: Array) -> Array:
        """Return κ′(u)."""

    def spectrum(self, n_max: int, dim: int, /) -> tuple[Array, Array]:
        """Return c_0 … c_{n_max} and bounds on their errors."""


# --- closed forms -------------------------------------------------------------------------------
# Each takes (covariance, below, above), below = q − covariance, above = q + covariance.


def _relu_value(_: Array, below: Array, above: Array) -> Array:
    # (q/2π)(√(1−c²) + c(π − arccos c)) with c = −cos t is (q/2π)(sin t − t cos t), and that bracket
    # is t² j₁(t): no cancellation where κ → 0.
    t = 2.0 * np.arctan2(np.sqrt(above), np.sqrt(below))
    return np.asarray((below + above) / (4.0 * np.pi) * t**2 * scipy.special.spherical_jn(1, t))


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
    pair: GaussianPair

    def _arguments(self, u: Array) -> tuple[Array, Array, Array]:
        return self.pair.covariance(u), self.pair.below(u), self.pair.above(u)

    def value(self, u: Array) -> Array:
        """Return κ(u)."""
        return CLOSED_FORMS[self.activation.name][0](*self._arguments(u))

    def slope(self, u: Array) -> Array:
        """Return κ′(u)."""
        return self.pair.weight_variance * CLOSED_FORMS[self.activation.name][1](*self._arguments(u))

    def spectrum(self, n_max: int, dim: int, /) -> tuple[Array, Array]:
        """Return c_0 … c_{n_max} and bounds on their errors."""
        return best_spectrum(self.value, self.activation, pair=self.pair, n_max=n_max, dim=dim)


# --- forms that the user states -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GegenbauerSeries:
    """κ(u) = Σ c_n P_n(u)."""

    coefficients: Array
    dim: int

    def value(self, u: Array) -> Array:
        """Return κ(u)."""
        total = np.zeros_like(u)
        for c, p in zip(self.coefficients, gegenbauer(u, self.dim), strict=False):
            total += c * p
        return total

    def slope(self, u: Array) -> Array:
        """Return κ′(u)."""
        # P_n′ = n(n + d − 2)/(d − 1) P_{n−1} of dimension d + 2.
        n = np.arange(1, len(self.coefficients))
        factors = n * (n + self.dim - 2) / (self.dim - 1) * self.coefficients[1:]
        total = np.zeros_like(u)
        for c, p in zip(factors, gegenbauer(u, self.dim + 2), strict=False):
            total += c * p
        return total

    def spectrum(self, n_max: int, _dim: int, /) -> tuple[Array, Array]:
        """Return c_0 … c_{n_max} and bounds on their errors."""
        c = np.zeros(n_max + 1)
        n = min(n_max + 1, len(self.coefficients))
        c[:n] = self.coefficients[:n]
        return c, np.zeros(n_max + 1)


@dataclass(frozen=True, slots=True)
class FunctionForm:
    """κ given as a callable, with its derivative."""

    kappa: Function
    derivative: Function

    def value(self, u: Array) -> Array:
        """Return κ(u)."""
        return np.asarray(self.kappa(u), dtype=np.float64)

    def slope(self, u: Array) -> Array:
        """Return κ′(u)."""
        return np.asarray(self.derivative(u), dtype=np.float64)

    def spectrum(self, n_max: int, dim: int, /) -> tuple[Array, Array]:
        """Return c_0 … c_{n_max} and bounds on their errors."""
        return project(self.value, n_max, dim=dim)


# --- the form of a random layer -------------------------------------------------------------------


def layer_form(law: LayerLaw, dim: int) -> tuple[Form, float]:
    """Return the form that serves the hidden units of a layer, and an estimate of its relative error.

    Its value is κ(u) less the variance of the output bias.

    Raises
    ------
    ValueError
        If the expectation diverges, or the variance of the pre-activations is too large for a φ without closed form.
    """
    phi, pair = law.activation, law.pair(dim)
    if phi is activations.ACTIVATIONS.get(phi.name) and phi.name in CLOSED_FORMS:
        closed = ClosedForm(phi, pair)
        return closed if pair.weight_variance > 0.0 else GegenbauerSeries(closed.value(np.zeros(1)), dim), 4.0 * EPS
    if pair.weight_variance == 0.0:
        # Both pre-activations are the same Gaussian: κ is the constant E φ².
        total = check = float(phi.function(np.zeros(1))[0] ** 2)
        if pair.bias_variance > 0.0:
            total, check = (hermite_squares(phi, pair.variance, n_terms=1, n_nodes=n)[1] for n in (64, 48))
        error = abs(total - check) / max(total, 1e-300)
        return GegenbauerSeries(np.array([total]), dim), max(error, 4.0 * EPS)
    limit = _MAX_VARIANCE if phi.derivative is None else _MAX_VARIANCE_OF_DERIVATIVE
    if not pair.variance <= limit:
        raise ValueError(
            f"weight_std and bias_std must have squares of sum <= {limit:g} for the kernel of {phi.name!r}, got "
            f"{pair.variance:g}: beyond it quadrature does not resolve where the activation bends"
        )
    series = hermite_series(phi, pair)
    form, error = series if series is not None else quadrature(phi, pair)
    return form, max(error, 4.0 * EPS)
