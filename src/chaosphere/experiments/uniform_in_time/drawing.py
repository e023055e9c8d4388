"""Propagation of chaos over long times: the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.experiments.uniform_in_time.linear import is_one_cluster_first
from chaosphere.experiments.uniform_in_time.verdicts import SATURATED
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw E sup W2² over the horizon for each case and N, and over N at the end.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.uniform_in_time.runs.run`.
    path : Path
        File to write; see `style.write`.
    """
    tokens, times = dataset["n_tokens"].values, dataset["time"].values
    with style.picture(path, width=style.TWO_COLUMNS, height=4.4) as canvas:
        panels = canvas.subplots(2, 3).ravel()
        handles: dict[str, Any] = {}
        for panel, name in zip(panels, dataset["case"].values, strict=False):
            case = dataset.sel(case=name)
            for k, n in enumerate(tokens):
                colour = COLOURS[k % len(COLOURS)]
                rows = case["largest"].values[:, k]
                mean, low, high = stats.mean_interval(rows, at_least=0, at_most=np.pi**2)
                (handles[f"$N = {n}$"],) = panel.plot(times, mean, color=colour)
                panel.fill_between(times, low, high, color=colour, alpha=0.15, linewidth=0)
            (handles["half of the nodes"],) = panel.plot(
                times, case["nodes"].mean("replica"), color="grey", linestyle=":"
            )
            if name == "no noise, uniform start":
                for row in dataset["linear"].values:
                    shown = row <= SATURATED
                    (handles["linear theory"],) = panel.plot(
                        times[shown], row[shown], color="black", linestyle="--", linewidth=0.8
                    )
                if is_one_cluster_first(json.loads(dataset.attrs["identity"])["beta"]):
                    ends = panel.plot(times[[0, -1]], [SATURATED, SATURATED], color="black", linewidth=0.6)
                    (handles["one point, $\\pi^2/3$"],) = ends
            panel.set(xlabel="horizon $T$", yscale="log", title=name, ylim=(1e-4, 6))
            panel.grid(visible=True)
        for panel in panels[::3]:
            panel.set_ylabel(r"$\mathrm{E}\,\sup_{t \leq T} W_2^2$")
        last = panels[-1]
        for k, name in enumerate(dataset["case"].values):
            mean = dataset["largest"].sel(case=name).values[:, :, -1].mean(axis=0)
            colour, marker = (("black", *COLOURS)[k % 5], ("x", *MARKERS)[k % 5])
            (handles[name],) = last.plot(tokens, mean, color=colour, marker=marker)
        last.set(xlabel="number of tokens $N$", xscale="log", yscale="log", title=f"at $T = {times[-1]:g}$")
        style.label_ladder(last, tokens)
        last.grid(visible=True)
        style.legend_below(canvas, handles, n_columns=4)
        style.headline(canvas, dataset.attrs["title"])
