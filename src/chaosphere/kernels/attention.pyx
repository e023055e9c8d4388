"""Softmax attention over blocks of tokens: schedules and workspaces around the tile kernels."""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, log, log2
from libc.stddef cimport ptrdiff_t
from libc.string cimport memcpy, memset

import numpy as np

from chaosphere.kernels import abi
from chaosphere.kernels.abi cimport (
    CHS_CHUNK, CHS_PAIR_SCRATCH, Scratch, Watch, apart, block_columns, chs_kernels, is_stopped, raise_if_stopped,
    real, table, useful_threads, watch
)

cdef extern from *:
    """
    #include <sched.h>
    static inline long chs_take(long *next) {
        return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
    }
    static inline int chs_take_if(long *next, long expected) {
        return __atomic_compare_exchange_n(next, &expected, expected + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    static inline long chs_read(const long *at) {
        return __atomic_load_n(at, __ATOMIC_ACQUIRE);
    }
    static inline void chs_finish(long *done, long steps) {
        __atomic_store_n(done, steps, __ATOMIC_RELEASE);
    }
    """
    long chs_take(long *) nogil
    bint chs_take_if(long *, long) nogil
    long chs_read(const long *) nogil
    void chs_finish(long *, long) nogil
    void sched_yield() nogil

cdef enum:
    LINE = 16  # numbers in two cache lines, which processors fetch together: what workers change lies so far apart

cdef struct Blocks:
    # Token i of a system is column i % ld of its block i // ld; a block holds `size` numbers, d + 1 rows unless it is
    # turned. Player i is `span` blocks from block i * span on.
    long n, d, ld, size, n_blocks, span, n_players
    bint is_turned


