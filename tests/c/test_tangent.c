/* tangent_rows, tangent_potential and what heads take against naive loops in long double. */
#include "check.h"

static long double inner(long d, long ld, const real *x, const real *y, long i, long j) {
    long double sum = 0;
    for (long k = 0; k < d; k++)
        sum += (long double)x[k * ld + i] * y[k * ld + j];
    return sum;
}

/* The coefficient of a pair of vectors; kind: the mask, or one of two polynomials. */
static long double coefficient(long double s, int is_series, long degree, const real *c) {
    long double sum = 0, now = 1, next = s;
    for (long k = 0; k <= degree; k++) {
        sum += c[k] * now;
        const long double after = is_series ? 2 * s * next - now : s * next;
        now = next;
        next = after;
    }
    return sum;
}

enum { EXPONENTIAL = 0, POLYNOMIAL = 4 };

static void one_side(const chs_kernels *table, int kind, long k, long l, long m, long n, long n_i, long n_j, long ld) {
    const double size = 1 / sqrt((double)k + 1);
    real *rows = random_block(k + l, n_i, ld, size), *columns = random_block(k + l + m + n, n_j, ld, size);
    real *numbers[5], *w = REALS(2 * CHS_CHUNK * ld);
    const real *g = columns + k * ld, *c = g + l * ld;
    for (int a = 0; a < 5; a++)
        numbers[a] = random_block(1, ld, ld, 1);
    for (long j = 0; j < ld; j++) {
        if (j >= n_j || j % 5 == 3)
            numbers[1][j] = (real)-INFINITY;
        numbers[4][j] = (real)(-0.25 * (double)j);
    }
    const int is_series[] = {1, 0};
    const long degrees[] = {3, 2};
    const real *polynomials[] = {numbers[2], numbers[3]};
    double *sums = DOUBLES((m + n + 1) * ld);
    for (long at = 0; at < (m + n + 1) * ld; at++)
        sums[at] = 1;
    if (kind == POLYNOMIAL)
        CALL(tangent_potential_)(is_series, degrees, polynomials, k, l, m, n, n_i, n_j, ld, rows, columns, w, sums);
    else
        CALL(tangent_rows_)(kind, k, l, m, n, n_i, n_j, ld, rows, columns, numbers[0], numbers[1], numbers[2],
                            numbers[3], numbers[4], w, sums);
    for (long i = 0; i < n_i; i++)
        for (long r = 0; r < m + n; r++) {
            long double want = 1, total = 1;
            for (long j = 0; j < n_j; j++) {
                const long distance = kind == CHS_UPPER ? j - i : i - j;
                const long double s = inner(k, ld, rows, columns, i, j);
                long double t = r < m ? inner(l, ld, rows + k * ld, g, i, j) : 1, weight;
                if (kind == POLYNOMIAL) {
                    const int which = r >= m;
                    weight = coefficient(s, is_series[which], degrees[which], polynomials[which]);
                } else {
                    const int is_masked = kind != EXPONENTIAL;
                    if (numbers[1][j] == (real)-INFINITY || (is_masked && distance < 0))
                        continue;
                    weight = exp2l(s + numbers[0][i] + numbers[1][j] + (is_masked ? numbers[4][distance] : 0));
                    t += r < m ? (long double)numbers[2][i] + numbers[3][j] : 0;
                }
                const long double term = weight * t * c[r * ld + j];
                want += term;
                total += (fabsl(weight) + 4) * (fabsl(t) + 3) * fabsl(c[r * ld + j]);
            }
            CHECK_CLOSE(sums[r * ld + i], want, 16 * EPS * (long double)(k + l + 40) * total,
                        "kind %d, (%ld, %ld, %ld, %ld), row %ld of %ld, sum %ld: got %g, want %Lg", kind, k, l, m, n, i,
                        n_i, r, sums[r * ld + i], want);
        }
    for (long i = 0; i < ld; i++)
        CHECK(sums[(m + n) * ld + i] == 1, "beyond the sums");
    for (int a = 0; a < 5; a++)
        free(numbers[a]);
    free(rows), free(columns), free(w), free(sums);
}

