/* pack, map, attend_pair, partition_pair and attend_rows against naive loops in long double. */
#include "check.h"

static long double score(long d, long ld, const real *q, const real *k, long i, long j) {
    long double sum = 0;
    for (long c = 0; c < d; c++)
        sum += (long double)q[c * ld + i] * k[c * ld + j];
    return sum;
}

/* Rounding of a score of d terms of size <= 1, and of sums of up to a hundred terms in one chain. */
static long double weight_error(long d) {
    return EPS * (4 * (long double)(d + 2) * (long double)(d + 2) + 128);
}

static void pack(const chs_kernels *table) {
    const long strides[][2] = {{7, 1}, {1, 9}, {-7, 1}, {14, -2}, {0, 0}};
    for (size_t s = 0; s < sizeof strides / sizeof *strides; s++)
        for (long n = 1; n <= 9; n += 4) {
            const long d = 5, ld = 32, row = strides[s][0], column = strides[s][1];
            const double scale = n == 5 ? 1 : 2.5;
            const long low = (row < 0 ? row * (n - 1) : 0) + (column < 0 ? column * (d - 1) : 0);
            const long high = (row > 0 ? row * (n - 1) : 0) + (column > 0 ? column * (d - 1) : 0);
            real *source = exact((size_t)(high - low + 1) * sizeof(real)), *out = REALS(d * ld);
            fill(high - low + 1, source, 1);
            CALL(pack_)(n, d, (const char *)(source - low), row * (long)sizeof(real), column * (long)sizeof(real),
                        scale, ld, out);
            for (long k = 0; k < d; k++)
                for (long j = 0; j < ld; j++) {
                    real want = j < n ? (real)(scale * (double)source[j * row + k * column - low]) : 0;
                    CHECK(out[k * ld + j] == want, "layout %zu, (%ld, %ld)", s, k, j);
                }
            free(source), free(out);
        }
}

static void map(const chs_kernels *table, long n, long rows, long d, long ld) {
    real *a = exact((size_t)(rows * d) * sizeof(real)), *x = random_block(d, n, ld, 1), *out = REALS(rows * ld);
    fill(rows * d, a, 1);
    CALL(map_)(n, rows, d, a, x, ld, out);
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < n; j++) {
            long double want = 0;
            for (long k = 0; k < d; k++)
                want += (long double)a[r * d + k] * x[k * ld + j];
            CHECK_CLOSE(out[r * ld + j], want, EPS * (d + 1) * d, "n %ld rows %ld d %ld", n, rows, d);
        }
    free(a), free(x), free(out);
}

static void check_sums(long d, long n_c, long n, long other, long ld, const real *q, const real *k, const real *v,
                       long double shift, const double *sums, const char *side, int is_transposed) {
    long double *weight = exact((size_t)other * sizeof *weight);
    for (long i = 0; i < n; i++) {
        for (long j = 0; j < other; j++)
            weight[j] = exp2l((is_transposed ? score(d, ld, q, k, j, i) : score(d, ld, q, k, i, j)) - shift);
        for (long c = 0; c < n_c; c++) {
            long double want = 0, size = 0;
            for (long j = 0; j < other; j++) {
                long double term = weight[j] * v[c * ld + j];
                want += term;
                size += fabsl(term);
            }
            CHECK_CLOSE(sums[c * ld + i], want, weight_error(d) * size + DBL_EPSILON,
                        "%s: d %ld, (%ld, %ld), got %g, want %Lg", side, d, c, i, sums[c * ld + i], want);
        }
    }
    free(weight);
}

/* The block as attend_pair takes it. */
static real *packed(const chs_kernels *table, long d, long ld, real *x) {
    const long size = CALL(block_size_)(d, ld);
    if (size == (d + 1) * ld)
        return x;
    real *out = REALS(size);
    CALL(pack_panels_)(d, ld, x, out);
    free(x);
    return out;
}

/* The same of a copy. */
static real *packed_copy(const chs_kernels *table, long d, long ld, const real *x) {
    real *copy = REALS((d + 1) * ld);
    memcpy(copy, x, (size_t)((d + 1) * ld) * sizeof(real));
    return packed(table, d, ld, copy);
}

