/* layer and activate in long double: functions that the C library has against it, all others against the baseline
 * kernel in double, which tests/kernels/test_activations.py holds to 40 digits. */
#include "check.h"

static long double phi(int activation, long double x) {
    static const struct {
        int activation;
        long double (*function)(long double);
    } in_libm[] = {{CHS_tanh, tanhl}, {CHS_erf, erfl}, {CHS_sin, sinl}, {CHS_cos, cosl}};
    for (size_t i = 0; i < sizeof in_libm / sizeof *in_libm; i++)
        if (in_libm[i].activation == activation)
            return in_libm[i].function(x);
    double values[CHS_COLUMNS] __attribute__((aligned(CHS_ALIGN))) = {(double)x};
    chs_kernels_for("baseline")->activate_f64(activation, CHS_COLUMNS, values);
    return values[0];
}

static void activate(const chs_kernels *table, int activation, long n, double scale) {
    real *x = REALS(n), *before = REALS(n);
    fill(n, x, scale);
    memcpy(before, x, (size_t)n * sizeof(real));
    CALL(activate_)(activation, n, x);
    for (long i = 0; i < n; i++) {
        long double want = phi(activation, before[i]);
        CHECK_CLOSE(x[i], want, 4 * EPS * (fabsl(want) + 1), "%s at %g", chs_activation_name(activation),
                    (double)before[i]);
    }
    free(x), free(before);
}

static void layer(const chs_kernels *table, int activation, long d, long m, long n, long ld, int has_bias) {
    real *u = exact((size_t)(m * d) * sizeof(real)), *w = exact((size_t)(m * d) * sizeof(real));
    real *b = has_bias ? exact((size_t)m * sizeof(real)) : NULL;
    real *x = random_block(d, n, ld, 1), *scratch = REALS(CHS_HIDDEN * ld), *out = REALS(d * ld);
    fill(m * d, u, 1), fill(m * d, w, 1);
    if (b)
        fill(m, b, 1);
    CALL(layer_)(d, m, ld, x, u, b, w, activation, scratch, out);
    for (long j = 0; j < n; j++)
        for (long k = 0; k < d; k++) {
            long double want = 0, size = 0;
            for (long h = 0; h < m; h++) {
                long double before = b ? b[h] : 0, spread = fabsl(before);
                for (long l = 0; l < d; l++) {
                    before += (long double)u[h * d + l] * x[l * ld + j];
                    spread += fabsl((long double)u[h * d + l] * x[l * ld + j]);
                }
                long double after = phi(activation, before);
                want += w[k * m + h] * after;
                size += fabsl(w[k * m + h]) * (fabsl(after) + 1.13L * spread); /* no phi is steeper than that */
            }
            CHECK_CLOSE(out[k * ld + j], want, 4 * EPS * size, "%s, d %ld, m %ld, n %ld: (%ld, %ld)",
                        chs_activation_name(activation), d, m, n, k, j);
        }
    free(u), free(w), free(b), free(x), free(scratch), free(out);
}

static void all(const chs_kernels *table) {
    const long dims[] = {1, 2, 3, 7, 17}, widths[] = {1, 3, 31, 32, 33, 67},
               counts[][2] = {{1, 32}, {32, 32}, {33, 64}, {64, 64}};
    CHECK(!chs_activation_name(-1) && !chs_activation_name(CHS_N_ACTIVATIONS), "names end where activations do");
    for (int activation = 0; activation < CHS_N_ACTIVATIONS; activation++) {
        for (long n = CHS_COLUMNS; n <= 3 * CHS_COLUMNS; n += CHS_COLUMNS)
            for (double scale = 1e-3; scale < 1e9; scale *= FEWER ? 1e4 : 100)
                activate(table, activation, n, scale);
        layer(table, activation, 5, 40, 33, 64, 1);
        for (long d = 4; d <= 8; d += 4) /* the fewest columns */
            layer(table, activation, d, 40, 2 * CALL(replica_lanes_)() - 1, 2 * CALL(replica_lanes_)(), 1);
    }
    for (size_t a = 0; a < sizeof dims / sizeof *dims; a++)
        for (size_t b = FEWER ? a % 2 : 0; b < sizeof widths / sizeof *widths; b += FEWER ? 2 : 1)
            for (size_t c = FEWER ? b % 2 : 0; c < sizeof counts / sizeof *counts; c += FEWER ? 2 : 1)
                layer(table, CHS_relu, dims[a], widths[b], counts[c][0], counts[c][1], (int)((a + b + c) % 2));
}

int main(void) {
    return run_all(all);
}