cdef Blocks _blocks(long n, long d, long ld) noexcept nogil:
    cdef Blocks b
    b.n, b.d, b.ld, b.size, b.is_turned = n, d, ld, (d + 1) * ld, False
    b.n_blocks = (n + ld - 1) // ld
    # A game of s blocks against s brings 2 s of them into the second-level cache for s^2 pairs. 128 players leave games
    # for 64 workers.
    b.span = max(<long>1, min(<long>4, b.n_blocks // 128))
    b.n_players = (b.n_blocks + b.span - 1) // b.span
    return b


cdef Blocks _turned(Blocks b, bint is_double) noexcept nogil:
    """The blocks that attend_pair takes."""
    b.size = table().block_size_f64(b.d, b.ld) if is_double else table().block_size_f32(b.d, b.ld)
    b.is_turned = b.size > (b.d + 1) * b.ld
    return b


cdef long _first(Blocks b, long player) noexcept nogil:
    """The first block of a player."""
    return min(player * b.span, b.n_blocks)


cdef long _columns(Blocks b, long block) noexcept nogil:
    return min(b.ld, b.n - block * b.ld)


cdef struct Rows:
    # Where the tokens of a system are: the first, and the bytes from one to the next and from coordinate to coordinate.
    const char *start
    ptrdiff_t row, column


cdef Rows _rows_of(const real[:, :, :] x, long replica) noexcept nogil:
    cdef Rows rows
    rows.start, rows.row, rows.column = <const char *>&x[replica, 0, 0], x.strides[1], x.strides[2]
    return rows


cdef Rows _kept(Blocks b, const real *x, real *copy) noexcept nogil:
    """A copy of one system's tokens."""
    cdef Rows rows
    memcpy(copy, x, b.n * b.d * sizeof(real))
    rows.start, rows.row, rows.column = <const char *>copy, b.d * sizeof(real), sizeof(real)
    return rows


cdef void _pack(Blocks b, long block, Rows x, double scale, const double[::1] weights, real *to) noexcept nogil:
    """Rows 0 … d of one block of scale * x, the last one of ones; with weights, of w x and w."""
    cdef const chs_kernels *c = table()
    cdef long first = block * b.ld, n = _columns(b, block), j, k
    cdef const char *start = x.start + first * x.row
    cdef real *last = to + b.d * b.ld
    if real is double:
        c.pack_f64(n, b.d, start, x.row, x.column, scale, b.ld, to)
    else:
        c.pack_f32(n, b.d, start, x.row, x.column, scale, b.ld, to)
    memset(last, 0, b.ld * sizeof(real))
    for j in range(n):
        last[j] = 1
    if weights is not None:
        for j in range(n):
            last[j] = <real>weights[first + j]
            for k in range(b.d):
                to[k * b.ld + j] *= last[j]


cdef void _map(Blocks b, long block, const real[:, ::1] a, const real *x, real *to) noexcept nogil:
    cdef const chs_kernels *c = table()
    if real is double:
        c.map_f64(_columns(b, block), b.d, b.d, &a[0, 0], x, b.ld, to)
    else:
        c.map_f32(_columns(b, block), b.d, b.d, &a[0, 0], x, b.ld, to)


cdef void _turn(Blocks b, const real *x, real *to) noexcept nogil:
    if real is double:
        table().turn_f64(b.d, b.ld, x, to)
    else:
        table().turn_f32(b.d, b.ld, x, to)


cdef void _prepare(
    Blocks b, long block, Rows x, double scale, const real[:, ::1] query_map, const double[::1] weights, real *q,
    real *k, real *v, real *scratch
) noexcept nogil:
    """Keys, queries if they are mapped, and values if they are apart, of one block; scratch: 2 (d + 1) ld."""
    cdef real *plain = scratch if b.is_turned else k
    cdef real *mapped = scratch + (b.d + 1) * b.ld if b.is_turned else q
    _pack[real](b, block, x, scale, None, plain)
    if query_map is not None:
        _map[real](b, block, query_map, plain, mapped)
    if b.is_turned:
        _turn[real](b, plain, k)
        if query_map is not None:
            memset(mapped + b.d * b.ld, 0, b.ld * sizeof(real))  # queries have no weights
            _turn[real](b, mapped, q)
    if v != k:
        _pack[real](b, block, x, 1, weights, plain if b.is_turned else v)
        if b.is_turned:
            _turn[real](b, plain, v)


cdef void _finish(
    Blocks b, long block, const double *sums, double factor, const real[:, ::1] value_map, double value_scale,
    real *scratch, real *rows, double *partition
) noexcept nogil:
    """rows = value_scale V (factor * sums / partition) for the tokens of one block; scratch: 2 (d + 1) ld."""
    cdef const chs_kernels *c = table()
    cdef long n = _columns(b, block)
    cdef double *total = <double *>scratch
    cdef real *result
    scratch += 2 * b.ld
    result = scratch
    if real is double:
        c.means_f64(b.is_turned, b.d, b.ld, sums, factor, scratch, total)
    else:
        c.means_f32(b.is_turned, b.d, b.ld, sums, factor, scratch, total)
    memcpy(partition, total, n * sizeof(double))
    if value_map is not None:
        result = scratch + b.d * b.ld
        if real is double:
            c.map_f64(n, b.d, b.d, &value_map[0, 0], scratch, b.ld, result)
        else:
            c.map_f32(n, b.d, b.d, &value_map[0, 0], scratch, b.ld, result)
    if real is double:
        c.unpack_f64(n, b.d, b.ld, result, value_scale, NULL, rows)
    else:
        c.unpack_f32(n, b.d, b.ld, result, value_scale, NULL, rows)


cdef long _move(Blocks b, long block, Rows x, double alpha, real *rows) noexcept nogil:
    """rows <- LN(x + alpha rows) for the tokens of one block; the number of a token where that fails, or -1."""
    cdef const chs_kernels *c = table()
    cdef long first = block * b.ld, n = _columns(b, block), bad
    cdef const char *start = x.start + first * x.row
    if real is double:
        bad = c.step_f64(n, b.d, start, x.row, x.column, rows, alpha, rows)
    else:
        bad = c.step_f32(n, b.d, start, x.row, x.column, rows, alpha, rows)
    return -1 if bad < 0 else first + bad


cdef void _pair(
    Blocks b, long i, long j, bint has_j, const real *q, const real *k, const real *v, double shift, real *w, long low,
    long high, double *sums, Watch *look, int thread
) noexcept nogil:
    """Add what block j gives block i and, with has_j, i gives j, to the sums of those in low … high - 1.

    Nothing once a signal has ended the call.
    """
    cdef const chs_kernels *c = table()
    cdef long at_i = i * b.size, at_j = j * b.size
    cdef double *sum_i = sums + at_i if low <= i < high else NULL
    cdef double *sum_j = sums + at_j if has_j and low <= j < high else NULL
    if (sum_i == NULL and sum_j == NULL) or is_stopped(look, thread):
        return
    if real is double:
        c.attend_pair_f64(b.d, _columns(b, i), _columns(b, j), b.ld, q + at_i, k + at_j, v + at_i, v + at_j, shift, w,
                          sum_i, sum_j)
    else:
        c.attend_pair_f32(b.d, _columns(b, i), _columns(b, j), b.ld, q + at_i, k + at_j, v + at_i, v + at_j,
                          <float>shift, w, sum_i, sum_j)


cdef struct Lane:
    # Items that one worker takes first: a range of players to pack and finish, and the same range of every round's
    # games. Most of its players stay in it from round to round, and so in the cache of its worker.
    long next, held  # items handed out so far, and one that the worker holds or -1
    long player, n_players, game, n_games, n_items  # n_items: per system
    long apart[LINE - 7]


cdef struct Tournament:
    # What happens to a system, item by item: every player is packed, then come the games, then every player is
    # finished. done[LINE i] counts what player i has been through, one system after the other.
    bint is_symmetric
    long players, rounds, per_round, n_items, n_replicas, n_lanes
    Lane *lanes
    long *done


cdef Tournament _tournament(
    Blocks b, bint is_symmetric, long n_replicas, long n_lanes, Lane *lanes, long *done
) noexcept nogil:
    """Symmetric weights: in round r player r meets itself, all pairs of its blocks, and r + m meets r - m.

    The number of players is made odd by an empty one. Every player is touched once a round and every pair meets once,
    so sums have one order for any number of workers. Other weights: one round, game i is the rows of player i.
    """
    cdef Tournament t
    cdef long i
    t.is_symmetric, t.players = is_symmetric, b.n_players | 1
    t.rounds = t.players if is_symmetric else 1
    t.per_round = (t.players + 1) // 2 if is_symmetric else t.players
    t.n_items = 2 * t.players + t.rounds * t.per_round
    t.n_replicas, t.n_lanes, t.lanes, t.done = n_replicas, n_lanes, lanes, done
    for i in range(n_lanes):
        lanes[i].next, lanes[i].held = 0, -1
        lanes[i].player, lanes[i].game = t.players * i // n_lanes, t.per_round * i // n_lanes
        lanes[i].n_players = t.players * (i + 1) // n_lanes - lanes[i].player
        lanes[i].n_games = t.per_round * (i + 1) // n_lanes - lanes[i].game
        lanes[i].n_items = 2 * lanes[i].n_players + t.rounds * lanes[i].n_games
    return t


cdef long _unit(const Tournament *t, const Lane *lane, long position) noexcept nogil:
    """Item number `position` of a lane, counted on through the systems."""
    cdef long replica = position // lane.n_items, item = position % lane.n_items
    if item < lane.n_players:
        item += lane.player
    elif item < lane.n_players + t.rounds * lane.n_games:
        item -= lane.n_players
        item = t.players + item // lane.n_games * t.per_round + lane.game + item % lane.n_games
    else:
        item += t.players + t.rounds * t.per_round + lane.player - lane.n_players - t.rounds * lane.n_games
    return replica * t.n_items + item


cdef bint _is_ready(const Tournament *t, long unit) noexcept nogil:
    """Whether the players of an item are through what comes before."""
    cdef long item = unit % t.n_items - t.players, i, round_, m
    cdef const long *done = t.done + unit // t.n_items * LINE * t.players
    if item < 0:
        return True
    if item >= t.rounds * t.per_round:
        return chs_read(done + LINE * (item - t.rounds * t.per_round)) == t.rounds + 1
    if t.is_symmetric:
        round_, m = item // t.per_round, item % t.per_round
        return (chs_read(done + LINE * ((round_ + m) % t.players)) == round_ + 1
                and chs_read(done + LINE * ((round_ - m + t.players) % t.players)) == round_ + 1)
    for i in range(t.players):
        if chs_read(done + LINE * i) < 1:
            return False
    return True


cdef long _next_unit(const Tournament *t, long worker, Watch *look, int thread) noexcept nogil:
    """The next item for a worker: of its own lane or, while that has none that is ready, of another; -1 at the end.

    The end comes early where a signal ends the call.
    No deadlock: of all items not finished the first in the order of `unit` is ready; its lane's worker holds it, and
    looks at it after every other item, or it is the next of its lane, which anybody takes.
    """
    cdef Lane *own = t.lanes + worker
    cdef Lane *lane
    cdef long unit, position, i
    cdef bint is_end
    while not is_stopped(look, thread):
        if own.held < 0:
            own.held = chs_take(&own.next)
        is_end = own.held >= t.n_replicas * own.n_items
        if not is_end:
            unit = _unit(t, own, own.held)
            if _is_ready(t, unit):
                own.held = -1
                return unit
        for i in range(1, t.n_lanes):
            lane = t.lanes + (worker + i) % t.n_lanes
            position = chs_read(&lane.next)
            if position < t.n_replicas * lane.n_items:
                is_end = False
                unit = _unit(t, lane, position)
                if _is_ready(t, unit) and chs_take_if(&lane.next, position):
                    return unit
        if is_end:
            return -1
        sched_yield()
    return -1


cdef void _item(
    Blocks b, const Tournament *t, long item, long replica, long slot, Rows x, const real[:, ::1] query_map,
    const real[:, ::1] value_map, const double[::1] weights, double scale, double shift, double value_scale,
    bint is_step, double alpha, real *q, real *k, real *v, double *sums, real *scratch, long low, long high,
    real[:, :, ::1] out, double[:, ::1] partition, long *bad, Watch *look, int thread
) noexcept nogil:
    """One item, which is ready, of work on one system."""
    cdef long *done = t.done + slot * LINE * t.players
    cdef long n_games = t.rounds * t.per_round
    cdef long round_, m, g, h, i, j, at
    if item < t.players:
        g = item
        for i in range(_first(b, g), _first(b, g + 1)):
            at = i * b.size
            _prepare[real](b, i, x, scale, query_map, weights, q + at, k + at, v + at, scratch)
            memset(sums + at, 0, b.size * sizeof(double))
        chs_finish(done + LINE * g, 1)
    elif item < t.players + n_games and t.is_symmetric:
        round_, m = (item - t.players) // t.per_round, (item - t.players) % t.per_round
        g, h = (round_ + m) % t.players, (round_ - m + t.players) % t.players
        for i in range(_first(b, g), _first(b, g + 1)):
            for j in range(i if g == h else _first(b, h), _first(b, h + 1)):
                _pair(b, i, j, i != j, q, k, v, shift, scratch, low, high, sums, look, thread)
        chs_finish(done + LINE * g, round_ + 2)
        if g != h:
            chs_finish(done + LINE * h, round_ + 2)
    elif item < t.players + n_games:
        g = item - t.players
        for i in range(_first(b, g), _first(b, g + 1)):
            for j in range(b.n_blocks):
                _pair(b, i, j, False, q, k, v, shift, scratch, low, high, sums, look, thread)
        chs_finish(done + LINE * g, 2)
    else:
        g = item - t.players - n_games
        for i in range(max(low, _first(b, g)), min(high, _first(b, g + 1))):
            # Means are sums of scaled keys, divided by the scale, unless values are apart.
            _finish[real](b, i, sums + i * b.size, 1 / scale if v == k else 1, value_map, value_scale, scratch,
                          &out[replica, (i - low) * b.ld, 0], &partition[replica, (i - low) * b.ld])
            if is_step and bad[replica * b.n_blocks + i] < 0:
                bad[replica * b.n_blocks + i] = _move[real](b, i, x, alpha, &out[replica, i * b.ld, 0])


cdef int _check_maps(long d, const real[:, ::1] query_map, const real[:, ::1] value_map) except -1:
    assert query_map is None or (query_map.shape[0] == d and query_map.shape[1] == d), "query_map"
    assert value_map is None or (value_map.shape[0] == d and value_map.shape[1] == d), "value_map"
    return 0


def block_size(long n_tokens):
    """Number of tokens in a block of a system of n_tokens; the last block may be smaller."""
    return block_columns(n_tokens)


def attend_bounded(
    const real[:, :, :] x, const real[:, ::1] query_map, const real[:, ::1] value_map, const double[::1] weights,
    double scale, double shift, bint is_symmetric, long n_threads, long first=0, long stop=-1, double value_scale=1,
    step=None, long n_steps=1
):
    """Attention with weights 2^(scale^2 x.y - shift), or 2^(x.A y - shift) with A = query_map and scale = 1.

    shift bounds the scores. Weights below 2^-960 (f32: 2^-102) may count as 0, so a row whose sum is not far above that
    is worth nothing. With is_symmetric (A is) one weight serves both orders of a pair. x is (R, N, d); weights (N,) or
    None. Returns the weighted means (R, N, d), times value_scale and value_map if given, and the sums of the weights
    (R, N) before division, uniform weights counting 1 each. With first and stop, both where a block starts or the end,
    only those rows: the tournament is the same without the games that they do not play, so their bits are too. With a
    number `step` instead of all that LN(x + step mean), n_steps times over, and the flat index of the first token where
    that fails or -1.
    """
    cdef long n_replicas = x.shape[0], last = x.shape[1] if stop < 0 else stop
    cdef Blocks b = _turned(_blocks(x.shape[1], x.shape[2], block_columns(x.shape[1])), real is double)
    cdef long size = apart(b.n_blocks * b.size), slots, unit, index, item, worker, replica, lap
    cdef long low = first // b.ld, high = (last + b.ld - 1) // b.ld
    # A tiny scale would lose its digits in scaled values.
    cdef bint separate = weights is not None or scale < 1e-15, is_step = step is not None
    cdef double alpha = step if is_step else 0
    dtype = np.float64 if real is double else np.float32
    assert b.n >= 1 and (weights is None or weights.shape[0] == b.n), "weights"
    _check_maps(b.d, query_map, value_map)
    assert 0 <= first <= last <= b.n and first % b.ld == 0 and (last % b.ld == 0 or last == b.n), "first, stop"
    assert n_steps == 1 or (is_step and first == 0 and last == b.n), "n_steps"
    cdef double work = <double>n_replicas * (last - first) * b.n * (b.d + 4)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch look = watch(n_steps * n_replicas * (high - low) * b.n_blocks, n_steps * work)
    # Many systems: a worker takes one from beginning to end. Few: the workers share them item by item.
    cdef bint is_whole = n_replicas >= 8 * threads or threads == 1
    if n_steps > 1 and not is_whole:
        result = np.asarray(x), -1
        for lap in range(n_steps):
            if result[1] < 0:
                result = attend_bounded(result[0], query_map, value_map, weights, scale, shift, is_symmetric, n_threads,
                                        value_scale=value_scale, step=step)
        return result
    slots = threads if is_whole else n_replicas
    cdef Scratch keys = Scratch(slots * size * sizeof(real))
    cdef Scratch values = Scratch(slots * size * sizeof(real) if separate else 0)
    cdef Scratch queries = Scratch(slots * size * sizeof(real) if query_map is not None else 0)
    cdef Scratch sums = Scratch(slots * size * sizeof(double))
    cdef long each = apart(max(CHS_PAIR_SCRATCH(b.d, b.ld), 2 * (b.d + 1) * b.ld))
    cdef Scratch tiles = Scratch(threads * each * sizeof(real))
    # Where the tokens stand while the next step is written over them.
    cdef long n_numbers = apart(b.n * b.d)
    cdef Scratch states = Scratch(threads * n_numbers * sizeof(real) if n_steps > 1 else 0)
    cdef Rows rows
    cdef long at_once = max(<long>1, min(<long>16, n_replicas // (16 * threads)))
    cdef long[::1] counters = np.zeros(LINE * (threads + slots * (b.n_players | 1)), np.int64)
    cdef Tournament t = _tournament(b, is_symmetric, n_replicas, threads, <Lane *>&counters[0],
                                     &counters[LINE * threads])
    cdef real *k = <real *>keys.at
    cdef real *v = <real *>values.at if separate else k
    cdef real *q = <real *>queries.at if query_map is not None else k
    cdef real *w = <real *>tiles.at
    cdef double *s = <double *>sums.at
    cdef real *state = <real *>states.at
    out_array = abi.empty((n_replicas, last - first, b.d), dtype)
    partition_array = np.empty((n_replicas, last - first))
    bad_array = np.full(n_replicas * b.n_blocks if is_step else 1, -1, np.int64)
    cdef real[:, :, ::1] out = out_array
    cdef double[:, ::1] partition = partition_array
    cdef long[::1] bad = bad_array
    for worker in prange(threads, schedule="static", chunksize=1, num_threads=threads, nogil=True):
        while is_whole:
            index = chs_take(&t.lanes[0].next) * at_once
            if index >= n_replicas or is_stopped(&look, threadid()):
                break
            for replica in range(index, min(n_replicas, index + at_once)):
                for lap in range(n_steps):
                    if is_stopped(&look, threadid()):
                        break
                    rows = _rows_of(x, replica)
                    if lap > 0:
                        rows = _kept(b, &out[replica, 0, 0], state + worker * n_numbers)
                    for item in range(t.n_items):
                        _item[real](
                            b, &t, item, replica, worker, rows, query_map, value_map, weights, scale, shift,
                            value_scale, is_step, alpha, q + worker * size, k + worker * size, v + worker * size,
                            s + worker * size, w + worker * each, low, high, out, partition, &bad[0], &look,
                            threadid())
        while not is_whole:
            unit = _next_unit(&t, worker, &look, threadid())
            if unit < 0:
                break
            replica = unit // t.n_items
            _item[real](
                b, &t, unit % t.n_items, replica, replica, _rows_of(x, replica), query_map, value_map, weights, scale,
                shift, value_scale, is_step, alpha, q + replica * size, k + replica * size, v + replica * size,
                s + replica * size, w + worker * each, low, high, out, partition, &bad[0], &look, threadid())
    raise_if_stopped(&look)
    if is_step:
        found = np.flatnonzero(bad_array >= 0)
        return out_array, int(found[0] // b.n_blocks * b.n + bad_array[found[0]]) if found.size else -1
    return out_array, partition_array


cdef void _rows(
    Blocks b, Blocks bk, long block, const real *q, const real *k, const real *bias, real *w, real *top, double *sums,
    Watch *look, int thread
) noexcept nogil:
    cdef const chs_kernels *c = table()
    cdef long replica = block // b.n_blocks, j, at
    cdef long to = block * b.size
    cdef real *t = top + block * b.ld
    for j in range(b.ld):
        t[j] = <real>-1e30
    memset(sums + to, 0, b.size * sizeof(double))
    for j in range(bk.n_blocks):
        if is_stopped(look, thread):
            return
        at = (replica * bk.n_blocks + j) * bk.size
        if real is double:
            c.attend_rows_f64(b.d, _columns(b, block % b.n_blocks), _columns(bk, j), b.ld, q + to, k + at, k + at,
                              bias + j * bk.ld, w, t, sums + to)
        else:
            c.attend_rows_f32(b.d, _columns(b, block % b.n_blocks), _columns(bk, j), b.ld, q + to, k + at, k + at,
                              bias + j * bk.ld, w, t, sums + to)


def attend_rows(
    const real[:, :, :] queries, const real[:, :, :] keys, const real[:, ::1] query_map,
    const real[:, ::1] value_map, const double[::1] weights, double scale, long n_threads, double value_scale=1
):
    """Attention of queries (R, M, d) to keys (R, N, d) with weights p_j 2^(scale q_i.y_j), or 2^(scale A q_i.y_j).

    A running maximum keeps every weight finite whatever the size of the scores. Returns the weighted means (R, M, d),
    times value_scale and value_map if given, and the base-2 logarithm of the sums of the weights (R, M), uniform
    weights counting 1 each.
    """
    cdef long n_replicas = queries.shape[0], ld = block_columns(keys.shape[1]), block, i, j, at, replica
    cdef Blocks b = _blocks(queries.shape[1], queries.shape[2], ld)
    cdef Blocks bk = _blocks(keys.shape[1], keys.shape[2], ld)
    cdef long n_q = n_replicas * b.n_blocks, n_k = n_replicas * bk.n_blocks
    dtype = np.float64 if real is double else np.float32
    assert b.n >= 1 and bk.n >= 1 and keys.shape[0] == n_replicas and bk.d == b.d, "keys"
    assert weights is None or weights.shape[0] == bk.n, "weights"
    _check_maps(b.d, query_map, value_map)
    cdef double work = <double>n_replicas * b.n * bk.n * (b.d + 4)
    cdef int threads = useful_threads(n_threads, work)
    cdef Watch look = watch(n_q * bk.n_blocks, work)
    cdef Scratch key_blocks = Scratch(n_k * bk.size * sizeof(real))
    cdef Scratch plain = Scratch(n_q * b.size * sizeof(real))
    cdef Scratch mapped = Scratch(n_q * b.size * sizeof(real) if query_map is not None else 0)
    cdef Scratch sums = Scratch(n_q * b.size * sizeof(double))
    cdef Scratch tops = Scratch(n_q * ld * sizeof(real))
    cdef Scratch biases = Scratch(bk.n_blocks * ld * sizeof(real))
    cdef long each = apart(max(<long>CHS_CHUNK, 2 * (b.d + 1)) * ld)
    cdef Scratch tiles = Scratch(threads * each * sizeof(real))
    cdef real *k = <real *>key_blocks.at
    cdef real *x = <real *>plain.at
    cdef real *q = <real *>mapped.at if query_map is not None else x
    cdef real *bias = <real *>biases.at
    cdef real *top = <real *>tops.at
    cdef real *w = <real *>tiles.at
    cdef double *s = <double *>sums.at
    mean_array = np.empty((n_replicas, b.n, b.d), dtype)
    log_array = np.empty((n_replicas, b.n))
    cdef real[:, :, ::1] mean = mean_array
    cdef double[:, ::1] logs = log_array
    for j in range(bk.n_blocks * ld):
        if j >= bk.n or (weights is not None and weights[j] == 0):
            bias[j] = <real>-INFINITY
        else:
            bias[j] = <real>(0.0 if weights is None else log2(weights[j]))
    with nogil:
        for block in prange(n_k, schedule="static", num_threads=threads):
            _pack[real](bk, block % bk.n_blocks, _rows_of(keys, block // bk.n_blocks), 1, None, k + block * bk.size)
        for block in prange(n_q, schedule="dynamic", num_threads=threads):
            replica, i = block // b.n_blocks, block % b.n_blocks
            at = block * b.size
            _pack[real](b, i, _rows_of(queries, replica), scale, None, x + at)
            if query_map is not None:
                _map[real](b, i, query_map, x + at, q + at)
            _rows[real](b, bk, block, q, k, bias, w + threadid() * each, top, s, &look, threadid())
            _finish[real](b, i, s + at, 1, value_map, value_scale, w + threadid() * each,
                          &mean[replica, i * ld, 0], &logs[replica, i * ld])
            for j in range(_columns(b, i)):
                logs[replica, i * ld + j] = top[block * ld + j] + log2(logs[replica, i * ld + j])
    raise_if_stopped(&look)
    return mean_array, log_array
