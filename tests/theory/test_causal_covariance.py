"""The covariance of positions under causal attention, in closed form."""

import math

import numpy as np
import pytest
import scipy

import chaosphere as cs

# Interaction, d, degree, t, σ₀, σ, λ and the limit, computed without this library.
VALUES = [
    (cs.SoftmaxAttention(beta=2.0), 2, 1, 2.0, 0.3, 1.0, 0.0, 1.0349118030277638),
    (cs.UnnormalizedAttention(beta=1.0), 2, 1, 1.5, 0.3, 1.0, 0.0, 1.36054598047712),
    (cs.SoftmaxAttention(beta=2.0), 2, 1, 2.0, 0.5, 1.0, 3.0, 0.847146109472362),
    (cs.SoftmaxAttention(beta=4.0), 3, 2, 1.0, 0.25, 0.75, 0.0, 1.2288106878347436),
]


@pytest.mark.parametrize(("interaction", "dim", "degree", "time", "earlier", "later", "decay", "expected"), VALUES)
def test_values(interaction, dim, degree, time, earlier, later, decay, expected):
    options = {"earlier": earlier, "later": later, "time": time, "decay": decay}
    assert cs.theory.causal_covariance(interaction, degree, dim, **options) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("value_scale", [1.0, -1.0])
@pytest.mark.parametrize("decay", [0.0, 2.0])
def test_it_solves_the_equation_of_the_prefix(value_scale, decay):
    """C(σ, t) = ∫₀ᵗ a (1/s(σ)) ∫_{σ₀}^σ w C(s) + w(σ₀)/s(σ), by quadrature over positions and Heun's steps."""
    attention = cs.SoftmaxAttention(beta=2.0, value_scale=value_scale)
    a, earlier, horizon = cs.theory.growth_rate(attention, 1, 2), 0.2, 1.5
    sigma = np.linspace(earlier, 1.0, 2001)
    weight = np.exp(decay * sigma)
    mass = np.expm1(decay * sigma) / decay if decay else sigma

    def slope(c):
        inner = scipy.integrate.cumulative_trapezoid(weight * c, sigma, initial=0.0)
        return a * (weight[0] + inner) / mass

    c, n_steps = np.zeros_like(sigma), 300
    for _ in range(n_steps):
        first = slope(c)
        c = c + horizon / n_steps * 0.5 * (first + slope(c + horizon / n_steps * first))
    for k in (500, 1000, 2000):
        options = {"earlier": earlier, "later": float(sigma[k]), "time": horizon, "decay": decay}
        assert cs.theory.causal_covariance(attention, 1, 2, **options) == pytest.approx(c[k], rel=2e-5)


def test_limits_of_the_decay_and_of_time():
    attention = cs.SoftmaxAttention(beta=2.0)
    options = {"earlier": 0.5, "later": 1.0}
    without = cs.theory.causal_covariance(attention, 1, 2, time=1.0, **options)
    assert cs.theory.causal_covariance(attention, 1, 2, time=1.0, decay=1e-9, **options) == pytest.approx(without)
    assert cs.theory.causal_covariance(attention, 1, 2, time=0.0, **options) == 0.0
    assert cs.theory.causal_covariance(attention, 1, 2, time=1.0, decay=500.0, **options) < 1e-60
    assert cs.theory.causal_covariance(attention, 1, 2, time=1e300, **options) == math.inf


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"earlier": 1.0}, "earlier must be < later, got 1 and 1"),
        ({"earlier": 0.0}, "earlier must be a finite number >= 1e-09"),
        ({"later": 1.5}, "later must be"),
        ({"time": -1.0}, "time must be"),
        ({"decay": -1.0}, "decay must be"),
        ({"degree": 0}, "degree must be"),
        ({"interaction": cs.CustomInteraction(lambda x, p: x)}, "interaction must be an interaction with the method"),
    ],
)
def test_bad_input(changed, message):
    arguments = {"interaction": VALUES[0][0], "degree": 1, "dim": 2, "earlier": 0.3, "later": 1.0, "time": 1.0}
    with pytest.raises(ValueError, match=message):
        cs.theory.causal_covariance(**(arguments | changed))
