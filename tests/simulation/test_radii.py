"""Runs of models with radii: checkpoints, results, observables, ensembles and study files."""

import dataclasses

import numpy as np
import pytest
from support.stops import Stop, stop_at

import chaosphere as cs
from chaosphere.ensembles import study_file
from chaosphere.models.protocol import ModelPlan

X = cs.sample_uniform(40, 3, rng=0)
SQUARE = cs.measures.RadiusMoment(power=2)


def network(normalization="pre", **options):
    mlp = cs.MLP(width=16, activation="tanh", bias_std=0.1)
    options = {"attention": cs.SoftmaxAttention(beta=1.0), "mlp": mlp, "depth": 20, "horizon": 2.0} | options
    return cs.Transformer(normalization=normalization, **options)


@pytest.mark.parametrize("normalization", ["pre", "peri"])
@pytest.mark.parametrize("save_at", [None, [0.0, 0.3, 1.7, 2.0]])
def test_a_run_resumes_bitwise(tmp_path, normalization, save_at):
    model, path = network(normalization, initial_radius=0.7), tmp_path / "run.npz"
    options = {"rng": 0, "save_at": save_at}
    expected = cs.simulate(model, X, observe={"first": stop_at(9), "square": SQUARE}, **options)
    for moment in (0.2, 1.5):
        with pytest.raises(Stop):
            cs.simulate(model, X, observe={"first": stop_at(moment), "square": SQUARE}, checkpoint=path, **options)
    resumed = cs.simulate(model, X, observe={"first": stop_at(9), "square": SQUARE}, checkpoint=path, **options)
    for name in ("states", "final", "radii", "final_radii"):
        assert np.array_equal(getattr(resumed, name), getattr(expected, name))
    for name in ("first", "square"):
        assert np.array_equal(resumed.observables[name], expected.observables[name])
    assert not path.exists()


def test_a_checkpoint_holds_states(tmp_path):
    path = tmp_path / "run.npz"
    options = {"rng": 0, "checkpoint": cs.Checkpoint(path=path, every_steps=5, keep=True)}
    sol = cs.simulate(network(), X, **options)
    with np.load(path) as saved:
        saved = dict(saved)
    assert saved["step"] == 20
    np.testing.assert_allclose(saved["tokens"], sol.final * sol.final_radii[:, None], rtol=1e-15)
    with pytest.raises(ValueError, match=r'belongs to another run: model\.normalization is "pre", not "peri"'):
        cs.simulate(network("peri"), X, **options)
    with pytest.raises(ValueError, match=r"model\.initial_radius is null, not 2"):
        cs.simulate(network(initial_radius=2.0), X, **options)
    saved["tokens"][3] = 0
    with open(path, "wb") as stream:
        np.savez(stream, **saved)
    with pytest.raises(ValueError, match=r"is damaged .*token 3 of replica 0: x is zero or not finite"):
        cs.simulate(network(), X, **options)


def test_a_trajectory_shows_unit_tokens():
    model = network(initial_radius=3.0)
    states = [tokens.copy() for _, tokens in cs.trajectory(model, X, rng=0)]
    sol = cs.simulate(model, X, rng=0, save_at=np.linspace(0, 2, 21))
    assert np.array_equal(states, sol.states)
    np.testing.assert_allclose(states[0], X, atol=1e-15)
    np.testing.assert_allclose(sol.radii[0], 3.0, rtol=1e-15)
    _, last = list(cs.trajectory(model, X, rng=0))[-1]
    with pytest.raises(ValueError, match="read-only"):
        last[0] = 0


