"""Statistics over all pairs of tokens."""

import pytest
import registry
from bench_attention import POWER

from chaosphere import config


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.ENERGY, ids=str)
def test_energy(case, contender, bench):
    # One dot product and one exponential serve (i, j) and (j, i).
    fma = (case.dim + POWER[config.configuration()["instruction set in use"], case.dtype][0]) / 2
    bench("energy", case, contender, work=case.n_tokens**2, unit="pairs", fma=fma)


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.HISTOGRAM, ids=str)
def test_histogram(case, contender, bench):
    # Bound by the scattered counting, not by arithmetic: no fraction of the peak.
    bench("histogram", case, contender, work=case.n_tokens**2, unit="pairs")
