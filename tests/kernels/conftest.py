"""Instruction sets as a fixture; exponentials of twins may underflow without a word."""

import numpy as np
import pytest

from chaosphere.kernels import abi

USABLE = [name for name in abi.compiled_isas() if abi.isa_runs(name)]


def used(name):
    """Use an instruction set during a test."""
    before = abi.isa_in_use()
    abi.use_isa(name)
    yield name
    abi.use_isa(before)


@pytest.fixture(params=[*(pytest.param(name, marks=pytest.mark.slow) for name in USABLE[:-1]), USABLE[-1]])
def isa(request):
    """Run the test with the widest instruction set that this processor has, and as slow cases with each other."""
    yield from used(request.param)


@pytest.fixture(params=USABLE)
def every_isa(request):
    """Run the test once per instruction set that this processor has."""
    yield from used(request.param)


@pytest.fixture(params=[np.float64, np.float32], ids=["f64", "f32"])
def dtype(request):
    return request.param
