"""Attention and energies within systems of few tokens.

Many systems are taken in groups, as many as a vector has lanes, so that a vector holds one coordinate of one token of
each. Those that are left over, fewer than half of a group, are taken one by one, with lanes along tokens. Both ways
are bitwise identical, so what a system gives depends neither on other systems nor on how many there are. A worker takes one group
or system after the other, and keeps it over several steps.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport log2

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    Scratch, Watch, float_dtype, is_stopped, padded_stride, raise_if_stopped, real, table, useful_threads,
    watch
)
from chaosphere.kernels.tiles cimport Tokens

cdef enum:
    ROWS_AT_ONCE = 128  # queries of an item of work

cdef struct Form:
    # How one group or system is stored: sizes of its tokens, of its sums, and of a number for each token.
    bint is_group
    long n, d, ld, lanes
    long tokens, sums, row


cdef Form _form(bint is_group, long n, long d, long lanes) noexcept nogil:
    cdef Form f
    f.is_group, f.n, f.d, f.lanes, f.ld = is_group, n, d, lanes, (n + lanes - 1) // lanes * lanes
    f.row = n * lanes if is_group else f.ld
    f.tokens, f.sums = d * f.row, (d + 1) * f.row
    return f


cdef long _n_groups(long n_replicas, long lanes) noexcept nogil:
    """Groups of so many systems: what is left over is one if it is more than half."""
    return n_replicas // lanes + (n_replicas % lanes > lanes // 2)


cdef long _size(const Form *f) noexcept nogil:
    """Numbers of memory that a group or system needs: tokens, means, sums, totals, weights, values, scratch."""
    return 4 * f.tokens + f.sums + 2 * f.row + 4 * f.n * f.lanes


cdef void _pack(const Form *f, long n_systems, long n_all, const real *x, double scale, real *tokens) noexcept nogil:
    """Tokens of a group, each of whose systems is one long row, or of one system; a system has n_all in memory."""
    cdef Tokens rows
    rows.start, rows.column_stride = <const char *>x, sizeof(real)
    rows.row_stride = f.d * sizeof(real)
    if f.is_group:
        rows.row_stride *= n_all
        tiles.pack(n_systems, f.n * f.d, rows, scale, f.lanes, tokens)
    else:
        tiles.pack(f.n, f.d, rows, scale, f.ld, tokens)


cdef void _unpack(const Form *f, long n_systems, long n_all, const real *tokens, real *x) noexcept nogil:
    """The way back."""
    cdef long lane, k, size = f.n * f.d
    if f.is_group and n_all == f.n:
        tiles.unpack(n_systems, size, f.lanes, tokens, 1, <const real *>NULL, x)
    elif f.is_group:
        for lane in range(n_systems):
            for k in range(size):
                x[lane * n_all * f.d + k] = tokens[k * f.lanes + lane]
    else:
        tiles.unpack(f.n, f.d, f.ld, tokens, 1, <const real *>NULL, x)


cdef void _weigh(
    const Form *f, long n_systems, const real *x, const double *weights, long stride, real *values, real *p
) noexcept nogil:
    """Values p_j x_j of tokens x, and p; the weights of system r start at weights + r * stride."""
    cdef long j, c, lane
    if f.is_group:
        for j in range(f.n):
            for lane in range(f.lanes):
                p[j * f.lanes + lane] = <real>weights[min(lane, n_systems - 1) * stride + j]
            for c in range(f.d):
                for lane in range(f.lanes):
                    values[(j * f.d + c) * f.lanes + lane] = p[j * f.lanes + lane] * x[(j * f.d + c) * f.lanes + lane]
    else:
        for j in range(f.n):
            p[j] = <real>weights[j]
            for c in range(f.d):
                values[c * f.ld + j] = p[j] * x[c * f.ld + j]


cdef void _own_mean(const Form *f, const real *tokens, double value_scale, real *means) noexcept nogil:
    """The mean at the first token under a causal mask, exactly: it sees itself alone."""
    cdef long k, stride = 1 if f.is_group else f.ld
    for k in range(f.d * f.lanes if f.is_group else f.d):
        means[k * stride] = <real>value_scale * tokens[k * stride]


cdef void _copy_first(const Form *f, const real *tokens, real *first) noexcept nogil:
    """The first token, coordinate by coordinate."""
    cdef long k, stride = 1 if f.is_group else f.ld
    for k in range(f.d * f.lanes if f.is_group else f.d):
        first[k] = tokens[k * stride]


cdef void _keep_first(const Form *f, const real *first, real *tokens) noexcept nogil:
    """Put the first token back where a step started, unless it leads to the other side of the sphere."""
    cdef long lane, c, lanes = f.lanes if f.is_group else 1, stride = f.lanes if f.is_group else f.ld
    cdef double product
    for lane in range(lanes):
        product = 0
        for c in range(f.d):
            product += <double>first[c * lanes + lane] * tokens[c * stride + lane]
        for c in range(f.d if product > 0 else 0):
            tokens[c * stride + lane] = first[c * lanes + lane]


cdef long _first_failure(const Form *f, long lane, const long *bad) noexcept nogil:
    """The first token of a system where a step fails, or -1: of that in a lane of a group, or of the only one."""
    cdef long token = f.n
    if f.is_group:
        return bad[lane]
    for lane in range(f.lanes):
        if bad[lane] >= 0:
            token = min(token, bad[lane] * f.lanes + lane)
    return token if token < f.n else -1


def attend_replicas(
    const real[:, :, ::1] x, const double[:, ::1] weights, double scale, double shift, long n_threads,
    double value_scale=1, step=None, long n_steps=1, const real[::1] polynomial=None, bint is_causal=False,
    const real[:, ::1] value=None
):
    """Attention with weights 2^(scale^2 x.y - shift) of tokens x (R, N, d), contiguous.

    shift bounds the scores; weights (R, N), (1, N) for all systems, or None. Returns the weighted means (R, N, d) times
    value_scale and a matrix `value` (d, d), if there is one, and the sums of the weights (R, N) before division, uniform weights counting 1 each. With a number
    `step` instead of all that LN(x + step value_scale mean), n_steps times over, and the flat index of the first token
    where that fails or -1. With coefficients of a `polynomial`, lowest first, the weight of a pair is its value at x.y,
    and nothing is divided; scale is 1 then, and zeros are returned for the sums of the weights. With is_causal token i
    attends to the tokens j <= i, and steps without a `value` leave the first token where it is. Results are those of `attend_bounded` and
    `attend_causal` up to rounding.
    """
    cdef const real *unused = NULL
    # Weights that may count as 0 have no form without p, and a tiny scale would lose its digits in scaled values.
    assert polynomial is None or (scale == 1 and polynomial.shape[0] > 0 and not is_causal), "polynomial"
    if weights is None and polynomial is None and (shift >= (479 if sizeof(real) == 8 else 50) or scale < 1e-15):
        weights = np.ones((1, x.shape[1]))
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], lanes = tiles.replica_lanes(unused)
    assert n >= 1 and (weights is None or weights.shape[1] == n), "weights"
    assert weights is None or weights.shape[0] == 1 or weights.shape[0] == n_replicas, "weights"
    assert n_steps == 1 or step is not None, "n_steps"
    assert value is None or (value.shape[0] == d and value.shape[1] == d), "value"
    cdef const real *value_map = NULL if value is None else &value[0, 0]
    cdef bint is_step = step is not None, has_weights = weights is not None
    cdef const real *c = NULL if polynomial is None else &polynomial[0]
    cdef long degree = 0 if polynomial is None else polynomial.shape[0] - 1
    cdef double factor = 1 if has_weights else 1 / scale, alpha = 0 if step is None else step
    cdef double work = <double>n_replicas * n * (n * (0.5 * d + 4 + 0.5 * degree) + (0 if value is None else d * d)) * n_steps
    cdef bint is_kept = is_causal and is_step and value is None
    cdef int threads = useful_threads(n_threads, work)
    cdef Form group = _form(True, n, d, lanes), single = _form(False, n, d, lanes), f
    cdef long n_groups = _n_groups(n_replicas, lanes)
    cdef long n_grouped = min(n_replicas, n_groups * lanes), n_items = n_groups + n_replicas - n_grouped
    cdef Watch signals = watch(n_items, work)
    cdef long mapped_size = 0 if value is None else max(group.tokens, single.tokens)
    cdef long stride = padded_stride(max(_size(&group), _size(&single)) + d * lanes + mapped_size), item, first, n_systems, number, lane
    cdef Scratch memory = Scratch(threads * stride * sizeof(real))
    cdef Scratch bad_memory = Scratch(n_items * lanes * sizeof(long))
    cdef long *bad = <long *>bad_memory.at
    cdef real *memories = <real *>memory.at
    cdef real *tokens
    cdef real *means
    cdef real *sums
    cdef real *totals
    cdef real *values
    cdef real *p
    cdef real *start
    cdef real *mapped
    cdef real *scratch
    cdef long p_stride = 0 if weights is None or weights.shape[0] == 1 else n
    out_array = abi.empty((n_replicas, n, d), float_dtype(sizeof(real)))
    total_array = np.empty((n_replicas, 1 if is_step else n), float_dtype(sizeof(real)))
    cdef real[:, :, ::1] out = out_array
    cdef real[:, ::1] total = total_array
    for lane in range(n_items * lanes):
        bad[lane] = -1
    for item in prange(n_items, schedule="dynamic", num_threads=threads, nogil=True):
        if is_stopped(&signals, threadid()):
            continue
        f = group if item < n_groups else single
        first = item * lanes if f.is_group else n_grouped + item - n_groups
        n_systems = min(lanes, n_replicas - first) if f.is_group else 1
        tokens = memories + threadid() * stride
        means = tokens + f.tokens
        sums = means + f.tokens
        totals = sums + f.sums
        p = totals + f.row
        values = p + f.row
        start = values + f.tokens
        mapped = start + d * lanes
        scratch = mapped + mapped_size
        if value_map == NULL:
            mapped = means
        _pack(&f, n_systems, n, &x[first, 0, 0], 1, tokens)
        for number in range(n_steps):
            if has_weights:
                _weigh(&f, n_systems, tokens, &weights[first if p_stride > 0 else 0, 0], p_stride, values, p)
            tiles.attend_replicas(f.is_group, is_causal, n, d, f.ld, tokens, values if has_weights else NULL,
                                  p if has_weights else NULL, scale, shift, degree, c, scratch, sums)
            tiles.replica_means(f.is_group, c == NULL, n, d, f.ld, sums, factor, value_scale, means, totals)
            if is_causal:
                _own_mean(&f, tokens, value_scale, means)
            if value_map != NULL:
                tiles.replica_map(f.is_group, n, d, d, f.ld, value_map, means, mapped)
            if is_kept:
                _copy_first(&f, tokens, start)
            if is_step:
                tiles.replica_step(f.is_group, n, d, f.ld, mapped, alpha, tokens, bad + item * lanes)
            if is_kept:
                _keep_first(&f, start, tokens)
        if is_step:
            _unpack(&f, n_systems, n, tokens, &out[first, 0, 0])
            continue
        _unpack(&f, n_systems, n, mapped, &out[first, 0, 0])
        if f.is_group:
            tiles.unpack(n_systems, n, lanes, totals, 1, <const real *>NULL, &total[first, 0])
        else:
            for number in range(n):
                total[first, number] = totals[number]
    raise_if_stopped(&signals)
    if not is_step:
        if c != NULL:
            total_array[...] = 0
        return out_array, total_array.astype(np.float64, copy=False)
    for number in range(n_replicas):
        f = group if number < n_grouped else single
        item = number // lanes if f.is_group else n_groups + number - n_grouped
        first = _first_failure(&f, number % lanes, bad + item * lanes)
        if first >= 0:
            return out_array, number * n + first
    return out_array, -1


def attend_replica_rows(
    const real[:, :, ::1] queries, const real[:, :, ::1] keys, const double[::1] weights, double scale, long n_threads,
    double value_scale=1, const real[:, ::1] query=None, const real[:, ::1] key=None, const real[:, ::1] value=None,
    const real[:, ::1] output=None, bint is_distance=False, long first_query=-1, double decay=0,
    bint is_small=False
):
    """Attention of tokens x (R, M, d) to tokens y (R, N, d) with weights p_j 2^(scale <Q x_i, K y_j>), of any size.

    Q and K are (k, d), values V y_j with V (v, d), and the means are multiplied by the output (rows, v); what is None is
    the identity. With is_distance |K y_j|^2 log2(e) is taken off the exponents: with the scale 2 log2(e) weights are
    p_j e^(-|Q x_i - K y_j|^2), up to a factor of each x_i. Returns the weighted means (R, M, rows) times value_scale, the
    sums of the weights (R, M), uniform weights counting 1 each, in units of 2^exponent, and these exponents (R, M). What
    a query gets depends on its system alone, and on no other query. With a first_query >= 0 queries are first_query,
    first_query + 1, ... of the keys, i attends to the keys j <= i, and decay (i - j) is taken off the exponents. Exponents
    that are small need no largest one: no power overflows, counts as 0, or a sum of so many of them is infinite.
    """
    cdef const real *unused = NULL
    cdef long n_replicas = queries.shape[0], n = keys.shape[1], m = queries.shape[1], d = keys.shape[2]
    cdef long k_dim = d if key is None else key.shape[0], v_dim = d if value is None else value.shape[0]
    cdef long n_rows = v_dim if output is None else output.shape[0], lanes = tiles.replica_lanes(unused)
    assert n >= 1 and m >= 1 and keys.shape[0] == n_replicas and queries.shape[2] == d, "keys"
    assert k_dim >= 1 and k_dim == (d if query is None else query.shape[0]), "query"
    assert (query is None or query.shape[1] == d) and (key is None or key.shape[1] == d), "key"
    assert v_dim >= 1 and (value is None or value.shape[1] == d), "value"
    assert n_rows >= 1 and (output is None or output.shape[1] == v_dim), "output"
    assert weights is None or weights.shape[0] == n, "weights"
    assert first_query + m <= n and decay >= 0 if first_query >= 0 else decay == 0, "first_query, decay"
    cdef const real *query_map = NULL if query is None else &query[0, 0]
    cdef const real *key_map = NULL if key is None else &key[0, 0]
    cdef const real *value_map = NULL if value is None else &value[0, 0]
    cdef const real *output_map = NULL if output is None else &output[0, 0]
    cdef long part = min(m, ROWS_AT_ONCE), n_parts = (m + part - 1) // part
    cdef long n_groups = _n_groups(n_replicas, lanes), n_grouped = min(n_replicas, n_groups * lanes)
    cdef long n_items = (n_groups + n_replicas - n_grouped) * n_parts
    cdef double work = <double>n_replicas * m * n * (0.5 * (k_dim + v_dim) + 8)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_items, work)
    cdef long row = part * lanes, column = n * lanes, item, system, first, start, n_systems, place
    cdef long size_of_row = d + k_dim + 2 * v_dim + n_rows + 3, size_of_column = d + k_dim + v_dim + 5
    cdef long stride = padded_stride(size_of_row * row + size_of_column * column)
    cdef Scratch memory = Scratch(threads * stride * sizeof(real))
    cdef Form f, of_keys
    cdef real *raw
    cdef real *q
    cdef real *tokens
    cdef real *k
    cdef real *v
    cdef real *bias
    cdef real *top
    cdef real *sums
    cdef real *means
    cdef real *results
    cdef real *totals
    cdef bint has_bias = is_distance or weights is not None
    cdef const double *p = NULL if weights is None else &weights[0]
    # One packing serves both where they are the same tokens.
    cdef bint is_own = &queries[0, 0, 0] == &keys[0, 0, 0] and m == n and n_parts == 1 and scale == 1
    mean_array = abi.empty((n_replicas, m, n_rows), float_dtype(sizeof(real)))
    number_array = np.empty((2, n_replicas, m))
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, :, ::1] numbers = number_array
    for item in prange(n_items, schedule="dynamic", num_threads=threads, nogil=True):
        if is_stopped(&signals, threadid()):
            continue
        system, start = item // n_parts, item % n_parts * part
        f = _form(system < n_groups, min(part, m - start), d, lanes)
        of_keys = _form(f.is_group, n, d, lanes)
        first = system * lanes if f.is_group else n_grouped + system - n_groups
        n_systems = min(lanes, n_replicas - first) if f.is_group else 1
        raw = <real *>memory.at + threadid() * stride
        q, tokens = raw + d * row, raw + (d + k_dim) * row
        k = tokens + d * column
        v, bias = k + k_dim * column, k + (k_dim + v_dim) * column
        sums = bias + column
        means = sums + (v_dim + 1) * row
        results, totals = means + v_dim * row, means + (v_dim + n_rows) * row
        top = totals + row
        _pack(&of_keys, n_systems, n, &keys[first, 0, 0], 1, tokens)
        if is_own:
            raw = tokens
        else:
            _pack(&f, n_systems, m, &queries[first, start, 0], scale, raw)
        if query_map == NULL:
            q = raw
        else:
            tiles.replica_map(f.is_group, f.n, k_dim, d, f.ld, query_map, raw, q)
        if key_map == NULL:
            k = tokens
        else:
            tiles.replica_map(f.is_group, n, k_dim, d, of_keys.ld, key_map, tokens, k)
        if value_map == NULL:
            v = tokens
        else:
            tiles.replica_map(f.is_group, n, v_dim, d, of_keys.ld, value_map, tokens, v)
        for place in range(of_keys.row if has_bias else 0):
            bias[place] = 0 if p == NULL else <real>log2(p[min(place // lanes if f.is_group else place, n - 1)])
        tiles.attend_replica_rows(f.is_group, is_distance, -1 if first_query < 0 else first_query + start, decay, 0 if is_small else -1, k_dim, v_dim, f.n, n, f.ld, of_keys.ld, q, k, v,
                                  bias if has_bias else NULL, top + row, top, sums)
        tiles.replica_means(f.is_group, True, f.n, v_dim, f.ld, sums, 1, value_scale, means, totals)
        if output_map == NULL:
            results = means
        else:
            tiles.replica_map(f.is_group, f.n, n_rows, v_dim, f.ld, output_map, means, results)
        f.d = n_rows
        _unpack(&f, n_systems, m, results, &mean[first, start, 0])
        for system in range(n_systems):
            for place in range(f.n):
                numbers[0, first + system, start + place] = totals[place * lanes + system if f.is_group else place]
                numbers[1, first + system, start + place] = top[place * lanes + system if f.is_group else place]
    raise_if_stopped(&signals)
    return mean_array, number_array[0], number_array[1]


def pair_deficits(const double[:, :, ::1] x, const double[::1] weights, double beta, long n_threads):
    """Sum of p_i p_j (1 - e^(-beta |x_i - x_j|^2 / 2)) per system of tokens x (R, N, d); weights (N,) or None for 1/N."""
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], lanes = tiles.replica_lanes(<const double *>NULL)
    assert n >= 1 and (weights is None or weights.shape[0] == n), "weights"
    if weights is None:
        weights = np.full(n, 1.0 / n)
    cdef double work = <double>n_replicas * n * n * (d + 8)
    cdef int threads = useful_threads(n_threads, work)
    cdef Form group = _form(True, n, d, lanes), single = _form(False, n, d, lanes), f
    cdef long n_groups = _n_groups(n_replicas, lanes), n_grouped = min(n_replicas, n_groups * lanes)
    cdef long n_items = n_groups + n_replicas - n_grouped, item, first, n_systems, lane
    cdef Watch signals = watch(n_items, work)
    cdef long stride = padded_stride(max(group.tokens, single.tokens) + lanes)
    cdef Scratch memory = Scratch(threads * stride * sizeof(double))
    cdef double *energy
    cdef double *tokens
    cdef const double *p = &weights[0]
    out_array = np.empty(n_replicas)
    cdef double[::1] out = out_array
    for item in prange(n_items, schedule="dynamic", num_threads=threads, nogil=True):
        if is_stopped(&signals, threadid()):
            continue
        f = group if item < n_groups else single
        first = item * lanes if f.is_group else n_grouped + item - n_groups
        n_systems = min(lanes, n_replicas - first) if f.is_group else 1
        energy = <double *>memory.at + threadid() * stride
        tokens = energy + lanes
        _pack(&f, n_systems, n, &x[first, 0, 0], 1, tokens)
        table().replica_energies(f.is_group, n, d, f.ld, tokens, p, beta, energy)
        for lane in range(n_systems):
            out[first + lane] = energy[lane]
    raise_if_stopped(&signals)
    return out_array
