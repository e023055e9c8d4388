"""Random attention: the pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import stats
from chaosphere.experiments.random_attention.cold import extrapolated
from chaosphere.experiments.random_attention.ends import interval, threshold
from chaosphere.experiments.random_attention.splits import difference, exponent, lifetime
from chaosphere.interactions.random_attention import RandomAttention
from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS
from chaosphere.theory import two_point
from chaosphere.theory.low_temperature import low_temperature_kernel


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


def draw_splits(dataset: Any, path: Path) -> None:
    """Draw mean lifetimes of opposite clusters against t₁ − t₂ beside the pair equation and its power law.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.random_attention.splits.run`.
    path : Path
        File to write; see `style.write`.
    """
    dim, beta = dataset.attrs["dim"], dataset.attrs["beta"]
    ladder, measured = dataset["split"].values, dataset["difference"].values
    sizes = np.geomspace(0.5 * ladder[0], 30 * ladder[-1], 25)
    x = np.array([difference(beta, n) for n in sizes])
    exact = np.array([lifetime(RandomAttention(beta=beta), dim, n=n) for n in sizes])
    cells = [stats.mean_interval(row, at_least=0) for row in dataset["lifetime"].values.T]
    mean, low, high = np.transpose(cells)
    power = exponent(beta, dim)
    with style.picture(path, width=style.ONE_COLUMN, height=3.2) as canvas:
        panel = canvas.subplots()
        panel.plot(x, exact, color="black", label="pair equation")
        if power < 0:
            line = exact[-1] * (x / x[-1]) ** power
            panel.plot(x, line, "--", color="grey", label=f"power {power:.3g}")
        bars = style.bars(mean, low, high)
        panel.errorbar(measured, mean, bars, fmt=MARKERS[0], color=COLOURS[0], label="tokens (99 % intervals)")
        panel.set(xscale="log", yscale="log", xlabel="$t_1 - t_2$", ylabel="mean time until orthogonal")
        panel.grid(visible=True)
        style.legend_above(panel, None, n_columns=2)
        style.headline(canvas, dataset.attrs["title"])


def draw_cold(dataset: Any, path: Path) -> None:
    """Draw the covariance of random heads for several sizes of scores, and the exponents at low temperature.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.random_attention.cold.run`.
    path : Path
        File to write; see `style.write`.
    """
    dim, head_dims, scores = dataset.attrs["dim"], dataset["head_dim"].values, dataset["score"].values
    u = np.linspace(0, 1, 60)
    products, limits = dataset["product"].mean("replica").values, extrapolated(dataset)
    with style.picture(path, width=style.TWO_COLUMNS, height=3.2) as canvas:
        left, right = canvas.subplots(1, 2)
        for i, k in enumerate(head_dims):
            colour, at = COLOURS[i % len(COLOURS)], dataset["cosine"].values + 0.02 * (i - (len(head_dims) - 1) / 2)
            left.plot(u, low_temperature_kernel(dim, int(k))(u), color=colour, label=f"$k = {k}$")
            for j in range(len(scores)):
                shade = 0.25 + 0.5 * (j + 1) / len(scores)
                left.plot(at, products[i, j], MARKERS[1], color=colour, alpha=shade, markersize=3)
            mean, low, high = np.transpose([stats.mean_interval(column) for column in limits[:, i].T])
            left.errorbar(at, mean, style.bars(mean, low, high), fmt=MARKERS[0], color=colour)
        left.set(xlabel="cosine $u$", ylabel=r"$\mathrm{E}\langle m(x), m(y)\rangle$", ylim=(0, 1))
        left.grid(visible=True)
        style.legend_above(left, "squares: finite scores; bars: extrapolated, 99 %", n_columns=3)
        dims = sorted({4, 8, 16, int(dim)})
        for i, d in enumerate(dims):
            k = np.arange(3, 2 * d + 3)
            rate = 0.5 * (d - 1) * ((d - 3) * (k - 1) / ((d - 2) * (k - 2)) - 1)
            look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 3}
            right.plot(k / (d - 1), rate / (d - 1), label=f"$d = {d}$", linewidth=0.8, **look)
        right.axhline(0, color="black", linewidth=0.8)
        right.set(xlabel="$k/(d-1)$", ylabel=r"$\lambda_1/(d-1)$", ylim=(-0.5, 0.5))
        right.grid(visible=True)
        style.legend_above(right, "exponent of close tokens", n_columns=3)
        style.headline(canvas, dataset.attrs["title"])
