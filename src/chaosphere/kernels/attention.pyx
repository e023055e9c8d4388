"""Softmax attention with a bound of the scores, over pairs of blocks.

With a bound `shift`, the coefficient 2^(score - shift) of a pair of tokens neither overflows nor depends on other
pairs, so any pair of blocks can be done at any time. If the scores are symmetric, one coefficient serves both orders of
a pair, which is half of the work; schedule.pyx gives the order. Tokens become blocks before and means after, see
blocks.pyx. For scores without a bound see rows.pyx.

One call has one parallel region. With few systems, all workers share the items of each. With many, a worker takes one
system after the other and does its items alone, in the order of the list: the system stays in the cache, also over
several steps. Both ways, and any number of workers, add every sum in the same order: results are bitwise identical.
"""

from cython.parallel cimport prange, threadid
from libc.string cimport memcpy, memset

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport blocks, schedule, tiles
from chaosphere.kernels.abi cimport (
    CHS_PAIR_SCRATCH, Scratch, Watch, block_columns, float_dtype, is_stopped, padded_stride, raise_if_stopped, real,
    useful_threads, watch
)
from chaosphere.kernels.blocks cimport Blocks, columns
from chaosphere.kernels.schedule cimport FINISH, PACK, PAIR, Schedule, WorkItem, first_block
from chaosphere.kernels.tiles cimport Tokens

cdef struct Call:
    # What the items of one call have in common.
    double scale, shift  # coefficients 2^(scale^2 x.y - shift)
    double mean_factor, value_scale  # of the means of the values; of the result
    bint has_values  # whether the values are not the keys
    bint is_step  # whether the result is LN(x + step_size result)
    double step_size
    long first, stop  # blocks whose rows are wanted
    # A polynomial of x.y that takes the place of the coefficients, or NULL: see potential_pair in chaosphere.h.
    const void *polynomial
    long degree
    bint is_series, is_partition  # is_partition: the sums of the coefficients alone are wanted


cdef void _attend_pair(
    const Blocks *b, const Blocks *value_blocks, const Call *call, long i, long j, bint is_mutual, const real *queries,
    const real *keys, const real *values, real *scratch, double *sums, Watch *signals, int thread
) noexcept nogil:
    """Add what block j gives block i and, if mutual, i gives j, to those sums that are wanted.

    Nothing once a signal has ended the call. A block is mutual with itself where each of its pairs is taken once.
    """
    cdef long at_i = i * b.size, at_j = j * b.size, to_i = i * value_blocks.size, to_j = j * value_blocks.size
    cdef double *sum_i = sums + to_i if call.first <= i < call.stop else NULL
    cdef double *sum_j = sums + to_j if is_mutual and call.first <= j < call.stop else NULL
    if (sum_i == NULL and sum_j == NULL) or is_stopped(signals, thread):
        return
    if i == j and (call.polynomial != NULL or call.is_partition):
        sum_j = NULL  # their kernels take both orders of its pairs
    if call.polynomial != NULL:
        tiles.potential_pair(b.has_panels, call.is_series, call.degree, <const real *>call.polynomial, b.d,
                             b.d if call.is_partition else 0, b.d + 1 if call.is_partition else b.d, columns(b, i),
                             columns(b, j), b.ld, queries + at_i, keys + at_j, values + at_i, values + at_j, scratch,
                             sum_i, sum_j)
    elif call.is_partition:
        tiles.partition_pair(b.d, columns(b, i), columns(b, j), b.ld, keys + at_i, keys + at_j, call.shift, scratch,
                             sum_i, sum_j)
    else:
        tiles.attend_pair(b.d, value_blocks.d, columns(b, i), columns(b, j), b.ld, queries + at_i, keys + at_j,
                          values + to_i, values + to_j, call.shift, scratch, sum_i, sum_j)


cdef void _pack_for_sums(
    const Blocks *b, long block, Tokens x, double scale, const double *weights, real *key
) noexcept nogil:
    """A block whose last row is the weights of the tokens, which are no factors of the others."""
    cdef long j
    blocks.pack_block(b, block, x, scale, NULL, key)
    for j in range(columns(b, block) if weights != NULL else 0):
        key[b.d * b.ld + j] = <real>weights[block * b.ld + j]