/* Sums of attend_pair as d + 1 rows. */
static double *plain(const chs_kernels *table, int is_packed, long d, long ld, const double *sums) {
    double *out = DOUBLES((d + 1) * ld), *total = DOUBLES(ld);
    if (!is_packed) {
        free(total);
        return memcpy(out, sums, (size_t)((d + 1) * ld) * sizeof(double));
    }
    real *mean = REALS(d * ld);
    CALL(means_)(1, d, ld, sums, 1, mean, total);
    for (long i = 0; i < ld; i++) {
        for (long c = 0; c < d; c++)
            out[c * ld + i] = mean[c * ld + i] * total[i];
        out[d * ld + i] = total[i];
    }
    free(total), free(mean);
    return out;
}

/* Values of d coordinates and weights, which are 1 in a full block: that is a case of its own. */
static real *values(long d, long n, long ld) {
    real *v = random_block(d + 1, n, ld, 1);
    for (long j = 0; j < n && n == ld; j++)
        v[d * ld + j] = 1;
    return v;
}

/* Keys of d coordinates, values of value_dim. */
static void pair(const chs_kernels *table, long d, long value_dim, long n_i, long n_j, long ld) {
    const real shift = 1.25;
    const int is_packed = CALL(block_size_)(d, ld) > (d + 1) * ld &&
                          CALL(block_size_)(value_dim, ld) > (value_dim + 1) * ld;
    const long size = is_packed ? CALL(block_size_)(value_dim, ld) : (value_dim + 1) * ld;
    const long dims[] = {d, d, value_dim, value_dim};
    real *q = random_block(d + 1, n_i, ld, 1), *k = random_block(d + 1, n_j, ld, 1);
    real *v_i = values(value_dim, n_i, ld), *v_j = values(value_dim, n_j, ld);
    real *copy[4], *original[] = {q, k, v_i, v_j}, *w = REALS(CHS_PAIR_SCRATCH(value_dim, ld));
    for (int b = 0; b < 4; b++) {
        copy[b] = REALS((dims[b] + 1) * ld);
        memcpy(copy[b], original[b], (size_t)((dims[b] + 1) * ld) * sizeof(real));
        if (is_packed)
            copy[b] = packed(table, dims[b], ld, copy[b]);
    }
    double *sum_i = DOUBLES(size), *sum_j = DOUBLES(size), *again = DOUBLES(size);
    memset(again, 0, (size_t)size * sizeof(double));
    memset(sum_i, 0, (size_t)size * sizeof(double));
    memset(sum_j, 0, (size_t)size * sizeof(double));
#define PAIR(to_i, to_j)                                                                                               \
    CALL(attend_pair_)(d, value_dim, n_i, n_j, ld, copy[0], copy[1], copy[2], copy[3], shift, w, to_i, to_j)
    PAIR(sum_i, sum_j);
    double *rows_i = plain(table, is_packed, value_dim, ld, sum_i);
    double *rows_j = plain(table, is_packed, value_dim, ld, sum_j);
    check_sums(d, value_dim + 1, n_i, n_j, ld, q, k, v_j, shift, rows_i, "sum_i", 0);
    check_sums(d, value_dim + 1, n_j, n_i, ld, q, k, v_i, shift, rows_j, "sum_j", 1);
    PAIR(again, NULL);
    CHECK(memcmp(again, sum_i, (size_t)size * sizeof(double)) == 0, "without sum_j");
    double *alone = DOUBLES(size);
    memset(alone, 0, (size_t)size * sizeof(double));
    CALL(attend_pair_)(d, value_dim, n_i, n_j, ld, copy[0], copy[1], NULL, copy[3], shift, w, alone, NULL);
    double *rows_alone = plain(table, is_packed, value_dim, ld, alone);
    check_sums(d, value_dim + 1, n_i, n_j, ld, q, k, v_j, shift, rows_alone, "sum_i, without v_i", 0);
    for (long at = 0; at < size; at++)
        again[at] = sum_i[at] + 1; /* sums are added to what is there */
    PAIR(again, NULL);
#undef PAIR
    for (long at = 0; at < size; at++)
        CHECK_CLOSE(again[at], 2 * sum_i[at] + 1, 1e-14L * (fabs(sum_i[at]) + 1), "added to %g", sum_i[at]);
    for (int b = 0; b < 4; b++)
        free(copy[b]), free(original[b]);
    free(w), free(sum_i), free(sum_j), free(again), free(rows_i), free(rows_j);
    free(alone), free(rows_alone);
}

