"""Activation functions: the stated facts against the functions themselves."""

import pickle

import numpy as np
import pytest

from chaosphere.kernels import abi
from chaosphere.noise import activations
from chaosphere.noise.activations import ACTIVATIONS, Activation, get

X = np.linspace(-8.0, 8.0, 4001)


def test_names_and_ids_are_those_of_the_compiled_kernels():
    assert set(ACTIVATIONS) == set(abi.activation_names())
    assert [abi.activation_names()[phi.kernel_id] for phi in ACTIVATIONS.values()] == list(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_is_the_slope(name):
    phi = ACTIVATIONS[name]
    x = X[np.min(np.abs(X[:, None] - np.array([*phi.kinks, 99.0])), axis=1) > 1e-3]
    h = 1e-5
    slope = (phi(x + h) - phi(x - h)) / (2 * h)
    np.testing.assert_allclose(phi.derivative(x), slope, atol=2e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_oddness_and_lipschitz_constant(name):
    phi = ACTIVATIONS[name]
    assert phi.is_odd == bool(np.max(np.abs(phi(X) + phi(-X))) < 1e-14)
    # The constant is the largest slope: that on a fine grid with far points, where softplus has it, is within 1e-5.
    slopes = np.abs(phi.derivative(np.append(X, [-40.0, 40.0])))
    assert np.max(slopes) == pytest.approx(phi.lipschitz, rel=1e-5)
    assert np.max(slopes) <= phi.lipschitz * (1 + 1e-15)


def test_gelu_is_the_exact_one():
    # x Φ(x) at 1 and −3, mpmath, 20 digits; the tanh approximation differs in the fourth.
    np.testing.assert_allclose(
        get("gelu")(np.array([1.0, -3.0])),
        [0.84134474606854294859, -0.00404969409489028358], rtol=1e-12,
    )  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_named_activations_pickle(name):
    assert pickle.loads(pickle.dumps(get(name))) == get(name)


def test_unknown_name_suggests_the_near_one():
    with pytest.raises(ValueError, match="'tahn'; did you mean 'tanh'"):
        get("tahn")
    with pytest.raises(ValueError, match="known: relu, silu"):
        get("xyz")
    with pytest.raises(TypeError, match="must be a name, a callable or an Activation"):
        get(3)


@pytest.mark.parametrize(
    ("function", "kinks"),
    [
        (np.tanh, []),
        (lambda x: np.sin(40 * x), []),
        (lambda x: np.maximum(x, 0.1 * x), [0.0]),
        (lambda x: np.clip(x, -1, 1), [-1.0, 1.0]),
        (lambda x: np.abs(x - 0.3), [0.3]),
        (np.sign, [0.0]),
    ],
)
def test_kinks_of_a_callable_are_found(function, kinks):
    np.testing.assert_allclose(get(function).kinks, kinks, atol=1e-8)


def test_kink_of_second_derivative_is_found():
    (kink,) = get(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))).kinks
    assert abs(kink) < 1e-4


def test_callable_is_wrapped():
    phi = get(lambda x: 3 * np.tanh(x))
    assert (phi.is_odd, phi.kernel_id, phi.derivative) == (True, None, None)
    assert phi.lipschitz == pytest.approx(3.0, rel=1e-3)
    assert get(phi) is phi
    assert not get(lambda x: np.tanh(x) + 1e-6).is_odd


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x[:3], "shape of its input"),
        (lambda x: np.where(x > 1, np.nan, x), "finite real"),
        (lambda x: x + 1j, "finite real"),
        (lambda x: 1.0 if x > 0 else 0.0, "elementwise"),
        (np.floor, "at most 8 kinks"),
    ],
)
def test_bad_callables_are_refused(function, message):
    with pytest.raises(ValueError, match=message):
        get(function)


def test_activation_is_frozen():
    phi = Activation(name="id", function=lambda x: x, is_odd=True, lipschitz=1.0)
    with pytest.raises(AttributeError):
        phi.name = "other"
    assert activations.get(phi) is phi
