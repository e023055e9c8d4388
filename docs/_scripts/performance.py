"""The tables and pictures of the page on performance, from benches/results."""

import json
import re
import statistics
import sys
from pathlib import Path

import drawing
from matplotlib.figure import Figure

from chaosphere.plot.style import COLOURS, MARKERS

sys.path.insert(0, str(drawing.ROOT / "benches"))
import table
import whole

RESULTS = sorted((drawing.ROOT / "benches" / "results").glob("*.json"))
READS = [*RESULTS, Path(table.__file__), Path(whole.__file__), Path(drawing.__file__)]
PEERS = {"numpy": "NumPy", "jax": "JAX", "torch": "PyTorch", "keops": "KeOps"}
# Heading, what is measured, and the kinds of cases with what tells them from the first.
SECTIONS = [
    (
        "Softmax attention",
        "One evaluation at all tokens over all pairs, β = 4.",
        {
            "attention": "",
            "weighted": "weighted tokens",
            "general": "QᵀK not symmetric",
            "head": "Q, K and V of k rows",
            "by_product": "with the energy",
            "unnormalized": "unnormalised",
            "potential": "drift along a potential",
            "partition": "sums of coefficients alone",
            "sinkhorn": "doubly stochastic",
            "random_values": "a layer of random values",
        },
    ),
    (
        "Causal masks",
        "Token i sees the tokens j ≤ i: half of the pairs, and by prefix sums, β = 4.",
        {"causal": "over pairs", "prefix": "prefix sums"},
    ),
    ("Fast sums", "The same through Fourier series (d = 2) and spherical harmonics, β = 4.", {"fastsum": ""}),
    ("Random layers", "One random layer of m units at all tokens.", {"layer": ""}),
    ("Steps", "One normalised step of all tokens.", {"step": ""}),
    ("Energy and cosines", "Sums over all pairs of tokens.", {"energy": "energy", "histogram": "histogram"}),
    (
        "Whole models",
        "Attention and random layers with their weights drawn, and attention alone for many systems.",
        {"transformer": "layers", "phases": "attention alone"},
    ),
]
SIGNS = {
    "R": "systems",
    "N": "N",
    "d": "d",
    "H": "H",
    "k": "k",
    "n": "degree",
    "m": "m",
    "beta": "β",
    "L": "L",
    "bins": "bins",
}


def markdown() -> str:
    """Return a section for each file of results: kernels first, then whole experiments."""
    files = {path.stem: json.loads(path.read_text()) for path in RESULTS}
    kernels = [part for stem, results in files.items() if "benchmarks" in results for part in of_kernels(stem, results)]
    experiments = [of_experiments(results) for results in files.values() if "experiments" in results]
    return "\n\n".join([*kernels, "## Whole experiments", *experiments])


def of_kernels(stem: str, results: dict) -> list[str]:
    """Return what one file of benches says: the machine, a picture, and a table for each kind of case."""
    cases = {name: by for name, by in table.by_case(results).items() if table.OURS in by}
    parts = [f"## Kernels\n\n{machine(results)}", *table.absent(results), *table.busy(results), rates(results)]
    parts.append(picture(stem, cases))
    shown: set[str] = set()
    for heading, text, kinds in SECTIONS:
        rows = {name: by for name, by in cases.items() if name.split("[")[0] in kinds}
        shown |= rows.keys()
        if rows:
            parts.append(f"### {heading}\n\n{text}\n\n{rows_of({label(name, kinds): by for name, by in rows.items()})}")
    rest = {f"`{name}`": by for name, by in cases.items() if name not in shown}
    return [*parts, f"### Others\n\nThe other benches, by name.\n\n{rows_of(rest)}"] if rest else parts


def machine(results: dict) -> str:
    """Return the machine and the day, in a sentence."""
    info, cpu = results["machine_info"], results["machine_info"]["cpu"]
    infos = [entry["extra_info"] for entry in results.get("benchmarks", []) if "ISA" in entry["extra_info"]]
    words = [f"{cpu['brand_raw'].replace('(R)', '')}, {cpu['count']} processors, {info['system']}"]
    words += [f"{infos[0]['threads']} threads", f"instruction set {infos[0]['ISA']}"] if infos else []
    words.append(f"Python {info['python_version']}")
    day = results["datetime"][:10] if "datetime" in results else ""
    return f"Machine: {', '.join(words)}. " + (f"Measured on {day}, " if day else "Measured ") + passes(results) + "."


def passes(results: dict) -> str:
    """Return how often everything was run."""
    return "in one pass" if results["passes"] == 1 else f"in {results['passes']} passes, the contenders in turn"


