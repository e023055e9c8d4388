"""Distances between two empirical measures on the sphere, μ = Σ p_i δ_{x_i} and ν = Σ q_j δ_{y_j}."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import gammaln

from chaosphere import checks, expansions
from chaosphere.checks import Floats, Tokens
from chaosphere.harmonics import harmonics_below
from chaosphere.kernels.rows import attend_rows
from chaosphere.seeds import Noise, Seed, Stream

_LOG2_E = math.log2(math.e)
_LARGEST_DENSE = 2**31  # bytes that a matrix of costs may take
_LONGEST = 600.0  # seconds that a call may take by its estimate
_ASSIGNMENT = 7e-10  # seconds per N³ of SciPy's assignment between concentrated clouds; ten times less if uniform
_SMALL = 1000  # tokens up to which the assignment is as fast as the network simplex
_MOST_DEGREES = 2**24
_TILE = 256  # 256 x 256 cosines and two polynomials of them stay in a second-level cache

_Indices = NDArray[np.intp]


class _Cloud(NamedTuple):
    points: Floats  # (N, d), C-contiguous
    weights: Floats  # (N,), positive, sum 1
    is_uniform: bool


def _cloud(x: Any, weights: Any, name: str, weights_name: str) -> _Cloud:
    """Check one cloud; tokens of weight 0 are left out."""
    batch = checks.tokens(x, name)
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape (n_tokens, dim), one cloud at a time, got {x.shape}")
    points = np.ascontiguousarray(batch[0], dtype=np.float64)
    p = checks.weights(weights, len(points), weights_name)
    if p is None:
        return _Cloud(points, np.full(len(points), 1 / len(points)), True)
    keep = p > 0
    points, p = points[keep], p[keep]
    return _Cloud(points, p / p.sum(), bool((p == p[0]).all()))


def _clouds(x: Any, y: Any, x_weights: Any, y_weights: Any) -> tuple[_Cloud, _Cloud]:
    clouds = _cloud(x, x_weights, "x", "x_weights"), _cloud(y, y_weights, "y", "y_weights")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x and y must have one dim, got shapes {x.shape} and {y.shape}")
    return clouds


def _refuse_long(seconds: float, what: str, instead: str) -> None:
    if seconds > _LONGEST:
        raise ValueError(f"x and y are too large: {what} would take about {seconds / 60:.0f} minutes; {instead}")


def wasserstein2(x: Tokens, y: Tokens, *, x_weights: Any = None, y_weights: Any = None) -> float:
    """Return the exact Wasserstein distance W2(μ, ν) for the chordal distance |x − y|; not squared.

    W2² = min Σ_ij π_ij |x_i − y_j|² over π >= 0 with Σ_j π_ij = p_i and Σ_i π_ij = q_j.

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d)
        Tokens on the unit sphere.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).

    Returns
    -------
    float
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
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> wasserstein2(x, -x)         # each token to the other's antipode is a quarter turn away
    1.4142135623730951
    """
    mu, nu = _clouds(x, y, x_weights, y_weights)
    n, m = len(mu.points), len(nu.points)
    n_common = math.lcm(n, m)
    is_assignment = mu.is_uniform and nu.is_uniform and n_common == max(n, m)
    is_simplex = not is_assignment or (n_common > _SMALL and importlib.util.find_spec("ot") is not None)
    if not is_simplex:
        mu, nu = (_repeat(cloud, n_common // len(cloud.points)) for cloud in (mu, nu))
        n = m = n_common
    if 8 * n * m > _LARGEST_DENSE:
        raise ValueError(
            f"x and y are too large for a matrix of {n} x {m} costs ({8 * n * m / 2**30:.1f} GiB, limit 2); use "
            "sliced_wasserstein2, or coupled_distance where tokens correspond"
        )
    if not is_simplex:
        _refuse_long(
            _ASSIGNMENT * n**3,
            f"an assignment of {n} tokens in concentrated clouds",
            f"for a faster method {checks.how_to_install('POT', 'transport')}; or use sliced_wasserstein2, or "
            "coupled_distance where tokens correspond",
        )
    # The centred cost differs by a function of x_i plus one of y_j, so the best plan is the same; distant clouds then
    # do not drown the differences that decide.
    cost = cdist(mu.points - mu.weights @ mu.points, nu.points - nu.weights @ nu.points, "sqeuclidean")
    if is_simplex:
        rows, columns, masses = _network_simplex(mu, nu, cost)
    else:
        rows, columns = linear_sum_assignment(cost)
        masses = mu.weights
    return math.sqrt(masses @ ((mu.points[rows] - nu.points[columns]) ** 2).sum(axis=1))


def _repeat(cloud: _Cloud, times: int) -> _Cloud:
    """Return the same measure with each token `times` times."""
    points = cloud.points.repeat(times, axis=0)
    return _Cloud(points, np.full(len(points), 1 / len(points)), True)


def _network_simplex(mu: _Cloud, nu: _Cloud, cost: Floats) -> tuple[_Indices, _Indices, Floats]:
    """Return the rows, columns and masses of an optimal plan: at most N + M − 1 entries."""
    ot = checks.extra("ot", "transport")
    plan, log = ot.emd(mu.weights, nu.weights, cost, numItermax=2**31 - 1, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"POT's network simplex gave up: {log['warning']}")
    rows, columns = np.nonzero(plan)
    return rows, columns, plan[rows, columns]


def circular_wasserstein2(x: Tokens, y: Tokens, *, x_weights: Any = None, y_weights: Any = None) -> float:
    """Return the exact Wasserstein distance W2(μ, ν) on the circle for the arc length; not squared.

    W2² = min_α ∫_0^1 (F(t) − G(t − α))² dt, with F and G the quantile functions of the angles, continued by
    F(t + 1) = F(t) + 2π; convex in α (Delon, Salomon and Sobolevskii, 2010).

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, 2) and (M, 2)
        Tokens on the unit circle.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).

    Returns
    -------
    float
        In [0, π].

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit circle, or weights are out of range.

    Notes
    -----
    This is not `wasserstein2`: as 2/π · arc <= chord <= arc, W2 for the chord lies between 2/π and 1 times this
    number. The chord has no such formula, because its square 2 − 2 cos θ is not convex beyond a quarter turn.

    O((N + M) log(N + M)) time, O(N + M) memory. For equal weights the shift α is found exactly, in integers, and W2 to
    1e-14; otherwise by 60 halvings, with an error of W2² of about 1e-14 from the rounding of sums of weights.
    Deterministic.

    References
    ----------
    Delon, Salomon and Sobolevskii, SIAM J. Appl. Math. 70 (2010), arXiv:0906.5499.

    Examples
    --------
    >>> angle = np.array([0.0, 2.0, 4.0])
    >>> x, y = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in (angle, angle + 0.5))
    >>> round(circular_wasserstein2(x, y), 12)
    0.5
    """
    mu, nu = _clouds(x, y, x_weights, y_weights)
    if x.shape[1] != 2:
        raise ValueError(f"x must have dim 2, on the circle, got shape {x.shape}; wasserstein2 takes any dim")
    p, q = _masses(mu, nu)
    f, f_ends = _quantiles(np.arctan2(mu.points[:, 1], mu.points[:, 0]), p)
    g, g_ends = _quantiles(np.arctan2(nu.points[:, 1], nu.points[:, 0]), q)
    total = f_ends[-1]
    steps = np.diff(g, append=g[0] + 2 * math.pi)
    middles = g + 0.5 * steps

    def slope(shift: Any) -> float:
        """Return half the right derivative of the cost: past a jump of G, the old value replaces the new one."""
        return sum(
            float((steps[part] * (_continued(f, f_ends, g_ends[part] + shift) - middles[part])).sum())
            for part in _parts(len(g))
        )

    def squared(shift: Any) -> float:
        cuts = np.concatenate([f_ends, (g_ends + shift) % total, [0 * total]])
        cuts.sort()
        cost = 0.0
        for part in _parts(len(cuts) - 1):
            lengths, at = _pieces(cuts[part.start : part.stop + 1])
            difference = _continued(f, f_ends, at) - _continued(g, g_ends, at - shift)
            cost += float((lengths * difference**2).sum())
        return cost / float(total)

    low, high = -2 * total, 2 * total  # where all of F lies below, above all of G
    if f_ends.dtype == np.int64:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if slope(middle) >= 0 else (middle, high)
    else:
        functions = [slope]  # SciPy's wrapper refers to itself, and with it these arrays would wait for the collector
        high = brentq(lambda shift: functions[0](shift), low, high, xtol=1e-15, rtol=1e-15)
        functions.clear()
    return math.sqrt(min(squared(high), squared(0 * total)))  # no shift: exactly 0 for equal clouds


def _masses(mu: _Cloud, nu: _Cloud) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the weights; if all are equal, as integers of one sum, so that sums of them are exact."""
    n, m = len(mu.points), len(nu.points)
    if mu.is_uniform and nu.is_uniform:
        common = math.lcm(n, m)
        return np.full(n, common // n, dtype=np.int64), np.full(m, common // m, dtype=np.int64)
    return mu.weights, nu.weights


def _quantiles(values: Floats, masses: NDArray[Any]) -> tuple[Floats, NDArray[Any]]:
    """Return sorted values and the ends of the intervals on which the quantile function takes them."""
    order = np.argsort(values, kind="stable")
    ends = np.cumsum(masses[order])
    if ends.dtype != np.int64:
        ends /= ends[-1]
    return values[order], ends


def _at(values: Floats, ends: NDArray[Any], t: NDArray[Any]) -> Floats:
    """Return the quantile function at t in [0, its end]; at the end, or past it by rounding, its last value."""
    return values[np.minimum(np.searchsorted(ends, t, side="right"), len(values) - 1)]


def _parts(n: int) -> Iterator[slice]:
    """Return slices of n numbers, each short enough for arrays of its length to stay in a cache."""
    return (slice(first, min(first + 2**15, n)) for first in range(0, n, 2**15))


def _pieces(cuts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return lengths of the intervals between sorted cuts, and a point of each.

    Integers: the left end, as functions are continuous from the right. Otherwise the middle, because a rounded end may
    lie on either side of a jump.
    """
    lengths = np.diff(cuts)
    keep = lengths > 0
    lengths, left = lengths[keep], cuts[:-1][keep]
    return lengths, left if cuts.dtype == np.int64 else left + 0.5 * lengths


def _continued(values: Floats, ends: NDArray[Any], t: NDArray[Any]) -> Floats:
    """Return the quantile function at t, continued over whole turns."""
    if ends.dtype == np.int64:  # all masses are equal: no search
        place = t // ends[0]
        turns = place // len(values)
        return np.asarray(values[place - turns * len(values)] + 2 * math.pi * turns)
    turns = np.floor_divide(t, ends[-1])
    return np.asarray(_at(values, ends, t - turns * ends[-1]) + 2 * math.pi * turns)


def sliced_wasserstein2(
    x: Tokens, y: Tokens, *, n_projections: int | None = None, rng: Seed, x_weights: Any = None, y_weights: Any = None
) -> float:
    """Return the sliced Wasserstein distance SW2(μ, ν), not squared and not scaled by the dim.

    SW2² = E W2²(law of ⟨θ, x⟩, law of ⟨θ, y⟩) over directions θ uniform on the sphere, by a mean over `n_projections`.

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d)
        Tokens on the unit sphere.
    n_projections : int, optional
        Number of directions, >= 1; default: the least multiple of d from 100 on.
    rng : int, SeedSequence or Generator
        Directions come in random orthonormal frames of d from the stream `SUBSAMPLE`, frame k = 1, 2, … from its step
        k (experiments draw from step 0); the first directions do not depend on their number.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, or another argument is out of range.

    Notes
    -----
    SW2 <= W2 / √d, since ⟨θ, v⟩² is |v|²/d in the mean. If d divides n_projections this holds for every seed, not only
    in the mean, because squares over a frame sum to |v|². Two Diracs give equality.

    O(n_projections (N + M) (d + log(N + M))) time, O(N + M) memory beside copies of x and y. The error of SW2² from
    the choice of directions falls like n_projections^{-1/2}. Same bits for the same seed.

    References
    ----------
    Rabin, Peyré, Delon and Bernot, Wasserstein barycenter and its application to texture mixing (2012).

    Examples
    --------
    >>> x, y = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    >>> round(sliced_wasserstein2(x, y, rng=0) ** 2, 12)           # |x − y|² / d
    0.666666666667
    """
    mu, nu = _clouds(x, y, x_weights, y_weights)
    dim = x.shape[1]
    if n_projections is None:
        n_projections = dim * math.ceil(100 / dim)
    n_projections = checks.integer(n_projections, "n_projections", low=1)
    noise = Noise(rng)
    p, q = _masses(mu, nu)
    n_all = len(p) + len(q)
    _refuse_long(
        1e-9 * n_projections * n_all * (dim + 4 * math.log2(n_all)),
        f"{n_projections} projections of {n_all} tokens",
        "lower n_projections",
    )
    total = 0.0
    for start in range(0, n_projections, dim):
        generator = noise.at(Stream.SUBSAMPLE, 1 + start // dim)[0]
        # The orthogonal factor of a Gaussian matrix; each of its columns is uniform whatever the signs.
        frame = np.linalg.qr(generator.standard_normal((dim, dim)))[0]
        for direction in frame.T[: n_projections - start]:
            total += _line_squared(mu.points @ direction, nu.points @ direction, p, q)
    return math.sqrt(total / n_projections)


def _line_squared(x: Floats, y: Floats, p: NDArray[Any], q: NDArray[Any]) -> float:
    """Return W2² on the line."""
    if p.dtype == np.int64 and len(p) == len(q):
        return float(((np.sort(x) - np.sort(y)) ** 2).mean())
    f, f_ends = _quantiles(x, p)
    g, g_ends = _quantiles(y, q)
    lengths, at = _pieces(np.sort(np.concatenate([f_ends, g_ends, [0 * f_ends[-1]]])))
    return float((lengths * (_at(f, f_ends, at) - _at(g, g_ends, at)) ** 2).sum() / f_ends[-1])


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
) -> float:
    """Return the root of the cost of the entropic plan: an upper bound of W2(μ, ν) for |x − y|, with a stated bias.

    S² = Σ_ij π_ij |x_i − y_j|², where π minimises Σ π_ij |x_i − y_j|² + ε KL(π | p ⊗ q) over plans (Cuturi, 2013).

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d)
        Tokens on the unit sphere.
    regularization : float
        ε, in the unit of squared distance, >= 0.006: below it weights of the kernels could underflow.
    tolerance : float
        Σ_j |Σ_i π_ij − q_j| at which Sinkhorn's sweeps stop, in [1e-13, 1].
    max_sweeps : int
        >= 1.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).
    n_threads : int, optional

    Returns
    -------
    float
        S.

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, another argument is out of range, or the sweeps
        to expect would take more than ten minutes.
    RuntimeError
        If max_sweeps do not reach the tolerance.

    Notes
    -----
    W2² <= S² <= W2² + ε min(log N, log M) + 16 tolerance, up to rounding of 1e-14. Above: π costs no more than a best
    plan plus ε times that plan's relative entropy, which the entropy of either marginal bounds. Below: what is left of
    the marginals is repaired (Altschuler, Weed and Rigollet, 2017, algorithm 2), so that S² is the cost of a plan; the
    tolerance enters as four times the largest cost, 4. S is not 0 for x = y, and not a distance.

    Sinkhorn's sums are partition sums of attention with β = 2/ε: O(N M d) per sweep without a matrix, memory
    O((N + M) d). About 10/ε sweeps reach a tolerance of 1e-6 between spread-out clouds of 1 000 tokens in
    dim 3; the rate depends on the clouds. Same bits for any number of threads.

    References
    ----------
    Cuturi, Sinkhorn distances, NeurIPS (2013). Altschuler, Weed and Rigollet, NeurIPS (2017), arXiv:1705.09634.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> round(entropic_wasserstein2(x, -x, regularization=0.01), 6), round(wasserstein2(x, -x), 6)
    (1.414214, 1.414214)
    """
    mu, nu = _clouds(x, y, x_weights, y_weights)
    epsilon = checks.number(regularization, "regularization", low=0.006)
    tolerance = checks.number(tolerance, "tolerance", low=1e-13, high=1)
    max_sweeps = checks.integer(max_sweeps, "max_sweeps", low=1)
    n_threads = checks.threads(n_threads)
    n_sweeps = 10 * max(1, math.ceil(1 / epsilon))
    _refuse_long(
        2 * n_sweeps * _kernel_seconds(mu, nu, n_threads),
        f"{n_sweeps} sweeps over N M pairs",
        "use sliced_wasserstein2, or subsample",
    )
    (a, p, _), (b, q, _) = mu, nu
    scale = 2 * _LOG2_E / epsilon
    # The plan is p_i q_j 2^{u_i + v_j + scale ⟨x_i, y_j⟩}: |x_i|² and |y_j|² are part of u and v.
    v = np.zeros(len(q))
    for _ in range(max_sweeps):
        u = -_sums(a, b, q, v, scale, n_threads)[1]
        fitted = -_sums(b, a, p, u, scale, n_threads)[1]
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
    means, log2_rows = _sums(a, b, q, v, scale, n_threads)
    rows = p * np.exp2(np.minimum(u + log2_rows, 0))
    rows_left, columns_left = p - rows, q - q * np.exp2(v - fitted)
    product = float(rows @ (a * means).sum(axis=1))
    if rows_left.sum() > 0:
        product += float((rows_left @ a) @ (columns_left @ b) / rows_left.sum())
    squares = float(p @ (a**2).sum(axis=1) + q @ (b**2).sum(axis=1))
    return math.sqrt(max(squares - 2 * product, 0.0))


def _sums(
    x: Floats, y: Floats, q: Floats, v: Floats, scale: float, n_threads: int
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the means of y_j under weights q_j 2^{v_j + scale ⟨x_i, y_j⟩}, and log2 of their sums."""
    top = v.max()
    means, log2_sums = attend_rows(x[None], y[None], None, None, q * np.exp2(v - top), scale, n_threads)
    return means[0], log2_sums[0] + top


