"""Several interactions at once, as the heads of multi-head attention.

More than half of this file is docstrings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common import checks
from chaosphere.common.arrays import PerReplica
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.interactions import call, growth, layered
from chaosphere.interactions.axisymmetric import AxisymmetricDrift, CombinedAxisymmetric
from chaosphere.interactions.circle import CircleDrift, Modes
from chaosphere.interactions.differentiable import Differentiable
from chaosphere.interactions.growth import EnergyGrowth
from chaosphere.interactions.protocol import (
    Interaction,
    InteractionPlan,
    Pullback,
    check_interaction,
    check_schedule,
    consensus_rate_of,
    drift_of,
    growth_of,
    interaction_at,
    is_ordered_of,
    mobility_of,
    offered,
    plan_of,
)
from chaosphere.interactions.sphere import CombinedSphere, SphereDrift

COMBINE = ("mean", "sum")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MultiHeadAttention(Differentiable, Brief):
    """The mean or the sum of several interactions, the heads.

    Parameters
    ----------
    heads : sequence of interactions
        At least one: each a `SoftmaxAttention` with its own Q, K and V, or any other interaction.
    combine : {"mean", "sum"}
        How the drifts of the heads are combined.

    Raises
    ------
    TypeError, ValueError
        If there is no head, one is no interaction, or `combine` is unknown.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention, a head.
    chaosphere.CustomInteraction : An interaction by a function of your own.
    chaosphere.Transformer.from_layers : The layers of a model, one after the other.

    Notes
    -----
    The heads are evaluated one after the other: the time is the sum of theirs. The mean of equal heads is bitwise that
    of one. Results are bitwise identical for any number of threads.

    Examples
    --------
    A transformer of two heads with matrices of their own:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> q, k, v = np.random.default_rng(0).standard_normal((3, 2, 4, 4)) / 2
    >>> heads = [cs.SoftmaxAttention(query=q[h], key=k[h], value=v[h]) for h in range(2)]
    >>> attention = cs.MultiHeadAttention(heads=heads)
    >>> x = cs.sample_uniform(50, 4, rng=0)
    >>> bool(abs(attention(x) - (heads[0](x) + heads[1](x)) / 2).max() < 1e-15)
    True
    """

    heads: Sequence[Interaction]
    combine: str = "mean"

    def __post_init__(self) -> None:
        """Check."""
        checks.choice(self.combine, "combine", known=COMBINE)
        if not isinstance(self.heads, list | tuple):
            raise TypeError(f"heads must be a list or tuple of interactions, got {type(self.heads).__name__}")
        if not self.heads:
            raise ValueError("heads must hold at least one interaction")
        for number, head in enumerate(self.heads):
            if head is None:
                raise TypeError(f"heads[{number}] must be a SoftmaxAttention or another interaction, got None")
            check_interaction(head, f"heads[{number}]")
        object.__setattr__(self, "heads", tuple(self.heads))

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> MultiHeadAttention:
        """Return this interaction with the choices of its heads made.

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
        MultiHeadAttention
            With resolved heads.

        Raises
        ------
        TypeError, ValueError
            If a head does not serve this size.

        See Also
        --------
        chaosphere.interactions.protocol.Interaction.resolve : An interaction with its choices made.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(beta=4.0)])
        >>> attention.resolve(100_000, 3)
        MultiHeadAttention(heads=(SoftmaxAttention(beta=4.0, method='harmonic', rtol=1.5e-12),))
        """
        return replace(self, heads=tuple(head.resolve(n_tokens, dim, dtype) for head in self.heads))

    def plan(self, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
        """Return the plan for tokens of one shape.

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
            Has the plans of the heads.

        Raises
        ------
        TypeError, ValueError
            If a head does not serve this shape.

        See Also
        --------
        chaosphere.interactions.protocol.Interaction.plan : Plan of any interaction.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> heads = [cs.SoftmaxAttention(beta=1.0), cs.SoftmaxAttention(beta=2.0)]
        >>> cs.MultiHeadAttention(heads=heads).plan(Shape(n_tokens=10, dim=3)).pairs
        200.0
        """
        unordered = layered.of_all(weights)
        plans = [plan_of(head, shape, weights if is_ordered_of(head) else unordered) for head in self.heads]
        return _MultiHeadPlan(plans, is_mean=self._is_mean)

    def __call__(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> Tokens:
        """Return the drift of every token.

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
            If an argument breaks a rule above, or a head does not serve this shape.

        See Also
        --------
        chaosphere.SoftmaxAttention.__call__ : Softmax attention of every token.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> head = cs.SoftmaxAttention(beta=2.0)
        >>> bool((cs.MultiHeadAttention(heads=[head] * 3)(x) == head(x)).all())
        True
        """
        return call.drift(self, x, weights=weights, n_threads=n_threads)

    def energy(self, x: Tokens, weights: Any = None, *, n_threads: int | None = None) -> PerReplica | None:
        """Return the energy that the heads lower together, the mean or the sum of δ_h E_h.

        E_h is the energy of a head and δ_h its `mobility`. Along the flow the energy changes by −Σ_i p_i |P b(x_i)|²
        per unit of time, with b the drift and P the projection onto the tangent space at x_i.

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
            The energy of each system; None unless each head has a mobility. Softmax attention has none: its flow is a
            gradient flow with weights of its own. Heads whose δ changes over a run have none, too: `at` gives them at a
            time.

        Raises
        ------
        TypeError, ValueError
            If x is not made of tokens on the unit sphere, the weights are out of range, or a head refuses them.

        See Also
        --------
        chaosphere.MultiHeadAttention.mobility : The factor between drift and gradient, 1.
        chaosphere.UnnormalizedAttention.energy : Energy of unnormalised attention.
        chaosphere.CustomInteraction.energy : There is none.

        Examples
        --------
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(50, 3, rng=0)
        >>> one, two = (cs.UnnormalizedAttention(beta=beta) for beta in (1.0, 2.0))
        >>> energy = cs.MultiHeadAttention(heads=[one, two]).energy(x)
        >>> bool(abs(energy - (one.energy(x) + two.energy(x)) / 2) < 1e-15)
        True
        """
        checks.weights(weights, checks.tokens(x).shape[1])
        threads = checks.threads(n_threads)
        if self.mobility is None:
            return None
        energies = []
        for head in self.heads:
            energy = offered(head, "energy", name="heads")(x, weights, n_threads=threads)
            energies.append(np.float64(mobility_of(head) or 0.0) * energy)
        total: PerReplica = combined(energies, is_mean=self._is_mean)
        return total

    def energy_growth(self, beta: float, *, dim: int | None = None) -> EnergyGrowth | None:
        """Return an ε with dE_β/dt <= ε E_β for every measure, under the heads alone.

        The drift is the mean or the sum of those of the heads, and so is the change of the energy: the mean or the sum
        of the rates of the heads is a bound.

        Parameters
        ----------
        beta : float
            β >= 0 of the energy; 0 is the limit, the energy ¼ ∬ |x − y|².
        dim : int, optional
            d >= 2, where no matrix has it.

        Returns
        -------
        EnergyGrowth or None
            It is exact where all heads repel, or none does; where some do, the attraction of the others is not
            counted. None where no bound is known for a head.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, or a head refuses it: with a mask, or where β or δ change over a run.

        See Also
        --------
        chaosphere.SoftmaxAttention.energy_growth : The same of softmax attention.
        chaosphere.UnnormalizedAttention.energy_growth : The same of unnormalised attention.
        chaosphere.L2Attention.energy_growth : The same of attention by distances.
        chaosphere.CovarianceKernel.dissipation_rate : Rate of the bound on the expected energy.
        chaosphere.interactions.growth.EnergyGrowth : The answer.

        Examples
        --------
        >>> import chaosphere as cs
        >>> heads = [cs.SoftmaxAttention(beta=1.0, value_scale=scale) for scale in (-0.4, -0.1, 0.3)]
        >>> for some in (heads[:2], heads):
        ...     answer = cs.MultiHeadAttention(heads=some, combine="sum").energy_growth(1.0)
        ...     if answer is not None:
        ...         print(answer.growth, answer.is_bound, answer.is_exact)
        1.0 True True
        1.0 True False
        """
        beta = checks.number(beta, "beta", low=0)
        if dim is not None:
            checks.integer(dim, "dim", low=2)
        answers = [growth_of(head, beta, dim=dim) for head in self.heads]
        known = [answer for answer in answers if answer is not None]
        if len(known) < len(answers):
            return None
        total = float(combined((answer.growth for answer in known), is_mean=self._is_mean))
        return growth.of_heads(known, growth=total, consensus_rate=self.consensus_rate)

    @property
    def _is_mean(self) -> bool:
        return self.combine == "mean"

    def check_schedule(self, *, n_steps: int, horizon: float) -> None:
        """Raise unless parameters of the heads that change over a run are right at every step of a model.

        Parameters
        ----------
        n_steps : int
            L.
        horizon : float
            T.

        Raises
        ------
        TypeError, ValueError
            If a sequence has another length than L, or a function returns what is out of range.

        See Also
        --------
        chaosphere.MultiHeadAttention.at : The heads at a time.
        chaosphere.L2Attention.check_schedule : The same of one head of attention by distances.
        chaosphere.SinkhornAttention.check_schedule : The same of one head of doubly stochastic attention.
        chaosphere.SoftmaxAttention.check_schedule : The same of one head of softmax attention.
        chaosphere.UnnormalizedAttention.check_schedule : The same of one head of unnormalised attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> heads = [cs.SoftmaxAttention(), cs.SoftmaxAttention(value_scale=[1.0, 0.5])]
        >>> cs.MultiHeadAttention(heads=heads).check_schedule(n_steps=2, horizon=1.0)
        """
        for head in self.heads:
            check_schedule(head, n_steps=n_steps, horizon=horizon)

    def at(self, time: float, *, step: int = 0) -> MultiHeadAttention:
        """Return the heads at a time, with numbers for parameters that change over a run.

        Parameters
        ----------
        time : float
            t >= 0, for functions of t.
        step : int
            The step from 0, for sequences.

        Returns
        -------
        MultiHeadAttention
            Without schedules.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, a sequence has no such step, or a function returns what is out of range.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.at : The interaction at a time.
        chaosphere.MultiHeadAttention.check_schedule : Check the heads at all steps of a model.
        chaosphere.L2Attention.at : The same of one head of attention by distances.
        chaosphere.SinkhornAttention.at : The same of one head of doubly stochastic attention.
        chaosphere.SoftmaxAttention.at : The same of one head of softmax attention.
        chaosphere.UnnormalizedAttention.at : The same of one head of unnormalised attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> heads = [cs.SoftmaxAttention(), cs.SoftmaxAttention(value_scale=lambda t: 1 - t)]
        >>> cs.MultiHeadAttention(heads=heads).at(0.25).consensus_rate
        0.875
        """
        time, step = checks.number(time, "time", low=0), checks.integer(step, "step", low=0)
        return replace(self, heads=tuple(interaction_at(head, time, step=step) for head in self.heads))

    @property
    def mobility(self) -> float | None:
        """The factor 1: the drift is minus the Wasserstein gradient of `energy`; None unless each head has a mobility.

        See Also
        --------
        chaosphere.MultiHeadAttention.energy : Energy whose gradient flow it is.
        chaosphere.UnnormalizedAttention.mobility : The same of unnormalised attention.
        chaosphere.PotentialInteraction.mobility : The same of a potential.
        chaosphere.SinkhornAttention.mobility : The same of doubly stochastic attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.MultiHeadAttention(heads=[cs.UnnormalizedAttention(beta=2.0)]).mobility
        1.0
        """
        return None if any(mobility_of(head) is None for head in self.heads) else 1.0

    @property
    def consensus_rate(self) -> float | None:
        """Rate at which the distance of two tokens of a cluster falls; None unless that of each head is known.

        See Also
        --------
        chaosphere.SoftmaxAttention.consensus_rate : Rate of softmax attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> heads = [cs.SoftmaxAttention(beta=2.0), cs.SoftmaxAttention(beta=2.0, value_scale=-0.5)]
        >>> cs.MultiHeadAttention(heads=heads).consensus_rate
        0.25
        """
        rates = [consensus_rate_of(head) for head in self.heads]
        known = [rate for rate in rates if rate is not None]
        return float(combined(known, is_mean=self._is_mean)) if len(known) == len(rates) else None

    @property
    def is_ordered(self) -> bool:
        """Whether the drift depends on the order of the tokens: it does if that of a head does.

        See Also
        --------
        chaosphere.SoftmaxAttention.is_ordered : Whether softmax attention has a mask.
        chaosphere.UnnormalizedAttention.is_ordered : Whether unnormalised attention has a mask.
        chaosphere.Transformer.is_ordered : Whether the attention of a network has a mask.
        chaosphere.LimitSDE.is_ordered : Whether the attention of the equation has a mask.

        Examples
        --------
        >>> import chaosphere as cs
        >>> heads = [cs.SoftmaxAttention(), cs.SoftmaxAttention(mask="causal")]
        >>> cs.MultiHeadAttention(heads=heads).is_ordered
        True
        """
        return any(is_ordered_of(head) for head in self.heads)

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
            If n_modes is no integer in this range, or a head has no such drift.

        See Also
        --------
        chaosphere.SoftmaxAttention.circle_drift : The same of softmax attention.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> heads = [cs.SoftmaxAttention(beta=0.0), cs.SoftmaxAttention(beta=0.0, value_scale=3.0)]
        >>> drift = cs.MultiHeadAttention(heads=heads).circle_drift(4)
        >>> modes = np.array([[1.0, 0.25, 0.0, 0.0, 0.0]])  # of the density 1 + cos(θ)/2
        >>> drift(modes, 4).round(3) + 0.0  # twice to the mean, which is at θ = 0
        array([[ 0. , -0.5,  0. ,  0.5]])
        """
        drifts = [
            offered(head, "circle_drift", name=f"heads[{number}]")(n_modes) for number, head in enumerate(self.heads)
        ]
        return CombinedDrift(drifts, is_mean=self._is_mean)

    def axisymmetric_drift(self, cosines: ArrayLike, dim: int) -> AxisymmetricDrift:
        """Return the tangential drift of a measure that is symmetric about an axis, as a function of its masses.

        It is the gradient of a function Φ of the cosine u with the axis, the mean or the sum of those of the heads.

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
            If an argument is out of range, or a head has no such drift.

        See Also
        --------
        chaosphere.phases.branch : Stationary states at all temperatures.
        chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
        chaosphere.SoftmaxAttention.axisymmetric_drift : The same of softmax attention.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> heads = [cs.SoftmaxAttention(beta=0.0), cs.SoftmaxAttention(beta=0.0, value_scale=3.0)]
        >>> drift = cs.MultiHeadAttention(heads=heads).axisymmetric_drift([0.0, 1.0], 3)
        >>> drift.slope(np.array([0.5, 0.5])).round(3)  # twice to the mean
        array([1., 1.])
        """
        drifts = [
            offered(head, "axisymmetric_drift", name=f"heads[{number}]")(cosines, dim)
            for number, head in enumerate(self.heads)
        ]
        return CombinedAxisymmetric(drifts, partial(combined, is_mean=self._is_mean))

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
            If n_modes is no integer in this range, or a head has no such drift.

        See Also
        --------
        chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
        chaosphere.SoftmaxAttention.sphere_drift : The same of softmax attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> heads = [cs.SoftmaxAttention(beta=1.0), cs.SoftmaxAttention(beta=4.0, value_scale=3.0)]
        >>> cs.MultiHeadAttention(heads=heads).sphere_drift(16).max_speed
        2.0
        """
        drifts = [
            offered(head, "sphere_drift", name=f"heads[{number}]")(n_modes) for number, head in enumerate(self.heads)
        ]
        return CombinedSphere(drifts, partial(combined, is_mean=self._is_mean))

    def linear_response(self, degree: int, dim: int) -> float:
        """Return how the drift responds to a small harmonic Y of one degree: its tangential part is c ε ∇Y + O(ε²).

        Parameters
        ----------
        degree : int
            l, in [1, 100 000].
        dim : int
            d, in [2, 100 000].

        Returns
        -------
        float
            The factor c, of the density 1 + εY with respect to the uniform law.

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, or a head has no such factor.

        See Also
        --------
        chaosphere.SoftmaxAttention.linear_response : The same of softmax attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> one, two = (cs.SoftmaxAttention(beta=beta) for beta in (1.0, 2.0))
        >>> both = cs.MultiHeadAttention(heads=[one, two], combine="sum").linear_response(1, 3)
        >>> bool(abs(both - one.linear_response(1, 3) - two.linear_response(1, 3)) < 1e-15)
        True
        """
        responses = [
            offered(head, "linear_response", name=f"heads[{number}]")(degree, dim)
            for number, head in enumerate(self.heads)
        ]
        return float(combined(responses, is_mean=self._is_mean))


class _MultiHeadPlan(InteractionPlan):
    """The heads one after the other."""

    def __init__(self, plans: list[InteractionPlan], *, is_mean: bool) -> None:
        self.plans, self.is_mean = plans, is_mean
        self.pairs, self.n_fixed = sum(plan.pairs for plan in plans), min(plan.n_fixed for plan in plans)
        self.is_ordered = any(plan.is_ordered for plan in plans)

    def at(self, time: float, *, step: int) -> InteractionPlan:
        """Return the plan at a time within a step; see `InteractionPlan`."""
        plans = [plan.at(time, step=step) for plan in self.plans]
        is_same = all(new is old for new, old in zip(plans, self.plans, strict=True))
        return self if is_same else _MultiHeadPlan(plans, is_mean=self.is_mean)

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the combined drift; see `InteractionPlan`."""
        drifts = (drift_of(plan, x, n_threads=n_threads) for plan in self.plans)
        return np.asarray(combined(drifts, is_mean=self.is_mean))

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative in a direction; see `InteractionPlan`."""
        parts = (plan.jvp(x, tangent, n_threads=n_threads) for plan in self.plans)
        return np.asarray(combined(parts, is_mean=self.is_mean))

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return gradients, those of the heads' parameters with the head in their names; see `InteractionPlan`."""
        backs = [plan.vjp(x, cotangent, n_threads=n_threads) for plan in self.plans]
        share = 1 / len(backs) if self.is_mean else 1.0
        return Pullback(
            tokens=combined((back.tokens for back in backs), is_mean=self.is_mean),
            weights=combined((back.weights for back in backs), is_mean=self.is_mean),
            parameters={
                f"heads[{number}].{name}": share * values
                for number, back in enumerate(backs)
                for name, values in back.parameters.items()
            },
        )

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return some rows at their share of the work; see `InteractionPlan`."""
        parts = (plan.rows(x, first=first, stop=stop, n_threads=n_threads) for plan in self.plans)
        return np.asarray(combined(parts, is_mean=self.is_mean))


class CombinedDrift:
    """The mean or the sum of drifts of a density on the circle; see `CircleDrift`.

    Parameters
    ----------
    drifts : sequence of CircleDrift
    is_mean : bool
    """

    def __init__(self, drifts: Sequence[CircleDrift], *, is_mean: bool) -> None:
        self.drifts, self.is_mean = drifts, is_mean
        self.max_speed = float(combined((drift.max_speed for drift in drifts), is_mean=is_mean))

    def __call__(self, modes: Modes, n_points: int) -> Floats:
        """Return the drift; see `CircleDrift`."""
        return np.asarray(combined((drift(modes, n_points) for drift in self.drifts), is_mean=self.is_mean))


def combined(parts: Iterable[Any], *, is_mean: bool) -> Any:
    """Return the sum of numbers or arrays, or their mean by updates: of equal ones it is each of them to the bit."""
    rest = iter(parts)
    total = next(rest)
    for number, part in enumerate(rest, start=2):
        total = total + ((part - total) / number if is_mean else part)
    return total
