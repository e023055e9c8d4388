"""Stationary states of infinitely many tokens with noise of their own, and the transitions between them.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from chaosphere.common import checks
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief, Row, short, span
from chaosphere.geometry import axisymmetric, expansions
from chaosphere.theory.continuation import MAX_MODES, Follower
from chaosphere.theory.linear_growth import leading_response
from chaosphere.theory.stationary import Equation, NotConvergedError, Point, between

__all__ = ["Branch", "StationaryState", "Transition", "branch", "growth_rates", "transition", "tricritical_beta"]


def __dir__() -> list[str]:
    return __all__


_N_MODES = 48  # at the start
_EXTRAPOLATED = (0.01, 0.02, 0.03, 0.045, 0.06)  # sizes m of the states from which the start of a branch is found
_SAME_RESPONSE = 1e-10  # relative difference of the response to a small harmonic at nodes from that in closed form
_MAX_HALVINGS, _SAME = 6, 1e-6  # of these sizes, until the expansion stays the same
_STATIONARY = 1e-6  # largest relative distance of log ρ from that of a stationary state
_MAX_ORDER = 16  # of changes that break the axis
_FLAT = 1e-7  # smallest slope of the temperature in m that is told from 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StationaryState(Brief):
    """A stationary density that is symmetric about an axis, from `branch`.

    Parameters
    ----------
    dim : int
        Dimension d.
    temperature : float
        Temperature τ of the tokens' own noise.
    modes : ndarray of float64, shape (K + 1,)
        ∫ P_l dμ for l = 0 … K, with the Gegenbauer polynomials P_l of the cosine with the axis, P_l(1) = 1.
    log_coefficients : ndarray of float64, shape (K + 1,)
        c_l of the logarithm of the density with respect to the uniform probability, Σ_l c_l P_l.
    growth_rate : float
        The largest rate (its real part) at which a small change grows that keeps the axis and the mass.
    free_energy : float or None
        Less that of the uniform law at this temperature; None where the interaction has no energy.

    See Also
    --------
    chaosphere.phases.branch : Stationary states at all temperatures.
    chaosphere.phases.Branch.states_at : The states of a branch at a temperature.
    chaosphere.phases.growth_rates : Rates of small changes, also of those that break the axis.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> (state,) = cs.phases.branch(attention, 3).states_at(0.25)
    >>> round(state.order_parameter, 6), state.is_stable
    (0.334883, True)
    """

    dim: int
    temperature: float
    modes: Floats
    log_coefficients: Floats
    growth_rate: float
    free_energy: float | None

    @property
    def order_parameter(self) -> float:
        """The length of the mean token, |∫ x dμ|.

        See Also
        --------
        chaosphere.phases.Branch.order_parameters : Those of a branch.
        chaosphere.measures.order_parameter : That of tokens.

        Examples
        --------
        >>> import chaosphere as cs
        >>> ordered = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2)
        >>> round(ordered.states_at(0.3)[0].order_parameter, 6)
        0.560373
        """
        return abs(float(self.modes[1]))

    @property
    def is_stable(self) -> bool:
        """Whether all small changes that keep the axis and the mass decay.

        See Also
        --------
        chaosphere.phases.Branch.is_stable : Those of a branch.

        Examples
        --------
        >>> import chaosphere as cs
        >>> ordered = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2)
        >>> ordered.states_at(0.3)[0].is_stable
        True
        """
        return self.growth_rate < 0

    def density(self, cosines: ArrayLike) -> Floats:
        """Return the density with respect to the uniform probability, by its logarithm.

        Parameters
        ----------
        cosines : array_like, shape (n,)
            Cosines with the axis, in [−1, 1].

        Returns
        -------
        ndarray of float64, shape (n,)
            Densities.

        Raises
        ------
        TypeError, ValueError
            If the cosines are no list of numbers in [−1, 1].

        See Also
        --------
        chaosphere.phases.Branch.density : Those of a branch.
        chaosphere.AxisymmetricSolution.density : Densities over time.

        Examples
        --------
        >>> import chaosphere as cs
        >>> ordered = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2)
        >>> ordered.states_at(0.3)[0].density([-1.0, 0.0, 1.0]).round(4)
        array([0.1101, 0.7462, 2.4027])
        """
        return _density(self.log_coefficients, cosines, self.dim)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Branch(Brief):
    """The stationary states that leave the uniform law at the critical temperature, from `branch`.

    They are in the order of the branch, which may turn back in temperature. The first is the uniform law at τ_c.

    Parameters
    ----------
    interaction : Interaction
        The interaction.
    dim : int
        Dimension d.
    degree : int
        The degree of the harmonics to which the uniform law loses its stability.
    critical_temperature : float
        τ_c, where it does.
    temperatures : ndarray of float64, shape (n,)
        Temperatures τ of the states.
    modes : ndarray of float64, shape (n, K + 1)
        ∫ P_l dμ of each state, for l = 0 … K.
    log_coefficients : ndarray of float64, shape (n, K + 1)
        c_l of the logarithm of each density, Σ_l c_l P_l.
    growth_rates : ndarray of float64, shape (n,)
        The largest rate (its real part) at which a small change grows that keeps the axis and the mass.
    free_energies : ndarray of float64, shape (n,), or None
        Of each state less that of the uniform law at its temperature; None where the interaction has no energy.
    fold : StationaryState
        The state of the highest temperature. Where the transition is continuous it is the uniform law at τ_c.
    coexistence : StationaryState or None
        The state whose free energy is that of the uniform law: above its temperature the uniform law has the lower one,
        below it this branch. None where there is none, or no energy.

    See Also
    --------
    chaosphere.phases.branch : Stationary states at all temperatures.
    chaosphere.plot.phases : Draw a branch.

    Examples
    --------
    Unnormalised attention at β = 4 on S² jumps: there are states up to 1.26 times the critical temperature.

    >>> import chaosphere as cs
    >>> ordered = cs.phases.branch(cs.UnnormalizedAttention(beta=4.0), 3)
    >>> round(ordered.fold.temperature / ordered.critical_temperature, 6)
    1.263246
    >>> ordered.is_stable[[1, -1]]  # up to the fold they are unstable
    array([False,  True])
    """

    interaction: Any
    dim: int
    degree: int
    critical_temperature: float
    temperatures: Floats
    modes: Floats
    log_coefficients: Floats
    growth_rates: Floats
    free_energies: Floats | None
    fold: StationaryState
    coexistence: StationaryState | None

    def _rows(self) -> list[Row]:
        return [
            ("interaction", short(self.interaction)),
            ("dim", short(self.dim)),
            ("critical_temperature", short(self.critical_temperature)),
            ("temperatures", span(self.temperatures)),
            *([("degree", short(self.degree))] if self.degree > 1 else []),
        ]

    @property
    def order_parameters(self) -> Floats:
        """The length of the mean token in each state, |∫ x dμ|, shape (n,).

        See Also
        --------
        chaosphere.phases.StationaryState.order_parameter : That of a state.

        Examples
        --------
        >>> import chaosphere as cs
        >>> ordered = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2)
        >>> ordered.order_parameters[[0, -1]].round(3)
        array([0.   , 0.852])
        """
        return np.abs(self.modes[:, 1])

    @property
    def is_stable(self) -> NDArray[np.bool_]:
        """Whether all small changes of a state that keep the axis and the mass decay, shape (n,).

        See Also
        --------
        chaosphere.phases.StationaryState.is_stable : That of a state.

        Examples
        --------
        >>> import chaosphere as cs
        >>> ordered = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2)
        >>> bool(ordered.is_stable[1:].all())
        True
        """
        return np.asarray(self.growth_rates < 0)

    def density(self, cosines: ArrayLike) -> Floats:
        """Return the densities of the states with respect to the uniform probability.

        Parameters
        ----------
        cosines : array_like, shape (m,)
            Cosines with the axis, in [−1, 1].

        Returns
        -------
        ndarray of float64, shape (n, m)
            Densities.

        Raises
        ------
        TypeError, ValueError
            If the cosines are no list of numbers in [−1, 1].

        See Also
        --------
        chaosphere.phases.StationaryState.density : That of a state.

        Examples
        --------
        >>> import chaosphere as cs
        >>> ordered = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2)
        >>> ordered.density([-1.0, 1.0])[0].round(12)
        array([1., 1.])
        """
        return _density(self.log_coefficients, cosines, self.dim)

    def states_at(self, temperature: float) -> list[StationaryState]:
        """Return the states of the branch at a temperature.

        Parameters
        ----------
        temperature : float
            τ, not below the last of `temperatures`.

        Returns
        -------
        list of StationaryState
            In the order of the branch; empty above the fold.

        Raises
        ------
        TypeError, ValueError
            If the temperature is below those of the branch.

        See Also
        --------
        chaosphere.phases.branch : Stationary states at all temperatures.
        chaosphere.phases.StationaryState : A stationary density.

        Examples
        --------
        Between the critical temperature and the fold there is an unstable state beside the stable one:

        >>> import chaosphere as cs
        >>> ordered = cs.phases.branch(cs.UnnormalizedAttention(beta=4.0), 3)
        >>> states = ordered.states_at(1.1 * ordered.critical_temperature)
        >>> [(round(state.order_parameter, 4), state.is_stable) for state in states]
        [(0.3277, False), (0.9206, True)]
        """
        lowest = float(self.temperatures[-1])
        temperature = checks.number(temperature, "temperature", above=0, high=checks.MAX_SIZE)
        if temperature < lowest:
            raise ValueError(
                f"temperature must be >= {lowest:g}, the end of the branch, got {temperature:g}; pass lowest to branch"
            )
        above, logarithm = self.temperatures > temperature, math.log(temperature)
        equation = Equation(self.interaction, self.dim, n_modes=self.modes.shape[1] - 1, degree=self.degree)
        states = []
        for start in np.flatnonzero(above[1:] != above[:-1]):
            first, last = (self._point(equation, int(k)) for k in (start, start + 1))
            point = between(equation, first, last, value=lambda other: other.log_temperature - logarithm)
            states.append(_state(equation, point))
        return states

    def _point(self, equation: Equation, number: int) -> Point:
        logarithm = math.log(float(self.temperatures[number]))
        start = equation.of_coefficients(self.log_coefficients[number], logarithm)
        if number == 0:
            return start
        direction = np.array([1.0, 0.0])
        return equation.solve(start, direction=direction, target=float(self.modes[number, self.degree]))

    def to_xarray(self) -> Any:
        """Return the branch as a dataset.

        Returns
        -------
        xarray.Dataset
            temperature, order_parameter, growth_rate, is_stable and, where there is one, free_energy (state), and modes
            (state, mode).

        Raises
        ------
        ImportError
            If xarray is not installed.

        See Also
        --------
        chaosphere.phases.branch : Stationary states at all temperatures.

        Examples
        --------
        >>> import chaosphere as cs
        >>> data = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2).to_xarray()
        >>> data["modes"].dims
        ('state', 'mode')
        """
        values = {
            "temperature": self.temperatures,
            "order_parameter": self.order_parameters,
            "growth_rate": self.growth_rates,
            "is_stable": self.is_stable,
        }
        if self.free_energies is not None:
            values["free_energy"] = self.free_energies
        return checks.extra("xarray", "io").Dataset(
            {name: (("state",), value) for name, value in values.items()} | {"modes": (("state", "mode"), self.modes)},
            attrs={
                "interaction": repr(self.interaction),
                "dim": self.dim,
                "degree": self.degree,
                "critical_temperature": self.critical_temperature,
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Transition(Brief):
    """How the uniform law loses its stability, from `transition`.

    Parameters
    ----------
    temperature : float
        The critical temperature τ_c.
    degree : int
        The degree l of the harmonics that grow first below it.
    coefficient : float
        C of m² ≃ C (1 − τ/τ_c), with m = ∫ P_l dμ of the states next to the uniform law. They are at higher
        temperatures if it is negative, and on both sides if it is 0. It is infinite where the term of m² vanishes.

    See Also
    --------
    chaosphere.phases.transition : How the uniform law loses its stability.

    Examples
    --------
    >>> import chaosphere as cs
    >>> onset = cs.phases.transition(cs.SoftmaxAttention(beta=0.0), 3)
    >>> round(onset.temperature, 9), round(onset.coefficient, 6), onset.is_continuous
    (0.333333333, 1.666667, True)
    """

    temperature: float
    degree: int
    coefficient: float

    @property
    def is_continuous(self) -> bool:
        """Whether order sets in continuously as the temperature falls: C > 0.

        Else the uniform law gives way to a state that is far from it.

        See Also
        --------
        chaosphere.phases.tricritical_beta : Where this changes for unnormalised attention.

        Examples
        --------
        >>> import chaosphere as cs
        >>> cs.phases.transition(cs.UnnormalizedAttention(beta=4.0), 3).is_continuous
        False
        """
        return self.coefficient > 0


def transition(interaction: Any, dim: int) -> Transition:
    """Return how the uniform law loses its stability as the temperature of the tokens' own noise falls.

    Parameters
    ----------
    interaction : SoftmaxAttention, UnnormalizedAttention, SinkhornAttention, PotentialInteraction, or another one
        With methods `linear_response` and `axisymmetric_drift`.
    dim : int
        Dimension d, in [2, 64].

    Returns
    -------
    Transition
        Critical temperature, degree and coefficient.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the interaction has no such methods, or no harmonic grows at any temperature.

    See Also
    --------
    chaosphere.phases.Transition : The result.
    chaosphere.phases.branch : Stationary states at all temperatures.
    chaosphere.phases.tricritical_beta : Where the order of the transition changes for unnormalised attention.
    chaosphere.theory.critical_temperature : The critical temperature alone.

    Notes
    -----
    The equation of stationary states is solved for five small values of m, and τ(m) extrapolated to m = 0; a test
    compares with closed forms.

    Examples
    --------
    Softmax attention turns continuously into order, unnormalised attention with a large β jumps:

    >>> import chaosphere as cs
    >>> cs.phases.transition(cs.SoftmaxAttention(beta=4.0), 3).is_continuous
    True
    >>> cs.phases.transition(cs.UnnormalizedAttention(beta=4.0), 3).is_continuous
    False
    """
    equation, critical = _first_equation(interaction, dim)
    slope, curvature = math.nan, math.nan
    for halvings in range(_MAX_HALVINGS):
        before = curvature
        slope, curvature = _expansion(equation, critical, np.array(_EXTRAPOLATED) / 2**halvings)
        if abs(slope) > _FLAT:
            return Transition(temperature=critical, degree=equation.degree, coefficient=0.0)
        if abs(curvature - before) <= _SAME * (1 + abs(curvature)):
            coefficient = math.inf if abs(curvature) <= 2 * _SAME else 1 / curvature
            return Transition(temperature=critical, degree=equation.degree, coefficient=coefficient)
    raise ValueError(
        f"interaction must have one degree that loses its stability first: degree {equation.degree} and another one do "
        "so at nearly one temperature, and the states next to the uniform law are not resolved"
    )


def _expansion(equation: Equation, critical: float, m: Floats) -> tuple[float, float]:
    """Return a and b of 1 − τ/τ_c = a m + b m² + …, from states of the modes ±m."""
    try:
        below, above = (np.array([_ratio(equation, sign * size, critical) for size in m]) for sign in (1.0, -1.0))
    except NotConvergedError as error:
        raise ValueError(
            f"interaction must be less steep in dim {equation.dim}: no state of mode {m[-1]:g} was found next to the "
            "uniform law"
        ) from error
    even, odd = 0.5 * (below + above) / m**2, 0.5 * (below - above) / m
    slope, curvature = (float(scipy.interpolate.BarycentricInterpolator(m**2, part)(0.0)) for part in (odd, even))
    return slope, curvature


def growth_rates(interaction: Any, state: StationaryState, *, order: int, n_rates: int = 3) -> Floats:
    """Return the rates at which small changes of a stationary state grow, also those that break its symmetry.

    A change of order m is g(u) Y(ω): u is the cosine with the axis, and Y a harmonic of degree m of the direction ω
    about the axis, cos mφ on S². Those of order 0 keep the axis, as in `StationaryState.growth_rate`. A rotation of the
    state is a change of order 1, whose rate is 0.

    Parameters
    ----------
    interaction : SoftmaxAttention, UnnormalizedAttention, SinkhornAttention, PotentialInteraction, or another one
        That of the state.
    state : StationaryState
        From `branch`.
    order : int
        m, in [0, 16]; on the circle in [0, 1], where 1 stands for odd functions of the angle.
    n_rates : int
        How many, in [1, 8].

    Returns
    -------
    ndarray of float64, shape (n_rates,)
        Real parts of the rates, the largest first. Those of order 0 are of changes that keep the mass.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the state is not stationary for the interaction.

    See Also
    --------
    chaosphere.phases.StationaryState : A stationary density.
    chaosphere.phases.branch : Stationary states at all temperatures.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.

    Notes
    -----
    The linearised equation in the harmonics of order m up to the degree of the state's modes; cost O(K³). The tests
    hold the rate of a rotation to 1e-9 of 0, and compare with a linearisation on the circle that knows no symmetry.

    Examples
    --------
    An ordered state on S² is stable, but for rotations:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> (state,) = cs.phases.branch(attention, 3).states_at(0.2)
    >>> for order in (0, 1, 2):
    ...     rates = cs.phases.growth_rates(attention, state, order=order, n_rates=2)
    ...     print(order, rates.round(3) + 0.0)
    0 [-0.319 -1.21 ]
    1 [ 0.    -1.124]
    2 [-0.967 -2.473]
    """
    if not isinstance(state, StationaryState):
        raise TypeError(f"state must be a StationaryState, got {short(state)}")
    order = checks.integer(order, "order", low=0, high=1 if state.dim == 2 else _MAX_ORDER)
    n_rates = checks.integer(n_rates, "n_rates", low=1, high=8)
    equation = Equation(interaction, state.dim, n_modes=len(state.modes) - 1, degree=1)
    point = equation.of_coefficients(state.log_coefficients, math.log(state.temperature))
    if not equation.residual(point) <= _STATIONARY:
        raise ValueError("state must be stationary for the interaction: give the interaction whose branch it is from")
    return equation.rates(point, order=order)[:n_rates].copy()


def tricritical_beta(dim: int) -> float:
    """Return the β* up to which unnormalised attention turns continuously from the uniform law into order.

    It is the solution of I_{d/2+1}(β)/I_{d/2}(β) = 1/d. Beyond it there are ordered states above the critical
    temperature, and as the temperature falls the uniform law gives way to one far from it.

    Parameters
    ----------
    dim : int
        Dimension d, in [2, 100 000].

    Returns
    -------
    float
        β*.

    Raises
    ------
    TypeError, ValueError
        If dim is out of range.

    See Also
    --------
    chaosphere.phases.transition : The transition of any interaction.
    chaosphere.phases.Transition.is_continuous : Whether a transition is continuous.
    chaosphere.UnnormalizedAttention : Attention without the division by the partition sum.

    Examples
    --------
    >>> import chaosphere as cs
    >>> [round(cs.phases.tricritical_beta(dim), 6) for dim in (2, 3, 5)]
    [2.446918, 1.816155, 1.445485]
    """
    dim = checks.integer(dim, "dim", low=2, high=100_000)

    def excess(beta: float) -> float:
        return float(expansions.ratios(2, beta, dim)[1]) - 1 / dim

    return float(scipy.optimize.brentq(excess, 0.5, 3.0, xtol=1e-14, rtol=1e-14))


def branch(interaction: Any, dim: int, *, lowest: float | None = None) -> Branch:
    """Return the stationary states of infinitely many tokens with own noise, symmetric about an axis.

    With noise of temperature τ of each token's own the law ρ of infinitely many tokens obeys ∂_t ρ = −∇·(ρ b) + τΔρ.
    The tangential part of b is the gradient of a function Φ, and stationary are the densities ρ ∝ e^{Φ/τ}:
    Z^{δ/(βτ)} with Z(x) = ∫ e^{β⟨x, y⟩} dμ(y) for softmax attention, e^{δZ/(βτ)} for unnormalised attention,
    a^{−δ/(βτ)} for doubly stochastic attention and e^{W*ρ/τ} for a potential. The uniform law is one at every
    temperature. At the critical temperature a branch of others leaves it; this function follows the branch.

    Parameters
    ----------
    interaction : SoftmaxAttention, UnnormalizedAttention, SinkhornAttention, PotentialInteraction, or another one
        With methods `linear_response` and `axisymmetric_drift`.
    dim : int
        Dimension d, in [2, 64].
    lowest : float, optional
        Temperature at which the branch ends, > 0 and below the critical one. Default: half of that.

    Returns
    -------
    Branch
        The states in the order of the branch, with its fold and coexistence.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the interaction has no such methods, no harmonic grows at any temperature, or a
        state needs more than 384 modes or cannot be followed.

    See Also
    --------
    chaosphere.phases.Branch : The result.
    chaosphere.phases.StationaryState : A state of it.
    chaosphere.phases.Branch.states_at : The states at a temperature.
    chaosphere.phases.Branch.to_xarray : The branch as a dataset.
    chaosphere.phases.transition : The start of the branch alone.
    chaosphere.plot.phases : Draw a branch.
    chaosphere.theory.critical_temperature : The critical temperature.
    chaosphere.phases.growth_rates : Rates of small changes, also of those that break the axis.
    chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
    chaosphere.SoftmaxAttention.axisymmetric_drift : Drift by softmax attention.
    chaosphere.UnnormalizedAttention.axisymmetric_drift : Drift by unnormalised attention.
    chaosphere.SinkhornAttention.axisymmetric_drift : Drift by doubly stochastic attention.
    chaosphere.PotentialInteraction.axisymmetric_drift : Drift along a potential.
    chaosphere.L2Attention.axisymmetric_drift : Drift by attention by distances.
    chaosphere.MultiHeadAttention.axisymmetric_drift : Drift by several heads.

    Notes
    -----
    Newton's method for log ρ at the nodes of a Gauss–Gegenbauer rule, with continuation by arclength in the plane of m
    and log τ, where m = ∫ P_l dμ is the mode of the degree l that grows first. The branch of positive m is followed;
    for an even l the one of negative m may be another. The number of modes doubles where those above three quarters
    of it, times √dim(l, d), exceed 1e-11 of the largest. Cost: O(K³) for a state of K modes. The tests compare with
    closed forms and with another program's tables, to 1e-9 and better.

    Stability is that under changes which are symmetric about the same axis; `growth_rates` has the others.

    Examples
    --------
    >>> import chaosphere as cs
    >>> ordered = cs.phases.branch(cs.SoftmaxAttention(beta=2.0), 2)
    >>> (state,) = ordered.states_at(0.9 * ordered.critical_temperature)
    >>> round(state.order_parameter, 6)
    0.491528
    """
    equation, critical = _first_equation(interaction, dim)
    lowest = 0.5 * critical if lowest is None else checks.number(lowest, "lowest", above=0)
    if not lowest < critical:
        raise ValueError(f"lowest must be below the critical temperature {critical:g}, got {lowest:g}")
    follower = Follower(equation)
    points = follower.follow(math.log(critical), math.log(lowest))
    n = follower.equation.n_modes
    modes, coefficients = (
        np.array([np.pad(part, (0, n + 1 - len(part))) for part in parts])
        for parts in (follower.modes, follower.coefficients)
    )
    energies = [energy for energy in follower.energies if energy is not None]
    top = int(np.argmax([point.log_temperature for point in points]))
    temperatures = np.array([point.temperature for point in points])
    temperatures[0] = critical
    equal = follower.coexistence(points, energies)
    return Branch(
        interaction=interaction,
        dim=equation.dim,
        degree=equation.degree,
        critical_temperature=critical,
        temperatures=temperatures,
        modes=modes,
        log_coefficients=coefficients,
        growth_rates=np.array(follower.rates),
        free_energies=np.array(energies) if len(energies) == len(points) else None,
        fold=_state(follower.equation, follower.fold(points, top)),
        coexistence=None if equal is None else _state(follower.equation, equal),
    )


def _state(equation: Equation, point: Point) -> StationaryState:
    is_uniform = not np.ptp(point.f) > 0  # at τ_c: the rate of a change is 0 there
    return StationaryState(
        dim=equation.dim,
        temperature=point.temperature,
        modes=equation.modes(point),
        log_coefficients=equation.coefficients(point),
        growth_rate=0.0 if is_uniform else equation.growth_rate(point),
        free_energy=equation.free_energy(point),
    )


def _first_equation(interaction: Any, dim: int) -> tuple[Equation, float]:
    """Return the equation for small modes of the degree that grows first, and the critical temperature."""
    dim = checks.integer(dim, "dim", low=2, high=axisymmetric.MAX_DIM)
    degree, critical = leading_response(interaction, dim)
    if not critical > 0:
        raise ValueError("interaction must make a harmonic grow at some temperature; here none grows at any")
    if 4 * degree > MAX_MODES:
        raise ValueError(f"interaction must make a degree <= {MAX_MODES // 4} grow first, got {degree}")
    equation = Equation(interaction, dim, n_modes=max(_N_MODES, 4 * degree), degree=degree)
    while not abs(equation.response() / critical - 1) <= _SAME_RESPONSE:  # the nodes do not resolve the interaction
        if 2 * equation.n_modes > MAX_MODES:
            raise ValueError(f"interaction must need at most {MAX_MODES} modes: it is too steep in dim {dim}")
        equation = equation.refined()
    return equation, critical


def _ratio(equation: Equation, m: float, critical: float) -> float:
    """Return 1 − τ/τ_c of the state with a small mode m."""
    logarithm = math.log(critical)
    point = equation.solve(equation.small(m, logarithm), direction=np.array([1.0, 0.0]), target=m)
    return -math.expm1(point.log_temperature - logarithm)


def _density(log_coefficients: Floats, cosines: ArrayLike, dim: int) -> Floats:
    u = checks.cosines(cosines, "cosines")
    if u.ndim != 1:
        raise ValueError(f"cosines must be a list of numbers, got shape {u.shape}")
    return np.exp(axisymmetric.combination(log_coefficients, u, dim=dim))
