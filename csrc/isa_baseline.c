#define CHS_ISA baseline
#include "table.inc"
