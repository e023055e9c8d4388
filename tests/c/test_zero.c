/* Every function with nothing to do: of no tokens, rows or columns sums are 0, and buffers without numbers stay untouched. */
#include "check.h"

/* What a function must leave alone: the end of a page of NaN that is given out as if it held nothing. */
static void *nothing(void) {
    return exact(1);
}

static void attention(const chs_kernels *table, long d, long ld) {
    const long size = CALL(block_size_)(d, ld);
    real *block_ = REALS(size), *w = REALS(CHS_PAIR_SCRATCH(d, ld)), *top = REALS(ld), *bias = REALS(ld);
    double *sums = DOUBLES(size), *other = DOUBLES(size);
    fill(size, block_, 1), fill(ld, bias, 1);
    for (long i = 0; i < ld; i++)
        top[i] = 5;
    for (long at = 0; at < size; at++)
        sums[at] = other[at] = 7;
    CALL(attend_pair_)(d, d, 0, 5, ld, block_, block_, block_, block_, 1, w, sums, other);
    CALL(attend_pair_)(d, d, 5, 0, ld, block_, block_, block_, block_, 1, w, sums, other);
    CALL(attend_pair_)(d, d, 0, 0, ld, block_, block_, block_, block_, 1, w, sums, other);
    CALL(attend_pair_)(d, d, 5, 5, ld, block_, block_, block_, block_, 1, w, NULL, NULL);
    CALL(causal_pair_)(d, 0, ld, block_, block_, block_, 1, w, sums);
    const int is_packed = size > (d + 1) * ld;
    CALL(potential_pair_)(is_packed, 0, 0, bias, d, 0, d, 0, 5, ld, block_, block_, block_, block_, w, sums, other);
    CALL(potential_pair_)(is_packed, 0, 0, bias, d, 0, d, 5, 0, ld, block_, block_, block_, block_, w, sums, other);
    CALL(potential_pair_)(is_packed, 1, 0, bias, d, 0, d, 5, 5, ld, block_, block_, block_, block_, w, NULL, NULL);
    if (!is_packed)
        CALL(potential_pair_)(0, 1, 0, bias, d, d, d, 5, 5, ld, block_, block_, block_, block_, w, sums, other);
    if (size == (d + 1) * ld) {
        CALL(causal_rows_)(d, d, 0, ld, block_, block_, block_, bias, bias, w, top, sums);
        CALL(attend_rows_)(d, d, 0, 5, ld, block_, block_, block_, bias, w, top, sums);
        CALL(attend_rows_)(d, 0, 0, 5, ld, block_, block_, block_, bias, w, top, sums);
        CALL(attend_rows_)(d, 0, 5, 0, ld, block_, block_, block_, bias, w, top, sums);
        CALL(attend_rows_)(0, d, 5, 0, ld, block_, block_, block_, bias, w, top, sums);
        CALL(hardmax_rows_)(0, 0, d, d, 0, 5, ld, block_, block_, block_, bias, other, w, top, sums);
        CALL(hardmax_rows_)(1, 1, d, d, 5, 0, ld, block_, block_, block_, bias, other, w, top, sums);
        CALL(partition_pair_)(d, 0, 5, ld, block_, block_, 1, w, sums, other);
        CALL(partition_pair_)(d, 5, 0, ld, block_, block_, 1, w, sums, other);
        CALL(partition_pair_)(d, 5, 5, ld, block_, block_, 1, w, NULL, NULL);
    }
    for (long at = 0; at < size; at++)
        CHECK(sums[at] == 7 && other[at] == 7, "d %ld, ld %ld: sum %ld", d, ld, at);
    for (long i = 0; i < ld; i++)
        CHECK(top[i] == 5, "the maximum of row %ld is %g", i, (double)top[i]);
    free(block_), free(w), free(top), free(bias), free(sums), free(other);
}

