"""Claims: measured numbers with their intervals, beside what is expected."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A measured number beside what is expected.

    Attributes
    ----------
    quantity : str
    measured, low, high : float
        Estimate and the ends of its 99 % interval; NaN where there is none.
    expected : float or None
    is_bound : bool
        The expected value is an upper bound.
    relevant : float or None
        Difference from the expected value that an interval must be able to tell; half of the expected value if None.
    """

    quantity: str
    measured: float
    low: float
    high: float
    expected: float | None
    is_bound: bool = False
    relevant: float | None = None

    @property
    def verdict(self) -> str:
        """What the interval says: "agrees", "differs", "inconclusive", or "no claim" where nothing is expected.

        A bound is confirmed by an interval below it, refuted by one above it; one that straddles it is inconclusive.
        A value is refuted by an interval that leaves it out. One that holds it agrees, unless it reaches farther from
        the value than `relevant`: then it could not have told a difference that matters, and is inconclusive.
        """
        if self.expected is None:
            return "no claim"
        if not self.low <= self.high:
            return "inconclusive"
        if self.low > self.expected or (self.high < self.expected and not self.is_bound):
            return "differs"
        if self.is_bound:
            return "agrees" if self.high <= self.expected else "inconclusive"
        reach = max(self.expected - self.low, self.high - self.expected)
        relevant = abs(self.expected) / 2 if self.relevant is None else self.relevant
        return "agrees" if reach <= relevant else "inconclusive"

    def as_dict(self) -> dict[str, Any]:
        """Return quantity, measured, low, high, expected and verdict as values of JSON; None for what is not finite."""
        numbers = {name: getattr(self, name) for name in ("measured", "low", "high", "expected")}
        finite = {name: v if v is not None and math.isfinite(v) else None for name, v in numbers.items()}
        return {"quantity": self.quantity, **finite, "verdict": self.verdict}


def fixed(value: float, *, n_decimals: int, width: int) -> str:
    """Return a number with decimals, of a large one fewer, or in powers of ten, so that it fits into a column.

    Parameters
    ----------
    value : float
    n_decimals : int
        Decimals of a number that fits with them.
    width : int
        Letters of the column, at least 7.

    Examples
    --------
    >>> [fixed(value, n_decimals=4, width=8) for value in (0.25, -1234.5678, 4.25e18, -1e300)]
    ['0.2500', '-1234.57', '4.2e+18', '-1e+300']
    """
    texts = [f"{value:.{n}f}" for n in range(n_decimals, -1, -1)] + [f"{value:.{n}e}" for n in range(width - 7, -1, -1)]
    return next((text for text in texts if len(text) <= width), texts[-1])


def format_claims(claims: Sequence[Claim]) -> str:
    """Return the claims as lines of text: quantity, measured, 99 % interval, expected, verdict."""
    if not claims:
        return "no claims: nothing here can be held against an expected value"
    width = max(len(claim.quantity) for claim in claims)
    lines = [f"{'':>{width}} {'measured':>9}   {'99 % interval':^20} {'expected':>9}"]
    for claim in claims:
        expected = ""
        if claim.expected is not None:
            expected = f"{'≤ ' if claim.is_bound else ''}{fixed(claim.expected, n_decimals=4, width=7)}"
        low, high = (fixed(end, n_decimals=4, width=8) for end in (claim.low, claim.high))
        interval = f"[{low:>8}, {high:>8}]" if claim.low <= claim.high else f"{'none':^20}"
        measured = fixed(claim.measured, n_decimals=4, width=9)
        lines.append(f"{claim.quantity:>{width}} {measured:>9}   {interval} {expected:>9}   {claim.verdict}")
    return "\n".join(lines)


def summary(claims: Sequence[Claim]) -> str:
    """Return how many claims have each verdict, and those that differ or are inconclusive, as lines of text."""
    counts = Counter(claim.verdict for claim in claims if claim.expected is not None)
    text = f"{counts['agrees']} agree, {counts['differs']} differ, {counts['inconclusive']} are inconclusive"
    lines = [f"{counts.total()} claims: {text}"]
    rest = [claim for claim in claims if claim.verdict in ("differs", "inconclusive")]
    return "\n".join([*lines, format_claims(rest)] if rest else lines)
