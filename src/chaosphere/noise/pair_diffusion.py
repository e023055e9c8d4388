"""The diffusion of the cosine u = ⟨X, Y⟩ of two tokens under the noise alone: a ∂²/∂u² + b ∂/∂u.

a = (1−u²)[κ(1) − uκ(u) + (1−u²)η(u)] and b = (d−2+u²)κ(u) − (d−1)κ(1)u − u(1−u²)η(u) (arXiv:2604.26898, two-point
motion of the limiting SDE, for η = 0). With η the Itô equation of a token stays dX = P_X dW(X) − ½(d−1)κ(1)X dt: there
E⟨X, W⟩P_X W = 0, and the drifts that η could add would be isotropic tangent vectors. The covariance of P_X W and P_Y W
gains η in both coefficients.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from chaosphere.common.chebyshev import Array
from chaosphere.noise.kernel import Kernel


class Point(NamedTuple):
    """Points of [−1, 1] in a coordinate s: 1 − u, 1 + u, du/ds and its logarithmic derivative."""

    gap: Array
    rest: Array
    speed: Array
    log_speed_slope: Array

    def change(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Return the coefficients in s of the generator a ∂²/∂u² + b ∂/∂u."""
        in_s = a / self.speed**2
        return in_s, b / self.speed - in_s * self.log_speed_slope


def at_y(y: Array) -> Point:
    """Return points in the coordinate y = artanh u."""
    gap, rest = 2.0 * scipy.special.expit(-2.0 * y), 2.0 * scipy.special.expit(2.0 * y)
    return Point(gap, rest, gap * rest, -2.0 * np.tanh(y))


def coefficients(kernel: Kernel, point: Point) -> tuple[Array, Array]:
    """Return a and b at the points, free of cancellation at u = 1, and at u = −1 if the field is odd."""
    # For an odd field u → −u maps a to itself and b to −b.
    is_mirrored = kernel.is_odd & (point.gap > 1.0)
    near = np.where(is_mirrored, point.rest, point.gap)
    u = 1.0 - near
    value, quotient, eta = kernel(u), kernel.difference_quotient(u), (1.0 + u) * kernel.eta(u)
    diffusion = near * (quotient + value + eta)
    drift = near * ((kernel.dim - 1) * (kernel(1.0) - quotient) - (1.0 + u) * value - u * eta)
    return point.gap * point.rest * diffusion, np.where(is_mirrored, -drift, drift)
