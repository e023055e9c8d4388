"""Sums of derivatives against long double: every instruction set, edges of blocks, masks, and polynomials."""

import numpy as np
import pytest
from support import cases, twins

from chaosphere.interactions.polynomials import KernelPolynomial
from chaosphere.kernels.tangent import LOWER, UPPER, tangent_sums

SHAPES = [(1, 1, 3), (2, 33, 2), (31, 32, 3), (65, 64, 5), (193, 5, 2), (33, 100, 34), (264, 265, 3)]


def problem(n_rows, n_columns, dim, dtype, *, n_replicas=2, n_plain=None):
    """Vectors a, b, u, g, c, e of several sizes, and exponents and terms of rows and columns."""
    rng = np.random.default_rng([n_rows, n_columns, dim])
    sizes = [(n_rows, dim), (n_columns, dim), (n_rows, 2 * dim), (n_columns, 2 * dim), (n_columns, dim)]
    sizes.append((n_columns, dim + 1 if n_plain is None else n_plain))
    vectors = [rng.uniform(-1, 1, (n_replicas, *size)).astype(dtype) / np.sqrt(size[1]).astype(dtype) for size in sizes]
    rows = [rng.uniform(-3, 1, (n_replicas, n_rows)), rng.uniform(-1, 1, (1, n_rows))]
    columns = [rng.uniform(-3, 1, (1, n_columns)), rng.uniform(-1, 1, (n_replicas, n_columns))]
    return vectors, rows, columns


def tolerance(dim, dtype, exponent=8.0):
    """Of the sum of the sizes of terms: rounded exponents, terms and sums in chains of up to 192."""
    return 2 * float(np.finfo(dtype).eps) * ((dim + 4) * exponent + 2 * dim + 64)


def check(vectors, rows, columns, *, dtype, dim, scales=(1.0, 1.0), mask=0, decay=0.0, exponent=8.0):
    numbers = rows[0], columns[0], rows[1], columns[1], *scales, mask, decay
    got = tangent_sums(*vectors, *numbers, 2)
    want, size = twins.tangent_sums(vectors, rows=rows, columns=columns, scales=scales, mask=mask, decay=decay)
    twins.assert_close(got, want, atol=tolerance(dim, dtype, exponent) * size + 1e-300)
    return got


@pytest.mark.parametrize("mask", [0, LOWER, UPPER])
@pytest.mark.parametrize(("n_rows", "n_columns", "dim"), SHAPES)
def test_they_are_the_sums_over_all_pairs(isa, dtype, n_rows, n_columns, dim, mask):
    n_rows = n_columns if mask else n_rows
    vectors, rows, columns = problem(n_rows, n_columns, dim, dtype)
    decay = 0.05 if mask else 0.0
    check(vectors, rows, columns, dtype=dtype, dim=dim, scales=(3.0, -0.5), mask=mask, decay=decay)


def test_columns_of_no_weight_and_sums_without_plain_vectors(isa, dtype):
    vectors, rows, columns = problem(40, 50, 3, dtype)
    columns[0][:, ::3] = -np.inf
    check(vectors, rows, columns, dtype=dtype, dim=3)
    numbers = rows[0], columns[0], None, None, 1.0, 1.0, 0, 0.0, 1
    both = tangent_sums(*vectors, *numbers)
    assert np.array_equal(tangent_sums(*vectors[:5], None, *numbers), both[..., :4])
    assert np.array_equal(tangent_sums(*vectors[:4], vectors[4][..., :0], None, *numbers)[..., 0], both[..., 3])
    without = [vectors[0], vectors[1], vectors[2][..., :0], vectors[3][..., :0], *vectors[4:]]
    constant = tangent_sums(*without, *numbers[:3], np.ones((1, 50)), *numbers[4:])
    plain = tangent_sums(*without[:5], vectors[4], *numbers[:3], np.ones((1, 50)), *numbers[4:])
    assert np.array_equal(constant[..., :3], plain[..., 4:])


@pytest.mark.parametrize("decay", [5.0, 1e4, 1e15])
@pytest.mark.parametrize("mask", [LOWER, UPPER])
def test_a_fast_decay_keeps_its_digits(isa, dtype, mask, decay):
    """Only pairs of a small distance count, and their exponents are differences of places: nothing large is added."""
    vectors, rows, columns = problem(300, 300, 3, dtype, n_replicas=1)
    check(vectors, rows, columns, dtype=dtype, dim=3, mask=mask, decay=decay, exponent=8 + 64 * min(decay, 40))


