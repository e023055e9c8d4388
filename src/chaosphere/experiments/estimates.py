"""Claims of experiments, from an interval, from the slope of an error, or from an exact number."""

from __future__ import annotations

from chaosphere import stats
from chaosphere.common.checks import Floats
from chaosphere.reporting.claims import Claim


def from_interval(
    quantity: str,
    interval: tuple[float, float, float],
    *,
    expected: float | None,
    is_bound: bool = False,
    relevant: float | None = None,
) -> Claim:
    """Return the claim of an estimate with the ends of its 99 % interval; the other arguments as those of `Claim`."""
    measured, low, high = (float(value) for value in interval)
    return Claim(
        quantity=quantity,
        measured=measured,
        low=low,
        high=high,
        expected=expected,
        is_bound=is_bound,
        relevant=relevant,
    )


def from_slope(
    quantity: str,
    ladder: tuple[Floats, Floats],
    *,
    expected: float,
    power: int = 1,
    is_bound: bool = False,
) -> Claim:
    """Return the claim of the exponent of an error.

    Parameters
    ----------
    quantity : str
    ladder : tuple of ndarray
        x, shape (n,), and the mean squares of the error, shape (R, n), one row per replica.
    expected : float
    power : int
        1 for the exponent of the root-mean-square error, 2 for that of the mean square.
    is_bound : bool
        The expected exponent is an upper bound.
    """
    x, mean_squares = ladder
    measured, low, high = (power * value for value in stats.exponent_interval(x, mean_squares))
    return from_interval(quantity, (measured, low, high), expected=expected, is_bound=is_bound)


def exact(quantity: str, value: float, *, expected: float | None) -> Claim:
    """Return the claim of a number without an error."""
    return from_interval(quantity, (value, value, value), expected=expected)
