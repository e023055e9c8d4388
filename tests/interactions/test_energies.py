"""The energies of attention: values, accuracy near consensus, and their change along the flow."""

import math

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs


def cluster(n, dim, width, seed=0):
    rng = np.random.default_rng(seed)
    return cs.normalize(np.eye(dim)[0] + width * rng.standard_normal((n, dim)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("dim", [2, 3, 17])
@pytest.mark.parametrize("n", [1, 2, 33, 257])
@pytest.mark.parametrize("beta", [1e-10, 2.0, 30.0])
def test_values(n, dim, dtype, beta):
    x, p = cases.tokens(n, dim, dtype, n_replicas=2), cases.weights(n)
    for weights in (None, p):
        energy = np.array([0.5 * math.exp(beta) * twins.pair_energy(y, beta, weights) for y in x])
        np.testing.assert_allclose(cs.SoftmaxAttention(beta=beta).energy(x, weights), energy, rtol=1e-12, atol=0)
        for rescaled, factor in ((False, 1 / beta), (True, math.exp(-beta) / beta)):
            attention = cs.UnnormalizedAttention(beta=beta, rescaled=rescaled)
            np.testing.assert_allclose(attention.energy(x, weights), energy * factor, rtol=1e-12, atol=0)
            assert attention.energy(x[0], weights) == attention.energy(x, weights)[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 33, 2000])
@pytest.mark.parametrize("beta", [0.0, 5e-324, 1e-18])
def test_beta_zero_is_half_the_spread(n, dtype, beta):
    x, p = cases.tokens(n, 3, dtype)[0], cases.weights(n)
    for weights in (None, p):
        energy = 0.5 * twins.spread(x, weights)
        for rescaled in (False, True):
            attention = cs.UnnormalizedAttention(beta=beta, rescaled=rescaled)
            assert attention.energy(x, weights) == pytest.approx(energy, rel=1e-12, abs=0)
    assert cs.SoftmaxAttention(beta=0.0).energy(x) == 0.0


@pytest.mark.parametrize("width", [1e-3, pytest.param(1e-8, marks=pytest.mark.slow), 1e-13])
@pytest.mark.parametrize("beta", [0.0, 4.0])
def test_near_consensus(width, beta):
    """Also with a token of next to no weight far from the others."""
    x, p = cluster(3000, 3, width), np.append(np.full(2999, 1 / 2999), 0.0)
    p[-1] = 1e-30
    x[-1] = -x[0]
    attention = cs.UnnormalizedAttention(beta=beta, rescaled=True)
    deficit = 0.5 * twins.spread(x, p) if beta == 0 else 0.5 * twins.pair_energy(x, beta, p) / beta
    assert attention.energy(x, p / p.sum()) == pytest.approx(deficit, rel=1e-11, abs=0)
    same = np.repeat(x[:1], 50, axis=0)
    assert attention.energy(same) == 0.0
    assert cs.SoftmaxAttention(beta=3.0).energy(same) == 0.0


def test_it_is_the_energy_of_measures_to_the_bit():
    x, p = cases.tokens(3000, 3)[0], cases.weights(3000)
    assert cs.SoftmaxAttention(beta=2.0, value_scale=-3.0).energy(x, p) == cs.measures.energy(x, 2.0, weights=p)


def test_no_gradient_flow_has_no_energy():
    x, eye = cs.sample_uniform(10, 3, rng=0), np.eye(3)
    skew = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert cs.SoftmaxAttention(query=skew, key=eye).energy(x) is None
    assert cs.SoftmaxAttention(beta=2.0, value=skew).energy(x) is None
    attention = cs.SoftmaxAttention(query=skew, key=2.0 * skew, value=-3.0 * eye)  # QᵀK = 2I
    assert attention.energy(x) == cs.measures.energy(x, beta=2.0)
    with pytest.raises(ValueError, match="beta must be <= 700 for the energy, got 701"):
        cs.SoftmaxAttention(beta=701.0).energy(x)
    assert cs.UnnormalizedAttention(beta=701.0, rescaled=True).energy(x) > 0
    with pytest.raises(ValueError, match="x must lie on the unit sphere"):
        cs.SoftmaxAttention(beta=2.0, value=skew).energy(2 * x)


def test_distances_of_scalar_matrices_are_softmax_attention():
    """Also in their linear response and on the circle."""
    x, eye, p = cs.sample_uniform(10, 3, rng=0), np.eye(3), cases.weights(10)
    rotation = cases.rotation(3, 0)
    attention, softmax = cs.L2Attention(query=1.5 * rotation, key=0.5 * rotation), cs.SoftmaxAttention(beta=1.5)
    np.testing.assert_allclose(attention.energy(x, p), softmax.energy(x, p), rtol=1e-14)
    assert cs.L2Attention(query=eye, key=eye, value=2.0 * eye).energy(x) == cs.SoftmaxAttention(beta=2.0).energy(x)
    assert attention.linear_response(2, 3) == pytest.approx(softmax.linear_response(2, 3), rel=1e-14)
    modes = np.array([[1.0, 0.3 + 0.1j, 0.05, 0.0]])
    drift = cs.L2Attention(query=np.eye(2), key=np.eye(2), value_scale=-0.5).circle_drift(3)
    expected = cs.SoftmaxAttention(beta=2.0, value_scale=-0.5).circle_drift(3)
    np.testing.assert_allclose(drift(modes, 16), expected(modes, 16), rtol=1e-14)
    skew = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for general in (
        cs.L2Attention(query=skew, key=eye),
        cs.L2Attention(query=np.diag([1, 2, 4]), key=np.diag([4, 2, 1])),
    ):
        assert general.energy(x) is None
        with pytest.raises(ValueError, match="circle_drift needs attention with QᵀK = βI and KᵀK = cI"):
            general.circle_drift(3)
        with pytest.raises(ValueError, match="linear_response needs attention with QᵀK = βI and KᵀK = cI"):
            general.linear_response(1, 3)
    with pytest.raises(ValueError, match="dim must be 3, that of the matrices, got 2"):
        attention.linear_response(1, 2)


def test_heads_and_functions():
    x, p = cs.sample_uniform(10, 3, rng=0, n_replicas=2), cases.weights(10)
    one, two = cs.UnnormalizedAttention(beta=1.0), cs.UnnormalizedAttention(beta=3.0, value_scale=-0.5)
    for combine, share in (("mean", 0.5), ("sum", 1.0)):
        both = cs.MultiHeadAttention(heads=[one, two], combine=combine)
        expected = share * (one.energy(x, p) - 0.5 * two.energy(x, p))
        np.testing.assert_allclose(both.energy(x, p), expected, rtol=1e-13)
        assert both.mobility == 1.0
        assert both.consensus_rate == pytest.approx(share * (math.exp(1.0) - 0.5 * math.exp(3.0)), rel=1e-15)
        response = share * (one.linear_response(2, 3) + two.linear_response(2, 3))
        assert both.linear_response(2, 3) == pytest.approx(response, rel=1e-14)
        modes, drift = np.array([[1.0, 0.3 + 0.1j, 0.05, 0.0]]), both.circle_drift(3)
        expected = share * sum(head.circle_drift(3)(modes, 16) for head in (one, two))
        np.testing.assert_allclose(drift(modes, 16), expected, rtol=1e-13)
        assert drift.max_speed >= abs(expected).max()
    softmax, custom = cs.SoftmaxAttention(beta=2.0), cs.CustomInteraction(lambda x, weights: -x)
    assert cs.MultiHeadAttention(heads=[one, softmax]).energy(x) is None
    assert custom.energy(x) is None
    mixed = cs.MultiHeadAttention(heads=[one, custom])
    assert (mixed.energy(x), mixed.mobility, mixed.consensus_rate) == (None, None, None)
    with pytest.raises(ValueError, match=r"heads\[1\] must be an interaction with the method circle_drift"):
        mixed.circle_drift(3)
    for interaction in (mixed, custom):
        with pytest.raises(ValueError, match="x must lie on the unit sphere"):
            interaction.energy(2 * x)


def along(attention, x, step):
    """The tokens after one small step forwards, and after one backwards."""

    def state(sign):
        model = cs.LimitSDE(attention=attention(sign), field=None, horizon=step, n_steps=1, scheme="rk4")
        return cs.simulate(model, x, rng=0).final

    return state(1.0), state(-1.0)


@pytest.mark.parametrize("dim", [2, 3, 5])
@pytest.mark.parametrize("value_scale", [1.0, -0.5])
@pytest.mark.parametrize("kind", ["softmax", "unnormalized", "rescaled", "heads"])
def test_change_along_the_flow(kind, value_scale, dim):
    """Central differences of the energy along the flow miss its derivative by a multiple of the squared step."""
    beta, x = 1.5, cs.sample_uniform(40, dim, rng=1)

    def of(scale):
        if kind == "softmax":
            return cs.SoftmaxAttention(beta=beta, value_scale=scale)
        if kind == "heads":
            heads = [cs.UnnormalizedAttention(beta=b, value_scale=c * scale) for b, c in ((beta, 1.0), (3.0, -0.1))]
            return cs.MultiHeadAttention(heads=heads, combine="sum")
        return cs.UnnormalizedAttention(beta=beta, value_scale=scale, rescaled=kind == "rescaled")

    def attention(sign):
        return of(sign * value_scale)

    unit = of(1.0)
    m = unit(x)
    tangent = m - (m * x).sum(axis=1, keepdims=True) * x
    z = np.exp(unit.evaluate(x).log_partition) if kind == "softmax" else np.ones(40)
    change = -value_scale * (beta if kind == "softmax" else 1.0) * np.mean(z * (tangent**2).sum(axis=1))
    errors = []
    for step in (0.04, 0.02, 0.01):
        ahead, behind = along(attention, x, step)
        errors.append((unit.energy(ahead) - unit.energy(behind)) / (2 * step) - change)
    assert abs(errors[-1]) < 1e-3 * abs(change)
    order = np.log2(np.abs(np.divide(errors[:-1], errors[1:])))
    assert (abs(order - 2) < 0.05).all()
