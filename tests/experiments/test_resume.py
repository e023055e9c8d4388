"""A study that is stopped, in whatever way, resumes from its file, bitwise identical, and repeats no finished piece."""

import os
import signal
import sys
import time

import numpy as np
import pytest
import xarray
from support.programs import started

import chaosphere as cs
from chaosphere.cli.main import main
from chaosphere.experiments import (
    attractors,
    cases,
    causal,
    chaos,
    depth_width,
    limits,
    low_temperature,
    mean_field,
    metastability,
    paper,
    phases,
    random_attention,
    synchronization,
    training,
    uniform_in_time,
)
from chaosphere.experiments.pieces import grow
from chaosphere.reporting import netcdf

MLP = cs.MLP(width=8, bias_std=0.3, activation="tanh")
ATTENTION = cs.SoftmaxAttention(beta=1.0)
CHAOS = cases.rates(
    cs.Transformer(attention=ATTENTION, mlp=MLP, depth=3, horizon=1.0), dims=[2], tokens=[8, 16], n_nodes=16
)
SYNC = {"rng": 0, "n_tokens": 5, "width": 4, "depth": 30, "horizon": 3.0, "n_replicas": 3, "value_scale": 1.0}
MEAN_FIELD = {"rng": 0, "horizon": 0.1, "n_steps": (2, 4), "n_modes": 32, "n_nodes": (8, 16), "width": 4, "depth": 4}

