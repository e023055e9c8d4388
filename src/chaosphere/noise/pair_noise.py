"""Two tokens under a common noise that depends on their cosine: the coefficients of its diffusion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.polynomial import chebyshev

from chaosphere.common import checks, messages
from chaosphere.common.chebyshev import Array, Function, chebyshev_series
from chaosphere.common.reprs import Brief
from chaosphere.noise.pair_diffusion import Point
from chaosphere.noise.rates import bose

_DEGREES = (63, 127, 255, 511, 1023)
_NEGLIGIBLE, _MAX_TAIL = 1e-13, 1e-9  # of the largest value
_MAX_GAP = 1e-7  # of the covariance over the variance, by rounding or a quadrature
_PROBE = np.linspace(-1.0, 1.0, 101)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PairNoise(Brief):
    """A common noise as two tokens see it: their cosine u is a diffusion on [−1, 1].

    Its generator is a ∂²/∂u² + b ∂/∂u. Where both u = 1 and u = −1 are kept (`is_odd`),

        a = (1−u²)² D(u),  b = (1−u²) B(u),

    and where u = 1 alone is kept,

        a = (1−u²)(1−u) D(u),  b = (1−u) B(u),

    with smooth functions D >= 0 and B. In this form nothing cancels near the ends.

    Parameters
    ----------
    diffusion : callable
        D, elementwise on float64 arrays of cosines.
    drift : callable
        B, in the same way.
    dim : int
        d, in [2, 100 000].
    is_odd : bool
        Whether antipodal tokens stay antipodal, as under an odd field.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, D is not positive within (−1, 1), or a function is not finite on [−1, 1].

    See Also
    --------
    chaosphere.RandomAttention.pair : Two tokens under random attention.
    chaosphere.two_point.PairNoise.from_covariance : The same from the covariance of the noise at two tokens.

    Examples
    --------
    Two tokens under random values, in the limit of hard attention, where each token sees itself alone:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> noise = cs.two_point.PairNoise(diffusion=np.ones_like, drift=lambda u: -u, dim=3, is_odd=True)
    >>> cs.two_point.long_time(noise).description
    'u converges to 1 or to -1'
    """

    diffusion: Function
    drift: Function
    dim: int
    is_odd: bool = False

    def __post_init__(self) -> None:
        """Check."""
        checks.integers(self, "dim", low=2, high=100_000)
        checks.flag(self.is_odd, "is_odd")
        object.__setattr__(self, "is_odd", bool(self.is_odd))
        for name in ("diffusion", "drift"):
            values = _evaluated(getattr(self, name), name)
            if name == "diffusion" and not (values.min() >= 0.0 and values[1:-1].min() > 0.0):
                at = _PROBE[1:-1][values[1:-1].argmin()]
                raise ValueError(f"diffusion must be > 0 within (-1, 1), got {values.min():g} near u = {at:g}")

    @classmethod
    def from_covariance(
        cls,
        variance: Function,
        covariance: Function,
        *,
        dim: int,
        is_odd: bool = False,
        drift: Function | None = None,
    ) -> Self:
        """Return the noise G of two tokens X, Y with E G(X)G(X)ᵀ = A(u) I and E G(X)G(Y)ᵀ = C(u) I.

        In dX = P_X dG(X) − ½(d−1) A X dt (Itô) the cosine has a = (1−u²)(A − uC) and b = (d−2+u²)C − (d−1)uA, to
        which an extra drift adds (1−u²) f(u).

        Parameters
        ----------
        variance, covariance : callable
            A and C, smooth, elementwise on float64 arrays of cosines; A(1) = C(1), and A(−1) = −C(−1) if is_odd.
        dim : int
            d, in [2, 100 000].
        is_odd : bool
            Whether antipodal tokens stay antipodal.
        drift : callable, optional
            f, of an interaction: that of the cosine is (1−u²) f(u).

        Returns
        -------
        PairNoise
            With D and B as Chebyshev series.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, A and C do not fit at the ends, or are not resolved to 1e-9 by 1 024 points.

        See Also
        --------
        chaosphere.two_point.PairNoise : A common noise as two tokens see it.

        Examples
        --------
        A noise that does not depend on the tokens has A = κ(1) and C = κ(u):

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> noise = cs.two_point.PairNoise.from_covariance(
        ...     np.ones_like, lambda u: np.exp(u - 1), dim=3
        ... )
        >>> kernel = cs.CovarianceKernel.from_function(lambda u: np.exp(u - 1), dim=3)
        >>> a = cs.two_point.expectation(noise, np.square, 1.0, u0=0.2)
        >>> b = cs.two_point.expectation(kernel, np.square, 1.0, u0=0.2)
        >>> abs(float(a) - float(b)) < 1e-8
        True
        """
        dim = checks.integer(dim, "dim", low=2, high=100_000)
        checks.flag(is_odd, "is_odd")
        a, c = _evaluated(variance, "variance"), _evaluated(covariance, "covariance")
        size = np.abs(a).max()
        if not (np.abs(c) <= a + _MAX_GAP * size).all():
            raise ValueError("covariance must be at most variance in size on [-1, 1]")
        if abs(a[-1] - c[-1]) > _MAX_GAP * size or (is_odd and abs(a[0] + c[0]) > _MAX_GAP * size):
            ends = "1, and its negative at u = -1 for an odd noise" if is_odd else "1"
            raise ValueError(f"covariance must be the variance at u = {ends}")
        if drift is not None:
            _evaluated(drift, "drift")

        def spread(u: Array) -> Array:
            return np.asarray(variance(u) - u * covariance(u))

        def drift_numerator(u: Array) -> Array:
            return np.asarray((dim - 2) * (covariance(u) - u * variance(u)) - u * spread(u))

        diffusion, own = _Quotient.of(spread, is_odd=is_odd), _Quotient.of(drift_numerator, is_odd=is_odd)
        return cls(diffusion=diffusion, drift=_Drift(own, drift, is_odd), dim=dim, is_odd=is_odd)

    def coefficients(self, point: Point) -> tuple[Array, Array]:
        """Return a and b at points.

        Parameters
        ----------
        point : Point
            Points of [−1, 1] by their distances from the ends.

        Returns
        -------
        a : ndarray of float64
            Of the second derivative in u.
        b : ndarray of float64
            Of the first.

        See Also
        --------
        chaosphere.two_point.PairNoise.exponents : What follows near the ends.
        chaosphere.two_point.PairNoise.dissipation_function : What follows for the energy.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> from chaosphere.noise.pair_diffusion import at_y
        >>> noise = cs.RandomAttention(beta=0.0).pair(3)
        >>> a, b = noise.coefficients(at_y(np.array([0.0])))  # at u = 0
        >>> float(a[0]), float(b[0])
        (0.5, 0.5)
        """
        u = 1.0 - point.gap
        factor = point.gap * (point.rest if self.is_odd else 1.0)
        return point.gap * point.rest * factor * self.diffusion(u), factor * self.drift(u)

    def exponents(self) -> tuple[float, float]:
        """Return the exponents of |X − Y| at u = 1, and of |X + Y| at u = −1 (NaN unless the noise is odd).

        Returns
        -------
        plus : float
            Of |X − Y|; negative: u = 1 attracts.
        minus : float
            Of |X + Y|; negative: u = −1 attracts.

        See Also
        --------
        chaosphere.two_point.PairNoise.coefficients : The generator of the cosine.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.RandomAttention(beta=0.0).pair(4).exponents()
        (-1.5, 0.5)
        """
        ends = np.array([1.0, -1.0])
        d, b = self.diffusion(ends), self.drift(ends)
        if not self.is_odd:
            return float(-0.5 * b[0] - d[0]), math.nan
        return float(-b[0] - 2 * d[0]), float(b[1] - 2 * d[1])

    def dissipation_function(self, beta: float, u: Array) -> Array:
        """Return the rate at which the noise dissipates e^β − e^{βu}, as the method of a kernel does.

        Parameters
        ----------
        beta : float
            β of the energy.
        u : ndarray of float64
            Cosines.

        Returns
        -------
        ndarray of float64
            −L g/g for g = e^β − e^{βu}.

        See Also
        --------
        chaosphere.two_point.PairNoise.coefficients : The generator of the cosine.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> cs.RandomAttention(beta=0.0).pair(4).dissipation_function(1.0, np.array([1.0]))
        array([1.])
        """
        gap, rest = 1.0 - u, 1.0 + u
        inner = gap * rest * beta * self.diffusion(u) + self.drift(u)
        return np.asarray((rest if self.is_odd else 1.0) * inner * bose(beta * gap))


@dataclass(frozen=True, slots=True)
class _Quotient:
    """A Chebyshev series, that of a function divided by 1 − u or 1 − u²."""

    coefficients: tuple[float, ...]

    def __call__(self, u: Array) -> Array:
        return np.asarray(chebyshev.chebval(u, self.coefficients))

    @classmethod
    def of(cls, function: Function, *, is_odd: bool) -> Self:
        for degree in _DEGREES:
            series = chebyshev_series(function, degree)
            size = np.abs(series).max()
            tail = np.abs(series[3 * degree // 4 :]).max()
            if tail <= _NEGLIGIBLE * size:
                break
        if not tail <= _MAX_TAIL * size:
            raise ValueError(f"variance and covariance must be smooth: not resolved by {degree + 1} points")
        last = np.flatnonzero(np.abs(series) > _NEGLIGIBLE * size).max(initial=2)
        divisor = [0.5, 0.0, -0.5] if is_odd else [1.0, -1.0]  # 1 − u² and 1 − u
        quotient, _ = chebyshev.chebdiv(series[: last + 1], divisor)
        return cls(tuple(np.atleast_1d(quotient).tolist()))


@dataclass(frozen=True, slots=True)
class _Drift:
    """The drift of the noise, and the extra one."""

    own: _Quotient
    extra: Function | None
    is_odd: bool

    def __call__(self, u: Array) -> Array:
        own = self.own(u)
        return own if self.extra is None else np.asarray(own + (1.0 if self.is_odd else 1.0 + u) * self.extra(u))


def _evaluated(function: Function, name: str) -> Array:
    """Return a function on a grid; TypeError or ValueError where it is none of finite values."""
    if not callable(function):
        raise TypeError(f"{name} must be a function of arrays of cosines, got {messages.shown(function)}")
    values = np.asarray(function(_PROBE))
    if values.shape != _PROBE.shape or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ValueError(f"{name} must return finite numbers, one for each cosine in [-1, 1]")
    return values.astype(np.float64)
