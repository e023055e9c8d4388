"""The example that makes runs part of what PyTorch and JAX differentiate."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.streams import Noise, Stream

PATH = Path(__file__).parents[2] / "examples" / "autodiff.py"
TARGET = np.array([0.0, 0.6, 0.8])
X = cs.sample_uniform(8, 3, rng=0)
VALUE = np.random.default_rng(0).standard_normal((3, 3))


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("autodiff_example", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gradients_in_numpy(example):
    """The gradients of the loss in z and V by `cs.gradient`, for tokens x = z/|z| with |z| = 1."""
    result = cs.gradient(example.model(VALUE), X, lambda y: example.loss(y, TARGET), rng=0)
    return result.tokens, result.parameters["attention"]["value"]


def test_learning_with_numpy(example):
    losses, value = example.learn(X, TARGET, n_steps=12)
    assert all(np.diff(losses) < 0)
    assert example.loss(cs.simulate(example.model(value), X, rng=0).final, TARGET)[0] < losses[0] - 0.1


def test_a_cotangent_is_pulled_back(example):
    """The gradient of an objective is the pullback of its gradient at the end."""
    end = cs.simulate(example.model(VALUE), X, rng=0).final
    tokens, value = example.pulled_back(example.model, [X, VALUE], example.loss(end, TARGET)[1], rng=0)
    expected = gradients_in_numpy(example)
    np.testing.assert_array_equal(tokens, expected[0])
    np.testing.assert_array_equal(value, expected[1])


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_missing_library(example, name, monkeypatch):
    monkeypatch.setattr(example, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=f"{name} cannot be imported: pip install {name}"):
        getattr(example, f"{name}_run")(example.model, rng=0)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_libraries_agree(example, name):
    pytest.importorskip(name)
    gradients = getattr(example, f"{name}_gradient")(X, VALUE, TARGET)
    for gradient, expected in zip(gradients, gradients_in_numpy(example), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-14)


def test_jax_has_the_gradient_of_the_model_written_in_jax(example):
    """The ten layers with their random weights, in JAX and differentiated by it."""
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    model = example.model(VALUE)
    noise, plan = Noise(0), model.mlp.plan(3)
    layers = [plan.draw([noise.draws(Stream.LAYER, step)]) for step in range(model.depth)]
    h = model.horizon / model.depth

    def normalized(x):
        return x / jnp.linalg.norm(x, axis=1, keepdims=True)

    def final(x, value):
        for layer in layers:
            x = normalized(x + h * jax.nn.softmax(x @ x.T, axis=1) @ x @ value.T)
            hidden = jnp.tanh(layer.weight_std * x @ layer.u[0].T)
            x = normalized(x + jnp.sqrt(h) * layer.output_scale * hidden @ layer.w[0].T)
        return x

    def of_all(z, value):
        return 1 - (final(normalized(z), value) @ TARGET).mean()

    with jax.enable_x64(True):
        end = final(jnp.asarray(X), jnp.asarray(VALUE))
        np.testing.assert_allclose(end, cs.simulate(model, X, rng=0).final, rtol=0, atol=1e-13)
        gradients = jax.grad(of_all, argnums=(0, 1))(jnp.asarray(X), jnp.asarray(VALUE))
    for gradient, expected in zip(gradients, gradients_in_numpy(example), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-13)
