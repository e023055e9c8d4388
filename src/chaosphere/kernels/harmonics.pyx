"""Fields given by coefficients on the spherical harmonics, over blocks of tokens."""

from cython.parallel cimport prange, threadid

import numpy as np

from chaosphere.kernels.abi cimport (
    Scratch, Watch, apart, chs_kernels, is_stopped, n_harmonics, raise_if_stopped, real, scratch_rows, table,
    useful_threads, watch
)

cdef enum:
    TILE = 64  # tokens at once: the harmonics of one dimension below, some hundred rows, stay in a second-level cache


cdef void _field(
    long index, const real[:, :, :] x, long n_max, const real[::1] steps, const real[:, ::1] coefficients,
    double scale, real *scratch, real[:, :, ::1] out
) noexcept nogil:
    cdef const chs_kernels *c = table()
    cdef long n = x.shape[1], d = x.shape[2], tiles = (n + TILE - 1) // TILE, j, k
    cdef long replica = index // tiles, first = (index % tiles) * TILE
    cdef long count = min(n - first, <long>TILE), of = replica if coefficients.shape[0] > 1 else 0
    cdef const char *start = <const char *>&x[replica, first, 0]
    cdef real *tokens = scratch
    cdef real *result = tokens + d * TILE
    cdef real *rest = result + d * TILE
    if real is double:
        c.pack_f64(count, d, start, x.strides[1], x.strides[2], 1, TILE, tokens)
        c.harmonic_field_f64(d, n_max, d, count, TILE, tokens, &steps[0], &coefficients[of, 0], rest, result)
    else:
        c.pack_f32(count, d, start, x.strides[1], x.strides[2], 1, TILE, tokens)
        c.harmonic_field_f32(d, n_max, d, count, TILE, tokens, &steps[0], &coefficients[of, 0], rest, result)
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
    cdef long each = apart((2 * d + n_scratch_rows) * TILE)
    assert n >= 1 and d >= 2 and n_max >= 0 and steps.shape[0] >= (d - 2) * (n_max + 1) * (n_max + 1), "steps"
    assert coefficients.shape[0] == 1 or coefficients.shape[0] == n_replicas, "coefficients"
    assert coefficients.shape[1] == n_harmonics(n_max, d) * d, "coefficients"
    assert n_scratch_rows >= scratch_rows(n_max, d), "n_scratch_rows"
    cdef double work = <double>n_replicas * n * coefficients.shape[1]
    cdef int threads = useful_threads(n_threads, work)
    cdef Scratch scratch = Scratch(threads * each * sizeof(real))
    cdef real *s = <real *>scratch.at
    out_array = np.empty((n_replicas, n, d), np.float64 if real is double else np.float32)
    cdef real[:, :, ::1] out = out_array
    cdef long n_items = n_replicas * ((n + TILE - 1) // TILE)
    cdef Watch look = watch(n_items, work)
    for index in prange(n_items, schedule="static", num_threads=threads, nogil=True):
        if not is_stopped(&look, threadid()):
            _field[real](index, x, n_max, steps, coefficients, scale, s + threadid() * each, out)
    raise_if_stopped(&look)
    return out_array
