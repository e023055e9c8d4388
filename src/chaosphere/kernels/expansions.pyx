"""Sums of e^{β x.y} over tokens through its expansion on the sphere: schedules around the tile kernels.

Two passes, each O(N): moments of the tokens (sums of powers of z, or of spherical harmonics, over blocks cut by N and
the degree alone), then the field that they make at every token. In between, some hundred numbers are combined in Python.
"""

from cython.parallel cimport prange, threadid

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    CHS_FOURIER_SCRATCH, Scratch, Watch, float_dtype, is_stopped, n_harmonics, padded_stride, raise_if_stopped, real,
    scratch_rows, useful_threads, watch
)

cdef enum:
    BLOCK = 4096  # tokens of one work item on the circle
    PRODUCTS = 14  # moments of seven powers, before they are combined
    MAX_BLOCKS = 64  # of moments in harmonics: some thousand numbers each
    TILE = 128  # tokens of the largest tile of harmonics
    PART = 100_000_000  # multiply-adds of moments in harmonics at once, some ten milliseconds


CIRCLE_BLOCK = BLOCK


def fourier_moments(const real[:, :, :] x, const double[::1] weights, long n_steps, long n_threads):
    """Products of powers of tokens (R, N, 2), summed over each block: (R, blocks, n_steps, 7, 2), see chaosphere.h.

    weights (N,) or None, which counts 1 each.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], blocks = (n + BLOCK - 1) // BLOCK, index, replica, first, count
    cdef long stride = padded_stride(CHS_FOURIER_SCRATCH(n_steps))
    assert n >= 1 and x.shape[2] == 2 and n_steps >= 1, "x"
    assert weights is None or weights.shape[0] == n, "weights"
    cdef double work = 20.0 * n_replicas * n * n_steps
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * blocks, work)
    cdef Scratch scratch = Scratch(threads * stride * sizeof(double))
    cdef double *s = <double *>scratch.at
    cdef const double *p = NULL if weights is None else &weights[0]
    out_array = np.empty((n_replicas, blocks, n_steps, PRODUCTS // 2, 2))
    cdef double[:, :, :, :, ::1] out = out_array
    for index in prange(n_replicas * blocks, schedule="static", num_threads=threads, nogil=True):
        replica = index // blocks
        first = index % blocks * BLOCK
        count = min(n - first, <long>BLOCK)
        if is_stopped(&signals, threadid()):
            continue
        tiles.fourier_moments(count, tiles.tokens_from(x, replica, first), &x[replica, first, 0],
                              NULL if p == NULL else p + first, n_steps, s + threadid() * stride,
                              &out[replica, index % blocks, 0, 0, 0])
    raise_if_stopped(&signals)
    return out_array


def fourier_field(const real[:, :, :] x, const double[:, :, :, :, ::1] a, long n_threads):
    """Three trigonometric sums with coefficients a (R, n_steps, 3, 2, 7) at tokens (R, N, 2), see chaosphere.h.

    Returns the first two divided by the third, (R, N, 2), the third, (R, N), and its least value, (R,).
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], blocks = (n + BLOCK - 1) // BLOCK, index, replica, first, count
    cdef long n_steps = a.shape[1], stride = padded_stride(CHS_FOURIER_SCRATCH(n_steps))
    assert n >= 1 and x.shape[2] == 2, "x"
    assert a.shape[0] == n_replicas and n_steps >= 1 and (a.shape[2], a.shape[3], a.shape[4]) == (3, 2, 7), "a"
    cdef double work = 50.0 * n_replicas * n * n_steps
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * blocks, work)
    cdef Scratch scratch = Scratch(threads * stride * sizeof(double))
    cdef double *s = <double *>scratch.at
    mean_array = abi.empty((n_replicas, n, 2), float_dtype(sizeof(real)))
    z_array = abi.empty((n_replicas, n), np.float64)
    minimum_array = np.empty((n_replicas, blocks))
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, ::1] z = z_array
    cdef double[:, ::1] minimum = minimum_array
    for index in prange(n_replicas * blocks, schedule="static", num_threads=threads, nogil=True):
        replica = index // blocks
        first = index % blocks * BLOCK
        count = min(n - first, <long>BLOCK)
        if is_stopped(&signals, threadid()):
            continue
        minimum[replica, index % blocks] = tiles.fourier_field(
            count, tiles.tokens_from(x, replica, first), n_steps, &a[replica, 0, 0, 0, 0], s + threadid() * stride,
            &mean[replica, first, 0], &z[replica, first])
    raise_if_stopped(&signals)
    return mean_array, z_array, minimum_array.min(axis=1)


cdef int _check_harmonics(long n, long d, long n_max, long n_steps, long n_scratch_rows) except -1:
    assert n >= 1 and d >= 3 and n_max >= 0, "x"
    assert n_steps >= (d - 2) * (n_max + 1) * (n_max + 1), "steps"
    assert n_scratch_rows >= scratch_rows(n_max, d), "n_scratch_rows"
    return 0


