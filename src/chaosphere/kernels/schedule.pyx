"""The order of work on pairs of blocks, and its division among workers.

Work on one system is a list of items. Every group of blocks is packed, then every pair of groups is attended to, then
every group is finished. A group is one block or, in a large system, up to four neighbouring blocks.

Rounds. Where one coefficient serves both tokens of a pair, an item adds to the sums of two groups, so two items at the
same time must not share a group. The pairs are those of a round-robin schedule (a 1-factorisation of the complete
graph): with an odd number n of groups there are n rounds of (n + 1) / 2 pairs, and in round r, for m = 0, 1, ...,

    group r + m  meets  group r - m   (mod n);   m = 0 is the group r with itself.

Every group is in one pair of each round, and every pair is in one round. An even number of groups is made odd by an
empty one. For 5 groups:

             m = 0   m = 1   m = 2
    round 0   0 0     1 4     2 3
    round 1   1 1     2 0     3 4
    round 2   2 2     3 1     4 0
    round 3   3 3     4 2     0 1
    round 4   4 4     0 3     1 2

Other coefficients: the item of a group is all rows of its tokens, and there is one round.

Why sums have one order. An item may start once its groups are through the round before; `progress` counts, for every
group, what it is through. So a group meets the others in the order of the rounds, whoever computes them and whenever,
and its sums are added in one order: results are bitwise identical for any number of workers. The groups themselves
depend on the number of tokens alone. There is no barrier: a worker waits for two groups, never for a whole round.

Queues. Each worker has a queue: a range of m, the same in every round. From round to round the m of a group changes by
one, so most groups stay in a queue, and their sums in the cache of its worker. A worker takes the next item of its own
queue or, where that is not ready, of the next queue where it is. No deadlock: of all items that nobody has taken, the
first in the order of the list is the next of its queue, and it is ready once those at work are done.
"""

import collections

import numpy as np

