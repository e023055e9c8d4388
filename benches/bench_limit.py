"""The limiting equation: one step at a large number of tokens, the field alone, and a whole figure of the paper."""

import numpy as np
import probe
import pytest
import registry

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Stream
from chaosphere.experiments import paper
from chaosphere.models.protocol import StepContext

N_TOKENS = 600 if registry.IS_QUICK else 16384
KERNEL = cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(3)


@pytest.mark.parametrize("scheme", ["projected-euler", "geodesic-euler", "heun", "split"])
def test_sde_step(benchmark, scheme):
    model = cs.LimitSDE(
        attention=cs.SoftmaxAttention(beta=4.0),
        field=cs.GaussianField(kernel=KERNEL),
        horizon=0.01,
        n_steps=1,
        scheme=scheme,
    )
    x = cs.sample_uniform(N_TOKENS, 3, rng=0)[None]
    plan, context = model.plan(Shape.of(x)), StepContext(noise=Noise(0), n_threads=registry.THREADS)
    y = benchmark(plan.advance, x, range(1), context)
    assert np.abs(np.linalg.norm(y, axis=-1) - 1).max() < 1e-14
    rate = N_TOKENS**2 / benchmark.stats.stats.median
    benchmark.extra_info.update({"pairs per second": rate, "n_tokens": N_TOKENS, "dim": 3})


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_spectral_field(benchmark, tolerance):
    """The relu kernel needs many harmonics; the limit is d multiply-adds per harmonic and token."""
    kernel = cs.MLP(width=1, activation="relu", bias_std=0.1).kernel(3)
    field = cs.GaussianField(kernel=kernel, method="spectral", tolerance=tolerance)
    x = cs.sample_uniform(N_TOKENS, 3, rng=0)[None]
    increment = field.increment([Noise(0).draws(Stream.BROWNIAN, 0)], duration=1.0, n_tokens=N_TOKENS)
    g = benchmark(increment, x, n_threads=registry.THREADS)
    size = field.basis()[0].size
    rate = N_TOKENS * size * 3 / benchmark.stats.stats.median
    benchmark.extra_info.update({"n_harmonics": size, "n_tokens": N_TOKENS, "multiply-adds per second": rate})
    peak = probe.peak("fma", "float64")
    if peak is not None:
        benchmark.extra_info["fraction of peak"] = 2 * rate / peak
    assert np.array_equal(increment(x[:, :10]), g[:, :10])


def test_figure_2(benchmark):
    options = {"dims": [5], "depth": 5, "width": 16} if registry.IS_QUICK else {}
    data = benchmark.pedantic(paper.figure, args=(2,), kwargs={"rng": 0} | options, rounds=1)
    assert np.isfinite(data["energy"]).all()
