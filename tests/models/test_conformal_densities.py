"""Densities that stay of one form: the image of the uniform law under conformal maps (on the circle Ott–Antonsen's).

The drift P_x p of a vector p moves every token by a conformal map of the sphere. Where p is a function of the measure,
as p = K ∫ y dμ is, tokens that start from the uniform law under such a map keep the density
((1 − w²)/|x − w|²)^{d−1} about an axis, and w moves by dw/dt = ½ (1 − w²) |p|.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import roots_gegenbauer, roots_legendre

import chaosphere as cs

TO_THE_MEAN = cs.PotentialInteraction([0.0, 1.0])  # K = 1


def density(u, w, dim):
    return ((1 - w * w) / (1 - 2 * w * u + w * w)) ** (dim - 1)


def moments(w, dim):
    """Means of the cosine to the axis and of its square."""
    if dim == 2:
        u = np.cos(np.pi * (np.arange(400) + 0.5) / 400)
        weights = np.ones(400)
    else:
        u, weights = roots_legendre(200) if dim == 3 else roots_gegenbauer(200, (dim - 2) / 2)
    weights = weights * density(u, w, dim)
    return np.array([weights @ u, weights @ u**2]) / weights.sum()


def parameter(start, dim, horizon):
    """w at the horizon."""
    path = solve_ivp(
        lambda _, w: 0.5 * (1 - w * w) * moments(w[0], dim)[0], (0, horizon), [start], rtol=1e-12, atol=1e-14
    )
    return path.y[0, -1]


def equation(n_steps):
    return cs.LimitSDE(attention=TO_THE_MEAN, field=None, horizon=1.0, n_steps=n_steps, scheme="rk4")


def law(dim, axis, w=0.3):
    return cs.laws.Density(function=lambda x: density(x @ axis, w, dim), dim=dim, bound=1.01 * density(1.0, w, dim))


def test_ott_antonsen_on_the_circle():
    """The moments are powers of r, which grows as dr/dt = ½ r (1 − r²)."""
    axis = np.array([0.6, 0.8])
    sol = cs.CircleDensity(model=equation(50), law=law(2, axis), n_modes=128).solve(rng=0)
    odds = (0.3 / np.sqrt(1 - 0.09)) * np.exp(0.5)  # r/√(1 − r²) grows exponentially
    r = odds / np.sqrt(1 + odds**2)
    assert parameter(0.3, 2, 1.0) == pytest.approx(r, rel=1e-9)
    for k in (1, 2, 5):
        assert abs(sol.modes[-1, k]) == pytest.approx(r**k, rel=1e-7)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_about_an_axis(dim):
    axis = np.eye(dim)[0]
    model = cs.LimitSDE(attention=TO_THE_MEAN, field=None, horizon=1.0, n_steps=50, scheme="rk4")
    sol = cs.AxisymmetricDensity(model=model, law=law(dim, axis), axis=axis, n_modes=64).solve()
    first, square = moments(parameter(0.3, dim, 1.0), dim)
    assert sol.modes[-1, 1] == pytest.approx(first, rel=1e-8)
    assert sol.modes[-1, 2] == pytest.approx((dim * square - 1) / (dim - 1), rel=1e-7)  # the mean of P_2


def test_on_the_sphere():
    pytest.importorskip("ducc0", reason="needs the extra sphere")
    axis = np.array([0.48, 0.6, 0.64])
    sol = cs.SphereDensity(model=equation(50), law=law(3, axis), n_modes=40).solve(rng=0)
    first, _ = moments(parameter(0.3, 3, 1.0), 3)
    np.testing.assert_allclose(sol.mean_vector[-1], first * axis, atol=1e-8)
