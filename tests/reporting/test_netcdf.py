"""NetCDF files: complete or absent, verified when they are read, readable by others."""

import json
import os
import random
import sys

import h5py
import numpy as np
import pytest
import xarray
from support.programs import finished

from chaosphere.common import files
from chaosphere.reporting import netcdf


def dataset(n=4):
    variables = {
        "a": (("r", "t"), np.random.default_rng(0).standard_normal((3, n)), {"long_name": "energy (β 1)"}),
        "count": ("t", np.arange(n)),
        "name": ("r", np.array(["x", "yy", "τ"])),
        "finished": ("r", np.array([True, False, True])),
        "scalar": ((), 3.0),
        "gaps": ("t", np.where(np.arange(n) < 1, np.nan, np.arange(n)).astype(np.float32)),
        "none": (("t", "empty"), np.zeros((n, 0))),
    }
    coords = {"t": np.linspace(0, 1, n), "seed": ("r", [1, 2, 2**62])}
    return xarray.Dataset(variables, coords=coords, attrs={"title": "τ & β", "n": 3, "identity": "{}"})


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "a.nc"
    netcdf.save(dataset(), path)
    return path, path.read_bytes()


def test_what_is_written_is_read(stored):
    path, _ = stored
    loaded = netcdf.load(path)
    assert set(loaded.attrs) == {"title", "n", "identity", "configuration"}
    assert loaded.drop_attrs(deep=False).identical(dataset().drop_attrs(deep=False))
    assert loaded["seed"].values.tolist() == [1, 2, 2**62]
    assert [file.name for file in path.parent.iterdir()] == ["a.nc"]


def test_other_programs_read_it_and_check_its_arrays(stored):
    path, _ = stored
    with xarray.open_dataset(path, engine="h5netcdf") as plain:
        assert np.array_equal(plain["a"], dataset()["a"])
    with h5py.File(path) as file:
        assert {name for name in ("a", "count", "gaps", "t", "seed") if file[name].fletcher32} == {
            "a",
            "count",
            "gaps",
            "t",
            "seed",
        }


def test_every_damage_is_refused(stored):
    path, content = stored
    pick = random.Random(0)
    damaged = [content + b"\0", content[:-1], content[:-200], content[:100], b""]
    for at in [0, len(content) - 1, *range(len(content) - 97, len(content)), *pick.sample(range(len(content)), 300)]:
        damaged.append(content[:at] + bytes([content[at] ^ (1 << pick.randrange(8))]) + content[at + 1 :])
    for start in (*pick.sample(range(len(content)), 20), len(content) - 97, len(content) - 600):
        damaged.append(content[:start] + bytes(len(content[start : start + 512])) + content[start + 512 :])
    for other in damaged:
        if other == content:  # zeros where zeros were
            continue
        path.write_bytes(other)
        for function in (netcdf.load, lambda file: netcdf.resume(file, "{}")):
            with pytest.raises(
                ValueError, match=rf"{path} is damaged, or is not NetCDF \(.*\); remove it and run again"
            ):
                function(path)


def test_files_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "old.nc"
    dataset().to_netcdf(path, engine="h5netcdf")
    with pytest.warns(UserWarning, match=r"old.nc has no checksum, as version 0.1.0 wrote it"):
        assert netcdf.load(path).identical(dataset())


def test_paths_and_links(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link.nc").symlink_to("target.nc")
    netcdf.save(dataset(), "~/link.nc")
    assert (tmp_path / "link.nc").is_symlink()
    assert not (tmp_path / "target.nc").is_symlink()
    assert netcdf.resume("~/target.nc", "{}")["count"].values.tolist() == [0, 1, 2, 3]
    assert netcdf.resume("~/other.nc", "{}") is None
    for function in (lambda path: netcdf.save(dataset(), path), netcdf.load, lambda path: netcdf.resume(path, "{}")):
        with pytest.raises(ValueError, match="must be a path on this machine, got the URL"):
            function("s3://bucket/a.nc")
    with pytest.raises(FileNotFoundError):
        netcdf.load(tmp_path / "other.nc")


FULL = """
import resource, sys
import numpy as np, xarray
from chaosphere.reporting import netcdf
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    netcdf.save(xarray.Dataset({"a": ("x", np.random.default_rng(0).standard_normal(20_000))}), sys.argv[1])
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_what_was_there(stored):
    """A limit on the size of files stands for the end of the disk. HDF5 would crash when the process ends."""
    path, content = stored
    done = finished([sys.executable, "-c", FULL, path])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"[Errno 27] {path} could not be written ({os.strerror(27)})\n"
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["a.nc"]


def test_two_writers_do_not_share_a_temporary_file(stored):
    path, content = stored
    with (
        files.Lock(path.with_name("a.nc.tmp"), "file"),
        pytest.raises(files.InUseError, match=rf"file .*a.nc.tmp is in use by process {os.getpid()}"),
    ):
        netcdf.save(dataset(5), path)
    assert path.read_bytes() == content


def test_differences_of_studies_name_the_parameters():
    cases = [{"name": f"d = {d}", "model": {"depth": 8, "attention": {"beta": 1.0}}} for d in (2, 3)]
    other = json.loads(json.dumps(cases))
    for case in other:
        case["model"]["attention"]["beta"] = 2.0
    stored, identity = (json.dumps({"cases": c, "entropy": "0"}) for c in (cases, other))
    assert netcdf.study_differences(stored, identity) == "cases.model.attention.beta is 1.0, not 2.0"
    assert netcdf.study_differences(stored, json.dumps({"cases": cases, "entropy": "1"})) == 'seed is "0", not "1"'
