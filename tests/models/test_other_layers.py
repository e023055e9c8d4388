"""Layers of other weights, one network for all layers, and other powers of the depth."""

import math

import numpy as np
import pytest
import scipy.stats
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Stream
from chaosphere.models.protocol import StepContext
from chaosphere.simulation.identity import describe

ATTENTION = cs.SoftmaxAttention(beta=1.0)
# Statistical tests: z for a false-alarm rate of 1e-6, two-sided.
Z = scipy.stats.norm.isf(5e-7)


def mlp(**options):
    return cs.MLP(**{"width": 16, "activation": "tanh", "bias_std": 0.3} | options)


def network(depth, **options):
    return cs.Transformer(**{"attention": ATTENTION, "mlp": mlp(), "depth": depth, "horizon": 1.0} | options)


@pytest.mark.parametrize("weights", ["gaussian", "rademacher", "uniform"])
def test_weights_are_a_function_of_the_normals(weights):
    (u, w), (z_u, z_w) = (
        (layer.u, layer.w)
        for layer in (mlp(weights=name).draw(3, rng=np.random.default_rng(0)) for name in (weights, "gaussian"))
    )
    for entries, z in ((u, z_u), (w, z_w)):
        if weights == "rademacher":
            assert np.array_equal(entries, np.sign(z))
        elif weights == "uniform":
            np.testing.assert_allclose(entries, math.sqrt(3) * (2 * scipy.stats.norm.cdf(z) - 1), atol=1e-15)
        else:
            assert np.array_equal(entries, z)
    x = cases.tokens(30, 3)
    end = cs.simulate(network(5, attention=None, mlp=mlp(weights=weights)), x, rng=2).final
    plan, y = mlp(weights=weights).plan(3), x
    for step in range(5):
        layer = plan.draw([Noise(2).draws(Stream.LAYER, step)])
        hidden = np.tanh(y @ layer.u[0].T / math.sqrt(3) + layer.b[0])
        y = cs.normalize(y + math.sqrt(1 / 5) * hidden @ layer.w[0].T / 4)
    twins.assert_close(end, y, atol=1e-13)


def test_the_covariance_is_that_of_gaussian_weights_if_w_alone_is_another():
    """E⟨G(x), G(y)⟩/d = κ(⟨x, y⟩) for W = ±1 and Gaussian U, and not for U = ±1.

    Null: the mean over 4 000 layers of width 4 is κ; its standard error is estimated. For U = ±1, without biases, E φ²
    is tanh²(1/√2) at (1, 0) and tanh²(1)/2 at (1, 1)/√2, which the same test can tell apart.
    """
    law, gaussian = mlp(width=4, bias_std=0.0), np.random.default_rng(1)
    x = np.array([[1.0, 0.0], [math.sqrt(0.5), math.sqrt(0.5)]])
    kernel, r = law.kernel(2), 4000
    expected = {
        "w": [kernel(1.0), kernel(1.0), kernel(math.sqrt(0.5))],
        "both": [math.tanh(math.sqrt(0.5)) ** 2, 0.5 * math.tanh(1.0) ** 2],
    }
    assert abs(expected["both"][0] - 0.371) < 1e-3
    assert abs(expected["both"][1] - 0.290) < 1e-3
    for kind, values in expected.items():
        u = gaussian.standard_normal((r, 4, 2))
        u, w = u if kind == "w" else np.sign(u), np.sign(gaussian.standard_normal((r, 2, 4)))
        layers = cs.MLPLayer(u=u, w=w, b=None, c=None, activation=law.law.activation, weight_std=math.sqrt(0.5))
        g = layers(np.tile(x, (r, 1, 1)))
        for (a, b), value in zip(((0, 0), (1, 1), (0, 1)), values, strict=False):
            products = np.einsum("rc,rc->r", g[:, a], g[:, b]) / 2
            error = Z * products.std(ddof=1) / math.sqrt(r)
            assert error < 0.04  # half of what parts .371 from .290
            assert abs(products.mean() - value) < error


