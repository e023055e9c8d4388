/* All kernels for one instruction set. The build defines CHS_ISA, its name, and CHS_SIMD_HEADER, its header. */
#ifndef CHS_ISA
#define CHS_ISA baseline
#define CHS_SIMD_HEADER "simd/generic.h"
#endif
#include "chaosphere.h"
#include "coefficients.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
/* A function with loops that fill the registers: inlined, it would keep their pointers on the stack. */
#define NOINLINE static __attribute__((noinline))
#define CHS_PASTE_(a, b) a##b
#define CHS_PASTE(a, b) CHS_PASTE_(a, b)
#define CHS_STRING_(a) #a
#define CHS_STRING(a) CHS_STRING_(a)

#define F64 1
#define real double
#define integer int64_t
#define NAME(x) x##_f64
#include CHS_SIMD_HEADER
#include "vector.inc"
#include "elementary.inc"
#include "activations.inc"
#include "product.inc"
#include "sphere.inc"
#include "weights.inc"
#include "packed.inc"
#include "attention.inc"
#include "hardmax.inc"
#include "replica_steps.inc"
#include "replicas.inc"
#include "replica_rows.inc"
#include "replica_symmetric.inc"
#include "causal.inc"
#include "potential.inc"
#include "partition.inc"
#include "tangent.inc"
#include "layer.inc"
#include "harmonics.inc"
#include "fourier.inc"
#include "prefix.inc"
#include "normal.inc"
#include "pairs.inc"
#undef F64
#undef real
#undef integer
#undef NAME

#define F64 0
#define real float
#define integer int32_t
#define NAME(x) x##_f32
#include CHS_SIMD_HEADER
#include "vector.inc"
#include "elementary.inc"
#include "activations.inc"
#include "product.inc"
#include "sphere.inc"
#include "weights.inc"
#include "packed.inc"
#include "attention.inc"
#include "hardmax.inc"
#include "replica_steps.inc"
#include "replicas.inc"
#include "replica_rows.inc"
#include "replica_symmetric.inc"
#include "causal.inc"
#include "potential.inc"
#include "partition.inc"
#include "tangent.inc"
#include "layer.inc"
#include "harmonics.inc"
#include "fourier.inc"
#include "prefix.inc"

#define FILL(suffix)                                                                                                   \
    .pack_##suffix = pack_##suffix, .unpack_##suffix = unpack_##suffix, .map_##suffix = map_##suffix,                  \
    .block_size_##suffix = block_size_##suffix, .pack_panels_##suffix = pack_both_##suffix,                                   \
    .attend_pair_##suffix = attend_pair_##suffix, .means_##suffix = means_##suffix,                                    \
    .attend_rows_##suffix = attend_rows_##suffix, .replica_lanes_##suffix = replica_lanes_##suffix,                    \
    .attend_replicas_##suffix = attend_replicas_##suffix, .replica_means_##suffix = replica_means_##suffix,            \
    .replica_step_##suffix = replica_step_##suffix, .attend_replica_rows_##suffix = attend_replica_rows_##suffix,       \
    .replica_map_##suffix = replica_map_##suffix, .attend_symmetric_##suffix = attend_symmetric_##suffix,              \
    .layer_##suffix = layer_##suffix,                                    \
    .potential_pair_##suffix = potential_pair_##suffix, .sums_##suffix = sums_##suffix,                                \
    .partition_pair_##suffix = partition_pair_##suffix, .tangent_rows_##suffix = tangent_rows_##suffix,                \
    .tangent_potential_##suffix = tangent_potential_##suffix, .gradient_pair_##suffix = gradient_pair_##suffix,        \
    .activate_##suffix = activate_##suffix, .harmonic_field_##suffix = harmonic_field_##suffix,                        \
    .step_##suffix = step_##suffix, .deviation_##suffix = deviation_##suffix,                                          \
    .unit_block_##suffix = unit_block_##suffix, .ratios_##suffix = ratios_##suffix,                                    \
    .fourier_moments_##suffix = fourier_moments_##suffix, .fourier_field_##suffix = fourier_field_##suffix,            \
    .harmonic_moments_##suffix = harmonic_moments_##suffix, .causal_pair_##suffix = causal_pair_##suffix,              \
    .causal_rows_##suffix = causal_rows_##suffix, .fourier_prefix_##suffix = fourier_prefix_##suffix,                  \
    .hardmax_rows_##suffix = hardmax_rows_##suffix, .unfused_map_##suffix = unfused_map_##suffix

extern const chs_kernels CHS_PASTE(chs_table_, CHS_ISA);
const chs_kernels CHS_PASTE(chs_table_, CHS_ISA) = {
    .name = CHS_STRING(CHS_ISA),
    FILL(f64),
    FILL(f32),
    .normals = normals,
    .pair_statistics = pair_statistics,
    .replica_energies = replica_energies,
};