def _kernel_seconds(mu: _Cloud, nu: _Cloud, n_threads: int) -> float:
    """Return a rough time of one attention pass over N M pairs."""
    dim: int = mu.points.shape[1]
    return len(mu.points) * len(nu.points) * (1 + 0.06 * dim) * 1e-9 / n_threads


def coupled_distance(x: Tokens, y: Tokens, *, weights: Any = None) -> float:
    """Return (Σ p_i |x_i − y_i|²)^{1/2}: the cost of the plan that sends x_i to y_i, an upper bound of `wasserstein2`.

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shape (N, d)
        Tokens on the unit sphere; token i of one belongs to token i of the other.
    weights : array_like, shape (N,), optional
        p_i >= 0 with sum 1, of both clouds (default 1/N).

    Returns
    -------
    float
        In [0, 2].

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their shapes differ, or weights are out of range.

    Notes
    -----
    O(N d), from differences: relative accuracy of about 1e-15 in double precision whatever the dtype. Deterministic.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> coupled_distance(x, -x), wasserstein2(x, -x)
    (2.0, 1.4142135623730951)
    """
    if np.shape(x) != np.shape(y):
        raise ValueError(f"x and y must have one shape, token by token, got {np.shape(x)} and {np.shape(y)}")
    mu, nu = _cloud(x, weights, "x", "weights"), _cloud(y, weights, "y", "weights")
    return math.sqrt(mu.weights @ ((mu.points - nu.points) ** 2).sum(axis=1))


