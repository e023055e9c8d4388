"""`chaosphere run FILE`: results on every executor, resuming, the plan, the picture."""

import contextlib
import dataclasses
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.programs import finished, started
from support.studies import GOOD, written

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.ensembles import study, study_file
from chaosphere.plot import style
from chaosphere.reporting import netcdf

ROOT = Path(__file__).parents[2]


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


@pytest.mark.slow
def test_executors_of_the_file(tmp_path):
    """In processes of their own, as they start from a shell; named in the file, and by the command line."""
    outputs = []
    for kind, more in (("none", []), ("dask", []), ("none", ["--executor", "processes", "--workers", "2"])):
        text = GOOD if kind == "none" else GOOD.replace('executor = "none"', f'executor = "{kind}"\nworkers = 2')
        path = written(tmp_path, text)
        arguments = ["run", path, "--json", "--out", tmp_path / str(len(outputs)), *more]
        done = finished([sys.executable, "-m", "chaosphere", *arguments])
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.slow
def test_a_dask_cluster_that_is_there_already(tmp_path, capsys):
    """Scheduler and workers from the shell, as docs/howto/many-machines.md starts them."""
    with contextlib.ExitStack() as stack:
        processes, common = [], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        file, dask = tmp_path / "scheduler.json", [sys.executable, "-m", "dask"]
        scheduler = [*dask, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", file]
        for command in (scheduler, [*dask, "worker", "--nthreads", "1", "--no-dashboard", "--scheduler-file", file]):
            processes.append(stack.enter_context(started(command, **common)))
            deadline = time.monotonic() + 60
            while not file.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
        path, address = written(tmp_path), json.loads(file.read_text())["address"]
        more = ["--executor", "dask", "--scheduler", address]
        assert main(["run", str(path), "--json", "--out", str(tmp_path / "dask"), *more]) == 0
        for process in reversed(processes):  # which removes its files before it ends
            process.terminate()
            process.wait()
    printed = capsys.readouterr().out
    assert main(["run", str(path), "--json", "--out", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == printed


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
    assert re.fullmatch(r"[\d.]+ m?s|\d+ min", rows["estimated time"])
    assert not out.exists()


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


def test_a_study_of_unnormalised_attention(tmp_path):
    text = GOOD.replace("value_scale = -1.0", 'type = "unnormalized"\nvalue_scale = -1.0\nrescaled = true')
    loaded = study_file.read(written(tmp_path, text))
    data = study.run(loaded, store=tmp_path / "s.zarr")
    attention = cs.UnnormalizedAttention(beta=4.0, value_scale=-1.0, rescaled=True)
    model = cs.Transformer(attention=attention, mlp=cs.MLP(width=8, activation="sigmoid"), depth=4, horizon=1.0)
    x = cs.laws.Uniform(dim=3)
    alone = cs.ensemble(
        model, x, n_tokens=6, seeds=range(10, 15), observe={"e": cs.measures.Energy(beta=1.0)}, save_at=[1.0]
    )
    point = data["energy"].sel(beta=4.0, noise_scale=1.0, time=1.0)
    np.testing.assert_array_equal(point.values, alone["e"].values[:, -1])
    exponent = cs.MLP(width=8, activation="sigmoid").kernel(3).lyapunov_exponent()
    assert study.critical_noise_scale(loaded, "beta") == pytest.approx((-1 / exponent) ** 0.5)
    plain = study_file.read(written(tmp_path, text.replace("rescaled = true\n", "")))
    rates = np.exp([0.5, 4.0])
    assert study.critical_noise_scale(plain, "beta") == pytest.approx((-rates / exponent) ** 0.5)


def test_a_study_of_causal_attention(tmp_path):
    text = GOOD.replace("value_scale = -1.0", 'value_scale = -1.0\nmask = "causal"\ndecay = 2.0')
    with pytest.raises(ValueError, match=r"\[picture\] critical needs .*, without a mask"):
        study_file.read(written(tmp_path, text))
    loaded = study_file.read(written(tmp_path, text.replace("critical = true\n", "")))
    data = study.run(loaded, store=tmp_path / "s.zarr")
    attention = cs.SoftmaxAttention(beta=4.0, value_scale=-1.0, mask="causal", decay=2.0)
    model = cs.Transformer(attention=attention, mlp=cs.MLP(width=8, activation="sigmoid"), depth=4, horizon=1.0)
    x = cs.laws.Uniform(dim=3)
    alone = cs.ensemble(
        model, x, n_tokens=6, seeds=range(10, 15), observe={"e": cs.measures.Energy(beta=1.0)}, save_at=[1.0]
    )
    point = data["energy"].sel(beta=4.0, noise_scale=1.0, time=1.0)
    np.testing.assert_array_equal(point.values, alone["e"].values[:, -1])


def test_a_study_of_a_potential(tmp_path):
    """Its potential is a list of coefficients of powers."""
    text = GOOD.replace("value_scale = -1.0", 'type = "potential"\npotential = [0.0, 0.0, 0.5]\nmethod = "direct"')
    text = text.replace('"attention.beta" = [0.5, 4.0]', '"mlp.bias_std" = [0.5]').replace('"beta"', '"bias_std"')
    loaded = study_file.read(written(tmp_path, text, noise_scale="[1.0]"))
    data = study.run(loaded, store=tmp_path / "s.zarr")
    mlp = cs.MLP(width=8, activation="sigmoid", bias_std=0.5)
    attention = cs.PotentialInteraction([0.0, 0.0, 0.5], method="direct")
    model = cs.Transformer(attention=attention, mlp=mlp, depth=4, horizon=1.0)
    assert loaded.model(bias_std=0.5, noise_scale=1.0) == model
    alone = cs.simulate(model, cs.laws.Uniform(dim=3).sample(6, rng=10), rng=10)
    energy = data["energy"].sel(bias_std=0.5, noise_scale=1.0, time=1.0).values[0]
    assert energy == cs.measures.energy(alone.final, beta=1.0)
    exponent = mlp.kernel(3).lyapunov_exponent()
    strong = study_file.read(written(tmp_path, text.replace("0.5]\nmethod", "-0.5]\nmethod")))
    assert study.critical_noise_scale(strong, "bias_std")[0] == pytest.approx((-1 / exponent) ** 0.5)


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


def test_hardmax_attention_may_be_swept(tmp_path, capsys):
    """Runs at β = ∞ are stored, resumed, read back and drawn."""
    path, out = written(tmp_path, **{'"attention.beta"': "[4.0, inf]"}), tmp_path / "out"
    arguments = ["run", str(path), "--out", str(out), "--threads", "1"]
    assert main([*arguments, "--dry-run"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert "energy at beta = inf, noise_scale = 1" in [claim["quantity"] for claim in first]
    chunk = out / "small.zarr" / "energy" / "1.0.0.0"
    before = chunk.stat().st_mtime_ns
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert chunk.stat().st_mtime_ns == before
    coldest = cs.SoftmaxAttention(beta=np.inf, value_scale=-1.0)
    model = cs.Transformer(attention=coldest, mlp=cs.MLP(width=8, activation="sigmoid"), depth=4, horizon=1.0)
    alone = cs.simulate(model, cs.laws.Uniform(dim=3).sample(6, rng=10), rng=10)
    for dataset in (netcdf.load(out / "small.nc"), cs.load_ensemble(out / "small.zarr")):
        assert dataset["beta"].values.tolist() == [4.0, np.inf]
        point = dataset["energy"].sel(beta=np.inf, noise_scale=1.0, time=1.0)
        assert point.values[0] == cs.measures.energy(alone.final, beta=1.0)


def test_infinite_values_have_places_in_pictures(tmp_path, monkeypatch):
    """An axis of numbers has no place for infinity, so all values of the parameter are at 0, 1, 2 …."""
    panels = []
    monkeypatch.setattr(style, "write", lambda canvas, path: panels.append(canvas.axes[0]))
    loaded = study_file.read(written(tmp_path, **{'"attention.beta"': "[0.5, 4.0, inf]", "noise_scale": "[1.0, 2.0]"}))
    data = study.run(loaded, store=tmp_path / "s.zarr")
    for picture in (loaded.picture, study.Picture(value="met", x="beta"), study.Picture(value="met", x="noise_scale")):
        study.draw(dataclasses.replace(loaded, picture=picture), data, tmp_path / "a.png")
    for panel in panels[:2]:
        assert panel.get_xticks().tolist() == [0, 1, 2]
        assert [label.get_text() for label in panel.get_xticklabels()] == ["$0.5$", "$4$", r"$\infty$"]
    assert [text.get_text() for text in panels[2].get_legend().get_texts()] == ["$0.5$", "$4$", r"$\infty$"]
    assert panels[2].get_lines()[2].get_xdata().tolist() == [1.0, 2.0]
