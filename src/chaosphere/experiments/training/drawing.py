"""Training beside its limit: the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chaosphere import stats
from chaosphere.experiments.training import grid, paths
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS

_SUP = {
    "tokens": r"\mathrm{E}\,\mathrm{sup}_\ell\,|X - \bar{X}|^2",
    "adjoints": r"\mathrm{E}\,\mathrm{sup}_\ell\,|p - \bar{p}|^2",
}


def draw_grid(dataset: Any, path: Path) -> None:
    """Draw the errors of tokens and adjoints along L = H with their bound, and the curves of the loss.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.training.grid.run`.
    path : Path
        File to write; see `style.write`.
    """
    sizes = dataset["depth"].values
    with style.picture(path, width=style.TWO_COLUMNS, height=3.1) as canvas:
        panels = canvas.subplots(1, 3)
        for kind, panel in zip(paths.KINDS, panels[:2], strict=True):
            values = grid.diagonal(dataset["mean_square"].sel(kind=kind).values)
            _lines(panel, sizes, values, steps=dataset["step"].values)
            top = values.mean(axis=0)[0].max()
            guide = 1.6 * top * (sizes / sizes[0]) ** (2 * paths.BOUND)
            panel.errorbar(
                sizes, guide, color="black", linestyle="--", label="order of the bound"
            )  # last in the legend
            panel.set(xlabel="$L = H$", ylabel=f"${_SUP[kind]}$")
            style.label_ladder(panel, sizes)
            style.legend_above(panel, "steps of AdamW; bars: 99 %", n_columns=2)
        mean = dataset["loss"].mean("replica").values
        iterations = dataset["iteration"].values
        for k, size in enumerate(sizes):
            panels[2].plot(iterations, mean[k, k], color=COLOURS[k % len(COLOURS)], label=f"$L = H = {size}$")
        panels[2].plot(iterations, dataset["limit_loss"].values[0], color="black", linestyle="--", label="limit")
        panels[2].set(xlabel="step", ylabel="mean loss")
        panels[2].grid(visible=True)
        style.legend_above(panels[2], "networks and limit", n_columns=2)
        style.headline(canvas, dataset.attrs["title"])


def draw_tokens(dataset: Any, path: Path) -> None:
    """Draw the errors of tokens and adjoints against the number of tokens.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.training.tokens.run`.
    path : Path
        File to write; see `style.write`.
    """
    counts = dataset["n_tokens"].values
    with style.picture(path, width=style.TWO_COLUMNS, height=3.1) as canvas:
        for kind, panel in zip(paths.KINDS, canvas.subplots(1, 2), strict=True):
            values = dataset["mean_square"].sel(kind=kind).values
            _lines(panel, counts, values, steps=dataset["step"].values)
            panel.set(xlabel="number of tokens $N$", ylabel=f"${_SUP[kind]}$")
            style.label_ladder(panel, counts)
            style.legend_above(panel, "steps of AdamW; bars: 99 %", n_columns=3)
        style.headline(canvas, dataset.attrs["title"])


def _lines(panel: Any, x: Any, values: Any, *, steps: Any) -> None:
    """Draw values (replica, x, step) with intervals, one line for each number of steps."""
    mean, low, high = stats.mean_interval(values, at_least=0)
    for k, step in enumerate(steps):
        beside = x * 1.03 ** (k - len(steps) / 2)  # bars stand side by side
        bars = style.bars(mean[:, k], low[:, k], high[:, k])
        look: dict[str, Any] = {"marker": MARKERS[k % len(MARKERS)], "color": COLOURS[k % len(COLOURS)]}
        panel.errorbar(beside, mean[:, k], bars, label=f"{step}", **look)
    panel.set(xscale="log", yscale="log")
    panel.grid(visible=True)
