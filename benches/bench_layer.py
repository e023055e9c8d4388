"""One random MLP layer with its weights given."""

import pytest
import registry


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.LAYER, ids=str)
def test_layer(case, contender, bench):
    units = case.n_replicas * case.n_tokens * case.width
    # The two matrix products; the activation comes on top.
    bench("layer", case, contender, work=units, unit="token-units", fma=2 * case.dim)
