"""Gaussian noise fields with a given covariance: the limit of deep and wide random layers.

About half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
import scipy

from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.pullback import NoDerivativeError, Pullback
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Draws, Stream
from chaosphere.geometry.coordinates import linear_harmonics, partial_derivatives
from chaosphere.geometry.harmonics import HarmonicBasis, harmonics_below, multiplicities
from chaosphere.noise import isotropic
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.mlp import MLP, MLPLayer

METHODS = ("auto", "spectral", "dense", "features")
_MAX_DEGREE = 2000
_MAX_HARMONICS = 20_000  # drawing d times that many normals costs about a millisecond each step
_MAX_VECTOR_HARMONICS = 100_000  # of one degree more, for kernels with η: their matrices take seconds to make there
_MIN_DIM_OF_MATRICES = 16  # a matrix is faster from here on than the recurrences of harmonics
_MAX_DENSE = 4_000  # rows of the covariance matrix; a factorisation takes about a second there
_MAX_DENSE_AUTO = 1_000
_MAX_JACOBIAN = 1_000_000  # numbers of derivatives that are kept for several directions
_NO_DERIVATIVE = (
    "field: method 'dense' draws the noise at the tokens alone, which has no derivative; take GaussianField(method="
    "'spectral' or 'features'), with a larger tolerance if need be"
)


class Increment(Protocol):
    """The noise over one time interval: a function of position, from `GaussianField.increment`.

    See Also
    --------
    chaosphere.noise.protocol.NoisePlan : A common noise for tokens of one shape.
    chaosphere.GaussianField : Gaussian noise with a given covariance.
    chaosphere.GaussianField.increment : The noise over a time interval.

    Examples
    --------
    The field is the same at all tokens and at the first two of them:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> from chaosphere.common.streams import Noise, Stream
    >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
    >>> draws = Noise(0).draws(Stream.BROWNIAN, 0)
    >>> increment = field.increment([draws], duration=0.1, n_tokens=5)
    >>> x = cs.sample_uniform(5, 3, rng=0, n_replicas=1)
    >>> np.allclose(increment(x)[:, :2], increment(x[:, :2]))
    True
    """

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return ΔW(x_i).

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        n_threads : int, optional
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Of the dtype of x.

        See Also
        --------
        chaosphere.GaussianField.increment : The noise over a time interval.
        chaosphere.noise.gaussian.Increment.jvp : Its derivative in a direction.
        """

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the derivative of ΔW at tokens, in a direction at each.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        tangent : ndarray, shape (R, N, d)
            Vectors of R^d, of the dtype of x.
        n_threads : int, optional
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Of the dtype of x. Across the sphere the derivative is that of a polynomial of the same values.

        Raises
        ------
        ValueError
            If the noise has no derivative, as a field that is drawn at the tokens alone.

        See Also
        --------
        chaosphere.noise.gaussian.Increment.vjp : The transpose of the derivative.
        chaosphere.noise.gaussian.Increment.__call__ : The noise at the tokens.
        """
        raise NoDerivativeError(f"{type(self).__name__} has no derivative: write its methods jvp and vjp")

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        """Return the gradient of Σ_i ⟨cotangent_i, ΔW(x_i)⟩.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        cotangent : ndarray, shape (R, N, d)
            Vectors of R^d, of the dtype of x.
        n_threads : int, optional
            Does not change a bit of the result.

        Returns
        -------
        Pullback
            In the tokens, and in their weights where the noise depends on the measure.

        Raises
        ------
        ValueError
            If the noise has no derivative, as a field that is drawn at the tokens alone.

        See Also
        --------
        chaosphere.noise.gaussian.Increment.jvp : The derivative in a direction.
        """
        raise NoDerivativeError(f"{type(self).__name__} has no derivative: write its methods jvp and vjp")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GaussianField(Brief):
    """A Brownian motion in time with values in the fields on the sphere: E[ΔW(x) ΔW(y)ᵀ] = κ(⟨x, y⟩) I Δt.

    A kernel with an η adds η(⟨x, y⟩) y xᵀ Δt to the covariance; see `CovarianceKernel.from_function`.
    Increments depend on (seed, time interval) alone; those over an interval are the sums of those over its parts.

    Parameters
    ----------
    kernel : CovarianceKernel
        The covariance, in the dimension of the tokens.
    method : {"auto", "spectral", "dense", "features"}
        spectral
            Karhunen–Loève expansion in spherical harmonics, exact in law up to the truncation: the variance left out is
            at most the share `tolerance`. A field: the same at every point set, so runs with other N or time steps are
            coupled. Cost O(N K d) with K harmonics; refused above 20 000, and with η where one degree more would make
            more than 100 000, unless the degree is 1. Where κ and uη are polynomials of degree n, the harmonics of
            degree <= n are enough: for κ(u) = u, η = 1 the field is W(x) = A x with a symmetric Gaussian matrix A.
        dense
            A pivoted Cholesky root of the N × N covariance matrix at the tokens: exact in law to 1e-13 in any
            dimension, with clusters and duplicates. Depends on the point set, so runs with other N or time steps are
            not coupled. O(N³), up to 4 000 tokens. LAPACK may change its last bits with the number of *its* threads.
            With η the matrix has N d rows: up to 4 000 / d tokens.
        features
            A finite random layer of width `width`: the covariance over draws is κ exactly, each increment is Gaussian
            only conditional on the layer's inner weights (the fourth moment is off by O(1/width)). A field, for any d
            and N, when the kernel comes from an activation (so never with η). O(N width d).
        auto
            spectral where it needs at most 20 000 harmonics; else dense up to 1 000 tokens (with η up to its limit);
            else features. `resolve` tells the choice, and a `Solution` records it.
    tolerance : float
        For spectral, in (0, 1).
    width : int
        For features, >= 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the method cannot serve this kernel.

    See Also
    --------
    chaosphere.RandomAttention : Attention whose heads are drawn anew for every layer.
    chaosphere.noise.protocol.CommonNoise : What a common noise offers.
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.MLP : Random layers of a network.
    chaosphere.CovarianceKernel : Covariance of the common noise.
    chaosphere.noise.gaussian.Increment : The noise over a time interval, as a function.

    Notes
    -----
    Equation: ΔW(x) = Σ_n √(c_n / dim(n, d)) Σ_j Y_{n,j}(x) ΔB^{n,j} for κ = Σ c_n P_n (arXiv:2604.26898, the
    noise of the limiting equation). With η the coefficients of neighbouring degrees depend on each other: the
    square root of the covariance, which commutes with rotations, takes independent ones to them.

    Examples
    --------
    >>> import chaosphere as cs
    >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
    >>> model = cs.LimitSDE(attention=None, field=field, horizon=1.0, n_steps=20)
    >>> cs.simulate(model, cs.sample_uniform(10, 3, rng=0), rng=0).final.shape
    (10, 3)
    """

    kernel: CovarianceKernel
    method: str = "auto"
    tolerance: float = 1e-6
    width: int = 4096

    def __post_init__(self) -> None:
        """Check, and convert numbers to int and float."""
        if not isinstance(self.kernel, CovarianceKernel):
            raise TypeError(f"kernel must be a CovarianceKernel, got {self.kernel!r}")
        checks.choice(self.method, "method", known=METHODS)
        checks.numbers(self, "tolerance", above=0, high=1)
        checks.integers(self, "width", low=1)
        if self.method == "features" and self.kernel.layer_law is None:
            raise ValueError("method='features' needs a kernel that comes from an activation")
        if self.method == "spectral" and self._n_max() is None:
            raise ValueError(
                f"method='spectral' would need more than {_MAX_HARMONICS} harmonics in dim {self.kernel.dim} for "
                f"tolerance={self.tolerance:g}; raise the tolerance, or use 'dense' or 'features'"
            )

    def resolve(self, n_tokens: int) -> GaussianField:
        """Return this field with the method chosen for n_tokens; itself unless the method is "auto".

        Parameters
        ----------
        n_tokens : int
            N >= 1.

        Returns
        -------
        GaussianField
            With a method other than "auto".

        Raises
        ------
        TypeError, ValueError
            If n_tokens is no integer >= 1, or no method serves so many tokens.

        See Also
        --------
        chaosphere.GaussianField.plan : What draws increments at a number of tokens.
        chaosphere.SoftmaxAttention.resolve : The attention with its method chosen.

        Examples
        --------
        >>> import chaosphere as cs
        >>> low, high = (cs.MLP(width=1, activation="tanh").kernel(dim) for dim in (3, 64))
        >>> cs.GaussianField(kernel=low).resolve(10_000).method
        'spectral'
        >>> [cs.GaussianField(kernel=high).resolve(n).method for n in (100, 10_000)]
        ['dense', 'features']
        """
        n_tokens = checks.integer(n_tokens, "n_tokens", low=1)
        if self.method != "auto":
            if self.method == "dense" and n_tokens > self._max_dense:
                raise ValueError(f"method='dense' takes up to {self._max_dense} tokens, got {n_tokens}")
            return self
        if self._n_max() is not None:
            return replace(self, method="spectral")
        if n_tokens <= (_MAX_DENSE_AUTO if self.kernel.layer_law is not None else self._max_dense):
            return replace(self, method="dense")
        if self.kernel.layer_law is None:
            raise ValueError(
                f"no method serves {n_tokens} tokens in dim {self.kernel.dim}: too many harmonics for "
                f"tolerance={self.tolerance:g}, too many tokens for a dense root, and no activation for features"
            )
        return replace(self, method="features")

    def plan(self, n_tokens: int) -> FieldPlan:
        """Return what draws increments at n_tokens tokens, with all that does not change from step to step.

        Parameters
        ----------
        n_tokens : int
            N >= 1.

        Returns
        -------
        FieldPlan
            Its `increment` makes the noise of a step.

        Raises
        ------
        TypeError, ValueError
            As `resolve`.

        See Also
        --------
        chaosphere.GaussianField.noise_plan : Plan for tokens of one shape.
        chaosphere.GaussianField.resolve : The field with its method chosen.
        chaosphere.GaussianField.increment : The noise over a time interval.

        Examples
        --------
        >>> import chaosphere as cs
        >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
        >>> plan = field.plan(100)
        >>> plan.noise.method, plan.is_local
        ('spectral', True)
        """
        return FieldPlan(self.resolve(n_tokens), n_tokens)

    @property
    def is_ito(self) -> bool:
        """Whether the noise depends on the measure of the tokens: it does not.

        Its Itô and its Stratonovich equation are one, so that any scheme may be taken.

        See Also
        --------
        chaosphere.RandomAttention.is_ito : That of random attention: it does.
        chaosphere.noise.protocol.CommonNoise.is_ito : That of any noise.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.GaussianField(kernel=cs.MLP(width=1).kernel(3)).is_ito
        False
        """
        return False

    def noise_plan(self, shape: Shape, weights: Floats | None = None) -> FieldPlan:
        """Return the plan for tokens of one shape, as `LimitSDE` uses it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, optional
            Not used: the field does not depend on the measure of the tokens.

        Returns
        -------
        FieldPlan
            Draws increments.

        Raises
        ------
        ValueError
            If the tokens have another dimension than the kernel.

        See Also
        --------
        chaosphere.GaussianField.plan : What draws increments at a number of tokens.
        chaosphere.RandomAttention.noise_plan : Plan of random attention.
        chaosphere.noise.protocol.CommonNoise.noise_plan : Plan of any noise.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
        >>> field.noise_plan(Shape(n_tokens=100, dim=3)).is_local
        True
        """
        if self.kernel.dim != shape.dim:
            raise ValueError(f"x must have dim {self.kernel.dim}, that of the field's kernel, got {shape.dim}")
        return self.plan(shape.n_tokens)

    def basis(self) -> tuple[HarmonicBasis, Floats]:
        """Return the harmonics of the spectral method and the standard deviation of each coefficient.

        Returns
        -------
        basis : HarmonicBasis
            K spherical harmonics.
        deviations : ndarray of float64, shape (K,)
            √(c_n / dim(n, d)), n the degree of the harmonic.

        Raises
        ------
        ValueError
            If there would be more than 20 000, or the kernel has an η, which makes the coefficients dependent.

        See Also
        --------
        chaosphere.CovarianceKernel.spectrum : Coefficients in Gegenbauer polynomials.

        Examples
        --------
        The field has the variance κ(1) up to what is left out, here at most 1e-3 of it:

        >>> import chaosphere as cs
        >>> kernel = cs.MLP(width=1, activation="tanh").kernel(3)
        >>> basis, deviations = cs.GaussianField(kernel=kernel, tolerance=1e-3).basis()
        >>> basis.size, float((deviations**2).sum() / kernel(1.0)) > 1 - 1e-3
        (16, True)
        """
        n_max = self._n_max()
        if n_max is None:
            raise ValueError(f"more than {_MAX_HARMONICS} harmonics for tolerance={self.tolerance:g}")
        if self.kernel.has_eta:
            raise ValueError("kernel: with eta the coefficients of the harmonics are not independent")
        return _basis(self.kernel, n_max)

    def increment(self, parts: Iterable[Draws], *, duration: float, n_tokens: int) -> Increment:
        """Return the noise over a time interval, the sum of that over its equal parts.

        Parameters
        ----------
        parts : iterable of Draws
            Item k draws the noise of the k-th part for every replica.
        duration : float
            Of the interval, all parts together.
        n_tokens : int
            For the choice of the method.

        Returns
        -------
        Increment
            A function of the tokens (R, N, d).

        See Also
        --------
        chaosphere.GaussianField.plan : What draws increments at a number of tokens.
        chaosphere.noise.gaussian.Increment : The noise over a time interval, as a function.
        chaosphere.common.streams.Noise.draws : Normals of a step.
        chaosphere.noise.gaussian.Increment.__call__ : The noise at tokens.

        Examples
        --------
        The noise of the first tenth of a run with seed 0, at five tokens:

        >>> import chaosphere as cs
        >>> from chaosphere.common.streams import Noise, Stream
        >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
        >>> draws = Noise(0).draws(Stream.BROWNIAN, 0)
        >>> increment = field.increment([draws], duration=0.1, n_tokens=5)
        >>> increment(cs.sample_uniform(5, 3, rng=0, n_replicas=1)).shape
        (1, 5, 3)
        """
        return self.plan(n_tokens).increment(parts, duration=duration)

    def _n_max(self) -> int | None:
        return _truncation(self.kernel, self.tolerance)

    @property
    def _max_dense(self) -> int:
        return _MAX_DENSE // self.kernel.dim if self.kernel.has_eta else _MAX_DENSE


class FieldPlan:
    """Increments of a field at a number of tokens.

    Parameters
    ----------
    field : GaussianField
        Resolved.
    n_tokens : int

    Attributes
    ----------
    is_local : bool
        Whether the noise at a token does not depend on the other tokens.
    """

    stream = Stream.BROWNIAN
    pairs = 0.0

    def __init__(self, field: GaussianField, n_tokens: int) -> None:
        self.noise = field
        self.n_tokens, self.dim = n_tokens, field.kernel.dim
        self.is_local = field.method != "dense"
        if field.method == "spectral":
            self.root = _spectral_root(field.kernel, field.tolerance)
        elif field.method == "features":
            assert field.kernel.layer_law is not None
            self.layers = MLP.of(field.kernel.layer_law, width=field.width).plan(self.dim)

    @property
    def degree(self) -> int | None:
        """Largest degree of the harmonics of an increment; None where it is no combination of them."""
        return self.root.basis.n_max if self.noise.method == "spectral" else None

    def n_normals(self, n_parts: int) -> int:
        """Return how many numbers, of one replica, the increment over n_parts intervals holds at once."""
        if self.noise.method == "spectral":
            return self.root.basis.size * self.dim
        if self.noise.method == "dense":
            n_rows = self.n_tokens * (self.dim if self.noise.kernel.has_eta else 1)
            return self.n_tokens * self.dim + 2 * n_rows**2  # with the covariance matrix and its root
        return n_parts * self.layers.n_normals

    def increment(self, parts: Iterable[Draws], *, duration: float) -> Increment:
        """Return the noise over a time interval; see `GaussianField.increment`."""
        scale = math.sqrt(duration)
        if self.noise.method == "spectral":
            basis = self.root.basis
            coefficients = self.root(normalized_sum(parts, (basis.size, self.dim)))
            if self.noise.kernel.has_eta and basis.n_max == 1 and self.dim >= _MIN_DIM_OF_MATRICES:
                return _Linear(coefficients=coefficients, scale=scale)
            return _Spectral(basis=basis, coefficients=coefficients, scale=scale)
        if self.noise.method == "dense":
            normals = normalized_sum(parts, (self.n_tokens, self.dim))
            return _Dense(kernel=self.noise.kernel, normals=normals, scale=scale)
        return _Features(layer=self.layers.draw(parts), scale=self.noise.kernel.amplitude * scale)

    def check_levels(self) -> None:
        """Raise ValueError unless the method is "spectral"; see `NoisePlan`."""
        if self.noise.method != "spectral":
            raise ValueError(
                f"field must be a GaussianField of method 'spectral', got {self.noise.method!r}: it has another law, "
                "or is not coupled, in other numbers of tokens and steps"
            )

    def distribute(self, partition: Any) -> FieldPlan:
        """Return the plan for the tokens that a process owns: itself; ValueError where all tokens are coupled."""
        if not self.is_local:
            raise ValueError("comm needs a field with method 'spectral' or 'features': 'dense' couples all tokens")
        return self


def _check_shape(x: Tokens, shape: tuple[int, int | None, int]) -> None:
    """Raise unless x (R, N, d) fits an increment's replicas (1 serves all), tokens (None for any number) and dim."""
    n_replicas, n_tokens, dim = shape
    sizes = [None if n_replicas == 1 else n_replicas, n_tokens, dim]
    if x.ndim != 3 or any(n not in (None, m) for n, m in zip(sizes, x.shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in sizes)
        raise ValueError(f"x must have shape ({wanted}), that of the noise, got {x.shape}")


class SpectralRoot(Protocol):
    """A square root of the covariance in harmonics."""

    basis: HarmonicBasis

    def __call__(self, normals: Floats) -> Floats:
        """Return coefficients of the field, shape (R, K, d), from standard normals (R, K, d)."""


def _spectral_root(kernel: CovarianceKernel, tolerance: float) -> SpectralRoot:
    n_max = _truncation(kernel, tolerance)
    assert n_max is not None
    return isotropic.root(kernel, n_max) if kernel.has_eta else _Independent(*_basis(kernel, n_max))


class _Independent(SpectralRoot):
    """The root of a kernel without η: a standard deviation for each harmonic."""

    def __init__(self, basis: HarmonicBasis, deviations: Floats) -> None:
        self.basis, self.deviations = basis, deviations

    def __call__(self, normals: Floats) -> Floats:
        return normals * self.deviations[:, None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Spectral(Increment):
    basis: HarmonicBasis
    coefficients: Floats
    scale: float

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        _check_shape(x, (len(self.coefficients), None, self.basis.dim))
        return self.basis.combine(x, self.coefficients, scale=self.scale, n_threads=n_threads)

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
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
class _Linear(Increment):
    """A field of degree 0 and 1, by its matrix; each token's sum has the order of the coordinates."""

    coefficients: Floats
    scale: float

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        mean, rows = self._affine(x)
        out = np.empty_like(x)
        out[...] = mean
        for i in range(x.shape[2]):
            out += x[:, :, i, None] * rows[:, None, i]
        return out

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        _, rows = self._affine(x)
        out = np.zeros_like(x)
        for i in range(x.shape[2]):
            out += tangent[:, :, i, None] * rows[:, None, i]
        return out

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
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
class _Dense(Increment):
    kernel: CovarianceKernel
    normals: Floats
    scale: float

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        _check_shape(x, self.normals.shape)
        out = np.empty_like(x)
        for replica in range(x.shape[0]):
            root = covariance_root(self.kernel, x[replica].astype(np.float64, copy=False))
            normals = self.normals[replica if len(self.normals) > 1 else 0]
            out[replica] = self.scale * (root @ normals.reshape(len(root), -1)).reshape(normals.shape)
        return out

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        raise NoDerivativeError(_NO_DERIVATIVE)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        raise NoDerivativeError(_NO_DERIVATIVE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Features(Increment):
    layer: MLPLayer
    scale: float

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        _check_shape(x, (len(self.layer.u), None, self.layer.u.shape[2]))
        return np.asarray(x.dtype.type(self.scale) * self.layer.values(x, n_threads=checks.threads(n_threads)))

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        return np.asarray(x.dtype.type(self.scale) * self.layer.jvp(x, tangent, n_threads=n_threads))

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
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


@lru_cache(maxsize=32)
def _truncation(kernel: CovarianceKernel, tolerance: float) -> int | None:
    """Return the smallest degree that leaves at most a share of the variance out; None above _MAX_HARMONICS."""
    d, n_max = kernel.dim, 0
    while n_max < _MAX_DEGREE and harmonics_below(n_max + 2, d) <= _MAX_HARMONICS:
        n_max += 1
    total, parts = kernel(1.0), kernel.spectrum(n_max)
    if kernel.has_eta:
        total, parts = d * total + kernel.eta(1.0), isotropic.variances(kernel, n_max)
    sufficient = np.flatnonzero(total - np.cumsum(parts) <= tolerance * total)
    if not sufficient.size:
        return None
    n_max = int(sufficient[0])
    is_small = not kernel.has_eta or n_max == 1 or harmonics_below(n_max + 2, d) <= _MAX_VECTOR_HARMONICS
    return n_max if is_small else None


@lru_cache(maxsize=8)
def _partial_derivatives(n_max: int, dim: int) -> list[Any]:
    return partial_derivatives(n_max, dim)


@lru_cache(maxsize=8)
def _basis(kernel: CovarianceKernel, n_max: int) -> tuple[HarmonicBasis, Floats]:
    basis = HarmonicBasis(dim=kernel.dim, n_max=n_max)
    return basis, np.sqrt(kernel.spectrum(n_max) / multiplicities(n_max, kernel.dim))[basis.degrees]
