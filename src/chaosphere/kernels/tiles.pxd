"""The tile kernels of the C library for either type of number: the one place that chooses between double and float.

Every function here is inline and calls the function of the same name in the table of the instruction set in use;
csrc/chaosphere.h says what it does. An argument `unused` has no value: its type tells double from float where no other
argument does, and `&x[0, 0, 0]` or a NULL of that type serves.
"""

from libc.stddef cimport ptrdiff_t

from chaosphere.kernels.abi cimport chs_step, real, table

cdef struct Tokens:
    # Where tokens are: the first, and the bytes from one to the next and from coordinate to coordinate.
    const char *start
    ptrdiff_t row_stride, column_stride


cdef inline Tokens tokens_from(const real[:, :, :] x, long replica, long first) noexcept nogil:
    """Tokens of one system of an array (R, N, d), from number `first` on."""
    cdef Tokens t
    t.start, t.row_stride, t.column_stride = <const char *>&x[replica, first, 0], x.strides[1], x.strides[2]
    return t


cdef inline Tokens skipped(Tokens x, long n) noexcept nogil:
    """The tokens after the first n."""
    x.start += n * x.row_stride
    return x


cdef inline void pack(long n, long d, Tokens x, double scale, long ld, real *block) noexcept nogil:
    if real is double:
        table().pack_f64(n, d, x.start, x.row_stride, x.column_stride, scale, ld, block)
    else:
        table().pack_f32(n, d, x.start, x.row_stride, x.column_stride, scale, ld, block)


cdef inline void unpack(
    long n, long d, long ld, const real *block, double scale, const real *shift, real *rows
) noexcept nogil:
    if real is double:
        table().unpack_f64(n, d, ld, block, scale, shift, rows)
    else:
        table().unpack_f32(n, d, ld, block, scale, shift, rows)


cdef inline void map_block(
    long n, long rows, long d, const real *matrix, const real *block, long ld, real *out
) noexcept nogil:
    if real is double:
        table().map_f64(n, rows, d, matrix, block, ld, out)
    else:
        table().map_f32(n, rows, d, matrix, block, ld, out)


cdef inline long block_size(long d, long ld, const real *unused) noexcept nogil:
    if real is double:
        return table().block_size_f64(d, ld)
    else:
        return table().block_size_f32(d, ld)


cdef inline void pack_panels(long d, long ld, const real *block, real *panels) noexcept nogil:
    if real is double:
        table().pack_panels_f64(d, ld, block, panels)
    else:
        table().pack_panels_f32(d, ld, block, panels)


cdef inline void attend_pair(
    long key_dim, long value_dim, long n_i, long n_j, long ld, const real *q_i, const real *k_j, const real *v_i,
    const real *v_j, double shift, real *scratch, double *sum_i, double *sum_j
) noexcept nogil:
    if real is double:
        table().attend_pair_f64(key_dim, value_dim, n_i, n_j, ld, q_i, k_j, v_i, v_j, shift, scratch, sum_i, sum_j)
    else:
        table().attend_pair_f32(key_dim, value_dim, n_i, n_j, ld, q_i, k_j, v_i, v_j, <float>shift, scratch, sum_i,
                                sum_j)


cdef inline void partition_pair(
    long d, long n_i, long n_j, long ld, const real *x_i, const real *x_j, double shift, real *scratch, double *sum_i,
    double *sum_j
) noexcept nogil:
    if real is double:
        table().partition_pair_f64(d, n_i, n_j, ld, x_i, x_j, shift, scratch, sum_i, sum_j)
    else:
        table().partition_pair_f32(d, n_i, n_j, ld, x_i, x_j, <float>shift, scratch, sum_i, sum_j)


cdef inline void means(
    bint has_panels, long d, long ld, const double *sums, double scale, real *out, double *total
) noexcept nogil:
    if real is double:
        table().means_f64(has_panels, d, ld, sums, scale, out, total)
    else:
        table().means_f32(has_panels, d, ld, sums, scale, out, total)


cdef inline long replica_lanes(const real *unused) noexcept nogil:
    if real is double:
        return table().replica_lanes_f64()
    else:
        return table().replica_lanes_f32()


