"""The three limits: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chaosphere.common import checks
from chaosphere.plot import style as plotting
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw D(N, L, m) along each limit alone, and against the sum of the two orders' errors.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.limits.run`.
    path : Path
        PNG file to write.
    """
    canvas, (left, right) = plotting.figure(7.2, 3.2, n_columns=2)
    mean = dataset["mean_square"].mean("replica").values
    depth = dataset["depth"].values
    ladders = (
        ("N, with L = m = ∞", dataset["n_tokens"].values[:-1], mean[:-1, -1, -1]),
        ("L, with N = m = ∞", 1 / (1 / depth[:-1] - 1 / depth[-1]), mean[-1, :-1, -1]),
        ("m, with N = L = ∞", dataset["width"].values[:-1], mean[-1, -1, :-1]),
    )
    for index, (label, x, values) in enumerate(ladders):
        left.plot(x, values, MARKERS[index] + "-", color=COLOURS[index], markersize=4, linewidth=1, label=label)
        left.plot(x, 0.8 * values[0] * x[0] / x, color=COLOURS[index], linestyle="--", linewidth=0.7)
    left.plot([], [], color="0.3", linestyle="--", linewidth=0.7, label="slope −1")
    left.set(xscale="log", yscale="log", xlabel="N, L or m", ylabel="D = E sup (1/N) Σ |X − X̄|²")
    total = mean[:-1, -1:, -1:] + mean[-1:, :-1, :-1]
    finite = mean[:-1, :-1, :-1]
    for k, n in enumerate(dataset["n_tokens"].values[:-1]):
        style = {"color": COLOURS[k % 4], "markersize": 4, "label": f"N = {int(n)}, all L and m"}
        right.plot(total[k].ravel(), finite[k].ravel(), MARKERS[k % 4], **style)
    ends = [min(total.min(), finite.min()), max(total.max(), finite.max())]
    right.plot(ends, ends, color="black", linestyle="--", linewidth=0.8, label="sum of the two orders")
    right.set(xscale="log", yscale="log", xlabel="D(N, ∞, ∞) + D(∞, L, m)", ylabel="D(N, L, m)")
    ticker = checks.extra("matplotlib.ticker", "plot")
    for axis in (left.xaxis, left.yaxis, right.xaxis, right.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())
    for panel in (left, right):
        panel.legend(fontsize=6, frameon=False)
        panel.grid(which="both", alpha=0.2, linewidth=0.5)
        panel.tick_params(labelsize=7)
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
    plotting.write(canvas, path)
