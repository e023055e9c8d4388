"""Claims and their intervals."""

import json
import math

import numpy as np
import pytest

from chaosphere.common import files
from chaosphere.reporting import plotting, results
from chaosphere.reporting.results import Claim


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
    assert "nan" not in results.format_claims([claim])


def test_no_claims_are_said():
    assert "no claims" in results.format_claims([])
    assert results.summary([]) == "0 claims: 0 agree, 0 differ, 0 are inconclusive"


def test_a_fraction_stays_between_0_and_1():
    # Student's interval of these ends at 1.047.
    values = np.array([1.0, 1.0, 0.6, 1.0, 1.0])
    mean, low, high = results.mean_interval(values, at_least=0, at_most=1)
    _, _, beyond = results.mean_interval(values)
    assert beyond > 1
    assert 0 < low < mean < high < 1
    # All ones: the lower end of Clopper and Pearson, (α/2)^{1/n}.
    mean, low, high = results.mean_interval(np.ones(5), at_least=0, at_most=1)
    assert (mean, high) == (1, 1)
    assert low == pytest.approx(0.005**0.2, rel=1e-12, abs=0)
    # Equal values elsewhere have no spread, up to rounding either.
    assert results.mean_interval(np.full(5, 0.25), at_least=0, at_most=1) == (0.25, 0.25, 0.25)
    mean, low, high = results.mean_interval(np.array([0.4, 0.4, np.nextafter(0.4, 1)]), at_least=0, at_most=1)
    assert 0.4 - 1e-14 < low <= mean <= high < 0.4 + 1e-14
    # Ranges are affine images of [0, 1].
    shifted = results.mean_interval(2 * values - 1, at_least=-1, at_most=1)
    expected = [2 * float(end) - 1 for end in results.mean_interval(values, at_least=0, at_most=1)]
    assert np.allclose(shifted, expected, rtol=1e-12, atol=1e-14)


def test_far_from_its_ends_a_fraction_has_nearly_student_s_interval():
    values = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(400)
    for end, student in zip(
        results.mean_interval(values, at_least=0, at_most=1), results.mean_interval(values), strict=True
    ):
        assert end == pytest.approx(student, rel=2e-5, abs=0)


def test_a_positive_mean_has_a_positive_interval_or_none():
    rng = np.random.default_rng(0)
    values = np.exp(rng.standard_normal((32, 3)) * [0.1, 1.0, 5.0])
    mean, low, high = results.mean_interval(values, at_least=0)
    assert (low[:2] > 0).all()
    assert (low[:2] < mean[:2]).all()
    assert (mean[:2] < high[:2]).all()
    # exp(N(0, 25)): 32 exp(−25) replicas carry the mean.
    assert np.isnan([low[2], high[2]]).all()
    assert results.effective_replicas(values)[2] < 1e-4
    # Equal values have no spread; a zero among others has a logarithm without one.
    assert results.mean_interval(np.zeros(4), at_least=0) == (0, 0, 0)
    assert np.isnan(results.mean_interval(np.array([0.0, 1.0, 1.0]), at_least=0)[1])
    assert np.isnan(results.mean_interval(np.array([2.0]), at_least=0)[1])


def test_a_ratio_of_positive_means_is_positive():
    ratio, low, high = results.ratio_of_means(np.array([1.0, 0.1, 0.2]), np.array([1.0, 1.1, 0.9]))
    assert 0 < low < ratio < high
    # Two replicas that differ much: no upper end, and no warning.
    ratio, low, high = results.ratio_of_means(np.array([1.0, 1e-30]), np.array([1.0, 1.0]))
    assert 0 <= low < ratio < high == math.inf
    assert Claim(quantity="q", measured=ratio, low=low, high=high, expected=1.0).verdict == "inconclusive"


def test_differences_of_studies_name_the_parameters():
    cases = [{"name": f"d = {d}", "model": {"depth": 8, "attention": {"beta": 1.0}}} for d in (2, 3)]
    other = json.loads(json.dumps(cases))
    for case in other:
        case["model"]["attention"]["beta"] = 2.0
    stored, identity = (json.dumps({"cases": c, "entropy": "0"}) for c in (cases, other))
    assert results.study_differences(stored, identity) == "cases.model.attention.beta is 1.0, not 2.0"
    assert results.study_differences(stored, json.dumps({"cases": cases, "entropy": "1"})) == 'seed is "0", not "1"'


def test_text_that_cannot_be_drawn_is_refused():
    for text in (r"decay $e^{-\lambda t}$", "cost: 5 $", r"a \$ and a \$"):
        plotting.check_text(text, "title")
    with pytest.raises(ValueError, match=r"title must be text that can be drawn.*Expected .frac"):
        plotting.check_text(r"bad $\frac{1$", "title")
    plotting.check_text(plotting.plain(r"bad $\frac{1$"), "title")


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.png"
    canvas, axes = plotting.figure()
    plotting.write(canvas, path)
    before = path.read_bytes()
    axes.plot([1, 2])
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        plotting.write(canvas, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("limits", [{}, {"at_least": 0.0}, {"at_least": -1.0, "at_most": 1.0}])
def test_the_mean_lies_in_its_interval_whatever_the_rounding(limits):
    """Equal values, whose interval is a point: pictures draw the distances of its ends, which must not be negative."""
    values = np.repeat(np.random.default_rng(0).uniform(0.01, 0.99, 200)[None], 7, axis=0)
    mean, low, high = results.mean_interval(values, **limits)
    assert (low <= mean).all()
    assert (mean <= high).all()
    np.testing.assert_allclose(high - low, 0, rtol=0, atol=4e-15)  # rounding of the standard deviation, times t
