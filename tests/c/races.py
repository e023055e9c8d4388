"""Attention through its parallel schedules under ThreadSanitizer: each call against one thread, bitwise."""

import itertools

import numpy as np

from chaosphere.kernels import abi, attention

abi.use_thread_work(1.0)
assert abi.max_threads() >= 2, "needs several threads"
rng = np.random.default_rng(0)
n_calls = 0
for dtype, (n, n_replicas), is_symmetric in itertools.product(
    (np.float64, np.float32), ((300, 1), (290, 3), (200, 40), (1, 5)), (True, False)
):
    x = rng.standard_normal((n_replicas, n, 3))
    x = (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)
    form = None if is_symmetric else rng.standard_normal((3, 3)).astype(dtype)
    for several in ({}, {"step": 0.1, "n_steps": 2}):
        want, other = attention.attend_bounded(x, form, None, None, 1.0, 4.0, is_symmetric, 1, **several)
        for n_threads in (2, 4):
            got, others = attention.attend_bounded(x, form, None, None, 1.0, 4.0, is_symmetric, n_threads, **several)
            assert np.array_equal(want, got), (n, n_replicas, n_threads)
            assert np.array_equal(other, others), (n, n_replicas, n_threads)
            n_calls += 1
    weights = rng.uniform(size=(n_replicas, n))
    want = attention.partition_sums(x, weights, 1.0, 4.0, 1)
    for n_threads in (2, 4):
        assert np.array_equal(want, attention.partition_sums(x, weights, 1.0, 4.0, n_threads)), (n, n_replicas)
        n_calls += 1
for n, n_replicas in ((300, 1), (200, 40)):
    x = rng.standard_normal((n_replicas, n, 3))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    for several in ({}, {"step": 0.1, "n_steps": 2}, {"is_partition": True}):
        several |= {"polynomial": np.array([0.1, 0.5, -0.3]), "is_series": True}
        want, other = attention.attend_bounded(x, None, None, None, 1.0, 0.0, True, 1, **several)
        got, others = attention.attend_bounded(x, None, None, None, 1.0, 0.0, True, 2, **several)
        assert np.array_equal(want, got)
        assert np.array_equal(other, others)
        n_calls += 1
print(f"{n_calls} calls")
