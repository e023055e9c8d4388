"""Gaussian noise fields with a given covariance: the limit of deep and wide random layers.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Draws, Stream
from chaosphere.geometry.harmonics import HarmonicBasis, harmonics_below, multiplicities
from chaosphere.noise import isotropic
from chaosphere.noise.covariance import CovarianceKernel
from chaosphere.noise.increments import Dense, Features, Linear, Spectral, normalized_sum
from chaosphere.noise.mlp import MLP
from chaosphere.noise.protocol import Increment

METHODS = ("auto", "spectral", "dense", "features")
_MAX_DEGREE = 2000
_MAX_HARMONICS = 20_000  # drawing d times that many normals costs about a millisecond each step
_MAX_VECTOR_HARMONICS = 100_000  # of one degree more, for kernels with η: their matrices take seconds to make there
_MIN_DIM_OF_MATRICES = 16  # a matrix is faster from here on than the recurrences of harmonics
_MAX_DENSE = 4_000  # rows of the covariance matrix; a factorisation takes about a second there
_MAX_DENSE_AUTO = 1_000


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
    chaosphere.noise.protocol.Increment : The noise over a time interval, as a function.

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
            raise TypeError(f"kernel must be a CovarianceKernel, got {messages.shown(self.kernel)}")
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
        chaosphere.noise.protocol.Increment : The noise over a time interval, as a function.
        chaosphere.common.streams.Noise.draws : Normals of a step.
        chaosphere.noise.protocol.Increment.__call__ : The noise at tokens.

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
                return Linear(coefficients=coefficients, scale=scale)
            return Spectral(basis=basis, coefficients=coefficients, scale=scale)
        if self.noise.method == "dense":
            normals = normalized_sum(parts, (self.n_tokens, self.dim))
            return Dense(kernel=self.noise.kernel, normals=normals, scale=scale)
        return Features(layer=self.layers.draw(parts), scale=self.noise.kernel.amplitude * scale)

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
def _basis(kernel: CovarianceKernel, n_max: int) -> tuple[HarmonicBasis, Floats]:
    basis = HarmonicBasis(dim=kernel.dim, n_max=n_max)
    return basis, np.sqrt(kernel.spectrum(n_max) / multiplicities(n_max, kernel.dim))[basis.degrees]
