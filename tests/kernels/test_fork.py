"""A child of fork has OpenMP's records of its threads without the threads: it runs on one, to the same numbers."""

import os

import pytest
from support.programs import run

from chaosphere.kernels import abi

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.skipif(not abi.has_openmp, reason="built for one thread"),
]

CALLS = """
import multiprocessing, os, sys, threading, warnings
import numpy as np
import chaosphere as cs
from chaosphere.kernels import abi

warnings.filterwarnings("error", category=RuntimeWarning)
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
x, circle = cs.sample_uniform(3000, 3, rng=0), cs.sample_uniform(20_000, 2, rng=0)
layer = cs.MLP(width=128).draw(3, rng=np.random.default_rng(0))

def calls(n_threads=2):
    return [
        cs.SoftmaxAttention(beta=1.0, method="direct")(x, n_threads=n_threads),
        cs.SoftmaxAttention(beta=900.0, method="direct")(x, n_threads=n_threads),
        cs.SoftmaxAttention(beta=1.0)(circle, n_threads=n_threads),
        layer(x, n_threads=n_threads),
        cs.measures.energy(x, beta=1.0, n_threads=n_threads),
        cs.normalize(2 * x),  # chooses threads by itself
    ]

def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))

def in_child(function):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if function() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def warned(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function()
    return result, [str(w.message) for w in caught if w.category is RuntimeWarning]

def n_threads_now():
    return len(os.listdir("/proc/self/task"))
"""


def test_a_fork_after_parallel_calls():
    run(
        CALLS
        + """
want = calls()
def grandchild():
    result, messages = warned(calls)
    return same(result, want) and messages == []          # the process before has said it

def child():
    result, messages = warned(calls)
    assert len(messages) == 1 and "fork" in messages[0] and "spawn" in messages[0], messages
    return same(result, want) and same(calls(), want) and in_child(grandchild) == 0

assert in_child(child) == 0
assert same(calls(), want)                                 # the parent keeps its threads, without a word
def one():
    result, messages = warned(lambda: calls(1)[:-1])
    return messages == [] and same(result, want[:-1])

assert in_child(one) == 0
"""
    )


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_a_fork_before_any_parallel_call_keeps_threads():
    run(
        CALLS
        + """
want = calls(1)[:-1]
def child():
    before = n_threads_now()
    result, messages = warned(lambda: calls(2)[:-1])
    return same(result, want) and messages == [] and n_threads_now() == before + 1

os.environ["OMP_NUM_THREADS"] = "1"
assert in_child(child) == 0
""",
        OMP_NUM_THREADS="1",
    )


def test_a_fork_from_another_thread_amid_a_call():
    run(
        CALLS
        + """
large = cs.sample_uniform(30_000, 3, rng=1)
worker = threading.Thread(target=lambda: cs.SoftmaxAttention(beta=1.0, method="direct")(large, n_threads=2))
want = calls(1)
worker.start()
while n_threads_now() < 3 if os.path.isdir("/proc/self/task") else False:
    pass
assert in_child(lambda: same(warned(calls)[0], want)) == 0
worker.join()
"""
    )


MODEL = (
    CALLS
    + """
model = cs.Transformer(attention=cs.SoftmaxAttention(beta=1.0), mlp=cs.MLP(width=32), depth=3, horizon=1.0)
many = cs.sample_uniform(20_000, 2, rng=0)
def job(seed):
    warnings.simplefilter("ignore", RuntimeWarning)
    return cs.simulate(model, many, rng=seed, n_threads=2).final.sum()
want = [job(seed) for seed in range(4)]
"""
)


def test_pools_that_fork():
    run(
        MODEL
        + """
from concurrent.futures import ProcessPoolExecutor
context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:
    assert pool.map_async(job, range(4)).get(timeout=60) == want
with ProcessPoolExecutor(2, mp_context=context) as pool:
    assert list(pool.map(job, range(4), timeout=60)) == want
"""
    )


def test_joblib():
    run(
        MODEL
        + """
warnings.filterwarnings("default")
import joblib
for backend in ("multiprocessing", "threading"):
    with joblib.parallel_config(backend=backend):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(job)(seed) for seed in range(4)) == want, backend
"""
    )
