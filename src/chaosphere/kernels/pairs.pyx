"""Statistics over all pairs of tokens, in double precision."""

from cython.parallel cimport prange, threadid
from libc.stddef cimport ptrdiff_t
from libc.string cimport memset

import numpy as np

from chaosphere.kernels.abi cimport (
    CHS_PAIR_ROWS, Scratch, Watch, apart, block_columns, chs_kernels, is_stopped, raise_if_stopped, table,
    useful_threads, watch
)


cdef void _prepare(
    long n, long d, const char *x, ptrdiff_t row, ptrdiff_t column, long ld, double *block, double *turned
) noexcept nogil:
    """Pack a block, and turn it, with |x|^2 as row d, unless `turned` is NULL."""
    cdef const chs_kernels *c = table()
    cdef double *norms = block + d * ld
    cdef long k, j
    c.pack_f64(n, d, x, row, column, 1, ld, block)
    if turned == NULL:
        return
    memset(norms, 0, ld * sizeof(double))
    for k in range(d):
        for j in range(ld):
            norms[j] += block[k * ld + j] ** 2
    c.turn_f64(d, ld, block, turned)


cdef void _row_of_blocks(
    long i, long n, long d, long ld, long n_blocks, const double *x, const double *turned, long turned_size,
    const double *p, double beta, long n_bins, double *scratch, double *energy, double *histogram, Watch *look,
    int thread
) noexcept nogil:
    cdef const chs_kernels *c = table()
    cdef long j, size = (d + 1) * ld
    cdef const double *turned_i = turned + i * turned_size if turned_size else NULL
    for j in range(i, n_blocks):
        if is_stopped(look, thread):
            return
        c.pair_statistics(d, min(ld, n - i * ld), min(ld, n - j * ld), ld, i == j, x + i * size, x + j * size,
                          turned_i, turned + j * turned_size, p + i * ld, p + j * ld, beta, n_bins, scratch, energy,
                          histogram)


def pair_statistics(const double[:, :, :] x, const double[::1] weights, double beta, long n_bins, long n_threads):
    """Sum of p_i p_j (1 - e^(-beta |x_i - x_j|^2 / 2)) per replica, and the histogram of cosines over pairs i != j.

    x is (R, N, d), weights (N,) or None for 1/N. The histogram (R, n_bins) holds sums of p_i p_j.
    """
    cdef const chs_kernels *c = table()
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], ld = block_columns(x.shape[1]), block, first
    cdef long n_blocks = (n + ld - 1) // ld, replica, index
    assert n >= 1 and n_bins >= 0 and (weights is None or weights.shape[0] == n), "weights"
    cdef double work = <double>n_replicas * n * n * (d + 8)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch look = watch(n_replicas * n_blocks * (n_blocks + 1) // 2, work / 2)
    cdef long size = (d + 1) * ld, turned_size = c.block_size_f64(d, ld)
    if turned_size == size:
        turned_size = 0
    cdef Scratch blocks = Scratch(n_replicas * n_blocks * (size + turned_size) * sizeof(double))
    cdef Scratch padded_weights = Scratch(n_blocks * ld * sizeof(double))
    cdef long each = apart(CHS_PAIR_ROWS * ld)
    cdef Scratch scratch = Scratch(threads * each * sizeof(double))
    cdef double *b = <double *>blocks.at
    cdef double *turned = b + n_replicas * n_blocks * size
    cdef double *p = <double *>padded_weights.at
    cdef double *s = <double *>scratch.at
    energies = np.zeros((n_replicas, n_blocks))
    histograms = np.zeros((n_replicas, n_blocks, max(n_bins, 1)))
    cdef double[:, ::1] energy = energies
    cdef double[:, :, ::1] histogram = histograms
    for index in range(n_blocks * ld):
        p[index] = 0 if index >= n else (1.0 / n if weights is None else weights[index])
    for block in prange(n_replicas * n_blocks, schedule="static", num_threads=threads, nogil=True):
        replica, first = block // n_blocks, (block % n_blocks) * ld
        _prepare(min(ld, n - first), d, <const char *>&x[replica, first, 0], x.strides[1], x.strides[2], ld,
                 b + block * size, turned + block * turned_size if turned_size else NULL)
    # Rows of the triangle shrink; handing out the long ones first keeps the threads even.
    for index in prange(n_replicas * n_blocks, schedule="dynamic", num_threads=threads, nogil=True):
        replica = index % n_replicas
        _row_of_blocks(index // n_replicas, n, d, ld, n_blocks, b + replica * n_blocks * size,
                       turned + replica * n_blocks * turned_size, turned_size, p, beta, n_bins, s + threadid() * each,
                       &energy[replica, index // n_replicas], &histogram[replica, index // n_replicas, 0], &look,
                       threadid())
    raise_if_stopped(&look)
    return energies.sum(axis=1), histograms.sum(axis=1)[:, :n_bins]
