"""A potential on [−1, 1] and its derivative as Chebyshev series, and how a kernel evaluates one.

A function is sampled at more and more Chebyshev roots until its series has ended, that is until the coefficients in the
upper half are small; the series is then cut where the rest is within the tolerance. As |T_k| <= 1, the sum of the sizes
of the coefficients that are left out bounds the error of leaving them out.

A kernel evaluates a polynomial in one of two ways. Let ε be the unit of rounding of the type, 1.1e-16 or 6.0e-8. To
first order in ε, and with fused multiply-adds, the errors for |u| <= 1 are at most

    powers Σ a_k u^k (Horner):             ε Σ (k + 1) |a_k|
    Chebyshev Σ c_k T_k(u) (Clenshaw):     ε Σ (k + 1)(k + 2) |c_k|

where rounding of the coefficients, ε Σ |a_k| or ε Σ |c_k|, comes on top. Powers take half the operations. They serve
where their bound is the smaller one, or small enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial import Chebyshev, Hermite, HermiteE, Laguerre, Legendre, Polynomial, chebyshev

from chaosphere.common import checks, messages
from chaosphere.common.chebyshev import chebyshev_series, trimmed
from chaosphere.common.checks import Floats, Tokens

MAX_DEGREE = 1024
_POLYNOMIALS = (Chebyshev, Hermite, HermiteE, Laguerre, Legendre, Polynomial)
_UNIT = Chebyshev([0.0])  # its domain and its window are [−1, 1]
_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)
_MIN_DEGREE = 16
_MAX_POWERS_BOUND = 32.0  # of Σ (k + 1) |a_k|, in units of the largest value: five bits
_FLOAT32_CUT = 2.0**-26  # what float32 tokens leave out of a series, in units of its largest value
_MISMATCH = 1e-6  # of potential and derivative, in units of the largest derivative


class _Sampled:
    """A function of the user's whose values are checked."""

    def __init__(self, function: Any, name: str) -> None:
        if not callable(function):
            raise TypeError(
                f"{name} must be a function, a polynomial of NumPy or a list of coefficients, got "
                f"{messages.shown(function)}"
            )
        self.function, self.name = function, name

    def __call__(self, u: Floats) -> Floats:
        try:
            value = self.function(u.copy())
        except Exception as error:
            raise ValueError(
                f"{self.name} must be a function of an array of numbers in [-1, 1]; it raised "
                f"{type(error).__name__}: {error}"
            ) from error
        values = np.asarray(value)
        if values.dtype.kind not in "fiu":
            raise TypeError(f"{self.name} must return real numbers, got {type(value).__name__} of {values.dtype}")
        if values.shape != u.shape:
            raise ValueError(
                f"{self.name} must return one number for each of its argument: an array of shape {u.shape} for one of "
                f"this shape, got {values.shape}; np.vectorize makes such a function of one of numbers"
            )
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"{self.name} must be finite on [-1, 1], got {values[at]} at {u[at]:.17g}")
        return values.astype(np.float64)


def _points(n: int) -> Floats:
    """Return n + 1 Chebyshev points of [−1, 1], its ends among them, from 1 downwards; they are symmetric."""
    return np.asarray(np.sin(0.5 * np.pi * (np.arange(n, -n - 1, -2) / n)))


def values_at(series: Floats, u: Any) -> Any:
    """Return the values of a Chebyshev series."""
    return chebyshev.chebval(u, series)


def largest(series: Floats) -> float:
    """Return the largest size of a series on [−1, 1], as found at eight points a degree and at the ends."""
    return float(np.abs(values_at(series, _points(8 * len(series)))).max())


