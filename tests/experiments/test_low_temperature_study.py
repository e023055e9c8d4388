"""Attention at low temperature: matrices, projections, and the claims."""

import json

import numpy as np
import pytest
import scipy

import chaosphere as cs
from chaosphere.common import checks
from chaosphere.experiments.low_temperature import runs
from chaosphere.geometry.quadrature import quadrature

SHAPES = pytest.mark.parametrize(("dim", "n_leading"), [(2, 1), (3, 1), (3, 2), (5, 2), (6, 5)])


def drawn(seed, *, dim, n_leading, gap=1.5):
    matrices = runs.drawn(np.random.default_rng(seed), dim=dim, gap=gap, n_leading=n_leading)
    return matrices, matrices.value @ matrices.key.T @ matrices.query


@SHAPES
def test_matrices_have_the_eigenvalues_and_vectors_that_they_say(dim, n_leading):
    for seed in range(5):
        matrices, product = drawn(seed, dim=dim, n_leading=n_leading)
        leading, across = np.split(matrices.vectors, [n_leading], axis=1)
        np.testing.assert_allclose(product @ leading, leading, atol=1e-12)
        rest = np.linalg.lstsq(across, product @ across, rcond=None)[0]
        np.testing.assert_allclose(across @ rest, product @ across, atol=1e-12)
        np.testing.assert_allclose(rest + rest.T, -np.eye(dim - n_leading), atol=1e-12)
        assert np.linalg.norm(rest, 2) <= np.hypot(0.5, 1.5) + 1e-12
        assert np.linalg.cond(matrices.vectors) <= np.sqrt(3) + 1e-12
        assert 0.49 - 1e-12 <= matrices.norm <= 1.0 + 1e-12


@SHAPES
def test_projections_are_the_ends_of_the_linear_flow(dim, n_leading):
    matrices, product = drawn(0, dim=dim, n_leading=n_leading)
    x = cs.sample_uniform(500, dim, rng=0)
    weights = np.random.default_rng(0).dirichlet(np.ones(500))
    ends, masses = runs.projected(x, matrices.vectors, weights=weights, n_leading=n_leading)
    late = x @ scipy.linalg.expm(25 * product).T
    late /= np.linalg.norm(late, axis=1, keepdims=True)
    nearest = ((late[:, None] - ends) ** 2).sum(axis=2)
    assert np.median(nearest.min(axis=1)) < 1e-12
    if n_leading == 1:
        np.testing.assert_allclose([weights[nearest.argmin(axis=1) == i].sum() for i in range(2)], masses)
    else:
        assert np.median(nearest[range(500), range(500)]) < 1e-12
        np.testing.assert_array_equal(masses, weights)


@pytest.mark.parametrize(("dim", "n_tokens"), [(2, 400), (3, 800)])
def test_claims(dim, n_tokens):
    # The intervals are of 99 %; the seed is fixed.
    data = runs.run(rng=0, dim=dim, betas=[4.0, 16.0], n_tokens=n_tokens, n_steps=48, n_replicas=6)
    claims = runs.claims(data)
    assert all(claim.verdict != "differs" for claim in claims)
    assert all(claim.measured < claim.expected for claim in claims)
    assert data["limit"].values[:, -1].max() < 0.2
    assert "smallest W2" in runs.table(data)


def test_tokens_spread_over_a_leading_plane():
    data = runs.run(rng=0, dim=3, n_leading=2, betas=[8.0, 64.0], n_tokens=128, n_steps=48, n_replicas=2)
    assert "leading space of dim 2" in data.attrs["title"]
    limit = data["limit"].values
    assert (np.diff(limit, axis=1) < 0).all()
    assert (limit[:, -1] < 0.02 * limit[:, 0]).all()
    assert (data["distance"].values[:, 1].min(axis=1) < data["distance"].values[:, 0].min(axis=1)).all()


def test_a_quarter_of_the_nodes_is_a_run_of_its_own():
    settings = {"rng": 0, "dim": 3, "betas": [4.0, 8.0], "n_steps": 48, "n_replicas": 2}
    few, many = (runs.run(n_tokens=n, **settings) for n in (128, 512))
    np.testing.assert_array_equal(few["distance"].values, many["coarse"].values)


@pytest.mark.parametrize(("dim", "pair"), [(2, (101, 102)), (3, (128, 130)), (4, (130, 133)), (5, (120, 131))])
def test_a_store_has_one_number_of_nodes_and_a_quarter_of_it(tmp_path, monkeypatch, dim, pair):
    """What is continued is what another number of tokens would compute, and its nodes are counted in the identity."""
    sizes = []
    monkeypatch.setattr(
        runs, "quadrature", lambda law, n: sizes.append(len(quadrature(law, n).nodes)) or quadrature(law, n)
    )
    settings = {"rng": 0, "dim": dim, "betas": [4.0, 8.0], "n_steps": 48, "n_replicas": 2}
    alone = [runs.run(n_tokens=n, **settings) for n in pair]
    for data in alone:
        facts = json.loads(data.attrs["identity"])
        assert facts["n_nodes"] == 4 * facts["n_coarse_nodes"]
        assert {facts["n_nodes"], facts["n_coarse_nodes"]} <= set(sizes)
    runs.run(n_tokens=pair[0], store=tmp_path / "s.nc", **settings)
    if json.loads(alone[0].attrs["identity"]) == json.loads(alone[1].attrs["identity"]):
        assert alone[0].equals(alone[1])
    else:
        with pytest.raises(ValueError, match="n_nodes"):
            runs.run(n_tokens=pair[1], store=tmp_path / "s.nc", **settings)


def test_the_costs_of_plans_are_counted(monkeypatch):
    """16 384 nodes in d = 4, and 48 bytes for each pair of them."""
    monkeypatch.setattr(checks, "machine_memory", lambda: 8e9)
    with pytest.raises(ValueError, match=r"this would take about 13 GB, and this machine has 8 GB"):
        runs.run(rng=0, dim=4, n_leading=2, n_tokens=10_000, n_replicas=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 1}, "dim must be"),
        ({"n_leading": 2}, "n_leading must be"),
        ({"dim": 3, "n_leading": 2, "n_tokens": 10_001}, "n_tokens must be"),
        ({"betas": [4.0]}, "betas must be increasing, at least two"),
        ({"betas": [4.0, 2.0]}, "betas must be increasing"),
        ({"gap": 0.0}, "gap must be"),
        ({"n_tokens": 99}, "n_tokens must be"),
        ({"n_steps": 47}, "n_steps must be"),
        ({"gap": 9.0, "horizon": 10.0}, "n_steps must be at least 4 gap horizon = 360, got 48"),
        ({"n_replicas": 1}, "n_replicas must be"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        runs.run(rng=0, **options)
