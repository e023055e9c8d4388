"""Rows of any queries, keys and values under a causal mask: lanes along systems, or along queries."""

import numpy as np
import pytest
from support import cases, twins
from test_replica_rows import matrices

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.few_tokens import MAX_ROW_TOKENS, MAX_TOKENS
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.kernels.replica_rows import attend_replica_rows

LOG2_E = float(np.log2(np.e))
SHAPES = [(1, 1, 1, 1), (2, 2, 2, 2), (5, 3, 3, 3), (17, 4, 2, 9), (33, 23, 16, 5), (100, 5, 8, 4)]


def causal(x, decay=0.0, weights=None, first=0, n_threads=1, **several):
    """Attention of tokens `first`, ... to those up to each, with the scale 2."""
    places = {"first_query": first, "decay": decay}
    return attend_replica_rows(x[:, first:].copy(), x, weights, 2.0, n_threads, **places, **several)


@pytest.mark.parametrize(("decay", "size"), [(0.0, 3.0), (0.3, 3.0), (0.0, 3e3), (1e6, 0.0)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("is_small", [False, True])
@pytest.mark.parametrize(("n", "dim", "k", "v"), SHAPES)
def test_means_and_sums(n, dim, k, v, is_small, weighted, size, decay, dtype, isa):
    x, maps = cases.tokens(n, dim, dtype, n_replicas=9), matrices(dim, k, v, dtype)
    if is_small:
        size, decay = min(size, 3.0), min(decay, 0.1)
    maps["query"] = maps["query"] * dtype(size)
    p = cases.weights(n) + 1e-3 if weighted else np.ones(n)
    means, sums, exponents = causal(
        x, decay, p if weighted else None, 0, 2, value_scale=-0.5, is_small=is_small, **maps
    )
    assert not (is_small and exponents.any())
    wide = {name: matrix.astype(np.longdouble) for name, matrix in maps.items()}
    form = 2 / np.longdouble(LOG2_E) * wide["query"].T @ wide["key"]
    value = -0.5 * wide["output"] @ wide["value"]
    tolerance = twins.attention_tolerance(4 * size + (50 if decay > 0 else 0), dim + k, dtype)
    for r in (0, 8):
        several = {"weights": p, "value": value, "dtype": np.longdouble, "decay": n * decay / np.longdouble(LOG2_E)}
        want, log_z = twins.causal_attention(x[r], form, **several)
        twins.assert_close(means[r], want, atol=tolerance, dtype=dtype)
        got = np.log(sums[r]) + exponents[r] / LOG2_E
        twins.assert_close(got, log_z.astype(np.float64), atol=tolerance, rtol=1e-15 if dtype == np.float64 else 1e-7)


@pytest.mark.parametrize("is_small", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize(("n", "dim", "k", "v"), SHAPES)
def test_a_query_depends_on_what_it_sees_alone(n, dim, k, v, decay, is_small, dtype, every_isa):
    """Alone and in batches, among all queries and among the last, whatever the tokens are that come later."""
    x = cases.tokens(n, dim, dtype, n_replicas=17)
    several = {"is_small": is_small, **matrices(dim, k, v, dtype)}
    alone = [
        np.concatenate(part) for part in zip(*(causal(x[r : r + 1], decay, **several) for r in range(17)), strict=True)
    ]
    for n_replicas in (3, 7, 9, 17):
        for n_threads in (1, 3):
            for part, own in zip(causal(x[:n_replicas], decay, n_threads=n_threads, **several), alone, strict=True):
                assert np.array_equal(part, own[:n_replicas])
    first = n // 3
    y = np.concatenate([x[:, : first + 1], -x[:, first + 1 :]], axis=1)
    for part, other, own in zip(
        causal(x, decay, first=first, **several), causal(y, decay, **several), alone, strict=True
    ):
        assert np.array_equal(part, own[:, first:])
        assert np.array_equal(other[:, : first + 1], own[:, : first + 1])
    some = attend_replica_rows(
        x[:, first : first + 1].copy(), x, None, 2.0, 1, first_query=first, decay=decay, **several
    )
    assert np.array_equal(some[0], alone[0][:, first : first + 1])


def interactions(dim):
    m, narrow = matrices(dim, dim, dim, np.float64), matrices(dim, 2, 3, np.float64)
    general = {name: m[name] for name in ("query", "key", "value")} | {"mask": "causal"}
    return {
        "general": cs.SoftmaxAttention(**general),
        "decay": cs.SoftmaxAttention(**general, decay=5.0),
        "fast decay": cs.SoftmaxAttention(**general, decay=1e4),
        "fast decay of a multiple": cs.SoftmaxAttention(beta=2.0, mask="causal", decay=1e4),
        "negative": cs.SoftmaxAttention(beta=-2.0, mask="causal"),
        "symmetric": cs.SoftmaxAttention(query=m["query"], key=m["query"], mask="causal"),
        "head": cs.SoftmaxAttention(**narrow, mask="causal", decay=5.0),
        "head, fast decay": cs.SoftmaxAttention(**narrow, mask="causal", decay=1e3),
        "narrow V, fast decay": cs.SoftmaxAttention(
            beta=1.0, value=narrow["value"], output=narrow["output"], mask="causal", decay=1e3
        ),
        "any size": cs.SoftmaxAttention(**general | {"query": 1e4 * m["query"]}),
        "heads": cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(**general), cs.SoftmaxAttention(**narrow)]),
    }


@pytest.mark.parametrize("name", interactions(5))
@pytest.mark.parametrize("n", [1, 2, MAX_ROW_TOKENS, MAX_TOKENS + 1, 2 * MAX_TOKENS, 2 * MAX_TOKENS + 1])
def test_the_choice_does_not_depend_on_the_number_of_systems(name, n):
    x, attention = cases.tokens(n, 5, n_replicas=20), interactions(5)[name]
    uneven = cases.weights(n)
    uneven[n // 2] = 1e-200
    uneven[-1] = 0.0 if n > 1 else 1.0
    for p in (None, cases.weights(n) + 1e-3, uneven):
        p = None if p is None else p / p.sum()
        together = attention(x, p, n_threads=2)
        for r in (0, 9, 19):
            assert np.array_equal(attention(x[r], p, n_threads=1), together[r])
        plan = attention.plan(Shape.of(x), p)
        for first, stop in [(0, 64), (64, n)] if n > 64 else [(0, n)]:
            assert np.array_equal(plan.rows(x, first=first, stop=stop, n_threads=1), together[:, first:stop])


@pytest.mark.parametrize("name", [name for name in interactions(5) if name != "heads"])
@pytest.mark.parametrize("n", [1, 8, 2 * MAX_TOKENS])
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_of_a_run_are_steps_one_by_one(name, n, weighted, dtype):
    x, p = cases.tokens(n, 5, dtype, n_replicas=13), cases.weights(n) + 1e-3
    plan = interactions(5)[name].plan(Shape.of(x), p / p.sum() if weighted else None)
    assert plan.max_fused_steps > 1
    want = x
    for _ in range(3):
        want = InteractionPlan.move(plan, want.copy(), 0.3, n_threads=1)
    assert np.array_equal(plan.move(x, 0.3, n_threads=2, n_steps=3), want)
    assert np.array_equal(plan.move(x[12:], 0.3, n_threads=1, n_steps=3), want[12:])
    assert plan.n_fixed == 0 or np.array_equal(want[:, 0], x[:, 0])


@pytest.mark.parametrize(
    "name", ["general", "fast decay", "negative", "head", "head, fast decay", "narrow V, fast decay", "any size"]
)
@pytest.mark.parametrize(("n", "dim"), [(1, 5), (16, 5), (65, 17), (128, 40)])
def test_attention(name, n, dim, dtype, isa):
    """Of what users call: against the twin, also for a token of little weight, far from the others."""
    attention, x = interactions(dim)[name], cases.tokens(n, dim, dtype, n_replicas=2)
    p = cases.weights(n) + 1e-3
    p[n // 2] = 1e-30 if n > 1 else 1.0
    p /= p.sum()
    form = attention.beta if attention.query is None else (attention.query.T @ attention.key).astype(np.longdouble)
    value = 1.0 if attention.value is None else attention.value
    if attention.output is not None:
        value = attention.output @ attention.value
    several = {"value": value, "decay": attention.decay, "dtype": np.longdouble}
    size = 1e4 if name == "any size" else 10 + 50 * (attention.decay > 0)
    for weights in (None, p):
        want, _ = twins.causal_attention(x[1], form, weights=weights, **several)
        atol = twins.attention_tolerance(2 * size, 2 * dim, dtype)
        twins.assert_close(attention(x, weights)[1], want, atol=atol, dtype=dtype)
