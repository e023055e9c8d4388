"""Normalised steps and the distance from the sphere."""

from cython.parallel cimport prange

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport float_dtype, real, useful_threads

cdef enum:
    ROWS = 1024  # rows per work item


cdef long _step(
    long index, const real[:, :, :] x, const real[:, :, ::1] v, double alpha, real[:, :, ::1] out
) noexcept nogil:
    """One chunk of tokens; the flat index of a token where the step fails, or -1."""
    cdef long n = x.shape[1], d = x.shape[2], chunks = (n + ROWS - 1) // ROWS
    cdef long replica = index // chunks, first = (index % chunks) * ROWS
    cdef const real *move = NULL if v is None else &v[replica, first, 0]
    cdef long bad = tiles.step(min(n - first, <long>ROWS), d, tiles.tokens_from(x, replica, first), move, alpha,
                               &out[replica, first, 0])
    return -1 if bad < 0 else replica * n + first + bad


def step(const real[:, :, :] x, const real[:, :, ::1] v, double alpha, long n_threads, out_array=None):
    """LN(x + alpha v) for tokens (R, N, d); v None gives LN(x). Written to out_array if given, which may be v.

    Returns the new tokens and the flat index of the first token whose norm was zero or not finite, or -1.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], chunks = (n + ROWS - 1) // ROWS, index
    assert n >= 1 and (v is None or (v.shape[0] == n_replicas and v.shape[1] == n and v.shape[2] == d)), "v"
    cdef int threads = useful_threads(n_threads, <double>n_replicas * n * (4 * d + 40))
    if out_array is None:
        out_array = abi.empty((n_replicas, n, d), float_dtype(sizeof(real)))
    cdef real[:, :, ::1] out = out_array
    assert out.shape[0] == n_replicas and out.shape[1] == n and out.shape[2] == d, "out_array"
    bad_array = np.empty(n_replicas * chunks, np.int64)
    cdef long[::1] bad = bad_array
    for index in prange(n_replicas * chunks, schedule="static", num_threads=threads, nogil=True):
        bad[index] = _step[real](index, x, v, alpha, out)
    failures = bad_array[bad_array >= 0]
    return out_array, int(failures[0]) if failures.size else -1


cdef double _deviation(
    const real[:, :, :] x, long replica, long first, long count, long *row
) noexcept nogil:
    return tiles.deviation(count, x.shape[2], tiles.tokens_from(x, replica, first), &x[replica, first, 0], row)


def deviation(const real[:, :, :] x):
    """Largest | |x_i| - 1 | over tokens (R, N, d) and the (replica, token) where it is; infinite where not finite."""
    assert x.shape[0] >= 1 and x.shape[1] >= 1, "x"
    cdef long n = x.shape[1], chunks = (n + ROWS - 1) // ROWS, index
    cdef long n_items = x.shape[0] * chunks, only = 0
    if n_items == 1:
        largest = _deviation[real](x, 0, 0, n, &only)
        return largest, (0, only)
    cdef int threads = useful_threads(abi.max_threads(), <double>n_items * n // chunks * (x.shape[2] + 4))
    off_array, row_array = np.empty(n_items), np.zeros(n_items, np.int64)
    cdef double[::1] off = off_array
    cdef long[::1] row = row_array
    for index in prange(n_items, schedule="static", num_threads=threads, nogil=True):
        off[index] = _deviation[real](x, index // chunks, index % chunks * ROWS,
                                      min(n - index % chunks * ROWS, <long>ROWS), &row[index])
    worst = int(np.argmax(off_array))
    return float(off_array[worst]), (worst // chunks, worst % chunks * ROWS + int(row_array[worst]))
