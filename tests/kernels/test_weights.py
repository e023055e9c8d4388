"""The exponential of the attention kernel by itself, against long double."""

import numpy as np
import pytest

from chaosphere.kernels import attention as kernel

pytestmark = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 2e-19, reason="long double is no wider than double on this machine"
)
# docs/developers/error-bounds.md derives them: with a table of roots, and without.
BOUND = {("avx512", np.float64): 2.5e-16, ("avx512", np.float32): 1.8e-7}
WITHOUT_TABLE = {np.float64: 5.6e-16, np.float32: 3.0e-7}


def powers(a, sign, shift=0.0):
    """2^(sign a² − shift) by systems of one token (a, 0): the partition sum is that one weight."""
    x = np.zeros((len(a), 1, 2), a.dtype)
    x[:, 0, 0] = a
    form = np.diag(np.full(2, sign)).astype(a.dtype)
    return kernel.attend_bounded(x, form, None, None, 1.0, shift, True, 1)[1][:, 0]


def arguments(dtype):
    """Squares over all exponents, dense near 0 and around the points where the rounding to n/16 or n/32 turns."""
    top = np.sqrt(1021.0 if dtype == np.float64 else 125.0)
    halves = np.sqrt((np.arange(200) + 0.5) / (16 if dtype == np.float64 else 32))
    near = np.concatenate([halves * (1 + s * 1e-6) for s in (-1, 0, 1)])
    rng = np.random.default_rng(0)
    return np.concatenate([[0.0], rng.uniform(0, top, 20_000), np.geomspace(1e-30, 1, 2000), near]).astype(dtype)


@pytest.mark.parametrize("sign", [-1, 1])
def test_error_of_one_weight(isa, dtype, sign):
    a = arguments(dtype)
    if sign > 0:
        a = a[: len(a) // 2] / 8  # weights above 1 come from rounding alone
    exact = np.exp2(sign * (a * a).astype(np.longdouble))  # a² rounded to the type, as in the kernel
    error = np.abs(powers(a, sign) / exact - 1)
    assert float(error.max()) <= BOUND.get((isa, dtype), WITHOUT_TABLE[dtype])
    assert float(error.max()) > 1e-17  # the comparison sees something


def test_powers_of_two_are_exact(isa, dtype):
    a = np.arange(1, 32 if dtype == np.float64 else 12).astype(dtype)
    for sign in (-1, 1):
        b = a if sign < 0 else a[:5]
        assert np.array_equal(powers(b, sign), np.exp2(sign * b.astype(float) ** 2))


def test_vanishing_weights_are_zero(isa, dtype):
    low = -960 if dtype == np.float64 else -102
    a = np.zeros(3, dtype)
    assert np.array_equal(powers(a, 1, -low), np.full(3, 2.0**low))
    for shift in (0.5 - low, 1500.0, 1e30, np.inf):
        assert np.array_equal(powers(a, 1, shift), np.zeros(3))


def test_not_a_number_is_seen(isa, dtype):
    for shift in (0.0, 1500.0):
        assert np.isnan(powers(np.full(1, np.nan, dtype), 1, shift)).all()
