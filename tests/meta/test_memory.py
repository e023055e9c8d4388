"""Memory at a million tokens: a few numbers per token, never an array of tokens by terms."""

import gc
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest
from support.programs import run

import chaosphere as cs
from chaosphere.simulation.trajectory import trajectory

N = 1_000_000
PROGRAM = """
from pathlib import Path
import numpy as np
import chaosphere as cs
from chaosphere.common.streams import Noise, Stream

def peak():  # of this process; getrusage starts from its parent's
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

def increment(**arguments):
    field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3), **arguments)
    return lambda x: field.increment([Noise(0).draws(Stream.BROWNIAN, 0)], duration=1.0, n_tokens=len(x))(x[None])

evaluate = {function}
x = np.load({path!r})  # straight into its array, which is all of the peak so far
evaluate(x[:20_000])
before = peak()
evaluate(x)
print(peak() - before)
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    for dim in (2, 3):
        np.save(folder / f"{dim}.npy", cs.sample_uniform(N, dim, rng=0))
    return {dim: str(folder / f"{dim}.npy") for dim in (2, 3)}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak where Linux has it")
@pytest.mark.parametrize(
    ("function", "dim", "least"),
    [
        ("cs.SoftmaxAttention(beta=4.0)", 2, 24),
        ("cs.SoftmaxAttention(beta=4.0)", 3, 32),
        ("cs.SoftmaxAttention(beta=4.0, mask='causal')", 2, 24),
        ("cs.SoftmaxAttention(beta=4.0, mask='causal')", 3, 32),
        ("lambda x: cs.measures.energy(x, 4.0)", 2, 0),
        ("lambda x: cs.measures.energy(x, 4.0)", 3, 0),
        ("increment(method='spectral')", 3, 24),
        ("increment(method='features', width=64)", 3, 24),
        ("cs.MLP(width=64).draw(3, rng=np.random.default_rng(0))", 3, 24),
    ],
    ids=[
        "Fourier",
        "harmonics",
        "causal, d = 2",
        "causal, d = 3",
        "energy, d = 2",
        "energy, d = 3",
        "spectral field",
        "features",
        "layer",
    ],
)
def test_bytes_per_token(function, dim, least, paths):
    """The results, which must be seen, and as much again at most; an array by terms would take 360 bytes and more."""
    program = PROGRAM.format(function=function, path=paths[dim])
    bytes_per_token = float(run(program)) / N
    assert 0.9 * least <= bytes_per_token <= 2 * least + 5


def test_nothing_waits_for_the_cycle_collector():
    """Arrays in reference cycles would stay until it runs: at ten million tokens some hundred megabytes each."""
    x, y = cs.sample_uniform(20_000, 2, rng=0), cs.sample_uniform(20_000, 2, rng=1)
    p = np.linspace(0.5, 1.5, 20_000) / 20_000
    cs.measures.circular_wasserstein2(x[:2], y[:2], y_weights=[0.25, 0.75])  # what it imports stays
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        cs.measures.circular_wasserstein2(x, y, y_weights=p / p.sum())
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < 20_000 * 8  # less than one array of numbers per token


def test_a_run_lets_its_start_go():
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=4, horizon=1.0)
    x = cs.sample_uniform(50, 3, rng=0)
    start, run = weakref.ref(x), trajectory(model, x, rng=0)
    del x
    next(run)
    assert start() is not None
    next(run)
    assert start() is None
