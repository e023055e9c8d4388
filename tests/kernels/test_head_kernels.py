"""Means of many heads and their gradients against sums over pairs in NumPy."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.kernels.heads import attend_heads, pull_heads

LOG2_E = np.log2(np.e)
SIZES = [
    (1, 2, 1),
    (5, 3, 2),
    (32, 4, 4),
    (200, 3, 3),
    (385, 2, 5),
]  # of one block, of several, with and without padding


def twin(x, w, matrices, key_dim, *, is_causal):
    """Means, logarithms of the sums, and gradients of Σ w_i·V m_i in queries, keys and values, head by head."""
    parts = []
    for x_b, w_b in zip(x, w, strict=True):
        for matrix in matrices:
            q, k, v = np.split(matrix, [key_dim, 2 * key_dim])
            queries, keys, g = x_b @ q.T, x_b @ k.T, w_b @ v
            scores = queries @ keys.T
            if is_causal:
                scores = np.where(np.tri(len(x_b)) > 0, scores, -np.inf)
            log_sums = np.logaddexp.reduce(scores, axis=1)
            p = np.exp(scores - log_sums[:, None])
            mean = p @ x_b
            slope = p * (g @ x_b.T - (g * mean).sum(axis=1, keepdims=True))
            parts.append(
                (mean, log_sums * LOG2_E, np.concatenate([slope @ keys, slope.T @ queries, p.T @ w_b], axis=1))
            )
    shape = len(x), len(matrices)
    return [np.stack(values).reshape(*shape, *values[0].shape) for values in zip(*parts, strict=True)]


def case(n_tokens, dim, key_dim, *, dtype="float64", scale=1.0):
    rng = np.random.default_rng(n_tokens)
    x = np.stack([cs.sample_uniform(n_tokens, dim, rng=seed) for seed in range(2)])
    w = rng.standard_normal(x.shape)
    matrices = rng.standard_normal((3, 2 * key_dim + dim, dim)) * scale
    x, w, matrices = (a.astype(dtype) for a in (x, w, matrices))
    scaled = matrices.astype(np.float64)
    scaled[:, :key_dim] *= LOG2_E
    transposed = np.ascontiguousarray(matrices[:, 2 * key_dim :].swapaxes(1, 2))
    return x, w, matrices, scaled.astype(dtype), transposed


def compiled(x, w, scaled, transposed, key_dim, *, is_causal, n_threads=2):
    mean, logs = attend_heads(x, scaled, key_dim, is_causal, n_threads)
    pulled = pull_heads(x, w, scaled, transposed, mean, logs, is_causal, n_threads)
    return mean.swapaxes(2, 3), logs, pulled.swapaxes(2, 3)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("n_tokens", "dim", "key_dim"), SIZES)
def test_sums_are_those_over_pairs(n_tokens, dim, key_dim, is_causal):
    x, w, matrices, scaled, transposed = case(n_tokens, dim, key_dim)
    results = compiled(x, w, scaled, transposed, key_dim, is_causal=is_causal)
    for own, expected in zip(results, twin(x, w, matrices, key_dim, is_causal=is_causal), strict=True):
        assert abs(own - expected).max() < 1e-13 * max(1, abs(expected).max())


@pytest.mark.parametrize("is_causal", [False, True])
def test_single_precision(is_causal):
    x, w, matrices, scaled, transposed = case(200, 3, 2, dtype="float32")
    results = compiled(x, w, scaled, transposed, 2, is_causal=is_causal)
    double = (a.astype(np.float64) for a in (x, w, matrices))
    for own, expected in zip(results, twin(*double, 2, is_causal=is_causal), strict=True):
        assert abs(own - expected).max() < 1e-5 * max(1, abs(expected).max())


@pytest.mark.parametrize("is_causal", [False, True])
def test_scores_of_any_size(is_causal):
    """Scores in the thousands, of either sign: no coefficient overflows, and none of the sums is lost."""
    x, w, matrices, scaled, transposed = case(200, 3, 3, scale=40.0)
    results = compiled(x, w, scaled, transposed, 3, is_causal=is_causal)
    for own, expected in zip(results, twin(x, w, matrices, 3, is_causal=is_causal), strict=True):
        assert abs(own - expected).max() < 1e-9 * max(1, abs(expected).max())


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("bound", [47.9, 48.1], ids=["without", "with"])
def test_scores_with_and_without_a_maximum(bound, is_causal):
    """The largest query times the largest key on either side of 48, and scores near -48 in float32."""
    x, w, matrices, _, transposed = case(200, 3, 3)
    matrices[:, :3] = np.sqrt(bound / LOG2_E) * np.eye(3)
    matrices[:, 3:6] = -matrices[:, :3]
    scaled = matrices.copy()
    scaled[:, :3] *= LOG2_E
    expected = twin(x, w, matrices, 3, is_causal=is_causal)
    for dtype, error in (("float64", 2e-12), ("float32", 2e-5)):
        arrays = (a.astype(dtype) for a in (x, w, scaled, transposed))
        for own, want in zip(compiled(*arrays, 3, is_causal=is_causal), expected, strict=True):
            assert abs(own - want).max() < error * max(1, abs(want).max())


def test_threads_do_not_change_a_bit_of_heads():
    x, w, _, scaled, transposed = case(300, 3, 3)
    one, two = (compiled(x, w, scaled, transposed, 3, is_causal=True, n_threads=n) for n in (1, 2))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))


def test_layouts_of_tokens_do_not_matter():
    x, w, _, scaled, transposed = case(40, 3, 2)
    want = compiled(x, w, scaled, transposed, 2, is_causal=False)
    for layout in (np.asfortranarray, lambda v: np.repeat(v, 2, axis=1)[:, ::2]):
        got = compiled(layout(x), layout(w), scaled, transposed, 2, is_causal=False)
        assert all((a == b).all() for a, b in zip(got, want, strict=True))


def test_wrong_shapes_of_heads_are_refused():
    x, w, _, scaled, transposed = case(5, 3, 2)
    mean, logs = attend_heads(x, scaled, 2, False, 1)
    with pytest.raises(AssertionError, match="matrices"):
        attend_heads(x, scaled[..., :2].copy(), 2, False, 1)
    for wrong, name in (
        ((x, w[:1], scaled, transposed, mean, logs), "w"),
        ((x, w, scaled[:, :6].copy(), transposed, mean, logs), "matrices"),
        ((x, w, scaled, transposed[:2], mean, logs), "transposed"),
        ((x, w, scaled, transposed, mean[..., :4].copy(), logs), "mean"),
        ((x, w, scaled, transposed, mean, logs[:1]), "logs"),
    ):
        with pytest.raises(AssertionError, match=name):
            pull_heads(*wrong, False, 1)


def test_one_token_that_is_not_a_number_leaves_the_sums_before_it():
    """Scores of 1000 before it and small ones after it: the largest is still not known to be small."""
    x, _, _, scaled, _ = case(385, 2, 2, scale=20.0)
    x[:, 200:] *= 1e-6
    expected = attend_heads(np.ascontiguousarray(x[:, :100]), scaled, 2, True, 1)
    x[:, 200] = np.nan
    mean, logs = attend_heads(x, scaled, 2, True, 1)
    np.testing.assert_allclose(mean[..., :100], expected[0], rtol=1e-12)
    np.testing.assert_allclose(logs[..., :100], expected[1], rtol=1e-12)
