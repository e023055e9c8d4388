/* normals against Philox by the word and the Box-Muller map in long double, and bitwise identical on every instruction set.
 */
#include "check.h"

static void philox(uint32_t k0, uint32_t k1, uint32_t *c) {
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)c[0] * 0xD2511F53, p1 = (uint64_t)c[2] * 0xCD9E8D57;
        const uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k1,
                                  (uint32_t)p0};
        memcpy(c, next, sizeof next);
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
}

/* The values that come with Random123, the generator's own library, for all counters and keys zero and all ones. */
static void known_answers(void) {
    static const uint32_t answers[2][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                           {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}};
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t c[4] = {-i, -i, -i, -i};
        philox(-i, -i, c);
        CHECK(memcmp(c, answers[i], sizeof c) == 0, "case %d", (int)i);
    }
}

static long double high_bits(uint32_t low, uint32_t high) {
    return (long double)(((uint64_t)high << 32 | low) >> 12) / 4503599627370496.0L;
}

static void compare(const chs_kernels *table, uint32_t k0, uint32_t k1, uint64_t step, uint64_t first, long n) {
    double *out = exact((size_t)(16 * n) * sizeof(double)), *same = exact((size_t)(16 * n) * sizeof(double));
    table->normals(k0, k1, step, first, n, out);
    chs_kernels_for("baseline")->normals(k0, k1, step, first, n, same);
    CHECK(memcmp(out, same, (size_t)(16 * n) * sizeof(double)) == 0, "other bits than the baseline's");
    for (long i = 0; i < 8 * n; i++) {
        const uint64_t b = 8 * first + (uint64_t)i;
        uint32_t c[4] = {(uint32_t)b, (uint32_t)(b >> 32), (uint32_t)step, (uint32_t)(step >> 32)};
        philox(k0, k1, c);
        const long double radius = sqrtl(-2 * logl(1 - high_bits(c[0], c[1])));
        const long double angle = 6.283185307179586476925L * (high_bits(c[2], c[3]) - 0.5L);
        const double *at = out + i / 8 * 16 + i % 8;
        CHECK_CLOSE(at[0], radius * cosl(angle), 4 * DBL_EPSILON * radius, "n %ld: cosine %ld", n, i);
        CHECK_CLOSE(at[8], radius * sinl(angle), 4 * DBL_EPSILON * radius, "n %ld: sine %ld", n, i);
    }
    free(out), free(same);
}

static void all(const chs_kernels *table) {
    known_answers();
    for (long n = 0; n <= 9; n++)
        compare(table, 1, 2, 3, 4, n);
    compare(table, 0xffffffff, 0x80000000, 0xfffffffffffffffe, 0, 100);
    compare(table, 5, 6, 7, (uint64_t)1 << 40, 100); /* the counter of blocks is beyond 32 bits */
}

int main(void) {
    return run_all(all);
}
