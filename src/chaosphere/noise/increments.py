"""A Gaussian field over one time interval, as a function of position: by harmonics, a matrix, a root or a layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import scipy

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.pullback import NoDerivativeError, Pullback
from chaosphere.common.streams import Draws
from chaosphere.geometry.coordinates import linear_harmonics, partial_derivatives
from chaosphere.geometry.harmonics import HarmonicBasis
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.mlp import MLPLayer
from chaosphere.noise.protocol import Increment

_MAX_JACOBIAN = 1_000_000  # numbers of derivatives that are kept for several directions
_NO_DERIVATIVE = (
    "field: method 'dense' draws the noise at the tokens alone, which has no derivative; take GaussianField(method="
    "'spectral' or 'features'), with a larger tolerance if need be"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectral(Increment):
    """A field by its coefficients in harmonics."""

    basis: HarmonicBasis
    coefficients: Floats
    scale: float

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the noise at tokens; see `Increment`."""
        _check_shape(x, (len(self.coefficients), None, self.basis.dim))
        return self.basis.combine(x, self.coefficients, scale=self.scale, n_threads=n_threads)

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the derivative in a direction; see `Increment`."""
        return _along(self._partials(x, n_threads=n_threads), tangent)

    def linearized(self, x: Tokens, *, n_threads: int) -> Callable[[Tokens], Tokens]:
        """Return `jvp` at tokens as a function of the tangent, with ∂_i of the field kept from the first on."""
        if x.size * x.shape[2] > _MAX_JACOBIAN:
            return partial(self.jvp, x, n_threads=n_threads)
        kept: list[Tokens] = []

        def derivative(tangent: Tokens) -> Tokens:
            if not kept:
                kept.extend(self._partials(x, n_threads=n_threads))
            return _along(kept, tangent)

        return derivative

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        """Return the gradient in the tokens; see `Increment`."""
        parts = [np.einsum("rik,rik->ri", cotangent, p) for p in self._partials(x, n_threads=n_threads)]
        return Pullback(tokens=np.stack(parts, axis=2))

    def _partials(self, x: Tokens, *, n_threads: int | None) -> Iterator[Tokens]:
        """Yield ∂_i of the field, (R, N, d), for i = 1, …, d."""
        _check_shape(x, (len(self.coefficients), None, self.basis.dim))
        n_replicas, size, dim = self.coefficients.shape
        columns = self.coefficients.swapaxes(0, 1).reshape(size, -1)
        for matrix in _partial_derivatives(self.basis.n_max, dim):
            coefficients = (matrix @ columns).reshape(size, n_replicas, dim).swapaxes(0, 1)
            yield self.basis.combine(x, coefficients, scale=self.scale, n_threads=n_threads)


def _along(partials: Iterable[Tokens], tangent: Tokens) -> Tokens:
    """Return Σ_i t_i ∂_i."""
    total = np.zeros_like(tangent)
    for i, one in enumerate(partials):
        total += tangent[:, :, i, None] * one
    return total


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear(Increment):
    """A field of degree 0 and 1, by its matrix; each token's sum has the order of the coordinates."""

    coefficients: Floats
    scale: float

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the noise at tokens; see `Increment`."""
        mean, rows = self._affine(x)
        out = np.empty_like(x)
        out[...] = mean
        for i in range(x.shape[2]):
            out += x[:, :, i, None] * rows[:, None, i]
        return out

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the derivative in a direction; see `Increment`."""
        _, rows = self._affine(x)
        out = np.zeros_like(x)
        for i in range(x.shape[2]):
            out += tangent[:, :, i, None] * rows[:, None, i]
        return out

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        """Return the gradient in the tokens; see `Increment`."""
        _, rows = self._affine(x)
        out = np.zeros_like(x)
        for k in range(x.shape[2]):
            out += cotangent[:, :, k, None] * rows[:, None, :, k]
        return Pullback(tokens=out)

    def _affine(self, x: Tokens) -> tuple[Tokens, Tokens]:
        """Return the mean (R, 1, d) and the rows (R, d, d) that the coordinates multiply."""
        n_replicas, _, d = self.coefficients.shape
        _check_shape(x, (n_replicas, None, d))
        scaled = (self.scale * self.coefficients).astype(x.dtype, copy=False)
        return scaled[:, :1], x.dtype.type(math.sqrt(d)) * scaled[:, linear_harmonics(d)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dense(Increment):
    """A field at the tokens alone, by a root of their covariance matrix."""

    kernel: CovarianceKernel
    normals: Floats
    scale: float

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the noise at tokens; see `Increment`."""
        _check_shape(x, self.normals.shape)
        out = np.empty_like(x)
        for replica in range(x.shape[0]):
            root = covariance_root(self.kernel, x[replica].astype(np.float64, copy=False))
            normals = self.normals[replica if len(self.normals) > 1 else 0]
            out[replica] = self.scale * (root @ normals.reshape(len(root), -1)).reshape(normals.shape)
        return out

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the derivative in a direction; see `Increment`."""
        raise NoDerivativeError(_NO_DERIVATIVE)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        """Return the gradient in the tokens; see `Increment`."""
        raise NoDerivativeError(_NO_DERIVATIVE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features(Increment):
    """A random layer in place of a field."""

    layer: MLPLayer
    scale: float

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the noise at tokens; see `Increment`."""
        _check_shape(x, (len(self.layer.u), None, self.layer.u.shape[2]))
        return np.asarray(x.dtype.type(self.scale) * self.layer.values(x, n_threads=checks.threads(n_threads)))

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the derivative in a direction; see `Increment`."""
        return np.asarray(x.dtype.type(self.scale) * self.layer.jvp(x, tangent, n_threads=n_threads))

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        """Return the gradient in the tokens; see `Increment`."""
        return self.layer.vjp(x, x.dtype.type(self.scale) * cotangent, n_threads=n_threads)


def normalized_sum(parts: Iterable[Draws], shape: tuple[int, ...]) -> Floats:
    """Return r^{-1/2} times the sum of r parts' standard normals, again standard: shape (R, *shape)."""
    total, count = np.zeros(shape), 0
    for draws in parts:
        total = total + draws.normals(shape)[0]
        count += 1
    return np.asarray(total / math.sqrt(count))


def normalized_rows(parts: Iterable[Draws], rows: tuple[int, int], *, dim: int) -> Floats:
    """Return those rows first … stop − 1 of `normalized_sum` for tokens (N, dim): shape (R, stop − first, dim)."""
    size = (rows[1] - rows[0]) * dim
    total, count = np.zeros(size), 0
    for draws in parts:
        total = total + draws.part(rows[0] * dim, size=size)
        count += 1
    sums = np.asarray(total / math.sqrt(count))
    return sums.reshape(len(sums), rows[1] - rows[0], dim)


def covariance_matrix(kernel: CovarianceKernel, x: Floats) -> Floats:
    """Return κ(⟨x_i, x_j⟩), shape (N, N); with η all κ I + η x_j x_iᵀ, shape (N d, N d)."""
    u = np.clip(x @ x.T, -1, 1)
    kappa = np.asarray(kernel(u))
    if not kernel.has_eta:
        return kappa
    blocks = np.einsum("ij,ja,ib->iajb", kernel.eta(u), x, x)
    for a in range(x.shape[1]):
        blocks[:, a, :, a] += kappa
    return np.asarray(blocks.reshape(x.size, x.size))


def covariance_root(kernel: CovarianceKernel, x: Floats) -> Floats:
    """Return a root A with A Aᵀ = `covariance_matrix` to about 1e-13 of its largest entry, by pivoted Cholesky.

    Singular matrices are no trouble.
    """
    matrix = covariance_matrix(kernel, x)
    tolerance = 1e-14 * (kernel(1.0) + abs(kernel.eta(1.0))) * len(matrix)
    factor, pivots, rank, _ = scipy.linalg.lapack.dpstrf(matrix, tol=tolerance, lower=1)
    lower = np.tril(factor)
    lower[:, rank:] = 0
    root = np.empty_like(lower)
    root[pivots - 1] = lower
    return np.asarray(root)


def _check_shape(x: Tokens, shape: tuple[int, int | None, int]) -> None:
    """Raise unless x (R, N, d) fits an increment's replicas (1 serves all), tokens (None for any number) and dim."""
    n_replicas, n_tokens, dim = shape
    sizes = [None if n_replicas == 1 else n_replicas, n_tokens, dim]
    if x.ndim != 3 or any(n not in (None, m) for n, m in zip(sizes, x.shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in sizes)
        raise ValueError(f"x must have shape ({wanted}), that of the noise, got {x.shape}")


@lru_cache(maxsize=8)
def _partial_derivatives(n_max: int, dim: int) -> list[Any]:
    return partial_derivatives(n_max, dim)
