"""The store: skips what it has, grows by seeds, is plain Zarr, refuses what is not its own."""

import dataclasses
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from support.members import LAW, STUDY, digest, transformer
from support.stores import QUICK, fail_after, free, height

import chaosphere as cs
from chaosphere import ensemble as ensemble_function
from chaosphere.common import files
from chaosphere.common.streams import STREAM_VERSION


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
    with pytest.raises(ValueError, match=r"store must .*/file/s.zarr': a part of it is a file"):
        cs.ensemble(free, LAW, store=tmp_path / "file" / "s.zarr", **QUICK)


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
