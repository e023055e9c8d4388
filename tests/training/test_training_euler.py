"""The deterministic part of the error of a network before training: a/L, with a as docs/concepts/training.md has it.

Heads are the same in all layers, so there are no fluctuations: what is left is the error of Euler's method alone.
"""

import numpy as np
import pytest
from support.attention_network import drift, first_order

import chaosphere as cs
from chaosphere.training import AttentionNetwork, TrainingLimit

HORIZON, KEY_DIM = 2.0, 2
KINDS = [(None, "post"), ("causal", "post"), (None, "identity"), ("causal", "identity")]


@pytest.mark.parametrize(("mask", "normalization"), KINDS)
def test_the_error_of_equal_layers_is_that_of_first_order(mask, normalization):
    """X_L − X̄ = a/L + a₂/L² + O(L⁻³): 2 (2L e_2L) − L e_L is a up to O(L⁻²), and the exponent is −1 likewise."""
    options = {"dim": 3, "key_dim": KEY_DIM, "horizon": HORIZON, "mask": mask, "normalization": normalization}
    heads = TrainingLimit(n_cells=1, n_heads=6, value_scale=1.0, **options).initial(0)
    x = cs.sample_uniform(7, 3, rng=0)

    def f(x):
        return HORIZON * drift(heads[0], x, key_dim=KEY_DIM, is_causal=mask is not None)

    exact, a = first_order(f, x, is_normalized=normalization == "post")
    errors = []
    for depth in (64, 128, 256):
        network = AttentionNetwork(depth=depth, n_heads=6, **options)
        layers = np.ascontiguousarray(np.broadcast_to(heads, network.shape))
        errors.append(depth * (network.forward(layers, x[None])[0] - exact))
    assert np.linalg.norm(a) > 0.1
    rests = [np.linalg.norm(2 * errors[k + 1] - errors[k] - a) / np.linalg.norm(a) for k in range(2)]
    assert rests[1] < 1e-3
    assert 3.3 < rests[0] / rests[1] < 4.7
    exponents = [np.log2(np.linalg.norm(errors[k + 1]) / np.linalg.norm(errors[k])) - 1 for k in range(2)]
    assert abs(2 * exponents[1] - exponents[0] + 1) < 1e-3