/* A block with itself, each pair once. */
static void own(const chs_kernels *table, long d, long n, long ld) {
    const real shift = 1.25;
    const long size = CALL(block_size_)(d, ld);
    real *k = random_block(d + 1, n, ld, 1), *v = values(d, n, ld), *w = REALS(CHS_PAIR_SCRATCH(d, ld));
    real *own_k = packed_copy(table, d, ld, k), *own_v = packed_copy(table, d, ld, v);
    double *sums = DOUBLES(size);
    memset(sums, 0, (size_t)size * sizeof(double));
    CALL(attend_pair_)(d, d, n, n, ld, own_k, own_k, own_v, own_v, shift, w, sums, sums);
    double *rows_i = plain(table, size > (d + 1) * ld, d, ld, sums);
    check_sums(d, d + 1, n, n, ld, k, k, v, shift, rows_i, "a block with itself", 0);
    free(own_k), free(own_v), free(k), free(v), free(w), free(sums), free(rows_i);
}

/* A block with itself under the mask: its last row sees what it sees in attend_pair, the others as many as they are. */
static void causal(const chs_kernels *table, long d, long n, long ld) {
    const real shift = 1.25;
    const long size = CALL(block_size_)(d, ld);
    real *q = random_block(d + 1, n, ld, 1), *k = random_block(d + 1, n, ld, 1), *v = values(d, n, ld);
    real *copy[3], *original[] = {q, k, v}, *w = REALS(CHS_PAIR_SCRATCH(d, ld));
    for (int b = 0; b < 3; b++)
        copy[b] = packed_copy(table, d, ld, original[b]);
    double *sums = DOUBLES(size);
    memset(sums, 0, (size_t)size * sizeof(double));
    CALL(causal_pair_)(d, n, ld, copy[0], copy[1], copy[2], shift, w, sums);
    double *rows_i = plain(table, size > (d + 1) * ld, d, ld, sums);
    for (long i = 0; i < n; i++)
        for (long c = 0; c <= d; c++) {
            long double want = 0, total = 0;
            for (long j = 0; j <= i; j++) {
                const long double term = exp2l(score(d, ld, q, k, i, j) - shift) * v[c * ld + j];
                want += term;
                total += fabsl(term);
            }
            CHECK_CLOSE(rows_i[c * ld + i], want, weight_error(d) * total + DBL_EPSILON,
                        "d %ld, n %ld, (%ld, %ld): got %g, want %Lg", d, n, c, i, rows_i[c * ld + i], want);
        }
    for (int b = 0; b < 3; b++)
        free(copy[b]), free(original[b]);
    free(w), free(sums), free(rows_i);
}

/* The same under a running maximum, with a decay, after a top that some rows exceed and some do not. */
static void causal_rows(const chs_kernels *table, long d, long value_dim, long n, long ld, double decay) {
    real *q = random_block(d, n, ld, 3), *k = random_block(d, n, ld, 1), *v = random_block(value_dim + 1, n, ld, 1);
    real *w = REALS(CHS_CHUNK * ld), *top = REALS(ld), *bias = REALS(ld), *by_distance = REALS(ld);
    double *sums = DOUBLES((value_dim + 1) * ld);
    for (long at = 0; at < (value_dim + 1) * ld; at++)
        sums[at] = 1;
    for (long i = 0; i < ld; i++) {
        top[i] = (real)(i % 2 ? -1e30 : 1);
        bias[i] = i >= n || i % 3 == 1 ? (real)-INFINITY : (real)uniform();
        by_distance[i] = (real)(-decay * (double)i);
    }
    CALL(causal_rows_)(d, value_dim, n, ld, q, k, v, bias, by_distance, w, top, sums);
    for (long i = 0; i < n; i++) {
        long double best = i % 2 ? -1e30L : 1;
        for (long j = 0; j <= i; j++)
            best = fmaxl(best, score(d, ld, q, k, i, j) + bias[j] + by_distance[i - j]);
        const long double slack = EPS * (d + 2) * (3 * d + 4 + (long double)decay * ld);
        CHECK_CLOSE(top[i], best, slack, "top of row %ld", i);
        for (long c = 0; c <= value_dim; c++) {
            long double want = exp2l((i % 2 ? -1e30L : 1) - best), total = want;
            for (long j = 0; j <= i; j++) {
                const long double exponent = score(d, ld, q, k, i, j) + bias[j] + by_distance[i - j];
                const long double term = exp2l(exponent - best) * v[c * ld + j];
                want += term;
                total += fabsl(term);
            }
            CHECK_CLOSE(sums[c * ld + i], want, (2 * slack + 128 * EPS) * total + ld * SMALLEST_NORMAL,
                        "d %ld and %ld, decay %g, (%ld, %ld): got %g, want %Lg", d, value_dim, decay, c, i,
                        sums[c * ld + i], want);
        }
    }
    free(q), free(k), free(v), free(w), free(top), free(bias), free(by_distance), free(sums);
}

