"""The deep-and-wide limit: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.plot import style
from chaosphere.plot.style import MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw the mean-square distance to the limit over depth, one line per width, and as a surface over both.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.depth_width.run`.
    path : Path
        File to write; see `style.write`.
    """
    depths, widths = dataset["depth"].values[:-1], dataset["width"].values
    mean, low, high = stats.mean_interval(dataset["mean_square"].values, at_least=0)
    bars = style.bars(mean, low, high)
    names = [r"$\infty$" if np.isinf(w) else f"{int(w)}" for w in widths]
    distance = r"$\mathrm{E}\,\mathrm{sup}_t\,N^{-1}\Sigma_i\,|X^i - \bar{X}^i|^2$"
    with style.picture(path, width=style.TWO_COLUMNS, height=3.1) as canvas:
        left, right = canvas.subplots(1, 2)
        shades = checks.extra("matplotlib", "plot").colormaps["viridis"](np.linspace(0.9, 0, len(widths)))
        for j, name in enumerate(names):
            look = {"marker": MARKERS[j % len(MARKERS)], "color": shades[j], "label": f"$m$ = {name}"}
            beside = depths * 1.04 ** (j - len(names) / 2)  # bars of several widths stand side by side
            left.errorbar(beside, mean[:-1, j], bars[:, :-1, j], **look)
        guide = mean[0, -1] * 0.6 * depths[0] / depths
        left.plot(depths, guide, color="black", linestyle="--", label="$1/L$")
        left.set(xscale="log", yscale="log", xlabel="depth $L$", ylabel=distance)
        style.label_ladder(left, depths)
        style.legend_above(left, "width, bars: 99 % intervals", n_columns=4)
        left.grid(visible=True)
        rows = [f"{d}" for d in depths] + [r"$\infty$"]
        surface = np.where(mean > 0, mean, np.nan)
        right.imshow(np.log10(surface), cmap="viridis", aspect="auto", origin="lower")
        for (i, j), value in np.ndenumerate(surface):
            shade = "black" if np.log10(value) > np.nanmean(np.log10(surface)) else "white"
            text = "0" if np.isnan(value) else f"{value:.1e}".replace("e-0", "e-")
            right.text(j, i, text, ha="center", va="center", color="black" if np.isnan(value) else shade)
        right.set(xlabel="width $m$", ylabel="depth $L$", title=f"{distance}, mean")
        right.set_xticks(range(len(names)), names)
        right.set_yticks(range(len(rows)), rows)
        style.headline(canvas, dataset.attrs["title"])
