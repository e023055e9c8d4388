"""Sums of parts in one fixed order, whoever holds the parts: along a binary tree over their numbers.

Node i of level 0 is part i. Node i of level l is node 2i plus node 2i + 1 of level l − 1, or the first alone where it
is the last. Parts in a row make up a few nodes, at most two a level. Nodes of several processes join in whatever order
they come: the sum of two nodes is the same. So the root is bitwise identical however the parts are spread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Nodes = dict[tuple[int, int], Array]

MIN_WEIGHED = 2**17  # tokens of a system from which on sums over tokens with weights of their own go by blocks
_CHUNK = 65_536  # tokens whose terms are in memory at once
_LEVELS = 6  # of a tree that are added up at once: those of 64 parts


class Sharing(Protocol):
    """What sums over tokens need to know where several processes own the tokens of a system.

    Attributes
    ----------
    bounds : tuple of int
        Process r owns tokens bounds[r] … bounds[r + 1] − 1; the last is N.
    first, stop : int
        The tokens of this process.
    """

    @property
    def bounds(self) -> tuple[int, ...]:
        """Bounds of the processes."""

    @property
    def first(self) -> int:
        """First token of this process."""

    @property
    def stop(self) -> int:
        """One past the last."""

    def total(self, own: Nodes, *, n_parts: int) -> Array:
        """Return the root of all processes' nodes, on every process."""


