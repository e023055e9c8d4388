"""What holds for every command: strict JSON, files, formats, streams, encodings, exit codes."""

import contextlib
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
from support.commands import (
    TINY,
    TINY_CAUSAL,
    TINY_ESTIMATE,
    TINY_MEAN_FIELD,
    TINY_METASTABILITY,
    TINY_PHASES,
    TINY_RANDOM,
    TINY_SYNC,
    TINY_TABLE,
    TINY_TRAINING,
    TINY_UNIFORM,
    strict_json,
)
from support.programs import TIMEOUT, finished

import chaosphere as cs
from chaosphere import stats
from chaosphere.cli.main import main
from chaosphere.common import files
from chaosphere.reporting import netcdf


@pytest.mark.parametrize("option", ["--no-such-option", "--spr"])
def test_unknown_option_exits_with_2(option):
    """Nor is the beginning of an option one: `--spread` is looked for by its name before options are read."""
    with pytest.raises(SystemExit) as info:
        main(["chaos", option])
    assert info.value.code == 2


def test_module_and_info():
    done = finished([sys.executable, "-m", "chaosphere", "info"])
    assert done.returncode == 0, done.stderr
    for word in ("chaosphere", cs.__version__, "instruction set in use", "OpenMP", "compiler"):
        assert word in done.stdout


def test_isa_is_forced_or_refused_by_the_environment():
    program = "import chaosphere; chaosphere.show_config()"
    for isa, code, text in (("baseline", 0, "baseline"), ("sse9", 1, "instruction set 'sse9' is not available here")):
        done = finished([sys.executable, "-c", program], env={"CHAOSPHERE_ISA": isa})
        assert (done.returncode != 0) == bool(code)
        assert text in done.stdout + done.stderr


def test_missing_extra_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(
        ImportError, match=r"h5netcdf is needed here and cannot be imported: pip install h5netcdf, or .*'\.\[io\]'"
    ):
        netcdf.require()


EVERY_EXPERIMENT = [
    ["chaos", *TINY],
    [
        "depth-width",
        "--depths",
        "2",
        "4",
        "--widths",
        "4",
        "8",
        "--tokens",
        "5",
        "--refinement",
        "2",
        "--replicas",
        "2",
    ],
    ["mean-field", *TINY_MEAN_FIELD],
    ["sync", *TINY_SYNC, "--replicas", "2"],
    ["figure", "6"],
    ["table", "1", *TINY_TABLE],
    ["causal", *TINY_CAUSAL],
    ["metastability", *TINY_METASTABILITY],
    ["random-attention", *TINY_RANDOM],
    ["low-temperature", "--beta", "4", "16", "--tokens", "100", "--steps", "48", "--replicas", "2"],
    ["attractors", "--tokens", "20", "--steps", "20", "--replicas", "2"],
    ["uniform-in-time", *TINY_UNIFORM],
    ["phases", *TINY_PHASES],
    ["estimate", *TINY_ESTIMATE],
    ["training", *TINY_TRAINING],
]
ALL = pytest.mark.parametrize("arguments", EVERY_EXPERIMENT, ids=lambda arguments: arguments[0])
STUDY = """
[model]
depth = 4
horizon = 1.0
[model.attention]
beta = 1.0
[tokens]
n_tokens = 3
dim = 3
[observe.energy]
beta = 1.0
[run]
replicas = 1
"""


@ALL
def test_json_is_strict(tmp_path, capsys, arguments):
    assert main([*arguments, "--json", "--out", str(tmp_path)]) == 0
    claims = strict_json(capsys.readouterr().out)
    assert all(set(c) == {"quantity", "measured", "low", "high", "expected", "verdict"} for c in claims)
    assert all(c["verdict"] in ("agrees", "differs", "inconclusive", "no claim") for c in claims)


