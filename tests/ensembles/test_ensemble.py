"""Ensembles in one process: labels, batches that change no bit, members alone, means, the plan."""

import dataclasses
import json
import random
import re
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.members import LAW, SMALL, STUDY, digest, mean, one, transformer
from support.programs import run

import chaosphere as cs
from chaosphere import stats
from chaosphere.common import progress
from chaosphere.common.streams import STREAM_VERSION
from chaosphere.ensembles.executors import workers
from chaosphere.ensembles.plan import make_plan
from chaosphere.ensembles.pool import processors
from chaosphere.models.protocol import ModelPlan


@pytest.fixture(scope="module")
def data():
    return cs.ensemble(transformer, LAW, **STUDY)


def test_labels(data):
    assert data["energy"].dims == ("beta", "activation", "replica", "time")
    assert data["mean"].dims == ("beta", "activation", "replica", "time", "mean_0")
    assert data["energy_mean"].dims == ("beta", "activation", "time")
    assert data["beta"].values.tolist() == [0.5, 4.0]
    assert data["activation"].values.tolist() == ["relu", "tanh", "erf"]
    assert data["seed"].values.tolist() == STUDY["seeds"]
    assert data["time"].values.tolist() == [0.0, 0.5, 1.0]
    identity = json.loads(data.attrs["identity"])
    assert identity["stream_version"] == STREAM_VERSION
    assert identity["model"]["mlp"]["width"] == 16
    assert set(json.loads(data.attrs["configuration"])) >= {"chaosphere", "numpy", "instruction set in use"}


def test_a_member_alone_is_a_plain_run_with_its_seed(data):
    for beta, activation, replica in ((0.5, "erf", 0), (4.0, "relu", 3), (4.0, "tanh", 5)):
        seed = int(data["seed"][replica])
        x = LAW.sample(STUDY["n_tokens"], rng=seed)
        alone = cs.simulate(
            transformer(beta, activation), x, rng=seed, observe=STUDY["observe"], save_at=STUDY["save_at"]
        )
        member = data.sel(beta=beta, activation=activation).isel(replica=replica)
        for name in ("energy", "mean"):
            assert np.array_equal(member[name].values, alone.observables[name])


@pytest.mark.parametrize(("n_tokens", "dim"), [(1, 3), (2, 2), (7, 8), (32, 2), (32, 3), (193, 3)])
def test_batches_change_no_bit(n_tokens, dim):
    """Every model and scheme, and every measure of the package: alone and among others."""
    measures = {
        "energy": cs.measures.Energy(beta=2.0),
        "order": lambda t, x: cs.measures.order_parameter(x),
        "clustered": lambda t, x: cs.measures.pair_fraction(x, 0.5),
        "histogram": lambda t, x: cs.measures.cosine_histogram(x, 7)[0],
        "clusters": lambda t, x: cs.measures.cluster_count(x, 0.5),
    }
    if n_tokens == 1:
        measures = {name: measures[name] for name in ("energy", "order", "clusters")}
    attention = cs.SoftmaxAttention(beta=3.0, value_scale=-1.0)
    general = cs.SoftmaxAttention(query=np.eye(dim) + 0.1, key=np.eye(dim), value=np.diag(np.arange(1.0, dim + 1)))
    skew = cs.SoftmaxAttention(query=np.tri(dim), key=np.eye(dim))
    mlp = cs.MLP(width=5, activation="tanh", bias_std=0.3, output_bias_std=0.1)
    field = cs.GaussianField(kernel=mlp.kernel(dim), method="features", width=6)
    models = [cs.Transformer(attention=a, mlp=mlp, depth=3, horizon=0.5) for a in (attention, general, skew, None)] + [
        cs.LimitSDE(attention=attention, field=field, horizon=0.5, n_steps=3, scheme=scheme, temperature=0.1)
        for scheme in ("projected-euler", "geodesic-euler", "heun", "split")
    ]
    seeds = [4, 0, 9]
    for model in models:
        options = {"n_tokens": n_tokens, "observe": measures, "n_threads": 1}
        together = cs.ensemble(model, cs.laws.Uniform(dim=dim), seeds=seeds, **options)
        for r, seed in enumerate(seeds):
            alone = cs.ensemble(model, cs.laws.Uniform(dim=dim), seeds=[seed], **options)
            for name in measures:
                assert np.array_equal(together[name].values[r], alone[name].values[0]), (model, name)


