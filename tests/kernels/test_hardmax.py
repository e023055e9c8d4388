"""Hardmax attention agrees with its twin to the rounding of a mean, and about ties to the bit."""

import math

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.kernels import abi
from chaosphere.kernels.blocks import block_size
from chaosphere.kernels.hardmax import hardmax

SIZES = [(1, 1, 2), (33, 5, 3), (40, 300, 5), (300, 300, 3), (70, 65, 17), (33, 40, 130)]


def matrices(k, dim, dtype=np.float64):
    generator = np.random.default_rng([k, dim])
    return generator.standard_normal((2, k, dim)).astype(dtype)


@pytest.mark.parametrize(("m", "n", "dim"), SIZES)
@pytest.mark.parametrize("kind", ["distance", "matrices", "all"])
def test_against_the_twin(isa, dtype, m, n, dim, kind):
    x, y = cases.tokens(m, dim, dtype, n_replicas=2), cases.tokens(n, dim, dtype, n_replicas=2, seed=1)
    query, key = matrices(max(1, dim - 1), dim, dtype) if kind != "distance" else (None, None)
    value = cases.form("general", dim, 2.0).astype(dtype) if kind == "all" else None
    p = cases.weights(n) if kind != "matrices" else None
    mean, mass = hardmax(x, y, query, key, value, p, 1, 0.5 if kind == "all" else 1.0)
    want = twins.hardmax(x, y, query=query, key=key, weights=p, value=value, dtype=dtype)
    twins.assert_close(mean, want * (0.5 if kind == "all" else 1), atol=4 * dim * np.finfo(dtype).eps, dtype=dtype)
    assert (mass > 0).all()
    assert mass.shape == (2, m)


@pytest.mark.parametrize(("n", "dim"), [(1, 2), (40, 5), (300, 3), (700, 17)])
@pytest.mark.parametrize("kind", ["distance", "all"])
def test_causal_against_the_twin(isa, dtype, n, dim, kind):
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    x[:, n // 2 :] = x[:, : n - n // 2]  # ties with tokens in other blocks
    maps = (None, None, None)
    if kind == "all":
        maps = (*matrices(max(1, dim - 1), dim, dtype), cases.form("general", dim, 2.0).astype(dtype))
    p = np.arange(n) % 3.0
    p[0] = 1.0
    mean, mass = hardmax(x, x, *maps, p, 1, 1.0, True)
    several = {"query": maps[0], "key": maps[1], "value": maps[2], "weights": p}
    want = twins.hardmax(x, x, is_causal=True, dtype=dtype, **several)
    twins.assert_close(mean, want, atol=4 * dim * np.finfo(dtype).eps, dtype=dtype)
    assert (mass > 0).all()
    # Some blocks of queries, as a rank takes them.
    size = block_size(n)
    for first, stop in ((0, size), (size, n), (size, 2 * size)):
        if stop <= n and first < stop:
            part, _ = hardmax(x[:, first:stop], x, *maps, p, 1, 1.0, True, first)
            assert np.array_equal(part, mean[:, first:stop])


def test_exact_ties_of_small_integers(every_isa, dtype):
    # Scores are integers: nearly every query has several keys of the largest, and no rounding hides a wrong choice.
    generator = np.random.default_rng(0)
    x, y = (generator.integers(-2, 3, (1, n, 4)).astype(dtype) for n in (150, 500))
    query, key = (generator.integers(-1, 2, (3, 4)).astype(dtype) for _ in range(2))
    p = generator.integers(0, 4, 500) / 4.0
    for maps in ((None, None), (query, key)):
        mean, mass = hardmax(x, y, *maps, None, p, 1)
        scores = -((x[0, :, None] - y[0]) ** 2).sum(-1) if maps[0] is None else (x[0] @ query.T) @ (y[0] @ key.T).T
        scores = np.where(p > 0, scores, -np.inf)
        w = np.where(scores == scores.max(axis=1, keepdims=True), p, 0.0)
        assert np.array_equal(mass[0], w.sum(axis=1))
        assert np.median((w > 0).sum(axis=1)) > 1
        twins.assert_close(mean[0], w @ y[0] / w.sum(axis=1)[:, None], atol=2 * np.finfo(dtype).eps, dtype=dtype)


def test_signed_zeros_and_duplicates(every_isa, dtype):
    keys = np.array([[[0.0, 1.0], [-0.0, 1.0], [0.0, 1.0], [-1.0, 0.0], [-1.0, -0.0]]], dtype)
    queries = np.array([[[-0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]], dtype)
    mean, mass = hardmax(queries, keys, None, None, None, None, 1)
    assert np.array_equal(mass, [[3, 2, 2]])
    assert np.array_equal(mean[0], [[0, 1], [-1, 0], [-1, 0]])
    # Every score of a zero matrix is a zero of some sign: all count.
    mean, mass = hardmax(queries, keys, np.zeros((1, 2), dtype), -np.ones((1, 2), dtype), None, None, 1)
    assert (mass == 5).all()
    twins.assert_close(mean[0], np.tile(keys[0].mean(axis=0), (3, 1)), atol=np.finfo(dtype).eps, dtype=dtype)


def test_a_token_is_nearest_to_itself_whatever_its_rounding(every_isa, dtype):
    # Neighbours at distances of some units in the last place, whose products with a token may exceed its square.
    x = cases.tokens(1, 3, dtype)[0]
    near = x + np.finfo(dtype).eps * np.random.default_rng(0).integers(-4, 5, (200, 3)).astype(dtype)
    near = np.unique(near, axis=0)[None]
    assert ((near[0] @ near[0].T).argmax(axis=1) != np.arange(len(near[0]))).any()
    mean, mass = hardmax(near, near, None, None, None, None, 1)
    assert np.array_equal(mean, near)
    assert (mass == 1).all()


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("kind", ["distance", "all"])
def test_instruction_sets_and_threads_are_bitwise_equal(dtype, kind, is_causal):
    x = cases.tokens(700, 7, dtype, n_replicas=3)
    x[:, 300:400] = x[:, :100]
    maps = (None, None, None)
    if kind == "all":
        maps = (*matrices(5, 7, dtype), np.ascontiguousarray(cases.form("general", 7).astype(dtype)))
    p = cases.weights(700)
    p[0] = max(p[0], 0.5)
    before, results = abi.isa_in_use(), []
    for name in abi.compiled_isas():
        if abi.isa_runs(name):
            abi.use_isa(name)
            results += [hardmax(x, x, *maps, p, n_threads, 0.3, is_causal) for n_threads in (1, 2, 3)]
    abi.use_isa(before)
    for mean, mass in results[1:]:
        assert np.array_equal(mean, results[0][0])
        assert np.array_equal(mass, results[0][1])


def test_layouts_do_not_matter(dtype):
    x = cases.tokens(100, 3, dtype, n_replicas=2)
    maps = (*matrices(2, 3, dtype), None)
    want, _ = hardmax(x, x, *maps, None, 1)
    for name, other in cases.layouts(x).items():
        assert np.array_equal(hardmax(other, other, *maps, None, 1)[0], want), name


def test_a_call_of_the_attention_is_that_of_the_kernel(dtype):
    x = cases.tokens(100, 3, dtype)[0]
    query, key = matrices(2, 3)
    attention = cs.SoftmaxAttention(beta=math.inf, query=query, key=key)
    want = twins.hardmax(x, x, query=query, key=key, dtype=dtype)
    assert np.array_equal(attention(x), want)
