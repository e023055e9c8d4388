/* potential_pair and sums against naive loops in long double. */
#include "check.h"

static long double value(int is_series, long degree, const real *c, long double u) {
    long double sum = 0, now = 1, next = u;
    for (long k = 0; k <= degree; k++) {
        sum += c[k] * now;
        const long double after = is_series ? 2 * u * next - now : u * next;
        now = next;
        next = after;
    }
    return sum;
}

/* Sums over the other side, and the sizes of their terms, in long double. */
static void check_side(int is_series, long degree, const real *c, long d, long first, long stop, long n, long other,
                       long ld, const real *x, const real *y, const real *v, const double *sums, const char *side) {
    for (long i = 0; i < n; i++)
        for (long k = first; k < stop; k++) {
            long double want = 0;
            for (long j = 0; j < other; j++) {
                long double u = 0;
                for (long l = 0; l < d; l++)
                    u += (long double)x[l * ld + i] * y[l * ld + j];
                want += value(is_series, degree, c, u) * v[k * ld + j];
            }
            /* |u| < 1, |c| < 1 and |v| < 1: a value is at most degree + 1, its slope degree^2 times that. */
            const long double size = (long double)(degree + 1) * (degree * degree + 4);
            CHECK_CLOSE(sums[k * ld + i], want, 2 * EPS * size * (d + 4) * (long double)other,
                        "%s: d %ld, degree %ld, (%ld, %ld): got %g, want %Lg", side, d, degree, k, i, sums[k * ld + i],
                        want);
        }
}

/* A block as potential_pair takes it. */
static real *packed(const chs_kernels *table, int is_packed, long d, long ld, const real *x) {
    real *out = REALS(is_packed ? CALL(block_size_)(d, ld) : (d + 1) * ld);
    if (is_packed)
        CALL(pack_panels_)(d, ld, x, out);
    else
        memcpy(out, x, (size_t)((d + 1) * ld) * sizeof(real));
    return out;
}

static void pair(const chs_kernels *table, int is_packed, int is_series, long degree, int is_last, long d, long n_i,
                 long n_j, long ld) {
    const long size = is_packed ? CALL(block_size_)(d, ld) : (d + 1) * ld, first = is_last ? d : 0;
    const long stop = is_last ? d + 1 : d;
    const double scale = 0.99 / sqrt((double)d);
    real *x_i = random_block(d + 1, n_i, ld, scale), *x_j = random_block(d + 1, n_j, ld, scale);
    real *v_i = random_block(d + 1, n_i, ld, 1), *v_j = random_block(d + 1, n_j, ld, 1);
    real *c = exact((size_t)(degree + 1) * sizeof(real)), *scratch = REALS(CHS_PAIR_SCRATCH(d, ld));
    fill(degree + 1, c, 1);
    real *original[] = {x_i, x_j, v_i, v_j}, *copy[4];
    for (int b = 0; b < 4; b++)
        copy[b] = packed(table, is_packed, d, ld, original[b]);
    double *sum_i = DOUBLES(size), *sum_j = DOUBLES(size), *again = DOUBLES(size);
    memset(sum_i, 0, (size_t)size * sizeof(double)), memset(sum_j, 0, (size_t)size * sizeof(double));
    memset(again, 0, (size_t)size * sizeof(double));
#define PAIR(to_i, to_j)                                                                                               \
    CALL(potential_pair_)(is_packed, is_series, degree, c, d, first, stop, n_i, n_j, ld, copy[0], copy[1], copy[2],    \
                          copy[3], scratch, to_i, to_j)
    PAIR(sum_i, sum_j);
    PAIR(again, NULL);
    CHECK(memcmp(again, sum_i, (size_t)size * sizeof(double)) == 0, "without sum_j");
    memset(again, 0, (size_t)size * sizeof(double));
    PAIR(NULL, again);
    CHECK(memcmp(again, sum_j, (size_t)size * sizeof(double)) == 0, "without sum_i");
    for (int side = 0; side < 2; side++) {
        double *plain = DOUBLES((d + 1) * ld);
        if (is_packed) {
            real *out = REALS(d * ld);
            CALL(sums_)(1, d, ld, side ? sum_j : sum_i, 0.5, out);
            for (long at = 0; at < d * ld; at++)
                plain[at] = 2 * (double)out[at];
            free(out);
        } else {
            memcpy(plain, side ? sum_j : sum_i, (size_t)((d + 1) * ld) * sizeof(double));
        }
        if (side)
            check_side(is_series, degree, c, d, first, stop, n_j, n_i, ld, x_j, x_i, v_i, plain, "sum_j");
        else
            check_side(is_series, degree, c, d, first, stop, n_i, n_j, ld, x_i, x_j, v_j, plain, "sum_i");
        free(plain);
    }
    for (int b = 0; b < 4; b++)
        free(copy[b]), free(original[b]);
    free(c), free(scratch), free(sum_i), free(sum_j), free(again);
}

static void scaled(const chs_kernels *table, long d, long ld) {
    double *sums = DOUBLES((d + 1) * ld);
    real *out = REALS(d * ld);
    for (long at = 0; at < (d + 1) * ld; at++)
        sums[at] = uniform();
    CALL(sums_)(0, d, ld, sums, 0.3, out);
    for (long at = 0; at < d * ld; at++)
        CHECK(out[at] == (real)(0.3 * sums[at]), "sum %ld", at);
    free(sums), free(out);
}

static void all(const chs_kernels *table) {
    const long dims[] = {1, 3, 17, 35}, sizes[][3] = {{1, 2, 32}, {33, 64, 64}, {65, 95, 96}}, degrees[] = {0, 1, 6};
    for (size_t a = FEWER ? 1 : 0; a < sizeof dims / sizeof *dims; a += FEWER ? 2 : 1) /* one of every layout */
        for (size_t b = FEWER ? 1 : 0; b < sizeof sizes / sizeof *sizes; b += FEWER ? 2 : 1) {
            const long d = dims[a], n_i = sizes[b][0], n_j = sizes[b][1], ld = sizes[b][2];
            for (size_t k = 0; k < sizeof degrees / sizeof *degrees; k += FEWER ? 2 : 1)
                for (int is_series = 0; is_series < 2; is_series++)
                    pair(table, 0, is_series, degrees[k], (int)k == 2 && is_series, d, n_i, n_j, ld);
            if (CALL(block_size_)(d, ld) > (d + 1) * ld)
                for (int is_series = 0; is_series < 2; is_series++)
                    pair(table, 1, is_series, 5, 0, d, n_i, n_j, ld);
            scaled(table, d, ld);
        }
}

int main(void) {
    return run_all(all);
}
