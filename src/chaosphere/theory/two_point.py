"""Two tokens in law: the diffusion of their cosine u = ⟨X, Y⟩ on [−1, 1].

Without attention, and whatever the number of tokens, the cosine of two of them has the generator

    L f = (1−u²)(κ(1) − uκ(u)) f″ + G0(u) f′,   G0(u) = (d−2+u²)κ(u) − (d−1)κ(1)u

(arXiv:2604.26898, two-point motion of the limiting SDE). For exactly two tokens with QᵀK = βI and
V = δI, attention adds the drift 2δ(1−u²) e^{βu}/(e^β + e^{βu}).

All functions here take `beta=None` for no attention; otherwise `beta` ≥ 0 and `value_scale` = δ
describe the attention of a system of two tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike
from scipy import linalg, special

from chaosphere.common import checks
from chaosphere.common.chebyshev import Array, Function, chebyshev_series
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.theory.pair_equation import Pair, at_y, generator, interpolation, to_u, to_x

Law = float | str | tuple[ArrayLike, ArrayLike]

# `expectation` and `energy_ratio` refuse to return a value with a larger error estimate; `solve`
# stops doubling the resolution at the smaller one.
_TOLERANCE = 1e-5
_TARGET = 1e-9
_RESOLUTIONS = (32, 64, 128, 256, 512)

# y = artanh u is cut off here, where 1 − |u| is 5e-16; the tails beyond are exponentials.
_Y_MAX = 18.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSolution:
    """Expectation over time with its error estimate, from `solve`.

    Attributes
    ----------
    values : float or float64 array of the shape of the times
        E f(u_t).
    error_estimate : float
        Largest change at the last doubling of the resolution.
    n_nodes : int
        Collocation points of the finest resolution.
    """

    values: float | Array
    error_estimate: float
    n_nodes: int


class HittingProbabilities(NamedTuple):
    """Probabilities that the two tokens end up together (`plus`) or antipodal (`minus`)."""

    plus: float | Array
    minus: float | Array


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTime:
    """What the cosine of two tokens does as t → ∞, from `long_time`.

    Attributes
    ----------
    exponent_plus : float
        Lyapunov exponent of |X − Y| at u = 1; negative: u = 1 attracts.
    exponent_minus : float
        The same for |X + Y| at u = −1; NaN if the field is not odd (u = −1 is then left at once).
    has_stationary_density : bool
        Whether the speed measure is integrable, so that u has a stationary density on (−1, 1).
    description : str
        The same in words.
    """

    exponent_plus: float
    exponent_minus: float
    has_stationary_density: bool
    description: str


def expectation(
    kernel: CovarianceKernel,
    f: Function,
    t: float | Array,
    *,
    u0: Law,
    beta: float | None = None,
    value_scale: float = 0.0,
) -> float | Array:
    """Return E f(u_t) from the pair PDE, to 1e-5 of max |f|, mostly 1e-9.

    Forwards to `solve`, which also returns the error estimate.

    Parameters
    ----------
    kernel : CovarianceKernel
        κ and the dimension d.
    f : callable
        Elementwise on float64 arrays of cosines.
    t : float or array of float
        Times ≥ 0.
    u0 : float, "uniform" or (nodes, weights)
        Initial law of u: a point of [−1, 1]; two independent uniform points of the sphere (density
        ∝ (1−u²)^{(d−3)/2}); or points of [−1, 1] with weights ≥ 0 of sum 1.
    beta : float or None
        β ≥ 0 of the attention of two tokens, or None for no attention.
    value_scale : float
        δ of that attention.

    Returns
    -------
    float or float64 array of the shape of `t`

    Raises
    ------
    ValueError, TypeError
        On bad arguments, or if the error estimate exceeds 1e-5 max |f| (a rough f: use `solve`).

    Examples
    --------
    One token's cosine with a fixed one is not this law; two tokens under a linear field are:

    >>> from chaosphere.noise.covariance import CovarianceKernel
    >>> k = CovarianceKernel.from_activation("linear", dim=3, weight_std=1.0)
    >>> print(f"{expectation(k, lambda u: u**2, 1.0, u0=0.3):.4f}")
    0.6603
    """
    solution = solve(kernel, f, t, u0=u0, beta=beta, value_scale=value_scale)
    scale = float(np.max(np.abs(f(np.linspace(-1.0, 1.0, 101)))))
    return _accept(solution, scale)


def solve(
    kernel: CovarianceKernel,
    f: Function,
    t: float | Array,
    *,
    u0: Law,
    beta: float | None = None,
    value_scale: float = 0.0,
) -> PairSolution:
    """Return E f(u_t) and its error estimate; parameters as for `expectation`.

    Returns
    -------
    PairSolution

    Notes
    -----
    Chebyshev collocation of ∂f/∂t = L f and a matrix exponential in time. The coordinate is a root
    of arccos u (of the odds of u for odd fields): the kernels of kinked activations are smooth in
    it, and it keeps apart the many orders of magnitude over which 1 − u spreads. The number of
    points is doubled from 32 to at most 512 until no value moves by more than 1e-9 max |f|: often
    10 ms, half a second at 512 points, more if the times are unevenly spaced. The error is about
    1e-6 for an f with kinks and 1e-4 for one with jumps. Not resolved are times so long that
    repelled pairs near u = 1 make f_t steeper than the points, and noise much weaker than the
    attention; the estimate shows it.

    Examples
    --------
    >>> from chaosphere.noise.covariance import CovarianceKernel
    >>> k = CovarianceKernel.from_activation("relu", dim=3)
    >>> solve(k, lambda u: u, 1.0, u0="uniform").error_estimate < 1e-9
    True
    """
    pair = Pair(kernel, *_check_attention(beta, value_scale))
    nodes, weights = _check_law(u0, _check_kernel(kernel).dim)
    return _solve(pair, f, t, nodes=nodes, weights=weights)


def energy_ratio(
    kernel: CovarianceKernel,
    t: float | Array,
    *,
    beta: float,
    u0: float,
    value_scale: float = 0.0,
) -> float | Array:
    """Return E[e^β − e^{βu_t}]/(e^β − e^{βu_0}), the factor by which a pair's energy changes.

    Solves the equation of the ratio itself, h_t = (L h with drift of the transformed process) −
    F h with F the dissipation function, so that nothing cancels: at u0 = 1 the result is the limit
    e^{(λ̄ − 2δ)t}. For the noise alone it is at most e^{λ̄′t}.

    Parameters
    ----------
    kernel : CovarianceKernel
        κ and the dimension d.
    t : float or array of float
        Times ≥ 0.
    beta : float
        β ≥ 0 of the energy, and of the attention if `value_scale` is not 0.
    u0 : float
        Initial cosine in [−1, 1].
    value_scale : float
        δ of the attention of two tokens; 0 for the noise alone.

    Returns
    -------
    float or float64 array of the shape of `t`

    Raises
    ------
    ValueError, TypeError
        On bad arguments, or if the error estimate exceeds 1e-5 of the larger of 1 and the
        ratio.

    Examples
    --------
    >>> from chaosphere.noise.covariance import CovarianceKernel
    >>> k = CovarianceKernel.from_activation("sigmoid", dim=5)
    >>> energy_ratio(k, 1.0, beta=1.0, u0=0.0) < math.exp(k.dissipation_rate(1.0))
    True
    """
    if beta is None:
        raise TypeError("beta must be a number >= 0, got None")
    beta, value_scale = _check_attention(beta, value_scale)
    nodes, weights = _check_law(u0, _check_kernel(kernel).dim)
    if nodes.size != 1:
        raise ValueError(f"u0 = {u0!r} must be a number in [-1, 1]")
    pair = Pair(kernel, beta, value_scale)
    solution = _solve(pair, np.ones_like, t, nodes=nodes, weights=weights, is_energy=True)
    return _accept(solution, max(1.0, float(np.max(np.abs(solution.values)))))


def hitting_probabilities(
    kernel: CovarianceKernel,
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
    kernel : CovarianceKernel
        κ and the dimension d; κ(1) > 0.
    u0 : float or array of float
        Initial cosines in [−1, 1].
    beta, value_scale : float
        Attention of two tokens, as for `expectation`.

    Returns
    -------
    HittingProbabilities
        Named tuple (plus, minus), each like `u0`; they sum to 1 if an end attracts, and are both 0
        if none does (except that u0 = ±1 stays there: with an odd field at either end, else at 1).

    Raises
    ------
    ValueError
        On bad arguments, or if the scale function is not resolved to 1e-5.

    Examples
    --------
    >>> from chaosphere.noise.covariance import CovarianceKernel
    >>> k = CovarianceKernel.from_activation("tanh", dim=4)
    >>> plus, minus = hitting_probabilities(k, 0.0)
    >>> round(plus, 9), round(minus, 9)
    (0.5, 0.5)
    """
    behaviour = long_time(kernel, beta=beta, value_scale=value_scale)
    u = _check_cosines("u0", u0)
    to_plus, to_minus = behaviour.exponent_plus < 0.0, behaviour.exponent_minus < 0.0
    if to_plus and to_minus:
        plus = _doubled(lambda n: _scale_function(_pair(kernel, beta, value_scale), u, n))
    else:
        plus = np.full_like(u, float(to_plus))
    minus = 1.0 - plus if to_plus or to_minus else np.zeros_like(u)
    plus, minus = np.where(u == 1.0, 1.0, plus), np.where(u == 1.0, 0.0, minus)
    if kernel.is_odd:
        plus, minus = np.where(u == -1.0, 0.0, plus), np.where(u == -1.0, 1.0, minus)
    if np.ndim(u0) == 0:
        return HittingProbabilities(float(plus), float(minus))
    return HittingProbabilities(plus, minus)


