"""Threads for small systems, too: many tests compare their bits. Signals also where tests run in the background.

Workers of pytest-xdist and the threads of each share the processors: threads that wait for work must not spin.
"""

import os
import signal

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the libraries are loaded, below and in the workers
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from chaosphere.kernels import abi

# A shell that starts tests in the background lets them and their processes ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _eager_threads():
    before = abi.use_thread_work(20e3)
    yield
    abi.use_thread_work(before)
