"""Statistics over all pairs of tokens."""

import pytest
import registry


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.ENERGY, ids=str)
def test_energy(case, contender, bench):
    # 2^t - 1 and its sum: 22 operations with AVX-512, 12 of them multiply-adds, serve both orders of a pair. The square
    # comes from d differences or, from 14 dimensions on, from a product, 2 more multiply-adds and 2 other operations.
    fma, operations = case.dim + 12, 2 * case.dim + 22
    if case.dim >= 14:
        fma, operations = case.dim + 14, case.dim + 26
    fma, operations = fma / 2, operations / 2
    bench("energy", case, contender, work=case.n_tokens**2, unit="pairs", fma=fma, operations=operations)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.HISTOGRAM, ids=str)
def test_histogram(case, contender, bench):
    # Bound by the scattered counting, not by arithmetic: no fraction of the peak.
    bench("histogram", case, contender, work=case.n_tokens**2, unit="pairs")
