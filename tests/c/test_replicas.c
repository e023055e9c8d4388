/* attend_replicas, replica_means and replica_step against naive loops in long double; groups against single systems. */
#include "check.h"

/* A multiple of the alignment, in numbers. */
#define PADDED(n) (((n) + CHS_ALIGN - 1) / CHS_ALIGN * CHS_ALIGN)

/* Sums, means and one step of a group, or of one system. */
static void run(const chs_kernels *table, int is_group, int is_causal, long n, long d, long ld, const real *x, const real *v,
                const real *p, double scale, real shift, real *sums, real *mean, real *total, real *stepped) {
    const long lanes = CALL(replica_lanes_)(), row = is_group ? n * lanes : ld;
    real *scratch = REALS(PADDED(d * row + (is_group ? 4 * n * lanes : ld * ld)));
    long bad[16];
    for (int lane = 0; lane < 16; lane++)
        bad[lane] = -1;
    const size_t size = (size_t)(d * row) * sizeof(real);
    real *at_once = REALS(PADDED(d * row));
    memcpy(stepped, x, size);
    CALL(attend_replicas_)(is_group, is_causal, n, d, ld, stepped, v, p, scale, shift, 0, NULL, NULL, scratch, sums);
    CHECK(memcmp(stepped, x, size) == 0, "tokens move without a step");
    CALL(replica_means_)(is_group, 1, n, d, ld, sums, v ? 1 : 1 / scale, -0.5, mean, total);
    CALL(replica_step_)(is_group, n, d, ld, mean, 0.25, stepped, bad);
    const chs_step step = {1, v ? 1 : 1 / scale, -0.5, 0.25, bad};
    memcpy(at_once, x, size);
    CALL(attend_replicas_)(is_group, is_causal, n, d, ld, at_once, v, p, scale, shift, 0, NULL, &step, scratch, sums);
    CHECK(memcmp(at_once, stepped, size) == 0, "attention with a step is not attention and a step");
    free(at_once);
    for (int lane = 0; lane < lanes; lane++)
        CHECK(bad[lane] < 0 || (!is_group && bad[lane] * lanes + lane >= n), "a step fails");
    free(scratch);
}

