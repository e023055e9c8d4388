"""The registry of statistics that studies observe, and threads of observables."""

import dataclasses

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.measures.observables import STATISTICS, Measure, measure, value_of, with_threads

OPTIONS = {"beta": 2.0, "above": 0.5, "tolerance": 0.1}


@pytest.mark.parametrize("name", [name for name, statistic in STATISTICS.items() if not statistic.is_of_radii])
def test_a_statistic_is_the_function_of_its_name(name):
    statistic, x = STATISTICS[name], cs.sample_uniform(20, 3, rng=0, n_replicas=4)
    options = {key: OPTIONS[key] for key in statistic.options}
    values = Measure(name=name, options=tuple(options.items()))(0.0, x)
    assert np.array_equal(values, getattr(cs.measures, name)(x, **options))
    assert values.shape == (4,)
    assert (statistic.at_least <= values).all()
    assert (values <= statistic.at_most).all()
    for key in statistic.required:
        with pytest.raises(TypeError, match=key):
            statistic.function(x, **{k: v for k, v in options.items() if k != key})
    statistic.function(x, **{key: options[key] for key in statistic.required})


@pytest.mark.parametrize("power", [-1.0, 0.0, 2.0])
def test_a_statistic_of_radii(power):
    radii = np.random.default_rng(0).exponential(size=(4, 20))
    x = cs.sample_uniform(20, 3, rng=0, n_replicas=4)
    expected = np.mean(radii**power, axis=1)
    for observable in (cs.measures.RadiusMoment(power=power), measure("radius_moment", (("power", power),))):
        values = value_of(observable, 0.0, tokens=x, radii=radii)
        np.testing.assert_allclose(values, expected, rtol=1e-14)
        assert value_of(observable, 0.0, tokens=x[0], radii=radii[0]) == values[0]
        narrow = value_of(observable, 0.0, tokens=x, radii=radii.astype(np.float32))
        assert narrow.dtype == np.float64


@pytest.mark.parametrize("power", [np.nan, np.inf])
def test_powers_that_are_no_numbers(power):
    with pytest.raises(ValueError, match="power must be"):
        cs.measures.RadiusMoment(power=power)
    with pytest.raises(TypeError, match="power must be"):
        cs.measures.RadiusMoment(power="2")


def test_moments_that_are_no_floats():
    radii = np.array([[1e-3, 1e3]])
    for power in (200.0, -200.0):
        with pytest.raises(ValueError, match=r"it is not for power = -?200 and radii from 0\.001 to 1e\+03"):
            cs.measures.RadiusMoment(power=power).of_state(0.0, np.eye(2)[None], radii)


def test_words():
    assert Measure(name="mean_cosine").words == "mean cosine"
    assert Measure(name="pair_fraction", options=(("above", 0.5),)).words == "pair fraction (above 0.5)"


@dataclasses.dataclass(frozen=True)
class Threads:
    n_threads: int | None = None

    def __call__(self, time, x):
        return self.n_threads


def test_threads_are_those_of_the_run_unless_set():
    assert with_threads(Threads(), 3)(0.0, None) == 3
    assert with_threads(Threads(2), 3)(0.0, None) == 2
    energy = with_threads(cs.measures.Energy(beta=1.0), 3)
    assert (energy.n_threads, energy.beta) == (3, 1.0)
    for function in (len, Threads, lambda t, x: 0.0):
        assert with_threads(function, 3) is function
