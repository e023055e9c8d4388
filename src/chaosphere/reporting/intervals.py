"""Estimates over independent replicas, with their 99 % intervals."""

from __future__ import annotations

import math

import numpy as np
import scipy

from chaosphere.common.checks import Floats

CONFIDENCE = 0.99  # of every interval that an experiment prints
FEWEST_REPLICAS = 2.0  # effective ones that must carry the mean of a positive quantity for it to have an interval


def root_mean_square(mean_squares: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the root of the mean over replicas (first axis) with a Student interval on the logarithm.

    Parameters
    ----------
    mean_squares : ndarray, shape (R, ...)
        One independent, positive value per replica, R >= 2.

    Returns
    -------
    value, low, high : ndarray, shape (...)
    """
    n = len(mean_squares)
    mean = mean_squares.mean(axis=0)
    error = mean_squares.std(axis=0, ddof=1) / np.sqrt(n) / mean
    width = _student(n) * 0.5 * error
    value = np.sqrt(mean)
    return value, value * np.exp(-width), value * np.exp(width)


def log_slope(x: Floats, mean_squares: Floats, weights: Floats) -> tuple[float, float, float]:
    """Return the exponent of the root-mean-square error in x, with its interval.

    Weighted least squares of log RMS on log x; the interval is Student's on the jackknife over replicas, because the
    points of one replica share their noise.

    Parameters
    ----------
    x : ndarray, shape (n,)
        n >= 2 positive values.
    mean_squares : ndarray, shape (R, n)
        R >= 2 independent replicas.
    weights : ndarray, shape (n,)
        Inverse relative variances of the points, up to a factor.

    Returns
    -------
    slope, low, high : float
    """
    abscissa = np.log(x) - np.average(np.log(x), weights=weights)

    def slope(rows: Floats) -> float:
        ordinate = 0.5 * np.log(rows.mean(axis=0))
        return float((weights * abscissa * ordinate).sum() / (weights * abscissa**2).sum())

    n = len(mean_squares)
    value = slope(mean_squares)
    left_out = np.array([slope(np.delete(mean_squares, r, axis=0)) for r in range(n)])
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    width = float(_student(n) * error)
    return value, value - width, value + width


def ratio_of_means(numerator: Floats, denominator: Floats) -> tuple[float, float, float]:
    """Return the ratio of two positive means over replicas with Student's interval on the jackknife of its logarithm.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (R,)
        R >= 2 independent replicas.

    Returns
    -------
    ratio, low, high : float
    """
    n = len(numerator)
    value = float(numerator.mean() / denominator.mean())
    # Two replicas may say nothing: then the upper end is infinite, or there is no interval.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rest = [(np.delete(numerator, r).sum(), np.delete(denominator, r).sum()) for r in range(n)]
        left_out = np.log([a / b for a, b in rest])
        error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
        low, high = value * np.exp(np.array([-1, 1]) * _student(n) * error)
    return value, float(low), float(high)


def mean_interval(
    values: Floats, *, at_least: float = -math.inf, at_most: float = math.inf
) -> tuple[Floats, Floats, Floats]:
    """Return the mean over replicas (first axis) with its 99 % interval, which respects the range of the values.

    Parameters
    ----------
    values : ndarray, shape (R, ...)
        One independent value per replica.
    at_least, at_most : float
        Range of the values: none (Student's interval), from `at_least` on, or between both.

    Returns
    -------
    mean, low, high : ndarray, shape (...)
        The interval is NaN for one replica. In a range with one end it is also NaN where fewer than FEWEST_REPLICAS
        carry the mean; see `effective_replicas`.

    Notes
    -----
    Between two ends: the interval of Clopper and Pearson for a fraction, with the number of draws that have the
    variance of the mean, corrected for few replicas (Korn and Graubard, Survey Methodology 24, 1998).

    With one end (values such as energies and squares of distances are positive): the logarithm of the mean, from the
    smaller to the larger end of two intervals. One is Student's with the relative variance of the sample. The other is
    that of a log-normal law (Zou, Huo and Taleban, Environmetrics 20, 2009), which distances follow under a common
    noise: of its large values a sample holds too few, and Student's interval leaves out the mean.

    Examples
    --------
    >>> mean, low, high = mean_interval(np.array([1.0, 0.9, 1.0, 1.0]), at_least=0, at_most=1)
    >>> bool(low < mean < high <= 1)
    True
    """
    values = np.asarray(values, dtype=np.float64)
    n, mean = len(values), values.mean(axis=0)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if math.isfinite(at_least) and math.isfinite(at_most):
        scale = at_most - at_least
        low, high = _interval_of_fraction((values - at_least) / scale)
        low, high = at_least + scale * low, at_least + scale * high
    elif math.isfinite(at_least):
        low, high = _interval_of_positive(values - at_least)
        low, high = at_least + low, at_least + high
    else:
        width = _student(n) * values.std(axis=0, ddof=1) / np.sqrt(n)
        low, high = mean - width, mean + width
    return mean, np.minimum(low, mean), np.maximum(high, mean)  # equal values: the ends have roundings of their own


def effective_replicas(values: Floats) -> Floats:
    """Return how many replicas carry the mean of positive values: R exp(−s²), s² the variance of their logarithms.

    Under a log-normal law this is R E[X]²/E[X²], the number of equal values whose mean varies as much. It is taken
    from the logarithms because a sample that misses the large values cannot show by its own mean that it does.

    Parameters
    ----------
    values : ndarray, shape (R, ...)
        R >= 2, positive.

    Returns
    -------
    ndarray, shape (...)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.nan_to_num(np.log(values).var(axis=0, ddof=1), nan=np.inf)
    # Equal values, zeros among them, have no spread.
    return np.asarray(len(values) * np.exp(-np.where(np.ptp(values, axis=0) == 0, 0.0, spread)))


def _interval_of_positive(values: Floats) -> tuple[Floats, Floats]:
    n, mean = len(values), values.mean(axis=0)
    t, tail = _student(n), (1 - CONFIDENCE) / 2
    smaller, larger = (n - 1) / scipy.stats.chi2.ppf([1 - tail, tail], n - 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        logarithms = np.log(values)
        variance = logarithms.var(axis=0, ddof=1)
        centre, error = logarithms.mean(axis=0) + variance / 2, t**2 * variance / n
        width = t * values.std(axis=0, ddof=1) / np.sqrt(n) / mean
        low = np.minimum(np.log(mean) - width, centre - np.sqrt(error + (variance / 2 * (1 - smaller)) ** 2))
        high = np.maximum(np.log(mean) + width, centre + np.sqrt(error + (variance / 2 * (larger - 1)) ** 2))
        ends = np.exp(low), np.exp(high)
    is_equal = np.ptp(values, axis=0) == 0
    is_carried = effective_replicas(values) >= FEWEST_REPLICAS
    low, high = (np.where(is_equal, mean, np.where(is_carried, end, np.nan)) for end in ends)
    return low, high


def _interval_of_fraction(values: Floats) -> tuple[Floats, Floats]:
    n, mean = len(values), np.clip(values.mean(axis=0), 0, 1)
    tail = (1 - CONFIDENCE) / 2
    variance = values.var(axis=0, ddof=1) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = mean * (1 - mean) / variance * (scipy.stats.norm.ppf(tail) / _student(n)) ** 2
    # Values that are all 0 or all 1 say no more than as many answers of yes or no.
    draws = np.where(np.isnan(draws) | (draws == 0), n, draws)
    hits, misses = draws * mean, draws * (1 - mean)
    # Far from the ends the interval is Student's, which needs no function of huge numbers.
    is_far = np.minimum(hits, misses) > 1e8
    width, hits, misses = _student(n) * np.sqrt(variance), np.where(is_far, 1, hits), np.where(is_far, 1, misses)
    low = np.where(hits > 0, scipy.stats.beta.ppf(tail, hits, misses + 1), 0.0)
    high = np.where(misses > 0, scipy.stats.beta.ppf(1 - tail, hits + 1, misses), 1.0)
    return np.where(is_far, mean - width, low), np.where(is_far, mean + width, high)


def _student(n_replicas: int) -> float:
    return float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, n_replicas - 1))
