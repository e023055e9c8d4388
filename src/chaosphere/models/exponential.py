"""Exponential Runge–Kutta steps, for densities that diffuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.checks import Floats

_CIRCLE = 32  # points of the contour
State = NDArray[Any]  # of real or complex numbers


class ExponentialStep:
    """A step of unit time of ∂_s c = z c + N(c), z <= 0, of order 4: ETDRK4 of Cox and Matthews.

    The coefficients are means over a circle about z, as Kassam and Trefethen take them: next to 0 their formulas lose
    all digits.

    Parameters
    ----------
    z : ndarray of float64, shape (K,)
    of_mode : ndarray of int, shape (n,), optional
        Which z a mode has. Default: one mode for each.
    """

    def __init__(self, z: Floats, of_mode: NDArray[np.int64] | None = None) -> None:
        circle = z[:, None] + np.exp(1j * np.pi * (np.arange(_CIRCLE) + 0.5) / _CIRCLE)  # half of it: z is real
        e = np.exp(circle)

        def of_modes(values: Floats) -> Floats:
            return values if of_mode is None else values[of_mode]

        def mean(values: Any) -> Floats:
            return of_modes(np.asarray(values.mean(axis=1).real))

        self.full, self.half = of_modes(np.exp(z)), of_modes(np.exp(0.5 * z))
        self.inner = mean((np.exp(0.5 * circle) - 1) / circle)
        self.first = mean((-4 - circle + e * (4 - 3 * circle + circle**2)) / circle**3)
        self.middle = mean((2 + circle + e * (circle - 2)) / circle**3)
        self.last = mean((-4 - 3 * circle - circle**2 + e * (4 - circle)) / circle**3)

    def __call__(self, c: State, slope: Callable[[State], State]) -> State:
        """Return c after the step."""
        start = slope(c)
        a = self.half * c + self.inner * start
        at_a = slope(a)
        at_b = slope(self.half * c + self.inner * at_a)
        at_end = slope(self.half * a + self.inner * (2 * at_b - start))
        change = self.first * start + 2 * self.middle * (at_a + at_b) + self.last * at_end
        return np.asarray(self.full * c + change)