def test_exponents_beyond_all_floats_are_cut(isa, dtype):
    x = np.ones((1, 1, 1), dtype)
    limit = 1023 if dtype == np.float64 else 127
    for exponent, want in ((1e4, 2.0 ** (limit - 1)), (limit, 2.0 ** (limit - 1)), (-1e4, 0.0)):
        exponents = np.full((1, 1), float(exponent))
        got = tangent_sums(x, x, x, x, x, None, exponents, None, None, None, 0.0, 0.5, 0, 0.0, 1)
        assert (got == want).all()


@pytest.mark.parametrize("degrees", [(0, 1), (4, 5), (60, 61)])
@pytest.mark.parametrize(("n_rows", "n_columns", "dim"), [(1, 1, 2), (33, 70, 3), (40, 33, 64)])
def test_polynomials_in_place_of_powers(isa, dtype, n_rows, n_columns, dim, degrees):
    vectors, _, _ = problem(n_rows, n_columns, dim, dtype)
    rng = np.random.default_rng(0)
    series = [rng.uniform(-1, 1, degree + 1) / (1 + np.arange(degree + 1.0)) for degree in degrees]
    kernel = [KernelPolynomial.of(values, dtype=dtype) for values in series]
    numbers = None, None, None, None, 1.0, 1.0, 0, 0.0, 1
    got = tangent_sums(*vectors, *numbers, *(v for p in kernel for v in (p.coefficients, p.is_series)))
    a, b, u, g, c, e = (v.astype(np.longdouble) for v in vectors)
    cosines, t = a @ np.swapaxes(b, 1, 2), u @ np.swapaxes(g, 1, 2)
    slope, function = (np.polynomial.chebyshev.chebval(cosines, values) for values in series)
    c = np.concatenate([c, np.ones((*c.shape[:2], 1))], axis=2)
    want = np.concatenate([(slope * t) @ c, function @ e], axis=2)
    error = max(p.error + dim * np.finfo(dtype).eps * degree**2 for p, degree in zip(kernel, degrees, strict=True))
    atol = n_columns * (error + 200 * dim * np.finfo(dtype).eps)
    twins.assert_close(got, want, atol=float(atol))


def test_one_thread_or_many(isa, dtype):
    for n_replicas, n in ((1, 500), (7, 40)):
        vectors, rows, columns = problem(n, n, 5, dtype, n_replicas=n_replicas)
        for mask in (0, LOWER, UPPER):
            numbers = rows[0], columns[0], rows[1], columns[1], 1.0, 1.0, mask, 0.1
            want = tangent_sums(*vectors, *numbers, 1)
            assert all(np.array_equal(tangent_sums(*vectors, *numbers, n_threads), want) for n_threads in (2, 3, 8))


def test_layouts_and_replicas(dtype):
    vectors, rows, columns = problem(40, 50, 3, dtype)
    numbers = rows[0], columns[0], rows[1], columns[1], 1.0, 1.0, 0, 0.0, 1
    want = tangent_sums(*vectors, *numbers)
    for name in cases.layouts(vectors[0]):
        assert np.array_equal(tangent_sums(*(cases.layouts(v)[name] for v in vectors), *numbers), want)
    for r in range(2):
        one = slice(r, r + 1)
        own = rows[0][one], columns[0], rows[1], columns[1][one], *numbers[4:]
        assert np.array_equal(tangent_sums(*(v[one] for v in vectors), *own), want[one])


def test_wrong_shapes_are_refused():
    vectors, rows, columns = problem(40, 50, 3, np.float64)
    numbers = [rows[0], columns[0], rows[1], columns[1], 1.0, 1.0, 0, 0.0, 1]
    for index in range(6):
        wrong = list(vectors)
        wrong[index] = wrong[index][:, :-1]
        if index != 0:
            with pytest.raises(AssertionError):
                tangent_sums(*wrong, *numbers)
    for index in range(4):
        wrong = list(numbers)
        wrong[index] = wrong[index][:, :-1]
        with pytest.raises(AssertionError, match=r"row|column"):
            tangent_sums(*vectors, *wrong)
    with pytest.raises(AssertionError, match="mask"):
        tangent_sums(*vectors, *numbers[:6], LOWER, 0.0, 1)
    with pytest.raises(ValueError, match="dtype"):
        tangent_sums(vectors[0].astype(np.float32), *vectors[1:], *numbers)
