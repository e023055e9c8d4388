"""The limit of many layers and heads: its gradients, its orders, and that networks near it."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.models.operations import projected
from chaosphere.training import AdamW, AttentionNetwork, MeanRegression, TrainingLimit, train

TARGETS = [[0.5, 0.1, 0.0], [0.0, 0.5, -0.2]]
LOSS = MeanRegression(targets=TARGETS)
OPTIONS = {"dim": 3, "key_dim": 2, "horizon": 2.0, "value_scale": 1.0}
KINDS = [(None, "post"), ("causal", "post"), (None, "identity"), ("causal", "identity")]


def sequences(n_tokens=7):
    return np.stack([cs.sample_uniform(n_tokens, 3, rng=seed) for seed in range(2)])


@pytest.mark.parametrize(("mask", "normalization"), KINDS)
def test_gradients_of_the_limit_are_differences(mask, normalization):
    limit = TrainingLimit(n_cells=3, n_heads=4, mask=mask, normalization=normalization, **OPTIONS)
    x, parameters = sequences(), limit.initial(0)
    result = limit.gradient(parameters, x, objective=LOSS)
    direction, h = np.random.default_rng(0).standard_normal(parameters.shape), 1e-3

    def along(t):
        return LOSS(limit.forward(parameters + t * direction, x))[0]

    slope = (45 * (along(h) - along(-h)) - 9 * (along(2 * h) - along(-2 * h)) + along(3 * h) - along(-3 * h)) / (60 * h)
    assert (result.parameters * direction).sum() == pytest.approx(slope, rel=1e-7, abs=1e-9)
    v = np.random.default_rng(1).standard_normal(x.shape)
    v -= (v * x).sum(axis=2, keepdims=True) * x

    def loss_along(t):
        y = x + t * v
        return LOSS(limit.forward(parameters, y / np.linalg.norm(y, axis=2, keepdims=True)))[0]

    slope = (8 * (loss_along(1e-4) - loss_along(-1e-4)) - loss_along(2e-4) + loss_along(-2e-4)) / 12e-4
    assert (result.tokens * v).sum() == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("mask", "normalization"), KINDS)
def test_orders_in_the_number_of_cells_and_of_layers(mask, normalization):
    """The same heads at every depth: then only cells and layers make an error, of order two and of order one."""
    options = OPTIONS | {"mask": mask, "normalization": normalization}
    heads = TrainingLimit(n_cells=1, n_heads=4, **options).initial(0)
    x = sequences()

    def results(net):
        parameters = np.ascontiguousarray(np.broadcast_to(heads, net.shape))
        result = net.gradient(parameters, x, objective=LOSS)
        tangent = projected(x, result.tokens) if normalization == "post" else result.tokens
        return result.final, tangent, result.parameters.sum(axis=0)

    fine = results(TrainingLimit(n_cells=512, n_heads=4, **options))
    for make, order in (
        (lambda n: TrainingLimit(n_cells=n, n_heads=4, **options), 2),
        (lambda n: AttentionNetwork(depth=n, n_heads=4, **options), 1),
    ):
        some, more = results(make(32)), results(make(64))
        for k in range(3):
            ratio = abs(some[k] - fine[k]).max() / abs(more[k] - fine[k]).max()
            assert 0.75 * 2**order < ratio < 1.4 * 2**order


def test_heads_at_the_start_have_their_law():
    limit = TrainingLimit(n_cells=3, n_heads=200, dim=3, value_scale=0.5)
    heads = limit.initial(0)
    assert (heads[:, ::2, :6] == heads[:, 1::2, :6]).all()
    assert np.allclose(0.5 * (heads[:, ::2, 6:] + heads[:, 1::2, 6:]), 0.5 * np.eye(3), atol=1e-15)
    # Null: N(0, 1/3). The variance of 8100 entries has a standard deviation of 1.6 per cent: six of them, 2e-9.
    own = heads[:, ::2].copy()
    own[:, :, 6:] -= 0.5 * np.eye(3)
    assert abs(3 * own.var() - 1) < 0.1
    assert (TrainingLimit(n_cells=2, n_heads=20, dim=3, value_scale=0.5).initial(0) == heads[:2, :20]).all()
    network = AttentionNetwork(depth=3, n_heads=200, dim=3, value_scale=0.5)
    assert abs(network.initial(0).mean(axis=(0, 1))[6:] - 0.5 * np.eye(3)).max() < 0.15  # six deviations
    assert not np.isin(heads, network.initial(0)).any()


def test_states_and_adjoints_are_saved():
    limit = TrainingLimit(n_cells=3, n_heads=4, **OPTIONS)
    x, parameters = sequences(), limit.initial(0)
    result = limit.gradient(parameters, x, objective=LOSS, save_states=True)
    plain = limit.gradient(parameters, x, objective=LOSS)
    assert plain.states is None
    assert result.states.shape == result.adjoints.shape == (4, *x.shape)
    assert (result.states[0] == x).all()
    assert (result.states[-1] == plain.final).all()
    assert (result.adjoints[0] == plain.tokens).all()
    assert (result.adjoints[-1] == LOSS(plain.final)[1]).all()
    last = TrainingLimit(n_cells=1, n_heads=4, **OPTIONS | {"horizon": 2.0 / 3})
    rest = last.gradient(parameters[2:], result.states[2], objective=LOSS)
    assert np.allclose(rest.tokens, result.adjoints[2], rtol=1e-13, atol=1e-15)


def test_trained_networks_near_the_limit():
    """Losses of networks after 4 steps, of 8 seeds each: the difference falls as 1/L + (L H)^{-1/2}, here by eight."""
    adamw, x = AdamW(learning_rate=0.05), sequences(12)

    def loss(network, seed):
        start = adamw.start(network.initial(seed))
        return train(network, x, loss=LOSS, optimizer=adamw, start=start, n_steps=4).losses[-1]

    expected = loss(TrainingLimit(n_cells=16, n_heads=128, **OPTIONS), 0)
    errors = []
    for size in (2, 16):
        network = AttentionNetwork(depth=size, n_heads=size, **OPTIONS)
        errors.append(np.linalg.norm([loss(network, seed) - expected for seed in range(8)]))
    assert errors[1] < 0.5 * errors[0]


def test_wrong_arguments_of_a_limit_are_named():
    with pytest.raises(ValueError, match="n_heads must be even, got 3"):
        TrainingLimit(n_cells=1, n_heads=3, dim=3)
    with pytest.raises(ValueError, match="n_cells"):
        TrainingLimit(n_cells=0, n_heads=2, dim=3)
    with pytest.raises(ValueError, match="value_scale"):
        TrainingLimit(n_cells=1, n_heads=2, dim=3, value_scale=np.inf)
