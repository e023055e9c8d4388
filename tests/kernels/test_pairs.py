"""Pair statistics agree with dense twins; the energy keeps its relative accuracy down to consensus."""

import math

import numpy as np
import pytest
from support import cases, twins

from chaosphere import measures
from chaosphere.kernels import pairs as kernel


@pytest.mark.parametrize(("n", "dim"), [s for s in cases.SHAPES if s[0] < 600 and (s[1] < 100 or s[0] < 100)])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_block_shape(isa, n, dim, weighted):
    x, p = cases.tokens(n, dim, n_replicas=2), cases.weights(n) if weighted else None
    sums, histogram = kernel.pair_statistics(x, p, 3.0, 7, 1)
    # Squares of differences carry dim roundings, the exponential 3, sums a few dozen; all terms are positive.
    rtol = (dim + 60) * 2.3e-16
    twins.assert_close(sums, np.array([twins.pair_energy(tokens, 3.0, p, np.float64) for tokens in x]), rtol=rtol)
    for got, tokens in zip(histogram, x, strict=True):
        want, on_edge = twins.pair_histogram(tokens, 7, p)
        assert not on_edge
        # A bin is one running sum of positive terms, n² / 2 of them at most.
        twins.assert_close(got, want, rtol=n**2 * 1.2e-16)
        if not weighted:
            off_diagonal = ~np.eye(n, dtype=bool)
            counts = np.histogram((tokens @ tokens.T)[off_diagonal], bins=7, range=(-1, 1))[0]
            assert np.array_equal(np.rint(got * n**2), counts)


@pytest.mark.parametrize("n", [1536, 1537])
def test_blocks_of_the_largest_size(isa, n):
    x = cases.tokens(n, 3)
    sums, histogram = kernel.pair_statistics(x, None, 3.0, 10, 1)
    cosines = x[0] @ x[0].T
    # Σ (1 − e^{β(cos − 1)}) from cosines: fine here, where cosines are not near 1.
    np.fill_diagonal(cosines, 1.0)
    twins.assert_close(sums, np.array([-np.expm1(3 * (cosines - 1)).mean()]), rtol=1e-13)
    counts = np.histogram(cosines[~np.eye(n, dtype=bool)], bins=10, range=(-1, 1))[0]
    assert np.array_equal(np.rint(histogram[0] * n**2), counts)


@pytest.mark.parametrize("separation", [1e-15, 1e-12, 1e-8, 1e-4, 1e-2, 0.09])
@pytest.mark.parametrize("beta", [1e-6, 1.0, 700.0])
@pytest.mark.parametrize(("n", "dim"), [(70, 4), (300, 20)])
def test_energy_near_consensus_keeps_relative_accuracy(isa, separation, beta, n, dim):
    # The last of them: with 20 dimensions some squares come from differences, others from products.
    rng = np.random.default_rng(3)
    centre = cases.tokens(1, dim)[0]
    x = (centre + separation * rng.standard_normal((n, dim)))[None]
    got = kernel.pair_statistics(x, None, beta, 0, 1)[0][0]
    # Differences of doubles this close are exact; what is left is one relative rounding per operation.
    assert got == pytest.approx(twins.pair_energy(x[0], beta), rel=80 * 2.3e-16, abs=0)
    assert got > 0


def test_energy_is_zero_exactly_at_consensus(isa):
    x = np.repeat(cases.tokens(1, 3), 70, axis=1)
    assert kernel.pair_statistics(x, None, 700.0, 0, 1)[0][0] == 0.0


@pytest.mark.parametrize("beta", [0.0, 1e-12, 20.0, 1e3, 1e300])
def test_energy_of_antipodes_at_any_beta(isa, beta):
    x = cases.tokens(40, 3)
    x[:, 20:] = -x[:, :20]
    got = kernel.pair_statistics(x, None, beta, 0, 1)[0][0]
    assert got == pytest.approx(twins.pair_energy(x[0], beta), rel=80 * 2.3e-16, abs=0)


def test_public_energy_scales_by_half_e_to_the_beta(isa):
    x = np.array([[1.0, 0.0], [-1.0, 0.0]])
    for beta in (0.1, 1.0, 700.0):
        assert measures.energy(x, beta) == pytest.approx(0.25 * math.exp(beta) * -math.expm1(-2 * beta), rel=1e-14)


@pytest.mark.parametrize("n_bins", [1, 2, 3, 50, 1000])
def test_cosines_of_exactly_one_and_minus_one(isa, n_bins):
    x = np.zeros((1, 40, 3))
    x[0, :25, 1], x[0, 25:, 1] = 1, -1
    histogram = kernel.pair_statistics(x, None, 1.0, n_bins, 1)[1][0] * 40**2
    want = np.zeros(n_bins)
    want[0] += 2 * 25 * 15
    want[-1] += 25 * 24 + 15 * 14
    twins.assert_close(histogram, want, rtol=1e-13)


def test_rounding_beyond_the_ends_stays_in_the_end_bins(isa):
    x = cases.tokens(60, 17)  # |x|² is off by an ulp or two, so some |x − y|²/2 exceed 2
    x = np.concatenate([x, -x, x], axis=1)
    for n_bins in (1, 10, 4096):
        histogram = kernel.pair_statistics(x, None, 1.0, n_bins, 1)[1][0]
        assert histogram.sum() == pytest.approx(1 - 1 / 180, rel=1e-13)
        assert histogram[0] * 180**2 >= 2 * 60 * 2 - 1e-6
        assert histogram[-1] * 180**2 >= 2 * 60 - 1e-6


def test_weights_of_zero_remove_a_token(isa):
    x, p = cases.tokens(50, 3), cases.weights(50)
    sums, histogram = kernel.pair_statistics(x, p, 2.0, 5, 1)
    kept = p > 0
    assert 0 < kept.sum() < 50
    fewer = kernel.pair_statistics(np.ascontiguousarray(x[:, kept]), p[kept], 2.0, 5, 1)
    twins.assert_close(sums, fewer[0], rtol=1e-14)
    twins.assert_close(histogram, fewer[1], rtol=1e-13)


def test_no_bins_gives_no_histogram(isa):
    assert kernel.pair_statistics(cases.tokens(5, 3), None, 1.0, 0, 1)[1].shape == (1, 0)


def test_layouts_and_replicas_do_not_matter(isa):
    x, p = cases.tokens(70, 5, n_replicas=2), cases.weights(70)
    p.flags.writeable = False
    sums, histogram = kernel.pair_statistics(x, p, 2.0, 9, 1)
    for name, same in cases.layouts(x).items():
        again = kernel.pair_statistics(same, p, 2.0, 9, 1)
        assert np.array_equal(again[0], sums), name
        assert np.array_equal(again[1], histogram), name
    for replica in range(2):
        alone = kernel.pair_statistics(x[replica : replica + 1], p, 2.0, 9, 1)
        assert alone[0][0] == sums[replica]
        assert np.array_equal(alone[1][0], histogram[replica])


@pytest.mark.parametrize("n_bins", [7, 5000])
@pytest.mark.parametrize("dim", [3, 20])
def test_histogram_without_energy_is_the_same(isa, n_bins, dim):
    # One counter for each bin of many, several for each of few.
    x, p = cases.tokens(300, dim), cases.weights(300)
    none, histogram = kernel.pair_statistics(x, p, None, n_bins, 1)
    assert none is None
    assert np.array_equal(histogram, kernel.pair_statistics(x, p, 2.0, n_bins, 2)[1])
