"""Branches of stationary states: order over temperature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chaosphere.common import messages
from chaosphere.plot import style
from chaosphere.theory.phases import Branch

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def phases(branch: Branch, *, ax: Any = None, label: str | None = None) -> Axes:
    r"""Draw the order parameters of a branch of stationary states against their temperatures.

    Stable states are drawn as a line, unstable ones dashed; so is the uniform law, whose order parameter is 0. A dot is
    at the critical temperature, and an open circle at the state of equal free energy where there is one.

    Parameters
    ----------
    branch : Branch
        From `phases.branch`.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure. A second call with the same axes adds a branch in the next colour.
    label : str, optional
        For the legend.

    Returns
    -------
    matplotlib.axes.Axes
        With the branch drawn.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError, ValueError
        If branch is no branch, or another argument is out of range.

    See Also
    --------
    chaosphere.phases.branch : Stationary states at all temperatures.
    chaosphere.phases.Branch : Stationary states.

    Examples
    --------
    >>> import chaosphere as cs
    >>> branch = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2)
    >>> ax = cs.plot.phases(branch, label="softmax")
    >>> ax.get_ylabel()
    'order parameter $|\\int x\\, d\\mu|$'
    """
    if not isinstance(branch, Branch):
        raise TypeError(f"branch must be a Branch, from phases.branch, got {messages.shown(branch)}")
    if label is not None:
        style.check_text(label, "label")
    panel = style.axes(ax)
    before = [line for line in panel.lines if line.get_gid() == __name__]
    colour = style.COLOURS[len(before) % len(style.COLOURS)]
    temperatures, orders, stable = branch.temperatures, branch.order_parameters, branch.is_stable.copy()
    stable[0] = stable[1]  # at the critical temperature itself a rate is 0
    solid, dashed = np.where(stable, orders, np.nan), np.where(stable, np.nan, orders)
    for edge in np.flatnonzero(stable[1:] != stable[:-1]):  # the line of one kind ends where that of the other begins
        stable_end = edge if stable[edge] else edge + 1
        dashed[stable_end] = orders[stable_end]
    panel.plot(temperatures, solid, color=colour, label=label, gid=__name__)
    panel.plot(temperatures, dashed, color=colour, linestyle="--")
    critical = branch.critical_temperature
    panel.plot([critical], [0.0], "o", color=colour, clip_on=False)
    high = max(1.15 * critical, critical + 1.1 * (branch.fold.temperature - critical))
    panel.plot([critical, high], [0.0, 0.0], color=colour, clip_on=False)
    panel.plot([temperatures.min(), critical], [0.0, 0.0], color=colour, linestyle="--", clip_on=False)
    if branch.coexistence is not None:
        state = branch.coexistence
        panel.plot([state.temperature], [state.order_parameter], "o", color=colour, markerfacecolor="white")
    panel.set(xlabel=r"temperature $\tau$", ylabel=r"order parameter $|\int x\, d\mu|$", ylim=(0, 1))
    if label is not None:
        panel.legend(frameon=False)
    return panel
