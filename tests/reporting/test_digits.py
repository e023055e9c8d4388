"""Numbers are shown with the digits that their uncertainty leaves."""

import math

import numpy as np
import pytest

from chaosphere.reporting.digits import significant, with_interval


@pytest.mark.parametrize(
    ("interval", "texts"),
    [
        ((-0.50312, -0.51249, -0.49375), ("-0.5031", "-0.5125", "-0.4938")),
        ((-0.6858, -47.3225, 45.9509), ("-0.7", "-47", "46")),  # the first digit stays
        ((0.1141, 2.3e-10, 5.7e7), ("0.11", "2e-10", "5.7e+07")),  # the far end has digits of its own
        ((0.99999, 0.99, 1.01), ("1.0000", "0.9900", "1.0100")),
        ((99999.7, 99990.0, 100010.0), ("99999.7", "99990.0", "100010.0")),
        ((9.6, -4.0, 30.0), ("10", "-4", "30")),
        ((1234.5, 800.0, 1900.0), ("1230", "800", "1900")),
        ((1.0e-9, 0.0, 2.0e-9), ("1.0e-09", "0", "2.0e-09")),
        ((0.0, 0.0, 0.0213), ("0", "0", "0.021")),
        ((-0.0, -0.0, 0.5), ("0", "0", "0.50")),
        ((-0.0, -0.0, -0.0), ("0", "0", "0")),
        ((1.0, 1.0, 1.0), ("1", "1", "1")),
        ((2 / 3, 2 / 3, 2 / 3), ("0.666667", "0.666667", "0.666667")),
        ((2 / 3, math.nan, math.nan), ("0.6667", "nan", "nan")),
        ((math.nan, math.nan, math.nan), ("nan", "nan", "nan")),
        ((-0.52, -math.inf, math.inf), ("-0.5", "-inf", "inf")),
        ((-0.52, -0.6, math.inf), ("-0.520", "-0.600", "inf")),
        ((math.inf, math.inf, math.inf), ("inf", "inf", "inf")),
        ((-1e300, -1e300, 1e308), ("-1e+300", "-1e+300", "1.0e+308")),
    ],
)
def test_digits_of_an_interval(interval, texts):
    value, low, high = interval
    assert with_interval(value, low=low, high=high) == texts


def test_rounding_is_small_beside_the_uncertainty():
    """By at most a twentieth of the distance to the nearer end where the interval is no shorter than eight digits."""
    rng = np.random.default_rng(5)
    for _ in range(2000):
        value = rng.standard_normal() * 10.0 ** rng.integers(-12, 12)
        below, above = abs(value) * 10.0 ** rng.uniform(-6, 3, 2)
        shown = [float(text) for text in with_interval(value, low=value - below, high=value + above)]
        tolerance = 0.0501 * min(below, above)
        assert abs(shown[0] - value) <= tolerance
        assert abs(shown[1] - (value - below)) <= 0.0501 * below
        assert abs(shown[2] - (value + above)) <= 0.0501 * above


def test_numbers_without_an_error():
    assert [significant(value) for value in (-0.5, 1.0, 2467.4011, 1.25e-9)] == ["-0.5", "1", "2467.4", "1.25e-09"]
    assert significant(2 / 3, n_digits=2) == "0.67"
