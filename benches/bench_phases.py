"""Many small systems: steps of attention alone, as for the phase diagram of arXiv:2312.10794."""

import pytest
import registry
from bench_attention import POWER

from chaosphere.common import config


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.PHASES, ids=str)
def test_phases(case, contender, bench):
    fma, operations = POWER[config.configuration()["instruction set in use"], case.dtype]
    shared = 3 * case.dim + 2
    bench(
        "phases",
        case,
        contender,
        work=case.n_replicas * case.n_tokens**2 * case.depth,
        unit="pairs",
        fma=(shared + fma) / 2,
        operations=(shared + operations) / 2,
    )