def long_time(kernel: CovarianceKernel, *, beta: float | None = None, value_scale: float = 0.0) -> LongTime:
    """Return what the cosine of two tokens does as t → ∞.

    The exponent at u = 1 is λ1 − δ; at u = −1 of an odd field it is λ1 + 2δ/(1 + e^{2β}). The end
    attracts iff its exponent is negative; if no end does, the speed measure is integrable.

    Parameters
    ----------
    kernel : CovarianceKernel
        κ and the dimension d; κ(1) > 0.
    beta, value_scale : float
        Attention of two tokens, as for `expectation`.

    Returns
    -------
    LongTime

    Examples
    --------
    >>> from chaosphere.noise.covariance import CovarianceKernel
    >>> k = CovarianceKernel.from_activation("relu", dim=5)
    >>> long_time(k).description
    'u converges to 1'
    >>> long_time(k, beta=1.0, value_scale=-1.0).has_stationary_density
    True
    """
    pair = _pair(kernel, beta, value_scale)
    plus = kernel.lyapunov_exponent() - pair.value_scale
    minus = math.nan
    if kernel.is_odd:
        minus = kernel.lyapunov_exponent() + 2.0 * pair.value_scale * special.expit(-2 * pair.beta)
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
        exponent_minus=float(minus),
        has_stationary_density=plus > 0.0 and not minus <= 0.0,
        description=text,
    )


