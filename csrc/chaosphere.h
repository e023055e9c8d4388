/* chaosphere: tile kernels for interacting particles on the unit sphere.
 *
 * Pure functions on one tile or block: no Python, no threads, no allocation, no state. The caller owns
 * every buffer and the schedule. One source is compiled per instruction set; chs_kernels_for() gives the
 * function table of one of them.
 *
 * Layout. Tokens are cut into blocks of `ld` columns (a multiple of CHS_COLUMNS). A block stores coordinate k of
 * token j at [k * ld + j], is aligned to CHS_ALIGN bytes and is padded with zeros up to ld. Functions that
 * take `n` columns round it up to CHS_COLUMNS themselves; padding never changes a result.
 * Every function exists for double (_f64) and float (_f32); sums over tokens leave a tile as double.
 * Sizes may be 0: of no tokens, rows or columns every sum is 0 and nothing is read. Only fourier_field needs n_steps >=
 * 1 and the harmonics d >= 2.
 */
#ifndef CHAOSPHERE_H
#define CHAOSPHERE_H

#include "tuning.h"

#include <stddef.h>
#include <stdint.h>

/* All weights of two blocks and some of their sums; or those of a chunk, then d + 1 rows of sums. */
#define CHS_PAIR_SCRATCH(d, ld) ((CHS_CHUNK + (ld) + (d) + 1) * (ld))
#define CHS_FOURIER_SCRATCH(n_steps) (13 * CHS_FOURIER_TILE + 14 * 8 * (n_steps)) /* doubles */
#define CHS_PREFIX_SCRATCH(n_max)                                                                                      \
    ((2 + 3 * CHS_PREFIX_CHUNKS) * CHS_PREFIX_TILE + (2 * (n_max) + 5) * CHS_PREFIX_CHUNKS) /* doubles */

/* Masks of derivatives: a row sums over the columns up to its own, or from its own on. */
enum { CHS_LOWER = 1, CHS_UPPER = 2 };

/* Activations by number, CHS_relu ... */
enum chs_activation {
#define CHS_ACTIVATION(name) CHS_##name,
#include "activations.def"
    CHS_N_ACTIVATIONS
};

/* A step x <- LN(x + alpha mean) from sums, with mean = value_scale (scale sums / total), or scale sums without is_mean.
 * Where the norm is zero or not finite, bad[lane], -1 before, is the first vector. */
typedef struct {
    int is_mean;
    double scale, value_scale, alpha;
    long *bad;
} chs_step;

