/* AVX2 with fused multiply-adds: 16 registers of 32 bytes. */
#include <immintrin.h>

#define VECTOR_BYTES 32
#define N_REGISTERS 16
#define HAS_FMA 1

#include "vector.h"

#undef register_type
#undef AVX
#if F64
#define register_type __m256d
#define AVX(operation) _mm256_##operation##_pd
#else
#define register_type __m256
#define AVX(operation) _mm256_##operation##_ps
#endif

#define OWN_SPLAT
INLINE vec NAME(splat)(real x) {
    return (vec)AVX(set1)(x);
}

#define OWN_PIN_IN_REGISTER
INLINE vec NAME(pin_in_register)(vec x) {
    __asm__("" : "+x"(x));
    return x;
}

#define OWN_FMA
INLINE vec NAME(fma)(vec a, vec b, vec c) {
    return (vec)AVX(fmadd)((register_type)a, (register_type)b, (register_type)c);
}

#define OWN_MIN_MAX /* the instructions give their second operand where either is NaN */
INLINE vec NAME(larger)(vec a, vec b) {
    return (vec)AVX(max)((register_type)a, (register_type)b);
}

INLINE vec NAME(smaller)(vec a, vec b) {
    return (vec)AVX(min)((register_type)a, (register_type)b);
}

#if F64
#define OWN_ADD_LANE_SUMS
INLINE void NAME(add_lane_sums)(const vec *x, double *sums) {
    _Static_assert(ACCUMULATED_ROWS == 4, "add_lane_sums is written for four rows");
    const __m256d a = _mm256_hadd_pd((__m256d)x[0], (__m256d)x[1]), b = _mm256_hadd_pd((__m256d)x[2], (__m256d)x[3]);
    const __m256d total = _mm256_add_pd(_mm256_permute2f128_pd(a, b, 0x20), _mm256_permute2f128_pd(a, b, 0x31));
    _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), total));
}

#define OWN_MULTIPLY_LOW
INLINE uvec multiply_low(uvec a, uint32_t b) {
    return (uvec)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
}

#define OWN_SQUARE_ROOT
INLINE vec square_root(vec x) {
    return (vec)_mm256_sqrt_pd((__m256d)x);
}

#define OWN_ALL_LANES
INLINE int all_lanes(ivec where) {
    return _mm256_movemask_pd((__m256d)where) == 0xf;
}
#else
#define OWN_LOOKUP
#undef LOOKUP_SIZE
#undef LOOKUP_BITS
#define LOOKUP_SIZE 8
#define LOOKUP_BITS 3
typedef vec NAME(table);

INLINE NAME(table) NAME(load_table)(const void *entries) {
    NAME(table) t;
    memcpy(&t, entries, sizeof t);
    return t;
}

INLINE vec NAME(lookup)(NAME(table) t, ivec index) {
    return (vec)_mm256_permutevar8x32_ps((__m256)t, (__m256i)index);
}

INLINE ivec NAME(lookup_bits)(NAME(table) t, ivec index) {
    return (ivec)_mm256_permutevar8x32_epi32((__m256i)t, (__m256i)index);
}

#define OWN_CHOOSE
#undef N_CHOICES
#undef CHOICE_BITS
#define N_CHOICES 8
#define CHOICE_BITS 3
INLINE vec NAME(choose)(vec table, ivec index) {
    return (vec)_mm256_permutevar8x32_ps((__m256)table, (__m256i)index);
}

#define OWN_ADD_AS_DOUBLES
INLINE void NAME(add_as_doubles)(vec x, double *sums) {
    store_f64(sums, load_f64(sums) + (vec_f64)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x)));
    store_f64(sums + 4, load_f64(sums + 4) + (vec_f64)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1)));
}

#define OWN_ADD_LANE_SUMS
INLINE void NAME(add_lane_sums)(const vec *x, double *sums) {
    const __m256 a = _mm256_hadd_ps((__m256)x[0], (__m256)x[1]), b = _mm256_hadd_ps((__m256)x[2], (__m256)x[3]);
    const __m256 c = _mm256_hadd_ps(a, b);
    const __m256d total = _mm256_cvtps_pd(_mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1)));
    _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), total));
}
#endif

#include "portable.h"
