"""Random heads at low temperature: noise whose covariance no longer depends on the tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.polynomial import chebyshev

from chaosphere.common import checks
from chaosphere.common.chebyshev import Array, Function, chebyshev_series
from chaosphere.noise.covariance import CovarianceKernel

# The trapezoidal rule in artanh ρ: the integrand is analytic within π/2 of the axis and about 1/√k wide.
_SPACING, _RANGE, _NEGLIGIBLE = 0.25, 42.0, 40.0  # the last: −log of what is left out
_LARGE = 20.0  # third parameter of a hypergeometric function, from which on its series is short
_DEGREE, _ROOT_DEGREE = 255, 63  # of the series in artanh u and in √((1 − uρ)/2)
_Y_MAX = 19.0  # of artanh u, where 1 − u is below 1e-16


def low_temperature_kernel(dim: int, head_dim: int | None = None) -> CovarianceKernel:
    """Return the covariance κ of the noise of random heads at low temperature, for values with σ = 1.

    With tokens everywhere on the sphere and large scores, attention under A = QᵀK takes the value at one point:
    m(x) = Aᵀx/|Aᵀx|, whatever the law of the tokens is. The noise V m(x) of many layers then has the covariance

        κ(⟨x, y⟩) = E⟨Aᵀx/|Aᵀx|, Aᵀy/|Aᵀy|⟩.

    Two Gaussian vectors of R^d with correlation u in each coordinate have directions whose mean cosine is
    s_d(u) = (2/d) (Γ((d+1)/2)/Γ(d/2))² u ₂F₁(½, ½; d/2 + 1; u²). That is κ for a Gaussian matrix A. For Q and K of
    (k, d) Gaussian entries, Qx and Qy are such vectors of R^k, and κ(u) is the mean of s_d over the cosine of their
    directions.

    The exponent of two close tokens is λ1 = ½(d − 1)[(d − 3)(k − 1)/((d − 2)(k − 2)) − 1], with 1 for the fraction
    with k if A is Gaussian. For d > 3 close tokens come together if k >= d and separate if k < d − 1; k = d − 1 is
    critical. κ is odd: tokens that come together gather in one point or in two opposite ones.

    Parameters
    ----------
    dim : int
        d, in [3, 10 000]: on the circle κ′(1) is infinite.
    head_dim : int, optional
        k, in [3, 10 000], for the same reason. None: A is a Gaussian matrix, the limit of large k.

    Returns
    -------
    CovarianceKernel
        For `GaussianField`, `two_point` and the exponents. `scaled(σ)` is that of values with standard deviation σ.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    See Also
    --------
    chaosphere.RandomAttention : Softmax attention with random heads.

    Notes
    -----
    The mean over the cosine takes the density of the correlation of two Gaussian samples (Hotelling), once for
    d and k; later calls return the same kernel.

    References
    ----------
    Random heads: Koubbi, 2026. H. Hotelling, New light on the correlation coefficient and its transforms, Journal of
    the Royal Statistical Society B 15 (1953), 193–232.

    Examples
    --------
    In dimension 8, heads of 8 rows bring close tokens together and heads of 6 rows separate them:

    >>> import chaosphere as cs
    >>> kernels = [cs.theory.low_temperature_kernel(8, k) for k in (8, 6)]
    >>> [round(kernel.lyapunov_exponent(), 4) for kernel in kernels]
    [-0.0972, 0.1458]
    """
    dim = checks.integer(dim, "dim", low=3, high=10_000)
    if head_dim is not None:
        head_dim = checks.integer(head_dim, "head_dim", low=3, high=10_000)
    return _kernel(dim, head_dim)


@lru_cache(maxsize=64)
def _kernel(dim: int, head_dim: int | None) -> CovarianceKernel:
    form = _Gaussian(dim) if head_dim is None else _Product.of(dim, head_dim)
    return CovarianceKernel.from_function(form, dim=dim, derivative=form.slope)


def _hypergeometric(a: float, c: float, x: Array) -> Array:
    """Return ₂F₁(a, a; c; x) for x in [0, 1]."""
    if c < _LARGE:
        return np.asarray(scipy.special.hyp2f1(a, a, c, x))
    # SciPy's transformation to 1 − x overflows; the terms of the series fall faster than m^{2a − c − 1}.
    m = np.arange(64.0)
    return np.asarray(np.polynomial.polynomial.polyval(x, np.cumprod(np.r_[1.0, (a + m) ** 2 / ((c + m) * (1.0 + m))])))


@dataclass(frozen=True, slots=True)
class _Gaussian:
    """s_d: the mean cosine of the directions of two Gaussian vectors."""

    dim: int

    def _factor(self) -> float:
        half = 0.5 * self.dim
        return float(np.exp(2.0 * (scipy.special.gammaln(half + 0.5) - scipy.special.gammaln(half))) / half)

    def __call__(self, u: Array) -> Array:
        value = self._factor() * u * _hypergeometric(0.5, 0.5 * self.dim + 1.0, u * u)
        return np.asarray(np.where(np.abs(u) == 1.0, u, value))

    def slope(self, u: Array) -> Array:
        c, square = 0.5 * self.dim + 1.0, u * u
        value = _hypergeometric(0.5, c, square)
        slope = 0.5 / c * square * _hypergeometric(1.5, c + 1.0, square)
        at_end = (self.dim - 1) / (self.dim - 2)
        return np.asarray(np.where(np.abs(u) == 1.0, at_end, self._factor() * (value + slope)))


@dataclass(frozen=True, slots=True)
class _Product:
    """The mean of s_d over the cosine of two Gaussian vectors of R^k, as Chebyshev series in artanh u."""

    value_series: Array
    slope_series: Array
    slope_at_end: float

    @classmethod
    def of(cls, dim: int, head_dim: int) -> _Product:
        inner = _Gaussian(dim)
        means = _Means(value_series=_in_artanh(inner), slope_series=_in_artanh(inner.slope), head_dim=head_dim)
        at_end = (dim - 1) * (head_dim - 1) / ((dim - 2) * (head_dim - 2))
        return cls(_series(means.value, _DEGREE), _series(means.slope, _DEGREE), at_end)

    def __call__(self, u: Array) -> Array:
        return np.asarray(np.where(np.abs(u) == 1.0, u, np.sign(u) * _at(self.value_series, _artanh(u))))

    def slope(self, u: Array) -> Array:
        return np.asarray(np.where(np.abs(u) == 1.0, self.slope_at_end, _at(self.slope_series, _artanh(u))))


@dataclass(frozen=True, slots=True)
class _Means:
    """Means over ρ = tanh z given u = tanh y, from series of s_d and s_d′ in z."""

    value_series: Array
    slope_series: Array
    head_dim: int

    def value(self, y: Array) -> Array:
        """Return κ at u = tanh y."""
        _, z, _, root, weight = self._nodes(y)
        shape = _at_root(0.5, self.head_dim + 0.5, root)
        return np.asarray(np.sum(weight * shape * np.sign(z) * _at(self.value_series, np.abs(z)), axis=1))

    def slope(self, y: Array) -> Array:
        """Return κ′ at u = tanh y: the derivative in y over 1 − u², in whose terms nothing cancels near u = 1."""
        c = self.head_dim + 0.5
        x, z, ratio, root, weight = self._nodes(y)
        shape, bend = _at_root(0.5, c, root), _at_root(1.5, c + 1.0, root)
        change = 0.5 * np.sinh(x) / ratio * shape
        change += 0.125 / c * bend * (np.tanh(z) + np.tanh(y)[:, None] / ratio**2)
        change *= np.sign(z) * _at(self.value_series, np.abs(z))
        return np.asarray(np.sum(weight * (change + shape * _at(self.slope_series, np.abs(z)) / ratio**2), axis=1))

    def _nodes(self, y: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Return x = z − y, z, cosh z/cosh y, √((1 − uρ)/2), and the density of ρ without a factor of (1 + uρ)/2."""
        k, y = self.head_dim, y[:, None]
        spacing = min(_SPACING, 0.5 / np.sqrt(k))
        x = np.arange(-_RANGE, _RANGE + spacing / 2, spacing)
        x = x[(k - 0.5) * _log_cosh(x) - 2.5 * np.abs(x) < _NEGLIGIBLE]
        log_constant = np.log(k - 1.0) + scipy.special.gammaln(k) - scipy.special.gammaln(k + 0.5)
        density = spacing * np.exp(log_constant - 0.5 * np.log(2.0 * np.pi) - (k - 0.5) * _log_cosh(x))
        z = x + y
        of_y, of_z = _log_cosh(y), _log_cosh(z)
        ratio, root = np.exp(of_z - of_y), np.sqrt(0.5 * np.exp(_log_cosh(x) - of_y - of_z))
        return x, z, ratio, root, density * np.sqrt(ratio)


def _log_cosh(x: Array) -> Array:
    return np.asarray(np.logaddexp(x, -x) - np.log(2.0))


def _artanh(u: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.arctanh(np.abs(u)))


def _series(function: Function, degree: int) -> Array:
    """Return the series of a function on [0, Y]."""
    return chebyshev_series(lambda x: function(0.5 * _Y_MAX * (1.0 + x)), degree)


def _in_artanh(function: Function) -> Array:
    return _series(lambda y: function(np.tanh(y)), _DEGREE)


def _at(series: Array, y: Array) -> Array:
    return np.asarray(chebyshev.chebval(2.0 * np.minimum(y, _Y_MAX) / _Y_MAX - 1.0, series))


def _at_root(a: float, c: float, root: Array) -> Array:
    """Return ₂F₁(a, a; c; 1 − r²), c − 2a a half-integer, at r in [0, 1]: it has a short series in r."""
    series = chebyshev_series(lambda x: _hypergeometric(a, c, 1.0 - (0.5 * (1.0 + x)) ** 2), _ROOT_DEGREE)
    return np.asarray(chebyshev.chebval(2.0 * root - 1.0, series))
