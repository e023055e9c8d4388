"""Branches of stationary states of an axisymmetric equation, followed by arclength in m and log τ."""

from __future__ import annotations

import math

import numpy as np

from chaosphere.common.checks import Floats
from chaosphere.theory.stationary import Equation, NotConvergedError, Point, between

MAX_MODES = 384  # of a state
_FIRST, _LONGEST, _SHORTEST = 0.02, 0.04, 1e-6  # steps in the plane of (m, log τ)
_LARGEST_TURN = 0.25  # of the branch within a step, in radians
_MAX_POINTS = 4000


class Follower:
    """Follows a branch, with more modes where they are needed.

    Attributes
    ----------
    equation : Equation
        With the number of modes at present.
    modes, coefficients, energies, rates : list
        Of the points so far.
    """

    def __init__(self, equation: Equation) -> None:
        self.equation = equation
        self.modes: list[Floats] = []
        self.coefficients: list[Floats] = []
        self.energies: list[float | None] = []
        self.rates: list[float] = []
        self._owners: list[Equation] = []

    def follow(self, start: float, end: float) -> list[Point]:
        """Return the points from the uniform law at log τ = start to log τ = end, which is the last."""
        points: list[Point] = []
        uniform = self.equation.point(np.zeros(self.equation.rule.n_nodes), start)
        self._add(points, uniform)
        direction, length = np.array([1.0, 0.0]), _FIRST
        point, guess = uniform, self.equation.small(length, start)
        while True:
            target = float(direction @ self.equation.place(point)) + length
            try:
                new = self.equation.solve(guess, direction=direction, target=target)
                change, unit = self.equation.along(new, direction)
                # At the uniform law itself the direction is not known: for an even degree log τ may change with m.
                is_good = len(points) == 1 or float(unit @ direction) >= math.cos(_LARGEST_TURN)
            except NotConvergedError:
                is_good = False
            if not is_good:
                length *= 0.5
                if length < _SHORTEST:
                    raise ValueError(
                        f"lowest must be higher, or the interaction less steep: the branch in dim {self.equation.dim} "
                        f"was lost at temperature {point.temperature:g} and mode {self.equation.mode(point):.6g}"
                    )
                guess = self._predicted(point, length, direction, len(points))
                continue
            if not self.equation.is_resolved(new):
                point = self._refined(point, new.temperature)
                self._change = self.equation.along(point, direction)[0]
                guess = self._predicted(point, length, direction, len(points))
                continue
            if new.log_temperature <= end:
                new = between(self.equation, point, new, value=lambda other: other.log_temperature - end)
                self._add(points, new)
                return points
            self._add(points, new)
            if len(points) >= _MAX_POINTS:
                raise ValueError(f"lowest must be higher: the branch has {_MAX_POINTS} points before it comes there")
            point, direction = new, unit
            length = min(_LONGEST, 1.5 * length)
            self._change = change
            guess = self._predicted(point, length, direction, len(points))

    def _predicted(self, point: Point, length: float, direction: Floats, n_points: int) -> Point:
        if n_points == 1:
            return self.equation.small(length, point.log_temperature)
        step = length * self._change
        return self.equation.point(point.f + step[:-1], point.log_temperature + float(step[-1]))

    def _refined(self, point: Point, temperature: float) -> Point:
        """Take more modes, for a state at a temperature, and return a point at the new nodes."""
        old = self.equation
        if 2 * old.n_modes > MAX_MODES:
            raise ValueError(
                f"lowest must be higher: the state at temperature {temperature:g} needs more than {MAX_MODES} modes"
            )
        self.equation = old.refined()
        return self.equation.carry(point, old)

    def _add(self, points: list[Point], point: Point) -> None:
        points.append(point)
        self.modes.append(self.equation.modes(point))
        self.coefficients.append(self.equation.coefficients(point))
        self.energies.append(self.equation.free_energy(point))
        self.rates.append(self.equation.growth_rate(point) if len(points) > 1 else 0.0)
        self._owners.append(self.equation)

    def _carried(self, points: list[Point], number: int) -> Point:
        """Return a point at the present nodes."""
        owner, point = self._owners[number], points[number]
        return point if owner is self.equation else self.equation.carry(point, owner)

    def fold(self, points: list[Point], top: int) -> Point:
        """Return the point of the highest temperature; `top` is the number of the highest point."""
        if top == 0:
            return self._carried(points, 0)
        before, highest, after = (self._carried(points, k) for k in (top - 1, top, top + 1))
        direction = self.equation.place(after) - self.equation.place(before)

        def slope(point: Point) -> float:
            return float(self.equation.along(point, direction)[1][1])

        if slope(highest) > 0:
            before, highest = highest, after
        elif top == 1:  # at the uniform law itself the slope is 0, or does not exist
            m, ahead = 0.01 * self.equation.mode(highest), np.array([1.0, 0.0])
            before = self.equation.solve(self.equation.small(m, points[0].log_temperature), direction=ahead, target=m)
        return between(self.equation, before, highest, value=slope)

    def coexistence(self, points: list[Point], energies: list[float]) -> Point | None:
        """Return the point at which the free energy falls below that of the uniform law."""
        if len(energies) < len(points):
            return None
        for number in range(1, len(points) - 1):
            if energies[number] > 0 >= energies[number + 1]:
                first, last = (self._carried(points, k) for k in (number, number + 1))
                return between(self.equation, first, last, value=lambda other: self.equation.free_energy(other) or 0.0)
        return None
