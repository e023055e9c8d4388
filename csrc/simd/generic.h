/* Vectors of 16 bytes by GNU C alone: what every processor runs, SSE2 on x86-64. */

#define VECTOR_BYTES 16
#define N_REGISTERS 16
#define HAS_FMA 0

#include "vector.h"

#include "portable.h"
