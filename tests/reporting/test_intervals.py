"""Intervals of means, fractions and ratios."""

import math

import numpy as np
import pytest

from chaosphere.reporting import intervals
from chaosphere.reporting.claims import Claim


def test_a_fraction_stays_between_0_and_1():
    # Student's interval of these ends at 1.047.
    values = np.array([1.0, 1.0, 0.6, 1.0, 1.0])
    mean, low, high = intervals.mean_interval(values, at_least=0, at_most=1)
    _, _, beyond = intervals.mean_interval(values)
    assert beyond > 1
    assert 0 < low < mean < high < 1
    # All ones: the lower end of Clopper and Pearson, (α/2)^{1/n}.
    mean, low, high = intervals.mean_interval(np.ones(5), at_least=0, at_most=1)
    assert (mean, high) == (1, 1)
    assert low == pytest.approx(0.005**0.2, rel=1e-12, abs=0)
    # Equal values elsewhere have no spread, up to rounding either.
    assert intervals.mean_interval(np.full(5, 0.25), at_least=0, at_most=1) == (0.25, 0.25, 0.25)
    mean, low, high = intervals.mean_interval(np.array([0.4, 0.4, np.nextafter(0.4, 1)]), at_least=0, at_most=1)
    assert 0.4 - 1e-14 < low <= mean <= high < 0.4 + 1e-14
    # Ranges are affine images of [0, 1].
    shifted = intervals.mean_interval(2 * values - 1, at_least=-1, at_most=1)
    expected = [2 * float(end) - 1 for end in intervals.mean_interval(values, at_least=0, at_most=1)]
    assert np.allclose(shifted, expected, rtol=1e-12, atol=1e-14)


def test_far_from_its_ends_a_fraction_has_nearly_student_s_interval():
    values = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(400)
    for end, student in zip(
        intervals.mean_interval(values, at_least=0, at_most=1), intervals.mean_interval(values), strict=True
    ):
        assert end == pytest.approx(student, rel=2e-5, abs=0)


def test_a_positive_mean_has_a_positive_interval_or_none():
    rng = np.random.default_rng(0)
    values = np.exp(rng.standard_normal((32, 3)) * [0.1, 1.0, 5.0])
    mean, low, high = intervals.mean_interval(values, at_least=0)
    assert (low[:2] > 0).all()
    assert (low[:2] < mean[:2]).all()
    assert (mean[:2] < high[:2]).all()
    # exp(N(0, 25)): 32 exp(−25) replicas carry the mean.
    assert np.isnan([low[2], high[2]]).all()
    assert intervals.effective_replicas(values)[2] < 1e-4
    # Equal values have no spread; a zero among others has a logarithm without one.
    assert intervals.mean_interval(np.zeros(4), at_least=0) == (0, 0, 0)
    assert np.isnan(intervals.mean_interval(np.array([0.0, 1.0, 1.0]), at_least=0)[1])
    assert np.isnan(intervals.mean_interval(np.array([2.0]), at_least=0)[1])


def test_a_ratio_of_positive_means_is_positive():
    ratio, low, high = intervals.ratio_of_means(np.array([1.0, 0.1, 0.2]), np.array([1.0, 1.1, 0.9]))
    assert 0 < low < ratio < high
    # Two replicas that differ much: no upper end, and no warning.
    ratio, low, high = intervals.ratio_of_means(np.array([1.0, 1e-30]), np.array([1.0, 1.0]))
    assert 0 <= low < ratio < high == math.inf
    assert Claim(quantity="q", measured=ratio, low=low, high=high, expected=1.0).verdict == "inconclusive"


@pytest.mark.parametrize("limits", [{}, {"at_least": 0.0}, {"at_least": -1.0, "at_most": 1.0}])
def test_the_mean_lies_in_its_interval_whatever_the_rounding(limits):
    """Equal values, whose interval is a point: pictures draw the distances of its ends, which must not be negative."""
    values = np.repeat(np.random.default_rng(0).uniform(0.01, 0.99, 200)[None], 7, axis=0)
    mean, low, high = intervals.mean_interval(values, **limits)
    assert (low <= mean).all()
    assert (mean <= high).all()
    np.testing.assert_allclose(high - low, 0, rtol=0, atol=4e-15)  # rounding of the standard deviation, times t