def test_the_number_of_tokens_may_be_swept():
    """Members are plain runs, whatever the sizes of the batches, of up to 2, 408 and 4 replicas."""
    sizes = [1500, 10, 700]
    plan = make_plan(one, LAW, sweep={"n_tokens": sizes, "beta": [1.0, 2.0]}, seeds=range(9), observe={"m": mean})
    assert [plan.batch_size_at((i, 0)) for i in range(3)] == [2, 408, 4]
    assert [replicas for point, replicas in plan.batches if point == (1, 0)] == [slice(0, 9)]
    assert plan.seconds() > 0
    data = cs.ensemble(one, LAW, sweep={"n_tokens": sizes, "beta": [1.0, 2.0]}, seeds=range(9), observe={"m": mean})
    assert data["m"].dims == ("n_tokens", "beta", "replica", "time", "m_0")
    assert data["n_tokens"].values.tolist() == sizes
    assert bool(data["finished"].all())
    for n_tokens in sizes:
        for seed in (0, 7, 8):
            alone = cs.simulate(one(2.0), LAW.sample(n_tokens, rng=seed), rng=seed, observe={"m": mean})
            member = data["m"].sel(n_tokens=n_tokens, beta=2.0).isel(replica=seed)
            assert np.array_equal(member.values, alone.observables["m"])


def test_a_model_gets_the_number_of_tokens_if_it_takes_it():
    def wide(n_tokens):
        return cs.Transformer(attention=None, mlp=cs.MLP(width=n_tokens), depth=2, horizon=1.0)

    for model, expected in ((wide, [wide(3), wide(5)]), (one(), [one(), one()]), (one, [one(), one()])):
        plan = make_plan(model, LAW, sweep={"n_tokens": [3, 5]}, seeds=[0], observe={"m": mean})
        assert list(plan.models.values()) == expected
        assert plan.n_tokens == {(0,): 3, (1,): 5}


def test_threads_change_no_bit(data):
    assert digest(cs.ensemble(transformer, LAW, n_threads=1, **STUDY)) == digest(data)
    assert digest(cs.ensemble(transformer, LAW, n_threads=3, **STUDY)) == digest(data)


class Shuffled(Executor):
    """Runs its calls only when somebody waits, in random order; of unknown size."""

    def __init__(self, seed):
        self.random, self.waiting, self.order = random.Random(seed), [], []

    def submit(self, function, *arguments):
        future = Future()
        self.waiting.append((future, function, arguments, len(self.waiting)))
        if len(self.waiting) == 12:
            self.random.shuffle(self.waiting)
            for waiting, call, arguments, index in self.waiting:
                waiting.set_result(call(*arguments))
                self.order.append(index)
        return future


def test_order_of_completion_changes_no_bit(data):
    executor = Shuffled(seed=1)
    assert digest(cs.ensemble(transformer, LAW, executor=executor, **STUDY)) == digest(data)
    assert executor.order != sorted(executor.order)


def test_tokens_may_be_given(data):
    seeds = STUDY["seeds"]
    x = np.stack([LAW.sample(STUDY["n_tokens"], rng=seed) for seed in seeds])
    options = STUDY | {"n_tokens": None}
    assert digest(cs.ensemble(transformer, x, **options)) == digest(data)
    same = cs.ensemble(transformer, x[0], **options)
    assert np.array_equal(same["energy"].values[:, :, 0], data["energy"].values[:, :, 0])
    assert (same["energy"].isel(time=0) == same["energy"].isel(time=0, replica=0)).all()


def test_float32_stays_float32():
    x = cs.sample_uniform(8, 3, rng=0).astype(np.float32)
    observe = {"first": lambda t, x: x[:, 0, 0], "energy": cs.measures.Energy()}
    data = cs.ensemble(one(), x, seeds=[1, 2], observe=observe)
    assert data["first"].dtype == np.float32
    assert data["energy"].dtype == np.float64


def test_mean_and_interval(data):
    values = data["energy"].sel(beta=4.0, activation="tanh").values
    mean, low, high = stats.mean_interval(values)
    row = data.sel(beta=4.0, activation="tanh")
    for name, expected in (("mean", mean), ("low", low), ("high", high)):
        assert np.array_equal(row[f"energy_{name}"].values, expected)
    assert (row["energy_low"] < row["energy_high"]).all()
    single = cs.ensemble(one(), LAW, **(SMALL | {"seeds": [3]}))
    assert np.array_equal(single["energy_mean"].values, single["energy"].values[0])
    assert np.isnan(single["energy_low"]).all()


