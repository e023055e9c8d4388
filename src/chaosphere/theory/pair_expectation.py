"""Expectations of two tokens' cosine over time, from the pair equation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike

from chaosphere.common import checks, messages
from chaosphere.common.arrays import like
from chaosphere.common.chebyshev import Array, Function, chebyshev_series
from chaosphere.common.reprs import Brief
from chaosphere.geometry.gegenbauer import cosine_rule
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.pair_noise import PairNoise
from chaosphere.theory.pair_equation import TARGET, TOLERANCE, Pair, generator, interpolation, to_u, to_x

Law = float | str | tuple[ArrayLike, ArrayLike]

_RESOLUTIONS = (32, 64, 128, 256, 512)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PairSolution(Brief):
    """Expectation over time with its error estimate, from `solve`.

    Parameters
    ----------
    values : float or float64 array of the shape of the times
        E f(u_t).
    error_estimate : float
        Largest change at the last doubling of the resolution.
    n_nodes : int
        Collocation points of the finest resolution.

    See Also
    --------
    chaosphere.two_point.solve : Expectation with its error estimate.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="relu").kernel(3)
    >>> times = np.array([0.0, 1.0])
    >>> solution = cs.two_point.solve(kernel, lambda u: u, times, u0=0.3)
    >>> np.round(solution.values, 6), solution.error_estimate < 1e-9, solution.n_nodes
    (array([0.3     , 0.304193]), True, 129)
    """

    values: float | Array
    error_estimate: float
    n_nodes: int


def expectation(
    kernel: CovarianceKernel | PairNoise,
    f: Function,
    t: float | Array,
    *,
    u0: Law,
    beta: float | None = None,
    value_scale: float = 0.0,
) -> float | Array:
    """Return E f(u_t) of the cosine of two tokens from the pair PDE, to 1e-5 of max |f|, mostly 1e-9.

    The expectation f_t(u0) solves ∂f/∂t = L f with the generator L of the cosine (`chaosphere.two_point`;
    arXiv:2604.26898, two-point motion of the limiting SDE). `solve` also returns the error estimate.
    Both tokens move: the cosine of one token with a fixed point has another law.

    Parameters
    ----------
    kernel : CovarianceKernel or PairNoise
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
        E f(u_t).

    Raises
    ------
    ValueError, TypeError
        On bad arguments, or if the error estimate exceeds 1e-5 max |f| (a rough f: use `solve`).

    See Also
    --------
    chaosphere.CovarianceKernel : Covariance of the common noise.
    chaosphere.two_point.solve : Expectation with its error estimate.
    chaosphere.two_point.energy_ratio : Factor by which a pair's energy changes.
    chaosphere.two_point.long_time : What two tokens do as t → ∞.

    Examples
    --------
    The mean squared cosine of two tokens under a linear field, after a unit of time:

    >>> import chaosphere as cs
    >>> kernel = cs.CovarianceKernel.from_activation("linear", dim=3, weight_std=1.0)
    >>> square = cs.two_point.expectation(kernel, lambda u: u**2, 1.0, u0=0.3)
    >>> round(float(square), 4)
    0.6603
    """
    solution = solve(kernel, f, t, u0=u0, beta=beta, value_scale=value_scale)
    scale = float(np.max(np.abs(f(np.linspace(-1.0, 1.0, 101)))))
    return _accept(solution, scale)


def solve(
    kernel: CovarianceKernel | PairNoise,
    f: Function,
    t: float | Array,
    *,
    u0: Law,
    beta: float | None = None,
    value_scale: float = 0.0,
) -> PairSolution:
    """Return E f(u_t) of the cosine of two tokens and its error estimate.

    Parameters
    ----------
    kernel : CovarianceKernel or PairNoise
        κ and the dimension d.
    f : callable
        Elementwise on float64 arrays of cosines.
    t : float or array of float
        Times ≥ 0.
    u0 : float, "uniform" or (nodes, weights)
        Initial law of u, as for `expectation`.
    beta : float or None
        As in `expectation`.
    value_scale : float
        δ of that attention.

    Returns
    -------
    PairSolution
        The expectation, its error estimate and the number of nodes.

    Raises
    ------
    ValueError, TypeError
        On bad arguments, or if the attention is so strong that values overflow. A large error estimate is returned,
        not raised.

    See Also
    --------
    chaosphere.two_point.expectation : Expectation of a function of the cosine.
    chaosphere.two_point.PairSolution : Expectation with its error estimate.
    chaosphere.two_point.energy_ratio : Factor by which a pair's energy changes.

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
    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="relu").kernel(3)
    >>> solution = cs.two_point.solve(kernel, lambda u: u, 1.0, u0="uniform")
    >>> round(float(solution.values), 3), solution.error_estimate < 1e-9
    (0.081, True)
    """
    pair = Pair.of(kernel, beta=beta, value_scale=value_scale)
    nodes, weights = _check_law(u0, kernel.dim)
    return _solve(pair, f, t, nodes=nodes, weights=weights)


def energy_ratio(
    kernel: CovarianceKernel | PairNoise,
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
    kernel : CovarianceKernel or PairNoise
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
        The ratio, 1 at t = 0.

    Raises
    ------
    ValueError, TypeError
        On bad arguments, or if the error estimate exceeds 1e-5 of the larger of 1 and the
        ratio.

    See Also
    --------
    chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.
    chaosphere.CovarianceKernel.energy_decay_rate : Exponential rate at which the mean energy decays.
    chaosphere.measures.energy : Interaction energy of tokens.
    chaosphere.two_point.expectation : Expectation of a function of the cosine.
    chaosphere.two_point.solve : Expectation with its error estimate.

    Examples
    --------
    The noise alone makes the energy of two tokens decay faster than the bound e^{λ̄′t}:

    >>> import math
    >>> import chaosphere as cs
    >>> kernel = cs.MLP(width=1, activation="sigmoid").kernel(5)
    >>> ratio = cs.two_point.energy_ratio(kernel, 1.0, beta=1.0, u0=0.0)
    >>> round(float(ratio), 3), round(math.exp(kernel.dissipation_rate(1.0)), 3)
    (0.555, 0.731)
    """
    if beta is None:
        raise TypeError("beta must be a number >= 0, got None")
    pair = Pair.of(kernel, beta=beta, value_scale=value_scale)
    nodes, weights = _check_law(u0, kernel.dim)
    if nodes.size != 1:
        raise ValueError(f"u0 = {messages.shown(u0)} must be a number in [-1, 1]")
    solution = _solve(pair, np.ones_like, t, nodes=nodes, weights=weights, is_energy=True)
    return _accept(solution, max(1.0, float(np.max(np.abs(solution.values)))))


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused
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
        raise ValueError(f"t = {messages.shown(t)} must be finite and >= 0")
    if not callable(f):
        raise TypeError(f"f must be a function of an array of cosines, got {messages.shown(f)}")
    probe = np.asarray(f(np.linspace(-1.0, 1.0, 101)))
    if probe.shape != (101,) or not np.all(np.isfinite(probe)):
        raise ValueError("f must return finite values of its input's shape on [-1, 1]")
    # Cut the series of f instead of interpolating it: for an f with kinks that gains three digits.
    series = chebyshev_series(lambda x: f(to_u(x, pair.noise.is_odd)), 2**14 - 1)
    at_start = float(weights @ f(nodes))
    stops, where = np.unique(times.ravel(), return_inverse=True)
    previous, error = None, math.inf
    for n in _RESOLUTIONS:
        x, matrix = generator(pair, n, is_energy=is_energy)
        state = chebyshev.chebval(x, series[: n + 1])
        # The initial law as a linear functional of the values at the collocation points.
        law = weights @ interpolation(x, to_x(nodes, pair.noise.is_odd))
        values = np.empty_like(stops)
        now, step, propagator = 0.0, math.nan, np.empty(0)
        for j, stop in enumerate(stops):
            if stop > now:
                # An evenly spaced grid has one step up to rounding.
                if not math.isclose(stop - now, step, rel_tol=1e-12):
                    step = stop - now
                    propagator = scipy.linalg.expm(step * matrix)
                state, now = propagator @ state, stop
            values[j] = law @ state if stop > 0.0 else at_start
        if previous is not None:
            error = float(np.max(np.abs(values - previous), initial=0.0))
            if error <= TARGET * max(float(np.max(np.abs(probe))), np.max(np.abs(values))):
                break
        previous = values
    if not math.isfinite(error):
        raise ValueError(
            f"value_scale = {pair.value_scale:g} is too large for t = {stops[-1]:g}: the equation on {n + 1} points "
            f"gives values that are not finite"
        )
    return PairSolution(values=like(t, values[where].reshape(times.shape)), error_estimate=error, n_nodes=n + 1)


