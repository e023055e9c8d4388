"""Observables over time: lines and bands are those of the values, with the library's intervals."""

import numpy as np
import pytest
from matplotlib import pyplot

import chaosphere as cs

MODEL = cs.Transformer(attention=cs.SoftmaxAttention(beta=4.0), mlp=cs.MLP(width=8), depth=5, horizon=2.0)
X = cs.sample_uniform(20, 3, rng=0, n_replicas=6)
OBSERVE = {"energy": cs.measures.Energy(), "order_parameter": lambda t, x: cs.measures.order_parameter(x)}
RUN = cs.simulate(MODEL, X, rng=0, observe=OBSERVE)
ONE = cs.simulate(MODEL, X[0], rng=0, observe=OBSERVE)


def band(ax, index=0):
    """The lower and the upper end of a band at every time."""
    vertices = ax.collections[index].get_paths()[0].vertices
    low, high = {}, {}
    for time, value in vertices:
        low[time], high[time] = min(value, low.get(time, value)), max(value, high.get(time, value))
    return np.array([low[t] for t in sorted(low)]), np.array([high[t] for t in sorted(high)])


def legend(ax):
    return [] if ax.get_legend() is None else [text.get_text() for text in ax.get_legend().get_texts()]


def test_one_run_is_a_line():
    ax = cs.plot.observables(ONE, "energy")
    (line,) = ax.lines
    assert np.array_equal(line.get_xdata(), ONE.times)
    assert np.array_equal(line.get_ydata(), ONE.observables["energy"])
    assert (ax.get_xlabel(), ax.get_ylabel(), legend(ax), len(ax.collections)) == ("time $t$", "energy", [], 0)


def test_replicas_are_a_mean_with_its_interval():
    ax = cs.plot.observables(RUN, "energy")
    mean, low, high = cs.stats.mean_interval(RUN.observables["energy"].T)
    assert np.allclose(ax.lines[0].get_ydata(), mean)
    assert np.allclose(band(ax), (low, high))
    assert legend(ax) == ["energy", "99% interval of the mean of 6 replicas"]


def test_intervals_stay_in_the_range_of_the_values():
    ax = cs.plot.observables(RUN, "order_parameter", at_least=0, at_most=1)
    values = RUN.observables["order_parameter"].T
    _, *ends = cs.stats.mean_interval(values, at_least=0, at_most=1)
    assert np.allclose(band(ax), ends)
    assert not np.allclose(ends, cs.stats.mean_interval(values)[1:])


def test_all_observables_have_a_line_and_one_entry_says_what_bands_are():
    ax = cs.plot.observables(RUN)
    assert legend(ax) == ["energy", "99% interval of the mean of 6 replicas", "order parameter"]
    assert len({line.get_color() for line in ax.lines}) == 2
    assert ax.get_ylabel() == ""


def test_two_runs_share_axes():
    ax = cs.plot.observables(RUN, "energy", label="six runs")
    assert cs.plot.observables(ONE, ["energy"], label="one", ax=ax) is ax
    assert legend(ax) == ["six runs", "99% interval of the mean of 6 replicas", "one"]
    assert len({line.get_color() for line in ax.lines}) == 2
    assert len(pyplot.get_fignums()) == 1


def test_a_mapping_of_arrays():
    values = {"a": [1.0, 2.0, 4.0], "b": np.arange(6).reshape(3, 2)}
    ax = cs.plot.observables(values, times=[0, 1, 2], label="mine")
    assert ax.lines[1].get_ydata().tolist() == [0.5, 2.5, 4.5]
    assert legend(ax) == ["mine: a", "mine: b", "99% interval of the mean of 2 replicas"]


def test_an_ensemble_shows_the_intervals_that_it_holds():
    data = cs.ensemble(
        lambda beta: cs.Transformer(attention=cs.SoftmaxAttention(beta=beta), mlp=None, depth=4, horizon=1.0),
        cs.laws.Uniform(dim=3),
        n_tokens=10,
        seeds=range(4),
        sweep={"beta": [1.0, 4.0]},
        observe={"energy": cs.measures.Energy()},
    )
    with pytest.raises(TypeError, match="at_least and at_most must not be given for a Dataset"):
        cs.plot.observables(data, at_least=0)
    with pytest.raises(ValueError, match=r"one line for 'energy', got one for each beta; choose a point by run\.sel"):
        cs.plot.observables(data)
    point = data.sel(beta=4.0)
    ax = cs.plot.observables(point)
    assert np.array_equal(ax.lines[0].get_ydata(), point["energy_mean"])
    assert np.allclose(band(ax), (point["energy_low"], point["energy_high"]))
    assert legend(ax) == ["energy", "99% interval of the mean of 4 replicas"]


def test_an_ensemble_of_one_seed_has_no_band():
    data = cs.ensemble(MODEL, X[0], seeds=[3], observe={"energy": cs.measures.Energy()})
    ax = cs.plot.observables(data)
    assert np.array_equal(ax.lines[0].get_ydata(), data["energy"][0])
    assert len(ax.collections) == 0


VECTOR = cs.simulate(MODEL, X[0], rng=0, observe={"mean": lambda t, x: x.mean(0)})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"run": X}, TypeError, r"run must be a Solution, .* got ndarray"),
        ({"run": RUN, "names": "enrgy"}, ValueError, r"names: unknown 'enrgy'; did you mean 'energy'\?"),
        ({"run": RUN, "times": [0.0]}, TypeError, r"times must not be given"),
        ({"run": {"a": [1.0]}}, TypeError, r"times must be given for a mapping"),
        ({"run": {"a": [1.0, 2.0]}, "times": [0.0]}, ValueError, r"run\['a'\] must have shape \(1,\)"),
        ({"run": {"a": [1.0]}, "times": [[0.0]]}, ValueError, r"times must have shape \(n_times,\), got \(1, 1\)"),
        ({"run": {}, "times": [0.0]}, ValueError, r"run must hold observables"),
        ({"run": cs.simulate(MODEL, X, rng=0)}, ValueError, r"run must hold observables: simulate\("),
        ({"run": VECTOR}, ValueError, r"run\['mean'\] must have shape \(6,\), a real number .* \(6, 3\); leave it"),
        ({"run": RUN, "at_least": 1, "at_most": 0}, ValueError, r"at_least must be below at_most, got 1 and 0"),
        ({"run": RUN, "at_least": "0"}, TypeError, r"at_least must be a real number, got '0'"),
        ({"run": RUN, "names": 3}, TypeError, r"names must be a sequence, got 3 \(int\)"),
        ({"run": RUN, "names": []}, ValueError, r"names must hold at least one name"),
        ({"run": {1: [1.0]}, "times": [0.0]}, TypeError, r"run must have names that are str, got \[1\]"),
        ({"run": {"a": [1.0]}, "times": [np.inf]}, ValueError, r"times must be finite, found inf"),
        ({"run": ONE, "label": ["a"]}, TypeError, r"label must be a str, got \['a'\]"),
        ({"run": ONE, "label": r"$\frac{1$"}, ValueError, r"label must be text that can be drawn"),
    ],
)
def test_bad_arguments_are_refused_before_a_figure_is_made(arguments, error, message):
    with pytest.raises(error, match=message):
        cs.plot.observables(**arguments)
    assert pyplot.get_fignums() == []