static void check_group(const chs_kernels *table, long n, long d, int is_weighted, int is_causal, double beta) {
    const long lanes = CALL(replica_lanes_)(), ld = (n + lanes - 1) / lanes * lanes, row = n * lanes;
    const double scale = sqrt(beta);
    real *x = REALS(PADDED(d * row)), *v = REALS(PADDED(d * row)), *p = REALS(PADDED(row)), *sums = REALS(PADDED((d + 1) * row));
    real *mean = REALS(PADDED(d * row)), *total = REALS(PADDED(row)), *stepped = REALS(PADDED(d * row));
    fill(d * row, x, 1 / sqrt((double)d));
    for (long i = 0; i < row; i++)
        p[i] = (real)fabs(uniform());
    for (long j = 0; j < n; j++)
        for (long c = 0; c < d; c++)
            for (long lane = 0; lane < lanes; lane++)
                v[(j * d + c) * lanes + lane] = p[j * lanes + lane] * x[(j * d + c) * lanes + lane];
    run(table, 1, is_causal, n, d, ld, x, is_weighted ? v : NULL, is_weighted ? p : NULL, scale, (real)beta, sums, mean, total,
        stepped);
    for (long lane = 0; lane < lanes; lane += lanes - 1)
        for (long i = 0; i < n; i++) {
            long double all = 0, of[64] = {0};
            for (long j = 0; j <= (is_causal ? i : n - 1); j++) {
                long double u = 0;
                for (long c = 0; c < d; c++)
                    u += (long double)x[(i * d + c) * lanes + lane] * x[(j * d + c) * lanes + lane];
                const long double w = exp2l(beta * u - beta) * (is_weighted ? p[j * lanes + lane] : 1);
                all += w;
                for (long c = 0; c < d; c++)
                    of[c] += w * x[(j * d + c) * lanes + lane];
            }
            const long double tolerance = 4 * EPS * ((d + 4) * beta + 64);
            CHECK_CLOSE(total[i * lanes + lane] / all, 1, tolerance, "total of token %ld: %g", i, (double)all);
            for (long c = 0; c < d; c++)
                CHECK_CLOSE(mean[(i * d + c) * lanes + lane], -0.5 * of[c] / all, tolerance, "n %ld d %ld token %ld", n,
                            d, i);
        }
    /* One system alone, bit by bit. */
    const long lane = lanes / 2;
    real *single[8];
    for (int b = 0; b < 8; b++) {
        single[b] = REALS(PADDED((d + 1) * ld));
        memset(single[b], 0, (size_t)((d + 1) * ld) * sizeof(real));
    }
    for (long j = 0; j < n; j++) {
        for (long c = 0; c < d; c++) {
            single[0][c * ld + j] = x[(j * d + c) * lanes + lane];
            single[1][c * ld + j] = v[(j * d + c) * lanes + lane];
        }
        single[2][j] = p[j * lanes + lane];
    }
    run(table, 0, is_causal, n, d, ld, single[0], is_weighted ? single[1] : NULL, is_weighted ? single[2] : NULL, scale,
        (real)beta, single[3], single[4], single[5], single[6]);
    for (long j = 0; j < n; j++) {
        CHECK(single[5][j] == total[j * lanes + lane], "n %ld d %ld: total of token %ld", n, d, j);
        for (long c = 0; c < d; c++) {
            CHECK(single[4][c * ld + j] == mean[(j * d + c) * lanes + lane], "n %ld d %ld: mean of %ld", n, d, j);
            CHECK(single[6][c * ld + j] == stepped[(j * d + c) * lanes + lane], "n %ld d %ld: step of %ld", n, d, j);
        }
    }
    /* Polynomials and energies, the same. */
    real *c = exact(3 * sizeof(real)), *scratch = REALS(PADDED((d + 4) * row + ld * ld));
    c[0] = (real)0.5, c[1] = -1, c[2] = (real)0.25;
    CALL(attend_replicas_)(1, 0, n, d, ld, x, NULL, NULL, 1, 0, 2, c, NULL, scratch, sums);
    CALL(attend_replicas_)(0, 0, n, d, ld, single[0], NULL, NULL, 1, 0, 2, c, NULL, scratch, single[3]);
    for (long i = 0; i < n; i++)
        for (long k = 0; k < d; k++) {
            long double want = 0;
            for (long j = 0; j < n; j++) {
                long double u = 0;
                for (long l = 0; l < d; l++)
                    u += (long double)x[(i * d + l) * lanes + lane] * x[(j * d + l) * lanes + lane];
                want += (0.5L - u + 0.25L * u * u) * x[(j * d + k) * lanes + lane];
            }
            const real got = sums[(i * (d + 1) + k) * lanes + lane];
            CHECK(single[3][k * ld + i] == got, "n %ld d %ld: polynomial of %ld", n, d, i);
            CHECK_CLOSE(got, want, 4 * EPS * (3 * (d + 4) + 64) * n, "n %ld d %ld: polynomial of %ld", n, d, i);
        }
    /* A symmetric matrix, here -1: one weight for both orders. */
    real *q = REALS(PADDED(d * row)), *own_q = REALS(PADDED(d * ld));
    for (long i = 0; i < d * row; i++)
        q[i] = -x[i];
    for (long i = 0; i < d * ld; i++)
        own_q[i] = -single[0][i];
    CALL(attend_symmetric_)(1, n, d, ld, q, x, scratch, sums);
    CALL(attend_symmetric_)(0, n, d, ld, own_q, single[0], scratch, single[3]);
    for (long i = 0; i < n; i++)
        for (long k = 0; k <= d; k++) {
            long double want = 0;
            for (long j = 0; j < n; j++) {
                long double u = 0;
                for (long l = 0; l < d; l++)
                    u -= (long double)x[(i * d + l) * lanes + lane] * x[(j * d + l) * lanes + lane];
                want += exp2l(u) * (k < d ? x[(j * d + k) * lanes + lane] : 1);
            }
            const real got = sums[(i * (d + 1) + k) * lanes + lane];
            CHECK(single[3][k * ld + i] == got, "n %ld d %ld: symmetric sum of %ld", n, d, i);
            CHECK_CLOSE(got, want, 4 * EPS * (d + 70) * 2 * n, "n %ld d %ld: symmetric sum of %ld", n, d, i);
        }
    free(q), free(own_q);
    if (sizeof(real) == sizeof(double)) {
        double *energies = DOUBLES(PADDED(lanes)), *alone = DOUBLES(PADDED(lanes)), *q = DOUBLES(PADDED(n));
        for (long j = 0; j < n; j++)
            q[j] = 1.0 / (double)n;
        table->replica_energies(1, n, d, ld, (const double *)x, q, beta, energies);
        table->replica_energies(0, n, d, ld, (const double *)single[0], q, beta, alone);
        CHECK(alone[0] == energies[lane] && energies[0] >= 0 && energies[0] <= 1, "n %ld d %ld: energy", n, d);
        free(energies), free(alone), free(q);
    }
    free(c), free(scratch);
    for (int b = 0; b < 8; b++)
        free(single[b]);
    free(x), free(v), free(p), free(sums), free(mean), free(total), free(stepped);
}

static void all(const chs_kernels *table) {
    const long sizes[] = {1, 2, 3, 4, 5, 8, 17, 40}, dims[] = {1, 2, 3, 4, 5, 8, 9, 33};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes - FEWER; i++)
        for (unsigned k = 0; k < sizeof dims / sizeof *dims - FEWER; k++)
            for (int kind = 0; kind < 4; kind++) {
                check_group(table, sizes[i], dims[k], kind % 2, kind / 2, 3);
                if (kind % 2)
                    check_group(table, sizes[i], dims[k], 1, kind / 2, sizeof(real) == 8 ? 700 : 70);
            }
}

int main(void) {
    return run_all(all);
}
