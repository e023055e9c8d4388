#define CHS_ISA avx512
#include "table.inc"
