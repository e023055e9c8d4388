"""Attractors of the noise: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.experiments.attractors.runs import NOISES, unrelated
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw two coordinates of the ends under one noise of each kind, and how ends of later starts come to them.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.attractors.runs.run`.
    path : Path
        File to write; see `style.write`.
    """
    with style.picture(path, width=style.TWO_COLUMNS, height=5.2) as canvas:
        above, below = canvas.subplots(2, 3)
        circle = np.linspace(0, 2 * np.pi, 200)
        for i, (panel, noise) in enumerate(zip(above, NOISES, strict=True)):
            x = dataset["tokens"].values[0, i]
            panel.plot(np.cos(circle), np.sin(circle), color="black", linewidth=0.6)
            panel.plot(x[:, 0], x[:, 1], linestyle="", marker="o", color=COLOURS[i], markersize=2)
            panel.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
            panel.set_title(rf"{noise}: $\lambda_1 = {float(dataset['exponent'][i]):g}$")
        for i, panel in enumerate(below[:2]):
            ages, rate = dataset["age"].values[i], float(dataset["exponent"][i])
            rows = dataset["log_gap"].values[:, i]
            panel.plot(ages, rows.T, color=COLOURS[i], alpha=0.3, linewidth=0.6)
            panel.plot(ages, rows.mean(axis=0), color=COLOURS[i], marker=MARKERS[i], label="mean")
            panel.plot(
                ages, rows.mean() + rate * (ages - ages.mean()), color="black", linestyle="--", label=r"$\lambda_1 T$"
            )
            panel.set(xlabel="$T$, for starts at the time $-T$", ylabel="log of the median distance")
            panel.grid(visible=True)
            style.legend_above(panel, None, n_columns=2)
        level = unrelated(dataset["tokens"].values[:, 2])
        ages, rows = dataset["age"].values[2], dataset["discrepancy"].values / level
        below[2].plot(ages, rows.T, color=COLOURS[2], alpha=0.3, linewidth=0.6)
        below[2].plot(ages, rows.mean(axis=0), color=COLOURS[2], marker=MARKERS[2], label="mean")
        below[2].axhline(0, color="black", linewidth=0.8)
        below[2].axhline(1, color="black", linestyle="--", label="two noises")
        below[2].set(xlabel="$T$, for starts at the time $-T$", ylabel="discrepancy from the earliest start")
        below[2].grid(visible=True)
        style.legend_above(below[2], None, n_columns=2)
        style.headline(canvas, dataset.attrs["title"])