def stationary_density(
    kernel: CovarianceKernel,
    u: float | Array,
    *,
    beta: float | None = None,
    value_scale: float = 0.0,
) -> float | Array:
    """Return the stationary density of the cosine of two tokens, with respect to du.

    Proportional to the speed measure 1/(a s′), a = (1−u²)(κ(1) − uκ(u)), s the scale function.

    Parameters
    ----------
    kernel : CovarianceKernel
        κ and the dimension d; κ(1) > 0.
    u : float or array of float
        Cosines in the open interval (−1, 1); the density may be infinite at its ends.
    beta, value_scale : float
        Attention of two tokens, as for `expectation`.

    Returns
    -------
    float or float64 array of the shape of `u`

    Raises
    ------
    ValueError
        If there is no stationary density (the message says what happens instead), on bad arguments,
        or if the density is not resolved to 1e-5.

    Examples
    --------
    >>> from chaosphere.noise.covariance import CovarianceKernel
    >>> k = CovarianceKernel.from_activation("relu", dim=5)
    >>> density = stationary_density(k, np.array([0.0, 0.99]), beta=1.0, value_scale=-1.0)
    >>> bool(density[0] > density[1])
    True
    """
    behaviour = long_time(kernel, beta=beta, value_scale=value_scale)
    if not behaviour.has_stationary_density:
        raise ValueError(f"kernel: no stationary density; {behaviour.description}")
    x = _check_cosines("u", u)
    if np.any(np.abs(x) == 1.0):
        raise ValueError("u must be in the open interval (-1, 1)")
    pair = _pair(kernel, beta, value_scale)
    density = _doubled(lambda n: _speed_density(pair, x, n))
    return float(density) if np.ndim(u) == 0 else density


