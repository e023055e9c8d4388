"""The drift along a potential for tokens of one shape: over all pairs, or by an expansion in harmonics.

The kernel of pairs is that of softmax attention with a polynomial of the cosine for the coefficient of a pair. The
expansion is that of `chaosphere.interactions.series`, with the coefficients of the polynomial by Funk and Hecke; a
polynomial of degree n has none beyond n.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import is_aligned
from chaosphere.common.shape import Shape
from chaosphere.geometry import expansions, sphere
from chaosphere.geometry.gegenbauer import gegenbauer_series
from chaosphere.geometry.harmonics import harmonics_below, per_harmonic
from chaosphere.interactions import series
from chaosphere.interactions.few_tokens import FUSED_WORK, is_few
from chaosphere.interactions.polynomials import KernelPolynomial
from chaosphere.interactions.protocol import InteractionPlan, Partition, Pullback
from chaosphere.interactions.tangent import weights_of
from chaosphere.kernels import attention as kernel
from chaosphere.kernels.replicas import attend_replicas
from chaosphere.kernels.tangent import tangent_sums


def factors_of(coefficients: Floats, dim: int) -> Floats:
    """Return the Funk–Hecke coefficients λ_0 … λ_n of a Chebyshev series."""
    return _factors(np.asarray(coefficients, np.float64).tobytes(), dim)


@lru_cache(maxsize=16)
def _factors(coefficients: bytes, dim: int) -> Floats:
    factors = per_harmonic(gegenbauer_series(np.frombuffer(coefficients), dim=dim), dim)
    factors.flags.writeable = False
    return factors


def pairs_nanoseconds(n_tokens: int, dim: int, *, polynomial: KernelPolynomial) -> float:
    """Return the time that the sum over pairs takes on one processor.

    Times of benches/bench_attention.py, relative to those of softmax attention, which `direct_nanoseconds` has.
    """
    operations = (len(polynomial.coefficients) - 1) * (2 if polynomial.is_series else 1)
    if polynomial.coefficients.dtype == np.float64:
        pair = 0.03 + 0.041 * dim + 0.011 * operations
    else:
        pair = 0.02 + 0.022 * dim + 0.006 * operations
    return 3e4 + pair * n_tokens**2


def is_expanded(coefficients: Floats, shape: Shape) -> bool:
    """Whether an expansion is offered, and takes less time than the sum over pairs."""
    n_tokens, dim = shape.n_tokens, shape.dim
    if not expansions.serves_degree(len(coefficients), dim):  # the degree of the potential, for its energy
        return False
    time = series.nanoseconds_of(n_tokens, harmonics_below(len(coefficients), dim), dim)
    polynomial = KernelPolynomial.of(coefficients, dtype=shape.dtype)
    return time < pairs_nanoseconds(n_tokens, dim, polynomial=polynomial)


class PotentialTangent:
    """The derivative of Σ_j p_j f(⟨x_i, x_j⟩) x_j over all pairs, for a polynomial f.

    Its coefficients are f′ and f in place of the two of `chaosphere.interactions.tangent`, which are one.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
    series : ndarray of float64
        The Chebyshev coefficients of f.
    """

    def __init__(self, shape: Shape, weights: Floats | None, *, series: Floats) -> None:
        slope = np.asarray(chebyshev.chebder(series), dtype=np.float64)
        self.polynomials = [KernelPolynomial.of(values, dtype=shape.dtype) for values in (slope, series)]
        self.weights = weights

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative of the drift along a tangent."""
        p = weights_of(self.weights, x.shape[1])[:, None]
        own, change = x[:, : len(p)], tangent[:, : len(p)]
        u, g = np.concatenate([tangent, x], axis=2), np.concatenate([own, change], axis=2)
        products, plain = self._sums((x, own), (u, g), c=p * own, e=p * change, n_threads=n_threads)
        return (products + plain).astype(x.dtype)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return the gradients of the sum of cotangent times drift."""
        p = weights_of(self.weights, x.shape[1])[:, None]
        n, own = len(p), x[:, : len(p)]
        tokens = self._sums((x, own), (cotangent, own), c=p * own, e=None, n_threads=n_threads)[0]
        products, plain = self._sums((own, x), (own, cotangent), c=x, e=cotangent, n_threads=n_threads)
        tokens[:, :n] += p * (products + plain)
        return Pullback(tokens=tokens.astype(x.dtype), weights=np.einsum("rjk,rjk->rj", plain, own), parameters={})

    def _sums(
        self,
        both: tuple[Tokens, Tokens],
        terms: tuple[Tokens, Tokens],
        *,
        c: Tokens,
        e: Tokens | None,
        n_threads: int,
    ) -> tuple[Floats, Floats]:
        """Return the sums of f′ t c and of f e, one side."""
        dtype = both[0].dtype
        vectors: Any = c.astype(dtype, copy=False), None if e is None else e.astype(dtype, copy=False)
        slope, function = ((polynomial.coefficients, polynomial.is_series) for polynomial in self.polynomials)
        numbers: Any = (None, None, None, None, 1.0, 1.0, 0, 0.0, n_threads, *slope, *function)
        out = tangent_sums(*both, *terms, *vectors, *numbers)
        return out[..., : c.shape[2]], out[..., c.shape[2] + 1 :]


class PairsPlan(InteractionPlan):
    """Σ_j p_j f(⟨x_i, x_j⟩) x_j over all pairs of tokens of one shape, for a polynomial f.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
        Tokens beyond, and those of weight 0, are passive tracers.
    series : ndarray of float64
        The Chebyshev coefficients of f.
    """

    def __init__(self, shape: Shape, weights: Floats | None, *, series: Floats) -> None:
        n, self.polynomial = shape.n_tokens, KernelPolynomial.of(series, dtype=shape.dtype)
        self.tangent = PotentialTangent(shape, weights, series=series)
        self.unit, self.weights = 1 / n, None
        if weights is not None:
            self.unit = float(weights.max())  # the kernel's weights are at most 1: float32 has place for small ones
            self.weights = np.append(weights / self.unit, np.zeros(n - len(weights)))
        self.is_of_few = is_few(n, shape.dim) and not self.polynomial.is_series
        self.pairs = float(n) * n
        work = shape.n_replicas * n**2 * (shape.dim + 4 + len(self.polynomial.coefficients))
        self.max_fused_steps = max(1, int(FUSED_WORK / work))

    def _sums(self, x: Tokens, *, n_threads: int, **options: Any) -> tuple[Any, Any]:
        polynomial = self.polynomial
        return kernel.attend_bounded(
            x,
            None,
            None,
            None if self.weights is None else self.weights[None],
            1.0,
            0.0,
            True,
            n_threads,
            value_scale=self.unit,
            polynomial=polynomial.coefficients,
            is_series=polynomial.is_series,
            **options,
        )

    def _few_sums(self, x: Tokens, *, n_threads: int, **options: Any) -> tuple[Any, Any]:
        return attend_replicas(
            np.ascontiguousarray(x),
            None if self.weights is None else self.weights[None],
            1.0,
            0.0,
            n_threads,
            value_scale=self.unit,
            polynomial=self.polynomial.coefficients,
            **options,
        )

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the drift; see `InteractionPlan`."""
        sums = self._few_sums if self.is_of_few else self._sums
        out: Tokens = sums(x, n_threads=n_threads)[0]
        return out

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative in a direction; see `InteractionPlan`."""
        return self.tangent.jvp(x, tangent, n_threads=n_threads)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients; see `InteractionPlan`."""
        return self.tangent.vjp(x, cotangent, n_threads=n_threads)

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return some rows of the drift at their share of the work; see `InteractionPlan`."""
        if self.is_of_few:
            return np.ascontiguousarray(self.drift(x, n_threads=n_threads)[:, first:stop])
        out: Tokens = self._sums(x, n_threads=n_threads, first=first, stop=stop)[0]
        return out

    def move(self, x: Tokens, step_size: float, *, n_threads: int, n_steps: int = 1) -> Tokens:
        """Return LN(x + τ drift(x)), n_steps times over, in one pass over the tokens; see `InteractionPlan`."""
        sums = self._few_sums if self.is_of_few else self._sums
        out, bad = sums(x, n_threads=n_threads, step=step_size, n_steps=n_steps)
        return sphere.raise_if_degenerate(out, bad)

    def mean(self, x: Tokens, *, n_threads: int) -> Floats:
        """Return Σ_ij p_i p_j f(⟨x_i, x_j⟩), shape (R,)."""
        sums = self._sums(x, n_threads=n_threads, is_partition=True)[1]
        terms = sums if self.weights is None else sums * self.weights
        return np.asarray(self.unit**2 * terms.sum(axis=1))


class SeriesPlan(InteractionPlan):
    """The same by an expansion, O(N K) with K harmonics, exact up to rounding.

    Parameters
    ----------
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
    series : ndarray of float64
        The Chebyshev coefficients of f.
    """

    def __init__(self, shape: Shape, weights: Floats | None, *, series: Floats) -> None:
        self.factors = factors_of(series, shape.dim)
        self.tangent = PotentialTangent(shape, weights, series=series)
        self.pairs = float(shape.n_tokens) * shape.n_tokens
        self.weights = None if weights is None else np.append(weights, np.zeros(shape.n_tokens - len(weights)))
        self.block = expansions.block(shape.n_tokens, shape.dim)

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the drift; see `InteractionPlan`."""
        return series.sums(x, self.weights, factors=self.factors, n_threads=n_threads)

    def shared_drift(self, x: Tokens, partition: Partition, *, n_threads: int) -> Tokens:
        """Return the drift from the moments of each process's tokens; see `InteractionPlan`."""
        if not is_aligned(partition, self.block):
            return super().shared_drift(x, partition, n_threads=n_threads)
        return series.sums(x, self.weights, factors=self.factors, n_threads=n_threads, over=partition)

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative in a direction, over all pairs; see `InteractionPlan`."""
        return self.tangent.jvp(x, tangent, n_threads=n_threads)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients, over all pairs; see `InteractionPlan`."""
        return self.tangent.vjp(x, cotangent, n_threads=n_threads)

    def mean(self, x: Tokens, *, n_threads: int) -> Floats:
        """Return Σ_ij p_i p_j f(⟨x_i, x_j⟩), shape (R,)."""
        return expansions.mean_of(x, self.weights, self.factors, n_threads=n_threads)
