"""Instruction sets as a fixture; exponentials of twins may underflow without a word."""

import numpy as np
import pytest

from chaosphere.kernels import abi

USABLE = [name for name in abi.compiled_isas() if abi.isa_runs(name)]


@pytest.fixture(params=USABLE)
def isa(request):
    """Run the test once per instruction set that this processor has."""
    before = abi.isa_in_use()
    abi.use_isa(request.param)
    yield request.param
    abi.use_isa(before)


@pytest.fixture(params=[np.float64, np.float32], ids=["f64", "f32"])
def dtype(request):
    return request.param
