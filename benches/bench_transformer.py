"""Whole layers of the transformer, drawing their weights included: one large, and the runs of the paper's figures."""

import numpy as np
import pytest
import registry

import chaosphere as cs
from chaosphere.common.shape import Shape


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.TRANSFORMER, ids=str)
def test_transformer(case, contender, bench):
    bench("transformer", case, contender, work=case.depth, unit="layers")


def test_heads_of_matrices(benchmark):
    """Make 12 heads of 32 rows in R^384 and plan them for 96 tokens, which a run does once for each layer."""
    n_heads, head_dim, dim = 12, 32, 384
    q, k, v, o = np.random.default_rng(0).standard_normal((4, n_heads, head_dim, dim)) / np.sqrt(dim)
    x = cs.sample_uniform(96, dim, rng=0, n_replicas=1)

    def plan():
        heads = [cs.SoftmaxAttention(query=q[h], key=k[h], value=v[h], output=o[h].T) for h in range(n_heads)]
        return cs.MultiHeadAttention(heads=heads, combine="sum").plan(Shape.of(x))

    expected = np.zeros_like(x[0])
    for h in range(n_heads):
        coefficients = np.exp(x[0] @ q[h].T @ k[h] @ x[0].T)
        expected += coefficients / coefficients.sum(axis=1, keepdims=True) @ x[0] @ v[h].T @ o[h]
    error = float(abs(plan().drift(x, n_threads=1)[0] - expected).max())
    assert error < 1e-13
    benchmark(plan)
    benchmark.extra_info |= {"heads": n_heads, "rows": head_dim, "N": 96, "d": dim, "error": error}
