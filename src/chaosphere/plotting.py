"""Pictures of results, at the size of a paper's column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chaosphere import checks

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers and in grey
_MARKERS = ("o", "s", "^", "D")
_LABELS = {"beta": "β", "noise_scale": "noise scale s", "time": "time t", "value_scale": "δ"}


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
    is_limit = dataset.attrs["n_nodes"] > 0
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("number of tokens N" if is_limit else "effective number of tokens  1/(1/N − 1/M)")
    axes.set_ylabel("root-mean-square error")
    axes.set_title(dataset.attrs["title"], fontsize=7)
    axes.set_ylim(bottom=anchor / 20)
    axes.legend(fontsize=7, frameon=False, loc="lower left", title="slope with 99 % interval", title_fontsize=7)
    axes.grid(which="both", alpha=0.2, linewidth=0.5)
    write(canvas, path)


def depth_width(dataset: Any, path: Path) -> None:
    """Draw the mean-square distance to the limit over depth, one line per width, and as a surface over both.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.depth_width.run`.
    path : Path
        PNG file to write.
    """
    canvas, (left, right) = figure(7.2, 3.4, n_columns=2)
    depths, widths = dataset["depth"].values[:-1], dataset["width"].values
    mean = dataset["mean_square"].mean("replica").values
    names = ["∞" if np.isinf(w) else f"{int(w)}" for w in widths]
    shades = checks.extra("matplotlib", "plot").colormaps["viridis"](np.linspace(0.9, 0, len(widths)))
    for j, name in enumerate(names):
        left.plot(depths, mean[:-1, j], "o-", color=shades[j], markersize=3, linewidth=1, label=f"m = {name}")
    guide = mean[0, -1] * 0.6 * depths[0] / depths
    left.plot(depths, guide, color="black", linestyle="--", linewidth=1, label="1/L")
    left.set(xscale="log", yscale="log", xlabel="depth L", ylabel="E sup (1/N) Σ |X − X̄|²")
    left.legend(fontsize=6, frameon=False)
    left.grid(which="both", alpha=0.2, linewidth=0.5)
    rows = [f"{d}" for d in dataset["depth"].values[:-1]] + ["∞"]
    surface = np.where(mean > 0, mean, np.nan)
    right.imshow(np.log10(surface), cmap="viridis", aspect="auto", origin="lower")
    for (i, j), value in np.ndenumerate(surface):
        shade = "black" if np.log10(value) > np.nanmean(np.log10(surface)) else "white"
        right.text(
            j, i, "0" if np.isnan(value) else f"{value:.1e}", ha="center", va="center", fontsize=5.5, color=shade
        )
    right.set(xticks=range(len(names)), yticks=range(len(rows)), xlabel="width m", ylabel="depth L")
    right.set_xticklabels(names, fontsize=7)
    right.set_yticklabels(rows, fontsize=7)
    canvas.suptitle(dataset.attrs["title"], fontsize=7)
    write(canvas, path)


def synchronization(dataset: Any, path: Path) -> None:
    """Draw the mean energy over time with intervals, the pair equation and the theorem's bound, per activation.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.synchronization.run`.
    path : Path
        PNG file to write.
    """
    canvas, axes = figure(5.0, 3.8)
    times = dataset["time"].values
    for index, name in enumerate(dataset["activation"].values):
        row, colour = dataset.sel(activation=name), _COLOURS[index % len(_COLOURS)]
        axes.plot(times, row["energy_mean"], color=colour, linewidth=1.2, label=str(name))
        axes.fill_between(times, row["energy_low"], row["energy_high"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(times, row["pair_equation"], color=colour, linestyle=":", linewidth=1.5)
        axes.plot(times, row["bound"], color=colour, linestyle="--", linewidth=0.9)
    axes.plot([], [], color="black", linestyle=":", label="pair equation")
    axes.plot([], [], color="black", linestyle="--", label="bound of the theorem")
    first = float(dataset["energy_mean"].max())
    lowest = max(float(dataset["energy_mean"].min()) / 3, 1e-9 * first)
    axes.set(yscale="log", xlabel="time", ylabel="mean energy, 99 % band", ylim=(lowest, 3 * first))
    axes.set_title(dataset.attrs["title"], fontsize=7)
    axes.legend(fontsize=7, frameon=False, loc="lower left")
    axes.grid(alpha=0.2, linewidth=0.5)
    write(canvas, path)


def phase_diagram(dataset: Any, path: Path, *, value: str, x: str, y: str, critical: Any = None) -> None:
    """Draw the mean over replicas of an observable as a map of colours over two parameters, or one and time.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `ensemble`; time, where it is neither x nor y, is the last.
    path : Path
        PNG file to write.
    value : str
        Name of the observable.
    x, y : str
        Names of the axes.
    critical : ndarray, optional
        y of a line over x.
    """
    canvas, axes = figure(4.8, 3.6)
    mean = dataset[f"{value}_mean"]
    if "time" not in (x, y):
        mean = mean.isel(time=-1)
    mean = mean.transpose(y, x)
    colours = axes.pcolormesh(
        _places(dataset[x].values), _places(dataset[y].values), mean.values, cmap="viridis", shading="nearest"
    )
    bar = canvas.colorbar(colours, ax=axes, pad=0.02)
    bar.set_label(f"mean of {value.replace('_', ' ')}", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    if critical is not None:
        # From edge to edge, over the half cells before the first value and after the last.
        left, right = axes.get_xlim()
        places = [left, *_places(dataset[x].values), right]
        heights = [critical[0], *critical, critical[-1]]
        axes.plot(places, heights, color="white", linewidth=2.4)
        axes.plot(places, heights, color="black", linewidth=1.2, linestyle="--", label="s² = δ/λ1")
        axes.set_xlim(left, right)
        axes.legend(fontsize=8, loc="upper right")
    for name, set_label, set_ticks in ((x, axes.set_xlabel, axes.set_xticks), (y, axes.set_ylabel, axes.set_yticks)):
        set_label(_LABELS.get(name, name.replace("_", " ")))
        if dataset[name].dtype.kind not in "iuf":
            set_ticks(range(dataset.sizes[name]), [str(v) for v in dataset[name].values])
    axes.set_title(dataset.attrs["title"], fontsize=7)
    write(canvas, path)


def lines(dataset: Any, path: Path, *, value: str, x: str) -> None:
    """Draw the mean over replicas of an observable over x with its 99 % band, one line for each other parameter value.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `ensemble`; time, where it is not x, is the last.
    path : Path
        PNG file to write.
    value, x : str
        Names of the observable and of the axis.
    """
    canvas, axes = figure()
    if x != "time":
        dataset = dataset.isel(time=-1)
    others = [d for d in dataset[f"{value}_mean"].dims if d != x]
    places = _places(dataset[x].values)
    n_lines = dataset.sizes[others[0]] if others else 1
    shades = checks.extra("matplotlib", "plot").colormaps["viridis"](np.linspace(0, 0.9, n_lines))
    for index, shade in enumerate(shades):
        row = dataset.isel({others[0]: index}) if others else dataset
        axes.fill_between(places, row[f"{value}_low"], row[f"{value}_high"], color=shade, alpha=0.25, linewidth=0)
        axes.plot(places, row[f"{value}_mean"], color=shade, label=str(row[others[0]].item()) if others else None)
    if others:
        axes.legend(title=_LABELS.get(others[0], others[0]), fontsize=7, title_fontsize=7, frameon=False)
    if dataset[x].dtype.kind not in "iuf":
        axes.set_xticks(places, [str(v) for v in dataset[x].values])
    axes.set(xlabel=_LABELS.get(x, x.replace("_", " ")), ylabel=f"mean of {value.replace('_', ' ')}, 99 % band")
    axes.set_title(dataset.attrs["title"], fontsize=7)
    axes.grid(alpha=0.2, linewidth=0.5)
    write(canvas, path)


def _places(values: Any) -> Any:
    """Numbers stand at their values, names at 0, 1, 2 …."""
    return values if values.dtype.kind in "iuf" else np.arange(len(values))


def tokens(dataset: Any, path: Path) -> None:
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
            panel.scatter(x[:, 0], x[:, 1], s=6, color=_COLOURS[i], alpha=0.6, linewidth=0)
            panel.set(aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
            panel.tick_params(labelsize=6)
            if i == 0:
                panel.set_title(f"layer {layer}", fontsize=7)
            if j == 0:
                panel.set_ylabel(str(activation), fontsize=8)
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
    write(canvas, path)


def cosines_and_energy(dataset: Any, path: Path) -> None:
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
                panel.fill_between(times, q[:, low], q[:, high], color=_COLOURS[j], alpha=alpha, linewidth=0)
            panel.plot(times, q[:, 3], color=_COLOURS[j], linewidth=1)
            panel.set(ylim=(-1.08, 1.08), yticks=[-1, 0, 1])
            if i == 0:
                panel.set_title(f"cosines, δ = {scale:g}", fontsize=7)
            energy = row["energy"].sel(value_scale=scale).values.mean(axis=1)
            axes[i, -1].plot(times, energy, color=_COLOURS[j], linewidth=1, label=f"δ = {scale:g}")
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
    write(canvas, path)


def exponents(dataset: Any, path: Path) -> None:
    """Draw λ1 and λ̄ over the dimension for each activation and σ: negative λ1 synchronizes.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.paper.table`.
    path : Path
        PNG file to write.
    """
    canvas, axes = figure(7.2, 3.2, n_columns=2)
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
                    color=_COLOURS[i % 4],
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
    write(canvas, path)
