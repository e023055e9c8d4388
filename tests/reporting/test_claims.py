"""Claims and their verdicts."""

import json
import math

import pytest

from chaosphere.reporting.claims import Claim, format_claims, summary


@pytest.mark.parametrize(
    ("low", "high", "expected", "options", "verdict"),
    [
        (0.9, 1.1, 1.0, {}, "agrees"),
        (1.01, 1.1, 1.0, {}, "differs"),
        (0.9, 0.99, 1.0, {}, "differs"),
        (0.4, 1.1, 1.0, {}, "inconclusive"),  # reaches 0.6 from 1
        (0.4, 1.1, 1.0, {"relevant": 0.7}, "agrees"),
        (-0.76, -0.3, -0.5, {}, "inconclusive"),
        (-0.74, -0.3, -0.5, {}, "agrees"),
        (0.0, 0.0, 0.0, {}, "agrees"),
        (1e-17, 1e-17, 0.0, {}, "differs"),
        (-25.8, 0.82, -4.0, {"is_bound": True}, "inconclusive"),
        (-25.8, -4.1, -4.0, {"is_bound": True}, "agrees"),
        (-3.9, 0.82, -4.0, {"is_bound": True}, "differs"),
        (math.nan, math.nan, 1.0, {}, "inconclusive"),
        (math.nan, math.nan, None, {}, "no claim"),
        (0.0, 1.0, None, {}, "no claim"),
    ],
)
def test_verdicts(low, high, expected, options, verdict):
    claim = Claim(quantity="q", measured=0.5, low=low, high=high, expected=expected, **options)
    assert claim.verdict == claim.as_dict()["verdict"] == verdict
    values = json.loads(json.dumps(claim.as_dict(), allow_nan=False))
    assert values["low"] == (None if math.isnan(low) else low)
    assert "nan" not in format_claims([claim])


def test_large_numbers_keep_the_columns():
    """An exponent from two replicas may have an interval of any width."""
    ends = [(-0.5, 0.25), (-4.2e18, 4.2e18), (-1e300, 123.4567), (-12345.678, 1e9), (-math.inf, math.inf)]
    claims = [Claim(quantity="q", measured=low, low=low, high=high, expected=high, is_bound=True) for low, high in ends]
    rows = format_claims(claims).splitlines()[1:]
    assert {row.index("[") for row in rows} == {rows[0].index("[")}
    assert {row.index("]") for row in rows} == {rows[0].index("]")}
    assert {row.index("agrees") for row in rows} == {rows[0].index("agrees")}
    assert "[ -4.2e+18, 4.2e+18]" in rows[1]
    assert "[-1.0e+300,     100]" in rows[2]
    assert "[   -10000, 1.0e+09]" in rows[3]


def test_small_numbers_keep_their_digits():
    claims = [
        Claim(quantity="q", measured=3.0e-9, low=1.0e-9, high=5.0e-9, expected=1e-7, is_bound=True),
        Claim(quantity="q", measured=-6.8e-13, low=-6.8e-13, high=-6.8e-13, expected=0.0),
        Claim(quantity="q", measured=0.0, low=0.0, high=0.0, expected=0.0),
    ]
    rows = [row.split() for row in format_claims(claims).splitlines()[1:]]
    assert rows[0] == ["q", "3.0e-09", "[", "1.0e-09,", "5.0e-09]", "≤", "1e-07", "agrees"]
    assert rows[1][1] == "-6.8e-13"
    assert rows[2] == ["q", "0", "[", "0,", "0]", "0", "agrees"]


def test_no_claims_are_said():
    assert "no claims" in format_claims([])
    assert summary([]) == "0 claims: 0 agree, 0 differ, 0 are inconclusive"