/* The sums of weights alone are row d of those of attend_pair, up to rounding, and either may be left out. */
static void partition(const chs_kernels *table, long d, long n_i, long n_j, long ld) {
    const real shift = 1.25;
    real *x_i = random_block(d + 1, n_i, ld, 1), *x_j = random_block(d + 1, n_j, ld, 1);
    real *scratch = REALS(CHS_PAIR_SCRATCH(d, ld));
    double *sum_i = DOUBLES(ld), *sum_j = DOUBLES(ld), *again = DOUBLES(ld);
    memset(sum_i, 0, (size_t)ld * sizeof(double));
    memset(sum_j, 0, (size_t)ld * sizeof(double));
    CALL(partition_pair_)(d, n_i, n_j, ld, x_i, x_j, shift, scratch, sum_i, sum_j);
    check_sums(d, 1, n_i, n_j, ld, x_i, x_j, x_j + d * ld, shift, sum_i, "sum_i of weights", 0);
    check_sums(d, 1, n_j, n_i, ld, x_i, x_j, x_i + d * ld, shift, sum_j, "sum_j of weights", 1);
    for (long at = 0; at < ld; at++)
        again[at] = sum_i[at] + 1;
    CALL(partition_pair_)(d, n_i, n_j, ld, x_i, x_j, shift, scratch, again, NULL);
    for (long at = 0; at < ld; at++)
        CHECK_CLOSE(again[at], 2 * sum_i[at] + 1, 1e-14L * (fabs(sum_i[at]) + 1), "added to %g", sum_i[at]);
    memset(again, 0, (size_t)ld * sizeof(double));
    CALL(partition_pair_)(d, n_i, n_j, ld, x_i, x_j, shift, scratch, NULL, again);
    CHECK(memcmp(again, sum_j, (size_t)ld * sizeof(double)) == 0, "without sum_i");
    free(x_i), free(x_j), free(scratch), free(sum_i), free(sum_j), free(again);
}

/* 2^x for x far below the exponents counts as zero. */
static void vanishing_weights(const chs_kernels *table) {
    const long d = 2, n = 33, ld = 64;
    const real shifts[] = {(real)(sizeof(real) == 8 ? 1500 : 200), (real)1e6, (real)1e30, INFINITY};
    for (size_t s = 0; s < sizeof shifts / sizeof *shifts; s++) {
        real *q = random_block(d, n, ld, 1), *v = random_block(d + 1, n, ld, 1), *w = REALS(CHS_PAIR_SCRATCH(d, ld));
        double *sums = DOUBLES((d + 1) * ld);
        memset(sums, 0, (size_t)((d + 1) * ld) * sizeof(double));
        CALL(attend_pair_)(d, d, n, n, ld, q, q, v, v, shifts[s], w, sums, NULL);
        for (long c = 0; c <= d; c++)
            for (long i = 0; i < n; i++)
                CHECK(sums[c * ld + i] == 0, "shift %g: %g", (double)shifts[s], sums[c * ld + i]);
        memset(sums, 0, (size_t)ld * sizeof(double));
        CALL(partition_pair_)(d, n, n, ld, v, v, shifts[s], w, sums, sums);
        for (long i = 0; i < n; i++)
            CHECK(sums[i] == 0, "shift %g: %g", (double)shifts[s], sums[i]);
        free(q), free(v), free(w), free(sums);
    }
}

