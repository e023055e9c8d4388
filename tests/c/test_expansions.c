/* Fourier sums against complex powers in long double; moments in harmonics as the transpose of the field. */
#include "check.h"

#include <complex.h>

typedef long double complex point;

static real *unit_rows(long n, long d) {
    real *x = exact((size_t)(n * d) * sizeof(real));
    for (long j = 0; j < n; j++) {
        long double square = 0;
        for (long k = 0; k < d; k++) {
            x[j * d + k] = (real)uniform();
            square += (long double)x[j * d + k] * x[j * d + k];
        }
        for (long k = 0; k < d; k++)
            x[j * d + k] = (real)(x[j * d + k] / sqrtl(square));
    }
    return x;
}

static point power(const real *x, long k) {
    point z = x[0] + (long double)x[1] * I, result = 1;
    z /= cabsl(z);
    for (; k > 0; k--)
        result *= z;
    return result;
}

/* Moments of chunks, and sums over the tokens up to each, n of them in at most CHS_PREFIX_CHUNKS chunks. */
static void prefix(const chs_kernels *table, long n, long chunk, long n_max, int has_weights, double keep) {
    const long size = sizeof(real), rows = 2 * (n_max + 1), chunks = CHS_PREFIX_CHUNKS;
    if (n > chunks * chunk)
        n = chunks * chunk;
    real *x = unit_rows(n, 2), *mean = exact((size_t)(2 * n) * sizeof(real));
    double *p = has_weights ? exact((size_t)n * sizeof(double)) : NULL, *z = exact((size_t)n * sizeof(double));
    double *own = exact((size_t)(chunks * rows) * sizeof(double)), *least = exact((size_t)chunks * sizeof(double));
    double *before = exact((size_t)(chunks * rows) * sizeof(double)), *scratch = DOUBLES(CHS_PREFIX_SCRATCH(n_max));
    double *factors = exact((size_t)(3 * (n_max + 2)) * sizeof(double));
    for (long j = 0; p && j < n; j++)
        p[j] = 1.5 + uniform();
    for (long i = 0; i < 3 * (n_max + 2); i++)
        factors[i] = i >= 3 * (n_max + 1) ? 0 : i == 0 ? 8 : uniform() / (double)n_max;
    CALL(fourier_prefix_)(n, chunk, (const char *)x, 2 * size, size, p, keep, n_max, factors, own, scratch, NULL, NULL,
                          NULL);
    for (long i = 0; i < chunks * rows; i++)
        before[i] = i % rows == 0 ? 2 : i % rows == 1 ? 0 : uniform();
    CALL(fourier_prefix_)(n, chunk, (const char *)x, 2 * size, size, p, keep, n_max, factors, before, scratch, mean, z,
                          least);
    for (long l = 0; l < chunks; l++) {
        const long first = l * chunk, stop = n < first + chunk ? n : first + chunk;
        double lowest = INFINITY;
        for (long i = first; i < stop; i++) {
            long double sums[3] = {0, 0, 0};
            for (long k = 0; k <= n_max; k++) {
                point moment = before[l * rows + 2 * k] + before[l * rows + 2 * k + 1] * I;
                for (long j = first; j <= i; j++)
                    moment = keep * moment + (p ? p[j] : 1) * power(x + 2 * j, k);
                const point product = conjl(moment) * power(x + 2 * i, k);
                sums[0] += factors[3 * k] * creall(product);
                sums[1] += factors[3 * k + 1] * creall(product);
                sums[2] += factors[3 * k + 2] * cimagl(product);
            }
            const point want = power(x + 2 * i, 1) * (sums[1] - sums[2] * I) / sums[0];
            const long double slack = 2000 * DBL_EPSILON;
            CHECK_CLOSE(z[i], sums[0], slack * sums[0], "n %ld, %ld: got %g, want %Lg", n, i, z[i], sums[0]);
            CHECK_CLOSE(mean[2 * i], creall(want), slack + 4 * EPS, "n %ld, %ld", n, i);
            CHECK_CLOSE(mean[2 * i + 1], cimagl(want), slack + 4 * EPS, "n %ld, %ld", n, i);
            lowest = z[i] < lowest ? z[i] : lowest;
        }
        CHECK(least[l] == lowest, "chunk %ld: %g, want %g", l, least[l], lowest);
        for (long k = 0; k <= n_max && stop == first + chunk; k++) {
            point moment = 0;
            for (long j = first; j < stop; j++)
                moment = keep * moment + (p ? p[j] : 1) * power(x + 2 * j, k);
            CHECK_CLOSE(own[l * rows + 2 * k], creall(moment), 1e-12L * chunk, "moment %ld of chunk %ld", k, l);
            CHECK_CLOSE(own[l * rows + 2 * k + 1], cimagl(moment), 1e-12L * chunk, "moment %ld of chunk %ld", k, l);
        }
    }
    free(x), free(mean), free(p), free(z), free(own), free(least), free(before), free(scratch), free(factors);
}

