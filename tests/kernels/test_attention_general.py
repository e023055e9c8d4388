"""Attention with general Q, K, V, and of queries to other keys, agrees with its dense twin."""

import numpy as np
import pytest
from support import cases, twins

from chaosphere.common.shape import Shape
from chaosphere.interactions.direct import LOG2_E
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.kernels import attention as attention_kernel
from chaosphere.kernels import rows as kernel
from chaosphere.kernels.blocks import block_size


def factors(form):
    """Q and K, both dense, with QᵀK = form."""
    q = cases.rotation(len(form), 7) * 2
    return q, np.linalg.solve(q.T, form)


@pytest.mark.parametrize("kind", ["psd", "indefinite", "general"])
@pytest.mark.parametrize(("n", "dim"), [(1, 3), (2, 2), (33, 3), (65, 5), (257, 17), (299, 47), (33, 130), (600, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_general_matrices(isa, dtype, kind, n, dim, weighted):
    form, norm = cases.form(kind, dim, 3.0), 3.0
    value = cases.form("general", dim, 2.0, seed=3)
    query, key = factors(form)
    p = cases.weights(n) if weighted else None
    x = cases.tokens(n, dim, dtype, n_replicas=2 if n < 300 else 1)
    result = SoftmaxAttention(query=query, key=key, value=value).evaluate(x, p, n_threads=1)
    mean, log_partition = twins.attention(x, form, weights=p, value=value)
    # V adds a product of `dim` terms of size |V| <= 2; A x, rounded, another of size norm.
    atol = twins.attention_tolerance(2 * norm, dim, dtype, value_norm=2.0)
    twins.assert_close(result.value, mean, atol=atol, dtype=dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)
    assert result.energy is None


@pytest.mark.parametrize("kind", ["psd", "indefinite", "general"])
@pytest.mark.parametrize("norm", [16.0, 18.0, 270.0, 285.0, 5e3])
@pytest.mark.parametrize("weighted", [False, True])
def test_large_norms(isa, dtype, kind, norm, weighted):
    # 17.3 (float32) and 277 (float64) are where one shift for all pairs stops being safe.
    n, dim = 70, 3
    form = cases.form(kind, dim, norm)
    query, key = factors(form)
    p = cases.weights(n) if weighted else None
    x = cases.tokens(n, dim, dtype)[0]
    result = SoftmaxAttention(query=query, key=key).evaluate(x, p, n_threads=1)
    mean, log_partition = twins.attention(x, form, weights=p)
    # A x is rounded too, hence twice the norm. The twin's A differs from KᵀQ by its rounding, within the same bound.
    atol = twins.attention_tolerance(2 * norm, dim, dtype)
    twins.assert_close(result.value, mean, atol=atol, dtype=dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)


def test_a_symmetric_form_that_repels_every_token_from_itself(isa, dtype):
    # A = -βI: the diagonal weights are the smallest, as small as one shift allows.
    x = cases.tokens(50, 3, dtype)[0]
    x = np.concatenate([x[:1], np.repeat(x[:1], 49, axis=0)])
    x[25:] *= -1
    norm = 17.0 if dtype == np.float32 else 270.0
    att = SoftmaxAttention(query=-norm * np.eye(3), key=np.eye(3))
    atol = 0.5 * (len(x) + 2) * np.finfo(dtype).eps  # of N equal terms: docs/developers/error-bounds.md, "Means"
    twins.assert_close(att(x, n_threads=1), -x, atol=atol, dtype=dtype)
    alone = np.repeat(x[:1], 40, axis=0)  # nothing but pairs of the smallest weight
    twins.assert_close(att(alone, n_threads=1), alone, atol=atol, dtype=dtype)


@pytest.mark.parametrize("matrices", [("query", "key"), ("value",), ("query", "key", "value")])
def test_layout_of_the_matrices_does_not_matter(dtype, matrices):
    x = cases.tokens(40, 3, dtype)[0]
    forms = {name: cases.form("general", 3, 1.0, seed=i) for i, name in enumerate(matrices)}
    want = SoftmaxAttention(**forms)(x, n_threads=1)
    wide = {name: np.zeros((6, 6)) for name in forms}
    for name, matrix in forms.items():
        wide[name][::2, ::2] = matrix
    variants = {
        "lists": {name: m.tolist() for name, m in forms.items()},
        "strided": {name: m[::2, ::2] for name, m in wide.items()},
        "reversed": {name: m[::-1, ::-1].copy()[::-1, ::-1] for name, m in forms.items()},
        "Fortran": {name: np.asfortranarray(m) for name, m in forms.items()},
    }
    # KᵀQ of another layout may sum in another order: one rounding of a norm of 1.
    for same in variants.values():
        twins.assert_close(
            SoftmaxAttention(**same)(x, n_threads=1), want, atol=twins.attention_tolerance(1.0, 3, dtype), dtype=dtype
        )


@pytest.mark.parametrize("scale", [-2.5, 0.0, 1.0])
def test_value_scale_multiplies(isa, dtype, scale):
    x = cases.tokens(40, 3, dtype)[0]
    plain = SoftmaxAttention(beta=2.0)(x, n_threads=1)
    assert np.array_equal(SoftmaxAttention(beta=2.0, value_scale=scale)(x, n_threads=1), plain * dtype(scale))


@pytest.mark.parametrize("kind", ["psd", "indefinite"])
@pytest.mark.parametrize("n", [1, 2, 33, 65, 257, 600])
@pytest.mark.parametrize(("key_dim", "value_dim"), [(1, 1), (1, 5), (2, 17), (17, 2), (3, 4), (16, 47), (35, 35)])
@pytest.mark.parametrize("weighted", [False, True])
def test_symmetric_scores_and_values_of_other_dimensions(isa, dtype, kind, n, key_dim, value_dim, weighted):
    keys, values = units(n, key_dim, dtype, seed=2), units(n, value_dim, dtype, seed=3)
    p = cases.weights(n) if weighted else None
    signs = np.where(np.arange(key_dim) % 2, 1.0, 1.0 if kind == "psd" else -1.0)
    output = np.random.default_rng(4).uniform(-1, 1, (6, value_dim)) / value_dim if weighted else None
    scale = np.sqrt(3.0 * LOG2_E)
    mean, sums = attention_kernel.attend_bounded(
        (scale * keys.astype(np.float64)).astype(dtype),
        None if kind == "psd" else np.diag(signs).astype(dtype),
        None if output is None else output.astype(dtype),
        None if p is None else p[None],
        1.0,
        0.0,
        True,
        1,
        values_of_x=values,
    )
    want, log_partition = twins.attention(
        keys * signs.astype(dtype), 3.0, keys=keys, values=values, weights=p, value=output
    )
    atol = twins.attention_tolerance(6.0, max(key_dim, value_dim), dtype)
    twins.assert_close(mean, want, atol=atol, dtype=dtype)
    own = np.log(n) if p is None else 0.0  # uniform weights count 1 each
    twins.assert_close(np.log(sums) - own, log_partition, atol=atol)
    first = n // 2 // block_size(n) * block_size(n)
    some = attention_kernel.attend_bounded(keys, None, None, None, 1.0, 0.0, True, 1, first, n, values_of_x=values)
    every = attention_kernel.attend_bounded(keys, None, None, None, 1.0, 0.0, True, 2, values_of_x=values)
    assert all(np.array_equal(part, of_all[:, first:]) for part, of_all in zip(some, every, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values_of_x": np.ones((1, 4, 2))}, "values_of_x"),
        ({"values_of_x": np.ones((2, 5, 2))}, "values_of_x"),
        ({"values_of_x": np.ones((1, 5, 2)), "step": 0.1}, "value_map"),
        ({"values_of_x": np.ones((1, 5, 3)), "step": 0.1}, "values_of_x"),
        ({"values_of_x": np.ones((1, 5, 3)), "is_partition": True}, "values_of_x"),
        ({"values_of_x": np.ones((1, 5, 2)), "value_map": np.eye(3)}, "value_map"),
    ],
)
def test_values_that_the_kernel_refuses(changes, message):
    arguments = {"query_map": None, "value_map": None, "weights": None, "scale": 1.0, "shift": 1.0}
    with pytest.raises(AssertionError, match=message):
        attention_kernel.attend_bounded(
            cases.tokens(5, 3), **(arguments | {"is_symmetric": True, "n_threads": 1} | changes)
        )


@pytest.mark.parametrize("kind", ["same", "negative", "indefinite"])
@pytest.mark.parametrize(("n", "dim", "k", "v"), [(1, 9, 2, 3), (33, 20, 17, 5), (300, 20, 1, 20), (257, 40, 16, 17)])
@pytest.mark.parametrize("weighted", [False, True])
def test_symmetric_heads(isa, dtype, kind, n, dim, k, v, weighted):
    rng = np.random.default_rng([k, v, dim])
    query, value, output = (a / np.linalg.norm(a, 2) for a in (rng.standard_normal((m, dim)) for m in (k, v, v)))
    middle = {"same": np.eye(k), "negative": -np.eye(k), "indefinite": np.diag(np.cos(np.arange(k)))}[kind]
    att = SoftmaxAttention(query=query, key=3 * middle @ query, value=value, output=output.T)
    x, p = cases.tokens(n, dim, dtype, n_replicas=2), cases.weights(n) if weighted else None
    assert att.plan(Shape.of(x)).symmetric_head is not None
    result = att.evaluate(x, p, n_threads=2)
    want, log_partition = twins.attention(x, att.query.T @ att.key, weights=p, value=output.T @ value)
    atol = twins.attention_tolerance(2 * 3.0, dim, dtype)
    twins.assert_close(result.value, want, atol=atol, dtype=dtype)
    twins.assert_close(result.log_partition, log_partition, atol=atol)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 300), (300, 1), (2, 33), (33, 2), (70, 600), (600, 70), (31, 257)])
