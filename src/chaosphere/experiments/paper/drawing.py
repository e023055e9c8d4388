"""The pictures of arXiv:2604.26898."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks
from chaosphere.plot import style as plotting
from chaosphere.plot.style import COLOURS


def draw_tokens(dataset: Any, path: Path) -> None:
    """Draw the first two coordinates of all tokens at several layers, one row per activation (Figure 1)."""
    layers, activations = dataset["layer"].values, dataset["activation"].values
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(7.2, 2.9), layout="constrained")
    axes = canvas.subplots(len(activations), len(layers), sharex=True, sharey=True)
    circle = np.linspace(0, 2 * np.pi, 200)
    for i, activation in enumerate(activations):
        for j, layer in enumerate(layers):
            panel = axes[i, j]
            x = dataset["x"].sel(activation=activation, layer=layer).values
            panel.plot(np.cos(circle), np.sin(circle), color="0.7", linewidth=0.5)
            panel.scatter(x[:, 0], x[:, 1], s=6, color=COLOURS[i], alpha=0.6, linewidth=0)
            panel.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
            panel.tick_params(labelsize=6)
            if i == 0:
                panel.set_title(f"layer {layer}", fontsize=7)
            if j == 0:
                panel.set_ylabel(str(activation), fontsize=8)
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
    plotting.write(canvas, path)


def draw_cosines_and_energy(dataset: Any, path: Path) -> None:
    """Draw pairwise cosines (bands of quantiles) and energies over time, one row per (d, σ) (Figures 2 to 6).

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.paper.figure`.
    path : Path
        PNG file to write.
    """
    times, scales = dataset["time"].values, dataset["value_scale"].values
    cases = [(d, b) for d in dataset["dim"].values for b in dataset["bias_std"].values]
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(7.2, 0.6 + 1.45 * len(cases)), layout="constrained")
    axes = canvas.subplots(len(cases), len(scales) + 1, sharex=True, squeeze=False)
    for i, (dim, bias) in enumerate(cases):
        row = dataset.sel(dim=dim, bias_std=bias)
        for j, scale in enumerate(scales):
            panel, q = axes[i, j], row["cosine"].sel(value_scale=scale).values
            for low, high, alpha in ((0, 6, 0.15), (1, 5, 0.25), (2, 4, 0.4)):
                panel.fill_between(times, q[:, low], q[:, high], color=COLOURS[j], alpha=alpha, linewidth=0)
            panel.plot(times, q[:, 3], color=COLOURS[j], linewidth=1)
            panel.set(ylim=(-1.08, 1.08), yticks=[-1, 0, 1])
            if i == 0:
                panel.set_title(f"cosines, δ = {scale:g}", fontsize=7)
            energy = row["energy"].sel(value_scale=scale).values.mean(axis=1)
            axes[i, -1].plot(times, energy, color=COLOURS[j], linewidth=1, label=f"δ = {scale:g}")
        axes[i, 0].set_ylabel(f"d = {dim}, σ = {bias:g}", fontsize=7)
        last = axes[i, -1]
        if np.isfinite(row["pair_equation"].values).all():
            last.plot(
                times,
                row["pair_equation"],
                color="black",
                linestyle=":",
                linewidth=1.2,
                label="δ = 0, expected from the pair equation",
            )
        if np.isfinite(row["bound"].values).all():
            last.plot(
                times,
                row["bound"],
                color="0.4",
                linestyle="--",
                linewidth=0.8,
                label="δ = 0 or 1, bound of the theorem",
            )
        last.set_ylim(bottom=0)
        if i == 0:
            last.set_title("energy", fontsize=7)
        if i == len(cases) - 1:
            for panel in axes[i]:
                panel.set_xlabel("time", fontsize=7)
        for panel in axes[i]:
            panel.tick_params(labelsize=6)
    # One legend for all rows: the pair equation and the bound stand only where they apply.
    handles = {
        label: handle for row in axes for handle, label in zip(*row[-1].get_legend_handles_labels(), strict=True)
    }
    canvas.legend(handles.values(), handles.keys(), fontsize=6, frameon=False, loc="outside lower center", ncols=5)
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
    plotting.write(canvas, path)


def draw_exponents(dataset: Any, path: Path) -> None:
    """Draw λ1 and λ̄ over the dimension for each activation and σ: negative λ1 synchronizes.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.paper.table`.
    path : Path
        PNG file to write.
    """
    canvas, axes = plotting.figure(7.2, 3.2, n_columns=2)
    dims = dataset["dim"].values
    styles = ("-", "--", ":", "-.")
    for panel, name, title in (
        (axes[0], "lyapunov_exponent", "λ1: pairs come together where negative"),
        (axes[1], "lambda_bar", "λ̄: the energy theorem needs it negative"),
    ):
        for i, activation in enumerate(dataset["activation"].values):
            for j, bias in enumerate(dataset["bias_std"].values):
                values = dataset[name].sel(activation=activation, bias_std=bias).values
                panel.plot(
                    dims,
                    values,
                    styles[j % 4],
                    color=COLOURS[i % 4],
                    marker=".",
                    linewidth=1,
                    markersize=4,
                    label=f"{activation}, σ = {bias:g}",
                )
        panel.axhline(0, color="black", linewidth=0.7)
        panel.set(xscale="log", xlabel="dimension d")
        panel.set_yscale("symlog", linthresh=0.1)
        panel.set_title(title, fontsize=8)
        panel.grid(alpha=0.2, linewidth=0.5)
    canvas.legend(*axes[0].get_legend_handles_labels(), fontsize=6, frameon=False, loc="outside lower center", ncols=4)
    plotting.write(canvas, path)
