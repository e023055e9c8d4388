/* Which instruction sets are compiled in, which of them this processor runs, and the names of the activations. */
#include "chaosphere.h"

#include <string.h>

/* The build defines it: each set that it compiles, best last, and whether this processor runs it. */
#ifndef CHS_ISAS
#define CHS_ISAS ISA(baseline, 1)
#endif
/* The features themselves are tested: names of processors go stale with every new one. */
#define HAS(feature) __builtin_cpu_supports(#feature)

#define ISA(name, runs) extern const chs_kernels chs_table_##name;
CHS_ISAS
#undef ISA

static const chs_kernels *const tables[] = {
#define ISA(name, runs) &chs_table_##name,
    CHS_ISAS
#undef ISA
};
enum { N_TABLES = sizeof tables / sizeof *tables };

static int find(const char *name) {
    for (int i = 0; i < N_TABLES; i++)
        if (strcmp(name, tables[i]->name) == 0)
            return i;
    return -1;
}

const char *chs_activation_name(int index) {
    static const char *const names[] = {
#define CHS_ACTIVATION(name) #name,
#include "activations.def"
    };
    return index >= 0 && index < CHS_N_ACTIVATIONS ? names[index] : NULL;
}

const char *chs_isa_name(int index) {
    return index >= 0 && index < N_TABLES ? tables[index]->name : NULL;
}

int chs_isa_runs(const char *name) {
#define ISA(isa, runs)                                                                                                 \
    if (strcmp(name, #isa) == 0)                                                                                       \
        return (runs) != 0;
    CHS_ISAS
#undef ISA
    return -1;
}

const chs_kernels *chs_kernels_for(const char *name) {
    return chs_isa_runs(name) == 1 ? tables[find(name)] : NULL;
}
