"""Gradients of networks and of their limit against JAX, which differentiates the formulas as they stand on the pages.

Run by `nox -s peers`, which installs JAX; without JAX these tests fail, they are not left out.
"""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.training import AttentionNetwork, KernelMatching, MeanRegression, TrainingLimit

pytestmark = pytest.mark.peers

KEY_DIM, HORIZON = 2, 2.0
OPTIONS = {"dim": 3, "key_dim": KEY_DIM, "horizon": HORIZON, "std": 1.5, "value_scale": 0.5}
TARGETS = np.array([[0.3, 0.1, -0.2], [0.0, 0.5, 0.1]])
POINTS, BETA = cs.sample_uniform(6, 3, rng=9), 2.0
LOSSES = [MeanRegression(targets=TARGETS), KernelMatching(points=POINTS, beta=BETA)]
X = np.stack([cs.sample_uniform(9, 3, rng=seed) for seed in range(2)])
BIASES = {None: np.zeros((9, 9)), "causal": np.where(np.tri(9) > 0, 0, -np.inf)}


@pytest.fixture(scope="module")
def differentiated():
    """A loss by its formulas, with its derivatives in the parameters, and in offsets of the tokens at every layer.

    Offsets are added before each layer and after the last, so derivatives in them are the adjoints. The loss is the
    first or the second as it is an argument, as the mask is: JAX compiles four functions for all cases.
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def energy(a, b):
        return jnp.exp(BETA * (jnp.einsum("bik,jk->bij" if b.ndim == 2 else "bik,bjk->bij", a, b) - 1)).mean()

    def losses(x):
        regression = 0.5 * ((x.mean(axis=1) - TARGETS) ** 2).sum(axis=1).mean()
        return jnp.stack([regression, 0.5 * (energy(x, x) - 2 * energy(x, POINTS) + energy(POINTS[None], POINTS))])

    def drift(heads, x, bias):
        q, k, v = heads[:, :KEY_DIM], heads[:, KEY_DIM : 2 * KEY_DIM], heads[:, 2 * KEY_DIM :]
        scores = jnp.einsum("hka,bia,hkc,bjc->bhij", q, x, k, x) + bias
        return jnp.einsum("bhij,hde,bje->bid", jax.nn.softmax(scores, axis=-1), v, x)

    def value(parameters, offsets, bias, chosen, is_normalized, is_limit):
        step = HORIZON / (parameters.shape[0] * parameters.shape[1])

        def unit(x):
            return x / jnp.sqrt((x**2).sum(axis=-1, keepdims=True)) if is_normalized else x

        def after(x, layer):
            heads, offset = layer
            x = x + offset
            v = drift(heads, x, bias)
            if is_limit:  # the midpoint rule
                middle = unit(x + 0.5 * step * v)
                v = drift(heads, middle, bias)
                if is_normalized:
                    v = v - (middle * v).sum(axis=-1, keepdims=True) * middle
            return unit(x + step * v), None

        return losses(jax.lax.scan(after, X, (parameters, offsets[:-1]))[0] + offsets[-1]) @ chosen

    return jax.jit(jax.value_and_grad(value, argnums=(0, 1)), static_argnums=(4, 5))


def is_near(gradient, expected):
    return abs(gradient - np.asarray(expected)).max() < 1e-12 * abs(np.asarray(expected)).max()


@pytest.mark.parametrize("loss", [0, 1], ids=["regression", "kernel"])
@pytest.mark.parametrize("mask", [None, "causal"])
@pytest.mark.parametrize("normalization", ["post", "identity"])
@pytest.mark.parametrize("is_limit", [False, True], ids=["network", "limit"])
def test_gradients_are_those_of_jax(differentiated, is_limit, normalization, mask, loss):
    """In all matrices of several heads and in the tokens before and after every layer, to 1e-12 of the largest."""
    several = {"mask": mask, "normalization": normalization}
    if is_limit:
        network = TrainingLimit(n_cells=3, n_heads=4, **several, **OPTIONS)
    else:
        network = AttentionNetwork(depth=5, n_heads=3, **several, **OPTIONS)
    parameters = network.initial(1)
    where = parameters, np.zeros((network.shape[0] + 1, *X.shape)), BIASES[mask], np.eye(2)[loss]
    expected, (of_parameters, of_states) = differentiated(*where, normalization == "post", is_limit)
    result = network.gradient(parameters, X, objective=LOSSES[loss], save_states=True)
    assert result.value == pytest.approx(float(expected), rel=1e-12)
    assert is_near(result.parameters, of_parameters)
    assert is_near(result.adjoints, of_states)
    assert (result.tokens == result.adjoints[0]).all()
    # With the other mask the formula is another: the comparison can fail.
    other = *where[:2], BIASES["causal" if mask is None else None], where[3]
    assert not is_near(result.parameters, differentiated(*other, normalization == "post", is_limit)[1][0])
