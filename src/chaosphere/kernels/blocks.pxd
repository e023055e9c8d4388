"""Blocks of tokens, see blocks.pyx."""

from chaosphere.kernels.abi cimport real
from chaosphere.kernels.tiles cimport Tokens

cdef struct Blocks:
    # Token i of a system is column i % ld of its block i // ld, for n tokens of d coordinates. A block holds `size`
    # numbers: d + 1 rows of ld, or more with panels.
    long n, d, ld, size, n_blocks
    bint has_panels

cdef Blocks plain_blocks(long n, long d, long ld) noexcept nogil
cdef Blocks pair_blocks(long n, long d, long other_d, long ld, const real *unused) noexcept nogil
cdef long columns(const Blocks *b, long block) noexcept nogil
cdef long finish_scratch(const Blocks *b, long n_rows) noexcept nogil
cdef Tokens copied(const Blocks *b, const real *x, real *to) noexcept nogil
cdef void pack_block(
    const Blocks *b, long block, Tokens x, double scale, const double *weights, real *to) noexcept nogil
cdef void map_block(
    const Blocks *b, long block, const real *matrix, long n_rows, const real *plain, real *to) noexcept nogil
cdef void prepare_keys(
    const Blocks *b, long block, Tokens x, double scale, const real *query_map, real *query, real *key,
    real *scratch) noexcept nogil
cdef void prepare_values(
    const Blocks *b, long block, Tokens x, const double *weights, real *value, real *scratch) noexcept nogil
cdef void finish_block(
    const Blocks *b, long block, const double *sums, double factor, const real *value_map, long n_rows,
    double value_scale, real *scratch, real *rows, double *partition) noexcept nogil
cdef void finish_sums(
    const Blocks *b, long block, const double *sums, double scale, real *scratch, real *rows) noexcept nogil
cdef long step_block(const Blocks *b, long block, Tokens x, double step_size, real *rows) noexcept nogil
