"""Velocities from differences of tokens: against the kernels, in closed form, and one system at a time."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions import differences


def velocity(x, weights=None, **options):
    """P_x Attn at tokens (R, N, d)."""
    plan = cs.SoftmaxAttention(**options).plan(Shape.of(x), weights)
    return plan.tangential_drift(x, n_threads=1)


@pytest.mark.parametrize("weights", [None, np.linspace(1.0, 3.0, 12) / np.linspace(1.0, 3.0, 12).sum()])
@pytest.mark.parametrize("value_scale", [1.0, -2.0])
def test_differences_are_the_drift(weights, value_scale, monkeypatch):
    x = np.stack([cs.sample_uniform(12, 3, rng=seed) for seed in range(3)])
    from_kernel = velocity(x, weights, beta=4.0, value_scale=value_scale)
    monkeypatch.setattr(differences, "SLOW", np.inf)
    from_differences = velocity(x, weights, beta=4.0, value_scale=value_scale)
    assert not np.array_equal(from_kernel, from_differences)
    np.testing.assert_allclose(from_differences, from_kernel, rtol=0, atol=1e-14)


def test_two_tokens_far_from_one_another():
    """|v| = w₂ sin θ e^{−β(1 − cos θ)} / (w₁ + w₂ e^{−β(1 − cos θ)}), beside a fast token that weighs nothing."""
    beta, angle = 300.0, 0.9
    x = np.array([[[1.0, 0.0], [np.cos(angle), np.sin(angle)], [np.cos(0.4), np.sin(0.4)]]])
    small = np.exp(-beta * (1 - np.cos(angle)))
    speeds = np.linalg.norm(velocity(x, np.array([0.25, 0.75, 0.0]), beta=beta)[0], axis=1)
    want = np.sin(angle) * small * np.array([0.75 / (0.25 + 0.75 * small), 0.25 / (0.75 + 0.25 * small)])
    np.testing.assert_allclose(speeds[:2], want, rtol=1e-11)
    assert speeds[2] > 0.3


def test_a_token_far_from_all_others_changes_no_other_system():
    """Its own terms would underflow: it weighs nothing, and the others are opposite to it."""
    weights = np.array([0.0, 0.2, 0.2, 0.2, 0.2, 0.2])
    near = cs.normalize(np.array([1.0, 0.0, 0.0]) + 0.01 * cs.sample_uniform(6, 3, rng=0))
    far = near.copy()
    far[0] = [-1.0, 0.0, 0.0]
    both = velocity(np.stack([near, far]), weights, beta=800.0)
    assert np.isfinite(both).all()
    for member, alone in zip(both, (near, far), strict=True):
        assert np.array_equal(velocity(alone[None], weights, beta=800.0)[0], member)
