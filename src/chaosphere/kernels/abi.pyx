"""The instruction set in use, block sizes, and scratch memory: what every kernel module shares."""

import math

import numpy as np

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stddef cimport size_t
from libc.stdlib cimport free

cdef extern from *:
    """
    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    /* Large memory in pages of 2 MB where the system has them: entries for small ones run out after some megabytes. */
    static void *chs_allocate(size_t n_bytes) {
        const size_t page = (size_t)1 << 21;
        if (n_bytes < 2 * page)
            return aligned_alloc(CHS_ALIGN, n_bytes);
        n_bytes = (n_bytes + page - 1) / page * page;
        void *at = aligned_alloc(page, n_bytes);
    #ifdef MADV_HUGEPAGE
        if (at != NULL)
            madvise(at, n_bytes, MADV_HUGEPAGE);
    #endif
        return at;
    }
    #ifdef _OPENMP
    #include <omp.h>
    #define CHS_HAS_OPENMP 1
    #define chs_max_threads() omp_get_max_threads()
    #else
    #define CHS_HAS_OPENMP 0
    #define chs_max_threads() 1
    #endif
    #if defined(__clang__)
    #define CHS_COMPILER __VERSION__
    #else
    #define CHS_COMPILER "GCC " __VERSION__
    #endif
    """
    void *chs_allocate(size_t n_bytes) nogil
    int CHS_HAS_OPENMP
    int chs_max_threads()
    const char *CHS_COMPILER

has_openmp = bool(CHS_HAS_OPENMP)
compiler = (<bytes>CHS_COMPILER).decode()

cdef const chs_kernels *_table = NULL


cdef const chs_kernels *table() noexcept nogil:
    return _table


def compiled_isas():
    """Names of the instruction sets compiled in, best last."""
    names = []
    while chs_isa_name(<int>len(names)) != NULL:
        names.append((<bytes>chs_isa_name(<int>len(names))).decode())
    return names


def isa_runs(str name):
    """Whether this processor runs the named kernels."""
    return chs_isa_runs(name.encode()) == 1


def isa_in_use():
    """Name of the instruction set in use."""
    return (<bytes>_table.name).decode()


def use_isa(str name):
    """Make every kernel call from now on use the named instruction set."""
    global _table
    cdef const chs_kernels *found = chs_kernels_for(name.encode())
    if found == NULL:
        runnable = [isa for isa in compiled_isas() if isa_runs(isa)]
        raise ValueError(
            f"instruction set {name!r} is not available here; compiled in: {compiled_isas()}, "
            f"usable on this processor: {runnable}"
        )
    _table = found


def max_threads():
    """Threads that OpenMP would use by itself (OMP_NUM_THREADS and the affinity mask); 1 without OpenMP."""
    return chs_max_threads()


cdef enum:
    MAX_KEPT = 16
    MAX_KEPT_BYTES = 1 << 27

# Memory of past calls that waits for the next: fresh pages cost some microseconds each at their first use, a tenth of a
# call for a few thousand tokens. It changes hands under the GIL, so calls at the same time never share any.
cdef void *_kept[MAX_KEPT]
cdef size_t _kept_size[MAX_KEPT]
cdef int _n_kept = 0


def kept_bytes():
    """Bytes of workspace kept for the next kernel call."""
    cdef int i
    return sum([_kept_size[i] for i in range(_n_kept)])


cdef class Scratch:
    def __cinit__(self, size_t n_bytes):
        global _n_kept
        cdef int i
        self.used = n_bytes
        n_bytes = max((n_bytes + CHS_ALIGN - 1) // CHS_ALIGN, <size_t>1) * CHS_ALIGN
        for i in range(_n_kept):
            if n_bytes <= _kept_size[i] <= 2 * n_bytes:
                self.at, self.size = _kept[i], _kept_size[i]
                _n_kept -= 1
                _kept[i], _kept_size[i] = _kept[_n_kept], _kept_size[_n_kept]
                return
        self.size = n_bytes
        self.at = chs_allocate(n_bytes)
        if self.at == NULL:
            raise MemoryError(f"no memory for {n_bytes} bytes of kernel workspace")

    def __dealloc__(self):
        global _n_kept
        cdef size_t total = self.size
        cdef int i
        for i in range(_n_kept):
            total += _kept_size[i]
        if _n_kept == MAX_KEPT or total > MAX_KEPT_BYTES:  # other sizes are in use now: start anew
            for i in range(_n_kept):
                free(_kept[i])
            _n_kept = 0
        if self.size > MAX_KEPT_BYTES or self.at == NULL:
            free(self.at)
        else:
            _kept[_n_kept], _kept_size[_n_kept] = self.at, self.size
            _n_kept += 1

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.at, self.used, 0, flags)


def empty(tuple shape, dtype):
    """An uninitialised array. The memory of a large one is kept for the next once nobody uses it any more.

    The C library may give it back to the system, and the next step of a model would wait for as many fresh pages.
    """
    cdef size_t n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < 1 << 22 or n_bytes > MAX_KEPT_BYTES:
        return np.empty(shape, dtype)
    return np.frombuffer(Scratch(n_bytes), dtype).reshape(shape)


cdef long padded(long n) noexcept nogil:
    return (n + CHS_COLUMNS - 1) // CHS_COLUMNS * CHS_COLUMNS


cdef long apart(long n) noexcept nogil:
    # From one worker's n numbers to the next's. Next to each other, prefetching beyond the end of one takes cache lines
    # from the other all the time: 1.3 in place of 2 times the speed on two threads (moments on the circle).
    return n + 1024


cdef long block_columns(long n_tokens) noexcept nogil:
    # A function of N alone, never of the thread count: the blocks fix the order of every sum. 192 x 192 weights
    # fill a 1 MB second-level cache about a third; smaller systems are cut into some eight blocks, for the threads.
    return min(<long>192, max(<long>CHS_COLUMNS, padded(n_tokens // 8)))


# Multiply-adds that a thread must get, some 10 µs: a thread that sleeps takes 50 µs to wake up, one that still waits for
# work 2.
cdef double _thread_work = 250e3


def use_thread_work(double work):
    """Make every kernel call from now on give each thread that much work at least; returns what it was. For tests."""
    global _thread_work
    before, _thread_work = _thread_work, work
    return before


cdef int useful_threads(int n_threads, double work) noexcept nogil:
    return <int>max(1.0, min(<double>n_threads, work / _thread_work))
