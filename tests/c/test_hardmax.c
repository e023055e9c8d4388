/* hardmax_rows against a naive loop in long double. */
#include "check.h"

/* Coordinates that are small integers: scores are exact, and many are equal. Two blocks of keys; some columns are out,
 * and with is_causal those above the diagonal of the second block. */
static void hardmax(const chs_kernels *table, int is_distance, int is_causal, long d, long n_i, long n_j, long ld) {
    enum { BLOCKS = 2 };
    real *q = REALS(d * ld), *k = REALS(BLOCKS * (d + 1) * ld), *w = REALS(CHS_CHUNK * ld), *top = REALS(ld);
    real *bias = REALS(BLOCKS * ld);
    double *sums = DOUBLES((d + 1) * ld), *p = DOUBLES(BLOCKS * ld);
    for (long at = 0; at < d * ld; at++)
        q[at] = (real)(int)(4 * uniform());
    for (long at = 0; at < BLOCKS * (d + 1) * ld; at++)
        k[at] = (real)(int)(4 * uniform());
    for (long i = 0; i < ld; i++)
        top[i] = -(real)INFINITY;
    for (long at = 0; at < (d + 1) * ld; at++)
        sums[at] = 1;
    for (long b = 0; b < BLOCKS; b++) {
        for (long j = 0; j < ld; j++) {
            p[b * ld + j] = j >= n_j || j % 3 == 1 ? 0 : 1 + j;
            bias[b * ld + j] = p[b * ld + j] > 0 ? 0 : -(real)INFINITY;
        }
        const real *keys = k + b * (d + 1) * ld;
        CALL(hardmax_rows_)
        (is_distance, is_causal && b == 1, d, d, n_i, n_j, ld, q, keys, keys, bias + b * ld, p + b * ld, w, top, sums);
    }
    for (long i = 0; i < n_i; i++) {
        long double best = -INFINITY, *want = exact((size_t)(d + 1) * sizeof *want);
        for (long at = 0; at < BLOCKS * n_j; at++) {
            const long b = at / n_j, j = at % n_j;
            long double s = 0;
            for (long c = 0; c < d; c++) {
                const long double x = q[c * ld + i], y = k[(b * (d + 1) + c) * ld + j];
                s += is_distance ? -(x - y) * (x - y) : x * y;
            }
            if (p[b * ld + j] == 0 || s < best || (is_causal && b == 1 && j > i))
                continue;
            for (long c = 0; c <= d && s > best; c++)
                want[c] = 0;
            best = s;
            for (long c = 0; c < d; c++)
                want[c] += p[b * ld + j] * (long double)k[(b * (d + 1) + c) * ld + j];
            want[d] += p[b * ld + j];
        }
        CHECK(top[i] == (real)best, "top of row %ld: %g, want %Lg", i, (double)top[i], best);
        for (long c = 0; c <= d; c++)
            CHECK(sums[c * ld + i] == (double)want[c], "d %ld, (%ld, %ld): %g, want %Lg", d, c, i, sums[c * ld + i],
                  want[c]);
        free(want);
    }
    for (long i = n_i; i < ld; i++)
        CHECK(top[i] == -(real)INFINITY && sums[d * ld + i] == 1, "row %ld of the padding", i);
    free(q), free(k), free(w), free(top), free(bias), free(sums), free(p);
}

static void all(const chs_kernels *table) {
    const long dims[] = {1, 2, 3, 5, 17, 35},
               sizes[][3] = {{1, 1, 32}, {31, 2, 32}, {32, 32, 32}, {33, 64, 64}, {65, 95, 96}};
    for (size_t a = FEWER ? 2 : 0; a < sizeof dims / sizeof *dims; a += FEWER ? 3 : 1)
        for (size_t b = FEWER ? 1 : 0; b < sizeof sizes / sizeof *sizes; b += FEWER ? 2 : 1) {
            const long d = dims[a], n_i = sizes[b][0], n_j = sizes[b][1], ld = sizes[b][2];
            hardmax(table, 0, 0, d, n_i, n_j, ld);
            hardmax(table, 0, 1, d, n_j, n_i, ld);
            hardmax(table, 1, 0, d, n_j, n_i, ld);
            hardmax(table, 1, 1, d, n_i, n_j, ld);
        }
}

int main(void) {
    return run_all(all);
}