from chaosphere.kernels.abi cimport Watch, is_stopped

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
    static inline void chs_publish(long *at, long value) {
        __atomic_store_n(at, value, __ATOMIC_RELEASE);
    }
    """
    long chs_take(long *) nogil
    bint chs_take_if(long *, long) nogil
    long chs_read(const long *) nogil
    void chs_publish(long *, long) nogil
    void sched_yield() nogil

cdef enum:
    LINE = 16  # longs in two cache lines, which processors fetch together: what workers change lies so far apart
    MAX_SPAN = 4  # blocks of a group
    MIN_GROUPS = 128  # before a group gets a second block: pairs for 64 workers
    WAIT = -1  # no item is ready
    END = -2  # no item is left


cdef long _span(long n_blocks) noexcept nogil:
    """Number of blocks of a group: a pair of groups of s blocks brings 2 s of them into a cache for s^2 block pairs."""
    return max(<long>1, min(<long>MAX_SPAN, n_blocks // MIN_GROUPS))


cdef long _odd_groups(long n_blocks) noexcept nogil:
    """Number of groups, the empty one included."""
    cdef long span = _span(n_blocks)
    return (n_blocks + span - 1) // span | 1


cdef long n_counters(long n_blocks, long n_at_once, long n_workers) noexcept nogil:
    """Length of the memory of a schedule of which n_at_once systems are at work at the same time."""
    return LINE * (n_workers + n_at_once * _odd_groups(n_blocks))


cdef Schedule make_schedule(
    long n_blocks, bint is_symmetric, long n_systems, long n_workers, long *counters
) noexcept nogil:
    """The schedule of n_systems systems of n_blocks blocks; counters: n_counters zeros."""
    cdef Schedule s
    cdef WorkQueue *queue
    cdef long i
    s.is_symmetric, s.n_blocks, s.span, s.n_groups = is_symmetric, n_blocks, _span(n_blocks), _odd_groups(n_blocks)
    s.n_rounds = s.n_groups if is_symmetric else 1
    s.n_pairs = (s.n_groups + 1) // 2 if is_symmetric else s.n_groups
    s.n_items = 2 * s.n_groups + s.n_rounds * s.n_pairs
    s.n_systems, s.n_queues = n_systems, n_workers
    s.queues, s.progress = <WorkQueue *>counters, counters + LINE * n_workers
    for i in range(n_workers):
        queue = s.queues + i
        queue.next = 0
        queue.first_group, queue.first_pair = s.n_groups * i // n_workers, s.n_pairs * i // n_workers
        queue.n_groups = s.n_groups * (i + 1) // n_workers - queue.first_group
        queue.n_pairs = s.n_pairs * (i + 1) // n_workers - queue.first_pair
        queue.n_items = 2 * queue.n_groups + s.n_rounds * queue.n_pairs
    return s


cdef long first_block(const Schedule *s, long group) noexcept nogil:
    """The first block of a group; that of the group after it is the end."""
    return min(group * s.span, s.n_blocks)


cdef WorkItem item_at(const Schedule *s, long number) noexcept nogil:
    """Item `number` of a system, 0 <= number < n_items."""
    cdef WorkItem item
    cdef long m, end = s.n_groups + s.n_rounds * s.n_pairs
    item.round = 0
    if number < s.n_groups:
        item.kind, item.i = PACK, number
    elif number >= end:
        item.kind, item.i = FINISH, number - end
    elif not s.is_symmetric:
        item.kind, item.i = ROWS, number - s.n_groups
    else:
        item.kind, item.round, m = PAIR, (number - s.n_groups) // s.n_pairs, (number - s.n_groups) % s.n_pairs
        item.i, item.j = (item.round + m) % s.n_groups, (item.round - m + s.n_groups) % s.n_groups
        return item
    item.j = item.i
    return item


cdef long *_progress(const Schedule *s, long slot, long group) noexcept nogil:
    """What a group of the system in a slot is through: 1 once packed, and 1 more after each round."""
    return s.progress + LINE * (slot * s.n_groups + group)


cdef bint _is_ready(const Schedule *s, long slot, WorkItem item) noexcept nogil:
    """Whether the groups of an item are through what comes before it."""
    cdef long i
    if item.kind == PACK:
        return True
    if item.kind == FINISH:
        return chs_read(_progress(s, slot, item.i)) == s.n_rounds + 1
    if item.kind == PAIR:
        return (chs_read(_progress(s, slot, item.i)) == item.round + 1
                and chs_read(_progress(s, slot, item.j)) == item.round + 1)
    for i in range(s.n_groups):
        if chs_read(_progress(s, slot, i)) < 1:
            return False
    return True


cdef void mark_done(const Schedule *s, long slot, WorkItem item) noexcept nogil:
    """Record that an item is done, and show what it wrote to whoever finds that it is."""
    cdef long through = 1 if item.kind == PACK else item.round + 2
    if item.kind == FINISH:
        return
    chs_publish(_progress(s, slot, item.i), through)
    if item.j != item.i:
        chs_publish(_progress(s, slot, item.j), through)


cdef long _number(const Schedule *s, const WorkQueue *queue, long position) noexcept nogil:
    """The number of the item at a position of a queue; both are counted on through the systems."""
    cdef long system = position // queue.n_items, number = position % queue.n_items
    cdef long n_pairs = s.n_rounds * queue.n_pairs
    if number < queue.n_groups:
        number += queue.first_group
    elif number < queue.n_groups + n_pairs:
        number -= queue.n_groups
        number = s.n_groups + number // queue.n_pairs * s.n_pairs + queue.first_pair + number % queue.n_pairs
    else:
        number += s.n_groups + s.n_rounds * s.n_pairs + queue.first_group - queue.n_groups - n_pairs
    return system * s.n_items + number


cdef bint _is_number_ready(const Schedule *s, long number) noexcept nogil:
    return _is_ready(s, number // s.n_items, item_at(s, number % s.n_items))


cdef long _take(const Schedule *s, long worker) noexcept nogil:
    """The next item for a worker: of its own queue or, while that has none that is ready, of another; WAIT or END."""
    cdef WorkQueue *queue
    cdef long number, position, i
    cdef bint is_end = True
    for i in range(s.n_queues):
        queue = s.queues + (worker + i) % s.n_queues
        position = chs_read(&queue.next)
        if position < s.n_systems * queue.n_items:
            is_end = False
            number = _number(s, queue, position)
            if _is_number_ready(s, number) and chs_take_if(&queue.next, position):
                return number
    return END if is_end else WAIT


cdef long next_item(const Schedule *s, long worker, Watch *signals, int thread) noexcept nogil:
    """The number of an item that is ready, counted on through the systems, for a worker that waits for one if need be.

    Negative at the end, or where a signal has ended the call.
    """
    cdef long number = WAIT
    while number == WAIT and not is_stopped(signals, thread):
        number = _take(s, worker)
        if number == WAIT:
            sched_yield()
    return number


cdef long next_systems(const Schedule *s, long n_systems) noexcept nogil:
    """The first of n_systems systems for a worker that works on whole systems; n_systems of the schedule at the end."""
    return min(chs_take(&s.queues[0].next) * n_systems, s.n_systems)


_KINDS = {PACK: "pack", PAIR: "pair", ROWS: "rows", FINISH: "finish"}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
Item = collections.namedtuple("Item", ["kind", "round", "i", "j", "system"])


cdef class Simulation:
    """A schedule whose workers are simulated, by the functions that the threads of a call use."""

    cdef Schedule schedule
    cdef long[::1] counters

    def __init__(self, long n_blocks, bint is_symmetric, long n_workers=1, long n_systems=1):
        assert n_blocks >= 1 and n_workers >= 1 and n_systems >= 1, "n_blocks, n_workers, n_systems"
        self.counters = np.zeros(n_counters(n_blocks, n_systems, n_workers), np.int64)
        self.schedule = make_schedule(n_blocks, is_symmetric, n_systems, n_workers, &self.counters[0])

    def take(self, long worker):
        """The next item for a worker, or None where it has to wait or nothing is left."""
        assert 0 <= worker < self.schedule.n_queues, "worker"
        cdef long number = _take(&self.schedule, worker)
        return None if number < 0 else _python_item(&self.schedule, number)

    def finish(self, item):
        """Record that an item is done."""
        cdef WorkItem done
        assert 0 <= min(item.i, item.j) and max(item.i, item.j) < self.schedule.n_groups, "item"
        assert 0 <= item.system < self.schedule.n_systems, "item"
        done.kind, done.round, done.i, done.j = _NUMBERS[item.kind], item.round, item.i, item.j
        mark_done(&self.schedule, item.system, done)


cdef object _python_item(const Schedule *s, long number):
    cdef WorkItem item = item_at(s, number % s.n_items)
    return Item(_KINDS[item.kind], item.round, item.i, item.j, number // s.n_items)


def items(long n_blocks, bint is_symmetric):
    """All items of a system, in the order of the list."""
    cdef Simulation simulation = Simulation(n_blocks, is_symmetric)
    return [_python_item(&simulation.schedule, number) for number in range(simulation.schedule.n_items)]


def groups(long n_blocks):
    """The blocks of every group; those of the last may be none."""
    cdef Simulation simulation = Simulation(n_blocks, True)
    cdef const Schedule *s = &simulation.schedule
    return [range(first_block(s, group), first_block(s, group + 1)) for group in range(s.n_groups)]
