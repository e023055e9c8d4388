"""Claims: measured numbers with their intervals, beside what is expected."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chaosphere.reporting.digits import significant, with_interval


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


def format_claims(claims: Sequence[Claim]) -> str:
    """Return the claims as lines of text: quantity, measured, 99 % interval, expected, verdict."""
    if not claims:
        return "no claims: nothing here can be held against an expected value"
    texts = [with_interval(claim.measured, low=claim.low, high=claim.high) for claim in claims]
    to_low, to_high = (max(len(text[k]) for text in texts) for k in (1, 2))
    rows = [("", "measured", "99 % interval", "expected", "")]
    for claim, (measured, low, high) in zip(claims, texts, strict=True):
        interval = f"[{low:>{to_low}}, {high:>{to_high}}]" if claim.low <= claim.high else "none"
        expected = "" if claim.expected is None else ("≤ " if claim.is_bound else "") + significant(claim.expected)
        rows.append((claim.quantity, measured, interval, expected, claim.verdict))
    quantity, number, pair, rule = (max(len(row[k]) for row in rows) for k in range(4))
    lines = (f"{q:>{quantity}} {m:>{number}}   {i:^{pair}} {e:>{rule}}   {verdict}" for q, m, i, e, verdict in rows)
    return "\n".join(line.rstrip() for line in lines)


def summary(claims: Sequence[Claim]) -> str:
    """Return how many claims have each verdict, and those that differ or are inconclusive, as lines of text."""
    counts = Counter(claim.verdict for claim in claims if claim.expected is not None)
    text = f"{counts['agrees']} agree, {counts['differs']} differ, {counts['inconclusive']} are inconclusive"
    lines = [f"{counts.total()} claims: {text}"]
    rest = [claim for claim in claims if claim.verdict in ("differs", "inconclusive")]
    return "\n".join([*lines, format_claims(rest)] if rest else lines)
