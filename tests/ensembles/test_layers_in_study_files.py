"""Study files with a table for each layer, and with layers of given matrices."""

import re

import numpy as np
import pytest
from support.studies import GOOD, written

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.ensembles import study_file
from chaosphere.reporting import netcdf

LAYERS = """
[model]
depth = 2
horizon = 1.0
[[model.attention]]
beta = 2.0
[[model.attention]]
type = "unnormalized"
beta = 1.0
value_scale = -1.0
[[model.mlp]]
type = "fixed"
inner = [[1.0, 0.0, -1.0], [0.5, 0.5, 0.0]]
outer = [[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]]
inner_bias = [0.1, -0.1]
activation = "gelu"
[[model.mlp]]
width = 4
"""
WITH_LAYERS = (LAYERS + GOOD[GOOD.index("[tokens]") :]).replace('"attention.beta" = [0.5, 4.0]\n', "")
WITH_LAYERS = re.sub(r"\[picture\][^[]*", "", WITH_LAYERS)
CRITICAL = """[picture]
value = "met"
x = "n_tokens"
y = "noise_scale"
critical = true
[run]"""


def test_a_table_for_each_layer(tmp_path):
    study = study_file.read(written(tmp_path, WITH_LAYERS))
    model = study.model(noise_scale=1.5)
    fixed = cs.FixedMLP(
        inner=[[1.0, 0.0, -1.0], [0.5, 0.5, 0.0]],
        outer=[[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]],
        inner_bias=[0.1, -0.1],
        activation="gelu",
    )
    attention = [cs.SoftmaxAttention(beta=2.0), cs.UnnormalizedAttention(beta=1.0, value_scale=-1.0)]
    same = cs.Transformer(attention=attention, mlp=[fixed, cs.MLP(width=4)], depth=2, horizon=1.0, noise_scale=1.5)
    assert model == same
    assert main(["run", str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    member = netcdf.load(tmp_path / "out" / "small.nc")["energy"].sel(noise_scale=1.5).isel(replica=2)
    x = cs.laws.Uniform(dim=3).sample(6, rng=12)
    alone = cs.simulate(same, x, rng=12, save_at=[0.0, 0.5, 1.0], observe={"energy": cs.measures.Energy(beta=1.0)})
    assert np.array_equal(member, alone.observables["energy"])


def test_layers_of_the_limit(tmp_path):
    text = re.sub(r"\[\[model.mlp\]\][^[]*(\[\[1.*\n.*\n.*\n.*\n)?", "", WITH_LAYERS.replace("depth", "n_steps"))
    text = text.replace("[model]\n", '[model]\ntype = "limit"\n').replace(
        "horizon = 1.0", 'horizon = 1.0\nscheme = "rk4"'
    )
    study = study_file.read(written(tmp_path, text))
    attention = (cs.SoftmaxAttention(beta=2.0), cs.UnnormalizedAttention(beta=1.0, value_scale=-1.0))
    assert study.model(noise_scale=1.0).attention.interactions == attention


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("depth = 2", "depth = 3", r"\[model\] mlp must have one network for each of the 3 layers, got 2"),
        (
            "[[model.attention]]\nbeta = 2.0\n",
            "",
            r"attention must have one interaction for each of the 2 steps, got 1",
        ),
        ("[[model.mlp]]\nwidth = 4\n", "", r"\[model\] mlp must have one network for each of the 2 layers, got 1"),
        ("width = 4", "width = 0", r"\[model.mlp\[1\]\] width must be an integer >= 1, got 0"),
        ("width = 4", "wdth = 4", r"\[model.mlp\[1\]\] unknown key 'wdth'; did you mean 'width'"),
        ('type = "fixed"', 'type = "fixd"', r"\[model.mlp\[0\]\] type: unknown 'fixd'; did you mean 'fixed'\? allowed"),
        ('type = "fixed"\n', "", r"\[model.mlp\[0\]\] unknown key 'inner'"),
        ('activation = "gelu"', 'activation = "gelu"\nwidth = 3', r"\[model.mlp\[0\]\] unknown key 'width'"),
        ("inner_bias = [0.1, -0.1]", "inner_bias = [0.1]", r"\[model.mlp\[0\]\] inner_bias must have the shape \(2,\)"),
        ("inner_bias = [0.1, -0.1]", "inner_bias = [0.1, nan]", r"\[model.mlp\[0\]\] inner_bias must be finite"),
        ("outer = [[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]]\n", "", r"\[model.mlp\[0\]\] outer must be given"),
        ("dim = 3", "dim = 4", r"x must have dim 3, that of the matrices of the mlp, got 4"),
        (
            "[sweep]",
            '[sweep]\n"attention.beta" = [1.0]',
            r"\[sweep\] attention.beta must not be a key of \[\[model.atten",
        ),
        ("[sweep]", '[sweep]\n"mlp.width" = [1, 2]', r"\[sweep\] mlp.width must not be a key of \[\[model.mlp\]\]"),
        ("horizon = 1.0\n", "horizon = 1.0\nfield = []\n", r"\[model\] unknown key 'field'"),
        (LAYERS[LAYERS.index("[[model.mlp]]") :], "", r"attention and mlp must"),
        ("[run]", CRITICAL, r"\[picture\] critical needs a model with attention.value_scale and one random mlp"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, capsys, old, new, message):
    assert old in WITH_LAYERS
    text = WITH_LAYERS.replace(old, new)
    if "critical" in message:  # of a swept number of tokens
        text = text.replace("n_tokens = 6\n", "").replace("[sweep]", "[sweep]\nn_tokens = [4, 6]")
    if "attention and mlp" in message:
        text = re.sub(r"\[\[model.attention\]\][^[]*", "", text)
    assert main(["run", str(written(tmp_path, text)), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_an_empty_list(tmp_path, capsys):
    text = re.sub(r"\[\[model.attention\]\][^[]*", "", WITH_LAYERS).replace("depth = 2", "depth = 2\nattention = []")
    assert main(["run", str(written(tmp_path, text))]) == 2
    assert "model.attention must be a table, or a list of one table for each layer" in capsys.readouterr().err
