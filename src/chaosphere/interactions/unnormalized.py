"""Unnormalised self-attention: softmax attention without the division by its partition sum.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common import checks, schedules
from chaosphere.common.arrays import PerReplica, of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.fields import added
from chaosphere.common.reprs import Brief
from chaosphere.common.schedules import Schedule
from chaosphere.common.shape import Shape
from chaosphere.geometry import sphere
from chaosphere.interactions import axisymmetric, call, causal, energies, growth, layered, linear
from chaosphere.interactions.attended import Attended
from chaosphere.interactions.axisymmetric import AxisymmetricDrift, ExponentialKernel, LinearAxisymmetric
from chaosphere.interactions.circle import MAX_MODES, CircleDrift, UnnormalizedDrift
from chaosphere.interactions.differentiable import Differentiable
from chaosphere.interactions.direct import DirectPlan
from chaosphere.interactions.fast_sums import FastSumsPlan
from chaosphere.interactions.growth import EnergyGrowth
from chaosphere.interactions.head import largest_value
from chaosphere.interactions.kept_plan import KeepsPlan
from chaosphere.interactions.protocol import InteractionPlan, Partition, Pullback
from chaosphere.interactions.scheduled import MayChange
from chaosphere.interactions.softmax import SoftmaxAttention, attending
from chaosphere.interactions.sphere import ExponentialFactors, SphereDrift, UnnormalizedSphere
from chaosphere.interactions.tangent import Maps, UnnormalizedTangent

_BLOCK = 8192  # tokens that stay in the cache while their coordinates are multiplied one by one
_MIN_BETA = 1e-17  # below, e^{βu} is 1 + βu to rounding, and E_β/β its limit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class UnnormalizedAttention(KeepsPlan, MayChange, Differentiable, checks.ByValue, Brief):
    """Self-attention without the division by the partition sum; the sum includes the token itself.

    b(μ, x) = δ ∫ e^{β⟨x, y⟩} y dμ(y),  μ = Σ p_i δ_{x_i}   (arXiv:2312.10794, the model USA)

    Parameters
    ----------
    beta : float, sequence of float, or callable
        β >= 0. One number for each step of the model, or a function of the time t, changes it over a run.
    value_scale : float, sequence of float, or callable
        δ: 1 attracts, 0 switches off, −1 repels. It may change over a run, too.
    rescaled : bool
        Take e^{β(⟨x, y⟩ − 1)} for e^{β⟨x, y⟩}: the same flow, slower by the factor e^β. Large β need it.
    mask : {None, "causal"}
        "causal": token i attends to the tokens j <= i alone, and the sum is divided by their weight, Σ p_j: it is the
        mean over the tokens up to each.
    decay : float
        λ in [0, 1e15], with the mask: p_j e^{−λ(i−j)/N} in place of p_j, in both sums.
    method : {"auto", "direct", "fourier", "harmonic", "nufft"}
        As in `SoftmaxAttention`.
    rtol : float, optional
        As in `SoftmaxAttention`, whose default it has: the drift of a token is off by at most 3/2 rtol |δ| Z, with Z
        its own partition sum.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the method does not serve β, or e^β or |δ| e^β, the largest possible drift,
        exceeds 1e100; for float32 tokens the limit is 3.4e30. With `rescaled` the largest possible drift is |δ|.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.PotentialInteraction : Drift along the gradient of any potential of the cosine.
    chaosphere.SinkhornAttention : Doubly stochastic attention.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.interactions.protocol.Interaction : What an interaction offers.
    chaosphere.phases.tricritical_beta : Where the order of the transition changes for unnormalised attention.

    Notes
    -----
    The drift is softmax attention times its partition sum, b = δ Z Attn, computed as both: cost, memory, and the choice
    of the method are those of `SoftmaxAttention`, with one more pass over the N d numbers of the result. Few tokens
    without weights or a mask (N <= 64, or 128 for d <= 128) take the sums by themselves. Bitwise identical for any
    number of threads.

    Examples
    --------
    Between two orthogonal tokens the sums are those of softmax attention before they are divided by (e^β + 1)/2:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> attention = cs.UnnormalizedAttention(beta=np.log(3))
    >>> attention(np.array([[1.0, 0.0], [0.0, 1.0]])).round(12)
    array([[1.5, 0.5],
           [0.5, 1.5]])
    """

    beta: Schedule = 1.0
    value_scale: Schedule = 1.0
    rescaled: bool = False
    mask: str | None = added(None)
    decay: float = added(0.0)
    method: str = "auto"
    rtol: float | None = None

    def __post_init__(self) -> None:
        """Check, and convert numbers to float."""
        self._convert()
        if self._scheduled():
            self._set_rest()
            return
        checks.flag(self.rescaled, "rescaled")
        object.__setattr__(self, "rescaled", bool(self.rescaled))
        softmax = self._softmax()
        object.__setattr__(self, "decay", softmax.decay)
        object.__setattr__(self, "rtol", softmax.rtol)
        self._check_size(np.float64)

    def _softmax(self) -> SoftmaxAttention:
        several: dict[str, Any] = {"mask": self.mask, "decay": self.decay, "method": self.method, "rtol": self.rtol}
        return SoftmaxAttention(beta=self.beta, value_scale=self.value_scale, **several)

    @property
    def _beta(self) -> float:
        return schedules.constant(self.beta, "beta")

    @property
    def _value_scale(self) -> float:
        return schedules.constant(self.value_scale, "value_scale")

    @property
    def _log_unit(self) -> float:
        """The logarithm of what the partition sums are divided by."""
        return self._beta if self.rescaled else 0.0

    @property
    def _scale(self) -> float:
        """The largest weight of a pair: e^β, or 1."""
        return math.exp(self._beta - self._log_unit)

    def _check_size(self, dtype: Any) -> None:
        """Raise ValueError where the largest possible drift has no place in a dtype."""
        limit = largest_value(dtype)
        if not self.rescaled and not self._beta + math.log(max(abs(self._value_scale), 1.0)) <= math.log(limit):
            raise ValueError(
                f"e^beta, and value_scale times it, must be <= {limit:.3g} in size for {np.dtype(dtype)} tokens, got "
                f"beta = {self._beta:.6g} and value_scale = {self._value_scale:.6g}; rescaled=True divides by e^beta"
            )

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> UnnormalizedAttention:
        """Return this attention with method and rtol chosen for tokens of a number, dimension and dtype.

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
        UnnormalizedAttention
            With a method other than "auto", and with an rtol unless that is "direct". Itself where β or δ change over
            time: each value has choices of its own.

        Raises
        ------
        TypeError, ValueError
            If a size is no integer or too small, dtype is another, or the method does not serve this dimension or β.

        See Also
        --------
        chaosphere.SoftmaxAttention.resolve : Softmax attention with its method chosen.
        chaosphere.PotentialInteraction.resolve : Drift along a potential with its method chosen.
        chaosphere.SinkhornAttention.resolve : Doubly stochastic attention with its method chosen.
        chaosphere.UnnormalizedAttention.plan : Plan of the attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.UnnormalizedAttention(beta=4.0)
        >>> [attention.resolve(n, 3).method for n in (100, 100_000)]
        ['direct', 'harmonic']
        """
        chosen = self._softmax().resolve(n_tokens, dim, dtype)
        return replace(self, method=chosen.method, rtol=chosen.rtol)

    def plan(self, shape: Shape, weights: Any = None) -> InteractionPlan:
        """Return the plan for tokens of one shape, as `Transformer` uses it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,) or (K, n), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token. Where `is_ordered`, also
            of K layers of n nodes, each with the sum 1, at the places (k − ½)/K of infinitely many tokens in order.

        Returns
        -------
        InteractionPlan
            Its `drift` is the attention, without checks of the tokens.

        Raises
        ------
        ValueError
            If the method does not serve this shape, the largest possible drift has no place in its dtype, or a decay
            leaves nothing of all that a token sees.

        See Also
        --------
        chaosphere.UnnormalizedAttention.resolve : The attention with its method chosen.
        chaosphere.SoftmaxAttention.plan : Plan of softmax attention.
        chaosphere.PotentialInteraction.plan : Plan of the drift along a potential.
        chaosphere.SinkhornAttention.plan : Plan of doubly stochastic attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=2)
        >>> attention = cs.UnnormalizedAttention(beta=2.0)
        >>> plan = attention.plan(Shape.of(x))
        >>> bool((plan.drift(x, n_threads=1) == attention(x)).all())
        True
        """
        return self._planned(lambda attention: attention._constant_plan(shape, weights))

    def _constant_plan(self, shape: Shape, weights: Floats | None) -> InteractionPlan:
        """Return the plan for numbers β and δ."""
        if weights is not None and weights.ndim == 2:
            return layered.plan(replace(self, mask=None, decay=0.0), shape, weights, decay=self.decay)
        self._check_size(shape.dtype)
        mass = decay = None
        if self.mask is not None:
            mass, decay = causal.prefix_mass(weights, shape.n_tokens, decay=self.decay), self.decay
        maps = Maps(shape.dim, beta=self._beta, value_scale=self._value_scale)
        tangent = UnnormalizedTangent(maps, weights, is_rescaled=self.rescaled, mass=mass, decay=decay)
        softmax = attending(self._softmax(), shape, weights)
        sums_scale = None
        if softmax.is_of_few and softmax.is_fused and mass is None and weights is None:
            sums_scale = self._value_scale * self._scale / shape.n_tokens
        return UnnormalizedPlan(softmax, tangent, log_unit=self._log_unit, mass=mass, sums_scale=sums_scale)

    def __call__(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> Tokens:
        """Return b(μ_x, x_i) for every token.

        Parameters
        ----------
        x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
            Tokens on the unit sphere; R independent systems. Any layout, never copied whole.
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

        See Also
        --------
        chaosphere.SoftmaxAttention.__call__ : Softmax attention at every token.
        chaosphere.PotentialInteraction.__call__ : Drift along a potential at every token.
        chaosphere.SinkhornAttention.__call__ : Doubly stochastic attention at every token.
        chaosphere.UnnormalizedAttention.energy : Energy whose gradient flow it is.

        Examples
        --------
        With β = 0 it is the mean of all tokens:

        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(500, 3, rng=0)
        >>> y = cs.UnnormalizedAttention(beta=0.0)(x)
        >>> bool(abs(y - x.mean(axis=0)).max() < 1e-15)
        True
        """
        keeper = None if self._scheduled() else self
        return call.drift(self, x, weights=weights, n_threads=n_threads, keeper=keeper)

    def energy(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> PerReplica:
        """Return the energy E_β/β = ½ Σ_ij p_i p_j (e^β − e^{β⟨x_i, x_j⟩})/β, zero exactly at consensus.

        The attention with δ = 1 is its gradient flow: along it the energy changes by −δ Σ_i p_i |P b(x_i)|² per unit of
        time, with b the drift for δ = 1 and P the projection onto the tangent space at x_i. With `rescaled` the energy
        is E_β/(β e^β). For β = 0 it is the limit, ½ Σ_ij p_i p_j (1 − ⟨x_i, x_j⟩).

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
        float, ndarray of shape (R,) or None
            The energy of each system, with the accuracy of `measures.energy`; None with a mask: no gradient flow then.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, or β changes over a run: `at`
            gives the attention at a time.

        See Also
        --------
        chaosphere.SoftmaxAttention.energy : Energy of softmax attention.
        chaosphere.UnnormalizedAttention.mobility : The factor δ.
        chaosphere.MultiHeadAttention.energy : Energy of several heads.
        chaosphere.PotentialInteraction.energy : Energy of a potential.
        chaosphere.SinkhornAttention.energy : Energy of doubly stochastic attention.
        chaosphere.measures.energy : Interaction energy of tokens.
        chaosphere.UnnormalizedAttention.__call__ : Attention at every token.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> attention = cs.UnnormalizedAttention(beta=2.0)
        >>> bool(attention.energy(x) == cs.measures.energy(x, beta=2.0) / 2.0)
        True
        """
        batch, threads = checks.tokens(x), checks.threads(n_threads)
        p = checks.weights(weights, batch.shape[1])
        if self.mask is not None:
            return None
        if self._beta < _MIN_BETA:
            return of_replicas(0.5 * energies.spread(batch, p), x)
        deficit = energies.pair_deficit(batch, p, beta=self._beta, n_threads=threads)
        return of_replicas(0.5 * self._scale * deficit / self._beta, x)

    def energy_growth(self, beta: float, *, dim: int | None = None) -> EnergyGrowth | None:
        """Return the least ε with dE_β/dt <= ε E_β for every measure, under attention alone.

        E_β is the energy of the synchronization theorem, `measures.energy`. Under noise as well, the mean energy grows
        at most at the rate ε + λ̄′(β), with λ̄′ from `CovarianceKernel.dissipation_rate`.

        Parameters
        ----------
        beta : float
            β >= 0 of the energy; 0 is the limit, the energy ¼ ∬ |x − y|².
        dim : int, optional
            d >= 2. The answer is that of every dimension.

        Returns
        -------
        EnergyGrowth or None
            0 for δ >= 0, and 2|δ|e^β for δ < 0, or 2|δ| if `rescaled`; exact. None where the energy has another β than
            the attention: nothing is known then.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, there is a mask, or β or δ change over a run: `at` gives the attention at a
            time.

        See Also
        --------
        chaosphere.SoftmaxAttention.energy_growth : The same of softmax attention, and how it is proved.
        chaosphere.MultiHeadAttention.energy_growth : The same of several heads.
        chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.
        chaosphere.interactions.growth.EnergyGrowth : The answer.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.UnnormalizedAttention(beta=2.0, value_scale=-0.3, rescaled=True)
        >>> answer = attention.energy_growth(2.0)
        >>> answer is not None and answer.growth
        0.6
        """
        beta = checks.number(beta, "beta", low=0)
        if dim is not None:
            checks.integer(dim, "dim", low=2)
        causal.need_no_mask(self, "the growth of the energy")
        value_scale = self._value_scale
        if not math.isclose(self._beta, beta, rel_tol=1e-12):
            return None
        return growth.of_repulsion(value_scale, scale=self._scale)

    @property
    def mobility(self) -> float | None:
        """The factor δ: the drift is −δ times the Wasserstein gradient of `energy`; None with a mask.

        Where δ changes over a run it is None, too: `at` gives the attention at a time.

        See Also
        --------
        chaosphere.UnnormalizedAttention.energy : Energy whose gradient flow it is.
        chaosphere.MultiHeadAttention.mobility : The same of several heads.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.UnnormalizedAttention(beta=2.0, value_scale=-0.5).mobility
        -0.5
        """
        return self.value_scale if self.mask is None and schedules.is_constant(self.value_scale) else None

    @property
    def consensus_rate(self) -> float | None:
        """Rate at which the distance of two tokens of a cluster falls by attention alone, δ e^β, or δ if `rescaled`.

        Where β or δ change over a run it is None: `at` gives the attention at a time.
        With a mask it is None, too: the tokens of a cluster then near the first at rates of their own.

        See Also
        --------
        chaosphere.SoftmaxAttention.consensus_rate : Rate of softmax attention.
        chaosphere.PotentialInteraction.consensus_rate : Rate of the drift along a potential.
        chaosphere.SinkhornAttention.consensus_rate : Rate of doubly stochastic attention.
        chaosphere.CovarianceKernel.critical_noise_scale : Strength of noise that balances attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.UnnormalizedAttention(beta=0.0, value_scale=0.5).consensus_rate
        0.5
        """
        return self._value_scale * self._scale if self.mask is None and not self._scheduled() else None

    @property
    def is_ordered(self) -> bool:
        """Whether the drift depends on the order of the tokens: with a mask it does.

        See Also
        --------
        chaosphere.SoftmaxAttention.is_ordered : Whether softmax attention has a mask.
        chaosphere.MultiHeadAttention.is_ordered : Whether a head has a mask.
        chaosphere.Transformer.is_ordered : Whether the attention of a network has a mask.
        chaosphere.LimitSDE.is_ordered : Whether the attention of the equation has a mask.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.UnnormalizedAttention(beta=1.0).is_ordered
        False
        """
        return self.mask is not None

    def circle_drift(self, n_modes: int) -> CircleDrift:
        """Return the tangential drift of a density on the circle as a function of its Fourier modes.

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
            If n_modes is no integer in this range, with a mask, or where β or δ change over a run.

        See Also
        --------
        chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
        chaosphere.SoftmaxAttention.circle_drift : The same of softmax attention.
        chaosphere.PotentialInteraction.circle_drift : The same of the drift along a potential.
        chaosphere.SinkhornAttention.circle_drift : The same of doubly stochastic attention.
        chaosphere.UnnormalizedAttention.linear_response : Response to a small harmonic.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> drift = cs.UnnormalizedAttention(beta=0.0).circle_drift(4)
        >>> modes = np.array([[1.0, 0.25, 0.0, 0.0, 0.0]])  # of the density 1 + cos(θ)/2
        >>> drift(modes, 4).round(3) + 0.0  # to the mean, which is at θ = 0
        array([[ 0.  , -0.25,  0.  ,  0.25]])
        """
        n_modes = checks.integer(n_modes, "n_modes", low=1, high=MAX_MODES)
        causal.need_no_mask(self, "the drift of a density")
        return UnnormalizedDrift(beta=self._beta, max_value=self._value_scale * self._scale, n_modes=n_modes)

    def axisymmetric_drift(self, cosines: ArrayLike, dim: int) -> AxisymmetricDrift:
        """Return the tangential drift of a measure that is symmetric about an axis, as a function of its masses.

        It is the gradient of a function Φ of the cosine u with the axis, here (δ/β) ∫ e^{β⟨x, y⟩} dμ(y),
        times e^{−β} if `rescaled`.

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
            If an argument is out of range, with a mask, or where β or δ change over a run.

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
        >>> drift = cs.UnnormalizedAttention(beta=0.0).axisymmetric_drift([0.0, 1.0], 3)
        >>> drift.slope(np.array([0.5, 0.5])).round(3)
        array([0.5, 0.5])
        """
        u, dim = axisymmetric.nodes(cosines, dim)
        causal.need_no_mask(self, "the drift of a density")
        kernel = ExponentialKernel(u, beta=self._beta, dim=dim)
        scale = self._value_scale * math.exp(kernel.log_unit - self._log_unit)
        max_speed = abs(self._value_scale) * self._scale
        return LinearAxisymmetric(
            scale * kernel.matrix,
            scale * kernel.slope,
            max_speed=max_speed,
            of_order=lambda order: scale * kernel.of_order(order),
        )

    def sphere_drift(self, n_modes: int) -> SphereDrift:
        """Return the tangential drift of a density on S² as a function of its modes in spherical harmonics.

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
            If n_modes is no integer in this range, with a mask, or where β or δ change over a run.

        See Also
        --------
        chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
        chaosphere.SoftmaxAttention.sphere_drift : The same of softmax attention.

        Examples
        --------
        One token pulls another with at most δ e^β:

        >>> import chaosphere as cs
        >>> round(cs.UnnormalizedAttention(beta=1.0).sphere_drift(16).max_speed, 6)
        2.718282
        """
        causal.need_no_mask(self, "the drift of a density")
        factors = ExponentialFactors(beta=self._beta, n_modes=n_modes)
        return UnnormalizedSphere(factors, max_value=self._value_scale * self._scale)

    def linear_response(self, degree: int, dim: int) -> float:
        """Return how the drift responds to a small harmonic Y of one degree: its tangential part is c ε ∇Y + O(ε²).

        It is that of the density 1 + εY with respect to the uniform law, with c = (δ/β) Γ(d/2) (2/β)^ν I_{l+ν}(β),
        ν = d/2 − 1, and the factor e^{−β} if `rescaled`.

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
            If an argument is out of range, β > 1e8, with a mask, or where β or δ change over a run.

        See Also
        --------
        chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
        chaosphere.SoftmaxAttention.linear_response : The same of softmax attention.
        chaosphere.PotentialInteraction.linear_response : The same of the drift along a potential.
        chaosphere.SinkhornAttention.linear_response : The same of doubly stochastic attention.
        chaosphere.UnnormalizedAttention.circle_drift : Drift of densities on the circle.

        Examples
        --------
        With β = 0 the drift is the mean of all tokens, here of the density 1 + ε x_1 on the sphere:

        >>> import chaosphere as cs
        >>> round(cs.UnnormalizedAttention(beta=0.0).linear_response(1, 3), 6)
        0.333333
        """
        causal.need_no_mask(self, "the linear response")
        relative = linear.relative_response(degree, dim=dim, beta=self._beta)
        return self._value_scale * self._scale * relative * linear.uniform_partition(self._beta, dim)


class UnnormalizedPlan(InteractionPlan):
    """Unnormalised attention for tokens of one shape: attention times its partition sums.

    Parameters
    ----------
    softmax : DirectPlan or FastSumsPlan
        With the values of the unnormalised one.
    tangent : UnnormalizedTangent
        Its derivative.
    log_unit : float
        The logarithm of what the partition sums are divided by.
    mass : ndarray of float64, shape (N,), optional
        What they are divided by besides, token by token.
    sums_scale : float, optional
        Of few tokens: what the sums Σ_j e^{β(⟨x_i, x_j⟩ − 1)} x_j are multiplied by. None: means are multiplied by
        partition sums.
    """

    def __init__(
        self,
        softmax: DirectPlan | FastSumsPlan,
        tangent: UnnormalizedTangent,
        *,
        log_unit: float,
        mass: Floats | None = None,
        sums_scale: float | None = None,
    ) -> None:
        self.tangent, self.sums_scale = tangent, sums_scale
        self.max_fused_steps = 1 if sums_scale is None else softmax.max_fused_steps
        self.softmax, self.log_unit, self.mass, self.pairs = softmax, log_unit, mass, softmax.pairs
        self.is_ordered, self.n_fixed, self.block = softmax.is_ordered, softmax.n_fixed, softmax.block

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the attention; see `InteractionPlan`."""
        if self.sums_scale is not None:
            sums: Tokens = self._sums_of_few(x, n_threads=n_threads)[0]
            return sums
        return self._times_sums(self.softmax.attend(x, n_threads=n_threads), slice(None))

    def move(self, x: Tokens, step_size: float, *, n_threads: int, n_steps: int = 1) -> Tokens:
        """Return LN(x + τ b(μ_x, x)), n_steps times over, those of few tokens in one call; see `InteractionPlan`."""
        if self.sums_scale is None:
            return super().move(x, step_size, n_threads=n_threads, n_steps=n_steps)
        several = {"step": step_size, "n_steps": n_steps}
        return sphere.raise_if_degenerate(*self._sums_of_few(x, n_threads=n_threads, **several))

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative of the exact sums, over all pairs; see `InteractionPlan`."""
        return self.tangent.jvp(x, tangent, n_threads=n_threads)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients of the exact sums, over all pairs; see `InteractionPlan`."""
        drift = None if self.mass is None else self.drift(x, n_threads=n_threads)
        return self.tangent.vjp(x, cotangent, drift=drift, n_threads=n_threads)

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return some rows of the attention at their share of the work; see `InteractionPlan`."""
        if self.sums_scale is not None:
            return np.ascontiguousarray(self.drift(x, n_threads=n_threads)[:, first:stop])
        attended = self.softmax.attend_part(x, first=first, stop=stop, n_threads=n_threads)
        return self._times_sums(attended, slice(first, stop))

    def shared_drift(self, x: Tokens, partition: Partition, *, n_threads: int) -> Tokens:
        """Return the attention of the tokens that this process owns; see `InteractionPlan`."""
        if self.sums_scale is not None:
            return super().shared_drift(x, partition, n_threads=n_threads)
        attended = self.softmax.attend_own(x, partition, n_threads=n_threads)
        return self._times_sums(attended, slice(partition.first, partition.stop))

    def _sums_of_few(self, x: Tokens, *, n_threads: int, **several: Any) -> tuple[Any, Any]:
        few: Any = self.softmax  # the direct one
        out, rest = few.attend_few(x, n_threads=n_threads, value_scale=self.sums_scale, is_mean=False, **several)
        return out, rest

    def _times_sums(self, attended: Attended, rows_of: slice) -> Tokens:
        drift, weights = np.ascontiguousarray(attended.mean), attended.over(self.log_unit)
        if self.mass is not None:
            weights /= self.mass[rows_of]
        rows, sums = drift.reshape(-1, drift.shape[-1]), weights.ravel()
        for first in range(0, len(rows), _BLOCK):
            block, factors = rows[first : first + _BLOCK], sums[first : first + _BLOCK]
            # NumPy's loops run over the last axis: columns where it is short.
            parts = [(column, factors) for column in block.T] if len(block.T) < 8 else [(block, factors[:, None])]
            for part, factor in parts:
                np.multiply(part, factor, out=part, casting="same_kind")
        return drift
