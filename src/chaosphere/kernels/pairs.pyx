"""Statistics over all pairs of tokens, in double precision."""

from cython.parallel cimport prange, threadid
from libc.string cimport memset

import numpy as np

from chaosphere.kernels.abi cimport CHS_PAIR_ROWS, Scratch, apart, block_columns, chs_kernels, table, useful_threads


cdef void _row_of_blocks(
    long replica, long i, long n, long d, long ld, long n_blocks, const double *x, const double *p, double beta,
    long n_bins, double *scratch, double *energy, double *histogram
) noexcept nogil:
    cdef const chs_kernels *c = table()
    cdef long j
    cdef const double *mine = x + replica * n_blocks * d * ld
    for j in range(i, n_blocks):
        c.pair_statistics(d, min(ld, n - i * ld), min(ld, n - j * ld), ld, i == j, mine + i * d * ld, mine + j * d * ld,
                          p + i * ld, p + j * ld, beta, n_bins, scratch, energy, histogram)


def pair_statistics(const double[:, :, :] x, const double[::1] weights, double beta, long n_bins, int n_threads):
    """Sum of p_i p_j (1 - e^(-beta |x_i - x_j|^2 / 2)) per replica, and the histogram of cosines over pairs i != j.

    x is (R, N, d), weights (N,) or None for 1/N. The histogram (R, n_bins) holds sums of p_i p_j.
    """
    cdef const chs_kernels *c = table()
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], ld = block_columns(x.shape[1]), block, first
    cdef long n_blocks = (n + ld - 1) // ld, replica, index
    cdef int threads = useful_threads(n_threads, <double>n_replicas * n * n * (d + 8))
    cdef Scratch blocks = Scratch(n_replicas * n_blocks * d * ld * sizeof(double))
    cdef Scratch padded_weights = Scratch(n_blocks * ld * sizeof(double))
    cdef long each = apart(CHS_PAIR_ROWS * ld)
    cdef Scratch scratch = Scratch(threads * each * sizeof(double))
    cdef double *b = <double *>blocks.at
    cdef double *p = <double *>padded_weights.at
    cdef double *s = <double *>scratch.at
    energies = np.zeros((n_replicas, n_blocks))
    histograms = np.zeros((n_replicas, n_blocks, max(n_bins, 1)))
    cdef double[:, ::1] energy = energies
    cdef double[:, :, ::1] histogram = histograms
    for index in range(n_blocks * ld):
        p[index] = 0 if index >= n else (1.0 / n if weights is None else weights[index])
    for block in range(n_replicas * n_blocks):
        replica, first = block // n_blocks, (block % n_blocks) * ld
        c.pack_f64(min(ld, n - first), d, <const char *>&x[replica, first, 0], x.strides[1], x.strides[2], 1, ld,
                   b + block * d * ld)
    # Rows of the triangle shrink; handing out the long ones first keeps the threads even.
    for index in prange(n_replicas * n_blocks, schedule="dynamic", num_threads=threads, nogil=True):
        _row_of_blocks(index % n_replicas, index // n_replicas, n, d, ld, n_blocks, b, p, beta, n_bins,
                       s + threadid() * each, &energy[index % n_replicas, index // n_replicas],
                       &histogram[index % n_replicas, index // n_replicas, 0])
    return energies.sum(axis=1), histograms.sum(axis=1)[:, :n_bins]
