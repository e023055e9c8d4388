"""Attention within systems of few tokens: lanes along systems, and along the tokens of those that are left over."""

import math

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.few_tokens import MAX_DIM, MAX_TOKENS
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.kernels import sphere
from chaosphere.kernels.replicas import attend_replicas, pair_deficits

LOG2_E = math.log2(math.e)
# Groups of 4, 8 or 16: none, one that is full or not, and systems that are left over.
N_REPLICAS = [1, 3, 4, 7, 9, 17, 33]
SHAPES = [
    (1, 1),
    (1, 3),
    (2, 2),
    (3, 3),
    (4, 4),
    (5, 2),
    (7, 5),
    (16, 8),
    (17, 3),
    (33, 17),
    (37, 8),
    (64, 23),
    (128, 2),
]


def attend(x, beta, weights=None, n_threads=1, **several):
    """Attention of weights e^{β(⟨x, y⟩ − 1)}."""
    return attend_replicas(x, weights, math.sqrt(beta * LOG2_E), beta * LOG2_E, n_threads, **several)


@pytest.mark.parametrize("beta", [0.0, 3.0, 400.0])
@pytest.mark.parametrize("kind", ["uniform", "alike", "own"])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_means_and_sums(n, dim, kind, beta, dtype, isa):
    beta = min(beta, 40.0) if dtype == np.float32 else beta
    x = cases.tokens(n, dim, dtype, n_replicas=9)
    p = {"uniform": None, "alike": cases.weights(n)[None], "own": np.stack([cases.weights(n, r) for r in range(9)])}[
        kind
    ]
    means, sums = attend(x, beta, p)
    for r in (0, 7, 8):
        q = np.ones(n) if p is None else p[r % len(p)]
        want, log_z = twins.attention(x[r], beta * np.eye(dim), weights=q / q.sum(), dtype=np.longdouble)
        tolerance = twins.attention_tolerance(beta, dim, dtype)
        twins.assert_close(means[r], want, atol=tolerance, dtype=dtype)
        total = np.exp(log_z - beta) * q.sum()
        twins.assert_close(sums[r], total, atol=tolerance * total.max(), dtype=np.float64)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_a_system_does_not_depend_on_the_others(n, dim, weighted, dtype, every_isa):
    x = cases.tokens(n, dim, dtype, n_replicas=max(N_REPLICAS))
    p = np.stack([cases.weights(n, r) for r in range(len(x))]) if weighted else None
    moves = {"step": 0.3, "n_steps": 2, "value_scale": -0.7}
    alone = [attend(x[r : r + 1], 2.0, None if p is None else p[r : r + 1]) for r in range(len(x))]
    stepped = [attend(x[r : r + 1], 2.0, None if p is None else p[r : r + 1], **moves)[0] for r in range(len(x))]
    for n_replicas in N_REPLICAS:
        for n_threads in (1, 3):
            some, own = x[:n_replicas], None if p is None else p[:n_replicas]
            means, sums = attend(some, 2.0, own, n_threads)
            assert np.array_equal(means, np.concatenate([mean for mean, _ in alone[:n_replicas]]))
            assert np.array_equal(sums, np.concatenate([total for _, total in alone[:n_replicas]]))
            after, bad = attend(some, 2.0, own, n_threads, **moves)
            assert bad == -1
            assert np.array_equal(after, np.concatenate(stepped[:n_replicas]))


@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_a_step_is_that_of_the_means(n, dim, dtype, isa):
    x = cases.tokens(n, dim, dtype, n_replicas=13)
    want = x
    for _ in range(3):
        means, _ = attend(want, 2.0, value_scale=0.5)
        want, _ = sphere.step(want, means, 0.3, 1)
    assert np.array_equal(attend(x, 2.0, step=0.3, n_steps=3, value_scale=0.5)[0], want)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_values(n, dim, is_causal, dtype, every_isa):
    """A matrix V is that of the means, and depends on no other system."""
    x, value = cases.tokens(n, dim, dtype, n_replicas=21), np.random.default_rng(0).standard_normal((dim, dim))
    value = (value / np.linalg.norm(value, 2)).astype(dtype)
    several = {"value_scale": -0.5, "is_causal": is_causal}
    means, sums = attend(x, 2.0, **several)
    got, totals = attend(x, 2.0, n_threads=2, value=value, **several)
    assert np.array_equal(totals, sums)
    np.testing.assert_allclose(got, means @ value.T, rtol=0, atol=2 * dim * np.finfo(dtype).eps)
    alone = [attend(x[r : r + 1], 2.0, value=value, **several)[0][0] for r in (0, 20)]
    assert np.array_equal(got[[0, 20]], alone)
    step, _ = sphere.step(x, got, 0.3, 1)
    assert np.array_equal(attend(x, 2.0, step=0.3, value=value, **several)[0], step)


