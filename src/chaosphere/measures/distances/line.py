"""Transport in one dimension, by quantile functions: on the circle, and on lines through projections."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.streams import Noise, Seed, Stream, root
from chaosphere.measures.distances.clouds import Cloud, clouds, over_replicas, refuse_long


class _Quantiles(NamedTuple):
    """A quantile function: sorted values, and the ends of the intervals on which it takes them."""

    values: Floats
    ends: NDArray[Any]

    @classmethod
    def of(cls, values: Floats, masses: NDArray[Any]) -> _Quantiles:
        """Return that of a law on the line; for integer masses on [0, their sum], else on [0, 1]."""
        order = np.argsort(values, kind="stable")
        ends = np.cumsum(masses[order])
        if ends.dtype != np.int64:
            ends /= ends[-1]
        return cls(values[order], ends)

    def at(self, t: NDArray[Any]) -> Floats:
        """Return its values at t in [0, its end]; at the end, or past it by rounding, the last one."""
        return self.values[np.minimum(np.searchsorted(self.ends, t, side="right"), len(self.values) - 1)]

    def continued(self, t: NDArray[Any]) -> Floats:
        """Return its values at any t, for angles: over each whole turn of t they grow by 2π."""
        if self.ends.dtype == np.int64:  # all masses are equal: no search
            place = t // self.ends[0]
            n_turns = place // len(self.values)
            return np.asarray(self.values[place - n_turns * len(self.values)] + 2 * math.pi * n_turns)
        n_turns = np.floor_divide(t, self.ends[-1])
        return np.asarray(self.at(t - n_turns * self.ends[-1]) + 2 * math.pi * n_turns)


@over_replicas
def circular_wasserstein2(x: Tokens, y: Tokens, *, x_weights: Any = None, y_weights: Any = None) -> PerReplica:
    """Return the exact Wasserstein distance W2(μ, ν) on the circle for the arc length; not squared.

    W2² = min_α ∫_0^1 (F(t) − G(t − α))² dt, with F and G the quantile functions of the angles, continued by
    F(t + 1) = F(t) + 2π; convex in α (Delon, Salomon and Sobolevskii, 2010).

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, 2) and (M, 2), or with replicas (R, N, 2) and (R, M, 2)
        Tokens on the unit circle; x or y without replicas is compared with every replica of the other.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).

    Returns
    -------
    float, or ndarray of shape (R,) with replicas
        In [0, π].

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit circle, or weights are out of range.

    See Also
    --------
    chaosphere.measures.wasserstein2 : Exact W2 for the chord.

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
    A rotation by half a radian:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> angle = np.array([0.0, 2.0, 4.0])
    >>> x, y = (np.stack([np.cos(a), np.sin(a)], axis=1) for a in (angle, angle + 0.5))
    >>> round(cs.measures.circular_wasserstein2(x, y), 12)
    0.5
    """
    mu, nu = clouds(x, y, x_weights=x_weights, y_weights=y_weights)
    if x.shape[1] != 2:
        raise ValueError(f"x must have dim 2, on the circle, got shape {x.shape}; wasserstein2 takes any dim")
    p, q = _masses(mu, nu)
    f = _Quantiles.of(np.arctan2(mu.points[:, 1], mu.points[:, 0]), p)
    g = _Quantiles.of(np.arctan2(nu.points[:, 1], nu.points[:, 0]), q)
    total = f.ends[-1]
    steps = np.diff(g.values, append=g.values[0] + 2 * math.pi)
    middles = g.values + 0.5 * steps

    def slope(shift: Any) -> float:
        """Return half the right derivative of the cost: past a jump of G, the old value replaces the new one."""
        return sum(
            float((steps[part] * (f.continued(g.ends[part] + shift) - middles[part])).sum())
            for part in _parts(len(g.values))
        )

    def squared(shift: Any) -> float:
        cuts = np.concatenate([f.ends, (g.ends + shift) % total, [0 * total]])
        cuts.sort()
        cost = 0.0
        for part in _parts(len(cuts) - 1):
            lengths, at = _pieces(cuts[part.start : part.stop + 1])
            difference = f.continued(at) - g.continued(at - shift)
            cost += float((lengths * difference**2).sum())
        return cost / float(total)

    low, high = -2 * total, 2 * total  # where all of F lies below, above all of G
    if f.ends.dtype == np.int64:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if slope(middle) >= 0 else (middle, high)
    else:
        functions = [slope]  # SciPy's wrapper refers to itself, and with it these arrays would wait for the collector
        high = scipy.optimize.brentq(lambda shift: functions[0](shift), low, high, xtol=1e-15, rtol=1e-15)
        functions.clear()
    return math.sqrt(min(squared(high), squared(0 * total)))  # no shift: exactly 0 for equal clouds


def _masses(mu: Cloud, nu: Cloud) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the weights; if all are equal, as integers of one sum, so that sums of them are exact."""
    n, m = len(mu.points), len(nu.points)
    if mu.is_uniform and nu.is_uniform:
        common = math.lcm(n, m)
        return np.full(n, common // n, dtype=np.int64), np.full(m, common // m, dtype=np.int64)
    return mu.weights, nu.weights


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


def sliced_wasserstein2(
    x: Tokens, y: Tokens, *, n_projections: int | None = None, rng: Seed, x_weights: Any = None, y_weights: Any = None
) -> PerReplica:
    """Return the sliced Wasserstein distance SW2(μ, ν), not squared and not scaled by the dim.

    SW2² = E W2²(law of ⟨θ, x⟩, law of ⟨θ, y⟩) over directions θ uniform on the sphere, by a mean over `n_projections`.

    Parameters
    ----------
    x, y : ndarray of float64 or float32, shapes (N, d) and (M, d), or with replicas (R, N, d) and (R, M, d)
        Tokens on the unit sphere; x or y without replicas is compared with every replica of the other.
    n_projections : int, optional
        Number of directions, >= 1; default: the least multiple of d from 100 on.
    rng : int, SeedSequence or Generator
        Directions come in random orthonormal frames of d from the stream `SUBSAMPLE`, frame k = 1, 2, … from its step
        k (experiments draw from step 0); the first directions do not depend on their number.
    x_weights, y_weights : array_like, shapes (N,) and (M,), optional
        p_i, q_j >= 0 with sum 1 (default 1/N and 1/M).

    Returns
    -------
    float, or ndarray of shape (R,) with replicas
        In [0, 2/√d] if d divides n_projections.

    Raises
    ------
    TypeError, ValueError
        If x or y is not a cloud on the unit sphere, their dims differ, or another argument is out of range.

    See Also
    --------
    chaosphere.measures.wasserstein2 : Exact W2 for the chord.
    chaosphere.measures.mmd : Maximum mean discrepancy for the kernel of attention.

    Notes
    -----
    SW2 <= W2 / √d, since ⟨θ, v⟩² is |v|²/d in the mean. If d divides n_projections this holds for every seed, not only
    in the mean, because squares over a frame sum to |v|². Two Diracs give equality.

    O(n_projections (N + M) (d + log(N + M))) time, O(N + M) memory beside copies of x and y. The error of SW2² from
    the choice of directions falls like n_projections^{-1/2}. Bitwise identical for the same seed.

    References
    ----------
    Rabin, Peyré, Delon and Bernot, Wasserstein barycenter and its application to texture mixing (2012).

    Examples
    --------
    Two Diracs at a distance of √2 in R³:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x, y = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    >>> round(cs.measures.sliced_wasserstein2(x, y, rng=0) ** 2, 12)  # |x − y|² / d
    0.666666666667
    """
    # A generator gives one seed, and so all replicas the same directions.
    return _sliced(x, y, n_projections=n_projections, rng=root(rng), x_weights=x_weights, y_weights=y_weights)


@over_replicas
def _sliced(
    x: Tokens, y: Tokens, *, n_projections: int | None, rng: np.random.SeedSequence, x_weights: Any, y_weights: Any
) -> PerReplica:
    mu, nu = clouds(x, y, x_weights=x_weights, y_weights=y_weights)
    dim = x.shape[1]
    if n_projections is None:
        n_projections = dim * math.ceil(100 / dim)
    n_projections = checks.integer(n_projections, "n_projections", low=1)
    noise = Noise(rng)
    p, q = _masses(mu, nu)
    n_all = len(p) + len(q)
    refuse_long(
        1e-9 * n_projections * n_all * (dim + 4 * math.log2(n_all)),
        f"{n_projections} projections of {n_all} tokens",
        instead="lower n_projections",
    )
    total = 0.0
    for start in range(0, n_projections, dim):
        generator = noise.at(Stream.SUBSAMPLE, 1 + start // dim)[0]
        # The orthogonal factor of a Gaussian matrix; each of its columns is uniform whatever the signs.
        frame = np.linalg.qr(generator.standard_normal((dim, dim)))[0]
        for direction in frame.T[: n_projections - start]:
            total += _line_squared(mu.points @ direction, nu.points @ direction, p=p, q=q)
    return math.sqrt(total / n_projections)


def _line_squared(x: Floats, y: Floats, *, p: NDArray[Any], q: NDArray[Any]) -> float:
    """Return W2² on the line between points x of masses p and y of masses q."""
    if p.dtype == np.int64 and len(p) == len(q):
        return float(((np.sort(x) - np.sort(y)) ** 2).mean())
    f, g = _Quantiles.of(x, p), _Quantiles.of(y, q)
    lengths, at = _pieces(np.sort(np.concatenate([f.ends, g.ends, [0 * f.ends[-1]]])))
    return float((lengths * (f.at(at) - g.at(at)) ** 2).sum() / f.ends[-1])
