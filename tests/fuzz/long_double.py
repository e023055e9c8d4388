"""Long double, in which kernels are judged, and one instruction set at a time."""

from contextlib import contextmanager

import numpy as np
import pytest
from support import twins

from chaosphere.kernels import abi

NEEDS_LONG_DOUBLE = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 2e-19, reason="long double is no wider than double on this machine"
)
LONG = np.longdouble


@contextmanager
def instruction_set(name):
    before = abi.isa_in_use()
    abi.use_isa(name)
    try:
        yield
    finally:
        abi.use_isa(before)


def on_the_sphere(x):
    """The tokens in long double, projected."""
    return twins.step(x)