@pytest.mark.parametrize("n_replicas", [None, 2])
def test_results(n_replicas):
    x = X if n_replicas is None else np.stack([X, X[::-1]])
    sol = cs.simulate(network(), x, rng=0, save_at=[0.0, 1.0], observe={"mean": cs.measures.RadiusMoment(power=1)})
    replicas = () if n_replicas is None else (2,)
    assert sol.states.shape == (2, *replicas, 40, 3)
    assert sol.radii.shape == (2, *replicas, 40)
    assert sol.final_radii.shape == (*replicas, 40)
    np.testing.assert_allclose(sol.observables["mean"], sol.radii.mean(axis=-1), rtol=1e-15)
    data = sol.to_xarray()
    assert data["radius"].dims == ("time", *(("replica",) if replicas else ()), "token")
    assert np.array_equal(data["radius"], sol.radii)
    low, high = (f"{value:.3g}" for value in (sol.final_radii.min(), sol.final_radii.max()))
    assert f"radii        {low} … {high} at the end" in str(sol)
    assert f"{low} … {high}" in sol._repr_html_()
    other = cs.simulate(network("post"), x, rng=0)
    assert other.radii is None
    assert "radius" not in other.to_xarray()
    assert "radii" not in str(other)
    alone = cs.simulate(network(), x, rng=0, observe={"mean": cs.measures.RadiusMoment(power=1)}).to_xarray()
    assert alone["radius"].dims[0] == "state_time"


def test_pictures():
    sol = cs.simulate(network("peri"), X, rng=0, save_at=[0.0, 2.0], observe={"square": SQUARE})
    for kind in ("observables", "tokens", "cosines"):
        assert sol.plot(kind).has_data()


class Largest:
    def of_state(self, time, tokens, radii):
        np.testing.assert_allclose(np.linalg.norm(tokens, axis=-1), 1, atol=1e-12)
        return radii.max(axis=-1)


def test_an_observable_of_ones_own():
    sol = cs.simulate(network(), X, rng=0, save_at=[0.5, 2.0], observe={"largest": Largest()})
    assert np.array_equal(sol.observables["largest"], sol.radii.max(axis=-1))


class Wrong:
    def of_state(self, tokens):
        return 0.0


def test_observables_are_refused():
    with pytest.raises(ValueError, match=r"observe\['square'\] needs a model with radii, such as a Transformer with"):
        cs.simulate(network("post"), X, rng=0, observe={"square": SQUARE})
    with pytest.raises(ValueError, match="needs a model with radii"):
        cs.coupled_run(network("post"), X, rng=0, observe={"square": SQUARE})
    with pytest.raises(ValueError, match="needs a model with radii"):
        cs.ensemble(network, cs.laws.Uniform(dim=3), n_tokens=4, seeds=[0], sweep=RULES, observe={"square": SQUARE})
    with pytest.raises(TypeError, match=r"observe\['a'\] must have of_state on \(time, tokens, radii\), got of_state"):
        cs.simulate(network(), X, rng=0, observe={"a": Wrong()})
    with pytest.raises(ValueError, match=r"observe\['radius'\] must have another name: in to_xarray\(\) it is that"):
        cs.simulate(network(), X, rng=0, observe={"radius": SQUARE})
    cs.simulate(network("post"), X, rng=0, observe={"radius": lambda t, x: 0.0})


RULES = {"normalization": ["post", "pre", "peri", "ngpt", "sqrt"]}


def test_ensembles(tmp_path):
    options = {"n_tokens": 40, "seeds": [3, 4], "n_threads": 1, "store": tmp_path / "study.zarr"}
    data = cs.ensemble(
        network, cs.laws.Uniform(dim=3), sweep=RULES, observe={"energy": cs.measures.Energy()}, **options
    )
    options["store"] = tmp_path / "radii.zarr"
    rules = {"normalization": ["pre", "peri"]}
    radii = cs.ensemble(network, cs.laws.Uniform(dim=3), sweep=rules, observe={"square": SQUARE}, **options)
    x = cs.sample_uniform(40, 3, rng=4)
    for rule in RULES["normalization"]:
        observe = {"energy": cs.measures.Energy()} | ({"square": SQUARE} if rule in rules["normalization"] else {})
        alone = cs.simulate(network(rule), x, rng=4, observe=observe)
        assert np.array_equal(data["energy"].sel(normalization=rule).values[1], alone.observables["energy"])
        if rule in rules["normalization"]:
            assert np.array_equal(radii["square"].sel(normalization=rule).values[1], alone.observables["square"])


