"""Whole experiments against the scripts in peers/:  python benches/whole.py [--only chaos] [--passes 1] [--quick]

Ours is the command of the same name; a peer is what its user would write without the library. Each runs in a process of
its own, start, imports and compilation included, in passes with rotating order. Results of ours and of each peer are
compared before a time is printed.

A replica of the chaos study takes the peers minutes. They run --replicas of it, and their seconds are scaled up to all
of them: seconds of the process + (replicas left out) x (seconds of a replica). Such times are marked as extrapolated.
"""

import argparse
import functools
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import registry
import table

HERE = Path(__file__).resolve().parent
LEVEL = 1e-6  # false-alarm rate of one comparison, for normal means over replicas
EXPERIMENTS = ("figure", "chaos")
PEERS = ("numpy", "jax")
QUICK_CHAOS = "--dim 2 3 --tokens 16 32 64 --nodes 64 --depth 4 --replicas 16"  # as in peers/common.py


def command(experiment: str, contender: str, is_quick: bool, n_replicas: int, out: Path) -> list[str]:
    """Return what to run; ours writes `out`/NAME.nc, a peer `out`/NAME.npz."""
    if contender != table.OURS:
        file = HERE / "peers" / f"{experiment}_{contender}.py"
        replicas = ["--replicas", str(n_replicas)] if experiment == "chaos" and not is_quick else []
        return [sys.executable, str(file), "--out", str(out / f"{experiment}.npz"), *["--quick"] * is_quick, *replicas]
    ours = [sys.executable, "-m", "chaosphere", *{"figure": ["figure", "2"], "chaos": ["chaos"]}[experiment]]
    ours += ["--out", str(out)]
    if experiment == "chaos":
        ours += ["--study", "rates"]
        if is_quick:
            ours += QUICK_CHAOS.split()
    elif is_quick:  # the command has no sizes
        options = "dims=(5, 16), depth=5, width=32, n_replicas=24"
        write = f"to_netcdf({str(out / 'figure-2.nc')!r}, engine='h5netcdf')"
        ours = [sys.executable, "-c", "from chaosphere.experiments import paper; "]
        ours[-1] += f"paper.figure(2, rng=0, {options}).{write}"
    return ours


def measure(words: list[str]) -> tuple[float, float]:
    """Run and return seconds on the clock and of the processors."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, timeout=registry.TIMEOUT, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_all(experiments: list[str], passes: int, is_quick: bool, n_replicas: int) -> dict:
    """Return seconds and comparisons, one entry per experiment and contender."""
    contenders = [table.OURS, *(name for name in PEERS if name not in registry.absent())]
    entries: dict[tuple[str, str], dict] = {}
    checks: list[dict] = []
    for number in range(passes):
        for experiment in experiments:
            with tempfile.TemporaryDirectory() as folder:
                for k in range(len(contenders)):
                    contender = contenders[(k + number) % len(contenders)]
                    print(f"pass {number + 1} of {passes}: {experiment} {contender}", file=sys.stderr, flush=True)
                    out = Path(folder, contender)
                    out.mkdir()
                    seconds, processor = measure(command(experiment, contender, is_quick, n_replicas, out))
                    key = (experiment, contender)
                    entry = entries.setdefault(key, {"experiment": experiment, "contender": contender, "seconds": []})
                    entry.setdefault("processor_seconds", []).append(processor)
                    entry["seconds"].append(seconds + left_out(entry, out / f"{experiment}.npz"))
                if number == 0:  # the seeds are fixed
                    checks += compare(experiment, contenders[1:], Path(folder), is_quick)
    return {"passes": passes, "experiments": list(entries.values()), "comparisons": checks, "absent": absent()}


def absent() -> list[str]:
    return [name for name in registry.absent() if name in PEERS]


def left_out(entry: dict, file: Path) -> float:
    """Return the seconds of the replicas that a peer did not run, and note it."""
    import numpy as np

    if not file.exists():
        return 0.0
    data = np.load(file)
    if "replica_seconds" not in data:
        return 0.0
    run, wanted = data["replica_seconds"], int(data["n_wanted"])
    entry["replicas_run"], entry["replicas"] = len(run), wanted
    return (wanted - len(run)) * float(run.mean())


def compare(experiment: str, peers: list[str], folder: Path, is_quick: bool) -> list[dict]:
    """Compare each peer's results with ours; stops where they differ."""
    import xarray

    ours = xarray.load_dataset(folder / table.OURS / {"figure": "figure-2.nc", "chaos": "chaos.nc"}[experiment])
    rows = []
    for peer in peers:
        pairs = figure_means if experiment == "figure" else chaos_means
        for name, mine, theirs, spread in pairs(ours, folder / peer / f"{experiment}.npz", is_quick):
            rows.append(row(experiment, peer, name, mine, theirs, spread))
    return rows