# Each: how to run it, with what the callback is called, and the number of calls.
STUDIES = {
    "chaos": (lambda **more: chaos.run(CHAOS, rng=0, n_replicas=4, **more), "on_step", 12),
    "limits": (
        lambda **more: limits.run(
            MLP,
            rng=0,
            attention=ATTENTION,
            tokens=[4, 8],
            depths=[2, 4],
            widths=[4, 8],
            n_nodes=16,
            n_replicas=4,
            **more,
        ),
        "on_step",
        4,
    ),
    "depth_width": (
        lambda **more: depth_width.run(
            MLP, rng=0, n_tokens=4, depths=[2, 4], widths=[4, 8], refinement=2, n_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "mean_field": (lambda **more: mean_field.run(**MEAN_FIELD, n_replicas=2, n_pair_replicas=3, **more), "on_part", 4),
    "synchronization": (lambda **more: synchronization.run(["relu", "tanh", "sigmoid"], **SYNC, **more), "on_run", 3),
    "figure": (
        lambda **more: paper.figure(2, rng=0, dims=[3, 5], depth=6, width=8, n_replicas=2, **more),
        "on_run",
        12,
    ),
    "figure without an MLP": (lambda **more: paper.figure(6, rng=0, dims=[3, 5], depth=6, **more), "on_run", 6),
    "figure 1": (lambda **more: paper.figure_1(rng=0, width=4, **more), "on_run", 2),
    "correlation": (
        lambda **more: causal.correlation.run(rng=0, n_tokens=16, n_steps=4, n_replicas=4, **more),
        "on_step",
        4,
    ),
    "centres": (
        lambda **more: causal.centres.run(
            rng=0, betas=[8, 16], n_centre_tokens=10, centre_horizon=1.0, n_centre_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "training": (
        lambda **more: training.grid.run(
            rng=0, n_tokens=4, sizes=[2, 4], steps=[0, 1], n_limit_heads=4, n_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "training, tokens": (
        lambda **more: training.tokens.run(
            rng=0,
            token_counts=[4, 8],
            token_steps=[0, 1],
            network_size=2,
            n_token_heads=4,
            n_token_replicas=4,
            **more,
        ),
        "on_step",
        4,
    ),
    "clusters": (
        lambda **more: metastability.counts.run(
            rng=0, count_betas=[2, 4], n_tokens=64, horizon=10.0, n_times=3, n_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "lifetimes": (
        lambda **more: metastability.lifetimes.run(
            rng=0, k_clusters=[8], lifetime_barriers=[8, 9], n_lifetime_replicas=3, **more
        ),
        "on_step",
        3,
    ),
    "merging": (lambda **more: metastability.merging.run(rng=0, barriers=[1, 2, 3, 4], **more), "on_step", 4),
    "two ends": (
        lambda **more: random_attention.ends.run(
            rng=0, dims=[3], betas=[1.0], n_pairs=5, n_steps=4, n_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "random heads": (
        lambda **more: random_attention.heads.run(
            rng=0, heads=[1, 2], n_head_steps=4, n_head_pairs=3, n_head_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "opposite clusters": (
        lambda **more: random_attention.splits.run(
            rng=0, splits=[1], n_layers_per_time=10, n_split_systems=3, n_split_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "heads at low temperature": (
        lambda **more: random_attention.cold.run(
            rng=0, cold_head_dims=[4], n_cold_tokens=1000, n_cold_heads=2, n_cold_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "attention at low temperature": (
        lambda **more: low_temperature.runs.run(
            rng=0, betas=[4.0, 16.0], n_tokens=100, n_steps=48, n_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "uniform in time": (
        lambda **more: uniform_in_time.runs.run(
            rng=0, tokens=[4, 8], n_nodes=32, horizon=1.0, n_steps=40, n_systems=1, n_replicas=4, **more
        ),
        "on_step",
        4,
    ),
    "attractors": (
        lambda **more: attractors.runs.run(rng=0, n_tokens=20, n_steps=10, n_replicas=4, **more),
        "on_step",
        4,
    ),
    "phases": (
        lambda **more: phases.hysteresis.run(
            rng=0,
            attentions=["softmax"],
            beta=1.0,
            shares=[0.9, 1.2],
            n_tokens=8,
            n_steps=2,
            n_systems=2,
            n_replicas=4,
            **more,
        ),
        "on_step",
        4,
    ),
    "table": (
        lambda n_threads=None, **more: paper.table(dims=[3], activations=["relu", "tanh", "erf"], **more),
        "on_step",
        3,
    ),
}


class Stopper:
    """A callback that stops a study after some calls, and counts."""

    def __init__(self, n_calls=None):
        self.n_calls, self.count = n_calls, 0

    def __call__(self):
        self.count += 1
        if self.count == self.n_calls:
            raise KeyboardInterrupt


def assert_same(one, other):
    """Identical up to the seconds that a run took."""
    xarray.testing.assert_identical(*(data.drop_vars("seconds", errors="ignore") for data in (one, other)))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in {"clusters", "lifetimes"})) for name in STUDIES]
)
def test_a_stopped_study_resumes_bitwise_identically(tmp_path, name):
    run, callback, total = STUDIES[name]
    store = tmp_path / "study.nc"
    fresh = run()
    stop = max(1, total * 2 // 3)  # after two pieces at least where there are three
    with pytest.raises(KeyboardInterrupt):
        run(store=store, **{callback: Stopper(stop)})
    begun = netcdf.load(store)
    assert begun.nbytes < fresh.nbytes or int(np.isnan(begun["energy"]).sum()) > 0
    counter = Stopper()
    resumed = run(store=store, n_threads=1, **{callback: counter})
    assert_same(resumed, fresh)
    assert_same(netcdf.load(store).drop_attrs(deep=False), fresh.drop_attrs(deep=False))
    assert counter.count == total
    assert [path.name for path in tmp_path.iterdir()] == ["study.nc"]


@pytest.mark.parametrize(
    ("name", "module"), [("synchronization", synchronization), ("figure", paper), ("mean_field", mean_field)]
)
def test_pieces_that_are_done_are_not_computed_again(tmp_path, monkeypatch, name, module):
    run, callback, total = STUDIES[name]
    store, calls = tmp_path / "study.nc", []
    with pytest.raises(KeyboardInterrupt):
        run(store=store, **{callback: Stopper(total - 1)})
    parts = [sys.modules[key] for key in sys.modules if key.startswith(f"{module.__name__}.")]
    for part in parts:
        if hasattr(part, "simulate"):
            monkeypatch.setattr(
                part, "simulate", lambda *args, own=part.simulate, **more: calls.append(1) or own(*args, **more)
            )
    run(store=store)
    assert len(calls) == 1  # of the last piece
    run(store=store)
    assert len(calls) == 1


def test_a_long_run_within_a_piece_resumes_too(tmp_path, monkeypatch):
    """Stopped by a signal within the only activation: no dataset yet, but a checkpoint that the next start takes."""
    store, steps = tmp_path / "sync.nc", []
    fresh = synchronization.run(["tanh"], **SYNC)
    energy = cs.measures.Energy.__call__

    def observed(self, time, x):
        steps.append(time)
        if len(steps) == 12:
            os.kill(os.getpid(), signal.SIGTERM)  # a SIGINT may be ignored where tests run in the background
        return energy(self, time, x)

    monkeypatch.setattr(cs.measures.Energy, "__call__", observed)
    with pytest.raises(cs.Interrupted):
        synchronization.run(["tanh"], **SYNC, store=store)
    assert [path.name for path in tmp_path.iterdir()] == ["sync.nc.checkpoint"]
    before = len(steps)
    resumed = synchronization.run(["tanh"], **SYNC, store=store)
    assert len(steps) - before == SYNC["depth"] + 1 - before
    xarray.testing.assert_identical(resumed, fresh)
    assert [path.name for path in tmp_path.iterdir()] == ["sync.nc"]


COMMANDS = {
    "sync": [
        *["sync", "--activations", "relu", "tanh", "sigmoid", "--value-scale", "1"],
        *["--tokens", "16", "--width", "64", "--depth", "150", "--horizon", "3", "--replicas", "4"],
    ],
    "mean-field": [
        *["mean-field", "--horizon", "0.1", "--steps", "2", "4", "--modes", "32", "--nodes", "8", "16"],
        *["--width", "4", "--depth", "4", "--replicas", "2", "--pair-replicas", "100"],
    ],
    "figure-6": ["figure", "6"],
}


def heed_ctrl_c():
    """Undo what the shell does to programs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param("sync", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("sync", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("mean-field", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("figure-6", signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_killed_command_resumes_bitwise_identically(tmp_path, capsys, name, number):
    file = tmp_path / "killed" / f"{name}.nc"
    typed = [*COMMANDS[name], "--threads", "1", "--out"]
    command = [sys.executable, "-m", "chaosphere", *typed, str(file.parent)]
    with started(command, preexec_fn=heed_ctrl_c) as process:
        while not file.exists() and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == (-number if number == signal.SIGKILL else 130), errors
    if number == signal.SIGINT:
        assert errors.startswith("chaosphere sync: ")
        assert errors.count("\n") == 1
    first = netcdf.load(file)
    assert main([*typed, str(file.parent)]) == 0
    assert main([*typed, str(tmp_path / "fresh")]) == 0
    resumed, fresh = netcdf.load(file), netcdf.load(tmp_path / "fresh" / file.name)
    xarray.testing.assert_identical(resumed, fresh)
    assert not first.equals(fresh)
    capsys.readouterr()


def test_the_loop(tmp_path):
    """More pieces in the file than asked for stay there; steps are counted, also those within stored pieces."""
    computed, counted = [], []

    def run(n_pieces, **more):
        return grow(
            lambda index: computed.append(index) or index**2,
            n_pieces=n_pieces,
            identity='{"a": 1}',
            to_dataset=lambda pieces: xarray.Dataset({"y": ("x", list(pieces))}, attrs={"identity": '{"a": 1}'}),
            from_dataset=lambda dataset: dataset["y"].values.tolist(),
            store=tmp_path / "y.nc",
            on_step=lambda: counted.append(1),
            **more,
        )

    assert run(3)["y"].values.tolist() == [0, 1, 4]
    assert computed == [0, 1, 2]
    assert run(2)["y"].values.tolist() == [0, 1]
    assert netcdf.load(tmp_path / "y.nc").sizes["x"] == 3
    assert run(4)["y"].values.tolist() == [0, 1, 4, 9]
    assert computed == [0, 1, 2, 3]
    assert len(counted) == 3 + 2 + 4
    counted.clear()
    run(5, n_inner_steps=10)  # the piece that is computed counts its own
    assert len(counted) == 40
