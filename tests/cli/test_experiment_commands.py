"""Each command that runs an experiment: its table, claims, dataset and picture, and its own bad arguments."""

import functools
import json
import typing

import numpy as np
import pytest
import xarray
from support.commands import SMALL, TINY, TINY_MEAN_FIELD, TINY_SYNC, strict_json

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.experiments import cases, models
from chaosphere.experiments.chaos import token_file
from chaosphere.reporting import netcdf


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


KINDS = typing.get_args(typing.get_type_hints(models.interaction)["interaction"])


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.slow] * (kind in {"l2", "potential", "unnormalized"})) for kind in KINDS],
)
def test_chaos_of_each_interaction(tmp_path, capsys, kind):
    """Replicas of one interaction are not continued by another."""
    command = ["chaos", *TINY, "--out", str(tmp_path)]
    assert main([*command, "--interaction", kind]) == 0
    out = capsys.readouterr().out
    name = type(models.interaction(dim=2, interaction=kind)).__name__
    assert name in out.splitlines()[1]
    data = netcdf.load(tmp_path / "chaos.nc")
    assert np.isfinite(data["mean_square"].values).all()
    assert name in data.attrs["identity"]
    other = "l2" if kind == "softmax" else "softmax"
    assert main([*command, "--interaction", other]) == 2
    assert "another study" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["softmax", "l2"])
def test_regimes_switch_the_interaction_that_is_chosen(kind):
    make = functools.partial(models.interaction, interaction=kind, beta=2.0)
    model = cs.Transformer(attention=make(dim=2), mlp=cs.MLP(width=8), depth=8, horizon=1.0)
    forces = {case.name: case.model.attention for case in cases.regimes(model, make=make)}
    assert forces["attraction, noise"] == make(dim=2)
    assert forces["repulsion, no noise"] == make(dim=2, value_scale=-1.0)
    assert forces["no attention, noise"] is None
    assert forces["β = 4, T = 3"] == make(dim=2, beta=4.0)
    if kind == "softmax":
        assert {case.name: case.model.attention for case in cases.regimes(model)} == forces


@pytest.mark.slow
def test_chaos_limits_study(tmp_path, capsys):
    assert main(["chaos", "--study", "limits", "--replicas", "2", "--out", str(tmp_path), "--json"]) == 0
    claims = strict_json(capsys.readouterr().out)
    assert [claim["expected"] for claim in claims] == [-1, -1, -1, -1, 1]
    data = netcdf.load(tmp_path / "chaos-limits.nc")
    assert data["mean_square"].shape == (6, 4, 4, 4)
    assert (data["mean_square"].values[:, -1, -1, -1] == 0).all()
    assert (tmp_path / "chaos-limits.png").exists()


