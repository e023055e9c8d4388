"""Optimal transport between clouds in any dimension, for the chordal distance |x − y|."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica
from chaosphere.common.checks import Floats, Tokens
from chaosphere.measures.distances.clouds import (
    LOG2_E,
    Cloud,
    attention_seconds,
    attention_sums,
    cloud,
    clouds,
    over_replicas,
    refuse_long,
)

_MAX_DENSE = 2**31  # bytes that a matrix of costs may take
_ASSIGNMENT = 7e-10  # seconds per N³ of SciPy's assignment between concentrated clouds; ten times less if uniform
_SMALL = 1000  # tokens up to which the assignment is as fast as the network simplex

_Indices = NDArray[np.intp]


@over_replicas
def wasserstein2(x: Tokens, y: Tokens, *, x_weights: Any = None, y_weights: Any = None) -> PerReplica:
    """Return the exact Wasserstein distance W2(μ, ν) for the chordal distance |x − y|; not squared.

    W2² = min Σ_ij π_ij |x_i − y_j|² over π >= 0 with Σ_j π_ij = p_i and Σ_i π_ij = q_j.

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d), or with replicas (R, N, d) and (R, M, d)
        Tokens on the unit sphere; x or y without replicas is compared with every replica of the other.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).

    Returns
    -------
    float, or ndarray of shape (R,) with replicas
        In [0, 2].

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, weights are out of range, or the N x M matrix of
        costs would exceed 2 GiB or the assignment ten minutes; `sliced_wasserstein2` and `coupled_distance` are
        cheaper.
    ImportError
        If POT is needed and not installed.
    RuntimeError
        If the network simplex gives up.

    See Also
    --------
    chaosphere.measures.sliced_wasserstein2 : Mean of W2 over projections onto lines.
    chaosphere.measures.entropic_wasserstein2 : Upper bound of W2 by Sinkhorn's algorithm.
    chaosphere.measures.circular_wasserstein2 : Exact W2 on the circle, for the arc length.
    chaosphere.measures.coupled_distance : Root mean square distance, token by token.

    Notes
    -----
    Equal weights and N = M, or sizes of which one divides the other: an assignment, by SciPy; from 1 000 tokens on by
    POT's network simplex where it is installed, about N^2.2 where the assignment takes N³ on concentrated clouds. Other
    weights and sizes need POT. Memory: 8 N M bytes of costs, and about five times that in all inside POT. Both
    clouds are centred before the plan is sought, which does not change it; the cost of the plan found is then summed
    from the differences x_i − y_j, so that W2(x, x) = 0, and W2² carries an error of about 1e-14. Deterministic.

    References
    ----------
    Crouse, IEEE Trans. Aerosp. Electron. Syst. 52 (2016). Bonneel et al., ACM Trans. Graph. 30 (2011).

    Examples
    --------
    Each token is a quarter turn, a chord of √2, away from the antipode of the other:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> round(cs.measures.wasserstein2(x, -x), 12)
    1.414213562373
    """
    mu, nu = clouds(x, y, x_weights=x_weights, y_weights=y_weights)
    n, m = len(mu.points), len(nu.points)
    n_common = math.lcm(n, m)
    is_assignment = mu.is_uniform and nu.is_uniform and n_common == max(n, m)
    is_simplex = not is_assignment or (n_common > _SMALL and importlib.util.find_spec("ot") is not None)
    if not is_simplex:
        mu, nu = (_repeat(cloud, n_common // len(cloud.points)) for cloud in (mu, nu))
        n = m = n_common
    if 8 * n * m > _MAX_DENSE:
        raise ValueError(
            f"x and y are too large for a matrix of {n} x {m} costs ({8 * n * m / 2**30:.1f} GiB, limit 2); use "
            "sliced_wasserstein2, or coupled_distance where tokens correspond"
        )
    if not is_simplex:
        refuse_long(
            _ASSIGNMENT * n**3,
            f"an assignment of {n} tokens in concentrated clouds",
            instead=f"for a faster method {checks.how_to_install('POT', 'transport')}; or use sliced_wasserstein2, or "
            "coupled_distance where tokens correspond",
        )
    # The centred cost differs by a function of x_i plus one of y_j, so the best plan is the same; distant clouds then
    # do not drown the differences that decide.
    x, y = (cloud.points - cloud.weights @ cloud.points for cloud in (mu, nu))
    cost = scipy.spatial.distance.cdist(x, y, "sqeuclidean")
    if is_simplex:
        rows, columns, masses = _network_simplex(mu, nu, cost)
    else:
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        masses = mu.weights
    return math.sqrt(masses @ ((mu.points[rows] - nu.points[columns]) ** 2).sum(axis=1))


def _repeat(cloud: Cloud, times: int) -> Cloud:
    """Return the same measure with each token `times` times."""
    points = cloud.points.repeat(times, axis=0)
    return Cloud(points, np.full(len(points), 1 / len(points)), True)


def _network_simplex(mu: Cloud, nu: Cloud, cost: Floats) -> tuple[_Indices, _Indices, Floats]:
    """Return the rows, columns and masses of an optimal plan: at most N + M − 1 entries."""
    ot = checks.extra("ot", "transport")
    plan, log = ot.emd(mu.weights, nu.weights, cost, numItermax=2**31 - 1, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"POT's network simplex gave up: {log['warning']}")
    rows, columns = np.nonzero(plan)
    return rows, columns, plan[rows, columns]


@over_replicas
def entropic_wasserstein2(
    x: Tokens,
    y: Tokens,
    *,
    regularization: float,
    tolerance: float = 1e-6,
    max_sweeps: int = 10_000,
    x_weights: Any = None,
    y_weights: Any = None,
    n_threads: int | None = None,
) -> PerReplica:
    """Return the root of the cost of the entropic plan: an upper bound of W2(μ, ν) for |x − y|, with a stated bias.

    S² = Σ_ij π_ij |x_i − y_j|², where π minimises Σ π_ij |x_i − y_j|² + ε KL(π | p ⊗ q) over plans (Cuturi, 2013).

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d), or with replicas (R, N, d) and (R, M, d)
        As in `wasserstein2`.
    regularization : float
        ε, in the unit of squared distance, >= 0.006: below it weights of the kernels could underflow.
    tolerance : float
        Σ_j |Σ_i π_ij − q_j| at which Sinkhorn's sweeps stop, in [1e-13, 1].
    max_sweeps : int
        Sweeps after which it gives up, >= 1.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.

    Returns
    -------
    float, or ndarray of shape (R,) with replicas
        S, in [0, 2].

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, another argument is out of range, or the sweeps
        to expect would take more than ten minutes.
    RuntimeError
        If max_sweeps do not reach the tolerance.

    See Also
    --------
    chaosphere.measures.wasserstein2 : Exact W2 for the chord.

    Notes
    -----
    W2² <= S² <= W2² + ε min(log N, log M) + 16 tolerance, up to rounding of 1e-14. Above: π costs no more than a best
    plan plus ε times that plan's relative entropy, which the entropy of either marginal bounds. Below: what is left of
    the marginals is repaired (Altschuler, Weed and Rigollet, 2017, algorithm 2), so that S² is the cost of a plan; the
    tolerance enters as four times the largest cost, 4. S is not 0 for x = y, and not a distance.

    Sinkhorn's sums are partition sums of attention with β = 2/ε: O(N M d) per sweep without a matrix, memory
    O((N + M) d). About 10/ε sweeps reach a tolerance of 1e-6 between spread-out clouds of 1 000 tokens in
    dim 3; the rate depends on the clouds. Bitwise identical for any number of threads.

    References
    ----------
    Cuturi, Sinkhorn distances, NeurIPS (2013). Altschuler, Weed and Rigollet, NeurIPS (2017), arXiv:1705.09634.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> entropic = cs.measures.entropic_wasserstein2(x, -x, regularization=0.01)
    >>> round(entropic, 6), round(cs.measures.wasserstein2(x, -x), 6)
    (1.414214, 1.414214)
    """
    mu, nu = clouds(x, y, x_weights=x_weights, y_weights=y_weights)
    epsilon = checks.number(regularization, "regularization", low=0.006)
    tolerance = checks.number(tolerance, "tolerance", low=1e-13, high=1)
    max_sweeps = checks.integer(max_sweeps, "max_sweeps", low=1)
    n_threads = checks.threads(n_threads)
    n_sweeps = 10 * max(1, math.ceil(1 / epsilon))
    refuse_long(
        2 * n_sweeps * attention_seconds(mu, nu, n_threads=n_threads),
        f"{n_sweeps} sweeps over N M pairs",
        instead="use sliced_wasserstein2, or subsample",
    )
    (a, p, _), (b, q, _) = mu, nu
    scale = 2 * LOG2_E / epsilon
    # The plan is p_i q_j 2^{u_i + v_j + scale ⟨x_i, y_j⟩}: |x_i|² and |y_j|² are part of u and v.
    v = np.zeros(len(q))
    for _ in range(max_sweeps):
        u = -attention_sums(a, nu, v=v, scale=scale, n_threads=n_threads)[1]
        fitted = -attention_sums(b, mu, v=u, scale=scale, n_threads=n_threads)[1]
        error = float(np.abs(q * (np.exp2(v - fitted) - 1)).sum())
        if error <= tolerance:
            break
        v = fitted
    else:
        raise RuntimeError(
            f"regularization = {epsilon:g} is too small for {max_sweeps} sweeps: marginals are off by {error:.2g}, "
            f"tolerance {tolerance:g}"
        )
    # Take back what exceeds a marginal, and spread what is missing as a product.
    v = np.minimum(v, fitted)
    means, log2_rows = attention_sums(a, nu, v=v, scale=scale, n_threads=n_threads)
    rows = p * np.exp2(np.minimum(u + log2_rows, 0))
    rows_left, columns_left = p - rows, q - q * np.exp2(v - fitted)
    product = float(rows @ (a * means).sum(axis=1))
    if rows_left.sum() > 0:
        product += float((rows_left @ a) @ (columns_left @ b) / rows_left.sum())
    squares = float(p @ (a**2).sum(axis=1) + q @ (b**2).sum(axis=1))
    return math.sqrt(max(squares - 2 * product, 0.0))


@over_replicas
def coupled_distance(x: Tokens, y: Tokens, *, weights: Any = None) -> PerReplica:
    """Return (Σ p_i |x_i − y_i|²)^{1/2}: the cost of the plan that sends x_i to y_i, an upper bound of `wasserstein2`.

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shape (N, d), or with replicas (R, N, d)
        Tokens on the unit sphere; token i of one belongs to token i of the other. x or y without replicas is compared
        with every replica of the other.
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1, of both clouds (default 1/N).

    Returns
    -------
    float, or ndarray of shape (R,) with replicas
        In [0, 2].

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their shapes differ, or weights are out of range.

    See Also
    --------
    chaosphere.coupled_run : Run a network and its limit under one noise.
    chaosphere.measures.wasserstein2 : Exact W2 for the chord.

    Notes
    -----
    O(N d), from differences: relative accuracy of about 1e-15 in double precision whatever the dtype. Deterministic.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> cs.measures.coupled_distance(x, -x), round(cs.measures.wasserstein2(x, -x), 6)
    (2.0, 1.414214)
    """
    if np.shape(x) != np.shape(y):
        raise ValueError(f"x and y must have one shape, token by token, got {np.shape(x)} and {np.shape(y)}")
    mu, nu = (cloud(z, weights, name=name, weights_name="weights") for z, name in ((x, "x"), (y, "y")))
    return math.sqrt(mu.weights @ ((mu.points - nu.points) ** 2).sum(axis=1))
