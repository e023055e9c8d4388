"""The store: grows while it is read, skips what it has, survives kills, refuses what is not its own."""

import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from members import LAW, STUDY, digest, environment, processes, transformer

import chaosphere as cs
from chaosphere import ensemble as ensemble_function
from chaosphere import files
from chaosphere.seeds import STREAM_VERSION
from chaosphere.store import Store

MEMBERS = Path(__file__).with_name("members.py")
N_MEMBERS = 36


@pytest.fixture(scope="module")
def expected():
    return digest(cs.ensemble(transformer, LAW, n_threads=1, **STUDY))


def fail_after(n_batches, monkeypatch):
    """Make the store refuse to write more than so many batches."""
    write, left = Store.write, [n_batches]

    def limited(self, batch, values):
        if not left[0]:
            raise OSError(28, os.strerror(28))
        left[0] -= 1
        write(self, batch, values)

    monkeypatch.setattr(Store, "write", limited)


def test_finished_members_are_skipped(tmp_path, monkeypatch, expected):
    store, made = tmp_path / "study.zarr", []
    fail_after(5, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        cs.ensemble(transformer, LAW, store=store, **STUDY)
    monkeypatch.undo()
    part = cs.load_ensemble(store)
    assert int(part["finished"].sum()) == 4 + 2 + 4 + 2 + 4
    assert (np.isnan(part["energy"]).any("time") == ~part["finished"]).all()
    simulate = cs.simulate
    monkeypatch.setattr(
        sys.modules["chaosphere.ensemble"], "simulate", lambda *a, **k: (made.append(k["rng"]), simulate(*a, **k))[1]
    )
    assert digest(cs.ensemble(transformer, LAW, store=store, **STUDY)) == expected
    assert len(made) == 12 - 5
    cs.ensemble(transformer, LAW, store=store, **STUDY)
    assert len(made) == 12 - 5
    assert digest(cs.load_ensemble(store)) == expected
    assert list(tmp_path.iterdir()) == [store]
    assert callable(ensemble_function)


def test_means_are_over_what_is_finished(tmp_path, monkeypatch):
    store = tmp_path / "study.zarr"
    fail_after(1, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        cs.ensemble(transformer, LAW, store=store, **STUDY)
    data = cs.load_ensemble(store)
    values = data["energy"].values[0, 0]
    assert np.isnan(values).any(axis=1).tolist() == [False] * 4 + [True] * 2
    assert np.array_equal(data["energy_mean"].values[0, 0], values[:4].mean(axis=0))
    assert np.isnan(data["energy_mean"].values[1]).all()


def test_it_is_a_plain_zarr_group(tmp_path):
    store = tmp_path / "study.zarr"
    data = cs.ensemble(transformer, LAW, store=store, **STUDY)
    with xarray.open_zarr(store, consolidated=False, chunks=None) as plain:
        assert np.array_equal(plain["energy"], data["energy"])
        assert plain["seed"].values.tolist() == STUDY["seeds"]
        assert set(plain.coords) == {"beta", "activation", "time", "seed"}
        assert json.loads(plain.attrs["identity"])["stream_version"] == STREAM_VERSION
    assert {"model", "sweep", "seeds", "stream_version", "chaosphere", "numpy", "instruction_set"} <= set(
        json.loads(plain.attrs["identity"])
    )
    # Never pickle: numbers and fixed strings, packed and summed by codecs that hold no objects.
    headers = [json.loads(path.read_text()) for path in store.glob("*/.zarray")]
    assert {header["dtype"] for header in headers} == {"<f8", "<i8", "|i1", "<U4"}
    assert {header["compressor"] for header in headers} == {None}
    assert {tuple(codec["id"] for codec in header["filters"]) for header in headers} == {("zstd", "crc32c")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [5]}, r"seeds is \[5, 6, 7.*, not \[5\]"),
        ({"save_at": [1.0]}, "times is"),
        ({"n_tokens": 901}, "n_tokens is 900, not 901"),
        (
            {"observe": {"energy": cs.measures.Energy(beta=2.0)}},
            'observe.energy.beta is 1.0, not 2.0; observe.mean is "mean", not null',
        ),
        ({"sweep": {"beta": [0.5], "activation": ["relu"]}}, r"sweep.beta is \[0.5, 4.0\], not \[0.5\]"),
    ],
)
def test_other_studies_are_refused(tmp_path, changes, message):
    store = tmp_path / "study.zarr"
    cs.ensemble(transformer, LAW, store=store, **STUDY)
    with pytest.raises(ValueError, match=f"study.zarr holds another study: .*{message}.*; remove it"):
        cs.ensemble(transformer, LAW, store=store, **(STUDY | changes))

    def wider(beta, activation):
        return dataclasses.replace(transformer(beta, activation), depth=7)

    with pytest.raises(ValueError, match="models_sha256 is"):
        cs.ensemble(wider, LAW, store=store, **STUDY)


