"""How many threads a call starts, and what happens where the system refuses them."""

import os
import sys

import numpy as np
import pytest
from support.programs import run

import chaosphere as cs
from chaosphere.kernels import abi

pytestmark = pytest.mark.skipif(not abi.has_openmp, reason="built for one thread")
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")

COUNT = """
import os
import numpy as np
import chaosphere as cs
from chaosphere.kernels import abi
abi.use_thread_work(1.0)
x = cs.sample_uniform(3000, 3, rng=0)
before = len(os.listdir("/proc/self/task"))
attention = cs.SoftmaxAttention(beta=1.0, method="direct")
"""


@needs_proc
@pytest.mark.parametrize("n_threads", ["100_000", "2**31 - 1"])
def test_a_huge_number_of_threads_is_not_started(n_threads):
    run(
        COUNT
        + f"""
y = attention(x, n_threads={n_threads})
started = len(os.listdir("/proc/self/task")) - before
assert abi.thread_limit() == 4 * len(os.sched_getaffinity(0))
assert 1 <= started <= abi.thread_limit(), started
assert np.array_equal(y, attention(x, n_threads=1))
""",
        OMP_NUM_THREADS="1",
    )


@needs_proc
def test_a_huge_number_in_the_environment_is_not_started():
    run(
        COUNT
        + """
attention(x)
assert abi.max_threads() == abi.thread_limit()
assert len(os.listdir("/proc/self/task")) <= before + abi.thread_limit()
""",
        OMP_NUM_THREADS="20000",
    )


def test_the_meaning_of_n_threads_is_kept():
    x = cs.sample_uniform(100, 3, rng=0)
    for wrong, kind in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(kind, match="n_threads must be an integer >= 1"):
            cs.SoftmaxAttention(beta=1.0)(x, n_threads=wrong)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_threads_that_cannot_start_raise():
    """The stacks of three or more threads do not fit into the address space that is left; one thread needs none."""
    run(
        """
import resource
import numpy as np
import chaosphere as cs
from chaosphere.kernels import abi
abi.use_thread_work(1.0)
x = cs.sample_uniform(500, 3, rng=0)
attention = cs.SoftmaxAttention(beta=1.0, method="direct")
want = attention(x, n_threads=1)
n_bytes = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (n_bytes + 2**27, n_bytes + 2**27))
for _ in range(2):
    try:
        attention(x, n_threads=abi.thread_limit())
    except RuntimeError as error:
        assert "refused to start" in str(error) and "n_threads" in str(error) and "OMP_NUM_THREADS" in str(error)
    else:
        raise AssertionError("the threads have started")
assert np.array_equal(attention(x, n_threads=1), want)
""",
        stack_bytes=2**26,
        OMP_NUM_THREADS="1",
    )


def test_results_do_not_depend_on_a_limit_of_openmp():
    """OpenMP may start fewer threads than a call wants: every share of the work is taken all the same."""
    code = """
import hashlib
import chaosphere as cs
from chaosphere.kernels import abi
abi.use_thread_work(1.0)
x = cs.sample_uniform(3000, 3, rng=0)
y = cs.SoftmaxAttention(beta=1.0, method="direct")(x, n_threads=4)
print(hashlib.sha256(y.tobytes()).hexdigest(), cs.measures.energy(x, beta=1.0, n_threads=4))
"""
    assert run(code) == run(code, OMP_THREAD_LIMIT="2") == run(code, OMP_NUM_THREADS="1", OMP_DYNAMIC="true")
    assert np.isfinite(float(run(code).split()[1]))
