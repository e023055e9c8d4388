"""The command line as a user sees it: files, tables, JSON, exit codes."""

import contextlib
import json
import os
import pty
import subprocess
import sys

import numpy as np
import pytest
import xarray

import chaosphere as cs
from chaosphere import stats
from chaosphere.cli.main import main
from chaosphere.common import files
from chaosphere.experiments.chaos import token_file
from chaosphere.reporting import netcdf

SMALL = ["--tokens", "16", "32", "64", "--replicas", "4", "--depth", "4", "--width", "8"]
TINY = [*SMALL, "--dim", "2", "--nodes", "32"]


def strict_json(text):
    """Parse as a strict reader does: NaN and Infinity are no JSON."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_chaos_writes_table_dataset_and_picture(tmp_path, capsys):
    assert main(["chaos", *SMALL, "--dim", "2", "3", "--nodes", "50", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "d = 3: exponent of E max_t |X − X̄|²" in out
    assert "d = 3: exponent of E sup_t W2² / log N" in out
    assert "pair interactions" in err
    assert "cost: " in out
    data = netcdf.load(tmp_path / "chaos.nc")
    assert data["mean_square"].dims == ("case", "quantity", "replica", "n_tokens")
    assert data["case"].values.tolist() == ["d = 2", "d = 3"]
    assert data["n_tokens"].values.tolist() == [16, 32, 64]
    assert np.isfinite(data["mean_square"].values).all()
    assert json.loads(data.attrs["configuration"])["chaosphere"] == cs.__version__
    assert (tmp_path / "chaos.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert not list(tmp_path.glob("*.tmp"))


def test_chaos_json(tmp_path, capsys):
    assert main(["chaos", *TINY, "--out", str(tmp_path), "--json"]) == 0
    claims = strict_json(capsys.readouterr().out)
    assert [claim["expected"] for claim in claims] == [-0.5, -0.5, -1, -1, 0]
    for claim in claims[:4]:
        assert set(claim) == {"quantity", "measured", "low", "high", "expected", "verdict"}
        low, high, expected = claim["low"], claim["high"], claim["expected"]
        assert low < claim["measured"] < high
        is_narrow = max(expected - low, high - expected) <= abs(expected) / 2
        inside = "agrees" if is_narrow else "inconclusive"
        assert claim["verdict"] == (inside if low <= expected <= high else "differs")


@pytest.mark.slow
def test_chaos_limits_study(tmp_path, capsys):
    assert main(["chaos", "--study", "limits", "--replicas", "2", "--out", str(tmp_path), "--json"]) == 0
    claims = strict_json(capsys.readouterr().out)
    assert [claim["expected"] for claim in claims] == [-1, -1, -1, -1, 1]
    data = netcdf.load(tmp_path / "chaos-limits.nc")
    assert data["mean_square"].shape == (6, 4, 4, 4)
    assert (data["mean_square"].values[:, -1, -1, -1] == 0).all()
    assert (tmp_path / "chaos-limits.png").exists()


def test_more_replicas_extend_the_stored_ones(tmp_path, capsys):
    main(["chaos", *TINY, "--out", str(tmp_path / "a")])
    first = netcdf.load(tmp_path / "a" / "chaos.nc")["mean_square"].values
    main(["chaos", *TINY, "--replicas", "6", "--out", str(tmp_path / "a"), "--threads", "2"])
    main(["chaos", *TINY, "--replicas", "6", "--out", str(tmp_path / "b"), "--threads", "1"])
    extended, fresh = (netcdf.load(tmp_path / name / "chaos.nc")["mean_square"].values for name in "ab")
    assert np.array_equal(extended[:, :, :4], first)
    assert np.array_equal(extended, fresh)
    capsys.readouterr()
    assert main(["chaos", *TINY, "--seed", "1", "--out", str(tmp_path / "a")]) == 2
    assert 'holds another study (seed is "0", not "1")' in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_own_tokens(tmp_path, capsys, suffix):
    raw = np.random.default_rng(0).standard_normal((300, 6)).astype(np.float32) + 0.5
    file = tmp_path / f"tokens{suffix}"
    np.save(file, raw) if suffix == ".npy" else np.savez(file, table=raw)
    arguments = ["chaos", "--x0", str(file), "--replicas", "3", "--depth", "3", "--width", "8", "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "x0 must lie on the unit sphere" in capsys.readouterr().err
    assert main([*arguments, "--normalize"]) == 0
    data = netcdf.load(tmp_path / "chaos.nc")
    assert data["n_tokens"].values.tolist() == [64, 128]
    assert data.attrs["is_limit"] == 0
    assert "M = 300 tokens" in data.attrs["title"]
    assert np.isnan(data["error"].sel(quantity="transport").values).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activation", "rleu"], "did you mean 'relu'"),
        (["--beta", "-1"], "beta must be a finite number >= 0"),
        (["--replicas", "1"], "n_replicas must be an integer >= 2"),
        (["--x0", "missing.npy"], "missing.npy must be a .npy or .npz file"),
        (["--normalize"], "--normalize needs --x0"),
        (["--dim", "1"], "dim must be an integer >= 2"),
        (["--nodes", "3"], "n_nodes must be at least 4"),
        (["--value-scale", "0", "--study", "limits"], "--study limits needs attention"),
        (["--threads", "0"], "--threads must be an integer >= 1"),
        (["--seed", "-3"], "--seed must be an integer >= 0"),
        (["--depth", str(10**18)], "--depth must be at most 1000000000"),
        (["--threads", str(2**31)], "--threads must be at most 1000000000"),
        (["--nodes", str(10**9)], "and this machine has"),
        (["--dim", str(10**9)], "--dim must be at most 1000000"),
        (["--dim", "2", "-1"], "dim must be an integer >= 2"),
    ],
)
def test_bad_arguments_exit_with_2(tmp_path, capsys, arguments, message):
    assert main(["chaos", *SMALL, "--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_unknown_option_exits_with_2():
    with pytest.raises(SystemExit) as info:
        main(["chaos", "--no-such-option"])
    assert info.value.code == 2


def test_module_and_info():
    done = subprocess.run([sys.executable, "-m", "chaosphere", "info"], capture_output=True, text=True, check=True)
    for word in ("chaosphere", cs.__version__, "instruction set in use", "OpenMP", "compiler"):
        assert word in done.stdout


def test_isa_is_forced_or_refused_by_the_environment():
    program = "import chaosphere; chaosphere.show_config()"
    for isa, code, text in (("baseline", 0, "baseline"), ("sse9", 1, "instruction set 'sse9' is not available here")):
        done = subprocess.run(
            [sys.executable, "-c", program], env={"CHAOSPHERE_ISA": isa}, capture_output=True, text=True, check=False
        )
        assert (done.returncode != 0) == bool(code)
        assert text in done.stdout + done.stderr


def test_missing_extra_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(
        ImportError, match=r"h5netcdf is needed here and cannot be imported: pip install h5netcdf, or .*'\.\[io\]'"
    ):
        netcdf.require()


def test_depth_width(tmp_path, capsys):
    arguments = ["--depths", "2", "4", "--widths", "4", "8", "--tokens", "5", "--refinement", "2", "--replicas", "3"]
    assert main(["depth-width", *arguments, "--out", str(tmp_path)]) == 0
    assert "exponent of the mean square in width m" in capsys.readouterr().out
    first = netcdf.load(tmp_path / "depth-width.nc")["mean_square"].values
    assert first.shape == (3, 3, 3)
    assert main(["depth-width", *arguments, "--replicas", "4", "--out", str(tmp_path), "--json"]) == 0
    assert len(strict_json(capsys.readouterr().out)) == 3
    assert np.array_equal(netcdf.load(tmp_path / "depth-width.nc")["mean_square"].values[:3], first)
    assert main(["depth-width", *arguments, "--widths", "--tokens", "200", "--out", str(tmp_path / "deep")]) == 0
    assert netcdf.load(tmp_path / "deep" / "depth-width.nc")["mean_square"].shape == (3, 3, 1)
    capsys.readouterr()
    assert main(["depth-width", *arguments, "--depths", "3", "4", "--out", str(tmp_path)]) == 2
    assert "depths must divide the largest, 4; got 3" in capsys.readouterr().err


TINY_MEAN_FIELD = [
    *["--horizon", "0.1", "--steps", "2", "4", "--modes", "32", "--nodes", "8", "16", "--width", "4", "--depth", "4"],
    *["--replicas", "2", "--pair-replicas", "2"],
]


def test_mean_field(tmp_path, capsys):
    assert main(["mean-field", *TINY_MEAN_FIELD, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "order in the step: density − nodes" in out
    assert "pairs over the noise: u²" in out
    data = netcdf.load(tmp_path / "mean-field.nc")
    assert data["activation"].values.tolist() == ["tanh", "relu"]
    assert data["is_kinked"].values.tolist() == [False, True]
    assert data["node_error"].shape == (2, 2, 2)
    assert data["density"].shape == (7, 721)
    assert data["path"].shape == (7, 24)
    # The periodic density has mass 1 at every time.
    np.testing.assert_allclose(data["density"].values[:, :-1].mean(axis=1), 1, rtol=0, atol=1e-12)
    assert (tmp_path / "mean-field.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert not list(tmp_path.glob("*.tmp"))


def test_mean_field_json(tmp_path, capsys):
    assert main(["mean-field", *TINY_MEAN_FIELD, "--value-scale", "0", "--out", str(tmp_path), "--json"]) == 0
    claims = strict_json(capsys.readouterr().out)
    assert len(claims) == 8
    mass = next(claim for claim in claims if "mass" in claim["quantity"])
    assert mass["measured"] == mass["expected"] == 0
    assert {claim["expected"] for claim in claims[:2]} == {1.0, 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "3", "4"], "n_steps must divide the last, 4; got 3"),
        (["--nodes", "16", "8"], "n_nodes must be at least two increasing integers, got [16, 8]"),
        (["--steps", "4"], "n_steps must be at least two increasing integers, got [4]"),
        (["--modes", "4"], "n_modes must be an integer >= 8, got 4"),
        (["--pair-replicas", "1"], "n_replicas must be an integer >= 2"),
        (["--horizon", "0"], "horizon must be a finite number > 0"),
    ],
)
def test_mean_field_bad_arguments(tmp_path, capsys, arguments, message):
    assert main(["mean-field", *TINY_MEAN_FIELD, *arguments, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_sync(tmp_path, capsys):
    arguments = ["--activations", "sigmoid", "tanh", "--tokens", "6", "--width", "8", "--depth", "60", "--horizon", "6"]
    assert main(["sync", *arguments, "--replicas", "3", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "applies: λ̄" in out
    assert "does not apply" in out
    data = netcdf.load(tmp_path / "sync.nc")
    assert np.isfinite(data["pair_equation"]).all()
    assert (tmp_path / "sync.png").exists()


def test_table_1_prints_the_paper_s_rows(tmp_path, capsys):
    assert main(["table", "1", "--out", str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(rows) == 24
    printed = {(row[0], row[1], row[2]): [float(value) for value in row[3:]] for row in rows}
    # Rows of Table 1 of arXiv:2604.26898 as printed there.
    assert printed["relu", "64", "0.1"] == [2.28e-2, 7.81e-3, -4.80e-1, -8.99e-1]
    assert printed["sigmoid", "5", "0"] == [2.61e-1, 1.14e-2, -5.11e-1, -4.77e-1]
    assert printed["tanh", "64", "0.1"] == [3.44e-2, 1.49e-2, -6.29e-1, -1.16]


@pytest.mark.parametrize("number", [pytest.param("1", marks=pytest.mark.slow), "6"])
def test_figures(tmp_path, capsys, number):
    assert main(["figure", number, "--out", str(tmp_path)]) == 0
    assert (tmp_path / f"figure-{number}.png").exists()
    data = netcdf.load(tmp_path / f"figure-{number}.nc")
    if number == "1":
        assert data["x"].shape == (2, 6, 64, 4)
    else:
        # Without noise the energy falls under attraction and cannot fall under repulsion.
        energy = data["energy"].isel(replica=0, bias_std=0)
        assert (energy.sel(value_scale=1.0).isel(time=-1) < 0.2).all()
        assert (energy.sel(value_scale=-1.0).diff("time") > -1e-12).all()
        assert np.isnan(data["bound"]).all()
    capsys.readouterr()
    assert main(["figure", number, "--json", "--out", str(tmp_path)]) == 0  # of the file that is there
    claims = strict_json(capsys.readouterr().out)
    assert len(claims) >= 5
    assert {claim["verdict"] for claim in claims} == {"agrees"}
    assert all(claim["low"] <= claim["measured"] <= claim["high"] for claim in claims)
    assert main(["figure", number, "--seed", "1", "--out", str(tmp_path)]) == 2
    assert 'seed is "0", not "1"' in capsys.readouterr().err
    assert main(["figure", "1", "--replicas", "3", "--out", str(tmp_path)]) == 2
    assert "--replicas is for figures 2 to 6" in capsys.readouterr().err


def test_figure_2_small():
    from chaosphere.experiments import paper

    data = paper.figure(2, rng=0, dims=[5], depth=10, width=16, n_replicas=2)
    assert data["energy"].shape == (1, 2, 3, 11, 2)
    assert np.isfinite(data["pair_equation"]).all()
    with pytest.raises(ValueError, match=r"number must be one of 2 … 6, got 7"):
        paper.figure(7, rng=0)


TINY_SYNC = ["--activations", "tanh", "--tokens", "4", "--width", "4", "--depth", "4", "--horizon", "1"]
TINY_TABLE = ["--activations", "relu", "--dims", "5", "--bias-std", "0"]
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
        names = {"figure": "figure-6", "table": "table-1"}
        (out / f"{names.get(arguments[0], arguments[0])}.png").mkdir(parents=True)
    for name in ("chaos", "depth_width", "mean_field", "synchronization"):
        monkeypatch.setattr(f"chaosphere.experiments.{name}.run", work)
    for name in ("figure", "figure_1", "table"):
        monkeypatch.setattr(f"chaosphere.experiments.paper.{name}", work)
    assert main([*arguments, "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "--out: " in message
    assert "cannot be written" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("arguments", [EVERY_EXPERIMENT[k] for k in (0, 1, 2, 3, 5)], ids=lambda args: args[0])
def test_a_file_of_another_study_is_refused_and_one_of_the_same_is_not(tmp_path, capsys, arguments):
    other = {"table": ["--bias-std", "0.1"]}.get(arguments[0], ["--beta", "2"])
    word = {"table": "bias_stds is [0.0], not [0.1]"}
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


def test_every_file_of_chaos_is_checked_before_the_first_study_runs(tmp_path, capsys):
    netcdf.save(xarray.Dataset(attrs={"identity": '{"horizon": 7.0}'}), tmp_path / "chaos-limits.nc")
    assert main(["chaos", *TINY, "--study", "rates", "limits", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "chaos-limits.nc holds another study" in message
    assert "horizon is 7.0, not 1.0" in message
    assert not (tmp_path / "chaos.nc").exists()


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


def test_sync_without_a_claim(tmp_path, capsys):
    assert main(["sync", *TINY_SYNC, "--replicas", "2", "--out", str(tmp_path)]) == 0
    assert "no claims" in capsys.readouterr().out


def test_the_band_of_sync_says_where_it_ends(tmp_path, capsys):
    arguments = ["--activations", "sigmoid", "--tokens", "6", "--width", "8", "--depth", "80", "--horizon", "20"]
    assert main(["sync", *arguments, "--replicas", "8", "--out", str(tmp_path)]) == 0
    data = netcdf.load(tmp_path / "sync.nc").isel(activation=0)
    end, has_band = float(data["band_end"]), np.isfinite(data["energy_low"].values)
    assert 0 < end < 20
    assert np.array_equal(has_band, data["time"].values <= end)
    assert (
        f"fewer than 2 of 8 replicas carry the mean (R exp(−s²), s² the variance of log E): at time sigmoid {end:g}"
        in (capsys.readouterr().out)
    )


def run_command(shell, *, folder, **environment):
    """Run a shell's command line in which $CS is the command; closed streams are closed before Python starts."""
    command = f"{sys.executable} -m chaosphere"
    return subprocess.run(
        ["bash", "-c", shell],
        env={**os.environ, "CS": command, **environment},
        cwd=folder,
        capture_output=True,
        check=False,
    )