def _accept(solution: PairSolution, scale: float) -> float | Array:
    if not solution.error_estimate <= TOLERANCE * scale:
        raise ValueError(
            f"error estimate {solution.error_estimate:.1e} exceeds {TOLERANCE:.0e} of max |f| "
            f"with {solution.n_nodes} points; use two_point.solve to get the value with its error"
        )
    return solution.values


def _check_law(u0: Law, dim: int) -> tuple[Array, Array]:
    if isinstance(u0, str):
        if u0 != "uniform":
            raise ValueError(f"u0 = {messages.shown(u0)} must be a number, 'uniform' or (nodes, weights)")
        return cosine_rule(*np.polynomial.legendre.leggauss(128 + dim), dim=dim)
    if isinstance(u0, tuple):
        if len(u0) != 2:
            raise ValueError(f"u0 must be (nodes, weights), got {len(u0)} items")
        nodes, weights = checks.cosines(u0[0], "u0 nodes"), checks.array(u0[1], "u0 weights")
        if nodes.ndim != 1 or nodes.shape != weights.shape:
            raise ValueError(f"u0: nodes {nodes.shape} and weights {weights.shape} must be 1-D and equally long")
        if not (np.all(weights >= 0.0) and abs(np.sum(weights) - 1.0) <= 1e-9):
            raise ValueError(f"u0: weights must be >= 0 with sum 1, got sum {np.sum(weights)}")
        return nodes, weights
    try:
        return checks.cosines([checks.number(np.asarray(u0)[()], "u0")], "u0"), np.ones(1)
    except TypeError:
        message = f"u0 must be a number, 'uniform' or a tuple (nodes, weights), got {messages.shown(u0)}"
        raise TypeError(message) from None
