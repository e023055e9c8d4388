"""Rows of any queries, keys and values within systems of few tokens: lanes along systems, or along queries."""

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.few_tokens import MAX_ROW_TOKENS, MAX_TOKENS
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.kernels import sphere
from chaosphere.kernels.replica_rows import attend_replica_rows

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


@pytest.mark.parametrize("name", [name for name in interactions(5) if name != "heads"])
@pytest.mark.parametrize("n", [1, 8, MAX_ROW_TOKENS, 2 * MAX_TOKENS])
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_of_a_run_are_steps_one_by_one(name, n, weighted, dtype):
    x, p = cases.tokens(n, 5, dtype, n_replicas=13), cases.weights(n) + 1e-3
    plan = interactions(5)[name].plan(Shape.of(x), p / p.sum() if weighted else None)
    is_by_blocks = n > MAX_ROW_TOKENS and (name == "symmetric head" or (name == "symmetric" and weighted))
    assert (plan.max_fused_steps > 1) == (not is_by_blocks)
    n_steps, want = min(3, plan.max_fused_steps), x
    for _ in range(n_steps):
        want = InteractionPlan.move(plan, want.copy(), 0.3, n_threads=1)
    assert np.array_equal(plan.move(x, 0.3, n_threads=2, n_steps=n_steps), want)
    assert np.array_equal(plan.move(x[12:], 0.3, n_threads=1, n_steps=n_steps), want[12:])


@pytest.mark.parametrize("kind", ["plain", "maps", "distance"])
@pytest.mark.parametrize("is_small", [False, True])
def test_a_step_is_that_of_the_means(kind, is_small, dtype, every_isa):
    x, maps = cases.tokens(19, 5, dtype, n_replicas=13), {} if kind == "plain" else matrices(5, 3, 4, dtype)
    several = {"is_distance": kind == "distance", "is_small": is_small, **maps}
    want = x
    for _ in range(3):
        want, _ = sphere.step(want, attend_replica_rows(want, want, None, 2.0, 1, 0.5, **several)[0], 0.3, 1)
    got, bad = attend_replica_rows(x, x, None, 2.0, 3, 0.5, step=0.3, n_steps=3, **several)
    assert bad == -1
    assert np.array_equal(got, want)


@pytest.mark.parametrize("n_replicas", [1, 5, 16, 21])
def test_the_first_token_without_a_direction(n_replicas, dtype, every_isa):
    """Of alike tokens each is repelled to the origin."""
    x = cases.tokens(6, 3, dtype, n_replicas=n_replicas)
    x[-1] = [0.0, 1.0, 0.0]
    after, bad = attend_replica_rows(x, x, None, 0.0, 1, step=-1.0)
    assert bad == 6 * (n_replicas - 1)
    np.testing.assert_allclose(np.linalg.norm(after[:-1], axis=2), 1.0, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("is_distance", [False, True])
def test_the_largest_scores_without_a_maximum(is_distance, dtype):
    """No power overflows or is lost up to the size that the choice allows for."""
    x = np.repeat(np.array([[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]], dtype=dtype), 9, axis=0)
    size = 14.0 if is_distance else 48.0 / LOG2_E
    query = np.array([[1.0, 0.0], [0.0, 0.0]]) * (size**0.5 if is_distance else size)
    key = np.array([[1.0, 0.0], [0.0, 0.0]]) * (size**0.5 if is_distance else 1.0)
    if is_distance:
        query, key = query / 1.2, key / 1.2
        attention, form = cs.L2Attention(query=query, key=key), 2 * query.T @ key
    else:
        attention, form = cs.SoftmaxAttention(query=query, key=key), query.T @ key
    bias = -((x[0] @ key.T) ** 2).sum(axis=1) if is_distance else 0.0
    want, _ = twins.attention(x[0], form.astype(np.longdouble), bias=bias, dtype=np.longdouble)
    atol = twins.attention_tolerance(2 * size, 4, dtype)
    for part in (attention(x)[4], attention(x[0])):
        twins.assert_close(part, want, atol=atol, dtype=dtype)


def test_few_keys_of_many_queries():
    """The bits of a query do not depend on how many others there are."""
    x, y = cases.tokens(1000, 3)[0], cases.tokens(10, 3, seed=1)[0]
    for attention in (cs.SoftmaxAttention(beta=2.0), cs.L2Attention(query=np.eye(3), key=np.eye(3))):
        every = attention(x, sources=y, n_threads=2)
        assert np.array_equal(every[500:505], attention(x[500:505], sources=y))
