/* Every operation that the algorithms ask of an instruction set, in GNU C. The header of an instruction set includes
 * this one at its end. An operation that it has defined itself is left out here: it has said so by OWN_...
 *
 * Each comment states what the operation must do, on every instruction set.
 */

#ifndef OWN_SPLAT
/* x in every lane. This is for vectors of 16 bytes; others have an instruction. */
INLINE vec NAME(splat)(real x) {
#if F64
    return (vec){x, x};
#else
    return (vec){x, x, x, x};
#endif
}
#endif

#ifndef OWN_PIN_IN_REGISTER
/* x, kept in a register: without it GCC may read a value from memory again in every instruction that uses it. */
INLINE vec NAME(pin_in_register)(vec x) {
    return x;
}
#endif

#ifndef OWN_FMA
/* a b + c, fused where HAS_FMA is 1, else rounded twice. */
INLINE vec NAME(fma)(vec a, vec b, vec c) {
    return a * b + c;
}
#endif

#ifndef OWN_FMA_SPLAT
/* a b + c with one number a. */
INLINE vec NAME(fma_splat)(const real *a, vec b, vec c) {
    return NAME(fma)(NAME(splat)(*a), b, c);
}
#endif

#ifndef OWN_MIN_MAX
/* The larger of a and b, and the smaller: b where either is NaN, so that NaN in b goes through and is seen at the end;
 * b also where both are zeros. */
INLINE vec NAME(larger)(vec a, vec b) {
    return NAME(select)((ivec)(a > b), a, b);
}

INLINE vec NAME(smaller)(vec a, vec b) {
    return NAME(select)((ivec)(a < b), a, b);
}
#endif

#ifndef OWN_RANGE
/* The smaller of |x| and bound; anything of them where x is NaN. */
INLINE vec NAME(bounded_size)(vec x, real bound) {
    const vec size = (vec)((ivec)x & ~(ivec)NAME(splat)((real)-0.0));
    return NAME(smaller)(NAME(splat)(bound), size);
}

/* y with the sign of x, for 0 <= y <= |x|; y above |x| may become |x|. NaN where both are. */
INLINE vec NAME(signed_like)(vec y, vec x) {
    return (vec)((ivec)y | ((ivec)x & (ivec)NAME(splat)((real)-0.0)));
}
#endif

#ifndef OWN_PICK
/* Lane i is lane index[i] of a followed by b. */
INLINE vec NAME(pick)(vec a, vec b, ivec index) {
#if defined(__clang__)
    vec out;
    for (int i = 0; i < LANES; i++)
        out[i] = index[i] < LANES ? a[index[i]] : b[index[i] - LANES];
    return out;
#else
    return __builtin_shuffle(a, b, index);
#endif
}
#endif

#ifndef OWN_LOOKUP
/* A table of LOOKUP_SIZE = 2^LOOKUP_BITS numbers in registers, and the entries that the low bits of the lanes of an
 * index pick, as numbers or as their bits. Other bits of the index may be anything. Where no instruction does this, the
 * size is 1. */
#undef LOOKUP_SIZE
#undef LOOKUP_BITS
#define LOOKUP_SIZE 1
#define LOOKUP_BITS 0
typedef vec NAME(table);

INLINE NAME(table) NAME(load_table)(const void *entries) {
    real only;
    memcpy(&only, entries, sizeof only);
    return NAME(splat)(only);
}

INLINE vec NAME(lookup)(NAME(table) t, ivec index) {
    (void)index;
    return t;
}

INLINE ivec NAME(lookup_bits)(NAME(table) t, ivec index) {
    (void)index;
    return (ivec)t;
}
#endif

#ifndef OWN_CHOOSE
/* The same for a table of N_CHOICES = 2^CHOICE_BITS numbers in one register. Beside multiply-adds it costs nothing on some
 * processors, where `lookup` takes the place of one. */
#undef N_CHOICES
#undef CHOICE_BITS
#define N_CHOICES 1
#define CHOICE_BITS 0
INLINE vec NAME(choose)(vec table, ivec index) {
    (void)index;
    return table;
}
#endif

#ifndef OWN_RECIPROCAL
/* 1 / x for x from 1 to 2^EXPONENT_HIGH, to a unit in the last place. */
INLINE vec NAME(reciprocal)(vec x) {
    return 1 / x;
}

/* a / b for b from 1 to 2^EXPONENT_HIGH and a of at most their size, to about half a unit. */
INLINE vec NAME(quotient)(vec a, vec b) {
    return a / b;
}
#endif

#ifndef OWN_ADD_AS_DOUBLES
/* sums[i] += lane i of x. */
INLINE void NAME(add_as_doubles)(vec x, double *sums) {
#if F64
    store_f64(sums, load_f64(sums) + x);
#else
    for (int i = 0; i < LANES; i++)
        sums[i] += (double)x[i];
#endif
}
#endif

#ifndef OWN_ADD_LANE_SUMS
/* sums[i] += the sum of the lanes of x[i], i < ACCUMULATED_ROWS, in a fixed order. */
INLINE void NAME(add_lane_sums)(const vec *x, double *sums) {
    for (int i = 0; i < ACCUMULATED_ROWS; i++)
        sums[i] += (double)NAME(lane_sum)(x[i]);
}
#endif

#if F64
#ifndef OWN_MULTIPLY_LOW
/* Products of the low halves of each lane with b; the high halves may hold anything. */
INLINE uvec multiply_low(uvec a, uint32_t b) {
    return (a & 0xffffffff) * b;
}
#endif

#ifndef OWN_SQUARE_ROOT
/* The square root of every lane, rounded as IEEE 754 wants it. */
INLINE vec square_root(vec x) {
    for (long l = 0; l < LANES; l++)
        x[l] = sqrt(x[l]);
    return x;
}
#endif

#ifndef OWN_ALL_LANES
/* Whether a comparison holds in every lane. */
INLINE int all_lanes(ivec where) {
    int all = 1;
    for (long l = 0; l < LANES; l++)
        all &= where[l] != 0;
    return all;
}
#endif
#endif

#undef OWN_SPLAT
#undef OWN_PIN_IN_REGISTER
#undef OWN_FMA
#undef OWN_FMA_SPLAT
#undef OWN_MIN_MAX
#undef OWN_PICK
#undef OWN_RANGE
#undef OWN_LOOKUP
#undef OWN_CHOOSE
#undef OWN_RECIPROCAL
#undef OWN_ADD_AS_DOUBLES
#undef OWN_ADD_LANE_SUMS
#undef OWN_MULTIPLY_LOW
#undef OWN_SQUARE_ROOT
#undef OWN_ALL_LANES