static void fourier(const chs_kernels *table, long n, long n_steps, int has_weights) {
    const long size = sizeof(real);
    real *x = unit_rows(n, 2), *mean = exact((size_t)(2 * n) * sizeof(real));
    double *p = has_weights ? exact((size_t)n * sizeof(double)) : NULL, *z = exact((size_t)n * sizeof(double));
    double *moments = exact((size_t)(14 * n_steps) * sizeof(double)), *scratch = DOUBLES(CHS_FOURIER_SCRATCH(n_steps));
    double *a = exact((size_t)(42 * n_steps) * sizeof(double));
    for (long j = 0; p && j < n; j++)
        p[j] = 1 + uniform();
    for (long i = 0; i < 42 * n_steps; i++)
        a[i] = uniform() / n_steps + (i == 28 ? 12 : 0); /* the third sum stays away from zero */
    CALL(fourier_moments_)(n, (const char *)x, 2 * size, size, p, n_steps, scratch, moments);
    CALL(fourier_field_)(n, (const char *)x, 2 * size, size, n_steps, a, scratch, mean, z);
    for (long b = 0; b < n_steps; b++)
        for (long i = 0; i < 14; i++) {
            long double want = 0, total = 0;
            for (long j = 0; j < n; j++) {
                point w = power(x + 2 * j, 7 * b), small = power(x + 2 * j, (i / 2 + 1) / 2);
                long double left = i % 2 ? cimagl(w) : creall(w), weight = p ? p[j] : 1;
                want += weight * left * (i / 2 > 0 && i / 2 % 2 == 0 ? cimagl(small) : creall(small));
                total += weight;
            }
            CHECK_CLOSE(moments[14 * b + i], want, (20 + 14 * b) * DBL_EPSILON * total, "n %ld: (%ld, %ld)", n, b, i);
        }
    for (long j = 0; j < n; j++) {
        long double sums[3] = {0, 0, 0};
        for (long b = 0; b < n_steps; b++)
            for (long i = 0; i < 42; i++) {
                point w = power(x + 2 * j, 7 * b), small = power(x + 2 * j, (i % 7 + 1) / 2);
                long double left = i / 7 % 2 ? cimagl(w) : creall(w);
                sums[i / 14] += a[42 * b + i] * left * (i % 7 > 0 && i % 7 % 2 == 0 ? cimagl(small) : creall(small));
            }
        long double tolerance = (300 + 200 * n_steps) * DBL_EPSILON;
        CHECK_CLOSE(z[j], sums[2], tolerance, "token %ld", j);
        for (long c = 0; c < 2; c++)
            CHECK_CLOSE(mean[2 * j + c], sums[c] / sums[2], tolerance + 4 * EPS, "token %ld", j);
    }
    free(x), free(mean), free(p), free(z), free(moments), free(scratch), free(a);
}

/* Harmonics of degree <= n_max in dimension d, by Pascal's rule. */
static long harmonics(long n_max, long d) {
    if (n_max < 0)
        return 0;
    if (d == 2)
        return 2 * n_max + 1;
    long count = 0;
    for (long l = 0; l <= n_max; l++)
        count += harmonics(l, d - 1);
    return count;
}

/* sum_j v_j field_a(x_j) = a . moments(v): exactly so in real numbers, for every a. Row c of the field counts c + 1
 * times. */
