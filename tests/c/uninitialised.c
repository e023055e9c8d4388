/* Proof that MemorySanitizer watches: a token that nobody has written is moved. */
#include "check.h"

#ifndef ONLY
#define ONLY "baseline"
#endif

int main(void) {
    const chs_kernels *table = chs_kernels_for(ONLY);
    real *x = exact(3 * sizeof(real)), *out = exact(3 * sizeof(real));
    x[0] = x[2] = 0;
    const long bad = CALL(step_)(1, 3, (const char *)x, 3 * sizeof(real), sizeof(real), NULL, 0, out);
    free(x), free(out);
    return bad == 7;
}
