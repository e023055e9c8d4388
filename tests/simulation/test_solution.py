"""A solution says what it is, and how long it took."""

import time

import matplotlib as mpl
import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.reprs import duration

MODEL = cs.Transformer(attention=cs.SoftmaxAttention(beta=4.0), mlp=cs.MLP(width=8), depth=10, horizon=2.0)
X = cs.sample_uniform(20, 3, rng=0)


def test_a_run_with_observables():
    solution = cs.simulate(MODEL, X, rng=0, observe={"energy": cs.measures.Energy(), "mean": lambda t, x: x.mean(0)})
    *lines, seconds = str(solution).splitlines()
    assert lines == [
        "Solution",
        "  model        Transformer(attention=SoftmaxAttention(beta=4.0, method='direct'), mlp=MLP(width=8), depth=10, "
        "horizon=2.0)",
        "  tokens       20 in dimension 3, float64",
        "  times        11 from 0.0 to 2.0",
        "  states       at 2.0",
        "  observables  energy float64[11], mean float64[11, 3]",
    ]
    assert seconds == f"  wall time    {duration(solution.seconds)}"


def test_replicas_with_saved_states():
    x = np.stack([X, X]).astype(np.float32)
    text = str(cs.simulate(MODEL, x, rng=0, save_at=[0.0, 1.0]))
    assert "  tokens       20 in dimension 3, float32\n  replicas     2\n  times        2 from 0.0 to 1.0\n" in text
    assert "  states       at these times\n  observables  none\n" in text


def test_seconds_are_those_of_the_call():
    def slow(time_, x):
        time.sleep(0.02)
        return 0.0

    start = time.perf_counter()
    solution = cs.simulate(MODEL, X, rng=0, observe={"slow": slow})
    assert 11 * 0.02 <= solution.seconds <= time.perf_counter() - start


def test_seconds_and_text_tell_no_run_from_another():
    one, other = (cs.simulate(MODEL, X, rng=0) for _ in range(2))
    assert one.attributes == other.attributes
    assert not {"seconds", "repr"} & one.attributes.keys()
    assert one.to_xarray().attrs == other.to_xarray().attrs


def test_a_coupled_run_names_both_parts():
    model = cs.Transformer(attention=None, mlp=cs.MLP(width=8, activation="tanh"), depth=2, horizon=1.0)
    run = cs.coupled_run(model, X[:5], rng=0)
    lines = str(run).splitlines()
    assert lines[:3] == [
        "CoupledRun",
        "  network: Solution",
        "    model        Transformer(attention=None, mlp=MLP(width=8, activation='tanh'), depth=2, horizon=1.0)",
    ]
    assert "  limit: Solution" in lines
    assert any(line.startswith("    model        LimitSDE(") for line in lines)
    assert run._repr_html_().count("<table>") == 2


def test_a_model_of_one_s_own_that_prints_a_wall_is_cut():
    class Model:
        n_steps, horizon = 1, 1.0

        def plan(self, shape, weights=None):
            return MODEL.plan(shape, weights)

        def __repr__(self):
            return "\n".join(map(str, range(1000)))

    text = str(cs.simulate(Model(), X, rng=0))
    assert max(map(len, text.splitlines())) < 260


@pytest.fixture
def _no_display():
    mpl.use("Agg")
    from matplotlib import pyplot

    yield
    pyplot.close("all")


@pytest.mark.usefixtures("_no_display")
class TestPlot:
    def test_observables_if_there_are_any(self):
        solution = cs.simulate(MODEL, X, rng=0, observe={"energy": cs.measures.Energy()})
        assert solution.plot().get_ylabel() == "energy"
        assert solution.plot("cosines").get_ylabel() == "density of pairs"

    def test_else_the_final_tokens(self):
        solution = cs.simulate(MODEL, X[:, :2] / np.linalg.norm(X[:, :2], axis=1, keepdims=True), rng=0)
        ax = solution.plot()
        assert np.array_equal(ax.collections[1].get_offsets(), solution.final)

    def test_tokens_at_a_saved_time(self):
        x = cs.sample_uniform(5, 2, rng=0)
        solution = cs.simulate(MODEL, x, rng=0, save_at=np.linspace(0, 2, 11))
        _, ax = mpl.pyplot.subplots()
        assert solution.plot("tokens", time=0.2 + 0.4, ax=ax) is ax  # 0.6000000000000001
        assert np.array_equal(ax.collections[1].get_offsets(), solution.states[3])

    def test_bad_arguments(self):
        solution = cs.simulate(MODEL, X, rng=0, save_at=[0.0, 1.0])
        with pytest.raises(ValueError, match=r"time must be one of state_times, got 0.9; the nearest is 1"):
            solution.plot("tokens", time=0.9)
        with pytest.raises(ValueError, match=r"kind: unknown 'token'; did you mean 'tokens'\?"):
            solution.plot("token")
        with pytest.raises(ValueError, match="kind: unknown ''"):
            solution.plot("")
        with pytest.raises(TypeError, match=r"time must not be given for observables"):
            solution.plot("observables", time=0.0)
