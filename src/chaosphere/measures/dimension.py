"""Dimension of what the tokens gather on."""

from __future__ import annotations

import numpy as np
import scipy

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.stats import Interval

_BLOCK = 2**22  # distances at a time
_CLOSEST = float(np.finfo(np.float64).eps)


def correlation_dimension(x: Tokens, *, radius: float = 0.1, confidence: float = stats.CONFIDENCE) -> Interval:
    """Return the correlation dimension of tokens: D with P(|X − Y| < r) ~ r^D for two of them, as r → 0.

    Takens' estimate, the maximum of the likelihood of the distances r below a radius r_0 if their law is r^D there: one
    over the mean of log(r_0/r). Over several systems the pairs of all count alike, so that P is over the noise as well;
    for many tokens on the attractor of a noise with λ1 > 0 this is `CovarianceKernel.correlation_dimension`.

    Parameters
    ----------
    x : ndarray of float64, shape (N, d) or (R, N, d)
        Tokens on the unit sphere; R independent systems.
    radius : float
        r_0, in (0, 2]. The smaller, the closer to the limit r → 0, and the fewer the pairs.
    confidence : float
        Probability that the interval holds D, in (0, 1), apart from what the radius adds.

    Returns
    -------
    Interval
        The estimate and its interval over the R systems; there is none for one system.

    Raises
    ------
    TypeError, ValueError
        If x is not float64 tokens on the unit sphere, radius or confidence is out of range, or no two tokens are closer
        than the radius.

    See Also
    --------
    chaosphere.CovarianceKernel.correlation_dimension : The dimension under a noise, in theory.
    chaosphere.measures.pair_fraction : Fraction of close pairs.
    chaosphere.stats.ratio_interval : Ratio of two means, with an interval.

    Notes
    -----
    O(N² d) time, O(N + 2²²) memory. Distances below 2e-16 count as that.

    References
    ----------
    F. Takens, On the numerical determination of the dimension of an attractor, Lecture Notes in Mathematics 1125
    (1985), 99–106.

    Examples
    --------
    Uniform tokens fill the sphere, of dimension 2:

    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(200, 3, rng=0, n_replicas=20)
    >>> value, low, high = cs.measures.correlation_dimension(x, radius=0.5)
    >>> low < 2 < high, high - low < 0.3
    (True, True)
    """
    batch = checks.tokens(x)
    if batch.dtype != np.float64:
        raise TypeError(f"x must be float64: small distances are lost in {batch.dtype}")
    radius = checks.number(radius, "radius", above=0, high=2)
    counts, logs = np.array([_close_pairs(tokens, radius) for tokens in batch]).T
    if not counts.any():
        raise ValueError(f"radius = {radius:g} is too small: no two tokens are closer")
    if len(batch) == 1:
        return Interval(value=float(counts[0] / logs[0]), low=np.nan, high=np.nan)
    return stats.ratio_interval(counts, logs, confidence=confidence)


def _close_pairs(tokens: Tokens, radius: float) -> tuple[float, float]:
    """Return the number of pairs closer than the radius and their Σ log(radius/distance)."""
    count, total = 0, 0.0
    rows = max(1, _BLOCK // len(tokens))
    for start in range(0, len(tokens), rows):
        block = tokens[start : start + rows]
        distances = scipy.spatial.distance.cdist(block, tokens[start:])
        # Each pair once: the row's token is before the column's.
        r = distances[np.triu(distances < radius, k=1)]
        count += len(r)
        total += float(np.sum(np.log(radius / np.maximum(r, _CLOSEST))))
    return float(count), total
