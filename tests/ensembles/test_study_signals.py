"""Signals that stop `chaosphere run FILE` on an executor: a message, no process left, and the study resumes."""

import os
import re
import signal
import sys
import time

import numpy as np
import pytest
from support.programs import started, wait_for_end
from support.studies import GOOD, written

import chaosphere as cs
from chaosphere.ensembles import study, study_file

DEPTH = 300  # a batch takes far longer than what comes between two
LONG = GOOD.replace("depth = 4", f"depth = {DEPTH}")
LONG = LONG.replace("n_tokens = 6", "n_tokens = 200").replace("= 3 }", "= 6 }")


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    return study.run(study_file.read(written(folder, LONG)), store=folder / "s.zarr")


@pytest.mark.parametrize(
    ("executor", "number", "whom"),
    [
        pytest.param("none", signal.SIGTERM, os.kill, marks=pytest.mark.slow),
        pytest.param("processes", signal.SIGINT, os.killpg, marks=pytest.mark.slow),
        pytest.param("processes", signal.SIGTERM, os.kill, marks=pytest.mark.slow),
        ("processes", signal.SIGKILL, os.kill),
        pytest.param("dask", signal.SIGINT, os.killpg, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_with_a_message_and_the_study_resumes(tmp_path, long_run, executor, number, whom):
    """To the whole group, as a terminal sends it, or to the first process alone: no process is left."""
    path, out = written(tmp_path, LONG), tmp_path / "out"
    arguments = [sys.executable, "-m", "chaosphere", "run", path, "--out", out, "--threads", "1"]
    more = ["--executor", executor, *(["--workers", "2"] * (executor != "none"))]
    with started([*arguments, *more]) as process:
        while not list((out / "small.zarr" / "finished").glob("[0-9]*")):
            assert process.poll() is None
            time.sleep(0.02)
        whom(process.pid, number)
        _, errors = process.communicate()
        assert wait_for_end(process.pid, 10)
    part = cs.load_ensemble(out / "small.zarr")
    n_finished, checkpoints = int(part["finished"].sum()), list((out / "small.zarr.running").glob("*.npz"))
    if number != signal.SIGKILL:
        assert process.returncode == 130
        where = rf"{n_finished} of 60 runs are in {out / 'small.zarr'}, and the same call again continues from there"
        assert re.fullmatch(rf"chaosphere run: {number.name}(: stopped after step \d+ of {DEPTH})?; {where}\n", errors)
        # None if it came between two batches, one if the second worker was still starting.
        assert len(checkpoints) in {"none": (0, 1), "processes": (1, 2), "dask": (0,)}[executor]
    assert n_finished < 60
    data = study.run(study_file.read(path), store=out / "small.zarr")
    assert np.array_equal(data["energy"], long_run["energy"])
    assert not (out / "small.zarr.running").exists()
