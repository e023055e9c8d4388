"""Normalised steps and the distance from the sphere: accuracy, extreme lengths, reports of bad rows."""

import numpy as np
import pytest
from support import cases, twins

from chaosphere.kernels import sphere as kernel

# Work items hold 1024 rows.
SHAPES = [(1, 2), (2, 3), (33, 5), (40, 17), (7, 130), (1023, 3), (1024, 3), (1025, 3)]


def norm_error(x):
    return np.abs(np.sqrt((x.astype(np.longdouble) ** 2).sum(axis=-1)) - 1).max()


@pytest.mark.parametrize(("n", "dim"), SHAPES)
@pytest.mark.parametrize("n_replicas", [1, 3])
def test_step_against_its_twin(isa, dtype, n, dim, n_replicas):
    x = cases.tokens(n, dim, dtype, n_replicas=n_replicas)
    v = np.random.default_rng(0).standard_normal(x.shape).astype(dtype)
    out, bad = kernel.step(x, v, 0.3, 2)
    assert bad == -1
    # x + αv is rounded to the dtype once (its length here is at least about 0.1), and so is the quotient; the norm is
    # a sum of dim squares in double.
    eps = float(np.finfo(dtype).eps)
    norm = np.linalg.norm(x + 0.3 * v, axis=-1, keepdims=True)
    largest = np.abs(x + 0.3 * v).max(axis=-1, keepdims=True) + np.abs(x).max(axis=-1, keepdims=True)
    atol = 2 * eps * (1 + largest * np.sqrt(dim) / norm) + dim * 2.3e-16
    twins.assert_close(out, twins.step(x, v, 0.3).astype(float), atol=atol, dtype=dtype)
    assert norm_error(out) <= eps * (1 + dim**0.5 / 2) + dim * 2.3e-16


def test_no_direction_only_normalises(isa, dtype):
    x = cases.tokens(50, 3, dtype) * dtype(3.7)
    out, bad = kernel.step(x, None, 123.0, 1)
    assert bad == -1
    twins.assert_close(out, twins.step(x).astype(float), atol=2 * np.finfo(dtype).eps, dtype=dtype)


@pytest.mark.parametrize("exponent", [-1070, -1060, -1030, -1000, -500, -140, 0, 500, 1000, 1020])
def test_extreme_lengths_in_double(isa, exponent):
    directions = np.random.default_rng(0).integers(-7, 8, size=(1, 40, 5)).astype(float)
    directions[..., 0] = 3
    x = np.ldexp(directions, exponent)  # exact: the integers survive even as subnormal numbers
    out, bad = kernel.step(x, None, 0.0, 1)
    assert bad == -1
    twins.assert_close(out, twins.step(directions).astype(float), atol=4e-16)


@pytest.mark.parametrize("exponent", [-147, -140, -126, 0, 100, 124])
def test_extreme_lengths_in_single(isa, exponent):
    directions = np.random.default_rng(0).integers(-7, 8, size=(1, 40, 5)).astype(np.float32)
    directions[..., 0] = 3
    out, bad = kernel.step(np.ldexp(directions, exponent), None, 0.0, 1)
    assert bad == -1
    twins.assert_close(out, twins.step(directions).astype(float), atol=1.2e-7, dtype=np.float32)


@pytest.mark.parametrize("smallest", [5e-324, 1e-323, 1e-320, 1e-310])
def test_subnormal_rows_reach_the_sphere(isa, smallest):
    out, bad = kernel.step(np.full((1, 1, 2), smallest), None, 0.0, 1)
    assert bad == -1
    twins.assert_close(out, np.full((1, 1, 2), 0.5**0.5), atol=4e-16)


def test_rows_of_mixed_magnitude(isa):
    x = np.array([[[1e-200, 1e-200, 0.0], [1e200, 1e-200, 1e200], [1e-320, 1e300, 0.0]]])
    out, bad = kernel.step(x, None, 0.0, 1)
    assert bad == -1
    twins.assert_close(out, np.array([[[0.5**0.5, 0.5**0.5, 0], [0.5**0.5, 0, 0.5**0.5], [0, 1, 0]]]), atol=4e-16)


