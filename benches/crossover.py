"""Time of attention against N, direct and through expansions:  python benches/crossover.py [--quick] [--plot FOLDER]

Prints, in milliseconds (the least of several calls),
1. the default accuracy at β = 4, with the exponent of N fitted to the last decade, beside the direct sum, which is
   measured while it takes a second or two; beyond, its time is that times the square of the ratio of N, marked ~;
2. the ways at a tolerance of 1e-6, and which of them `method="auto"` takes;
3. the time of what `auto` takes over that of the fastest, around the N where its model says that they cross: the
   constants of `expansions.nanoseconds` are right while this is at most 1.3; else the exit code is 1.

--plot draws the first two, fastsum.png and crossover.png. CHAOSPHERE_BENCH_THREADS=1 with --cpu takes the least
processor time of one thread, which a busy machine disturbs less.
"""

import argparse
import itertools
import math
import os
import sys
import time
from pathlib import Path

import numpy as np

LIMIT = 1.3
LONGEST = 1.0  # seconds: where a method takes more it is not measured at larger N
SIZES = [round(10 ** (k / 2)) for k in range(6, 15)]
PANELS = [(2, 4.0), (3, 4.0), (3, 64.0), (3, 1000.0)]  # of the crossover, at RTOL
RTOL = 1e-6
AROUND = [(2, 1.0), (2, 64.0), (3, 1.0), (3, 4.0), (3, 64.0), (4, 1.0), (4, 4.0)]
NAMES = {"direct": "direct sum", "fourier": "Fourier", "harmonic": "harmonics", "nufft": "NUFFT"}


def least(function, clock, seconds: float) -> float:
    """Return the least time of a call, from calls that take this long together; at least two, one if it is long."""
    best, spent, calls = math.inf, 0.0, 0
    while calls < 2 or (spent < seconds and calls < 100):
        start = clock()
        function()
        took = clock() - start
        best, spent, calls = min(best, took), spent + took, calls + 1
        if took > LONGEST:
            break
    return best


def exponent(line: list[tuple[int, float]]) -> float:
    """Slope of log time against log N over the last decade."""
    late = [(math.log(n), math.log(t)) for n, t in line if n >= 0.99 * line[-1][0] / 10]
    return float(np.polyfit(*zip(*late, strict=True), 1)[0])


def crossing(beta: float, dim: int, dtype: str) -> int:
    """Return the N from which auto does without the direct sum."""
    import chaosphere as cs

    low, high = 64, 10**7
    while high > 1.01 * low:
        middle = round(math.sqrt(low * high))
        is_direct = cs.SoftmaxAttention(beta=beta).resolve(middle, dim, dtype).method == "direct"
        low, high = (middle, high) if is_direct else (low, middle)
    return high


