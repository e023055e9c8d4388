"""What two tokens do as t → ∞: which ends of [−1, 1] their cosine converges to, and its stationary density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from chaosphere.common import checks
from chaosphere.common.arrays import like
from chaosphere.common.chebyshev import Array, chebyshev_series
from chaosphere.common.reprs import Brief, short
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.pair_diffusion import at_y
from chaosphere.noise.pair_noise import PairNoise
from chaosphere.theory.pair_equation import TARGET, TOLERANCE, Pair

# y = artanh u is cut off here, where 1 − |u| is 5e-16; the tails beyond are exponentials.
Y_MAX = 18.0


class HittingProbabilities(NamedTuple):
    """Probabilities that two tokens end up together or antipodal, from `hitting_probabilities`.

    Parameters
    ----------
    plus : float or float64 array
        Probability that u_t → 1: the tokens meet.
    minus : float or float64 array
        Probability that u_t → −1: they become antipodal.

    See Also
    --------
    chaosphere.two_point.hitting_probabilities : Probabilities that two tokens meet or become antipodal.

    Examples
    --------
    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="tanh").kernel(4)
    >>> plus, minus = cs.two_point.hitting_probabilities(kernel, 0.5)
    >>> round(float(plus + minus), 12)
    1.0
    """

    plus: float | Array
    minus: float | Array

    def __repr__(self) -> str:
        """Return one line, with arrays by their shape."""
        return f"HittingProbabilities(plus={short(self.plus)}, minus={short(self.minus)})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LongTime(Brief):
    """What the cosine of two tokens does as t → ∞, from `long_time`.

    Parameters
    ----------
    exponent_plus : float
        Lyapunov exponent of |X − Y| at u = 1; negative: u = 1 attracts.
    exponent_minus : float
        The same for |X + Y| at u = −1; NaN if the field is not odd (u = −1 is then left at once).
    has_stationary_density : bool
        Whether the speed measure is integrable, so that u has a stationary density on (−1, 1).
    description : str
        The same in words.

    See Also
    --------
    chaosphere.two_point.long_time : What two tokens do as t → ∞.

    Examples
    --------
    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="tanh").kernel(4)
    >>> cs.two_point.long_time(kernel).description
    'u converges to 1 or to -1'
    """

    exponent_plus: float
    exponent_minus: float
    has_stationary_density: bool
    description: str


def hitting_probabilities(
    kernel: CovarianceKernel | PairNoise,
    u0: float | Array,
    *,
    beta: float | None = None,
    value_scale: float = 0.0,
) -> HittingProbabilities:
    """Return the probabilities that u_t → 1 and that u_t → −1 as t → ∞.

    u = −1 can only attract if the field is odd. Where both ends attract, the probabilities are
    those of the scale function; the ends are approached exponentially, never reached in finite
    time.

    Parameters
    ----------
    kernel : CovarianceKernel or PairNoise
        κ and the dimension d; κ(1) > 0.
    u0 : float or array of float
        Initial cosines in [−1, 1].
    beta : float or None
        β ≥ 0 of the attention of two tokens, or None for no attention.
    value_scale : float
        δ of that attention.

    Returns
    -------
    HittingProbabilities
        Named tuple (plus, minus), each like `u0`; they sum to 1 if an end attracts, and are both 0
        if none does (except that u0 = ±1 stays there: with an odd field at either end, else at 1).

    Raises
    ------
    TypeError, ValueError
        On bad arguments, or if the scale function is not resolved to 1e-5.

    See Also
    --------
    chaosphere.two_point.long_time : What two tokens do as t → ∞.
    chaosphere.two_point.mean_hitting_time : Mean time until the cosine of two tokens reaches a value.
    chaosphere.two_point.HittingProbabilities : Probabilities of either end.

    Examples
    --------
    Tanh layers without bias are odd, so that two tokens meet or become antipodal:

    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="tanh").kernel(4)
    >>> plus, minus = cs.two_point.hitting_probabilities(kernel, 0.5)
    >>> round(float(plus), 6), round(float(minus), 6)
    (0.663121, 0.336879)
    """
    behaviour = long_time(kernel, beta=beta, value_scale=value_scale)
    pair = Pair.of(kernel, beta=beta, value_scale=value_scale)
    u = checks.cosines(u0, "u0")
    to_plus, to_minus = behaviour.exponent_plus < 0.0, behaviour.exponent_minus < 0.0
    plus = np.full_like(u, float(to_plus))
    if to_plus and to_minus:
        plus = doubled(lambda n: _scale_function(pair, u, n=n))
    minus = 1.0 - plus if to_plus or to_minus else np.zeros_like(u)
    plus, minus = np.where(u == 1.0, 1.0, plus), np.where(u == 1.0, 0.0, minus)
    if kernel.is_odd:
        plus, minus = np.where(u == -1.0, 0.0, plus), np.where(u == -1.0, 1.0, minus)
    return HittingProbabilities(like(u0, plus), like(u0, minus))


def long_time(kernel: CovarianceKernel | PairNoise, *, beta: float | None = None, value_scale: float = 0.0) -> LongTime:
    """Return what the cosine of two tokens does as t → ∞.

    The exponent at u = 1 is λ1 − δ; at u = −1 of an odd field it is λ1 + 2δ/(1 + e^{2β}). The end
    attracts iff its exponent is negative; if no end does, the speed measure is integrable.

    Parameters
    ----------
    kernel : CovarianceKernel or PairNoise
        κ and the dimension d; κ(1) > 0.
    beta : float or None
        As in `hitting_probabilities`.
    value_scale : float
        δ of that attention.

    Returns
    -------
    LongTime
        Both exponents, whether there is a stationary density, and a description.

    Raises
    ------
    TypeError, ValueError
        On bad arguments.

    See Also
    --------
    chaosphere.CovarianceKernel.lyapunov_exponent : The exponent λ1 of two close tokens.
    chaosphere.two_point.expectation : Expectation of a function of the cosine.
    chaosphere.two_point.LongTime : What happens as t → ∞.
    chaosphere.two_point.hitting_probabilities : Probabilities that two tokens meet or become antipodal.
    chaosphere.two_point.mean_hitting_time : Mean time until the cosine of two tokens reaches a value.
    chaosphere.two_point.stationary_density : Stationary density of the cosine.
    chaosphere.CovarianceKernel.synchronizes : Whether the noise brings all tokens together.

    Examples
    --------
    Noise of relu layers brings two tokens together; a repulsion of strength 1 beats it:

    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="relu").kernel(5)
    >>> cs.two_point.long_time(kernel).description
    'u converges to 1'
    >>> cs.two_point.long_time(kernel, beta=1.0, value_scale=-1.0).description
    'u converges in law to its stationary density'
    """
    pair = Pair.of(kernel, beta=beta, value_scale=value_scale)
    plus, minus = pair.exponents()
    if plus < 0.0 and minus < 0.0:
        text = "u converges to 1 or to -1"
    elif plus < 0.0:
        text = "u converges to 1"
    elif minus < 0.0:
        text = "u converges to -1"
    elif plus == 0.0 or minus == 0.0:
        text = "marginal: an end of exponent 0 neither attracts nor lets the law settle"
    else:
        text = "u converges in law to its stationary density"
    return LongTime(
        exponent_plus=plus,
        exponent_minus=minus,
        has_stationary_density=plus > 0.0 and not minus <= 0.0,
        description=text,
    )


def stationary_density(
    kernel: CovarianceKernel | PairNoise,
    u: float | Array,
    *,
    beta: float | None = None,
    value_scale: float = 0.0,
) -> float | Array:
    """Return the stationary density of the cosine of two tokens, with respect to du.

    Proportional to the speed measure 1/(a s′), a = (1−u²)[κ(1) − uκ(u) + (1−u²)η(u)], s the scale
    function.

    Parameters
    ----------
    kernel : CovarianceKernel or PairNoise
        κ and the dimension d; κ(1) > 0.
    u : float or array of float
        Cosines in the open interval (−1, 1); the density may be infinite at its ends.
    beta : float or None
        As in `hitting_probabilities`.
    value_scale : float
        δ of that attention.

    Returns
    -------
    float or float64 array of the shape of `u`
        Density, of integral 1 over (−1, 1).

    Raises
    ------
    TypeError, ValueError
        If there is no stationary density (the message says what happens instead), on bad arguments,
        or if the density is not resolved to 1e-5.

    See Also
    --------
    chaosphere.two_point.long_time : What two tokens do as t → ∞.
    chaosphere.CovarianceKernel.correlation_dimension : Correlation dimension of the attractor.

    Examples
    --------
    Two tokens that repel each other under the noise of relu layers are seldom close:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="relu").kernel(5)
    >>> u = np.array([-0.9, 0.0, 0.9])
    >>> density = cs.two_point.stationary_density(kernel, u, beta=1.0, value_scale=-1.0)
    >>> np.round(density, 3)
    array([0.995, 0.266, 0.   ])
    """
    behaviour = long_time(kernel, beta=beta, value_scale=value_scale)
    if not behaviour.has_stationary_density:
        raise ValueError(f"kernel: no stationary density; {behaviour.description}")
    x = checks.cosines(u, "u")
    if np.any(np.abs(x) == 1.0):
        raise ValueError("u must be in the open interval (-1, 1)")
    pair = Pair.of(kernel, beta=beta, value_scale=value_scale)
    return like(u, doubled(lambda n: _speed_density(pair, x, n=n)))


# --- scale function and speed measure -----------------------------------------------------------


def _log_speed(pair: Pair, n: int) -> tuple[Array, float, float]:
    """Return the Chebyshev series on [−Y, Y] of ∫₀^y R = −log S′(y), and R at −Y and Y."""

    def ratio(x: Array) -> Array:
        a, b = pair.coefficients(at_y(Y_MAX * x))
        return b / a

    c = chebyshev_series(ratio, n)
    left, right = ratio(np.array([-1.0, 1.0]))
    return np.asarray(Y_MAX * chebyshev.chebint(c, lbnd=0)), float(left), float(right)


def _scale_function(pair: Pair, u: Array, *, n: int) -> Array:
    log_speed, left, right = _log_speed(pair, n)
    top = np.max(-chebyshev.chebval(np.linspace(-1.0, 1.0, 4 * n), log_speed))

    def slope(x: Array) -> Array:
        return np.asarray(np.exp(-chebyshev.chebval(x, log_speed) - top))

    integral = Y_MAX * chebyshev.chebint(chebyshev_series(slope, n), lbnd=-1)
    # Beyond ±Y, S′ = e^{−∫R} is an exponential.
    below, above = slope(np.array(-1.0)) / -left, slope(np.array(1.0)) / right
    with np.errstate(divide="ignore"):
        x = np.clip(np.arctanh(u) / Y_MAX, -1.0, 1.0)
    total = below + chebyshev.chebval(1.0, integral) + above
    return np.asarray((below + chebyshev.chebval(x, integral)) / total)


def _speed_density(pair: Pair, u: Array, *, n: int) -> Array:
    log_speed, left, right = _log_speed(pair, n)
    top = np.max(chebyshev.chebval(np.linspace(-1.0, 1.0, 4 * n), log_speed))

    def density(x: Array) -> Array:
        # With respect to dy.
        a, _ = pair.coefficients(at_y(Y_MAX * x))
        return np.asarray(np.exp(chebyshev.chebval(x, log_speed) - top) / a)

    integral = Y_MAX * chebyshev.chebint(chebyshev_series(density, n), lbnd=-1)
    # Beyond Y, and for odd fields beyond −Y, 1/(a S′) is an exponential; else it is negligible.
    total = chebyshev.chebval(1.0, integral) - density(np.array(1.0)) / right
    if pair.noise.is_odd:
        total += density(np.array(-1.0)) / left
    y = np.arctanh(u)
    return np.asarray(density(y / Y_MAX) * np.cosh(y) ** 2 / total)


def doubled(function: Callable[[int], Array]) -> Array:
    """Return function(n) with n doubled until it moves by less than 1e-9; at least to 1e-5.

    Noise that is next to nothing against the attention overflows: what comes out is not finite, and is refused.
    """
    with np.errstate(all="ignore"):
        previous = function(256)
        for n in (512, 1024, 2048):
            now = function(n)
            error = float(np.max(np.abs(now - previous) / np.maximum(1.0, np.abs(now)), initial=0.0))
            if error <= TARGET:
                return now
            previous = now
    if not error <= TOLERANCE:
        raise ValueError(
            f"kernel: not resolved, error estimate {error:.1e} (limit {TOLERANCE:.0e}); the noise "
            "is too weak against the attention"
        )
    return now
