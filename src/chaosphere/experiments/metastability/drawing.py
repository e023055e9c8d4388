"""Metastability: the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.experiments.metastability.counts import first_clusters
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw_counts(dataset: Any, path: Path) -> None:
    """Draw the angles of tokens over time, the mean number of clusters over time, and how many form, against β.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.metastability.counts.run`.
    path : Path
        File to write; see `style.write`.
    """
    betas, times = dataset["beta"].values, dataset["time"].values[1:]
    middle = len(betas) // 2
    shades = checks.extra("matplotlib", "plot").colormaps["viridis"](np.linspace(0, 0.9, len(betas)))
    with style.picture(path, width=style.TWO_COLUMNS, height=2.9) as canvas:
        left, centre, right = canvas.subplots(1, 3, width_ratios=(1.2, 1, 1))
        angle = dataset["angle"].values[0, middle, 1:]
        jumps = np.abs(np.diff(angle, axis=0)) > np.pi  # a line over the cut of the circle is no path
        paths = np.where(np.concatenate([jumps, jumps[:1] & False]), np.nan, angle)
        left.plot(times, paths, color=COLOURS[0], linewidth=0.4, alpha=0.5, rasterized=True)
        left.set(xscale="log", xlabel="time $t$", ylabel="angle", xlim=(times[0], times[-1]), ylim=(-np.pi, np.pi))
        left.set_yticks([-np.pi, 0, np.pi], [r"$-\pi$", "$0$", r"$\pi$"])
        left.set_title(rf"tokens of one replica, $\beta = {betas[middle]:g}$", loc="left")
        for k, (beta, shade) in enumerate(zip(betas, shades, strict=True)):
            mean = dataset["count"].values[:, k, 1:].mean(axis=0)
            centre.plot(times, mean, color=shade, label=f"${beta:g}$")
        centre.set(xscale="log", xlabel="time $t$", ylabel="mean number of clusters", xlim=(times[0], times[-1]))
        centre.set_ylim(bottom=0)
        centre.grid(visible=True)
        style.legend_above(centre, r"$\beta$", n_columns=3)
        mean, low, high = stats.mean_interval(first_clusters(dataset), at_least=0)
        right.errorbar(betas, mean, style.bars(mean, low, high), fmt=MARKERS[0], color=COLOURS[0], label="measured")
        right.plot(betas, dataset["expected"].values, color=COLOURS[1], label="linear theory")
        right.plot(betas, np.sqrt(2 * betas), color="black", linestyle="--", label=r"$\sqrt{2\beta}$")
        right.set(xscale="log", yscale="log", xlabel=r"$\beta$", ylabel="number of first clusters")
        style.label_ladder(right, betas)
        style.label_decades(right.yaxis)
        right.grid(visible=True)
        style.legend_above(right, "bars: 99 % intervals", n_columns=2)
        style.headline(canvas, dataset.attrs["title"])


def draw_lifetimes(dataset: Any, path: Path) -> None:
    """Draw the mean log lifetimes of k clusters against β, beside what is expected.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.metastability.lifetimes.run`.
    path : Path
        File to write; see `style.write`.
    """
    with style.picture(path, width=style.ONE_COLUMN, height=3.2) as canvas:
        panel = canvas.subplots()
        for i, k in enumerate(dataset["k"].values):
            row = dataset.sel(k=k)
            beta, colour = row["beta"].values, COLOURS[i % len(COLOURS)]
            mean, low, high = stats.mean_interval(np.log(row["lifetime"].values))
            ends = np.exp(mean), np.exp(low), np.exp(high)
            look = {"fmt": MARKERS[i % len(MARKERS)], "color": colour, "label": f"$k = {k}$"}
            panel.errorbar(beta, ends[0], style.bars(*ends), **look)
            panel.plot(beta, row["expected"].values, color=colour, linestyle="--")
        panel.set(xlabel=r"$\beta$", ylabel="lifetime of $k$ clusters", yscale="log")
        panel.grid(visible=True)
        style.legend_above(panel, "bars: 99 % intervals; dashed: expected", n_columns=4)
        style.headline(canvas, dataset.attrs["title"])


def draw_merging(dataset: Any, path: Path) -> None:
    """Draw the time in which two tokens merge against the barrier, and its relative difference from the quadrature.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.metastability.merging.run`.
    path : Path
        File to write; see `style.write`.
    """
    barrier, expected = dataset["barrier"].values, dataset["expected"].values
    difference = np.abs(dataset["time"].values / expected[:, None] - 1).max(axis=1)
    with style.picture(path, width=style.ONE_COLUMN, height=3.6) as canvas:
        above, below = canvas.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
        above.plot(barrier, expected, color="black", linestyle="--", label="quadrature")
        times = dataset["time"].values.mean(axis=1)
        above.plot(barrier, times, color=COLOURS[0], marker=MARKERS[0], linestyle="none", label="run")
        above.set(yscale="log", ylabel="time to merge")
        style.legend_above(above, n_columns=2)
        below.plot(barrier, difference, color=COLOURS[1], marker=MARKERS[1])
        below.set(yscale="log", ylabel="relative difference", xlabel=r"$\beta\,(1 - \cos\theta_0)$")
        for panel in (above, below):
            panel.grid(visible=True)
        style.headline(canvas, dataset.attrs["title"])
