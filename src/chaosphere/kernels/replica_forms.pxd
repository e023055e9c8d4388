"""What kernels of systems of few tokens share: how a group of systems or one of them is stored, packed and unpacked."""

from chaosphere.kernels cimport tiles
from chaosphere.kernels.abi cimport real
from chaosphere.kernels.tiles cimport Tokens


cdef struct Form:
    # How one group or system is stored: sizes of its tokens, of its sums, and of a number for each token.
    bint is_group
    long n, d, ld, lanes
    long tokens, sums, row


cdef inline Form form_of(bint is_group, long n, long d, long lanes) noexcept nogil:
    cdef Form f
    f.is_group, f.n, f.d, f.lanes, f.ld = is_group, n, d, lanes, (n + lanes - 1) // lanes * lanes
    f.row = n * lanes if is_group else f.ld
    f.tokens, f.sums = d * f.row, (d + 1) * f.row
    return f


cdef inline long groups_of(long n_replicas, long lanes) noexcept nogil:
    """Groups of so many systems: what is left over is one if it is more than half."""
    return n_replicas // lanes + (n_replicas % lanes > lanes // 2)


cdef inline void pack_systems(
    const Form *f, long n_systems, long n_all, const real *x, double scale, real *tokens
) noexcept nogil:
    """Tokens of a group, each of whose systems is one long row, or of one system; a system has n_all in memory."""
    cdef Tokens rows
    rows.start, rows.column_stride = <const char *>x, sizeof(real)
    rows.row_stride = f.d * sizeof(real)
    if f.is_group:
        rows.row_stride *= n_all
        tiles.pack(n_systems, f.n * f.d, rows, scale, f.lanes, tokens)
    else:
        tiles.pack(f.n, f.d, rows, scale, f.ld, tokens)


cdef inline void unpack_systems(
    const Form *f, long n_systems, long n_all, const real *tokens, real *x
) noexcept nogil:
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


cdef inline void own_mean(const Form *f, const real *tokens, double value_scale, real *means) noexcept nogil:
    """The mean at the first token under a causal mask, exactly: it sees itself alone."""
    cdef long k, stride = 1 if f.is_group else f.ld
    for k in range(f.d * f.lanes if f.is_group else f.d):
        means[k * stride] = <real>value_scale * tokens[k * stride]


cdef inline void copy_first(const Form *f, const real *tokens, real *first) noexcept nogil:
    """The first token, coordinate by coordinate."""
    cdef long k, stride = 1 if f.is_group else f.ld
    for k in range(f.d * f.lanes if f.is_group else f.d):
        first[k] = tokens[k * stride]


cdef inline void keep_first(const Form *f, const real *first, real *tokens) noexcept nogil:
    """Put the first token back where a step started, unless it leads to the other side of the sphere."""
    cdef long lane, c, lanes = f.lanes if f.is_group else 1, stride = f.lanes if f.is_group else f.ld
    cdef double product
    for lane in range(lanes):
        product = 0
        for c in range(f.d):
            product += <double>first[c * lanes + lane] * tokens[c * stride + lane]
        for c in range(f.d if product > 0 else 0):
            tokens[c * stride + lane] = first[c * lanes + lane]


cdef inline void step_systems(
    const Form *f, bint is_kept, const real *means, double alpha, real *tokens, real *first, long *bad
) noexcept nogil:
    """tokens <- LN(tokens + alpha means); is_kept: the first token, kept in `first` meanwhile, stays where it is."""
    if is_kept:
        copy_first(f, tokens, first)
    tiles.replica_step(f.is_group, f.n, f.d, f.ld, means, alpha, tokens, bad)
    if is_kept:
        keep_first(f, first, tokens)


cdef inline long first_failure(const Form *f, long lane, const long *bad) noexcept nogil:
    """The first token of a system where a step fails, or -1: of that in a lane of a group, or of the only one."""
    cdef long token = f.n
    if f.is_group:
        return bad[lane]
    for lane in range(f.lanes):
        if bad[lane] >= 0:
            token = min(token, bad[lane] * f.lanes + lane)
    return token if token < f.n else -1


cdef inline long first_of_all(const Form *group, const long *bad, long n_replicas) noexcept:
    """The flat index of the first token where a step fails, or -1."""
    cdef Form single = form_of(False, group.n, group.d, group.lanes)
    cdef long n_groups = groups_of(n_replicas, group.lanes), number, item, first
    cdef bint is_grouped
    for number in range(n_replicas):
        is_grouped = number < n_groups * group.lanes
        item = number // group.lanes if is_grouped else n_groups + number - n_groups * group.lanes
        first = first_failure(group if is_grouped else &single, number % group.lanes, bad + item * group.lanes)
        if first >= 0:
            return number * group.n + first
    return -1
