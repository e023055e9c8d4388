"""Drifts of axisymmetric measures against the drift of tokens, the linear response, and differences."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.geometry.axisymmetric import AxisymmetricRule
from chaosphere.interactions.axisymmetric import ExponentialKernel

HEADS = [cs.SoftmaxAttention(beta=2.0), cs.UnnormalizedAttention(beta=1.0, value_scale=-0.5)]
INTERACTIONS = {
    "softmax": cs.SoftmaxAttention(beta=3.0, value_scale=0.7),
    "softmax, small β": cs.SoftmaxAttention(beta=0.3),
    "softmax, β = 0": cs.SoftmaxAttention(beta=0.0),
    "unnormalised": cs.UnnormalizedAttention(beta=3.0, value_scale=-2.0),
    "unnormalised, small β": cs.UnnormalizedAttention(beta=0.3),
    "rescaled": cs.UnnormalizedAttention(beta=4.0, rescaled=True),
    "rescaled, small β": cs.UnnormalizedAttention(beta=0.5, rescaled=True),
    "doubly stochastic": cs.SinkhornAttention(beta=3.0, value_scale=0.7),
    "doubly stochastic, small β": cs.SinkhornAttention(beta=0.3, tolerance=1e-13),
    "potential": cs.PotentialInteraction([0.0, 0.3, 0.5, -0.7]),
    "mean of heads": cs.MultiHeadAttention(heads=HEADS),
    "sum of heads": cs.MultiHeadAttention(heads=HEADS, combine="sum"),
}
WITH_ENERGY = {name: INTERACTIONS[name] for name in INTERACTIONS if "softmax" not in name and "heads" not in name}


def masses(rule, size=1.5):
    p = rule.weights * np.exp(size * rule.cosines) * (1.2 + np.sin(3 * rule.cosines))
    return p / p.sum()


@pytest.mark.parametrize("name", INTERACTIONS)
@pytest.mark.parametrize("dim", [2, 3])
def test_the_drift_of_tokens(name, dim):
    """Rings of 32 points are exact for polynomials of degree 31: their drift, along the meridian and around it."""
    interaction, n_ring = INTERACTIONS[name], 2 if dim == 2 else 32
    rule = AxisymmetricRule(dim=dim, n_modes=4, n_nodes=40)
    p, u = masses(rule), rule.cosines
    angle = 2 * np.pi * np.arange(n_ring) / n_ring
    s = np.sqrt(1 - u**2)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, : dim - 1]
    x = np.concatenate([np.repeat(u[:, None], n_ring, 0), (s[:, None, None] * circle).reshape(-1, dim - 1)], axis=1)
    x = cs.normalize(np.ascontiguousarray(x))
    drift = interaction(x, np.repeat(p / n_ring, n_ring))
    tangent = drift - (drift * x).sum(axis=1, keepdims=True) * x
    slope = interaction.axisymmetric_drift(u, dim).slope(p)
    np.testing.assert_allclose(tangent[:, 0].reshape(-1, n_ring).T, [(1 - u**2) * slope] * n_ring, rtol=0, atol=2e-11)
    speed = np.abs(np.sqrt(1 - u**2) * slope).max()
    assert speed <= interaction.axisymmetric_drift(u, dim).max_speed


@pytest.mark.parametrize("name", INTERACTIONS)
@pytest.mark.parametrize("dim", [2, 5, 20])
def test_the_linear_response(name, dim):
    """At the uniform law the derivative of Φ has the harmonics for eigenvectors."""
    interaction = INTERACTIONS[name]
    rule = AxisymmetricRule(dim=dim, n_modes=6, n_nodes=40)
    drift = interaction.axisymmetric_drift(rule.cosines, dim)
    change = drift.derivative(rule.weights) @ (rule.weights[:, None] * rule.basis[:, 1:])
    response = [interaction.linear_response(degree, dim) for degree in range(1, 7)]
    projected = rule.basis[:, 1:].T @ (rule.weights[:, None] * change)
    np.testing.assert_allclose(projected, np.diag(response), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", INTERACTIONS)
def test_derivatives(name):
    rule = AxisymmetricRule(dim=3, n_modes=39, n_nodes=40)
    drift, p, h = INTERACTIONS[name].axisymmetric_drift(rule.cosines, 3), masses(rule), 1e-5
    q = p * (rule.cosines - p @ rule.cosines)
    difference = (drift.potential(p + h * q) - drift.potential(p - h * q)) / (2 * h)
    exact = drift.derivative(p) @ q
    np.testing.assert_allclose(exact - exact.mean(), difference - difference.mean(), rtol=0, atol=3e-10)
    coefficients = rule.basis.T @ (rule.weights * drift.potential(p))
    np.testing.assert_allclose(rule.slopes @ coefficients, drift.slope(p), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", WITH_ENERGY)
def test_energies(name):
    """Their first variation is −Φ, and differences of them are those of the energy of tokens over δ."""
    interaction = WITH_ENERGY[name]
    rule = AxisymmetricRule(dim=2, n_modes=4, n_nodes=40)
    drift, p, h = interaction.axisymmetric_drift(rule.cosines, 2), masses(rule), 1e-5
    q = p * (rule.cosines - p @ rule.cosines)
    difference = (drift.energy(p + h * q) - drift.energy(p - h * q)) / (2 * h)
    assert difference == pytest.approx(-drift.potential(p) @ q, abs=1e-9)
    s = np.sqrt(1 - rule.cosines**2)
    x = np.concatenate([np.stack([rule.cosines, sign * s], axis=1) for sign in (1, -1)])

    def of_tokens(weights):
        return interaction.energy(cs.normalize(x), np.tile(weights / 2, 2)) * interaction.mobility

    change = drift.energy(p) - drift.energy(rule.weights)
    assert change == pytest.approx(of_tokens(p) - of_tokens(rule.weights), abs=1e-11)


def test_energies_that_there_are_not():
    u, p = np.array([0.0, 1.0]), np.array([0.5, 0.5])
    assert cs.SoftmaxAttention().axisymmetric_drift(u, 3).energy(p) is None
    assert cs.MultiHeadAttention(heads=HEADS).axisymmetric_drift(u, 3).energy(p) is None
    both = cs.MultiHeadAttention(heads=[cs.PotentialInteraction([0.0, 1.0])] * 2, combine="sum")
    assert both.axisymmetric_drift(u, 3).energy(p) == pytest.approx(-0.25, abs=1e-15)


@pytest.mark.parametrize("dim", [2, 3, 30])
def test_partition_sums_far_from_all_mass(dim):
    """β = 300: between the poles e^{−2β} of the largest one, to all digits."""
    u = np.array([-1.0, 0.0, 1.0])
    kernel = ExponentialKernel(u, beta=300.0, dim=dim)
    p = np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(300 * kernel.log_partition(p), [-600.0, -300.0, 0.0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(kernel.slope @ p / kernel.partition(p), [1.0] * 3, rtol=1e-13)


def test_attention_by_distances_is_softmax_attention():
    u, p = np.linspace(-1, 1, 7), np.full(7, 1 / 7)
    by_distances = cs.L2Attention(query=np.eye(3), key=np.eye(3)).axisymmetric_drift(u, 3)
    softmax = cs.SoftmaxAttention(beta=2.0).axisymmetric_drift(u, 3)
    assert (by_distances.slope(p) == softmax.slope(p)).all()


@pytest.mark.parametrize(
    ("interaction", "changes", "message"),
    [
        (cs.SoftmaxAttention(), {"cosines": [1.5]}, r"cosines = 1.5 must be in \[-1, 1\]"),
        (
            cs.SoftmaxAttention(),
            {"cosines": [[0.5]]},
            r"cosines must be a list .*, got shape \(1, 1\)",
        ),
        (cs.SinkhornAttention(), {"cosines": []}, r"cosines must be a list of one number or more, got shape \(0,\)"),
        (cs.UnnormalizedAttention(), {"dim": 65}, r"dim must be an integer <= 64, got 65"),
        (cs.PotentialInteraction([0.0, 1.0]), {"dim": 1}, r"dim must be an integer >= 2, got 1"),
        (cs.SoftmaxAttention(mask="causal"), {}, r"mask"),
        (cs.UnnormalizedAttention(mask="causal"), {}, r"mask"),
        (cs.SoftmaxAttention(query=np.eye(3), key=np.eye(3)), {}, r"QᵀK = βI and V = δI, got general matrices"),
        (cs.L2Attention(query=np.eye(2), key=np.eye(2)), {}, r"dim must be 2, that of the matrices, got 3"),
        (cs.MultiHeadAttention(heads=[cs.CustomInteraction(lambda x, p: x)]), {}, r"heads\[0\] must be an interaction"),
    ],
)
def test_bad_arguments(interaction, changes, message):
    with pytest.raises(ValueError, match=message):
        interaction.axisymmetric_drift(**({"cosines": [0.0, 1.0], "dim": 3} | changes))


@pytest.mark.parametrize("name", INTERACTIONS)
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_that_break_the_symmetry(name, order):
    """Masses on rings that vary like cos mφ: the drift around the axis is the derivative of Φ in φ, by differences."""
    interaction, n_ring, h = INTERACTIONS[name], 32, 1e-4
    rule = AxisymmetricRule(dim=3, n_modes=4, n_nodes=16)
    p, u = masses(rule), rule.cosines
    angle = 2 * np.pi * np.arange(n_ring) / n_ring
    s = np.sqrt(1 - u**2)[:, None]
    x = np.stack([u[:, None] + 0 * angle, s * np.cos(angle), s * np.sin(angle)], axis=2).reshape(-1, 3)
    x = cs.normalize(np.ascontiguousarray(x))
    around = np.tile(np.stack([0 * angle, -np.sin(angle), np.cos(angle)], axis=1), (len(u), 1))
    q = p * (1 + u)
    weights = [((p[:, None] + e * q[:, None] * np.cos(order * angle)) / n_ring).ravel() for e in (h, -h)]
    drifts = [(interaction(x, w) * around).sum(axis=1).reshape(-1, n_ring) for w in weights]
    change = interaction.axisymmetric_drift(u, 3).derivative(p, order=order) @ q
    expected = -order / s * np.sin(order * angle) * change[:, None]
    np.testing.assert_allclose((drifts[0] - drifts[1]) / (2 * h), expected, rtol=0, atol=2e-7)