@pytest.mark.parametrize(("kind", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_the_format_of_pictures(tmp_path, kind, start):
    assert main(["table", "1", *TINY_TABLE, "--format", kind, "--out", str(tmp_path)]) == 0
    assert (tmp_path / f"table-1.{kind}").read_bytes().startswith(start)
    assert {path.suffix for path in tmp_path.iterdir()} == {".nc", f".{kind}"}


def test_an_interval_of_one_replica_is_null(tmp_path, capsys):
    file = tmp_path / "one.toml"
    file.write_text(STUDY)
    assert main(["run", str(file), "--json", "--out", str(tmp_path)]) == 0
    (claim,) = strict_json(capsys.readouterr().out)
    assert claim["low"] is claim["high"] is claim["expected"] is None
    assert 0 < claim["measured"] < 1


def test_intervals_of_a_study_respect_the_range_of_its_measures(tmp_path, capsys):
    file = tmp_path / "few.toml"
    more = "[observe.fraction]\nmeasure = 'pair_fraction'\nabove = 0.2\n[run]"
    file.write_text(STUDY.replace("[run]", more).replace("replicas = 1", "replicas = 5"))
    assert main(["run", str(file), "--out", str(tmp_path)]) == 0
    data = netcdf.load(tmp_path / "few.nc")
    _, student_low, student_high = stats.mean_interval(data["fraction"].values)
    assert student_low.min() < 0 or student_high.max() > 1
    low, mean, high = (data[f"fraction_{part}"].values for part in ("low", "mean", "high"))
    assert (low >= 0).all()
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert (high <= 1).all()
    assert (data["energy_low"].values > 0).all()
    assert "no interval" not in capsys.readouterr().out


@ALL
@pytest.mark.parametrize("kind", ["file in the place of a folder", "folder in the place of the picture"])
def test_outputs_are_tried_before_the_work(tmp_path, capsys, monkeypatch, arguments, kind):
    def work(*unused, **also_unused):
        raise AssertionError("the work began")

    out = tmp_path / "out"
    if kind.startswith("file"):
        out.touch()
        out /= "x"
    else:
        names = {"figure": "figure-6", "table": "table-1", "causal": "causal-correlation", "training": "training-sizes"}
        names |= {"metastability": "metastability-merging"}
        (out / f"{names.get(arguments[0], arguments[0])}.png").mkdir(parents=True)
    for name in ("chaos", "depth_width", "mean_field", "synchronization"):
        monkeypatch.setattr(f"chaosphere.experiments.{name}.run", work)
    monkeypatch.setattr("chaosphere.experiments.causal.correlation.simulate", work)
    monkeypatch.setattr("chaosphere.experiments.metastability.hitting.simulate", work)
    monkeypatch.setattr("chaosphere.experiments.random_attention.ends.simulate", work)
    monkeypatch.setattr("chaosphere.experiments.phases.hysteresis.simulate", work)
    monkeypatch.setattr("chaosphere.experiments.training.paths.train", work)
    for name in ("figure", "figure_1", "table"):
        monkeypatch.setattr(f"chaosphere.experiments.paper.{name}", work)
    assert main([*arguments, "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "--out" in message
    assert ("a part of it is a file" if kind.startswith("file") else "cannot be written") in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [pytest.param(EVERY_EXPERIMENT[k], marks=[pytest.mark.slow] * (k > 0)) for k in (0, 1, 2, 3, 5, 6)],
    ids=lambda args: args[0],
)
def test_a_file_of_another_study_is_refused_and_one_of_the_same_is_not(tmp_path, capsys, arguments):
    other = {"table": ["--bias-std", "0.1"], "causal": ["--beta", "1"]}.get(arguments[0], ["--beta", "2"])
    word = {"table": "bias_stds is [0.0], not [0.1]", "causal": "beta is 2.0, not 1.0"}
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main([*arguments, *other, "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "holds another study" in message
    assert word.get(arguments[0], "beta is 1.0, not 2.0") in message
    assert message.endswith("(on the command line: --out)")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_another_process_grows_is_refused(tmp_path, capsys):
    with files.Lock(tmp_path / "sync.nc", "file"):
        assert main(["sync", *TINY_SYNC, "--replicas", "2", "--out", str(tmp_path)]) == 1
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err


def test_paths_are_those_of_the_user_s_home(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    x = cs.sample_uniform(300, 3, rng=0)
    np.save(tmp_path / "home" / "x.npy", x)
    (tmp_path / "home" / "one.toml").write_text(STUDY)
    assert main(["chaos", "--x0", "~/x.npy", "--replicas", "2", "--depth", "2", "--width", "4", "--out=~/res"]) == 0
    assert main(["run", "~/one.toml", "--out=~/res"]) == 0
    assert not (tmp_path / "~").exists()
    assert {path.name for path in (tmp_path / "home" / "res").iterdir()} >= {"chaos.nc", "chaos.png", "one.nc"}
    assert main(["table", "1", *TINY_TABLE, "--out", "s3://bucket/x"]) == 2
    assert "--out must be a path on this machine, got the URL" in capsys.readouterr().err
    assert main(["run", "missing.toml"]) == 2
    assert "missing.toml cannot be read (No such file or directory)" in capsys.readouterr().err


def run_command(shell, *, folder, **environment):
    """Run a shell's command line in which $CS is the command; closed streams are closed before Python starts."""
    command = f"{sys.executable} -m chaosphere"
    return subprocess.run(
        ["bash", "-c", shell],
        env={**os.environ, "CS": command, **environment},
        cwd=folder,
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )


TABLE = "$CS table 1 --activations relu --dims 5"


@pytest.mark.parametrize(
    "closed",
    [pytest.param("2>&-", marks=pytest.mark.slow), "1>&-", pytest.param("0<&-", marks=pytest.mark.slow), "1>&- 2>&-"],
)
def test_closed_streams(tmp_path, closed):
    done = run_command(f"{TABLE} --json --out o {closed}", folder=tmp_path)
    assert done.returncode == 0
    if "1>" not in closed:
        assert len(strict_json(done.stdout)) == 4
    assert netcdf.load(tmp_path / "o" / "table-1.nc")["kappa"].shape == (1, 1, 2)
    assert (tmp_path / "o" / "table-1.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("encoding", [pytest.param("latin-1", marks=pytest.mark.slow), "ascii"])
@pytest.mark.parametrize("command", ["$CS chaos --help", f"{TABLE} --out o", "$CS run one.toml --dry-run"])
def test_narrow_encodings(tmp_path, encoding, command):
    (tmp_path / "one.toml").write_text("title = 'β ≤ 1'\n" + STUDY)
    done = run_command(command, folder=tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"\\u03" in done.stdout  # a Greek letter


def test_a_current_folder_that_is_gone_ends_with_one_line(tmp_path):
    done = run_command(f"mkdir gone; cd gone; rmdir ../gone; {TABLE}", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"error: --out must be a path, got 'out', which is relative, and the current folder does not" in done.stderr


def test_a_reader_that_leaves_is_no_error_of_ours(tmp_path):
    # The reader has left before the first line: the pipe is broken at the first write.
    done = run_command(f"{{ sleep 1; {TABLE} --out o; echo $? >&2; }} | true", folder=tmp_path)
    assert done.stderr.splitlines()[-1] == b"141"
    assert b"Error" not in done.stderr


def test_a_full_disk_behind_standard_output(tmp_path):
    done = run_command(f"{TABLE} --out o > /dev/full", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(b"No space left on device")
    assert b"Traceback" not in done.stderr


def test_a_disk_that_fills_ends_with_one_line(tmp_path, capsys, monkeypatch):
    def full(*unused):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    assert main(["table", "1", *TINY_TABLE, "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_progress_on_a_terminal_from_the_start_and_the_plan_first(tmp_path):
    own, other = pty.openpty()
    command = [sys.executable, "-m", "chaosphere", "chaos", *TINY, "--study", "rates", "--out", str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=other, timeout=TIMEOUT, check=True)
    os.close(other)
    text = ""
    with contextlib.suppress(OSError):  # the end, on Linux
        while part := os.read(own, 10_000):
            text += part.decode()
    os.close(own)
    plan, bar = text.index("estimated time"), text.index("chaos: 0 of 16 layers")
    assert plan < bar < text.index("chaos: 16 of 16 layers") < text.index("wrote ")
    assert "pair interactions, about" in text[:plan]
    assert b"\r" not in done.stdout
