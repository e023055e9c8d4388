"""The equation of stationary densities that are symmetric about an axis, at nodes, and its solution.

With own noise of temperature τ the density ρ of infinitely many tokens obeys ∂_t ρ = −∇·(ρ b) + τΔρ, and b = ∇Φ for
the interactions that have a method `axisymmetric_drift`. It is stationary where f = log ρ is Φ/τ up to a constant. The
unknowns are the values of f at the nodes, so that ρ is positive and the error of f is that of rounding, also where
there is next to no mass; and τ, for which there is one equation more. Newton's method solves for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from chaosphere.common.checks import Floats
from chaosphere.geometry.axisymmetric import (
    AxisymmetricRule,
    of_order,
    orthonormal,
    slopes_of_order,
    without_rounding,
)
from chaosphere.interactions.protocol import offered

_MAX_NEWTON, _MAX_CHANGE = 12, 30.0  # steps, and the largest change of f in one
_CONVERGED = 1e-7  # a step of this relative size is the last: the next one would be of the order of its square
_NEGLIGIBLE, _MORE = 1e-9, 8  # modes of √ρ, relative to the largest, and how many more serve for its changes
_LARGEST_TAIL = 1e-11  # of the modes above ¾ K, relative to the largest; each is multiplied by √dim(l, d)


class NotConvergedError(ArithmeticError):
    """Newton's method has found no solution."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """A stationary density.

    Attributes
    ----------
    f : ndarray of float64, shape (n,)
        log ρ at the nodes.
    log_temperature : float
    p : ndarray of float64, shape (n,)
        Masses ρ w at the nodes.
    """

    f: Floats
    log_temperature: float
    p: Floats

    @property
    def temperature(self) -> float:
        """The temperature τ."""
        return math.exp(self.log_temperature)


class Equation:
    """The equation for one interaction and number of modes.

    Branches are followed in the plane of (m, log τ), with m the mode of one degree; `direction` is a vector in it.

    Parameters
    ----------
    interaction : Interaction
    dim : int
    n_modes : int
        K.
    degree : int
        Of the mode m.
    """

    def __init__(self, interaction: Any, dim: int, *, n_modes: int, degree: int) -> None:
        self.interaction, self.dim, self.n_modes, self.degree = interaction, dim, n_modes, degree
        self.rule = AxisymmetricRule(dim=dim, n_modes=n_modes, n_nodes=3 * n_modes // 2 + 8)
        self.drift = offered(interaction, "axisymmetric_drift", name="interaction")(self.rule.cosines, dim)
        self.harmonic = self.rule.basis[:, degree] / self.rule.norms[degree]
        self.uniform_energy = self.drift.energy(self.rule.weights)

    def mode(self, point: Point) -> float:
        """Return m."""
        return float(point.p @ self.harmonic)

    def place(self, point: Point) -> Floats:
        """Return (m, log τ)."""
        return np.array([self.mode(point), point.log_temperature])

    def point(self, f: Floats, log_temperature: float) -> Point:
        """Return a point with its masses."""
        p = self.rule.weights * np.exp(f - f.max())
        return Point(f=f, log_temperature=log_temperature, p=p / p.sum())

    def small(self, m: float, log_temperature: float) -> Point:
        """Return the start for a density next to the uniform one, of a small mode m."""
        return self.point(m * self.rule.norms[self.degree] ** 2 * self.harmonic, log_temperature)

    def coefficients(self, point: Point) -> Floats:
        """Return c_0 … c_K of log ρ = Σ c_l P_l; those lost in rounding are 0."""
        f = point.f - math.log(float(self.rule.weights @ np.exp(point.f)))
        return without_rounding((self.rule.weights * f) @ self.rule.basis) * self.rule.norms

    def of_coefficients(self, coefficients: Floats, log_temperature: float) -> Point:
        """Return the point of a density by the coefficients of its logarithm."""
        return self.point(self.rule.basis @ (coefficients / self.rule.norms), log_temperature)

    def refined(self, factor: int = 2) -> Equation:
        """Return the equation with more modes."""
        return Equation(self.interaction, self.dim, n_modes=factor * self.n_modes, degree=self.degree)

    def carry(self, point: Point, other: Equation) -> Point:
        """Return a point of another equation at the nodes of this one: log ρ, a smooth function, by its modes."""
        coefficients = without_rounding((other.rule.weights * point.f) @ other.rule.basis)
        values = orthonormal(self.rule.cosines, other.n_modes, dim=self.dim) @ coefficients
        return self.point(values, point.log_temperature)

    def response(self) -> float:
        """Return how the interaction responds to a small harmonic about the uniform law, at the nodes."""
        harmonic = self.rule.weights * self.rule.basis[:, self.degree]
        return float(harmonic @ self.drift.derivative(self.rule.weights) @ harmonic)

    def residual(self, point: Point) -> float:
        """Return how far f is from Φ/τ and a constant, in L²(ρ), relative to its own range or to 1.

        Where ρ is tiny the coefficients of a stored state leave less of log ρ than elsewhere, and it matters less.
        """
        rest = point.f - self.drift.potential(point.p) / point.temperature
        rest -= point.p @ rest
        return math.sqrt(float(point.p @ rest**2)) / (1 + float(np.ptp(point.f)))

    def is_resolved(self, point: Point) -> bool:
        """Whether the modes of a density have ended."""
        modes = np.abs(point.p @ self.rule.basis)
        return bool(modes[3 * self.n_modes // 4 + 1 :].max() <= _LARGEST_TAIL * modes.max())

    def solve(self, start: Point, *, direction: Floats, target: float) -> Point:
        """Return the solution with direction · (m, log τ) = target, from a start near it.

        Raises
        ------
        NotConvergedError
            If there is none near the start.
        """
        point = start
        for _ in range(_MAX_NEWTON):
            with np.errstate(all="ignore"):  # of a step that has gone astray
                matrix, residual = self._linearised(point, direction)
            residual[-1] = float(direction @ self.place(point)) - target
            step = _solved(matrix, -residual)
            size = float(np.abs(step).max())
            if not size <= _MAX_CHANGE * (1 + 0.1 * float(np.abs(point.f).max())):
                break
            point = self.point(point.f + step[:-1], point.log_temperature + float(step[-1]))
            if size <= _CONVERGED * (1 + float(np.abs(point.f).max())):
                return point
        raise NotConvergedError

    def along(self, point: Point, direction: Floats) -> tuple[Floats, Floats]:
        """Return the change of (f, log τ) for a unit of length in the plane along the branch, and that unit vector.

        It is on the side of the direction.
        """
        matrix, _ = self._linearised(point, direction)
        right = np.zeros(len(matrix))
        right[-1] = 1.0
        change = _solved(matrix, right)
        unit = np.array([self._mode_row(point) @ change[:-1], change[-1]])
        size = float(np.hypot(*unit))
        return change / size, unit / size

    def _mode_row(self, point: Point) -> Floats:
        return np.asarray(point.p * (self.harmonic - self.mode(point)))

    def _linearised(self, point: Point, direction: Floats) -> tuple[Floats, Floats]:
        """Return the derivative of f − Φ/τ + log ∫ e^{Φ/τ}, bordered by the direction, and its value."""
        n, tau = len(point.f), point.temperature
        potential = self.drift.potential(point.p) / tau
        largest = float(potential.max())
        weights = self.rule.weights * np.exp(potential - largest)
        mass = float(weights.sum())
        weights /= mass
        response = self.drift.derivative(point.p) * (point.p / tau)
        response = response - np.outer(response.sum(axis=1), point.p)
        response -= weights @ response
        matrix = np.empty((n + 1, n + 1))
        matrix[:n, :n] = np.eye(n) - response
        matrix[:n, n] = potential - weights @ potential
        matrix[n, :n], matrix[n, n] = direction[0] * self._mode_row(point), direction[1]
        residual = np.append(point.f - (potential - largest - math.log(mass)), 0.0)
        return matrix, residual

    def modes(self, point: Point) -> Floats:
        """Return ∫ P_l dμ, l = 0 … K."""
        modes = self.rule.modes(point.p)
        modes[0] = 1.0
        return modes

    def free_energy(self, point: Point) -> float | None:
        """Return τ ∫ρ log ρ + E(ρ) − E(1); None where the interaction has no energy."""
        energy = self.drift.energy(point.p)
        if energy is None or self.uniform_energy is None:
            return None
        entropy = float(point.p @ point.f) - math.log(float(self.rule.weights @ np.exp(point.f)))
        return point.temperature * entropy + float(energy) - float(self.uniform_energy)

    def growth_rate(self, point: Point) -> float:
        """Return the largest real part of the rates of small changes that keep the axis and the mass."""
        return float(self.axial_rates(point)[0])

    def axial_rates(self, point: Point) -> Floats:
        """Return the real parts of the rates of small changes that keep the axis and the mass, the largest first.

        For changes √ρ h the linearised equation is ∂_t h = −H(τ − D) h. H = −ρ^{−1/2} ∇·ρ∇ ρ^{−1/2} is BᵀB with
        B = ∇ − ½∇f, and has the one zero √ρ; D = √ρ Φ′ √ρ with Φ′ the derivative of Φ in the measure.
        """
        rule, tau = self.rule, point.temperature
        slope = self.drift.slope(point.p) / tau
        root, root_w = np.sqrt(point.p)[:, None], np.sqrt(rule.weights)[:, None]
        # √ρ takes fewer modes than ρ.
        sizes = np.abs((root_w * root).T @ rule.basis)[0]
        n = min(self.n_modes, int(np.flatnonzero(sizes > _NEGLIGIBLE * sizes.max())[-1]) + _MORE) + 1
        basis, slopes = rule.basis[:, :n], rule.slopes[:, :n]
        ring = np.sqrt((1 - rule.cosines) * (1 + rule.cosines))[:, None]
        b = root_w * ring * (slopes - 0.5 * slope[:, None] * basis)
        weighted = root_w * basis
        d = (root * weighted).T @ self.drift.derivative(point.p) @ (root * weighted)
        zero = weighted.T @ root
        # A basis of the changes that keep the mass: all columns but the first of a reflection that maps e_0 to √ρ.
        reflector = zero[:, 0] / np.linalg.norm(zero)
        reflector[0] -= 1.0
        size = float(reflector @ reflector)
        others = np.eye(n)[:, 1:]
        if size > 0:
            others = others - (2 / size) * np.outer(reflector, reflector[1:])
        generator = -(others.T @ (b.T @ b)) @ (tau * others - d @ others)
        return np.sort(np.linalg.eigvals(generator).real)[::-1]

    def rates(self, point: Point, *, order: int) -> Floats:
        """Return the real parts of the rates of small changes of an order m, the largest first.

        For m > 0 they are h(u) Y(ω), with a harmonic Y of degree m of the direction ω about the axis. As in
        `axial_rates` ∂_t h = −H(τ − D) h. In the basis of harmonics of the sphere H is the matrix of
        −Δ + ½Δf + ¼|∇f|², of which the second term is −½ ∇f·∇(ab) between two functions a and b.
        """
        if order == 0:
            return self.axial_rates(point)
        rule, tau, dim = self.rule, point.temperature, self.dim
        psi = of_order(rule.cosines, self.n_modes - order, dim=dim, order=order)
        dpsi = slopes_of_order(rule.cosines, self.n_modes - order, dim=dim, order=order)
        slope = (rule.weights * self.drift.slope(point.p) / tau)[:, None]
        squares = ((1 - rule.cosines) * (1 + rule.cosines))[:, None]
        cross = (slope * dpsi).T @ psi
        h = np.diag(rule.eigenvalues[order:]) - 0.5 * (cross + cross.T)
        h += 0.25 * (slope**2 * squares / rule.weights[:, None] * psi).T @ psi
        weighted = np.sqrt(point.p * rule.weights)[:, None] * psi
        d = weighted.T @ self.drift.derivative(point.p, order=order) @ weighted
        return np.sort(np.linalg.eigvals(-h @ (tau * np.eye(len(h)) - d)).real)[::-1]


def _solved(matrix: Floats, right: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.solve(matrix, right))
    except np.linalg.LinAlgError as error:
        raise NotConvergedError from error


def between(equation: Equation, first: Point, last: Point, *, value: Callable[[Point], float]) -> Point:
    """Return the solution between two others, on their branch, where a function that changes its sign is 0."""
    start = equation.place(first)
    chord = equation.place(last) - start
    length = float(np.hypot(*chord))
    direction = chord / length

    def at(share: float) -> Point:
        f = (1 - share) * first.f + share * last.f
        log_temperature = (1 - share) * first.log_temperature + share * last.log_temperature
        target = float(direction @ start) + share * length
        return equation.solve(equation.point(f, log_temperature), direction=direction, target=target)

    ends = [value(point) for point in (first, last)]
    if not ends[0] * ends[1] < 0:  # one of them is 0 to rounding
        return first if abs(ends[0]) < abs(ends[1]) else last

    def inside(share: float) -> float:
        return ends[round(share)] if share in (0.0, 1.0) else value(at(share))

    return at(float(scipy.optimize.brentq(inside, 0.0, 1.0, xtol=1e-15, rtol=1e-14)))
