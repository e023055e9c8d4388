"""Random attention: the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.experiments.random_attention.ends import interval, threshold
from chaosphere.interactions.random_attention import RandomAttention
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS
from chaosphere.theory import two_point


def draw_ends(dataset: Any, path: Path) -> None:
    """Draw the probability to end opposite against β for each d, and the threshold in d and β.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.random_attention.ends.run`.
    path : Path
        File to write; see `style.write`.
    """
    dims, betas = dataset["dim"].values, dataset["beta"].values
    fine = np.linspace(min(betas[0], 0.1), max(1.05 * betas[-1], 1.0), 40)
    with style.picture(path, width=style.TWO_COLUMNS, height=3.2) as canvas:
        left, right = canvas.subplots(1, 2)
        for i, dim in enumerate(dims):
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            cells = [interval(dataset.isel(dim=i, beta=j)) for j in range(len(betas))]
            mean, low, high = np.transpose(cells)
            left.errorbar(betas, mean, style.bars(mean, low, high), fmt=marker, color=colour, label=f"$d = {dim}$")
            noises = [RandomAttention(beta=float(beta)).pair(int(dim)) for beta in fine]
            exact = [two_point.hitting_probabilities(noise, dataset.attrs["cosine"]).minus for noise in noises]
            left.plot(fine, exact, color=colour, linewidth=0.8)
        left.set(xlabel=r"$\beta$", ylabel="probability to end opposite", ylim=(-0.02, None))
        left.grid(visible=True)
        style.legend_above(left, "bars: 99 % intervals; lines: pair equation", n_columns=2)
        wide = np.linspace(1.5, max(dims[-1], 4) + 0.5, 200)
        border = np.array([threshold(d) for d in wide])
        right.plot(wide, border, color="black", label=r"$\tanh^2\beta = (d-3)/(d-1)$")
        right.fill_between(wide, border, fine[-1], color=COLOURS[0], alpha=0.15, linewidth=0)
        grid = np.meshgrid(dims, betas, indexing="ij")
        attracts = dataset["exponent"].mean("replica").values[..., 1] < 0
        for mask, marker, text in ((attracts, "o", "attract"), (~attracts, "x", "repel")):
            right.plot(grid[0][mask], grid[1][mask], marker, color="black", label=f"opposite tokens {text}")
        right.set(xlabel="$d$", ylabel=r"$\beta$", ylim=(0, fine[-1]), xlim=(wide[0], wide[-1]))
        style.legend_above(right, "measured exponents")
        style.headline(canvas, dataset.attrs["title"])


def draw_heads(dataset: Any, path: Path) -> None:
    """Draw the mean cosine over time for each number of heads beside the equation of two tokens.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.random_attention.heads.run`.
    path : Path
        File to write; see `style.write`.
    """
    times = dataset["time"].values
    with style.picture(path, width=style.ONE_COLUMN, height=3.2) as canvas:
        panel = canvas.subplots()
        panel.plot(times, dataset["expected"].values, color="black", label="pair equation")
        width = 0.15 * (times[1] - times[0])
        for j, h in enumerate(dataset["heads"].values):
            mean, low, high = stats.mean_interval(dataset["cosine"].values[:, j, 1:], at_least=-1, at_most=1)
            look = {"fmt": MARKERS[j % len(MARKERS)], "color": COLOURS[j % len(COLOURS)], "label": f"$H = {h}$"}
            panel.errorbar(times[1:] + width * j, mean, style.bars(mean, low, high), **look)
        panel.set(xlabel="time $t$", ylabel=r"mean cosine $\mathrm{E}\,u_t$")
        panel.grid(visible=True)
        style.legend_above(panel, "bars: 99 % intervals", n_columns=2)
        style.headline(canvas, dataset.attrs["title"])
