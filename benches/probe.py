"""What this processor can do: vector operations per second, by a small C program compiled for it here.

`python benches/probe.py` prints it. The limits that benches are held against are the rate of multiply-adds ("fma", two
floating-point operations each) and of multiply-adds and additions in equal numbers ("mix", one operation each): on some
processors additions run beside multiply-adds, on others they take their places. The rate of exponentials, of the C
library's vector version where the compiler finds one, is for information. A permutation of two registers ("pick", with
AVX-512) may take the place of a multiply-add; `places` says what part of one. With CHAOSPHERE_ISA it measures that
instruction set.
"""

import ctypes
import functools
import itertools
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from registry import IS_QUICK, THREADS

SOURCE = r"""
#include <math.h>
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define CHAINS 12  /* more than latency times throughput of any processor so far, fewer than its registers */
#define MIXED (BYTES == 64 ? 10 : 6)
#define PROBE(real)                                                                                                   \
    typedef real vector_##real __attribute__((vector_size(BYTES)));                                                  \
    /* Returns the number of floating-point operations done. */                                                      \
    double fma_##real(long n, real *out) {                                                                           \
        vector_##real a[CHAINS], m = (vector_##real){0} + (real)0.999, c = (vector_##real){0} + (real)1e-3;           \
        for (int i = 0; i < CHAINS; i++) a[i] = m + (real)i;                                                           \
        for (long r = 0; r < n; r++) {                                                                                \
            _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) a[i] = a[i] * m + c;                            \
        }                                                                                                             \
        for (int i = 1; i < CHAINS; i++) a[0] += a[i];                                                                \
        *out = a[0][0];                                                                                               \
        return 2.0 * n * CHAINS * (BYTES / sizeof(real));                                                             \
    }                                                                                                                 \
    /* As many additions as multiply-adds, in chains of their own. */                                                 \
    double mix_##real(long n, real *out) {                                                                            \
        vector_##real a[MIXED], b[MIXED], m = (vector_##real){0} + (real)0.999, c = (vector_##real){0} + (real)1e-3;  \
        for (int i = 0; i < MIXED; i++) b[i] = a[i] = m + (real)i;                                                    \
        for (long r = 0; r < n; r++) {                                                                                \
            _Pragma("GCC unroll 10") for (int i = 0; i < MIXED; i++) a[i] = a[i] * m + c, b[i] = c - b[i];            \
        }                                                                                                             \
        for (int i = 0; i < MIXED; i++) a[0] += a[i] + b[i];                                                          \
        *out = a[0][0];                                                                                               \
        return 2.0 * n * MIXED * (BYTES / sizeof(real));                                                              \
    }
PROBE(double)
PROBE(float)
#if BYTES == 64
/* As many permutations of two registers as multiply-adds, in chains of their own. */
#define PICK(real, integer)                                                                                           \
    double pick_##real(long n, real *out) {                                                                           \
        typedef integer indices __attribute__((vector_size(BYTES)));                                                  \
        vector_##real a[MIXED], b[MIXED], m = (vector_##real){0} + (real)0.999, c = (vector_##real){0} + (real)1e-3;  \
        indices lane;                                                                                                 \
        for (int i = 0; i < BYTES / (int)sizeof(real); i++) lane[i] = (integer)(n % 3 + 5 * i);                       \
        for (int i = 0; i < MIXED; i++) b[i] = a[i] = m + (real)i;                                                    \
        for (long r = 0; r < n; r++) {                                                                                \
            _Pragma("GCC unroll 10") for (int i = 0; i < MIXED; i++) a[i] = a[i] * m + c,                              \
                b[i] = __builtin_shuffle(b[i], m, lane);                                                              \
        }                                                                                                             \
        for (int i = 0; i < MIXED; i++) a[0] += a[i] + b[i];                                                          \
        *out = a[0][0];                                                                                               \
        return 2.0 * n * MIXED * (BYTES / sizeof(real));                                                              \
    }
PICK(double, long long)
PICK(float, int)
#endif
/* The sum keeps the compiler from dropping the work; 1024 values stay in the first-level cache. */
double exp_double(long n, double *out) {
    static _Thread_local double x[1024];
    double sum = 0;
    for (int i = 0; i < 1024; i++) x[i] = -i / 128.0;
    for (long r = 0; r < n / 64; r++) {
        x[r & 1023] *= 0.999;
        for (int i = 0; i < 1024; i++) sum += exp(x[i]);
    }
    *out = sum;
    return 1024.0 * (n / 64);
}
double exp_float(long n, float *out) {
    static _Thread_local float x[1024];
    float sum = 0;
    for (int i = 0; i < 1024; i++) x[i] = -i / 128.0f;
    for (long r = 0; r < n / 64; r++) {
        x[r & 1023] *= 0.999f;
        for (int i = 0; i < 1024; i++) sum += expf(x[i]);
    }
    *out = sum;
    return 1024.0 * (n / 64);
}
"""
UNITS = {"fma": "FLOP", "mix": "op", "exp": "exp"}
FLAGS = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]  # fast-math: without it no vector exp
FLAGS += {"avx2": ["-mno-avx512f"], "baseline": ["-mno-avx"]}.get(os.environ.get("CHAOSPHERE_ISA", ""), [])


