"""Attention and energies within systems of few tokens.

Many systems are taken in groups, as many as a vector has lanes, so that a vector holds one coordinate of one token of
each. Those that are left over, fewer than half of a group, are taken one by one, with lanes along tokens. Both ways
are bitwise identical, so what a system gives depends neither on other systems nor on how many there are. A worker takes one group
or system after the other, and keeps it over several steps.
"""

from cython.parallel cimport prange, threadid

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport (
    Scratch, Watch, chs_step, float_dtype, is_stopped, padded_stride, raise_if_stopped, real, table,
    useful_threads, watch
)
from chaosphere.kernels.replica_forms cimport (
    Form, first_of_all, form_of, groups_of, own_mean, pack_systems, step_systems, unpack_systems
)


cdef long _size(const Form *f) noexcept nogil:
    """Numbers of memory that a group or system needs: tokens, sums, totals, weights, values, scratch or means."""
    return 3 * f.tokens + f.sums + 2 * f.row + (4 * f.n * f.lanes if f.is_group else f.ld * f.ld)


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


cdef inline chs_step _step_of(bint is_mean, double scale, double value_scale, double alpha, long *bad) noexcept nogil:
    cdef chs_step step
    step.is_mean, step.scale, step.value_scale, step.alpha, step.bad = is_mean, scale, value_scale, alpha, bad
    return step


