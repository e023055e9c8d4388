"""The comparison helper fails on wrong data, and the twins agree with values known in closed form."""

import math

import numpy as np
import pytest
from support import twins

X = np.random.default_rng(0).standard_normal((6, 3))


def wrong_nan():
    y = X.copy()
    y[2, 1] = np.nan
    return y


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (np.roll(X, 1, axis=0), "values are off"),
        (X + 1e-9, "values are off"),
        (X[::-1], "values are off"),
        (-X, "values are off"),
        (X.T, "shape"),
        (X[:5], "shape"),
        (X[None], "shape"),
        (wrong_nan(), "not finite"),
        (np.where(X > 1, np.inf, X), "not finite"),
        (X.astype(np.float32), "dtype"),
        (X.astype(np.longdouble), "dtype"),
    ],
)
def test_helper_fails_on_wrong_data(wrong, complaint):
    with pytest.raises(AssertionError, match=complaint):
        twins.assert_close(wrong, X, atol=1e-12, rtol=1e-12)


def test_helper_fails_on_a_transposed_square():
    with pytest.raises(AssertionError, match="values are off"):
        twins.assert_close(np.ascontiguousarray(X[:3].T), X[:3], atol=1e-12)


def test_helper_accepts_no_nan_even_where_one_is_expected():
    with pytest.raises(AssertionError, match="not finite"):
        twins.assert_close(wrong_nan(), wrong_nan(), atol=1.0)


def test_helper_names_the_worst_value():
    y = X.copy()
    y[4, 2] += 1e-3
    with pytest.raises(AssertionError, match=r"1 of 18 values are off; the worst, at \(4, 2\)"):
        twins.assert_close(y, X, atol=1e-6)


def test_helper_accepts_what_is_within_either_tolerance():
    twins.assert_close(X + 9e-7, X, atol=1e-6)
    twins.assert_close(X * (1 + 9e-7), X, rtol=1e-6)
    twins.assert_close(X.astype(np.float32), X, rtol=1e-7, dtype=np.float32)


def test_attention_of_two_antipodes():
    x = np.array([[0.0, 1.0], [0.0, -1.0]])
    mean, log_partition = twins.attention(x, 2.0)
    twins.assert_close(mean, math.tanh(2) * x, atol=1e-15)
    twins.assert_close(log_partition, np.full(2, math.log(math.cosh(2))), atol=1e-15)


def test_attention_uses_the_form_as_x_A_y():
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    a = np.array([[0.0, 1.0], [0.0, 0.0]])  # only x = e1 with y = e2 scores
    mean, log_partition = twins.attention(x, a, weights=[0.25, 0.75])
    total = 0.25 + 0.75 * math.e
    twins.assert_close(mean, np.array([[0.25 / total, 0.75 * math.e / total], [0.25, 0.75]]), atol=1e-15)
    twins.assert_close(log_partition, np.array([math.log(total), 0.0]), atol=1e-15)


def test_layer_by_hand():
    x, u, w = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([[1.0, 10.0], [2.0, 20.0]])
    out, magnitude = twins.layer(x, u, w, lambda z: np.maximum(z, 0), b=np.array([1.0, 5.0]), output_scale=0.5)
    twins.assert_close(out, np.array([[7.0, 14.0]]))  # before φ: 4, 1
    twins.assert_close(magnitude, np.array([[0.5 * (8 + 100), 108.0]]))  # |φ| + |z|: 4 + 4, 1 + 9


def test_step_by_hand():
    unit = twins.step(np.array([[3.0, 0.0]]), np.array([[0.0, 2.0]]), 2.0, dtype=np.float64)
    twins.assert_close(unit, np.array([[0.6, 0.8]]), atol=1e-15)
    tiny = twins.step(np.array([[5e-324, 5e-324]]))
    twins.assert_close(tiny.astype(float), np.full((1, 2), 0.5**0.5), atol=1e-15)


def test_pair_statistics_by_hand():
    x, p = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.array([0.5, 0.25, 0.25])
    energy = 2 * (0.125 * (1 - math.exp(-1)) + 0.125 * (1 - math.exp(-2)) + 0.0625 * (1 - math.exp(-1)))
    assert twins.pair_energy(x, 1.0, p) == pytest.approx(energy, rel=1e-14)
    histogram, on_edge = twins.pair_histogram(x, 3, p)
    twins.assert_close(histogram, np.array([0.25, 2 * (0.125 + 0.0625), 0.0]))
    assert not on_edge
    assert twins.pair_histogram(x, 4, p)[1]  # a cosine of 0 lies on the middle edge