@dataclasses.dataclass(frozen=True)
class Pole:
    """A law of a user's own: all tokens at one point."""

    dim: int = 3

    def sample(self, n_tokens, *, rng):
        return np.tile(np.eye(self.dim)[0], (n_tokens, 1))


@dataclasses.dataclass(frozen=True)
class Still:
    """A model of a user's own: nothing moves."""

    n_steps: int = 2
    horizon: float = 1.0

    def plan(self, shape, weights=None):
        return Stillness()


class Stillness(ModelPlan):
    def advance(self, x, steps, context):
        return x


def test_laws_and_models_of_the_user(tmp_path):
    data = cs.ensemble(Still(), Pole(), store=tmp_path / "s.zarr", **SMALL)
    assert np.ptp(data["energy"].values) == 0
    assert data.sizes["time"] == 3

    class Flat(Pole):
        def sample(self, n_tokens, *, rng):
            return np.eye(3)[0]

    class Scaled(Pole):
        def sample(self, n_tokens, *, rng):
            return 2 * np.eye(3)

    class Short(Pole):
        def sample(self, n_tokens, *, rng):
            return np.eye(3)

    class Nowhere:
        def sample(self, n_tokens, *, rng):
            return np.eye(3)

    for law, message in (
        (Flat(), "what x0.sample returns must have shape"),
        (Scaled(), "what x0.sample returns must lie on the unit sphere"),
        (Short(), r"x0.sample must return tokens of shape \(8, 3\), as n_tokens and dim say, got \(3, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            cs.ensemble(one(), law, **SMALL)
    with pytest.raises(TypeError, match="x0 must have dim, the dimension of its tokens"):
        cs.ensemble(one(), Nowhere(), **SMALL)
    with pytest.raises(TypeError, match="it has no n_steps, horizon, plan"):
        cs.ensemble(lambda: type("Half", (), {"step": None})(), LAW, **SMALL)


def test_progress_is_over_all_runs(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_is_terminal", lambda: True)
    cs.ensemble(one, LAW, sweep={"beta": [1.0, 2.0]}, progress=True, **SMALL)
    printed, errors = capsys.readouterr()
    assert not printed
    assert re.search(r"6/6 \[00:\d\d<00:00, .*run", errors)
    cs.ensemble(one, LAW, sweep={"beta": [1.0, 2.0]}, **SMALL)
    assert capsys.readouterr() == ("", "")


def test_plan_counts():
    plan = make_plan(one, LAW, sweep={"beta": [1.0, 2.0]}, n_tokens=1500, seeds=range(5), observe=SMALL["observe"])
    assert plan.n_members == 10
    assert plan.batch_size == 2
    assert [(point, part.start, part.stop) for point, part in plan.batches[:4]] == [
        ((0,), 0, 2),
        ((0,), 2, 4),
        ((0,), 4, 5),
        ((1,), 0, 2),
    ]
    assert plan.n_pairs == 2 * 5 * 3 * 1500**2
    assert plan.result_bytes == 10 * 4 * 8
    assert 0 < plan.seconds(n_threads=1) < 60


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
@pytest.mark.slow
def test_memory_estimate_is_of_the_right_size():
    """Peak memory of a run in a fresh process, over that of an import, lies within the estimate and a third of it."""
    program = """
import re, sys
from pathlib import Path
import chaosphere as cs
from chaosphere.ensembles.plan import make_plan
from chaosphere.ensembles.run import run_plan
n = int(sys.argv[1])
model = cs.Transformer(attention=cs.SoftmaxAttention(beta=0.1), mlp=cs.MLP(width=4), depth=1, horizon=1.0)
plan = make_plan(model, cs.laws.Uniform(dim=512), n_tokens=n, seeds=[0],
            observe={"first": lambda t, x: x.reshape(len(x), -1)[:, :5]})
run_plan(plan, n_threads=1)
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]), plan.memory(1))
"""
    sizes = {}
    for n in (100, 4_000):
        sizes[n] = [int(word) for word in run(program, n).split()]
    used = sizes[4_000][0] - sizes[100][0]
    assert sizes[4_000][1] / 3 < used < sizes[4_000][1]


def test_workers_are_counted():
    assert workers(None) == (1, 1)
    with ThreadPoolExecutor(3) as executor:
        assert workers(executor) == (3, 3)
    assert workers(Shuffled(0)) == (1, None)
    assert processors() >= 1
