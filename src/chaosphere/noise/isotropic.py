"""Isotropic noise of the general form E W(x)W(y)ᵀ = κ(u) I + η(u) y xᵀ, u = ⟨x, y⟩, in harmonics with values in R^d.

For a scalar harmonic Y of degree m on S^{d−1}, the fields x Y(x) and ∇Y(x) span two fields e₊Y and e₋Y, whose
components are scalar harmonics of degree m + 1 and m − 1. The fields whose components have degree n are the sum of e₊Y
for m = n − 1, of e₋Y for m = n + 1, and of tangential fields without divergence. A covariance of the form above has one
eigenvalue s_n on the last, and a 2 × 2 matrix M_m on the first two. It is a covariance iff all s_n are ≥ 0 and all M_m
positive semidefinite.

Let ⟨f⟩_m be the mean of f P_m over the cosine of two independent uniform points, and ℓ = m(m + d − 2). In the basis
x Y, ∇Y/√ℓ the matrix M_m has the diagonal (A, G) and √ℓ q beside it,

    A = ⟨uκ + u²η⟩_m,   G = ⟨uκ − (1 − u²)η⟩_m + (d − 2) q,   q = ⟨(1 − u²)(κ + uη) P_m′/P_m⟩_m/ℓ,

and s_n = ⟨κ⟩_n − ⟨(1 − u²)η P_n′/P_n⟩_n/(n(n + d − 2)) for d ≥ 3, or n = 1. All of them are sums of ⟨κ⟩ and ⟨η⟩ of
neighbouring degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats
from chaosphere.geometry.coordinates import linear_harmonics, raising_entries, weights_of_neighbours
from chaosphere.geometry.gegenbauer import project
from chaosphere.geometry.harmonics import HarmonicBasis, harmonics_below, multiplicity, per_harmonic
from chaosphere.noise.kernel import Kernel

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Modes:
    """Eigenvalues of κ(u) I + η(u) y xᵀ.

    Parameters
    ----------
    pairs : ndarray, shape (n_max + 2, 2, 2)
        M_m in the basis (e₊, e₋), m = 0 … n_max + 1; only what has components of degree <= n_max.
    solenoidal : ndarray, shape (n_max + 1,)
        s_n of the fields without divergence, n = 0 … n_max; 0 where there are none.
    error : ndarray, shape (n_max + 2,)
        Bound on the error of an eigenvalue of each degree.
    """

    pairs: Floats
    solenoidal: Floats
    error: Floats

    @classmethod
    def of(cls, kernel: Kernel, n_max: int) -> Modes:
        """Return the eigenvalues up to components of degree n_max."""
        d, n = kernel.dim, n_max + 4
        (kappa, kappa_error), (eta, eta_error) = (
            [per_harmonic(series, d) for series in project(function, n, dim=d)] for function in (kernel, kernel.eta)
        )
        up, down = weights_of_neighbours(n, d)

        def times_u(f: Floats) -> Floats:
            """Return the means of u f; the last one is wrong."""
            return np.asarray(up * np.append(f[1:], 0.0) + down * np.insert(f[:-1], 0, 0.0))

        def slope(f: Floats) -> Floats:
            """Return ⟨(1 − u²)f P_m′/P_m⟩_m/ℓ = (⟨f⟩_{m−1} − ⟨f⟩_{m+1})/(2m + d − 2), with 0 for m = 0."""
            m = np.arange(1, n)
            return np.concatenate(([0.0], (f[: n - 1] - f[2:]) / (2 * m + d - 2), [0.0]))

        length = np.arange(n + 1.0) * (np.arange(n + 1) + d - 2)
        q = slope(kappa + times_u(eta))
        radial = times_u(kappa + times_u(eta))
        gradient = times_u(kappa) - eta + times_u(times_u(eta)) + (d - 2) * q
        # e₊ = √α x Y − √β ∇Y/√ℓ and e₋ = √β x Y + √α ∇Y/√ℓ; √(αβℓ) = ℓ/(2m + d − 2).
        mixed = 2.0 * np.sqrt(up * down * length) * q
        off = np.sqrt(up * down) * (radial - gradient) + (up - down) * np.sqrt(length) * q
        plus, minus = up * radial - mixed + down * gradient, down * radial + mixed + up * gradient
        pairs = np.moveaxis(np.array([[plus, off], [off, minus]]), 2, 0)[: n_max + 2].copy()
        pairs[0, 1] = pairs[0, :, 1] = 0.0  # degree 0 has no gradient
        pairs[n_max:, 0] = pairs[n_max:, :, 0] = 0.0
        solenoidal = (kappa - slope(eta))[: n_max + 1]
        solenoidal[0] = 0.0
        if d == 2:
            solenoidal[2:] = 0.0
        error = np.pad(kappa_error + eta_error, 2, mode="edge")
        error = 4.0 * np.lib.stride_tricks.sliding_window_view(error, 5).max(axis=1)
        return cls(pairs=pairs, solenoidal=solenoidal, error=error[: n_max + 2])

    def check(self, dim: int) -> None:
        """Raise a ValueError for an eigenvalue that is negative beyond its error."""
        families = {
            "radial and gradient fields": np.linalg.eigvalsh(self.pairs)[:, 0],
            "divergence-free fields": self.solenoidal,
        }
        for family, values in families.items():
            bad = np.flatnonzero(values < -2.0 * self.error[: len(values)])
            if bad.size:
                raise ValueError(
                    f"kappa and eta: kappa(u) I + eta(u) y x^T is no covariance in dim = {dim}: eigenvalue "
                    f"{values[bad[0]]:.3e} on {family} of degree {bad[0]}, rule: >= 0"
                )

    def root(self, dim: int) -> tuple[Floats, Floats]:
        """Return the square roots of the M_m and the s_n; checked, and what cannot be told from 0 is 0."""
        self.check(dim)
        values, vectors = np.linalg.eigh(self.pairs)
        values = np.sqrt(np.where(values > 2.0 * self.error[:, None], values, 0.0))
        s = np.sqrt(np.where(self.solenoidal > 2.0 * self.error[:-1], self.solenoidal, 0.0))
        return np.einsum("mab,mb,mcb->mac", vectors, values, vectors), s


class Root:
    """The square root of the covariance, as a map of independent coefficients of scalar harmonics to those of W.

    Parameters
    ----------
    kernel : Kernel
    n_max : int
        Highest degree of the components of W.

    Notes
    -----
    It commutes with rotations, and for η = 0 multiplies each coefficient with its standard deviation. A sparse matrix
    takes coefficients (K, d) to those of e₊ and e₋ and back.
    """

    def __init__(self, kernel: Kernel, n_max: int) -> None:
        self.basis = HarmonicBasis(dim=kernel.dim, n_max=n_max)
        root, s = Modes.of(kernel, n_max).root(kernel.dim)
        # What e₊ and e₋ have beyond the s of all components of their degree.
        root[:n_max, 0, 0] -= s[1:]
        root[1:, 1, 1] -= s
        self.deviations, self.mixing = s[self.basis.degrees], root[_degrees(n_max + 1, kernel.dim)]
        self.raised, self.lowered = _isometries(n_max, kernel.dim)

    def __call__(self, normals: Floats) -> Floats:
        """Return coefficients of W, shape (R, K, d), from standard normals (R, K, d)."""
        flat = normals.reshape(len(normals), -1).T
        a, b = self.raised.T @ flat, self.lowered.T @ flat
        r = self.mixing[..., None]
        out = self.raised @ (r[:, 0, 0] * a + r[:, 0, 1] * b) + self.lowered @ (r[:, 1, 0] * a + r[:, 1, 1] * b)
        return np.asarray(self.deviations[:, None] * normals + out.T.reshape(normals.shape))


class MatrixRoot:
    """The same for components of degree 0 and 1, W(x) = A x + g: a random matrix A and a random vector g.

    The three parts of A that rotations do not mix have standard deviations of their own: the antisymmetric one, the
    trace, and the rest. No sparse matrix is needed, so that d may be in the thousands.
    """

    def __init__(self, kernel: Kernel) -> None:
        d = kernel.dim
        self.basis = HarmonicBasis(dim=d, n_max=1)
        root, s = Modes.of(kernel, 1).root(d)
        self.vector, self.rest, self.trace, self.antisymmetric = root[1, 1, 1], root[2, 1, 1], root[0, 0, 0], s[1]
        self.order = linear_harmonics(d)

    def __call__(self, normals: Floats) -> Floats:
        """Return coefficients of W, shape (R, K, d), from standard normals (R, K, d)."""
        out = self.vector * normals
        a = normals[:, self.order]
        transposed = a.swapaxes(1, 2)
        traces = np.trace(a, axis1=1, axis2=2)[:, None, None] / a.shape[1] * np.eye(a.shape[1])
        symmetric, antisymmetric = 0.5 * (a + transposed), 0.5 * (a - transposed)
        out[:, self.order] = self.rest * (symmetric - traces) + self.trace * traces + self.antisymmetric * antisymmetric
        return np.asarray(out)


def _degrees(n_max: int, dim: int) -> NDArray[np.int64]:
    return np.repeat(np.arange(n_max + 1), [multiplicity(n, dim) for n in range(n_max + 1)])


def _isometries(n_max: int, dim: int) -> tuple[csr_array, csr_array]:
    """Return e₊ and e₋ on harmonics of degree <= n_max + 1, shape (K d, J); columns without a field are 0."""
    from scipy import sparse

    n_rows, n_columns = (harmonics_below(n, dim) for n in (n_max + 1, n_max + 2))
    i, high, low, value = raising_entries(n_max + 1, dim)
    up, down = weights_of_neighbours(n_max + 1, dim)
    degrees = _degrees(n_max + 1, dim)
    shape, inside = (n_rows * dim, n_columns), high < n_rows
    raised = ((value / np.sqrt(up[degrees[low]]))[inside], ((high * dim + i)[inside], low[inside]))
    lowered = (value / np.sqrt(down[degrees[high]]), (low * dim + i, high))
    return sparse.csr_array(raised, shape=shape), sparse.csr_array(lowered, shape=shape)


@lru_cache(maxsize=8)
def root(kernel: Kernel, n_max: int) -> Root | MatrixRoot:
    """Return the square root of the covariance up to components of degree n_max."""
    return MatrixRoot(kernel) if n_max == 1 else Root(kernel, n_max)


def variances(kernel: Kernel, n_max: int) -> Floats:
    """Return the part of E|W|² = dκ(1) + η(1) that components of degree 0 … n_max have."""
    return project(lambda u: kernel.dim * kernel(u) + u * kernel.eta(u), n_max, dim=kernel.dim)[0]
