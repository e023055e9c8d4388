"""The C library as Cython sees it, and the table in use."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "chaosphere.h" nogil:
    enum:
        CHS_ALIGN
        CHS_COLUMNS
        CHS_CHUNK
        CHS_HIDDEN
        CHS_PAIR_ROWS
        CHS_N_ACTIVATIONS
        CHS_BLOCK_COLUMNS
        CHS_SMALL_SCORE
        CHS_BLOCKS
        CHS_PREFIX_CHUNKS
        CHS_LOWER
        CHS_UPPER
    long CHS_COUNTERS(long)
    long CHS_FOURIER_SCRATCH(long)
    long CHS_PREFIX_SCRATCH(long)
    long CHS_PAIR_SCRATCH(long, long)

    ctypedef struct chs_step:
        int is_mean
        double scale, value_scale, alpha
        long *bad

    ctypedef struct chs_kernels:
        const char *name
        void (*pack_f64)(long, long, const char *, ptrdiff_t, ptrdiff_t, double, long, double *) noexcept nogil
        void (*pack_f32)(long, long, const char *, ptrdiff_t, ptrdiff_t, double, long, float *) noexcept nogil
        void (*unpack_f64)(long, long, long, const double *, double, const double *, double *) noexcept nogil
        void (*unpack_f32)(long, long, long, const float *, double, const float *, float *) noexcept nogil
        void (*map_f64)(long, long, long, const double *, const double *, long, double *) noexcept nogil
        void (*map_f32)(long, long, long, const float *, const float *, long, float *) noexcept nogil
        long (*block_size_f64)(long, long) noexcept nogil
        void (*pack_panels_f64)(long, long, const double *, double *) noexcept nogil
        void (*attend_pair_f64)(
            long, long, long, long, long, const double *, const double *, const double *, const double *, double,
            double *, double *, double *) noexcept nogil
        long (*block_size_f32)(long, long) noexcept nogil
        void (*pack_panels_f32)(long, long, const float *, float *) noexcept nogil
        void (*attend_pair_f32)(
            long, long, long, long, long, const float *, const float *, const float *, const float *, float, float *,
            double *, double *) noexcept nogil
        void (*partition_pair_f64)(
            long, long, long, long, const double *, const double *, double, double *, double *,
            double *) noexcept nogil
        void (*partition_pair_f32)(
            long, long, long, long, const float *, const float *, float, float *, double *, double *) noexcept nogil
        void (*tangent_rows_f64)(
            int, long, long, long, long, long, long, long, const double *, const double *, const double *,
            const double *, const double *, const double *, const double *, double *, double *) noexcept nogil
        void (*tangent_rows_f32)(
            int, long, long, long, long, long, long, long, const float *, const float *, const float *, const float *,
            const float *, const float *, const float *, float *, double *) noexcept nogil
        void (*tangent_potential_f64)(
            const int *, const long *, const double **, long, long, long, long, long, long, long, const double *,
            const double *, double *, double *) noexcept nogil
        void (*tangent_potential_f32)(
            const int *, const long *, const float **, long, long, long, long, long, long, long, const float *,
            const float *, float *, double *) noexcept nogil
        void (*gradient_pair_f64)(
            int, long, long, long, long, long, const double *, const double *, const double *, const double *, const double *,
            const double *, double *, double *, double *) noexcept nogil
        void (*gradient_pair_f32)(
            int, long, long, long, long, long, const float *, const float *, const float *, const float *, const float *,
            const float *, float *, double *, double *) noexcept nogil
        void (*means_f64)(int, long, long, const double *, double, double *, double *) noexcept nogil
        void (*means_f32)(int, long, long, const double *, double, float *, double *) noexcept nogil
        void (*attend_rows_f64)(
            long, long, long, long, long, const double *, const double *, const double *, const double *, double *,
            double *, double *) noexcept nogil
        void (*attend_rows_f32)(
            long, long, long, long, long, const float *, const float *, const float *, const float *, float *,
            float *, double *) noexcept nogil
        long (*replica_lanes_f64)() noexcept nogil
        long (*replica_lanes_f32)() noexcept nogil
        void (*attend_replicas_f64)(
            int, int, long, long, long, double *, const double *, const double *, double, double, long, const double *,
            const chs_step *, double *, double *) noexcept nogil
        void (*replica_means_f64)(
            int, int, long, long, long, const double *, double, double, double *, double *) noexcept nogil
        void (*replica_step_f64)(int, long, long, long, const double *, double, double *, long *) noexcept nogil
        void (*attend_replicas_f32)(
            int, int, long, long, long, float *, const float *, const float *, double, float, long, const float *,
            const chs_step *, float *, float *) noexcept nogil
        void (*replica_means_f32)(
            int, int, long, long, long, const float *, double, double, float *, float *) noexcept nogil
        void (*replica_step_f32)(int, long, long, long, const float *, double, float *, long *) noexcept nogil
        void (*replica_map_f64)(
            int, long, long, long, long, const double *, const double *, double *) noexcept nogil
        void (*replica_map_f32)(int, long, long, long, long, const float *, const float *, float *) noexcept nogil
        void (*attend_symmetric_f64)(
            int, long, long, long, const double *, const double *, double *, double *) noexcept nogil
        void (*attend_symmetric_f32)(
            int, long, long, long, const float *, const float *, float *, float *) noexcept nogil
        void (*attend_replica_rows_f64)(
            int, int, long, double, int, long, long, long, long, long, long, const double *, const double *, const double *, double *,
            double *, double *, double *) noexcept nogil
        void (*attend_replica_rows_f32)(
            int, int, long, float, int, long, long, long, long, long, long, const float *, const float *, const float *, float *,
            float *, float *, float *) noexcept nogil
        void (*causal_pair_f64)(
            long, long, long, const double *, const double *, const double *, double, double *,
            double *) noexcept nogil
        void (*causal_pair_f32)(
            long, long, long, const float *, const float *, const float *, float, float *, double *) noexcept nogil
        void (*causal_rows_f64)(
            long, long, long, long, const double *, const double *, const double *, const double *, const double *,
            double *, double *, double *) noexcept nogil
        void (*causal_rows_f32)(
            long, long, long, long, const float *, const float *, const float *, const float *, const float *,
            float *, float *, double *) noexcept nogil
        void (*fourier_prefix_f64)(
            long, long, const char *, ptrdiff_t, ptrdiff_t, const double *, double, long, const double *, double *,
            double *, double *, double *, double *) noexcept nogil
        void (*fourier_prefix_f32)(
            long, long, const char *, ptrdiff_t, ptrdiff_t, const double *, double, long, const double *, double *,
            double *, float *, double *, double *) noexcept nogil
        void (*hardmax_rows_f64)(
            int, int, long, long, long, long, long, const double *, const double *, const double *, const double *,
            const double *, double *, double *, double *) noexcept nogil
        void (*hardmax_rows_f32)(
            int, int, long, long, long, long, long, const float *, const float *, const float *, const float *,
            const double *, float *, float *, double *) noexcept nogil
        void (*unfused_map_f64)(long, long, long, const double *, const double *, long, double *) noexcept nogil
        void (*unfused_map_f32)(long, long, long, const float *, const float *, long, float *) noexcept nogil
        void (*potential_pair_f64)(
            int, int, long, const double *, long, long, long, long, long, long, const double *, const double *,
            const double *, const double *, double *, double *, double *) noexcept nogil
        void (*potential_pair_f32)(
            int, int, long, const float *, long, long, long, long, long, long, const float *, const float *,
            const float *, const float *, float *, double *, double *) noexcept nogil
        void (*sums_f64)(int, long, long, const double *, double, double *) noexcept nogil
        void (*sums_f32)(int, long, long, const double *, double, float *) noexcept nogil
        void (*layer_f64)(
            long, long, long, const double *, const double *, const double *, const double *, int, double *,
            double *) noexcept nogil
        void (*layer_f32)(
            long, long, long, const float *, const float *, const float *, const float *, int, float *,
            float *) noexcept nogil
        void (*activate_f64)(int, long, double *) noexcept nogil
        void (*activate_f32)(int, long, float *) noexcept nogil
        void (*harmonic_field_f64)(
            long, long, long, long, long, const double *, const double *, const double *, double *,
            double *) noexcept nogil
        void (*harmonic_field_f32)(
            long, long, long, long, long, const float *, const float *, const float *, float *, float *) noexcept nogil
        long (*step_f64)(
            long, long, const char *, ptrdiff_t, ptrdiff_t, const double *, double, double *) noexcept nogil
        long (*step_f32)(
            long, long, const char *, ptrdiff_t, ptrdiff_t, const float *, double, float *) noexcept nogil
        double (*deviation_f64)(long, long, const char *, ptrdiff_t, ptrdiff_t, long *) noexcept nogil
        double (*deviation_f32)(long, long, const char *, ptrdiff_t, ptrdiff_t, long *) noexcept nogil
        void (*unit_block_f64)(long, long, const char *, ptrdiff_t, ptrdiff_t, long, double *) noexcept nogil
        void (*unit_block_f32)(long, long, const char *, ptrdiff_t, ptrdiff_t, long, double *) noexcept nogil
        void (*ratios_f64)(long, long, long, const double *, double *, double *) noexcept nogil
        void (*ratios_f32)(long, long, long, const double *, float *, double *) noexcept nogil
        void (*fourier_moments_f64)(
            long, const char *, ptrdiff_t, ptrdiff_t, const double *, long, double *, double *) noexcept nogil
        void (*fourier_moments_f32)(
            long, const char *, ptrdiff_t, ptrdiff_t, const double *, long, double *, double *) noexcept nogil
        double (*fourier_field_f64)(
            long, const char *, ptrdiff_t, ptrdiff_t, long, const double *, double *, double *,
            double *) noexcept nogil
        double (*fourier_field_f32)(
            long, const char *, ptrdiff_t, ptrdiff_t, long, const double *, double *, float *, double *) noexcept nogil
        void (*harmonic_moments_f64)(
            long, long, long, long, const char *, ptrdiff_t, ptrdiff_t, const double *, const double *, int,
            double *, double *) noexcept nogil
        void (*harmonic_moments_f32)(
            long, long, long, long, const char *, ptrdiff_t, ptrdiff_t, const double *, const double *, int,
            double *, double *) noexcept nogil
        void (*normals)(uint32_t, uint32_t, uint64_t, uint64_t, long, double *) noexcept nogil
        void (*pair_statistics)(
            long, long, long, long, int, const double *, const double *, const double *, const double *, const double *,
            const double *, double, long, double *, double *, double *) noexcept nogil
        void (*replica_energies)(
            int, long, long, long, const double *, const double *, double, double *) noexcept nogil

    const char *chs_activation_name(int)
    const char *chs_isa_name(int)
    int chs_isa_runs(const char *)
    const chs_kernels *chs_kernels_for(const char *)

ctypedef fused real:
    double
    float

cdef const chs_kernels *table() noexcept nogil
cdef object float_dtype(size_t n_bytes)

cdef class Scratch:
    """Uninitialised aligned memory, this object's alone for as long as it lives."""
    cdef void *at
    cdef size_t size, used

cdef long n_harmonics(long n_max, long d) noexcept nogil
cdef long scratch_rows(long n_max, long d) noexcept nogil
cdef long padded(long n) noexcept nogil
cdef long padded_stride(long n) noexcept nogil
cdef long block_columns(long n_tokens) noexcept nogil
cdef int useful_threads(long n_threads, double work) except -1

cdef struct Watch:
    # The signals of one call, which its first thread looks after between items of work.
    long is_stopped
    long padding[15]  # keeps the flag out of the cache lines that the first thread changes
    long left, period
    double next

cdef Watch watch(long n_items, double work) noexcept nogil
cdef bint is_stopped(Watch *w, int thread) noexcept nogil
cdef int raise_if_stopped(const Watch *w) except -1
