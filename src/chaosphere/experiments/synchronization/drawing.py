"""Synchronization by noise: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.experiments.synchronization.late import asymptote
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS

_WIDE = 3.0  # line of the sharp rate


def draw(dataset: Any, path: Path) -> None:
    """Draw the mean energy over time beside its theory, and the median one below it, per activation.

    The mean with intervals, the pair equation, the theorem's bound and the sharp rate; the median with intervals, and
    the slope 2(λ1 − δ) through its last value, if that is small.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.synchronization.run`.
    path : Path
        File to write; see `style.write`.
    """
    with style.picture(path, width=style.ONE_COLUMN, height=5.6) as canvas:
        upper, lower = canvas.subplots(2, sharex=True)
        for index, name in enumerate(dataset["activation"].values):
            row, colour = dataset.sel(activation=name), COLOURS[index % len(COLOURS)]
            look = {
                "color": colour,
                "marker": MARKERS[index % len(MARKERS)],
                "markevery": max(1, dataset.sizes["time"] // 10),
                "label": str(name),
            }
            _draw_mean(upper, row, look)
            _draw_median(lower, row, look=look, value_scale=float(dataset.attrs["value_scale"]))
        grey = {"color": "0.7", "linewidth": _WIDE}
        upper.plot([], [], color="black", linestyle=":", label="pair equation")
        upper.plot([], [], color="black", linestyle="--", label="bound of the theorem")
        upper.plot([], [], "|-", color="0.4", linewidth=0.5, markersize=9, label="end of the band, and the mean beyond")
        upper.plot([], [], **grey, label="sharp rate, with its power of $t$")
        lower.plot([], [], color="black", linestyle="-.", label=r"slope $2(\lambda_1 - \delta)$")
        first = float(dataset["energy_mean"].max())
        for axes, key, text in ((upper, "mean", "mean"), (lower, "median", "median")):
            lowest = max(float(dataset[f"energy_{key}"].min()) / 3, 1e-9 * first)
            axes.set(yscale="log", ylim=(lowest, 3 * first))
            axes.set_ylabel(rf"{text} of $E_\beta$, with 99 % band")
            axes.grid(visible=True)
        lower.set_xlabel("time $t$")
        entries: dict[str, Any] = {}
        for axes in (upper, lower):
            handles, labels = axes.get_legend_handles_labels()
            entries |= dict(zip(labels, handles, strict=True))
        style.legend_below(canvas, entries, n_columns=2)
        few = f"{dataset.attrs['fewest_replicas']:g} of {dataset.sizes['replica']}"
        end = f"a band ends where fewer than {few} replicas carry the mean"
        style.headline(canvas, f"{dataset.attrs['title']}\n{end}")


def _draw_mean(axes: Any, row: Any, look: dict[str, Any]) -> None:
    times, colour = row["time"].values, look["color"]
    mean, has_band = row["energy_mean"].values, np.isfinite(row["energy_low"].values)
    axes.plot(times, asymptote(row), color=colour, linewidth=_WIDE, alpha=0.3)
    # A mean without a band says little of the expectation.
    axes.plot(times, mean, color=colour, linewidth=0.5, alpha=0.5)
    axes.plot(times, np.where(has_band, mean, np.nan), **look)
    axes.fill_between(times, row["energy_low"], row["energy_high"], color=colour, alpha=0.2, linewidth=0)
    if has_band.any():
        last = np.flatnonzero(has_band)[-1]
        axes.plot(times[last], mean[last], "|", color=colour, markersize=9)
    axes.plot(times, row["pair_equation"], color=colour, linestyle=":")
    axes.plot(times, row["bound"], color=colour, linestyle="--")


def _draw_median(axes: Any, row: Any, *, look: dict[str, Any], value_scale: float) -> None:
    times, colour = row["time"].values, look["color"]
    median = row["energy_median"].values
    axes.plot(times, median, **look)
    ends = row["energy_median_low"], row["energy_median_high"]
    axes.fill_between(times, *ends, color=colour, alpha=0.2, linewidth=0)
    at = int(np.flatnonzero(median >= 1e-9 * median[0])[-1])
    if median[at] < 1e-2 * median[0]:
        exponent = 2.0 * (float(row["lyapunov_exponent"]) - value_scale)
        late = times >= 0.5 * times[at]
        line = median[at] * np.exp(exponent * (times[late] - times[at]))
        axes.plot(times[late], line, color=colour, linestyle="-.")
