"""Central differences of order eight, for tests of derivatives.

With a step h and a function of size 1 that changes over a length 1/m, the error is of order (hm)⁸ and 1e-16/h.
"""

import numpy as np


def slope(function, h=5e-4):
    """The derivative of a function of one number at 0."""
    pairs = [
        (function(k * h) - function(-k * h)) * c for k, c in ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))
    ]
    return sum(pairs) / h


def slope_from_the_right(function, h=5e-4):
    """The derivative at 0 by values at 0 and to the right of it, of order six."""
    return sum(c * function(k * h) for k, c in enumerate([-147, 360, -450, 400, -225, 72, -10])) / (60 * h)


def great_circles(x, tangent):
    """A function s ↦ tokens that leave x with the velocity `tangent`, which is orthogonal to x, token by token."""
    length = np.linalg.norm(tangent, axis=-1, keepdims=True)
    return lambda s: np.cos(s * length) * x + np.sin(s * length) * tangent / length


def tangents(x, *, rng):
    """Random vectors orthogonal to x, of length about 1 in all."""
    v = rng.standard_normal(x.shape) / np.sqrt(x[..., 0].size)
    return v - (v * x).sum(axis=-1, keepdims=True) * x
