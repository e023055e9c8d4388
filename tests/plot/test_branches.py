"""Branches of stationary states: what is stable is drawn as a line, what is not dashed."""

import numpy as np
import pytest

import chaosphere as cs

JUMP = cs.phases.branch(cs.UnnormalizedAttention(beta=4.0), 3)
SMOOTH = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 3)


def test_lines_are_the_branch():
    ax = cs.plot.phases(JUMP, label="jump")
    solid, dashed, critical, *_, coexistence = ax.lines
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    stable = JUMP.is_stable
    x, y = solid.get_data()
    np.testing.assert_allclose(x, JUMP.temperatures)
    np.testing.assert_allclose(y[stable], JUMP.order_parameters[stable])
    assert np.isnan(y[~stable]).all()
    x, y = dashed.get_data()
    assert np.isfinite(y).sum() == (~stable).sum() + 1  # to the first stable one
    assert critical.get_xdata().tolist() == [JUMP.critical_temperature]
    assert coexistence.get_xdata().tolist() == [JUMP.coexistence.temperature]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["jump"]


def test_a_continuous_branch_has_no_dashes_and_another_colour():
    ax = cs.plot.phases(SMOOTH)
    assert ax.get_legend() is None
    assert np.isnan(ax.lines[1].get_ydata()).all()
    assert cs.plot.phases(JUMP, ax=ax) is ax
    own = [line for line in ax.lines if line.get_gid() is not None]
    assert len({line.get_color() for line in own}) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"branch": 1.0}, TypeError, "branch must be a Branch, from phases.branch, got 1.0"),
        ({"label": r"$\frac{1$"}, ValueError, "label must be text that can be drawn"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        cs.plot.phases(**{"branch": SMOOTH} | arguments)
