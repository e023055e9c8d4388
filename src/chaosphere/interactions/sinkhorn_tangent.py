"""The derivative of doubly stochastic attention, through the equation of its scalings.

With P_ij = a_i e^{s_ij} a_j p_j the equation of the scalings a = e^f is Σ_j P_ij = 1 at every token. Along a tangent
the scores change by ṡ, and the derivative of the equation is

    ḟ_i + Σ_j P_ij ḟ_j = −Σ_j P_ij ṡ_ij.

On the sources P is self-adjoint in L²(p), with eigenvalues in [0, 1], as e^{β⟨x, y⟩} is a positive definite kernel. One
scaling serves rows and columns, so no direction is free, and 1 + P has eigenvalues in [1, 2]: Chebyshev's iteration for
that interval, which takes no inner products, divides the error in L²(p) by 5.8 in each step.

Gradients take the transpose. With T_ij = δ⟨w_i, x_j⟩, D_i = Σ_j P_ij T_ij and γ_j = Σ_i P_ij (T_ij − D_i) they are
those of softmax attention with D_i + p_i η_i in place of D_i, where (1 + P) η = γ/p.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chaosphere.common.checks import Floats, Tokens
from chaosphere.interactions.protocol import Pullback
from chaosphere.interactions.tangent import Maps, Pairs, inner, pulled_back, score_and_value_sums

_N_STEPS = 21  # 2 · 5.8^−21 < 2e-16


class SinkhornTangent:
    """The derivative at tokens whose scalings are known.

    Parameters
    ----------
    maps : Maps
    x : ndarray, shape (R, N, d)
    p : ndarray of float64, shape (n_sources,)
        Weights; they may be 0.
    drift : ndarray, shape (R, N, d)
    log_a : ndarray of float64, shape (R, N)
        For the kernel e^{β(⟨x, y⟩ − 1)}.
    times_p : callable
        From y (R, n) at the sources of weight > 0 to P y.
    tolerance : float
        How far sums of rows of P may be from 1.
    n_threads : int
    """

    def __init__(
        self,
        maps: Maps,
        x: Tokens,
        *,
        p: Floats,
        drift: Tokens,
        log_a: Floats,
        times_p: Callable[[Floats], Floats],
        tolerance: float,
        n_threads: int,
    ) -> None:
        columns = log_a[:, : len(p)]
        self.pairs = Pairs(maps, x, p=p, log_rows=log_a - maps.scale, log_columns=columns, n_threads=n_threads)
        self.drift, self.times_p, self.tolerance = drift, times_p, tolerance
        self.sources = np.flatnonzero(p > 0)

    def jvp(self, tangent: Tokens) -> Tokens:
        """Return the derivative of the drift along a tangent."""
        pairs, x = self.pairs, self.pairs.x
        sums = score_and_value_sums(pairs, tangent)
        change = self._solved(-sums.terms[:, self.sources])
        nothing = x[:, :, :0]
        further = pairs.rows(nothing, nothing[:, : len(pairs.p)], c=pairs.v, column_terms=change)
        own = -sums.terms - further.terms
        out = pairs.maps.factor * (sums.products + sums.plain + further.products) + own[..., None] * self.drift
        return out.astype(x.dtype)

    def vjp(self, cotangent: Tokens) -> Pullback:
        """Return the gradients of the sum of cotangent times drift."""
        pairs, p = self.pairs, self.pairs.p
        offsets = inner(cotangent, self.drift)
        options: dict[str, Any] = {"term_scale": pairs.maps.factor, "column_terms": -offsets}
        residual = pairs.columns(pairs.v, cotangent, c=cotangent[:, :, :0], **options).terms
        offsets[:, : len(p)] += p * self._solved(residual[:, self.sources])
        return pulled_back(pairs, cotangent, offsets=offsets)

    def _solved(self, right: Floats) -> Floats:
        """Return the solution at all columns, 0 where the weight is."""
        out = np.zeros((len(right), len(self.pairs.p)))
        out[:, self.sources] = solve(self.times_p, np.ascontiguousarray(right), tolerance=self.tolerance)
        return out


def solve(times_p: Callable[[Floats], Floats], right: Floats, *, tolerance: float) -> Floats:
    """Return y with (1 + P) y = right, (R, n), for P of eigenvalues in [0, 1 + tolerance].

    Parameters
    ----------
    times_p : callable
        From y to P y.
    right : ndarray of float64, shape (R, n)
    tolerance : float
    """
    centre, radius = 1.5 + 0.5 * tolerance, 0.5 + 0.5 * tolerance
    y, left, step, ratio = np.zeros_like(right), right, right / centre, radius / centre
    for _ in range(_N_STEPS):
        y = y + step
        left = left - step - times_p(step)
        following = 1 / (2 * centre / radius - ratio)
        step, ratio = following * (ratio * step + 2 / radius * left), following
    return y
