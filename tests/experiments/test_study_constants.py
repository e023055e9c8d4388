"""Constants that decide the numbers of a stored study are in its identity: its file is continued with no others."""

import functools
import json

import pytest

import chaosphere as cs
from chaosphere.experiments import cases
from chaosphere.experiments.attractors import runs as attractors
from chaosphere.experiments.causal import centres, correlation
from chaosphere.experiments.chaos import runs as chaos
from chaosphere.experiments.low_temperature import runs as low_temperature
from chaosphere.experiments.mean_field import runs as mean_field
from chaosphere.experiments.metastability import counts, lifetimes, merging
from chaosphere.experiments.paper import runs as paper
from chaosphere.experiments.phases import hysteresis
from chaosphere.experiments.random_attention import cold, ends
from chaosphere.experiments.training import grid, paths, tokens
from chaosphere.experiments.uniform_in_time import runs as uniform_in_time
from chaosphere.reporting import netcdf

CHAOS = cases.rates(
    cs.Transformer(attention=None, mlp=cs.MLP(width=8), depth=2, horizon=1.0), dims=[2], tokens=[8, 16], n_nodes=16
)


class _Identity(Exception):
    """Carries an identity out of a study, before its work."""


@pytest.mark.parametrize(
    ("study", "module", "constants"),
    [
        (attractors.run, attractors, {"_N_STARTS": 10, "_KERNEL_BETA": 5.0}),
        (centres.run, centres, {"_N_TIMES": 21}),
        (correlation.run, correlation, {"_N_BINS": 5}),
        (functools.partial(chaos.run, CHAOS), chaos, {"TRANSPORT_TIMES": 2}),
        (low_temperature.run, low_temperature, {"_SINGULAR": (1.0, 0.5), "_N_TIMES": 12}),
        (mean_field.run, mean_field, {"_TOLERANCE": 1e-3, "_N_HORIZONS": 2}),
        (counts.run, counts, {"_TOLERANCE": 1e-5, "_COALESCE": 1e-2, "_FIRST": 0.25}),
        (lifetimes.run, lifetimes, {"_PRECISION": 1e-2, "_TOLERANCE": 1e-7, "_COALESCE": 1e-2, "_DISTURBANCE": 1e-4}),
        (merging.run, merging, {"_END": 0.05, "_PRECISION": 1e-6, "_TOLERANCE": 1e-9}),
        (functools.partial(paper.figure, 2), paper, {"N_TOKENS": 32, "BETA": 2.0, "VALUE_SCALES": (1.0,)}),
        (hysteresis.run, hysteresis, {"_N_SAMPLES": 10, "_HOT": 2.0, "_HOT_PERIODS": 2.0, "_HOT_TIMES": (0.5, 1.0)}),
        (cold.run, cold, {"_COSINES": (0.3, 0.6), "_N_ROTATIONS": 16}),
        (ends.run, ends, {"_NEAR": 1e-5, "_MAX_SHARE": 0.125, "_MAX_GROWTH": 4.0}),
        (grid.run, paths, {"EPSILON": 1e-4}),
        (tokens.run, paths, {"EPSILON": 1e-4}),
        (uniform_in_time.run, uniform_in_time, {"_CONCENTRATION": 2.0, "_N_TIMES": 20, "_N_GRID": 2**15 + 1}),
    ],
)
def test_constants_are_in_the_identity(monkeypatch, study, module, constants):
    def refuse(parameters, sequence):
        raise _Identity(identity(parameters, sequence))

    identity = netcdf.identity
    monkeypatch.setattr(netcdf, "identity", refuse)

    def facts():
        with pytest.raises(_Identity) as caught:
            study(rng=0)
        return json.loads(str(caught.value))

    usual = facts()
    assert facts() == usual
    for name, value in constants.items():
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert facts() != usual, name


def test_a_file_of_another_precision_is_not_continued(tmp_path, monkeypatch):
    options = {"rng": 0, "k_clusters": [5, 6], "lifetime_barriers": [8.0, 9.0], "store": tmp_path / "lifetimes.nc"}
    monkeypatch.setattr(lifetimes, "_lifetime", lambda x, beta, *, n_threads: beta)
    with monkeypatch.context() as patch:
        patch.setattr(lifetimes, "_PRECISION", 0.01)
        lifetimes.run(n_lifetime_replicas=2, **options)
    with pytest.raises(ValueError, match=r"holds another study .*precision"):
        lifetimes.run(n_lifetime_replicas=3, **options)
