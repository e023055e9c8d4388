"""The deep-and-wide limit: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.plot import style as plotting


def draw(dataset: Any, path: Path) -> None:
    """Draw the mean-square distance to the limit over depth, one line per width, and as a surface over both.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.depth_width.run`.
    path : Path
        PNG file to write.
    """
    canvas, (left, right) = plotting.figure(7.2, 3.4, n_columns=2)
    depths, widths = dataset["depth"].values[:-1], dataset["width"].values
    mean = dataset["mean_square"].mean("replica").values
    names = ["∞" if np.isinf(w) else f"{int(w)}" for w in widths]
    shades = checks.extra("matplotlib", "plot").colormaps["viridis"](np.linspace(0.9, 0, len(widths)))
    for j, name in enumerate(names):
        left.plot(depths, mean[:-1, j], "o-", color=shades[j], markersize=3, linewidth=1, label=f"m = {name}")
    guide = mean[0, -1] * 0.6 * depths[0] / depths
    left.plot(depths, guide, color="black", linestyle="--", linewidth=1, label="1/L")
    left.set(xscale="log", yscale="log", xlabel="depth L", ylabel="E sup (1/N) Σ |X − X̄|²")
    plotting.label_ladder(left, depths)
    left.tick_params(which="both", labelsize=7)
    left.legend(fontsize=6, frameon=False)
    left.grid(which="both", alpha=0.2, linewidth=0.5)
    rows = [f"{d}" for d in dataset["depth"].values[:-1]] + ["∞"]
    surface = np.where(mean > 0, mean, np.nan)
    right.imshow(np.log10(surface), cmap="viridis", aspect="auto", origin="lower")
    for (i, j), value in np.ndenumerate(surface):
        shade = "black" if np.log10(value) > np.nanmean(np.log10(surface)) else "white"
        right.text(
            j, i, "0" if np.isnan(value) else f"{value:.1e}", ha="center", va="center", fontsize=5.5, color=shade
        )
    right.set(xticks=range(len(names)), yticks=range(len(rows)), xlabel="width m", ylabel="depth L")
    right.set_xticklabels(names, fontsize=7)
    right.set_yticklabels(rows, fontsize=7)
    canvas.suptitle(dataset.attrs["title"], fontsize=7)
    plotting.write(canvas, path)
