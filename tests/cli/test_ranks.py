"""Commands whose runs are spread over ranks of MPI."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from support.commands import TINY, strict_json
from support.members import digest
from support.ranks import needs_mpi, run_ranks, started_ranks
from support.studies import GOOD, written

import chaosphere as cs
from chaosphere.cli.main import main

pytestmark = needs_mpi

SPREAD = (
    (
        GOOD.replace("dim = 3", "dim = 2").replace("n_tokens = 6", "n_tokens = 9000").partition("[observe.met]")[0]
        + """[observe.order_parameter]
[observe.mean_cosine]
[run]
replicas = 2
first_seed = 10
save_at = [0.0, 1.0]
"""
    )
    .replace("count = 3", "count = 1")
    .replace("[0.5, 4.0]", "[4.0]")
)


def spread(n_ranks, path, out, *options):
    return run_ranks(n_ranks, "-m", "chaosphere", "run", path, "--spread", "--json", "--out", out, *options)


@pytest.mark.parametrize("n_ranks", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_a_study(n_ranks, tmp_path, capsys):
    """It prints and stores what one process without MPI does."""
    path = written(tmp_path, SPREAD)
    done = spread(n_ranks, path, tmp_path / "ranks")
    assert done.returncode == 0, done.stderr
    assert main(["run", str(path), "--json", "--out", str(tmp_path / "alone")]) == 0
    printed = capsys.readouterr()
    assert done.stdout == printed.out
    assert done.stderr == printed.err.replace("alone", "ranks")
    digests = {digest(cs.load_ensemble(tmp_path / name / "small.zarr")) for name in ("ranks", "alone")}
    assert len(digests) == 1
    assert sorted(p.name for p in (tmp_path / "ranks").iterdir()) == ["small.nc", "small.zarr"]


def ours(done):
    return [line for line in done.stderr.split("\n") if line.startswith("chaosphere")]


def test_an_observable_without_a_shared_form(tmp_path):
    path = written(tmp_path, GOOD.replace("n_tokens = 6", "n_tokens = 600"))
    done = spread(2, path, tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = ours(done)
    assert line.startswith("chaosphere run: error: observe['met'] must be a sum over tokens")
    assert not (tmp_path / "out" / "small.zarr").exists()


@pytest.mark.slow
def test_a_signal_to_one_rank(tmp_path):
    """All stop after one step with a checkpoint of each; another number of ranks is refused, the same resumes."""
    path = written(tmp_path, SPREAD.replace("depth = 4", "depth = 1500").replace("replicas = 2", "replicas = 1"))
    arguments = ("-m", "chaosphere", "run", path, "--spread", "--json", "--out")
    with started_ranks(2, *arguments, tmp_path / "out") as process:
        while not (tmp_path / "out" / "small.zarr.running").exists():
            time.sleep(0.05)
            assert process.poll() is None
        time.sleep(0.2)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGTERM)
        done = process.finished()
    assert done.returncode == 130
    (line,) = ours(done)
    assert re.search(r"stopped after step \d+ of 1500; 0 of 1 runs are in .*small.zarr", line)
    assert len(list((tmp_path / "out" / "small.zarr.running").glob("*-of-2"))) == 2
    refused = run_ranks(1, *arguments, tmp_path / "out")
    assert refused.returncode == 2
    assert "must be resumed by as many ranks as wrote it, got 1 ranks" in ours(refused)[0]
    again, alone = (run_ranks(2, *arguments, tmp_path / name) for name in ("out", "alone"))
    assert again.returncode == 0, again.stderr
    assert again.stdout == alone.stdout
    assert not (tmp_path / "out" / "small.zarr.running").exists()


def test_an_error_on_one_rank_ends_all(tmp_path):
    """The first finds no store in its place, while the others wait for work."""
    (tmp_path / "out" / "small.zarr").mkdir(parents=True)
    done = spread(2, written(tmp_path, SPREAD), tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = ours(done)
    assert "is not a store" in line


def test_arguments_that_exclude_each_other(tmp_path):
    done = spread(2, written(tmp_path, SPREAD), tmp_path / "out", "--executor", "processes")
    assert done.returncode == 2
    assert ours(done) == ["chaosphere run: error: --spread must be given without --executor: all ranks share each run"]


def test_a_plan_is_printed_once(tmp_path):
    done = run_ranks(2, "-m", "chaosphere", "run", written(tmp_path, SPREAD), "--spread", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("A study") == 1
    assert "ranks  2 of" in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_propagation_of_chaos(tmp_path):
    """The claims are those of one rank."""
    options = ["chaos", "--spread", "--json", *TINY, "--out"]
    one, two = (run_ranks(n, "-m", "chaosphere", *options, tmp_path / f"{n}") for n in (1, 2))
    assert one.stdout == two.stdout
    assert len(strict_json(one.stdout)) == 3
    assert "about" in one.stderr


def test_studies_that_need_all_tokens(tmp_path):
    options = ["chaos", "--spread", *TINY, "--study", "rates", "depths", "--out"]
    done = run_ranks(2, "-m", "chaosphere", *options, tmp_path / "out")
    assert done.returncode == 2
    (line,) = ours(done)
    assert "--study depths must be left out with --spread" in line
    assert not (tmp_path / "out").exists()
