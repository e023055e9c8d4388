"""Threads for small systems, too: many tests compare their bits. Signals also where tests run in the background."""

import signal

import pytest

from chaosphere.kernels import abi

# A shell that starts tests in the background lets them and their processes ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _eager_threads():
    before = abi.use_thread_work(20e3)
    yield
    abi.use_thread_work(before)
