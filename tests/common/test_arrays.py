"""Shapes of results, cosines and series."""

import numpy as np
import pytest

from chaosphere.common import checks
from chaosphere.common.arrays import like, of_replicas
from chaosphere.common.chebyshev import chebyshev_series, trimmed


def test_results_are_like_their_argument():
    assert type(like(0.5, np.array(2.0))) is float
    values = np.array([1.0, 2.0])
    assert like([0.1, 0.2], values) is values


@pytest.mark.parametrize(("values", "alone"), [(np.array([1.5]), 1.5), (np.array([3]), 3)])
def test_the_only_replica_has_a_number(values, alone):
    assert of_replicas(values, np.zeros((4, 3))) == alone
    assert type(of_replicas(values, np.zeros((4, 3)))) is type(alone)
    assert of_replicas(values, np.zeros((1, 4, 3))) is values


def test_the_only_replica_has_an_array():
    np.testing.assert_array_equal(of_replicas(np.ones((1, 3)), np.zeros((4, 3))), np.ones(3))


def test_cosines():
    np.testing.assert_array_equal(checks.cosines([-1, 0.5], "u"), [-1.0, 0.5])
    assert checks.cosines(1 + 1e-7, "u", slack=1e-6) == 1.0
    for value in (1 + 1e-7, [0.0, 1 + 1e-7], -2.0, np.nan):
        with pytest.raises(ValueError, match=r"u0 = .* must be in \[-1, 1\]"):
            checks.cosines(value, "u0")


def test_trimmed_series():
    series = chebyshev_series(lambda x: 2 * x**2 - 1, 20)
    assert len(trimmed(series, relative=1e-12)) == 3
    assert len(trimmed(series, relative=1e-12, min_degree=5)) == 6
