"""AdamW against its formula, and its scaling with the number of heads."""

import numpy as np
import pytest
from support.attention_network import adamw as twin

from chaosphere.training import AdamW

OPTIONS = {"learning_rate": 0.03, "epsilon": 1e-3, "weight_decay": 0.2}


def run(gradients, theta, *, n_units=1):
    optimiser = AdamW(beta1=0.8, beta2=0.95, **OPTIONS)
    state = optimiser.start(theta)
    for gradient in gradients:
        state = optimiser.step(state, gradient, n_units=n_units)
    return state


def test_steps_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    theta, gradients = rng.standard_normal(5), rng.standard_normal((20, 5)) * np.logspace(-5, 2, 5)
    expected = [twin(*both, betas=(0.8, 0.95), **OPTIONS) for both in zip(theta, gradients.T, strict=True)]
    assert abs(run(gradients, theta).parameters - expected).max() < 1e-12


def test_heads_that_share_a_loss_step_as_one():
    rng = np.random.default_rng(1)
    theta, gradients = rng.standard_normal(5), 1e-3 * rng.standard_normal((10, 5))
    shared = run(gradients / 64, theta, n_units=64)
    assert (shared.parameters == run(gradients, theta).parameters).all()  # 64 is a power of two
    assert abs(run(gradients / 64, theta).parameters - shared.parameters).max() > 1e-2


def test_arguments_stay_as_they_are():
    theta, gradient = np.ones(3), np.ones(3)
    optimiser = AdamW()
    start = optimiser.start(theta)
    optimiser.step(start, gradient)
    assert (theta == 1).all()
    assert (start.parameters == 1).all()
    assert (start.first == 0).all()


def test_wrong_arguments_are_named():
    optimiser = AdamW()
    state = optimiser.start(np.ones(3))
    with pytest.raises(ValueError, match="gradient must have the shape"):
        optimiser.step(state, np.ones(2))
    with pytest.raises(ValueError, match="gradient must be finite"):
        optimiser.step(state, np.full(3, np.inf))
    with pytest.raises(TypeError, match="parameters must be a float64 array"):
        optimiser.start([1.0])
    with pytest.raises(ValueError, match="n_units"):
        optimiser.step(state, np.ones(3), n_units=0)
    with pytest.raises(ValueError, match="beta1"):
        AdamW(beta1=1.0)
