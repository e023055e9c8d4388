"""The mean-field limit on quadrature nodes: spectral convergence, and N tokens approach it as N^{-1/2}."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.experiments import chaos

SMOOTH = cs.Transformer(
    attention=cs.SoftmaxAttention(beta=1.0),
    mlp=cs.MLP(width=32, activation="tanh", bias_std=0.3),
    depth=40,
    horizon=1.0,
)


def statistics(model, law, n_nodes):
    limit = cs.MeanField(model=model, law=law, n_nodes=n_nodes)
    final = cs.simulate(limit, limit.start(), rng=1).final
    energy = cs.measures.energy(final, 1.0, weights=limit.weights)
    return np.array([energy, *cs.measures.mean_vector(final, weights=limit.weights)])


def test_spectral_convergence_on_the_circle():
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
    reference = statistics(SMOOTH, law, 512)
    errors = [np.abs(statistics(SMOOTH, law, n) - reference).max() for n in (32, 64, 128)]
    assert errors[1] < 0.3 * errors[0]
    assert errors[2] < 1e-3 * errors[0]


def test_spectral_convergence_on_the_sphere():
    reference = statistics(SMOOTH, cs.laws.Uniform(dim=3), 5000)
    errors = [np.abs(statistics(SMOOTH, cs.laws.Uniform(dim=3), n) - reference).max() for n in (200, 800, 3200)]
    assert errors[2] < 1e-2 * errors[0]
    assert errors[2] < 1e-5


def test_relu_without_bias_converges_algebraically():
    """A kink makes the flow only once differentiable: doubling the nodes gains a factor, not digits."""
    from dataclasses import replace

    model = replace(SMOOTH, mlp=cs.MLP(width=32, activation="relu"))
    law = cs.laws.Uniform(dim=2)
    reference = statistics(model, law, 4096)
    errors = [np.abs(statistics(model, law, n) - reference).max() for n in (64, 256, 1024)]
    orders = -np.diff(np.log(errors)) / np.log(4)
    assert (orders > 0.8).all()
    assert errors[2] > 1e-9


def test_passive_tokens_follow_the_flow_and_change_nothing():
    limit = cs.MeanField(model=SMOOTH, law=cs.laws.Uniform(dim=2), n_nodes=64)
    passive = cs.sample_uniform(10, 2, rng=3)
    alone = cs.simulate(limit, limit.start(), rng=1).final
    joined = cs.simulate(limit, limit.start(passive), rng=1).final
    np.testing.assert_allclose(joined[:64], alone, rtol=0, atol=1e-13)
    # A passive copy of a node stays with it.
    copies = cs.simulate(limit, limit.start(limit.nodes[:5].copy()), rng=1).final
    np.testing.assert_allclose(copies[64:], copies[:5], rtol=0, atol=1e-13)


def test_the_limiting_equation_as_model():
    field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(2))
    sde = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=1.0), field=field, horizon=1.0, n_steps=50, scheme="heun")
    law = cs.laws.Uniform(dim=2)
    reference = statistics(sde, law, 256)
    assert np.abs(statistics(sde, law, 128) - reference).max() < 1e-5


def test_tokens_approach_the_limit_at_the_rate_one_half():
    """Null: exponents of the coupled path and the mean vector are −1/2; 24 replicas, 99 % intervals, seed fixed."""
    data = chaos.run(SMOOTH, rng=5, dim=2, tokens=[32, 64, 128, 256, 512], n_nodes=256, n_replicas=24)
    _, mean, path = chaos.claims(data)
    for claim in (mean, path):
        assert claim.verdict == "agrees"
        assert claim.high - claim.low < 0.3
    assert float(data["node_error"].sel(quantity="energy")) < 1e-3 * float(data["rms"].sel(quantity="energy").min())


def test_attention_alone_keeps_the_uniform_law():
    """Without noise the uniform law is invariant; nodes move, their moments do not."""
    model = cs.Transformer(attention=cs.SoftmaxAttention(beta=2.0), mlp=None, depth=30, horizon=1.0)
    limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=3), n_nodes=800)
    final = cs.simulate(limit, limit.start(), rng=0).final
    # By symmetry the drift at x is a multiple of x, so nothing moves at all, to the degree of the rule.
    np.testing.assert_allclose(final, limit.nodes, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: cs.MeanField(model=1.0, law=cs.laws.Uniform(dim=2), n_nodes=8),
            TypeError,
            r"model must be a Transformer or a LimitSDE",
        ),
        (
            lambda: cs.MeanField(
                model=cs.LimitSDE(attention=None, field=None, horizon=1.0, n_steps=1, temperature=1.0),
                law=cs.laws.Uniform(dim=2),
                n_nodes=8,
            ),
            ValueError,
            r"model must have temperature 0",
        ),
        (
            lambda: cs.simulate(
                cs.MeanField(model=SMOOTH, law=cs.laws.Uniform(dim=2), n_nodes=8),
                cs.sample_uniform(4, 2, rng=0),
                rng=0,
            ),
            ValueError,
            r"x must start with the 8 nodes of `start\(\)`, got 4 tokens",
        ),
        (
            lambda: chaos.run(SMOOTH, rng=0, x0=cs.sample_uniform(64, 2, rng=0), n_nodes=8),
            ValueError,
            r"n_nodes must be 0 with x0",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
