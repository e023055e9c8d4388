"""`chaosphere run FILE`: the file's errors, the plan, the executors, resuming, the picture."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.ensembles import study, study_file
from chaosphere.reporting import netcdf

ROOT = Path(__file__).parents[2]
GOOD = """
title = "A study"
[model]
type = "transformer"
depth = 4
horizon = 1.0
[model.attention]
value_scale = -1.0
[model.mlp]
width = 8
activation = "sigmoid"
[tokens]
n_tokens = 6
law = "uniform"
dim = 3
[sweep]
"attention.beta" = [0.5, 4.0]
noise_scale = { from = 1.0, to = 2.0, count = 3 }
[observe.energy]
measure = "energy"
beta = 1.0
[observe.met]
measure = "pair_fraction"
above = 0.5
[run]
replicas = 5
first_seed = 10
save_at = [0.0, 0.5, 1.0]
executor = "none"
[picture]
value = "met"
x = "beta"
y = "noise_scale"
critical = true
"""


def written(tmp_path, text=GOOD, **replaced):
    """The file, with each `old = "new"` line replaced; None removes it."""
    for old, new in replaced.items():
        assert re.search(rf"^{old} = .*\n", text, flags=re.MULTILINE), old
        text = re.sub(rf"^{old} = .*\n", "" if new is None else f"{old} = {new}\n", text, flags=re.MULTILINE)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


def test_a_study_runs_and_resumes(tmp_path, capsys):
    path, out = written(tmp_path), tmp_path / "out"
    assert main(["run", str(path), "--out", str(out), "--threads", "1"]) == 0
    printed, errors = capsys.readouterr()
    assert "30 runs; means over 5 replicas at time 1" in printed
    assert "energy at beta = 0.5, noise_scale = 1" in printed
    assert errors == f"wrote {out / 'small.nc'} and {out / 'small.png'}\n"  # no bar where there is no terminal
    data = netcdf.load(out / "small.nc")
    assert data["met"].dims == ("beta", "noise_scale", "replica", "time")
    assert data["noise_scale"].values.tolist() == [1.0, 1.5, 2.0]
    assert data["met"].attrs["long_name"] == "pair fraction (above 0.5)"
    assert data["seed"].values.tolist() == [10, 11, 12, 13, 14]
    assert (out / "small.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    before = (out / "small.zarr" / "energy" / "0.0.0.0").stat().st_mtime_ns
    assert main(["run", str(path), "--out", str(out), "--json"]) == 0
    claims = json.loads(capsys.readouterr().out)
    assert len(claims) == 12
    assert claims[0]["quantity"] == "energy at beta = 0.5, noise_scale = 1"
    assert claims[0]["low"] < claims[0]["measured"] < claims[0]["high"]
    assert (out / "small.zarr" / "energy" / "0.0.0.0").stat().st_mtime_ns == before
    assert main(["run", str(path), "--out", str(out), "--seed", "3"]) == 2
    assert "holds another study: seeds is [10, 11, 12, 13, 14], not [3, 4, 5, 6, 7]" in capsys.readouterr().err


def test_the_number_of_tokens_may_be_swept(tmp_path, capsys):
    text = GOOD
    for old, new in {
        '"attention.beta" = [0.5, 4.0]': "n_tokens = { from = 2, to = 8, count = 3 }",
        'x = "beta"': 'x = "n_tokens"',
        "n_tokens = 6\n": "",
        "value_scale = -1.0": "value_scale = -1.0\nbeta = 1.0",
    }.items():
        assert old in text
        text = text.replace(old, new)
    path, out = written(tmp_path, text, noise_scale="[1.0, 2.0]"), tmp_path / "out"
    assert main(["run", str(path), "--dry-run"]) == 0
    assert "steps  120, of 2 … 8 tokens in dimension 3" in capsys.readouterr().out
    assert main(["run", str(path), "--out", str(out), "--threads", "1"]) == 0
    assert "energy at n_tokens = 8, noise_scale = 2" in capsys.readouterr().out
    with netcdf.load(out / "small.nc") as data:
        assert data["energy"].dims[:2] == ("n_tokens", "noise_scale")
        alone = study_file.read(path).model(noise_scale=2.0)
        x = cs.laws.Uniform(dim=3).sample(5, rng=12)
        energy = {"energy": cs.measures.Energy(beta=1.0)}
        expected = cs.simulate(alone, x, rng=12, save_at=[0.0, 0.5, 1.0], observe=energy).observables["energy"]
        np.testing.assert_array_equal(data["energy"].sel(n_tokens=5, noise_scale=2.0)[2], expected)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"attention.beta" = [0.5, 4.0]', "n_tokens = [2, 4]", r"\[sweep\] n_tokens must not be given in \[tokens\]"),
        (
            '"attention.beta" = [0.5, 4.0]\n',
            "n_tokens = [2, 4.5]\n",
            r"\[sweep\] n_tokens must be an integer >= 1, got 4.5",
        ),
    ],
)
def test_bad_numbers_of_tokens(tmp_path, capsys, old, new, message):
    path = written(tmp_path, GOOD.replace(old, new))
    assert main(["run", str(path)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_its_members_are_plain_runs(tmp_path):
    loaded = study_file.read(written(tmp_path))
    data = study.run(loaded, store=tmp_path / "s.zarr")
    model = cs.Transformer(
        attention=cs.SoftmaxAttention(beta=4.0, value_scale=-1.0),
        mlp=cs.MLP(width=8, activation="sigmoid"),
        depth=4,
        horizon=1.0,
        noise_scale=1.5,
    )
    x = cs.sample_uniform(6, 3, rng=12)
    sol = cs.simulate(model, x, rng=12, save_at=[0, 0.5, 1], observe={"energy": cs.measures.Energy(beta=1.0)})
    member = data["energy"].sel(beta=4.0, noise_scale=1.5).isel(replica=2)
    assert np.array_equal(member, sol.observables["energy"])


def test_executors_of_the_file(tmp_path):
    """In processes of their own, as they start from a shell; named in the file, and by the command line."""
    outputs = []
    for kind, more in (("none", []), ("dask", []), ("none", ["--executor", "processes", "--workers", "2"])):
        text = GOOD if kind == "none" else GOOD.replace('executor = "none"', f'executor = "{kind}"\nworkers = 2')
        path = written(tmp_path, text)
        arguments = ["run", path, "--json", "--out", tmp_path / str(len(outputs)), *more]
        done = subprocess.run(
            [sys.executable, "-m", "chaosphere", *arguments], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_dask_cluster_that_is_there_already(tmp_path, capsys):
    """Scheduler and workers from the shell, as docs/howto/many-machines.md starts them."""
    with contextlib.ExitStack() as stack:
        common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        file, dask = tmp_path / "scheduler.json", [sys.executable, "-m", "dask"]
        scheduler = [*dask, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", file]
        for command in (scheduler, [*dask, "worker", "--nthreads", "1", "--no-dashboard", "--scheduler-file", file]):
            process = stack.enter_context(subprocess.Popen(command, **common))
            stack.callback(process.terminate)
            deadline = time.monotonic() + 60
            while not file.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
        path, address = written(tmp_path), json.loads(file.read_text())["address"]
        more = ["--executor", "dask", "--scheduler", address]
        assert main(["run", str(path), "--json", "--out", str(tmp_path / "dask"), *more]) == 0
    printed = capsys.readouterr().out
    assert main(["run", str(path), "--json", "--out", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "--workers and --scheduler need --executor"),
        (["--executor", "mpi", "--workers", "2"], "workers is for executor 'processes'"),
        (["--executor", "processes", "--workers", "0"], "workers must be an integer >= 1, got 0"),
        (["--executor", "none", "--scheduler", "tcp://a:1"], "scheduler is for executor 'dask'"),
        (["--threads", "0"], "threads must be an integer >= 1, got 0"),
        (["--seed", "-1"], "--seed must be an integer >= 0, got -1"),
    ],
)
def test_bad_options(tmp_path, capsys, arguments, message):
    assert main(["run", str(written(tmp_path)), "--dry-run", *arguments]) == 2
    assert message in capsys.readouterr().err


LONG = GOOD.replace("depth = 4", "depth = 200").replace("n_tokens = 6", "n_tokens = 200").replace("= 3 }", "= 6 }")


def session(leader):
    """The commands of the processes in a session that have not ended."""
    listed = subprocess.run(["ps", "-s", str(leader), "-o", "stat=,args="], capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if not line.startswith("Z")]


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    return study.run(study_file.read(written(folder, LONG)), store=folder / "s.zarr")


@pytest.mark.parametrize(
    ("executor", "number", "whom"),
    [
        ("none", signal.SIGTERM, os.kill),
        ("processes", signal.SIGINT, os.killpg),
        pytest.param("processes", signal.SIGTERM, os.kill, marks=pytest.mark.slow),
        ("processes", signal.SIGKILL, os.kill),
        ("dask", signal.SIGINT, os.killpg),
    ],
)
def test_a_signal_stops_with_a_message_and_the_study_resumes(tmp_path, long_run, executor, number, whom):
    """To the whole group, as a terminal sends it, or to the first process alone: no process is left."""
    path, out = written(tmp_path, LONG), tmp_path / "out"
    arguments = [sys.executable, "-m", "chaosphere", "run", path, "--out", out, "--threads", "1"]
    more = ["--executor", executor, *(["--workers", "2"] * (executor != "none"))]
    with subprocess.Popen([*arguments, *more], stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not list((out / "small.zarr" / "finished").glob("[0-9]*")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        whom(process.pid, number)
        _, errors = process.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not session(process.pid)
    part = cs.load_ensemble(out / "small.zarr")
    n_finished, checkpoints = int(part["finished"].sum()), list((out / "small.zarr.running").glob("*.npz"))
    if number != signal.SIGKILL:
        assert process.returncode == 130
        where = rf"{n_finished} of 60 runs are in {out / 'small.zarr'}, and the same call again continues from there"
        assert re.fullmatch(rf"chaosphere run: {number.name}(: stopped after step \d+ of 200)?; {where}\n", errors)
        # None if it came between two batches, one if the second worker was still starting.
        assert len(checkpoints) in {"none": (0, 1), "processes": (1, 2), "dask": (0,)}[executor]
    assert n_finished < 60
    data = study.run(study_file.read(path), store=out / "small.zarr")
    assert np.array_equal(data["energy"], long_run["energy"])
    assert not (out / "small.zarr.running").exists()


def test_mpi_without_ranks_says_how_to_start(tmp_path, capsys):
    assert main(["run", str(written(tmp_path, executor='"mpi"')), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "mpiexec -n 3 python -m mpi4py.futures -m chaosphere run FILE" in message or "pip install mpi4py" in message


def test_dry_run_prints_the_plan_and_runs_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(written(tmp_path)), "--out", str(out), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    rows = dict(re.findall(r"^ +(\S.*?)  (.*)$", printed, flags=re.MULTILINE))
    assert rows["parameter points"] == "2 beta × 3 noise_scale"
    assert rows["runs"] == "30 (5 replicas, seeds 10 … 14)"
    assert rows["steps"] == "120, of 6 tokens in dimension 3"
    assert rows["pair interactions"] == f"{120 * 36:.3g}"
    assert rows["results"] == f"{30 * 3 * 2 * 8:,} bytes: energy, met at 3 times"
    assert re.fullmatch(r"[\d.]+ s|\d+ min", rows["estimated time"])
    assert not out.exists()


def test_memory_limit(tmp_path, capsys):
    text = GOOD.replace('executor = "none"', 'executor = "none"\nmemory_limit_gb = 1e-6')
    for more in ([], ["--dry-run"]):
        assert main(["run", str(written(tmp_path, text)), "--out", str(tmp_path / "out"), *more]) == 2
        assert "30 runs would take about" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"depth": "0"}, r"\[model\] depth must be an integer >= 1, got 0"),
        ({"depth": '"ten"'}, r"\[model\] depth must be an integer >= 1, got 'ten'"),
        ({"depth": None}, r"\[model\] depth must be given"),
        ({"horizon": "-1.0"}, r"\[model\] horizon must be a finite number > 0, got -1.0"),
        ({"type": '"transfomer"'}, r"\[model\] type: unknown 'transfomer'; did you mean 'transformer'\? allowed"),
        ({"type": '"limit"'}, r"\[model\] unknown key 'depth'; .*allowed: type, attention, field, horizon"),
        ({"value_scale": "inf"}, r"\[model.attention\] value_scale must be a finite number, got inf"),
        ({"width": "1.5"}, r"\[model.mlp\] width must be an integer >= 1, got 1.5"),
        ({"activation": '"sigmiod"'}, r"\[model.mlp\] .*'sigmiod'.*did you mean 'sigmoid'"),
        ({"n_tokens": "0"}, r"\[tokens\] n_tokens must be an integer >= 1, got 0"),
        ({"n_tokens": None}, r"\[tokens\] n_tokens must be given"),
        ({"law": '"unifrom"'}, r"\[tokens\] law: unknown 'unifrom'; did you mean 'uniform'\?"),
        ({"dim": "1"}, r"\[tokens\] dim must be an integer >= 2, got 1"),
        ({"dim": None}, r"\[tokens\] dim must be given"),
        ({'"attention.beta"': "[-1.0]"}, r"\[model.attention\] beta must be a finite number >= 0, got -1.0"),
        ({'"attention.beta"': '[1.0, "a"]'}, r"\[sweep\] attention.beta must be a list of numbers or of strings, got"),
        ({'"attention.beta"': "[[1.0], [2.0]]"}, r"\[sweep\] attention.beta must be a list of numbers or of strings"),
        ({'"attention.beta"': "[1.0, 1.0]"}, r"\[sweep\] attention.beta must be finite and distinct, got \[1.0, 1.0\]"),
        ({'"attention.beta"': "[1.0, nan]"}, r"\[sweep\] attention.beta must be finite and distinct"),
        (
            {"noise_scale": "[1.0, -2.0]"},
            r"\[model\] noise_scale must be .* >= 0, got -2.0 \(with \[sweep\] attention.beta = 0.5, noise_scale",
        ),
        (
            {"value_scale": "1.0\nbeta = 2.0"},
            r"\[sweep\] attention.beta must not be given in \[model.attention\] as well",
        ),
        ({"horizon": "1.0\nnoise_scale = 2.0"}, r"\[sweep\] noise_scale must not be given in \[model\] as well"),
        ({"n_tokens": "1"}, r"\[observe.met\] x must hold at least two tokens"),
        ({"n_tokens": "1000000000"}, r"memory_limit: 30 runs would take about .* GB here.*; take fewer tokens"),
        ({"law": '"von-mises-fisher"\nmean_direction = "z"', "dim": None}, r"\[tokens\] concentration must be given"),
        (
            {"law": '"von-mises-fisher"\nmean_direction = "z"\nconcentration = 1.0', "dim": None},
            r"\[tokens\] mean_direction must be d numbers, got 'z'",
        ),
        ({"save_at": "[true]"}, r"\[run\] save_at must be a real number, got True"),
        ({"save_at": "[[0.5]]"}, r"\[run\] save_at must be a real number, got \[0.5\]"),
        ({"save_at": "1.0"}, r"\[run\] save_at must be a list or \{from"),
        ({"first_seed": str(2**63 - 1)}, r"\[run\] first_seed must be below 2\*\*63 less the replicas"),
        ({'"attention.beta"': "[]"}, r"\[sweep\] attention.beta must not be empty"),
        ({'"attention.beta"': "3"}, r"\[sweep\] attention.beta must be a list or \{from"),
        ({"noise_scale": "{ from = 1.0, to = 2.0 }"}, r"\[sweep\] noise_scale.count must be given"),
        ({"noise_scale": "{ form = 1.0, count = 2 }"}, r"noise_scale: unknown key 'form'; did you mean 'from'"),
        ({"noise_scale": '{ from = 0, to = 2, count = 2, scale = "log" }'}, r"noise_scale.from must be .* > 0"),
        ({"noise_scale": '{ from = 1, to = 2, count = 2, scale = "lin" }'}, r"scale: unknown 'lin'.*linear, log"),
        ({"noise_scale": "{ from = 1, to = 2, count = 0 }"}, r"noise_scale.count must be an integer >= 1"),
        (
            {"measure": '"enrgy"'},
            r"\[observe.energy\] measure: unknown 'enrgy'; did you mean 'energy'\? allowed: energy",
        ),
        ({"beta": "-1.0"}, r"\[observe.energy\] beta must be a finite number > 0"),
        ({"above": None}, r"\[observe.met\] above must be given"),
        ({"above": "2.0"}, r"\[observe.met\] above must be a finite number >= -1 and <= 1"),
        ({"replicas": "0"}, r"\[run\] replicas must be an integer >= 1, got 0"),
        ({"replicas": None}, r"\[run\] replicas must be given"),
        ({"first_seed": "-1"}, r"\[run\] first_seed must be an integer >= 0"),
        ({"save_at": "[0.5, 0.1]"}, r"\[run\] save_at must increase within \[0, 1\], got \[0.5, 0.1\]"),
        ({"save_at": "[0.5, 2.0]"}, r"\[run\] save_at must increase within \[0, 1\]"),
        ({"executor": '"slurm"'}, r"\[run\] executor: unknown 'slurm'; allowed: none, processes, dask, mpi"),
        ({"executor": '"none"\nworkers = 2'}, r"workers is for executor 'processes'"),
        ({"executor": '"processes"\nworkers = 0'}, r"\[run\] workers must be an integer >= 1"),
        ({"executor": '"none"\nthreads = 0'}, r"\[run\] threads must be an integer >= 1"),
        ({"executor": '"none"\nscheduler = "tcp://a:1"'}, r"scheduler is for executor 'dask'"),
        ({"executor": '"dask"\nscheduler = 3'}, r"\[run\] scheduler must be a string"),
        ({"executor": '"none"\nmemory_limit_gb = 0'}, r"\[run\] memory_limit_gb must be a finite number > 0"),
        ({"executor": '"none"\nexecuter = 0'}, r"\[run\] unknown key 'executer'; did you mean 'executor'\?"),
        ({"value": '"metal"'}, r"\[picture\] value: unknown 'metal'; did you mean 'met'\? allowed: energy, met"),
        ({"x": '"betta"'}, r"\[picture\] x: unknown 'betta'; did you mean 'beta'\? allowed: time, beta, noise_scale"),
        ({"y": '"beta"'}, r"\[picture\] y: unknown 'beta'"),
        ({"y": '"time"'}, r"\[picture\] x and y must leave .* left over: noise_scale"),
        ({"critical": "3"}, r"\[picture\] critical must be true or false"),
        ({"title": "3"}, r"title must be a string"),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(tmp_path, capsys, replaced, message):
    assert main(["run", str(written(tmp_path, **replaced)), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "small.toml: " in error or "memory_limit" in error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[model]", "[modell]", r"unknown key 'modell'; did you mean 'model'\? allowed: title, model, tokens"),
        ('"attention.beta"', '"attention.beat"', r"\[sweep\] unknown parameter 'attention.beat'; did you mean"),
        ('"attention.beta"', "attention.beta", r"attention must be a list or \{from, to, count\}; write dotted names"),
        ("[observe.met]", "[observe]\nmet = 3\n[observe.other]", r"observe.met must be a table"),
        ("noise_scale = {", '"mlp.noise_scale" = {', r"\[sweep\] unknown parameter 'mlp.noise_scale'"),
        ("[model.mlp]", "[model.attention.mlp]", r"\[model.attention\] unknown key 'mlp'; allowed: beta"),
        ("[run]", "[run", "not a TOML file"),
        ("depth = 4", "depth = 4\ndepth = 5", "not a TOML file: Cannot overwrite a value"),
        ("[run]", "[runs]", r"unknown key 'runs'; did you mean 'run'\?"),
        ("[sweep]", "[[sweep]]", r"sweep must be a table, \[sweep\], got"),
        ('"attention.beta"', '"beta"', r"\[sweep\] unknown parameter 'beta'; did you mean 'attention.beta'\?"),
        (
            "[observe.met]",
            "[observe.time]",
            r"names other than replica, time, seed, finished and without /, got 'time'",
        ),
        ("[observe.met]", "[observe.beta]", r"sweep and observe must not share names, got \['beta'\]"),
        (GOOD, "", r"a table \[tokens\] must be given"),
        (
            '[model.mlp]\nwidth = 8\nactivation = "sigmoid"\n',
            "",
            r"\[picture\] critical needs a model with attention.value_scale and an mlp",
        ),
        ("[picture]", "[picture]\ncolour = 1", r"\[picture\] unknown key 'colour'; allowed: value, x, y, critical"),
    ],
)
def test_errors_of_structure(tmp_path, capsys, old, new, message):
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    assert main(["run", str(path)]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (GOOD, "a = " + "[" * 1000 + "]" * 1000, "not a study: its values are nested too deeply"),
        ("depth = 4\n", "depth = 1000000000000000000\n", r"\[model\] depth must be an integer <= 9007199254740992"),
        ("depth = 4\n", "depth = 1000000000000000\n", r"memory_limit: 30 runs would take about"),
        ("count = 3", "count = 10000000000", r"\[sweep\] noise_scale.count must be at most 100000, got 10000000000"),
        ("replicas = 5", "replicas = 100000000", r"memory_limit: 600000000 runs would take about"),
        (
            '"none"',
            '"none"\nmemory_limit_gb = 1e308',
            r"\[run\] memory_limit_gb must be a finite number > 0 and <= 1e\+09",
        ),
        ('"none"', '"none"\nthreads = 2147483648', r"threads must be at most 2147483647, got 2147483648"),
        ('"processes"', '"processes"\nworkers = 100000', r"workers must be at most 1024, got 100000"),
        ("[observe.met]", '[observe.".zarray"]', r"a name in observe must be a printable name .* got '.zarray'"),
        ("[observe.met]", '[observe."a\\\\b"]', r"a name in observe must be a printable name"),
        (
            "[observe.met]",
            "[observe.energy_mean]",
            r"'energy_mean' is observe\['energy_mean'\] and the mean of observe",
        ),
        ("A study", "$\\\\frac{a$", r"title must be text that can be drawn, with formulas .*, got '\$.*Expected"),
        ("A study", "a\\u0000b", r"title must be Unicode text without null characters, got 'a\\x00b'"),
    ],
)
def test_what_is_out_of_all_proportion_is_refused_at_once(tmp_path, capsys, old, new, message):
    """Before memory is asked for, a worker started, or an output found out not to be writable at the end."""
    text = GOOD.replace("save_at = [0.0, 0.5, 1.0]\n", "") if old.startswith("depth") else GOOD
    text = text.replace('"none"', '"processes"') if "processes" in old else text
    path = tmp_path / "small.toml"
    path.write_text(text.replace(old, new))
    assert text.replace(old, new) != text
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("title", ["costs 5 $", r"a \\$ b \\$", "E at $\\\\beta_{1}$", "two\\nlines of $x$"])
def test_titles_that_can_be_drawn(tmp_path, title):
    assert study_file.read(written(tmp_path, GOOD.replace("A study", title))).picture is not None


def test_a_link_to_a_study_has_its_own_name(tmp_path):
    written(tmp_path, GOOD)
    (tmp_path / "other.toml").symlink_to("small.toml")
    assert study_file.read(tmp_path / "other.toml").name == "other"
    with pytest.raises(ValueError, match=r"file must be a path on this machine, got the URL"):
        study_file.read("https://example.org/a.toml")


def test_every_key_of_the_file_was_driven():
    """Whatever `GOOD` holds is in a test of errors above, so that a new key needs one."""
    content, keys = tomllib.loads(GOOD), set()

    def collect(table):
        for key, value in table.items():
            if isinstance(value, dict) and "from" not in value:
                collect(value)
            else:
                keys.add(key)

    collect(content)
    marks = test_errors_name_the_key_and_what_is_allowed.pytestmark[0].args[1]
    assert keys <= {key.strip('"') for replaced, _ in marks for key in replaced}


def test_missing_file(tmp_path, capsys):
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_limit_model_and_lines(tmp_path):
    text = """
