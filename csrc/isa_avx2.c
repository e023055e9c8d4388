#define CHS_ISA avx2
#include "table.inc"
