"""Many small systems: steps of attention alone, as for the phase diagram of arXiv:2312.10794."""

import pytest
import registry
from bench_attention import of_pairs


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.PHASES, ids=str)
def test_phases(case, contender, bench):
    limit = of_pairs(case, products=3 * case.dim, sums=2, orders=2)
    bench("phases", case, contender, work=case.n_replicas * case.n_tokens**2 * case.depth, **limit)