cdef inline void attend_replicas(
    bint is_group, bint is_causal, long n, long d, long ld, real *x, const real *v, const real *p, double scale,
    double shift, long degree, const real *c, const chs_step *step, real *scratch, real *sums
) noexcept nogil:
    if real is double:
        table().attend_replicas_f64(is_group, is_causal, n, d, ld, x, v, p, scale, shift, degree, c, step, scratch,
                                    sums)
    else:
        table().attend_replicas_f32(is_group, is_causal, n, d, ld, x, v, p, scale, <float>shift, degree, c, step,
                                    scratch, sums)


cdef inline void replica_means(
    bint is_group, bint is_mean, long n, long d, long ld, const real *sums, double scale, double value_scale,
    real *mean, real *total
) noexcept nogil:
    if real is double:
        table().replica_means_f64(is_group, is_mean, n, d, ld, sums, scale, value_scale, mean, total)
    else:
        table().replica_means_f32(is_group, is_mean, n, d, ld, sums, scale, value_scale, mean, total)


cdef inline void replica_step(
    bint is_group, long n, long d, long ld, const real *mean, double alpha, real *x, long *bad
) noexcept nogil:
    if real is double:
        table().replica_step_f64(is_group, n, d, ld, mean, alpha, x, bad)
    else:
        table().replica_step_f32(is_group, n, d, ld, mean, alpha, x, bad)


cdef inline void replica_map(
    bint is_group, long n, long rows, long d, long ld, const real *matrix, const real *x, real *out
) noexcept nogil:
    if real is double:
        table().replica_map_f64(is_group, n, rows, d, ld, matrix, x, out)
    else:
        table().replica_map_f32(is_group, n, rows, d, ld, matrix, x, out)


cdef inline void attend_symmetric(
    bint is_group, long n, long d, long ld, const real *q, const real *x, real *scratch, real *sums
) noexcept nogil:
    if real is double:
        table().attend_symmetric_f64(is_group, n, d, ld, q, x, scratch, sums)
    else:
        table().attend_symmetric_f32(is_group, n, d, ld, q, x, scratch, sums)


cdef inline void attend_replica_rows(
    bint is_group, bint is_distance, long first, double decay, bint has_top, long key_dim, long value_dim, long n_q,
    long n_k, long ld_q, long ld_k, const real *q, const real *k, const real *v, real *bias, real *scratch, real *top,
    real *sums
) noexcept nogil:
    if real is double:
        table().attend_replica_rows_f64(is_group, is_distance, first, decay, has_top, key_dim, value_dim, n_q, n_k,
                                        ld_q, ld_k, q, k, v, bias, scratch, top, sums)
    else:
        table().attend_replica_rows_f32(is_group, is_distance, first, <float>decay, has_top, key_dim, value_dim,
                                        n_q, n_k, ld_q, ld_k, q, k, v, bias, scratch, top, sums)


cdef inline void attend_rows(
    long key_dim, long value_dim, long n_i, long n_j, long ld, const real *q_i, const real *k_j, const real *v_j,
    const real *bias_j, real *scratch, real *top_i, double *sum_i
) noexcept nogil:
    if real is double:
        table().attend_rows_f64(key_dim, value_dim, n_i, n_j, ld, q_i, k_j, v_j, bias_j, scratch, top_i, sum_i)
    else:
        table().attend_rows_f32(key_dim, value_dim, n_i, n_j, ld, q_i, k_j, v_j, bias_j, scratch, top_i, sum_i)


cdef inline void hardmax_rows(
    bint is_distance, bint is_causal, long key_dim, long value_dim, long n_i, long n_j, long ld, const real *q_i,
    const real *k_j, const real *v_j, const real *bias_j, const double *p_j, real *scratch, real *top_i, double *sum_i
) noexcept nogil:
    if real is double:
        table().hardmax_rows_f64(is_distance, is_causal, key_dim, value_dim, n_i, n_j, ld, q_i, k_j, v_j, bias_j, p_j,
                                 scratch, top_i, sum_i)
    else:
        table().hardmax_rows_f32(is_distance, is_causal, key_dim, value_dim, n_i, n_j, ld, q_i, k_j, v_j, bias_j, p_j,
                                 scratch, top_i, sum_i)


cdef inline void unfused_map(
    long n, long rows, long d, const real *matrix, const real *block, long ld, real *out
) noexcept nogil:
    if real is double:
        table().unfused_map_f64(n, rows, d, matrix, block, ld, out)
    else:
        table().unfused_map_f32(n, rows, d, matrix, block, ld, out)


