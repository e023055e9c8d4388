"""Pictures of results, at the size of a paper's column."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks, files

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers and in grey
_MARKERS = ("o", "s", "^", "D")


def require() -> None:
    """Raise ImportError unless pictures can be drawn here; called before long work."""
    checks.extra("matplotlib.figure", "plot")


def figure(width: float = 5.0, height: float = 3.6, *, n_columns: int = 1) -> tuple[Any, Any]:
    """Return a Matplotlib figure in inches and its axes, drawn without a display."""
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots(1, n_columns)


def write(canvas: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG at 200 dots per inch; the file is complete or what it was before."""
    files.replace(files.local(path, "path"), lambda stream: canvas.savefig(stream, dpi=200, format="png"))


def check_text(text: str, name: str) -> None:
    """Raise ValueError unless a text can be drawn: its parts between dollar signs are formulas; called before work."""
    canvas = checks.extra("matplotlib.figure", "plot").Figure(figsize=(1, 1))
    canvas.text(0, 0, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a letter that the font lacks is drawn as a box
            canvas.savefig(io.BytesIO(), format="png")
    except Exception as error:  # Matplotlib does not say which errors its parser of formulas raises
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{name} must be text that can be drawn, with formulas between dollar signs (\\$ is a dollar sign), "
            f"got {text!r}: {reason}"
        ) from error


def plain(text: str) -> str:
    """Return a text as Matplotlib draws it letter by letter, without formulas."""
    return text.replace("$", r"\$")


def chaos(dataset: Any, path: Path) -> None:
    """Draw the errors against N with intervals, fits and the theorem's rate, one panel per case.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.chaos.run`.
    path : Path
        PNG file to write.
    """
    names = dataset["case"].values
    n_columns = min(len(names), 2)
    n_rows = -(-len(names) // n_columns)
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(5.0 if len(names) == 1 else 7.2, 0.6 + 2.9 * n_rows), layout="constrained")
    axes = canvas.subplots(n_rows, n_columns, squeeze=False)
    for panel, name in zip(axes.flat, names, strict=False):
        _rates(panel, dataset.sel(case=name))
        panel.set_title(str(name), fontsize=8)
        is_limit = dataset.attrs["is_limit"]
        panel.set_xlabel("number of tokens N" if is_limit else "effective number  1/(1/N − 1/M)", fontsize=7)
        panel.tick_params(labelsize=7)
    for panel in axes.flat[len(names) :]:
        panel.set_axis_off()
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
    write(canvas, path)


def _rates(panel: Any, case: Any) -> None:
    """Draw the errors of one case of the chaos experiment."""
    labels = ("energy, RMS", "mean direction, RMS", "max |X − X̄|², mean", "sup W2², mean")
    x_all = case["n_effective"].values
    for index, label in enumerate(labels):
        row, colour = case.isel(quantity=index), _COLOURS[index]
        error = row["error"].values
        shown = np.isfinite(error) & (error > 0)
        if not shown.any():
            continue
        x, error = x_all[shown], error[shown]
        bars = np.stack([error - row["error_low"].values[shown], row["error_high"].values[shown] - error])
        slope, low, high = (float(row[f"exponent{end}"]) for end in ("", "_low", "_high"))
        has_log = index == 3 and int(case["dim"]) == 3
        divided = " / log N" if has_log else ""
        text = f"{label}{divided}: {slope:.2f} [{low:.2f}, {high:.2f}]"
        panel.errorbar(x, error, bars, fmt=_MARKERS[index], color=colour, markersize=3, capsize=1.5, label=text)
        at, level = row["centre"].values
        fit = np.exp(level) * (x / np.exp(at)) ** slope * (np.log(x) if has_log else 1)
        panel.plot(x, fit, color=colour, linewidth=0.9)
        if index == 3:
            rate = row["theorem_rate"].values[shown]
            panel.plot(x, 1.8 * error[0] * rate / rate[0], color="black", linestyle="--", linewidth=0.9, label="r_d(N)")
    panel.set(xscale="log", yscale="log")
    low, high = panel.get_ylim()
    panel.set_ylim(low * (low / high) ** 0.45, high)  # room for the legend
    panel.legend(fontsize=5.5, frameon=False, loc="lower left", title="exponent, 99 % interval", title_fontsize=5.5)
    panel.grid(which="major", alpha=0.2, linewidth=0.5)


