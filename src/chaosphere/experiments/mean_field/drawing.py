"""The mean-field limit on the circle: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw the density on the circle over time with tokens in it, and the errors and pair laws below.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.mean_field.run`.
    path : Path
        File to write; see `style.write`.
    """
    with style.picture(path, width=style.TWO_COLUMNS, height=5.2) as canvas:
        axes = canvas.subplot_mosaic([["density"] * 3, ["steps", "nodes", "pairs"]], height_ratios=[1.1, 1])
        _density(axes["density"], dataset)
        _steps(axes["steps"], dataset)
        _nodes(axes["nodes"], dataset)
        _pairs(axes["pairs"], dataset)
        for name in ("steps", "nodes", "pairs"):
            axes[name].grid(visible=True)
        style.headline(canvas, f"{dataset.attrs['title']}; bars: 99 % intervals")


def _density(panel: Any, dataset: Any) -> None:
    """Draw the density as colours, and tokens as lines."""
    frames, angles = dataset["frame"].values, dataset["angle"].values
    density = dataset["density"].values.T
    # A density over four decades; below, the colour of the least.
    colours = checks.extra("matplotlib.colors", "plot")
    norm = colours.LogNorm(vmin=max(density.min(), 1e-4 * density.max()), vmax=density.max(), clip=True)
    image = panel.pcolormesh(
        frames, angles, np.maximum(density, norm.vmin), norm=norm, cmap="magma", shading="gouraud", rasterized=True
    )
    for token in dataset["path"].values.T:
        # A gap where the path passes ±π.
        line = np.where(np.abs(np.diff(token, prepend=token[0])) > np.pi, np.nan, token)
        panel.plot(frames, line, color="white", linewidth=0.4, alpha=0.7)
    panel.set(ylim=(-np.pi, np.pi), xlabel="time $t$", ylabel=r"angle $\theta$")
    panel.set_yticks([-np.pi, 0, np.pi], [r"$-\pi$", "$0$", r"$\pi$"])
    panel.set_title("density under one noise, and tokens that follow it (lines)")
    panel.figure.colorbar(image, ax=panel, pad=0.01, label="density (uniform: 1)")


def _steps(panel: Any, dataset: Any) -> None:
    """Draw the error of the density's modes over the number of steps."""
    steps = dataset["n_steps"].values
    kinds = (("gap", "same step", 1.0), ("density_error", "nodes at the finest step", 0.5))
    for index, (name, label, order) in enumerate(kinds):
        rms = _error(panel, steps, dataset[name].values, index=index, label=label)
        guide = rms[0] * 0.75 * (steps[0] / steps) ** order
        label = f"order {order:g}"
        panel.plot(steps, guide, color="black", linestyle=("--", ":")[index], label=label)
    panel.set(xscale="log", yscale="log", xlabel="number of steps", ylabel=r"RMS of modes $1, \ldots, 4$")
    style.label_ladder(panel, steps)
    style.legend_above(panel, "density $-$ nodes, one noise")


def _nodes(panel: Any, dataset: Any) -> None:
    """Draw the error of the nodes over their number."""
    nodes = dataset["n_nodes"].values
    for index, name in enumerate(dataset["activation"].values):
        row = dataset.sel(activation=name)
        rms = _error(panel, nodes, row["node_error"].values, index=index, label=str(name))
        if bool(row["is_kinked"]):
            guide = 2 * rms[-1] * (nodes[-1] / nodes) ** 2
            panel.plot(nodes, guide, color="black", linestyle="--", label="order 2")
    panel.set(xscale="log", yscale="log", xlabel="number of nodes", ylabel=r"RMS of modes $1, \ldots, 4$")
    style.label_ladder(panel, nodes)
    style.legend_above(panel, "error of the nodes")


def _pairs(panel: Any, dataset: Any) -> None:
    """Draw the change of pairs over the noise since the start, beside the pair equation."""
    times = dataset["pair_time"].values
    for index, name in enumerate(dataset["function"].values):
        row = dataset.sel(function=name)
        start = float(row["pair_expected"][0])
        mean = row["pair_mean"].values
        bars = style.bars(mean, row["pair_low"].values, row["pair_high"].values)
        look = {"fmt": MARKERS[index], "color": COLOURS[index], "label": style.formulas(_function(name))}
        panel.plot(times, row["pair_expected"] - start, color=COLOURS[index])
        panel.errorbar(times, mean - start, bars, **look)
    panel.plot([], [], color="black", label="pair equation")
    panel.set(xlabel="time $t$", ylabel="change of the mean since $t = 0$")
    style.legend_above(panel, "pairs over the noise")


def _function(name: str) -> str:
    """Return how a function of the cosine u stands in a legend."""
    return {"u": "$u$", "u²": "$u^2$"}.get(name, name)


def _error(panel: Any, x: Any, mean_squares: Any, *, index: int, label: str) -> Any:
    """Draw root-mean-square errors over replicas with their intervals, and return them."""
    rms, low, high = stats.root_mean_square_interval(mean_squares)
    look = {"marker": MARKERS[index], "color": COLOURS[index], "label": label}
    panel.errorbar(x, rms, style.bars(rms, low, high), **look)
    return rms
