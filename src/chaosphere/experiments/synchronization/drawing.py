"""Synchronization by noise: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.plot import style as plotting
from chaosphere.plot.style import COLOURS


def draw(dataset: Any, path: Path) -> None:
    """Draw the mean energy over time with intervals, the pair equation and the theorem's bound, per activation.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.synchronization.run`.
    path : Path
        PNG file to write.
    """
    canvas, axes = plotting.figure(5.0, 4.2)
    times = dataset["time"].values
    for index, name in enumerate(dataset["activation"].values):
        row, colour = dataset.sel(activation=name), COLOURS[index % len(COLOURS)]
        mean, has_band = row["energy_mean"].values, np.isfinite(row["energy_low"].values)
        # A mean without a band says little of the expectation.
        axes.plot(times, mean, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(times, np.where(has_band, mean, np.nan), color=colour, linewidth=1.4, label=str(name))
        axes.fill_between(times, row["energy_low"], row["energy_high"], color=colour, alpha=0.2, linewidth=0)
        if has_band.any():
            last = np.flatnonzero(has_band)[-1]
            axes.plot(times[last], mean[last], "|", color=colour, markersize=9)
        axes.plot(times, row["pair_equation"], color=colour, linestyle=":", linewidth=1.5)
        axes.plot(times, row["bound"], color=colour, linestyle="--", linewidth=0.9)
    axes.plot([], [], color="black", linestyle=":", label="pair equation")
    axes.plot([], [], color="black", linestyle="--", label="bound of the theorem")
    few = f"{dataset.attrs['fewest_replicas']:g} of {dataset.sizes['replica']}"
    axes.plot([], [], "|-", color="0.4", linewidth=0.6, label=f"beyond |: fewer than {few} replicas carry the mean")
    first = float(dataset["energy_mean"].max())
    lowest = max(float(dataset["energy_mean"].min()) / 3, 1e-9 * first)
    axes.set(yscale="log", xlabel="time", ylabel="mean energy, 99 % band", ylim=(lowest, 3 * first))
    axes.set_title(dataset.attrs["title"], fontsize=7)
    axes.legend(fontsize=7, frameon=False, loc="lower left")
    axes.grid(alpha=0.2, linewidth=0.5)
    plotting.write(canvas, path)