def chaos_exponents(dataset: Any, path: Path) -> None:
    """Draw the exponents of many cases with their intervals beside the expected ones, one panel per quantity.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.chaos.run`.
    path : Path
        PNG file to write.
    """
    names = [str(name) for name in dataset["case"].values]
    titles = ("energy, RMS", "mean direction, RMS", "E max_t |X − X̄|²", "E sup_t W2²")
    module = checks.extra("matplotlib.figure", "plot")
    canvas = module.Figure(figsize=(7.2, 1.2 + 0.3 * len(names)), layout="constrained")
    axes = canvas.subplots(1, len(titles), sharey=True)
    height = -np.arange(len(names))
    for index, (panel, title) in enumerate(zip(axes, titles, strict=True)):
        row = dataset.isel(quantity=index)
        value = row["exponent"].values
        bars = np.stack([value - row["exponent_low"].values, row["exponent_high"].values - value])
        panel.errorbar(value, height, xerr=bars, fmt=_MARKERS[index], color=_COLOURS[index], markersize=4, capsize=2)
        for expected in np.unique(row["expected"].values[np.isfinite(row["expected"].values)]):
            panel.axvline(expected, color="black", linestyle="--", linewidth=0.8)
        across = panel.get_yaxis_transform()  # x in parts of the width, y in data
        for k in np.flatnonzero(np.isnan(value)):
            panel.text(0.5, height[k], "exactly 0", ha="center", va="center", fontsize=6, transform=across)
        panel.set_title(title, fontsize=8)
        panel.set_xlabel("exponent in N", fontsize=7)
        panel.tick_params(labelsize=7)
        panel.grid(axis="x", alpha=0.2, linewidth=0.5)
    axes[0].set_yticks(height)
    axes[0].set_yticklabels(names, fontsize=7)
    canvas.suptitle(f"{dataset.attrs['title']}; dashed: expected", fontsize=8)
    write(canvas, path)


