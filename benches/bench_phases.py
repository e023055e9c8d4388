"""Many small systems: steps of attention alone, as for the phase diagram of arXiv:2312.10794."""

import pytest
import registry


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.PHASES, ids=str)
def test_phases(case, contender, bench):
    bench("phases", case, contender, work=case.n_replicas * case.n_tokens**2 * case.depth, unit="pairs")
