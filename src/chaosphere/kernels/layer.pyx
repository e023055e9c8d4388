"""Random layers over blocks of tokens."""

from cython.parallel cimport prange, threadid

import numpy as np

from chaosphere.kernels.abi cimport CHS_HIDDEN, CHS_COLUMNS, Scratch, chs_kernels, padded, real, table, useful_threads


cdef long _tile(long n_tokens) noexcept nogil:
    # Tokens at once. The activations of 64, some 64 x 64 values, fill two thirds of a first-level cache; few tokens are
    # cut smaller, for the threads. A token's bits do not depend on it.
    return 64 if n_tokens > 512 else CHS_COLUMNS


cdef void _layer(
    long index, const real[:, :, :] x, const real[:, :, ::1] u, const real[:, ::1] b, const real[:, :, ::1] w,
    const real[:, ::1] c_out, int activation, double weight_std, double output_scale, real *scratch,
    real[:, :, ::1] out
) noexcept nogil:
    cdef const chs_kernels *c = table()
    cdef long n = x.shape[1], d = x.shape[2], m = u.shape[1], tile = _tile(n), tiles = (n + tile - 1) // tile, j, k
    cdef long replica = index // tiles, first = (index % tiles) * tile, layer = replica if u.shape[0] > 1 else 0
    cdef long count = min(n - first, tile), ld = padded(count)
    cdef const char *start = <const char *>&x[replica, first, 0]
    cdef real *tokens = scratch
    cdef real *result = tokens + d * ld
    cdef real *hidden = result + d * ld
    cdef const real *bias = NULL if b is None else &b[layer, 0]
    if real is double:
        c.pack_f64(count, d, start, x.strides[1], x.strides[2], weight_std, ld, tokens)
        c.layer_f64(d, m, ld, tokens, &u[layer, 0, 0], bias, &w[layer, 0, 0], activation, hidden, result)
    else:
        c.pack_f32(count, d, start, x.strides[1], x.strides[2], weight_std, ld, tokens)
        c.layer_f32(d, m, ld, tokens, &u[layer, 0, 0], bias, &w[layer, 0, 0], activation, hidden, result)
    for j in range(count):
        for k in range(d):
            out[replica, first + j, k] = <real>(output_scale * result[k * ld + j])
        if c_out is not None:
            for k in range(d):
                out[replica, first + j, k] += c_out[layer, k]


def layer(
    const real[:, :, :] x, const real[:, :, ::1] u, const real[:, ::1] b, const real[:, :, ::1] w,
    const real[:, ::1] output_bias, int activation, double weight_std, double output_scale, int n_threads
):
    """output_scale * W phi(weight_std U x + b) + output_bias for tokens (R, N, d).

    u is (R or 1, m, d), w (R or 1, d, m), b (R or 1, m) or None, output_bias (R or 1, d) or None; leading 1 means
    one layer for all replicas.
    """
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], m = u.shape[1], index
    cdef long tile = _tile(n), n_items = n_replicas * ((n + tile - 1) // tile)
    cdef long each = (2 * d + CHS_HIDDEN) * tile
    cdef int threads = useful_threads(n_threads, <double>n_replicas * n * m * (d + 4))
    cdef Scratch scratch = Scratch(threads * each * sizeof(real))
    cdef real *s = <real *>scratch.at
    out_array = np.empty((n_replicas, n, d), np.float64 if real is double else np.float32)
    cdef real[:, :, ::1] out = out_array
    for index in prange(n_items, schedule="static", num_threads=threads, nogil=True):
        _layer[real](index, x, u, b, w, output_bias, activation, weight_std, output_scale, s + threadid() * each, out)
    return out_array


def activate(const real[::1] x, int activation):
    """phi(x), element by element."""
    cdef long n = x.shape[0], i
    cdef Scratch scratch = Scratch(padded(n) * sizeof(real))
    cdef real *s = <real *>scratch.at
    for i in range(padded(n)):
        s[i] = x[i] if i < n else 0
    if real is double:
        table().activate_f64(activation, padded(n), s)
    else:
        table().activate_f32(activation, padded(n), s)
    out_array = np.empty(n, np.float64 if real is double else np.float32)
    cdef real[::1] out = out_array
    for i in range(n):
        out[i] = s[i]
    return out_array