# --- the pair PDE -------------------------------------------------------------------------------


def _pair(kernel: CovarianceKernel, beta: float | None, value_scale: float) -> Pair:
    return Pair(_check_kernel(kernel), *_check_attention(beta, value_scale))


def _check_kernel(kernel: Any) -> CovarianceKernel:
    if not isinstance(kernel, CovarianceKernel):
        raise TypeError(f"kernel must be a CovarianceKernel, got {kernel!r}; a layer has one: MLP(...).kernel(dim)")
    return kernel


def _solve(
    pair: Pair,
    f: Function,
    t: float | Array,
    *,
    nodes: Array,
    weights: Array,
    is_energy: bool = False,
) -> PairSolution:
    times = checks.array(t, "t")
    if times.size == 0:
        raise ValueError("t must hold at least one time, got none")
    if not (np.all(np.isfinite(times)) and np.all(times >= 0.0)):
        raise ValueError(f"t = {t!r} must be finite and >= 0")
    probe = np.asarray(f(np.linspace(-1.0, 1.0, 101)))
    if probe.shape != (101,) or not np.all(np.isfinite(probe)):
        raise ValueError("f must return finite values of its input's shape on [-1, 1]")
    # Cut the series of f instead of interpolating it: for an f with kinks that gains three digits.
    series = chebyshev_series(lambda x: f(to_u(x, pair.kernel.is_odd)), 2**14 - 1)
    at_start = float(weights @ f(nodes))
    stops, where = np.unique(times.ravel(), return_inverse=True)
    previous, error = None, math.inf
    for n in _RESOLUTIONS:
        x, matrix = generator(pair, n, is_energy)
        state = chebyshev.chebval(x, series[: n + 1])
        # The initial law as a linear functional of the values at the collocation points.
        law = weights @ interpolation(x, to_x(nodes, pair.kernel.is_odd))
        values = np.empty_like(stops)
        now, step, propagator = 0.0, math.nan, np.empty(0)
        for j, stop in enumerate(stops):
            if stop > now:
                # An evenly spaced grid has one step up to rounding.
                if not math.isclose(stop - now, step, rel_tol=1e-12):
                    step = stop - now
                    propagator = linalg.expm(step * matrix)
                state, now = propagator @ state, stop
            values[j] = law @ state if stop > 0.0 else at_start
        if previous is not None:
            error = float(np.max(np.abs(values - previous), initial=0.0))
            if error <= _TARGET * max(float(np.max(np.abs(probe))), np.max(np.abs(values))):
                break
        previous = values
    out = values[where].reshape(times.shape)
    return PairSolution(values=float(out) if np.ndim(t) == 0 else out, error_estimate=error, n_nodes=n + 1)


# --- scale function and speed measure -----------------------------------------------------------


def _log_speed(pair: Pair, n: int) -> tuple[Array, float, float]:
    """Return the Chebyshev series on [−Y, Y] of ∫₀^y R = −log S′(y), and R at −Y and Y."""

    def ratio(x: Array) -> Array:
        a, b = pair.coefficients(at_y(_Y_MAX * x))
        return b / a

    c = chebyshev_series(ratio, n)
    left, right = ratio(np.array([-1.0, 1.0]))
    return np.asarray(_Y_MAX * chebyshev.chebint(c, lbnd=0)), float(left), float(right)


def _scale_function(pair: Pair, u: Array, n: int) -> Array:
    log_speed, left, right = _log_speed(pair, n)
    top = np.max(-chebyshev.chebval(np.linspace(-1.0, 1.0, 4 * n), log_speed))

    def slope(x: Array) -> Array:
        return np.asarray(np.exp(-chebyshev.chebval(x, log_speed) - top))

    integral = _Y_MAX * chebyshev.chebint(chebyshev_series(slope, n), lbnd=-1)
    # Beyond ±Y, S′ = e^{−∫R} is an exponential.
    below, above = slope(np.array(-1.0)) / -left, slope(np.array(1.0)) / right
    with np.errstate(divide="ignore"):
        x = np.clip(np.arctanh(u) / _Y_MAX, -1.0, 1.0)
    total = below + chebyshev.chebval(1.0, integral) + above
    return np.asarray((below + chebyshev.chebval(x, integral)) / total)