def exact_series(value: Any, name: str) -> Floats | None:
    """Return the Chebyshev series of a polynomial of NumPy on [−1, 1], or of a list of coefficients of powers.

    None of anything else.
    """
    if isinstance(value, list | tuple | np.ndarray):
        powers = checks.array(value, name)
        if powers.ndim != 1 or len(powers) == 0:
            raise ValueError(f"{name} must be a list of one coefficient or more, got shape {powers.shape}")
        value = Polynomial(powers)
    if not isinstance(value, _POLYNOMIALS):
        return None
    if np.asarray(value.coef).dtype.kind not in "fiu":
        raise TypeError(f"{name} must have real coefficients, got {np.asarray(value.coef).dtype}")
    if not np.isfinite(value.coef).all():
        raise ValueError(f"{name} must have finite coefficients, got {value.coef[~np.isfinite(value.coef)][0]}")
    if value.degree() > MAX_DEGREE:
        raise ValueError(f"{name} must have degree <= {MAX_DEGREE}, got {value.degree()}")
    if not (isinstance(value, Chebyshev) and value.has_samedomain(_UNIT) and value.has_samewindow(_UNIT)):
        value = value.convert(domain=[-1, 1], kind=Chebyshev, window=[-1, 1])  # with rounding
    series = np.array(value.coef, dtype=np.float64)
    return np.trim_zeros(series, "b") if series.any() else series[:1]


def fitted_series(function: Any, name: str, *, tolerance: float, is_derived: bool) -> Floats:
    """Return the Chebyshev series of a function, or with is_derived of its derivative, to a tolerance.

    Raises
    ------
    ValueError
        If the largest degree does not suffice, or values are no finite real numbers.
    """
    sampled, degree, error = _Sampled(function, name), _MIN_DEGREE, np.inf
    while degree <= MAX_DEGREE:
        fine, noise = chebyshev_series(sampled, 2 * degree), 0.0
        if is_derived:
            noise = _EPS * (largest(fine) + 0.5 * largest(_derivative(fine)))
            fine = _derivative(trimmed(fine, relative=noise / max(float(np.abs(fine).max()), _TINY)))
        series, error, is_close = _cut(fine, degree, noise=noise, tolerance=tolerance)
        if is_close and _is_seen(sampled, series, is_derived=is_derived, tolerance=tolerance):
            return series
        degree *= 2
    what = "its derivative by " if is_derived else ""
    hint = "smooth it, raise tolerance, or pass derivative" if is_derived else "smooth it, or raise tolerance"
    raise ValueError(
        f"{name} is not smooth enough: a polynomial of degree {MAX_DEGREE} misses {what}{error:.2g} of its largest "
        f"value, and tolerance is {tolerance:.2g}; {hint}"
    )


def _cut(fine: Floats, degree: int, *, noise: float, tolerance: float) -> tuple[Floats, float, bool]:
    """Return a series cut at the least degree that keeps the tolerance, its relative error, and whether it keeps it.

    The degree is `degree` at most. `noise` is the rounding of a function whose derivative this is, of its values and of
    the points where it is taken; the derivative has it times the degree squared, at the ends.
    """
    if not fine.any():
        return fine[:1], 0.0, True
    scale = largest(fine)
    rest = np.append(np.cumsum(np.abs(fine[:0:-1]))[::-1], 0.0)[: degree + 1]
    errors = (rest + noise * np.arange(1, len(rest) + 1) ** 2) / scale
    good = np.flatnonzero(errors <= 0.5 * tolerance)
    if len(good) == 0:
        return fine, float(errors.min()), False
    return fine[: good[0] + 1], float(errors[good[0]]), True


def _is_seen(sampled: _Sampled, series: Floats, *, is_derived: bool, tolerance: float) -> bool:
    """Whether values between the roots, and at the ends, agree."""
    u = _points(6 * max(len(series), _MIN_DEGREE) + 1)
    values, slack = sampled(u), tolerance * largest(series)
    if not is_derived:
        return bool(np.abs(values - values_at(series, u)).max() <= slack)
    change = values_at(_integral(series), u)
    error = np.abs((values - values[0]) - (change - change[0])).max()
    return bool(error <= 2 * slack + 64 * _EPS * np.abs(values).max())


