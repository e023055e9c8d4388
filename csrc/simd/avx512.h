/* AVX-512 (F, VL, DQ, BW): 32 registers of 64 bytes. */
#include <immintrin.h>

#define VECTOR_BYTES 64
#define N_REGISTERS 32
#define HAS_FMA 1

#include "vector.h"

#undef register_type
#undef AVX
#if F64
#define register_type __m512d
#define AVX(operation) _mm512_##operation##_pd
#else
#define register_type __m512
#define AVX(operation) _mm512_##operation##_ps
#endif

#define OWN_SPLAT
INLINE vec NAME(splat)(real x) {
    return (vec)AVX(set1)(x);
}

#define OWN_PIN_IN_REGISTER
INLINE vec NAME(pin_in_register)(vec x) {
    __asm__("" : "+v"(x));
    return x;
}

#define OWN_FMA
INLINE vec NAME(fma)(vec a, vec b, vec c) {
    return (vec)AVX(fmadd)((register_type)a, (register_type)b, (register_type)c);
}

#define OWN_FMA_SPLAT /* one instruction, which GCC would split to load the number once */
INLINE vec NAME(fma_splat)(const real *a, vec b, vec c) {
#if F64
    __asm__("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(c) : "v"(b), "m"(*a));
#else
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(*a));
#endif
    return c;
}

#define OWN_MIN_MAX /* the instructions give their second operand where either is NaN */
INLINE vec NAME(larger)(vec a, vec b) {
    return (vec)AVX(max)((register_type)a, (register_type)b);
}

INLINE vec NAME(smaller)(vec a, vec b) {
    return (vec)AVX(min)((register_type)a, (register_type)b);
}

#define OWN_RANGE /* one instruction each, beside multiply-adds, whose place merged logic would take */
INLINE vec NAME(bounded_size)(vec x, real bound) {
    return (vec)AVX(range)((register_type)x, (register_type)NAME(splat)(bound), 10);
}

INLINE vec NAME(signed_like)(vec y, vec x) {
    return (vec)AVX(range)((register_type)x, (register_type)y, 2);
}

#define OWN_PICK
INLINE vec NAME(pick)(vec a, vec b, ivec index) {
    return (vec)AVX(permutex2var)((register_type)a, (__m512i)index, (register_type)b);
}

#define OWN_LOOKUP /* of two registers; the instruction looks at no other bits of the index */
#undef LOOKUP_SIZE
#undef LOOKUP_BITS
#if F64
#define LOOKUP_SIZE 16
#define LOOKUP_BITS 4
#else
#define LOOKUP_SIZE 32
#define LOOKUP_BITS 5
#endif
typedef struct {
    vec low, high;
} NAME(table);

INLINE NAME(table) NAME(load_table)(const void *entries) {
    NAME(table) t;
    memcpy(&t.low, entries, sizeof(vec));
    memcpy(&t.high, (const char *)entries + sizeof(vec), sizeof(vec));
    return t;
}

INLINE vec NAME(lookup)(NAME(table) t, ivec index) {
    return NAME(pick)(t.low, t.high, index);
}

INLINE ivec NAME(lookup_bits)(NAME(table) t, ivec index) {
#if F64
    return (ivec)_mm512_permutex2var_epi64((__m512i)t.low, (__m512i)index, (__m512i)t.high);
#else
    return (ivec)_mm512_permutex2var_epi32((__m512i)t.low, (__m512i)index, (__m512i)t.high);
#endif
}

#define OWN_CHOOSE
#undef N_CHOICES
#undef CHOICE_BITS
#if F64
#define N_CHOICES 8
#define CHOICE_BITS 3
#else
#define N_CHOICES 16
#define CHOICE_BITS 4
#endif
INLINE vec NAME(choose)(vec table, ivec index) {
    return (vec)AVX(permutexvar)((__m512i)index, (register_type)table);
}

#define OWN_RECIPROCAL /* 14 bits, then Newton: three to five operations that run beside others, as a division does    \
                          not */
INLINE vec NAME(less_product)(vec c, vec a, vec b) {
    return (vec)AVX(fnmadd)((register_type)a, (register_type)b, (register_type)c);
}

INLINE vec NAME(rough_reciprocal)(vec x) {
    const vec r = (vec)AVX(rcp14)((register_type)x);
    return F64 ? NAME(fma)(r, NAME(less_product)(NAME(splat)(1), x, r), r) : r;
}

INLINE vec NAME(reciprocal)(vec x) {
    const vec r = NAME(rough_reciprocal)(x);
    return NAME(fma)(r, NAME(less_product)(NAME(splat)(1), x, r), r);
}

INLINE vec NAME(quotient)(vec a, vec b) {
    const vec r = NAME(rough_reciprocal)(b), q = a * r;
    return NAME(fma)(r, NAME(less_product)(a, q, b), q);
}

/* Neighbouring groups of h lanes added: those of a become the even groups, those of b the odd ones. */
INLINE vec NAME(fold)(vec a, vec b, const int h) {
#if F64
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7};
#else
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#endif
    const ivec odd = lane & (integer)h; /* h in odd groups, which take from b, index + LANES */
    const ivec low = (lane & ~(integer)(2 * h - 1)) + (lane & (integer)(h - 1)) + odd * (integer)(LANES / h);
    return NAME(pick)(a, b, low) + NAME(pick)(a, b, low + h);
}

#define OWN_ADD_LANE_SUMS
INLINE void NAME(add_lane_sums)(const vec *x, double *sums) {
    _Static_assert(ACCUMULATED_ROWS == 8, "add_lane_sums is written for eight rows");
    const vec a = NAME(fold)(x[0], x[4], (int)LANES / 2), b = NAME(fold)(x[1], x[5], (int)LANES / 2);
    const vec c = NAME(fold)(x[2], x[6], (int)LANES / 2), d = NAME(fold)(x[3], x[7], (int)LANES / 2);
    const vec e = NAME(fold)(a, c, (int)LANES / 4), f = NAME(fold)(b, d, (int)LANES / 4);
    const vec g = NAME(fold)(e, f, (int)LANES / 8);
#if F64
    const __m512d total = (__m512d)g;
#else /* two lanes each are left */
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
    const __m512 twice = _mm512_permutexvar_ps(even, _mm512_add_ps((__m512)g, _mm512_movehdup_ps((__m512)g)));
    const __m512d total = _mm512_cvtps_pd(_mm512_castps512_ps256(twice));
#endif
    _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), total));
}

#if F64
#define OWN_MULTIPLY_LOW
INLINE uvec multiply_low(uvec a, uint32_t b) {
    return (uvec)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
}

#define OWN_SQUARE_ROOT
INLINE vec square_root(vec x) {
    return (vec)_mm512_sqrt_pd((__m512d)x);
}

#define OWN_ALL_LANES
INLINE int all_lanes(ivec where) {
    return _mm512_movepi64_mask((__m512i)where) == 0xff;
}
#else
#define OWN_ADD_AS_DOUBLES
INLINE void NAME(add_as_doubles)(vec x, double *sums) {
    store_f64(sums, load_f64(sums) + (vec_f64)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)x)));
    store_f64(sums + 8, load_f64(sums + 8) + (vec_f64)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)x, 1)));
}
#endif

#include "portable.h"
