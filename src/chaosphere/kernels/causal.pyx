"""Softmax attention under a causal mask: token i attends to the tokens j <= i.

An item of work is one block of queries. It meets the blocks of keys before it, in order, by the kernels of attention.pyx
or of rows.pyx for one side of a pair, and at last itself, under the mask. One worker does an item from end to end, so
every sum has one order: results are bitwise identical for any number of workers, and those of a block depend on no
later token. Items grow with the number of the block; the largest come first.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, log2
from libc.string cimport memset

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport blocks, tiles
from chaosphere.kernels.abi cimport (
    CHS_CHUNK, CHS_PAIR_SCRATCH, Scratch, Watch, block_columns, float_dtype, is_stopped, padded_stride,
    raise_if_stopped, real, useful_threads, watch
)
from chaosphere.kernels.blocks cimport Blocks, columns


cdef void _sum_pairs(
    const Blocks *b, long block, const real *query, const real *keys, const real *values, double shift, real *scratch,
    double *sums, Watch *signals, int thread
) noexcept nogil:
    """Sums of one block of queries over the keys up to its own; early where a signal ends the call."""
    cdef long j
    memset(sums, 0, b.size * sizeof(double))
    for j in range(block):
        if is_stopped(signals, thread):
            return
        tiles.attend_pair(b.d, b.d, b.ld, b.ld, b.ld, query, keys + j * b.size, <const real *>NULL,
                          values + j * b.size, shift, scratch, sums, NULL)
    tiles.causal_pair(b.d, columns(b, block), b.ld, query, keys + block * b.size, values + block * b.size, shift,
                      scratch, sums)


def attend_causal(
    const real[:, :, :] x, const real[:, ::1] query_map, const real[:, ::1] value_map, const double[::1] weights,
    double scale, double shift, long n_threads, long first=0, long stop=-1, double value_scale=1
):
    """Attention with weights 2^(scale^2 x.y - shift), or 2^(x.A y - shift) with A = query_map and scale = 1, to j <= i.

    Arguments and results are those of attend_bounded. With first and stop, both where a block starts or the end, only
    those rows.
    """
    cdef long n_replicas = x.shape[0], last = x.shape[1] if stop < 0 else stop
    cdef Blocks b = blocks.pair_blocks[real](x.shape[1], x.shape[2], x.shape[2], block_columns(x.shape[1]), NULL)
    assert b.n >= 1 and (weights is None or weights.shape[0] == b.n), "weights"
    assert query_map is None or (query_map.shape[0] == b.d and query_map.shape[1] == b.d), "query_map"
    assert value_map is None or (value_map.shape[0] == b.d and value_map.shape[1] == b.d), "value_map"
    assert 0 <= first <= last <= b.n and first % b.ld == 0 and (last % b.ld == 0 or last == b.n), "first, stop"
    # A tiny scale would lose its digits in scaled values, so these are not the keys then.
    cdef bint has_values = weights is not None or scale < 1e-15
    cdef double mean_factor = 1 if has_values else 1 / scale
    cdef long from_block = first // b.ld, to_block = (last + b.ld - 1) // b.ld, n_items = to_block - from_block
    cdef double work = 0.5 * n_replicas * (last - first) * (first + last) * (b.d + 4)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * n_items * (from_block + to_block + 1) // 2, work)
    cdef bint is_shared = n_replicas < 8 * threads
    cdef long size = padded_stride(to_block * b.size), index, replica, i, at
    cdef Scratch key_memory = Scratch(n_replicas * size * sizeof(real))
    cdef Scratch value_memory = Scratch(n_replicas * size * sizeof(real) if has_values else 0)
    cdef Scratch query_memory = Scratch(n_replicas * size * sizeof(real) if query_map is not None else 0)
    cdef long stride = padded_stride(max(CHS_PAIR_SCRATCH(b.d, b.ld), blocks.finish_scratch(&b, b.d)))
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef long sums_stride = padded_stride(b.size)
    cdef Scratch sums_memory = Scratch(threads * sums_stride * sizeof(double))
    cdef real *keys = <real *>key_memory.at
    cdef real *values = <real *>value_memory.at if has_values else keys
    cdef real *queries = <real *>query_memory.at if query_map is not None else keys
    cdef real *scratch = <real *>tile_memory.at
    cdef double *sums = <double *>sums_memory.at
    cdef const real *map_of_queries = NULL if query_map is None else &query_map[0, 0]
    cdef const real *map_of_values = NULL if value_map is None else &value_map[0, 0]
    cdef const double *p = NULL if weights is None else &weights[0]
    out_array = abi.empty((n_replicas, last - first, b.d), float_dtype(sizeof(real)))
    partition_array = np.empty((n_replicas, last - first))
    cdef real[:, :, ::1] out = out_array
    cdef double[:, ::1] partition = partition_array
    with nogil:
        for index in prange(n_replicas * to_block if n_items > 0 else 0, schedule="static", num_threads=threads):
            replica, i = index // to_block, index % to_block
            at = replica * size + i * b.size
            blocks.prepare_keys(&b, i, tiles.tokens_from(x, replica, 0), scale, map_of_queries, queries + at,
                                keys + at, scratch + threadid() * stride)
            if has_values:
                blocks.prepare_values(&b, i, tiles.tokens_from(x, replica, 0), p, values + at,
                                      scratch + threadid() * stride)
        for index in prange(n_replicas * n_items, schedule="dynamic", num_threads=threads):
            replica = index % n_replicas if is_shared else index // n_items
            i = to_block - 1 - (index // n_replicas if is_shared else index % n_items)
            _sum_pairs[real](&b, i, queries + replica * size + i * b.size, keys + replica * size,
                             values + replica * size, shift, scratch + threadid() * stride,
                             sums + threadid() * sums_stride, &signals, threadid())
            at = i * b.ld - first
            blocks.finish_block(&b, i, sums + threadid() * sums_stride, mean_factor, map_of_values, b.d, value_scale,
                                scratch + threadid() * stride, &out[replica, at, 0], &partition[replica, at])
    raise_if_stopped(&signals)
    return out_array, partition_array


cdef void _sum_rows(
    const Blocks *key_blocks, const Blocks *value_blocks, long block, const real *query, const real *keys,
    const real *values, const double *biases, double decay, const real *by_distance, real *bias, real *scratch,
    real *top, double *sums, Watch *signals, int thread
) noexcept nogil:
    """Maxima and sums of one block of queries over the keys up to its own; early where a signal ends the call.

    The exponents of the blocks before are relative to the first token of the query's, so that none of them is large
    where it counts; then those of a row become relative to its own token. Where top is NULL, there are neither maxima
    nor biases.
    """
    cdef long ld = key_blocks.ld, j, k, n_tops = ld if top != NULL else 0
    for k in range(n_tops):
        top[k] = <real>-1e30
    memset(sums, 0, value_blocks.size * sizeof(double))
    for j in range(block + 1):
        if is_stopped(signals, thread):
            return
        for k in range(n_tops):
            bias[k] = <real>(biases[j * ld + k] + (decay * ((j - block) * ld + k) if j < block else 0))
        if j < block:
            tiles.attend_rows(key_blocks.d, value_blocks.d, ld, ld, ld, query, keys + j * key_blocks.size,
                              values + j * value_blocks.size, bias, scratch, top, sums)
    for k in range(n_tops):
        top[k] = <real>(top[k] - decay * k)
    tiles.causal_rows(key_blocks.d, value_blocks.d, columns(key_blocks, block), ld, query,
                      keys + block * key_blocks.size, values + block * value_blocks.size, bias, by_distance, scratch,
                      top, sums)


def attend_causal_rows(
    const real[:, :, :] queries, const real[:, :, :] keys, const real[:, ::1] query_map,
    const real[:, ::1] value_map, const double[::1] weights, double scale, double decay, long n_threads, long first=0,
    double value_scale=1, const real[:, :, :] values=None, bint is_small=False
):
    """Attention of queries i = first, first + 1, ... to keys j <= i, weights p_j 2^(scale q_i.y_j - decay (i - j)).

    Arguments and results are those of attend_rows. The first query is where a block starts, and the last either the
    end of a block or of the keys.
    """
    cdef long n_replicas = keys.shape[0], n_queries = queries.shape[1], ld = block_columns(keys.shape[1])
    cdef Blocks b = blocks.plain_blocks(n_queries, queries.shape[2], ld)
    cdef Blocks key_blocks = blocks.plain_blocks(keys.shape[1], keys.shape[2], ld)
    cdef long value_dim = key_blocks.d if values is None else values.shape[2], last = first + n_queries
    cdef Blocks value_blocks = blocks.plain_blocks(key_blocks.n, value_dim, ld)
    cdef long n_rows = value_dim if value_map is None else value_map.shape[0]
    cdef long from_block = first // ld, to_block = (last + ld - 1) // ld, n_items = b.n_blocks
    cdef long index, i, j, replica, at
    assert b.n >= 1 and queries.shape[0] == n_replicas and key_blocks.d == b.d, "queries"
    assert first >= 0 and first % ld == 0 and last <= key_blocks.n and (
        last % ld == 0 or last == key_blocks.n), "first, queries"
    assert values is None or (values.shape[0] == n_replicas and values.shape[1] == key_blocks.n), "values"
    assert weights is None or weights.shape[0] == key_blocks.n, "weights"
    assert query_map is None or (query_map.shape[0] == b.d and query_map.shape[1] == b.d), "query_map"
    assert value_map is None or (n_rows >= 1 and value_map.shape[1] == value_dim), "value_map"
    # Weights and decays may be small for all tokens that a query sees: they are exponents, below a maximum.
    is_small = is_small and decay == 0 and weights is None
    cdef double work = 0.5 * n_replicas * n_queries * (first + last) * (0.5 * (b.d + value_dim) + 4)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * n_items * (from_block + to_block + 1) // 2, work)
    cdef bint is_shared = n_replicas < 8 * threads
    cdef long key_size = to_block * key_blocks.size, value_size = to_block * value_blocks.size
    cdef Scratch key_memory = Scratch(n_replicas * key_size * sizeof(real))
    cdef Scratch value_memory = Scratch(n_replicas * value_size * sizeof(real) if values is not None else 0)
    # Of every worker: a block of queries and its map, the tops, the biases of a block of keys, and what a tile needs.
    cdef long stride = padded_stride(2 * b.size + 2 * ld + max(CHS_CHUNK * ld, blocks.finish_scratch(&value_blocks,
                                                                                                     n_rows)))
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef long sums_stride = padded_stride(value_blocks.size)
    cdef Scratch sums_memory = Scratch(threads * sums_stride * sizeof(double))
    cdef const real *map_of_queries = NULL if query_map is None else &query_map[0, 0]
    cdef const real *map_of_values = NULL if value_map is None else &value_map[0, 0]
    cdef real *k = <real *>key_memory.at
    cdef real *v = <real *>value_memory.at if values is not None else k
    cdef real *scratch = <real *>tile_memory.at
    cdef real *plain
    cdef real *query
    cdef real *top
    cdef real *rest
    cdef double *sums = <double *>sums_memory.at
    by_distance_array = (-decay * np.arange(ld)).astype(float_dtype(sizeof(real)))
    cdef const real[::1] by_distance = by_distance_array
    bias_array = np.full(to_block * ld, -np.inf)
    cdef double[::1] biases = bias_array
    mean_array = np.empty((n_replicas, n_queries, n_rows), float_dtype(sizeof(real)))
    sum_array = np.empty((n_replicas, n_queries))
    exponent_array = np.empty((n_replicas, n_queries))
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, ::1] partition = sum_array
    cdef double[:, ::1] exponents = exponent_array
    for j in range(last):
        if weights is None or weights[j] > 0:
            biases[j] = 0.0 if weights is None else log2(weights[j])
    with nogil:
        for index in prange(n_replicas * to_block, schedule="static", num_threads=threads):
            replica, j = index // to_block, index % to_block
            blocks.pack_block(&key_blocks, j, tiles.tokens_from(keys, replica, 0), 1, NULL,
                              k + index * key_blocks.size)
            if v != k:
                blocks.pack_block(&value_blocks, j, tiles.tokens_from(values, replica, 0), 1, NULL,
                                  v + index * value_blocks.size)
        for index in prange(n_replicas * n_items, schedule="dynamic", num_threads=threads):
            replica = index % n_replicas if is_shared else index // n_items
            i = n_items - 1 - (index // n_replicas if is_shared else index % n_items)
            plain = scratch + threadid() * stride
            query, top = plain + (b.size if map_of_queries != NULL else 0), plain + 2 * b.size
            rest = top + 2 * ld
            blocks.pack_block(&b, i, tiles.tokens_from(queries, replica, 0), scale, NULL, plain)
            if map_of_queries != NULL:
                blocks.map_block(&b, i, map_of_queries, b.d, plain, query)
            _sum_rows[real](&key_blocks, &value_blocks, from_block + i, query, k + replica * key_size,
                            v + replica * value_size, &biases[0], decay, &by_distance[0], top + ld, rest,
                            NULL if is_small else top, sums + threadid() * sums_stride, &signals, threadid())
            blocks.finish_block(&value_blocks, from_block + i, sums + threadid() * sums_stride, 1, map_of_values,
                                n_rows, value_scale, rest, &mean[replica, i * ld, 0], &partition[replica, i * ld])
            for j in range(columns(&b, i)):
                exponents[replica, i * ld + j] = 0 if is_small else top[j]
    raise_if_stopped(&signals)
    return mean_array, sum_array, exponent_array
