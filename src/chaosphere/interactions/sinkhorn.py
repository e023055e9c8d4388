"""Doubly stochastic self-attention: the coefficients sum to 1 over the tokens that attend, and over those attended to.

More than half of this file is docstrings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chaosphere.common import checks, schedules
from chaosphere.common.arrays import PerReplica, of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.common.schedules import Schedule
from chaosphere.common.shape import Shape
from chaosphere.interactions import axisymmetric, call, energies, linear
from chaosphere.interactions.axisymmetric import AxisymmetricDrift, ExponentialKernel, SinkhornAxisymmetric
from chaosphere.interactions.circle import MAX_MODES, CircleDrift, SinkhornDrift
from chaosphere.interactions.differentiable import Differentiable
from chaosphere.interactions.kept_plan import KeepsPlan
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.interactions.scaled_sums import SinkhornPlan
from chaosphere.interactions.scheduled import MayChange
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.interactions.sphere import ExponentialFactors, SinkhornSphere, SphereDrift

_MAX_BETA = 1e10  # with it, tokens off the sphere by the tolerance change coefficients by a factor e^20
_MIN_TOLERANCE = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-6}
_SMALL_BETA = 1e-5  # below, two terms of the energy's series are nearer than quotients of rounded logarithms


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SinkhornResult(Brief):
    """One evaluation of doubly stochastic attention, from `SinkhornAttention.evaluate`.

    Parameters
    ----------
    value : ndarray
        The drift b(μ_x, x_i), shape and dtype of x.
    log_scaling : ndarray of float64, shape (N,) or (R, N)
        log a(x_i).
    residual : float, or ndarray of shape (R,)
        The largest |a(x_i) ∫ e^{β⟨x_i, y⟩} a(y) dμ(y) − 1| over the tokens of positive weight, as the sums are
        computed. For others it is 0: their a is given by the sum.
    n_iterations : int, or ndarray of int, shape (R,)
        How many times the sums were taken to find a.

    See Also
    --------
    chaosphere.SinkhornAttention : Doubly stochastic attention.
    chaosphere.SinkhornAttention.evaluate : Attention with its scaling and residual.

    Examples
    --------
    >>> import chaosphere as cs
    >>> x = cs.sample_uniform(500, 3, rng=0)
    >>> result = cs.SinkhornAttention(beta=2.0).evaluate(x)
    >>> result.value.shape, result.log_scaling.shape, result.residual <= 1e-12
    ((500, 3), (500,), True)
    """

    value: Tokens
    log_scaling: Floats
    residual: float | Floats
    n_iterations: int | NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SinkhornAttention(KeepsPlan, MayChange, Differentiable, checks.ByValue, Brief):
    """Self-attention with doubly stochastic coefficients; the sum includes the token itself.

    b(μ, x) = δ ∫ a(x) e^{β⟨x, y⟩} a(y) y dμ(y),  μ = Σ p_i δ_{x_i}   (arXiv:2110.11773, the Sinkformer)

    with the function a > 0 for which a(x) ∫ e^{β⟨x, y⟩} a(y) dμ(y) = 1 at every token x. The coefficients are
    symmetric, so that both the rows and the columns of their matrix sum to 1; in softmax attention only the rows do.

    Parameters
    ----------
    beta : float, sequence of float, or callable
        0 <= β <= 1e10; for float32 tokens β <= 8.4e4. One number for each step of the model, or a function of the time
        t, changes it over a run.
    value_scale : float, sequence of float, or callable
        δ: 1 attracts, 0 switches off, −1 repels. It may change over a run, too.
    tolerance : float
        In [1e-13, 0.1]: of |a(x) ∫ e^{β⟨x, y⟩} a(y) dμ(y) − 1| at every token of positive weight. At least 1e-6 for
        float32 tokens, whose sums are rounded by about 1e-7, and at least rtol for expansions: smaller ones count as
        this (`resolve` tells).
    method : {"auto", "direct", "fourier", "harmonic", "nufft"}
        How the sums are computed, as in `SoftmaxAttention`.
    rtol : float, optional
        Of expansions, as in `SoftmaxAttention`, whose default it has: sums are off by the fraction rtol/2, each token's
        own.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the method does not serve β.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.UnnormalizedAttention : Attention without the division by the partition sum.
    chaosphere.SinkhornResult : Attention with its scaling and residual.
    chaosphere.UnbalancedError : The tolerance was not reached.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.interactions.protocol.Interaction : What an interaction offers.

    Notes
    -----
    a is found by iterations, each of which takes the sums Σ_j p_j a_j e^{β⟨x_i, x_j⟩} once, without those of values.
    The iteration a ← √(a / ∫ e^{β⟨x, y⟩} a dμ) halves the error at least; here it is extrapolated (Anderson; see
    `chaosphere.interactions.balance`), so that 10 to 20 iterations do for a tolerance of 1e-12 where that one takes 30
    to 40 (bench `sinkhorn`). Then follows one evaluation of softmax attention with the weights p_j a_j, which is b.

    Errors: where sums and residuals make ε in all, log a is off by at most ε and b by at most 2 |δ| ε to first order,
    both as root mean squares over the tokens with weights p; ε = tolerance + rtol/2 for expansions.

    The iterations take about 25 numbers of memory for each token.

    Every evaluation starts from a = 1, whatever was computed before. The scaling of the step before would save one to
    four iterations of ten to twenty, but then results would depend on where a run was stopped and resumed. Results are
    bitwise identical for any number of threads and replicas. Several processes that share the tokens of a run, at least
    131 072 of them, and use expansions find a together, each at its own tokens; others find all of a, each for itself.

    Examples
    --------
    Tokens with equal cosines have equal sums, and the attention is softmax attention:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> x = np.eye(3)
    >>> bool(np.allclose(cs.SinkhornAttention(beta=2.0)(x), cs.SoftmaxAttention(beta=2.0)(x), rtol=0, atol=1e-12))
    True

    Others have not. Two of three tokens are close to each other, and the third attends to itself more than in softmax
    attention:

    >>> x = cs.normalize(np.array([[1.0, 0.1], [1.0, -0.1], [0.0, 1.0]]))
    >>> [attention(beta=2.0)(x)[2].round(3).tolist() for attention in (cs.SoftmaxAttention, cs.SinkhornAttention)]
    [[0.215, 0.788], [0.17, 0.832]]
    """

    beta: Schedule = 1.0
    value_scale: Schedule = 1.0
    tolerance: float = 1e-12
    method: str = "auto"
    rtol: float | None = None

    def __post_init__(self) -> None:
        """Check, and convert numbers to float."""
        self._convert()
        if self._scheduled():
            self._set_rest()
            return
        checks.numbers(self, "beta", low=0, high=_MAX_BETA)
        checks.numbers(self, "tolerance", low=_MIN_TOLERANCE[np.dtype(np.float64)], high=0.1)
        object.__setattr__(self, "rtol", self._softmax().rtol)

    @property
    def _beta(self) -> float:
        return schedules.constant(self.beta, "beta")

    @property
    def _value_scale(self) -> float:
        return schedules.constant(self.value_scale, "value_scale")

    def _softmax(self) -> SoftmaxAttention:
        return SoftmaxAttention(beta=self.beta, value_scale=self.value_scale, method=self.method, rtol=self.rtol)

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> SinkhornAttention:
        """Return this attention with method, rtol and tolerance for tokens of a number, dimension and dtype.

        Parameters
        ----------
        n_tokens : int
            N >= 1.
        dim : int
            d >= 2.
        dtype : dtype
            float64 or float32.

        Returns
        -------
        SinkhornAttention
            With a method other than "auto", and with an rtol unless that is "direct". Where β or δ change over time the
            tolerance alone is chosen: each value has choices of its own.

        Raises
        ------
        TypeError, ValueError
            If a size is no integer or too small, dtype is another, or the method does not serve this dimension or β.

        See Also
        --------
        chaosphere.UnnormalizedAttention.resolve : Unnormalised attention with its method chosen.
        chaosphere.SinkhornAttention.plan : Plan of the attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SinkhornAttention(beta=4.0)
        >>> [attention.resolve(n, 3).method for n in (100, 100_000)]
        ['direct', 'harmonic']
        >>> attention.resolve(100, 3, "float32").tolerance
        1e-06
        """
        chosen = self._softmax().resolve(n_tokens, dim, dtype)
        tolerance = max(self.tolerance, chosen.rtol or 0.0, _MIN_TOLERANCE[np.dtype(dtype)])
        return replace(self, method=chosen.method, rtol=chosen.rtol, tolerance=tolerance)

    def plan(self, shape: Shape, weights: Any = None) -> InteractionPlan:
        """Return the plan for tokens of one shape, as `Transformer` uses it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token.

        Returns
        -------
        InteractionPlan
            Its `drift` is the attention, without checks of the tokens.

        Raises
        ------
        ValueError
            If the method does not serve this shape, or β or δ is too large for its dtype.

        See Also
        --------
        chaosphere.SinkhornAttention.resolve : The attention with its method chosen.
        chaosphere.UnnormalizedAttention.plan : Plan of unnormalised attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=2)
        >>> attention = cs.SinkhornAttention(beta=2.0)
        >>> plan = attention.plan(Shape.of(x))
        >>> bool((plan.drift(x, n_threads=1) == attention(x)).all())
        True
        """
        return self._planned(lambda attention: attention._constant_plan(shape, weights))

    def _constant_plan(self, shape: Shape, weights: Floats | None) -> SinkhornPlan:
        """Return the plan for numbers β and δ; ValueError if they change over time."""
        numbers = {"beta": self._beta, "value_scale": self._value_scale}
        chosen = self.resolve(shape.n_tokens, shape.dim, shape.dtype)
        return SinkhornPlan(shape, weights, softmax=chosen._softmax(), tolerance=chosen.tolerance, **numbers)

    def __call__(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> Tokens:
        """Return b(μ_x, x_i) for every token.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            Default: all that OpenMP may use. Does not change a bit of the result.

        Returns
        -------
        ndarray
            Of the shape and dtype of x.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, or β is too large.
        UnbalancedError
            If the tolerance is not reached.

        See Also
        --------
        chaosphere.SinkhornAttention.evaluate : Attention with its scaling and residual.
        chaosphere.UnnormalizedAttention.__call__ : Unnormalised attention at every token.

        Examples
        --------
        With β = 0 it is the mean of all tokens:

        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(500, 3, rng=0)
        >>> y = cs.SinkhornAttention(beta=0.0)(x)
        >>> bool(abs(y - x.mean(axis=0)).max() < 1e-15)
        True
        """
        keeper = None if self._scheduled() else self
        return call.drift(self, x, weights=weights, n_threads=n_threads, keeper=keeper)

    def evaluate(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> SinkhornResult:
        """Return the attention with the scaling a, its residual, and the number of iterations.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            As in `__call__`.

        Returns
        -------
        SinkhornResult
            Attention, log a, residual and number of iterations.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, or β is too large.
        UnbalancedError
            If the tolerance is not reached.

        See Also
        --------
        chaosphere.SinkhornAttention.__call__ : Attention at every token.
        chaosphere.SinkhornAttention.energy : Energy whose gradient flow it is.
        chaosphere.SinkhornResult : Attention with its scaling and residual.

        Examples
        --------
        The rows and columns of the matrix of coefficients have sum 1:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(100, 3, rng=0)
        >>> result = cs.SinkhornAttention(beta=2.0).evaluate(x)
        >>> a = np.exp(result.log_scaling)
        >>> matrix = a[:, None] * np.exp(2.0 * x @ x.T) * a / 100
        >>> bool(abs(matrix.sum(axis=0) - 1).max() < 1e-11), bool(abs(matrix.sum(axis=1) - 1).max() < 1e-11)
        (True, True)
        """
        batch, threads = checks.tokens(x), checks.threads(n_threads)
        plan = self._constant_plan(Shape.of(batch), checks.weights(weights, batch.shape[1]))
        scaled = plan.evaluate(batch, n_threads=threads)
        return SinkhornResult(
            value=scaled.value if x.ndim == 3 else scaled.value[0],
            log_scaling=of_replicas(scaled.log_a - 0.5 * self._beta, x),
            residual=of_replicas(scaled.residual, x),
            n_iterations=of_replicas(scaled.n_iterations, x),
        )

    def energy(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> PerReplica:
        """Return the energy F = (1/β) Σ_i p_i log a(x_i), which is −½ at consensus, its least value.

        The attention with δ = 1 is its gradient flow: along it F changes by −δ Σ_i p_i |P b(x_i)|² per unit of time,
        with b the drift for δ = 1 and P the projection onto the tangent space at x_i (arXiv:2110.11773). For β = 0 it
        is the limit, −½ |Σ_i p_i x_i|².

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems. Computed in double precision.
        weights : array_like, shape (N,), optional
            p_i >= 0 with sum 1 (default 1/N).
        n_threads : int, optional
            As in `__call__`.

        Returns
        -------
        float, or ndarray of shape (R,)
            The energy of each system. At a distance ε of log a from its value it is off by ε²: the rounding of the sums
            is what is left, a few 1e-16/β. For β < 1e-5 it is −½ |m|² − (β/4) tr C², with m and C mean and covariance
            of the tokens, to β².

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, or β or δ change over a run:
            `at` gives the attention at a time.
        UnbalancedError
            If the tolerance is not reached.

        See Also
        --------
        chaosphere.SinkhornAttention.mobility : The factor δ.
        chaosphere.UnnormalizedAttention.energy : Energy of unnormalised attention.
        chaosphere.SinkhornAttention.evaluate : Attention with its scaling and residual.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> attention = cs.SinkhornAttention(beta=2.0)
        >>> round(attention.energy(np.tile([[0.0, 1.0]], (5, 1))), 12)
        -0.5
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> model = cs.Transformer(attention=attention, mlp=None, depth=10, horizon=1.0)
        >>> bool(attention.energy(cs.simulate(model, x, rng=0).final) < attention.energy(x))
        True
        """
        batch, threads = checks.tokens(x), checks.threads(n_threads)
        p = checks.weights(weights, batch.shape[1])
        batch = batch.astype(np.float64, copy=False)
        if self._beta < _SMALL_BETA:
            return of_replicas(energies.sinkhorn_series(batch, p, beta=self._beta), x)
        mean = self._constant_plan(Shape.of(batch), p).mean_log_scaling(batch, n_threads=threads)
        return of_replicas(mean / self._beta - 0.5, x)

    @property
    def mobility(self) -> float | None:
        """The factor δ: the drift is −δ times the Wasserstein gradient of `energy`.

        Where δ changes over a run it is None: `at` gives the attention at a time.

        See Also
        --------
        chaosphere.SinkhornAttention.energy : Energy whose gradient flow it is.
        chaosphere.MultiHeadAttention.mobility : The same of several heads.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.SinkhornAttention(beta=2.0, value_scale=-0.5).mobility
        -0.5
        """
        return self.value_scale if schedules.is_constant(self.value_scale) else None

    @property
    def consensus_rate(self) -> float | None:
        """Rate at which the distance of two tokens of a cluster falls by attention alone, δ.

        Where δ changes over a run it is None: `at` gives the attention at a time.

        See Also
        --------
        chaosphere.UnnormalizedAttention.consensus_rate : Rate of unnormalised attention.
        chaosphere.CovarianceKernel.critical_noise_scale : Strength of noise that balances attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.SinkhornAttention(beta=2.0, value_scale=0.5).consensus_rate
        0.5
        """
        return self.value_scale if schedules.is_constant(self.value_scale) else None

    def circle_drift(self, n_modes: int) -> CircleDrift:
        """Return the tangential drift of a density on the circle as a function of its Fourier modes.

        The scaling a is found at the points at which the drift is wanted, where the sums are products of Fourier modes,
        to the tolerance, as a root mean square over the density.

        Parameters
        ----------
        n_modes : int
            Modes K of the density, in [1, 2²⁴].

        Returns
        -------
        CircleDrift
            A function of modes (R, K + 1) and a number n of points that returns the drift at the angles 2πj/n, (R, n).

        Raises
        ------
        TypeError, ValueError
            If n_modes is no integer in this range, or where β or δ change over a run.

        See Also
        --------
        chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
        chaosphere.UnnormalizedAttention.circle_drift : The same of unnormalised attention.
        chaosphere.SinkhornAttention.linear_response : Response to a small harmonic.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> drift = cs.SinkhornAttention(beta=0.0).circle_drift(4)
        >>> modes = np.array([[1.0, 0.25, 0.0, 0.0, 0.0]])  # of the density 1 + cos(θ)/2
        >>> drift(modes, 4).round(3) + 0.0  # to the mean, which is at θ = 0
        array([[ 0.  , -0.25,  0.  ,  0.25]])
        """
        n_modes = checks.integer(n_modes, "n_modes", low=1, high=MAX_MODES)
        return SinkhornDrift(beta=self._beta, value_scale=self._value_scale, n_modes=n_modes, tolerance=self.tolerance)

    def axisymmetric_drift(self, cosines: ArrayLike, dim: int) -> AxisymmetricDrift:
        """Return the tangential drift of a measure that is symmetric about an axis, as a function of its masses.

        It is the gradient of a function Φ of the cosine u with the axis, here −(δ/β) log a.

        Parameters
        ----------
        cosines : array_like, shape (n,)
            Cosines u_1 … u_n of nodes with the axis, in [−1, 1].
        dim : int
            d, in [2, 64].

        Returns
        -------
        AxisymmetricDrift
            With masses p of shape (n,) at the nodes, >= 0 with sum 1: Φ by `potential(p)`, Φ′ by `slope(p)`, and the
            derivative of Φ in p by `derivative(p)`, each at the nodes; `energy(p)`, or None.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, or where β or δ change over a run.

        See Also
        --------
        chaosphere.phases.branch : Stationary states at all temperatures.
        chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
        chaosphere.SoftmaxAttention.axisymmetric_drift : The same of softmax attention.

        Examples
        --------
        With β = 0 the drift is to the mean, here of half of the mass at the pole and half at the equator:

        >>> import numpy as np
        >>> import chaosphere as cs
        >>> drift = cs.SinkhornAttention(beta=0.0).axisymmetric_drift([0.0, 1.0], 3)
        >>> drift.slope(np.array([0.5, 0.5])).round(3)
        array([0.5, 0.5])
        """
        u, dim = axisymmetric.nodes(cosines, dim)
        kernel = ExponentialKernel(u, beta=self._beta, dim=dim)
        return SinkhornAxisymmetric(kernel, value_scale=self._value_scale)

    def sphere_drift(self, n_modes: int) -> SphereDrift:
        """Return the tangential drift of a density on S² as a function of its modes in spherical harmonics.

        The scaling a is found at the points of the grid, to the tolerance, as a root mean square over the density.

        Parameters
        ----------
        n_modes : int
            Largest degree K of the modes of the density, in [1, 1024].

        Returns
        -------
        SphereDrift
            A function of modes and a `chaosphere.geometry.sphere_grid.SphereGrid` that returns the components of the
            drift along e_θ and e_φ at the points of the grid; its `max_speed` bounds the drift of any probability.

        Raises
        ------
        TypeError, ValueError
            If n_modes is no integer in this range, or where β or δ change over a run.

        See Also
        --------
        chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
        chaosphere.SoftmaxAttention.sphere_drift : The same of softmax attention.

        Examples
        --------
        A mean of unit vectors is no longer than 1:

        >>> import chaosphere as cs
        >>> cs.SinkhornAttention(beta=2.0, value_scale=0.5).sphere_drift(16).max_speed
        0.5
        """
        factors = ExponentialFactors(beta=self._beta, n_modes=n_modes)
        return SinkhornSphere(factors, value_scale=self._value_scale, tolerance=self.tolerance)

    def linear_response(self, degree: int, dim: int) -> float:
        """Return how the drift responds to a small harmonic Y of one degree: its tangential part is c ε ∇Y + O(ε²).

        It is that of the density 1 + εY with respect to the uniform law, with c = (δ/β) r/(1 + r),
        r = I_{l+ν}(β)/I_ν(β) and ν = d/2 − 1.

        Parameters
        ----------
        degree : int
            l, in [1, 100 000].
        dim : int
            d, in [2, 100 000].

        Returns
        -------
        float
            The factor c.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, β > 1e8, or where β or δ change over a run.

        See Also
        --------
        chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
        chaosphere.UnnormalizedAttention.linear_response : The same of unnormalised attention.
        chaosphere.SinkhornAttention.circle_drift : Drift of densities on the circle.

        Examples
        --------
        For large β it is half of the response of softmax attention:

        >>> import chaosphere as cs
        >>> softmax, sinkhorn = (a(beta=1e4).linear_response(1, 3) for a in (cs.SoftmaxAttention, cs.SinkhornAttention))
        >>> round(sinkhorn / softmax, 3)
        0.5
        """
        relative = linear.relative_response(degree, dim=dim, beta=self._beta)
        return self._value_scale * relative / (1 + self._beta * relative)
