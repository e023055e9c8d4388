"""The limiting equation in law: heat decay, the pair equation, and the transformer's convergence to it.

Statistical tests: null as stated, seeds fixed, five standard errors (false-alarm rate 5.7e-7) unless said otherwise.
"""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.theory import two_point


def pair_at(cosine, dim, n_replicas):
    x = np.zeros((n_replicas, 2, dim))
    x[:, 0, 0] = 1
    x[:, 1, 0], x[:, 1, 1] = cosine, np.sqrt(1 - cosine**2)
    return cs.normalize(x)


def within(sample, expected, slack=0.0):
    return abs(sample.mean() - expected) < 5 * sample.std(ddof=1) / np.sqrt(len(sample)) + slack


@pytest.mark.parametrize("scheme", ["projected-euler", "geodesic-euler", "heun", "split"])
@pytest.mark.parametrize("dim", [2, 3])
def test_one_token_is_brownian_motion(scheme, dim):
    """Null: E⟨X_t, x0⟩ = e^{−κ(1)(d−1)t/2}; 3 000 replicas, 64 steps whose weak error is below 0.01."""
    kernel = cs.MLP(width=1, activation="tanh", weight_std=1.0).kernel(dim)
    run = cs.LimitSDE(
        attention=None, field=cs.GaussianField(kernel=kernel, tolerance=1e-3), horizon=1.0, n_steps=64, scheme=scheme
    )
    x = cs.sample_uniform(1, dim, rng=0, n_replicas=3000)
    u = (cs.simulate(run, x, rng=1).final * x).sum(axis=(1, 2))
    assert within(u, np.exp(-kernel(1.0) * (dim - 1) / 2), slack=0.01 + 1e-3)


def test_temperature_alone_is_brownian_motion_of_each_token():
    """Null: E⟨X_t, x0⟩ = e^{−τ(d−1)t}, and tokens are independent; 2 000 tokens."""
    run = cs.LimitSDE(attention=None, field=None, horizon=1.0, n_steps=200, temperature=0.4)
    x = np.repeat(cs.sample_uniform(1, 3, rng=0), 2000, axis=0)
    final = cs.simulate(run, x, rng=1).final
    u = (final * x).sum(axis=1)
    assert within(u, np.exp(-0.8), slack=0.003)
    across = final - u.mean() * x
    pairs = (across[::2] * across[1::2]).sum(axis=1)
    assert within(pairs, 0.0)


@pytest.mark.parametrize(
    ("activation", "dim", "beta"),
    [
        ("relu", 3, None),
        ("tanh", 2, 4.0),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("erf", 3, None), ("erf", 2, None), ("linear", 3, None), ("relu", 3, 2.0))
        ),
    ],
)
def test_two_tokens_follow_the_pair_equation(activation, dim, beta):
    """Null: E u and E u² are the pair equation's; 2 000 replicas; 128 steps of Heun, weak error below 0.005."""
    kernel = cs.MLP(width=1, activation=activation, weight_std=1.0).kernel(dim)
    attention = None if beta is None else cs.SoftmaxAttention(beta=beta)
    field = cs.GaussianField(kernel=kernel, tolerance=1e-3)
    run = cs.LimitSDE(attention=attention, field=field, horizon=1.0, n_steps=128, scheme="heun")
    final = cs.simulate(run, pair_at(0.3, dim, 2000), rng=7).final
    u = (final[:, 0] * final[:, 1]).sum(axis=1)
    scale = 0.0 if beta is None else 1.0
    for sample, f in ((u, lambda v: v), (u**2, lambda v: v**2)):
        expected = two_point.expectation(kernel, f, 1.0, u0=0.3, beta=beta, value_scale=scale)
        assert within(sample, expected, slack=0.005 + 1e-3)


def test_infinite_depth_at_width_one_has_the_same_limit():
    """Null: E u at L = 400, width 1, is the pair equation's; 3 000 replicas; the discretisation adds below 0.005."""
    mlp = cs.MLP(width=1, activation="relu", weight_std=1.0)
    run = cs.Transformer(attention=None, mlp=mlp, depth=400, horizon=1.0)
    final = cs.simulate(run, pair_at(0.3, 3, 3000), rng=8).final
    u = (final[:, 0] * final[:, 1]).sum(axis=1)
    assert within(u, two_point.expectation(mlp.kernel(3), lambda v: v, 1.0, u0=0.3), slack=0.005)


def test_gaussian_transformer_converges_to_the_equation_under_one_noise():
    """Depth L (split) against Heun on finer steps, the same Brownian coefficients: mean square of order 1/L."""
    kernel = cs.MLP(width=1, activation="tanh", weight_std=1.0, bias_std=0.3).kernel(3)
    options = {
        "attention": cs.SoftmaxAttention(beta=1.0),
        "field": cs.GaussianField(kernel=kernel, tolerance=1e-4),
        "horizon": 0.5,
        "n_steps": 1024,
    }
    x = cs.sample_uniform(8, 3, rng=0, n_replicas=60)
    reference = cs.simulate(cs.LimitSDE(**options, scheme="heun"), x, rng=2).final
    depths = np.array([8, 16, 32, 64])
    errors = [
        ((cs.simulate(cs.LimitSDE(**options, scheme="split").coarsen(1024 // d), x, rng=2).final - reference) ** 2)
        .sum(axis=-1)
        .mean()
        for d in depths
    ]
    slope = np.polyfit(np.log(depths), np.log(errors), 1)[0]
    # 60 independent noises: the standard error of the slope is about 0.05.
    assert abs(slope + 1) < 0.25
