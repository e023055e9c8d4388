"""Time of attention against N, direct and through expansions:  python benches/crossover.py [--quick] [--plot FILE.png]

Prints milliseconds (the least of several calls), the exponent of N fitted over the largest decade, the N from which the
expansion is faster, and from which `method="auto"` takes it: the constants of `expansions.is_cheaper` are right where
these two agree within a factor 2. The direct sum stops at 30 000 tokens; beyond, its time is that times the square
of the ratio of N, and marked with ~.
"""

import argparse
import math
import os
import time

import numpy as np


def least(function, seconds: float) -> float:
    """Return the least time of a call, from calls that take this long together, at least three."""
    function()
    best, spent, calls = math.inf, 0.0, 0
    while calls < 3 or (spent < seconds and calls < 50):
        start = time.perf_counter()
        function()
        took = time.perf_counter() - start
        best, spent, calls = min(best, took), spent + took, calls + 1
    return best


def exponent(sizes: list[int], times: list[float]) -> float:
    """Slope of log time against log N over the largest decade."""
    late = [(math.log(n), math.log(t)) for n, t in zip(sizes, times, strict=True) if n >= sizes[-1] / 10]
    return float(np.polyfit(*zip(*late, strict=True), 1)[0])


def first(holds, low: int, high: int) -> int | None:
    """Return the least N in (low, high] with holds(N), which is false, then true; None if it never is."""
    if not holds(high):
        return None
    while high > 1.05 * low + 1:
        middle = round(math.sqrt(low * high))
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--plot", metavar="FILE.png")
    arguments = parser.parse_args()
    if arguments.quick:
        os.environ["CHAOSPHERE_BENCH"] = "quick"
    import registry

    registry.set_environment()
    import chaosphere as cs

    sizes = [1000, 2000] if arguments.quick else [10**k for k in range(3, 8)]
    most_direct, seconds = (2000, 0.0) if arguments.quick else (30_000, 0.3)
    cases = [(2, 1.0), (2, 4.0), (2, 64.0), (3, 1.0), (3, 4.0), (3, 64.0), (4, 1.0), (4, 4.0), (5, 1.0)]
    everything = cs.sample_uniform(sizes[-1], 5, rng=0)
    lines: dict[tuple[str, int], list[tuple[int, float]]] = {}

    def timed(dim: int, beta: float, method: str, n: int) -> float:
        x = cs.normalize(everything[:n, :dim])
        attention = cs.SoftmaxAttention(beta=beta, method=method)
        return least(lambda: attention(x, n_threads=registry.THREADS), seconds)

    print(f"chaosphere {cs.__version__}, {registry.THREADS} threads, milliseconds")
    print("| d | β | " + " | ".join(f"N = {n:.0e}" for n in sizes) + " | exponent | faster from N | auto from N |")
    print("|---" * (len(sizes) + 5) + "|")
    for dim in sorted({dim for dim, _ in cases}):
        here = [n for n in sizes if n <= most_direct]
        direct = [timed(dim, 4.0, "direct", n) for n in (*here, most_direct)]
        row = [f"{1e3 * t:.3g}" for t in direct[:-1]]
        row += [f"~{1e3 * direct[-1] * (n / most_direct) ** 2:.3g}" for n in sizes[len(here) :]]
        slope = exponent([*here, most_direct], direct) if most_direct > here[-1] else exponent(here, direct[:-1])
        print(f"| {dim} | direct | " + " | ".join(row) + f" | {slope:.2f} | | |")
        lines["direct", dim] = list(zip((*here, most_direct), direct, strict=True))
        for beta in (beta for d, beta in cases if d == dim):
            method = "fourier" if dim == 2 else "harmonic"
            # A million tokens in dimension 5 take a minute and tell nothing new.
            here = [n for n in sizes if n <= {2: 10**7, 3: 10**7 if beta < 10 else 10**6}.get(dim, 10**5)]
            times = [timed(dim, beta, method, n) for n in here]
            lines[f"β = {beta:g}", dim] = list(zip(here, times, strict=True))

            def wins(n: int, dim: int = dim, beta: float = beta, method: str = method) -> bool:
                return timed(dim, beta, method, n) < timed(dim, beta, "direct", n)

            def chosen(n: int, dim: int = dim, beta: float = beta) -> bool:
                return cs.SoftmaxAttention(beta=beta).resolve(n, dim).method != "direct"

            row = [f"{1e3 * t:.3g}" for t in times] + ["—"] * (len(sizes) - len(here))
            crossing = first(wins, 64, most_direct), first(chosen, 64, 10**7)
            found = [f"> {most_direct}" if crossing[0] is None else f"{crossing[0]}", f"{crossing[1]}"]
            print(
                f"| {dim} | {beta:g} | "
                + " | ".join(row)
                + f" | {exponent(here, times):.2f} | "
                + " | ".join(found)
                + " |"
            )
    if arguments.plot:
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(1, 4, figsize=(14, 3.6), sharey=True, layout="constrained")
        for (name, dim), line in lines.items():
            axes[dim - 2].loglog(*zip(*line, strict=True), "k--" if name == "direct" else "o-", label=name)
        for dim, axis in enumerate(axes, start=2):
            axis.set(title=f"d = {dim}", xlabel="N")
            axis.legend()
        axes[0].set_ylabel("seconds")
        figure.savefig(arguments.plot, dpi=150)


if __name__ == "__main__":
    main()
