"""Sums of the derivatives of attention and of potentials, row by row: docs/developers/tangent.md has the formulas.

Every block of rows meets all blocks of columns, in order, by one worker, so its sums have one order. The logarithm of
the factor of each row is known, so nothing is rescaled: with that of a partition sum no coefficient exceeds 1 by much.
Gradients in the columns are the same sums with rows and columns exchanged.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.string cimport memset

import numpy as np

from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    CHS_CHUNK, CHS_LOWER, CHS_UPPER, Scratch, Watch, block_columns, float_dtype, is_stopped, padded_stride,
    raise_if_stopped, real, useful_threads, watch
)

LOWER, UPPER = CHS_LOWER, CHS_UPPER  # masks: a row sums over the columns up to its own, or from its own on

cdef struct Call:
    # What the blocks of one call have in common.
    long n_rows, n_columns, ld, n_column_blocks, column_size
    long key_dim, term_dim, n_products, n_plain
    double scale, term_scale, decay
    int mask
    # Polynomials for the coefficients of the products and of the plain sums; NULL for powers of two.
    const void *polynomials[2]
    long degrees[2]
    int is_series[2]


cdef void _pack(
    const Call *call, const real[:, :, :] x, long replica, long block, long n, double scale, real *to
) noexcept nogil:
    """The coordinates of the tokens of one block, times a scale."""
    cdef long first = block * call.ld
    if x.shape[2] > 0:
        tiles.pack(min(call.ld, n - first), x.shape[2], tiles.tokens_from(x, replica, first), scale, call.ld, to)


cdef void _numbers(
    long n, long ld, const double *x, double slope, double start, double padding, real *to
) noexcept nogil:
    """The numbers x_k + slope k + start of one block, x NULL for 0, and those that pad it."""
    cdef long k
    for k in range(ld):
        to[k] = <real>((0 if x == NULL else x[k]) + slope * k + start if k < n else padding)


cdef void _sum_block(
    const Call *call, long block, const real *rows, const real *columns, const double *row_exponents,
    const double *column_exponents, const real *row_terms, const double *column_terms, const real *by_distance,
    real *scratch, double *sums, Watch *signals, int thread
) noexcept nogil:
    """Sums of one block of rows over the columns of its system; early where a signal ends the call.

    Exponents of the decay are relative to the token of the rows that is nearest to the columns.
    """
    cdef long ld = call.ld, n = min(ld, call.n_rows - block * ld), j, n_j, at
    cdef real *row = scratch + 2 * CHS_CHUNK * ld
    cdef real *column = row + ld
    cdef real *terms = column + ld
    cdef double slope, start
    cdef const real *p[2]
    p[0], p[1] = <const real *>call.polynomials[0], <const real *>call.polynomials[1]
    memset(sums, 0, (call.n_products + call.n_plain) * ld * sizeof(double))
    for j in range(call.n_column_blocks):
        if is_stopped(signals, thread):
            return
        if (call.mask == CHS_LOWER and j > block) or (call.mask == CHS_UPPER and j < block):
            continue
        n_j, at = min(ld, call.n_columns - j * ld), j * ld
        if p[0] != NULL:
            tiles.tangent_potential(&call.is_series[0], &call.degrees[0], p, call.key_dim, call.term_dim,
                                    call.n_products, call.n_plain, n, n_j, ld, rows, columns + j * call.column_size,
                                    scratch, sums)
            continue
        slope = 0 if j == block or call.mask == 0 else -call.decay if call.mask == CHS_LOWER else call.decay
        start = -slope * (ld - 1) if slope > 0 else 0
        _numbers(n, ld, row_exponents + block * ld, slope, -start, 0, row)
        _numbers(n_j, ld, column_exponents + at, -slope, slope * (block - j) * ld + start, -INFINITY, column)
        _numbers(n_j, ld, NULL if column_terms == NULL else column_terms + at, 0, 0, 0, terms)
        tiles.tangent_rows(call.mask if j == block else 0, call.key_dim, call.term_dim, call.n_products, call.n_plain,
                           n, n_j, ld, rows, columns + j * call.column_size, row, column, row_terms, terms,
                           by_distance, scratch, sums)


def tangent_sums(
    const real[:, :, :] a, const real[:, :, :] b, const real[:, :, :] u, const real[:, :, :] g,
    const real[:, :, :] c, const real[:, :, :] e, const double[:, :] row_exponents,
    const double[:, :] column_exponents, const double[:, :] row_terms, const double[:, :] column_terms, double scale,
    double term_scale, int mask, double decay, long n_threads, const real[::1] slope=None, bint is_slope_series=False,
    const real[::1] function=None, bint is_function_series=False
):
    """Sums over the columns j of w_ij t_ij c_j, of w_ij t_ij, and of w_ij e_j for rows i, (R, M, m + 1 + n) double.

    w_ij = 2^(row_exponents_i + column_exponents_j + scale a_i.b_j) and t_ij = row_terms_i + column_terms_j +
    term_scale u_i.g_j for a (R, M, k), b (R, N, k), u (R, M, l), g (R, N, l), c (R, N, m) and e (R, N, n) or None. The
    exponents are (R, M) or (1, M) and (R, N) or (1, N), and may be -inf; the terms are likewise, or None for 0. With a
    mask, LOWER or UPPER, N = M, the sums are over j <= i or j >= i, and -decay |i - j| is added to the exponents.

    With polynomials `slope` and `function` w_ij is the first of them at a_i.b_j, and the second one in the sums of e_j:
    coefficients of powers or, with is_..._series, of Chebyshev polynomials. Exponents, terms and scales do not count
    then.
    """
    cdef long n_replicas = a.shape[0], ld = block_columns(b.shape[1]), n_plain = 0 if e is None else e.shape[2]
    cdef Call call
    call.n_rows, call.n_columns, call.ld = a.shape[1], b.shape[1], ld
    call.n_column_blocks = (call.n_columns + ld - 1) // ld
    call.key_dim, call.term_dim, call.n_products, call.n_plain = a.shape[2], u.shape[2], c.shape[2] + 1, n_plain
    call.column_size = (call.key_dim + call.term_dim + call.n_products + n_plain) * ld
    call.scale, call.term_scale, call.mask, call.decay = scale, term_scale, mask, decay
    call.polynomials[0] = call.polynomials[1] = NULL
    call.degrees[0] = call.degrees[1] = 0
    call.is_series[0], call.is_series[1] = is_slope_series, is_function_series
    assert call.n_rows >= 1 and call.n_columns >= 1, "a, b"
    assert b.shape[0] == u.shape[0] == g.shape[0] == c.shape[0] == n_replicas, "replicas"
    assert b.shape[2] == call.key_dim and u.shape[1] == call.n_rows and g.shape[2] == call.term_dim, "b, u, g"
    assert g.shape[1] == c.shape[1] == call.n_columns, "g, c"
    assert e is None or (e.shape[0] == n_replicas and e.shape[1] == call.n_columns), "e"
    assert mask == 0 or ((mask == CHS_LOWER or mask == CHS_UPPER) and call.n_rows == call.n_columns), "mask"
    if slope is not None:
        assert function is not None and slope.shape[0] > 0 and function.shape[0] > 0 and mask == 0, "function"
        call.polynomials[0], call.polynomials[1] = &slope[0], &function[0]
        call.degrees[0], call.degrees[1] = slope.shape[0] - 1, function.shape[0] - 1
        call.scale = call.term_scale = 1
    cdef long n_row_blocks = (call.n_rows + ld - 1) // ld, width = call.n_products + n_plain, index, i, j, replica, n, k
    cdef double work = <double>n_replicas * call.n_rows * call.n_columns * (
        0.5 * (call.key_dim + call.term_dim + width) + 4 + call.degrees[0] + call.degrees[1])
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * n_row_blocks * call.n_column_blocks, work)
    cdef long n_column_blocks = n_replicas * call.n_column_blocks
    cdef Scratch column_memory = Scratch(n_column_blocks * call.column_size * sizeof(real))
    # Of every worker: a block of rows, its terms, what a tile needs, and three rows of numbers of a pair of blocks.
    cdef long row_size = (call.key_dim + call.term_dim) * ld
    cdef long stride = padded_stride(row_size + ld + (2 * CHS_CHUNK + 3) * ld)
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef long sums_stride = padded_stride(width * ld)
    cdef Scratch sums_memory = Scratch(threads * sums_stride * sizeof(double))
    cdef real *blocks = <real *>column_memory.at
    cdef real *scratch = <real *>tile_memory.at
    cdef double *sums = <double *>sums_memory.at
    cdef real *own
    cdef real *rows
    by_distance_array = (-decay * np.arange(ld)).astype(float_dtype(sizeof(real)))
    cdef const real[::1] by_distance = by_distance_array
    # Contiguous copies, for rows of numbers: what is given may be one row that stands for all.
    cdef const double[:, ::1] logs_of_rows = _all_rows("row_exponents", row_exponents, n_replicas, call.n_rows)
    cdef const double[:, ::1] logs_of_columns = _all_rows("column_exponents", column_exponents, n_replicas,
                                                          call.n_columns)
    cdef const double[:, ::1] terms_of_rows = _all_rows("row_terms", row_terms, n_replicas, call.n_rows)
    cdef const double[:, ::1] terms_of_columns = _all_rows("column_terms", column_terms, n_replicas, call.n_columns)
    out_array = np.empty((n_replicas, call.n_rows, width))
    cdef double[:, :, ::1] out = out_array
    with nogil:
        for index in prange(n_column_blocks, schedule="static", num_threads=threads):
            replica, j = index // call.n_column_blocks, index % call.n_column_blocks
            own = blocks + index * call.column_size
            _pack(&call, b, replica, j, call.n_columns, 1, own)
            own = own + call.key_dim * ld
            _pack(&call, g, replica, j, call.n_columns, 1, own)
            own = own + call.term_dim * ld
            _pack(&call, c, replica, j, call.n_columns, 1, own)
            own = own + (call.n_products - 1) * ld
            _numbers[real](min(ld, call.n_columns - j * ld), ld, NULL, 0, 1, 0, own)
            if n_plain > 0:
                _pack(&call, e, replica, j, call.n_columns, 1, own + ld)
        for index in prange(n_replicas * n_row_blocks, schedule="dynamic", num_threads=threads):
            replica, i = index // n_row_blocks, index % n_row_blocks
            if call.mask == CHS_LOWER:
                i = n_row_blocks - 1 - i  # the longest first
            rows = scratch + threadid() * stride
            n = min(ld, call.n_rows - i * ld)
            _pack(&call, a, replica, i, call.n_rows, call.scale, rows)
            _pack(&call, u, replica, i, call.n_rows, call.term_scale, rows + call.key_dim * ld)
            _numbers(n, ld, &terms_of_rows[replica, i * ld], 0, 0, 0, rows + row_size)
            _sum_block[real](&call, i, rows, blocks + replica * call.n_column_blocks * call.column_size,
                             &logs_of_rows[replica, 0], &logs_of_columns[replica, 0], rows + row_size,
                             &terms_of_columns[replica, 0], &by_distance[0], rows + row_size + ld,
                             sums + threadid() * sums_stride, &signals, threadid())
            tiles.unpack[double](n, width, ld, sums + threadid() * sums_stride, 1, <const double *>NULL,
                                 &out[replica, i * ld, 0])
    raise_if_stopped(&signals)
    return out_array


cdef object _all_rows(str name, values, long n_replicas, long n):
    """Values (1, n) or (R, n), or None for zeros, as a contiguous array (R, n)."""
    if values is None:
        return np.zeros((n_replicas, n))
    assert values.shape[0] in (1, n_replicas) and values.shape[1] == n, name
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values), (n_replicas, n)))
