"""Pictures for print: the width of a column, one size of text, legends beside the data, ticks at what was measured."""

import json
import re
from functools import cache
from unittest import mock

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text

import chaosphere as cs
from chaosphere.ensembles import drawing
from chaosphere.experiments import (
    attractors,
    cases,
    causal,
    chaos,
    depth_width,
    fluctuations,
    limits,
    low_temperature,
    mean_field,
    metastability,
    paper,
    phases,
    random_attention,
    synchronization,
    training,
    uniform_in_time,
)
from chaosphere.plot import style

MLP = cs.MLP(width=8, bias_std=0.3, activation="tanh")
ATTENTION = cs.SoftmaxAttention(beta=1.0)
MODEL = cs.Transformer(attention=ATTENTION, mlp=MLP, depth=3, horizon=1.0)
TOKENS, DEPTHS, WIDTHS = [8, 16, 32], [2, 4, 8], [4, 8, 16]


@cache
def rates():
    return chaos.run(cases.rates(MODEL, dims=[2, 3], tokens=TOKENS, n_nodes=100), rng=0, n_replicas=4)


@cache
def one_case():
    return chaos.run(cases.rates(MODEL, dims=[2], tokens=TOKENS, n_nodes=32), rng=0, n_replicas=4)


@cache
def three_limits():
    ladders = {"tokens": TOKENS, "depths": DEPTHS, "widths": WIDTHS}
    return limits.run(MLP, rng=0, attention=ATTENTION, n_nodes=16, n_replicas=4, **ladders)


@cache
def deviations():
    plan = [fluctuations.Case(name="d = 2", model=MODEL, law=cases.start_law(2, 1.0), n_nodes=16)]
    return fluctuations.run(plan, rng=0, tokens=[8, 16], n_samples=800, n_replicas=3)


@cache
def grid():
    return depth_width.run(MLP, rng=0, n_tokens=4, depths=DEPTHS, widths=WIDTHS, refinement=2, n_replicas=6)


@cache
def circle():
    small = {"horizon": 0.1, "n_steps": (2, 4), "n_modes": 32, "n_nodes": (8, 16), "width": 4, "depth": 4}
    return mean_field.run(rng=0, n_replicas=3, n_pair_replicas=3, **small)


@cache
def decay():
    return synchronization.run(["relu", "sigmoid", "tanh"], rng=0, n_tokens=4, width=4, depth=30, n_replicas=4)


@cache
def correlation():
    return causal.correlation.run(rng=0, n_tokens=40, n_steps=4, n_replicas=4)


@cache
def centres():
    sizes = {"n_centre_tokens": 40, "centre_horizon": 2.0, "n_centre_replicas": 4}
    return causal.centres.run(rng=0, betas=[8, 16, 32], **sizes)


@cache
def clusters():
    sizes = {"n_tokens": 64, "horizon": 20.0, "n_times": 8, "n_replicas": 3}
    return metastability.counts.run(rng=0, count_betas=[1, 2, 4], **sizes)


@cache
def lifetimes():
    return metastability.lifetimes.run(rng=0, k_clusters=[5, 6], lifetime_barriers=[8, 9], n_lifetime_replicas=3)


@cache
def merging():
    return metastability.merging.run(rng=0, barriers=[1, 5, 10])


@cache
def two_ends():
    return random_attention.ends.run(rng=0, dims=[2, 4], betas=[0.5, 2.0], n_pairs=20, n_steps=20, n_replicas=3)


@cache
def few_heads():
    return random_attention.heads.run(rng=0, heads=[1, 2], n_head_steps=6, n_head_pairs=10, n_head_replicas=3)


@cache
def few_splits():
    return random_attention.splits.run(
        rng=0, splits=[1, 2], n_layers_per_time=10, n_split_systems=20, n_split_replicas=3
    )


@cache
def cold_heads():
    return random_attention.cold.run(rng=0, n_cold_tokens=2000, n_cold_heads=3, n_cold_replicas=3)


@cache
def trained():
    sizes = {"n_tokens": 4, "sizes": [2, 4, 8], "steps": [0, 2], "n_limit_heads": 8, "n_replicas": 4}
    return training.grid.run(rng=0, **sizes)


@cache
def trained_tokens():
    sizes = {"token_counts": [4, 8, 16], "token_steps": [0, 2], "network_size": 2, "n_token_heads": 8}
    return training.tokens.run(rng=0, n_token_replicas=4, **sizes)


@cache
def pull_backs():
    return attractors.runs.run(rng=0, n_tokens=50, n_steps=100, n_replicas=3)


@cache
def long_chaos():
    sizes = {"tokens": [8, 32], "n_nodes": 128, "horizon": 4.0, "n_steps": 40, "n_systems": 1}
    return uniform_in_time.runs.run(rng=0, n_replicas=3, **sizes)


