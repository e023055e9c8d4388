"""Try the cases of one suite, one after the other: `python worker.py SUITE SEED INDEX` repeats one.

A suite is a module with `LIMIT`, the seconds of processor time that a case may take (ten times as much on the clock),
and `cases(folder)`, which returns a function from a random generator to (label, check). `check` raises `Fault`, or
anything else that it lets through, where a rule is broken. What is tried is written to FOLDER/SUITE.jsonl before it
runs, so that a crash or a hang is known by its case.
"""

import argparse
import faulthandler
import importlib
import json
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

MEMORY = 6 << 30  # bytes of addresses: what wants more gets a MemoryError


class Fault(Exception):
    """A rule is broken."""


def main():
    sys.modules["worker"] = sys.modules["__main__"]  # suites import `Fault` from here
    parser = argparse.ArgumentParser()
    parser.add_argument("suite")
    parser.add_argument("seed", type=int)
    parser.add_argument("first", type=int)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)  # the signal then ends the process
    warnings.simplefilter("ignore")
    end = time.monotonic() + options.seconds
    suite = importlib.import_module(options.suite)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        draw = suite.cases(Path(folder))
        with (options.folder / f"{options.suite}.jsonl").open("w", buffering=1) as log:
            for index in range(options.first, options.first + options.count):
                if time.monotonic() > end:
                    break
                label, check = draw(np.random.default_rng([options.seed, index]))
                row = {"index": index, "label": label[:600]}
                log.write(json.dumps(row) + "\n")
                signal.setitimer(signal.ITIMER_PROF, suite.LIMIT)
                faulthandler.dump_traceback_later(10 * suite.LIMIT, exit=True)
                try:
                    check()
                except Fault as error:
                    log.write(json.dumps(row | {"fault": str(error)}) + "\n")
                except BaseException:
                    lines = traceback.format_exc().splitlines()
                    log.write(json.dumps(row | {"fault": "\n".join([lines[-1], *lines[-12:]])}) + "\n")
                faulthandler.cancel_dump_traceback_later()
                signal.setitimer(signal.ITIMER_PROF, 0)
    if options.count == 1:
        print((options.folder / f"{options.suite}.jsonl").read_text())


if __name__ == "__main__":
    main()
