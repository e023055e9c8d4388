"""Attention with QᵀK = βI, β < 0: its sums, energy and linear response, and what is known of it on the circle."""

import math

import numpy as np
import pytest
from support import twins

import chaosphere as cs

BETAS = [-0.16, -3.0, -130.0, -300.0, -3e4]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dim", [2, 3, 20])
def test_direct_sums(beta, dim):
    # −130 and −300 are on either side of where one shift of all exponents, by |β|, serves.
    x = cs.sample_uniform(70, dim, rng=0)
    result = cs.SoftmaxAttention(beta=beta).evaluate(x)
    mean, log_partition = twins.attention(x, beta)
    atol = twins.attention_tolerance(2 * abs(beta), dim, np.float64)
    twins.assert_close(result.value, mean, atol=atol)
    twins.assert_close(result.log_partition, log_partition, atol=atol)
    assert result.energy is None


@pytest.mark.parametrize("beta", BETAS)
def test_it_is_attention_at_the_antipode(beta):
    x, z = cs.sample_uniform(50, 3, rng=0), cs.sample_uniform(60, 3, rng=1)
    minus = cs.SoftmaxAttention(beta=-beta)(-x, sources=z)
    atol = 2 * twins.attention_tolerance(2 * abs(beta), 3, np.float64)
    np.testing.assert_allclose(cs.SoftmaxAttention(beta=beta)(x, sources=z), minus, atol=atol)


def test_masks_weights_and_schedules():
    x = cs.sample_uniform(60, 2, rng=0)
    p = np.random.default_rng(0).random(60)
    p /= p.sum()
    causal = cs.SoftmaxAttention(beta=-2.0, mask="causal", decay=1.0)(x, p)
    np.testing.assert_allclose(causal, twins.causal_attention(x, -2.0, weights=p, decay=1.0)[0], atol=1e-13)
    fading = cs.SoftmaxAttention(beta=[-2.0, 1.0])
    model = cs.Transformer(attention=fading, mlp=None, depth=2, horizon=0.5)
    parts = [
        cs.Transformer(attention=cs.SoftmaxAttention(beta=beta), mlp=None, depth=1, horizon=0.25)
        for beta in (-2.0, 1.0)
    ]
    end = x
    for part in parts:
        end = cs.simulate(part, end, rng=0).final
    np.testing.assert_allclose(cs.simulate(model, x, rng=0).final, end, atol=1e-14)


@pytest.mark.parametrize("beta", [-0.5, -20.0, -340.0])
def test_energy(beta):
    x = cs.sample_uniform(40, 3, rng=0)
    attention = cs.SoftmaxAttention(beta=beta)
    want = 0.5 * float(np.mean(np.exp(beta) - np.exp(np.longdouble(beta) * (x @ x.T))))
    assert attention.energy(x) == pytest.approx(want, rel=1e-11)
    assert cs.SoftmaxAttention(query=beta * np.eye(3), key=np.eye(3)).energy(x) == pytest.approx(want, rel=1e-11)
    # Along the flow it rises at the rate |β| Σ_i p_i Z_i |P m_i|², to 0 at consensus.
    result = attention.evaluate(x)
    velocity = result.value - (result.value * x).sum(axis=1, keepdims=True) * x
    rate = -beta * float(np.mean(np.exp(result.log_partition) * (velocity**2).sum(axis=1)))
    step = 1e-6 / abs(beta)
    ends = [y / np.linalg.norm(y, axis=1, keepdims=True) for y in (x + step * velocity, x - step * velocity)]
    slope = (attention.energy(ends[0]) - attention.energy(ends[1])) / (2 * step)
    assert slope == pytest.approx(rate, rel=1e-5)
    assert attention.energy(np.repeat(x[:1], 5, axis=0)) == 0


def test_energy_of_another_beta_may_grow():
    assert cs.SoftmaxAttention(beta=-1.0).energy_growth(1.0, dim=2).growth > 0
    assert cs.SoftmaxAttention(beta=-1.0).consensus_rate == 1.0