@cache
def cold_attention():
    return low_temperature.runs.run(rng=0, betas=[4.0, 16.0, 64.0], n_tokens=200, n_steps=48, n_replicas=3)


@cache
def first_figure():
    return paper.figure_1(rng=0, width=4)


@cache
def second_figure():
    return paper.figure(2, rng=0, dims=[5, 64], depth=20, width=8)


@cache
def exponents():
    return paper.table(dims=[5, 8, 16])


@cache
def study():
    data = cs.ensemble(
        lambda beta, value_scale: cs.Transformer(
            attention=cs.SoftmaxAttention(beta=beta, value_scale=value_scale), mlp=MLP, depth=4, horizon=1.0
        ),
        cs.laws.Uniform(dim=3),
        n_tokens=4,
        seeds=range(3),
        sweep={"beta": [1.0, 2.0, 4.0], "value_scale": [-1.0, 1.0]},
        observe={"energy": cs.measures.Energy(beta=1.0)},
        save_at=[0.0, 0.5, 1.0],
    )
    for part in ("low", "high"):
        data[f"energy_{part}"] = data["energy_mean"]
    return data.assign_attrs(title="Attention and noise,\n$d = 3$")


@cache
def ladder():
    sizes = {"n_tokens": 20, "periods": 0.5, "n_steps": 4, "n_systems": 2, "n_replicas": 3}
    return phases.hysteresis.run(rng=0, shares=[0.8, 1.1, 1.3], **sizes)


def phase_map(dataset, path):
    drawing.phase_diagram(dataset, path, value="energy", x="beta", y="value_scale", critical=np.zeros(3))


def lines(dataset, path):
    drawing.lines(dataset.isel(beta=0, drop=True), path, value="energy", x="time")


PICTURES = {
    "chaos": (rates, chaos.draw),
    "chaos, one case": (one_case, chaos.draw),
    "chaos, exponents": (rates, chaos.draw_exponents),
    "limits": (three_limits, limits.draw),
    "fluctuations": (deviations, fluctuations.draw),
    "depth-width": (grid, depth_width.draw),
    "mean-field": (circle, mean_field.draw),
    "sync": (decay, synchronization.draw),
    "causal, correlation": (correlation, causal.drawing.draw_correlation),
    "causal, centres": (centres, causal.drawing.draw_centres),
    "metastability, counts": (clusters, metastability.drawing.draw_counts),
    "metastability, lifetimes": (lifetimes, metastability.drawing.draw_lifetimes),
    "metastability, merging": (merging, metastability.drawing.draw_merging),
    "random attention": (two_ends, random_attention.drawing.draw_ends),
    "random heads": (few_heads, random_attention.drawing.draw_heads),
    "opposite clusters": (few_splits, random_attention.drawing.draw_splits),
    "heads at low temperature": (cold_heads, random_attention.drawing.draw_cold),
    "training, sizes": (trained, training.drawing.draw_grid),
    "training, tokens": (trained_tokens, training.drawing.draw_tokens),
    "attention at low temperature": (cold_attention, low_temperature.drawing.draw),
    "attractors": (pull_backs, attractors.drawing.draw),
    "uniform in time": (long_chaos, uniform_in_time.drawing.draw),
    "phases": (ladder, phases.drawing.draw_hysteresis),
    "figure 1": (first_figure, paper.draw_tokens),
    "figure 2": (second_figure, paper.draw_cosines_and_energy),
    "table": (exponents, paper.draw_exponents),
    "study, map": (study, phase_map),
    "study, lines": (study, lines),
}


@cache
def picture(name):
    """The figure as it is written."""
    canvases = []

    def keep(canvas, path):
        canvas.draw_without_rendering()
        canvases.append(canvas)

    dataset, function = PICTURES[name]
    with mock.patch.object(style, "write", keep):
        function(dataset(), "unused.png")
    return canvases[-1]


def texts(canvas):
    """All texts that are seen."""
    rows = [text for text in canvas.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = {tick for axes in canvas.axes if not axes.axison for tick in axes.findobj(Text)}
    return [text for text in rows if text not in hidden]


def legends(canvas):
    return [*canvas.legends, *(axes.get_legend() for axes in canvas.axes if axes.get_legend() is not None)]


def words(canvas):
    return " | ".join(text.get_text() for text in texts(canvas))


GREY = np.array([0.299, 0.587, 0.114])  # what red, green and blue add to how light a colour is
LONG = {"limits", "random heads", "metastability, counts", "metastability, lifetimes"}
ALL = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in PICTURES]
)


@ALL
def test_pictures_have_the_width_of_a_column_and_one_size_of_text(name):
    canvas = picture(name)
    assert canvas.get_figwidth() in (style.ONE_COLUMN, style.TWO_COLUMNS)
    assert {text.get_fontsize() for text in texts(canvas)} == {style.FONT_SIZE}