@pytest.mark.parametrize("dim", [2, 5, 17])
@pytest.mark.parametrize("mapped", [False, True])
def test_queries_other_than_keys(isa, dtype, m, n, dim, mapped):
    queries, keys = cases.tokens(m, dim, dtype, n_replicas=2, seed=1), cases.tokens(n, dim, dtype, n_replicas=2, seed=2)
    p = cases.weights(n)
    form = cases.form("general", dim, 4.0)
    value = cases.form("general", dim, 1.0, seed=5)
    query_map = np.ascontiguousarray(form.T * LOG2_E, dtype=dtype) if mapped else None
    mean, sums, exponents = kernel.attend_rows(
        queries, keys, query_map, value.astype(dtype), p, 1.0 if mapped else 4.0 * LOG2_E, 1
    )
    want, log_partition = twins.attention(queries, form if mapped else 4.0, keys=keys, weights=p, value=value)
    atol = twins.attention_tolerance(8.0, dim, dtype)
    twins.assert_close(mean, want, atol=atol, dtype=dtype)
    twins.assert_close(np.log(sums) + exponents / LOG2_E, log_partition, atol=atol)


def units(n, dim, dtype, *, seed):
    """Unit vectors (2, n, dim), of one coordinate as well."""
    x = np.random.default_rng([seed, n, dim]).standard_normal((2, n, dim))
    return (x / np.linalg.norm(x, axis=2, keepdims=True)).astype(dtype)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (33, 2), (31, 257), (70, 600)])
