"""Rows of any queries, keys and values within systems of few tokens: lanes along systems, or along queries."""

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.few_tokens import MAX_ROW_TOKENS, MAX_TOKENS
from chaosphere.kernels.replicas import attend_replica_rows

LOG2_E = float(np.log2(np.e))
# Queries, keys, d, k and v; of more than 128 queries there are several items of work.
SHAPES = [
    (1, 1, 1, 1, 1),
    (5, 3, 2, 2, 2),
    (16, 17, 3, 3, 3),
    (300, 33, 4, 2, 9),
    (40, 64, 23, 16, 5),
    (7, 100, 5, 8, 4),
]


def matrices(dim, k, v, dtype):
    """Q, K, V and an output, each of norm 1."""
    rng = np.random.default_rng(dim)
    shapes = {"query": (k, dim), "key": (k, dim), "value": (v, dim), "output": (dim, v)}
    drawn = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return {name: (m / np.linalg.norm(m, 2)).astype(dtype) for name, m in drawn.items()}


def systems(m, n, dim, dtype, n_replicas=9):
    x = cases.tokens(m + n, dim, dtype, n_replicas=n_replicas)
    return np.ascontiguousarray(x[:, :m]), np.ascontiguousarray(x[:, m:])


@pytest.mark.parametrize("size", [0.0, 3.0, 3e4])
@pytest.mark.parametrize("kind", ["plain", "maps", "distance"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("m", "n", "dim", "k", "v"), SHAPES)
def test_means_and_sums(m, n, dim, k, v, weighted, kind, size, dtype, isa):
    x, y = systems(m, n, dim, dtype)
    p = cases.weights(n) if weighted else np.ones(n)
    maps = {} if kind == "plain" else matrices(dim, k, v, dtype)
    size = {"plain": min(size, 1e3 if dtype == np.float32 else 1e5), "maps": size / 100, "distance": 2.0}[kind]
    scale, is_distance = size * LOG2_E, kind == "distance"
    weights = p if weighted else None
    means, sums, exponents = attend_replica_rows(x, y, weights, scale, 2, -0.5, is_distance=is_distance, **maps)
    wide = {name: matrix.astype(np.longdouble) for name, matrix in maps.items()}
    form = size * (wide["query"].T @ wide["key"]) if maps else np.longdouble(size)
    tolerance = twins.attention_tolerance(4 * size, dim + k, dtype)
    for r in (0, 7, 8):
        own = y[r].astype(np.longdouble)
        value = -0.5 * wide["output"] if maps else -0.5
        several = {"bias": -((own @ wide["key"].T) ** 2).sum(axis=1)} if is_distance else {}
        values = own @ wide["value"].T if maps else None
        want, log_z = twins.attention(
            x[r], form, keys=own, values=values, weights=p, value=value, dtype=np.longdouble, **several
        )
        twins.assert_close(means[r], want, atol=tolerance, dtype=dtype)
        got = np.log(sums[r]) + exponents[r] / LOG2_E
        twins.assert_close(got, log_z.astype(np.float64), atol=tolerance, rtol=1e-15 if dtype == np.float64 else 1e-7)


@pytest.mark.parametrize("kind", ["plain", "maps", "distance"])
@pytest.mark.parametrize(("m", "n", "dim", "k", "v"), SHAPES)
def test_a_query_depends_on_its_system_alone(m, n, dim, k, v, kind, dtype, every_isa):
    x, y = systems(m, n, dim, dtype, n_replicas=17)
    p, maps = cases.weights(n), {} if kind == "plain" else matrices(dim, k, v, dtype)
    several = {"is_distance": kind == "distance", **maps}
    alone = [attend_replica_rows(x[r : r + 1], y[r : r + 1], p, 2.0, 1, **several) for r in range(len(x))]
    for n_replicas in (3, 7, 9, 17):
        got = attend_replica_rows(x[:n_replicas], y[:n_replicas], p, 2.0, 3, **several)
        for part, own in zip(got, zip(*alone[:n_replicas], strict=True), strict=True):
            assert np.array_equal(part, np.concatenate(own))
    some = np.ascontiguousarray(x[:, m // 3 : m // 2 + 1])
    for part, own in zip(attend_replica_rows(some, y, p, 2.0, 2, **several), zip(*alone, strict=True), strict=True):
        assert np.array_equal(part, np.concatenate(own)[:, m // 3 : m // 2 + 1])


def interactions(dim):
    m, narrow = matrices(dim, dim, dim, np.float64), matrices(dim, 2, 3, np.float64)
    qkv = {name: m[name] for name in ("query", "key", "value")}
    return {
        "general": cs.SoftmaxAttention(**qkv),
        "symmetric": cs.SoftmaxAttention(query=m["query"], key=m["query"]),
        "head": cs.SoftmaxAttention(**narrow),
        "symmetric head": cs.SoftmaxAttention(**narrow | {"key": narrow["query"]}),
        "any size": cs.SoftmaxAttention(**qkv | {"query": 1e4 * m["query"]}),
        "distance": cs.L2Attention(**qkv),
        "heads": cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(**narrow), cs.L2Attention(**qkv)]),
    }


@pytest.mark.parametrize("name", interactions(5))
@pytest.mark.parametrize("n", [1, MAX_ROW_TOKENS, MAX_ROW_TOKENS + 1, 2 * MAX_TOKENS, 2 * MAX_TOKENS + 1])
def test_the_choice_does_not_depend_on_the_number_of_systems(name, n):
    x, attention = cases.tokens(n, 5, n_replicas=20), interactions(5)[name]
    for p in (None, np.append(cases.weights(n - 2), [0.0, 0.0]) if n > 2 else None):
        together = attention(x, p, n_threads=2)
        for r in (0, 9, 19):
            assert np.array_equal(attention(x[r], p, n_threads=1), together[r])
    plan = attention.plan(Shape.of(x))
    every = plan.drift(x, n_threads=2)
    for first, stop in [(0, 32), (32, n)] if n > 32 else [(0, n)]:
        assert np.array_equal(plan.rows(x, first=first, stop=stop, n_threads=1), every[:, first:stop])


def test_few_keys_of_many_queries():
    """The bits of a query do not depend on how many others there are."""
    x, y = cases.tokens(1000, 3)[0], cases.tokens(10, 3, seed=1)[0]
    for attention in (cs.SoftmaxAttention(beta=2.0), cs.L2Attention(query=np.eye(3), key=np.eye(3))):
        every = attention(x, sources=y, n_threads=2)
        assert np.array_equal(every[500:505], attention(x[500:505], sources=y))
