"""Real spherical harmonics in any dimension, in the order and normalisation of the compiled kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from chaosphere import checks
from chaosphere.checks import Floats, Tokens
from chaosphere.kernels import harmonics as kernel


def harmonics_below(degree: int, dim: int) -> int:
    """Return the number of harmonics of degree < `degree` in dimension `dim` >= 2."""
    if degree <= 0:
        return 0
    return math.comb(degree + dim - 2, dim - 1) + math.comb(degree + dim - 3, dim - 1) * (degree > 1)


def multiplicity(degree: int, dim: int) -> int:
    """Return dim(n, d), the number of harmonics of one degree."""
    return harmonics_below(degree + 1, dim) - harmonics_below(degree, dim)


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
    _order: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the recurrences and the order of the coefficients."""
        object.__setattr__(self, "_steps", self._recurrences())
        object.__setattr__(self, "_order", self._kernel_order())

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
        About N K (d + 2) multiply-adds for d >= 3; memory O(N d): the (N, K) array of harmonics never exists. Same bits
        for any number of threads.
        """
        arranged = coefficients.reshape(len(coefficients), -1).take(self._order, axis=1).astype(x.dtype, copy=False)
        below = harmonics_below(self.n_max + 1, max(2, self.dim - 1))
        n_rows = below * (2 if self.dim > 3 else 1) + self.n_max + 2
        threads = checks.threads(n_threads)
        steps = self._steps.astype(x.dtype, copy=False)
        return kernel.harmonic_field(x, self.n_max, steps, arranged, scale, n_rows, threads)

    def _recurrences(self) -> Floats:
        """Pairs (start, 0), (α_1, β_1), …: orthonormal Gegenbauer polynomials for each dimension 3 … d and degree l."""
        n = self.n_max + 1
        steps = np.zeros((max(self.dim - 2, 1), n, n, 2))
        p = np.arange(1, n + 1, dtype=np.float64)
        for dim in range(3, self.dim + 1):
            for low in range(n):
                parameter = low + 0.5 * (dim - 2)  # λ: weight (1 − t²)^{λ − 1/2}
                a = 0.5 * np.sqrt(p * (p + 2 * parameter - 1) / ((p + parameter) * (p + parameter - 1)))
                steps[dim - 3, low, 0, 0] = math.exp(0.5 * (_log_mass(0.5 * (dim - 2)) - _log_mass(parameter)))
                steps[dim - 3, low, 1:, 0] = 1 / a[: n - 1]
                steps[dim - 3, low, 2:, 1] = a[: n - 2] / a[1 : n - 1]
        return steps.ravel()

    def _kernel_order(self) -> NDArray[np.int64]:
        """Where the kernel's flat coefficients stand in an array (K, d)."""
        d, n = self.dim, self.n_max
        component = np.arange(d)
        if d == 2:
            return np.arange(2 * self.size)
        parts = []
        for low in range(n + 1):
            first, count = harmonics_below(low, d - 1), multiplicity(low, d - 1)
            starts = np.array([harmonics_below(m, d) for m in range(low, n + 1)])
            rows = starts[None, :] + first + np.arange(count)[:, None]
            parts.append((rows[:, None, :] * d + component[None, :, None]).ravel())
        return np.concatenate(parts)


def _log_mass(parameter: float) -> Any:
    """Log of ∫ (1 − t²)^{λ − 1/2} dt over [−1, 1]."""
    return 0.5 * math.log(math.pi) + gammaln(parameter + 0.5) - gammaln(parameter + 1)
