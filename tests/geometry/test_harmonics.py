"""Spherical harmonics in any dimension: the addition theorem, exactly."""

import math

import numpy as np
import pytest
from scipy.special import eval_gegenbauer

import chaosphere as cs
from chaosphere.geometry.harmonics import (
    HarmonicBasis,
    harmonics_below,
    log_multiplicities,
    multiplicities,
    multiplicity,
    rounded_multiplicities,
)


def all_harmonics(basis, x, dtype=float):
    """The (N, K) array, by one unit coefficient per replica."""
    coefficients = np.zeros((basis.size, basis.size, basis.dim))
    coefficients[np.arange(basis.size), np.arange(basis.size), 0] = 1
    tokens = np.repeat(x[None].astype(dtype), basis.size, axis=0)
    return basis.combine(tokens, coefficients)[:, :, 0].T


@pytest.mark.parametrize(("dim", "n_max"), [(2, 12), (3, 9), (4, 6), (5, 5), (8, 3), (3, 0), (2, 0), (6, 1)])
def test_addition_theorem(dim, n_max):
    basis = HarmonicBasis(dim=dim, n_max=n_max)
    x = cs.sample_uniform(70, dim, rng=0)
    y = all_harmonics(basis, x)
    cosine = np.clip(x @ x.T, -1, 1)
    for n in range(n_max + 1):
        part = y[:, basis.degrees == n]
        if dim == 2:
            expected = np.cos(n * np.arccos(cosine))
        else:
            expected = eval_gegenbauer(n, dim / 2 - 1, cosine) / eval_gegenbauer(n, dim / 2 - 1, 1.0)
        assert part.shape[1] == multiplicity(n, dim)
        # Recurrences of length n and arccos near ±1 lose a few units each.
        np.testing.assert_allclose(
            part @ part.T, part.shape[1] * expected, rtol=0, atol=2e-14 * part.shape[1] * (n + 1)
        )


def test_float32_follows_float64():
    basis, x = HarmonicBasis(dim=3, n_max=8), cs.sample_uniform(50, 3, rng=0)
    np.testing.assert_allclose(all_harmonics(basis, x, np.float32), all_harmonics(basis, x), atol=2e-5)


def test_counts():
    assert [harmonics_below(n, 3) for n in range(5)] == [0, 1, 4, 9, 16]
    assert [multiplicity(n, 2) for n in range(4)] == [1, 2, 2, 2]
    # Modes of degree <= 16 in dimensions 2, 3 and 5.
    assert [harmonics_below(17, d) for d in (2, 3, 5)] == [33, 289, 8721]


@pytest.mark.parametrize("dim", [2, 3, 5, 9, 21])
def test_counts_as_floats(dim):
    exact = [math.comb(n + dim - 1, n) - (math.comb(n + dim - 3, n - 2) if n > 1 else 0) for n in range(60)]
    assert multiplicities(59, dim).tolist() == [float(value) for value in exact]
    np.testing.assert_allclose(rounded_multiplicities(59, dim), exact, rtol=1e-15, atol=0)
    np.testing.assert_allclose(log_multiplicities(np.arange(1.0, 60), dim), np.log(exact[1:]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_a_longer_basis_starts_with_a_shorter_one(dim):
    short, long = HarmonicBasis(dim=dim, n_max=3), HarmonicBasis(dim=dim, n_max=5)
    x = cs.sample_uniform(20, dim, rng=0)
    np.testing.assert_allclose(all_harmonics(short, x), all_harmonics(long, x)[:, : short.size], atol=1e-13)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_do_not_change_a_bit(n_threads):
    basis = HarmonicBasis(dim=4, n_max=6)
    x = cs.sample_uniform(700, 4, rng=0)[None]
    coefficients = np.random.default_rng(0).standard_normal((1, basis.size, 4))
    reference = basis.combine(x, coefficients, n_threads=3)
    assert np.array_equal(basis.combine(x, coefficients, n_threads=n_threads), reference)
