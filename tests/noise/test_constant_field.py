"""A layer of weight_std 0 is a constant field: on the circle tokens then move by Möbius maps.

With z = e^{iθ} and a vector c(t) that is the same at every point, dz = P_z ∘ dc is a flow of Möbius maps that keep the
circle (Lie algebra sl(2, R)), whatever the path c. Attention with β = 0 is such a vector, V times the mean. So the
cross-ratio of any four tokens is constant, with attention, with noise, and with both. A scheme changes it by its own
errors alone; areas of the path, which limit strong orders, play no part:

- rk4, attention alone: order 4;
- heun: the cubic error of a step of dθ = −r sin θ is r² sin θ r/6, a constant field again, so the cross-ratio is off by
  quartic terms; isotropic noise makes their mean vanish, and their sum is of order L^{1/2} h² = h^{3/2};
- the other schemes and the transformer: quadratic terms of mean zero, L^{1/2} h = h^{1/2}.
"""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.noise import activations

ANGLES = np.array([0.3, 1.1, 2.9, 4.4, 5.2])
TOKENS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
NETWORK = cs.MLP(width=4, activation="cos", bias_std=0.4, output_bias_std=0.3, weight_std=0.0)


def cross_ratio(x):
    """(z1 − z3)(z2 − z4) / ((z1 − z4)(z2 − z3)) of the first four tokens, a real number."""
    z = x[..., 0] + 1j * x[..., 1]
    a, b, c, d = (z[..., k] for k in range(4))
    ratio = (a - c) * (b - d) / ((a - d) * (b - c))
    assert abs(ratio.imag).max() < 1e-12 * abs(ratio).max()
    return ratio.real


def change_of_cross_ratio(model, n_replicas=1):
    x = np.tile(TOKENS, (n_replicas, 1, 1))
    final = cs.simulate(model, x, rng=7).final
    assert np.median(abs(final - x).max(axis=(1, 2))) > 0.1  # they do move
    return float(np.sqrt(np.mean((cross_ratio(final) / cross_ratio(TOKENS) - 1) ** 2)))


@pytest.mark.parametrize("value_scale", [1.0, -0.7])
def test_value_attention_alone_has_order_four(value_scale):
    attention = cs.SoftmaxAttention(beta=0.0, value_scale=value_scale)
    errors = [
        change_of_cross_ratio(cs.LimitSDE(attention=attention, field=None, horizon=2.0, n_steps=n, scheme="rk4"))
        for n in (16, 32, 64, 1024)
    ]
    assert 14 < errors[0] / errors[1] < 18
    assert 15 < errors[1] / errors[2] < 17
    assert errors[3] < 1e-12


def equation(n_steps, *, scheme="heun", beta=None):
    field = cs.GaussianField(kernel=NETWORK.kernel(2).scaled(0.3))
    attention = None if beta is None else cs.SoftmaxAttention(beta=beta)
    return cs.LimitSDE(attention=attention, field=field, horizon=1.0, n_steps=n_steps, scheme=scheme)


def transformer(n_steps, *, beta=None):
    attention = None if beta is None else cs.SoftmaxAttention(beta=beta)
    return cs.Transformer(attention=attention, mlp=NETWORK, depth=n_steps, horizon=1.0, noise_scale=0.3)


@pytest.mark.parametrize(
    ("model", "options", "order"),
    [
        (equation, {"scheme": "heun", "beta": None}, 1.5),
        (equation, {"scheme": "heun", "beta": 0.0}, 1.5),
        (equation, {"scheme": "projected-euler", "beta": 0.0}, 0.5),
        (equation, {"scheme": "geodesic-euler", "beta": 0.0}, 0.5),
        (equation, {"scheme": "split", "beta": 0.0}, 0.5),
        (transformer, {"beta": 0.0}, 0.5),
    ],
)
def test_orders_with_noise(model, options, order):
    # Over seeds the fitted order of 200 replicas varies by 0.04: 0.2 is five standard deviations, 6e-7.
    coarse, fine = (change_of_cross_ratio(model(n, **options), n_replicas=200) for n in (64, 1024))
    assert abs(np.log(coarse / fine) / np.log(16) - order) < 0.2


def test_noise_and_attention_together_to_seven_digits():
    assert change_of_cross_ratio(equation(4096, beta=0.0), n_replicas=8) < 1e-7


def test_attention_with_beta_above_zero_is_no_moebius_map():
    model = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=1.0), field=None, horizon=2.0, n_steps=256, scheme="rk4")
    assert change_of_cross_ratio(model) > 0.1


@pytest.mark.parametrize("dim", [2, 3, 5])
@pytest.mark.parametrize("activation", [*activations.ACTIVATIONS, np.arctan])
@pytest.mark.parametrize("stds", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.3), (0.5, 0.3)])
def test_everything_that_a_constant_field_goes_through(dim, activation, stds):
    network = cs.MLP(width=8, activation=activation, weight_std=0.0, bias_std=stds[0], output_bias_std=stds[1])
    x = cs.sample_uniform(6, dim, rng=0)
    for tokens in (x, x.astype(np.float32)):
        image = network.draw(dim, rng=np.random.default_rng(0))(tokens)
        assert np.isfinite(image).all()
        assert (image == image[0]).all()
    kernel = network.kernel(dim)
    phi = activations.get(activation).function
    # E φ(σ Z)², each side of the kink at 0 for itself.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z = 6 * (1 + nodes)
    square = 6 * weights @ (np.exp(-(z**2) / 2) * (phi(stds[0] * z) ** 2 + phi(-stds[0] * z) ** 2))
    expected = square / np.sqrt(2 * np.pi) + stds[1] ** 2
    assert kernel(np.array([-1.0, 0.3, 1.0])) == pytest.approx(np.full(3, expected), rel=1e-10, abs=1e-300)
    assert kernel.derivative(1.0) == 0
    assert (kernel.spectrum(5)[1:] == 0).all()
    for method in ("auto", "spectral", "dense", "features"):
        field = cs.GaussianField(kernel=kernel, method=method, width=16)
        model = cs.LimitSDE(attention=None, field=field, horizon=1.0, n_steps=2)
        final = cs.simulate(model, x, rng=0).final
        assert np.isfinite(final).all()
        if expected == 0:
            assert abs(final - x).max() < 1e-15
