"""Intervals of means, fractions, ratios, exponents, quantiles and probabilities."""

import math

import numpy as np
import pytest
import scipy.stats
from support.programs import run

from chaosphere import stats
from chaosphere.reporting.claims import Claim


def test_a_fraction_stays_between_0_and_1():
    # Student's interval of these ends at 1.047.
    values = np.array([1.0, 1.0, 0.6, 1.0, 1.0])
    mean, low, high = stats.mean_interval(values, at_least=0, at_most=1)
    _, _, beyond = stats.mean_interval(values)
    assert beyond > 1
    assert 0 < low < mean < high < 1
    # All ones: the lower end of Clopper and Pearson, (α/2)^{1/n}.
    mean, low, high = stats.mean_interval(np.ones(5), at_least=0, at_most=1)
    assert (mean, high) == (1, 1)
    assert low == pytest.approx(0.005**0.2, rel=1e-12, abs=0)
    # Equal values elsewhere have no spread, up to rounding either.
    assert stats.mean_interval(np.full(5, 0.25), at_least=0, at_most=1) == (0.25, 0.25, 0.25)
    mean, low, high = stats.mean_interval(np.array([0.4, 0.4, np.nextafter(0.4, 1)]), at_least=0, at_most=1)
    assert 0.4 - 1e-14 < low <= mean <= high < 0.4 + 1e-14
    # Ranges are affine images of [0, 1].
    shifted = stats.mean_interval(2 * values - 1, at_least=-1, at_most=1)
    expected = [2 * float(end) - 1 for end in stats.mean_interval(values, at_least=0, at_most=1)]
    assert np.allclose(shifted, expected, rtol=1e-12, atol=1e-14)


def test_far_from_its_ends_a_fraction_has_nearly_student_s_interval():
    values = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(400)
    for end, student in zip(
        stats.mean_interval(values, at_least=0, at_most=1), stats.mean_interval(values), strict=True
    ):
        assert end == pytest.approx(student, rel=2e-5, abs=0)


def test_a_positive_mean_has_a_positive_interval_or_none():
    rng = np.random.default_rng(0)
    values = np.exp(rng.standard_normal((32, 3)) * [0.1, 1.0, 5.0])
    mean, low, high = stats.mean_interval(values, at_least=0)
    assert (low[:2] > 0).all()
    assert (low[:2] < mean[:2]).all()
    assert (mean[:2] < high[:2]).all()
    # exp(N(0, 25)): 32 exp(−25) replicas carry the mean.
    assert np.isnan([low[2], high[2]]).all()
    assert stats.effective_replicas(values)[2] < 1e-4
    # Equal values have no spread; a zero among others has a logarithm without one.
    assert stats.mean_interval(np.zeros(4), at_least=0) == (0, 0, 0)
    assert np.isnan(stats.mean_interval(np.array([0.0, 1.0, 1.0]), at_least=0)[1])
    assert np.isnan(stats.mean_interval(np.array([2.0]), at_least=0)[1])


def test_a_ratio_of_positive_means_is_positive():
    ratio, low, high = stats.ratio_interval(np.array([1.0, 0.1, 0.2]), np.array([1.0, 1.1, 0.9]))
    assert 0 < low < ratio < high
    # Two replicas that differ much: no upper end, and no warning.
    ratio, low, high = stats.ratio_interval(np.array([1.0, 1e-30]), np.array([1.0, 1.0]))
    assert 0 <= low < ratio < high == math.inf
    assert Claim(quantity="q", measured=ratio, low=low, high=high, expected=1.0).verdict == "inconclusive"


@pytest.mark.parametrize("limits", [{}, {"at_least": 0.0}, {"at_least": -1.0, "at_most": 1.0}])
def test_the_mean_lies_in_its_interval_whatever_the_rounding(limits):
    """Equal values, whose interval is a point: pictures draw the distances of its ends, which must not be negative."""
    values = np.repeat(np.random.default_rng(0).uniform(0.01, 0.99, 200)[None], 7, axis=0)
    mean, low, high = stats.mean_interval(values, **limits)
    assert (low <= mean).all()
    assert (mean <= high).all()
    np.testing.assert_allclose(high - low, 0, rtol=0, atol=4e-15)  # rounding of the standard deviation, times t


def test_it_prints_numbers_as_they_are_and_arrays_by_type_and_shape():
    values = np.random.default_rng(0).standard_normal((9, 200))
    assert repr(stats.median_interval(np.arange(8.0))) == "Interval(value=3.5, low=0.0, high=7.0)"
    assert repr(stats.mean_interval(values)) == "Interval(value=float64[200], low=float64[200], high=float64[200])"
    assert repr(stats.mean_interval([1 / 3])) == "Interval(value=0.333333, low=nan, high=nan)"


def test_student_s_interval_is_scipy_s():
    values = np.random.default_rng(0).exponential(size=(9, 3))
    interval = stats.mean_interval(values, confidence=0.9)
    expected = scipy.stats.ttest_1samp(values, 0, axis=0).confidence_interval(0.9)
    np.testing.assert_allclose(interval.low, expected.low, rtol=1e-12)
    np.testing.assert_allclose(interval.high, expected.high, rtol=1e-12)
    np.testing.assert_array_equal(interval.value, values.mean(axis=0))