static void both_sides(const chs_kernels *table, int is_masked, long k, long d, long n_i, long n_j, long ld) {
    const double size = 1 / sqrt((double)k + 1);
    real *rows = random_block(k + 2 * d, n_i, ld, size), *columns = random_block(k + d, n_j, ld, size);
    real *of_rows = random_block(1, ld, ld, 1), *of_columns = random_block(1, ld, ld, 1);
    real *terms = random_block(1, ld, ld, 1), *zeros = random_block(1, 0, ld, 1);
    real *w = REALS((2 * CHS_CHUNK + k + d) * ld);
    double *sum_i = DOUBLES(k * ld), *sum_j = DOUBLES((k + d) * ld);
    const size_t n_bytes = (size_t)((2 * k + d) * ld) * sizeof(long double);
    long double *want = malloc(n_bytes), *total = malloc(n_bytes);
    for (long j = 0; j < ld; j++) {
        if (j >= n_i)
            of_rows[j] = (real)-INFINITY;
        if (j >= n_j || j % 5 == 3)
            of_columns[j] = (real)-INFINITY;
    }
    for (long at = 0; at < (2 * k + d) * ld; at++) {
        want[at] = total[at] = 1;
        *(at < k * ld ? sum_i + at : sum_j + at - k * ld) = 1;
    }
    for (long i = 0; i < n_i; i++)
        for (long j = 0; j < n_j; j++) {
            if (of_columns[j] == (real)-INFINITY || (is_masked && j > i))
                continue;
            const long double weight = exp2l(inner(k, ld, rows, columns, i, j) + of_rows[i] + of_columns[j]);
            const long double t = inner(d, ld, rows + k * ld, columns + k * ld, i, j) + terms[i];
            for (long c = 0; c < 2 * k + d; c++) {
                const long to = c < k ? i : j;
                const real factor = c < k ? columns[c * ld + j] : rows[(c < 2 * k ? c - k : c - k + d) * ld + i];
                want[c * ld + to] += weight * (c < 2 * k ? t : 1) * factor;
                total[c * ld + to] += (weight + 4) * (fabsl(t) + 3) * fabsl((long double)factor);
            }
        }
    CALL(gradient_pair_)(is_masked, k, d, n_i, n_j, ld, rows, columns, of_rows, of_columns, terms, zeros, w, sum_i,
                         sum_j);
    for (long c = 0; c < 2 * k + d; c++)
        for (long at = 0; at < (c < k ? n_i : n_j); at++) {
            const double got = c < k ? sum_i[c * ld + at] : sum_j[(c - k) * ld + at];
            CHECK_CLOSE(got, want[c * ld + at], 16 * EPS * (long double)(k + d + 40) * total[c * ld + at],
                        "masked %d, (%ld, %ld), %ld and %ld, sum %ld of %ld: got %g, want %Lg", is_masked, k, d, n_i,
                        n_j, c, at, got, want[c * ld + at]);
        }
    free(rows), free(columns), free(of_rows), free(of_columns), free(terms), free(zeros), free(w);
    free(sum_i), free(sum_j), free(want), free(total);
}

/* attend_rows and causal_rows of small scores without a maximum: the forward pass of heads. */
static void small_scores(const chs_kernels *table, long d, long value_dim, long n_i, long n_j, long ld) {
    const real size = (real)(CHS_SMALL_SCORE / (double)(d + 1));
    real *q = random_block(d, n_i, ld, size), *w = REALS(CHS_CHUNK * ld);
    for (int is_causal = 0; is_causal < 2; is_causal++) {
        const long n = is_causal ? n_i : n_j;
        real *k = random_block(d, n, ld, 1), *v = random_block(value_dim + 1, n, ld, 1);
        double *sums = DOUBLES((value_dim + 1) * ld);
        for (long at = 0; at < (value_dim + 1) * ld; at++)
            sums[at] = 1;
        if (is_causal)
            CALL(causal_rows_)(d, value_dim, n, ld, q, k, v, NULL, NULL, w, NULL, sums);
        else
            CALL(attend_rows_)(d, value_dim, n_i, n, ld, q, k, v, NULL, w, NULL, sums);
        const long double slack = EPS * (d + 2) * (size * d + 2);
        for (long i = 0; i < n_i; i++)
            for (long c = 0; c <= value_dim; c++) {
                long double want = 1, total = 1;
                for (long j = 0; j < (is_causal ? i + 1 : n); j++) {
                    const long double term = exp2l(inner(d, ld, q, k, i, j)) * v[c * ld + j];
                    want += term;
                    total += fabsl(term);
                }
                CHECK_CLOSE(sums[c * ld + i], want, (2 * slack + 128 * EPS) * total,
                            "without a maximum, d %ld and %ld, (%ld, %ld): got %g, want %Lg", d, value_dim, c, i,
                            sums[c * ld + i], want);
            }
        free(k), free(v), free(sums);
    }
    free(q), free(w);
}

static void all(const chs_kernels *table) {
    const long sizes[][3] = {{1, 1, 32}, {33, 64, 64}, {0, 5, 32}, {5, 0, 32}, {95, 66, 96}};
    const long dims[][4] = {{1, 1, 1, 0}, {3, 6, 4, 3}, {2, 0, 3, 7}, {17, 34, 18, 17}, {0, 1, 1, 1}};
    for (size_t a = 0; a < sizeof sizes / sizeof *sizes - FEWER; a++)
        for (size_t b = 0; b < sizeof dims / sizeof *dims; b += FEWER ? 3 : 1) {
            const long n_i = sizes[a][0], n_j = sizes[a][1], ld = sizes[a][2], *d = dims[b];
            one_side(table, EXPONENTIAL, d[0], d[1], d[2], d[3], n_i, n_j, ld);
            one_side(table, CHS_LOWER, d[0], d[1], d[2], d[3], n_i, n_i, ld);
            one_side(table, CHS_UPPER, d[0], d[1], d[2], d[3], n_i, n_i, ld);
            one_side(table, POLYNOMIAL, d[0], d[1], d[2], d[3], n_i, n_j, ld);
            both_sides(table, 0, d[0] + 1, d[1], n_i, n_j, ld);
            both_sides(table, 1, d[0] + 1, d[1], n_i, n_i, ld);
            small_scores(table, d[0] + 1, d[1], n_i, n_j, ld);
        }
}

int main(void) {
    return run_all(all);
}
