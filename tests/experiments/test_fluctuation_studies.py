"""The study of fluctuations: what it measures, resuming, and bad arguments."""

import numpy as np
import pytest
from support.commands import strict_json

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.experiments import fluctuations
from chaosphere.reporting import netcdf

MLP = cs.MLP(width=32, activation="tanh", bias_std=0.3)
NETWORK = cs.Transformer(attention=cs.SoftmaxAttention(beta=2.0), mlp=MLP, depth=6, horizon=1.0)
LAW = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
CASE = fluctuations.Case(name="d = 2", model=NETWORK, law=LAW, n_nodes=64)
SMALL = {"rng": 0, "tokens": [32, 64], "n_samples": 6400}


def test_variances_and_laws():
    """Null: the ratio is 1 up to 3 % at N = 64; 4 replicas of 100 systems, 5.5 standard errors."""
    data = fluctuations.run([CASE], n_replicas=4, **SMALL)
    n_components = 4 * 100 * 2
    assert data["deviation"].dims == ("case", "replica", "n_tokens", "system", "component")
    assert np.isfinite(data["deviation"].values[0, 0, 0]).sum() == 200 * 2
    assert 0 < data["node_error"].values.max() < 0.01
    ratio = float(data["ratio"].sel(n_tokens=64).mean())
    assert abs(ratio - 1) < 0.03 + 5.5 * np.sqrt(2 / n_components)
    variance, law = fluctuations.claims(data)
    assert variance.measured == pytest.approx(ratio, rel=1e-12)
    assert variance.expected == 1.0
    assert law.is_bound
    assert law.measured < 2.8  # beyond: 4e-7 of all seeds
    assert "N = 64" in fluctuations.table(data)


def test_a_wrong_variance_differs():
    """Deviations 1.5 times as large as predicted are refuted by both claims."""
    data = fluctuations.run([CASE], n_replicas=8, **SMALL)
    data["deviation"] *= 1.5
    data["ratio"] *= 1.5**2
    assert [claim.verdict for claim in fluctuations.claims(data)] == ["differs", "differs"]


def test_more_replicas_extend_the_stored_ones(tmp_path):
    path = tmp_path / "study.nc"
    calls = []
    first = fluctuations.run([CASE], n_replicas=2, store=path, on_step=lambda: calls.append(0), **SMALL)
    more = fluctuations.run([CASE], n_replicas=3, store=path, n_threads=1, on_step=lambda: calls.append(0), **SMALL)
    fresh = fluctuations.run([CASE], n_replicas=3, n_threads=2, **SMALL)
    np.testing.assert_array_equal(more["deviation"], fresh["deviation"])
    np.testing.assert_array_equal(more["deviation"][:, :2], first["deviation"])
    assert len(calls) == 2 + 3
    with pytest.raises(ValueError, match="holds another study"):
        fluctuations.run([CASE], n_replicas=3, store=path, **(SMALL | {"rng": 1}))


def test_dimensions_of_their_own(tmp_path):
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
    other = fluctuations.Case(name="d = 3", model=NETWORK, law=law, n_nodes=72)
    data = fluctuations.run([CASE, other], rng=0, tokens=[8], n_samples=16, n_replicas=2)
    is_there = np.isfinite(data["deviation"].values).any(axis=(1, 2, 3))
    assert is_there.tolist() == [[True, True, False], [True, True, True]]
    fluctuations.draw(data, tmp_path / "picture.png")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": [64, 32]}, "tokens"),
        ({"n_samples": 63}, "n_samples must be an integer >= 64"),
        ({"n_replicas": 1}, "n_replicas must be an integer >= 2"),
        ({"cases": []}, "cases must have different names"),
        ({"cases": [CASE, CASE]}, "cases must have different names"),
    ],
)
def test_bad_input(changes, message):
    options = {"cases": [CASE], "n_replicas": 2, **SMALL} | changes
    with pytest.raises(ValueError, match=message):
        fluctuations.run(options.pop("cases"), **options)


@pytest.mark.parametrize("kind", ["causal", "none"])
def test_attention_without_a_mask_is_needed(capsys, kind):
    arguments = ["--interaction", "causal"] if kind == "causal" else ["--value-scale", "0"]
    assert main(["chaos", "--study", "fluctuations", *arguments]) == 2
    assert "--study fluctuations needs attention without a mask" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command(tmp_path, capsys):
    assert main(["chaos", "--study", "fluctuations", "--replicas", "2", "--out", str(tmp_path), "--json"]) == 0
    claims = strict_json(capsys.readouterr().out)
    assert [claim["expected"] for claim in claims[::2]] == [1.0, 1.0]
    assert netcdf.load(tmp_path / "chaos-fluctuations.nc")["ratio"].shape == (2, 2, 3)
    assert (tmp_path / "chaos-fluctuations.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