[model]
type = "limit"
n_steps = 5
horizon = 1.0
scheme = "heun"
[model.attention]
beta = 1.0
[model.field]
bias_std = 0.3
tolerance = 0.01
[tokens]
n_tokens = 5
law = "von-mises-fisher"
mean_direction = [1.0, 0.0, 0.0]
concentration = 5.0
[sweep]
"field.activation" = ["tanh", "relu"]
[observe.order_parameter]
[run]
replicas = 3
[picture]
value = "order_parameter"
x = "time"
"""
    path = tmp_path / "lines.toml"
    path.write_text(text)
    loaded = study_file.read(path)
    data = study.run(loaded, store=tmp_path / "s.zarr")
    assert data["order_parameter"].sizes == {"activation": 2, "replica": 3, "time": 6}
    assert data["activation"].values.tolist() == ["tanh", "relu"]
    study.draw(loaded, data, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    path.write_text(text.replace('x = "time"', 'x = "activation"'))
    study.draw(study_file.read(path), data, tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 10_000


def test_critical_line_is_the_theory_s(tmp_path):
    loaded = study_file.read(written(tmp_path))
    exponent = cs.MLP(width=8, activation="sigmoid").kernel(3).lyapunov_exponent()
    assert study.critical_noise_scale(loaded, "beta") == pytest.approx((-1 / exponent) ** 0.5)
    attract = study_file.read(written(tmp_path, value_scale="1.0"))
    assert np.isnan(study.critical_noise_scale(attract, "beta")).all()


@pytest.mark.parametrize("name", ["sync_phase", "attention_phase"])
def test_examples(tmp_path, capsys, name):
    """The examples as they are, with fewer and shorter runs."""
    text = (ROOT / "examples" / f"{name}.toml").read_text()
    path = tmp_path / f"{name}.toml"
    text = re.sub(r"replicas = \d+", "replicas = 2", text)
    text = re.sub(r"depth = \d+", "depth = 20", text)
    path.write_text(re.sub(r"count = (9|13|40)", "count = 3", text))
    assert main(["run", str(path), "--dry-run"]) == 0
    assert main(["run", str(path), "--out", str(tmp_path), "--threads", "1"]) == 0
    assert (tmp_path / f"{name}.png").exists()
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.24, "1.2 s"), (100, "2 min"), (3600, "1 h 0 min"), (9000, "2 h 30 min")]
)
def test_duration(seconds, text):
    assert study.duration(seconds) == text


def test_pair_fraction():
    x = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [1.0, 0.0]])
    assert cs.measures.pair_fraction(x, 1.0) == 1 / 6
    assert cs.measures.pair_fraction(x, 0.5) == 3 / 6
    assert cs.measures.pair_fraction(x, -1.0) == 1.0
    y = cs.sample_uniform(700, 5, rng=0)  # more rows than one block holds
    upper = np.triu_indices(700, k=1)
    assert cs.measures.pair_fraction(y, 0.3) == ((y @ y.T)[upper] >= 0.3).mean()
    with pytest.raises(ValueError, match="at least two tokens"):
        cs.measures.pair_fraction(x[:1], 0.5)
    with pytest.raises(ValueError, match="above must be a finite number >= -1 and <= 1"):
        cs.measures.pair_fraction(x, 1.5)


def test_a_byte_order_mark_is_no_part_of_a_study(tmp_path):
    plain, marked = tmp_path / "plain.toml", tmp_path / "marked.toml"
    plain.write_text(GOOD, encoding="utf-8")
    marked.write_text(GOOD, encoding="utf-8-sig")
    assert marked.read_bytes().startswith(b"\xef\xbb\xbf")
    studies = [study_file.read(path) for path in (plain, marked)]
    for name in ("law", "n_tokens", "sweep", "observe", "picture", "title"):
        assert getattr(studies[0], name) == getattr(studies[1], name)
