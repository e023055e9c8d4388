"""Random layers over blocks of tokens."""

from cython.parallel cimport prange, threadid

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    CHS_HIDDEN, CHS_COLUMNS, CHS_N_ACTIVATIONS, Scratch, Watch, float_dtype, is_stopped, padded, padded_stride,
    raise_if_stopped, real, useful_threads, watch
)


cdef long _tile(long n_replicas, long n_tokens, long d, int threads) noexcept nogil:
    # Tokens at once, between which all weights go by: many, as long as the threads have enough of them and tokens and
    # sums leave the weights their place in the second-level cache. A token's bits do not depend on it.
    if n_tokens <= 512:
        return CHS_COLUMNS
    return 192 if d <= 128 and n_replicas * n_tokens >= 16 * 192 * threads else 64


cdef long _layer(
    long index, long tile, const real[:, :, :] x, const real[:, :, ::1] u, const real[:, ::1] b, const real[:, :, ::1] w,
    const real[:, ::1] c_out, int activation, double weight_std, double output_scale, bint is_step, double alpha,
    real *scratch, real[:, :, ::1] out
) noexcept nogil:
    """One tile of tokens; the flat index of a token where the step fails, or -1."""
    cdef long n = x.shape[1], d = x.shape[2], m = u.shape[1], n_tiles = (n + tile - 1) // tile
    cdef long replica = index // n_tiles, first = (index % n_tiles) * tile, layer = replica if u.shape[0] > 1 else 0
    cdef long count = min(n - first, tile), panel = 2 * tiles.replica_lanes(<const real *>NULL)
    cdef long ld = (count + panel - 1) // panel * panel
    cdef tiles.Tokens at = tiles.tokens_from(x, replica, first)
    cdef real *tokens = scratch
    cdef real *result = tokens + d * ld
    cdef real *hidden = result + d * ld
    cdef const real *bias = NULL if b is None else &b[layer, 0]
    cdef const real *shift = NULL if c_out is None else &c_out[layer, 0]
    cdef real *rows = &out[replica, first, 0]
    cdef long bad = -1
    tiles.pack(count, d, at, weight_std, ld, tokens)
    tiles.layer(d, m, ld, tokens, &u[layer, 0, 0], bias, &w[layer, 0, 0], activation, hidden, result)
    tiles.unpack(count, d, ld, result, output_scale, shift, rows)
    if is_step:
        bad = tiles.step(count, d, at, rows, alpha, rows)
    return -1 if bad < 0 else replica * n + first + bad


def layer(
    const real[:, :, :] x, const real[:, :, ::1] u, const real[:, ::1] b, const real[:, :, ::1] w,
    const real[:, ::1] output_bias, int activation, double weight_std, double output_scale, long n_threads,
    step=None
):
    """output_scale * W phi(weight_std U x + b) + output_bias for tokens (R, N, d).

    u is (R or 1, m, d), w (R or 1, d, m), b (R or 1, m) or None, output_bias (R or 1, d) or None; leading 1 means
    one layer for all replicas. With a number `step`, LN(x + step times that) and the flat index of the first token where
    that fails, or -1.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], m = u.shape[1], index, r = u.shape[0]
    assert n >= 1 and (r == 1 or r == n_replicas) and u.shape[2] == d, "u"
    assert w.shape[0] == r and w.shape[1] == d and w.shape[2] == m, "w"
    assert b is None or (b.shape[0] == r and b.shape[1] == m), "b"
    assert output_bias is None or (output_bias.shape[0] == r and output_bias.shape[1] == d), "output_bias"
    assert 0 <= activation < CHS_N_ACTIVATIONS, "activation"
    cdef double work = <double>n_replicas * n * m * (d + 4)
    cdef int threads = useful_threads(n_threads, work)
    cdef long tile = _tile(n_replicas, n, d, threads), n_items = n_replicas * ((n + tile - 1) // tile)
    cdef long stride = padded_stride(2 * d * tile + CHS_HIDDEN * CHS_COLUMNS)
    cdef Scratch scratch = Scratch(threads * stride * sizeof(real))
    cdef real *s = <real *>scratch.at
    out_array = abi.empty((n_replicas, n, d), float_dtype(sizeof(real)))
    bad_array = np.empty(n_items, np.int64)
    cdef real[:, :, ::1] out = out_array
    cdef long[::1] bad = bad_array
    cdef bint is_step = step is not None
    cdef double alpha = step if is_step else 0
    cdef Watch signals = watch(n_items, work)
    for index in prange(n_items, schedule="dynamic", num_threads=threads, nogil=True):
        if not is_stopped(&signals, threadid()):
            bad[index] = _layer[real](index, tile, x, u, b, w, output_bias, activation, weight_std, output_scale,
                                      is_step, alpha, s + threadid() * stride, out)
    raise_if_stopped(&signals)
    if is_step:
        failures = bad_array[bad_array >= 0]
        return out_array, int(failures[0]) if failures.size else -1
    return out_array


def activate(const real[::1] x, int activation):
    """phi(x), element by element."""
    assert 0 <= activation < CHS_N_ACTIVATIONS, "activation"
    cdef long n = x.shape[0], i
    cdef Scratch scratch = Scratch(padded(n) * sizeof(real))
    cdef real *s = <real *>scratch.at
    for i in range(padded(n)):
        s[i] = x[i] if i < n else 0
    tiles.activate(activation, padded(n), s)
    out_array = np.empty(n, float_dtype(sizeof(real)))
    cdef real[::1] out = out_array
    for i in range(n):
        out[i] = s[i]
    return out_array
