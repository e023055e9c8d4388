"""Multilevel Monte Carlo: the picture of the levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.plot import style


def draw(dataset: Any, path: Path) -> None:
    """Draw means and variances of the differences, samples and cost of the levels over the number of tokens.

    One line for each number of steps.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.multilevel.runs.run`.
    path : Path
        File to write; see `style.write`.
    """
    tokens, steps = dataset["n_tokens"].values, dataset["n_steps"].values
    columns = {name: dataset[name].values for name in ("mean", "variance", "value_variance", "n_samples", "pairs")}
    errors = np.sqrt(columns["variance"] / columns["n_samples"])
    labels = (
        "size of the mean of the difference",
        "variance of the difference",
        "samples",
        "pair interactions of all samples",
    )
    rows = (
        np.abs(columns["mean"]),
        columns["variance"],
        columns["n_samples"],
        columns["n_samples"] * columns["pairs"],
    )
    with style.picture(path, width=style.TWO_COLUMNS, height=4.8) as canvas:
        panels = canvas.subplots(2, 2, sharex=True).ravel()
        for panel, label, row in zip(panels, labels, rows, strict=True):
            for index, number in enumerate(np.unique(steps)):
                own = steps == number
                look = {
                    "color": style.COLOURS[index % len(style.COLOURS)],
                    "marker": style.MARKERS[index % len(style.MARKERS)],
                    "label": f"{number} steps",
                }
                panel.errorbar(tokens[own], row[own], errors[own] if panel is panels[0] else None, **look)
            panel.set_xscale("log", base=2)
            panel.set_yscale("log" if (row > 0).all() else "symlog")
            style.label_ladder(panel, np.unique(tokens))
            panel.set_ylabel(label)
            panel.grid(visible=True)
        coarsest = steps == steps.min()
        panels[1].plot(
            tokens[coarsest], columns["value_variance"][coarsest], color="black", linestyle="--", label="of one system"
        )
        for panel in panels[2:]:
            panel.set_xlabel("tokens $N$")
        panels[3].set_visible(bool(rows[3].any()))  # noise alone has no pairs
        style.label_decades(panels[2].yaxis)
        handles, names = panels[1].get_legend_handles_labels()
        style.legend_below(canvas, dict(zip(names, handles, strict=True)), n_columns=4)
        style.headline(canvas, f"{dataset.attrs['title']}\nbars: one standard error")
