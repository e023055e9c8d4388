"""Attention at low temperature: matrices, projections, and the claims."""

import numpy as np
import pytest

from chaosphere.experiments.low_temperature import runs


def test_matrices_have_the_eigenvalues_and_vectors_that_they_say():
    for seed in range(5):
        matrices = runs.drawn(np.random.default_rng(seed), gap=1.5)
        product = matrices.value @ matrices.key.T @ matrices.query
        np.testing.assert_allclose(product @ matrices.vectors, matrices.vectors * [1.0, -0.5], atol=1e-12)
        assert 0.49 <= matrices.norm <= 1.0


def test_projections_are_the_ends_of_the_linear_flow():
    generator = np.random.default_rng(0)
    matrices = runs.drawn(generator, gap=2.0)
    x = generator.standard_normal((500, 2))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    ends, masses = runs.projected(x, matrices.vectors)
    product = matrices.value @ matrices.key.T @ matrices.query
    w, v = np.linalg.eig(product)
    late = x @ (v @ np.diag(np.exp(20 * w.real)) @ np.linalg.inv(v)).real.T
    late /= np.linalg.norm(late, axis=1, keepdims=True)
    nearest = ((late[:, None] - ends) ** 2).sum(axis=2)
    assert np.median(nearest.min(axis=1)) < 1e-12
    np.testing.assert_allclose([(nearest.argmin(axis=1) == i).mean() for i in range(2)], masses)


def test_claims():
    # The intervals are of 99 %; the seed is fixed.
    data = runs.run(rng=0, betas=[4.0, 16.0], n_tokens=300, n_steps=48, n_replicas=6)
    claims = runs.claims(data)
    assert all(claim.verdict != "differs" for claim in claims)
    assert all(claim.measured < claim.expected for claim in claims)
    assert data["limit"].values[:, -1].max() < 0.2
    assert "smallest W2" in runs.table(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": [4.0]}, "betas must be increasing, at least two"),
        ({"betas": [4.0, 2.0]}, "betas must be increasing"),
        ({"gap": 0.0}, "gap must be"),
        ({"n_tokens": 99}, "n_tokens must be"),
        ({"n_steps": 47}, "n_steps must be"),
        ({"gap": 9.0, "horizon": 10.0}, "n_steps must be at least 4 gap horizon = 360, got 160"),
        ({"n_replicas": 1}, "n_replicas must be"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        runs.run(rng=0, **options)
