"""Run all benches and print the table:  python benches/table.py [--passes 3] [--only bench_attention.py] [--quick]

Each contender runs in a process of its own, file by file, and everything is repeated in passes with the contenders in
rotating order: idle threads of one then disturb no other, and a slow minute of the machine hits all of them. A ratio is
the median over passes of the ratios within a pass. `table.py FILE.json` prints a saved table again.
"""

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = "chaosphere"


def run_one(file: Path, contender: str, is_quick: bool) -> dict:
    """Return pytest-benchmark's JSON of one contender on one file; {} if it has nothing there."""
    import registry

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "out.json")
        command = [sys.executable, "-m", "pytest", str(file), "-q", "--contender", contender]
        command += ["--quick"] * is_quick + [f"--benchmark-json={output}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=registry.TIMEOUT, check=False, cwd=HERE)
        if done.returncode not in (0, 5):  # 5: nothing to run
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return json.loads(output.read_text()) if output.exists() and output.stat().st_size else {}


def run_all(files: list[Path], contenders: list[str], passes: int, is_quick: bool) -> dict:
    """Return one JSON in pytest-benchmark's layout, one entry per case and contender, without the single rounds."""
    merged: dict = {}
    entries: dict[tuple[str, str], dict] = {}
    for number in range(passes):
        for file in files:
            for k in range(len(contenders)):
                contender = contenders[(k + number) % len(contenders)]
                print(f"pass {number + 1} of {passes}: {file.name} {contender}", file=sys.stderr, flush=True)
                report = run_one(file, contender, is_quick)
                merged = merged or {key: report[key] for key in report if key != "benchmarks"}
                for bench in report.get("benchmarks", []):
                    # A group has one case for several contenders, or several cases of ours alone.
                    of = bench["extra_info"].get("contender")
                    key = (bench["name"], OURS) if of is None else (bench["group"], of)
                    entry = entries.setdefault(key, {"group": key[0], "contender": key[1], "medians": [], "rounds": 0})
                    entry["medians"].append(bench["stats"]["median"])
                    entry["min"] = min(bench["stats"]["min"], entry.get("min", float("inf")))
                    entry["rounds"] += bench["stats"]["rounds"]
                    entry.setdefault("extra_info", []).append(bench["extra_info"])
    for entry in entries.values():
        infos = entry["extra_info"]
        # Rates and errors vary from pass to pass; everything else does not.
        entry["extra_info"] = {
            name: statistics.median(info[name] for info in infos) if isinstance(value, float) else value
            for name, value in infos[0].items()
        }
    return merged | {"passes": passes, "benchmarks": list(entries.values())}


def by_case(results: dict) -> dict[str, dict[str, dict]]:
    """Return the entries of each case by their contenders."""
    cases: dict[str, dict[str, dict]] = {}
    for entry in results["benchmarks"]:
        cases.setdefault(entry["group"], {})[entry["contender"]] = entry
    return cases


def ratios(ours: dict, peer: dict) -> list[float]:
    """Return the times of a peer over ours, one for each pass."""
    return [b / a for a, b in zip(ours["medians"], peer["medians"], strict=True)]


def table(results: dict) -> str:
    """Return the table in Markdown: median times in ms, ratios, and the fraction of the multiply-add limit."""
    peers = sorted({e["contender"] for e in results["benchmarks"]} - {OURS})
    lines = [["case", "chaosphere, ms", "rate", *(f"{p}, ms" for p in peers), "best peer / chaosphere", "of limit"]]
    for case, by in by_case(results).items():
        if OURS not in by:
            continue
        info = by[OURS]["extra_info"]
        median = {name: statistics.median(entry["medians"]) for name, entry in by.items()}
        rate = next((f"{v / 1e9:.3g} G{k.split()[0]}/s" for k, v in info.items() if k.endswith("per second")), "")
        if rate.startswith("0.0") or "e-" in rate:
            rate = next(f"{v:.3g} {k.split()[0]}/s" for k, v in info.items() if k.endswith("per second"))
        rivals = [name for name in peers if name in by]
        ratio = ""
        if rivals:
            best = min(rivals, key=median.__getitem__)
            times = ratios(by[OURS], by[best])
            ratio = f"{statistics.median(times):.2f} ({min(times):.2f}–{max(times):.2f}, {best})"
        fraction = info.get("fraction of peak")
        cells = [
            case,
            f"{1e3 * median[OURS]:.3g}",
            rate,
            *(f"{1e3 * median[p]:.3g}" if p in by else "—" for p in peers),
        ]
        lines.append([*cells, ratio, "" if fraction is None else f"{100 * fraction:.0f} %"])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + absent(results) + busy(results))


def absent(results: dict) -> list[str]:
    """Return a line with the peers that were not installed; older files do not say."""
    names = results.get("absent", [])
    return ["", f"Absent: {', '.join(names)} (not installed)."] if names else []


def busy(results: dict) -> list[str]:
    """Return a warning if the probe did not get the processors: a peak measured too low makes fractions too large."""
    peaks = results.get("machine_info", {}).get("peaks", {})
    for name, rate in peaks.items():
        kind, threads = name.rsplit(" ", 2)[0], int(name.rsplit(" ", 2)[1])
        if threads > 1 and rate < 0.75 * threads * peaks[f"{kind} 1 thread"]:
            return ["", f"The machine was busy (peak of {name}: {rate / 1e9:.3g} G/s): do not quote the last column."]
    return []


def save(results: dict, prefix: str = "") -> None:
    """Write results/, named after processor, threads and day."""
    import registry

    cpu = results["machine_info"].get("cpu", {}).get("brand_raw", "unknown")
    machine = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)", "", cpu).lower()).strip("-")
    name = f"{prefix}{machine}-{registry.THREADS}-threads-{datetime.date.today():%Y-%m-%d}.json"
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / name).write_text(json.dumps(results, indent=1) + "\n")
    print(f"saved benches/results/{name}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved", nargs="?", type=Path, help="print the table of this file; run nothing")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", action="append", help="one bench file; may be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing is saved")
    arguments = parser.parse_args()
    if arguments.saved:
        print(table(json.loads(arguments.saved.read_text())))
        return
    if arguments.quick:
        os.environ["CHAOSPHERE_BENCH"] = "quick"
    import probe
    import registry

    files = [HERE / name for name in arguments.only] if arguments.only else sorted(HERE.glob("bench_*.py"))
    results = run_all(files, list(registry.CONTENDERS), arguments.passes, registry.IS_QUICK)
    results["absent"] = registry.absent()
    if not registry.IS_QUICK:
        results["machine_info"]["peaks"] = probe.peaks()
        parts = [name.removeprefix("bench_").removesuffix(".py") for name in arguments.only or []]
        save(results, "".join(f"{part}-" for part in parts))
    print(table(results))


if __name__ == "__main__":
    main()