STUDY = """
title = "Rules"

[tokens]
dim = 3
n_tokens = 10

[model]
depth = 5
horizon = 1.0
{model}

[model.attention]
beta = 1.0

[model.mlp]
width = 8
activation = "tanh"

[observe.{observe}

[sweep]
normalization = [{rules}]

[run]
replicas = 3
"""


def study(tmp_path, **parts):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(**({"model": "", "observe": "mean_cosine]", "rules": '"post", "pre"'} | parts)))
    return study_file.read(path)


def test_study_files(tmp_path):
    plan = study(tmp_path, rules=", ".join(f'"{rule}"' for rule in RULES["normalization"])).plan()
    assert [model.normalization for model in plan.models.values()] == RULES["normalization"]
    moment = {"observe": "radius_moment]\npower = 2", "rules": '"pre", "peri"'}
    plan = study(tmp_path, model="initial_radius = 2.0", **moment).plan()
    assert [model.initial_radius for model in plan.models.values()] == [2.0, 2.0]
    assert plan.shapes == {"radius_moment": ((), np.float64)}
    assert plan.seconds() > 0
    with pytest.raises(ValueError, match=r"observe\['radius_moment'\] needs a model with radii"):
        study(tmp_path, **moment | {"rules": '"post", "pre"'}).plan()
    with pytest.raises(ValueError, match=r"\[observe.radius_moment\] power must be given"):
        study(tmp_path, observe="radius_moment]")
    with pytest.raises(ValueError, match="normalization: unknown 'per'"):
        study(tmp_path, rules='"per"').plan()


class SpiralPlan(ModelPlan):
    """Every token turns, and its radius doubles."""

    has_radius = True

    def start(self, x):
        return 3.0 * x

    def tokens(self, state):
        return cs.normalize(state)

    def advance(self, x, steps, context):
        return 2 * x[..., [1, 2, 0]]


@dataclasses.dataclass(frozen=True)
class Spiral:
    n_steps: int = 4
    horizon: float = 1.0
    has_own_noise = False

    def plan(self, shape, weights=None):
        return SpiralPlan()


def test_a_model_of_ones_own_with_radii():
    sol = cs.simulate(Spiral(), X, rng=0, observe={"square": SQUARE})
    np.testing.assert_allclose(sol.final, X[:, [1, 2, 0]], atol=1e-15)
    np.testing.assert_allclose(sol.final_radii, 48.0, rtol=1e-15)
    np.testing.assert_allclose(sol.observables["square"], 9 * 4.0 ** np.arange(5), rtol=1e-14)


def test_moments_of_a_mean_field():
    """Its nodes have weights, and passive tokens have none."""
    model = cs.Transformer(
        attention=cs.SoftmaxAttention(beta=1.0), mlp=None, depth=10, horizon=1.0, normalization="pre"
    )
    law = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=3.0)
    limit = cs.MeanField(model=model, law=law, n_nodes=100)
    square = cs.measures.RadiusMoment(power=2, weights=limit.weights)
    passive = cs.sample_uniform(5, 3, rng=0)
    for start in (limit.start(), limit.start(passive)):
        sol = cs.simulate(limit, start, rng=0, save_at=[1.0], observe={"square": square})
        n = len(limit.weights)
        assert sol.observables["square"][0] == pytest.approx(limit.weights @ sol.final_radii[:n] ** 2, rel=1e-14)
    assert square == cs.measures.RadiusMoment(power=2, weights=list(limit.weights))
    with pytest.raises(ValueError, match="weights must be at most one for each of the 5 tokens"):
        square.of_state(0.0, passive, np.ones(5))
    with pytest.raises(ValueError, match="weights must sum to 1"):
        cs.measures.RadiusMoment(power=2, weights=[0.5, 0.4])
