"""Statistics over all pairs of tokens."""

import pytest
import registry


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.ENERGY, ids=str)
def test_energy(case, contender, bench):
    # d differences and squares, 2^t - 1 and its sum: 22 operations with AVX-512, 12 of them multiply-adds, serve both
    # orders of a pair.
    fma, operations = (case.dim + 12) / 2, (2 * case.dim + 22) / 2
    bench("energy", case, contender, work=case.n_tokens**2, unit="pairs", fma=fma, operations=operations)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.HISTOGRAM, ids=str)
def test_histogram(case, contender, bench):
    # Bound by the scattered counting, not by arithmetic: no fraction of the peak.
    bench("histogram", case, contender, work=case.n_tokens**2, unit="pairs")
