"""Numbers as text, with the digits that their uncertainty leaves."""

from __future__ import annotations

import math

_MAX_DIGITS = 8  # of a number with a very short interval
_POWERS = (-4, 6)  # from the first to below the second a number is written without a power of ten


def significant(value: float, *, n_digits: int = 6) -> str:
    """Return a number that has no error, rounded to significant digits.

    Parameters
    ----------
    value : float
    n_digits : int
        Zeros at the end of the decimals are left out.

    Returns
    -------
    str

    Examples
    --------
    >>> [significant(value) for value in (0.25, 2.0 / 3.0, 3.0e-7, 0.0)]
    ['0.25', '0.666667', '3e-07', '0']
    """
    return f"{value + 0.0:.{n_digits}g}"  # −0.0 is shown as 0


def with_interval(value: float, *, low: float, high: float) -> tuple[str, str, str]:
    """Return an estimate and the ends of its interval, as text.

    Parameters
    ----------
    value, low, high : float
        May be infinite or NaN.

    Returns
    -------
    value, low, high : str

    Notes
    -----
    The nearer end is rounded to two significant digits of its distance from the estimate, and the estimate with it. So
    is the other end, unless it is ten times as far: then two digits of its own distance are left. Every number keeps
    its first significant digit, so that only 0 is written as 0. Three equal numbers are exact, and have six significant
    digits; an estimate without an interval has four.

    Examples
    --------
    >>> with_interval(-0.50312, low=-0.51249, high=-0.49375)
    ('-0.5031', '-0.5125', '-0.4938')
    >>> with_interval(-0.6858, low=-47.3225, high=45.9509)
    ('-0.7', '-47', '46')
    >>> with_interval(0.1141, low=2.3e-10, high=5.7e7)
    ('0.11', '2e-10', '5.7e+07')
    """
    if low == value == high:
        return significant(value), significant(low), significant(high)
    distances = [abs(end - value) for end in (low, high)]
    nearest = min((distance for distance in distances if distance > 0), default=math.nan)
    if math.isnan(nearest):
        return significant(value, n_digits=4), f"{low:g}", f"{high:g}"
    first, last = (
        _rounded(end, far if far >= 10 * nearest else nearest) for end, far in zip((low, high), distances, strict=True)
    )
    return _rounded(value, nearest), first, last


def _rounded(value: float, uncertainty: float) -> str:
    """Return a number up to the second significant digit of its uncertainty."""
    if not math.isfinite(value) or value == 0:
        return significant(value)
    first = math.floor(math.log10(abs(value)))
    last = math.floor(math.log10(uncertainty)) - 1 if math.isfinite(uncertainty) else first
    last = max(min(first, last), first - _MAX_DIGITS + 1)  # the powers of ten of the digits that are shown
    rounded = float(f"{value:.{first - last}e}")
    if not _POWERS[0] <= first < _POWERS[1]:
        return f"{rounded:.{first - last}e}"
    return f"{rounded:.{max(0, -last)}f}"
