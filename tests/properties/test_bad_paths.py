"""Every function that takes a path refuses one that no file can have, by the name of the argument, before any work."""

import os

import numpy as np
import pytest
from support.stores import QUICK, free

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.ensembles import study_file
from chaosphere.experiments import mean_field
from chaosphere.experiments.attractors import runs as attractors
from chaosphere.reporting import netcdf

MODEL = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=4)
X = cs.sample_uniform(4, 2, rng=0)
LAW = cs.laws.Uniform(dim=2)
BAD = ["long name", "long path", "below a file", "null", "circle", "half a pair"]


def no_work(*_):
    raise AssertionError("work")


def train(path):
    network = cs.training.AttentionNetwork(dim=2, depth=1, n_heads=1, horizon=1.0)
    optimizer = cs.training.AdamW(learning_rate=0.1)
    cs.training.train(
        network,
        X[None],
        loss=no_work,
        optimizer=optimizer,
        start=optimizer.start(network.initial(0)),
        n_steps=2,
        checkpoint=path,
    )


def observed(path):
    cs.simulate(MODEL, X, rng=0, observe={"never": no_work}, save_at=[0.0], checkpoint=path)


def coupled(path):
    network = cs.Transformer(attention=None, mlp=cs.MLP(width=4), depth=2, horizon=1.0)
    cs.coupled_run(network, X, rng=0, observe={"never": no_work}, save_at=[0.0], checkpoint=path)


FUNCTIONS = {
    "path": [
        lambda path: cs.Checkpoint(path=path),
        lambda path: cs.plot.clip(cs.trajectory(MODEL, X, rng=0), path),
        lambda path: cs.plot.save(cs.plot.tokens(X), path),
        lambda path: netcdf.save(None, path),
        netcdf.load,
    ],
    "checkpoint": [observed, coupled, train],
    "store": [
        cs.load_ensemble,
        lambda path: cs.ensemble(free, LAW, store=path, **QUICK),
        lambda path: cs.estimate(MODEL, X, no_work, tolerance=0.1, rng=0, store=path),
        lambda path: attractors.run(rng=0, store=path),
        lambda path: mean_field.run(rng=0, store=path),
    ],
    "file": [study_file.read],
}
CASES = [(name, k) for name, functions in FUNCTIONS.items() for k in range(len(functions))]


@pytest.fixture
def places(tmp_path):
    """Paths by what is wrong with them."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    n_max = os.pathconf(tmp_path, "PC_NAME_MAX")
    return {
        "long name": tmp_path / ("n" * n_max + ".png"),
        "long path": tmp_path.joinpath(*["n" * 99] * 50, "x.png"),
        "below a file": tmp_path / "file" / "folder" / "x.png",
        "null": f"{tmp_path}/a\0b.png",
        "circle": tmp_path / "loop" / "x.png",
        "half a pair": f"{tmp_path}/\ud800.png",
    }


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize(("name", "k"), CASES)
def test_a_path_that_no_file_can_have_is_refused(name, k, kind, places, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=rf"^{name} must be a path.*, got .*"):
        FUNCTIONS[name][k](places[kind])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("length", [249, 255])
@pytest.mark.parametrize("function", [observed, FUNCTIONS["store"][1], FUNCTIONS["store"][3], FUNCTIONS["path"][2]])
def test_a_name_without_room_for_what_is_written_beside_it(function, length, tmp_path):
    with pytest.raises(ValueError, match=r"(path|checkpoint|store): .* cannot be written \(File name too long\)"):
        function(tmp_path / ("n" * (length - 4) + ".png"))
    assert not list(tmp_path.iterdir())


def test_a_long_name_may_be_read(tmp_path):
    path = tmp_path / ("n" * 255)
    with pytest.raises(ValueError, match=r"store .* is not there"):
        cs.load_ensemble(path)
    with pytest.raises(FileNotFoundError):
        study_file.read(path)
    with path.open("wb") as stream:
        np.save(stream, X)
    with pytest.raises(ValueError, match=r"damaged, or is not NetCDF"):
        netcdf.load(path)


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind != "null"])
@pytest.mark.parametrize(
    ("arguments", "name"), [(["run"], "FILE"), (["attractors", "--out"], "--out"), (["chaos", "--x0"], "--x0")]
)
def test_on_the_command_line(arguments, name, kind, places, capsys):
    assert main([*arguments, str(places[kind])]) == 2
    message = capsys.readouterr().err
    assert f"{name} must be a path" in message
    assert message.count("\n") == 1
