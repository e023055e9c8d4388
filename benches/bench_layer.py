"""One random MLP layer with its weights given."""

import pytest
import registry

from chaosphere.common import config

# Operations of one activation with AVX-512: multiply-adds, with a division as three or two, and all
# (docs/developers/kernels.md).
ACTIVATION = {
    "float64": {"relu": (0, 1), "tanh": (12, 23), "gelu": (16, 37)},
    "float32": {"relu": (0, 1), "tanh": (9, 20), "gelu": (6, 17)},
}


@pytest.mark.parametrize("contender", registry.CONTENDERS)
@pytest.mark.parametrize("case", registry.LAYER, ids=str)
def test_layer(case, contender, bench):
    units = case.n_replicas * case.n_tokens * case.width
    has_model = config.configuration()["instruction set in use"] == "avx512"
    fma, operations = ACTIVATION[case.dtype][case.activation] if has_model else (0, 0)
    fma, operations = fma + 2 * case.dim, operations + 2 * case.dim
    bench("layer", case, contender, work=units, unit="token-units", fma=fma, operations=operations)
