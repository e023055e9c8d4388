"""A store that is damaged, or of an earlier version: refused, never half-read, nothing in it is run."""

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import zarr
from support.members import LAW, digest
from support.stores import QUICK, free

import chaosphere as cs


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