@pytest.mark.parametrize(("key_dim", "value_dim"), [(1, 1), (1, 5), (2, 17), (17, 2), (3, 4), (16, 47), (130, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_keys_and_values_of_other_dimensions(isa, dtype, m, n, key_dim, value_dim, weighted):
    queries, keys = units(m, key_dim, dtype, seed=1), units(n, key_dim, dtype, seed=2)
    values = units(n, value_dim, dtype, seed=3)
    rng = np.random.default_rng(4)
    p = cases.weights(n) if weighted else None
    bias = rng.uniform(-3, 0, (2, n)) if weighted else None
    output = rng.uniform(-1, 1, (6, value_dim)) / value_dim if weighted else None
    mean, sums, exponents = kernel.attend_rows(
        queries,
        keys,
        None,
        None if output is None else output.astype(dtype),
        p,
        4.0 * LOG2_E,
        1,
        values=values,
        bias=None if bias is None else bias * LOG2_E,
    )
    want, log_partition = twins.attention(
        queries, 4.0, keys=keys, values=values, weights=p, bias=0.0 if bias is None else bias, value=output
    )
    # A score is a sum of key_dim + 1 terms within 4, and a bias within 3; the output's rows are no longer than 1.
    atol = twins.attention_tolerance(8.0, max(key_dim, value_dim), dtype)
    twins.assert_close(mean, want, atol=atol, dtype=dtype)
    own = np.log(n) if p is None else 0.0  # uniform weights count 1 each
    twins.assert_close(np.log(sums) + exponents / LOG2_E - own, log_partition, atol=atol)


def test_values_that_are_the_keys_and_a_bias_of_nothing_change_no_bit(isa, dtype):
    queries, keys = cases.tokens(40, 5, dtype, n_replicas=2, seed=1), cases.tokens(300, 5, dtype, n_replicas=2, seed=2)
    p = cases.weights(300)
    want = kernel.attend_rows(queries, keys, None, None, p, 5.0, 1)
    for same in ({"values": keys.copy()}, {"bias": np.zeros((2, 300))}):
        assert all(map(np.array_equal, kernel.attend_rows(queries, keys, None, None, p, 5.0, 1, **same), want))


def test_each_system_has_its_own_bias(isa, dtype):
    queries, keys = cases.tokens(9, 3, dtype, n_replicas=2, seed=1), cases.tokens(70, 3, dtype, n_replicas=2, seed=2)
    bias = np.random.default_rng(0).uniform(-9, 0, (2, 70))
    both = kernel.attend_rows(queries, keys, None, None, None, 5.0, 1, bias=bias)
    for r in range(2):
        one = slice(r, r + 1)
        alone = kernel.attend_rows(queries[one], keys[one], None, None, None, 5.0, 1, bias=bias[one])
        assert all(np.array_equal(batch[one], part) for batch, part in zip(both, alone, strict=True))


@pytest.mark.parametrize(("dim", "n_rows"), [(2, 1), (3, 3), (5, 17), (130, 16)])
@pytest.mark.parametrize("n", [1, 33, 600])
def test_mapped_tokens(isa, dtype, dim, n_rows, n):
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    matrix = np.random.default_rng(1).uniform(-1, 1, (n_rows, dim)).astype(dtype)
    mapped = kernel.map_tokens(x, matrix, 1)
    size = np.abs(x).astype(np.longdouble) @ np.abs(matrix).T
    atol = (dim + 1) * np.finfo(dtype).eps * size
    twins.assert_close(mapped, x.astype(np.longdouble) @ matrix.T, atol=atol, dtype=dtype)
    for same in cases.layouts(x).values():
        assert np.array_equal(kernel.map_tokens(same, matrix, 1), mapped)
    some = np.random.default_rng(2).permutation(n)[: n // 2 + 1]
    assert np.array_equal(kernel.map_tokens(x[:, some], matrix, 1), mapped[:, some])


def test_rows_without_weights_count_one_each(isa, dtype):
    queries, keys = cases.tokens(5, 3, dtype, seed=1), cases.tokens(40, 3, dtype, seed=2)
    _, sums, exponents = kernel.attend_rows(queries, keys, None, None, None, 0.0, 1)
    assert np.array_equal(sums, np.full((1, 5), 40.0))
    assert np.array_equal(exponents, np.zeros((1, 5)))


@pytest.mark.parametrize("scale", [1e3, 5e4])
def test_rows_of_any_score_and_blocks_of_zero_weight(isa, dtype, scale):
    # The running maximum: the best key comes last, first, or after a block whose weights are all 0.
    n, dim = 200, 3
    keys = cases.tokens(n, dim, dtype, seed=2)
    queries = cases.tokens(9, dim, dtype, seed=1)
    order = np.argsort(queries[0, 0] @ keys[0].T)
    p = np.ones(n)
    p[:70] = 0
    for sort in (order, order[::-1]):
        y = np.ascontiguousarray(keys[:, sort])
        mean, sums, exponents = kernel.attend_rows(queries, y, None, None, p / p.sum(), scale * LOG2_E, 1)
        want, log_partition = twins.attention(queries, scale, keys=y, weights=p / p.sum())
        atol = twins.attention_tolerance(scale, dim, dtype)
        twins.assert_close(mean, want, atol=atol, dtype=dtype)
        twins.assert_close(np.log(sums) + exponents / LOG2_E, log_partition, atol=atol)
        assert (np.abs(np.linalg.norm(mean, axis=2)) <= 1 + 8 * np.finfo(dtype).eps).all()


def test_layouts_of_queries_and_keys_do_not_matter(isa, dtype):
    queries, keys = cases.tokens(40, 3, dtype, n_replicas=2, seed=1), cases.tokens(70, 3, dtype, n_replicas=2, seed=2)
    want = kernel.attend_rows(queries, keys, None, None, None, 5.0, 1)
    same_queries, same_keys = cases.layouts(queries), cases.layouts(keys)
    for name in same_queries:
        got = kernel.attend_rows(same_queries[name], same_keys[name], None, None, None, 5.0, 1)
        assert all(map(np.array_equal, got, want)), name
