"""The mean-field limit without common noise, of densities on the sphere that are symmetric about an axis.

About half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats
from chaosphere.common.reprs import Brief, Row, short, span
from chaosphere.geometry import axisymmetric
from chaosphere.geometry.axisymmetric import MAX_DIM, AxisymmetricRule
from chaosphere.geometry.law import Law, check_law, density_at
from chaosphere.interactions.axisymmetric import AxisymmetricDrift
from chaosphere.interactions.protocol import offered
from chaosphere.models.densities import COURANT
from chaosphere.models.exponential import ExponentialStep
from chaosphere.models.protocol import save_steps
from chaosphere.models.resolution import LARGEST_TAIL, MIN_MODES, check_substeps, unresolved
from chaosphere.models.sde import LimitSDE

_MAX_MODES = 1024  # matrices of nodes by nodes are made
_COARSE = 0.75  # share of the modes of the run that estimates the error
_ASYMMETRY = 1e-9  # of a law, relative to its largest density


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class AxisymmetricSolution(Brief):
    """Densities that are symmetric about an axis over time, from `AxisymmetricDensity.solve`.

    Parameters
    ----------
    dim : int
        Dimension d.
    times : ndarray, shape (n_times,)
        Times of the densities.
    modes : ndarray of float64, shape (n_times, K + 1)
        m_l = ∫ P_l dμ_t for l = 0 … K, with the Gegenbauer polynomials P_l of the cosine with the axis, P_l(1) = 1: m_0
        is the mass, m_1 the mean cosine with the axis.
    errors : ndarray, shape (n_times,)
        The largest difference of a mode from that of a run with three quarters of the modes and twice the step: an
        estimate of the error of that run, which is the larger one.

    See Also
    --------
    chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
    chaosphere.AxisymmetricDensity.solve : Run from the initial law.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=10)
    >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
    >>> sol = cs.AxisymmetricDensity(model=model, law=law, n_modes=32).solve()
    >>> sol.times, sol.modes.shape, bool(sol.errors[0] < 1e-6)
    (array([1.]), (1, 33), True)
    """

    dim: int
    times: Floats
    modes: Floats
    errors: Floats

    def _rows(self) -> list[Row]:
        return [
            ("dim", short(self.dim)),
            ("times", span(self.times)),
            ("n_modes", short(self.modes.shape[-1] - 1)),
            ("largest error", f"{self.errors.max():.1e}"),
        ]

    def density(self, cosines: ArrayLike) -> Floats:
        """Return the densities with respect to the uniform probability, Σ_l dim(l, d) m_l P_l(u).

        Parameters
        ----------
        cosines : array_like, shape (n,)
            Cosines u with the axis, in [−1, 1].

        Returns
        -------
        ndarray, shape (n_times, n)
            Densities.

        Raises
        ------
        TypeError, ValueError
            If the cosines are no list of numbers in [−1, 1].

        See Also
        --------
        chaosphere.AxisymmetricDensity.solve : Run from the initial law.
        chaosphere.phases.StationaryState.density : Density of a stationary state.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(
        ...     attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=10, temperature=0.1
        ... )
        >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
        >>> sol = cs.AxisymmetricDensity(model=model, law=law, n_modes=32).solve(save_at=[0.0, 1.0])
        >>> sol.density([-1.0, 1.0]).round(3)
        array([[0.313, 2.313],
               [0.173, 3.385]])
        """
        u = checks.cosines(cosines, "cosines")
        if u.ndim != 1:
            raise ValueError(f"cosines must be a list of numbers, got shape {u.shape}")
        return axisymmetric.density(self.modes, u, dim=self.dim)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AxisymmetricDensity(Brief):
    """The mean-field limit on S^{d−1} without common noise, for laws that are symmetric about an axis.

    ∂_t ρ = −∇·(ρ b(μ, ·)) + τ Δρ

    with ρ the density of μ with respect to the uniform probability. The tokens' own noise has the temperature τ of the
    model, which may be 0. With no common noise a density that is symmetric about an axis remains so, and is a
    function of one cosine in any dimension.

    Parameters
    ----------
    model : LimitSDE
        Without a field. Its attention is none, or has QᵀK = βI and V = δI, or is another interaction with a method
        `axisymmetric_drift`. Its scheme is for tokens and is not used; its steps are.
    law : Law
        Initial law, of dim d in [2, 64], symmetric about the axis.
    n_modes : int
        Gegenbauer modes K of the density, in [4, 1024].
    axis : tuple of float, optional
        Unit vector in R^d. Default: (1, 0, …, 0).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the law is not symmetric about the axis, the interaction has no
        `axisymmetric_drift`, or its drift may be so large that a step takes more than 2²⁴ substeps.

    See Also
    --------
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.SphereDensity : The mean-field limit on S², solved for its density.
    chaosphere.MeanField : The limit of infinitely many tokens, carried by nodes.
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.AxisymmetricSolution : The result of a run.
    chaosphere.UnresolvedDensityError : A density needs more modes.
    chaosphere.phases.branch : Stationary states at all temperatures.
    chaosphere.theory.growth_rate : Growth rate of harmonics about the uniform law.
    chaosphere.SoftmaxAttention.axisymmetric_drift : Drift by softmax attention.
    chaosphere.UnnormalizedAttention.axisymmetric_drift : Drift by unnormalised attention.
    chaosphere.SinkhornAttention.axisymmetric_drift : Drift by doubly stochastic attention.
    chaosphere.PotentialInteraction.axisymmetric_drift : Drift along a potential.
    chaosphere.L2Attention.axisymmetric_drift : Drift by attention by distances.
    chaosphere.MultiHeadAttention.axisymmetric_drift : Drift by several heads.

    Notes
    -----
    Gegenbauer modes up to degree K, products at more than 3K/2 Gauss–Gegenbauer nodes, and an exponential Runge–Kutta
    method of order 4 (ETDRK4), which takes the diffusion exactly. A state that is stationary for the modes is so
    for the method, whatever the step. Every step is divided into a power of two of substeps, at least two, that keeps
    the largest drift times max(K, 128) times the substep at 2 or below. The mode of degree 0 has slope 0: mass is
    conserved to the bit. A second run with three quarters of the modes and twice the substep estimates the error.

    Cost of a substep: O(K²), for doubly stochastic attention O(K³).

    Examples
    --------
    At a temperature below the critical one a density settles in the ordered state, here on S⁴:

    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> model = cs.LimitSDE(
    ...     attention=attention, field=None, horizon=40.0, n_steps=20, temperature=0.1
    ... )
    >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0, 0.0, 0.0), concentration=1.0)
    >>> end = cs.AxisymmetricDensity(model=model, law=law, n_modes=32).solve().modes[-1]
    >>> (state,) = cs.phases.branch(attention, 5).states_at(0.1)
    >>> bool(abs(end[1] - state.order_parameter) < 1e-9)
    True
    """

    model: LimitSDE
    law: Law
    n_modes: int
    axis: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check."""
        if not isinstance(self.model, LimitSDE):
            raise TypeError(f"model must be a LimitSDE, got {messages.shown(self.model)}")
        if self.model.field is not None:
            raise ValueError(
                f"model must have no field, whose noise is not symmetric, got {messages.shown(self.model.field)}"
            )
        dim = check_law(self.law).dim
        if dim > MAX_DIM:
            raise ValueError(f"law must have dim <= {MAX_DIM}, got {dim}")
        checks.integers(self, "n_modes", low=4, high=_MAX_MODES)
        object.__setattr__(self, "axis", _axis(self.axis, dim))
        drift = self._drift(np.zeros(1))
        if drift is not None:
            check_substeps(self._n_substeps(drift), max_speed=drift.max_speed)
        self._initial_modes(self._rule(self.n_modes))

    def _drift(self, cosines: Floats) -> AxisymmetricDrift | None:
        """Return the drift at nodes; ValueError if the interaction has none of these densities."""
        if self.model.attention is None:
            return None
        drift: AxisymmetricDrift = offered(self.model.attention, "axisymmetric_drift", name="model.attention")(
            cosines, self.law.dim
        )
        return drift

    def _n_substeps(self, drift: AxisymmetricDrift) -> float:
        """Return the substeps of a step that its speed takes, as a number that is not rounded."""
        return self.model.horizon / self.model.n_steps * drift.max_speed * max(self.n_modes, MIN_MODES) / COURANT

    @property
    def n_nodes(self) -> int:
        """Nodes at which products are taken, more than 3K/2.

        See Also
        --------
        chaosphere.AxisymmetricDensity.solve : Run from the initial law.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=10)
        >>> law = cs.laws.Uniform(dim=3)
        >>> cs.AxisymmetricDensity(model=model, law=law, n_modes=32).n_nodes
        56
        """
        return _n_nodes(self.n_modes)

    def solve(self, *, save_at: Any = None) -> AxisymmetricSolution:
        """Run from the initial law.

        Parameters
        ----------
        save_at : array_like of float, optional
            Increasing times in [0, T]; as in `simulate`. Default: T alone.

        Returns
        -------
        AxisymmetricSolution
            The densities at the saved times.

        Raises
        ------
        TypeError, ValueError
            If the times are out of range.
        UnresolvedDensityError
            If, at the start or after a step, a mode above ¾ K times √dim(l, d) exceeds 1e-6 of the largest, a mode
            exceeds the mass, or the density falls below −1e-6 K times its largest value; it names a larger K.

        See Also
        --------
        chaosphere.AxisymmetricDensity.n_nodes : Nodes at which products are taken.
        chaosphere.AxisymmetricSolution : The result.
        chaosphere.AxisymmetricSolution.density : The densities at cosines.
        chaosphere.UnresolvedDensityError : A density needs more modes.

        Examples
        --------
        Noise alone makes the mode of degree l decay at the rate τ l (l + d − 2):

        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(
        ...     attention=None, field=None, horizon=1.0, n_steps=1, temperature=0.25
        ... )
        >>> law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)
        >>> heat = cs.AxisymmetricDensity(model=model, law=law, n_modes=16)
        >>> modes = heat.solve(save_at=[0.0, 1.0]).modes
        >>> (modes[1, 1:3] / modes[0, 1:3]).round(6)  # e^{−1/2}, e^{−3/2}
        array([0.606531, 0.22313 ])
        """
        times, steps = save_steps([self.model.horizon] if save_at is None else save_at, self.model)
        fine = self._saved(self.n_modes, steps, is_checked=True)
        n_coarse = max(2, int(_COARSE * self.n_modes))
        with np.errstate(all="ignore"):
            coarse = self._saved(n_coarse, steps, is_checked=False)
        errors = np.abs(fine[:, : n_coarse + 1] - coarse).max(axis=1)
        if not np.isfinite(errors).all():
            step = int(steps[np.flatnonzero(~np.isfinite(errors))[0]])
            raise unresolved(self.model, self.n_modes, step=step, what="with three quarters of the modes it is lost")
        return AxisymmetricSolution(dim=self.law.dim, times=times, modes=fine, errors=errors)

    def _rule(self, n_modes: int) -> AxisymmetricRule:
        return AxisymmetricRule(dim=self.law.dim, n_modes=n_modes, n_nodes=_n_nodes(n_modes))

    def _saved(self, n_modes: int, steps: Any, *, is_checked: bool) -> Floats:
        """Return the modes after some steps; with fewer modes than K, and half of the substeps, unless checked."""
        rule, saved = self._rule(n_modes), []
        for step, coefficients in enumerate(self._run(rule, is_coarse=not is_checked)):
            if is_checked:
                self._check(rule, coefficients, step)
            saved += [coefficients / rule.norms] * int((steps == step).sum())
            if step == steps[-1]:
                break
        return np.stack(saved)

    def _run(self, rule: AxisymmetricRule, *, is_coarse: bool) -> Iterator[Floats]:
        """Yield √dim(l, d) m_l at the start and after every step."""
        drift = self._drift(rule.cosines)
        n_halvings = 1
        if drift is not None:
            n_halvings = max(1, math.ceil(math.log2(max(self._n_substeps(drift), 1))))
        n_substeps = 2 ** (n_halvings - is_coarse)
        substep = self.model.horizon / self.model.n_steps / n_substeps
        step = ExponentialStep(-self.model.temperature * substep * rule.eigenvalues)
        flux = rule.weights * (1 - rule.cosines**2)

        def slope(c: Floats) -> Floats:
            if drift is None:
                return np.zeros(len(c))
            values = rule.basis @ c
            return np.asarray(substep * (rule.slopes.T @ (flux * drift.slope(rule.weights * values) * values)))

        c = self._initial_modes(rule) * rule.norms
        yield c
        for _ in range(self.model.n_steps):
            for _ in range(n_substeps):
                c = step(c, slope)
            yield c

    def _initial_modes(self, rule: AxisymmetricRule) -> Floats:
        values = _axial_density(self.law, self.axis, rule.cosines)
        masses = rule.weights * values
        if not masses.sum() > 0:
            raise ValueError("law must have a positive density at some node; raise n_modes")
        modes = rule.modes(masses / masses.sum())
        modes[0] = 1.0
        return modes

    def _check(self, rule: AxisymmetricRule, c: Floats, step: int) -> None:
        largest, first = float(np.abs(c).max()), 3 * self.n_modes // 4 + 1
        tail = float(np.abs(c[first:]).max()) / largest
        if not tail <= LARGEST_TAIL:
            factor = math.log(LARGEST_TAIL) / math.log(tail) if 0 < tail < 1 else math.inf
            what = f"modes above {first - 1} reach {tail:.1e} of the largest, more than {LARGEST_TAIL:g}"
            raise unresolved(self.model, self.n_modes, step=step, what=what, factor=math.ceil(min(max(factor, 2), 8)))
        mode = float(np.abs(c / rule.norms).max())
        if not mode <= 1 + LARGEST_TAIL:
            raise unresolved(
                self.model, self.n_modes, step=step, what=f"a mode reaches {mode:.6g}, more than the mass, 1"
            )
        # In mass: where there is next to none, rounding of c alone is large beside the density.
        masses = rule.weights * (rule.basis @ c)
        if not masses.min() >= -LARGEST_TAIL * self.n_modes * masses.max():
            raise unresolved(self.model, self.n_modes, step=step, what=f"a node has the mass {masses.min():.1e}")


