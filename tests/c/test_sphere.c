/* step, deviation and pair_statistics against naive loops in long double. */
#include "check.h"

static void step(const chs_kernels *table, long n, long d, long row, long column, int has_v) {
    const long low = (row < 0 ? row * (n - 1) : 0) + (column < 0 ? column * (d - 1) : 0);
    const long high = (row > 0 ? row * (n - 1) : 0) + (column > 0 ? column * (d - 1) : 0);
    const size_t n_bytes = (size_t)(n * d) * sizeof(real);
    real *x = exact((size_t)(high - low + 1) * sizeof(real)), *v = has_v ? exact(n_bytes) : NULL, *out = exact(n_bytes);
    fill(high - low + 1, x, 1);
    if (v)
        fill(n * d, v, 1);
    const char *start = (const char *)(x - low);
    const long size = (long)sizeof(real);
    long bad = CALL(step_)(n, d, start, row * size, column * size, v, 0.75, out);
    CHECK(bad == -1, "row %ld", bad);
    for (long i = 0; i < n; i++) {
        long double square = 0, largest = 0;
        for (long k = 0; k < d; k++) {
            long double value = x[i * row + k * column - low] + (v ? 0.75L * v[i * d + k] : 0);
            square += value * value;
            largest = fmaxl(largest, fabsl(value) + 1);
        }
        for (long k = 0; k < d; k++) {
            long double value = x[i * row + k * column - low] + (v ? 0.75L * v[i * d + k] : 0);
            CHECK_CLOSE(out[i * d + k], value / sqrtl(square), 3 * EPS * (1 + largest * d / sqrtl(square)),
                        "(%ld, %ld)", i, k);
        }
    }
    long where = -1;
    double off = CALL(deviation_)(n, d, (const char *)out, d * size, size, &where);
    CHECK(off <= EPS * (d + 1) && where >= 0 && where < n, "off by %g at %ld", off, where);
    for (long k = 0; k < d; k++)
        out[(n - 1) * d + k] *= 2;
    off = CALL(deviation_)(n, d, (const char *)out, d * size, size, &where);
    CHECK(where == n - 1 && fabs(off - 1) <= 2 * EPS * (d + 1), "off by %g at %ld", off, where);
    for (long k = 0; k < d; k++)
        out[n / 2 * d + k] = 0;
    real *again = exact(n_bytes);
    CHECK(CALL(step_)(n, d, (const char *)out, d * size, size, NULL, 0, again) == n / 2, "a row of zeros");
    free(x), free(v), free(out), free(again);
}

/* The block packed, with |x|^2 as row d; NULL where blocks of this size are not. */
static double *packed(const chs_kernels *table, long d, long ld, const double *x) {
    const long size = table->block_size_f64(d, ld);
    if (size == (d + 1) * ld)
        return NULL;
    double *rows = DOUBLES((d + 1) * ld), *out = DOUBLES(size);
    memcpy(rows, x, (size_t)(d * ld) * sizeof(double));
    for (long j = 0; j < ld; j++) {
        rows[d * ld + j] = 0;
        for (long k = 0; k < d; k++)
            rows[d * ld + j] += x[k * ld + j] * x[k * ld + j];
    }
    table->pack_panels_f64(d, ld, rows, out);
    free(rows);
    return out;
}

