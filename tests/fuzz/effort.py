"""How long to try, and how to repeat what failed."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import hypothesis
from support.programs import finished

WORKER = Path(__file__).with_name("worker.py")
SEED = "CHAOSPHERE_FUZZ_SEED"  # of the fresh part; drawn anew where it is not set
SECONDS = "CHAOSPHERE_FUZZ_SECONDS"  # of each test of the fresh part


@dataclass(frozen=True, kw_only=True)
class Effort:
    """A number of cases from seed 0, or as many as fit into some seconds from a fresh seed.

    Attributes
    ----------
    seed : int
    seconds : float or None
        None: a number of cases that each test states.
    folder : Path
        For the files of the test.
    """

    seed: int
    seconds: float | None
    folder: Path

    def explore(self, check, strategy, *, n_fixed):
        """Call `check` with values that hypothesis draws, and shrinks where it fails."""
        end = time.monotonic() + (self.seconds or 0)
        seed = self.seed
        while True:
            settings = hypothesis.settings(
                max_examples=n_fixed if self.seconds is None else 100,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )

            @hypothesis.seed(seed)
            @settings
            @hypothesis.given(strategy)
            def run(value):
                check(value)

            try:
                run()
            except BaseException as error:
                error.add_note(f"repeat with {SEED}={seed}" if self.seconds else "in the fixed part")
                raise
            seed += 1
            if time.monotonic() >= end:
                return

    def loop(self, suite, *, n_fixed):
        """Try the cases of a module of this folder in a child process; fail with all faults at the end.

        A crash or a hang ends the child: it counts as a fault of the case that ran, and the next child starts with the
        case after it.
        """
        end = time.monotonic() + (self.seconds or 0)
        faults, first = [], 0
        while first < n_fixed if self.seconds is None else time.monotonic() < end:
            log = self.folder / f"{suite}.jsonl"
            log.unlink(missing_ok=True)
            count = n_fixed - first if self.seconds is None else 1_000_000
            left = 1e9 if self.seconds is None else end - time.monotonic()
            command = [sys.executable, str(WORKER), suite, str(self.seed), str(first)]
            command += ["--count", str(count), "--seconds", str(left), "--folder", str(self.folder)]
            timeout = 1200 + (self.seconds or 0)  # each case has a limit of its own: this is for what is around them
            done = finished(command, timeout=timeout, errors="replace")
            rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
            assert rows, f"the child of {suite} did not start:\n{done.stderr[-3000:]}"
            faults += [row for row in rows if "fault" in row]
            if done.returncode == 0:
                break
            last = rows[-1]
            tail = "\n".join(done.stderr.splitlines()[:30])
            faults.append(last | {"fault": f"crash or hang (code {done.returncode}): {last['label'][:150]}\n{tail}"})
            first = last["index"] + 1
        assert not faults, self._report(suite, faults)

    def _report(self, suite, faults):
        kinds = {}
        for row in faults:
            kinds.setdefault((row["label"].split("(")[0], row["fault"].splitlines()[0][:60]), []).append(row)
        text = [f"{len(faults)} faults of {len(kinds)} kinds; repeat one with"]
        text.append(f"    python tests/fuzz/worker.py {suite} {self.seed} INDEX")
        for rows in kinds.values():
            row = rows[0]
            text.append(f"--- {len(rows)} × , first INDEX {row['index']}: {row['label']}\n{row['fault'][:1500]}")
        return "\n".join(text)


def fresh_seed():
    """Return the seed of the fresh part: that of the environment, or a new one."""
    return int(os.environ.get(SEED) or int.from_bytes(os.urandom(4), "little"))
