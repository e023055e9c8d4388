"""The mean-field limit on the circle: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.plot import style as plotting
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw the density on the circle over time with tokens in it, and the errors and pair laws below.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.mean_field.run`.
    path : Path
        PNG file to write.
    """
    module = checks.extra("matplotlib.figure", "plot")
    colours = checks.extra("matplotlib.colors", "plot")
    canvas = module.Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = canvas.subplot_mosaic([["density"] * 3, ["steps", "nodes", "pairs"]], height_ratios=[1.25, 1])

    panel, frames, angles = axes["density"], dataset["frame"].values, dataset["angle"].values
    density = dataset["density"].values.T
    # A density over four decades; below, the colour of the least.
    norm = colours.LogNorm(vmin=max(density.min(), 1e-4 * density.max()), vmax=density.max(), clip=True)
    image = panel.pcolormesh(
        frames, angles, np.maximum(density, norm.vmin), norm=norm, cmap="magma", shading="gouraud", rasterized=True
    )
    for token in dataset["path"].values.T:
        # A gap where the path passes ±π.
        line = np.where(np.abs(np.diff(token, prepend=token[0])) > np.pi, np.nan, token)
        panel.plot(frames, line, color="white", linewidth=0.4, alpha=0.7)
    panel.set(ylim=(-np.pi, np.pi), yticks=[-np.pi, 0, np.pi])
    panel.set_yticklabels(["−π", "0", "π"])
    panel.set_xlabel("time", fontsize=8)
    panel.set_ylabel("angle θ", fontsize=8)
    panel.set_title("density (colour) under one noise, and tokens that follow it (lines)", fontsize=8)
    canvas.colorbar(image, ax=panel, pad=0.01).ax.tick_params(labelsize=7)

    panel, steps = axes["steps"], dataset["n_steps"].values
    for index, (name, label, order) in enumerate(
        (("gap", "same step", 1.0), ("density_error", "nodes at the finest step", 0.5))
    ):
        rms = np.sqrt(dataset[name].mean("replica").values)
        panel.plot(steps, rms, MARKERS[index] + "-", color=COLOURS[index], markersize=4, linewidth=1, label=label)
        guide = rms[0] * 0.75 * (steps[0] / steps) ** order
        panel.plot(steps, guide, color="black", linestyle="--", linewidth=0.8)
        panel.annotate(f"order {order:g}", (steps[-1], guide[-1]), ha="right", va="top", fontsize=6)
    lowest = float(np.sqrt(dataset["gap"].mean("replica").min()))
    panel.set(xscale="log", yscale="log", ylim=(0.15 * lowest, None))
    panel.set_xlabel("steps", fontsize=8)
    panel.set_ylabel("RMS of modes 1 … 4", fontsize=8)
    plotting.label_ladder(panel, steps)
    panel.set_title("density − nodes, one noise", fontsize=8)
    panel.legend(fontsize=6, frameon=False)

    panel, nodes = axes["nodes"], dataset["n_nodes"].values
    for index, name in enumerate(dataset["activation"].values):
        rms = np.sqrt(dataset["node_error"].sel(activation=name).mean("replica").values)
        panel.plot(nodes, rms, MARKERS[index] + "-", color=COLOURS[index], markersize=4, linewidth=1, label=name)
        if bool(dataset["is_kinked"].sel(activation=name)):
            guide = 2 * rms[-1] * (nodes[-1] / nodes) ** 2
            panel.plot(nodes, guide, color="black", linestyle="--", linewidth=0.8, label="order 2")
    panel.set(xscale="log", yscale="log")
    panel.set_xlabel("nodes", fontsize=8)
    plotting.label_ladder(panel, nodes)
    panel.set_title("error of the nodes", fontsize=8)
    panel.legend(fontsize=6, frameon=False)

    panel, times = axes["pairs"], dataset["pair_time"].values
    for index, name in enumerate(dataset["function"].values):
        row = dataset.sel(function=name)
        start = float(row["pair_expected"][0])
        mean = row["pair_mean"].values
        bars = np.stack([mean - row["pair_low"].values, row["pair_high"].values - mean])
        colour, marker = COLOURS[index], MARKERS[index]
        panel.plot(times, row["pair_expected"] - start, color=colour, linewidth=1)
        panel.errorbar(times, mean - start, bars, fmt=marker, color=colour, markersize=3, capsize=2, label=name)
    panel.plot([], [], color="black", linewidth=1, label="pair equation")
    panel.set_xlabel("time", fontsize=8)
    panel.set_title("pairs over the noise, change since 0", fontsize=8)
    panel.legend(fontsize=6, frameon=False, loc="upper left")
    axes["density"].tick_params(labelsize=7)
    for name in ("steps", "nodes", "pairs"):
        axes[name].tick_params(which="both", labelsize=7)
        axes[name].grid(alpha=0.2, linewidth=0.5)
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
    plotting.write(canvas, path)