cdef void _do_item(
    const Blocks *b, const Blocks *value_blocks, const Schedule *s, const Call *call, WorkItem item, Tokens x,
    Tokens values_of_x, const real *query_map, const real *value_map, long n_rows, const double *weights, real *queries,
    real *keys, real *values, double *sums, real *scratch, real *rows, double *partition, long *failures,
    Watch *signals, int thread
) noexcept nogil:
    """Do one item, which is ready, of one system.

    queries, keys, values, sums: its blocks; rows, partition: its results, from the first row that is wanted on;
    failures: for each of its blocks a token where a step has failed, or -1.
    """
    cdef long start = first_block(s, item.i), stop = first_block(s, item.i + 1), i, j, at, value_at, first
    if item.kind == PACK:
        for i in range(start, stop):
            at, value_at = i * b.size, i * value_blocks.size
            if call.is_partition and call.polynomial == NULL:
                _pack_for_sums(b, i, x, call.scale, weights, keys + at)
                memset(sums + at, 0, b.ld * sizeof(double))
                continue
            blocks.prepare_keys(b, i, x, call.scale, query_map, queries + at, keys + at, scratch)
            if call.has_values:
                blocks.prepare_values(value_blocks, i, values_of_x, weights, values + value_at, scratch)
            memset(sums + value_at, 0, value_blocks.size * sizeof(double))
    elif item.kind == PAIR:
        for i in range(start, stop):
            for j in range(i if item.i == item.j else first_block(s, item.j), first_block(s, item.j + 1)):
                _attend_pair(b, value_blocks, call, i, j, True, queries, keys, values, scratch, sums, signals, thread)
    elif item.kind == FINISH:
        for i in range(max(call.first, start), min(call.stop, stop)):
            at = (i - call.first) * b.ld
            if call.is_partition:
                first = b.d * b.ld if call.polynomial != NULL else 0
                memcpy(partition + at, sums + i * b.size + first, columns(b, i) * sizeof(double))
            elif call.polynomial != NULL:
                blocks.finish_sums(b, i, sums + i * b.size, call.value_scale, scratch, rows + at * b.d)
            else:
                blocks.finish_block(value_blocks, i, sums + i * value_blocks.size, call.mean_factor, value_map, n_rows,
                                    call.value_scale, scratch, rows + at * n_rows, partition + at)
            if call.is_step and failures[i] < 0:
                failures[i] = blocks.step_block(b, i, x, call.step_size, rows + at * b.d)
    else:
        for i in range(start, stop):
            for j in range(b.n_blocks):
                _attend_pair(b, value_blocks, call, i, j, False, queries, keys, values, scratch, sums, signals, thread)


