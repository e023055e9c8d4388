"""Polynomials of cosines over pairs: the stated error of their values, and every instruction set and block shape."""

from functools import cache

import numpy as np
import pytest
from numpy.polynomial import chebyshev
from support import cases, twins

from chaosphere.interactions.polynomials import KernelPolynomial
from chaosphere.kernels import attention as kernel

RNG = np.random.default_rng(0)
SERIES = {
    "constant": np.array([0.7]),
    "linear": np.array([0.7, -0.3]),
    "exp": chebyshev.chebinterpolate(lambda u: np.exp(4 * (u - 1)), 20),
    "peak": chebyshev.chebinterpolate(lambda u: np.exp(200 * (u - 1)), 120),
    "waves": chebyshev.chebinterpolate(lambda u: np.cos(20 * u), 50),
    "degree 30": np.append(np.zeros(30), 1.0),
    "last": np.append(np.zeros(64), 1.0),
    "rough": RNG.standard_normal(300) / 300,
}


def values(series, u, dtype):
    """The polynomial at cosines u, by the kernel: of pairs of one token with others on the circle."""
    polynomial = KernelPolynomial.of(series, dtype=dtype)
    x = np.stack([u, np.sqrt(1 - u**2)], axis=1)
    x = np.concatenate([[[1.0, 0.0]], x]).astype(dtype)
    p = np.append(1.0, np.zeros(len(u)))
    options = {"polynomial": polynomial.coefficients, "is_series": polynomial.is_series, "is_partition": True}
    out = kernel.attend_bounded(x[None], None, None, p[None], 1.0, 0.0, True, 1, **options)[1][0, 1:]
    return out, x[1:, 0].astype(np.longdouble), polynomial


@pytest.mark.parametrize("kind", SERIES)
def test_the_stated_error_of_values(isa, dtype, kind):
    """The cosine with (1, 0) is the first coordinate, without rounding; so is the weight 1."""
    u = np.concatenate([np.linspace(-1, 1, 2001), np.cos(np.pi * np.arange(2000) / 2000), [-1.0, 0.0, 1.0]])
    got, cosines, polynomial = values(SERIES[kind], u, dtype)
    want = chebyshev.chebval(cosines, SERIES[kind].astype(np.longdouble))
    error = float(np.abs(got - want).max())
    unit = 2.0 if isa == "baseline" else 1.0  # products that are not fused are rounded, too
    assert error <= unit * polynomial.error
    # The bound tells something: what it says is within some thousands of what happens.
    assert polynomial.error <= 1e4 * max(error, np.finfo(dtype).eps * np.abs(want).max())


def test_what_is_evaluated():
    is_series = {kind: KernelPolynomial.of(series, dtype=np.float64).is_series for kind, series in SERIES.items()}
    assert is_series == {
        "constant": False,
        "linear": False,
        "exp": False,
        "peak": True,
        "waves": True,
        "degree 30": True,
        "last": True,
        "rough": True,
    }
    narrow = KernelPolynomial.of(SERIES["exp"], dtype=np.float32)
    assert len(narrow.coefficients) < len(SERIES["exp"])
    assert narrow.coefficients.dtype == np.float32


SHAPES = [(1, 3), (2, 2), (33, 3), (257, 3), (1537, 3), (257, 17), (33, 130), (520, 23), (520, 47)]


@cache
def reference(n, dim, dtype, kind):
    """Sums over tokens and of coefficients alone; the tokens, of two systems, and their weights."""
    x, p = cases.tokens(n, dim, dtype, n_replicas=2), cases.weights(n)
    y = np.asarray(x, np.float64)
    coefficients = p * chebyshev.chebval(y @ y.swapaxes(1, 2), SERIES[kind])
    return x, p, coefficients @ y, coefficients.sum(axis=2)


@pytest.mark.parametrize("kind", ["exp", "degree 30"])
@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_shapes(isa, dtype, n, dim, kind):
    x, p, want, want_sums = reference(n, dim, dtype, kind)
    polynomial = KernelPolynomial.of(SERIES[kind], dtype=dtype)
    options = {"polynomial": polynomial.coefficients, "is_series": polynomial.is_series}
    # Rounding of a cosine moves the value by at most the largest slope, at 1 here.
    slope = float(chebyshev.chebval(1.0, chebyshev.chebder(SERIES[kind])))
    atol = 2 * polynomial.error + np.finfo(dtype).eps * ((4 + dim) * slope + 64)
    out, sums = kernel.attend_bounded(x, None, None, p[None], 1.0, 0.0, True, 2, **options)
    twins.assert_close(out, want, atol=atol, dtype=dtype)
    assert (sums == 0).all()
    nothing, sums = kernel.attend_bounded(x, None, None, p[None], 1.0, 0.0, True, 2, **options, is_partition=True)
    assert nothing is None
    twins.assert_close(sums, want_sums, atol=atol)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_map": np.eye(3)}, "polynomial"),
        ({"value_map": np.eye(3)}, "polynomial"),
        ({"polynomial": np.empty(0)}, "polynomial"),
        ({"polynomial": None, "is_series": True}, "polynomial"),
        ({"polynomial": None, "is_partition": True, "is_symmetric": False}, "is_partition"),
        ({"scale": 2.0}, "scale, is_symmetric"),
        ({"is_symmetric": False}, "scale, is_symmetric"),
        ({"is_partition": True, "step": 0.1}, "is_partition"),
    ],
)
def test_what_the_kernel_refuses(changes, message):
    arguments = {"query_map": None, "value_map": None, "weights": None, "scale": 1.0, "shift": 0.0}
    arguments |= {"is_symmetric": True, "n_threads": 1, "polynomial": np.ones(2)}
    with pytest.raises(AssertionError, match=message):
        kernel.attend_bounded(cases.tokens(5, 3), **(arguments | changes))
