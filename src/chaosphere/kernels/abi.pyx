"""The instruction set in use, block sizes, and scratch memory: what every kernel module shares."""

import math
import os
import warnings

import numpy as np

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stddef cimport size_t
from libc.stdlib cimport free

cdef extern from *:
    """
    #include <errno.h>
    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    /* Large memory in pages of 2 MB where the system has them: entries for small ones run out after some megabytes. */
    static void *chs_allocate(size_t n_bytes) {
        const size_t page = (size_t)1 << 21;
        if (2 * n_bytes < page)
            return aligned_alloc(CHS_ALIGN, n_bytes);
        n_bytes = (n_bytes + page - 1) / page * page;
        void *at = aligned_alloc(page, n_bytes);
    #ifdef MADV_HUGEPAGE
        if (at != NULL)
            madvise(at, n_bytes, MADV_HUGEPAGE);
    #endif
        return at;
    }
    #include <time.h>
    #ifdef _OPENMP
    #include <omp.h>
    #include <pthread.h>
    #define CHS_HAS_OPENMP 1
    #define chs_max_threads() omp_get_max_threads()
    #define chs_processors() omp_get_num_procs()

    /* A child of fork has OpenMP's records of its threads, but not the threads: it would wait for them for ever. */
    static volatile int chs_has_team, chs_lost_team;
    static void chs_in_child(void) {
        chs_lost_team = chs_has_team;
    }
    static int chs_watch_forks(void) {
        return pthread_atfork(NULL, NULL, chs_in_child);
    }

    /* OpenMP ends the process where a thread cannot be started. So n of them are started here first, all at once. */
    static pthread_mutex_t chs_gate = PTHREAD_MUTEX_INITIALIZER;
    static void *chs_pass(void *unused) {
        pthread_mutex_lock(&chs_gate);
        pthread_mutex_unlock(&chs_gate);
        return unused;
    }
    static int chs_try_threads(int n) {
        pthread_t *threads = malloc((size_t)n * sizeof *threads);
        int error = threads ? 0 : ENOMEM, n_started = 0;
        pthread_mutex_lock(&chs_gate);
        while (!error && n_started < n) {
            error = pthread_create(&threads[n_started], NULL, chs_pass, NULL);
            n_started += !error;
        }
        pthread_mutex_unlock(&chs_gate);
        for (int i = 0; i < n_started; i++)
            pthread_join(threads[i], NULL);
        free(threads);
        return error;
    }
    static _Thread_local int chs_max_started = 1; /* of this thread's teams: OpenMP keeps a team for each thread */
    static int chs_prepare_team(int n) {
        chs_has_team = 1;
        if (n > chs_max_started) {
            int error = chs_try_threads(n - 1);
            if (error)
                return error;
            chs_max_started = n;
        }
        return 0;
    }
    #else
    #define CHS_HAS_OPENMP 0
    #define chs_max_threads() 1
    #define chs_processors() 1
    #define chs_lost_team 0
    #define chs_watch_forks() 0
    #define chs_prepare_team(n) 0
    #endif

    static double chs_seconds(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
    /* Runs Python's handlers of signals, in its main thread; nonzero, with the exception set, where one raises. */
    static int chs_signals(void) {
        PyGILState_STATE state = PyGILState_Ensure();
        int is_raised = PyErr_CheckSignals();
        PyGILState_Release(state);
        return is_raised;
    }
    #define chs_load(at) __atomic_load_n(at, __ATOMIC_RELAXED)
    #define chs_store(at, value) __atomic_store_n(at, value, __ATOMIC_RELAXED)
    #if defined(__clang__)
    #define CHS_COMPILER __VERSION__
    #else
    #define CHS_COMPILER "GCC " __VERSION__
    #endif
    """
    void *chs_allocate(size_t n_bytes) nogil
    int CHS_HAS_OPENMP
    int chs_max_threads()
    int chs_processors()
    bint chs_lost_team
    int chs_watch_forks()
    int chs_prepare_team(int)
    double chs_seconds() nogil
    bint chs_signals() nogil
    bint chs_load(const long *) nogil
    void chs_store(long *, long) nogil
    const char *CHS_COMPILER

has_openmp = bool(CHS_HAS_OPENMP)
compiler = (<bytes>CHS_COMPILER).decode()

cdef const chs_kernels *_table = NULL


cdef const chs_kernels *table() noexcept nogil:
    return _table


def activation_names():
    """Names of the compiled activations; the index of each is its number in kernel calls."""
    return [(<bytes>chs_activation_name(i)).decode() for i in range(CHS_N_ACTIVATIONS)]


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
    cdef const chs_kernels *kernels = chs_kernels_for(name.encode())
    if kernels == NULL:
        runnable = [isa for isa in compiled_isas() if isa_runs(isa)]
        raise ValueError(
            f"instruction set {name!r} is not available here; compiled in: {compiled_isas()}, "
            f"usable on this processor: {runnable}"
        )
    _table = kernels


# Four a processor: more would wait for each other, and the system may refuse thousands.
cdef int _thread_limit = 4 * chs_processors()


def thread_limit():
    """Threads that a call starts at most, whatever it is asked for; its results do not depend on them."""
    return _thread_limit