def attend_bounded(
    const real[:, :, :] x, const real[:, ::1] query_map, const real[:, ::1] value_map, const double[:, ::1] weights,
    double scale, double shift, bint is_symmetric, long n_threads, long first=0, long stop=-1, double value_scale=1,
    step=None, long n_steps=1, const real[::1] polynomial=None, bint is_series=False, bint is_partition=False,
    const real[:, :, :] values_of_x=None
):
    """Attention with weights 2^(scale^2 x.y - shift), or 2^((A x).y - shift) with A = query_map and scale = 1.

    shift bounds the scores. Weights below 2^-960 (f32: 2^-102) may count as 0, so a row whose sum is not far above that
    is worth nothing. With is_symmetric (A is) one weight serves both orders of a pair. x is (R, N, d); weights (R, N),
    (1, N) for all systems, or None. Returns the weighted means (R, N, d), times value_scale and value_map if given, and
    the sums of the weights (R, N) before division, uniform weights counting 1 each. With first and stop, both where a
    block starts or the end, only those rows: the schedule is the same without the pairs that have no part in them, so
    they are bitwise identical too. With a number `step` instead of all that LN(x + step mean), n_steps times over, and
    the flat index of the first token where that fails or -1.

    With a `polynomial`, the coefficient of a pair is its value at x.y: sum_k c_k (x.y)^k or, with is_series, a series
    of Chebyshev polynomials, and nothing is divided. Tokens are not mapped or scaled then. Returns value_scale times
    the sums of coefficients times tokens (R, N, d) and zeros.

    With is_partition no means are taken: returns None and the sums of the coefficients.

    With values_of_x (R, N, v), the means are those of these in place of x, and a value_map has the shape (n_rows, v).
    """
    cdef long n_replicas = x.shape[0], last = x.shape[1] if stop < 0 else stop
    cdef long value_dim = x.shape[2] if values_of_x is None else values_of_x.shape[2], ld = block_columns(x.shape[1])
    cdef Blocks b = blocks.pair_blocks[real](x.shape[1], x.shape[2], value_dim, ld, NULL)
    cdef Blocks value_blocks = blocks.pair_blocks[real](x.shape[1], value_dim, x.shape[2], ld, NULL)
    cdef long n_rows = value_dim if value_map is None else value_map.shape[0]
    cdef Call call
    assert polynomial is not None or not is_series, "polynomial"
    assert polynomial is None or (polynomial.shape[0] > 0 and query_map is None and value_map is None), "polynomial"
    assert polynomial is None or (scale == 1 and is_symmetric), "scale, is_symmetric"
    assert not is_partition or step is None, "is_partition"
    assert not is_partition or polynomial is not None or (query_map is None and is_symmetric), "is_partition"
    if is_partition:
        b = value_blocks = blocks.plain_blocks(b.n, b.d, b.ld)
    call.polynomial, call.degree = NULL, 0
    if polynomial is not None:
        call.polynomial, call.degree = &polynomial[0], polynomial.shape[0] - 1
    call.is_series, call.is_partition = is_series, is_partition
    assert b.n >= 1 and (weights is None or weights.shape[1] == b.n), "weights"
    assert weights is None or weights.shape[0] == 1 or weights.shape[0] == n_replicas, "weights"
    assert query_map is None or (query_map.shape[0] == b.d and query_map.shape[1] == b.d), "query_map"
    assert value_map is None or (n_rows >= 1 and value_map.shape[1] == value_dim), "value_map"
    assert step is None or n_rows == b.d, "value_map"
    assert values_of_x is None or (values_of_x.shape[0] == n_replicas and values_of_x.shape[1] == b.n), "values_of_x"
    assert values_of_x is None or (polynomial is None and not is_partition and step is None), "values_of_x"
    assert 0 <= first <= last <= b.n and first % b.ld == 0 and (last % b.ld == 0 or last == b.n), "first, stop"
    assert n_steps == 1 or (step is not None and first == 0 and last == b.n), "n_steps"
    # A tiny scale would lose its digits in scaled values, so these are not the keys then.
    cdef bint has_values = (weights is not None or scale < 1e-15) and (not is_partition or polynomial is not None)
    has_values = has_values or values_of_x is not None
    call.scale, call.shift, call.value_scale = scale, shift, value_scale
    call.has_values, call.mean_factor = has_values, 1 if has_values else 1 / scale
    call.is_step, call.step_size = step is not None, 0 if step is None else step
    call.first, call.stop = first // b.ld, (last + b.ld - 1) // b.ld
    cdef double work = <double>n_replicas * (last - first) * b.n * (0.5 * (b.d + value_dim) + 4 + call.degree)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_steps * n_replicas * (call.stop - call.first) * b.n_blocks, n_steps * work)
    cdef bint is_shared = n_replicas < 8 * threads and threads > 1
    cdef long index, number, worker, replica, step_number
    if n_steps > 1 and is_shared:
        result = np.asarray(x), -1
        for step_number in range(n_steps):
            if result[1] < 0:
                result = attend_bounded(result[0], query_map, value_map, weights, scale, shift, is_symmetric, n_threads,
                                        value_scale=value_scale, step=step, polynomial=polynomial,
                                        is_series=is_series)
        return result
    # Memory for the blocks of every system at work, and scratch for every worker.
    cdef long size = padded_stride(b.n_blocks * b.size), n_at_once = n_replicas if is_shared else threads
    cdef long value_size = padded_stride(b.n_blocks * value_blocks.size)
    cdef Scratch key_memory = Scratch(n_at_once * size * sizeof(real))
    cdef Scratch value_memory = Scratch(n_at_once * value_size * sizeof(real) if has_values else 0)
    cdef Scratch query_memory = Scratch(n_at_once * size * sizeof(real) if query_map is not None else 0)
    cdef Scratch sums_memory = Scratch(n_at_once * value_size * sizeof(double))
    cdef long needed = max(blocks.finish_scratch(&b, b.d), blocks.finish_scratch(&value_blocks, n_rows))
    cdef long stride = padded_stride(max(CHS_PAIR_SCRATCH(value_dim, b.ld), needed))
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef long token_stride = padded_stride(b.n * b.d)
    cdef Scratch token_memory = Scratch(threads * token_stride * sizeof(real) if n_steps > 1 else 0)
    cdef long[::1] counters = np.zeros(schedule.n_counters(b.n_blocks, n_at_once, threads), np.int64)
    # Where no rows are wanted there is no work on any system.
    cdef Schedule s = schedule.make_schedule(b.n_blocks, is_symmetric, n_replicas if first < last else 0, threads,
                                             &counters[0])
    cdef real *keys = <real *>key_memory.at
    cdef real *values = <real *>value_memory.at if has_values else keys
    cdef real *queries = <real *>query_memory.at if query_map is not None else keys
    cdef double *sums = <double *>sums_memory.at
    cdef real *scratch = <real *>tile_memory.at
    cdef real *copies = <real *>token_memory.at
    cdef const real *map_of_queries = NULL if query_map is None else &query_map[0, 0]
    cdef const real *map_of_values = NULL if value_map is None else &value_map[0, 0]
    cdef const double *p = NULL if weights is None else &weights[0, 0]
    cdef long p_stride = 0 if weights is None or weights.shape[0] == 1 else b.n
    out_array = abi.empty((n_replicas, 1 if is_partition else last - first, n_rows), float_dtype(sizeof(real)))
    partition_array = np.zeros((n_replicas, last - first))
    failure_array = np.full(n_replicas * b.n_blocks, -1, np.int64)
    cdef real[:, :, ::1] out = out_array
    cdef double[:, ::1] partition = partition_array
    cdef long[::1] failures = failure_array
    cdef long n_in_turn = max(<long>1, min(<long>16, n_replicas // (16 * threads)))
    cdef Tokens tokens, vectors
    for worker in prange(threads, schedule="static", chunksize=1, num_threads=threads, nogil=True):
        while is_shared:
            number = schedule.next_item(&s, worker, &signals, threadid())
            if number < 0:
                break
            replica = number // s.n_items
            tokens = tiles.tokens_from(x, replica, 0)
            vectors = tokens if values_of_x is None else tiles.tokens_from(values_of_x, replica, 0)
            _do_item[real](
                &b, &value_blocks, &s, &call, schedule.item_at(&s, number % s.n_items), tokens, vectors,
                map_of_queries, map_of_values, n_rows, p + replica * p_stride, queries + replica * size,
                keys + replica * size, values + replica * value_size, sums + replica * value_size,
                scratch + worker * stride, &out[replica, 0, 0], &partition[replica, 0],
                &failures[replica * b.n_blocks], &signals, threadid())
            schedule.mark_done(&s, replica, schedule.item_at(&s, number % s.n_items))
        while not is_shared:
            index = schedule.next_systems(&s, n_in_turn)
            if index >= s.n_systems or is_stopped(&signals, threadid()):
                break
            for replica in range(index, min(s.n_systems, index + n_in_turn)):
                for step_number in range(n_steps):
                    if is_stopped(&signals, threadid()):
                        break
                    tokens = tiles.tokens_from(x, replica, 0)
                    if step_number > 0:  # the next step is written over the tokens
                        tokens = blocks.copied(&b, &out[replica, 0, 0], copies + worker * token_stride)
                    vectors = tokens if values_of_x is None else tiles.tokens_from(values_of_x, replica, 0)
                    for number in range(s.n_items):
                        _do_item[real](
                            &b, &value_blocks, &s, &call, schedule.item_at(&s, number), tokens, vectors,
                            map_of_queries, map_of_values, n_rows, p + replica * p_stride, queries + worker * size,
                            keys + worker * size, values + worker * value_size, sums + worker * value_size,
                            scratch + worker * stride, &out[replica, 0, 0], &partition[replica, 0],
                            &failures[replica * b.n_blocks], &signals, threadid())
    raise_if_stopped(&signals)
    if step is None:
        return None if is_partition else out_array, partition_array
    bad = np.flatnonzero(failure_array >= 0)
    return out_array, int(bad[0] // b.n_blocks * b.n + failure_array[bad[0]]) if bad.size else -1


def partition_sums(x, weights, scale, shift, n_threads):
    """Sums of weights[j] 2^(scale^2 x_i.x_j - shift) of tokens x (R, N, d) with weights (R, N) or (1, N), shape (R, N).

    The sums of `attend_bounded` without its means, at their share of the work.
    """
    return attend_bounded(x, None, None, weights, scale, shift, True, n_threads, is_partition=True)[1]
