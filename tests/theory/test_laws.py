"""Initial laws: densities integrate to one, samples follow them, quadrature is exact to its degree."""

import numpy as np
import pytest
from scipy import special

from chaosphere import laws
from chaosphere.laws import quadrature

LAWS = {
    "uniform d=2": laws.Uniform(dim=2),
    "uniform d=3": laws.Uniform(dim=3),
    "uniform d=5": laws.Uniform(dim=5),
    "von Mises": laws.VonMisesFisher(mean_direction=(0.6, 0.8), concentration=4.0),
    "Fisher": laws.VonMisesFisher(mean_direction=(0.0, 0.6, -0.8), concentration=4.0),
    "von Mises–Fisher d=5": laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0, 0.0, 0.0), concentration=2.0),
    "mixture": laws.Mixture(
        components=(laws.Uniform(dim=3), laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=10.0)),
        proportions=(0.25, 0.75),
    ),
    "density": laws.Density(function=lambda x: 1 + x[:, 0] ** 3, dim=3, bound=2.0),
}


@pytest.mark.parametrize("name", LAWS)
def test_samples_follow_the_density(name):
    """Null: means of x_k and x_k² over 20 000 tokens are the quadrature's; five standard errors (5.7e-7) each."""
    law = LAWS[name]
    rule = quadrature(law, 2**14)
    x = law.sample(20_000, rng=1)
    slack = 1e-12 if rule.degree is not None else 2e-3
    for values, at_nodes in ((x, rule.nodes), (x**2, rule.nodes**2)):
        error = values.std(axis=0) / np.sqrt(len(x))
        assert (np.abs(values.mean(axis=0) - rule.weights @ at_nodes) < 5 * error + slack).all()


@pytest.mark.parametrize("name", LAWS)
def test_density_is_normalised(name):
    law = LAWS[name]
    uniform = quadrature(laws.Uniform(dim=law.dim), 2**14)
    exact = uniform.degree is not None
    assert abs(uniform.weights @ law.density(uniform.nodes) - 1) < (1e-13 if exact else 2e-3)


@pytest.mark.parametrize("n_nodes", [2, 9, 50])
def test_trapezoid_is_exact_to_its_degree(n_nodes):
    rule = quadrature(laws.Uniform(dim=2), n_nodes)
    z = rule.nodes[:, 0] + 1j * rule.nodes[:, 1]
    moments = np.array([rule.weights @ z**k for k in range(rule.degree + 2)])
    np.testing.assert_allclose(moments[: rule.degree + 1], np.eye(1, rule.degree + 1)[0], rtol=0, atol=1e-13)
    assert abs(moments[rule.degree + 1]) > 0.99


@pytest.mark.parametrize("n_nodes", [8, 32, 200])
def test_product_rule_is_exact_to_its_degree(n_nodes):
    rule = quadrature(laws.Uniform(dim=3), n_nodes)
    assert len(rule.nodes) <= n_nodes
    assert rule.weights.sum() == pytest.approx(1, abs=1e-15)
    direction = np.array([0.36, 0.48, 0.8])
    u = rule.nodes @ direction
    for n in range(1, rule.degree + 1):
        assert abs(rule.weights @ special.eval_legendre(n, u)) < 1e-13
    assert abs(rule.weights @ special.eval_legendre(rule.degree + 1, u)) > 1e-6


def test_fisher_moments_converge_spectrally():
    law = LAWS["Fisher"]
    m = np.array(law.mean_direction)
    expected = 1 / np.tanh(4.0) - 1 / 4.0
    errors = [abs(quadrature(law, n).weights @ quadrature(law, n).nodes @ m - expected) for n in (50, 200, 800)]
    assert errors[1] < 1e-3 * errors[0]
    assert errors[2] < 1e-14


def test_samples_do_not_depend_on_the_number_of_replicas():
    for law in LAWS.values():
        several = law.sample(30, rng=4, n_replicas=3)
        assert several.shape == (3, 30, law.dim)
        assert np.array_equal(several[0], law.sample(30, rng=4))
        assert not np.array_equal(several[0], several[1])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: laws.Uniform(dim=1), ValueError, r"dim must be an integer >= 2"),
        (
            lambda: laws.VonMisesFisher(mean_direction=(1.0, 1.0), concentration=1.0),
            ValueError,
            r"mean_direction must lie on the unit sphere",
        ),
        (
            lambda: laws.Mixture(components=(laws.Uniform(dim=2), laws.Uniform(dim=3)), proportions=(0.5, 0.5)),
            ValueError,
            r"components must have one dim, got \[2, 3\]",
        ),
        (
            lambda: laws.Mixture(components=(laws.Uniform(dim=2),) * 2, proportions=(0.5, 0.6)),
            ValueError,
            r"must sum to 1",
        ),
        (
            lambda: laws.Density(function=lambda x: 3 + x[:, 0], dim=3, bound=2.0).sample(5, rng=0),
            ValueError,
            r"function must lie in \[0, bound = 2\]",
        ),
        (
            lambda: quadrature(laws.Density(function=lambda x: x, dim=3, bound=2.0), 50),
            ValueError,
            r"function must return shape",
        ),
        (lambda: quadrature(laws.Uniform(dim=2), 1), ValueError, r"n_nodes must be an integer >= 2"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