@pytest.mark.parametrize("beta", [-0.1, -2.0, -60.0])
def test_densities_on_the_circle(beta):
    attention = cs.SoftmaxAttention(beta=beta, value_scale=0.5)
    angle = 2 * np.pi * np.arange(64) / 64
    density = 1 + 0.5 * np.cos(angle) - 0.3 * np.sin(2 * angle)
    nodes = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    drift = attention(nodes, density / density.sum())
    want = (drift * np.stack([-np.sin(angle), np.cos(angle)], axis=1)).sum(axis=1)
    modes = np.fft.rfft(density)[None] / 64
    np.testing.assert_allclose(attention.circle_drift(32)(modes, 64)[0], want, atol=1e-12)
    # A small harmonic about the uniform law: the same factor as on the circle and from the closed form.
    for degree in (1, 2, 3):
        response = attention.linear_response(degree, 2)
        tiny = np.zeros((1, 9), complex)
        tiny[0, 0], tiny[0, degree] = 1, 5e-9
        of_drift = attention.circle_drift(8)(tiny, 64)[0]
        np.testing.assert_allclose(of_drift, -1e-8 * degree * response * np.sin(degree * angle), atol=1e-14)
        assert (response > 0) == (degree % 2 == 1)


def triangle_rate(beta):
    """Rate of the two modes of a perturbed equilateral triangle: h′(2π/3) = −e^{−β/2} (½ + ¾ β) over Z."""
    z = (math.exp(beta) + 2 * math.exp(-beta / 2)) / 3
    return math.exp(-beta / 2) * (0.5 + 0.75 * beta) / z


@pytest.mark.parametrize("beta", [-2.0, -0.7, -0.6, 1.0])
def test_an_equilateral_triangle_is_stable_below_minus_two_thirds(beta):
    # So there is no global synchronization for β < −2/3 (arXiv:2507.22857).
    angle = 2 * np.pi * np.arange(3) / 3
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    normal = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    push = np.array([1.0, -1.0, 0.0])[:, None] * normal
    change = (cs.SoftmaxAttention(beta=beta).jvp(x, push) * normal).sum(axis=1)
    radial = (cs.SoftmaxAttention(beta=beta)(x) * x).sum(axis=1)  # of the projection's derivative
    np.testing.assert_allclose(change - radial * [1, -1, 0], triangle_rate(beta) * np.array([1, -1, 0]), atol=1e-14)
    assert (triangle_rate(beta) < 0) == (beta < -2 / 3)
    start = x + 0.05 * push
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    model = cs.LimitSDE(
        attention=cs.SoftmaxAttention(beta=beta), field=None, horizon=300.0, scheme="dormand-prince", n_steps=10
    )
    order = cs.measures.order_parameter(cs.simulate(model, start, rng=0).final)
    assert order == pytest.approx(0.0 if beta < -2 / 3 else 1.0, abs=1e-4)


def test_global_synchronization_from_minus_0_16_on():
    # arXiv:2507.22857: from almost every start, and so from all of these 60.
    for n_tokens in (3, 6, 15):
        x = cs.sample_uniform(n_tokens, 2, rng=n_tokens, n_replicas=20)
        model = cs.Transformer(attention=cs.SoftmaxAttention(beta=-0.16), mlp=None, depth=3000, horizon=300.0)
        order = cs.measures.order_parameter(cs.simulate(model, x, rng=0).final)
        np.testing.assert_allclose(order, 1.0, atol=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cs.SoftmaxAttention(beta=-351.0).energy(cs.sample_uniform(3, 2, rng=0)),
        lambda: cs.SoftmaxAttention(beta=-1e15),
        lambda: cs.SoftmaxAttention(beta=-1.0).axisymmetric_drift([0.0, 1.0], 3),
        lambda: cs.SoftmaxAttention(beta=-1.0).energy_growth(-1.0),
        lambda: cs.UnnormalizedAttention(beta=-1.0),
        lambda: cs.SinkhornAttention(beta=-1.0),
        lambda: cs.measures.energy(cs.sample_uniform(3, 2, rng=0), -1.0),
    ],
)
def test_what_is_not_served_is_refused(call):
    with pytest.raises(ValueError, match="beta"):
        call()
