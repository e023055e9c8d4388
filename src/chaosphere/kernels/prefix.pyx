"""Sums of e^{β x.y} over the tokens up to each one, through its expansion on the sphere: O(N K).

The tokens of a system are cut into chunks, by N and the degree alone. The moments of every chunk come first, then their
sums over all chunks before each: the field of those at its tokens is one part of their sums. The other part, of the
tokens of its own chunk, is summed token by token on the circle, and over pairs beyond. With a decay, moments are those
seen from the last token of a chunk, and lose a factor from one chunk to the next.
"""

import functools

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, fma
from libc.string cimport memset

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    CHS_COLUMNS, CHS_PAIR_SCRATCH, CHS_PREFIX_CHUNKS, CHS_PREFIX_SCRATCH, Scratch, Watch, float_dtype, is_stopped,
    n_harmonics, padded, padded_stride, raise_if_stopped, real, scratch_rows, useful_threads, watch
)

cdef enum:
    LANES = 64  # columns of moments that are summed over the chunks at once


cdef void _exclusive_sums(
    double *moments, long n_chunks, long size, long first, long stop, double keep, double keep_rest, double *state
) noexcept nogil:
    """Replace columns first ... stop - 1 of moments (n_chunks, size) by m_c = (keep + keep_rest) m_{c-1} + moments_{c-1}.

    The sums carry their rounding along: chains are thousands long. state (2, size): the sum before and its rounding,
    which become those after.
    """
    cdef double *sums = state + first
    cdef double *rests = state + size + first
    cdef double *at
    cdef double before, term, product, after, back
    cdef long c, k
    for c in range(n_chunks):
        at = moments + c * size + first
        for k in range(stop - first):
            before, term = sums[k], at[k]
            at[k] = before + rests[k]
            product = before
            if keep != 1:
                product = keep * before
                rests[k] = keep * rests[k] + (fma(keep, before, -product) + keep_rest * before)
            after = product + term
            back = after - product
            rests[k] += (product - (after - back)) + (term - back)
            sums[k] = after


cdef int _sum_chunks(
    double[:, :, ::1] moments, double keep, double keep_rest, int threads, double *state
) except -1:
    # As `advance`.
    cdef long n_replicas = moments.shape[0], n_chunks = moments.shape[1], size = moments.shape[2], index, replica, first
    cdef long n_parts = (size + LANES - 1) // LANES
    for index in prange(n_replicas * n_parts, schedule="static", num_threads=threads, nogil=True):
        replica, first = index // n_parts, index % n_parts * LANES
        _exclusive_sums(&moments[replica, 0, 0], n_chunks, size, first, min(size, first + LANES), keep, keep_rest,
                        state + replica * 2 * size)
    return 0


def advance(double[:, :, ::1] moments, double keep, double keep_rest, int threads, double[:, :, ::1] state):
    """Replace moments (R, chunks, size) by the sums before each chunk, from a state (R, 2, size) on, which advances."""
    assert state.shape[0] == moments.shape[0] and state.shape[1] == 2 and state.shape[2] == moments.shape[2], "state"
    _sum_chunks(moments, keep, keep_rest, threads, &state[0, 0, 0])


cdef int _scan(
    double[:, :, ::1] moments, double keep, double keep_rest, int threads, object scan
) except -1:
    """Replace moments (R, chunks, size) by the sums before each chunk, also those of the processes before this one."""
    cdef long n = moments.shape[0] * 2 * moments.shape[2]
    cdef Scratch scratch
    if scan is None:
        scratch = Scratch(n * sizeof(double))
        memset(scratch.at, 0, n * sizeof(double))
        return _sum_chunks(moments, keep, keep_rest, threads, <double *>scratch.at)
    scan(np.zeros((moments.shape[0], 2, moments.shape[2])),
         functools.partial(advance, np.asarray(moments), keep, keep_rest, threads))
    return 0


