"""Real spherical harmonics in any dimension, in the order and normalisation of the compiled kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import scipy
from numpy.typing import NDArray

from chaosphere.common import checks, ordered_sums
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Sharing
from chaosphere.kernels import expansions
from chaosphere.kernels import harmonics as kernel


def harmonics_below(degree: int, dim: int) -> int:
    """Return the number of harmonics of degree < `degree` in dimension `dim` >= 2."""
    if degree <= 0:
        return 0
    return math.comb(degree + dim - 2, dim - 1) + math.comb(degree + dim - 3, dim - 1) * (degree > 1)


def multiplicity(degree: int, dim: int) -> int:
    """Return dim(n, d), the number of harmonics of one degree."""
    return harmonics_below(degree + 1, dim) - harmonics_below(degree, dim)


def multiplicities(n_max: int, dim: int) -> Floats:
    """Return dim(0, d) … dim(n_max, d), each rounded to a float, shape (n_max + 1,)."""
    return np.array([float(multiplicity(degree, dim)) for degree in range(n_max + 1)])


def rounded_multiplicities(n_max: int, dim: int) -> Floats:
    """Return the same by products of floats: to 1e-15 for d <= 21, to 5e-13 for d <= 40. Faster for many degrees.

    The coefficients of kernels, and with them the fields of a seed, depend on these last bits.
    """
    n = np.arange(1, n_max + 1)
    return np.concatenate(([1.0], (2 * n + dim - 2) / n * scipy.special.binom(n + dim - 3, n - 1)))


def log_multiplicities(degrees: Floats, dim: int) -> Floats:
    """Return log dim(n, d) for degrees n >= 1, where dim(n, d) itself may overflow."""
    # dim(n, d) = (2n + d − 2) (n + d − 3)! / (n! (d − 2)!)
    gammaln = scipy.special.gammaln
    counts = np.log(2 * degrees + dim - 2) + gammaln(degrees + dim - 2) - gammaln(degrees + 1) - gammaln(dim - 1)
    return np.asarray(counts)


def per_harmonic(series: Floats, dim: int) -> Floats:
    """Return λ_l = c_l / dim(l, d) for a function Σ c_l P_l of ⟨x, y⟩, as in Funk–Hecke.

    For the uniform probability, ∫ f(⟨x, y⟩) Y(y) dy = λ_l Y(x) for harmonics Y of degree l. It is 0 where dim(l, d) is
    no float.
    """
    counts = [multiplicity(degree, dim) for degree in range(len(series))]
    return np.array([c / count if count < 2**1000 else 0.0 for c, count in zip(series, counts, strict=True)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HarmonicBasis:
    """The real spherical harmonics of degree <= n_max on S^{d−1}, orthonormal for the uniform probability.

    The squares of those of degree n sum to dim(n, d) at every point. They are ordered by degree; a longer basis starts
    with a shorter one.

    Parameters
    ----------
    dim : int
        d >= 2.
    n_max : int
        Largest degree, >= 0.

    Examples
    --------
    >>> basis = HarmonicBasis(dim=3, n_max=2)
    >>> basis.size
    9
    """

    dim: int
    n_max: int
    _steps: Floats = field(init=False, repr=False)
    _factors: Floats = field(init=False, repr=False)
    _orders: dict[int, NDArray[np.int64]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the recurrences."""
        steps, factors = self._recurrences()
        object.__setattr__(self, "_steps", steps)
        object.__setattr__(self, "_factors", factors)
        object.__setattr__(self, "_orders", {})

    @property
    def size(self) -> int:
        """Number K of harmonics."""
        return harmonics_below(self.n_max + 1, self.dim)

    @property
    def degrees(self) -> NDArray[np.int64]:
        """Degree of each harmonic, shape (K,)."""
        return np.repeat(np.arange(self.n_max + 1), [multiplicity(n, self.dim) for n in range(self.n_max + 1)])

    def combine(self, x: Tokens, coefficients: Floats, *, scale: float = 1.0, n_threads: int | None = None) -> Tokens:
        """Return scale · Σ_k coefficients[k] Y_k(x_i) for every token: a field on the sphere with values in R^d.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
        coefficients : ndarray of float64, shape (R, K, d) or (1, K, d)
        scale : float
        n_threads : int, optional

        Returns
        -------
        ndarray, shape (R, N, d)

        Notes
        -----
        About N K (d + 2) multiply-adds for d >= 3; memory O(N d): the (N, K) array of harmonics never exists. Bitwise
        identical for any number of threads.
        """
        arranged = self._arrange(coefficients).astype(x.dtype, copy=False)
        threads = checks.threads(n_threads)
        steps = self._steps.astype(x.dtype, copy=False)
        return kernel.harmonic_field(x, self.n_max, steps, arranged, scale, self.scratch_rows, threads)

    def moments(
        self,
        x: Tokens,
        p: Floats | None,
        *,
        n_threads: int | None = None,
        over: Sharing | None = None,
    ) -> Floats:
        """Return Σ_i p_i Y_k(x_i), d >= 3.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Projected onto the sphere first.
        p : ndarray of float64, shape (N,), or None for 1/N
        n_threads : int, optional
        over : Sharing, optional
            Who else owns tokens: x are those of this process, p the weights of all.

        Returns
        -------
        ndarray of float64, shape (R, K)

        Notes
        -----
        About N K multiply-adds in double precision; memory O(K). Bitwise identical for any number of threads.
        """
        n_tokens = ordered_sums.count(x, over)
        block = expansions.harmonic_block(n_tokens)
        mine, threads = ordered_sums.own(p, over), checks.threads(n_threads)
        parts = expansions.harmonic_moments(
            x, mine, self.n_max, self._steps, self.scratch_rows, self.size, block, threads
        )
        sums = ordered_sums.total(parts, over, block=block)
        if p is None:
            sums /= n_tokens
        out = np.empty((len(x), self.size))
        out[:, self.order(1)] = sums
        return self._factors * out

    def ratios(self, x: Tokens, a: Floats, *, n_threads: int | None = None) -> tuple[Tokens, Floats]:
        """Return a field with coefficients a (R, K, d + 1), d >= 3: its first d components over the last, and the last.

        With coefficients (R, K, 1) there is the last alone, and the first result is worth nothing.
        Parameters as in `moments`; double precision inside, the first result has the dtype of x.
        """
        arranged = self._arrange(a)
        threads = checks.threads(n_threads)
        return expansions.harmonic_field(x, arranged, self.n_max, self._steps, self.scratch_rows, threads)

    @property
    def steps(self) -> Floats:
        """The recurrences, as the kernels take them."""
        return self._steps

    @property
    def factors(self) -> Floats:
        """What makes the kernel's harmonics orthonormal, shape (K,)."""
        return self._factors

    @property
    def scratch_rows(self) -> int:
        """Rows of scratch that the kernels need."""
        below = harmonics_below(self.n_max + 1, max(2, self.dim - 1))
        return below * (2 if self.dim > 3 else 1) + self.n_max + 3

    def _arrange(self, coefficients: Floats) -> Floats:
        """Return coefficients (R, K, n) of the kernel's harmonics, in its order, flat."""
        scaled = self._factors[:, None] * coefficients
        return scaled.reshape(len(scaled), -1).take(self.order(scaled.shape[2]), axis=1)

    def _recurrences(self) -> tuple[Floats, Floats]:
        """Return the kernel's c_p for each dimension 3 … d and low degree l, and what makes its harmonics orthonormal.

        Gegenbauer polynomials for the weight (1 − t²)^{λ−1/2}, λ = l + (k − 2)/2, in dimension k: with leading
        coefficients 2^p they obey Q_p = 2t Q_{p−1} − c_p Q_{p−2}, c_p = 4a²_{p−1}, and Π 1/(2a_p) normalises them.
        """
        n = self.n_max + 1
        steps = np.zeros((max(self.dim - 2, 1), n, n))
        factors = np.full(harmonics_below(n, 2), math.sqrt(2.0), np.longdouble)
        factors[0] = 1
        p = np.arange(1, n, dtype=np.longdouble)
        for dim in range(3, self.dim + 1):
            below, factors = factors, np.empty(harmonics_below(n, dim), np.longdouble)
            start = np.longdouble(1)  # squared: ∫ (1 − t²)^{λ_0 − 1/2} / ∫ (1 − t²)^{λ − 1/2}
            for low in range(n):
                parameter = low + np.longdouble(dim - 2) / 2
                square = p * (p + 2 * parameter - 1) / ((p + parameter) * (p + parameter - 1))  # 4 a_p²
                steps[dim - 3, low, 2:] = square[: max(n - 2, 0)]
                scale = np.sqrt(start * np.concatenate([np.ones(1), np.cumprod(1 / square)]))
                first, count = harmonics_below(low, dim - 1), multiplicity(low, dim - 1)
                for degree in range(low, n):
                    rows = harmonics_below(degree, dim) + first + np.arange(count)
                    factors[rows] = below[first : first + count] * scale[degree - low]
                start *= (parameter + 1) / (parameter + 0.5)
        return steps.ravel(), factors.astype(np.float64)

    def order(self, n_components: int) -> NDArray[np.int64]:
        """Where the kernel's flat coefficients stand in an array (K, n_components)."""
        if n_components not in self._orders:
            self._orders[n_components] = self._kernel_order(n_components)
        return self._orders[n_components]

    def _kernel_order(self, n_components: int) -> NDArray[np.int64]:
        d, n = self.dim, self.n_max
        component = np.arange(n_components)
        if d == 2:
            return np.arange(n_components * self.size)
        parts = []
        for low in range(n + 1):
            first, count = harmonics_below(low, d - 1), multiplicity(low, d - 1)
            starts = np.array([harmonics_below(m, d) for m in range(low, n + 1)])
            rows = starts[None, :] + first + np.arange(count)[:, None]
            parts.append((rows[:, None, :] * n_components + component[None, :, None]).ravel())
        return np.concatenate(parts)