static void blocks(const chs_kernels *table) {
    void *none = nothing();
    double *total = none;
    for (long d = 0; d <= 40; d += 20) {
        real *out = REALS((d + 1) * 32);
        CALL(pack_)(0, d, none, 8, 8, 1, 32, out);
        for (long at = 0; at < d * 32; at++)
            CHECK(out[at] == 0, "padding %g", (double)out[at]);
        CALL(pack_)(0, d, none, 8, 8, 1, 0, none);
        CALL(unpack_)(0, d, 32, out, 1, NULL, none);
        CALL(map_)(0, d, d, none, none, 32, none);
        CALL(map_)(5, 0, d, none, out, 32, none);
        CALL(unfused_map_)(0, d, d, none, none, 32, none);
        CALL(unfused_map_)(5, 0, d, none, out, 32, none);
        CALL(pack_panels_)(d, 0, none, none);
        CALL(means_)(0, d, 0, none, 1, none, total);
        CALL(means_)(1, d, 0, none, 1, none, total);
        CALL(sums_)(0, d, 0, none, 1, none);
        CALL(sums_)(1, d, 0, none, 1, none);
        CALL(ratios_)(0, d, 32, (double *)out, none, total);
        CALL(step_)(0, d, none, 8, 8, none, 1, none);
        CHECK(CALL(step_)(0, d, none, 8, 8, NULL, 1, none) == -1, "a bad row of none");
        long row = 3;
        CHECK(CALL(deviation_)(0, d, none, 8, 8, &row) == 0 && row == -1, "row %ld of none", row);
        double *unit = DOUBLES(d * 32 + 32);
        CALL(unit_block_)(0, d, none, 8, 8, 32, unit);
        for (long at = 0; at < d * 32; at++)
            CHECK(unit[at] == 0, "padding %g", unit[at]);
        free(out), free(unit);
    }
    real *out = REALS(64);
    fill(64, out, 1);
    CALL(map_)(5, 2, 0, none, none, 32, out);
    for (long at = 0; at < 64; at++)
        CHECK(out[at] == 0, "a product of no terms: %g", (double)out[at]);
    free(out), free(none);
}

static void layers(const chs_kernels *table) {
    void *none = nothing();
    real *x = REALS(7 * 32), *out = REALS(7 * 32), *scratch = REALS(CHS_HIDDEN * CHS_COLUMNS);
    for (int activation = 0; activation < CHS_N_ACTIVATIONS; activation++) {
        CALL(activate_)(activation, 0, none);
        for (long d = 1; d <= 7; d++) {
            fill(d * 32, x, 1), fill(d * 32, out, 1);
            CALL(layer_)(d, 0, 32, x, none, NULL, none, activation, scratch, out);
            for (long at = 0; at < d * 32; at++)
                CHECK(out[at] == 0, "a layer of no units: %g", (double)out[at]);
            real *u = exact((size_t)(3 * d) * sizeof(real));
            fill(3 * d, u, 1);
            CALL(layer_)(d, 3, 0, none, u, NULL, u, activation, scratch, none);
            free(u);
        }
    }
    free(x), free(out), free(scratch), free(none);
}

