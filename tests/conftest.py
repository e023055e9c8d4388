"""Threads for small systems, too: their bits are what many tests compare."""

import pytest

from chaosphere.kernels import abi


@pytest.fixture(scope="session", autouse=True)
def _eager_threads():
    before = abi.use_thread_work(20e3)
    yield
    abi.use_thread_work(before)
