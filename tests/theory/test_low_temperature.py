"""Random heads at low temperature: the covariance of the noise against tables, limits and simulated heads."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.theory import low_temperature_kernel


@pytest.mark.parametrize(
    ("dim", "u", "single", "product"),
    [
        (8, 0.5, 0.475951842870645, 0.45791097978449236),
        (16, 0.5, 0.48809133828417517, 0.47781051415791903),
        (32, 0.3, 0.2957428061644507, 0.29186180582717747),
    ],
)
def test_mean_cosines_of_directions(dim, u, single, product):
    """Values of an independent computation, for a Gaussian matrix and for the product of two square ones."""
    assert low_temperature_kernel(dim)(u) == pytest.approx(single, rel=1e-12, abs=0)
    assert low_temperature_kernel(dim, dim)(u) == pytest.approx(product, rel=1e-12, abs=0)


@pytest.mark.parametrize(("dim", "head_dim"), [(8, 8), (8, 6), (8, 7), (16, 4), (4, 3), (3, 5), (300, 200)])
def test_exponent_of_close_tokens(dim, head_dim):
    kernel = low_temperature_kernel(dim, head_dim)
    exact = 0.5 * (dim - 1) * ((dim - 3) * (head_dim - 1) / ((dim - 2) * (head_dim - 2)) - 1)
    assert kernel.lyapunov_exponent() == pytest.approx(exact, rel=1e-12, abs=1e-12)
    assert kernel.is_odd


@pytest.mark.parametrize(("dim", "head_dim"), [(3, 3), (8, None), (8, 3), (64, 16), (200, 100)])
def test_derivative_and_symmetry(dim, head_dim):
    kernel, u, h = low_temperature_kernel(dim, head_dim), np.array([-0.9, -0.3, 0.1, 0.7]), 1e-5
    np.testing.assert_allclose(kernel.derivative(u), (kernel(u + h) - kernel(u - h)) / (2 * h), rtol=1e-8)
    np.testing.assert_allclose(kernel(-u), -kernel(u), rtol=1e-13)
    assert kernel(np.array([-1.0, 0.0, 1.0])).tolist() == [-1.0, 0.0, 1.0]


def test_many_rows_are_a_gaussian_matrix():
    """The error falls as 1/k."""
    u = np.array([0.2, 0.5, 0.9])
    exact = low_temperature_kernel(6)(u)
    first, second = (low_temperature_kernel(6, k)(u) - exact for k in (1000, 4000))
    assert (first < 0).all()
    np.testing.assert_allclose(second / first, 0.25, rtol=2e-3)


def test_drift_of_the_cosine_against_simulated_heads():
    """The drift (d − 2 + u²)s − (d − 1)u of the cosine, in units of t/d, by its mean over heads.

    200 000 Gaussian matrices for d = 32, u = 0.3. Null: the kernel. The mean is within 5 of its standard errors
    (false-alarm rate 6e-7). Over u(1 − u²) it is −1.47, for large d −3/2; −1 is ten standard errors away.
    """
    dim, u, n = 32, 0.3, 200_000
    rng = np.random.default_rng(5)
    # Aᵀx and Aᵀy are Gaussian vectors with correlation u.
    a, b = rng.standard_normal((2, n, dim))
    b = u * a + np.sqrt(1 - u * u) * b
    cosines = np.einsum("nc,nc->n", a, b) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    drift = ((dim - 2 + u * u) * cosines - (dim - 1) * u) / (u * (1 - u * u))
    error = drift.std(ddof=1) / np.sqrt(n)
    exact = ((dim - 2 + u * u) * low_temperature_kernel(dim)(u) - (dim - 1) * u) / (u * (1 - u * u))
    assert exact == pytest.approx(-1.4692269689072408, rel=1e-10)
    assert abs(drift.mean() - exact) < 5 * error
    assert abs(drift.mean() + 1) > 10 * error


def test_one_kernel_for_one_pair_of_dimensions():
    assert low_temperature_kernel(5, 4) is low_temperature_kernel(5, head_dim=4)
    assert low_temperature_kernel(5, 4) != low_temperature_kernel(5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((2,), "dim must be an integer >= 3"), ((4, 2), "head_dim must be an integer >= 3"), ((4.5,), "dim must be an")],
)
def test_bad_input(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        cs.theory.low_temperature_kernel(*arguments)
