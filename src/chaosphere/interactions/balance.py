"""Scalings that make the coefficients between tokens doubly stochastic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import ordered_sums
from chaosphere.common.checks import Floats
from chaosphere.common.errors import Picklable
from chaosphere.interactions.protocol import Partition

_MAX_ITERATIONS = 200
_N_KEPT = 6  # differences of iterates
_STEP = 0.8  # of the residual without its mean, whose eigenvalues are between 1 and 2
_RIDGE = 1e-14  # of the least squares, whose columns have length 1


class UnbalancedError(Picklable, ArithmeticError):
    """The iterations that make attention doubly stochastic have not reached their tolerance.

    Parameters
    ----------
    message : str
        What happened, and what to do.
    residual : float
        The largest |a_i Σ_j p_j a_j e^{β⟨x_i, x_j⟩} − 1| that is left.

    See Also
    --------
    chaosphere.SinkhornAttention : Doubly stochastic attention.

    Examples
    --------
    >>> import chaosphere as cs
    >>> error = cs.UnbalancedError("the residual is 1e-3 after 200 iterations", residual=1e-3)
    >>> isinstance(error, ArithmeticError), error.residual
    (True, 0.001)
    """

    def __init__(self, message: str, *, residual: float) -> None:
        super().__init__(message)
        self.residual = residual


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Balanced:
    """Scalings of R systems, of n points each.

    Attributes
    ----------
    log_a : ndarray of float64, shape (R, n)
    mean_log_a : ndarray of float64, shape (R,)
        Σ_i p_i log a_i from the function that log a minimises, ½ Σ_ij p_i p_j a_i k_ij a_j − Σ_i p_i log a_i, which is
        flat there: its error is the square of that of log a.
    residual : ndarray of float64, shape (R,)
        What is left of it.
    n_iterations : ndarray of int, shape (R,)
        Evaluations of the sums.
    """

    log_a: Floats
    mean_log_a: Floats
    residual: Floats
    n_iterations: NDArray[np.int64]


# Of the numbers of some systems (S,) and their scalings a (S, n): the sums Σ_j k_ij p_j a_j, (S, n).
Sums = Callable[[NDArray[np.int64], Floats], Floats]


class Reductions(Protocol):
    """Sums over points, the last axis, and the largest of numbers that several processes have."""

    def dot(self, a: Floats, b: Floats) -> Floats:
        """Return the sums of a b for a (S, n) or (S, k, n) and b (S, n), shape (S,) or (S, k)."""

    def total(self, a: Floats) -> Floats:
        """Return the sums of a (S, n), shape (S,)."""

    def largest(self, a: Floats) -> Floats:
        """Return the largest numbers of all processes, shape (S,)."""


class Alone:
    """The sums of one process, over all points at once."""

    def dot(self, a: Floats, b: Floats) -> Floats:
        """Return the sums of a b."""
        return np.asarray(np.einsum("rn,rn->r" if a.ndim == 2 else "rkn,rn->rk", a, b))

    def total(self, a: Floats) -> Floats:
        """Return the sums of a."""
        return np.asarray(a.sum(axis=1))

    def largest(self, a: Floats) -> Floats:
        """Return the numbers themselves."""
        return a


class Blocks:
    """The sums of blocks of tokens, added along one tree, whoever has the blocks.

    Parameters
    ----------
    block : int
    over : Partition, optional
        The processes that share the tokens.
    """

    def __init__(self, block: int, over: Partition | None = None) -> None:
        self.block, self.over = block, over

    def dot(self, a: Floats, b: Floats) -> Floats:
        """Return the sums of a b."""
        return ordered_sums.dot(a, b, block=self.block, over=self.over)

    def total(self, a: Floats) -> Floats:
        """Return the sums of a."""
        return ordered_sums.sum_over(a, block=self.block, over=self.over)

    def largest(self, a: Floats) -> Floats:
        """Return the largest numbers of all processes."""
        return a if self.over is None else self.over.largest(a)


def balance(
    sums: Sums,
    p: Floats,
    *,
    n_replicas: int,
    tolerance: float,
    size: Callable[[Floats, Floats], Floats],
    norm_weights: Floats | None = None,
    reductions: Reductions | None = None,
) -> Balanced:
    """Return a > 0 with a_i Σ_j k_ij p_j a_j = 1, for a symmetric kernel k > 0 of no negative eigenvalue.

    With f = log a the residual is r = f + log Σ_j k_ij p_j e^{f_j}. Its derivative is 1 + W, where W, self-adjoint in
    L²(p) at the solution, has eigenvalues in [0, 1], that of constants being 1. So f − r/2, the iteration of
    arXiv:2110.11773, halves the error at least, and a step that is longer where r has mean 0 does better. Anderson's
    extrapolation (a least squares over the last differences of f and r) makes of that a Krylov method. Where it does
    not lower |r|, it is dropped for f − r/2 from the point before, which converges from everywhere: f − r does
    not increase distances in the largest norm.

    A system depends on no other, and nothing is kept from call to call: the start is a = 1.

    Parameters
    ----------
    sums : Sums
    p : ndarray of float64, shape (R, n) or (1, n)
        >= 0, with sum 1 in each row.
    n_replicas : int
        R.
    tolerance : float
        Of the size of the residual a_i Σ_j k_ij p_j a_j − 1.
    size : callable
        From r (S, n) and p to the sizes of e^r − 1, (S,).
    norm_weights : ndarray of float64, shape (R, n) or (1, n), optional
        > 0, of the norm in which the least squares are taken. Default p, in which a point of little weight counts for
        little and converges slowly.
    reductions : Reductions, optional
        How sums over points are made. Default: all are here.

    Raises
    ------
    UnbalancedError
        If the tolerance is not reached.
    """
    p = np.broadcast_to(p, (n_replicas, p.shape[1]))
    out = Balanced(
        log_a=np.empty(p.shape),
        mean_log_a=np.empty(n_replicas),
        residual=np.empty(n_replicas),
        n_iterations=np.empty(n_replicas, np.int64),
    )
    left = np.arange(n_replicas)
    over = Alone() if reductions is None else reductions
    search = _Search(p, np.broadcast_to(p if norm_weights is None else norm_weights, p.shape), over)
    for number in range(_MAX_ITERATIONS):
        with np.errstate(all="ignore"):  # of an extrapolation that has gone astray, which `search` sees
            r = search.f + np.log(sums(left, np.exp(search.f)))
            residual = over.largest(size(r, search.p))
        is_done = residual <= tolerance
        if is_done.any():
            done, f = left[is_done], search.f[is_done]
            out.log_a[done], out.residual[done], out.n_iterations[done] = f, residual[is_done], number + 1
            out.mean_log_a[done] = over.total(search.p[is_done] * (f - 0.5 * np.expm1(r[is_done])))
            left, r = left[~is_done], r[~is_done]
            if not len(left):
                return out
            search.keep(~is_done)
        search.advance(r)
    worst = float(residual[~is_done].max())
    raise UnbalancedError(
        f"attention is not doubly stochastic after {_MAX_ITERATIONS} iterations: the residual is {worst:.3g}, more "
        f"than the tolerance {tolerance:.3g}; raise tolerance",
        residual=worst,
    )


class _Search:
    """Anderson's extrapolation for several systems at once, each by itself.

    Attributes
    ----------
    f : ndarray, shape (S, n)
        Where the residual is to be evaluated next.
    """

    def __init__(self, p: Floats, norm_weights: Floats, over: Reductions) -> None:
        self.over = over
        self.p, self.norm_weights, self.f = p, norm_weights, np.zeros(p.shape)
        self.before: tuple[Floats, ...] = ()  # f, r, and where a step without extrapolation leads
        self.norm = np.full(len(p), np.inf)
        self.n_steps = 0
        self.ends, self.changes = (np.zeros((len(p), _N_KEPT, p.shape[1])) for _ in range(2))  # differences of both
        self.products = np.zeros((len(p), _N_KEPT, _N_KEPT))  # of the changes

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget the other systems."""
        self.p, self.norm_weights, self.f, self.norm = (
            values[rows] for values in (self.p, self.norm_weights, self.f, self.norm)
        )
        self.ends, self.changes, self.products = (values[rows] for values in (self.ends, self.changes, self.products))
        self.before = tuple(values[rows] for values in self.before)

    def advance(self, r: Floats) -> None:
        """Choose the next f from the residual at the last one, which is written over."""
        with np.errstate(all="ignore"):  # as in `balance`
            weighted = self.norm_weights * r
            norm = np.sqrt(self.over.dot(weighted, r))
        # What was extrapolated and is worse is taken back. A step that was not may be worse.
        is_astray = ~(norm < self.norm) & self.products.any(axis=(1, 2))
        if is_astray.any():
            self.f[is_astray], r[is_astray] = (values[is_astray] for values in self.before[:2])
            weighted, norm[is_astray] = self.norm_weights * r, self.norm[is_astray]
            for values in (self.ends, self.changes, self.products):
                values[is_astray] = 0.0
        end = self.f - _STEP * r + (_STEP - 0.5) * self.over.total(self.p * r)[:, None]
        if self.before:
            self._remember(end, r)
        self.before, self.norm = (self.f, r, end), norm
        self.f = end - np.einsum("rk,rkn->rn", self._least_squares(weighted), self.ends)
        if is_astray.any():
            self.f[is_astray] = (self.before[0] - 0.5 * r)[is_astray]

    def _remember(self, end: Floats, r: Floats) -> None:
        """Put the last differences in the place of the oldest."""
        at = self.n_steps % _N_KEPT
        self.n_steps += 1
        np.subtract(end, self.before[2], out=self.ends[:, at])
        np.subtract(r, self.before[1], out=self.changes[:, at])
        row = self.over.dot(self.changes, self.norm_weights * self.changes[:, at])
        self.products[:, at], self.products[:, :, at] = row, row

    def _least_squares(self, weighted: Floats) -> Floats:
        """Return the combination of the changes that is nearest to r, (S, _N_KEPT); of those that are 0, 0."""
        right = self.over.dot(self.changes, weighted)
        length = np.sqrt(np.einsum("rkk->rk", self.products))
        inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
        scaled = self.products * inverse[:, :, None] * inverse[:, None, :] + _RIDGE * np.eye(_N_KEPT)
        return np.asarray(np.linalg.solve(scaled, (right * inverse)[:, :, None])[:, :, 0] * inverse)


def largest(r: Floats, p: Floats) -> Floats:
    """Return the largest |e^r − 1| of each system."""
    return np.asarray(np.maximum(np.expm1(r.max(axis=1)), -np.expm1(r.min(axis=1))))


def root_mean_square(r: Floats, p: Floats) -> Floats:
    """Return the size of e^r − 1 in L²(p), of each system."""
    return np.asarray(np.sqrt((p * np.expm1(r) ** 2).sum(axis=1)))
