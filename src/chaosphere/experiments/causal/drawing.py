"""Causal attention: the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.experiments.causal.centres import centres
from chaosphere.experiments.causal.correlation import interval
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw_correlation(dataset: Any, path: Path) -> None:
    """Draw N Cov against the later position with intervals, beside its limit.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.causal.correlation.run`.
    path : Path
        File to write; see `style.write`.
    """
    with style.picture(path, width=style.ONE_COLUMN, height=3.2) as canvas:
        panel = canvas.subplots()
        for k, at in enumerate(dataset["earlier"].values):
            row = dataset.isel(earlier=k)
            mean, low, high = np.transpose([interval(row, bin) for bin in range(row.sizes["bin"])])
            colour = COLOURS[k % len(COLOURS)]
            look = {"fmt": MARKERS[k % len(MARKERS)], "color": colour, "label": rf"$\sigma_0 = {at:.4g}$"}
            panel.errorbar(row["later"].values, mean, style.bars(mean, low, high), **look)
            panel.plot(row["later"].values, row["expected"].values, color=colour, linestyle="--")
        panel.set(xlabel=r"later position $\sigma$", ylabel=r"$N\,\mathrm{Cov}$")
        panel.grid(visible=True)
        style.legend_above(panel, "bars: 99 % intervals; dashed: limit", n_columns=2)
        style.headline(canvas, dataset.attrs["title"])


def draw_centres(dataset: Any, path: Path) -> None:
    """Draw the angles of the tokens over time with the centres, and the number of clusters against β.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.causal.centres.run`.
    path : Path
        File to write; see `style.write`.
    """
    betas, times = dataset["beta"].values, dataset["time"].values
    middle = len(betas) // 2
    angle = dataset["angle"].values[0, middle]
    of = centres(angle[0], float(dataset.attrs["spacing"]) / np.sqrt(betas[middle]))
    with style.picture(path, width=style.TWO_COLUMNS, height=3.2) as canvas:
        left, right = canvas.subplots(1, 2, width_ratios=(1.6, 1))
        jumps = np.abs(np.diff(angle, axis=0)) > np.pi  # a line over the cut of the circle is no path
        paths = np.where(np.concatenate([jumps, jumps[:1] & False]), np.nan, angle)
        left.plot(times, paths, color="0.7", linewidth=0.3, rasterized=True)
        for k in of:
            (line,) = left.plot(times, paths[:, k], color=COLOURS[1], linewidth=1.2)
        line.set_label("centres")
        left.set(xlabel="time $t$", ylabel="angle", xlim=(0, times[-1]), ylim=(-np.pi, np.pi))
        left.set_yticks([-np.pi, 0, np.pi], [r"$-\pi$", "$0$", r"$\pi$"])
        style.legend_above(left, rf"tokens of one replica, $\beta = {betas[middle]:g}$")
        for k, (name, text) in enumerate((("n_clusters", "clusters at $T$"), ("n_centres", "centres at $0$"))):
            mean, low, high = stats.mean_interval(dataset[name].values, at_least=0)
            beside = betas * (1 + 0.06 * k)  # bars stand side by side
            right.errorbar(beside, mean, style.bars(mean, low, high), fmt=MARKERS[k], color=COLOURS[k], label=text)
        guide = dataset["n_clusters"].values[:, 0].mean() * np.sqrt(betas / betas[0])
        right.plot(betas, guide, color="black", linestyle="--", label=r"$\beta^{1/2}$")
        right.set(xscale="log", yscale="log", xlabel=r"$\beta$", ylabel="number")
        style.label_ladder(right, betas)
        style.label_decades(right.yaxis)
        right.grid(visible=True)
        style.legend_above(right, "bars: 99 % intervals")
        style.headline(canvas, dataset.attrs["title"])
