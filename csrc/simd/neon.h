/* NEON (Advanced SIMD) of 64-bit Arm, which all of these processors have: 32 registers of 16 bytes. */
#include <arm_neon.h>

#define VECTOR_BYTES 16
#define N_REGISTERS 32
#define HAS_FMA 1

#include "vector.h"

#undef register_type
#undef NEON
#if F64
#define register_type float64x2_t
#define NEON(operation) v##operation##q_f64
#else
#define register_type float32x4_t
#define NEON(operation) v##operation##q_f32
#endif

#define OWN_PIN_IN_REGISTER
INLINE vec NAME(pin_in_register)(vec x) {
    __asm__("" : "+w"(x));
    return x;
}

#define OWN_FMA
INLINE vec NAME(fma)(vec a, vec b, vec c) {
    return (vec)NEON(fma)((register_type)c, (register_type)a, (register_type)b);
}

#define OWN_ADD_LANE_SUMS /* neighbours first */
INLINE void NAME(add_lane_sums)(const vec *x, double *sums) {
#if F64
    for (int i = 0; i < ACCUMULATED_ROWS; i += 2)
        store_f64(sums + i, load_f64(sums + i) + (vec)vpaddq_f64((float64x2_t)x[i], (float64x2_t)x[i + 1]));
#else
    for (int i = 0; i < ACCUMULATED_ROWS; i += 4) {
        const float32x4_t a = vpaddq_f32((float32x4_t)x[i], (float32x4_t)x[i + 1]);
        const float32x4_t b = vpaddq_f32((float32x4_t)x[i + 2], (float32x4_t)x[i + 3]), c = vpaddq_f32(a, b);
        store_f64(sums + i, load_f64(sums + i) + (vec_f64)vcvt_f64_f32(vget_low_f32(c)));
        store_f64(sums + i + 2, load_f64(sums + i + 2) + (vec_f64)vcvt_high_f64_f32(c));
    }
#endif
}

#if F64
#define OWN_MULTIPLY_LOW
INLINE uvec multiply_low(uvec a, uint32_t b) {
    return (uvec)vmull_u32(vmovn_u64((uint64x2_t)a), vdup_n_u32(b));
}

#define OWN_SQUARE_ROOT
INLINE vec square_root(vec x) {
    return (vec)vsqrtq_f64((float64x2_t)x);
}
#else
#define OWN_ADD_AS_DOUBLES
INLINE void NAME(add_as_doubles)(vec x, double *sums) {
    store_f64(sums, load_f64(sums) + (vec_f64)vcvt_f64_f32(vget_low_f32((float32x4_t)x)));
    store_f64(sums + 2, load_f64(sums + 2) + (vec_f64)vcvt_high_f64_f32((float32x4_t)x));
}
#endif

#include "portable.h"