static void transpose(const chs_kernels *table, long d, long n_max, long n_rows, long n, long ld) {
    const long size = sizeof(real), of_degree = n_max + 1, n_harmonics = harmonics(n_max, d);
    const long n_a = n_harmonics * n_rows;
    const long n_steps = (d - 2) * of_degree * of_degree, below = harmonics(n_max, d - 1);
    const long rows = below * (d > 3 ? 2 : 1) + n_max + 3;
    real *x = unit_rows(n, d), *steps = exact((size_t)n_steps * sizeof(real)), *a = exact((size_t)n_a * sizeof(real));
    real *tokens = REALS(d * ld), *scratch = REALS(rows * ld), *out = REALS(n_rows * ld);
    double *p = exact((size_t)n * sizeof(double)), *same_steps = exact((size_t)n_steps * sizeof(double));
    double *sums = DOUBLES(8 * n_harmonics + (1 + d + rows) * ld), *moments = exact((size_t)n_harmonics * sizeof(double));
    double *in_parts = exact((size_t)n_harmonics * sizeof(double));
    for (long i = 0; i < n_steps; i++)
        same_steps[i] = steps[i] = (real)(1 + 0.1 * uniform()); /* any recurrence will do */
    fill(n_a, a, 1);
    for (long j = 0; j < n; j++)
        p[j] = 1 + uniform();
    CALL(harmonic_moments_)(d, n_max, n, ld, (const char *)x, d * size, size, p, same_steps, 1, sums, moments);
    for (long first = 0; first < n; first += ld)
        CALL(harmonic_moments_)(d, n_max, n - first < ld ? n - first : ld, ld, (const char *)(x + first * d), d * size,
                                size, p + first, same_steps, first == 0, sums,
                                first + ld < n ? NULL : in_parts);
    CHECK(memcmp(moments, in_parts, (size_t)n_harmonics * sizeof(double)) == 0, "d %ld: moments in parts", d);
    long double one = 0, other = 0, scale = 0;
    for (long first = 0; first < n; first += ld) {
        long count = n - first < ld ? n - first : ld;
        CALL(pack_)(count, d, (const char *)(x + first * d), d * size, size, 1, ld, tokens);
        CALL(harmonic_field_)(d, n_max, n_rows, count, ld, tokens, steps, a, scratch, out);
        for (long j = 0; j < count; j++)
            for (long c = 0; c < n_rows; c++)
                one += (long double)(c + 1) * p[first + j] * out[c * ld + j];
    }
    const real *coefficient = a;
    const double *moment = moments;
    for (long l = 0; l <= n_max; l++)
        for (long i = harmonics(l - 1, d - 1); i < harmonics(l, d - 1); i++, moment += n_max - l + 1)
            for (long c = 0; c < n_rows; c++)
                for (long degree = 0; degree <= n_max - l; degree++, coefficient++) {
                    other += (long double)(c + 1) * *coefficient * moment[degree];
                    scale += fabsl((long double)(c + 1) * *coefficient * moment[degree]);
                }
    CHECK(scale > 0 && isfinite((double)scale), "d %ld: moments are %Lg", d, scale);
    CHECK_CLOSE(one, other, 2000 * EPS * (scale + (long double)n), "d %ld, n_max %ld, %ld rows, n %ld", d, n_max,
                n_rows, n);
    free(x), free(steps), free(a), free(tokens), free(scratch), free(out), free(p), free(same_steps), free(sums);
    free(moments), free(in_parts);
}

static void body(const chs_kernels *table) {
    const long sizes[] = {1, 31, 256, 257, 600};
    for (int i = 0; i < 5; i += FEWER ? 3 : 1)
        for (long n_steps = 1; n_steps <= 3; n_steps++)
            fourier(table, sizes[i], n_steps, n_steps % 2);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += FEWER ? 2 : 1)
        for (long n_max = 1; n_max <= 4; n_max += FEWER ? 3 : 1) {
            prefix(table, sizes[i], (sizes[i] + 7) / 8, n_max, n_max % 2, 1);
            prefix(table, sizes[i], 70, n_max, n_max % 2, 0.75);
        }
    for (int i = 0; i < 5; i += FEWER ? 3 : 1) {
        transpose(table, 3, 0, 1, sizes[i], 64);
        transpose(table, 3, 11, 1, sizes[i], 64);
        transpose(table, 3, 6, 3, sizes[i], 128);
        transpose(table, 3, 6, 4, sizes[i], 128);
        transpose(table, 4, 5, 5, sizes[i], 64);
        transpose(table, 5, 3, 6, sizes[i], 32);
    }
}

int main(void) {
    return run_all(body);
}
