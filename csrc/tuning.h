/* Block sizes and tuning constants of the kernels: docs/developers/kernels.md says how they were found. */
#ifndef CHS_TUNING_H
#define CHS_TUNING_H

/* Sizes that callers and kernels share. */
#define CHS_ALIGN 64          /* bytes; one AVX-512 vector, one cache line */
#define CHS_COLUMNS 32        /* columns of a block are a multiple of this, unless a function says otherwise */
#define CHS_CHUNK 32          /* rows of attention weights that live at once; CHS_COLUMNS is a multiple */
#define CHS_HIDDEN 128        /* hidden units whose activations live at once */
#define CHS_SMALL_SCORE 48    /* scores up to this size, base 2, need no maximum: a sum of their powers is a float */
#define CHS_PAIR_ROWS 8       /* rows of pair statistics at once; CHS_COLUMNS is a multiple */
/* Counters of each bin of a histogram, one after the other; of many bins few come again at once. */
#define CHS_COUNTERS(n_bins) ((n_bins) <= 4096 ? 4 : 1)
#define CHS_FOURIER_TILE 256  /* tokens of the sums on the circle at once */
#define CHS_PREFIX_CHUNKS 8   /* chunks of prefix sums at once: the lanes of the widest vectors */
#define CHS_PREFIX_TILE 64    /* tokens of each of them at once */
#define CHS_BLOCK_COLUMNS 192 /* tokens of a block: 192 x 192 weights fill a third of a second-level cache of 1 MB */
#define CHS_BLOCKS 8          /* blocks into which a small system is cut, for the threads */

/* What follows is for the kernels alone. N_REGISTERS, HAS_FMA, LANES and N_CHOICES come from the header of the
 * instruction set, F64 from the type. */
#ifdef CHS_ISA

/* The micro-panel of products: MR rows of NR columns, NR_VECTORS vectors. As many accumulators as hide the latency of a
 * multiply-add and leave registers for the operands; where it is not fused, its product needs one too. */
#define MR (N_REGISTERS >= 32 ? 8 : HAS_FMA ? 6 : 4)
#define NR_VECTORS 2
#define NR (NR_VECTORS * LANES)
#define MAX_NR_VECTORS 4 /* of a panel of one or two rows */

/* Terms of a product after which a few lines of what comes next are fetched: many at once would hold up the loads. */
#define SEGMENT 16

/* Rows of attention weights that fill half a first-level cache. */
#define CHUNK (F64 ? CHS_CHUNK / 2 : CHS_CHUNK)

/* Rows of weights or scores at once. With few registers, four rows leave room for the constants of 2^x; one size of tile
 * needs no choice between several. */
#define WEIGHT_ROWS (N_REGISTERS < 32 ? 4 : CHUNK)
#define WEIGHT_TILE_ROWS (WEIGHT_ROWS < MR ? WEIGHT_ROWS : MR)

/* Rows and coordinates of the sums over columns that run at once, lane by lane. Rows: a power of two. */
#define ACCUMULATED_ROWS (N_REGISTERS >= 32 ? 8 : 4)
#define ACCUMULATED_COORDINATES (HAS_FMA ? 3 : 2)

/* Sums of one side that stay in registers with the weights of so many rows: up to so many dimensions, for float32 with
 * AVX-512. For float64 they take as long as those by rows. */
#define SIDE_PAYS (VECTOR_BYTES == 64 && !F64)
#define MAX_SIDE 3
#define SIDE_ROWS 4

/* Rows whose largest exponents are looked for at once, to hide the latency of the maximum. */
#define TOP_ROWS 4

/* Of these rows, how many have their powers of two taken in lockstep: a scheduler of 64 instructions does not see
 * enough chains at once. */
#define ROW_POWERS (N_REGISTERS < 32 && HAS_FMA ? TOP_ROWS : 1)

/* Rows of a tile of cosines whose polynomials are evaluated in registers: two vectors of each make eight chains, which
 * hide the latency of a multiply-add. A Chebyshev series has two operations a degree, so that four chains would, and
 * three vectors for each row: so many rows of one vector. */
#define POLYNOMIAL_ROWS 4
#define SERIES_ROWS (N_REGISTERS >= 32 ? 8 : 4)

/* Rows whose polynomials and sums over both sides stay in registers together, in up to so many dimensions. Their numbers
 * are operands in memory, which AVX-512 alone has for a number in all lanes. The chains of 2^x leave no room for sums. */
#define FEW_PAYS (VECTOR_BYTES == 64)
#define FEW_ROWS 4
#define MAX_FEW_SUMS 3

/* Packed blocks pay from so many bytes of coordinates on: in fewer, lanes along coordinates would be empty. */
#define MIN_PACKED_BYTES (2 * CHS_ALIGN)
/* A packed row of so many vectors or more has an odd number of them: a power of two would put the rows into few sets of
 * a cache. */
#define MIN_ODD_VECTORS 3

/* Lanes along systems: tokens whose coefficients with others live at once, how many of the others, and coordinates whose
 * sums do. Their products are the sums in registers. REPLICA_CACHE is how many bytes of these tokens the first-level cache
 * keeps while those of others go through it. */
#define REPLICA_ROWS 4
#define REPLICA_COLUMNS 2
#define REPLICA_CACHE 16384
#define REPLICA_COORDINATES (N_REGISTERS >= 32 ? 4 : 2)
/* Of one system alone: vectors of tokens whose sums live at once, of how many other tokens, and their coordinates. */
#define SINGLE_VECTORS 4
#define SINGLE_COLUMNS (N_REGISTERS >= 32 ? 4 : 2)
#define SINGLE_COORDINATES (N_REGISTERS >= 32 ? 4 : 2)

/* Vectors on which the elementary functions do one operation after the other: a chain of thirty dependent operations is
 * longer than what processors look ahead. */
#define GROUP 4
/* The same for functions on intervals of a parabola, whose coefficients are read from tables as they are needed. */
#define TABLE_GROUP (N_CHOICES == 8 && F64 ? 8 : GROUP)
/* The same for the normals, whose chains need more registers. */
#define NORMAL_GROUP (N_REGISTERS >= 32 ? 4 : 2)

/* Up to so many coordinates the random layer keeps tokens and sums in registers, so many vectors of tokens at once. */
#define MAX_FEW 5
#define FEW_VECTORS (N_REGISTERS >= 32 ? 2 : 1)
/* Where its activation is long, it takes so many vectors of tokens and so many hidden units at once, or two vectors where
 * no more are left. */
#define PASS_VECTORS (N_REGISTERS >= 32 ? 4 : 2)
#define PASS_UNITS 16
/* Up to so many dimensions activations and sums are one pass: both fit the registers. */
#define MAX_BESIDE (VECTOR_BYTES == 64 && !F64 ? 4 : 0)

/* Moments in harmonics that are summed in registers at once, of up to four rows: the tile has up to 12 degrees. */
#define MOMENT_SUMS (N_REGISTERS >= 32 ? 24 : 8)

/* The same for d = 3, where tokens stay in registers: their vectors at once, and in sums of harmonics with up to so many
 * rows of two orders each. */
#define MOMENT_VECTORS (N_REGISTERS >= 32 ? 4 : 2)
#define ORDER_VECTORS (N_REGISTERS >= 32 ? 2 : 1)
#define MAX_ORDER_ROWS 4

/* Sums of harmonics that stay in registers: four or five rows of two vectors, and as many of a product. */
#define SUM_ROWS (N_REGISTERS >= 32 ? 5 : 0)

/* Tokens of a step at once, whose norms make vectors; the bits of a token do not depend on the others. */
#define STEP_ROWS 64

#endif
#endif
