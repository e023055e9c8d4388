"""The histogram of the cosines of pairs of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.measures.pairwise import cosine_histogram
from chaosphere.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEADROOM = 1.35  # of the highest bar: the legend is above the bars


def cosines(x: Tokens, *, ax: Any = None, n_bins: int = 50, label: str | None = None) -> Axes:
    """Draw the histogram of ⟨x_i, x_j⟩ over all pairs i ≠ j, beside that of independent uniform tokens.

    Parameters
    ----------
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        At least two tokens on the unit sphere. The pairs of R replicas are taken together.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure. A second call with the same axes adds a histogram in the next colour.
    n_bins : int
        Number of equal bins of [−1, 1].
    label : str, optional
        For the legend.

    Returns
    -------
    matplotlib.axes.Axes
        With the histogram drawn.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError, ValueError
        If x is not made of tokens, or another argument is out of range.

    See Also
    --------
    chaosphere.measures.cosine_histogram : Histogram of the cosines of pairs.
    chaosphere.plot.tokens : Draw the tokens themselves.
    chaosphere.Solution.plot : Draw a run.

    Notes
    -----
    Heights are densities: the area of the bars is 1. Under the uniform law the density of a cosine is proportional to
    (1 − u²)^{(d−3)/2}; the dashed line is its mean over each bin.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(200, 3, rng=0)
    >>> ax = cs.plot.cosines(x, label="at time 0")
    >>> ax.get_ylabel()
    'density of pairs'
    """
    batch = checks.tokens(x)
    probabilities, edges = cosine_histogram(batch, n_bins)
    if label is not None:
        style.check_text(label, "label")
    panel = style.axes(ax)
    before = [patch for patch in panel.patches if patch.get_gid() == __name__]
    colour, width = style.COLOURS[len(before) % len(style.COLOURS)], edges[1] - edges[0]
    density = probabilities.mean(axis=0) / width
    panel.stairs(density, edges, fill=True, color=colour, alpha=0.25)
    panel.stairs(density, edges, color=colour, label=label, gid=__name__)
    if not before:
        half = (batch.shape[2] - 1) / 2
        uniform = np.diff(scipy.special.betainc(half, half, (1 + edges) / 2)) / width
        panel.stairs(uniform, edges, color="0.2", linestyle="--", label="uniform tokens", baseline=None)
    panel.set(xlabel=r"cosine $\langle x_i, x_j \rangle$", ylabel="density of pairs", xlim=(-1, 1))
    panel.set_ylim(0, max(panel.get_ylim()[1], _HEADROOM * density.max()))
    panel.legend(frameon=False, loc="upper left")
    return panel
