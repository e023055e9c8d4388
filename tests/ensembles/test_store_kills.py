"""A store whose writer is killed, stopped by a signal, out of disk, or one of several."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from support.members import KINDS, LAW, STUDY, Deadly, digest, environment, processes, transformer
from support.programs import finished, started

import chaosphere as cs

MEMBERS = Path(__file__).parents[1] / "support" / "members.py"


def test_several_starts_at_once(tmp_path, expected):
    """One of them runs; the others say who does, or come after it and find all there."""
    store = tmp_path / "study.zarr"
    with ExitStack() as stack:
        processes = [stack.enter_context(start("alone", 1, store)) for _ in range(3)]
        ends = [(*process.communicate(), process.returncode) for process in processes]
    for printed, errors, code in ends:
        assert (code, printed.strip()) == (0, expected) or (
            code == 1 and f"store {store} is in use by process" in errors
        )
    assert 0 in [code for *_, code in ends]
    assert digest(cs.load_ensemble(store)) == expected
    assert list(tmp_path.iterdir()) == [store]


@pytest.mark.parametrize("kind", ["processes", "pool"])
def test_a_killed_worker(tmp_path, kind):
    """As by the system, for its memory."""
    store = tmp_path / "study.zarr"
    options = STUDY | {"observe": {"a": Deadly(os.getpid())}}
    with (
        pytest.raises(ChildProcessError, match=rf"^a worker died, .*; {store} keeps 0 of 36 runs, and the same call"),
        KINDS[kind](2) as executor,
    ):
        cs.ensemble(transformer, LAW, executor=executor, store=store, **options)
    assert int(cs.load_ensemble(store)["finished"].sum()) == 0


FULL = """
import itertools, resource, sys
import chaosphere as cs, numpy as np

def model(beta):
    return cs.Transformer(attention=cs.SoftmaxAttention(beta=beta), mlp=None, depth=4, horizon=1.0)

sizes = itertools.chain([0] * 4, itertools.repeat(1))  # zeros for two looks at the shape and two runs, then noise

def observable(t, x):
    return next(sizes) * np.random.default_rng(0).standard_normal((len(x), 5000))

if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
cs.ensemble(model, cs.laws.Uniform(dim=2), n_tokens=64, seeds=[0], sweep={"beta": [1.0, 2.0, 3.0, 4.0]},
            save_at=[1.0], observe={"a": observable}, store=sys.argv[1], n_threads=1)
"""


def test_a_full_disk_raises_and_keeps_what_is_finished(tmp_path):
    """A limit on the size of files stands for the end of the disk: zeros pack into little, noise does not."""
    store = tmp_path / "study.zarr"
    for how, code, n_finished in (("full", 1, 2), ("free", 0, 4)):
        done = finished([sys.executable, "-c", FULL, store, how])
        assert done.returncode == code, done.stderr
        part = cs.load_ensemble(store)
        assert int(part["finished"].sum()) == n_finished
        assert (np.isnan(part["a"]).any(["time", "a_0"]) == ~part["finished"]).all()
        if how == "full":
            message = f"OSError: [Errno 27] store {store} could not be written (File too large); it keeps 2 runs, and"
            assert message in done.stderr
    assert not [path for path in store.rglob("*") if "partial" in path.name]


def start(kind, n_workers, store):
    return started([sys.executable, MEMBERS, kind, n_workers, store])


def n_batches(store):
    return len(list((store / "finished").glob("[0-9]*")))


def kill_until_done(store, kind, n_workers, seed, n_kills):
    """Kill the study while it starts, or once a batch or two more are stored; check the store, then let it end.

    All its processes, but of a `Pool` the first alone: the others must go by themselves.
    """
    delay, before = random.Random(seed), 0
    for _ in range(n_kills):
        n_more, n_stored = delay.randrange(3), n_batches(store)
        with start(kind, n_workers, store) as process:
            while process.poll() is None and n_batches(store) < n_stored + n_more:
                time.sleep(0.002)
            time.sleep(delay.uniform(0, 0.05) if n_more else delay.uniform(0.3, 2.5))
            if process.poll() is None:
                (os.kill if kind == "pool" else os.killpg)(process.pid, signal.SIGKILL)
            process.communicate()  # returns once no process holds the other end
        try:
            part = cs.load_ensemble(store)
        except ValueError:  # killed before the store was made
            continue
        done = int(part["finished"].sum())
        assert done >= before
        assert not np.isnan(part["energy"].where(part["finished"], 0)).any()
        before = done
    assert before > 0  # or no kill met the store
    with start(kind, n_workers, store) as process:
        out, errors = process.communicate()
    assert process.returncode == 0, errors
    return out.strip()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n_workers"), [("alone", 1), ("pool", 2)])
def test_kill_9_at_random_moments(tmp_path, expected, kind, n_workers):
    assert kill_until_done(tmp_path / "study.zarr", kind, n_workers, seed=n_workers, n_kills=4) == expected
    assert [p.name for p in tmp_path.iterdir()] == ["study.zarr"]


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "n_workers"), [("alone", 1), ("processes", 2), ("pool", 2), ("dask", 2)])
@pytest.mark.parametrize("seed", range(10))
def test_hundreds_of_kills_of_studies(tmp_path, expected, kind, n_workers, seed):
    assert kill_until_done(tmp_path / "study.zarr", kind, n_workers, seed=seed, n_kills=10) == expected


LONG = """
import os, sys
import chaosphere as cs
from support.members import processes