def row(experiment: str, peer: str, name: str, ours, theirs, spread) -> dict:
    """Compare means over replicas, whose deviation and degrees of freedom come from `spread`."""
    import numpy as np
    from scipy import stats

    deviation = spread.std(ddof=1) * np.sqrt(1 / len(ours) + 1 / len(theirs))
    allowed = float(stats.t.ppf(1 - LEVEL / 2, len(spread) - 1) * deviation)
    difference = float(np.mean(theirs) - np.mean(ours))
    print(
        f"{experiment}, {name}: ours {np.mean(ours):.3f}, {peer} {np.mean(theirs):.3f}, "
        f"difference {difference:+.3f}, allowed {allowed:.3f}",
        file=sys.stderr,
    )
    if abs(difference) > allowed:
        raise SystemExit(f"{experiment}: {peer} does not agree with ours")
    return {"experiment": experiment, "peer": peer, "name": name, "difference": difference, "allowed": allowed}


@functools.cache
def figure_spread():
    """The figure is one run: its spread comes from 24 others of a smaller width, whose law is nearly the same."""
    import numpy as np

    from chaosphere.experiments import paper

    return np.log(paper.figure(2, rng=1, n_replicas=24, width=64)["energy"].mean("time").values)


def figure_means(ours, file: Path, is_quick: bool) -> Iterator:
    """Energies averaged over time, per panel; what is not random, each curve over its start, must be the same."""
    import numpy as np

    theirs = np.load(file)
    for name in ("pair_equation", "bound"):
        curves = [data[name] / data[name][..., :1] for data in (theirs, {name: ours[name].values})]
        np.testing.assert_allclose(*curves, rtol=1e-3, err_msg=name)
    means = np.log(ours["energy"].mean("time").values)
    spread = means if is_quick else figure_spread()
    peer = np.log(theirs["energy"].mean(axis=-1))
    for index in np.ndindex(*means.shape[:3]):
        dim, bias, scale = (ours[name].values[k] for name, k in zip(ours["energy"].dims, index, strict=False))
        name = f"log of the mean energy, d = {dim}, σ = {bias:g}, δ = {scale:g}"
        yield name, means[index], peer[index], spread[index]


def chaos_means(ours, file: Path, is_quick: bool) -> Iterator:
    """Level and exponent in N of the mean square of every quantity, replica by replica."""
    import numpy as np

    theirs = np.load(file)

    def level_and_slope(squares):
        is_taken = np.isfinite(squares).all(axis=0)
        logs = np.log(squares[:, is_taken])
        return logs.mean(axis=1), np.polyfit(np.log(ours["n_tokens"].values[: len(squares.T)][is_taken]), logs.T, 1)[0]

    for case in ours["case"].values:
        for q, quantity in enumerate(ours["quantity"].values):
            level, slope = level_and_slope(ours["mean_square"].sel(case=case, quantity=quantity).values)
            their_level, their_slope = level_and_slope(theirs[case][q])
            yield f"{case}, {quantity}, log of the mean square", level, their_level, level
            yield f"{case}, {quantity}, exponent", slope, their_slope, slope


def report(results: dict) -> str:
    """Return the table in Markdown: median seconds, ratios to ours within a pass."""
    names = [name for name in PEERS if name not in results["absent"]]
    lines = [["experiment", "chaosphere, s", *(f"{n}, s" for n in names), *(f"{n} / chaosphere" for n in names)]]
    lines.append(["---"] * len(lines[0]))
    notes = []
    for experiment in dict.fromkeys(entry["experiment"] for entry in results["experiments"]):
        by = {e["contender"]: e for e in results["experiments"] if e["experiment"] == experiment}
        seconds = {name: statistics.median(entry["seconds"]) for name, entry in by.items()}
        cells = [experiment, *(f"{seconds[name]:.3g}" for name in (table.OURS, *names))]
        for name in names:
            ratios = [b / a for a, b in zip(by[table.OURS]["seconds"], by[name]["seconds"], strict=True)]
            spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else ""
            cells.append(f"{statistics.median(ratios):.2f}{spread}")
            run, wanted = by[name].get("replicas_run"), by[name].get("replicas")
            if run != wanted:
                notes.append(f"The time of {name} for {experiment} is extrapolated from {run} of {wanted} replicas.")
        lines.append(cells)
    return "\n".join(
        ["| " + " | ".join(line) + " |" for line in lines] + [""] * bool(notes) + notes + table.absent(results)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=EXPERIMENTS)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=1, help="of the chaos study, run by the peers")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing is saved")
    arguments = parser.parse_args()
    # BLAS gets one thread: of a layer of 64 tokens random numbers take the most, and threads that wait for it spin.
    registry.set_environment()
    experiments = [arguments.only] if arguments.only else list(EXPERIMENTS)
    results = run_all(experiments, arguments.passes, arguments.quick, arguments.replicas)
    if not arguments.quick:
        from pytest_benchmark.plugin import pytest_benchmark_generate_machine_info

        results["machine_info"] = pytest_benchmark_generate_machine_info()
        del results["machine_info"]["node"]  # as in conftest.py
        table.save(results, f"{arguments.only or 'whole'}-")
    print(report(results))


if __name__ == "__main__":
    main()
