"""Estimates over independent replicas, with their intervals.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import scipy

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import short

CONFIDENCE = 0.99  # of every interval that an experiment prints
FEWEST_REPLICAS = 2.0  # effective ones that must carry the mean of a positive quantity for it to have an interval

_NO_WARNINGS = np.errstate(divide="ignore", invalid="ignore", over="ignore")  # a result that is no number is NaN


class Interval(NamedTuple):
    """An estimate and its confidence interval, which unpack as `value, low, high`.

    Parameters
    ----------
    value : float or ndarray
        The estimate.
    low, high : float or ndarray
        Ends of the interval, NaN where there is none: too few replicas, or a NaN among the values.

    See Also
    --------
    chaosphere.stats.mean_interval : Mean over replicas, with an interval.

    Examples
    --------
    >>> import chaosphere as cs
    >>> value, low, high = cs.stats.mean_interval([0.4, 0.5, 0.6])
    >>> low < value < high
    True
    """

    value: Any
    low: Any
    high: Any

    def __repr__(self) -> str:
        """Return one line, with arrays by their shape."""
        return f"Interval(value={short(self.value)}, low={short(self.low)}, high={short(self.high)})"


@_NO_WARNINGS
def mean_interval(
    values: Any, *, confidence: float = CONFIDENCE, at_least: float = -math.inf, at_most: float = math.inf
) -> Interval:
    """Return the mean over replicas (first axis) with its interval, which respects the range of the values.

    Parameters
    ----------
    values : array_like, shape (R, ...)
        One independent value per replica.
    confidence : float
        Probability that the interval holds the expectation, in (0, 1).
    at_least, at_most : float
        Range of the values: none (Student's interval), from `at_least` on, or between both.

    Returns
    -------
    Interval
        Arrays of shape (...), floats if that is (). There is no interval for one replica. In a range with one end there
        is also none where fewer than 2 replicas carry the mean; see `effective_replicas`.

    Raises
    ------
    TypeError, ValueError
        If values are no real numbers, there are none, or some are out of their range by more than rounding, or if
        confidence is not between 0 and 1.

    See Also
    --------
    chaosphere.measures.lyapunov_exponent : Exponent of a model along a run.
    chaosphere.measures.lyapunov_spectrum : More exponents than the top one.
    chaosphere.stats.Interval : An estimate and the ends of its interval.
    chaosphere.stats.effective_replicas : How many replicas carry a mean.
    chaosphere.stats.root_mean_square_interval : Root of a mean of squares, with an interval.
    chaosphere.stats.quantile_interval : Quantile over replicas, with an interval.
    chaosphere.stats.median_interval : Median over replicas, with an interval.
    chaosphere.stats.probability_interval : Fraction of replicas, with an interval.

    Notes
    -----
    Student's interval has its confidence exactly if the values are normal, and in the limit of many replicas if their
    variance is finite.

    Between two ends: the interval of Clopper and Pearson for a fraction, with the number of draws that have the
    variance of the mean, corrected for few replicas (Korn and Graubard, Survey Methodology 24, 1998).

    With one end (values such as energies and squares of distances are positive): the logarithm of the mean, from the
    smaller to the larger end of two intervals. One is Student's with the relative variance of the sample. The other is
    that of a log-normal law (Zou, Huo and Taleban, Environmetrics 20, 2009), which distances follow under a common
    noise: of its large values a sample holds too few, and Student's interval leaves out the mean.

    At a confidence of 99 % `tests/statistical/test_coverage_of_intervals.py` bounds the misses of the last two by 1.6 %
    for log-normal values and for fractions.

    Examples
    --------
    >>> import chaosphere as cs
    >>> mean, low, high = cs.stats.mean_interval([1.0, 0.9, 1.0, 1.0], at_least=0, at_most=1)
    >>> low < mean < high <= 1
    True
    """
    values, tail = _replicas(values, "values"), _tail(confidence)
    at_least, at_most = limits(at_least, at_most)
    _check_range(values, at_least, at_most=at_most)
    n, mean = len(values), values.mean(axis=0)
    if n < 2:
        return _interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    if math.isfinite(at_least) and math.isfinite(at_most):
        scale = at_most - at_least
        low, high = _ends_of_fraction((values - at_least) / scale, tail)
        low, high = at_least + scale * low, at_least + scale * high
    elif math.isfinite(at_least):
        low, high = _ends_of_positive(values - at_least, tail)
        low, high = at_least + low, at_least + high
    else:
        width = _student(n, tail) * values.std(axis=0, ddof=1) / np.sqrt(n)
        low, high = mean - width, mean + width
    # Of equal values the ends have roundings of their own.
    return _interval(mean, np.minimum(low, mean), np.maximum(high, mean))


@_NO_WARNINGS
def root_mean_square_interval(mean_squares: Any, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the root of the mean over replicas (first axis) with a Student interval on the logarithm.

    Parameters
    ----------
    mean_squares : array_like, shape (R, ...)
        One independent, positive value per replica, R >= 2: a square, or a mean of squares over tokens.
    confidence : float
        Probability that the interval holds the root of the expectation, in (0, 1).

    Returns
    -------
    Interval
        Arrays of shape (...), floats if that is ().

    Raises
    ------
    TypeError, ValueError
        If mean_squares are no real numbers, some are negative or there are fewer than two, or confidence is not between
        0 and 1.

    See Also
    --------
    chaosphere.stats.mean_interval : Mean over replicas, with an interval.

    Notes
    -----
    The confidence is that of the limit of many replicas. Log-normal squares of variance 2.25 of the logarithm are left
    out by more than 1.6 % of intervals of 99 % with 32 replicas (`tests/statistical/test_coverage_of_intervals.py`).

    Examples
    --------
    >>> import chaosphere as cs
    >>> value, low, high = cs.stats.root_mean_square_interval([1.0, 4.0, 4.0, 7.0])
    >>> value, low < 2 < high
    (2.0, True)
    """
    squares, tail = _positive(mean_squares, "mean_squares"), _tail(confidence)
    n = len(squares)
    mean = squares.mean(axis=0)
    error = squares.std(axis=0, ddof=1) / np.sqrt(n) / mean
    width = _student(n, tail) * 0.5 * error
    value = np.sqrt(mean)
    return _interval(value, value * np.exp(-width), value * np.exp(width))


@_NO_WARNINGS
def exponent_interval(x: Any, mean_squares: Any, *, weights: Any = None, confidence: float = CONFIDENCE) -> Interval:
    """Return the exponent a of a root-mean-square error that goes like x^a, with its interval.

    Weighted least squares of log RMS on log x; the interval is Student's on the jackknife over replicas, because the
    points of one replica share their noise.

    Parameters
    ----------
    x : array_like, shape (n,)
        n >= 2 positive values, such as numbers of tokens.
    mean_squares : array_like, shape (R, n)
        The square of the error in each of R >= 2 independent replicas, or its mean over tokens; positive.
    weights : array_like, shape (n,), optional
        Inverse relative variances of the points, up to a factor. Default: 1 each.
    confidence : float
        Probability that the interval holds the exponent, in (0, 1).

    Returns
    -------
    Interval
        Floats.

    Raises
    ------
    TypeError, ValueError
        If the arguments are no real numbers, have other shapes or signs, or confidence is not between 0 and 1.

    See Also
    --------
    chaosphere.stats.ratio_interval : Ratio of two means, with an interval.

    Notes
    -----
    The confidence is that of the limit of many replicas, for errors that are a power of x in the whole range; what
    the error does beyond it, such as a bias that no longer falls, is in the exponent too. At 99 % and 24 replicas
    `tests/statistical/test_coverage_of_intervals.py` bounds the misses by 1.8 %.

    Examples
    --------
    An error that halves when the number of tokens is four times as large:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> errors = np.array([[0.5, 0.24], [0.4, 0.21], [0.6, 0.3]])
    >>> round(cs.stats.exponent_interval([100, 400], errors**2).value, 2)
    -0.5
    """
    x, squares = _positive(x, "x"), _positive(mean_squares, "mean_squares")
    if x.ndim != 1 or squares.shape[1:] != x.shape:
        raise ValueError(f"x and mean_squares must have shapes (n,) and (R, n), got {x.shape} and {squares.shape}")
    tail = _tail(confidence)
    weights = np.ones(len(x)) if weights is None else _positive(weights, "weights")
    if weights.shape != x.shape:
        raise ValueError(f"weights must have the shape of x, {x.shape}, got {weights.shape}")
    for name, positive in (("x", x), ("weights", weights)):
        if not (positive > 0).all():
            raise ValueError(f"{name} must be positive, found {positive[~(positive > 0)][0]}")
    abscissa = np.log(x) - np.average(np.log(x), weights=weights)

    def slope(rows: Floats) -> float:
        ordinate = 0.5 * np.log(rows.mean(axis=0))
        return float((weights * abscissa * ordinate).sum() / (weights * abscissa**2).sum())

    n = len(squares)
    value = slope(squares)
    left_out = np.array([slope(np.delete(squares, r, axis=0)) for r in range(n)])
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    width = float(_student(n, tail) * error)
    return Interval(value, value - width, value + width)


@_NO_WARNINGS
def ratio_interval(numerator: Any, denominator: Any, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the ratio of two positive means over replicas with Student's interval on the jackknife of its logarithm.

    Parameters
    ----------
    numerator, denominator : array_like, shape (R,)
        R >= 2 independent replicas, >= 0; value r of both may come from one run.
    confidence : float
        Probability that the interval holds the ratio of the expectations, in (0, 1).

    Returns
    -------
    Interval
        Floats. Two replicas may say nothing: then the upper end is infinite, or there is no interval.

    Raises
    ------
    TypeError, ValueError
        If the arguments are no real numbers, have other shapes or signs, or confidence is not between 0 and 1.

    See Also
    --------
    chaosphere.stats.exponent_interval : Exponent of a power law, with an interval.
    chaosphere.measures.correlation_dimension : Correlation dimension of tokens.

    Notes
    -----
    The confidence is that of the limit of many replicas. At 99 % and 24 replicas
    `tests/statistical/test_coverage_of_intervals.py` bounds the misses by 1.8 %.

    Examples
    --------
    >>> import chaosphere as cs
    >>> ratio, low, high = cs.stats.ratio_interval([2.1, 1.9, 2.0], [1.0, 1.1, 0.9])
    >>> round(ratio, 12), low < 2 < high
    (2.0, True)
    """
    top, bottom, tail = _positive(numerator, "numerator"), _positive(denominator, "denominator"), _tail(confidence)
    if top.ndim != 1 or top.shape != bottom.shape:
        raise ValueError(f"numerator and denominator must have one shape (R,), got {top.shape} and {bottom.shape}")
    n = len(top)
    value = float(top.mean() / bottom.mean())
    rest = [(np.delete(top, r).sum(), np.delete(bottom, r).sum()) for r in range(n)]
    left_out = np.log([a / b for a, b in rest])
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    low, high = value * np.exp(np.array([-1, 1]) * _student(n, tail) * error)
    return Interval(value, float(low), float(high))


def quantile_interval(values: Any, q: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return a quantile over replicas (first axis) with an interval between two of the values.

    Parameters
    ----------
    values : array_like, shape (R, ...)
        One independent value per replica.
    q : float
        The probability that lies below the quantile, in (0, 1): 0.5 for the median.
    confidence : float
        Least probability that the interval holds the quantile, in (0, 1).

    Returns
    -------
    Interval
        Arrays of shape (...), floats if that is (). An end that no value can be with this confidence is infinite: at
        99 % the median has two ends from 8 replicas on. NaN where a value is NaN.

    Raises
    ------
    TypeError, ValueError
        If values are no real numbers, or there are none, or q or confidence is not between 0 and 1.

    See Also
    --------
    chaosphere.stats.mean_interval : Mean over replicas, with an interval.
    chaosphere.stats.median_interval : Median over replicas, with an interval.

    Notes
    -----
    Each end leaves the quantile out with a probability of at most (1 − confidence)/2, whatever the law of the values
    and their number: the number of values below the quantile is binomial. The interval is that of
    `scipy.stats.quantile_test`.

    Examples
    --------
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> cs.stats.quantile_interval(np.arange(101.0), 0.9)
    Interval(value=90.0, low=81.0, high=98.0)
    """
    values, tail = _replicas(values, "values"), _tail(confidence)
    q = checks.number(q, "q", above=0, high=1)
    if q == 1:
        raise ValueError("q must be below 1: the largest value that a law can take is not known from a sample")
    n = len(values)
    # The k-th smallest value is above the quantile with probability P(B < k) at most, B the number of values below it.
    below = int(scipy.stats.binom.ppf(tail, n, q))
    above = int(scipy.stats.binom.isf(tail, n, q)) + 1
    with_ends = np.concatenate(
        [np.full((1, *values.shape[1:]), -np.inf), np.sort(values, axis=0), np.full((1, *values.shape[1:]), np.inf)]
    )
    is_nan = np.isnan(values).any(axis=0)
    value, low, high = (
        np.where(is_nan, np.nan, end) for end in (np.quantile(values, q, axis=0), with_ends[below], with_ends[above])
    )
    return _interval(value, np.minimum(low, value), np.maximum(high, value))


def median_interval(values: Any, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the median over replicas (first axis) with an interval between two of the values.

    Parameters
    ----------
    values : array_like, shape (R, ...)
        One independent value per replica.
    confidence : float
        Least probability that the interval holds the median, in (0, 1).

    Returns
    -------
    Interval
        As from `quantile_interval` for q = 0.5.

    Raises
    ------
    TypeError, ValueError
        If values are no real numbers, or there are none, or confidence is not between 0 and 1.

    See Also
    --------
    chaosphere.stats.mean_interval : Mean over replicas, with an interval.
    chaosphere.stats.quantile_interval : Quantile over replicas, with an interval.

    Examples
    --------
    >>> import chaosphere as cs
    >>> cs.stats.median_interval([3.0, 1.0, 2.0, 5.0, 4.0, 8.0, 7.0, 6.0])
    Interval(value=4.5, low=1.0, high=8.0)
    """
    return quantile_interval(values, 0.5, confidence=confidence)


def probability_interval(outcomes: Any, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the fraction of replicas (first axis) in which something happened, with its interval.

    Parameters
    ----------
    outcomes : array_like of bool, shape (R, ...)
        Whether it happened, one independent answer per replica.
    confidence : float
        Least probability that the interval holds the probability, in (0, 1).

    Returns
    -------
    Interval
        Arrays of shape (...), floats if that is ().

    Raises
    ------
    TypeError, ValueError
        If outcomes are not true or false, there are none, or confidence is not between 0 and 1.

    See Also
    --------
    chaosphere.stats.mean_interval : Mean over replicas, with an interval.

    Notes
    -----
    Each end leaves the probability out with a probability of at most (1 − confidence)/2, whatever it is. The interval
    is that of `scipy.stats.binomtest(...).proportion_ci(method="exact")` (Clopper and Pearson, Biometrika 26, 1934).

    Examples
    --------
    What happened in all of twenty runs need not be certain:

    >>> import chaosphere as cs
    >>> fraction, low, high = cs.stats.probability_interval([True] * 20)
    >>> fraction, round(low, 3), high
    (1.0, 0.767, 1.0)
    """
    answers, tail = np.asarray(outcomes), _tail(confidence)
    if answers.dtype.kind != "b":
        raise TypeError(
            f"outcomes must be an array of bool, got {answers.dtype}; pass a comparison such as values > 0.5"
        )
    if answers.ndim == 0 or len(answers) == 0:
        raise ValueError(f"outcomes must hold at least one replica, got shape {answers.shape}")
    n, hits = len(answers), answers.sum(axis=0)
    low, high = _clopper_pearson(hits, n - hits, tail)
    return _interval(hits / n, low, high)


def effective_replicas(values: Any) -> Any:
    """Return how many replicas carry the mean of positive values: R exp(−s²), s² the variance of their logarithms.

    Under a log-normal law this is R E[X]²/E[X²], the number of equal values whose mean varies as much. It is taken
    from the logarithms because a sample that misses the large values cannot show by its own mean that it does.

    Parameters
    ----------
    values : array_like, shape (R, ...)
        R >= 2, positive.

    Returns
    -------
    float, or ndarray of shape (...)
        At most R.

    Raises
    ------
    TypeError, ValueError
        If values are no real numbers, some are negative, or there are fewer than two.

    See Also
    --------
    chaosphere.stats.mean_interval : Mean over replicas, with an interval.

    Examples
    --------
    Four equal values, and four of which one is much larger than the others:

    >>> import chaosphere as cs
    >>> round(float(cs.stats.effective_replicas([1.0, 1.0, 1.0, 1.0])), 12)
    4.0
    >>> round(float(cs.stats.effective_replicas([1.0, 10.0, 0.1, 1.0])), 3)
    0.117
    """
    carried = _effective(_positive(values, "values"))
    return float(carried) if carried.ndim == 0 else carried


def _effective(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.nan_to_num(np.log(values).var(axis=0, ddof=1), nan=np.inf)
    # Equal values, zeros among them, have no spread.
    return np.asarray(len(values) * np.exp(-np.where(np.ptp(values, axis=0) == 0, 0.0, spread)))


def _replicas(values: Any, name: str, *, least: int = 1) -> Floats:
    array = checks.array(values, name)
    if array.ndim == 0 or len(array) < least:
        raise ValueError(f"{name} must hold at least {least} value(s) along its first axis, got shape {array.shape}")
    return array


def limits(at_least: Any, at_most: Any) -> tuple[float, float]:
    """Return the ends of a range of values as floats, checked; −∞ and ∞ where it has none."""
    low, high = (
        float(end) if isinstance(end, (float, np.floating)) and math.isinf(end) else checks.number(end, name)
        for name, end in (("at_least", at_least), ("at_most", at_most))
    )
    if not low < high:
        raise ValueError(f"at_least must be below at_most, got {low:g} and {high:g}")
    return low, high


def _check_range(values: Floats, at_least: float, *, at_most: float) -> None:
    slack = 1e-6 * (at_most - at_least if math.isfinite(at_most - at_least) else 1 + abs(at_least))
    is_outside = (values < at_least - slack) | (values > at_most + slack)
    if is_outside.any():
        raise ValueError(f"values must be in [{at_least:g}, {at_most:g}], found {values[is_outside].ravel()[0]}")


def _positive(values: Any, name: str) -> Floats:
    array = _replicas(values, name, least=2)
    if (array < 0).any():
        raise ValueError(f"{name} must not be negative, found {array[array < 0].ravel()[0]}")
    return array


def _tail(confidence: float) -> float:
    """Return the probability beyond each end."""
    confidence = checks.number(confidence, "confidence", above=0, high=1)
    if confidence == 1:
        raise ValueError("confidence must be below 1")
    return (1 - confidence) / 2


def _interval(*parts: Floats) -> Interval:
    """Return an interval of arrays, or of floats where there is one."""
    return Interval(*(float(part) if np.ndim(part) == 0 else part for part in parts))


def _ends_of_positive(values: Floats, tail: float) -> tuple[Floats, Floats]:
    n, mean = len(values), values.mean(axis=0)
    t = _student(n, tail)
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
    is_carried = _effective(values) >= FEWEST_REPLICAS
    low, high = (np.where(is_equal, mean, np.where(is_carried, end, np.nan)) for end in ends)
    return low, high


def _ends_of_fraction(values: Floats, tail: float) -> tuple[Floats, Floats]:
    n, mean = len(values), np.clip(values.mean(axis=0), 0, 1)
    variance = values.var(axis=0, ddof=1) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = mean * (1 - mean) / variance * (scipy.stats.norm.ppf(tail) / _student(n, tail)) ** 2
    # Values that are all 0 or all 1 say no more than as many answers of yes or no.
    draws = np.where(np.isnan(draws) | (draws == 0), n, draws)
    hits, misses = draws * mean, draws * (1 - mean)
    # Far from the ends the interval is Student's, which needs no function of huge numbers.
    is_far = np.minimum(hits, misses) > 1e8
    width, hits, misses = _student(n, tail) * np.sqrt(variance), np.where(is_far, 1, hits), np.where(is_far, 1, misses)
    low, high = _clopper_pearson(hits, misses, tail)
    return np.where(is_far, mean - width, low), np.where(is_far, mean + width, high)


def _clopper_pearson(hits: Any, misses: Any, tail: float) -> tuple[Floats, Floats]:
    low = np.where(hits > 0, scipy.stats.beta.ppf(tail, hits, misses + 1), 0.0)
    high = np.where(misses > 0, scipy.stats.beta.ppf(1 - tail, hits + 1, misses), 1.0)
    return low, high


def _student(n_replicas: int, tail: float) -> float:
    return float(scipy.stats.t.ppf(1 - tail, n_replicas - 1))
