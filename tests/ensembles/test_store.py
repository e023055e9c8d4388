"""The store: grows while it is read, skips what it has, survives kills, refuses what is not its own."""

import dataclasses
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from support.members import KINDS, LAW, STUDY, Deadly, digest, environment, processes, transformer

import chaosphere as cs
from chaosphere import ensemble as ensemble_function
from chaosphere.common import files
from chaosphere.common.streams import STREAM_VERSION
from chaosphere.ensembles.store import Store

MEMBERS = Path(__file__).parents[1] / "support" / "members.py"
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
    store, runs = tmp_path / "study.zarr", []
    fail_after(5, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        cs.ensemble(transformer, LAW, store=store, **STUDY)
    monkeypatch.undo()
    part = cs.load_ensemble(store)
    assert int(part["finished"].sum()) == 4 + 2 + 4 + 2 + 4
    assert (np.isnan(part["energy"]).any("time") == ~part["finished"]).all()
    simulate = cs.simulate
    monkeypatch.setattr(
        "chaosphere.ensembles.worker.simulate",
        lambda *a, **k: (runs.append(k["rng"]), simulate(*a, **k))[1],
    )
    assert digest(cs.ensemble(transformer, LAW, store=store, **STUDY)) == expected
    assert len(runs) == 12 - 5
    cs.ensemble(transformer, LAW, store=store, **STUDY)
    assert len(runs) == 12 - 5
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
            r'observe.energy.beta is 1.0, not 2.0; observe.mean is \{"name": "support.members.mean", .*, not null',
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


@pytest.mark.parametrize("seeds", [[*STUDY["seeds"], 3, 4], [3, *STUDY["seeds"][::-1], 4, 10]])
def test_more_seeds_extend_a_store(tmp_path, monkeypatch, seeds):
    """Only the new ones are run, and the earlier values stay as they are; also where some of those are missing."""
    store, runs = tmp_path / "study.zarr", []
    fail_after(5, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        cs.ensemble(transformer, LAW, store=store, **STUDY)
    monkeypatch.undo()
    (tmp_path / "study.zarr.running").mkdir(exist_ok=True)
    (tmp_path / "study.zarr.running" / "0-2-0.npz").write_text("a checkpoint of a batch of other seeds")
    before = cs.load_ensemble(store)
    simulate = cs.simulate
    monkeypatch.setattr(
        "chaosphere.ensembles.worker.simulate",
        lambda *a, **k: (runs.extend(k["rng"]), simulate(*a, **k))[1],
    )
    data = cs.ensemble(transformer, LAW, store=store, **(STUDY | {"seeds": seeds}))
    assert len(runs) == 6 * len(seeds) - int(before["finished"].sum())
    assert bool(data["finished"].all())
    assert data["seed"].values.tolist() == seeds
    old = data.isel(replica=[seeds.index(seed) for seed in STUDY["seeds"]])
    for name in ("energy", "mean"):
        values, kept = before[name].values, before["finished"].values
        np.testing.assert_array_equal(old[name].values[kept], values[kept])
    np.testing.assert_array_equal(
        data["mean"].values, cs.ensemble(transformer, LAW, **(STUDY | {"seeds": seeds}))["mean"].values
    )
    runs.clear()
    assert digest(cs.ensemble(transformer, LAW, store=store, **(STUDY | {"seeds": seeds}))) == digest(data)
    assert runs == []
    assert list(tmp_path.iterdir()) == [store]
    with pytest.raises(ValueError, match="holds another study: seeds is"):
        cs.ensemble(transformer, LAW, store=store, **STUDY)


@pytest.mark.parametrize("moment", ["filling", "renaming"])
def test_a_store_that_was_extended_when_the_process_died(tmp_path, monkeypatch, moment):
    store = tmp_path / "study.zarr"
    data = cs.ensemble(free, LAW, store=store, **QUICK)

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "filling":
            patch.setattr("chaosphere.common.files._sync_where_possible", die)
        else:
            replace = Path.replace
            patch.setattr(Path, "replace", lambda self, to: die() if self.suffix == ".tmp" else replace(self, to))
        with pytest.raises(KeyboardInterrupt):
            cs.ensemble(free, LAW, store=store, **(QUICK | {"seeds": range(5)}))
    assert store.exists() == (moment == "filling")
    assert digest(cs.load_ensemble(store)) == digest(data)
    more = cs.ensemble(free, LAW, store=store, **(QUICK | {"seeds": range(5)}))
    np.testing.assert_array_equal(more["energy"].values[:, :4], data["energy"].values)
    assert list(tmp_path.iterdir()) == [store]


def test_the_number_of_tokens_in_a_store(tmp_path, monkeypatch):
    """Batches of 2, 8 and 4 replicas go into chunks of 2."""
    store = tmp_path / "study.zarr"
    study = {"sweep": {"n_tokens": [2000, 500, 1000]}, "seeds": range(9), "observe": {"energy": height}}
    model, expected = free(1.0), cs.ensemble(free(1.0), LAW, **study)
    fail_after(6, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        cs.ensemble(model, LAW, store=store, **study)
    monkeypatch.undo()
    assert cs.load_ensemble(store)["finished"].values.sum(axis=1).tolist() == [9, 8, 0]
    assert digest(cs.ensemble(model, LAW, store=store, **study)) == digest(expected)
    more = cs.ensemble(model, LAW, store=store, **(study | {"seeds": range(11)}))
    np.testing.assert_array_equal(more["energy"].values[:, :9], expected["energy"].values)
    with pytest.raises(ValueError, match=r"sweep.n_tokens is \[2000, 500, 1000\], not \[2000\]"):
        cs.ensemble(model, LAW, store=store, **(study | {"sweep": {"n_tokens": [2000]}}))


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


def first(time, x):
    return x[:, 0]


def height(time, x):
    return time + x[:, 0, 0]


# Two points of two batches each, for little.
QUICK = {
    "n_tokens": 2000,
    "seeds": range(4),
    "sweep": {"scale": [1.0, 2.0]},
    "observe": {"first": first, "energy": height},
}


def free(scale):
    """A model without attention."""
    return cs.Transformer(attention=None, mlp=cs.MLP(width=2), depth=2, horizon=1.0, noise_scale=scale)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A store, and the dataset in it."""
    store = tmp_path_factory.mktemp("quick") / "study.zarr"
    return store, cs.ensemble(free, LAW, store=store, **QUICK)


def damages(content, seed):
    """Single bits flipped at random, the first and the last among them; cut, emptied, grown; None for gone."""
    pick = random.Random(seed)
    for at in [0, len(content) - 1, *(pick.randrange(len(content)) for _ in range(4))]:
        yield content[:at] + bytes([content[at] ^ (1 << pick.randrange(8))]) + content[at + 1 :]
    yield from (content[: pick.randrange(len(content))], b"", content + b"\0", None)


def test_damage_of_every_file_is_refused(quick, tmp_path):
    """By bits, by length, or gone: a message that names the store and the remedy, or what is damaged is not used."""
    store, data = quick
    expected, n_refused = digest(data), 0
    paths = [path.relative_to(store) for path in sorted(store.rglob("*")) if path.is_file()]
    assert len(paths) == 2 + 2 * 6 + 3 + 3 * 4  # group; headers; coordinates; chunks
    copy = tmp_path / "study.zarr"
    shutil.copytree(store, copy)
    for seed, path in enumerate(paths):
        for content in damages((store / path).read_bytes(), seed):
            (copy / path).unlink() if content is None else (copy / path).write_bytes(content)
            is_flag = path.parts[0] == "finished" and not path.name.startswith(".")
            if is_flag and content is None:  # its members are to be run, and nothing is lost
                assert int(cs.load_ensemble(copy)["finished"].sum()) == 6
            else:
                with pytest.raises(ValueError, match=rf"{copy} is damaged in {re.escape(str(path))} .*; remove "):
                    cs.load_ensemble(copy)
                with pytest.raises(ValueError, match=rf"{copy} is damaged in {re.escape(str(path))} .*; remove "):
                    cs.ensemble(free, LAW, store=copy, **QUICK)
                n_refused += 1
            (copy / path).write_bytes((store / path).read_bytes())
    assert n_refused == 10 * len(paths) - 4
    assert digest(cs.load_ensemble(copy)) == expected


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_the_remedy_for_a_damaged_chunk(quick, tmp_path, how):
    store, data = quick
    copy = tmp_path / "study.zarr"
    shutil.copytree(store, copy)
    chunk = copy / "energy" / "1.1.0"
    content = bytearray(chunk.read_bytes())
    content[20] ^= 64
    chunk.write_bytes(content)
    if how == "gone":
        chunk.unlink()
    with pytest.raises(ValueError, match="to compute its 2 runs anew") as caught:
        cs.ensemble(free, LAW, store=copy, **QUICK)
    Path(re.search(r"remove (\S+) and run the study again", str(caught.value))[1]).unlink()
    assert cs.load_ensemble(copy)["finished"].values.tolist() == [[True] * 4, [True, True, False, False]]
    assert digest(cs.ensemble(free, LAW, store=copy, **QUICK)) == digest(data)


def without_checksums(store, path):
    """Copy a store as version 0.1.0 wrote it."""
    old, new = zarr.open_group(store, mode="r"), zarr.open_group(path, mode="w", zarr_format=2)
    for name, array in old.arrays():
        new.create_array(name, data=array[...], chunks=array.chunks).attrs.update(array.attrs)
    new.attrs.update({name: old.attrs[name] for name in ("identity", "configuration")})


def test_stores_of_earlier_versions_are_read_and_not_added_to(quick, tmp_path):
    store, data = quick
    without_checksums(store, tmp_path / "old.zarr")
    with pytest.warns(UserWarning, match="has no checksums, as an earlier version wrote it"):
        assert digest(cs.load_ensemble(tmp_path / "old.zarr")) == digest(data)
    with pytest.raises(ValueError, match=r"has no checksums, .*; remove it or give another name"):
        cs.ensemble(free, LAW, store=tmp_path / "old.zarr", **QUICK)


@pytest.mark.parametrize("header", [{"dtype": "|O"}, {"filters": [{"id": "pickle"}]}, {"compressor": {"id": "pickle"}}])
def test_nothing_that_a_store_holds_is_run(quick, tmp_path, header):
    without_checksums(quick[0], tmp_path / "old.zarr")
    file = tmp_path / "old.zarr" / "energy" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | header))
    with pytest.raises(ValueError, match=r"damaged in energy/.zarray \(it names a type or a codec that no store has\)"):
        cs.load_ensemble(tmp_path / "old.zarr")


def test_results_that_are_not_a_number_are_there(tmp_path):
    """Zarr leaves out chunks of nothing but its fill value, unless it is told; then one that is missing is damage."""
    options = QUICK | {"observe": {"nothing": lambda t, x: np.full(len(x), np.nan)}}
    data = cs.ensemble(free, LAW, store=tmp_path / "s.zarr", **options)
    assert bool(data["finished"].all())
    assert np.isnan(cs.load_ensemble(tmp_path / "s.zarr")["nothing"]).all()
    more = cs.ensemble(free, LAW, store=tmp_path / "s.zarr", **(options | {"seeds": range(5)}))
    assert bool(more["finished"].all())
    assert np.isnan(more["nothing"]).all()


def test_a_store_has_one_writer(quick, tmp_path):
    store = tmp_path / "study.zarr"
    with (
        files.Lock(store, "store"),
        pytest.raises(files.InUseError, match=rf"store {store} is in use by process {os.getpid()} on .*; wait for it"),
    ):
        cs.ensemble(free, LAW, store=store, **QUICK)
    assert not list(tmp_path.iterdir())
    (tmp_path / "study.zarr.tmp").mkdir()  # of a start that was killed
    (tmp_path / "study.zarr.tmp" / ".zgroup").write_text("half")
    assert digest(cs.ensemble(free, LAW, store=store, **QUICK)) == digest(quick[1])
    assert list(tmp_path.iterdir()) == [store]


def test_several_starts_at_once(tmp_path, expected):
    """One of them runs; the others say who does, or come after it and find all there."""
    store = tmp_path / "study.zarr"
    with ExitStack() as stack:
        processes = [stack.enter_context(start("alone", 1, store)) for _ in range(3)]
        ends = [(*process.communicate(timeout=300), process.returncode) for process in processes]
    for printed, errors, code in ends:
        assert (code, printed.strip()) == (0, expected) or (
            code == 1 and f"store {store} is in use by process" in errors
        )
    assert 0 in [code for *_, code in ends]
    assert digest(cs.load_ensemble(store)) == expected
    assert list(tmp_path.iterdir()) == [store]


def test_a_path_is_resolved_once(tmp_path, monkeypatch, quick):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert digest(cs.ensemble(free, LAW, store="~/study.zarr", **QUICK)) == digest(quick[1])
    assert digest(cs.load_ensemble("~/study.zarr")) == digest(quick[1])
    assert [path.name for path in tmp_path.iterdir()] == ["study.zarr"]
    (tmp_path / "link.zarr").symlink_to("study.zarr")
    assert digest(cs.load_ensemble(tmp_path / "link.zarr")) == digest(quick[1])
    for function in (lambda path: cs.ensemble(free, LAW, store=path, **QUICK), cs.load_ensemble):
        with pytest.raises(ValueError, match=r"got the URL 's3://bucket/s\.zarr'"):
            function("s3://bucket/s.zarr")
        with pytest.raises(TypeError, match=r"store must be a path, got 3;"):
            function(3)
    (tmp_path / "file").write_text("words")
    with pytest.raises(ValueError, match=r"store: .*/file/s.zarr cannot be written"):
        cs.ensemble(free, LAW, store=tmp_path / "file" / "s.zarr", **QUICK)


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


@pytest.mark.parametrize(("kind", "n_workers"), [pytest.param("alone", 1, marks=pytest.mark.slow), ("pool", 2)])
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


@pytest.mark.slow
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