def test_what_is_no_store_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    (tmp_path / "file").write_text("words")
    for name in ("mine", "file"):
        with pytest.raises(ValueError, match=f"{name} exists and is not a store"):
            cs.ensemble(transformer, LAW, store=tmp_path / name, **STUDY)
        with pytest.raises(ValueError, match=f"{name} is not there, or is not a store"):
            cs.load_ensemble(tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "words"
    zarr.open_group(tmp_path / "theirs.zarr", mode="w").attrs["title"] = "words"
    with pytest.raises(ValueError, match=r"theirs.zarr exists and is not a store"):
        cs.ensemble(transformer, LAW, store=tmp_path / "theirs.zarr", **STUDY)
    assert zarr.open_group(tmp_path / "theirs.zarr", mode="r").attrs["title"] == "words"


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
        done = subprocess.run([sys.executable, "-c", FULL, store, how], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        part = cs.load_ensemble(store)
        assert int(part["finished"].sum()) == n_finished
        assert (np.isnan(part["a"]).any(["time", "a_0"]) == ~part["finished"]).all()
        if how == "full":
            message = f"OSError: [Errno 27] store {store} could not be written (File too large); it keeps 2 runs, and"
            assert message in done.stderr
    assert not [path for path in store.rglob("*") if "partial" in path.name]


def test_a_power_failure_finds_results_on_disk_before_their_flags(tmp_path, monkeypatch):
    synced, sync = [], files.sync

    def noting(path):
        sync(path)
        synced.append(str(path.relative_to(tmp_path / "study.zarr")))

    monkeypatch.setattr(files, "sync", noting)
    cs.ensemble(transformer, LAW, store=tmp_path / "study.zarr", **STUDY)
    batches = [(point, part) for point in itertools.product("01", "012") for part in "01"]
    assert synced == [
        ".".join([f"{name}/{'.'.join(point)}", part, *rest])
        for point, part in batches
        for name, rest in (("energy", ["0"]), ("mean", ["0", "0"]), ("finished", []))
    ]


def start(kind, n_workers, store):
    return subprocess.Popen(
        [sys.executable, MEMBERS, kind, str(n_workers), store],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_until_done(store, kind, n_workers, seed, n_kills):
    """Kill the study at random moments, check what is stored, then let it end.

    All its processes, but of a `Pool` the first alone: the others must go by themselves.
    """
    delay, before = random.Random(seed), 0
    for _ in range(n_kills):
        with start(kind, n_workers, store) as process:
            time.sleep(delay.uniform(0.3, 2.5))
            (os.kill if kind == "pool" else os.killpg)(process.pid, signal.SIGKILL)
            process.communicate(timeout=60)  # returns once no process holds the other end
        try:
            part = cs.load_ensemble(store)
        except ValueError:  # killed before the store was made
            continue
        done = int(part["finished"].sum())
        assert done >= before
        assert not np.isnan(part["energy"].where(part["finished"], 0)).any()
        before = done
    with start(kind, n_workers, store) as process:
        out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.strip()


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
from members import processes

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
    with subprocess.Popen(
        [sys.executable, tmp_path / "long.py", store, kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment(),
    ) as process:
        for _ in range(20):
            assert process.stdout.readline() == "step\n"
        os.killpg(process.pid, number)
        rest, errors = process.communicate(timeout=120)
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


def test_a_reader_may_open_it_while_it_is_written(tmp_path):
    """Of four batches, each takes the writer far longer than the reader a look."""
    (tmp_path / "long.py").write_text(LONG)
    store, seen = tmp_path / "study.zarr", []
    arguments = [sys.executable, tmp_path / "long.py", store, "alone"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, env=environment()) as process:
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
