"""Propagation of chaos: the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.experiments.chaos.verdicts import ERRORS
from chaosphere.plot import style as plotting
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw the errors against N with intervals, fits and the theorem's rate, one panel per case.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.chaos.run`.
    path : Path
        PNG file to write.
    """
    names = dataset["case"].values
    n_columns = min(len(names), 2)
    n_rows = -(-len(names) // n_columns)
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(5.0 if len(names) == 1 else 7.2, 0.6 + 2.9 * n_rows), layout="constrained")
    axes = canvas.subplots(n_rows, n_columns, squeeze=False)
    for panel, name in zip(axes.flat, names, strict=False):
        _rates(panel, dataset.sel(case=name))
        panel.set_title(str(name), fontsize=8)
        is_limit = dataset.attrs["is_limit"]
        panel.set_xlabel("number of tokens N" if is_limit else "effective number  1/(1/N − 1/M)", fontsize=7)
        panel.tick_params(which="both", labelsize=7)
    for panel in axes.flat[len(names) :]:
        panel.set_axis_off()
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
    plotting.write(canvas, path)


def _rates(panel: Any, case: Any) -> None:
    """Draw the errors of one case of the chaos experiment."""
    labels = ("energy, RMS", "mean direction, RMS", "max |X − X̄|², mean", "sup W2², mean")
    x_all = case["n_effective"].values
    for index, label in enumerate(labels):
        row, colour = case.isel(quantity=index), COLOURS[index]
        error = row["error"].values
        shown = np.isfinite(error) & (error > 0)
        if not shown.any():
            continue
        x, error = x_all[shown], error[shown]
        bars = np.stack([error - row["error_low"].values[shown], row["error_high"].values[shown] - error])
        slope, low, high = (float(row[f"exponent{end}"]) for end in ("", "_low", "_high"))
        has_log = index == 3 and int(case["dim"]) == 3
        divided = " / log N" if has_log else ""
        text = f"{label}{divided}: {slope:.2f} [{low:.2f}, {high:.2f}]"
        panel.errorbar(x, error, bars, fmt=MARKERS[index], color=colour, markersize=3, capsize=1.5, label=text)
        at, level = row["centre"].values
        fit = np.exp(level) * (x / np.exp(at)) ** slope * (np.log(x) if has_log else 1)
        panel.plot(x, fit, color=colour, linewidth=0.9)
        if index == 3:
            rate = row["theorem_rate"].values[shown]
            panel.plot(x, 1.8 * error[0] * rate / rate[0], color="black", linestyle="--", linewidth=0.9, label="r_d(N)")
    panel.set(xscale="log", yscale="log")
    plotting.label_ladder(panel, x_all[np.isfinite(x_all)])
    low, high = panel.get_ylim()
    panel.set_ylim(low * (low / high) ** 0.45, high)  # room for the legend
    panel.legend(fontsize=5.5, frameon=False, loc="lower left", title="exponent, 99 % interval", title_fontsize=5.5)
    panel.grid(which="major", alpha=0.2, linewidth=0.5)


def draw_exponents(dataset: Any, path: Path) -> None:
    """Draw the exponents of many cases with their intervals beside the expected ones, one panel per quantity.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.chaos.run`.
    path : Path
        PNG file to write.
    """
    names = [str(name) for name in dataset["case"].values]
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(7.2, 1.2 + 0.3 * len(names)), layout="constrained")
    axes = canvas.subplots(1, len(ERRORS), sharey=True)
    height = -np.arange(len(names))
    for index, (panel, title) in enumerate(zip(axes, ERRORS.values(), strict=True)):
        row = dataset.isel(quantity=index)
        value = row["exponent"].values
        bars = np.stack([value - row["exponent_low"].values, row["exponent_high"].values - value])
        panel.errorbar(value, height, xerr=bars, fmt=MARKERS[index], color=COLOURS[index], markersize=4, capsize=2)
        for expected in np.unique(row["expected"].values[np.isfinite(row["expected"].values)]):
            panel.axvline(expected, color="black", linestyle="--", linewidth=0.8)
        across = panel.get_yaxis_transform()  # x in parts of the width, y in data
        for k in np.flatnonzero(np.isnan(value)):
            style = {"ha": "center", "va": "center", "fontsize": 6, "backgroundcolor": "white"}
            panel.text(0.5, height[k], "exactly 0", transform=across, **style)
        panel.set_title(title, fontsize=8)
        panel.set_xlabel("exponent in N", fontsize=7)
        panel.tick_params(labelsize=7)
        panel.grid(axis="x", alpha=0.2, linewidth=0.5)
    axes[0].set_yticks(height)
    axes[0].set_yticklabels(names, fontsize=7)
    canvas.suptitle(f"{dataset.attrs['title']}; dashed: expected", fontsize=8)
    plotting.write(canvas, path)