static void expansions(const chs_kernels *table) {
    void *none = nothing();
    double moments[2 * 14], *scratch = DOUBLES(CHS_FOURIER_SCRATCH(2)), *a = exact(2 * 42 * sizeof(double));
    real *x = exact(2 * sizeof(real));
    x[0] = 1, x[1] = 0;
    for (long i = 0; i < 2 * 42; i++)
        a[i] = 1;
    CALL(fourier_moments_)(0, none, 8, 8, NULL, 2, scratch, moments);
    for (long i = 0; i < 28; i++)
        CHECK(moments[i] == 0, "moment %ld of nothing: %g", i, moments[i]);
    CALL(fourier_moments_)(1, (const char *)x, 2 * sizeof(real), sizeof(real), NULL, 0, scratch, none);
    CHECK(CALL(fourier_field_)(0, none, 8, 8, 2, a, scratch, none, none) == INFINITY, "the least of nothing");
    double *room_ = DOUBLES(CHS_PREFIX_SCRATCH(2)), before[CHS_PREFIX_CHUNKS * 6], least[CHS_PREFIX_CHUNKS];
    CALL(fourier_prefix_)(0, 5, none, 8, 8, NULL, 1, 2, a, before, room_, NULL, NULL, NULL);
    for (long i = 0; i < CHS_PREFIX_CHUNKS * 6; i++)
        CHECK(before[i] == 0, "moment %ld of nothing: %g", i, before[i]);
    CALL(fourier_prefix_)(0, 5, none, 8, 8, NULL, 1, 2, a, before, room_, none, none, least);
    for (long l = 0; l < CHS_PREFIX_CHUNKS; l++)
        CHECK(least[l] == INFINITY, "the least of nothing: %g", least[l]);
    free(room_);
    free(scratch), free(a), free(x);
    for (long d = 3; d <= 4; d++) {
        const long n_max = 2, ld = 32, rows = d + 1, degrees = d == 3 ? 9 : 14, lower = d == 3 ? 5 : 2 * 9;
        double *steps = exact((size_t)((d - 2) * (n_max + 1) * (n_max + 1)) * sizeof(double));
        double *room = DOUBLES(8 * degrees * rows + (d + rows + lower + n_max + 3) * ld);
        double *out = exact((size_t)(degrees * rows) * sizeof(double));
        for (long i = 0; i < (d - 2) * (n_max + 1) * (n_max + 1); i++)
            steps[i] = 1;
        CALL(harmonic_moments_)(d, n_max, 0, ld, none, 8, 8, NULL, steps, 1, room, out);
        for (long i = 0; i < degrees; i++)
            CHECK(out[i] == 0, "harmonic moment %ld of nothing: %g", i, out[i]);
        table->harmonic_field_f64(d, n_max, rows, 0, ld, none, steps, out, room, none);
        free(steps), free(room), free(out);
    }
    free(none);
}

static void pairs(const chs_kernels *table, long d, long ld) {
    const long size = table->block_size_f64(d, ld);
    double *x = DOUBLES((d + 1) * ld), *packed = size > (d + 1) * ld ? DOUBLES(size) : NULL, *p = DOUBLES(ld);
    double *scratch = DOUBLES(CHS_PAIR_ROWS * ld), energy = 3, histogram[4 * CHS_COUNTERS(4)];
    for (long at = 0; at < (d + 1) * ld; at++)
        x[at] = uniform();
    for (long at = 0; packed && at < size; at++)
        packed[at] = uniform();
    for (long j = 0; j < ld; j++)
        p[j] = 1;
    for (long at = 0; at < 4 * CHS_COUNTERS(4); at++)
        histogram[at] = 1;
    table->pair_statistics(d, 0, 5, ld, 0, x, x, packed, packed, p, p, 1, 4, scratch, &energy, histogram);
    table->pair_statistics(d, 5, 0, ld, 0, x, x, packed, packed, p, p, 1, 4, scratch, &energy, histogram);
    table->pair_statistics(d, 0, 0, ld, 1, x, x, packed, packed, p, p, 1, 4, scratch, &energy, histogram);
    CHECK(energy == 3 && histogram[0] == 1 && histogram[4 * CHS_COUNTERS(4) - 1] == 1, "energy %g of no pairs", energy);
    free(x), free(packed), free(p), free(scratch);
}

static void all(const chs_kernels *table) {
    blocks(table);
    layers(table);
    expansions(table);
    for (long ld = 32; ld <= 64; ld += 32)
        for (long d = 1; d <= 41; d += 10) {
            attention(table, d, ld);
            pairs(table, d, ld);
        }
    double *out = nothing();
    table->normals(1, 2, 3, 4, 0, out);
    free(out);
}

int main(void) {
    return run_all(all);
}