def draw(path: Path, lines: dict, panels: list[tuple[tuple, str]], *, threads: int, end: int) -> None:
    """Draw the time of each method over N; the direct sum beyond what was measured, up to `end`, as N²."""
    from chaosphere.plot import style

    with style.picture(path, width=style.TWO_COLUMNS, height=2.5) as canvas:
        axes = canvas.subplots(1, len(panels), sharey=True)
        looks = dict(zip(NAMES, zip(("black", *style.COLOURS), style.MARKERS, strict=False), strict=True))
        handles = {}
        for axis, (key, title) in zip(axes, panels, strict=True):
            for method, line in lines[key].items():
                colour, marker = looks[method]
                handles[NAMES[method]] = axis.loglog(*zip(*line, strict=True), marker=marker, color=colour)[0]
                if method == "direct" and line[-1][0] < end:
                    n, seconds = line[-1]
                    guess = axis.loglog([n, end], [seconds, seconds * (end / n) ** 2], "--", color=colour)
                    handles["direct sum as $N^2$, not measured"] = guess[0]
            axis.set(title=style.formulas(title), xlabel="number of tokens $N$")
            axis.grid()
        axes[0].set_ylabel(f"time of one call (s), {threads} thread{'s' * (threads > 1)}")
        style.legend_below(canvas, handles, n_columns=len(handles))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--cpu", action="store_true", help="processor time instead of time passed")
    parser.add_argument("--plot", metavar="FOLDER", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        os.environ["CHAOSPHERE_BENCH"] = "quick"
    import registry

    registry.set_environment()
    import chaosphere as cs
    from chaosphere.interactions import nufft

    clock = time.process_time if arguments.cpu else time.perf_counter
    seconds = 0.0 if arguments.quick else 0.15
    sizes = SIZES[:2] if arguments.quick else SIZES
    everything = cs.sample_uniform(sizes[-1], 5, rng=0)

    def timed(n: int, dim: int, dtype: str = "float64", **settings) -> float:
        x = cs.normalize(everything[:n, :dim]).astype(dtype)
        attention = cs.SoftmaxAttention(**settings)
        return least(lambda: attention(x, n_threads=registry.THREADS), clock, seconds)

    def line(most: int, dim: int, **settings) -> list[tuple[int, float]]:
        points: list[tuple[int, float]] = []
        for n in (n for n in sizes if n <= most):
            points.append((n, timed(n, dim, **settings)))
            if points[-1][1] > LONGEST and settings["method"] == "direct":
                break
        return points

    def row(points: list[tuple[int, float]], columns: list[int]) -> list[str]:
        last, at = points[-1], dict(points)
        return [f"{1e3 * at[n]:.3g}" if n in at else f"~{1e3 * last[1] * (n / last[0]) ** 2:.3g}" for n in columns]

    print(f"chaosphere {cs.__version__}, {registry.THREADS} threads, milliseconds, the least of several calls")
    lines: dict[tuple, dict[str, list[tuple[int, float]]]] = {}
    print("\n| d | β = 4 | " + " | ".join(f"N = {n:.2g}" for n in sizes) + " | exponent |")
    print("|---" * (len(sizes) + 3) + "|")
    for dim, fast in ((2, "fourier"), (3, "harmonic")):
        for method in ("direct", fast):
            points = line(sizes[-1], dim, beta=4.0, method=method)
            lines.setdefault((dim,), {})[method] = points
            print(f"| {dim} | {NAMES[method]} | " + " | ".join(row(points, sizes)) + f" | {exponent(points):.2f} |")

    columns = [n for n in sizes if n <= 10**6]
    print(f"\n| d | β | at {RTOL:g} | " + " | ".join(f"N = {n:.2g}" for n in columns) + " |")
    print("|---" * (len(columns) + 3) + "|")
    panels = PANELS[:2] if arguments.quick else PANELS
    for dim, beta in panels:
        here = lines[dim, beta] = {"direct": line(10**6, dim, beta=beta, method="direct")}
        for method in ("fourier" if dim == 2 else "harmonic", "nufft"):
            try:
                cs.SoftmaxAttention(beta=beta, rtol=RTOL, method=method).resolve(columns[-1], dim)
            except ValueError:
                continue  # too many harmonics
            if method != "nufft" or nufft.is_installed():
                here[method] = line(10**6, dim, beta=beta, rtol=RTOL, method=method)
        for method, points in here.items():
            print(f"| {dim} | {beta:g} | {NAMES[method]} | " + " | ".join(row(points, columns)) + " |")
        chosen = [cs.SoftmaxAttention(beta=beta, rtol=RTOL).resolve(n, dim).method for n in columns]
        print(f"| {dim} | {beta:g} | auto takes | " + " | ".join(NAMES[method] for method in chosen) + " |")

    print(
        "\n| d | β | dtype | auto crosses at N = | time of its choice over the least, at N times 1/2, 1/√2, 1, √2, 2 |"
    )
    print("|---" * 5 + "|")
    worst = 0.0
    for (dim, beta), dtype in itertools.product(AROUND, ("float64", "float32")):
        middle = crossing(beta, dim, dtype)
        ratios = []
        for n in [round(middle * 2 ** (k / 2)) for k in range(-2, 3)]:
            if n <= sizes[-1]:
                chosen = cs.SoftmaxAttention(beta=beta).resolve(n, dim, dtype).method
                times = {
                    method: timed(n, dim, dtype, beta=beta, method=method)
                    for method in ("direct", "fourier" if dim == 2 else "harmonic")
                }
                ratios.append(times[chosen] / min(times.values()))
        worst = max(worst, *ratios, 0.0)
        print(f"| {dim} | {beta:g} | {dtype} | {middle} | " + ", ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    print(f"\nauto takes at most {worst:.2f} times as long as the fastest")

    if arguments.plot:
        default = []
        for dim in (2, 3):
            exponents = ", ".join(f"{NAMES[method]} {exponent(line):.2f}" for method, line in lines[dim,].items())
            default.append(((dim,), f"d = {dim}, β = 4, at rounding\nexponents of N: {exponents}"))
        draw(arguments.plot / "fastsum.png", lines, default, threads=registry.THREADS, end=SIZES[-1])
        loose = [((dim, beta), f"d = {dim}, β = {beta:g}, tolerance $10^{{-6}}$") for dim, beta in panels]
        draw(arguments.plot / "crossover.png", lines, loose, threads=registry.THREADS, end=10**6)
    return int(worst > LIMIT and not arguments.quick)


if __name__ == "__main__":
    sys.exit(main())