cdef inline void causal_pair(
    long d, long n, long ld, const real *q, const real *k, const real *v, double shift, real *scratch, double *sums
) noexcept nogil:
    if real is double:
        table().causal_pair_f64(d, n, ld, q, k, v, shift, scratch, sums)
    else:
        table().causal_pair_f32(d, n, ld, q, k, v, <float>shift, scratch, sums)


cdef inline void causal_rows(
    long key_dim, long value_dim, long n, long ld, const real *q, const real *k, const real *v, const real *bias,
    const real *by_distance, real *scratch, real *top, double *sums
) noexcept nogil:
    if real is double:
        table().causal_rows_f64(key_dim, value_dim, n, ld, q, k, v, bias, by_distance, scratch, top, sums)
    else:
        table().causal_rows_f32(key_dim, value_dim, n, ld, q, k, v, bias, by_distance, scratch, top, sums)


cdef inline void potential_pair(
    bint is_packed, bint is_series, long degree, const real *c, long d, long first, long stop, long n_i, long n_j,
    long ld, const real *x_i, const real *x_j, const real *v_i, const real *v_j, real *scratch, double *sum_i,
    double *sum_j
) noexcept nogil:
    if real is double:
        table().potential_pair_f64(is_packed, is_series, degree, c, d, first, stop, n_i, n_j, ld, x_i, x_j, v_i, v_j,
                                   scratch, sum_i, sum_j)
    else:
        table().potential_pair_f32(is_packed, is_series, degree, c, d, first, stop, n_i, n_j, ld, x_i, x_j, v_i, v_j,
                                   scratch, sum_i, sum_j)


cdef inline void tangent_rows(
    int mask, long key_dim, long term_dim, long n_products, long n_plain, long n_i, long n_j, long ld, const real *rows,
    const real *columns, const real *row_exponents, const real *column_exponents, const real *row_terms,
    const real *column_terms, const real *by_distance, real *scratch, double *sums
) noexcept nogil:
    if real is double:
        table().tangent_rows_f64(mask, key_dim, term_dim, n_products, n_plain, n_i, n_j, ld, rows, columns,
                                 row_exponents, column_exponents, row_terms, column_terms, by_distance, scratch, sums)
    else:
        table().tangent_rows_f32(mask, key_dim, term_dim, n_products, n_plain, n_i, n_j, ld, rows, columns,
                                 row_exponents, column_exponents, row_terms, column_terms, by_distance, scratch, sums)


cdef inline void gradient_pair(
    bint is_masked, long key_dim, long value_dim, long n_i, long n_j, long ld, const real *rows, const real *columns,
    const real *row_exponents, const real *column_exponents, const real *row_terms, const real *zeros, real *scratch,
    double *sum_i, double *sum_j
) noexcept nogil:
    if real is double:
        table().gradient_pair_f64(is_masked, key_dim, value_dim, n_i, n_j, ld, rows, columns, row_exponents,
                                  column_exponents, row_terms, zeros, scratch, sum_i, sum_j)
    else:
        table().gradient_pair_f32(is_masked, key_dim, value_dim, n_i, n_j, ld, rows, columns, row_exponents,
                                  column_exponents, row_terms, zeros, scratch, sum_i, sum_j)


cdef inline void tangent_potential(
    const int *is_series, const long *degree, const real **p, long key_dim, long term_dim, long n_products,
    long n_plain, long n_i, long n_j, long ld, const real *rows, const real *columns, real *scratch, double *sums
) noexcept nogil:
    if real is double:
        table().tangent_potential_f64(is_series, degree, p, key_dim, term_dim, n_products, n_plain, n_i, n_j, ld, rows,
                                      columns, scratch, sums)
    else:
        table().tangent_potential_f32(is_series, degree, p, key_dim, term_dim, n_products, n_plain, n_i, n_j, ld, rows,
                                      columns, scratch, sums)


cdef inline void scaled_sums(bint is_packed, long d, long ld, const double *sums, double scale, real *out) noexcept nogil:
    if real is double:
        table().sums_f64(is_packed, d, ld, sums, scale, out)
    else:
        table().sums_f32(is_packed, d, ld, sums, scale, out)