@pytest.mark.parametrize("n", [7, 8, 60])
@pytest.mark.parametrize("q", [0.05, 0.5, 0.8])
def test_quantiles_are_scipy_s(n, q):
    values = np.random.default_rng(n).standard_normal((n, 2))
    value, low, high = stats.quantile_interval(values, q, confidence=0.95)
    for column in range(2):
        expected = scipy.stats.quantile_test(values[:, column], p=q).confidence_interval(0.95)
        assert low[column] == (-np.inf if np.isnan(expected.low) else expected.low)
        assert high[column] == (np.inf if np.isnan(expected.high) else expected.high)
    np.testing.assert_array_equal(value, np.quantile(values, q, axis=0))


def test_the_median_of_few_values_has_no_ends():
    values = np.arange(7.0)
    assert stats.median_interval(values) == (3, -np.inf, np.inf)
    assert stats.median_interval(np.arange(8.0)) == (3.5, 0, 7)
    values[0] = np.nan
    assert np.isnan(stats.median_interval(values)).all()


@pytest.mark.parametrize("hits", [0, 1, 13, 20])
def test_probabilities_are_scipy_s(hits):
    value, low, high = stats.probability_interval(np.arange(20) < hits, confidence=0.95)
    expected = scipy.stats.binomtest(hits, 20).proportion_ci(0.95, method="exact")
    assert value == hits / 20
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-10, abs=0)
    many = stats.probability_interval(np.repeat(np.arange(20)[:, None] < hits, 3, axis=1), confidence=0.95)
    assert many.low.shape == (3,)
    assert (many.low == low).all()


def test_the_exponent_of_a_power_is_that_power():
    x, squares = [1.0, 2.0, 8.0], np.array([[4.0], [1.0], [9.0]]) * np.array([1.0, 2.0, 8.0]) ** -3
    assert stats.exponent_interval(x, squares) == pytest.approx((-1.5,) * 3, rel=1e-12)
    # A weight that is next to nothing leaves two points, whatever the third.
    squares[:, 2] = 1.0
    assert stats.exponent_interval(x, squares, weights=[1, 1, 1e-15]).value == pytest.approx(-1.5, rel=1e-9)


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_more_confidence_is_a_wider_interval(confidence):
    rng = np.random.default_rng(1)
    values, answers = np.exp(rng.standard_normal((40, 2))), rng.random(40) < 0.3
    for interval in (
        lambda c: stats.mean_interval(values, confidence=c),
        lambda c: stats.mean_interval(values, confidence=c, at_least=0),
        lambda c: stats.mean_interval(np.tanh(values), confidence=c, at_least=0, at_most=1),
        lambda c: stats.root_mean_square_interval(values, confidence=c),
        lambda c: stats.median_interval(values, confidence=c),
        lambda c: stats.ratio_interval(*values.T, confidence=c),
        lambda c: stats.exponent_interval([1.0, 2.0], values, confidence=c),
        lambda c: stats.probability_interval(answers, confidence=c),
    ):
        narrow, wide = interval(confidence), interval(0.99)
        np.testing.assert_array_equal(narrow.value, wide.value)
        assert np.all((wide.low < narrow.low) & (narrow.low < narrow.high) & (narrow.high < wide.high))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.mean_interval([1.0, 2.0], confidence=1.0), "confidence must be below 1"),
        (lambda: stats.mean_interval([1.0, 2.0], confidence=99), "confidence must be a finite number > 0 and <= 1"),
        (lambda: stats.mean_interval([]), "values must hold at least 1"),
        (lambda: stats.mean_interval([1.0, 2.0], at_least=2, at_most=2), "at_least must be below at_most, got 2 and 2"),
        (lambda: stats.mean_interval([1.0, 2.0], at_most=10**400), "at_most must be a finite number, got an integer"),
        (lambda: stats.mean_interval([1.0, 2.0], at_least=None), "at_least must be a real number, got None"),
        (lambda: stats.mean_interval([0.5, 2.0], at_least=0, at_most=1), r"values must be in \[0, 1\], found 2.0"),
        (lambda: stats.mean_interval([0.5, -2.0], at_least=0), r"values must be in \[0, inf\], found -2.0"),
        (lambda: stats.mean_interval(["a"]), "values must be an array of real numbers"),
        (lambda: stats.root_mean_square_interval([1.0]), "mean_squares must hold at least 2"),
        (lambda: stats.root_mean_square_interval([1.0, -1.0]), "mean_squares must not be negative, found -1.0"),
        (lambda: stats.ratio_interval([1.0, 2.0], [1.0, 2.0, 3.0]), "one shape"),
        (lambda: stats.exponent_interval([1.0, 2.0], [1.0, 2.0]), r"shapes \(n,\) and \(R, n\)"),
        (lambda: stats.exponent_interval([0.0, 2.0], np.ones((3, 2))), "x must be positive, found 0.0"),
        (
            lambda: stats.exponent_interval([1.0, 2.0], np.ones((3, 2)), weights=[1, 2, 3]),
            "weights must have the shape",
        ),
        (lambda: stats.quantile_interval([1.0], 1.0), "q must be below 1"),
        (lambda: stats.quantile_interval([1.0], 0), "q must be a finite number > 0"),
        (lambda: stats.probability_interval([0.0, 1.0]), "outcomes must be an array of bool"),
        (lambda: stats.probability_interval(np.zeros((0, 2), dtype=bool)), "at least one replica"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_it_is_imported_by_name():
    program = "from chaosphere.stats import mean_interval; import chaosphere as cs; assert cs.stats.mean_interval"
    run(program + " is mean_interval")
