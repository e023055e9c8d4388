"""Scalings that make the coefficients between tokens doubly stochastic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats
from chaosphere.common.errors import Picklable

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


def balance(
    sums: Sums, p: Floats, *, n_replicas: int, tolerance: float, size: Callable[[Floats, Floats], Floats]
) -> Balanced:
    """Return a > 0 with a_i Σ_j k_ij p_j a_j = 1, for a symmetric kernel k > 0 of no negative eigenvalue.

    With f = log a the residual is r = f + log Σ_j k_ij p_j e^{f_j}. Its derivative is 1 + W, where W, self-adjoint in
    L²(p) at the solution, has eigenvalues in [0, 1], that of constants being 1. So f − r/2, the iteration of
    arXiv:2110.11773, halves the error at least, and a step that is longer where r has mean 0 does better. Anderson's
    extrapolation (a least squares over the last differences of f and r) makes of that a Krylov method. Where it does
    not lower |r| in L²(p), it is dropped for f − r/2 from the point before, which converges from everywhere: f − r does
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
        Of residuals (S, n) and p: their sizes (S,).

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
    search = _Search(p)
    for number in range(_MAX_ITERATIONS):
        with np.errstate(all="ignore"):  # of an extrapolation that has gone astray, which `search` sees
            r = search.f + np.log(sums(left, np.exp(search.f)))
            excess = np.expm1(r)
            residual = size(excess, search.p)
        is_done = residual <= tolerance
        done = left[is_done]
        out.log_a[done], out.residual[done] = search.f[is_done], residual[is_done]
        out.mean_log_a[done] = _dot(search.p, search.f - 0.5 * excess)[is_done]
        out.n_iterations[done] = number + 1
        if is_done.all():
            return out
        if is_done.any():
            left, r = left[~is_done], r[~is_done]
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

    def __init__(self, p: Floats) -> None:
        self.p, self.f = p, np.zeros(p.shape)
        self.before: tuple[Floats, Floats] | None = None  # f and r
        self.norm = np.full(len(p), np.inf)
        self.n_steps = 0
        self.steps, self.changes = (np.zeros((len(p), _N_KEPT, p.shape[1])) for _ in range(2))  # of f, of r
        self.products = np.zeros((len(p), _N_KEPT, _N_KEPT))  # of the changes

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget the other systems."""
        self.p, self.f, self.norm, self.steps, self.changes, self.products = (
            values[rows] for values in (self.p, self.f, self.norm, self.steps, self.changes, self.products)
        )
        if self.before is not None:
            self.before = (self.before[0][rows], self.before[1][rows])

    def advance(self, r: Floats) -> None:
        """Choose the next f from the residual at the last one."""
        norm = np.sqrt(_dot(self.p * r, r))
        if self.before is None:
            plain = np.zeros(len(r), dtype=bool)
        else:
            is_worse = ~(norm < self.norm)
            # A plain step may do that; what was extrapolated is taken back.
            plain = is_worse & self.products.any(axis=(1, 2))
            f, before = self.before
            is_back = plain[:, None]
            self.f, r = np.where(is_back, f, self.f), np.where(is_back, before, r)
            norm = np.where(plain, self.norm, norm)
            self._remember(self.f - f, r - before, forget=plain)
        self.before, self.norm = (self.f, r), norm
        weights = self._least_squares(r)
        smooth = r - _combined(weights, self.changes)
        mean = _dot(self.p, smooth)[:, None]
        step = _combined(weights, self.steps) + _STEP * (smooth - mean) + 0.5 * mean
        self.f = self.f - np.where(plain[:, None], 0.5 * r, step)

    def _remember(self, step: Floats, change: Floats, *, forget: NDArray[np.bool_]) -> None:
        """Put the last differences in the place of the oldest; of some systems forget all."""
        at = self.n_steps % _N_KEPT
        self.n_steps += 1
        self.steps[:, at], self.changes[:, at] = step, change
        weighted = self.p * change
        for k in range(_N_KEPT):
            self.products[:, at, k] = self.products[:, k, at] = _dot(weighted, self.changes[:, k])
        for values in (self.steps, self.changes, self.products):
            values[forget] = 0.0

    def _least_squares(self, r: Floats) -> Floats:
        """Return the combination of the changes that is nearest to r, shape (S, _N_KEPT); of those that are 0, 0."""
        weighted = self.p * r
        right = np.stack([_dot(weighted, self.changes[:, k]) for k in range(_N_KEPT)], axis=1)
        length = np.sqrt(np.einsum("rkk->rk", self.products))
        inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
        scaled: Any = self.products * inverse[:, :, None] * inverse[:, None, :] + _RIDGE * np.eye(_N_KEPT)
        return np.asarray(np.linalg.solve(scaled, (right * inverse)[:, :, None])[:, :, 0] * inverse)


def largest(excess: Floats, p: Floats) -> Floats:
    """Return the largest of each system."""
    return np.asarray(np.abs(excess).max(axis=1))


def root_mean_square(excess: Floats, p: Floats) -> Floats:
    """Return the size of each system in L²(p)."""
    return np.asarray(np.sqrt(_dot(p * excess, excess)))


def _dot(left: Floats, right: Floats) -> Floats:
    """Return the products of rows (S, n), each in one order."""
    return np.asarray((left * right).sum(axis=1))


def _combined(weights: Floats, rows: Floats) -> Floats:
    """Return Σ_k weights[:, k] rows[:, k]."""
    total = weights[:, 0, None] * rows[:, 0]
    for k in range(1, _N_KEPT):
        total += weights[:, k, None] * rows[:, k]
    return np.asarray(total)
