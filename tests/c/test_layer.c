/* layer and activate against the C library in long double. */
#include "check.h"

static long double phi(int activation, long double x) {
    switch (activation) {
    case CHS_RELU:
        return x > 0 ? x : 0;
    case CHS_SILU:
        return x / (1 + expl(-x));
    case CHS_GELU:
        return x * erfcl(-x * 0.70710678118654752440L) / 2;
    case CHS_TANH:
        return tanhl(x);
    case CHS_SIGMOID:
        return 1 / (1 + expl(-x));
    case CHS_ERF:
        return erfl(x);
    case CHS_SIN:
        return sinl(x);
    case CHS_COS:
        return cosl(x);
    default:
        return x;
    }
}

static void activate(const chs_kernels *table, int activation, long n, double scale) {
    real *x = REALS(n), *before = REALS(n);
    fill(n, x, scale);
    memcpy(before, x, (size_t)n * sizeof(real));
    CALL(activate_)(activation, n, x);
    for (long i = 0; i < n; i++) {
        long double want = phi(activation, before[i]);
        CHECK_CLOSE(x[i], want, 3 * EPS * (fabsl(want) + 1), "activation %d at %g", activation, (double)before[i]);
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
            CHECK_CLOSE(out[k * ld + j], want, 4 * EPS * size, "activation %d, d %ld, m %ld, n %ld: (%ld, %ld)",
                        activation, d, m, n, k, j);
        }
    free(u), free(w), free(b), free(x), free(scratch), free(out);
}

static void all(const chs_kernels *table) {
    const long dims[] = {1, 2, 3, 7, 17}, widths[] = {1, 3, 31, 32, 33, 67},
               counts[][2] = {{1, 32}, {32, 32}, {33, 64}, {64, 64}};
    for (int activation = 0; activation < CHS_N_ACTIVATIONS; activation++) {
        for (long n = CHS_COLUMNS; n <= 3 * CHS_COLUMNS; n += CHS_COLUMNS)
            for (double scale = 1e-3; scale < 1e9; scale *= 100)
                activate(table, activation, n, scale);
        layer(table, activation, 5, 40, 33, 64, 1);
    }
    for (size_t a = 0; a < sizeof dims / sizeof *dims; a++)
        for (size_t b = 0; b < sizeof widths / sizeof *widths; b++)
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
                layer(table, CHS_RELU, dims[a], widths[b], counts[c][0], counts[c][1], (int)((a + b + c) % 2));
}

int main(void) {
    return run_all(all);
}
