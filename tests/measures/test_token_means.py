"""Means over tokens of a function of a token."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common import ordered_sums


def test_against_numpy(monkeypatch):
    """Also in chunks, which change no bit."""
    x = cs.sample_uniform(1000, 3, rng=0, n_replicas=2)
    mean = cs.measures.TokenMean(function=lambda x: np.stack([x[..., 0], x[..., 1] ** 2], axis=-1))
    values = mean(0.0, x)
    np.testing.assert_allclose(values, np.stack([x[..., 0], x[..., 1] ** 2], axis=-1).mean(axis=1), atol=1e-15)
    monkeypatch.setattr(ordered_sums, "_CHUNK", 64)
    assert np.array_equal(mean(0.0, x), values)
    assert np.array_equal(mean(0.0, x[1]), values[1])


def test_numbers():
    mean = cs.measures.TokenMean(function=lambda x: x[..., 0] > 0)
    assert mean(0.0, np.array([[1.0, 0.0], [-1.0, 0.0]])) == 0.5


@pytest.mark.parametrize("function", [lambda x: x.sum(), lambda x: x + 1j, lambda x: x[..., None]])
def test_what_is_no_number_of_each_token(function):
    with pytest.raises(ValueError, match="function must return real numbers of shape"):
        cs.measures.TokenMean(function=function)(0.0, np.eye(2))


def test_no_function():
    with pytest.raises(TypeError, match="function must be callable"):
        cs.measures.TokenMean(function=3)
