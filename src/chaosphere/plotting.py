"""Pictures of results, at the size of a paper's column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import checks

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers and in grey
_MARKERS = ("o", "s", "^", "D")


def require() -> None:
    """Raise ImportError unless pictures can be drawn here; called before long work."""
    checks.extra("matplotlib.figure", "plot")


def figure(width: float = 5.0, height: float = 3.6, *, n_columns: int = 1) -> tuple[Any, Any]:
    """Return a Matplotlib figure in inches and its axes, drawn without a display."""
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots(1, n_columns)


def write(canvas: Any, path: Path) -> None:
    """Write a figure as PNG at 200 dots per inch, to a temporary name that is then renamed."""
    temporary = path.with_name(path.name + ".tmp")
    canvas.savefig(temporary, dpi=200, format="png")
    temporary.replace(path)


def chaos(dataset: Any, path: Path) -> None:
    """Draw root-mean-square errors against N with intervals, fits and the rate N^{-1/2}.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.chaos.run`.
    path : Path
        PNG file to write.
    """
    canvas, axes = figure()
    x = dataset["n_effective"].values
    for index, name in enumerate(dataset["quantity"].values):
        row = dataset.sel(quantity=name)
        rms = row["rms"].values
        bars = np.stack([rms - row["rms_low"].values, row["rms_high"].values - rms])
        slope, low, high = (float(row[key]) for key in ("slope", "slope_low", "slope_high"))
        colour = _COLOURS[index]
        label = f"{name}: {slope:.3f} [{low:.3f}, {high:.3f}]"
        axes.errorbar(x, rms, bars, fmt=_MARKERS[index], color=colour, markersize=4, capsize=2, label=label)
        axes.plot(x, np.exp(float(row["intercept"])) * x**slope, color=colour, linewidth=1)
    anchor = float(dataset["rms"].min()) * 0.6
    axes.plot(x, anchor * (x / x[-1]) ** -0.5, color="black", linestyle="--", linewidth=1, label="slope −1/2")
    axes.set(xscale="log", yscale="log", xlabel="effective number of tokens  1/(1/N − 1/M)")
    axes.set_ylabel("root-mean-square error")
    axes.set_title(dataset.attrs["title"], fontsize=7)
    axes.set_ylim(bottom=anchor / 20)
    axes.legend(fontsize=7, frameon=False, loc="lower left", title="slope with 99 % interval", title_fontsize=7)
    axes.grid(which="both", alpha=0.2, linewidth=0.5)
    write(canvas, path)
