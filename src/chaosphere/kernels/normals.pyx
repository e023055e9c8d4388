"""Standard normals addressed by key and step, any number of threads."""

from cython.parallel cimport prange, threadid
from libc.stdint cimport uint32_t, uint64_t

import numpy as np

from chaosphere.kernels.abi cimport Watch, chs_kernels, is_stopped, raise_if_stopped, table, useful_threads, watch

cdef enum:
    GROUPS = 128  # of 16 normals, handed to a thread at once


def normals(const uint32_t[:, ::1] keys, uint64_t step, long first_group, long n, long n_threads):
    """Normals 16 first_group … 16 first_group + n − 1 of a step for each key (R, 2): an array (R, n) of double."""
    cdef const chs_kernels *c = table()
    cdef long n_replicas = keys.shape[0], n_groups = (n + 15) // 16, n_chunks = (n_groups + GROUPS - 1) // GROUPS
    cdef long index, replica, first
    # A normal costs as much as some twenty multiply-adds.
    assert keys.shape[1] == 2 and first_group >= 0 and n >= 0, "keys"
    cdef double work = <double>n_replicas * n * 20
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_replicas * n_chunks, work)
    out_array = np.empty((n_replicas, max(n_groups, 1) * 16))
    cdef double[:, ::1] out = out_array
    for index in prange(n_replicas * n_chunks, schedule="static", num_threads=threads, nogil=True):
        if not is_stopped(&signals, threadid()):
            replica, first = index // n_chunks, (index % n_chunks) * GROUPS
            c.normals(keys[replica, 0], keys[replica, 1], step, first_group + first,
                      min(<long>GROUPS, n_groups - first), &out[replica, 16 * first])
    raise_if_stopped(&signals)
    return out_array[:, :n]
