"""Statistics over all pairs of tokens, in double precision."""

from cython.parallel cimport prange, threadid
from libc.string cimport memset

import numpy as np

from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    CHS_COUNTERS, CHS_PAIR_ROWS, Scratch, Watch, block_columns, is_stopped, padded_stride, raise_if_stopped, table,
    useful_threads, watch
)


cdef void _prepare(
    long n, long d, tiles.Tokens x, long ld, double *block, double *panels
) noexcept nogil:
    """Pack a block and, unless `panels` is NULL, its rows and panels, with |x|^2 as row d."""
    cdef double *norms = block + d * ld
    cdef long k, j
    tiles.pack(n, d, x, 1, ld, block)
    if panels == NULL:
        return
    memset(norms, 0, ld * sizeof(double))
    for k in range(d):
        for j in range(ld):
            norms[j] += block[k * ld + j] ** 2
    tiles.pack_panels(d, ld, block, panels)


cdef void _row_of_blocks(
    long i, long n, long d, long ld, long n_blocks, const double *x, const double *panels, long panels_size,
    const double *p, double beta, long n_bins, double *scratch, double *energy, double *histogram, Watch *signals,
    int thread
) noexcept nogil:
    cdef long j, size = (d + 1) * ld
    cdef const double *panels_i = panels + i * panels_size if panels_size else NULL
    for j in range(i, n_blocks):
        if is_stopped(signals, thread):
            return
        table().pair_statistics(d, min(ld, n - i * ld), min(ld, n - j * ld), ld, i == j, x + i * size, x + j * size,
                                panels_i, panels + j * panels_size, p + i * ld, p + j * ld, beta, n_bins, scratch,
                                energy, histogram)


def pair_statistics(const double[:, :, :] x, const double[::1] weights, beta, long n_bins, long n_threads):
    """Sum of p_i p_j (1 - e^(-beta |x_i - x_j|^2 / 2)) per replica, and the histogram of cosines over pairs i != j.

    x is (R, N, d), weights (N,) or None for 1/N; with beta None there is no sum, and None in its place. The histogram
    (R, n_bins) holds sums of p_i p_j.
    """
    cdef bint has_energy = beta is not None
    cdef double factor = beta if has_energy else 0
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], ld = block_columns(x.shape[1]), block, first
    cdef long n_blocks = (n + ld - 1) // ld, replica, index
    assert n >= 1 and n_bins >= 0 and (weights is None or weights.shape[0] == n), "weights"
    cdef double work = <double>n_replicas * n * n * (d + 8)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * n_blocks * (n_blocks + 1) // 2, work / 2)
    cdef long size = (d + 1) * ld, panels_size = tiles.block_size(d, ld, <const double *>NULL)
    if panels_size == size:
        panels_size = 0
    cdef Scratch blocks = Scratch(n_replicas * n_blocks * (size + panels_size) * sizeof(double))
    cdef Scratch padded_weights = Scratch(n_blocks * ld * sizeof(double))
    cdef long stride = padded_stride(CHS_PAIR_ROWS * ld)
    cdef Scratch scratch = Scratch(threads * stride * sizeof(double))
    cdef double *b = <double *>blocks.at
    cdef double *panels = b + n_replicas * n_blocks * size
    cdef double *p = <double *>padded_weights.at
    cdef double *s = <double *>scratch.at
    energies = np.zeros((n_replicas, n_blocks))
    histograms = np.zeros((n_replicas, n_blocks, max(n_bins, 1) * CHS_COUNTERS(n_bins)))
    cdef double[:, ::1] energy = energies
    cdef double[:, :, ::1] histogram = histograms
    for index in range(n_blocks * ld):
        p[index] = 0 if index >= n else (1.0 / n if weights is None else weights[index])
    for block in prange(n_replicas * n_blocks, schedule="static", num_threads=threads, nogil=True):
        replica, first = block // n_blocks, (block % n_blocks) * ld
        _prepare(min(ld, n - first), d, tiles.tokens_from(x, replica, first), ld, b + block * size,
                 panels + block * panels_size if panels_size else NULL)
    # Rows of the triangle shrink; handing out the long ones first keeps the threads even.
    for index in prange(n_replicas * n_blocks, schedule="dynamic", num_threads=threads, nogil=True):
        replica = index % n_replicas
        _row_of_blocks(index // n_replicas, n, d, ld, n_blocks, b + replica * n_blocks * size,
                       panels + replica * n_blocks * panels_size, panels_size, p, factor, n_bins,
                       s + threadid() * stride,
                       &energy[replica, index // n_replicas] if has_energy else NULL,
                       &histogram[replica, index // n_replicas, 0], &signals, threadid())
    raise_if_stopped(&signals)
    counted = histograms.reshape((n_replicas, n_blocks, -1, CHS_COUNTERS(n_bins))).sum(axis=3).sum(axis=1)
    return energies.sum(axis=1) if has_energy else None, counted[:, :n_bins]
