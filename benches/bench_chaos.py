"""The main job: propagation of chaos, the time loop, statistics and labels included."""

import numpy as np
import registry

import chaosphere as cs
from chaosphere.experiments import cases, chaos


def test_chaos(benchmark):
    tokens = [16, 32, 64] if registry.IS_QUICK else [64, 256, 1024, 4096]
    model = cs.Transformer(
        attention=cs.SoftmaxAttention(beta=1.0),
        mlp=cs.MLP(width=64, activation="tanh", bias_std=0.3),
        depth=4 if registry.IS_QUICK else 32,
        horizon=1.0,
    )
    plan = cases.rates(model, dims=[2], tokens=tokens)
    options = {"rng": 0, "n_replicas": 4, "n_threads": registry.THREADS}
    data = benchmark.pedantic(chaos.run, args=(plan,), kwargs=options, rounds=1 if registry.IS_QUICK else 5)
    pairs = 4 * plan[0].pairs
    benchmark.extra_info.update(pairs=pairs, pairs_per_second=pairs / benchmark.stats.stats.median)
    # The error of independent samples: smaller for more tokens, in every replica's mean.
    assert np.all(np.diff(data["error"].sel(quantity="coupled particles").values[0]) < 0)