@functools.cache
def _library() -> ctypes.CDLL | None:
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "probe.c"), Path(folder, "probe.so")
        source.write_text(SOURCE)
        command = [compiler, *FLAGS, str(source), "-o", str(library), "-lm"]
        # GCC prefers 256-bit vectors even where 512-bit ones are faster; other compilers may not know the flag.
        wide = [*command, "-mprefer-vector-width=512"]
        tries = [subprocess.run(c, capture_output=True, text=True, timeout=300, check=False) for c in (command, wide)]
        if not library.exists():
            warnings.warn(f"no peak to compare with, the probe does not compile:\n{tries[0].stderr}", stacklevel=2)
            return None
        return ctypes.CDLL(str(library))


@functools.cache
def peak(kind: str, dtype: str, threads: int = THREADS) -> float | None:
    """Return operations per second of "fma" (each counts two), "mix" or "exp"; None where no C compiler works."""
    # Some 50 ms at a time: in shorter bursts the scheduler may leave two threads on one processor.
    bursts = [burst(kind, dtype, threads=threads) for _ in range(1 if IS_QUICK else 5)]
    rates = [rate for rate in bursts if rate is not None]
    return max(rates, default=None)  # the best of several: others may be using the machine


def burst(kind: str, dtype: str, *, threads: int = THREADS, share: float = 1.0) -> float | None:
    """Return the operations per second of one burst of some 50 ms, or a share of it; None where no C compiler works."""
    library = _library()
    if library is None:
        return None
    function = getattr(library, f"{kind}_{'double' if dtype == 'float64' else 'float'}")
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_long, ctypes.c_void_p]
    outs = [ctypes.create_string_buffer(8) for _ in range(threads)]
    n = int(share * (100_000 if IS_QUICK else 30_000_000 if kind == "exp" else 15_000_000))
    with ThreadPoolExecutor(threads) as pool:  # ctypes releases the GIL
        start = time.perf_counter()
        done = sum(pool.map(lambda out: function(n, out), outs))
        return done / (time.perf_counter() - start)


def places(dtype: str) -> float:
    """Return which part of the time of a multiply-add a permutation of two registers takes beside one, from 0 to 1."""
    library = _library()
    if library is None or not hasattr(library, "pick_float"):
        return 0.0
    pairs = []
    for _ in range(1 if IS_QUICK else 5):
        multiply_adds, both = burst("fma", dtype), burst("pick", dtype)
        assert multiply_adds is not None
        assert both is not None
        pairs.append(multiply_adds / both - 1)  # 2 operations in either: of one multiply-add, and of one with another
    return min(max(statistics.median(pairs), 0.0), 1.0)


def fraction(function: Callable[[], object], *, dtype: str, fma: float, operations: float) -> float | None:
    """Return the least time of a call over the time it takes: the median over rounds.

    In a round, bursts that measure the processor come before and after calls of about the same length: what slows the
    processor for a while slows both.

    Parameters
    ----------
    function : callable
    dtype : str
    fma, operations : float
        The multiply-adds of one call, and all its arithmetic operations.
    """
    if burst("fma", dtype) is None:
        return None

    def least() -> float:
        return max(2 * fma / burst("fma", dtype), operations / burst("mix", dtype))

    start = time.perf_counter()
    function()
    n_calls = 1 if IS_QUICK else max(1, round(0.1 / (time.perf_counter() - start)))
    fractions, before = [], least()
    for _ in range(1 if IS_QUICK else 9):
        start = time.perf_counter()
        for _ in range(n_calls):
            function()
        seconds = (time.perf_counter() - start) / n_calls
        after = least()
        fractions.append(0.5 * (before + after) / seconds)
        before = after
    return statistics.median(fractions)


def peaks() -> dict[str, float]:
    """Return all of them, {"fma float64 1 thread": operations per second, ...}."""
    rates = {}
    for kind, dtype in itertools.product(("fma", "mix", "exp"), ("float64", "float32")):
        for threads in sorted({1, THREADS}):
            rate = peak(kind, dtype, threads)
            if rate is not None:
                rates[f"{kind} {dtype} {threads} thread{'s' * (threads > 1)}"] = rate
    return rates


if __name__ == "__main__":
    for name, rate in peaks().items():
        print(f"{name:24s}{rate / 1e9:8.1f} G{UNITS[name[:3]]}/s")
