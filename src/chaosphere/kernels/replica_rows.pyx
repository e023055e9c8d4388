"""Attention of any queries to few keys within each of many systems, with lanes along systems or along queries.

replicas.pyx says how systems are taken in groups and one by one, and why both are bitwise identical.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport log2

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    Scratch, Watch, float_dtype, is_stopped, padded_stride, raise_if_stopped, real, useful_threads, watch
)
from chaosphere.kernels.replica_forms cimport (
    Form, first_of_all, form_of, groups_of, own_mean, pack_systems, step_systems, unpack_systems
)

cdef enum:
    ROWS_AT_ONCE = 128  # queries of an item of work


def attend_replica_rows(
    const real[:, :, ::1] queries, const real[:, :, ::1] keys, const double[::1] weights, double scale, long n_threads,
    double value_scale=1, const real[:, ::1] query=None, const real[:, ::1] key=None, const real[:, ::1] value=None,
    const real[:, ::1] output=None, bint is_distance=False, long first_query=-1, double decay=0,
    bint is_small=False, step=None, long n_steps=1
):
    """Attention of tokens x (R, M, d) to tokens y (R, N, d) with weights p_j 2^(scale <Q x_i, K y_j>), of any size.

    Q and K are (k, d), values V y_j with V (v, d), and the means are multiplied by the output (rows, v); what is None is
    the identity. With is_distance |K y_j|^2 log2(e) is taken off the exponents: with the scale 2 log2(e) weights are
    p_j e^(-|Q x_i - K y_j|^2), up to a factor of each x_i. Returns the weighted means (R, M, rows) times value_scale, the
    sums of the weights (R, M), uniform weights counting 1 each, in units of 2^exponent, and these exponents (R, M). What
    a query gets depends on its system alone, and on no other query. With a first_query >= 0 queries are first_query,
    first_query + 1, ... of the keys, i attends to the keys j <= i, and decay (i - j) is taken off the exponents. Exponents
    that are small need no largest one: no power overflows, counts as 0, or a sum of so many of them is infinite.

    With a number `step` and queries that are the keys it returns LN(x + step attention), n_steps times over, and the flat
    index of the first token where that fails or -1. With first_query = 0 and V = 1 the first token stays where it is.
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
    cdef long n_groups = groups_of(n_replicas, lanes), n_grouped = min(n_replicas, n_groups * lanes)
    cdef long n_items = (n_groups + n_replicas - n_grouped) * n_parts
    cdef double work = <double>n_replicas * m * n * (0.5 * (k_dim + v_dim) + 8) * n_steps
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch signals = watch(n_items, work)
    cdef long row = part * lanes, column = n * lanes, item, system, first, start, n_systems, place
    cdef long size_of_row = d + k_dim + 2 * v_dim + n_rows + 3, size_of_column = d + k_dim + v_dim + 5
    cdef long stride = padded_stride(size_of_row * row + size_of_column * column + d * lanes)
    cdef Scratch memory = Scratch(threads * stride * sizeof(real))
    cdef Form f, of_keys, group = form_of(True, n, d, lanes)
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
    cdef bint is_own = &queries[0, 0, 0] == &keys[0, 0, 0] and m == n and n_parts == 1, is_step = step is not None
    assert n_steps == 1 or is_step, "n_steps"
    assert not is_step or (is_own and n_rows == d), "step"
    cdef bint is_kept = is_step and first_query >= 0 and value is None and output is None
    cdef double alpha = 0 if step is None else step
    cdef long number, lane
    cdef real *kept
    cdef Scratch bad_memory = Scratch(n_items * lanes * sizeof(long))
    cdef long *bad = <long *>bad_memory.at
    for place in range(n_items * lanes):
        bad[place] = -1
    mean_array = abi.empty((n_replicas, m, n_rows), float_dtype(sizeof(real)))
    number_array = np.empty((2, 1 if is_step else n_replicas, m))
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, :, ::1] numbers = number_array
    for item in prange(n_items, schedule="dynamic", num_threads=threads, nogil=True):
        if is_stopped(&signals, threadid()):
            continue
        system, start = item // n_parts, item % n_parts * part
        f = form_of(system < n_groups, min(part, m - start), d, lanes)
        of_keys = form_of(f.is_group, n, d, lanes)
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
        kept = raw + size_of_row * row + size_of_column * column
        pack_systems(&of_keys, n_systems, n, &keys[first, 0, 0], 1, tokens)
        if is_own and scale == 1:
            raw = tokens
        elif not is_own:
            pack_systems(&f, n_systems, m, &queries[first, start, 0], scale, raw)
        if query_map == NULL:
            q = raw
        if key_map == NULL:
            k = tokens
        if value_map == NULL:
            v = tokens
        if output_map == NULL:
            results = means
        for number in range(n_steps):
            if is_own and scale != 1:
                for place in range(f.tokens):
                    raw[place] = <real>(scale * tokens[place])
            if query_map != NULL:
                tiles.replica_map(f.is_group, f.n, k_dim, d, f.ld, query_map, raw, q)
            if key_map != NULL:
                tiles.replica_map(f.is_group, n, k_dim, d, of_keys.ld, key_map, tokens, k)
            if value_map != NULL:
                tiles.replica_map(f.is_group, n, v_dim, d, of_keys.ld, value_map, tokens, v)
            for place in range(of_keys.row if has_bias else 0):
                bias[place] = 0 if p == NULL else <real>log2(p[min(place // lanes if f.is_group else place, n - 1)])
            tiles.attend_replica_rows(f.is_group, is_distance, -1 if first_query < 0 else first_query + start, decay,
                                      not is_small, k_dim, v_dim, f.n, n, f.ld, of_keys.ld, q, k, v,
                                      bias if has_bias else NULL, top + row, top, sums)
            tiles.replica_means(f.is_group, True, f.n, v_dim, f.ld, sums, 1, value_scale, means, totals)
            if output_map != NULL:
                tiles.replica_map(f.is_group, f.n, n_rows, v_dim, f.ld, output_map, means, results)
            if is_kept:
                own_mean(&f, tokens, value_scale, means)
            if is_step:
                step_systems(&f, is_kept, results, alpha, tokens, kept, bad + item * lanes)
        if is_step:
            unpack_systems(&f, n_systems, n, tokens, &mean[first, 0, 0])
            continue
        f.d = n_rows
        unpack_systems(&f, n_systems, m, results, &mean[first, start, 0])
        for system in range(n_systems):
            for place in range(f.n):
                numbers[0, first + system, start + place] = totals[place * lanes + system if f.is_group else place]
                numbers[1, first + system, start + place] = top[place * lanes + system if f.is_group else place]
    raise_if_stopped(&signals)
    if is_step:
        return mean_array, first_of_all(&group, bad, n_replicas)
    return mean_array, number_array[0], number_array[1]
