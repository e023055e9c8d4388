"""Interactions keep the plan of their last call: results are those of a new one, and nothing else sees it."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.interactions import kept_plan
from chaosphere.interactions.direct import DirectPlan

Q = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.25], [0.5, 0.0, 1.0]])
KINDS = {
    "softmax": lambda: cs.SoftmaxAttention(beta=2.0),
    "matrices": lambda: cs.SoftmaxAttention(query=Q, key=Q.T, value=Q),
    "causal": lambda: cs.SoftmaxAttention(beta=2.0, mask="causal", decay=1.0),
    "harmonic": lambda: cs.SoftmaxAttention(beta=1.0, method="harmonic"),
    "unnormalized": lambda: cs.UnnormalizedAttention(beta=2.0),
    "l2": lambda: cs.L2Attention(query=Q, key=Q.T),
    "sinkhorn": lambda: cs.SinkhornAttention(beta=2.0),
    "potential": lambda: cs.PotentialInteraction(np.exp),
}


def batches():
    """Tokens of several shapes and types, those of one shape not always one after the other."""
    x = cs.sample_uniform(40, 3, rng=0)
    y = cs.sample_uniform(40, 3, rng=1)
    several = cs.sample_uniform(7, 3, rng=2, n_replicas=3)
    return [x, y, x.astype(np.float32), x[:30], several, several.astype(np.float32), y, x]


@pytest.mark.parametrize("kind", KINDS)
def test_calls_are_those_of_a_new_interaction(kind):
    interaction, p = KINDS[kind](), np.full(40, 1 / 40)
    for x in batches():
        np.testing.assert_array_equal(interaction(x), KINDS[kind]()(x))
        if x.shape == (40, 3):
            np.testing.assert_array_equal(interaction(x, p), KINDS[kind]()(x, p))


@pytest.mark.parametrize("kind", KINDS)
def test_the_plan_is_no_part_of_the_interaction(kind):
    interaction = KINDS[kind]()
    before = repr(interaction), pickle.dumps(interaction)
    x = batches()[0]
    value = interaction(x)
    assert (repr(interaction), pickle.dumps(interaction)) == before
    for other in (KINDS[kind](), copy.copy(interaction), copy.deepcopy(interaction), pickle.loads(before[1])):
        assert other == interaction
        assert hash(other) == hash(interaction)
        np.testing.assert_array_equal(other(x), value)


def test_one_plan_for_calls_of_one_shape(monkeypatch):
    n_plans = []
    monkeypatch.setattr(DirectPlan, "__init__", counted(DirectPlan.__init__, n_plans))
    attention, x = cs.SoftmaxAttention(beta=2.0), batches()[0]
    for _ in range(3):
        attention(x)
        attention.evaluate(x)
    assert len(n_plans) == 1
    attention(x[:30])
    attention(x[:30], n_threads=1)
    assert len(n_plans) == 2
    attention(x)
    assert len(n_plans) == 3
    p = np.full(40, 1 / 40)
    attention(x, p)
    attention(x, p)
    assert len(n_plans) == 5


def test_plans_for_many_tokens_are_not_kept(monkeypatch):
    n_plans = []
    monkeypatch.setattr(DirectPlan, "__init__", counted(DirectPlan.__init__, n_plans))
    monkeypatch.setattr(kept_plan, "MAX_TOKENS", 39)
    attention, x = cs.SoftmaxAttention(beta=2.0), batches()[0]
    attention(x)
    attention(x)
    assert len(n_plans) == 2


def test_an_error_is_raised_by_every_call():
    attention = cs.SoftmaxAttention(beta=1e9)
    x = batches()[0].astype(np.float32)
    for _ in range(2):
        with pytest.raises(ValueError, match="beta must be <="):
            attention(x)


class Own(cs.SoftmaxAttention):
    """Its plan depends on more than its fields."""

    sign = 1.0

    def plan(self, shape, weights=None):
        return cs.SoftmaxAttention(beta=2.0, value_scale=self.sign).plan(shape, weights)


def test_a_plan_of_a_subclass_is_not_kept(monkeypatch):
    attention, x = Own(beta=2.0), batches()[0]
    before = attention(x)
    monkeypatch.setattr(Own, "sign", -1.0)
    np.testing.assert_array_equal(attention(x), -before)


@pytest.mark.parametrize("kind", [cs.SoftmaxAttention, cs.UnnormalizedAttention, cs.SinkhornAttention])
def test_a_schedule_has_no_call_and_leaves_no_plan(kind):
    attention = kind(beta=lambda time: 1.0 + time)
    with pytest.raises(ValueError, match=r"beta|changes over time"):
        attention(batches()[0])
    assert not hasattr(attention, "_kept")


def test_threads_share_an_interaction():
    attention, every = cs.SoftmaxAttention(query=Q, key=Q.T), batches()
    alone = [attention(x, n_threads=1) for x in every]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            together = list(pool.map(lambda x: attention(x, n_threads=1), every))
            for a, b in zip(alone, together, strict=True):
                np.testing.assert_array_equal(a, b)


def counted(method, calls):
    def wrapper(self, *args, **kwargs):
        calls.append(1)
        return method(self, *args, **kwargs)

    return wrapper
