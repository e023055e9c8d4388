/* What the C tests share. Each main is compiled twice: -Dreal=double -DSUFFIX=f64 and -Dreal=float -DSUFFIX=f32. */
#ifndef CHECK_H
#define CHECK_H

#include "chaosphere.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define CALL(name) table->PASTE(name, SUFFIX)

static const long double EPS = sizeof(real) == 8 ? DBL_EPSILON : FLT_EPSILON;
static const long double SMALLEST_NORMAL = sizeof(real) == 8 ? DBL_MIN : FLT_MIN;
static const char *isa = "";

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d (%s, %d bytes): %s: ", __FILE__, __LINE__, isa, (int)sizeof(real), #condition);     \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CHECK_CLOSE(actual, expected, tolerance, ...)                                                                  \
    CHECK(fabsl((long double)(actual) - (expected)) <= (tolerance), __VA_ARGS__)

/* What a function must not use: NaN, or what MemorySanitizer knows to be uninitialised. */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define IS_MEMORY_CHECKED 1
#endif
#endif

/* Whether a program takes fewer sizes, for the sake of time. */
#if defined(IS_MEMORY_CHECKED) || defined(IS_EMULATED)
#define FEWER 1
#else
#define FEWER 0
#endif

static void *spoiled(void *at, size_t n_bytes) {
    CHECK(at, "no memory");
#ifndef IS_MEMORY_CHECKED
    memset(at, 0xff, n_bytes);
#endif
    (void)n_bytes;
    return at;
}

/* A buffer of exactly this size, so that AddressSanitizer sees the first byte too many. */
static void *exact(size_t n_bytes) {
    return spoiled(malloc(n_bytes), n_bytes);
}

/* The same for blocks, which are aligned; their sizes are multiples of the alignment. */
static void *block(size_t n_values, size_t size) {
    CHECK(n_values * size % CHS_ALIGN == 0, "a block of %zu values", n_values);
    return spoiled(aligned_alloc(CHS_ALIGN, n_values * size), n_values * size);
}
#define REALS(n) ((real *)block((size_t)(n), sizeof(real)))
#define DOUBLES(n) ((double *)block((size_t)(n), sizeof(double)))

/* Uniform in [-1, 1], the same sequence in every run. */
static double uniform(void) {
    static unsigned long long state = 1;
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (double)(state >> 11) / 4503599627370496.0 - 1;
}

static inline void fill(long n, real *x, double scale) {
    for (long i = 0; i < n; i++)
        x[i] = (real)(scale * uniform());
}

/* rows coordinates of n tokens, padded with zeros up to ld. */
static inline real *random_block(long rows, long n, long ld, double scale) {
    real *x = REALS(rows * ld);
    for (long k = 0; k < rows; k++)
        for (long j = 0; j < ld; j++)
            x[k * ld + j] = j < n ? (real)(scale * uniform()) : 0;
    return x;
}

typedef void (*test)(const chs_kernels *);

/* Every instruction set that this processor runs. */
static int run_all(test body) {
    int n_run = 0;
    for (int index = 0; chs_isa_name(index); index++) {
        isa = chs_isa_name(index);
#ifdef ONLY
        if (strcmp(isa, ONLY) != 0)
            continue;
#endif
        const chs_kernels *table = chs_kernels_for(isa);
        if (!table)
            continue;
        CHECK(strcmp(table->name, isa) == 0, "the table says %s", table->name);
        body(table);
        printf("%s ", isa);
        n_run++;
    }
    CHECK(n_run > 0, "no instruction set runs here");
    return 0;
}

#endif
