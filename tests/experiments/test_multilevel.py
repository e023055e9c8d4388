"""The command estimate: its dataset, its claims, and that it continues."""

import json

import numpy as np
import pytest
from support.commands import TINY_ESTIMATE, strict_json

from chaosphere.cli.main import main
from chaosphere.ensembles import level_runs
from chaosphere.experiments.multilevel import runs
from chaosphere.reporting import netcdf


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch):
    """Coarsest levels of eight tokens."""
    monkeypatch.setattr(level_runs, "COARSEST_TOKENS", 8)


def test_the_mean_energy_without_attention_agrees(tmp_path, capsys, monkeypatch):
    command = ["estimate", *TINY_ESTIMATE, "--out", str(tmp_path), "--json"]
    assert main(command) == 0
    (claim,) = strict_json(capsys.readouterr().out)
    assert claim["verdict"] == "agrees"
    data = netcdf.load(tmp_path / "estimate.nc")
    assert data["mean"].dims == ("level",)
    assert data["pairs"].values.max() == 0
    assert json.loads(data.attrs["identity"])["tolerance"] == 0.2
    assert not list(tmp_path.glob("*.levels"))  # the samples, once they are summed
    monkeypatch.setattr(runs, "estimate", None)  # nothing is run again
    assert main(command) == 0
    assert main([*command, "--tolerance", "0.1"]) == 2
    assert "tolerance is 0.2, not 0.1" in capsys.readouterr().err


def test_it_continues_from_its_samples(tmp_path, monkeypatch):
    options = {"rng": 0, "activation": "erf", "horizon": 0.25, "n_steps": 2, "tolerance": 0.2, "field_tolerance": 0.01}
    expected, save = runs.run(**options), netcdf.save

    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(netcdf, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        runs.run(store=tmp_path / "e.nc", **options)
    assert (tmp_path / "e.nc.levels").is_dir()
    monkeypatch.setattr(netcdf, "save", save)
    monkeypatch.setattr("chaosphere.ensembles.worker.simulate", None)  # all samples are there
    assert runs.run(store=tmp_path / "e.nc", **options).equals(expected)


def test_plain_cost_of_known_levels():
    """Bias 1/N and 1/L: a quarter of 0.01 takes N = L = 400; the interval (2 · 2.5758/0.01)² samples of variance 1."""
    xarray = pytest.importorskip("xarray")
    columns = {
        "n_tokens": [64, 64, 128],
        "n_steps": [8, 16, 8],
        "mean": [0.5, 1 / 16, 1 / 128],
        "pairs": [64**2 * 8.0, 1.0, 1.0],
        "value_variance": [1.0, 1.0, 1.0],
    }
    data = xarray.Dataset({name: ("level", np.array(row)) for name, row in columns.items()}, attrs={"tolerance": 0.01})
    assert runs.plain_cost(data) == pytest.approx((2 * 2.5758 / 0.01) ** 2 * 400.0**3)
