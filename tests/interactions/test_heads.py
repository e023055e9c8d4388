"""Attention with matrices of few rows, and attention to other tokens than the queries."""

import dataclasses

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.head import LOG2_E, SMALL_SCORE, balanced, product_norm

DTYPES = [np.float64, np.float32]


def matrix(n_rows, dim, *, seed, norm=1.5):
    """A matrix (n_rows, d) of this norm, dense."""
    a = np.random.default_rng([seed, n_rows, dim]).standard_normal((n_rows, dim))
    return norm * a / np.linalg.norm(a, 2)


def attention(k, v, dim, **changes):
    """Query and key (k, d), value (v, d) and output (d, v)."""
    matrices = {"query": matrix(k, dim, seed=0), "key": matrix(k, dim, seed=1)}
    matrices |= {"value": matrix(v, dim, seed=2), "output": matrix(v, dim, seed=3).T}
    return cs.SoftmaxAttention(**(matrices | changes))


def twin(att, x, **several):
    value = att.value if att.output is None else att.output @ att.value
    return twins.attention(x, att.query.T @ att.key, value=value, **several)


def uses_head(att, x, weights=None):
    return att.plan(Shape.of(x), weights).head is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("k", "v"), [(1, 1), (1, 9), (3, 2), (9, 1), (20, 12), (12, 20), (40, 40)])
@pytest.mark.parametrize(("n", "dim"), [(1, 9), (33, 20), (300, 40)])
@pytest.mark.parametrize("weighted", [False, True])
def test_matrices_of_any_number_of_rows(dtype, k, v, n, dim, weighted):
    x, p = cases.tokens(n, dim, dtype, n_replicas=2), cases.weights(n) if weighted else None
    att = attention(k, v, dim)
    result = att.evaluate(x, p, n_threads=2)
    mean, log_partition = twin(att, x, weights=p)
    # |Q| |K| and |output| |value| are 2.25; with more rows than d the form is taken, whose norm is no larger.
    atol = twins.attention_tolerance(2 * 2.25, 2 * max(k, v, dim), dtype, value_norm=2.25)
    twins.assert_close(result.value, mean, atol=atol, dtype=dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)
    assert result.energy is None


