"""Softmax attention row by row, for scores of any size.

Every block of queries meets all blocks of keys, in order, by one worker, so its sums have one order. A running maximum
of the scores of each query is subtracted in the exponent, and what has been summed is rescaled where it rises: no
coefficient overflows, and the largest is 1. Scores that are known to be small need neither, and take one pass less.
Queries and keys may be different tokens; nothing is shared between the two orders of a pair. See attention.pyx for
scores that have a bound.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, log2
from libc.string cimport memset

import numpy as np

from chaosphere.kernels cimport blocks, tiles
from chaosphere.kernels.abi cimport (
    CHS_CHUNK, CHS_SMALL_SCORE, Scratch, Watch, block_columns, float_dtype, is_stopped, padded_stride,
    raise_if_stopped, real, useful_threads, watch
)
from chaosphere.kernels.blocks cimport Blocks, columns


SMALL_SCORE = CHS_SMALL_SCORE


cdef void _sum_rows(
    const Blocks *b, const Blocks *key_blocks, const Blocks *value_blocks, long block, const real *query,
    const real *keys, const real *values, const real *bias, real *scratch, real *top, double *sums, Watch *signals,
    int thread
) noexcept nogil:
    """Maxima and sums of one block of queries over all keys of its system; early where a signal ends the call.

    Without maxima where top is NULL.
    """
    cdef long j
    for j in range(b.ld if top != NULL else 0):
        top[j] = <real>-1e30
    memset(sums, 0, value_blocks.size * sizeof(double))
    for j in range(key_blocks.n_blocks):
        if is_stopped(signals, thread):
            return
        tiles.attend_rows(b.d, value_blocks.d, columns(b, block), columns(key_blocks, j), b.ld, query,
                          keys + j * key_blocks.size, values + j * value_blocks.size, bias + j * b.ld, scratch, top,
                          sums)


def attend_rows(
    const real[:, :, :] queries, const real[:, :, :] keys, const real[:, ::1] query_map,
    const real[:, ::1] value_map, const double[::1] weights, double scale, long n_threads, double value_scale=1,
    const real[:, :, :] values=None, const double[:, :] bias=None, bint is_small=False
):
    """Attention of queries (R, M, k) to keys (R, N, k) with weights p_j 2^(scale q_i.y_j), or 2^(scale A q_i.y_j).

    A running maximum keeps every weight finite whatever the size of the scores. It is left out with is_small: all
    exponents are at most SMALL_SCORE in size, and there is no bias. The values (R, N, v) are the keys unless they are
    given; a bias (R, N) is added to the exponents of each key. Returns the weighted means (R, M, v),
    times value_scale and the value_map (d, v) if given, the sums of the weights (R, M), uniform weights counting 1
    each, in units of 2^exponent, and these exponents (R, M).
    """
    cdef long n_replicas = queries.shape[0], ld = block_columns(keys.shape[1]), index, i, j, replica, at
    cdef Blocks b = blocks.plain_blocks(queries.shape[1], queries.shape[2], ld)
    cdef Blocks key_blocks = blocks.plain_blocks(keys.shape[1], keys.shape[2], ld)
    cdef long value_dim = key_blocks.d if values is None else values.shape[2]
    cdef Blocks value_blocks = blocks.plain_blocks(key_blocks.n, value_dim, ld)
    cdef Blocks mean_blocks = blocks.plain_blocks(b.n, value_dim, ld)
    cdef long n_query_blocks = n_replicas * b.n_blocks, n_key_blocks = n_replicas * key_blocks.n_blocks
    cdef long n_rows = value_dim if value_map is None else value_map.shape[0]
    assert b.n >= 1 and key_blocks.n >= 1 and keys.shape[0] == n_replicas and key_blocks.d == b.d, "keys"
    assert values is None or (values.shape[0] == n_replicas and values.shape[1] == key_blocks.n), "values"
    assert weights is None or weights.shape[0] == key_blocks.n, "weights"
    assert bias is None or (bias.shape[0] == n_replicas and bias.shape[1] == key_blocks.n), "bias"
    assert query_map is None or (query_map.shape[0] == b.d and query_map.shape[1] == b.d), "query_map"
    assert value_map is None or (n_rows >= 1 and value_map.shape[1] == value_dim), "value_map"
    assert not (is_small and bias is not None), "bias"
    # Without a maximum the weights of the tokens are factors of the values, which must not be the keys then.
    is_small = is_small and (weights is None or values is not None)
    cdef const double *factors = &weights[0] if is_small and weights is not None else NULL
    cdef double work = <double>n_replicas * b.n * key_blocks.n * (0.5 * (b.d + value_dim) + 4)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_query_blocks * key_blocks.n_blocks, work)
    cdef long n_biases = 1 if bias is None else n_replicas
    cdef Scratch key_memory = Scratch(n_key_blocks * key_blocks.size * sizeof(real))
    cdef Scratch value_memory = Scratch(n_key_blocks * value_blocks.size * sizeof(real) if values is not None else 0)
    cdef Scratch plain_memory = Scratch(n_query_blocks * b.size * sizeof(real))
    cdef Scratch mapped_memory = Scratch(n_query_blocks * b.size * sizeof(real) if query_map is not None else 0)
    cdef Scratch sums_memory = Scratch(n_query_blocks * mean_blocks.size * sizeof(double))
    cdef Scratch top_memory = Scratch(n_query_blocks * ld * sizeof(real))
    cdef Scratch bias_memory = Scratch(n_biases * key_blocks.n_blocks * ld * sizeof(real))
    cdef long stride = padded_stride(max(CHS_CHUNK * ld, blocks.finish_scratch(&mean_blocks, n_rows)))
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef const real *map_of_queries = NULL if query_map is None else &query_map[0, 0]
    cdef const real *map_of_values = NULL if value_map is None else &value_map[0, 0]
    cdef real *k = <real *>key_memory.at
    cdef real *v = <real *>value_memory.at if values is not None else k
    cdef real *plain = <real *>plain_memory.at
    cdef real *q = <real *>mapped_memory.at if query_map is not None else plain
    cdef real *biases = <real *>bias_memory.at
    cdef real *tops = <real *>top_memory.at
    cdef real *scratch = <real *>tile_memory.at
    cdef double *sums = <double *>sums_memory.at
    mean_array = np.empty((n_replicas, b.n, n_rows), float_dtype(sizeof(real)))
    sum_array = np.empty((n_replicas, b.n))
    exponent_array = np.empty((n_replicas, b.n))
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, ::1] partition = sum_array
    cdef double[:, ::1] exponents = exponent_array
    cdef double exponent
    for index in range(n_biases):
        for j in range(key_blocks.n_blocks * ld):
            at = index * key_blocks.n_blocks * ld + j
            if j >= key_blocks.n or (weights is not None and weights[j] == 0):
                biases[at] = <real>-INFINITY
            else:
                exponent = 0.0 if weights is None else log2(weights[j])
                biases[at] = <real>(exponent if bias is None else exponent + bias[index, j])
    with nogil:
        for index in prange(n_key_blocks, schedule="static", num_threads=threads):
            replica, j = index // key_blocks.n_blocks, index % key_blocks.n_blocks
            blocks.pack_block(&key_blocks, j, tiles.tokens_from(keys, replica, 0), 1, NULL, k + index * key_blocks.size)
            if v != k:
                blocks.pack_block(&value_blocks, j, tiles.tokens_from(values, replica, 0), 1, factors,
                                  v + index * value_blocks.size)
        for index in prange(n_query_blocks, schedule="dynamic", num_threads=threads):
            replica, i = index // b.n_blocks, index % b.n_blocks
            blocks.pack_block(&b, i, tiles.tokens_from(queries, replica, 0), scale, NULL, plain + index * b.size)
            if map_of_queries != NULL:
                blocks.map_block(&b, i, map_of_queries, b.d, plain + index * b.size, q + index * b.size)
            _sum_rows[real](&b, &key_blocks, &value_blocks, i, q + index * b.size,
                            k + replica * key_blocks.n_blocks * key_blocks.size,
                            v + replica * key_blocks.n_blocks * value_blocks.size,
                            biases + (replica if n_biases > 1 else 0) * key_blocks.n_blocks * ld,
                            scratch + threadid() * stride, NULL if is_small else tops + index * ld,
                            sums + index * mean_blocks.size,
                            &signals, threadid())
            blocks.finish_block(&mean_blocks, i, sums + index * mean_blocks.size, 1, map_of_values, n_rows,
                                value_scale, scratch + threadid() * stride, &mean[replica, i * ld, 0],
                                &partition[replica, i * ld])
            for j in range(columns(&b, i)):
                exponents[replica, i * ld + j] = 0 if is_small else tops[index * ld + j]
    raise_if_stopped(&signals)
    return mean_array, sum_array, exponent_array


def map_tokens(const real[:, :, :] x, const real[:, ::1] matrix, long n_threads):
    """The vectors A x (R, N, k) of tokens (R, N, d) and a matrix A (k, d); the bits of a token depend on no other."""
    cdef long n_replicas = x.shape[0], n_rows = matrix.shape[0], ld = block_columns(x.shape[1]), index, i, replica
    cdef Blocks b = blocks.plain_blocks(x.shape[1], x.shape[2], ld)
    assert b.n >= 1 and n_rows >= 1 and matrix.shape[1] == b.d, "matrix"
    cdef int threads = useful_threads(n_threads, <double>n_replicas * b.n * b.d * n_rows)
    cdef long stride = padded_stride((b.d + 1 + n_rows) * ld)
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef real *scratch = <real *>tile_memory.at
    cdef real *plain
    out_array = np.empty((n_replicas, b.n, n_rows), float_dtype(sizeof(real)))
    cdef real[:, :, ::1] out = out_array
    for index in prange(n_replicas * b.n_blocks, schedule="static", num_threads=threads, nogil=True):
        replica, i = index // b.n_blocks, index % b.n_blocks
        plain = scratch + threadid() * stride
        blocks.pack_block(&b, i, tiles.tokens_from(x, replica, 0), 1, NULL, plain)
        blocks.map_block(&b, i, &matrix[0, 0], n_rows, plain, plain + b.size)
        tiles.unpack(columns(&b, i), n_rows, ld, plain + b.size, 1, <const real *>NULL, &out[replica, i * ld, 0])
    return out_array
