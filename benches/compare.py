"""Old against new, in alternating rounds of fresh processes:

    python benches/compare.py OLD NEW --case 'attention[N16384-d3-float64]' [--rounds 15]

OLD and NEW are interpreters, virtual environments, or checkouts already built in place (their `src` is put first on the
path of this interpreter). Prints the ratio old / new of the medians with the quartiles over rounds: above 1, new is
faster. The case and its inputs come from this copy of the benches for both. The same path twice shows the noise.
"""

import argparse
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


def measure(case: str, seconds: float) -> None:
    """In a child: print the median time of one call, and which package was measured."""
    import registry

    registry.set_environment()
    import contenders

    import chaosphere

    kind, found = registry.find(case)
    function = getattr(contenders.get("chaosphere"), kind)(found)
    function()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        function()
        times.append(time.perf_counter() - before)
    print(json.dumps({"median": statistics.median(times), "package": str(Path(chaosphere.__file__).parent)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?")
    parser.add_argument("new", nargs="?")
    parser.add_argument("--case", required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5, help="for one side in one round")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(arguments.case, arguments.seconds)
        return
    if arguments.old is None or arguments.new is None or arguments.rounds < 2:
        parser.error("OLD and NEW are needed, and at least two rounds")
    sides = {"old": command_for(arguments.old), "new": command_for(arguments.new)}
    medians: dict[str, list[float]] = {side: [] for side in sides}
    packages = {}
    for number in range(arguments.rounds):
        # Who goes first alternates too: a drift of the machine then cancels.
        for side in list(sides)[:: 1 if number % 2 == 0 else -1]:
            python, environment = sides[side]
            command = [python, __file__, "--child", "--case", arguments.case, "--seconds", str(arguments.seconds)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{side} failed:\n{done.stderr}")
            found = json.loads(done.stdout)
            medians[side].append(found["median"])
            packages[side] = found["package"]
    for side in sides:
        print(f"{side}: {1e3 * statistics.median(medians[side]):.4g} ms  {packages[side]}")
    if packages["old"] == packages["new"]:
        print("both sides are the same package: this is the noise")
    ratios = [old / new for old, new in zip(medians["old"], medians["new"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    ratio = statistics.median(medians["old"]) / statistics.median(medians["new"])
    print(f"{arguments.case}: old / new = {ratio:.3f}; by round {middle:.3f}, quartiles {low:.3f}–{high:.3f}")


if __name__ == "__main__":
    main()