def _n_nodes(n_modes: int) -> int:
    return 3 * n_modes // 2 + 8


def _axis(value: Any, dim: int) -> tuple[float, ...]:
    """Return the axis, checked; the first coordinate's where it is None."""
    if value is None:
        return (1.0, *[0.0] * (dim - 1))
    checks.plain(value, "axis")
    axis = np.array(checks.array(value, "axis"))
    if axis.shape != (dim,):
        raise ValueError(f"axis must have shape ({dim},), as the law has dim {dim}, got {axis.shape}")
    checks.tokens(axis[None], "axis")
    return tuple(axis.tolist())


def _axial_density(law: Law, axis: Any, cosines: Floats) -> Floats:
    """Return the density at cosines with an axis; ValueError unless it is the same in several directions about it."""
    e, dim = np.array(axis), law.dim
    frame = np.linalg.qr(np.column_stack([e, np.eye(dim)]))[0][:, 1:dim].T
    directions = [sign * direction for direction in frame[:4] for sign in (1, -1)]
    if dim > 2:
        directions.append((frame[0] + 2 * frame[1]) / math.sqrt(5))
    ring = np.sqrt((1 - cosines) * (1 + cosines))[:, None]
    values = np.stack([density_at(law, _normalized(cosines[:, None] * e + ring * way)) for way in directions])
    spread = np.ptp(values, axis=0)
    if spread.max() > _ASYMMETRY * values.max():
        at = int(spread.argmax())
        raise ValueError(
            f"law must be symmetric about axis = {axis}: at the cosine {cosines[at]:.3g} its density is "
            f"{values[:, at].min():.6g} in one direction and {values[:, at].max():.6g} in another; pass axis"
        )
    return np.asarray(values[0])


def _normalized(x: Floats) -> Floats:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))
