"""Blocks of tokens: how a system is cut, and what happens to one block before and after the sums over pairs.

A system of n tokens is cut into blocks of `ld` tokens, the last one of fewer. A block stores its tokens by coordinate:
coordinate k of token j is at [k * ld + j]. One more row, number d, holds the weight of every token, so that the sum of
the attention coefficients is one more coordinate of the sum of the values. Columns without a token are 0.

With many coordinates the kernel of a pair wants each token twice, as a row of coordinates and within a panel of some
tokens; a block and its sums then have this second layout alone (`has_panels`), and a plain block is only a step on the
way to it. The C library knows when (`block_size`) and how (`pack_panels`).

Of every token there are up to three blocks: its key, which is the token times a scale; its query, which is the key or a
map of it; and its value, which is the key unless tokens have weights or there are values of their own, of as many
coordinates as they have. The sums over keys are double, in blocks of the layout of the values.

    tokens              --prepare_keys--->  key, query
    tokens or values    --prepare_values->  value
    pairs of blocks     --attend_pair---->  sums
    sums                --finish_block--->  means, sums of the coefficients
    means and tokens    --step_block----->  tokens of the next step
"""

from libc.string cimport memcpy, memset

from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport block_columns, real
from chaosphere.kernels.tiles cimport Tokens


def block_size(long n_tokens):
    """Number of tokens in a block of a system of n_tokens; the last block may be smaller."""
    return block_columns(n_tokens)


cdef Blocks plain_blocks(long n, long d, long ld) noexcept nogil:
    """Blocks of d + 1 rows."""
    cdef Blocks b
    b.n, b.d, b.ld, b.size, b.has_panels = n, d, ld, (d + 1) * ld, False
    b.n_blocks = (n + ld - 1) // ld
    return b


cdef Blocks pair_blocks(long n, long d, long other_d, long ld, const real *unused) noexcept nogil:
    """Blocks in the layout that the kernel of a pair takes: with panels if other_d coordinates have them, too."""
    cdef Blocks b = plain_blocks(n, d, ld)
    b.has_panels = (tiles.block_size(d, ld, unused) > (d + 1) * ld
                    and tiles.block_size(other_d, ld, unused) > (other_d + 1) * ld)
    if b.has_panels:
        b.size = tiles.block_size(d, ld, unused)
    return b


cdef long columns(const Blocks *b, long block) noexcept nogil:
    """Number of tokens in a block."""
    return min(b.ld, b.n - block * b.ld)


cdef long finish_scratch(const Blocks *b, long n_rows) noexcept nogil:
    """Numbers of scratch that the functions below, with a matrix of so many rows, need."""
    return (b.d + max(b.d, n_rows) + 2) * b.ld


cdef Tokens copied(const Blocks *b, const real *x, real *to) noexcept nogil:
    """A copy of all tokens of a system, contiguous rows."""
    cdef Tokens tokens
    memcpy(to, x, b.n * b.d * sizeof(real))
    tokens.start, tokens.row_stride, tokens.column_stride = <const char *>to, b.d * sizeof(real), sizeof(real)
    return tokens


cdef void pack_block(
    const Blocks *b, long block, Tokens x, double scale, const double *weights, real *to
) noexcept nogil:
    """A plain block of scale * x and ones or, with weights w, of scale * w x and w."""
    cdef long first = block * b.ld, n = columns(b, block), j, k
    cdef real *last = to + b.d * b.ld
    tiles.pack(n, b.d, tiles.skipped(x, first), scale, b.ld, to)
    memset(last, 0, b.ld * sizeof(real))
    for j in range(n):
        last[j] = 1
    if weights != NULL:
        for j in range(n):
            last[j] = <real>weights[first + j]
            for k in range(b.d):
                to[k * b.ld + j] *= last[j]


cdef void map_block(
    const Blocks *b, long block, const real *matrix, long n_rows, const real *plain, real *to
) noexcept nogil:
    """The coordinates of a plain block times a matrix (n_rows, d)."""
    tiles.map_block(columns(b, block), n_rows, b.d, matrix, plain, b.ld, to)


cdef void prepare_keys(
    const Blocks *b, long block, Tokens x, double scale, const real *query_map, real *query, real *key, real *scratch
) noexcept nogil:
    """The keys of a block, which are scale * x, and its queries if there is a query_map.

    scratch: finish_scratch numbers.
    """
    cdef real *plain = scratch if b.has_panels else key
    cdef real *mapped = scratch + (b.d + 1) * b.ld if b.has_panels else query
    pack_block(b, block, x, scale, NULL, plain)
    if query_map != NULL:
        map_block(b, block, query_map, b.d, plain, mapped)
    if b.has_panels:
        tiles.pack_panels(b.d, b.ld, plain, key)
        if query_map != NULL:
            memset(mapped + b.d * b.ld, 0, b.ld * sizeof(real))  # queries have no weights
            tiles.pack_panels(b.d, b.ld, mapped, query)


cdef void prepare_values(
    const Blocks *b, long block, Tokens x, const double *weights, real *value, real *scratch
) noexcept nogil:
    """The values of a block, which are the vectors x. scratch: finish_scratch numbers."""
    pack_block(b, block, x, 1, weights, scratch if b.has_panels else value)
    if b.has_panels:
        tiles.pack_panels(b.d, b.ld, scratch, value)


cdef void finish_block(
    const Blocks *b, long block, const double *sums, double factor, const real *value_map, long n_rows,
    double value_scale, real *scratch, real *rows, double *partition
) noexcept nogil:
    """rows = value_scale V (factor * sums / partition) for the tokens of one block.

    V is value_map (n_rows, d), or the identity: n_rows is d then.

    partition gets the sums of the coefficients. scratch: finish_scratch numbers.
    """
    cdef long n = columns(b, block)
    cdef double *total = <double *>scratch
    cdef real *mean = scratch + 2 * b.ld
    cdef real *result = mean
    tiles.means(b.has_panels, b.d, b.ld, sums, factor, mean, total)
    memcpy(partition, total, n * sizeof(double))
    if value_map != NULL:
        result = mean + b.d * b.ld
        map_block(b, block, value_map, n_rows, mean, result)
    tiles.unpack(n, n_rows, b.ld, result, value_scale, <const real *>NULL, rows)


cdef void finish_sums(
    const Blocks *b, long block, const double *sums, double scale, real *scratch, real *rows
) noexcept nogil:
    """rows = scale * sums for the tokens of one block. scratch: finish_scratch numbers."""
    tiles.scaled_sums(b.has_panels, b.d, b.ld, sums, scale, scratch)
    tiles.unpack(columns(b, block), b.d, b.ld, scratch, 1, <const real *>NULL, rows)


cdef long step_block(const Blocks *b, long block, Tokens x, double step_size, real *rows) noexcept nogil:
    """rows <- LN(x + step_size rows) for the tokens of one block; the number of a token where that fails, or -1."""
    cdef long first = block * b.ld
    cdef long bad = tiles.step(columns(b, block), b.d, tiles.skipped(x, first), rows, step_size, rows)
    return -1 if bad < 0 else first + bad