def test_chaos_with_own_noise(tmp_path, capsys):
    command = [
        "chaos",
        "--temperature",
        "0.3",
        "--dim",
        "3",
        "--tokens",
        "16",
        "32",
        "--steps",
        "4",
        "--horizon",
        "0.2",
    ]
    assert main([*command, "--replicas", "3", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "d = 3, own noise: exponent of E max_t |X − X̄|²" in out
    assert "d = 3, own and common noise: exponent of E sup_t W2² / log N" in out
    assert "d = 3, own noise: error of the steps over mean direction, RMS, at most" in out
    data = netcdf.load(tmp_path / "chaos-own-noise.nc")
    assert data["case"].values.tolist() == ["d = 3, own noise", "d = 3, own and common noise"]
    assert np.isfinite(data["mean_square"].values).all()
    assert (tmp_path / "chaos-own-noise.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--study", "rates"], "--study must be left out with --temperature"),
        (["--depth", "8"], "--depth must be left out with --temperature"),
        (["--steps", "3"], "n_steps must be even, got 3"),
        (["--interaction", "causal"], "interaction must have no mask"),
        (["--interaction", "l2"], "circle_drift needs attention with"),
    ],
)
def test_bad_arguments_with_own_noise(tmp_path, capsys, arguments, message):
    assert main(["chaos", "--temperature", "1", "--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_more_replicas_extend_the_stored_ones(tmp_path, capsys):
    main(["chaos", *TINY, "--out", str(tmp_path / "a")])
    first = netcdf.load(tmp_path / "a" / "chaos.nc")["mean_square"].values
    main(["chaos", *TINY, "--replicas", "5", "--out", str(tmp_path / "a"), "--threads", "2"])
    main(["chaos", *TINY, "--replicas", "5", "--out", str(tmp_path / "b"), "--threads", "1"])
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
        (["--beta", "-1"], "beta must be a finite number > 0 and <= 700"),
        (["--replicas", "1"], "n_replicas must be an integer >= 2"),
        (["--x0", "missing.npy"], "missing.npy must be a .npy or .npz file"),
        (["--normalize"], "--normalize needs --x0"),
        (["--dim", "1"], "dim must be an integer >= 2"),
        (["--nodes", "3"], "n_nodes must be at least 4"),
        (["--value-scale", "0", "--study", "limits"], "--study limits needs attention without a mask"),
        (["--interaction", "causal", "--study", "limits"], "--study limits needs attention without a mask"),
        (["--threads", "0"], "--threads must be an integer >= 1"),
        (["--seed", "-3"], "--seed must be an integer >= 0"),
        (["--depth", str(10**18)], "--depth must be at most 1000000000"),
        (["--threads", str(2**31)], "--threads must be at most 1000000000"),
        (["--nodes", str(10**9)], "and this machine has"),
        (["--dim", str(10**9)], "--dim must be at most 1000000"),
        (["--dim", "2", "-1"], "dim must be an integer >= 2"),
        (["--temperature", "-1"], "--temperature must be a finite number >= 0"),
        (["--steps", "8"], "--steps needs --temperature"),
    ],
)
def test_bad_arguments_exit_with_2(tmp_path, capsys, arguments, message):
    assert main(["chaos", *SMALL, "--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


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
        (["--pair-replicas", "1"], "n_pair_replicas must be an integer >= 2"),
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


@pytest.mark.slow
@pytest.mark.parametrize("number", ["1", "6"])
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


def test_every_file_of_chaos_is_checked_before_the_first_study_runs(tmp_path, capsys):
    netcdf.save(xarray.Dataset(attrs={"identity": '{"horizon": 7.0}'}), tmp_path / "chaos-limits.nc")
    assert main(["chaos", *TINY, "--study", "rates", "limits", "--out", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "chaos-limits.nc holds another study" in message
    assert "horizon is 7.0, not 1.0" in message
    assert not (tmp_path / "chaos.nc").exists()


def test_sync_without_a_claim(tmp_path, capsys):
    assert main(["sync", *TINY_SYNC, "--value-scale", "1", "--replicas", "2", "--out", str(tmp_path)]) == 0
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


def test_token_files_that_are_damaged_or_bombs_are_refused(tmp_path, capsys):
    good = tmp_path / "x.npz"
    np.savez_compressed(good, x=cs.sample_uniform(50, 3, rng=0))
    content, bad, generator = good.read_bytes(), tmp_path / "bad.npz", np.random.default_rng(0)
    arguments = ["chaos", "--tokens", "8", "16", "--out", str(tmp_path / "out"), "--x0", str(bad)]
    for _ in range(40):
        at = int(generator.integers(len(content)))
        bad.write_bytes(content[: at // 2] if generator.random() < 0.3 else content[:at] + b"\xff" + content[at + 1 :])
        message = None
        try:
            tokens = token_file.read(bad, is_normalized=False)
        except ValueError as error:
            message = str(error)
        if message is None:
            assert np.array_equal(tokens, cs.sample_uniform(50, 3, rng=0))
        else:
            assert "bad.npz must be" in message
    np.savez_compressed(bad, x=np.zeros((10**7, 3)))
    assert main(arguments) == 2
    assert "it would unpack to 0.24 GB" in capsys.readouterr().err
