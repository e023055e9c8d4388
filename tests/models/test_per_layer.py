"""A sequence of interactions, one for each layer or step of a model."""

from dataclasses import replace

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.simulation.identity import describe

ATTENTION = cs.SoftmaxAttention(beta=2.0)
LAYERS = [
    ATTENTION,
    cs.SoftmaxAttention(query=np.diag([1.0, 2.0, 0.5]), key=np.eye(3), value=np.eye(3)[::-1].copy()),
    cs.UnnormalizedAttention(beta=1.0, value_scale=-1.0),
    ATTENTION,
]
MLP = cs.MLP(width=8, activation="tanh", bias_std=0.3)


def network(attention, *, depth=4, mlp=MLP):
    return cs.Transformer(attention=attention, mlp=mlp, depth=depth, horizon=1.0)


def limit(attention, *, n_steps=4, scheme="rk4"):
    return cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=n_steps, scheme=scheme)


def test_equal_layers_are_one_interaction():
    x = cases.tokens(50, 3, n_replicas=2)
    for make in (network, limit):
        one, several = (cs.simulate(make(attention), x, rng=0).final for attention in (ATTENTION, [ATTENTION] * 4))
        assert np.array_equal(one, several)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layers_one_after_the_other(dtype):
    x = cases.tokens(50, 3, dtype)
    end = cs.simulate(network(LAYERS, mlp=None), x, rng=0).final
    y = x
    for attention in LAYERS:
        y = cs.simulate(cs.Transformer(attention=attention, mlp=None, depth=1, horizon=0.25), y, rng=0).final
    twins.assert_close(end, y, atol=1e-15 if dtype == np.float64 else 1e-7, dtype=dtype)
    end = cs.simulate(limit(LAYERS), x, rng=0).final
    y = x
    for attention in LAYERS:
        model = cs.LimitSDE(attention=attention, field=None, horizon=0.25, n_steps=1, scheme="rk4")
        y = cs.simulate(model, y, rng=0).final
    twins.assert_close(end, y, atol=1e-15 if dtype == np.float64 else 1e-7, dtype=dtype)


def test_infinitely_many_tokens():
    """Layers with a mask and without, one law: the limit has no mask, and passive tokens follow it."""
    masked = [replace(ATTENTION, mask="causal"), *LAYERS[1:]]
    passive = cs.sample_uniform(5, 3, rng=1)
    finals = []
    for attention in (LAYERS, masked):
        mean_field = cs.MeanField(model=network(attention), law=cs.laws.Uniform(dim=3), n_nodes=50)
        finals.append(cs.simulate(mean_field, mean_field.start(passive), rng=0).final)
    assert np.array_equal(*finals)


def test_results_record_the_layers():
    model = network([replace(part, method="auto") for part in (LAYERS[0], LAYERS[2])] * 2)
    resolved = model.plan(Shape(n_tokens=100_000, dim=3)).describe()
    assert [part.method for part in resolved.attention.interactions] == ["harmonic"] * 4
    assert describe(network(LAYERS)) == describe(network(tuple(LAYERS)))
    assert describe(network(LAYERS)) != describe(network(LAYERS[::-1][:3] + LAYERS[:1]))
    assert model.plan(Shape(n_tokens=10, dim=3)).cost.pairs == 100


def test_bad_input():
    for make in (network, limit):
        with pytest.raises(ValueError, match="one interaction for each of the 4 steps, got 3"):
            make(LAYERS[:3])
        with pytest.raises(ValueError, match="one interaction for each layer, got none"):
            make([])
        with pytest.raises(TypeError, match=r"attention\[1\] must be an interaction, got None"):
            make([ATTENTION, None, ATTENTION, ATTENTION])
        with pytest.raises(TypeError, match=r"attention\[0\] must be a SoftmaxAttention"):
            make(["softmax"] * 4)
    with pytest.raises(ValueError, match="one interaction for each of the 2 steps, got 4"):
        network(LAYERS).coarsen(2)
    with pytest.raises(TypeError, match=r"attention\[0\] must be a SoftmaxAttention"):
        network([cs.RandomAttention(beta=1.0)] * 4)