def test_a_step_in_the_place_of_its_directions(isa, dtype):
    x, v = cases.tokens(3000, 5, dtype, n_replicas=2), cases.tokens(3000, 5, dtype, n_replicas=2, seed=1)
    want, _ = kernel.step(x, v, 0.3, 2)
    got, _ = kernel.step(x, v, 0.3, 2, v)
    assert got is v
    assert np.array_equal(got, want)


@pytest.mark.parametrize("value", [0.0, -0.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(0, 0), (0, 1500), (1, 0), (2, 1023), (2, 1024)])
def test_the_first_bad_row_is_reported(isa, dtype, value, at):
    x = cases.tokens(1600, 3, dtype, n_replicas=3)
    x[at] = value
    x[2, 1599] = 0  # a later one must not win
    x[2, 1200] = np.nan
    for n_threads in (1, 3):
        out, bad = kernel.step(x, None, 0.0, n_threads)
        assert bad == at[0] * 1600 + at[1]
    good = np.ones(x.shape[:2], bool)
    good[at] = good[2, 1599] = good[2, 1200] = False
    assert norm_error(out[good]) < 2 * np.finfo(dtype).eps


@pytest.mark.parametrize("row", [[np.nan, 0, 0], [0, np.nan, 0], [0, 0, np.nan], [np.inf, np.nan, 1], [1, -np.inf, 0]])
def test_not_a_number_anywhere_in_a_row_is_reported(isa, dtype, row):
    x = cases.tokens(5, 3, dtype)
    x[0, 3] = row
    assert kernel.step(x, None, 0.0, 1)[1] == 3
    off, where = kernel.deviation(x)
    assert off == np.inf
    assert where == (0, 3)


def test_a_step_to_the_origin_is_reported(isa, dtype):
    x = cases.tokens(40, 3, dtype)
    v = np.zeros_like(x)
    v[0, 17] = -x[0, 17] * 4
    assert kernel.step(x, v, 0.25, 1)[1] == 17
    v[0, 17] = np.finfo(dtype).max  # overflows in the sum
    assert kernel.step(x, v, 8.0, 1)[1] == 17


def test_layouts_do_not_matter(isa, dtype):
    x = cases.tokens(70, 5, dtype, n_replicas=2)
    v = cases.tokens(70, 5, dtype, n_replicas=2, seed=1)
    want = kernel.step(x, v, 0.5, 2)[0]
    v.flags.writeable = False
    off = kernel.deviation(x)[0]
    for name, same in cases.layouts(x).items():
        assert np.array_equal(kernel.step(same, v, 0.5, 2)[0], want), name
        assert kernel.deviation(same)[0] == pytest.approx(off, abs=1e-16), name


@pytest.mark.parametrize(("n", "dim"), SHAPES)
def test_deviation_finds_the_largest_and_its_row(isa, dtype, n, dim):
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    eps = float(np.finfo(dtype).eps)
    assert kernel.deviation(x)[0] <= eps * (1 + dim**0.5 / 2) + dim * 2.3e-16
    x[1, n // 2] *= dtype(1.25)
    x[0, n - 1] *= dtype(0.875)
    off, where = kernel.deviation(x)
    assert where == (1, n // 2)
    assert off == pytest.approx(0.25, abs=4 * eps + dim * 2.3e-16)
    assert kernel.deviation(x[1:]) == (off, (0, n // 2))
    x[1, n // 2] = 0
    assert kernel.deviation(x) == (1.0, (1, n // 2))


def test_deviation_reports_the_first_of_several_that_are_not_finite(isa, dtype):
    x = cases.tokens(40, 3, dtype, n_replicas=3)
    x[1, 5] = 1e10
    x[1, 20, 1] = np.inf
    x[2, 0, 0] = np.nan
    assert kernel.deviation(x) == (np.inf, (1, 20))
