"""Whole layers of the transformer, drawing their weights included: one large, and the runs of the paper's figures."""

import pytest
import registry


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.TRANSFORMER, ids=str)
def test_transformer(case, contender, bench):
    bench("transformer", case, contender, work=case.depth, unit="layers")