static void pairs(const chs_kernels *table, long d, long n_i, long n_j, long ld, int is_diagonal, long n_bins) {
    const double beta = 1.5;
    double *x_i = DOUBLES(d * ld), *x_j = is_diagonal ? x_i : DOUBLES(d * ld), *scratch = DOUBLES(CHS_PAIR_ROWS * ld);
    double *p_i = DOUBLES(ld), *p_j = is_diagonal ? p_i : DOUBLES(ld), *energy = exact(sizeof(double));
    double *histogram = exact((size_t)(n_bins ? n_bins * CHS_COUNTERS(n_bins) : 1) * sizeof(double)),
           *want = exact((size_t)(n_bins ? n_bins : 1) * sizeof(double));
    const long counts[] = {n_i, n_j};
    double *blocks[] = {x_i, x_j}, *masses[] = {p_i, p_j};
    for (int side = 0; side < 2 - is_diagonal; side++)
        for (long j = 0; j < ld; j++) {
            double square = 0;
            masses[side][j] = j < counts[side] ? 1 + 0.5 * uniform() : 0;
            for (long k = 0; k < d; k++) {
                double value = j < counts[side] ? uniform() : 0;
                blocks[side][k * ld + j] = value;
                square += value * value;
            }
            for (long k = 0; k < d && square > 0; k++)
                blocks[side][k * ld + j] /= sqrt(square);
        }
    for (long at = 0; at < n_bins * CHS_COUNTERS(n_bins); at++)
        histogram[at] = 0;
    for (long bin = 0; bin < n_bins; bin++)
        want[bin] = 0;
    *energy = 3;
    long double total = 0;
    for (long i = 0; i < n_i; i++)
        for (long j = 0; j < n_j; j++) {
            long double half = 0, mass = (long double)p_i[i] * p_j[j] * (is_diagonal ? 1 : 2);
            for (long k = 0; k < d; k++)
                half += 0.5L * ((long double)x_i[k * ld + i] - x_j[k * ld + j]) *
                        ((long double)x_i[k * ld + i] - x_j[k * ld + j]);
            total -= mass * expm1l(-beta * half);
            if (n_bins && !(is_diagonal && i == j)) {
                long bin = (long)((2 - half) / 2 * n_bins);
                want[bin < 0 ? 0 : bin >= n_bins ? n_bins - 1 : bin] += (double)mass;
            }
        }
    double *packed_i = packed(table, d, ld, x_i), *packed_j = packed(table, d, ld, x_j);
    table->pair_statistics(d, n_i, n_j, ld, is_diagonal, x_i, x_j, packed_i, packed_j, p_i, p_j, beta, n_bins, scratch,
                           energy, histogram);
    CHECK_CLOSE(*energy, total + 3, 100 * DBL_EPSILON * (total + 3), "d %ld n %ld %ld: %g, want %Lg", d, n_i, n_j,
                *energy, total + 3);
    for (long bin = 0; bin < n_bins; bin++) {
        double got = 0;
        for (long c = 0; c < CHS_COUNTERS(n_bins); c++)
            got += histogram[CHS_COUNTERS(n_bins) * bin + c];
        CHECK_CLOSE(got, want[bin], 1e-12L * (1 + want[bin]), "bin %ld of %ld", bin, n_bins);
    }
    free(packed_i), free(packed_j), free(x_i), free(p_i), free(scratch), free(energy), free(histogram), free(want);
    if (!is_diagonal)
        free(x_j), free(p_j);
}

static void all(const chs_kernels *table) {
    const long dims[] = {2, 3, 5, 17}, counts[] = {1, 2, 31, 33};
    for (size_t a = 0; a < sizeof dims / sizeof *dims; a++)
        for (size_t b = 0; b < sizeof counts / sizeof *counts; b++) {
            const long d = dims[a], n = counts[b];
            for (int has_v = 0; has_v < 2; has_v++) {
                step(table, n, d, d, 1, has_v);
                step(table, n, d, 1, n, has_v);
                step(table, n, d, -d, 1, has_v);
                step(table, n, d, 2 * d + 3, -2, has_v);
            }
            if (sizeof(real) == 8)
                for (long n_bins = 0; n_bins < 50; n_bins += 7) {
                    pairs(table, d, n, n, 64, 1, n_bins);
                    pairs(table, d, n, 17, 64, 0, n_bins);
                    pairs(table, d, 32, n, 96, 0, n_bins);
                }
        }
}

int main(void) {
    return run_all(all);
}
