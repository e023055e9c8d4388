"""Phase transitions: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.experiments.phases.hysteresis import DIRECTIONS, attention_of
from chaosphere.plot import style
from chaosphere.plot.branches import phases as draw_branch
from chaosphere.theory import phases

_LOOKS = (("^", style.COLOURS[1]), ("v", style.COLOURS[2]))


def draw_hysteresis(dataset: Any, path: Path) -> None:
    """Draw the branch of stationary states for each attention, with the order parameters of rising and falling runs.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.phases.hysteresis.run`.
    path : Path
        File to write; see `style.write`.
    """
    names = dataset["attention"].values
    with style.picture(path, width=style.TWO_COLUMNS, height=3.2) as canvas:
        panels = np.atleast_1d(canvas.subplots(1, len(names)))
        for panel, name in zip(panels, names, strict=True):
            part = dataset.sel(attention=name)
            temperatures = part["share"].values * float(part["critical"])
            attention = attention_of(str(name), float(dataset.attrs["beta"]))
            branch = phases.branch(attention, int(dataset.attrs["dim"]), lowest=0.99 * float(temperatures[0]))
            draw_branch(branch, ax=panel)
            for direction, (marker, colour) in zip(DIRECTIONS, _LOOKS, strict=True):
                values = part["order"].sel(direction=direction).values
                mean, low, high = stats.mean_interval(values, at_least=0, at_most=1)
                look = {"fmt": marker, "color": colour, "label": f"temperature {direction}"}
                panel.errorbar(temperatures, mean, style.bars(mean, low, high), **look)
            panel.locator_params(axis="x", nbins=6)
            panel.grid(visible=True)
            style.legend_above(panel, f"{name}; bars: 99 % intervals", n_columns=2)
        style.headline(canvas, dataset.attrs["title"])
