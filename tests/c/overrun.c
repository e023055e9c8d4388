/* Proof that the sanitizers watch: the library is given a block that is one row too small. */
#include "check.h"

#ifndef ONLY
#define ONLY "baseline"
#endif

int main(void) {
    const chs_kernels *table = chs_kernels_for(ONLY);
    const long n = 32, d = 3, ld = 32;
    real *source = exact((size_t)(n * d) * sizeof(real)), *small = REALS((d - 1) * ld);
    fill(n * d, source, 1);
    CALL(pack_)(n, d, (const char *)source, d * (long)sizeof(real), sizeof(real), 1, ld, small);
    return 0;
}