def limits(dataset: Any, path: Path) -> None:
    """Draw D(N, L, m) along each limit alone, and against the sum of the two orders' errors.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.limits.run`.
    path : Path
        PNG file to write.
    """
    canvas, (left, right) = figure(7.2, 3.2, n_columns=2)
    mean = dataset["mean_square"].mean("replica").values
    depth = dataset["depth"].values
    ladders = (
        ("N, with L = m = ∞", dataset["n_tokens"].values[:-1], mean[:-1, -1, -1]),
        ("L, with N = m = ∞", 1 / (1 / depth[:-1] - 1 / depth[-1]), mean[-1, :-1, -1]),
        ("m, with N = L = ∞", dataset["width"].values[:-1], mean[-1, -1, :-1]),
    )
    for index, (label, x, values) in enumerate(ladders):
        left.plot(x, values, _MARKERS[index] + "-", color=_COLOURS[index], markersize=4, linewidth=1, label=label)
        left.plot(x, 0.8 * values[0] * x[0] / x, color=_COLOURS[index], linestyle="--", linewidth=0.7)
    left.plot([], [], color="0.3", linestyle="--", linewidth=0.7, label="slope −1")
    left.set(xscale="log", yscale="log", xlabel="N, L or m", ylabel="D = E sup (1/N) Σ |X − X̄|²")
    total = mean[:-1, -1:, -1:] + mean[-1:, :-1, :-1]
    finite = mean[:-1, :-1, :-1]
    for k, n in enumerate(dataset["n_tokens"].values[:-1]):
        style = {"color": _COLOURS[k % 4], "markersize": 4, "label": f"N = {int(n)}, all L and m"}
        right.plot(total[k].ravel(), finite[k].ravel(), _MARKERS[k % 4], **style)
    ends = [min(total.min(), finite.min()), max(total.max(), finite.max())]
    right.plot(ends, ends, color="black", linestyle="--", linewidth=0.8, label="sum of the two orders")
    right.set(xscale="log", yscale="log", xlabel="D(N, ∞, ∞) + D(∞, L, m)", ylabel="D(N, L, m)")
    ticker = checks.extra("matplotlib.ticker", "plot")
    for axis in (left.xaxis, left.yaxis, right.xaxis, right.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())
    for panel in (left, right):
        panel.legend(fontsize=6, frameon=False)
        panel.grid(which="both", alpha=0.2, linewidth=0.5)
        panel.tick_params(labelsize=7)
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
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
    canvas, axes = figure(5.0, 4.2)
    times = dataset["time"].values
    for index, name in enumerate(dataset["activation"].values):
        row, colour = dataset.sel(activation=name), _COLOURS[index % len(_COLOURS)]
        mean, has_band = row["energy_mean"].values, np.isfinite(row["energy_low"].values)
        # A mean without a band says little of the expectation.
        axes.plot(times, mean, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(times, np.where(has_band, mean, np.nan), color=colour, linewidth=1.4, label=str(name))
        axes.fill_between(times, row["energy_low"], row["energy_high"], color=colour, alpha=0.2, linewidth=0)
        if has_band.any():
            last = np.flatnonzero(has_band)[-1]
            axes.plot(times[last], mean[last], "|", color=colour, markersize=9)
        axes.plot(times, row["pair_equation"], color=colour, linestyle=":", linewidth=1.5)
        axes.plot(times, row["bound"], color=colour, linestyle="--", linewidth=0.9)
    axes.plot([], [], color="black", linestyle=":", label="pair equation")
    axes.plot([], [], color="black", linestyle="--", label="bound of the theorem")
    few = f"{dataset.attrs['fewest_replicas']:g} of {dataset.sizes['replica']}"
    axes.plot([], [], "|-", color="0.4", linewidth=0.6, label=f"beyond |: fewer than {few} replicas carry the mean")
    first = float(dataset["energy_mean"].max())
    lowest = max(float(dataset["energy_mean"].min()) / 3, 1e-9 * first)
    axes.set(yscale="log", xlabel="time", ylabel="mean energy, 99 % band", ylim=(lowest, 3 * first))
    axes.set_title(dataset.attrs["title"], fontsize=7)
    axes.legend(fontsize=7, frameon=False, loc="lower left")
    axes.grid(alpha=0.2, linewidth=0.5)
    write(canvas, path)


def mean_field(dataset: Any, path: Path) -> None:
    """Draw the density on the circle over time with tokens in it, and the errors and pair laws below.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `experiments.mean_field.run`.
    path : Path
        PNG file to write.
    """
    module = checks.extra("matplotlib.figure", "plot")
    colours = checks.extra("matplotlib.colors", "plot")
    canvas = module.Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = canvas.subplot_mosaic([["density"] * 3, ["steps", "nodes", "pairs"]], height_ratios=[1.25, 1])

    panel, frames, angles = axes["density"], dataset["frame"].values, dataset["angle"].values
    density = dataset["density"].values.T
    # A density over four decades; below, the colour of the least.
    norm = colours.LogNorm(vmin=max(density.min(), 1e-4 * density.max()), vmax=density.max(), clip=True)
    image = panel.pcolormesh(
        frames, angles, np.maximum(density, norm.vmin), norm=norm, cmap="magma", shading="gouraud", rasterized=True
    )
    for token in dataset["path"].values.T:
        # A gap where the path passes ±π.
        line = np.where(np.abs(np.diff(token, prepend=token[0])) > np.pi, np.nan, token)
        panel.plot(frames, line, color="white", linewidth=0.4, alpha=0.7)
    panel.set(ylim=(-np.pi, np.pi), yticks=[-np.pi, 0, np.pi])
    panel.set_yticklabels(["−π", "0", "π"])
    panel.set_xlabel("time", fontsize=8)
    panel.set_ylabel("angle θ", fontsize=8)
    panel.set_title("density (colour) under one noise, and tokens that follow it (lines)", fontsize=8)
    canvas.colorbar(image, ax=panel, pad=0.01).ax.tick_params(labelsize=7)

    panel, steps = axes["steps"], dataset["n_steps"].values
    for index, (name, label, order) in enumerate(
        (("gap", "same step", 1.0), ("density_error", "nodes at the finest step", 0.5))
    ):
        rms = np.sqrt(dataset[name].mean("replica").values)
        panel.plot(steps, rms, _MARKERS[index] + "-", color=_COLOURS[index], markersize=4, linewidth=1, label=label)
        guide = rms[0] * 0.75 * (steps[0] / steps) ** order
        panel.plot(steps, guide, color="black", linestyle="--", linewidth=0.8)
        panel.annotate(f"order {order:g}", (steps[-1], guide[-1]), ha="right", va="top", fontsize=6)
    lowest = float(np.sqrt(dataset["gap"].mean("replica").min()))
    panel.set(xscale="log", yscale="log", ylim=(0.15 * lowest, None))
    panel.set_xlabel("steps", fontsize=8)
    panel.set_ylabel("RMS of modes 1 … 4", fontsize=8)
    panel.set_xticks(steps, [str(count) for count in steps])
    panel.set_xticks([], minor=True)
    panel.set_title("density − nodes, one noise", fontsize=8)
    panel.legend(fontsize=6, frameon=False)

    panel, nodes = axes["nodes"], dataset["n_nodes"].values
    for index, name in enumerate(dataset["activation"].values):
        rms = np.sqrt(dataset["node_error"].sel(activation=name).mean("replica").values)
        panel.plot(nodes, rms, _MARKERS[index] + "-", color=_COLOURS[index], markersize=4, linewidth=1, label=name)
        if bool(dataset["is_kinked"].sel(activation=name)):
            guide = 2 * rms[-1] * (nodes[-1] / nodes) ** 2
            panel.plot(nodes, guide, color="black", linestyle="--", linewidth=0.8, label="order 2")
    panel.set(xscale="log", yscale="log")
    panel.set_xlabel("nodes", fontsize=8)
    panel.set_xticks(nodes, [str(count) for count in nodes])
    panel.set_xticks([], minor=True)
    panel.set_title("error of the nodes", fontsize=8)
    panel.legend(fontsize=6, frameon=False)

    panel, times = axes["pairs"], dataset["pair_time"].values
    for index, name in enumerate(dataset["function"].values):
        row = dataset.sel(function=name)
        start = float(row["pair_expected"][0])
        mean = row["pair_mean"].values
        bars = np.stack([mean - row["pair_low"].values, row["pair_high"].values - mean])
        colour, marker = _COLOURS[index], _MARKERS[index]
        panel.plot(times, row["pair_expected"] - start, color=colour, linewidth=1)
        panel.errorbar(times, mean - start, bars, fmt=marker, color=colour, markersize=3, capsize=2, label=name)
    panel.plot([], [], color="black", linewidth=1, label="pair equation")
    panel.set_xlabel("time", fontsize=8)
    panel.set_title("pairs over the noise, change since 0", fontsize=8)
    panel.legend(fontsize=6, frameon=False, loc="upper left")
    axes["density"].tick_params(labelsize=7)
    for name in ("steps", "nodes", "pairs"):
        axes[name].tick_params(labelsize=7)
        axes[name].grid(alpha=0.2, linewidth=0.5)
    canvas.suptitle(dataset.attrs["title"], fontsize=8)
    write(canvas, path)


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