def test_a_head_is_used_where_it_takes_fewer_operations():
    x = cases.tokens(300, 64)
    assert uses_head(attention(16, 16, 64), x)
    assert uses_head(attention(16, 64, 64, value=None, output=None), x)  # 16 + 64 + 18 < 142
    assert uses_head(attention(60, 64, 64, value=None, output=None), x)  # small scores: 60 + 64 + 14 < 142
    assert not uses_head(attention(64, 64, 64, value=None, output=None), x)
    low_rank = {"value": matrix(8, 64, seed=2), "output": matrix(8, 64, seed=3).T}
    assert uses_head(cs.SoftmaxAttention(beta=2.0, method="direct", **low_rank), x)  # (64 + 16 + 15)/2 < 103.5
    assert not uses_head(attention(64, 64, 64), x)
    assert not uses_head(attention(3, 3, 3, value=None, output=None), cases.tokens(9, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", [None, "causal"])
@pytest.mark.parametrize("share", [0.95, 1.05], ids=["without", "with"])
def test_scores_with_and_without_a_running_maximum(dtype, mask, share):
    """Norms of Q and K on either side of the limit, and tokens whose scores are all near minus that."""
    dim, bound = 20, share * SMALL_SCORE / LOG2_E
    direction = np.eye(dim)[0]
    x = cases.tokens(300, dim).astype(np.float64) * 0.05 + direction
    x = (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)
    query = np.sqrt(bound) * np.eye(dim)[:2]
    query[1, 2] = 1.0  # Q and K that are no multiples of each other: no weight serves two orders
    att = attention(2, 3, dim, query=query, key=-np.sqrt(bound) * np.eye(dim)[:2], mask=mask, method="direct")
    plan = att.plan(Shape.of(x), None)
    assert plan.head.is_small == (share < 1)
    small_first = np.append(1e-35, cases.weights(299) * (1 - 1e-35))  # under a mask, all that the first token sees
    for weights in (None, cases.weights(300), small_first):
        result, value = att.evaluate(x, weights, n_threads=1), att.output @ att.value
        of_mask = twins.attention if mask is None else twins.causal_attention
        mean, log_partition = of_mask(x, att.query.T @ att.key, value=value, weights=weights)
        atol = twins.attention_tolerance(2 * bound, dim, dtype, value_norm=2.25)
        twins.assert_close(result.value, mean, atol=atol, dtype=dtype)
        twins.assert_close(result.log_partition, log_partition, atol=atol, rtol=4 * np.finfo(dtype).eps)


def test_the_norm_of_a_product():
    """Of matrices of few rows without the product itself."""
    for k in (1, 5, 40, 64):
        q, key = matrix(k, 64, seed=0), matrix(k, 64, seed=1)
        assert abs(product_norm(q, key) - np.linalg.norm(q.T @ key, 2)) < 1e-13 * np.linalg.norm(q) ** 2
    assert product_norm(0 * q, key) == 0
    assert product_norm(1e200 * q[:2], 1e200 * key[:2]) == np.inf
    assert not np.isfinite(product_norm(np.full((2, 64), 1e308), np.full((2, 64), 1e308)))


def test_where_one_exponential_serves_both_orders():
    def is_shared(att):
        return att.plan(Shape.of(cases.tokens(300, 64)), None).symmetric_head is not None

    same, signs = matrix(16, 64, seed=0), np.diag(np.where(np.arange(16) % 3, 1.0, -2.0))
    for key in (same, -same, signs @ same):
        assert is_shared(attention(16, 16, 64, query=same, key=key))
        assert is_shared(attention(16, 64, 64, query=same, key=key, value=None, output=None))  # 79.5 < 98 and 103.5
        assert not is_shared(attention(16, 16, 64, query=same, key=key, mask="causal"))
    assert not is_shared(attention(16, 16, 64))
    assert not is_shared(attention(16, 16, 64, query=12 * same, key=12 * same))  # no one shift fits all scores
    assert not is_shared(attention(64, 64, 64, query=np.eye(64), key=np.eye(64)))


@pytest.mark.parametrize("form", [{"beta": 2.0}, {"query": matrix(64, 64, seed=0), "key": matrix(64, 64, seed=1)}])
def test_values_of_low_rank_alone(form):
    x = cases.tokens(200, 64)
    output, value = matrix(4, 64, seed=3).T, matrix(4, 64, seed=2)
    att = cs.SoftmaxAttention(**form, value=value, output=output)
    assert uses_head(att, x)
    want = cs.SoftmaxAttention(**form, value=output @ value).evaluate(x)
    result = att.evaluate(x)
    twins.assert_close(result.value, want.value, atol=1e-14)
    twins.assert_close(result.log_partition, want.log_partition, atol=1e-14)
    assert (result.energy is None) == (want.energy is None)
    if want.energy is not None:
        twins.assert_close(result.energy, want.energy, rtol=1e-13)


def test_factors_that_cancel_are_multiplied_first():
    # |QᵀK| is about 1e-5 of |Q| |K|: in R^2 the scores would lose five digits. These matrices have an exact product.
    row, other, small = (np.round(2**10 * matrix(1, 20, seed=s, norm=1.0)) / 2**10 for s in (5, 6, 7))
    query, key = np.concatenate([row, row]), np.concatenate([2**15 * other + small, small - 2**15 * other])
    assert balanced(query, key) is None
    x = cases.tokens(100, 20)
    att = attention(2, 1, 20, query=query, key=key)
    assert uses_head(att, x)  # for its values
    mean, _ = twin(att, x)
    twins.assert_close(att(x), mean, atol=twins.attention_tolerance(4.0, 20, np.float64, value_norm=2.25))


def test_factors_of_very_different_sizes_are_balanced():
    x = cases.tokens(50, 9, np.float32)
    want = attention(2, 1, 9)(x)
    q, k, v, o = (getattr(attention(2, 1, 9), name) for name in ("query", "key", "value", "output"))
    scaled = cs.SoftmaxAttention(query=2.0**150 * q, key=2.0**-150 * k, value=2.0**-200 * v, output=2.0**200 * o)
    assert np.array_equal(scaled(x), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_a_head_are_those_of_the_whole(dtype):
    x = cases.tokens(300, 20, dtype)
    for att in (attention(3, 2, 20), attention(3, 2, 20, key=-matrix(3, 20, seed=0))):
        plan = att.plan(Shape.of(x))
        want = plan.drift(x, n_threads=1)
        for first, stop in ((0, 64), (64, 192), (256, 300)):
            assert np.array_equal(plan.rows(x, first=first, stop=stop, n_threads=2), want[:, first:stop])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tracers_of_a_symmetric_head(dtype):
    x, p = cases.tokens(90, 20, dtype, n_replicas=2), cases.weights(90)
    p[::4] = 0
    p /= p.sum()
    att = attention(3, 2, 20, key=-matrix(3, 20, seed=0))
    mean, log_partition = twin(att, x, weights=p)
    atol = twins.attention_tolerance(2 * 2.25, 40, dtype, value_norm=2.25)
    result = att.evaluate(x, p)
    twins.assert_close(result.value, mean, atol=atol, dtype=dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)


def test_a_head_in_a_model_with_tracers():
    law = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=2.0)
    att = attention(1, 1, 3)
    limit = cs.MeanField(model=cs.Transformer(attention=att, mlp=None, depth=5, horizon=1.0), law=law, n_nodes=40)
    start = limit.start(cs.sample_uniform(7, 3, rng=0))
    x = cs.simulate(limit, start, rng=0).final
    y = start
    for _ in range(5):
        drift, _ = twin(att, y, keys=y[: len(limit.weights)], weights=limit.weights)
        y = cs.normalize(y + 0.2 * drift)
    twins.assert_close(x, y, atol=1e-13)


# Attention to other tokens.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["beta", "general", "head"])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 300), (300, 1), (40, 70)])
def test_sources(dtype, weighted, kind, m, n):
    att = {
        "beta": cs.SoftmaxAttention(beta=2.25, value_scale=-0.5),
        "general": attention(9, 9, 9, output=None, value=matrix(9, 9, seed=2)),
        "head": attention(2, 3, 9),
    }[kind]
    p = cases.weights(n) if weighted else None
    x, z = cases.tokens(m, 9, dtype, n_replicas=2, seed=1), cases.tokens(n, 9, dtype, n_replicas=2, seed=2)
    result = att.evaluate(x, sources=z, weights=p)
    if kind == "beta":
        mean, log_partition = twins.attention(x, 2.25, keys=z, weights=p, value=-0.5)
    else:
        mean, log_partition = twin(att, x, keys=z, weights=p)
    atol = twins.attention_tolerance(2 * 2.25, 18, dtype, value_norm=2.25)
    twins.assert_close(result.value, mean, atol=atol, dtype=dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)
    assert result.energy is None
    assert result.n_direct.tolist() == [m, m]
    assert np.array_equal(att(x, p, sources=z), result.value)
    alone = att(x[0], sources=z[0], weights=p)
    assert np.array_equal(alone, result.value[0])


@pytest.mark.parametrize("dim", [2, 3, 9])
def test_a_system_as_its_own_sources(dim):
    x, p = cs.sample_uniform(200, dim, rng=0), cases.weights(200)
    for att in (cs.SoftmaxAttention(beta=3.0), attention(2, 2, dim)):
        twins.assert_close(att(x, sources=x, weights=p), att(x, p), atol=1e-14)


def test_threads_change_no_bit_of_attention_to_sources():
    x, z = cs.sample_uniform(500, 9, rng=0), cs.sample_uniform(700, 9, rng=1)
    att = attention(2, 3, 9)
    assert np.array_equal(att(x, sources=z, n_threads=1), att(x, sources=z, n_threads=3))


X = cs.sample_uniform(8, 3, rng=0)
ATTENTION = cs.SoftmaxAttention(beta=1.0)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: ATTENTION(X, sources=X[:, :2]), ValueError, "sources must lie on the unit sphere"),
        (lambda: ATTENTION(X, sources=[[1.0, 0.0]]), TypeError, "sources must be a float64 or float32 array, got list"),
        (lambda: ATTENTION(X, sources=X[:0]), ValueError, "sources must hold at least one token"),
        (
            lambda: ATTENTION(X, sources=cs.sample_uniform(5, 4, rng=0)),
            ValueError,
            r"sources must have the dim and the replicas of x, \(8, 3\), got \(5, 4\)",
        ),
        (lambda: ATTENTION(X, sources=X[None]), ValueError, "sources must have the dim and the replicas of x"),
        (lambda: ATTENTION(X[None], sources=np.stack([X, X])), ValueError, r"replicas of x, \(1, 8, 3\), got \(2, 8"),
        (lambda: ATTENTION(X, sources=X.astype(np.float32)), TypeError, "sources must have the dtype of x, float64"),
        (lambda: ATTENTION(X, np.ones(8) / 8, sources=X[:4]), ValueError, r"weights must have shape \(4,\)"),
        (
            lambda: cs.SoftmaxAttention(beta=1.0, method="harmonic").evaluate(X, sources=X),
            ValueError,
            "method must be 'auto' or 'direct' for attention to sources, got 'harmonic'",
        ),
        (lambda: cs.SoftmaxAttention(beta=1e15)(X, sources=X), ValueError, "beta must be <= 4.5e"),
        (lambda: cs.SoftmaxAttention(output=np.eye(3)), ValueError, "output must be given together with value"),
        (
            lambda: cs.SoftmaxAttention(value=np.ones((2, 3)), output=np.ones((2, 3))),
            ValueError,
            r"output and value must have shapes \(d, v\) and \(v, d\), got \(2, 3\) and \(2, 3\)",
        ),
        (
            lambda: cs.SoftmaxAttention(value=np.ones((1, 3)), output=np.full((3, 1), np.nan)),
            ValueError,
            "output must be finite, found nan",
        ),
        (lambda: cs.SoftmaxAttention(value=np.ones(3), output=np.ones(3)), ValueError, "value must be a matrix of at"),
        (lambda: cs.SoftmaxAttention(query=np.ones((2, 3)), key=np.ones((2, 4))), ValueError, "must have one shape"),
        (lambda: cs.SoftmaxAttention(query=np.ones((0, 3)), key=np.ones((0, 3))), ValueError, "at least one row and 2"),
        (
            lambda: cs.SoftmaxAttention(query=np.ones((2, 3)), key=np.ones((2, 3)), value=np.eye(4)),
            ValueError,
            r"query, key and value must have one number of columns, that of x, got \[3, 4\]",
        ),
        (lambda: attention(2, 2, 4)(X), ValueError, "x must have dim 4, that of the matrices, got 3"),
        (
            lambda: cs.SoftmaxAttention(value=np.full((1, 3), 1e200), output=np.full((3, 1), 1e200))(X),
            ValueError,
            r"the entries of output times value must be <= 1e\+100 in size for float64 tokens, got inf",
        ),
    ],
)
def test_bad_input(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_the_energy_is_of_output_times_value():
    x, eye = cs.sample_uniform(50, 3, rng=0), np.eye(3)
    want = cs.SoftmaxAttention(beta=2.0).energy(x)
    assert cs.SoftmaxAttention(beta=2.0, value=2 * eye, output=0.5 * eye).energy(x) == want
    assert cs.SoftmaxAttention(beta=2.0, value=eye, output=np.diag([1.0, 1.0, 0.0])).energy(x) is None
    assert cs.SoftmaxAttention(beta=2.0, value=eye[:1], output=eye[:, :1]).energy(x) is None


def test_a_spec_compares_and_prints_its_output():
    att = attention(2, 3, 9)
    assert att == dataclasses.replace(att)
    assert att != dataclasses.replace(att, output=2 * att.output)
    assert "value=float64[3, 9], output=float64[9, 3]" in repr(att)
    assert not att.output.flags.writeable


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (cs.SoftmaxAttention(beta=1e5), r"beta must be <= 8.39e\+04 for float32 tokens, got 100000"),
        (cs.SoftmaxAttention(beta=-1e5), r"the size of beta must be <= 8.39e\+04 for float32 tokens"),
        (
            cs.SoftmaxAttention(query=1e5 * np.eye(3), key=np.eye(3)),
            r"the norm of QᵀK must be <= 8.39e\+04 for float32",
        ),
    ],
)
def test_scores_too_large_for_float32(attention, message):
    x = cs.sample_uniform(5, 3, rng=0)
    assert np.isfinite(attention(x)).all()
    with pytest.raises(ValueError, match=message):
        attention(x.astype(np.float32))
