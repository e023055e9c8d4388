"""Distances by a kernel, or by spherical harmonics: maximum mean discrepancy, negative Sobolev norms."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica
from chaosphere.common.checks import Floats, Tokens
from chaosphere.geometry import expansions
from chaosphere.geometry.gegenbauer import gegenbauer_in_place
from chaosphere.geometry.harmonics import harmonics_below, log_multiplicities
from chaosphere.measures.distances.clouds import (
    LOG2_E,
    Cloud,
    attention_seconds,
    attention_sums,
    clouds,
    over_replicas,
    refuse_long,
)

_MAX_DEGREES = 2**24
_TILE = 256  # 256 x 256 cosines and two polynomials of them stay in a second-level cache


@over_replicas
def mmd(
    x: Tokens,
    y: Tokens,
    *,
    beta: float,
    x_weights: Any = None,
    y_weights: Any = None,
    n_threads: int | None = None,
) -> PerReplica:
    """Return the maximum mean discrepancy for the kernel k(x, y) = e^{β(⟨x, y⟩ − 1)}, that of attention scaled to 1.

    MMD² = Σ p_i p_j k(x_i, x_j) + Σ q_i q_j k(y_i, y_j) − 2 Σ p_i q_j k(x_i, y_j)      (Gretton et al., 2012)

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d), or with replicas (R, N, d) and (R, M, d)
        Tokens on the unit sphere; x or y without replicas is compared with every replica of the other.
    beta : float
        β of the kernel, in (0, 1e8].
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.

    Returns
    -------
    float, or ndarray of shape (R,) with replicas
        In [0, √2]. At most √β W2, since |k(x, ·) − k(y, ·)|² = 2 − 2 e^{−β|x−y|²/2} <= β |x − y|².

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, another argument is out of range, or the work
        would take more than ten minutes.

    See Also
    --------
    chaosphere.measures.energy : Interaction energy of tokens.
    chaosphere.measures.sliced_wasserstein2 : Mean of W2 over projections onto lines.
    chaosphere.measures.sobolev : Negative Sobolev distance.

    Notes
    -----
    O((N + M) K) where K harmonics make this cheaper than pairs: MMD² = Σ_l e^{−β} λ_l Σ_k |∫ Y_{l,k} d(μ − ν)|² (see
    `chaosphere.geometry.expansions`), cut where the degrees left out carry 1e-28, hence accurate to about 1e-14.
    Else O((N + M)² d) by three passes of attention: MMD² is then a difference of sums of size 1, with an absolute error
    of up to about (1 + β) 2e-15, an MMD below (1 + β)^{1/2} 5e-8 is not told from 0, and a negative difference is such
    rounding and taken as 0. Memory O((N + M) d), double precision whatever the dtype; tokens are projected onto the
    sphere first. MMD(x, x) is 0 exactly. Bitwise identical for any number of threads.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola, J. Mach. Learn. Res. 13 (2012).

    Examples
    --------
    Two Diracs a quarter turn apart have MMD² = 2 − 2 e^{−β}:

    >>> import math
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x, y = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    >>> round(cs.measures.mmd(x, y, beta=2.0) ** 2, 6), round(2 - 2 * math.exp(-2), 6)
    (1.729329, 1.729329)
    """
    mu, nu = (_projected(cloud) for cloud in clouds(x, y, x_weights=x_weights, y_weights=y_weights))
    beta = checks.number(beta, "beta", above=0, high=1e8)
    n_threads = checks.threads(n_threads)
    dim, n, m = x.shape[1], len(mu.points), len(nu.points)
    tails = expansions.tails(beta, dim) if beta <= expansions.MAX_BETA and dim <= expansions.MAX_DIM else np.ones(1)
    n_max = int(np.argmax(tails <= 1e-28))
    if n_max and _moments_are_cheaper((n, m), dim=dim, n_max=n_max, pair=10):
        square = _moment_differences(mu, nu, n_max=n_max, n_threads=n_threads)
        return math.sqrt(float(square @ expansions.multipliers(beta, dim)[: n_max + 1]))
    refuse_long(
        sum(attention_seconds(one, two, n_threads=n_threads) for one, two in ((mu, mu), (nu, nu), (mu, nu))),
        "three passes over all pairs",
        instead="use sliced_wasserstein2, or subsample",
    )

    def mean_kernel(one: Cloud, two: Cloud) -> float:
        scale = beta * LOG2_E
        zero = np.zeros(len(two.weights))
        log2_sums = attention_sums(one.points, two, v=zero, scale=scale, n_threads=n_threads)[1]
        return float(one.weights @ np.exp2(log2_sums - scale))

    mixed = mean_kernel(mu, nu)
    return math.sqrt(max((mean_kernel(mu, mu) - mixed) + (mean_kernel(nu, nu) - mixed), 0.0))


def _moments_are_cheaper(sizes: tuple[int, int], *, dim: int, n_max: int, pair: float) -> bool:
    """Whether K harmonics of each token cost less than all pairs; `pair` is the work of one, in multiply-adds."""
    n, m = sizes
    terms = float(harmonics_below(n_max + 1, dim))
    return terms <= expansions.MAX_HARMONICS and 4 * terms * (n + m) + 1e6 < pair * (n * n + m * m + n * m)


def _moment_differences(mu: Cloud, nu: Cloud, *, n_max: int, n_threads: int) -> Floats:
    """Return Σ_k |∫ Y_{l,k} d(μ − ν)|² for l = 0 … n_max."""
    dim = mu.points.shape[1]
    one, two = (
        expansions.moments(cloud.points[None], cloud.weights, n_max=n_max, n_threads=n_threads)[0] for cloud in (mu, nu)
    )
    return np.asarray(np.bincount(expansions.degrees(n_max, dim), (one - two) ** 2), np.float64)


def _projected(cloud: Cloud) -> Cloud:
    return cloud._replace(points=cloud.points / np.linalg.norm(cloud.points, axis=1, keepdims=True))


@over_replicas
def sobolev(
    x: Tokens, y: Tokens, *, order: float, n_max: int = 64, x_weights: Any = None, y_weights: Any = None
) -> PerReplica:
    """Return the negative Sobolev distance of order s, through the spherical harmonics of degree 1 … n_max.

    D² = Σ_n (n (n + d − 2))^{−s} Σ_j |∫ Y_{n,j} dμ − ∫ Y_{n,j} dν|²,   n = 1 … n_max,

    with Y_{n,j} orthonormal for the uniform probability; n (n + d − 2) are the eigenvalues of −Δ. By the addition
    theorem it is the MMD of the kernel h(u) = Σ_n (n (n + d − 2))^{−s} dim(n, d) P_n(u), where P_n is Gegenbauer's
    polynomial with P_n(1) = 1.

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d), or with replicas (R, N, d) and (R, M, d)
        As in `mmd`.
    order : float
        s > 0: the norm of H^{−s}.
    n_max : int
        Largest degree, >= 1, at most 2^24.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).

    Returns
    -------
    float, or ndarray of shape (R,) with replicas
        D >= 0.

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, another argument is out of range, or the work
        would take more than ten minutes.

    See Also
    --------
    chaosphere.measures.power_spectrum : Power of the tokens by degree.
    chaosphere.measures.mmd : Maximum mean discrepancy for the kernel of attention.

    Notes
    -----
    What is cut off. For s > (d − 1)/2 the series converges for all measures, and the missing part of D² is at most

        8 (1 + (d − 2)/(n_max + 1))^s (n_max + d − 2)^{d−1−2s} / ((d − 2)! (2s − d + 1)),

    because Σ_j |…|² <= 4 dim(n, d) <= 8 (n + d − 2)^{d−2} / (d − 2)!. For smaller s the full distance of a Dirac from
    the uniform law is infinite, and D depends on n_max: a distance at the resolution 1/n_max.

    O((N + M) K) through the K harmonics of degree <= n_max: always for d = 2, K = 2 n_max + 1, otherwise where this is
    cheaper than pairs and K <= 40 000. Else O((N + M)² (d + n_max)) over tiles of pairs, in NumPy on one thread; D² is
    then a difference of sums of size h(1), with an absolute error of about 1e-15 n_max h(1), and a negative difference
    is such rounding, taken as 0. Memory O((N + M) d). D(x, x) is 0 exactly. Double precision whatever the dtype; tokens
    are projected onto the sphere first. Bitwise identical for any number of threads.

    References
    ----------
    Dai and Xu, Approximation theory and harmonic analysis on spheres and balls, Springer (2013), chapter 1.

    Examples
    --------
    Antipodal points of the circle have D → π for s = 1 as n_max → ∞:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0]])
    >>> round(cs.measures.sobolev(x, -x, order=1.0, n_max=10_000), 3)
    3.142
    """
    mu, nu = (_projected(cloud) for cloud in clouds(x, y, x_weights=x_weights, y_weights=y_weights))
    order = checks.number(order, "order", above=0)
    n_max = checks.integer(n_max, "n_max", low=1, high=_MAX_DEGREES)
    dim = x.shape[1]
    degrees = np.arange(1, n_max + 1, dtype=np.float64)
    log_factors = -order * np.log(degrees * (degrees + dim - 2))
    n, m = len(mu.points), len(nu.points)
    pair = dim + 10 * n_max
    if dim == 2 or (dim <= expansions.MAX_DIM and _moments_are_cheaper((n, m), dim=dim, n_max=n_max, pair=pair)):
        squares = _moment_differences(mu, nu, n_max=n_max, n_threads=checks.threads(None))
        return math.sqrt(float(np.exp(log_factors) @ squares[1:]))
    refuse_long(
        (n * n + m * m + n * m) * pair * 0.3e-9,
        f"{n_max} degrees on all pairs",
        instead="lower n_max, subsample, or use mmd or sliced_wasserstein2",
    )
    log_terms = log_factors + log_multiplicities(degrees, dim)
    log_largest = float(log_terms.max())
    if log_largest > 600:
        raise ValueError(f"n_max = {n_max} is too large in dim {dim}: a degree alone would count e^{log_largest:.0f}")
    factors = np.exp(log_terms)
    mixed = _gegenbauer_sums(mu, nu, n_max=n_max) @ factors
    own = [float(_gegenbauer_sums(cloud, cloud, n_max=n_max) @ factors) for cloud in (mu, nu)]
    return math.sqrt(max((own[0] - mixed) + (own[1] - mixed), 0.0))


def _gegenbauer_sums(mu: Cloud, nu: Cloud, *, n_max: int) -> Floats:
    """Return Σ_ij p_i q_j P_n(⟨x_i, y_j⟩) for n = 1 … n_max."""
    sums = np.zeros(n_max)
    for i in range(0, len(mu.points), _TILE):
        for j in range(0, len(nu.points), _TILE):
            p, q = mu.weights[i : i + _TILE], nu.weights[j : j + _TILE]
            cosine = np.clip(mu.points[i : i + _TILE] @ nu.points[j : j + _TILE].T, -1, 1)
            polynomials = gegenbauer_in_place(cosine, mu.points.shape[1])
            for n, values in enumerate(itertools.islice(polynomials, 1, n_max + 1)):
                sums[n] += p @ (values @ q)
    return sums