def mmd(
    x: Tokens,
    y: Tokens,
    *,
    beta: float,
    x_weights: Any = None,
    y_weights: Any = None,
    n_threads: int | None = None,
) -> float:
    """Return the maximum mean discrepancy for the kernel k(x, y) = e^{β(⟨x, y⟩ − 1)}, that of attention scaled to 1.

    MMD² = Σ p_i p_j k(x_i, x_j) + Σ q_i q_j k(y_i, y_j) − 2 Σ p_i q_j k(x_i, y_j)      (Gretton et al., 2012)

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d)
        Tokens on the unit sphere.
    beta : float
        In (0, 1e8].
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).
    n_threads : int, optional

    Returns
    -------
    float
        In [0, √2]. At most √β W2, since |k(x, ·) − k(y, ·)|² = 2 − 2 e^{−β|x−y|²/2} <= β |x − y|².

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, another argument is out of range, or the work
        would take more than ten minutes.

    Notes
    -----
    O((N + M) K) where K harmonics make this cheaper than pairs: MMD² = Σ_l e^{−β} λ_l Σ_k |∫ Y_{l,k} d(μ − ν)|² (see
    `chaosphere.expansions`), cut where the degrees left out carry 1e-28, hence accurate to about 1e-14 absolutely.
    Else O((N + M)² d) by three passes of attention: MMD² is then a difference of sums of size 1, with an absolute error
    of up to about (1 + β) 2e-15, an MMD below (1 + β)^{1/2} 5e-8 is not told from 0, and a negative difference is such
    rounding and taken as 0. Memory O((N + M) d), double precision whatever the dtype; tokens are projected onto the
    sphere first. MMD(x, x) is 0 exactly. Same bits for any number of threads.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola, J. Mach. Learn. Res. 13 (2012).

    Examples
    --------
    >>> x, y = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    >>> bool(np.isclose(mmd(x, y, beta=2.0) ** 2, 2 - 2 * math.exp(-2)))
    True
    """
    mu, nu = (_projected(cloud) for cloud in _clouds(x, y, x_weights, y_weights))
    beta = checks.number(beta, "beta", above=0, high=1e8)
    n_threads = checks.threads(n_threads)
    dim, n, m = x.shape[1], len(mu.points), len(nu.points)
    tails = expansions.tails(beta, dim) if beta <= expansions.MOST_BETA and dim <= expansions.MOST_DIM else np.ones(1)
    n_max = int(np.argmax(tails <= 1e-28))
    if n_max and _moments_are_cheaper(n, m, n_max, dim, 10):
        square = _moment_differences(mu, nu, n_max, n_threads)
        return math.sqrt(float(square @ expansions.multipliers(beta, dim)[: n_max + 1]))
    _refuse_long(
        sum(_kernel_seconds(one, two, n_threads) for one, two in ((mu, mu), (nu, nu), (mu, nu))),
        "three passes over all pairs",
        "use sliced_wasserstein2, or subsample",
    )

    def mean_kernel(one: _Cloud, two: _Cloud) -> float:
        scale = beta * _LOG2_E
        log2_sums = _sums(one.points, two.points, two.weights, np.zeros(len(two.weights)), scale, n_threads)[1]
        return float(one.weights @ np.exp2(log2_sums - scale))

    mixed = mean_kernel(mu, nu)
    return math.sqrt(max((mean_kernel(mu, mu) - mixed) + (mean_kernel(nu, nu) - mixed), 0.0))


