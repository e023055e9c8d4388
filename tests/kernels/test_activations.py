"""The compiled activations against 40-digit values, with one error bound each.

An error is measured in units of eps max(|φ(x)|, min(|x|, 1)), plus the smallest subnormal number: relative to φ
where φ is of order one or x is small, absolute (in units of eps) in the tails where φ vanishes at large |x|.
"""

from functools import cache

import mpmath as mp
import numpy as np
import pytest

from chaosphere.kernels import layer as kernel
from chaosphere.noise.activations import ACTIVATIONS

# Largest errors seen over both dtypes and three instruction sets, of millions of float32 numbers: silu 1.45, gelu 1.8,
# tanh 1.8, sigmoid 1.45, erf 1.6 (baseline), sin 1.0, cos 1.1, softplus 2.2 (avx512), leaky_relu 0.6, elu 1.35,
# gaussian 1.2.
BOUND = {
    "relu": 0.0,
    "silu": 1.5,
    "gelu": 2.0,
    "tanh": 1.9,
    "sigmoid": 1.5,
    "erf": 1.75,
    "sin": 1.25,
    "cos": 1.25,
    "linear": 0.0,
    "softplus": 2.25,
    "leaky_relu": 0.75,
    "elu": 1.5,
    "gaussian": 1.25,
}
EXACT = {
    "relu": lambda x: max(x, mp.mpf(0)),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "erf": mp.erf,
    "sin": mp.sin,
    "cos": mp.cos,
    "linear": lambda x: x,
    "softplus": lambda x: max(x, mp.mpf(0)) + mp.log1p(mp.exp(-abs(x))),
    "leaky_relu": lambda x: max(x, x / 100),
    "elu": lambda x: x if x > 0 else mp.expm1(x),
    "gaussian": lambda x: mp.exp(-x * x / 2),
}
SINE_RANGE = {np.float64: 1e6, np.float32: 1e4}  # beyond it the C library takes over
names = pytest.mark.parametrize("name", ACTIVATIONS)


@cache
def points(dtype):
    rng = np.random.default_rng(0)
    size = 300 if dtype == np.float64 else 36  # decades below one that are not subnormal
    x = [
        np.linspace(-12, 12, 601),
        3 * rng.standard_normal(400),
        0.1 * rng.standard_normal(100),
        rng.uniform(-45, 45, 150),
        rng.uniform(-760, 760, 60),
        10.0 ** rng.uniform(-size, -3, 60) * rng.choice([-1, 1], 60),
        np.array(
            [0.0, -0.0, 0.5, np.nextafter(0.5, 0), 2**0.5 / 2, 1e4, -1e4, 1e-8, np.finfo(dtype).smallest_subnormal]
        ),
        np.array([700.0, 709.0, 710.0, 745.0, 750.0, 87.0, 88.5, 104.0]) * np.array([[1], [-1]]),
    ]
    return np.concatenate([part.ravel() for part in x]).astype(dtype)


@cache
def near_multiples(dtype):
    """Where sin or cos is smallest, and both sides of every decade up to the limit of the fast reduction."""
    rng, limit = np.random.default_rng(1), SINE_RANGE[dtype]
    n = np.concatenate([np.arange(-50, 51), rng.integers(-int(limit / 1.6), int(limit / 1.6), 200)])
    x = np.concatenate([n * np.pi / 2, rng.uniform(-limit, limit, 200), [limit, -limit]]).astype(dtype)
    return x[np.abs(x) <= limit]


@cache
def exact(name, which, dtype):
    """φ as the sum of a double and its remainder, so that errors come out right beyond double precision."""
    with mp.workdps(40):
        values = [EXACT[name](mp.mpf(float(x))) for x in which(dtype)]
        high = np.array([float(v) for v in values])
        return high, np.array([float(v - mp.mpf(h)) for v, h in zip(values, high, strict=True)])


def check(name, which, dtype, got=None):
    x = which(dtype)
    got = kernel.activate(x, ACTIVATIONS[name].kernel_id) if got is None else got
    high, low = exact(name, which, dtype)
    assert got.dtype == dtype
    assert np.isfinite(got).all()
    error = np.abs((got.astype(float) - high) - low)
    size = np.maximum(np.abs(high), np.minimum(np.abs(x.astype(float)), 1))
    finfo = np.finfo(dtype)
    allowed = BOUND[name] * (float(finfo.eps) * size + float(finfo.smallest_subnormal))
    worst = np.argmax(error - allowed)
    assert (error <= allowed).all(), (
        f"{name}({x[worst]!r}) = {got[worst]!r}: error {error[worst] / (float(finfo.eps) * size[worst]):.3g} units"
    )


@names
def test_error_bound(isa, dtype, name):
    check(name, points, dtype)


@names
def test_error_bound_of_many_numbers(isa, name):
    """float32 beside float64, whose own error does not tell there."""
    x = np.random.default_rng(2).uniform(-2, 2, 400_000).astype(np.float32)
    got, expected = (kernel.activate(y, ACTIVATIONS[name].kernel_id).astype(float) for y in (x, x.astype(float)))
    size = np.maximum(np.abs(expected), np.minimum(np.abs(x.astype(float)), 1))
    assert (np.abs(got - expected) <= BOUND[name] * float(np.finfo(np.float32).eps) * size).all()


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_error_bound_up_to_the_limit_of_the_range_reduction(isa, dtype, name):
    check(name, near_multiples, dtype)


