"""The order of work on pairs of blocks, and its division among workers, see schedule.pyx."""

from chaosphere.kernels.abi cimport Watch

cdef enum ItemKind:
    PACK  # the blocks of group i
    PAIR  # the blocks of group i with those of group j, for both; i = j: all pairs within the group
    ROWS  # the blocks of group i with all blocks, for group i alone
    FINISH  # the blocks of group i

cdef struct WorkItem:
    ItemKind kind
    long round, i, j  # round of a PAIR, or 0; j of other kinds is i

cdef struct WorkQueue:
    # Items that one worker takes first: those of a range of groups to pack and to finish, and of the same range of the
    # pairs of every round.
    long next  # items handed out so far
    long first_group, n_groups, first_pair, n_pairs, n_items  # n_items: per system
    long padding[10]  # 16 longs in all, see LINE in schedule.pyx

cdef struct Schedule:
    bint is_symmetric
    long n_blocks, span  # blocks in all, and of a group
    long n_groups, n_rounds, n_pairs, n_items  # n_pairs: of a round; n_items: of a system
    long n_systems, n_queues
    WorkQueue *queues
    long *progress

cdef long n_counters(long n_blocks, long n_at_once, long n_workers) noexcept nogil
cdef Schedule make_schedule(
    long n_blocks, bint is_symmetric, long n_systems, long n_workers, long *counters) noexcept nogil
cdef long first_block(const Schedule *s, long group) noexcept nogil
cdef WorkItem item_at(const Schedule *s, long number) noexcept nogil
cdef void mark_done(const Schedule *s, long slot, WorkItem item) noexcept nogil
cdef long next_item(const Schedule *s, long worker, Watch *signals, int thread) noexcept nogil
cdef long next_systems(const Schedule *s, long n_systems) noexcept nogil
