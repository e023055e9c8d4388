"""The pictures of arXiv:2604.26898."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.plot import style
from chaosphere.plot.style import COLOURS, MARKERS

_BANDS = ((0, 6, 0.15), (1, 5, 0.25), (2, 4, 0.4))  # places of the quantiles of their ends, and opacity


def draw_tokens(dataset: Any, path: Path) -> None:
    """Draw the first two coordinates of all tokens at several layers, one row per activation (Figure 1).

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.paper.figure_1`.
    path : Path
        File to write; see `style.write`.
    """
    layers, activations = dataset["layer"].values, dataset["activation"].values
    circle = np.linspace(0, 2 * np.pi, 200)
    with style.picture(path, width=style.TWO_COLUMNS, height=2.9) as canvas:
        axes = canvas.subplots(len(activations), len(layers), sharex=True, sharey=True, squeeze=False)
        for i, activation in enumerate(activations):
            for j, layer in enumerate(layers):
                panel = axes[i, j]
                x = dataset["x"].sel(activation=activation, layer=layer).values
                panel.plot(np.cos(circle), np.sin(circle), color="0.7", linewidth=0.5)
                panel.scatter(x[:, 0], x[:, 1], s=6, color=COLOURS[i], marker=MARKERS[i], alpha=0.6, linewidth=0)
                panel.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
                if i == 0:
                    panel.set_title(f"layer {layer}")
            axes[i, 0].set_ylabel(f"{activation}: $x_2$")
        for panel in axes[-1]:
            panel.set_xlabel("$x_1$")
        style.headline(canvas, dataset.attrs["title"])


def draw_cosines_and_energy(dataset: Any, path: Path) -> None:
    """Draw pairwise cosines (bands of quantiles) and energies over time, one row per (d, σ) (Figures 2 to 6).

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.paper.figure`.
    path : Path
        File to write; see `style.write`.
    """
    times, scales = dataset["time"].values, dataset["value_scale"].values
    cases = [(d, b) for d in dataset["dim"].values for b in dataset["bias_std"].values]
    with style.picture(path, width=style.TWO_COLUMNS, height=0.9 + 1.25 * len(cases)) as canvas:
        axes = canvas.subplots(len(cases), len(scales) + 1, sharex=True, squeeze=False)
        for i, (dim, bias) in enumerate(cases):
            row = dataset.sel(dim=dim, bias_std=bias)
            for j, scale in enumerate(scales):
                _cosines(axes[i, j], times, row["cosine"].sel(value_scale=scale).values, colour=COLOURS[j])
            axes[i, 0].set_ylabel(style.formulas(f"cosines, d = {dim}, σ = {bias:g}"))
            _energies(axes[i, -1], row)
        for j, scale in enumerate(scales):
            axes[0, j].set_title(style.formulas(f"cosines of pairs, δ = {scale:g}"))
        axes[0, -1].set_title(r"energy $E_\beta$")
        for panel in axes[-1]:
            panel.set_xlabel("time $t$")
        # One legend for all rows: the pair equation and the bound stand only where they apply.
        handles = {
            label: handle for row in axes for handle, label in zip(*row[-1].get_legend_handles_labels(), strict=True)
        }
        style.legend_below(canvas, handles, n_columns=5)
        style.headline(canvas, f"{dataset.attrs['title']}\n{_of_quantiles(dataset['quantile'].values)}")


def _of_quantiles(quantiles: Any) -> str:
    """Return what the bands and the line of the cosines are."""
    shares = [f"{100 * (quantiles[high] - quantiles[low]):.0f} %" for low, high, _ in reversed(_BANDS)]
    return f"cosines: the median of all pairs (line), and the middle {', '.join(shares)} of them (bands, dark to light)"


def _cosines(panel: Any, times: Any, quantiles: Any, *, colour: str) -> None:
    """Draw the quantiles of the cosines as bands, and the median."""
    for low, high, alpha in _BANDS:
        panel.fill_between(times, quantiles[:, low], quantiles[:, high], color=colour, alpha=alpha, linewidth=0)
    panel.plot(times, quantiles[:, 3], color=colour)
    panel.set(ylim=(-1.08, 1.08), yticks=[-1, 0, 1])


def _energies(panel: Any, row: Any) -> None:
    """Draw the mean energies of a (d, σ), beside what is known of them."""
    times = row["time"].values
    for j, scale in enumerate(row["value_scale"].values):
        energy = row["energy"].sel(value_scale=scale).values.mean(axis=1)
        look = {"color": COLOURS[j], "marker": MARKERS[j], "markevery": max(1, len(times) // 8)}
        panel.plot(times, energy, label=style.formulas(f"δ = {scale:g}"), **look)
    if np.isfinite(row["pair_equation"].values).all():
        label = r"$\delta = 0$, expected from the pair equation"
        panel.plot(times, row["pair_equation"], color="black", linestyle=":", linewidth=1.2, label=label)
    if np.isfinite(row["bound"].values).all():
        label = r"$\delta = 0$ or $1$, bound of the theorem"
        panel.plot(times, row["bound"], color="0.4", linestyle="--", linewidth=0.8, label=label)
    panel.set_ylim(bottom=0)


def draw_exponents(dataset: Any, path: Path) -> None:
    """Draw λ1 and λ̄ over the dimension for each activation and σ: negative λ1 synchronizes.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.paper.table`.
    path : Path
        File to write; see `style.write`.
    """
    dims = dataset["dim"].values
    styles = ("-", "--", ":", "-.")
    with style.picture(path, width=style.TWO_COLUMNS, height=3.2) as canvas:
        axes = canvas.subplots(1, 2)
        for panel, name, symbol, title in (
            (axes[0], "lyapunov_exponent", r"$\lambda_1$", "pairs come together where negative"),
            (axes[1], "lambda_bar", r"$\bar{\lambda}$", "the energy theorem needs it negative"),
        ):
            for i, activation in enumerate(dataset["activation"].values):
                for j, bias in enumerate(dataset["bias_std"].values):
                    values = dataset[name].sel(activation=activation, bias_std=bias).values
                    look = {"linestyle": styles[j % 4], "color": COLOURS[i % 4], "marker": MARKERS[i % 4]}
                    label = style.formulas(f"{activation}, σ = {bias:g}")
                    panel.plot(dims, values, label=label, markersize=2.5, **look)
            panel.axhline(0, color="black", linewidth=0.6)
            panel.set(xscale="log", xlabel="dimension $d$", ylabel=symbol, title=f"{symbol}: {title}")
            panel.set_yscale("symlog", linthresh=0.1)
            style.label_ladder(panel, dims)
            panel.grid(visible=True)
        handles, labels = axes[0].get_legend_handles_labels()
        style.legend_below(canvas, dict(zip(labels, handles, strict=True)), n_columns=4)
