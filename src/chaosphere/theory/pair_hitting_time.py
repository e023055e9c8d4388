"""The mean time until the cosine of two tokens reaches a value."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.polynomial import legendre

from chaosphere.common import checks
from chaosphere.common.arrays import like
from chaosphere.common.chebyshev import Array
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.pair_diffusion import at_y
from chaosphere.noise.pair_noise import PairNoise
from chaosphere.theory.pair_equation import Pair
from chaosphere.theory.pair_long_time import Y_MAX, doubled, long_time

# Gauss points of a panel [−1, 1], their weights, and the matrix of the integrals up to each of them.
_NODES, _SHARES = np.polynomial.legendre.leggauss(8)
_UP_TO = np.array(
    [legendre.legval(_NODES, legendre.legint(legendre.legfit(_NODES, row, 7), lbnd=-1)) for row in np.eye(8)]
).T


def mean_hitting_time(
    kernel: CovarianceKernel | PairNoise,
    u0: float | Array,
    target: float,
    *,
    beta: float | None = None,
    value_scale: float = 0.0,
) -> float | Array:
    """Return the mean time until the cosine of two tokens first is a given one.

    With the scale function S and the speed density 1/(a S′), from u0 < target it is

        E τ = ∫_{u0}^{target} S′(z) ∫_{−1}^z dw/(a S′) dz,

    and from u0 > target the same with the other end. It is infinite if that end attracts, or has the exponent 0.

    Parameters
    ----------
    kernel : CovarianceKernel or PairNoise
        κ and the dimension d; κ(1) > 0.
    u0 : float or array of float
        Initial cosines in [−1, 1].
    target : float
        The cosine to reach, in (−1, 1).
    beta : float or None
        β ≥ 0 of the attention of two tokens, or None for no attention.
    value_scale : float
        δ of that attention.

    Returns
    -------
    float or float64 array of the shape of `u0`
        The mean time, 0 at the target.

    Raises
    ------
    TypeError, ValueError
        On bad arguments, or if the mean time is not resolved to 1e-5.

    See Also
    --------
    chaosphere.two_point.hitting_probabilities : Probabilities that two tokens meet or become antipodal.
    chaosphere.two_point.long_time : What two tokens do as t → ∞.
    chaosphere.RandomAttention.pair : Two tokens under random attention.

    Examples
    --------
    Two opposite clusters of five and four tokens under random values: the mean time until they are orthogonal.

    >>> import chaosphere as cs
    >>> noise = cs.RandomAttention(beta=1.0).pair(2, weight=5 / 9)
    >>> round(float(cs.two_point.mean_hitting_time(noise, -1.0, 0.0)), 2)
    37.32
    """
    behaviour = long_time(kernel, beta=beta, value_scale=value_scale)
    pair = Pair.of(kernel, beta=beta, value_scale=value_scale)
    u = checks.cosines(u0, "u0")
    target = checks.number(target, "target", above=-1)
    if not target < 1:
        raise ValueError(f"target must be < 1, got {target:g}")
    times = np.zeros_like(u)
    for is_below, exponent in ((True, behaviour.exponent_minus), (False, behaviour.exponent_plus)):
        rows = u < target if is_below else u > target
        if rows.any() and exponent <= 0:  # NaN where the end is left at once
            times[rows] = np.inf
        elif rows.any():
            times[rows] = doubled(partial(_mean_times, pair, u[rows], target=target, is_below=is_below))
            end = -1.0 if is_below else 1.0
            stays = not is_below or kernel.is_odd
            times[(u == end) & stays] = np.inf
    return like(u0, times)


def _mean_times(pair: Pair, u: Array, n: int, *, target: float, is_below: bool) -> Array:
    """Return the mean times from cosines on one side of the target, whose end does not attract.

    w = S′ ∫ 1/(a S′) solves w′ = 1/a − (b/a)w in z = ±artanh u, from −Y at the end towards the target. Each of the n or
    more panels has the exact integrating factor of the polynomial through b/a at Gauss points.
    """
    sign, is_kept = (1.0, pair.noise.is_odd) if is_below else (-1.0, True)

    def coefficients(z: Array) -> tuple[Array, Array]:
        a, b = pair.coefficients(at_y(sign * z))
        return a, sign * b

    with np.errstate(divide="ignore"):
        starts, stop = np.maximum(sign * np.arctanh(u), -Y_MAX), sign * np.arctanh(target)
    edges = np.unique(np.concatenate([np.linspace(-Y_MAX, stop, n + 1), starts]))
    half = 0.5 * np.diff(edges)
    a, b = coefficients(edges[:-1, None] + half[:, None] * (1.0 + _NODES))
    log_factor, of_panel = half[:, None] * (b / a @ _UP_TO.T), half * (b / a @ _SHARES)
    source = half[:, None] * (np.exp(log_factor) / a)
    gain, decay = source @ _SHARES, np.exp(-of_panel)
    # At the end 1/a is a constant where it is kept and e^{2z} elsewhere, and so is w.
    a, b = coefficients(edges[:1])
    w = np.empty(len(edges))
    w[0] = 1.0 / (b[0] if is_kept else b[0] + 2.0 * a[0])
    for k in range(len(half)):
        w[k + 1] = decay[k] * (w[k] + gain[k])
    inside = np.exp(-log_factor) * (w[:-1, None] + source @ _UP_TO.T)
    total = np.concatenate([[0.0], np.cumsum(half * (inside @ _SHARES))])
    return np.asarray(total[-1] - total[np.searchsorted(edges, starts)])