def max_threads():
    """Threads that a call uses by itself: OMP_NUM_THREADS or the affinity mask, up to the limit; 1 without OpenMP."""
    return min(chs_max_threads(), _thread_limit)


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


cdef object float_dtype(size_t n_bytes):
    """The dtype of floating-point numbers of 8 or 4 bytes: float_dtype(sizeof(real)) is that of `real`."""
    return np.float64 if n_bytes == sizeof(double) else np.float32


def empty(tuple shape, dtype):
    """An uninitialised array. The memory of a large one is kept for the next once nobody uses it any more.

    The C library may give it back to the system, and the next step of a model would wait for as many fresh pages.
    """
    cdef size_t n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < 1 << 22 or n_bytes > MAX_KEPT_BYTES:
        return np.empty(shape, dtype)
    return np.frombuffer(Scratch(n_bytes), dtype).reshape(shape)


cdef long n_harmonics(long n_max, long d) noexcept nogil:
    """Number of harmonics of degree <= n_max in dimension d: C(n_max + d - 1, d - 1) + C(n_max + d - 2, d - 1)."""
    cdef long even = 1, odd = 1, i
    for i in range(1, d):
        even = even * (n_max + i) // i
        odd = odd * (n_max - 1 + i) // i
    return even + odd


cdef long scratch_rows(long n_max, long d) noexcept nogil:
    """Rows of scratch that the tile kernels of harmonics need."""
    return n_harmonics(n_max, max(<long>2, d - 1)) * (2 if d > 3 else 1) + n_max + 3


cdef long padded(long n) noexcept nogil:
    return (n + CHS_COLUMNS - 1) // CHS_COLUMNS * CHS_COLUMNS


cdef long padded_stride(long n) noexcept nogil:
    # From the n numbers of one worker to those of the next. Next to each other, prefetching beyond the end of one takes
    # cache lines from the other all the time: 1.3 in place of 2 times the speed on two threads (moments on the circle).
    return n + 1024


cdef long block_columns(long n_tokens) noexcept nogil:
    # A function of N alone, never of the thread count: the blocks fix the order of every sum.
    return min(<long>CHS_BLOCK_COLUMNS, max(<long>CHS_COLUMNS, padded(n_tokens // CHS_BLOCKS)))


# Multiply-adds that a thread must get, some 10 µs: a thread that sleeps takes 50 µs to wake up, one that still waits for
# work 2.
cdef double _thread_work = 250e3


def use_thread_work(double work):
    """Make every kernel call from now on give each thread that much work at least; returns what it was. For tests."""
    global _thread_work
    before, _thread_work = _thread_work, work
    return before


if chs_watch_forks():
    raise MemoryError("no memory to register what the kernels do after a fork")

cdef bint _has_warned = False


cdef int useful_threads(long n_threads, double work) except -1:
    """Threads for a call: up to n_threads, and as many as can be started.

    One in a child of fork whose parent has used several, whichever call of the parent and of the child it is.
    """
    global _has_warned
    cdef int n = <int>max(1.0, min(<double>min(n_threads, <long>_thread_limit), work / _thread_work)), error
    if n == 1:
        return 1
    if chs_lost_team:
        if not _has_warned:
            _has_warned = True
            warnings.warn(
                "chaosphere runs on one thread here: this process was forked after kernels had run on several, and a "
                "fork does not copy OpenMP's threads. Results are the same. To use more, start processes with "
                "multiprocessing.get_context('spawn'); n_threads=1 says that one is meant.",
                RuntimeWarning,
                stacklevel=1,
            )
        return 1
    error = chs_prepare_team(n)
    if error:
        raise RuntimeError(
            f"the system refused to start {n - 1} more threads ({os.strerror(error)}); pass a smaller n_threads, set "
            "OMP_NUM_THREADS, or raise the limit (ulimit -u, or that of the container)"
        )
    return n


cdef enum:
    WORK_BETWEEN_LOOKS = 10_000_000  # multiply-adds of one thread: some milliseconds, so that short calls read no clock

cdef double SECONDS_BETWEEN_SIGNALS = 0.1


cdef Watch watch(long n_items, double work) noexcept nogil:
    """A watch for a call of n_items items of work, `work` multiply-adds in all."""
    cdef Watch w
    w.is_stopped, w.next = 0, 0
    w.period = <long>max(1.0, min(1e9, WORK_BETWEEN_LOOKS * max(1.0, <double>n_items) / max(1.0, work)))
    w.left = w.period
    return w


cdef bint is_stopped(Watch *w, int thread) noexcept nogil:
    """Whether a signal has ended the call; every thread calls it before each item, and does no more if so.

    The first thread, which is the one that called, runs Python's handlers ten times a second.
    """
    cdef double now
    if thread == 0:
        w.left -= 1
        if w.left <= 0 and not w.is_stopped:
            w.left = w.period
            now = chs_seconds()
            if w.next == 0:
                w.next = now + SECONDS_BETWEEN_SIGNALS
            elif now >= w.next:
                w.next = now + SECONDS_BETWEEN_SIGNALS
                if chs_signals():
                    chs_store(&w.is_stopped, 1)
    return chs_load(&w.is_stopped)


cdef int raise_if_stopped(const Watch *w) except -1:
    """Raise what a handler raised, KeyboardInterrupt as a rule."""
    return -1 if w.is_stopped else 0