#define CHS_DECLARE(real, suffix)                                                                                      \
    /* Gather n rows of length d (byte strides, any layout) times scale into a block; rows of zeros pad it. */         \
    void (*pack_##suffix)(long n, long d, const char *x, ptrdiff_t row_stride, ptrdiff_t column_stride, double scale,  \
                          long ld, real *block);                                                                       \
    /* The way back: x[j, k] = scale block[k, j] + shift[k], rows contiguous; shift may be NULL. */                    \
    void (*unpack_##suffix)(long n, long d, long ld, const real *block, double scale, const real *shift, real *x);     \
    /* out[r, j] = sum_k a[r, k] x[k, j]; a is row-major (rows, d), x a block. */                                      \
    void (*map_##suffix)(long n, long rows, long d, const real *a, const real *x, long ld, real *out);                 \
    /* Numbers in a block for attend_pair, and in its sums: (d + 1) ld or more: then they are packed. */               \
    long (*block_size_##suffix)(long d, long ld);                                                                      \
    /* Rows 0 ... d of a block as a packed block; a column of row d is the weight of its token. */                     \
    void (*pack_panels_##suffix)(long d, long ld, const real *x, real *block);                                                \
    /* Both sides of one pair of blocks: w_ij = 2^(q_i . k_j - shift) for i < n_i, j < n_j, then                       \
     *   sum_i[c, i] += sum_j w_ij v_j[c, j]  and  sum_j[c, j] += sum_i w_ij v_i[c, i],  either unless it is NULL,     \
     * c = 0 .. value_dim (coordinate value_dim of v carries the token's weight). shift must bound |q_i . k_j|, up to  \
     * rounding, unless it is too large for any weight to count. q and k are blocks of key_dim coordinates, v and sums \
     * of value_dim; all are packed if block_size says so of both numbers, else none. sum_i is bitwise identical with  \
     * and without sum_j, unless v_i is NULL, as sum_j is then. sum_j = sum_i is for a block with itself whose w is    \
     * symmetric: each pair is taken once, for both of its tokens.                                                     \
     * scratch: CHS_PAIR_SCRATCH(value_dim, ld) numbers. */                                                            \
    void (*attend_pair_##suffix)(long key_dim, long value_dim, long n_i, long n_j, long ld, const real *q_i,           \
                                 const real *k_j, const real *v_i, const real *v_j, real shift, real *scratch,         \
                                 double *sum_i, double *sum_j);                                                        \
    /* The sums of weights alone, of blocks that are never packed, with the weights p of the tokens as row d:          \
     *   sum_i[i] += sum_j w_ij p_j  and  sum_j[j] += sum_i w_ij p_i,  either unless it is NULL,                        \
     * w_ij = 2^(x_i . x_j - shift), with the shift of attend_pair. scratch: CHS_PAIR_SCRATCH(d, ld) numbers. */       \
    void (*partition_pair_##suffix)(long d, long n_i, long n_j, long ld, const real *x_i, const real *x_j, real shift, \
                                    real *scratch, double *sum_i, double *sum_j);                                      \
    /* total[j] = sums[d, j] and out[k, j] = scale sums[k, j] / total[j] for all ld columns; means nothing where that  \
     * is 0. */                                                                                                        \
    void (*means_##suffix)(int is_packed, long d, long ld, const double *sums, double scale, real *out,                \
                           double *total);                                                                             \
    /* One side with a running maximum: s_ij = q_i . k_j + bias_j over key_dim coordinates; top_i is raised to cover   \
     * s_i*, sum_i is rescaled and gains sum_j 2^(s_ij - top_i) v_j[c, j], c = 0 .. value_dim (coordinate value_dim of \
     * v carries the token's weight). bias_j = -inf removes a column. w: CHS_CHUNK * ld numbers. With top NULL there   \
     * is neither a maximum nor a bias: |q_i . k_j| <= CHS_SMALL_SCORE. */                                             \
    void (*attend_rows_##suffix)(long key_dim, long value_dim, long n_i, long n_j, long ld, const real *q_i,           \
                                 const real *k_j, const real *v_j, const real *bias_j, real *w, real *top_i,           \
                                 double *sum_i);                                                                       \
    /* Systems in a group: coordinate c of token j of all of them is at [(j d + c) lanes] of tokens, and at            \
     * [(j (d + 1) + c) lanes] of sums. Without is_group, in the following, they are blocks of one system. */          \
    long (*replica_lanes_##suffix)(void);                                                                              \
    /* sums[i, c] = sum_j w_ij v_j[c] and sums[i, d] = sum_j w_ij p_j with k = scale x, w_ij = 2^(k_i . k_j - shift),   \
     * of n tokens x with values v, NULL for k. p, with lanes as those of the tokens, may be NULL, for 1 each, if       \
     * shift < 479 (f32: 50). With coefficients c of powers, lowest first, w_ij is the polynomial of k_i . k_j instead,  \
     * and sums[i, d] means nothing. With is_causal the sums of token i are over j <= i. With a step, which may be NULL,  \
     * x is where it leads. Blocks have ld >= n columns, whole vectors. scratch: (d + 4) n lanes numbers; of one system  \
     * (d + ld) ld. */                                                                                                  \
    void (*attend_replicas_##suffix)(int is_group, int is_causal, long n, long d, long ld, real *x, const real *v,     \
                                     const real *p, double scale, real shift, long degree, const real *c,              \
                                     const chs_step *step, real *scratch, real *sums);                                 \
    /* total[j] = sums[j, d] and mean[j, c] = value_scale (scale sums[j, c] / total[j]), vector by vector; without      \
     * is_mean nothing is divided. */                                                                                  \
    void (*replica_means_##suffix)(int is_group, int is_mean, long n, long d, long ld, const real *sums, double scale, \
                                   double value_scale, real *mean, real *total);                                       \
    /* x <- LN(x + alpha mean), bitwise that of `step` for contiguous rows. Where the norm is zero or not finite,       \
     * bad[lane], -1 before, is the first vector. */                                                                   \
    void (*replica_step_##suffix)(int is_group, long n, long d, long ld, const real *mean, double alpha, real *x,      \
                                  long *bad);                                                                          \
    /* out_r = sum_c a[r, c] x_c of n tokens, r < rows; a is row-major (rows, d). */                                     \
    void (*replica_map_##suffix)(int is_group, long n, long rows, long d, long ld, const real *a, const real *x,       \
                                 real *out);                                                                           \
    /* As attend_replicas for n_q queries and n_k keys of key_dim coordinates, values of value_dim, and scores of any  \
     * size: w_ij = 2^(bias_j + q_i . k_j - top_i) with the largest exponent top_i; bias, with lanes as those of the   \
     * keys, may be NULL. With is_distance -log2(e) |k_j|^2 is added to it before. Without has_top it is 0: no exponent\
     * is so large or so small that its power overflows or counts as 0. With first >= 0 query i sees the keys          \
     * j <= first + i alone, which are among the n_k, with decay (j - first - i) added to their exponents. Any other   \
     * n_q changes no bit of a query. Blocks of queries and sums have ld_q columns, those of keys, values and biases   \
     * ld_k. scratch: 4 n_k lanes numbers. */                                                                          \
    void (*attend_replica_rows_##suffix)(int is_group, int is_distance, long first, real decay, int has_top,           \
                                         long key_dim, long value_dim, long n_q, long n_k, long ld_q, long ld_k,       \
                                         const real *q, const real *k, const real *v, real *bias, real *scratch,       \
                                         real *top, real *sums);                                                       \
    /* As attend_replicas of values x with w_ij = 2^(q_i . x_j), q = A x of a symmetric A, each of them taken once; no \
     * exponent is so large or so small that its power overflows or counts as 0. scratch: 4 n lanes numbers; of one    \
     * system ld ld. */                                                                                                \
    void (*attend_symmetric_##suffix)(int is_group, long n, long d, long ld, const real *q, const real *x,             \
                                      real *scratch, real *sums);                                                      \
    /* Both sides of one pair of blocks with a polynomial p for the coefficient of a pair: u_ij = x_i . x_j, then      \
     *   sum_i[c, i] += sum_j p(u_ij) v_j[c, j]  and  sum_j[c, j] += sum_i p(u_ij) v_i[c, i],  either unless it is     \
     * NULL, for first <= c < stop; is_packed: first = 0, stop = d, and the sums of coordinate d mean nothing. c holds \
     * degree + 1 coefficients of powers, lowest first, or with is_series of Chebyshev polynomials. Blocks, sums and   \
     * scratch are those of attend_pair; blocks may be packed where block_size says that they are. */                  \
    void (*potential_pair_##suffix)(int is_packed, int is_series, long degree, const real *c, long d, long first,      \
                                    long stop, long n_i, long n_j, long ld, const real *x_i, const real *x_j,          \
                                    const real *v_i, const real *v_j, real *scratch, double *sum_i, double *sum_j);    \
    /* One side of the derivatives of attention: w_ij = 2^(row_exponents_i + column_exponents_j + a_i . b_j) and       \
     * t_ij = row_terms_i + column_terms_j + u_i . g_j, then, c in n_products rows of coordinates and e in n_plain,    \
     *   sums[k, i] += sum_j w_ij t_ij c_j[k]  and, after these rows,  sums[k, i] += sum_j w_ij e_j[k].                \
     * A block of rows has the coordinates a (key_dim) and u (term_dim), one of columns b, g, c and e. An exponent of  \
     * -inf removes a column. With a mask, CHS_LOWER or CHS_UPPER, the two blocks have the same tokens, only j <= i or \
     * j >= i count, and by_distance[|i - j|] is added to the exponents. scratch: 2 CHS_CHUNK ld numbers. */           \
    void (*tangent_rows_##suffix)(int mask, long key_dim, long term_dim, long n_products, long n_plain, long n_i,      \
                                  long n_j, long ld, const real *rows, const real *columns, const real *row_exponents, \
                                  const real *column_exponents, const real *row_terms, const real *column_terms,       \
                                  const real *by_distance, real *scratch, double *sums);                               \
    /* The same with a polynomial p[0] of a_i . b_j for the coefficients of the products and p[1] for the plain ones,  \
     * as in potential_pair, and t_ij = u_i . g_j. */                                                                  \
    void (*tangent_potential_##suffix)(const int *is_series, const long *degree, const real *const *p, long key_dim,   \
                                       long term_dim, long n_products, long n_plain, long n_i, long n_j, long ld,      \
                                       const real *rows, const real *columns, real *scratch, double *sums);            \
    /* Both sides of the gradients of attention, w_ij = 2^(row_exponents_i + column_exponents_j + q_i . k_j) and       \
     * t_ij = row_terms_i + g_i . v_j:                                                                                 \
     *   sum_i[c, i] += sum_j w_ij t_ij k_j[c],  sum_j[c, j] += sum_i w_ij t_ij q_i[c]  and, after these rows,         \
     *   sum_j[c, j] += sum_i w_ij u_i[c].                                                                             \
     * A block of rows has the coordinates q (key_dim), g and u (value_dim each), one of columns k and v. An exponent  \
     * of -inf removes a row or a column. is_masked: the two blocks have the same tokens, and only j <= i count.       \
     * zeros: ld numbers; scratch: (2 CHS_CHUNK + key_dim + value_dim) ld numbers. */                                  \
    void (*gradient_pair_##suffix)(int is_masked, long key_dim, long value_dim, long n_i, long n_j, long ld,           \
                                   const real *rows, const real *columns, const real *row_exponents,                   \
                                   const real *column_exponents, const real *row_terms, const real *zeros,             \
                                   real *scratch, double *sum_i, double *sum_j);                                       \
    /* out[k, j] = scale sums[k, j] for all ld columns, k < d. */                                                      \
    void (*sums_##suffix)(int is_packed, long d, long ld, const double *sums, double scale, real *out);                \
    /* out[k, j] = sum_h w[k, h] phi(sum_l u[h, l] x[l, j] + b[h]), u (m, d) and w (d, m) row-major, b NULL or (m).    \
     * All ld columns are computed, a multiple of 2 replica_lanes; scratch: CHS_HIDDEN CHS_COLUMNS numbers. */         \
    void (*layer_##suffix)(long d, long m, long ld, const real *x, const real *u, const real *b, const real *w,        \
                           int activation, real *scratch, real *out);                                                  \
    /* x <- phi(x) for n values, n a multiple of CHS_COLUMNS. */                                                       \
    void (*activate_##suffix)(int activation, long n, real *x);                                                        \
    /* out[c, j] = sum of coefficients a times the harmonics (of harmonics.inc, not normalised) of degree <= n_max in  \
     * dimension d at x[:, j], c < n_rows. steps: (d - 2) (n_max + 1) (n_max + 1) numbers; a: for d = 2 as             \
     * (harmonic, c), else for each l as (j, c, p). scratch: rows of ld, H (twice for d > 3) + n_max + 3, H the        \
     * harmonics of degree <= n_max in dimension max(2, d - 1). */                                                     \
    void (*harmonic_field_##suffix)(long d, long n_max, long n_rows, long n, long ld, const real *x,                   \
                                    const real *steps, const real *a, real *scratch, real *out);                       \
    /* out = LN(x + alpha v) for n rows of length d (out contiguous, may be v; v may be NULL); the first row whose     \
     * norm is zero or not finite is returned, or -1. */                                                               \
    long (*step_##suffix)(long n, long d, const char *x, ptrdiff_t x_row, ptrdiff_t x_column, const real *v,           \
                          double alpha, real *out);                                                                    \
    /* Largest | |x_i| - 1 | over n rows and its row, 0 and -1 of none; not-a-number counts as infinite. */            \
    double (*deviation_##suffix)(long n, long d, const char *x, ptrdiff_t row_stride, ptrdiff_t column_stride,         \
                                 long *row);                                                                           \
    /* n tokens, projected onto the sphere, as a block of doubles whose padding repeats the first of them, or is 0. */ \
    void (*unit_block_##suffix)(long n, long d, const char *x, ptrdiff_t row_stride, ptrdiff_t column_stride, long ld, \
                                double *block);                                                                        \
    /* mean[j, k] = sums[k, j] / sums[d, j] (contiguous) and z[j] = sums[d, j] for n tokens of a block. */             \
    void (*ratios_##suffix)(long n, long d, long ld, const double *sums, real *mean, double *z);                       \
    /* moments[b, :] = sum_j p_j {Re, Im} w_j^b {1, Re z_j, Im z_j, ..., Im z_j^3}, b < n_steps, over n tokens z_j on  \
     * the circle, w = z^7; {Re, Im} runs fastest, p NULL counts 1 each. scratch: CHS_FOURIER_SCRATCH(n_steps). */     \
    void (*fourier_moments_##suffix)(long n, const char *x, ptrdiff_t row_stride, ptrdiff_t column_stride,             \
                                     const double *p, long n_steps, double *scratch, double *moments);                 \
    /* s_c = sum_b {Re, Im} w^b . a[b, c, {Re, Im}, :] {1, Re z, ..., Im z^3}, c = 0, 1, 2, then as `ratios`. Returns  \
     * the least s_2. */                                                                                               \
    double (*fourier_field_##suffix)(long n, const char *x, ptrdiff_t row_stride, ptrdiff_t column_stride,             \
                                     long n_steps, const double *a, double *scratch, real *mean, double *z);           \
    /* The transpose of harmonic_field, d >= 3: moments, laid out as its a, of n tokens in tiles of ld (a multiple of  \
     * CHS_COLUMNS): sum_j p_j times the harmonics at x_j; p NULL counts 1 each.                                        \
     * scratch: 8 harmonics of degree <= n_max + (d + 1) ld + rows of harmonic_field. It                               \
     * keeps the sums from call to call, after one with is_first, until one with moments that are not NULL; all calls  \
     * but the last take multiples of ld tokens. */                                                                    \
    void (*harmonic_moments_##suffix)(long d, long n_max, long n, long ld, const char *x,                              \
                                      ptrdiff_t row_stride, ptrdiff_t column_stride, const double *p,                  \
                                      const double *steps, int is_first, double *scratch, double *moments);            \
    /* attend_pair of a block with itself, for sum_i alone and under a causal mask: the sums of token i are over       \
     * j <= i. */                                                                                                      \
    void (*causal_pair_##suffix)(long d, long n, long ld, const real *q, const real *k, const real *v, real shift,     \
                                 real *scratch, double *sums);                                                         \
    /* attend_rows of a block with itself, likewise: s_ij = q_i . k_j + bias_j + by_distance[i - j], j <= i. The table \
     * has ld numbers. With top NULL there is no by_distance either. */                                                \
    void (*causal_rows_##suffix)(long key_dim, long value_dim, long n, long ld, const real *q, const real *k,          \
                                 const real *v, const real *bias, const real *by_distance, real *w, real *top,         \
                                 double *sums);                                                                        \
    /* Tokens on the circle in CHS_PREFIX_CHUNKS chunks of `chunk` tokens, n in all. With mean NULL:                   \
     * moments[l, k, {Re, Im}] = sum_j p_j keep^(last - j) z_j^k over chunk l, k <= n_max, with `last` its last place, \
     * taken or not; p NULL counts 1 each. Otherwise `moments` are those of all tokens before the chunk, as seen from  \
     * the last of them, and token z gets z[i] = sum_k a_k A_k and                                                     \
     * mean[i] = z (sum_k b_k A_k - i sum_k c_k B_k) / z[i], with A_k + i B_k = sum_{j <= i} p_j keep^(i - j) z^k      \
     * conj(z_j^k) over all of them; least[l] is the least of z in a chunk. factors: a_k, b_k, c_k for k <= n_max + 1, \
     * zero for the last if n_max is odd. scratch: CHS_PREFIX_SCRATCH(n_max). */                                       \
    void (*fourier_prefix_##suffix)(long n, long chunk, const char *x, ptrdiff_t row_stride, ptrdiff_t column_stride,  \
                                    const double *p, double keep, long n_max, const double *factors, double *moments,  \
                                    double *scratch, real *mean, double *z, double *least);                             \
    /* Hardmax of n_i tokens over n_j others, whose weights are p_j: s_ij = q_i . k_j + bias_j, or with is_distance    \
     * bias_j - |q_i - k_j|^2. Where the largest s_ij over j is above top[i], the sums of i start anew with it; where  \
     * it is equal to top[i], sums[c, i] += p_j v_j[c, j] for all such j, c < value_dim, and sums[value_dim, i] += p_j.\
     * A bias is 0, or -inf for a column that does not count; with is_causal j > i do not count, either. top is -inf at \
     * first. w: CHS_CHUNK ld numbers. */                                                                              \
    void (*hardmax_rows_##suffix)(int is_distance, int is_causal, long key_dim, long value_dim, long n_i, long n_j,    \
                                  long ld, const real *q, const real *k, const real *v, const real *bias,              \
                                  const double *p, real *w, real *top, double *sums);                                  \
    /* `map` whose products and sums are rounded one by one, alike on all instruction sets. */                         \
    void (*unfused_map_##suffix)(long n, long rows, long d, const real *a, const real *x, long ld, real *out);

typedef struct chs_kernels {
    const char *name;
    CHS_DECLARE(double, f64)
    CHS_DECLARE(float, f32)
    /* Standard normals 16 first .. 16 (first + n) - 1 of a step of the stream with key (k0, k1); see normal.inc. */
    void (*normals)(uint32_t k0, uint32_t k1, uint64_t step, uint64_t first, long n, double *out);
    /* One pair of blocks (the same block when is_diagonal): adds sum_ij p_i p_j (1 - e^{-beta s_ij}) with
     * s = |x_i - x_j|^2 / 2 to energy[0], unless it is NULL, and, when n_bins > 0, p_i p_j to the bin of 1 - s in n_bins
     * < 2^31 equal bins of [-1, 1] (i != j only), the sum of CHS_COUNTERS(n_bins) numbers of the histogram. On the diagonal every ordered pair counts once, off it once per order. Blocks are
     * padded with tokens of weight 0; packed: the same with |x|^2 as row d, or NULL where blocks are not packed.
     * scratch: CHS_PAIR_ROWS ld.
     */
    void (*pair_statistics)(long d, long n_i, long n_j, long ld, int is_diagonal, const double *x_i, const double *x_j,
                            const double *packed_i, const double *packed_j, const double *p_i, const double *p_j,
                            double beta, long n_bins, double *scratch, double *energy, double *histogram);
    /* sum_ij p_i p_j (1 - e^(-beta |x_i - x_j|^2 / 2)) of each system of a group, or, in every lane, of one; tokens as in
     * attend_replicas, with the same weights p (n) of all systems. */
    void (*replica_energies)(int is_group, long n, long d, long ld, const double *x, const double *p, double beta,
                             double *energy);
} chs_kernels;

/* Name of an activation; NULL past the end. */
const char *chs_activation_name(int index);
/* Names of the instruction sets compiled in, best last; NULL past the end. */
const char *chs_isa_name(int index);
/* 1 when this processor can run the named kernels, 0 when it cannot, -1 when they are not compiled in. */
int chs_isa_runs(const char *name);
/* The table of one instruction set; NULL unless chs_isa_runs(name) == 1. */
const chs_kernels *chs_kernels_for(const char *name);

#endif
