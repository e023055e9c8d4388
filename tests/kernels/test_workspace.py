"""Workspaces kept between calls: bounded, and never shared by two calls at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from support import cases

from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.kernels import abi


def test_what_is_kept_is_bounded():
    for n in (10, 500, 3000, 40, 20_000):
        SoftmaxAttention(beta=1.0)(cases.tokens(n, 130 if n < 5000 else 17)[0][: min(n, 2000)], n_threads=1)
        assert 0 < abi.kept_bytes() <= 2**27
    for n_bytes in (1, 2**20, 2**25, 2**27, 2**28):
        for _ in range(40):
            abi.Scratch(n_bytes)
            assert abi.kept_bytes() <= 2**27


def test_memory_is_taken_again():
    abi.Scratch(2**27)  # drives out whatever was kept
    first, second = abi.Scratch(2**16), abi.Scratch(2**16)
    before = abi.kept_bytes()
    del first, second
    after = abi.kept_bytes()
    assert after >= 2**17
    again = abi.Scratch(2**16)
    assert abi.kept_bytes() < after
    del again
    assert abi.kept_bytes() == after
    assert before <= 2**27


def test_calls_at_the_same_time_do_not_disturb_each_other(dtype):
    # The kernels release the GIL, so calls overlap; the sizes are such that they take each other's memory again.
    inputs = [cases.tokens(n, d, dtype)[0] for n in (300, 310, 600) for d in (3, 17)]
    want = [SoftmaxAttention(beta=2.0)(x, n_threads=1) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            jobs = [pool.submit(SoftmaxAttention(beta=2.0), x, n_threads=2) for x in inputs]
            for job, value in zip(jobs, want, strict=True):
                assert np.array_equal(job.result(timeout=100), value)


def test_a_large_array_is_nobodys_before_it_is_taken_again():
    abi.Scratch(2**27)
    first = abi.empty((2, 2**21), np.float64)
    part = first[1, 5:]  # alone keeps the memory
    first[:] = 1
    del first
    other = abi.empty((2, 2**21), np.float64)
    other[:] = 2
    assert (part == 1).all()
    address = part.__array_interface__["data"][0]
    del part
    again = abi.empty((2, 2**21), np.float64)
    assert 0 < address - again.__array_interface__["data"][0] < again.nbytes
    assert (other == 2).all()
    assert again.flags.writeable
    assert again.flags.c_contiguous