def attend_replicas(
    const real[:, :, ::1] x, const double[:, ::1] weights, double scale, double shift, long n_threads,
    double value_scale=1, step=None, long n_steps=1, const real[::1] polynomial=None, bint is_causal=False,
    const real[:, ::1] value=None, bint is_mean=True, const real[:, ::1] query=None
):
    """Attention with weights 2^(scale^2 x.y - shift) of tokens x (R, N, d), contiguous.

    shift bounds the scores; weights (R, N), (1, N) for all systems, or None. Returns the weighted means (R, N, d) times
    value_scale and a matrix `value` (d, d), if there is one, and the sums of the weights (R, N) before division, uniform weights counting 1 each. With a number
    `step` instead of all that LN(x + step value_scale mean), n_steps times over, and the flat index of the first token
    where that fails or -1. With coefficients of a `polynomial`, lowest first, the weight of a pair is its value at x.y,
    and nothing is divided; scale is 1 then, and zeros are returned for the sums of the weights. With is_causal token i
    attends to the tokens j <= i, and steps without a `value` leave the first token where it is. Results are those of `attend_bounded` and
    `attend_causal` up to rounding. Without is_mean nothing is divided: sums are in place of means.

    With a symmetric matrix `query` (d, d) weights are 2^(x.query y), none of which overflows or vanishes; scale is 1 then,
    shift 0, and weights are None.
    """
    cdef const real *unused = NULL
    # Weights that may count as 0 have no form without p, and a tiny scale would lose its digits in scaled values.
    assert polynomial is None or (scale == 1 and polynomial.shape[0] > 0 and not is_causal), "polynomial"
    assert is_mean or not is_causal, "is_mean"
    if weights is None and polynomial is None and (shift >= (479 if sizeof(real) == 8 else 50) or scale < 1e-15):
        weights = np.ones((1, x.shape[1]))
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], lanes = tiles.replica_lanes(unused)
    assert n >= 1 and (weights is None or weights.shape[1] == n), "weights"
    assert weights is None or weights.shape[0] == 1 or weights.shape[0] == n_replicas, "weights"
    assert n_steps == 1 or step is not None, "n_steps"
    cdef bint has_options = weights is not None or polynomial is not None or is_causal or scale != 1 or shift != 0
    assert value is None or (value.shape[0] == d and value.shape[1] == d), "value"
    assert query is None or (query.shape[0] == d and query.shape[1] == d and not has_options), "query"
    cdef const real *query_map = NULL if query is None else &query[0, 0]
    cdef const real *value_map = NULL if value is None else &value[0, 0]
    cdef bint is_step = step is not None, has_weights = weights is not None
    cdef const real *c = NULL if polynomial is None else &polynomial[0]
    cdef long degree = 0 if polynomial is None else polynomial.shape[0] - 1
    cdef double factor = 1 if has_weights else 1 / scale, alpha = 0 if step is None else step
    cdef double work = <double>n_replicas * n * (n * (0.5 * d + 4 + 0.5 * degree) + (0 if value is None else d * d)) * n_steps
    cdef bint is_kept = is_causal and is_step and value is None
    # A kernel that steps needs the means of no map, and no token that stays.
    cdef bint steps_itself = is_step and value is None and query is None and not is_causal, divides = c == NULL and is_mean
    cdef chs_step end
    cdef int threads = useful_threads(n_threads, work)
    cdef Form group = form_of(True, n, d, lanes), single = form_of(False, n, d, lanes), f
    cdef long n_groups = groups_of(n_replicas, lanes)
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
        sums = tokens + f.tokens
        totals = sums + f.sums
        p = totals + f.row
        values = p + f.row
        start = values + f.tokens
        mapped = start + d * lanes
        scratch = mapped + mapped_size
        means = scratch  # once the sums are taken: less of the second-level cache
        if value_map == NULL:
            mapped = means
        end = _step_of(divides, factor, value_scale, alpha, bad + item * lanes)
        pack_systems(&f, n_systems, n, &x[first, 0, 0], 1, tokens)
        for number in range(n_steps):
            if has_weights:
                _weigh(&f, n_systems, tokens, &weights[first if p_stride > 0 else 0, 0], p_stride, values, p)
            if query_map != NULL:
                tiles.replica_map(f.is_group, n, d, d, f.ld, query_map, tokens, values)
                tiles.attend_symmetric(f.is_group, n, d, f.ld, values, tokens, scratch, sums)
            else:
                tiles.attend_replicas(f.is_group, is_causal, n, d, f.ld, tokens, values if has_weights else NULL,
                                      p if has_weights else NULL, scale, shift, degree, c,
                                      &end if steps_itself else NULL, scratch, sums)
            if steps_itself:
                continue
            tiles.replica_means(f.is_group, divides, n, d, f.ld, sums, factor, value_scale, means, totals)
            if is_causal:
                own_mean(&f, tokens, value_scale, means)
            if value_map != NULL:
                tiles.replica_map(f.is_group, n, d, d, f.ld, value_map, means, mapped)
            if is_step:
                step_systems(&f, is_kept, mapped, alpha, tokens, start, bad + item * lanes)
        if is_step:
            unpack_systems(&f, n_systems, n, tokens, &out[first, 0, 0])
            continue
        unpack_systems(&f, n_systems, n, mapped, &out[first, 0, 0])
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
    return out_array, first_of_all(&group, bad, n_replicas)


def pair_deficits(const double[:, :, ::1] x, const double[::1] weights, double beta, long n_threads):
    """Sum of p_i p_j (1 - e^(-beta |x_i - x_j|^2 / 2)) per system of tokens x (R, N, d); weights (N,) or None for 1/N."""
    cdef long n_replicas = x.shape[0], n = x.shape[1], d = x.shape[2], lanes = tiles.replica_lanes(<const double *>NULL)
    assert n >= 1 and (weights is None or weights.shape[0] == n), "weights"
    if weights is None:
        weights = np.full(n, 1.0 / n)
    cdef double work = <double>n_replicas * n * n * (d + 8)
    cdef int threads = useful_threads(n_threads, work)
    cdef Form group = form_of(True, n, d, lanes), single = form_of(False, n, d, lanes), f
    cdef long n_groups = groups_of(n_replicas, lanes), n_grouped = min(n_replicas, n_groups * lanes)
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
        pack_systems(&f, n_systems, n, &x[first, 0, 0], 1, tokens)
        table().replica_energies(f.is_group, n, d, f.ld, tokens, p, beta, energy)
        for lane in range(n_systems):
            out[first + lane] = energy[lane]
    raise_if_stopped(&signals)
    return out_array
