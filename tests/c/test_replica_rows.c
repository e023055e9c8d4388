/* attend_replica_rows and replica_map against naive loops in long double; groups against single systems. */
#include "check.h"

/* A multiple of the alignment, in numbers. */
#define PADDED(n) (((n) + CHS_ALIGN - 1) / CHS_ALIGN * CHS_ALIGN)

/* One system of a group, lane by lane, as blocks of one system: coordinate c of token j from [(j d + c) lanes]. */
static real *one_of(const real *group, long lane, long lanes, long n, long d, long ld) {
    real *x = REALS(PADDED(d * ld));
    memset(x, 0, (size_t)(d * ld) * sizeof(real));
    for (long j = 0; j < n; j++)
        for (long c = 0; c < d; c++)
            x[c * ld + j] = group[(j * d + c) * lanes + lane];
    return x;
}

/* With first >= 0 query i sees the keys up to first + i. */
static void check_rows(const chs_kernels *table, long m, long n, long k, long v, int is_distance, long first, double size) {
    const real decay = first < 0 ? 0 : (real)0.5;
    const int has_top = size > 10;
    const long lanes = CALL(replica_lanes_)(), lane = lanes / 2;
    const long ld_q = (m + lanes - 1) / lanes * lanes, ld_k = (n + lanes - 1) / lanes * lanes;
    real *q = REALS(PADDED(m * k * lanes)), *y = REALS(PADDED(n * k * lanes)), *z = REALS(PADDED(n * v * lanes));
    real *bias = REALS(PADDED(n * lanes)), *scratch = REALS(PADDED(4 * n * lanes)), *top = REALS(PADDED(m * lanes));
    real *sums = REALS(PADDED(m * (v + 1) * lanes)), *tops = REALS(PADDED(ld_q));
    real *own_sums = REALS(PADDED((v + 1) * ld_q));
    fill(m * k * lanes, q, (real)(size / sqrt((double)k)));
    fill(n * k * lanes, y, (real)(1 / sqrt((double)k)));
    fill(n * v * lanes, z, 1);
    fill(n * lanes, bias, 3);
    if (has_top && n > 1)
        bias[(n - 1) * lanes + lane] = (real)-INFINITY;
    real *own_q = one_of(q, lane, lanes, m, k, ld_q), *own_y = one_of(y, lane, lanes, n, k, ld_k);
    real *own_z = one_of(z, lane, lanes, n, v, ld_k), *own_bias = one_of(bias, lane, lanes, n, 1, ld_k);
    CALL(attend_replica_rows_)(0, is_distance, first, decay, has_top, k, v, m, n, ld_q, ld_k, own_q, own_y, own_z, own_bias, scratch, tops,
                               own_sums);
    for (long i = 0; i < m; i++) {
        const long seen = first < 0 ? n : first + i + 1;
        long double all = 0, of[40] = {0}, w[64], high = -INFINITY;
        for (long j = 0; j < seen; j++) {
            long double t = bias[j * lanes + lane] - (first < 0 ? 0 : 0.5L * (first + i - j)), square = 0;
            for (long c = 0; c < k; c++) {
                const long double own = y[(j * k + c) * lanes + lane];
                t += q[(i * k + c) * lanes + lane] * own;
                square += own * own;
            }
            w[j] = is_distance ? t - 1.4426950408889634074L * square : t;
            high = w[j] > high ? w[j] : high;
        }
        high = has_top ? high : 0;
        for (long j = 0; j < seen; j++) {
            w[j] = exp2l(w[j] - high);
            all += w[j];
            for (long c = 0; c < v; c++)
                of[c] += w[j] * z[(j * v + c) * lanes + lane];
        }
        const long double tolerance = 8 * EPS * ((k + 4) * (size + 6 + (first < 0 ? 0 : 20)) + 64);
        CHECK_CLOSE(tops[i], high, tolerance, "top of %ld of %ld and %ld", i, m, n);
        CHECK_CLOSE(own_sums[v * ld_q + i] / all, 1, tolerance, "total of %ld of %ld and %ld", i, m, n);
        for (long c = 0; c < v; c++)
            CHECK_CLOSE(own_sums[c * ld_q + i] / all, of[c] / all, tolerance, "%ld of %ld and %ld", i, m, n);
    }
    CALL(attend_replica_rows_)(1, is_distance, first, decay, has_top, k, v, m, n, ld_q, ld_k, q, y, z, bias, scratch, top, sums);
    for (long i = 0; i < m; i++) {
        CHECK(top[i * lanes + lane] == tops[i], "%ld and %ld: top of %ld", m, n, i);
        for (long c = 0; c <= v; c++)
            CHECK(sums[(i * (v + 1) + c) * lanes + lane] == own_sums[c * ld_q + i], "%ld and %ld: sum of %ld", m, n, i);
    }
    /* A map of the keys to m rows. */
    real *a = exact((size_t)(m * k) * sizeof(real)), *out = REALS(PADDED(n * m * lanes)), *own = REALS(PADDED(m * ld_k));
    fill(m * k, a, 1);
    CALL(replica_map_)(1, n, m, k, ld_k, a, y, out);
    CALL(replica_map_)(0, n, m, k, ld_k, a, own_y, own);
    for (long j = 0; j < n; j++)
        for (long r = 0; r < m; r++) {
            long double want = 0;
            for (long c = 0; c < k; c++)
                want += (long double)a[r * k + c] * y[(j * k + c) * lanes + lane];
            CHECK_CLOSE(own[r * ld_k + j], want, 2 * EPS * (k + 2) * sqrtl(k), "map of %ld and %ld", r, j);
            CHECK(out[(j * m + r) * lanes + lane] == own[r * ld_k + j], "map of %ld and %ld", r, j);
        }
    free(q), free(y), free(z), free(bias), free(scratch), free(top), free(sums), free(tops), free(own_sums);
    free(own_q), free(own_y), free(own_z), free(own_bias), free(a), free(out), free(own);
}

static void all(const chs_kernels *table) {
    const long sizes[] = {1, 3, 4, 8, 17, 40}, dims[] = {1, 2, 3, 5, 9, 33};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes - FEWER; i++)
        for (unsigned j = 0; j < sizeof sizes / sizeof *sizes - FEWER; j++)
            for (unsigned k = 0; k < sizeof dims / sizeof *dims - FEWER; k++) {
                const unsigned v = i == j ? k : (k + i + j) % (sizeof dims / sizeof *dims - FEWER);
                check_rows(table, sizes[i], sizes[j], dims[k], dims[v], (int)(i + j + k) % 2, -1, k % 2 ? 2 : 2000);
                if (sizes[i] <= sizes[j])
                    check_rows(table, sizes[i], sizes[j], dims[k], dims[v], (int)(i + j + k) % 2, sizes[j] - sizes[i],
                               (i + k) % 2 ? 2 : 2000);
            }
}

int main(void) {
    return run_all(all);
}
