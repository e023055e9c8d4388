"""Causal attention within systems of few tokens: lanes along systems, and along the tokens of those left over."""

import math

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.few_tokens import MAX_DIM, MAX_TOKENS
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.kernels.replicas import attend_replicas

LOG2_E = math.log2(math.e)
SHAPES = [(1, 3), (2, 2), (5, 2), (7, 5), (16, 8), (17, 3), (33, 17), (64, 23), (100, 2)]


def causal(x, beta, weights=None, n_threads=1, **several):
    """Attention of weights e^{β(⟨x, y⟩ − 1)} to the tokens j <= i."""
    return attend_replicas(x, weights, math.sqrt(beta * LOG2_E), beta * LOG2_E, n_threads, is_causal=True, **several)


@pytest.mark.parametrize("beta", [0.0, 3.0, 400.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_means_and_sums(n, dim, weighted, beta, dtype, isa):
    beta = min(beta, 40.0) if dtype == np.float32 else beta
    # A token without weight of its own may see none that counts: the plan sums over rows then.
    x, p = cases.tokens(n, dim, dtype, n_replicas=9), cases.weights(n) + 1e-3
    means, sums = causal(x, beta, p[None] if weighted else None)
    q = p if weighted else np.ones(n)
    for r in (0, 8):
        want, log_z = twins.causal_attention(x[r], beta, weights=q / q.sum(), dtype=np.longdouble)
        tolerance = twins.attention_tolerance(beta, dim, dtype)
        twins.assert_close(means[r], want, atol=tolerance, dtype=dtype)
        total = np.exp(log_z - beta) * q.sum()
        twins.assert_close(sums[r], total, atol=tolerance * total.max(), dtype=np.float64)
    assert np.array_equal(means[:, 0], x[:, 0])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_a_system_does_not_depend_on_the_others(n, dim, weighted, dtype, every_isa):
    x = cases.tokens(n, dim, dtype, n_replicas=33)
    p = np.stack([cases.weights(n, r) for r in range(len(x))]) if weighted else None
    moves = {"step": 0.3, "n_steps": 2, "value_scale": -0.7}
    alone = [causal(x[r : r + 1], 2.0, None if p is None else p[r : r + 1]) for r in range(len(x))]
    stepped = [causal(x[r : r + 1], 2.0, None if p is None else p[r : r + 1], **moves)[0] for r in range(len(x))]
    for n_replicas in (3, 7, 9, 17, 33):
        for n_threads in (1, 3):
            some, own = x[:n_replicas], None if p is None else p[:n_replicas]
            means, sums = causal(some, 2.0, own, n_threads)
            assert np.array_equal(means, np.concatenate([mean for mean, _ in alone[:n_replicas]]))
            assert np.array_equal(sums, np.concatenate([total for _, total in alone[:n_replicas]]))
            after, bad = causal(some, 2.0, own, n_threads, **moves)
            assert bad == -1
            assert np.array_equal(after, np.concatenate(stepped[:n_replicas]))


@pytest.mark.parametrize(("n", "dim"), [(2, 2), (17, 3), (64, 23)])
def test_later_tokens_change_no_bit(n, dim, dtype, isa):
    x, kept = cases.tokens(n, dim, dtype, n_replicas=9), n // 2
    y = np.concatenate([x[:, :kept], -x[:, kept:]], axis=1)
    for before, after in zip(causal(x, 3.0), causal(y, 3.0), strict=True):
        assert np.array_equal(before[:, :kept], after[:, :kept])


@pytest.mark.parametrize("decay", [0.0, 5.0])
@pytest.mark.parametrize("value_scale", [1.0, -0.3, -4.1])
@pytest.mark.parametrize(("n", "dim"), [(1, 3), (16, 2), (33, 17)])
def test_steps_of_a_run_are_steps_one_by_one(n, dim, value_scale, decay, dtype):
    """With the first token where it is, or on the other side after a step against it that is longer than it."""
    x = cases.tokens(n, dim, dtype, n_replicas=13)
    attention = cs.SoftmaxAttention(beta=2.0, mask="causal", decay=decay, value_scale=value_scale, method="direct")
    plan = attention.plan(Shape.of(x))
    assert plan.max_fused_steps > 1
    want = x
    for _ in range(3):
        want = InteractionPlan.move(plan, want.copy(), 0.3, n_threads=1)
    assert np.array_equal(plan.move(x, 0.3, n_threads=2, n_steps=3), want)
    if value_scale > -1:
        assert np.array_equal(want[:, 0], x[:, 0])
    else:
        assert (np.einsum("rk,rk->r", want[:, 0], x[:, 0]) < 0).all()


@pytest.mark.parametrize(
    ("n", "dim", "is_few"),
    [(MAX_TOKENS, MAX_DIM + 1, True), (MAX_TOKENS + 1, MAX_DIM + 1, False), (2 * MAX_TOKENS, MAX_DIM, True)],
)
@pytest.mark.parametrize("interaction", [cs.SoftmaxAttention, cs.UnnormalizedAttention])
def test_the_choice_does_not_depend_on_the_number_of_systems(n, dim, is_few, interaction):
    x = cases.tokens(n, dim, n_replicas=20)
    attention = interaction(beta=2.0, mask="causal", decay=3.0, method="direct")
    together = attention(x, n_threads=2)
    for r in (0, 19):
        assert np.array_equal(attention(x[r], n_threads=1), together[r])
    plan = attention.plan(Shape.of(x))
    for first, stop in [(0, 64), (64, n)] if n > 64 else [(0, n)]:
        assert np.array_equal(plan.rows(x, first=first, stop=stop, n_threads=1), together[:, first:stop])
    if interaction is cs.SoftmaxAttention:
        of_few = causal(x, 2.0, np.exp(-3.0 / n * np.arange(n - 1.0, -1, -1))[None])[0]
        assert np.array_equal(of_few, together) == is_few