@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_a_symmetric_matrix(n, dim, dtype, every_isa):
    """One weight for both orders of a pair, though the queries are other vectors than the keys."""
    x, root = cases.tokens(n, dim, dtype, n_replicas=21), np.random.default_rng(dim).standard_normal((dim, dim))
    form = 3 * (root + root.T) / np.linalg.norm(root + root.T, 2)
    query = (form * LOG2_E).astype(dtype)
    several = {"query": query, "value_scale": -0.5}
    means, sums = attend_replicas(x, None, 1.0, 0.0, 2, **several)
    for r in (0, 20):
        exact = (query + query.T).astype(np.longdouble) / 2 / np.longdouble(LOG2_E)
        want, log_z = twins.attention(x[r], exact, value=-0.5, dtype=np.longdouble)
        tolerance = twins.attention_tolerance(6.0, 2 * dim, dtype)
        twins.assert_close(means[r], want, atol=tolerance, dtype=dtype)
        np.testing.assert_allclose(sums[r], n * np.exp(log_z).astype(np.float64), rtol=tolerance)
    for n_replicas in N_REPLICAS:
        some = slice(0, min(n_replicas, 21))
        for part, every in zip(attend_replicas(x[some], None, 1.0, 0.0, 3, **several), (means, sums), strict=True):
            assert np.array_equal(part, every[some])
    want = x
    for _ in range(2):
        want, _ = sphere.step(want, attend_replicas(want, None, 1.0, 0.0, 1, **several)[0], 0.3, 1)
    after, bad = attend_replicas(x, None, 1.0, 0.0, 2, step=0.3, n_steps=2, **several)
    assert bad == -1
    assert np.array_equal(after, want)


@pytest.mark.parametrize(("n", "dim"), [(1, 3), (16, 2), (33, 17), (128, 3)])
def test_unnormalized(n, dim, dtype, isa):
    """Sums that are not divided, and steps with them."""
    x = cases.tokens(n, dim, dtype, n_replicas=13)
    plan = cs.UnnormalizedAttention(beta=2.0, value_scale=-0.3, rescaled=True).plan(Shape.of(x))
    drift = plan.drift(x, n_threads=2)
    for r in (0, 12):
        want, _ = twins.unnormalized(x[r], 2.0, value_scale=-0.3, rescaled=True, dtype=np.longdouble)
        twins.assert_close(drift[r], want, atol=twins.attention_tolerance(2.0, dim, dtype), dtype=dtype)
        assert np.array_equal(plan.drift(x[r : r + 1], n_threads=1)[0], drift[r])
    for first, stop in [(0, 32), (32, n)] if n > 32 else [(0, n)]:
        assert np.array_equal(plan.rows(x, first=first, stop=stop, n_threads=1), drift[:, first:stop])
    assert plan.max_fused_steps > 1
    want = x
    for _ in range(3):
        want = InteractionPlan.move(plan, want.copy(), 0.3, n_threads=1)
    assert np.array_equal(plan.move(x, 0.3, n_threads=2, n_steps=3), want)


