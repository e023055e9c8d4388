"""The three limits: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chaosphere import stats
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw D(N, L, m) along each limit alone, and against the sum of the two orders' errors.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.limits.run`.
    path : Path
        File to write; see `style.write`.
    """
    values = dataset["mean_square"].values
    n, depth, width = (dataset[name].values for name in ("n_tokens", "depth", "width"))
    ladders = (  # title, label of x, x, D in every replica, what D goes with
        (r"$L = m = \infty$", "number of tokens $N$", n[:-1], values[:, :-1, -1, -1], 1 / n[:-1]),
        (r"$N = m = \infty$", "depth $L$", depth[:-1], values[:, -1, :-1, -1], 1 / depth[:-1] - 1 / depth[-1]),
        (r"$N = L = \infty$", "width $m$", width[:-1], values[:, -1, -1, :-1], 1 / width[:-1]),
    )
    with style.picture(path, width=style.TWO_COLUMNS, height=2.5) as canvas:
        grid = canvas.add_gridspec(1, 4, width_ratios=(1, 1, 1, 1.6))
        first = canvas.add_subplot(grid[0])
        alone = [first, *(canvas.add_subplot(grid[k], sharey=first) for k in (1, 2))]
        for index, (panel, (title, label, x, along, rate)) in enumerate(zip(alone, ladders, strict=True)):
            mean, low, high = stats.mean_interval(along, at_least=0)
            look = {"marker": MARKERS[3], "color": COLOURS[3]}
            panel.errorbar(x, mean, style.bars(mean, low, high), **look)
            panel.plot(x, 0.7 * mean[0] * rate / rate[0], color="black", linestyle="--")
            panel.set(xscale="log", yscale="log", xlabel=label, title=title)
            style.label_ladder(panel, x)
            panel.tick_params(labelleft=index == 0)
        first.set_ylabel(r"$D = \mathrm{E}\,\mathrm{sup}_t\,N^{-1}\Sigma_i\,|X^i - \bar{X}^i|^2$")
        both = canvas.add_subplot(grid[3])
        _commutation(both, values, n[:-1])
        for axis in (first.yaxis, both.xaxis, both.yaxis):
            style.label_decades(axis)
        for panel in (*alone, both):
            panel.grid(visible=True)
        handles, labels = both.get_legend_handles_labels()
        style.legend_below(canvas, dict(zip(labels, handles, strict=True)), n_columns=len(labels))
        guides = f"dashed: as $1/N$, $1/L - 1/{depth[-1]}$ and $1/m$; the sum of the two orders"
        style.headline(canvas, f"{dataset.attrs['title']}; bars: 99 % intervals; {guides}")


def _commutation(panel: Any, values: Any, tokens: Any) -> None:
    """Draw D(N, L, m) with intervals against the sum of the two orders' errors."""
    total = (values[:, :-1, -1:, -1:] + values[:, -1:, :-1, :-1]).mean(axis=0)
    finite, low, high = stats.mean_interval(values[:, :-1, :-1, :-1], at_least=0)
    bars = style.bars(finite, low, high)
    for k, n in enumerate(tokens):
        look = {"fmt": MARKERS[k % 4], "color": COLOURS[k % 4], "label": f"$N = {int(n)}$, all $L$ and $m$"}
        panel.errorbar(total[k].ravel(), finite[k].ravel(), bars[:, k].reshape(2, -1), **look)
    ends = [min(total.min(), finite.min()), max(total.max(), finite.max())]
    panel.plot(ends, ends, color="black", linestyle="--")
    panel.set(xscale="log", yscale="log", xlabel=r"$D(N, \infty, \infty) + D(\infty, L, m)$", ylabel="$D(N, L, m)$")