def beyond(dtype):
    limit = SINE_RANGE[dtype]
    return np.array([1e8, -1e8, 3e7, np.nextafter(dtype(limit), dtype(np.inf)), -2 * limit, 0.25, -1.5], dtype)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_error_bound_beyond_the_limit_of_the_range_reduction(isa, dtype, name):
    check(name, beyond, dtype)


# What φ is at large positive and at large negative x; 0 stands for a tail.
ENDS = {
    "tanh": (1, -1),
    "erf": (1, -1),
    "sigmoid": (1, 0),
    "silu": ("x", 0),
    "gelu": ("x", 0),
    "softplus": ("x", 0),
    "elu": ("x", -1),
    "gaussian": (0, 0),
}


@pytest.mark.parametrize("name", ENDS)
def test_huge_arguments_saturate(isa, dtype, name):
    x = np.array([1e8, 1e30, np.finfo(dtype).max], dtype)
    for sign, end in zip((1, -1), ENDS[name], strict=True):
        got = kernel.activate(dtype(sign) * x, ACTIVATIONS[name].kernel_id)
        if end == 0:
            # The smallest normal number stands for e^{-x}; the tail is that, or the x where e^{-x} is it times it.
            assert (np.abs(got) <= 710 * np.finfo(dtype).tiny).all()
        else:
            assert np.array_equal(got, x if end == "x" else np.full(3, end))


@pytest.mark.parametrize("name", [name for name, phi in ACTIVATIONS.items() if phi.is_odd])
@pytest.mark.parametrize("which", [points, near_multiples, beyond])
def test_odd_functions_are_odd_bit_for_bit(isa, dtype, name, which):
    x, kernel_id = which(dtype), ACTIVATIONS[name].kernel_id
    x = x[x != 0]
    bits = f"u{np.dtype(dtype).itemsize}"
    plus, minus = kernel.activate(x, kernel_id), -kernel.activate(-x, kernel_id)
    different = plus.view(bits) != minus.view(bits)
    assert not different.any(), f"{name} at {x[different][:5]}: {plus[different][:5]} and {minus[different][:5]}"


@pytest.mark.parametrize("name", [name for name, phi in ACTIVATIONS.items() if phi.is_odd])
def test_odd_functions_keep_the_sign_of_zero(isa, dtype, name):
    got = kernel.activate(np.array([0.0, -0.0], dtype), ACTIVATIONS[name].kernel_id)
    assert got.tolist() == [0, 0]
    assert np.signbit(got).tolist() == [False, True]


@names
@pytest.mark.parametrize("n", [1, 5, 32, 33])
def test_not_a_number_goes_through_alone(isa, dtype, name, n):
    x = np.linspace(-3, 3, n, dtype=dtype)
    x[n // 2] = np.nan
    got = kernel.activate(x, ACTIVATIONS[name].kernel_id)
    assert np.isnan(got[n // 2])
    assert np.isfinite(np.delete(got, n // 2)).all()


def test_infinite_arguments(isa, dtype):
    x = np.array([np.inf, -np.inf], dtype)
    limits = {
        "relu": [np.inf, 0],
        "tanh": [1, -1],
        "linear": [np.inf, -np.inf],
        "leaky_relu": [np.inf, -np.inf],
        "elu": [np.inf, -1],
        "erf": [1, -1],
    }
    for name, want in limits.items():
        assert kernel.activate(x, ACTIVATIONS[name].kernel_id).tolist() == want, name
    sigmoid = kernel.activate(x, ACTIVATIONS["sigmoid"].kernel_id)
    assert sigmoid[0] == 1
    assert 0 <= sigmoid[1] <= np.finfo(dtype).tiny
    for name in ("silu", "gelu"):
        got = kernel.activate(x, ACTIVATIONS[name].kernel_id)
        assert got[0] == np.inf, name
        assert -710 * np.finfo(dtype).tiny <= got[1] <= 0, name
    softplus = kernel.activate(x, ACTIVATIONS["softplus"].kernel_id)
    assert softplus[0] == np.inf
    assert 0 <= softplus[1] <= 2 * np.finfo(dtype).tiny
    gaussian = kernel.activate(x, ACTIVATIONS["gaussian"].kernel_id)
    assert (gaussian >= 0).all()
    assert (gaussian <= np.finfo(dtype).tiny).all()
    for name in ("sin", "cos"):
        assert np.isnan(kernel.activate(x, ACTIVATIONS[name].kernel_id)).all(), name


def test_even_functions_are_even_bit_for_bit(isa, dtype):
    x = points(dtype)
    for name in ("cos", "gaussian"):
        kernel_id = ACTIVATIONS[name].kernel_id
        assert np.array_equal(kernel.activate(x, kernel_id), kernel.activate(-x, kernel_id)), name


@names
def test_ids_name_the_functions_that_python_has(isa, name):
    x = np.linspace(-3, 3, 101)
    phi = ACTIVATIONS[name]
    # scipy and NumPy are within a few ulp of φ as well.
    assert np.allclose(kernel.activate(x, phi.kernel_id), phi(x), rtol=1e-14, atol=1e-15)


@names
def test_input_is_left_alone_and_may_be_read_only(isa, dtype, name):
    x = np.linspace(-3, 3, 50, dtype=dtype)
    x.flags.writeable = False
    kernel.activate(x, ACTIVATIONS[name].kernel_id)
    assert np.array_equal(x, np.linspace(-3, 3, 50, dtype=dtype))