def test_one_network_for_all_layers_solves_an_ordinary_differential_equation():
    """Halving the steps halves the error: X' = P(Attn + s G(X)), by Euler's rule with projections."""
    x, frozen = cases.tokens(20, 3), mlp(resample=False)
    layer = frozen.plan(3).draw([Noise(4).draws(Stream.LAYER, 0)])

    def slope(y):
        y = y / np.linalg.norm(y, axis=-1, keepdims=True)
        v = ATTENTION(y) + 0.7 * layer.values(y, n_threads=1)
        return v - np.sum(v * y, axis=-1, keepdims=True) * y

    y, h = x, 1 / 200
    for _ in range(200):
        k1 = slope(y)
        k2 = slope(y + h / 2 * k1)
        k3 = slope(y + h / 2 * k2)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(y + h * k3))
    errors = [
        np.abs(cs.simulate(network(depth, mlp=frozen, noise_scale=0.7), x, rng=4).final - y).max()
        for depth in (50, 100, 200)
    ]
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2, rtol=0.1)
    assert errors[-1] < 0.01
    # Layers that are merged are the same network with longer steps.
    coarse, plain = network(100, mlp=frozen).coarsen(2), network(50, mlp=frozen)
    assert np.array_equal(cs.simulate(coarse, x, rng=4).final, cs.simulate(plain, x, rng=4).final)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"mlp_exponent": 0.75}, {"mlp": None}),
        ({"attention_exponent": 1.25}, {"attention": None}),
    ],
)
def test_off_the_critical_powers_one_half_is_left(options, left):
    """The distance to what is left falls as L^{-1/4}: by 2 from L = 32 to 512.

    Null: ratios of the means of 1.94 and 2.06, as 1 600 other replicas give. The logarithm of a ratio over n = 40
    replicas has a standard deviation of 0.06 there: the ends are 5.2 deviations away at least. False alarms: below
    1e-6. The powers 0 and -1/2, with the ratios 1 and 4, are 5.6 and 5.9 deviations outside.
    """
    x = cases.tokens(20, 3, n_replicas=40)
    distances = []
    for depth in (32, 512):
        ends = [cs.simulate(network(depth, **changes), x, rng=1).final for changes in (options, left)]
        distances.append(float(cs.measures.coupled_distance(*ends).mean()))
    assert 1.4 < distances[0] / distances[1] < 2.8


@pytest.mark.parametrize(
    ("options", "horizon"),
    [
        ({"mlp": None, "attention_exponent": 0.5}, 4),
        ({"attention": None, "mlp_exponent": 1.0}, 1 / 16),
        ({"attention": cs.RandomAttention(beta=1.0), "mlp": None, "attention_exponent": 1.5}, 1 / 16),
        ({"attention": None, "mlp": mlp(resample=False), "mlp_exponent": 1.0}, 1 / 4),
    ],
)
def test_steps_of_other_powers(options, horizon):
    """T L^{-a}, s √T L^{-b}; of random attention √T L^{½ - a}; of one network s T L^{-b-½}: here those of
    another horizon, with L = 16.
    """
    x = cases.tokens(10, 3)
    plain = {name: value for name, value in options.items() if not name.endswith("exponent")}
    ends = []
    for changes in (options, plain | {"horizon": horizon}):
        plan = network(16, **changes).plan(Shape.of(x))
        ends.append(plan.advance(x, range(1), StepContext(noise=Noise(0), n_threads=1)))
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-14)


def test_bad_input():
    for options, message in (
        ({"weights": "cauchy"}, "weights: unknown 'cauchy'"),
        ({"weights": "rademacher"}, "weights must be 'gaussian' for a kernel"),
    ):
        with pytest.raises(ValueError, match=message):
            mlp(**options).kernel(3)
    with pytest.raises(TypeError, match="resample must be True or False"):
        mlp(resample=1)
    for options in ({"attention_exponent": -1.0}, {"mlp_exponent": math.nan}):
        with pytest.raises(ValueError, match="must be a finite number"):
            network(4, **options)
    for options in ({"attention_exponent": 1.5}, {"mlp_exponent": 0.6}):
        with pytest.raises(ValueError, match="attention_exponent and mlp_exponent must be 1"):
            network(4, **options).coarsen(2)
        with pytest.raises(ValueError, match="must have the default exponents"):
            cs.coupled_run(network(4, **options), cases.tokens(5, 3), rng=0)
    with pytest.raises(ValueError, match="must have the default exponents"):
        cs.coupled_run(network(4, mlp=mlp(resample=False)), cases.tokens(5, 3), rng=0)
    with pytest.raises(ValueError, match="weights must be 'gaussian' for a kernel"):
        cs.coupled_run(network(4, mlp=mlp(weights="uniform")), cases.tokens(5, 3), rng=0)


def test_identities_of_before():
    """Fields at their defaults are in no identity: stores and checkpoints of before are those of the same runs."""
    text = str(describe(network(4)))
    assert not any(name in text for name in ("exponent", "resample", "'weights'"))
    assert "resample" in str(describe(network(4, mlp=mlp(resample=False))))