/* Three blocks of keys under a running maximum; the first has no weight at all, the others lose some columns. */
static void rows(const chs_kernels *table, long d, long value_dim, long n_i, long n_j, long ld, double size) {
    enum { BLOCKS = 3 };
    real *q = random_block(d, n_i, ld, size), *w = REALS(CHS_CHUNK * ld), *top = REALS(ld);
    real *k[BLOCKS], *v[BLOCKS], *bias = REALS(BLOCKS * ld);
    double *sums = DOUBLES((value_dim + 1) * ld);
    memset(sums, 0, (size_t)((value_dim + 1) * ld) * sizeof(double));
    for (long i = 0; i < ld; i++)
        top[i] = (real)-1e30;
    for (long b = 0; b < BLOCKS; b++) {
        k[b] = random_block(d, n_j, ld, 1);
        v[b] = values(value_dim, n_j, ld);
        for (long j = 0; j < ld; j++)
            bias[b * ld + j] = b == 0 || j >= n_j || (j % 3 == 1) ? (real)-INFINITY : (real)uniform();
        CALL(attend_rows_)(d, value_dim, n_i, n_j, ld, q, k[b], v[b], bias + b * ld, w, top, sums);
    }
    long double *weight = exact((size_t)(BLOCKS * n_j) * sizeof *weight);
    for (long i = 0; i < n_i; i++) {
        long double best = -INFINITY;
        for (long b = 1; b < BLOCKS; b++)
            for (long j = 0; j < n_j; j++) {
                weight[b * n_j + j] = score(d, ld, q, k[b], i, j) + bias[b * ld + j];
                best = fmaxl(best, weight[b * n_j + j]);
            }
        for (long at = n_j; at < BLOCKS * n_j; at++)
            weight[at] = exp2l(weight[at] - best);
        const long double slack = EPS * (d + 2) * (size * d + 2);
        CHECK_CLOSE(top[i], best, slack, "top of row %ld", i);
        for (long c = 0; c <= value_dim; c++) {
            long double want = 0, total = 0;
            for (long b = 1; b < BLOCKS; b++)
                for (long j = 0; j < n_j; j++) {
                    long double term = weight[b * n_j + j] * v[b][c * ld + j];
                    want += term;
                    total += fabsl(term);
                }
            CHECK_CLOSE(sums[c * ld + i], want, (2 * slack + 128 * EPS) * total + ld * BLOCKS * SMALLEST_NORMAL,
                        "d %ld and %ld, size %g, (%ld, %ld): got %g, want %Lg", d, value_dim, size, c, i,
                        sums[c * ld + i], want);
        }
    }
    for (long b = 0; b < BLOCKS; b++)
        free(k[b]), free(v[b]);
    free(q), free(w), free(top), free(bias), free(sums), free(weight);
}

static void all(const chs_kernels *table) {
    const long dims[] = {1, 2, 3, 5, 17, 35},
               sizes[][3] = {{1, 1, 32}, {31, 2, 32}, {32, 32, 32}, {33, 64, 64}, {65, 95, 96}};
    pack(table);
    for (size_t a = FEWER ? 2 : 0; a < sizeof dims / sizeof *dims; a += FEWER ? 3 : 1) { /* one of every layout */
        const long d = dims[a];
        for (size_t b = FEWER ? 1 : 0; b < sizeof sizes / sizeof *sizes; b += FEWER ? 2 : 1) {
            const long n_i = sizes[b][0], n_j = sizes[b][1], ld = sizes[b][2];
            map(table, n_i, d, d, ld);
            map(table, n_j, d + 6, d, ld);
            pair(table, d, d, n_i, n_j, ld);
            pair(table, d, d, n_j, n_i, ld);
            for (size_t other = 0; other < sizeof dims / sizeof *dims; other += FEWER ? 4 : 1)
                pair(table, d, dims[other], n_i, n_j, ld);
            own(table, d, n_i, ld);
            own(table, d, n_j, ld);
            partition(table, d, n_i, n_j, ld);
            partition(table, d, n_j, n_i, ld);
            rows(table, d, d, n_i, n_j, ld, 1);
            rows(table, d, d, n_i, n_j, ld, 3000);
            rows(table, d, 1 + (long)a, n_i, n_j, ld, 3000);
            rows(table, 1 + (long)a, d, n_i, n_j, ld, 1);
            causal(table, d, n_i, ld);
            causal_rows(table, d, 1 + (long)a, n_i, ld, 0);
            causal_rows(table, 1 + (long)a, d, n_j, ld, 0.25);
        }
    }
    if (!FEWER) {
        pair(table, 3, 3, 192, 191, 192);
        own(table, 3, 192, 192);
    }
    vanishing_weights(table);
}

int main(void) {
    CHECK(chs_isa_name(-1) == NULL, "before the first");
    CHECK(chs_isa_runs("sse9") == -1 && chs_kernels_for("sse9") == NULL, "an unknown name");
    return run_all(all);
}
