"""Propagation of chaos: the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS
from chaosphere.reporting.digits import with_interval

_LABELS = (  # of the quantities
    "energy, RMS",
    "mean direction, RMS",
    r"$\mathrm{E}\,\mathrm{max}_t\,|X - \bar{X}|^2$",
    r"$\mathrm{E}\,\mathrm{sup}_t\,W_2^2$",
)


def draw(dataset: Any, path: Path) -> None:
    """Draw the errors against N with intervals, fits and the theorem's rate, one panel per case.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.chaos.run`.
    path : Path
        File to write; see `style.write`.
    """
    names = dataset["case"].values
    n_columns = min(len(names), 2)
    n_rows = -(-len(names) // n_columns)
    width = style.ONE_COLUMN if n_columns == 1 else style.TWO_COLUMNS
    with style.picture(path, width=width, height=0.5 + 2.8 * n_rows) as canvas:
        axes = canvas.subplots(n_rows, n_columns, squeeze=False)
        for panel, name in zip(axes.flat, names, strict=False):
            _rates(panel, dataset.sel(case=name))
            title = f"{style.formulas(str(name))}; exponents with 99 % intervals"
            style.legend_above(panel, title)
        for row in axes:
            row[0].set_ylabel(r"error of $N$ tokens")
        for panel, label in zip(axes.flat, dataset["n_label"].values, strict=False):
            panel.set_xlabel(str(label))
        for panel in axes.flat[len(names) :]:
            panel.set_axis_off()
        style.headline(canvas, dataset.attrs["title"])


def _rates(panel: Any, case: Any) -> None:
    """Draw the errors of one case of the chaos experiment."""
    x_all = case["n_effective"].values
    for index, label in enumerate(_LABELS):
        row, colour = case.isel(quantity=index), COLOURS[index]
        error = row["error"].values
        shown = np.isfinite(error) & (error > 0)
        if not shown.any():
            continue
        x, error = row["n_fitted"].values[shown], error[shown]
        bars = style.bars(error, row["error_low"].values[shown], row["error_high"].values[shown])
        slope, low, high = (float(row[f"exponent{end}"]) for end in ("", "_low", "_high"))
        value, first, last = (text.replace("-", "−") for text in with_interval(slope, low=low, high=high))
        has_log = bool(row["has_log"])
        divided = r"$\,/\,\log N$" if has_log else ""
        text = f"{label}{divided}: {value} [{first}, {last}]"
        panel.errorbar(x, error, bars, fmt=MARKERS[index], color=colour, label=text)
        at, level = row["centre"].values
        fit = np.exp(level) * (x / np.exp(at)) ** slope * (np.log(x) if has_log else 1)
        panel.plot(x, fit, color=colour)
        if index == 3 and np.isfinite(row["theorem_rate"].values[shown]).all():
            rate = row["theorem_rate"].values[shown]
            above = 1.8 * error[0] * rate / rate[0]
            panel.plot(x, above, color="black", linestyle="--", label="rate of the theorem, $r_d(N)$")
    panel.set(xscale="log", yscale="log")
    style.label_ladder(panel, x_all[np.isfinite(x_all)])
    panel.grid(visible=True)


def draw_exponents(dataset: Any, path: Path) -> None:
    """Draw the exponents of many cases with their intervals beside the expected ones, one panel per quantity.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.chaos.run`.
    path : Path
        File to write; see `style.write`.
    """
    names = [style.formulas(str(name)) for name in dataset["case"].values]
    with style.picture(path, width=style.TWO_COLUMNS, height=1.0 + 0.22 * len(names)) as canvas:
        axes = canvas.subplots(1, len(_LABELS), sharey=True)
        height = -np.arange(len(names))
        for index, (panel, title) in enumerate(zip(axes, _LABELS, strict=True)):
            row = dataset.isel(quantity=index)
            value = row["exponent"].values
            bars = style.bars(value, row["exponent_low"].values, row["exponent_high"].values)
            panel.errorbar(value, height, xerr=bars, fmt=MARKERS[index], color=COLOURS[index])
            for expected in np.unique(row["expected"].values[np.isfinite(row["expected"].values)]):
                panel.axvline(expected, color="black", linestyle="--", linewidth=0.8)
            across = panel.get_yaxis_transform()  # x in parts of the width, y in data
            for k in np.flatnonzero(np.isnan(value)):
                look = {"ha": "center", "va": "center", "backgroundcolor": "white"}
                panel.text(0.5, height[k], "exactly 0", transform=across, **look)
            panel.set_title(title)
            panel.set_xlabel("exponent in $N$")
            panel.grid(visible=True, axis="x")
        axes[0].set_yticks(height, names)
        style.headline(canvas, f"{dataset.attrs['title']}; bars: 99 % intervals; dashed: expected")
