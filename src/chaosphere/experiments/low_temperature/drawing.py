"""Attention at low temperature: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw the distances from the projected law and from the flow of β = ∞ over time, for each β.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.low_temperature.runs.run`.
    path : Path
        File to write; see `style.write`.
    """
    betas, times = dataset["beta"].values, dataset["time"].values
    rate = float(dataset["rate"].mean())
    with style.picture(path, width=style.TWO_COLUMNS, height=3.2) as canvas:
        left, right = canvas.subplots(1, 2, sharex=True)
        for i, beta in enumerate(betas):
            look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 3}
            coarse = np.sqrt((dataset["coarse"].isel(beta=i) ** 2).mean("replica").values)
            left.plot(times, coarse, color=look["color"], linestyle=":", linewidth=1.0)
            for panel, name in ((left, "distance"), (right, "coupled")):
                rows = dataset[name].isel(beta=i)
                mean = np.sqrt((rows**2).mean("replica").values)
                shown = mean > 0
                panel.plot(times[shown], mean[shown], label=rf"$\beta = {beta:g}$", linewidth=0.8, **look)
        limit = np.sqrt((dataset["limit"] ** 2).mean("replica").values)
        left.plot([], [], color="gray", linestyle=":", label="$N/4$ nodes")
        left.plot(times, limit, color="black", label=r"$\beta = \infty$")
        left.plot(times, limit[0] * np.exp(-rate * times), color="black", linestyle="--", label="$e^{-ct}$")
        left.set(ylabel="$W_2$ from the projected law")
        right.set(ylabel=r"distance from the flow of $\beta = \infty$")
        for panel, title in ((left, "the law"), (right, "token by token")):
            panel.set(xlabel="time $t$", yscale="log")
            panel.grid(visible=True)
            style.legend_above(panel, title, n_columns=4)
        style.headline(canvas, dataset.attrs["title"])
