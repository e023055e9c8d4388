"""The law of a layer is one object: of the network, of its kernel, and of the field by random features."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.noise import activations
from chaosphere.noise.layer_law import GaussianPair, LayerLaw

MLP = cs.MLP(width=7, activation="tanh", bias_std=0.3, output_bias_std=0.2)


def test_network_and_kernel_share_it():
    kernel = MLP.kernel(4)
    assert kernel.layer_law == LayerLaw(activation=activations.get("tanh"), bias_std=0.3, output_bias_std=0.2)
    assert kernel.source == (activations.get("tanh"), 0.5, 0.3, 0.2)
    assert kernel.scaled(2.0).layer_law == kernel.layer_law
    assert cs.CovarianceKernel.from_spectrum([1.0], dim=3).source is None


def test_network_of_a_law():
    again = cs.MLP.of(MLP.law, width=7)
    layers = [mlp.draw(3, rng=np.random.default_rng(0)) for mlp in (MLP, again)]
    x = cs.sample_uniform(5, 3, rng=0)
    np.testing.assert_array_equal(layers[0](x), layers[1](x))


def test_hidden_units_are_those_of_the_layer():
    layer, x = MLP.draw(3, rng=np.random.default_rng(0)), cs.sample_uniform(5, 3, rng=0)
    values = layer.hidden(x) @ layer.w[0].T / np.sqrt(7) + layer.c[0]
    np.testing.assert_allclose(layer(x), values, rtol=0, atol=1e-14)


def test_pair_of_pre_activations():
    pair = LayerLaw(activation=activations.get("relu"), weight_std=2.0, bias_std=1.0).pair(3)
    u = np.array([-1.0, 0.25, 1.0])
    assert pair == GaussianPair(4.0, 1.0)
    np.testing.assert_array_equal(pair.covariance(u), [-3.0, 2.0, 5.0])
    np.testing.assert_array_equal(pair.below(u), pair.variance - pair.covariance(u))
    np.testing.assert_array_equal(pair.above(u), pair.variance + pair.covariance(u))


@pytest.mark.parametrize("name", ["weight_std", "bias_std", "output_bias_std"])
def test_standard_deviations_are_checked_once_for_all(name):
    for call in (
        lambda value: cs.MLP(width=1, **{name: value}),
        lambda value: cs.CovarianceKernel.from_activation("relu", dim=3, **{name: value}),
    ):
        with pytest.raises(ValueError, match=f"{name} must be a finite number >= 0, got -1.0"):
            call(-1.0)
        with pytest.raises(TypeError, match=f"{name} must be a real number, got '1'"):
            call("1")
    with pytest.raises(ValueError, match=rf"{name} must be .* <= 1e\+30"):
        cs.MLP(width=1, **{name: 1e31})
    with pytest.raises(ValueError, match=rf"{name} must be .* <= 1e\+150"):
        cs.CovarianceKernel.from_activation("relu", dim=3, **{name: 1e151})
