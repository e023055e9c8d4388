/* The vector type of `real` and what GNU C does with it on every instruction set. */

#define vec NAME(vec)
#define ivec NAME(ivec)
#define LANES ((long)(VECTOR_BYTES / sizeof(real)))
#define DOUBLES ((long)(VECTOR_BYTES / sizeof(double)))

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES))); /* as large as real */
#if F64
typedef uint64_t uvec __attribute__((vector_size(VECTOR_BYTES)));
#endif

INLINE vec NAME(load)(const real *p) {
    return *(const vec *)p;
}

INLINE void NAME(store)(real *p, vec x) {
    *(vec *)p = x;
}

/* where ? a : b, lane by lane; `where` is all ones or all zeros in every lane, as comparisons give it. */
INLINE vec NAME(select)(ivec where, vec a, vec b) {
    return (vec)((where & (ivec)a) | (~where & (ivec)b));
}

/* Sum of the lanes in a fixed order: halves first. */
INLINE real NAME(lane_sum)(vec x) {
    real lane[LANES];
    memcpy(lane, &x, sizeof x);
    for (long half = LANES / 2; half > 0; half /= 2)
        for (long i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

INLINE real NAME(lane_max)(vec x) {
    real lane[LANES];
    memcpy(lane, &x, sizeof x);
    for (long half = LANES / 2; half > 0; half /= 2)
        for (long i = 0; i < half; i++)
            lane[i] = lane[i + half] > lane[i] ? lane[i + half] : lane[i];
    return lane[0];
}