def nodes(parts: Array, *, first: int, n_parts: int) -> Nodes:
    """Return the largest nodes that parts first, first + 1, … make up, out of n_parts.

    Parameters
    ----------
    parts : ndarray, shape (R, n, ...)
        At least one.
    first, n_parts : int

    Returns
    -------
    dict
        Arrays of shape (R, ...) by level and number.

    Examples
    --------
    Parts 1, 2 and 3 of four are a leaf and a node of two:

    >>> import numpy as np
    >>> nodes(np.array([[1.0, 2.0, 3.0]]), first=1, n_parts=4)
    {(0, 1): array([1.]), (1, 1): array([5.])}
    """
    out: Nodes = {}
    level = 0
    while parts.shape[1] > 0:
        if n_parts == 1:
            out[level, 0] = parts[:, 0]
            break
        if first % 2:
            out[level, first] = parts[:, 0]
            parts, first = parts[:, 1:], first + 1
        stop = first + parts.shape[1]
        if parts.shape[1] % 2 and stop < n_parts:
            out[level, stop - 1] = parts[:, -1]
            parts = parts[:, :-1]
        folded = parts[:, : parts.shape[1] // 2 * 2 : 2] + parts[:, 1::2]
        if parts.shape[1] % 2:
            folded = np.concatenate([folded, parts[:, -1:]], axis=1)
        parts, first, n_parts, level = folded, first // 2, -(-n_parts // 2), level + 1
    return out


def join(one: Nodes, other: Nodes, *, n_parts: int) -> Nodes:
    """Return the largest nodes that two sets of nodes make up, of n_parts parts.

    Examples
    --------
    >>> import numpy as np
    >>> join({(0, 0): np.array([4.0])}, {(0, 1): np.array([1.0]), (1, 1): np.array([5.0])}, n_parts=4)
    {(2, 0): array([10.])}
    """
    out = {**one, **other}
    level = 0
    while n_parts > 1:
        for key in [key for key in out if key[0] == level and key[1] % 2 == 0]:
            index = key[1]
            if index + 1 == n_parts:
                out[level + 1, index // 2] = out.pop(key)
            elif (level, index + 1) in out:
                out[level + 1, index // 2] = out.pop(key) + out.pop((level, index + 1))
        level, n_parts = level + 1, -(-n_parts // 2)
    return out


def fold(parts: Array) -> Array:
    """Return the sum of all parts (R, n, ...) along the tree, bitwise the root of their nodes.

    Examples
    --------
    >>> import numpy as np
    >>> fold(np.array([[1.0, 2.0, 3.0]]))
    array([6.])
    """
    while (n := parts.shape[1]) > 1:
        n_levels = min(_LEVELS, (n - 1).bit_length())
        if n % (block := 2**n_levels):  # x + (−0.0) is x, to the bit: a last node alone stays
            padded = np.zeros((len(parts), -(-n // block) * block, *parts.shape[2:]), parts.dtype)
            np.negative(padded[:, n:], out=padded[:, n:])
            padded[:, :n] = parts
            parts = padded
        for _ in range(n_levels):
            parts = parts[:, ::2] + parts[:, 1::2]
    return parts[:, 0]


def root(all_nodes: Nodes) -> Array:
    """Return the sum of all parts from nodes that make it up, joined."""
    ((_, value),) = all_nodes.items()
    return value


def total(parts: Array, over: Sharing | None, *, block: int) -> Array:
    """Return the sum over axis 1 of a number for each block of tokens.

    Parameters
    ----------
    parts : ndarray, shape (R, n_blocks, ...)
        Of the blocks of this process.
    over : Sharing, optional
        None: there is no other process.
    block : int
        Tokens of a block; the bounds of processes are multiples of it.

    Returns
    -------
    ndarray, shape (R, ...)
        Over the blocks of all processes, bitwise identical for any bounds.

    Notes
    -----
    A chain of log₂ n additions. Each process hands on the nodes of its parts, at most two a level.

    Examples
    --------
    >>> import numpy as np
    >>> total(np.array([[1.0, 2.0, 3.0]]), None, block=1)
    array([6.])
    """
    if over is None:
        return fold(parts)
    n_parts = -(-over.bounds[-1] // block)
    return over.total(nodes(parts, first=over.first // block, n_parts=n_parts), n_parts=n_parts)


def dot(a: Array, b: Array, *, block: int, over: Sharing | None = None) -> Array:
    """Return the sums over tokens, the last axis, of products a b, from those of blocks.

    Parameters
    ----------
    a : ndarray, shape (R, n) or (R, k, n)
        Of the tokens of this process.
    b : ndarray, shape (R, n)
    block : int
        As in `total`.
    over : Sharing, optional
        None: there is no other process.

    Returns
    -------
    ndarray, shape (R,) or (R, k)
        Bitwise identical for any bounds.

    Examples
    --------
    >>> import numpy as np
    >>> dot(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 1.0, 2.0]]), block=2)
    array([9.])
    """
    n = b.shape[-1]
    axes = "k" * (a.ndim - 2)
    if n <= block and over is None:
        return np.asarray(np.einsum(f"r{axes}n,rn->r{axes}", a, b))
    return total(_of_blocks(f"r{axes}bn,rbn->rb{axes}", (a, b), block=block), over, block=block)


def sum_over(a: Array, *, block: int, over: Sharing | None = None) -> Array:
    """Return the sums of a (R, n) over tokens, shape (R,), from those of blocks; as `dot`.

    Examples
    --------
    >>> import numpy as np
    >>> sum_over(np.array([[1.0, 2.0, 3.0]]), block=2)
    array([6.])
    """
    if a.shape[-1] <= block and over is None:
        return np.asarray(a.sum(axis=-1))
    return total(_of_blocks("rbn->rb", (a,), block=block), over, block=block)


def _of_blocks(subscripts: str, factors: tuple[Array, ...], *, block: int) -> Array:
    """Return the sums of products of factors (..., n) over each block, (R, n_blocks, ...)."""
    n = factors[0].shape[-1]
    parts, full = [], n // block * block
    for first, stop in ((0, full), (full, n)):
        if stop > first:
            length = min(stop - first, block)
            pieces = (f[..., first:stop] for f in factors)
            split = [piece.reshape(*piece.shape[:-1], -1, length) for piece in pieces]
            parts.append(split[0].sum(axis=-1) if len(split) == 1 else np.einsum(subscripts, *split))
    return np.concatenate(parts, axis=1)


def over_tokens(terms: Callable[[int, int], Array], x: Array, *, over: Sharing | None = None) -> Array:
    """Return the sum over all tokens of a term for each.

    Parameters
    ----------
    terms : callable
        From bounds (first, stop) among the tokens of this process to terms (R, stop − first, ...), of at most 65 536
        tokens at once.
    x : ndarray, shape (R, n, ...)
        With those of this process along axis 1.
    over : Sharing, optional
        None: there is no other process.

    Returns
    -------
    ndarray, shape (R, ...)
        Bitwise identical for any bounds, also where they cut blocks.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 2.0, 3.0]])
    >>> over_tokens(lambda first, stop: x[:, first:stop] ** 2, x)
    array([14.])
    """
    n_tokens, offset = count(x, over), 0 if over is None else over.first
    if over is None and n_tokens <= _CHUNK:
        return fold(terms(0, n_tokens))
    mine: Nodes = {}
    start, stop = offset, offset + x.shape[1]
    while start < stop:
        end = min(stop, (start // _CHUNK + 1) * _CHUNK)
        part = nodes(terms(start - offset, end - offset), first=start, n_parts=n_tokens)
        mine = join(mine, part, n_parts=n_tokens)
        start = end
    return root(mine) if over is None else over.total(mine, n_parts=n_tokens)


def own(p: Array | None, over: Sharing | None) -> Array | None:
    """Return the weights of this process's tokens, from those of all or as they are."""
    if p is None or over is None or len(p) == over.stop - over.first:
        return p
    return p[over.first : over.stop]


def count(x: Array, over: Sharing | None) -> int:
    """Return the number of tokens of all processes from those (R, n, d) of this one."""
    return x.shape[1] if over is None else over.bounds[-1]


def is_aligned(over: Sharing, block: int) -> bool:
    """Whether every process owns whole blocks; never where block is 0."""
    return block > 0 and all(bound % block == 0 for bound in over.bounds[:-1])