def model(beta):
    return cs.Transformer(attention=cs.SoftmaxAttention(beta=beta), mlp=None, depth=400, horizon=1.0)

def report(t, x):
    os.write(1, b"step\\n")  # one write, so that the lines of two workers do not mix
    return [0.0] * len(x)

if __name__ == "__main__":
    executor = processes(2) if sys.argv[2] == "processes" else None
    cs.ensemble(model, cs.laws.Uniform(dim=3), n_tokens=1500, seeds=[0, 1, 2, 3], sweep={"beta": [1.0, 2.0]},
                observe={"a": report}, executor=executor, store=sys.argv[1], n_threads=1)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["alone", "processes"])
def test_signals_stop_with_everything_kept(tmp_path, number, kind):
    """To the whole group, as a terminal or a batch system sends them: running batches leave checkpoints."""
    (tmp_path / "long.py").write_text(LONG)
    store = tmp_path / "study.zarr"
    with started([sys.executable, tmp_path / "long.py", store, kind], env=environment()) as process:
        for _ in range(20):
            assert process.stdout.readline() == "step\n"
        os.killpg(process.pid, number)
        rest, errors = process.communicate()
    assert process.returncode == 1
    assert number.name in errors
    assert len(rest.splitlines()) < 400, "the steps of a batch: one was begun after the signal, or ended"
    assert "of 8 runs are in" in errors
    assert "the same call again continues from there" in errors
    finished = int(cs.load_ensemble(store)["finished"].sum())
    checkpoints = list((tmp_path / "study.zarr.running").glob("*.npz"))
    assert finished < 8
    # A worker that the signal found between two runs has none.
    assert len(checkpoints) == 1 if kind == "alone" else len(checkpoints) <= 4


def test_the_signal_is_named_whatever_the_workers_say(tmp_path):
    """Of two results ready at once, that of a run which never began may be seen before the one that was stopped."""

    class Signalled(Executor):
        n_submitted = 0

        def submit(self, *_):
            self.n_submitted += 1
            if self.n_submitted == 1:  # a second signal would stop at once
                os.kill(os.getpid(), signal.SIGINT)
            future = Future()
            future.set_exception(KeyboardInterrupt("stopped before the first step"))
            return future

    with pytest.raises(KeyboardInterrupt, match="SIGINT; 0 of 36 runs are in"):
        cs.ensemble(transformer, LAW, **STUDY, executor=Signalled(), store=tmp_path / "a.zarr")


@pytest.mark.slow
def test_a_reader_may_open_it_while_it_is_written(tmp_path):
    """Of four batches, each takes the writer far longer than the reader a look."""
    (tmp_path / "long.py").write_text(LONG)
    store, seen = tmp_path / "study.zarr", []
    arguments = [sys.executable, tmp_path / "long.py", store, "alone"]
    with started(arguments, stdout=subprocess.DEVNULL, env=environment()) as process:
        while process.poll() is None:
            try:
                part = cs.load_ensemble(store)
            except ValueError:  # not there yet
                time.sleep(0.01)
                continue
            assert (np.isnan(part["a"]).any("time") == ~part["finished"]).all()
            seen.append(int(part["finished"].sum()))
    assert process.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen) - {0, 8}) >= 2
    assert bool(cs.load_ensemble(store)["finished"].all())


@pytest.mark.soak
def test_thousands_of_members(tmp_path):
    """4 000 members through a pool into a store, against one process without."""

    options = {
        "n_tokens": 32,
        "seeds": range(200),
        "sweep": {"beta": [float(b) for b in range(20)]},
        "observe": {"energy": cs.measures.Energy(beta=1.0)},
    }
    model = transformer_of_beta
    with processes(2) as executor:
        pooled = cs.ensemble(model, LAW, executor=executor, store=tmp_path / "study.zarr", **options)
    assert pooled["finished"].size == 4000
    assert digest(pooled) == digest(cs.ensemble(model, LAW, n_threads=1, **options))


def transformer_of_beta(beta):
    return transformer(beta, "tanh")