def rates(results: dict) -> str:
    """Return the rates of the processor that the last column of the tables refers to."""
    names = {"fma": "multiply-adds", "mix": "as many multiply-adds as additions", "exp": "NumPy's exponentials"}
    peaks: dict[str, dict[str, float]] = {}
    for name, rate in results["machine_info"].get("peaks", {}).items():
        kind, dtype, threads, _ = name.split()
        column = f"{dtype}, {threads} thread{'s' * (int(threads) > 1)}"
        peaks.setdefault(names.get(kind, kind), {})[column] = rate
    columns = list(dict.fromkeys(column for by in peaks.values() for column in by))
    rows = [["10⁹ operations a second", *columns], ["---"] * (len(columns) + 1)]
    rows += [[name, *(f"{by[column] / 1e9:.3g}" for column in columns)] for name, by in peaks.items()]
    text = "What its vector units do at most, on numbers in registers, measured by `benches/probe.py`:\n\n"
    return text + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def label(name: str, kinds: dict[str, str]) -> str:
    """Return a case in words: attention[N16384-d3-float64] is "N = 16 384, d = 3, float64"."""
    kind, _, sizes = name.rstrip("]").partition("[")
    words = [kinds[kind]] if kinds[kind] else []
    for part in sizes.split("-"):
        match = re.fullmatch(r"([A-Za-z]+?)(\d+)", part)
        is_size = match is not None and match[1] in SIGNS
        words.append(f"{SIGNS[match[1]]} = {int(match[2]):,}".replace(",", "\u202f") if is_size else part)
    return ", ".join(words)


def rows_of(cases: dict[str, dict[str, dict]]) -> str:
    """Return a table: our time, each peer's over ours, and the fraction of the limit."""
    peers = [peer for peer in PEERS if any(peer in by for by in cases.values())]
    limits = any("fraction of peak" in by[table.OURS]["extra_info"] for by in cases.values())
    heads = ["case", "time, ms", *(PEERS[peer] for peer in peers), *["of the limit"] * limits]
    lines = [heads, ["---"] * len(heads)]
    for case, by in cases.items():
        ours = by[table.OURS]
        fraction = ours["extra_info"].get("fraction of peak")
        cells = [case, f"{1e3 * statistics.median(ours['medians']):.3g}"]
        cells += [times(factor(ours, by[peer])) if peer in by else "" for peer in peers]
        cells += [("" if fraction is None else f"{100 * fraction:.0f} %")] * limits
        lines.append(cells)
    return "\n".join([":::{div} cases", *(f"| {' | '.join(line)} |" for line in lines), ":::"])


def factor(ours: dict, peer: dict) -> float:
    """Return the time of a peer over ours, the median over passes."""
    return statistics.median(table.ratios(ours, peer))


def times(ratio: float) -> str:
    """Return a ratio with two digits."""
    return f"{ratio:.1f}×" if ratio < 10 else f"{ratio:.0f}×"


def picture(stem: str, cases: dict[str, dict[str, dict]]) -> str:
    """Draw the times of the peers over ours, in one panel for each kind of case."""
    panels = []
    for heading, _, kinds in SECTIONS:
        rows = {label(n, kinds): by for n, by in cases.items() if n.split("[")[0] in kinds and len(by) > 1}
        if rows:
            panels.append((heading, rows))
    n_rows = [len(rows) + 1.2 for _, rows in panels]
    figure = Figure(figsize=(5.4, 0.17 * sum(n_rows) + 0.9), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=n_rows, squeeze=False)[:, 0]
    for axis, (heading, rows) in zip(axes, panels, strict=True):
        for k, by in enumerate(rows.values()):
            for peer, colour, marker in zip(PEERS, COLOURS, MARKERS, strict=True):
                if peer in by:
                    axis.plot(factor(by[table.OURS], by[peer]), k, marker, color=colour, markersize=4.5)
        axis.axvline(1, color=drawing.INK, linewidth=1)
        axis.set_yticks(range(len(rows)), list(rows), fontsize=6.5)
        axis.set(xscale="log", ylim=(len(rows) - 0.4, -0.6))
        axis.set_title(heading, fontsize=8, loc="left")
        axis.grid(axis="x", alpha=0.3)
    ticks = [1, 2, 5, 10, 20, 50, 100]
    axes[-1].set_xticks(ticks, [str(tick) for tick in ticks])
    axes[-1].set_xticks([], minor=True)
    axes[-1].set_xlabel("time of a library over that of chaosphere", loc="right")
    for peer, colour, marker in zip(PEERS.values(), COLOURS, MARKERS, strict=True):
        axes[0].plot([], [], marker, color=colour, label=peer, markersize=4.5)
    figure.legend(loc="outside upper right", ncols=len(PEERS), fontsize=8, frameon=False)
    return drawing.markdown(
        drawing.write(figure, f"peers-{stem}"),
        "Times of NumPy, JAX, PyTorch and KeOps over those of chaosphere, case by case",
        "Time of each library over that of chaosphere, by case: to the right of the line chaosphere is faster.",
    )


def of_experiments(results: dict) -> str:
    """Return the table of whole experiments of one file."""
    return f"{machine(results)}\n\n{whole.report(results)}"