TABLE = "$CS table 1 --activations relu --dims 5"


@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&-", "1>&- 2>&-"])
def test_closed_streams(tmp_path, closed):
    done = run_command(f"{TABLE} --json --out o {closed}", folder=tmp_path)
    assert done.returncode == 0
    if "1>" not in closed:
        assert len(strict_json(done.stdout)) == 4
    assert netcdf.load(tmp_path / "o" / "table-1.nc")["kappa"].shape == (1, 1, 2)
    assert (tmp_path / "o" / "table-1.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize("command", ["$CS chaos --help", f"{TABLE} --out o", "$CS run one.toml --dry-run"])
def test_narrow_encodings(tmp_path, encoding, command):
    (tmp_path / "one.toml").write_text("title = 'β ≤ 1'\n" + STUDY)
    done = run_command(command, folder=tmp_path, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"\\u03" in done.stdout  # a Greek letter


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
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=other, check=True)
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


def test_token_files_that_are_damaged_or_bombs_are_refused(tmp_path, capsys):
    good = tmp_path / "x.npz"
    np.savez_compressed(good, x=cs.sample_uniform(50, 3, rng=0))
    content, bad, generator = good.read_bytes(), tmp_path / "bad.npz", np.random.default_rng(0)
    arguments = ["chaos", "--tokens", "8", "16", "--out", str(tmp_path / "out"), "--x0", str(bad)]
    for _ in range(40):
        at = int(generator.integers(len(content)))
        bad.write_bytes(content[: at // 2] if generator.random() < 0.3 else content[:at] + b"\xff" + content[at + 1 :])
        try:
            tokens = token_file.read(bad, is_normalized=False)
        except ValueError as error:
            assert "bad.npz must be" in str(error)  # noqa: PT017
        else:
            assert np.array_equal(tokens, cs.sample_uniform(50, 3, rng=0))
    np.savez_compressed(bad, x=np.zeros((10**7, 3)))
    assert main(arguments) == 2
    assert "it would unpack to 0.24 GB" in capsys.readouterr().err
