"""Softmax attention of many heads with matrices of their own, and its gradients: one head of one sequence at a time.

An item of work is one head of one sequence, which one worker does from end to end, so every sum has one order. Its
blocks are as large as the caches allow, since no other worker needs a part of it. There are no more threads than items:
the first thread, which looks after signals, would wait without one. Small scores need no running maximum. Partition
sums are known when gradients are taken, so every pair of blocks is met once, and its weights serve the gradients of
both sides. Results are coordinate by coordinate, as blocks are.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, log2
from libc.string cimport memcpy, memset

import numpy as np

from chaosphere.kernels cimport blocks, tiles
from chaosphere.kernels.abi cimport (
    CHS_BLOCK_COLUMNS, CHS_CHUNK, CHS_SMALL_SCORE, Scratch, Watch, float_dtype, is_stopped, padded, padded_stride,
    raise_if_stopped, real, useful_threads, watch
)
from chaosphere.kernels.blocks cimport Blocks, columns

cdef double LN_2 = 0.69314718055994530942


cdef long _columns(long n) noexcept nogil:
    """Tokens of a block: as few blocks as there can be, of nearly equal size."""
    cdef long n_blocks = (n + CHS_BLOCK_COLUMNS - 1) // CHS_BLOCK_COLUMNS
    return padded((n + n_blocks - 1) // n_blocks)


cdef double _largest_square(
    const Blocks *b, long key_dim, const real *vectors, long block_size, real *squares
) noexcept nogil:
    """The largest |q|^2 of the vectors q of all tokens; squares: room for a block."""
    cdef long i, c, k, ld = b.ld
    cdef const real *q
    cdef real largest = 0
    for i in range(b.n_blocks):
        q = vectors + i * block_size
        memset(squares, 0, ld * sizeof(real))
        for c in range(key_dim):
            for k in range(ld):
                squares[k] += q[c * ld + k] * q[c * ld + k]
        for k in range(ld):
            if squares[k] > largest or squares[k] != squares[k]:  # one that is not a number stays the largest
                largest = squares[k]
    return largest


cdef void _copy_rows(const Blocks *b, long block, long n_rows, const real *rows, real *out) noexcept nogil:
    """Rows of a block into those of all tokens, (n_rows, N)."""
    cdef long c
    for c in range(n_rows):
        memcpy(out + c * b.n + block * b.ld, rows + c * b.ld, columns(b, block) * sizeof(real))


cdef void _attend(
    const Blocks *b, long key_dim, bint is_causal, tiles.Tokens x, const real *matrix, real *scratch, double *sums,
    real *mean, double *logs, Watch *signals, int thread
) noexcept nogil:
    """Means (d, N) and base-2 logarithms of the partition sums of one head; early where a signal ends the call.

    The scratch has the blocks of values, of queries and of keys, then tops, zeros and a bias of one block each, and
    what the kernels need. After the sums of a block is room for their partition sums. The first matrix rows are those of queries, times log2 e, then those of keys.
    """
    cdef long i, j, k, n, ld = b.ld, value_size = (b.d + 1) * ld, key_size = key_dim * ld
    cdef double *partition = sums + value_size
    cdef real *values = scratch
    cdef real *queries = values + b.n_blocks * value_size
    cdef real *keys = queries + b.n_blocks * key_size
    cdef real *top = keys + b.n_blocks * key_size
    cdef real *zeros = top + ld
    cdef real *bias = zeros + ld
    cdef real *rest = bias + ld
    cdef real *tops = top
    cdef real *own
    memset(zeros, 0, ld * sizeof(real))
    for i in range(b.n_blocks):
        n, own = columns(b, i), values + i * value_size
        tiles.pack(n, b.d, tiles.skipped(x, i * ld), 1, ld, own)
        for k in range(ld):
            own[b.d * ld + k] = <real>(k < n)
        tiles.map_block(ld, key_dim, b.d, matrix, own, ld, queries + i * key_size)
        tiles.map_block(ld, key_dim, b.d, matrix + key_dim * b.d, own, ld, keys + i * key_size)
    if (_largest_square(b, key_dim, queries, key_size, rest) * _largest_square(b, key_dim, keys, key_size, rest)
            <= CHS_SMALL_SCORE * CHS_SMALL_SCORE):
        tops = NULL
    for i in range(b.n_blocks):
        for k in range(ld):
            top[k] = <real>(0 if tops == NULL else -1e30)
        memset(sums, 0, value_size * sizeof(double))
        for j in range(i + 1 if is_causal else b.n_blocks):
            if is_stopped(signals, thread):
                return
            n = columns(b, j)
            for k in range(ld):
                bias[k] = <real>(0 if k < n else -INFINITY)
            if is_causal and j == i:
                tiles.causal_rows(key_dim, b.d, n, ld, queries + i * key_size, keys + j * key_size,
                                  values + j * value_size, bias, zeros, rest, tops, sums)
            else:
                tiles.attend_rows(key_dim, b.d, columns(b, i), n, ld, queries + i * key_size, keys + j * key_size,
                                  values + j * value_size, bias, rest, tops, sums)
        tiles.means(False, b.d, ld, sums, 1, rest, partition)
        _copy_rows(b, i, b.d, rest, mean)
        for k in range(columns(b, i)):
            logs[i * ld + k] = log2(partition[k]) + top[k]


def attend_heads(
    const real[:, :, :] x, const real[:, :, ::1] matrices, long key_dim, bint is_causal, long n_threads
):
    """Means of tokens x (B, N, d) with weights 2^(q_i.k_j), q = A x and k = B x, of H heads with matrices (H, m, d).

    The first key_dim rows of a matrix are A, the next are B. is_causal: the sums of token i are over j <= i. Returns
    the means (B, H, d, N) and the base-2 logarithms of the sums of the weights (B, H, N).
    """
    cdef long n_sequences = x.shape[0], n_heads = matrices.shape[0], n = x.shape[1], d = x.shape[2], index, s, h
    cdef Blocks b = blocks.plain_blocks(n, d, _columns(n))
    assert n >= 1 and matrices.shape[2] == d and key_dim >= 1 and matrices.shape[1] >= 2 * key_dim, "matrices"
    cdef double work = <double>n_sequences * n_heads * n * n * (0.5 * (key_dim + d) + 4) * (0.5 if is_causal else 1)
    cdef int threads = useful_threads(min(n_threads, n_sequences * n_heads), work)
    cdef Watch signals = watch(n_sequences * n_heads * b.n_blocks * b.n_blocks, work)
    cdef long stride = padded_stride(b.n_blocks * (d + 1 + 2 * key_dim) * b.ld + 3 * b.ld
                                     + max(CHS_CHUNK, d) * b.ld)
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef long sums_stride = padded_stride((d + 2) * b.ld)
    cdef Scratch sums_memory = Scratch(threads * sums_stride * sizeof(double))
    cdef real *scratch = <real *>tile_memory.at
    cdef double *sums = <double *>sums_memory.at
    mean_array = np.empty((n_sequences, n_heads, d, n), float_dtype(sizeof(real)))
    log_array = np.empty((n_sequences, n_heads, n))
    cdef real[:, :, :, ::1] mean = mean_array
    cdef double[:, :, ::1] logs = log_array
    for index in prange(n_sequences * n_heads, schedule="dynamic", num_threads=threads, nogil=True):
        s, h = index // n_heads, index % n_heads
        _attend[real](&b, key_dim, is_causal, tiles.tokens_from(x, s, 0), &matrices[h, 0, 0],
                      scratch + threadid() * stride, sums + threadid() * sums_stride, &mean[s, h, 0, 0],
                      &logs[s, h, 0], &signals, threadid())
    raise_if_stopped(&signals)
    return mean_array, log_array


cdef void _pull(
    const Blocks *b, long key_dim, bint is_causal, tiles.Tokens x, tiles.Tokens w, const real *matrix,
    const real *transposed, const real *mean, const double *logs, real *scratch, double *sums, real *out,
    Watch *signals, int thread
) noexcept nogil:
    """Gradients (2 key_dim + d, N) of one head in its queries, keys and values; early where a signal ends the call.

    The scratch has, for every block, its rows q, g and w, its columns k and x, and its logarithms and terms; then
    zeros, exponents of columns, and what the kernels need. The sums are those of one block of rows, and of all columns;
    terms are taken in the first of them.
    """
    cdef long i, j, c, k, n, ld = b.ld, d = b.d, n_blocks = b.n_blocks
    cdef long row_size = (key_dim + 2 * d) * ld, column_size = (key_dim + d) * ld
    cdef real *rows = scratch
    cdef real *of_columns = rows + n_blocks * row_size
    cdef real *exponents = of_columns + n_blocks * column_size
    cdef real *terms = exponents + n_blocks * ld
    cdef real *zeros = terms + n_blocks * ld
    cdef real *inside = zeros + ld
    cdef real *rest = inside + ld
    cdef real *q
    cdef real *g
    cdef real *own
    cdef double *row_sums = sums
    cdef double *column_sums = sums + key_dim * ld
    memset(zeros, 0, ld * sizeof(real))
    memset(column_sums, 0, n_blocks * column_size * sizeof(double))
    for i in range(n_blocks):
        n, q, own = columns(b, i), rows + i * row_size, of_columns + i * column_size + key_dim * ld
        g = q + key_dim * ld
        tiles.pack(n, d, tiles.skipped(x, i * ld), 1, ld, own)
        tiles.pack(n, d, tiles.skipped(w, i * ld), 1, ld, g + d * ld)
        tiles.map_block(ld, key_dim, d, matrix, own, ld, q)
        tiles.map_block(ld, key_dim, d, matrix + key_dim * d, own, ld, of_columns + i * column_size)
        tiles.map_block(ld, d, d, transposed, g + d * ld, ld, g)
        memset(row_sums, 0, ld * sizeof(double))
        for c in range(d):
            for k in range(n):
                row_sums[k] += <double>g[c * ld + k] * <double>mean[c * b.n + i * ld + k]
        for k in range(ld):
            terms[i * ld + k] = <real>-row_sums[k]
            exponents[i * ld + k] = <real>(-logs[i * ld + k] if k < n else -INFINITY)
    for i in range(n_blocks):
        memset(row_sums, 0, key_dim * ld * sizeof(double))
        for j in range(i + 1 if is_causal else n_blocks):
            if is_stopped(signals, thread):
                return
            n = columns(b, j)
            for k in range(ld):
                inside[k] = <real>(0 if k < n else -INFINITY)
            tiles.gradient_pair(is_causal and j == i, key_dim, d, columns(b, i), n, ld, rows + i * row_size,
                                of_columns + j * column_size, exponents + i * ld, inside, terms + i * ld, zeros, rest,
                                row_sums, column_sums + j * column_size)
        tiles.scaled_sums(False, key_dim, ld, row_sums, 1, rest)
        _copy_rows(b, i, key_dim, rest, out)
    for i in range(n_blocks):
        tiles.scaled_sums(False, key_dim, ld, column_sums + i * column_size, LN_2, rest)
        tiles.scaled_sums(False, d, ld, column_sums + i * column_size + key_dim * ld, 1, rest + key_dim * ld)
        _copy_rows(b, i, key_dim + d, rest, out + key_dim * b.n)


def pull_heads(
    const real[:, :, :] x, const real[:, :, :] w, const real[:, :, ::1] matrices, const real[:, :, ::1] transposed,
    const real[:, :, :, ::1] mean, const double[:, :, ::1] logs, bint is_causal, long n_threads
):
    """Gradients of sum_i w_i.V m_i for the means m of attend_heads, (B, H, 2 key_dim + d, N).

    Of every token first those in its query q_i, of scores q_i.k_j without the log2 e in the matrices, then those in its
    key k_i, then those in its value V x_i. The last rows of a matrix are V; transposed: V^T of each head (H, d, d).
    """
    cdef long n_sequences = x.shape[0], n_heads = matrices.shape[0], n = x.shape[1], d = x.shape[2], index, s, h
    cdef long key_dim = (matrices.shape[1] - d) // 2
    cdef Blocks b = blocks.plain_blocks(n, d, _columns(n))
    assert n >= 1 and w.shape[0] == n_sequences and w.shape[1] == n and w.shape[2] == d, "w"
    assert matrices.shape[2] == d and key_dim >= 1 and matrices.shape[1] == 2 * key_dim + d, "matrices"
    assert transposed.shape[0] == n_heads and transposed.shape[1] == d and transposed.shape[2] == d, "transposed"
    assert mean.shape[0] == n_sequences and mean.shape[1] == n_heads and mean.shape[2] == d, "mean"
    assert mean.shape[3] == n, "mean"
    assert logs.shape[0] == n_sequences and logs.shape[1] == n_heads and logs.shape[2] == n, "logs"
    cdef double work = <double>n_sequences * n_heads * n * n * (1.5 * key_dim + d + 4) * (0.5 if is_causal else 1)
    cdef int threads = useful_threads(min(n_threads, n_sequences * n_heads), work)
    cdef Watch signals = watch(n_sequences * n_heads * b.n_blocks * b.n_blocks, work)
    cdef long stride = padded_stride(b.n_blocks * (2 * key_dim + 3 * d + 2) * b.ld
                                     + (2 * CHS_CHUNK + key_dim + d + 2) * b.ld)
    cdef Scratch tile_memory = Scratch(threads * stride * sizeof(real))
    cdef long sums_stride = padded_stride((key_dim + b.n_blocks * (key_dim + d)) * b.ld)
    cdef Scratch sums_memory = Scratch(threads * sums_stride * sizeof(double))
    cdef real *scratch = <real *>tile_memory.at
    cdef double *sums = <double *>sums_memory.at
    out_array = np.empty((n_sequences, n_heads, 2 * key_dim + d, n), float_dtype(sizeof(real)))
    cdef real[:, :, :, ::1] out = out_array
    for index in prange(n_sequences * n_heads, schedule="dynamic", num_threads=threads, nogil=True):
        s, h = index // n_heads, index % n_heads
        _pull[real](&b, key_dim, is_causal, tiles.tokens_from(x, s, 0), tiles.tokens_from(w, s, 0), &matrices[h, 0, 0],
                    &transposed[h, 0, 0], &mean[s, h, 0, 0], &logs[s, h, 0], scratch + threadid() * stride,
                    sums + threadid() * sums_stride, &out[s, h, 0, 0], &signals, threadid())
    raise_if_stopped(&signals)
    return out_array