cdef inline void layer(
    long d, long m, long ld, const real *block, const real *u, const real *b, const real *w, int activation,
    real *scratch, real *out
) noexcept nogil:
    if real is double:
        table().layer_f64(d, m, ld, block, u, b, w, activation, scratch, out)
    else:
        table().layer_f32(d, m, ld, block, u, b, w, activation, scratch, out)


cdef inline void activate(int activation, long n, real *x) noexcept nogil:
    if real is double:
        table().activate_f64(activation, n, x)
    else:
        table().activate_f32(activation, n, x)


cdef inline long step(long n, long d, Tokens x, const real *v, double alpha, real *rows) noexcept nogil:
    if real is double:
        return table().step_f64(n, d, x.start, x.row_stride, x.column_stride, v, alpha, rows)
    else:
        return table().step_f32(n, d, x.start, x.row_stride, x.column_stride, v, alpha, rows)


cdef inline double deviation(long n, long d, Tokens x, const real *unused, long *row) noexcept nogil:
    if real is double:
        return table().deviation_f64(n, d, x.start, x.row_stride, x.column_stride, row)
    else:
        return table().deviation_f32(n, d, x.start, x.row_stride, x.column_stride, row)


cdef inline void harmonic_field(
    long d, long n_max, long n_rows, long n, long ld, const real *block, const real *steps, const real *a,
    real *scratch, real *out
) noexcept nogil:
    if real is double:
        table().harmonic_field_f64(d, n_max, n_rows, n, ld, block, steps, a, scratch, out)
    else:
        table().harmonic_field_f32(d, n_max, n_rows, n, ld, block, steps, a, scratch, out)


cdef inline void harmonic_moments(
    long d, long n_max, long n, long ld, Tokens x, const real *unused, const double *p,
    const double *steps, bint is_first, double *scratch, double *moments
) noexcept nogil:
    if real is double:
        table().harmonic_moments_f64(d, n_max, n, ld, x.start, x.row_stride, x.column_stride, p, steps,
                                     is_first, scratch, moments)
    else:
        table().harmonic_moments_f32(d, n_max, n, ld, x.start, x.row_stride, x.column_stride, p, steps,
                                     is_first, scratch, moments)


cdef inline void unit_block(long n, long d, Tokens x, const real *unused, long ld, double *block) noexcept nogil:
    if real is double:
        table().unit_block_f64(n, d, x.start, x.row_stride, x.column_stride, ld, block)
    else:
        table().unit_block_f32(n, d, x.start, x.row_stride, x.column_stride, ld, block)


cdef inline void ratios(long n, long d, long ld, const double *sums, real *mean, double *z) noexcept nogil:
    if real is double:
        table().ratios_f64(n, d, ld, sums, mean, z)
    else:
        table().ratios_f32(n, d, ld, sums, mean, z)


cdef inline void fourier_moments(
    long n, Tokens x, const real *unused, const double *p, long n_steps, double *scratch, double *moments
) noexcept nogil:
    if real is double:
        table().fourier_moments_f64(n, x.start, x.row_stride, x.column_stride, p, n_steps, scratch, moments)
    else:
        table().fourier_moments_f32(n, x.start, x.row_stride, x.column_stride, p, n_steps, scratch, moments)


cdef inline double fourier_field(
    long n, Tokens x, long n_steps, const double *a, double *scratch, real *mean, double *z
) noexcept nogil:
    if real is double:
        return table().fourier_field_f64(n, x.start, x.row_stride, x.column_stride, n_steps, a, scratch, mean, z)
    else:
        return table().fourier_field_f32(n, x.start, x.row_stride, x.column_stride, n_steps, a, scratch, mean, z)


cdef inline void fourier_prefix(
    long n, long chunk, Tokens x, const double *p, double keep, long n_max, const double *factors, double *moments,
    double *scratch, real *mean, double *z, double *least
) noexcept nogil:
    if real is double:
        table().fourier_prefix_f64(n, chunk, x.start, x.row_stride, x.column_stride, p, keep, n_max, factors, moments,
                                   scratch, mean, z, least)
    else:
        table().fourier_prefix_f32(n, chunk, x.start, x.row_stride, x.column_stride, p, keep, n_max, factors, moments,
                                   scratch, mean, z, least)
