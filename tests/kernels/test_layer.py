"""Random layers agree with their dense twin for every tile shape, layout and activation, to the stated error."""

import numpy as np
import pytest
from support import cases, twins

from chaosphere.common.streams import Draws
from chaosphere.kernels import layer as kernel
from chaosphere.noise import activations
from chaosphere.noise.mlp import MLP, MLPLayer

# φ in double, one rounding of |φ| away from exact.
PHI = {name: lambda z, phi=phi: phi(z.astype(float)) for name, phi in activations.ACTIVATIONS.items()}
# The claim of MLPLayer: error over the sum of the magnitudes of the terms.
CLAIM = {np.float64: 1e-15, np.float32: 5e-7}


def draw(width, dim, activation, dtype, *, n_layers=1, bias=0.5, output_bias=0.3):
    """Weights of independent layers, rounded to dtype: u, b, w, c."""
    keys = np.random.default_rng([width, dim, n_layers]).integers(2**32, size=(n_layers, 2), dtype=np.uint32)
    mlp = MLP(width=width, activation=activation, bias_std=bias, output_bias_std=output_bias)
    one = mlp.plan(dim).draw([Draws(keys=keys)])
    return tuple(None if a is None else a.astype(dtype) for a in (one.u, one.b, one.w, one.c))


def check(x, activation, parameters, dtype, n_threads=1):
    u, b, w, c = parameters
    scales = (x.shape[2] ** -0.5, u.shape[1] ** -0.5)
    phi = activations.ACTIVATIONS[activation]
    got = kernel.layer(x, u, b, w, c, phi.kernel_id, *scales, n_threads)
    want, magnitude = zip(
        *(
            twins.layer(
                tokens,
                u[r % len(u)],
                w[r % len(u)],
                PHI[activation],
                b=None if b is None else b[r % len(u)],
                c=None if c is None else c[r % len(u)],
                weight_std=scales[0],
                output_scale=scales[1],
                lipschitz=phi.lipschitz,
                dtype=np.longdouble,
            )
            for r, tokens in enumerate(x)
        ),
        strict=True,
    )
    twins.assert_close(got, np.stack(want), atol=CLAIM[dtype] * np.stack(magnitude), dtype=dtype)
    return got


@pytest.mark.parametrize("activation", PHI)
@pytest.mark.parametrize(("width", "dim"), [(1, 2), (33, 3), (300, 17)])
def test_every_activation(isa, dtype, activation, width, dim):
    check(cases.tokens(70, dim, dtype), activation, draw(width, dim, activation, dtype), dtype)


# Tiles hold 64 tokens, 32 hidden units, and 8, 4, 2 or 1 rows.
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 63, 64, 65, 129])
@pytest.mark.parametrize(("width", "dim"), [(1, 5), (2, 2), (7, 3), (31, 3), (32, 17), (33, 5), (65, 130)])
def test_every_tile_shape(isa, dtype, n, width, dim):
    check(cases.tokens(n, dim, dtype), "relu", draw(width, dim, "relu", dtype), dtype)


@pytest.mark.parametrize("bias", [0.0, 0.7])
@pytest.mark.parametrize("output_bias", [0.0, 0.7])
def test_with_and_without_biases(isa, dtype, bias, output_bias):
    parameters = draw(50, 3, "tanh", dtype, bias=bias, output_bias=output_bias)
    assert (parameters[1] is None) == (bias == 0)
    assert (parameters[3] is None) == (output_bias == 0)
    check(cases.tokens(40, 3, dtype), "tanh", parameters, dtype)


def test_wide_layer_keeps_the_claim(isa, dtype):
    check(cases.tokens(20, 3, dtype), "silu", draw(5000, 3, "silu", dtype), dtype)


def test_one_layer_per_replica_and_one_for_all(isa, dtype):
    x = cases.tokens(70, 5, dtype, n_replicas=3)
    own = draw(40, 5, "gelu", dtype, n_layers=3)
    check(x, "gelu", own, dtype)
    check(x, "gelu", draw(40, 5, "gelu", dtype), dtype)
    one = [a[1:2] for a in own]
    scales = (5**-0.5, 40**-0.5)
    batch = kernel.layer(x, *own, 2, *scales, 1)
    alone = kernel.layer(x[1:2], *one, 2, *scales, 1)
    assert np.array_equal(batch[1], alone[0])


def test_layouts_do_not_matter(isa, dtype):
    x = cases.tokens(70, 5, dtype, n_replicas=2)
    u, b, w, c = draw(40, 5, "sin", dtype, n_layers=2)
    for a in (u, b, w, c):
        a.flags.writeable = False
    want = kernel.layer(x, u, b, w, c, 6, 1.0, 1.0, 1)
    for name, same in cases.layouts(x).items():
        assert np.array_equal(kernel.layer(same, u, b, w, c, 6, 1.0, 1.0, 1), want), name


@pytest.mark.parametrize("activation", [name for name, phi in activations.ACTIVATIONS.items() if phi.is_odd])
def test_odd_fields_are_odd_bit_for_bit(isa, dtype, activation):
    x = cases.tokens(70, 3, dtype)[0]
    layer = MLP(width=100, activation=activation).draw(3, rng=np.random.default_rng(0))
    assert np.array_equal(layer(-x, n_threads=1), -layer(x, n_threads=1))


def test_compiled_layer_agrees_with_a_callable(isa):
    x = cases.tokens(40, 3)[0]
    mlp = MLP(width=64, activation="tanh", bias_std=0.5, output_bias_std=0.5)
    fast = mlp.draw(3, rng=np.random.default_rng(0))
    slow = MLPLayer(
        u=fast.u, w=fast.w, b=fast.b, c=fast.c, activation=activations.get(np.tanh), weight_std=fast.weight_std
    )
    # Two evaluations, each within 1e-15 of a sum of magnitudes that is below 64 here.
    twins.assert_close(fast(x, n_threads=1), slow(x), atol=2e-15 * 64)


def test_a_merged_layer_is_the_scaled_sum_of_its_parts(isa):
    x, mlp = cases.tokens(40, 3)[0], MLP(width=20, bias_std=0.3, output_bias_std=0.3)
    merged = mlp.plan(3).draw([Draws.of(np.random.default_rng(k)) for k in range(4)])
    parts = [mlp.draw(3, rng=np.random.default_rng(k))(x) for k in range(4)]
    twins.assert_close(merged(x), sum(parts) / 2, atol=1e-15 * 64)


@pytest.mark.parametrize("d", [3, 20])
def test_very_many_hidden_units(isa, dtype, d):
    check(cases.tokens(3, d, dtype), "relu", draw(100_000, d, "relu", dtype), dtype)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sin"])
@pytest.mark.parametrize("dim", [3, 5, 17])
def test_a_token_does_not_depend_on_how_many_others(every_isa, dtype, activation, dim):
    """Few tokens take blocks of few columns."""
    x, parameters = cases.tokens(40, dim, dtype, n_replicas=3), draw(33, dim, activation, dtype, n_layers=3)
    u, b, w, c = parameters
    settings = (activations.ACTIVATIONS[activation].kernel_id, 1.0, 1.0, 1)
    every = kernel.layer(x, u, b, w, c, *settings)
    for n in (1, 4, 8, 9, 16, 17, 24, 32, 33):
        assert np.array_equal(kernel.layer(x[:, :n], u, b, w, c, *settings), every[:, :n])
