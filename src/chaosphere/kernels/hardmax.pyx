"""Hardmax attention row by row: the mean of the tokens with the largest score, the limit β → ∞ of softmax attention.

As in rows.pyx every block of queries meets all blocks of keys, in order, by one worker. The largest score of each query
so far is kept with the sums of the tokens that have it; a larger one starts the sums anew. Scores are equal to the bit
or not: all products and sums are rounded one by one, so that results are bitwise identical on all instruction sets and
for any number of threads. Under a causal mask a block of queries meets the blocks of keys up to its own.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.string cimport memcpy, memset

import numpy as np

from chaosphere.kernels cimport blocks, tiles
from chaosphere.kernels.abi cimport (
    CHS_CHUNK, Scratch, Watch, block_columns, float_dtype, is_stopped, padded_stride, raise_if_stopped, real,
    useful_threads, watch
)
from chaosphere.kernels.blocks cimport Blocks, columns
from chaosphere.kernels.tiles cimport Tokens


cdef void _pack_scores(
    const Blocks *b, const Blocks *mapped_blocks, long block, Tokens x, const real *matrix, real *plain, real *mapped
) noexcept nogil:
    """A block of tokens and, where there is a matrix, of their products with it."""
    blocks.pack_block(b, block, x, 1, NULL, plain)
    if matrix != NULL:
        tiles.unfused_map(columns(b, block), mapped_blocks.d, b.d, matrix, plain, b.ld, mapped)


cdef void _hardmax_block(
    const Blocks *b, const Blocks *key_blocks, const Blocks *mapped_blocks, long block, bint is_distance,
    long causal_block, const real *query, const real *keys, const real *values, const real *bias, const double *p,
    real *scratch, real *top, double *sums, Watch *signals, int thread
) noexcept nogil:
    """Maxima and sums of one block of queries over all keys of its system; early where a signal ends the call.

    Unless it is negative, causal_block is the block of keys that these queries are: the last that they see.
    """
    cdef long j, n_blocks = key_blocks.n_blocks if causal_block < 0 else causal_block + 1
    memset(sums, 0, b.size * sizeof(double))
    for j in range(b.ld):
        top[j] = <real>-INFINITY
        sums[b.d * b.ld + j] = 1  # of the padding
    for j in range(n_blocks):
        if is_stopped(signals, thread):
            return
        tiles.hardmax_rows(is_distance, j == causal_block, mapped_blocks.d, b.d, columns(b, block),
                           columns(key_blocks, j), b.ld, query, keys + j * mapped_blocks.size,
                           values + j * key_blocks.size, bias + j * b.ld, p + j * b.ld, scratch, top, sums)


cdef void _finish(
    const Blocks *b, long block, const double *sums, const real *value_map, double value_scale, real *scratch,
    real *rows, double *mass
) noexcept nogil:
    """rows = value_scale V (sums / mass) for the tokens of one block. scratch: (2 d + 2) ld numbers."""
    cdef long n = columns(b, block)
    cdef double *total = <double *>scratch
    cdef real *mean = scratch + 2 * b.ld
    cdef real *result = mean
    tiles.means(False, b.d, b.ld, sums, 1, mean, total)
    memcpy(mass, total, n * sizeof(double))
    if value_map != NULL:
        result = mean + b.d * b.ld
        tiles.unfused_map(n, b.d, b.d, value_map, mean, b.ld, result)
    tiles.unpack(n, b.d, b.ld, result, value_scale, <const real *>NULL, rows)


def hardmax(
    const real[:, :, :] queries, const real[:, :, :] keys, const real[:, ::1] query_map, const real[:, ::1] key_map,
    const real[:, ::1] value_map, const double[::1] weights, long n_threads, double value_scale=1,
    bint is_causal=False, long first=0
):
    """Mean of the keys y_j (R, N, d) with the largest score, at the queries x (R, M, d), by weights p (N,) or None.

    Scores are ⟨Qx, Ky_j⟩ with query_map Q and key_map K, both (k, d). Without them they are −|x − y_j|², those of
    ⟨x, y_j⟩ where |y_j| = 1: a token is nearest to itself, whatever its rounding. Keys of weight 0 do not count, and
    those of equal scores count by their weights. Returns the means (R, M, d), times value_scale and value_map (d, d) if
    given, and the sums of the weights of the keys that they are of (R, M), which are 1 each without weights.

    With is_causal the queries are those of the tokens first, first + 1, ... and see the keys up to their own alone, the
    first of which has a weight > 0. The first query is where a block starts, and the last either the end of a block or
    of the keys.
    """
    cdef long n_replicas = queries.shape[0], ld = block_columns(keys.shape[1]), index, i, j, replica, causal_block
    cdef long last = first + queries.shape[1]
    cdef bint is_distance = query_map is None
    cdef Blocks b = blocks.plain_blocks(queries.shape[1], queries.shape[2], ld)
    cdef Blocks key_blocks = blocks.plain_blocks(keys.shape[1], keys.shape[2], ld)
    cdef long key_dim = b.d if is_distance else query_map.shape[0]
    cdef Blocks mapped_blocks = blocks.plain_blocks(key_blocks.n, key_dim, ld)
    cdef long n_query_blocks = n_replicas * b.n_blocks, n_key_blocks = n_replicas * key_blocks.n_blocks
    assert b.n >= 1 and key_blocks.n >= 1 and keys.shape[0] == n_replicas and key_blocks.d == b.d, "keys"
    assert weights is None or weights.shape[0] == key_blocks.n, "weights"
    assert is_distance == (key_map is None), "key_map"
    assert is_distance or (key_dim >= 1 and query_map.shape[1] == b.d), "query_map"
    assert is_distance or (key_map.shape[0] == key_dim and key_map.shape[1] == b.d), "key_map"
    assert value_map is None or (value_map.shape[0] == b.d and value_map.shape[1] == b.d), "value_map"
    assert (first == 0 or is_causal) and first >= 0 and first % ld == 0, "first"
    assert not is_causal or (last <= key_blocks.n and (last % ld == 0 or last == key_blocks.n)), "queries"
    assert not is_causal or weights is None or weights[0] > 0, "weights"
    cdef double n_seen = 0.5 * (first + last) if is_causal else key_blocks.n
    cdef double work = n_replicas * b.n * n_seen * (0.5 * key_dim + 2)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_query_blocks * key_blocks.n_blocks, work)
    cdef Scratch value_memory = Scratch(n_key_blocks * key_blocks.size * sizeof(real))
    cdef Scratch key_memory = Scratch(0 if is_distance else n_key_blocks * mapped_blocks.size * sizeof(real))
    # Of each worker: a block of queries, that mapped, weights and means, and the sums and maxima.
    cdef long stride = padded_stride(b.size + mapped_blocks.size + ld + max(CHS_CHUNK * ld, (2 * b.d + 2) * ld))
    cdef long sum_stride = padded_stride(b.size)
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef Scratch sums_memory = Scratch(threads * sum_stride * sizeof(double))
    cdef Scratch bias_memory = Scratch(key_blocks.n_blocks * ld * sizeof(real))
    cdef real *biases = <real *>bias_memory.at
    weight_array = np.zeros(key_blocks.n_blocks * ld)
    weight_array[: key_blocks.n] = 1.0
    if weights is not None:
        weight_array[: key_blocks.n] = weights
    mean_array = np.empty((n_replicas, b.n, b.d), float_dtype(sizeof(real)))
    mass_array = np.empty((n_replicas, b.n))
    cdef const double[::1] p = weight_array
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, ::1] mass = mass_array
    cdef const real *map_of_queries = NULL if is_distance else &query_map[0, 0]
    cdef const real *map_of_keys = NULL if is_distance else &key_map[0, 0]
    cdef const real *map_of_values = NULL if value_map is None else &value_map[0, 0]
    cdef real *values = <real *>value_memory.at
    cdef real *mapped = values if is_distance else <real *>key_memory.at
    cdef real *scratch = <real *>tile_memory.at
    cdef double *sums = <double *>sums_memory.at
    cdef real *query
    cdef real *query_scores
    cdef real *tops
    for j in range(key_blocks.n_blocks * ld):
        biases[j] = <real>0 if p[j] > 0 else <real>-INFINITY
    with nogil:
        for index in prange(n_key_blocks, schedule="static", num_threads=threads):
            replica, j = index // key_blocks.n_blocks, index % key_blocks.n_blocks
            _pack_scores[real](&key_blocks, &mapped_blocks, j, tiles.tokens_from(keys, replica, 0), map_of_keys,
                               values + index * key_blocks.size, mapped + index * mapped_blocks.size)
        for index in prange(n_query_blocks, schedule="dynamic", num_threads=threads):
            replica, i = index // b.n_blocks, b.n_blocks - 1 - index % b.n_blocks  # the longest first, under a mask
            causal_block = first // ld + i if is_causal else -1
            query = scratch + threadid() * stride
            query_scores = query if is_distance else query + b.size
            tops = query + b.size + mapped_blocks.size
            _pack_scores[real](&b, &mapped_blocks, i, tiles.tokens_from(queries, replica, 0), map_of_queries, query,
                               query_scores)
            _hardmax_block[real](&b, &key_blocks, &mapped_blocks, i, is_distance, causal_block, query_scores,
                                 mapped + replica * key_blocks.n_blocks * mapped_blocks.size,
                                 values + replica * key_blocks.n_blocks * key_blocks.size, biases, &p[0], tops + ld,
                                 tops, sums + threadid() * sum_stride, &signals, threadid())
            _finish[real](&b, i, sums + threadid() * sum_stride, map_of_values, value_scale, tops + ld,
                          &mean[replica, i * ld, 0], &mass[replica, i * ld])
    raise_if_stopped(&signals)
    return mean_array, mass_array