def fourier_prefix(
    const real[:, :, :] x, const double[::1] weights, const double[:, ::1] factors, long chunk, double keep,
    double keep_chunk, double keep_chunk_rest, long n_threads, scan=None
):
    """Sums of powers of tokens (R, N, 2) over the tokens up to each, see fourier_prefix in chaosphere.h.

    factors (n_max + 2, 3); weights (N,) or None, which counts 1 each; keep: what is left of a weight from token to
    token, and, as a sum of two numbers, from chunk to chunk. Returns means (R, N, 2) and sums (R, N), the least sum of
    each chunk, (R, chunks), and the moments (R, chunks, n_max + 1, 2) before each, seen from the last token there. Where
    processes share the tokens, x and weights are of this one, from the start of a band of CHS_PREFIX_CHUNKS chunks on, and
    scan(state, function) calls a function on the state that the processes before this one have left.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], n_max = factors.shape[0] - 2, band = CHS_PREFIX_CHUNKS * chunk
    assert n >= 1 and x.shape[2] == 2 and n_max >= 0 and factors.shape[1] == 3 and chunk >= 1, "x"
    assert weights is None or weights.shape[0] == n, "weights"
    cdef long n_bands = (n + band - 1) // band, size = 2 * (n_max + 1), index, replica, first
    cdef double work = 20.0 * n_replicas * n * (n_max + 1)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(2 * n_replicas * n_bands, work)
    cdef long stride = padded_stride(CHS_PREFIX_SCRATCH(n_max))
    cdef Scratch scratch = Scratch(threads * stride * sizeof(double))
    cdef double *s = <double *>scratch.at
    cdef const double *p = NULL if weights is None else &weights[0]
    mean_array = abi.empty((n_replicas, n, 2), float_dtype(sizeof(real)))
    z_array = abi.empty((n_replicas, n), np.float64)
    least_array = np.empty((n_replicas, n_bands * CHS_PREFIX_CHUNKS))
    moment_array = np.zeros((n_replicas, n_bands * CHS_PREFIX_CHUNKS, size))
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, ::1] z = z_array
    cdef double[:, ::1] least = least_array
    cdef double[:, :, ::1] moments = moment_array
    for index in prange(n_replicas * n_bands, schedule="static", num_threads=threads, nogil=True):
        replica, first = index // n_bands, index % n_bands * band
        if is_stopped(&signals, threadid()):
            continue
        tiles.fourier_prefix(min(n - first, band), chunk, tiles.tokens_from(x, replica, first),
                             NULL if p == NULL else p + first, keep, n_max, &factors[0, 0],
                             &moments[replica, first // chunk, 0], s + threadid() * stride, <real *>NULL, NULL, NULL)
    raise_if_stopped(&signals)
    _scan(moments, keep_chunk, keep_chunk_rest, threads, scan)
    for index in prange(n_replicas * n_bands, schedule="static", num_threads=threads, nogil=True):
        replica, first = index // n_bands, index % n_bands * band
        if is_stopped(&signals, threadid()):
            continue
        tiles.fourier_prefix(min(n - first, band), chunk, tiles.tokens_from(x, replica, first),
                             NULL if p == NULL else p + first, keep, n_max, &factors[0, 0],
                             &moments[replica, first // chunk, 0], s + threadid() * stride, &mean[replica, first, 0],
                             &z[replica, first], &least[replica, first // chunk])
    raise_if_stopped(&signals)
    n_chunks = (n + chunk - 1) // chunk
    return mean_array, z_array, least_array[:, :n_chunks], moment_array[:, :n_chunks].reshape(
        n_replicas, n_chunks, n_max + 1, 2)


cdef struct Chunk:
    # What all chunks of a call have in common.
    long d, n_max, ld, length
    double scale, shift
    const double *steps
    const double *up
    const double *down
    # The matrix, by rows, that makes coefficients of a field from moments.
    long n_coefficients
    const long *row_starts
    const long *columns
    const double *entries


cdef double _finish_chunk(
    const Chunk *c, long count, tiles.Tokens x, const real *at, const double *p, const double *moments, double *scratch,
    real *mean, double *z
) noexcept nogil:
    """Means and sums of the tokens of a chunk, from the moments of all before it and pairs within it; the least sum."""
    cdef long d = c.d, ld = c.ld, size = (d + 1) * ld, n_tiles = (count + ld - 1) // ld, i, j, k, first, left
    cdef double *keys = scratch
    cdef double *values = keys + c.length // ld * size
    cdef double *unit = values + c.length // ld * size
    cdef double *pairs = unit + size
    cdef double *sums = pairs + size
    cdef double *field = sums + size
    cdef double *rest = field + padded(c.n_coefficients)
    cdef double *key
    cdef double *value
    cdef double up, down, inverse, sum_, least = INFINITY
    for i in range(c.n_coefficients):
        sum_ = 0
        for j in range(c.row_starts[i], c.row_starts[i + 1]):
            sum_ += c.entries[j] * moments[c.columns[j]]
        field[i] = sum_
    for i in range(n_tiles):
        first, left = i * ld, min(ld, count - i * ld)
        key, value = keys + i * size, values + i * size
        tiles.unit_block(left, d, tiles.skipped(x, first), at, ld, unit)
        memset(unit + d * ld, 0, ld * sizeof(double))
        for j in range(left):
            unit[d * ld + j] = 1 if p == NULL else p[first + j]
        for k in range(d):
            for j in range(ld):
                key[k * ld + j] = c.scale * unit[k * ld + j]
                value[k * ld + j] = unit[d * ld + j] * unit[k * ld + j]
        for j in range(ld):
            key[d * ld + j], value[d * ld + j] = 0, unit[d * ld + j]
        tiles.harmonic_field(d, c.n_max, d + 1, left, ld, <const double *>unit, c.steps, <const double *>field, rest,
                             sums)
        memset(pairs, 0, size * sizeof(double))
        for j in range(i):
            tiles.attend_pair(d, d, left, ld, ld, <const double *>key, <const double *>keys + j * size,
                              <const double *>NULL, <const double *>values + j * size, c.shift, rest, pairs, NULL)
        tiles.causal_pair(d, left, ld, <const double *>key, <const double *>key, <const double *>value, c.shift, rest,
                          pairs)
        for j in range(left):
            up, down = c.up[first + j], c.down[first + j]
            z[first + j] = up * pairs[d * ld + j] + down * sums[j]
            inverse = 1 / z[first + j]
            for k in range(d):
                mean[(first + j) * d + k] = <real>(
                    (up * pairs[k * ld + j] + down * sums[(k + 1) * ld + j]) * inverse)
            if not z[first + j] >= least:  # not a number goes through
                least = z[first + j]
    return least


def harmonic_prefix(
    const real[:, :, :] x, const double[::1] weights, long moment_max, const double[::1] moment_steps,
    long n_max, const double[::1] steps, long n_scratch_rows, const long[::1] row_starts, const long[::1] columns,
    const double[::1] entries, double exponent, long chunk, const double[::1] up, const double[::1] down,
    double keep_chunk, double keep_chunk_rest, long n_threads, scan=None
):
    """Sums of e^{β (x.y - 1)} {1, y} at tokens (R, N, d), d >= 3, over the tokens up to each.

    Of the tokens before a chunk these are a field of degree n_max. Its coefficients are a sparse matrix, by rows, times
    the moments of degree <= moment_max, both in the order of the tile kernels; n_scratch_rows is for either. Within the chunk sums are over pairs, with weights 2^(exponent (x.y - 1)). weights (N,) or None, which counts
    1 each, are as seen from the last token of the chunk; up: what a token at each place there makes of them, and down of
    the moments before it. Returns the weighted means (R, N, d), the sums (R, N), the least sum of each chunk,
    (R, chunks), and the moments before it, (R, chunks, size). scan as in fourier_prefix, for tokens from the start of a
    chunk on.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], ld = 128 if moment_max < 32 else 64
    cdef long size = n_harmonics(moment_max, d), n_coefficients = row_starts.shape[0] - 1, index, replica, first
    assert n >= 1 and d >= 3 and 0 <= n_max <= moment_max, "n_max"
    assert n_coefficients == n_harmonics(n_max, d) * (d + 1) and row_starts[0] == 0, "row_starts"
    assert row_starts[n_coefficients] <= min(columns.shape[0], entries.shape[0]), "columns"
    assert (np.diff(row_starts) >= 0).all() and 0 <= np.min(columns) and np.max(columns) < size, "columns"
    assert steps.shape[0] >= (d - 2) * (n_max + 1) * (n_max + 1), "steps"
    assert moment_steps.shape[0] >= (d - 2) * (moment_max + 1) * (moment_max + 1), "moment_steps"
    assert n_scratch_rows >= scratch_rows(moment_max, d), "n_scratch_rows"
    assert chunk >= 128 and chunk % 128 == 0 and up.shape[0] == chunk and down.shape[0] == chunk, "chunk"
    assert weights is None or weights.shape[0] == n, "weights"
    cdef long n_chunks = (n + chunk - 1) // chunk
    if tiles.block_size(d, ld, <const double *>NULL) != (d + 1) * ld:
        ld = CHS_COLUMNS  # blocks of so few are never packed
    cdef Chunk c
    c.d, c.n_max, c.ld, c.length, c.scale, c.shift = d, n_max, ld, chunk, exponent ** 0.5, exponent
    c.steps, c.up, c.down = &steps[0], &up[0], &down[0]
    c.n_coefficients, c.row_starts, c.columns, c.entries = n_coefficients, &row_starts[0], &columns[0], &entries[0]
    cdef double work = <double>n_replicas * n * (n_coefficients + 2 * size + chunk * (d + 4) / 2)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(2 * n_replicas * n_chunks, work)
    cdef long of_moments = 8 * size + (d + 1 + n_scratch_rows) * ld
    cdef long of_field = (d + 1) * (2 * chunk + 3 * ld) + padded(n_coefficients) + max(
        n_scratch_rows * ld, CHS_PAIR_SCRATCH(d, ld))
    cdef long stride = padded_stride(max(of_moments, of_field))
    cdef Scratch scratch = Scratch(threads * stride * sizeof(double))
    cdef double *s = <double *>scratch.at
    cdef const double *p = NULL if weights is None else &weights[0]
    mean_array = abi.empty((n_replicas, n, d), float_dtype(sizeof(real)))
    z_array = abi.empty((n_replicas, n), np.float64)
    least_array = np.empty((n_replicas, n_chunks))
    moment_array = abi.empty((n_replicas, n_chunks, size), np.float64)
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, ::1] z = z_array
    cdef double[:, ::1] least = least_array
    cdef double[:, :, ::1] moments = moment_array
    for index in prange(n_replicas * n_chunks, schedule="dynamic", num_threads=threads, nogil=True):
        replica, first = index // n_chunks, index % n_chunks * chunk
        if is_stopped(&signals, threadid()):
            continue
        tiles.harmonic_moments(d, moment_max, min(n - first, chunk), ld, tiles.tokens_from(x, replica, first),
                               &x[replica, first, 0], NULL if p == NULL else p + first, &moment_steps[0], True,
                               s + threadid() * stride, &moments[replica, first // chunk, 0])
    raise_if_stopped(&signals)
    _scan(moments, keep_chunk, keep_chunk_rest, threads, scan)
    for index in prange(n_replicas * n_chunks, schedule="dynamic", num_threads=threads, nogil=True):
        replica, first = index // n_chunks, index % n_chunks * chunk
        if is_stopped(&signals, threadid()):
            continue
        least[replica, first // chunk] = _finish_chunk[real](
            &c, min(n - first, chunk), tiles.tokens_from(x, replica, first), &x[replica, first, 0],
            NULL if p == NULL else p + first, &moments[replica, first // chunk, 0], s + threadid() * stride,
            &mean[replica, first, 0], &z[replica, first])
    raise_if_stopped(&signals)
    return mean_array, z_array, least_array, moment_array


N_CHUNKS = CHS_PREFIX_CHUNKS  # of a band, which one process owns on the circle
