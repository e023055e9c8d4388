"""Pictures of studies: means over replicas as a map of colours, or as lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.plot import style as plotting

_LABELS = {"beta": "β", "noise_scale": "noise scale s", "time": "time t", "value_scale": "δ"}


def phase_diagram(dataset: Any, path: Path, *, value: str, x: str, y: str, critical: Any = None) -> None:
    """Draw the mean over replicas of an observable as a map of colours over two parameters, or one and time.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `ensemble`; time, where it is neither x nor y, is the last.
    path : Path
        PNG file to write.
    value : str
        Name of the observable.
    x, y : str
        Names of the axes.
    critical : ndarray, optional
        y of a line over x.
    """
    canvas, axes = plotting.figure(4.8, 3.6)
    mean = dataset[f"{value}_mean"]
    if "time" not in (x, y):
        mean = mean.isel(time=-1)
    mean = mean.transpose(y, x)
    colours = axes.pcolormesh(
        _positions(dataset[x].values), _positions(dataset[y].values), mean.values, cmap="viridis", shading="nearest"
    )
    bar = canvas.colorbar(colours, ax=axes, pad=0.02)
    bar.set_label(f"mean {_label_of_observable(dataset, value)}", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    if critical is not None:
        # From edge to edge, over the half cells before the first value and after the last.
        left, right = axes.get_xlim()
        places = [left, *_positions(dataset[x].values), right]
        heights = [critical[0], *critical, critical[-1]]
        axes.plot(places, heights, color="white", linewidth=2.4)
        axes.plot(places, heights, color="black", linewidth=1.2, linestyle="--", label=r"$s_c^2 = \delta/\lambda_1$")
        axes.set_xlim(left, right)
        axes.legend(fontsize=8, loc="upper right")
    for name, set_label, set_ticks in ((x, axes.set_xlabel, axes.set_xticks), (y, axes.set_ylabel, axes.set_yticks)):
        set_label(_LABELS.get(name, plotting.plain(name.replace("_", " "))))
        if dataset[name].dtype.kind not in "iuf":
            set_ticks(range(dataset.sizes[name]), [str(v) for v in dataset[name].values])
    axes.set_title(dataset.attrs["title"], fontsize=7)
    plotting.write(canvas, path)


def lines(dataset: Any, path: Path, *, value: str, x: str) -> None:
    """Draw the mean over replicas of an observable over x with its 99 % band, one line for each other parameter value.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `ensemble`; time, where it is not x, is the last.
    path : Path
        PNG file to write.
    value, x : str
        Names of the observable and of the axis.
    """
    canvas, axes = plotting.figure()
    if x != "time":
        dataset = dataset.isel(time=-1)
    others = [d for d in dataset[f"{value}_mean"].dims if d != x]
    places = _positions(dataset[x].values)
    n_lines = dataset.sizes[others[0]] if others else 1
    shades = checks.extra("matplotlib", "plot").colormaps["viridis"](np.linspace(0, 0.9, n_lines))
    for index, shade in enumerate(shades):
        row = dataset.isel({others[0]: index}) if others else dataset
        axes.fill_between(places, row[f"{value}_low"], row[f"{value}_high"], color=shade, alpha=0.25, linewidth=0)
        axes.plot(places, row[f"{value}_mean"], color=shade, label=str(row[others[0]].item()) if others else None)
    if others:
        axes.legend(
            title=_LABELS.get(others[0], plotting.plain(others[0])), fontsize=7, title_fontsize=7, frameon=False
        )
    if dataset[x].dtype.kind not in "iuf":
        axes.set_xticks(places, [str(v) for v in dataset[x].values])
    is_cut = bool(np.isnan(dataset[f"{value}_low"].values[np.isfinite(dataset[f"{value}_mean"].values)]).any())
    band = "99 % band" + (",\nnone where few replicas carry the mean" if is_cut else "")
    axes.set(
        xlabel=_LABELS.get(x, plotting.plain(x.replace("_", " "))),
        ylabel=f"mean {_label_of_observable(dataset, value)}, {band}",
    )
    axes.set_title(dataset.attrs["title"], fontsize=7)
    axes.grid(alpha=0.2, linewidth=0.5)
    plotting.write(canvas, path)


def _label_of_observable(dataset: Any, name: str) -> str:
    return plotting.plain(str(dataset[name].attrs.get("long_name", name.replace("_", " "))))


def _positions(values: Any) -> Any:
    """Numbers stand at their values, names at 0, 1, 2 …."""
    return values if values.dtype.kind in "iuf" else np.arange(len(values))