@ALL
def test_nothing_is_cut_off_and_no_legend_covers_data(name):
    canvas = picture(name)
    page = canvas.bbox.padded(2)
    for item in (canvas._suptitle, *legends(canvas), *(axes.xaxis.label for axes in canvas.axes)):
        if item is not None and (box := item.get_window_extent()).width:
            assert page.x0 <= box.x0, item
            assert box.x1 <= page.x1, item
            assert page.y0 <= box.y0, item
            assert box.y1 <= page.y1, item
    for legend in legends(canvas):
        for axes in canvas.axes:
            assert not legend.get_window_extent().padded(-1).overlaps(axes.get_window_extent().padded(-1))


@ALL
def test_symbols_are_formulas(name):
    for text in texts(picture(name)):
        plain = re.sub(r"\$[^$]*\$", "", text.get_text())
        assert not re.search(r"[α-ωΑ-Ω∞Σ²₂̄]|\w_\w|\bW2\b|\bE sup\b|\b[a-zA-Z] = ", plain), plain


@ALL
def test_axes_that_show_data_have_labels(name):
    canvas = picture(name)
    for axes in canvas.axes:
        if not axes.axison:
            continue
        place = axes.get_subplotspec()
        has_words = name == "chaos, exponents"  # each tick has the name of its case
        if (place is None or place.is_first_col()) and not has_words:
            assert axes.get_ylabel(), "y"
        if place is not None and place.is_last_row():
            assert axes.get_xlabel(), "x"


def ticks(axes):
    return [round(float(tick), 9) for tick in axes.get_xticks()]


def n_bars(axes):
    return sum(container.has_yerr for container in axes.containers)


def test_limits_have_ticks_at_what_was_measured_and_intervals():
    n, depth, width, both = picture("limits").axes
    assert [ticks(axes) for axes in (n, depth, width)] == [TOKENS, DEPTHS, WIDTHS]
    assert [n_bars(axes) for axes in (n, depth, width)] == [1, 1, 1]
    assert n_bars(both) == len(TOKENS)


def test_depth_and_width_have_ticks_at_what_was_measured_and_intervals():
    left, right = picture("depth-width").axes
    assert ticks(left) == DEPTHS
    assert n_bars(left) == len(WIDTHS) + 1
    assert [label.get_text() for label in right.get_xticklabels()] == [*map(str, WIDTHS), r"$\infty$"]
    assert [label.get_text() for label in right.get_yticklabels()] == [*map(str, DEPTHS), r"$\infty$"]


def test_chaos_has_ticks_at_its_tokens():
    for axes in picture("chaos").axes:
        assert ticks(axes) == TOKENS
        assert n_bars(axes) == 4


def test_the_bands_of_the_figures_are_explained():
    quantiles = second_figure()["quantile"].values
    shares = [f"{100 * (quantiles[-1 - k] - quantiles[k]):.0f} %" for k in (2, 1, 0)]
    assert f"the middle {', '.join(shares)} of them" in words(picture("figure 2"))


def test_bands_are_explained_in_the_pictures_of_sync_and_of_studies():
    assert "99 % band" in words(picture("sync"))
    assert "a band ends where fewer than 2 of 4 replicas carry the mean" in " ".join(words(picture("sync")).split())
    assert "99 % band" in words(picture("study, lines"))


@pytest.mark.parametrize(("beta", "n_lines"), [(1.0, 1), (1.1, 0)])
def test_the_level_of_one_point_is_drawn_where_all_tokens_come_to_one(beta, n_lines, monkeypatch):
    study = long_chaos().assign_attrs(identity=json.dumps({"beta": beta}))
    monkeypatch.setitem(PICTURES, f"uniform in time, {beta}", (lambda: study, uniform_in_time.drawing.draw))
    [legend] = legends(picture(f"uniform in time, {beta}"))
    assert sum("one point" in text.get_text() for text in legend.get_texts()) == n_lines


@pytest.mark.parametrize("name", ["chaos", "sync", "figure 2", "table", "mean-field"])
def test_series_differ_without_colour(name):
    """Of the entries of a legend no two have the same marker, line and darkness."""
    for legend in legends(picture(name)):
        styles = [
            (line.get_marker(), line.get_linestyle(), round(float(to_rgb(line.get_color()) @ GREY), 1))
            for line in legend.findobj(Line2D)
            if line.get_marker() not in ("|", "_")  # the ends of bars
        ]
        assert len(styles) >= 2
        assert len(set(styles)) == len(styles), styles


def test_values_in_the_legend_of_a_study_have_a_minus():
    (legend,) = legends(picture("study, lines"))
    assert [text.get_text() for text in legend.get_texts()] == ["$-1$", "$1$"]
