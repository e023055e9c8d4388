"""Fluctuations of N tokens about their limit: the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy

from chaosphere import stats
from chaosphere.experiments.fluctuations.verdicts import at_largest
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS


def draw(dataset: Any, path: Path) -> None:
    """Draw the variances over their prediction against N, and the laws of the deviations beside the normal law.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.fluctuations.run`.
    path : Path
        File to write; see `style.write`.
    """
    names, n_tokens = dataset["case"].values, dataset["n_tokens"].values
    with style.picture(path, width=style.TWO_COLUMNS, height=3.0) as canvas:
        ratios, laws = canvas.subplots(1, 2)
        for index, name in enumerate(names):
            label, look = style.formulas(str(name)), {"color": COLOURS[index % 4]}
            mean, low, high = stats.mean_interval(dataset["ratio"].sel(case=name).values, at_least=0)
            bars = style.bars(mean, low, high)
            ratios.errorbar(n_tokens * 1.03**index, mean, bars, fmt=MARKERS[index % 4], label=label, **look)
            values = at_largest(dataset, name)
            laws.hist(values, bins=np.linspace(-4, 4, 41), density=True, histtype="step", label=label, **look)
        ratios.axhline(1.0, color="black", linestyle="--")
        ratios.set(xscale="log", xlabel="number of tokens $N$", ylabel=r"$N\,\mathrm{Var}$ over its prediction")
        style.label_ladder(ratios, n_tokens)
        x = np.linspace(-4, 4, 161)
        laws.plot(x, scipy.stats.norm.pdf(x), color="black", linestyle="--", label="normal law")
        laws.set(xlabel=f"deviation in units of the prediction, $N = {n_tokens[-1]}$", ylabel="density")
        for panel in (ratios, laws):
            panel.grid(visible=True)
        handles, labels = laws.get_legend_handles_labels()
        style.legend_below(canvas, dict(zip(labels, handles, strict=True)), n_columns=len(labels))
        style.headline(canvas, f"{dataset.attrs['title']}; bars: 99 % intervals; dashed: expected")
