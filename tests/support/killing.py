"""Runs in processes of their own that are killed at random moments."""

import json
import random
import signal
import sys
import time

import numpy as np

from chaosphere.common.streams import STREAM_VERSION

from .programs import run, started

# Prints each step before recording it; the last line tells the result apart from every other.
RUN = """
import hashlib, sys
import chaosphere as cs
model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=cs.MLP(width=512, bias_std=0.1), depth=60, horizon=2.0)
def report(t, x):
    print(round(30 * t), flush=True)
    return cs.measures.energy(x)
spec = None
if len(sys.argv) > 1:
    spec = cs.Checkpoint(path=sys.argv[1], every_steps=int(sys.argv[2]), keep=True)  # also past the end of the run
sol = cs.simulate(model, cs.sample_uniform(1500, 3, rng=0), rng=0, observe={"energy": report}, n_threads=1,
                  save_at=[t / 30 for t in range(0, 61)], checkpoint=spec)
print(hashlib.sha256(sol.states.tobytes() + sol.observables["energy"].tobytes()).hexdigest())
"""


def uninterrupted():
    """The last line of the run that nobody killed."""
    return run(RUN).split()[-1]


def start(path, every_steps):
    return started([sys.executable, "-c", RUN, path, every_steps])


def stored_step(path):
    """The step that the newest whole checkpoint holds, −1 if there is none."""
    for file in (path, path.with_name(path.name + ".previous")):
        if file.exists():
            with np.load(file) as saved:
                identity = json.loads(str(saved["identity"]))
                assert identity["stream_version"] == STREAM_VERSION
                return int(saved["step"])
    return -1


def kill_until_done(path, seed, n_kills, every_steps=1, number=signal.SIGKILL):
    """Kill the run n_kills times, each after a random while since its first step, then let it end.

    Asserts after every kill that no more was lost than the steps since the last checkpoint; returns the last line.
    """
    delay = random.Random(seed)
    for _ in range(n_kills):
        with start(path, every_steps) as process:
            first = process.stdout.readline()
            # A quarter of a second is some dozens of steps; most of the moments fall within a writing.
            time.sleep(delay.uniform(0, 0.25))
            process.send_signal(number)
            # What readline has read ahead, if the run was ahead of this process, is not in communicate().
            rest, errors = process.stdout.read(), process.stderr.read()
            process.wait()
        printed = [*first.split(), *rest.split()]
        if process.returncode == 0:  # it was through before the signal, and printed the last line
            return printed[-1]
        reported = [int(word) for word in printed if word.isdigit()]
        assert process.returncode == -number, errors
        if reported:
            # The report of a step comes before it is recorded, the checkpoint after.
            assert max(stored_step(path), 0) >= max(reported) - every_steps
    with start(path, every_steps) as process:
        out, errors = process.communicate()
    assert process.returncode == 0, errors
    for file in path.parent.iterdir():
        assert file.name in (path.name, path.name + ".previous")
        file.unlink()
    return out.split()[-1]