def potential_and_derivative(potential: Any, derivative: Any, *, tolerance: float) -> tuple[Floats, Floats]:
    """Return the Chebyshev series of W and of W′.

    Polynomials are kept as they are; W of a function is the integral of W′, with the value of the function at 1.
    """
    own = exact_series(potential, "potential")
    slope = _slope(potential, derivative, own, tolerance=tolerance)
    integral = _integral(slope)
    u = _points(8 * len(integral))
    values = _Sampled(potential, "potential")(u) if own is None else np.asarray(values_at(own, u))
    missing = (values - values[0]) - (values_at(integral, u) - values_at(integral, 1.0))
    allowed = max(_MISMATCH, 4 * tolerance) * largest(slope) + _MISMATCH * _MISMATCH * float(np.abs(values).max())
    if not np.abs(missing).max() <= allowed:
        at = int(np.abs(missing).argmax())
        change = values[0] - values[at]
        raise ValueError(
            f"derivative must be that of potential: from u = {u[at]:.6g} to 1 potential changes by {change:.6g}, and "
            f"the integral of derivative is {change + missing[at]:.6g}"
        )
    if own is None:
        own = integral
        own[0] += values[0] - values_at(integral, 1.0)
    return own, slope


def _slope(potential: Any, derivative: Any, own: Floats | None, *, tolerance: float) -> Floats:
    """Return the series of W′, from the derivative if there is one; `own` is that of a polynomial W."""
    if derivative is None and own is not None:
        return _derivative(own)
    if derivative is None:
        return fitted_series(potential, "potential", tolerance=tolerance, is_derived=True)
    exact = exact_series(derivative, "derivative")
    return fitted_series(derivative, "derivative", tolerance=tolerance, is_derived=False) if exact is None else exact


def _derivative(series: Floats) -> Floats:
    return np.asarray(chebyshev.chebder(series), dtype=np.float64)


def _integral(series: Floats) -> Floats:
    return np.asarray(chebyshev.chebint(series), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelPolynomial:
    """A polynomial as the kernel takes it.

    Attributes
    ----------
    coefficients : ndarray of float64 or float32
        Of powers, lowest first, or of Chebyshev polynomials.
    is_series : bool
        Whether they are those of Chebyshev polynomials.
    error : float
        Bound on the error of its values on [−1, 1], rounding and what was left out of the series.
    """

    coefficients: Tokens
    is_series: bool
    error: float

    @classmethod
    def of(cls, series: Floats, *, dtype: Any) -> KernelPolynomial:
        """Return a Chebyshev series as the kernel evaluates it for tokens of a dtype."""
        return _kernel_polynomial(series.tobytes(), np.dtype(dtype))


@lru_cache(maxsize=64)
def _kernel_polynomial(series_bytes: bytes, dtype: np.dtype[Any]) -> KernelPolynomial:
    series = np.frombuffer(series_bytes)
    scale, left_out = largest(series), 0.0
    if dtype == np.float32:
        rest = np.append(np.cumsum(np.abs(series[:0:-1]))[::-1], 0.0)
        n = int(np.flatnonzero(rest <= _FLOAT32_CUT * scale)[0])
        series, left_out = series[: n + 1], float(rest[n])
    with np.errstate(over="ignore", invalid="ignore"):  # huge coefficients of powers are not taken
        powers = chebyshev.cheb2poly(series.astype(np.longdouble)).astype(np.float64)
    k = np.arange(1, len(series) + 1)
    of_powers = float(np.sum((k + 1) * np.abs(powers)))
    of_series = float(np.sum((k * (k + 1) + 1) * np.abs(series)))
    is_series = not of_powers <= max(of_series, _MAX_POWERS_BOUND * scale)
    coefficients = np.asarray(series if is_series else powers).astype(dtype)
    coefficients.flags.writeable = False
    unit = 0.5 * float(np.finfo(dtype).eps)
    error = left_out + unit * (of_series if is_series else of_powers)
    return KernelPolynomial(coefficients=coefficients, is_series=is_series, error=error)