@pytest.mark.parametrize("n_replicas", [1, 5, 16, 21])
def test_the_first_token_without_a_direction(n_replicas, dtype, every_isa):
    """Of alike tokens each is repelled to the origin."""
    x = cases.tokens(6, 3, dtype, n_replicas=n_replicas)
    x[-1] = [0.0, 1.0, 0.0]
    after, bad = attend(x, 0.0, step=-1.0)
    assert bad == 6 * (n_replicas - 1)
    np.testing.assert_allclose(np.linalg.norm(after[:-1], axis=2), 1.0, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("n", "dim", "is_few"),
    [(MAX_TOKENS, MAX_DIM + 1, True), (MAX_TOKENS + 1, MAX_DIM + 1, False), (2 * MAX_TOKENS, MAX_DIM, True)],
)
def test_the_choice_does_not_depend_on_the_number_of_systems(n, dim, is_few):
    x = cases.tokens(n, dim, n_replicas=40)
    attention = cs.SoftmaxAttention(beta=2.0, method="direct")
    together = attention(x, n_threads=2)
    for r in (0, 9, 39):
        assert np.array_equal(attention(x[r], n_threads=1), together[r])
    scale = math.sqrt(2.0 * LOG2_E)
    is_same = np.array_equal(attend_replicas(x, None, scale, 2.0 * LOG2_E, 1)[0], together)
    assert is_same == is_few


def test_parts_of_a_system():
    """Some rows of attention, as a process of several computes them, and tokens without weight."""
    x = cases.tokens(100, 3, n_replicas=3)
    weights = np.append(cases.weights(70), np.zeros(30))
    for p in (None, weights):
        plan = cs.SoftmaxAttention(beta=2.0, method="direct").plan(Shape.of(x), p)
        every = plan.drift(x, n_threads=1)
        for first, stop in [(0, 32), (32, 96), (96, 100)]:
            assert np.array_equal(plan.rows(x, first=first, stop=stop, n_threads=1), every[:, first:stop])


@pytest.mark.parametrize("beta", [0.0, 2.0, 900.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_energies(n, dim, weighted, beta, every_isa):
    x = cases.tokens(n, dim, n_replicas=17)
    x[3] = x[3, :1] + 1e-9 * x[3]  # a tight cluster keeps its relative accuracy
    x[3] /= np.linalg.norm(x[3], axis=1)[:, None]
    p = cases.weights(n) if weighted else None
    energies = pair_deficits(x, p, beta, 1)
    q = np.full(n, 1 / n) if p is None else p
    for r in (0, 3, 16):
        square = ((x[r, :, None].astype(np.longdouble) - x[r]) ** 2).sum(axis=2)
        want = -(q[:, None] * q * np.expm1(-0.5 * beta * square)).sum()
        np.testing.assert_allclose(energies[r], float(want), rtol=3e-14 * (1 + dim), atol=0)
    for n_replicas in (1, 5, 8):
        assert np.array_equal(pair_deficits(x[:n_replicas], p, beta, 3), energies[:n_replicas])
        assert np.array_equal(pair_deficits(x[-1:], p, beta, 1), energies[-1:])


@pytest.mark.parametrize("degree", [0, 1, 4, 11])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_polynomials(n, dim, weighted, degree, dtype, isa):
    x, c = cases.tokens(n, dim, dtype, n_replicas=9), np.linspace(1.0, -0.5, degree + 1).astype(dtype)
    p = cases.weights(n)[None] if weighted else None
    several = {"polynomial": c, "value_scale": 0.5}
    out, sums = attend_replicas(x, p, 1.0, 0.0, 2, **several)
    assert not sums.any()
    wide = x.astype(np.longdouble)
    for r in (0, 8):
        coefficients = np.polynomial.polynomial.polyval(wide[r] @ wide[r].T, c.astype(np.longdouble))
        q = np.ones(n) if p is None else p[0]
        size = 0.5 * q.sum() * np.abs(c).sum()
        tolerance = 2 * float(np.finfo(dtype).eps) * size * ((degree + 1) * (dim + 4) + 64)
        twins.assert_close(out[r], 0.5 * (coefficients * q) @ wide[r], atol=tolerance, dtype=dtype)
        assert np.array_equal(attend_replicas(x[r : r + 1], p, 1.0, 0.0, 1, **several)[0][0], out[r])
    after, bad = attend_replicas(x, p, 1.0, 0.0, 1, step=0.01, n_steps=2, **several)
    want = x
    for _ in range(2):
        want, _ = sphere.step(want, attend_replicas(want, p, 1.0, 0.0, 1, **several)[0], 0.01, 1)
    assert bad == -1
    assert np.array_equal(after, want)
