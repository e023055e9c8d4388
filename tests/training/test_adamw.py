"""AdamW against its formula, and its scaling with the number of heads."""

import numpy as np
import pytest
from support.attention_network import adamw as twin

from chaosphere.training import AdamW, AdamWState

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


@pytest.mark.parametrize("size", [1e150, 1e10, 1e-130])
def test_gradients_of_any_size_have_the_right_step(size):
    """Of the order of ε and far above it, up to the largest: the step is that of gradients of the size 1."""
    epsilon = 0.5 * size if size < 1 else 1e-8
    sizes = {size: epsilon, 1.0: max(epsilon / size, 1e-140)}  # the least ε is nothing beside gradients of the size 1
    runs = []
    for scale, own in sizes.items():
        optimiser = AdamW(learning_rate=0.1, weight_decay=0.2, epsilon=own)
        state = optimiser.start(np.ones(3))
        for gradient in np.random.default_rng(2).uniform(-1, 1, (5, 3)):
            state = optimiser.step(state, scale * gradient)
        runs.append(state.parameters)
    assert np.allclose(*runs, rtol=1e-13)


def test_what_overflows_is_refused():
    optimiser = AdamW()
    state = optimiser.start(np.ones(3))
    with pytest.raises(ValueError, match=r"gradient must be finite, with entries from -1e\+150 to 1e\+150"):
        optimiser.step(state, np.full(3, 1e151))
    with pytest.raises(TypeError, match="gradient must be a float64 array, got float32 array"):
        optimiser.step(state, np.full(3, 1e30, dtype=np.float32))  # its square is infinite in its own type
    with pytest.raises(ValueError, match="learning_rate and weight_decay must be such that parameters stay"):
        AdamW(learning_rate=1e200, weight_decay=1e200).step(state, np.ones(3))
    with pytest.raises(ValueError, match=r"n_units must be <= epsilon / 1e-140, got 64 and 1e-140"):
        AdamW(epsilon=1e-140).step(state, np.zeros(3), n_units=64)
    with pytest.raises(ValueError, match="epsilon"):
        AdamW(epsilon=1e-320)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"first": np.full(3, np.nan)}, "first must be finite"),
        ({"second": np.full(3, -1.0)}, r"second must be finite, with entries from 0 to 1e\+300"),
        ({"second": np.ones(2)}, "second must have the shape of the parameters"),
        ({"step": -1}, "step must be an integer >= 0"),
    ],
)
def test_a_wrong_state_is_refused(changed, message):
    state = {"parameters": np.ones(3), "first": np.zeros(3), "second": np.zeros(3), "step": 0}
    with pytest.raises(ValueError, match=message):
        AdamWState(**state | changed)


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
