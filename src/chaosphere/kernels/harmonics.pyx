"""Fields given by coefficients on the spherical harmonics, over blocks of tokens."""

from cython.parallel cimport prange, threadid

import numpy as np

from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    Scratch, Watch, float_dtype, is_stopped, n_harmonics, padded_stride, raise_if_stopped, real, scratch_rows,
    useful_threads, watch
)

cdef enum:
    TILE = 64  # tokens at once: the harmonics of one dimension below, some hundred rows, stay in a second-level cache


cdef void _field(
    long index, const real[:, :, :] x, long n_max, const real[::1] steps, const real[:, ::1] coefficients,
    double scale, real *scratch, real[:, :, ::1] out
) noexcept nogil:
    cdef long n = x.shape[1], d = x.shape[2], n_tiles = (n + TILE - 1) // TILE, j, k
    cdef long replica = index // n_tiles, first = (index % n_tiles) * TILE
    cdef long count = min(n - first, <long>TILE), of = replica if coefficients.shape[0] > 1 else 0
    cdef real *tokens = scratch
    cdef real *result = tokens + d * TILE
    cdef real *rest = result + d * TILE
    tiles.pack(count, d, tiles.tokens_from(x, replica, first), 1, TILE, tokens)
    tiles.harmonic_field(d, n_max, d, count, TILE, tokens, &steps[0], &coefficients[of, 0], rest, result)
    for j in range(count):
        for k in range(d):
            out[replica, first + j, k] = <real>(scale * result[k * TILE + j])


def harmonic_field(
    const real[:, :, :] x, long n_max, const real[::1] steps, const real[:, ::1] coefficients, double scale,
    long n_scratch_rows, long n_threads
):
    """scale times the field with the given coefficients (R or 1, K d) at tokens (R, N, d); layouts as in chaosphere.h.

    n_scratch_rows is the number of scratch rows that the tile kernel needs.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], index
    cdef long stride = padded_stride((2 * d + n_scratch_rows) * TILE)
    assert n >= 1 and d >= 2 and n_max >= 0 and steps.shape[0] >= (d - 2) * (n_max + 1) * (n_max + 1), "steps"
    assert coefficients.shape[0] == 1 or coefficients.shape[0] == n_replicas, "coefficients"
    assert coefficients.shape[1] == n_harmonics(n_max, d) * d, "coefficients"
    assert n_scratch_rows >= scratch_rows(n_max, d), "n_scratch_rows"
    cdef double work = <double>n_replicas * n * coefficients.shape[1]
    cdef int threads = useful_threads(n_threads, work)
    cdef Scratch scratch = Scratch(threads * stride * sizeof(real))
    cdef real *s = <real *>scratch.at
    out_array = np.empty((n_replicas, n, d), float_dtype(sizeof(real)))
    cdef real[:, :, ::1] out = out_array
    cdef long n_items = n_replicas * ((n + TILE - 1) // TILE)
    cdef Watch signals = watch(n_items, work)
    for index in prange(n_items, schedule="static", num_threads=threads, nogil=True):
        if not is_stopped(&signals, threadid()):
            _field[real](index, x, n_max, steps, coefficients, scale, s + threadid() * stride, out)
    raise_if_stopped(&signals)
    return out_array
