/* Which instruction sets are compiled in, and which of them this processor runs. */
#include "chaosphere.h"

#include <string.h>

extern const chs_kernels chs_table_baseline;
#ifdef CHS_X86_64
extern const chs_kernels chs_table_avx2;
extern const chs_kernels chs_table_avx512;
#endif

static const chs_kernels *const tables[] = {
    &chs_table_baseline,
#ifdef CHS_X86_64
    &chs_table_avx2,
    &chs_table_avx512,
#endif
};
enum { N_TABLES = sizeof tables / sizeof *tables };

static int find(const char *name) {
    for (int i = 0; i < N_TABLES; i++)
        if (strcmp(name, tables[i]->name) == 0)
            return i;
    return -1;
}

const char *chs_isa_name(int index) {
    return index >= 0 && index < N_TABLES ? tables[index]->name : NULL;
}

int chs_isa_runs(const char *name) {
    int index = find(name);
    if (index < 0)
        return -1;
#ifdef CHS_X86_64
    /* Test the features themselves: __builtin_cpu_is() names go stale with every new processor. */
    if (tables[index] == &chs_table_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (tables[index] == &chs_table_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
#endif
    return 1;
}

const chs_kernels *chs_kernels_for(const char *name) {
    return chs_isa_runs(name) == 1 ? tables[find(name)] : NULL;
}
