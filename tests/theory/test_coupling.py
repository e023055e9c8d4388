"""The coupling of finite layers with their limit: marginals are exact, distances fall as the theorem says."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.streams import Noise
from chaosphere.experiments import depth_width
from chaosphere.theory.coupling import System, deep_wide, layer_covariance, optimal_map


def test_optimal_map_carries_one_covariance_to_the_other():
    rng = np.random.default_rng(0)
    a, b = (m @ m.T for m in rng.standard_normal((2, 6, 6)))
    t = optimal_map(a, b)
    np.testing.assert_allclose(t @ a @ t.T, b, rtol=0, atol=1e-10)
    np.testing.assert_allclose(t, t.T, atol=1e-10)
    assert np.linalg.eigvalsh(t).min() > 0
    # Any other square root moves more: E|Tg − g|² = tr(A + B) − 2 tr (A^{1/2} B A^{1/2})^{1/2} is the least.
    other = np.linalg.cholesky(b) @ np.linalg.inv(np.linalg.cholesky(a))
    cost = [np.trace((m - np.eye(6)) @ a @ (m - np.eye(6)).T) for m in (t, other)]
    assert cost[0] < cost[1]


def test_optimal_map_of_a_singular_covariance():
    a = np.ones((3, 3))
    t = optimal_map(a, 4 * a)
    np.testing.assert_allclose(t @ a @ t.T, 4 * a, atol=1e-12)
    np.testing.assert_allclose(optimal_map(a, a) @ a, a, atol=1e-12)


def test_layer_covariance_is_that_of_the_layer_given_its_inner_weights():
    """Null: given U and b_U the layer is N(0, K_m); 20 000 outer weights, five standard errors (5.7e-7) each."""
    mlp = cs.MLP(width=5, activation="tanh", bias_std=0.2)
    x = cs.sample_uniform(3, 4, rng=0)
    layer = mlp.draw(4, rng=np.random.default_rng(0))
    expected = layer_covariance(layer, x, output_bias_std=0.0)
    hidden = np.tanh(x @ layer.u[0].T / 2 + layer.b[0])
    outer = np.random.default_rng(1).standard_normal((20_000, 5))
    values = outer @ hidden.T / np.sqrt(5)
    products = values[:, :, None] * values[:, None, :]
    error = products.std(axis=0) / np.sqrt(20_000)
    assert (np.abs(products.mean(axis=0) - expected) < 5 * error).all()


def test_wide_layers_approach_the_field():
    mlp = cs.MLP(width=1, activation="tanh", bias_std=0.3)
    errors, width_errors = deep_wide(
        None,
        mlp,
        [System(points=cs.sample_uniform(10, 3, rng=0))],
        horizon=0.5,
        depths=[4, 8],
        widths=[8, 20_000],
        fine_depth=16,
        noise=Noise(0),
        n_threads=1,
    )
    errors, width_errors = errors[0], width_errors[0]
    assert errors[-1, -1] == 0
    assert (width_errors[:, 1] < 0.02 * width_errors[:, 0]).all()
    np.testing.assert_allclose(errors[:-1, 1], errors[:-1, 2], rtol=0.3)


@pytest.mark.slow
def test_exponents_in_depth_and_width():
    """Null: the exponents of the mean square in L and m are −1; 10 replicas, 99 % intervals, seed fixed."""
    data = depth_width.run(
        cs.MLP(width=1, activation="tanh", bias_std=0.3),
        rng=1,
        n_tokens=12,
        depths=[4, 8, 16, 32],
        widths=[8, 16, 32, 64],
        refinement=4,
        n_replicas=10,
    )
    in_depth, in_width, commutation = depth_width.claims(data)
    for claim in (in_depth, in_width):
        assert claim.verdict == "agrees"
        assert claim.high - claim.low < 0.9
    assert 0.5 < commutation.measured < 1.5
