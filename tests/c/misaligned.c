/* Proof that UndefinedBehaviorSanitizer watches: a block starts where no vector may. */
#include "check.h"

#ifndef ONLY
#define ONLY "baseline"
#endif

int main(void) {
    const chs_kernels *table = chs_kernels_for(ONLY);
    real *x = REALS(3 * 32), *out = REALS(2 * 32), a[2] = {1, 1};
    fill(3 * 32, x, 1);
    CALL(map_)(5, 1, 2, a, x + 1, 32, out);
    free(x), free(out);
    return 0;
}
