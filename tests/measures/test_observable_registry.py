"""The registry of statistics that studies observe, and threads of observables."""

import dataclasses

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.measures.observables import STATISTICS, Measure, with_threads

OPTIONS = {"beta": 2.0, "above": 0.5, "tolerance": 0.1}


@pytest.mark.parametrize("name", STATISTICS)
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
