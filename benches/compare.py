"""Old against new, in alternating rounds of fresh processes:

    python benches/compare.py OLD NEW [--case 'attention[N16384-d3-*]' ...] [--rounds 7]

OLD and NEW are interpreters, virtual environments, or checkouts already built in place (their `src` is put first on
the path of this interpreter). Cases are names or patterns of the registry; by default those of `registry.COMPARED`.
Every round starts one process a side, which takes all cases one after the other; who goes first alternates, so that a
drift of the machine cancels. Prints the ratio old / new of the shortest calls, which other programs disturb least, and
that of the medians with its quartiles over rounds: above 1, new is faster. The exit code is 1 if the ratio of the
shortest calls of a case is below --least. Cases and inputs come from this copy of the benches for both. The same path
twice shows the noise.
"""

import argparse
import fnmatch
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path


def command_for(path: str) -> tuple[str, dict[str, str]]:
    """Return interpreter and environment for one side."""
    place, environment = Path(path), dict(os.environ)
    if (place / "src" / "chaosphere").is_dir():
        return sys.executable, environment | {"PYTHONPATH": str((place / "src").resolve())}
    if (place / "bin" / "python").exists():
        place = place / "bin" / "python"
    if not place.is_file():
        raise SystemExit(f"{path} is no interpreter, virtual environment or checkout with src/chaosphere")
    return str(place.absolute()), environment  # not resolved: the link is what makes it that environment


def measure(names: list[str], seconds: float) -> None:
    """In a child: print the median and the least time of a call of each case, and which package was measured."""
    import registry

    registry.set_environment()
    import contenders

    import chaosphere

    medians, shortest = {}, {}
    for name in names:
        kind, case = registry.find(name)
        function = getattr(contenders.get("chaosphere"), kind)(case)
        function()
        times: list[float] = []
        start = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - start < seconds:
            before = time.perf_counter()
            function()
            times.append(time.perf_counter() - before)
        medians[name], shortest[name] = statistics.median(times), min(times)
    package = str(Path(chaosphere.__file__).parent)
    print(json.dumps({"medians": medians, "shortest": shortest, "package": package}))


def chosen(patterns: list[str] | None) -> list[str]:
    """Return the names of the cases that the patterns stand for."""
    import registry

    if patterns is None:
        return [f"{kind}[{case}]" for kind, cases in registry.COMPARED.items() for case in cases]
    known = [f"{kind}[{case}]" for kind, cases in registry.CASES.items() for case in cases]
    names = []
    for pattern in patterns:
        # A bracket is a part of names, not of patterns.
        matches = [name for name in known if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))]
        if not matches:
            registry.find(pattern)
        names += matches
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?")
    parser.add_argument("new", nargs="?")
    parser.add_argument("--case", action="append", help="a name or pattern; may be repeated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="for one side and case in one round")
    parser.add_argument("--least", type=float, default=0.97, help="ratio below which the exit code is 1")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(json.loads(arguments.child), arguments.seconds)
        return 0
    if arguments.old is None or arguments.new is None or arguments.rounds < 2:
        parser.error("OLD and NEW are needed, and at least two rounds")
    import registry

    names = chosen(arguments.case)
    sides = {"old": command_for(arguments.old), "new": command_for(arguments.new)}
    rounds: dict[str, list[dict[str, dict[str, float]]]] = {side: [] for side in sides}
    packages = {}
    for number in range(arguments.rounds):
        for side in list(sides)[:: 1 if number % 2 == 0 else -1]:
            python, environment = sides[side]
            command = [python, __file__, "--child", json.dumps(names), "--seconds", str(arguments.seconds)]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=registry.TIMEOUT, check=False
            )
            if done.returncode:
                raise SystemExit(f"{side} failed:\n{done.stderr}")
            report = json.loads(done.stdout)
            rounds[side].append(report)
            packages[side] = report["package"]
    for side in sides:
        print(f"{side}: {packages[side]}")
    if packages["old"] == packages["new"]:
        print("both sides are the same package: this is the noise")
    slower = []
    for name in names:
        best_old, best_new = (min(report["shortest"][name] for report in rounds[side]) for side in ("old", "new"))
        old, new = ([report["medians"][name] for report in rounds[side]] for side in ("old", "new"))
        low, middle, high = statistics.quantiles([a / b for a, b in zip(old, new, strict=True)], n=4)
        times = f"{1e3 * best_old:9.4g} → {1e3 * best_new:9.4g} ms"
        by_round = f"medians {middle:.3f}, quartiles {low:.3f}–{high:.3f}"
        print(f"{name:58s}{times}  old / new = {best_old / best_new:.3f}; {by_round}")
        if best_old / best_new < arguments.least:
            slower.append(name)
    print(f"{len(names)} cases, {len(slower)} below {arguments.least}", *slower)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
