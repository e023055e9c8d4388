"""Ensembles that are refused: arguments, models, laws, observables; errors name the member."""

import dataclasses

import numpy as np
import pytest
from support.members import LAW, SMALL, mean, one

import chaosphere as cs


def test_a_failing_member_names_its_coordinates():
    def bad(beta):
        return dataclasses.replace(one(beta), attention=cs.SoftmaxAttention(query=np.eye(5), key=np.eye(5)))

    with pytest.raises(ValueError, match="x must have dim 5") as caught:
        cs.ensemble(bad, LAW, sweep={"beta": [2.0]}, **SMALL)
    assert caught.value.__notes__ == ["while planning the runs with {'beta': 2.0}"]

    def late(time, x):
        if time > 0:
            raise ValueError("too late")
        return x[:, 0, 0]

    with pytest.raises(ValueError, match="too late") as caught:
        cs.ensemble(one, LAW, sweep={"beta": [2.0]}, **(SMALL | {"observe": {"late": late}}))
    assert caught.value.__notes__ == [
        "in observe['late'] at step 1 (time 0.333333)",
        "in the runs with {'beta': 2.0} and seeds 0 … 2",
    ]
    with pytest.raises(ValueError, match="horizon must be") as caught:
        cs.ensemble(lambda end: dataclasses.replace(one(1.0), horizon=end), LAW, sweep={"end": [2.0, -1.0]}, **SMALL)
    assert caught.value.__notes__ == ["while making the model for {'end': -1.0}"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"seeds": []}, ValueError, "seeds must be distinct integers"),
        ({"seeds": [1, 1]}, ValueError, "seeds must be distinct integers"),
        ({"seeds": [-1]}, ValueError, "seeds must be an integer >= 0"),
        ({"seeds": [2**63]}, ValueError, r"below 2\*\*63"),
        ({"seeds": np.array(5)}, TypeError, r"seeds must be a sequence, got array\(5\) \(ndarray\)"),
        ({"seeds": 5}, TypeError, r"seeds must be a sequence, got 5 \(int\)"),
        ({"seeds": {5, 6}}, TypeError, r"seeds must be a sequence, got \{5, 6\} \(set\)"),
        ({"seeds": {5: 6}}, TypeError, r"seeds must be a sequence, got \{5: 6\} \(dict\)"),
        ({"seeds": b"56"}, TypeError, r"seeds must be a sequence, got b'56' \(bytes\)"),
        ({"seeds": iter([5])}, TypeError, r"seeds must be a sequence of integers, such as range\(5\), got <list_it"),
        ({"seeds": range(10**9)}, ValueError, "memory_limit: 1000000000 runs would take about"),
        ({"observe": ["energy"]}, TypeError, r"observe must be a mapping of names to functions .*, got \['energy'\]"),
        ({"observe": {3: len}}, TypeError, r"a name in observe must be a name, a str, got 3 \(int\)"),
        ({"observe": {".zarray": len}}, ValueError, "a name in observe must be a printable name"),
        ({"observe": {"a\\b": len}}, ValueError, "a name in observe must be a printable name"),
        ({"observe": {"e": mean, "e_mean": mean}}, ValueError, r"'e_mean' is observe\['e_mean'\] and the mean of"),
        ({"observe": {"e_low": mean, "e": mean}}, ValueError, r"'e_low' is the low of observe\['e'\] and observe"),
        ({"observe": {"m": mean, "m_0": mean}}, ValueError, r"observe\['m_0'\] must have another name: .* an axis of"),
        ({"sweep": ["beta"]}, TypeError, "sweep must be a mapping of parameters' names to their values"),
        ({"sweep": {"m_0": [1.0]}, "observe": {"m": mean}}, ValueError, "'m_0' is axis 0 of .* another part"),
        ({"sweep": {"m_mean": [1.0]}, "observe": {"m": mean}}, ValueError, "'m_mean' is the mean of .* another part"),
        ({"observe": {"a": lambda t, x: None}}, TypeError, r"observe\['a'\] must return .* numbers, got NoneType at"),
        ({"observe": {"a": lambda t, x: {"b": 1}}}, TypeError, r"observe\['a'\] must return .* numbers, got dict at"),
        ({"observe": {"a": lambda t, x: [[1], [1, 2]]}}, TypeError, r"observe\['a'\] must return .* numbers, got list"),
        ({"observe": {"a": lambda t, x: 1j * x[:, 0, 0]}}, TypeError, r"observe\['a'\] must return real numbers"),
        (
            {"observe": {"a": lambda t, x: x[:, 0].squeeze()}},
            ValueError,
            r"observe\['a'\] .* shape \(1, ...\), got \(3,\)",
        ),
        ({"observe": {}}, ValueError, "observe must hold at least one observable"),
        ({"observe": {"time": len}}, ValueError, "names other than replica, time"),
        ({"observe": {"a": 3}}, TypeError, r"observe\['a'\] must be callable"),
        ({"observe": {"a": lambda t, x: 1.0}}, ValueError, r"observe\['a'\] must return .* shape \(2, ...\), got \(\)"),
        ({"observe": {"a": lambda t, x: ["b", "c"]}}, TypeError, r"observe\['a'\] must return .* numbers, got <U1"),
        ({"n_tokens": None}, TypeError, "n_tokens must be an integer >= 1"),
        ({"save_at": [0.5, 0.2]}, ValueError, "save_at must increase"),
        ({"sweep": {"beta": []}}, ValueError, r"sweep\['beta'\] must be a list of numbers or of strings"),
        ({"sweep": {"beta": [1.0, "two"]}}, ValueError, r"sweep\['beta'\] must be a list of numbers or of strings"),
        (
            {"sweep": {"beta": [[1.0], [1.0, 2.0]]}},
            ValueError,
            r"sweep\['beta'\] must be a list of numbers or of strings",
        ),
        ({"sweep": {"beta": {1.0: 2.0}}}, TypeError, r"sweep\['beta'\] must be a sequence, got \{1.0: 2.0\} \(dict\)"),
        ({"sweep": {"beta": {1.0, 2.0}}}, TypeError, r"sweep\['beta'\] must be a sequence, got \{.*\} \(set\)"),
        (
            {"sweep": {"beta": np.array(2.0)}},
            TypeError,
            r"sweep\['beta'\] must be a sequence, got array\(2.\) \(ndarray",
        ),
        ({"sweep": {"beta": b"\x03"}}, TypeError, r"sweep\['beta'\] must be a sequence, got b'\\x03' \(bytes\)"),
        ({"sweep": {"beta": [1.0, 1.0]}}, ValueError, r"sweep\['beta'\] must be distinct and not NaN"),
        ({"sweep": {"energy": [1.0]}}, ValueError, "must not share names"),
        ({"sweep": {"n_tokens": [2, 3]}}, ValueError, r"sweep\['n_tokens'\] needs a law as x0, and n_tokens left out"),
        (
            {"sweep": {"n_tokens": [2, 2.5]}, "n_tokens": None},
            TypeError,
            r"sweep\['n_tokens'\] must be an integer >= 1, got 2.5",
        ),
        (
            {"sweep": {"n_tokens": [0]}, "n_tokens": None},
            ValueError,
            r"sweep\['n_tokens'\] must be an integer >= 1, got 0",
        ),
        (
            {"sweep": {"n_tokens": [2, 3]}, "n_tokens": None, "observe": {"a": lambda t, x: x[:, :, 0]}},
            ValueError,
            r"observe\['a'\] must return one shape for all numbers of tokens .* \(2,\) for 2 tokens, \(3,\) for 3",
        ),
        ({"executor": 3}, TypeError, "executor must be None or a concurrent.futures.Executor, got 3"),
        ({"n_threads": 0}, ValueError, "n_threads must be an integer >= 1"),
        ({"memory_limit": 1000}, ValueError, "memory_limit: 3 runs would take about .* GB here, more than 1e-06 GB"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        cs.ensemble(axes, LAW, **(SMALL | changes))


def axes(beta=1.0, m_0=0, m_mean=0):
    return one(beta)


@pytest.mark.parametrize("dim", [2, 3])
def test_coordinates_are_not_taken_for_replicas(dim):
    """In d = 2 the mean over two replicas has as many entries as there are replicas."""
    observe = {"m": lambda t, x: x.mean(axis=(0, 1))}
    with pytest.raises(ValueError, match=r"observe\['m'\] must return an array with one entry per replica first"):
        cs.ensemble(one(), cs.laws.Uniform(dim=dim), n_tokens=5, seeds=range(2), observe=observe)


def test_a_shape_that_is_another_in_the_run():
    """Also where it stays the same within the run: the places for the results are made before."""
    counts = iter([3, 3, *[2] * 100])
    with pytest.raises(ValueError, match=r"observe\['a'\] must return .* before the run it was \(3, 3\), now \(3, 2\)"):
        cs.ensemble(one(), LAW, n_tokens=8, seeds=range(3), observe={"a": lambda t, x: x[:, 0, : next(counts)]})


def test_memory_is_refused_before_the_first_tokens_are_drawn():
    class Never(cs.laws.Uniform):
        def sample(self, *arguments, **options):
            raise AssertionError

    with pytest.raises(ValueError, match=r"memory_limit: 3 runs would take about .* GB here"):
        cs.ensemble(one(), Never(dim=3), **(SMALL | {"n_tokens": 10**10}))


def test_bad_models_and_tokens():
    with pytest.raises(TypeError, match="model must be a function of the swept parameters"):
        cs.ensemble(one(), LAW, sweep={"beta": [1.0]}, **SMALL)
    with pytest.raises(TypeError, match="model must be a model or a function"):
        cs.ensemble(3, LAW, **SMALL)
    with pytest.raises(TypeError, match=r"model must return a model, got 1.0 for {'beta': 1.0}"):
        cs.ensemble(lambda beta: beta, LAW, sweep={"beta": [1.0]}, **SMALL)
    with pytest.raises(TypeError, match="x0 must be an array of tokens or a law"):
        cs.ensemble(one(), "uniform", **SMALL)
    with pytest.raises(ValueError, match="n_tokens must be left out"):
        cs.ensemble(one(), np.eye(3), **SMALL)
    with pytest.raises(ValueError, match="one replica per seed"):
        cs.ensemble(one(), np.eye(3)[None], **(SMALL | {"n_tokens": None}))

    def uneven(depth):
        return dataclasses.replace(one(), depth=depth)

    with pytest.raises(ValueError, match="save_at must be given where the models differ"):
        cs.ensemble(uneven, LAW, sweep={"depth": [2, 3]}, **SMALL)
    assert cs.ensemble(uneven, LAW, sweep={"depth": [2, 3]}, save_at=[1.0], **SMALL).sizes["depth"] == 2


def test_the_values_of_a_sweep_may_be_an_iterator():
    listed = cs.ensemble(one, LAW, sweep={"beta": [1.0, 2.0]}, **SMALL)
    assert cs.ensemble(one, LAW, sweep={"beta": iter([1.0, 2.0])}, **SMALL).equals(listed)