def _speed_density(pair: Pair, u: Array, n: int) -> Array:
    log_speed, left, right = _log_speed(pair, n)
    top = np.max(chebyshev.chebval(np.linspace(-1.0, 1.0, 4 * n), log_speed))

    def density(x: Array) -> Array:
        # With respect to dy.
        a, _ = pair.coefficients(at_y(_Y_MAX * x))
        return np.asarray(np.exp(chebyshev.chebval(x, log_speed) - top) / a)

    integral = _Y_MAX * chebyshev.chebint(chebyshev_series(density, n), lbnd=-1)
    # Beyond Y, and for odd fields beyond −Y, 1/(a S′) is an exponential; else it is negligible.
    total = chebyshev.chebval(1.0, integral) - density(np.array(1.0)) / right
    if pair.kernel.is_odd:
        total += density(np.array(-1.0)) / left
    y = np.arctanh(u)
    return np.asarray(density(y / _Y_MAX) * np.cosh(y) ** 2 / total)


def _doubled(function: Callable[[int], Array]) -> Array:
    """Return function(n) with n doubled until it moves by less than 1e-9; at least to 1e-5.

    Noise that is next to nothing against the attention overflows: what comes out is not finite, and is refused.
    """
    with np.errstate(all="ignore"):
        previous = function(256)
        for n in (512, 1024, 2048):
            now = function(n)
            error = float(np.max(np.abs(now - previous) / np.maximum(1.0, np.abs(now)), initial=0.0))
            if error <= _TARGET:
                return now
            previous = now
    if not error <= _TOLERANCE:
        raise ValueError(
            f"kernel: not resolved, error estimate {error:.1e} (limit {_TOLERANCE:.0e}); the noise "
            "is too weak against the attention"
        )
    return now


# --- checks -------------------------------------------------------------------------------------


def _accept(solution: PairSolution, scale: float) -> float | Array:
    if not solution.error_estimate <= _TOLERANCE * scale:
        raise ValueError(
            f"error estimate {solution.error_estimate:.1e} exceeds {_TOLERANCE:.0e} of max |f| "
            f"with {solution.n_nodes} points; use two_point.solve to get the value with its error"
        )
    return solution.values


def _check_attention(beta: float | None, value_scale: float) -> tuple[float, float]:
    value_scale = checks.number(value_scale, "value_scale")
    if beta is None:
        if value_scale != 0.0:
            raise ValueError(f"value_scale = {value_scale} needs beta, got beta = None")
        return 0.0, 0.0
    return checks.number(beta, "beta", low=0), value_scale


def _check_cosines(name: str, u: ArrayLike) -> Array:
    x = checks.array(u, name)
    if not np.all(np.abs(x) <= 1.0):
        raise ValueError(f"{name} = {u!r} must be in [-1, 1]")
    return x


def _check_law(u0: Law, dim: int) -> tuple[Array, Array]:
    if isinstance(u0, str):
        if u0 != "uniform":
            raise ValueError(f"u0 = {u0!r} must be a number, 'uniform' or (nodes, weights)")
        x, w = np.polynomial.legendre.leggauss(128 + dim)
        theta = 0.5 * np.pi * (x + 1.0)
        w = w * np.sin(theta) ** (dim - 2)
        return np.cos(theta), w / np.sum(w)
    if isinstance(u0, tuple):
        if len(u0) != 2:
            raise ValueError(f"u0 must be (nodes, weights), got {len(u0)} items")
        nodes, weights = _check_cosines("u0 nodes", u0[0]), checks.array(u0[1], "u0 weights")
        if nodes.ndim != 1 or nodes.shape != weights.shape:
            raise ValueError(f"u0: nodes {nodes.shape} and weights {weights.shape} must be 1-D and equally long")
        if not (np.all(weights >= 0.0) and abs(np.sum(weights) - 1.0) <= 1e-9):
            raise ValueError(f"u0: weights must be >= 0 with sum 1, got sum {np.sum(weights)}")
        return nodes, weights
    if np.ndim(u0) != 0:
        raise TypeError("u0 must be a number, 'uniform' or a tuple (nodes, weights)")
    return _check_cosines("u0", [float(u0)]), np.ones(1)
