"""Synchronization by noise: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw the mean energy over time with intervals, the pair equation and the theorem's bound, per activation.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.synchronization.run`.
    path : Path
        File to write; see `style.write`.
    """
    times = dataset["time"].values
    with style.picture(path, width=style.ONE_COLUMN, height=3.6) as canvas:
        axes = canvas.subplots()
        for index, name in enumerate(dataset["activation"].values):
            row, colour = dataset.sel(activation=name), COLOURS[index % len(COLOURS)]
            mean, has_band = row["energy_mean"].values, np.isfinite(row["energy_low"].values)
            # A mean without a band says little of the expectation.
            axes.plot(times, mean, color=colour, linewidth=0.5, alpha=0.5)
            look = {
                "color": colour,
                "marker": MARKERS[index % len(MARKERS)],
                "markevery": max(1, len(times) // 10),
                "label": str(name),
            }
            axes.plot(times, np.where(has_band, mean, np.nan), **look)
            axes.fill_between(times, row["energy_low"], row["energy_high"], color=colour, alpha=0.2, linewidth=0)
            if has_band.any():
                last = np.flatnonzero(has_band)[-1]
                axes.plot(times[last], mean[last], "|", color=colour, markersize=9)
            axes.plot(times, row["pair_equation"], color=colour, linestyle=":")
            axes.plot(times, row["bound"], color=colour, linestyle="--")
        axes.plot([], [], color="black", linestyle=":", label="pair equation")
        axes.plot([], [], color="black", linestyle="--", label="bound of the theorem")
        axes.plot([], [], "|-", color="0.4", linewidth=0.5, markersize=9, label="end of the band, and the mean beyond")
        first = float(dataset["energy_mean"].max())
        lowest = max(float(dataset["energy_mean"].min()) / 3, 1e-9 * first)
        axes.set(yscale="log", xlabel="time $t$", ylim=(lowest, 3 * first))
        axes.set_ylabel(r"mean of the energy $E_\beta$, with 99 % band")
        axes.grid(visible=True)
        handles, labels = axes.get_legend_handles_labels()
        style.legend_below(canvas, dict(zip(labels, handles, strict=True)), n_columns=2)
        few = f"{dataset.attrs['fewest_replicas']:g} of {dataset.sizes['replica']}"
        end = f"a band ends where fewer than {few} replicas carry the mean"
        style.headline(canvas, f"{dataset.attrs['title']}\n{end}")