def _moments_are_cheaper(n: int, m: int, n_max: int, dim: int, pair: float) -> bool:
    """Whether K harmonics of each token cost less than all pairs; `pair` is the work of one, in multiply-adds."""
    terms = float(harmonics_below(n_max + 1, dim))
    return terms <= expansions.MOST_HARMONICS and 4 * terms * (n + m) + 1e6 < pair * (n * n + m * m + n * m)


def _moment_differences(mu: _Cloud, nu: _Cloud, n_max: int, n_threads: int) -> Floats:
    """Return Σ_k |∫ Y_{l,k} d(μ − ν)|² for l = 0 … n_max."""
    dim = mu.points.shape[1]
    one, two = (expansions.moments(cloud.points[None], cloud.weights, n_max, n_threads)[0] for cloud in (mu, nu))
    return np.asarray(np.bincount(expansions.degrees(n_max, dim), (one - two) ** 2), np.float64)


def _projected(cloud: _Cloud) -> _Cloud:
    return cloud._replace(points=cloud.points / np.linalg.norm(cloud.points, axis=1, keepdims=True))


def sobolev(
    x: Tokens, y: Tokens, *, order: float, n_max: int = 64, x_weights: Any = None, y_weights: Any = None
) -> float:
    """Return the negative Sobolev distance of order s, through the spherical harmonics of degree 1 … n_max.

    D² = Σ_n (n (n + d − 2))^{−s} Σ_j |∫ Y_{n,j} dμ − ∫ Y_{n,j} dν|²,   n = 1 … n_max,

    with Y_{n,j} orthonormal for the uniform probability; n (n + d − 2) are the eigenvalues of −Δ. By the addition
    theorem it is the MMD of the kernel h(u) = Σ_n (n (n + d − 2))^{−s} dim(n, d) P_n(u), where P_n is Gegenbauer's
    polynomial with P_n(1) = 1.

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d)
        Tokens on the unit sphere.
    order : float
        s > 0: the norm of H^{−s}.
    n_max : int
        Largest degree, >= 1, at most 2^24.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, another argument is out of range, or the work
        would take more than ten minutes.

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
    are projected onto the sphere first. Same bits for any number of threads.

    References
    ----------
    Dai and Xu, Approximation theory and harmonic analysis on spheres and balls, Springer (2013), chapter 1.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0]])
    >>> bool(np.isclose(sobolev(x, -x, order=1.0, n_max=10_000), math.pi, rtol=1e-4))
    True
    """
    mu, nu = (_projected(cloud) for cloud in _clouds(x, y, x_weights, y_weights))
    order = checks.number(order, "order", above=0)
    n_max = checks.integer(n_max, "n_max", low=1, high=_MOST_DEGREES)
    dim = x.shape[1]
    degrees = np.arange(1, n_max + 1, dtype=np.float64)
    log_factors = -order * np.log(degrees * (degrees + dim - 2))
    n, m = len(mu.points), len(nu.points)
    if dim == 2 or (dim <= expansions.MOST_DIM and _moments_are_cheaper(n, m, n_max, dim, dim + 10 * n_max)):
        return math.sqrt(float(np.exp(log_factors) @ _moment_differences(mu, nu, n_max, checks.threads(None))[1:]))
    _refuse_long(
        (n * n + m * m + n * m) * (dim + 10 * n_max) * 0.3e-9,
        f"{n_max} degrees on all pairs",
        "lower n_max, subsample, or use mmd or sliced_wasserstein2",
    )
    # dim(n, d) = (2n + d − 2) (n + d − 3)! / (n! (d − 2)!)
    log_counts = np.log(2 * degrees + dim - 2) + gammaln(degrees + dim - 2) - gammaln(degrees + 1) - gammaln(dim - 1)
    log_largest = float((log_factors + log_counts).max())
    if log_largest > 600:
        raise ValueError(f"n_max = {n_max} is too large in dim {dim}: a degree alone would count e^{log_largest:.0f}")
    factors = np.exp(log_factors + log_counts)
    mixed = _gegenbauer_sums(mu, nu, n_max) @ factors
    own = [float(_gegenbauer_sums(cloud, cloud, n_max) @ factors) for cloud in (mu, nu)]
    return math.sqrt(max((own[0] - mixed) + (own[1] - mixed), 0.0))


def _gegenbauer_sums(mu: _Cloud, nu: _Cloud, n_max: int) -> Floats:
    """Return Σ_ij p_i q_j P_n(⟨x_i, y_j⟩) for n = 1 … n_max."""
    dim = mu.points.shape[1]
    sums = np.zeros(n_max)
    for i in range(0, len(mu.points), _TILE):
        for j in range(0, len(nu.points), _TILE):
            p, q = mu.weights[i : i + _TILE], nu.weights[j : j + _TILE]
            cosine = np.clip(mu.points[i : i + _TILE] @ nu.points[j : j + _TILE].T, -1, 1)
            below, here, scratch = np.ones_like(cosine), cosine.copy(), np.empty_like(cosine)
            sums[0] += p @ (here @ q)
            for n in range(1, n_max):
                # (n + d − 2) P_{n+1} = (2n + d − 2) u P_n − n P_{n−1}
                np.multiply(cosine, here, out=scratch)
                scratch *= (2 * n + dim - 2) / (n + dim - 2)
                below *= n / (n + dim - 2)
                np.subtract(scratch, below, out=below)
                below, here = here, below
                sums[n] += p @ (here @ q)
    return sums
