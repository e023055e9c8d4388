"""The step of every model, LN(x + αv): bound by memory, so there is no fraction of the peak."""

import pytest
import registry


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.STEP, ids=str)
def test_step(case, contender, bench):
    bench("step", case, contender, work=case.n_replicas * case.n_tokens, unit="tokens")
