"""Fluctuations about the mean-field limit: closed forms, a table of the circle, runs of many systems, bad arguments."""

import math

import numpy as np
import pytest

import chaosphere as cs
from chaosphere import measures


def limit_of(model, law, *, n_nodes):
    return cs.MeanField(model=model, law=law, n_nodes=n_nodes)


def along_the_flow(beta, horizon, n_steps=40):
    attention = cs.SoftmaxAttention(beta=beta)
    return cs.LimitSDE(attention=attention, field=None, horizon=horizon, n_steps=n_steps, scheme="rk4")


def harmonics(x):
    """Cosines of θ and 2θ and the sine of 2θ, with the gradients of the polynomials x, 2x² − 1 and 2xy."""
    a, b = x.T
    zero, one = np.zeros_like(a), np.ones_like(a)
    gradients = [[one, zero], [4 * a, zero], [2 * b, 2 * a]]
    return np.stack([a, 2 * a**2 - 1, 2 * a * b], axis=1), np.array(gradients).transpose(2, 0, 1)


def test_table_of_the_circle():
    """β = 2, T = 1.5, density 1 + 0.6 cos θ: means and N Var of cos θ, cos 2θ and sin 2θ.

    By the tangent flow of nodes, one column for each, in other code; forward runs of perturbed weights give the same.
    """
    law = cs.laws.Density(function=lambda x: 1 + 0.6 * x[:, 0], dim=2, bound=1.6)
    result = cs.fluctuations(
        limit_of(along_the_flow(2.0, 1.5, n_steps=80), law, n_nodes=80), rng=0, observables=harmonics
    )
    np.testing.assert_allclose(result.means, [0.4924760336560468, 0.08648222039146922, 0], atol=1e-8)
    expected = [0.9185490067307186, 2.4283091551971396, 2.4115793317134075]
    np.testing.assert_allclose(np.diag(result.covariance), expected, rtol=1e-8)


@pytest.mark.parametrize(("dim", "n_nodes"), [(2, 32), (3, 128)])
def test_harmonics_grow_from_the_uniform_law(dim, n_nodes):
    """N Cov of the mean vector is e^{2σT} I/d, σ the growth rate of the first harmonics."""
    model = along_the_flow(1.5, 0.8)
    result = cs.fluctuations(limit_of(model, cs.laws.Uniform(dim=dim), n_nodes=n_nodes), rng=0)
    growth = cs.theory.growth_rate(model.attention, 1, dim)
    expected = math.exp(2 * growth * model.horizon) / dim * np.eye(dim)
    np.testing.assert_allclose(result.covariance, expected, atol=1e-8)


def test_without_attention_it_is_the_variance_of_the_limit():
    """Tokens do not interact: N Var⟨μ^N, f⟩ is the variance of f under μ_T, for the layers of the seed."""
    mlp = cs.MLP(width=16, activation="tanh", bias_std=0.3)
    model = cs.Transformer(attention=None, mlp=mlp, depth=8, horizon=1.0)
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
    limit = limit_of(model, law, n_nodes=200)
    result = cs.fluctuations(limit, rng=3)
    end = cs.simulate(limit, limit.start(), rng=3).final
    np.testing.assert_allclose(result.means, limit.weights @ end, atol=1e-14)
    np.testing.assert_allclose(result.covariance, np.cov(end.T, aweights=limit.weights, bias=True), atol=1e-13)


def test_many_systems_under_the_same_layers():
    """Null: N Cov of the mean vector is as predicted, up to 2 % at N = 128; 3 000 systems, 5.5 standard errors."""
    mlp = cs.MLP(width=16, activation="tanh", bias_std=0.3)
    attention = cs.SoftmaxAttention(beta=2.0, value_scale=1.5)
    model = cs.Transformer(attention=attention, mlp=mlp, depth=4, horizon=1.0)
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
    result = cs.fluctuations(limit_of(model, law, n_nodes=64), rng=1)
    n_systems, n_tokens = 3000, 128
    x = law.sample(n_tokens, rng=2, n_replicas=n_systems)
    end = cs.simulate(model, x, rng=1, shared_noise=True).final
    gap = math.sqrt(n_tokens) * (measures.mean_vector(end) - result.means)
    ratios = np.linalg.solve(np.linalg.cholesky(result.covariance), gap.T) ** 2
    assert np.all(np.abs(ratios.mean(axis=1) - 1) < 0.02 + 5.5 * math.sqrt(2 / n_systems))
    frozen = np.cov(end.mean(axis=1).T) * n_tokens
    without = np.cov(cs.simulate(model, law.sample(4000, rng=4), rng=1).final.T)
    assert np.linalg.det(frozen) > 1.5 * np.linalg.det(without)  # attention correlates the tokens


def test_bad_arguments():
    model = along_the_flow(1.0, 0.5, n_steps=2)
    limit = limit_of(model, cs.laws.Uniform(dim=2), n_nodes=8)
    with pytest.raises(TypeError, match="limit must be a MeanField"):
        cs.fluctuations(model, rng=0)
    causal = cs.SoftmaxAttention(beta=1.0, mask="causal")
    masked = cs.LimitSDE(attention=causal, field=None, horizon=1.0, n_steps=2, scheme="rk4")
    with pytest.raises(ValueError, match="limit must have no causal mask"):
        cs.fluctuations(limit_of(masked, cs.laws.Uniform(dim=2), n_nodes=8), rng=0)
    with pytest.raises(TypeError, match="observables must return the pair"):
        cs.fluctuations(limit, rng=0, observables=lambda x: x)
    with pytest.raises(TypeError, match="observables must be a function of the tokens, got 3"):
        cs.fluctuations(limit, rng=0, observables=3)
    with pytest.raises(TypeError, match="observables must return arrays of real numbers, got complex128"):
        cs.fluctuations(limit, rng=0, observables=lambda x: (1j * x, np.zeros((8, 2, 2))))
    with pytest.raises(TypeError, match="observables must return arrays of real numbers"):
        cs.fluctuations(limit, rng=0, observables=lambda x: (x, [[1.0], [1.0, 2.0]]))
    with pytest.raises(ValueError, match="K >= 1"):
        cs.fluctuations(limit, rng=0, observables=lambda x: (x[:, :0], np.zeros((8, 0, 2))))
    sizes = iter([1, 2])

    def changing(x):
        k = next(sizes)
        return x[:, :k], np.zeros((8, k, 2))

    with pytest.raises(ValueError, match="observables must return the same number of values, 1"):
        cs.fluctuations(limit, rng=0, observables=changing)
    with pytest.raises(ValueError, match=r"observables must return values of shape \(8, K\)"):
        cs.fluctuations(limit, rng=0, observables=lambda x: (x[:, 0], x))
    with pytest.raises(ValueError, match="observables must return finite values"):
        cs.fluctuations(limit, rng=0, observables=lambda x: (x + np.inf, np.zeros((8, 2, 2))))
