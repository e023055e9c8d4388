"""Functions that become polynomials: to the tolerance, or with an error that says why not."""

import math

import numpy as np
import pytest
from numpy.polynomial import Chebyshev, Hermite, HermiteE, Laguerre, Legendre, Polynomial

import chaosphere as cs

U = np.cos(np.pi * np.arange(20_001) / 20_000)
# W and W′.
FUNCTIONS = {
    "exp": (lambda u: np.exp(4 * u) / 4, lambda u: np.exp(4 * u)),
    "peaked": (lambda u: np.exp(100 * (u - 1)) / 100, lambda u: np.exp(100 * (u - 1))),
    "shifted": (lambda u: 10 + np.exp(3 * u), lambda u: 3 * np.exp(3 * u)),
    "runge": (lambda u: 1 / (1 + 25 * u**2), lambda u: -50 * u / (1 + 25 * u**2) ** 2),
    "waves": (lambda u: np.sin(60 * u + 0.3), lambda u: 60 * np.cos(60 * u + 0.3)),
    "log": (lambda u: np.log(1.1 - u), lambda u: -1 / (1.1 - u)),
    "odd": (lambda u: u**9, lambda u: 9 * u**8),
    "linear": (lambda u: 2 * u, lambda u: 2 + 0 * u),
    "constant": (lambda u: 7 + 0 * u, lambda u: 0 * u),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("tolerance", [1e-10, 1e-6, 1e-2])
@pytest.mark.parametrize("has_derivative", [False, True])
def test_the_tolerance_is_kept(kind, tolerance, has_derivative):
    function, slope = FUNCTIONS[kind]
    interaction = cs.PotentialInteraction(function, slope if has_derivative else None, tolerance=tolerance)
    scale = np.abs(slope(U)).max()
    assert np.abs(interaction.derivative(U) - slope(U)).max() <= tolerance * scale
    # W is the integral of W′ with the right value at 1.
    assert (
        np.abs(interaction.potential(U) - function(U)).max() <= 2 * tolerance * scale + 1e-13 * abs(function(U)).max()
    )
    assert np.abs(interaction.potential.deriv()(U) - interaction.derivative(U)).max() <= 1e-12 * scale


def test_tight_tolerances_with_a_derivative():
    for kind in ("exp", "peaked", "runge", "waves", "log"):
        function, slope = FUNCTIONS[kind]
        interaction = cs.PotentialInteraction(function, slope, tolerance=1e-13)
        # The values of a series have rounding errors of their own.
        slack = 1e-13 + 1e-15 * interaction.derivative.degree()
        assert np.abs(interaction.derivative(U) - slope(U)).max() <= slack * np.abs(slope(U)).max()


def test_degrees_are_as_small_as_the_tolerance_allows():
    degrees = [
        cs.PotentialInteraction(FUNCTIONS["exp"][0], tolerance=t).derivative.degree() for t in (1e-2, 1e-6, 1e-12)
    ]
    assert degrees == sorted(degrees)
    assert 5 <= degrees[0] <= 8
    assert 16 <= degrees[2] <= 20
    assert cs.PotentialInteraction(FUNCTIONS["linear"][0]).derivative.degree() == 0
    assert cs.PotentialInteraction(FUNCTIONS["odd"][0]).derivative.degree() == 8


@pytest.mark.parametrize("cls", [Polynomial, Chebyshev, Legendre, Hermite, HermiteE, Laguerre])
def test_polynomials_are_taken_as_they_are(cls):
    for polynomial in (cls([0.5, -1.0, 0.25, 2.0]), cls([1, 2, 3], domain=[0, 5])):
        interaction = cs.PotentialInteraction(polynomial)
        slope = polynomial.deriv()
        np.testing.assert_allclose(interaction.potential(U), polynomial(U), rtol=0, atol=1e-13)
        np.testing.assert_allclose(interaction.derivative(U), slope(U), rtol=0, atol=1e-13)
        assert interaction.potential.degree() == polynomial.degree()
        # Small coefficients are not cut off, whatever the tolerance.
    tiny = cs.PotentialInteraction(cls([0, 1, 0, 1e-14]), tolerance=0.1)
    assert tiny.potential.degree() == 3


def test_lists_are_coefficients_of_powers():
    one = cs.PotentialInteraction([0, 0, 0.5])
    assert one == cs.PotentialInteraction(Polynomial([0, 0, 0.5])) == cs.PotentialInteraction((0, 0, 0.5), [0, 1])
    assert one == cs.PotentialInteraction(np.array([0.0, 0.0, 0.5], np.float32))


def test_polynomials_and_functions_may_be_mixed():
    for potential, derivative in [
        (Polynomial([0, 0, 0.5]), lambda u: u),
        (lambda u: u**2 / 2, Polynomial([0, 1])),
        (Polynomial([0, 0, 0.5]), Chebyshev([0, 1])),
    ]:
        interaction = cs.PotentialInteraction(potential, derivative)
        np.testing.assert_allclose(interaction.derivative(U), U, rtol=0, atol=1e-15)
        np.testing.assert_allclose(interaction.potential(U), U**2 / 2, rtol=0, atol=1e-15)


def test_integers_and_float32_are_converted():
    ints = cs.PotentialInteraction(lambda u: np.zeros(u.shape, int) + 3)
    assert ints.derivative.degree() == 0
    narrow = cs.PotentialInteraction(lambda u: np.float32(0.5) * u.astype(np.float32), tolerance=1e-3)
    np.testing.assert_allclose(narrow.derivative(U), 0.5, rtol=0, atol=5e-4)


def test_a_function_cannot_change_what_is_asked_of_it():
    def cruel(u):
        value = u**2
        u[:] = 0
        return value

    np.testing.assert_allclose(cs.PotentialInteraction(cruel).derivative(U), 2 * U, rtol=0, atol=1e-9)


def raising(u):
    raise RuntimeError("no")


@pytest.mark.parametrize("name", ["potential", "derivative"])
@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (3.0, TypeError, "must be a function, a polynomial of NumPy or a list of coefficients, got 3.0"),
        ("u", TypeError, "must be a function, a polynomial of NumPy or a list of coefficients, got 'u'"),
        ([], ValueError, r"must be a list of one coefficient or more, got shape \(0,\)"),
        ([[1.0]], ValueError, r"must be a list of one coefficient or more, got shape \(1, 1\)"),
        (["a"], TypeError, "must be an array of real numbers"),
        ([0.0, np.inf], ValueError, "must have finite coefficients, got inf"),
        (np.ma.array([1.0]), TypeError, "must not be a masked array"),
        (lambda u: 1.0, ValueError, r"must return one number for each .*, got \(\); np.vectorize"),
        (lambda u: u[:-1], ValueError, "must return one number for each"),
        (lambda u: np.stack([u, u]), ValueError, "must return one number for each"),
        (lambda u: u + 0j, TypeError, "must return real numbers, got ndarray of complex128"),
        (lambda u: u > 0, TypeError, "must return real numbers, got ndarray of bool"),
        (lambda u: None, TypeError, "must return real numbers, got NoneType of object"),
        (lambda u: np.where(u < -0.5, np.nan, u), ValueError, r"must be finite on \[-1, 1\], got nan at -0"),
        (lambda u: np.where(u > 0.99, np.inf, u), ValueError, r"must be finite on \[-1, 1\], got inf at 0.99"),
        (raising, ValueError, ".*; it raised RuntimeError: no"),
        (lambda: 1.0, ValueError, ".*; it raised TypeError"),
        (np.abs, ValueError, "is not smooth enough: a polynomial of degree 1024 misses .* of its largest value, and"),
        (lambda u: np.sqrt(1.000001 - u), ValueError, "is not smooth enough"),
        (lambda u: np.sign(u), ValueError, "is not smooth enough"),
        (Polynomial([1j]), TypeError, "must have real coefficients, got complex128"),
        (Polynomial([0.0, np.nan]), ValueError, "must have finite coefficients, got nan"),
        (Chebyshev.basis(1025), ValueError, "must have degree <= 1024, got 1025"),
    ],
)
def test_bad_functions(name, function, error, message):
    functions = {"potential": Polynomial([0.0, 1.0]), name: function}
    with pytest.raises(error, match=f"{name} {message}"):
        cs.PotentialInteraction(**functions)


