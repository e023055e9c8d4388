"""The embedded pair: against quadrature, SciPy and small steps of rk4, and its bits."""

import math

import numpy as np
import pytest
from scipy.integrate import RK45, quad, solve_ivp

import chaosphere as cs
from chaosphere.models import adaptive

X = cs.sample_uniform(12, 3, rng=0, n_replicas=3)


def model(attention=None, horizon=3.0, n_steps=3, **options):
    attention = cs.SoftmaxAttention(beta=4.0) if attention is None else attention
    options = {"scheme": "dormand-prince"} | options
    return cs.LimitSDE(attention=attention, field=None, horizon=horizon, n_steps=n_steps, **options)


def test_coefficients_are_those_of_scipy():
    for mine, theirs in [(adaptive._B, RK45.B), (adaptive._C, RK45.C[1:]), (adaptive._E, RK45.E)]:
        np.testing.assert_allclose(mine, theirs, rtol=1e-14)
    for i, row in enumerate(adaptive._A):
        np.testing.assert_allclose(row, RK45.A[i + 1, : i + 1], rtol=1e-14)


def test_float32():
    single = cs.simulate(model(), X.astype(np.float32), rng=0).final
    np.testing.assert_allclose(single, cs.simulate(model(), X, rng=0).final, atol=1e-2)


def merging_time(start, end, beta):
    """∫ (1 + e^{β(1 − cos θ)})/(2 sin θ) dθ from end to start."""
    value, _ = quad(
        lambda angle: (1 + math.exp(beta * (1 - math.cos(angle)))) / (2 * math.sin(angle)),
        end,
        start,
        epsabs=0,
        epsrel=1e-11,
        limit=500,
    )
    return value


@pytest.mark.parametrize(("c", "beta"), [(1.0, 16.0), (10.0, 8.0), (20.0, 16.0), (30.0, 16.0), (30.0, 40.0)])
def test_two_tokens_merge_when_the_quadrature_says(c, beta):
    """θ̇ = −2 sin θ/(1 + e^{β(1 − cos θ)}) under softmax; times of 1 to 1e12."""
    start = math.acos(1 - c / beta)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]  # no coordinate is exact
    x = cs.normalize(np.array([[1.0, 0.0, 0.0], [math.cos(start), math.sin(start), 0.0]]) @ rotation)
    time = merging_time(start, 0.1, beta)
    attention = cs.SoftmaxAttention(beta=beta)
    final = cs.simulate(model(attention, horizon=time, n_steps=1, tolerance=1e-10), x, rng=0).final
    angle = 2 * math.asin(np.linalg.norm(final[0] - final[1]) / 2)
    assert abs(merging_time(angle, 0.1, beta)) < 1e-6 * time


def test_against_scipy():
    x = X[0]

    def slope(time, y):
        unit = y.reshape(x.shape) / np.linalg.norm(y.reshape(x.shape), axis=1, keepdims=True)
        w = np.exp(4.0 * (unit @ unit.T - 1))
        v = w @ unit / w.sum(axis=1, keepdims=True)
        return (v - (v * unit).sum(axis=1, keepdims=True) * unit).ravel()

    want = solve_ivp(slope, (0, 3), x.ravel(), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1].reshape(x.shape)
    final = cs.simulate(model(tolerance=1e-11), x, rng=0).final
    np.testing.assert_allclose(final, cs.normalize(want), atol=1e-9)


@pytest.mark.parametrize(
    "attention",
    [
        cs.SoftmaxAttention(beta=4.0, mask="causal"),
        cs.SoftmaxAttention(query=np.diag([1.0, 2.0, 3.0]), key=np.eye(3), value=np.diag([1.0, -1.0, 0.5])),
        cs.SoftmaxAttention(beta=lambda t: 2.0 + t),
        cs.UnnormalizedAttention(beta=1.0),
    ],
)
def test_against_small_steps_of_rk4(attention):
    fine = cs.simulate(model(attention, n_steps=1200, scheme="rk4"), X, rng=0).final
    final = cs.simulate(model(attention, tolerance=1e-11), X, rng=0).final
    np.testing.assert_allclose(final, fine, atol=1e-8)


def test_the_error_follows_the_tolerance():
    exact = cs.simulate(model(tolerance=1e-12), X, rng=0).final
    errors = [abs(cs.simulate(model(tolerance=t), X, rng=0).final - exact).max() for t in (1e-4, 1e-6, 1e-8)]
    assert errors[0] < 1e-2
    assert errors[1] < 0.1 * errors[0]
    assert errors[2] < 0.1 * errors[1]


@pytest.mark.parametrize("beta", [4.0, lambda t: 2.0 + t])
def test_bits(beta):
    """Bitwise identical for a member alone, for any number of threads, and from a step on."""
    spec = model(cs.SoftmaxAttention(beta=beta))
    final = cs.simulate(spec, X, rng=0).final
    assert np.array_equal(cs.simulate(spec, X, rng=0, n_threads=1).final, final)
    for member, alone in zip(final, X, strict=True):
        assert np.array_equal(cs.simulate(spec, alone, rng=0).final, member)
    middle = cs.simulate(spec, X, rng=0, save_at=[1.0]).states[0]
    *_, (_, last) = cs.trajectory(spec, middle, rng=0, first_step=1)
    assert np.array_equal(last, final)


def test_bad_arguments():
    with pytest.raises(ValueError, match="tolerance must be None"):
        model(scheme="rk4", tolerance=1e-8)
    with pytest.raises(ValueError, match="tolerance must be"):
        model(tolerance=1.0)
    with pytest.raises(ValueError, match="at least 1e-6"):
        cs.simulate(model(tolerance=1e-8), X.astype(np.float32), rng=0)
    with pytest.raises(ValueError, match="is for attention alone"):
        model(temperature=0.1)


def test_inner_steps_have_a_limit(monkeypatch):
    monkeypatch.setattr(adaptive, "MAX_INNER_STEPS", 20)
    model = cs.LimitSDE(
        attention=cs.SoftmaxAttention(beta=4.0), field=None, horizon=1e4, n_steps=2, scheme="dormand-prince"
    )
    with pytest.raises(cs.SimulationError, match=r"step 0 .*more than 20 inner steps.*coalesce"):
        cs.simulate(model, cs.sample_uniform(10, 3, rng=0), rng=0)
