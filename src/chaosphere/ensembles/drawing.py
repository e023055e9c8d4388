"""Pictures of studies: means over replicas as a map of colours, or as lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.plot import style

_LABELS = {
    "beta": r"$\beta$",
    "bias_std": r"$\sigma_U$",
    "depth": "depth $L$",
    "noise_scale": "noise scale $s$",
    "output_bias_std": r"$\sigma_W$",
    "time": "time $t$",
    "value_scale": r"$\delta$",
    "width": "width $m$",
}
_CRITICAL = r"$s_c^2 = \delta/\lambda_1$"


def phase_diagram(dataset: Any, path: Path, *, value: str, x: str, y: str, critical: Any = None) -> None:
    """Draw the mean over replicas of an observable as a map of colours over two parameters, or one and time.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `ensemble`; time, where it is neither x nor y, is the last.
    path : Path
        File to write; see `style.write`.
    value : str
        Name of the observable.
    x, y : str
        Names of the axes.
    critical : ndarray, optional
        y of a line over x.
    """
    mean = dataset[f"{value}_mean"]
    if "time" not in (x, y):
        mean = mean.isel(time=-1)
    mean = mean.transpose(y, x)
    with style.picture(path, width=style.ONE_COLUMN, height=2.7) as canvas:
        axes = canvas.subplots()
        colours = axes.pcolormesh(
            _positions(dataset[x].values), _positions(dataset[y].values), mean.values, cmap="viridis", shading="nearest"
        )
        canvas.colorbar(colours, ax=axes, pad=0.02, label=f"mean {_label_of_observable(dataset, value)}")
        if critical is not None:
            # From edge to edge, over the half cells before the first value and after the last.
            left, right = axes.get_xlim()
            places = [left, *_positions(dataset[x].values), right]
            heights = [critical[0], *critical, critical[-1]]
            axes.plot(places, heights, color="white", linewidth=2.4)
            axes.plot(places, heights, color="black", linewidth=1.2, linestyle="--", label=_CRITICAL)
            axes.set_xlim(left, right)
            handles, labels = axes.get_legend_handles_labels()
            style.legend_below(canvas, dict(zip(labels, handles, strict=True)), n_columns=1)
        for name, set_label, set_ticks in (
            (x, axes.set_xlabel, axes.set_xticks),
            (y, axes.set_ylabel, axes.set_yticks),
        ):
            set_label(_label_of_parameter(name))
            if not _is_scale(dataset[name].values):
                set_ticks(range(dataset.sizes[name]), [_value(v) for v in dataset[name]])
        style.headline(canvas, dataset.attrs["title"])


def lines(dataset: Any, path: Path, *, value: str, x: str) -> None:
    """Draw the mean over replicas of an observable over x with its 99 % band, one line for each other parameter value.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `ensemble`; time, where it is not x, is the last.
    path : Path
        File to write; see `style.write`.
    value, x : str
        Names of the observable and of the axis.
    """
    if x != "time":
        dataset = dataset.isel(time=-1)
    others = [d for d in dataset[f"{value}_mean"].dims if d != x]
    places = _positions(dataset[x].values)
    n_lines = dataset.sizes[others[0]] if others else 1
    shades = checks.extra("matplotlib", "plot").colormaps["viridis"](np.linspace(0, 0.9, n_lines))
    with style.picture(path, width=style.ONE_COLUMN, height=2.9) as canvas:
        axes = canvas.subplots()
        for index, shade in enumerate(shades):
            row = dataset.isel({others[0]: index}) if others else dataset
            axes.fill_between(places, row[f"{value}_low"], row[f"{value}_high"], color=shade, alpha=0.25, linewidth=0)
            look = {"color": shade, "marker": style.MARKERS[index % 4], "markevery": max(1, len(places) // 7)}
            axes.plot(places, row[f"{value}_mean"], label=_value(row[others[0]]) if others else None, **look)
        if others:
            style.legend_above(axes, _label_of_parameter(others[0]), n_columns=4)
        if not _is_scale(dataset[x].values):
            axes.set_xticks(places, [_value(v) for v in dataset[x]])
        is_cut = bool(np.isnan(dataset[f"{value}_low"].values[np.isfinite(dataset[f"{value}_mean"].values)]).any())
        band = "99 % band" + (",\nnone where few replicas carry the mean" if is_cut else "")
        axes.set_xlabel(_label_of_parameter(x))
        axes.set_ylabel(f"mean {_label_of_observable(dataset, value)}, {band}")
        style.headline(canvas, dataset.attrs["title"])
        axes.grid(visible=True)


def _label_of_parameter(name: str) -> str:
    return _LABELS.get(name, style.plain(name.replace("_", " ")))


def _value(entry: Any) -> str:
    """Return how a value stands in a legend or at a tick; a number is a formula, so that its sign is a minus."""
    if entry.dtype.kind not in "iuf":
        return style.plain(str(entry.item()))
    return f"${entry.item():g}$".replace("inf", r"\infty")


def _label_of_observable(dataset: Any, name: str) -> str:
    return style.plain(str(dataset[name].attrs.get("long_name", name.replace("_", " "))))


def _positions(values: Any) -> Any:
    """Finite numbers stand at their values; names, and numbers of which one is infinite, at 0, 1, 2 …."""
    return values if _is_scale(values) else np.arange(len(values))


def _is_scale(values: Any) -> bool:
    """Return whether values have places on an axis of numbers."""
    return values.dtype.kind in "iuf" and bool(np.isfinite(values).all())