cdef long _tile(long n_max) noexcept nogil:
    # The rows of the last coordinate stay in a first-level cache; a function of the degree alone.
    return TILE if n_max < 32 else 64


def harmonic_block(long n):
    """Tokens of a block of moments in harmonics, for n tokens in total."""
    cdef long n_tiles = (n + TILE - 1) // TILE
    return (n_tiles + MAX_BLOCKS - 1) // MAX_BLOCKS * TILE


def harmonic_moments(
    const real[:, :, :] x, const double[::1] weights, long n_max, const double[::1] steps, long n_scratch_rows,
    long size, long length, long n_threads
):
    """Sums of the harmonics at tokens (R, N, d), d >= 3, over each block: (R, blocks, size). Layout as in chaosphere.h.

    weights (N,) or None, which counts 1 each. size is the number of harmonics, length the tokens of a block.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], ld = _tile(n_max), index, replica, first, count
    _check_harmonics(n, d, n_max, steps.shape[0], n_scratch_rows)
    assert size == n_harmonics(n_max, d), "size"
    assert weights is None or weights.shape[0] == n, "weights"
    assert length >= 1 and length % ld == 0, "length"
    cdef long blocks = (n + length - 1) // length
    cdef long stride = padded_stride(8 * size + (d + 1 + n_scratch_rows) * ld), stop
    cdef long part = max(<long>1, PART // (ld * size)) * ld
    cdef double *to
    cdef double work = 2.0 * n_replicas * n * size
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * blocks * ((length + part - 1) // part), work)
    cdef Scratch scratch = Scratch(threads * stride * sizeof(double))
    cdef double *s = <double *>scratch.at
    cdef const double *p = NULL if weights is None else &weights[0]
    out_array = np.empty((n_replicas, blocks, size))
    cdef double[:, :, ::1] out = out_array
    for index in prange(n_replicas * blocks, schedule="dynamic", num_threads=threads, nogil=True):
        replica = index // blocks
        first = index % blocks * length
        stop = min(n, first + length)
        while first < stop and not is_stopped(&signals, threadid()):  # in parts: signals are looked after in between
            count = min(stop - first, part)
            to = &out[replica, index % blocks, 0] if first + count == stop else NULL
            tiles.harmonic_moments(d, n_max, count, ld, tiles.tokens_from(x, replica, first),
                                   &x[replica, first, 0], NULL if p == NULL else p + first, &steps[0],
                                   first == index % blocks * length, s + threadid() * stride, to)
            first = first + count
    raise_if_stopped(&signals)
    return out_array


def harmonic_field(
    const real[:, :, :] x, const double[:, ::1] a, long n_max, const double[::1] steps, long n_scratch_rows,
    long n_threads
):
    """d + 1 sums of harmonics, coefficients a (R, K (d + 1)), at tokens (R, N, d), d >= 3; layout as in chaosphere.h.

    Returns the first d divided by the last, (R, N, d), and the last, (R, N). With coefficients (R, K) there is one sum
    only, and the first result is worth nothing.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], ld = _tile(n_max), index, replica, first
    cdef long n_tiles = (n + ld - 1) // ld, stride = padded_stride((2 * d + 1 + n_scratch_rows) * ld), count
    _check_harmonics(n, d, n_max, steps.shape[0], n_scratch_rows)
    cdef long n_values = 0 if a.shape[1] == n_harmonics(n_max, d) else d
    assert a.shape[0] == n_replicas and a.shape[1] == n_harmonics(n_max, d) * (n_values + 1), "a"
    cdef double work = <double>n_replicas * n * a.shape[1]
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * n_tiles, work)
    cdef Scratch scratch = Scratch(threads * stride * sizeof(double))
    cdef double *s = <double *>scratch.at
    cdef double *tokens
    cdef double *sums
    mean_array = abi.empty((n_replicas, n, max(n_values, 1)), float_dtype(sizeof(real)))
    z_array = abi.empty((n_replicas, n), np.float64)
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, ::1] z = z_array
    for index in prange(n_replicas * n_tiles, schedule="dynamic", num_threads=threads, nogil=True):
        replica = index // n_tiles
        first = index % n_tiles * ld
        count = min(n - first, ld)
        if is_stopped(&signals, threadid()):
            continue
        tokens = s + threadid() * stride
        sums = tokens + d * ld
        tiles.unit_block(count, d, tiles.tokens_from(x, replica, first), &x[replica, first, 0], ld, tokens)
        tiles.harmonic_field(d, n_max, n_values + 1, count, ld, <const double *>tokens, &steps[0], &a[replica, 0],
                             sums + (d + 1) * ld, sums)
        tiles.ratios(count, n_values, ld, sums, &mean[replica, first, 0], &z[replica, first])
    raise_if_stopped(&signals)
    return mean_array, z_array