def test_values_at_the_ends_must_be_finite():
    """The points at which a function is interpolated lie within."""
    with pytest.raises(ValueError, match=r"potential must be finite on \[-1, 1\], got inf at 1"):
        cs.PotentialInteraction(lambda u: np.where(u == 1.0, np.inf, u))


def test_the_message_names_degree_error_and_way_out():
    with pytest.raises(ValueError, match=r"degree 1024 misses its derivative by 0\.\d+ of its .* or pass derivative"):
        cs.PotentialInteraction(np.abs)
    with pytest.raises(ValueError, match=r"derivative is not smooth enough: .* and tolerance is 1e-10; smooth it, or"):
        cs.PotentialInteraction(lambda u: 0.5 * u * np.abs(u), np.abs)
    close = cs.PotentialInteraction(lambda u: np.abs(u) ** 3 / 3, lambda u: u * np.abs(u), tolerance=1e-4)
    assert np.abs(close.derivative(U) - U * np.abs(U)).max() <= 1e-4


@pytest.mark.parametrize("derivative", [np.cos, lambda u: -np.sin(u), Polynomial([0.0, 2.0])])
def test_a_derivative_of_something_else(derivative):
    message = (
        r"derivative must be that of potential: from u = -?[\d.]+ to 1 potential changes by .*, and the integral of"
    )
    for potential in (np.exp, Polynomial([0.0, 0.0, 0.0, 1.0])):
        with pytest.raises(ValueError, match=message):
            cs.PotentialInteraction(potential, derivative)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tolerance": 0.0}, ValueError, "tolerance must be a finite number >= 1e-13 and <= 0.1"),
        ({"tolerance": 0.5}, ValueError, "tolerance must be a finite number >= 1e-13 and <= 0.1"),
        ({"tolerance": math.nan}, ValueError, "tolerance must be a finite number"),
        ({"tolerance": "1"}, TypeError, "tolerance must be a real number"),
        ({"method": "fast"}, ValueError, "method: unknown 'fast'"),
        ({"method": "nufft"}, ValueError, "method: unknown 'nufft'"),
        ({"potential": lambda u: 1e101 * u}, ValueError, r"derivative of potential must be <= 1e\+100 .* got 1e\+101"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        cs.PotentialInteraction(**({"potential": np.exp} | changes))


def test_bad_calls():
    interaction, x = cs.PotentialInteraction(np.exp), cs.sample_uniform(10, 3, rng=0)
    for function in (interaction, interaction.energy):
        with pytest.raises(ValueError, match="x must lie on the unit sphere"):
            function(2 * x)
        with pytest.raises(ValueError, match="weights must sum to 1"):
            function(x, np.ones(10))
        with pytest.raises(ValueError, match="n_threads must be an integer >= 1"):
            function(x, n_threads=0)
    for method, dim, message in [("fourier", 3, "serves dim 2, got 3"), ("harmonic", 2, "serves dim >= 3, got 2")]:
        with pytest.raises(ValueError, match=message):
            cs.PotentialInteraction(np.exp, method=method)(cs.sample_uniform(10, dim, rng=0))
    with pytest.raises(ValueError, match=r"does not serve a potential of degree \d+ in dim 17 \(too many terms\)"):
        cs.PotentialInteraction(np.exp, method="harmonic").resolve(10, 17)
    with pytest.raises(ValueError, match=r"must be <= 3.4e\+30 in size for float32 tokens, got 1e\+31"):
        cs.PotentialInteraction(lambda u: 1e31 * u)(x.astype(np.float32))
    for bad in ((0, 3), (2, 1)):
        with pytest.raises(ValueError, match="must be an integer >="):
            interaction.resolve(*bad)
    with pytest.raises(ValueError, match="degree must be an integer >= 1"):
        interaction.linear_response(0, 3)
    with pytest.raises(ValueError, match="n_modes must be an integer >= 1"):
        interaction.circle_drift(0)
    with pytest.raises(TypeError, match="takes from 2 to 3 positional arguments"):
        cs.PotentialInteraction(np.exp, np.exp, 1e-3)
