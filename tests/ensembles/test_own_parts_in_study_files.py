"""Parts of a user in study files: a line in a registry gives each a name."""

import dataclasses
import os
import sys

import numpy as np
import pytest
from support.programs import finished

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.ensembles import study_parts
from chaosphere.measures.observables import STATISTICS, Statistic
from chaosphere.models.protocol import ModelPlan

STUDY = """
[model]
{model}
[tokens]
n_tokens = 5
dim = 3
{law}
[sweep]
{sweep} = [0.5, 2.0]
[observe.value]
measure = "{measure}"
[run]
replicas = 2
"""
MODULE = """
import dataclasses
import numpy as np
from chaosphere.interactions.protocol import InteractionPlan

class ToMeanPlan(InteractionPlan):
    pairs = 0.0

    def __init__(self, rate):
        self.rate = rate

    def drift(self, x, *, n_threads):
        return np.zeros_like(x) + self.rate * x.mean(axis=1, keepdims=True)

@dataclasses.dataclass(frozen=True)
class ToMean:
    rate: float

    def resolve(self, n_tokens, dim, dtype="float64"):
        return self

    def plan(self, shape, weights=None):
        return ToMeanPlan(self.rate)
"""
SCRIPT = """
import sys
from chaosphere.cli.main import main
from chaosphere.ensembles.study_parts import INTERACTIONS
from own_attention import ToMean

INTERACTIONS["to-mean"] = ToMean

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
"""


class PullPlan(ModelPlan):
    def __init__(self, pull):
        self.pull = pull

    def advance(self, x, steps, context):
        return cs.normalize(x + self.pull * x.mean(axis=1, keepdims=True))


@dataclasses.dataclass(frozen=True)
class Pull:
    pull: float
    n_steps: int = 4
    horizon: float = 1.0

    def plan(self, shape, weights=None):
        return PullPlan(self.pull)


@dataclasses.dataclass(frozen=True)
class Half:
    dim: int

    def sample(self, n_tokens, *, rng, n_replicas=None):
        x = cs.sample_uniform(n_tokens, self.dim, rng=rng, n_replicas=n_replicas)
        x[..., 0] = abs(x[..., 0])
        return x

    def density(self, x):
        return np.where(x[:, 0] > 0, 2.0, 0.0)


def height(x):
    return x[..., 0].mean(axis=-1)


def test_a_model_a_law_and_a_statistic_with_names(tmp_path, monkeypatch):
    monkeypatch.setitem(study_parts.MODELS, "pull", study_parts.ModelKind(cls=Pull, parts=()))
    monkeypatch.setitem(study_parts.LAWS, "half", Half)
    monkeypatch.setitem(STATISTICS, "height", Statistic(function=height, at_least=-1, at_most=1))
    file = tmp_path / "own.toml"
    file.write_text(STUDY.format(model='type = "pull"', law='law = "half"', sweep="pull", measure="height"))
    assert main(["run", str(file), "--out", str(tmp_path / "out")]) == 0
    stored = cs.load_ensemble(tmp_path / "out" / "own.zarr")["value"].values
    sweep, observe = {"pull": [0.5, 2.0]}, {"value": lambda time, x: height(x)}
    ours = cs.ensemble(Pull, Half(3), n_tokens=5, seeds=range(2), sweep=sweep, observe=observe)["value"].values
    assert stored.shape == (2, 2, 5)
    assert (stored == ours).all()


@pytest.mark.slow
def test_workers_know_what_the_script_named(tmp_path):
    (tmp_path / "own_attention.py").write_text(MODULE)
    (tmp_path / "own_study.py").write_text(SCRIPT)
    model = 'depth = 4\nhorizon = 1.0\n[model.attention]\ntype = "to-mean"'
    (tmp_path / "own.toml").write_text(
        STUDY.format(model=model, law="", sweep='"attention.rate"', measure="order_parameter")
    )
    values = []
    for number, options in enumerate(([], ["--executor", "processes", "--workers", "1"])):
        command = [sys.executable, "own_study.py", "own.toml", "--out", f"out{number}", *options]
        done = finished(command, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        values.append(cs.load_ensemble(tmp_path / f"out{number}" / "own.zarr")["value"].values)
    assert (values[0] == values[1]).all()
    assert (values[0][0, :, -1] < values[0][1, :, -1]).all()  # a stronger pull
