"""Gradients of a function of the final tokens, against differences of order eight of the runs themselves."""

import dataclasses
import gc
import tracemalloc

import numpy as np
import pytest
from support.derivatives import great_circles, slope, slope_from_the_right, tangents

import chaosphere as cs
from chaosphere.common.pullback import NoDerivativeError
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise
from chaosphere.models.normalization import NORMALIZATIONS
from chaosphere.models.protocol import StepContext
from chaosphere.models.schemes import SCHEMES
from chaosphere.simulation import gradient as module

RNG = np.random.default_rng(0)
X = cs.sample_uniform(6, 3, rng=0)
BATCH = cs.sample_uniform(6, 3, rng=0, n_replicas=2)
WEIGHTS = np.array([0.1, 0.3, 0.0, 0.2, 0.25, 0.15])
Q, K, V, OUTPUT = RNG.standard_normal((4, 2, 3)) / 2
HEAD = {"query": Q, "key": K, "value": V, "output": OUTPUT.T}
MATRICES = {"inner": RNG.standard_normal((5, 3)), "outer": RNG.standard_normal((3, 5)) / 2, "inner_bias": np.ones(5)}
COEFFICIENTS = RNG.standard_normal(BATCH.shape)

ATTENTION = cs.SoftmaxAttention(beta=1.5, value_scale=0.8)
MLP = cs.MLP(width=16, activation="tanh", bias_std=0.1, output_bias_std=0.1)
FIXED = cs.FixedMLP(**MATRICES, activation="gelu")
TANH = cs.MLP(width=1, activation="tanh").kernel(3)
FIELD = cs.GaussianField(kernel=TANH, tolerance=1e-3)


def objective(y):
    """A cubic of all coordinates, other in each replica."""
    a = COEFFICIENTS[: len(y)] if y.ndim == 3 else COEFFICIENTS[0]
    return (a * y + y**3 / 3).sum(), a + y**2


def network(**changes):
    return cs.Transformer(**({"attention": ATTENTION, "mlp": MLP, "depth": 5, "horizon": 1.0} | changes))


def equation(**changes):
    return cs.LimitSDE(**({"attention": ATTENTION, "field": FIELD, "horizon": 0.8, "n_steps": 5} | changes))


def heads(beta=1.0):
    return cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(**HEAD), cs.SoftmaxAttention(beta=beta)], combine="sum")


MODELS = {
    **{f"network, {rule}": network(normalization=rule) for rule in NORMALIZATIONS},
    **{
        f"equation, {name}": equation(scheme=name, field=FIELD if scheme.strong_order else None)
        for name, scheme in SCHEMES.items()
        if name != "dormand-prince"  # whose inner steps depend on the tokens
    },
    "own noise": equation(temperature=0.3, field=None),
    "own noise, split": equation(temperature=0.3, field=None, scheme="split"),
    "own noise alone": equation(attention=None, temperature=0.3, field=None),
    "own noise alone, split": equation(attention=None, temperature=0.3, field=None, scheme="split"),
    "own and common noise": equation(temperature=0.3, noise_scale=0.7, n_fine_steps=2),
    "features": equation(field=cs.GaussianField(kernel=TANH, method="features", width=64)),
    "layers alone": network(attention=None, noise_scale=lambda t: 1 + t, n_fine_steps=2),
    "frozen layer": network(mlp=cs.MLP(width=16, activation="tanh", resample=False), depth=12),
    "matrices": network(attention=cs.SoftmaxAttention(**HEAD), mlp=FIXED),
    "heads": network(attention=heads(), mlp=None, attention_exponent=0.9),
    "causal": network(attention=cs.SoftmaxAttention(beta=1.5, mask="causal", decay=0.5)),
    "unnormalised": network(attention=cs.UnnormalizedAttention(beta=1.5, rescaled=True)),
    "doubly stochastic": network(attention=cs.SinkhornAttention(beta=1.5)),
    "distances": network(attention=cs.L2Attention(query=Q, key=K)),
    "potential": equation(attention=cs.PotentialInteraction(np.exp), scheme="heun"),
    "causal, hold": network(attention=cs.SoftmaxAttention(beta=1.5, mask="causal"), mlp=None),
    "other layers": network(
        attention=[ATTENTION, heads(), cs.SoftmaxAttention(**HEAD), ATTENTION, ATTENTION], mlp=None
    ),
    "schedule": network(attention=cs.SoftmaxAttention(beta=lambda t: 1 + t, value_scale=0.5)),
    "schedule, heun": equation(attention=cs.SoftmaxAttention(beta=lambda t: 1 + t), scheme="heun"),
    "schedule, rk4": equation(attention=cs.SoftmaxAttention(beta=lambda t: 1 + t), scheme="rk4", field=None),
    "random values": network(attention=cs.RandomAttention(beta=1.0, n_heads=2), mlp=None),
    "random heads": network(attention=cs.RandomAttention(head_dim=2, query_key_std=0.7, n_heads=2), mlp=None),
    "random values as a field": equation(attention=None, field=cs.RandomAttention(beta=1.0)),
}


@pytest.mark.parametrize("name", MODELS)
def test_initial_tokens(name):
    """Along great circles: all tokens of both replicas at once. The value is that of the run to the bit."""
    model = MODELS[name]
    result = cs.gradient(model, BATCH, objective, rng=3)
    assert result.value == objective(cs.simulate(model, BATCH, rng=3).final)[0]
    v = tangents(BATCH, rng=np.random.default_rng(1))
    path = great_circles(BATCH, v)
    expected = slope(lambda s: objective(cs.simulate(model, path(s), rng=3).final)[0])
    assert (result.tokens * v).sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert abs((result.tokens * BATCH).sum(axis=-1)).max() < 1e-14


@pytest.mark.parametrize("name", MODELS)
def test_a_step_and_its_transpose(name):
    """The state of `jvp` is that of `advance` to the bit; ⟨w, Jv⟩ = ⟨Jᵀw, v⟩ for any v and w of R^d."""
    model = MODELS[name]
    plan = model.plan(Shape.of(BATCH))
    context = StepContext(noise=Noise(3, n_replicas=2), n_threads=2)
    x, (v, w) = plan.start(BATCH), np.random.default_rng(2).standard_normal((2, *BATCH.shape))
    state, pushed = plan.jvp(x, v, steps=range(2), context=context)
    middle = plan.advance(x, range(1), context)
    np.testing.assert_array_equal(state, plan.advance(middle, range(1, 2), context))
    back = plan.vjp(middle, w, step=1, context=context).tokens
    back = plan.vjp(x, back, step=0, context=context).tokens
    assert np.vdot(w, pushed) == pytest.approx(np.vdot(back, v), abs=1e-12)


PARAMETERS = {
    "beta": (lambda beta: network(attention=cs.SoftmaxAttention(beta=beta)), "attention", 1.5),
    "value_scale": (lambda a: equation(attention=cs.SoftmaxAttention(beta=2.0, value_scale=a)), "attention", 0.8),
    **{
        name: (lambda m, name=name: network(attention=cs.SoftmaxAttention(**(HEAD | {name: m}))), "attention", matrix)
        for name, matrix in HEAD.items()
    },
    **{
        name: (
            lambda m, name=name: network(mlp=cs.FixedMLP(**(MATRICES | {name: m}), activation="gelu")),
            "mlp",
            matrix,
        )
        for name, matrix in MATRICES.items()
    },
}


NETWORKS = [name for name in PARAMETERS if name != "value_scale"]  # an equation has one normalisation


@pytest.mark.parametrize(
    ("name", "normalization"), [*((name, "post") for name in PARAMETERS), *((name, "peri") for name in NETWORKS)]
)
def test_parameters(name, normalization):
    make, part, start = PARAMETERS[name]

    def model(value):
        one = make(value)
        return one if normalization == "post" else dataclasses.replace(one, normalization=normalization)

    change = 0.1 * np.random.default_rng(2).standard_normal(np.shape(start))  # steep where |A| is small
    gradients = cs.gradient(model(start), BATCH, objective, rng=3).parameters[part][name]
    assert gradients.shape == (2, *np.shape(start))
    expected = slope(lambda s: objective(cs.simulate(model(start + s * change), BATCH, rng=3).final)[0])
    assert (gradients * change).sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    # Of tokens without replicas there is no axis of them.
    assert np.shape(cs.gradient(model(start), X, objective, rng=3).parameters[part][name]) == np.shape(start)


def test_parameters_of_each_layer():
    """A sequence has one set of gradients for each layer, also where layers share a network."""
    networks = [cs.FixedMLP(**MATRICES | {"inner": MATRICES["inner"] + k}, activation="gelu") for k in range(4)]
    attentions = [cs.SoftmaxAttention(beta=float(k)) for k in range(1, 4)] + [heads(0.5)]

    def model(s=0.0, t=0.0):
        mlp, attention = list(networks), list(attentions)
        mlp[2] = cs.FixedMLP(**MATRICES | {"inner": MATRICES["inner"] + 2 + s}, activation="gelu")
        attention[1], attention[3] = cs.SoftmaxAttention(beta=2.0 + t), heads(0.5 + t)
        return network(attention=attention, mlp=mlp, depth=4)

    parameters = cs.gradient(model(), X, objective, rng=3).parameters
    assert [sorted(layer) for layer in parameters["mlp"]] == [["inner", "inner_bias", "outer"]] * 4
    expected = slope(lambda s: objective(cs.simulate(model(s=s), X, rng=3).final)[0])
    assert parameters["mlp"][2]["inner"].sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    expected = slope(lambda t: objective(cs.simulate(model(t=t), X, rng=3).final)[0])
    attention = parameters["attention"]
    assert attention[1]["beta"] + attention[3]["heads[1].beta"] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_parameters_of_a_schedule():
    """One number for each step; a layer without noise has no gradient, and keeps its place."""
    betas = np.array([1.0, 2.0, 1.5, 0.5])

    def model(betas):
        mlp = [cs.FixedMLP(**MATRICES, activation="gelu")] * 4
        attention = cs.SoftmaxAttention(beta=tuple(betas))
        return network(attention=attention, mlp=mlp, depth=4, noise_scale=(1.0, 0.0, 0.5, 0.0))

    parameters = cs.gradient(model(betas), X, objective, rng=3).parameters
    assert [len(layer) for layer in parameters["mlp"]] == [3, 0, 3, 0]
    change = np.random.default_rng(2).standard_normal(4)
    expected = slope(lambda s: objective(cs.simulate(model(betas + s * change), X, rng=3).final)[0])
    gradients = sum(layer["beta"] * c for layer, c in zip(parameters["attention"], change, strict=True))
    assert gradients == pytest.approx(expected, rel=1e-9, abs=1e-9)


def final_tokens(model, weights):
    """The tokens at the end of a run from X, with weights."""
    plan, context = model.plan(Shape.of(X[None]), weights), StepContext(noise=Noise(3), n_threads=1)
    state = plan.start(X[None])
    for step in range(model.n_steps):
        state = plan.advance(state, range(step, step + 1), context)
    return plan.tokens(state)[0]


@pytest.mark.parametrize("name", ["network, post", "network, pre", "equation, heun", "random values", "random heads"])
def test_weights(name):
    """In directions of sum 0, among weights that are positive; of one that is zero, from its side."""
    change = np.where(WEIGHTS > 0, np.random.default_rng(2).standard_normal(6), 0)
    change = np.where(WEIGHTS > 0, change - change.sum() / 5, 0)

    def along(change):
        return lambda s: objective(final_tokens(MODELS[name], WEIGHTS + s * change))[0]

    gradients = cs.gradient(MODELS[name], X, objective, rng=3, weights=WEIGHTS).weights
    assert gradients.shape == (6,)
    assert gradients @ change == pytest.approx(slope(along(change)), rel=1e-9, abs=1e-9)
    into = np.array([0.0, -1.0, 1.0, 0.0, 0.0, 0.0])
    assert gradients @ into == pytest.approx(slope_from_the_right(along(into)), rel=1e-9, abs=1e-9)


def test_without_interaction_nothing_depends_on_weights():
    assert cs.gradient(MODELS["layers alone"], X, objective, rng=0).weights is None


def test_mean_field():
    """Nodes, passive tokens and the weights of the nodes."""
    limit = cs.MeanField(model=network(), law=cs.laws.Uniform(dim=3), n_nodes=8)
    x = limit.start(X)
    a = np.random.default_rng(2).standard_normal(x.shape)
    result = cs.gradient(limit, x, lambda y: ((a * y).sum(), a), rng=1)
    path = great_circles(x, v := tangents(x, rng=np.random.default_rng(1)))
    expected = slope(lambda s: (a * cs.simulate(limit, path(s), rng=1).final).sum())
    assert (result.tokens * v).sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert result.weights.shape == limit.weights.shape


def test_mean_field_with_places():
    """Layers of nodes under a mask, and passive tokens in their order."""
    model = network(attention=cs.SoftmaxAttention(beta=1.5, mask="causal"))
    law = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.6, 0.8), concentration=1.0)
    limit = cs.MeanField(model=model, law=[law, cs.laws.Uniform(dim=3)], n_nodes=8)
    x = limit.start(X)
    a = np.random.default_rng(2).standard_normal(x.shape)
    result = cs.gradient(limit, x, lambda y: ((a * y).sum(), a), rng=1)
    path = great_circles(x, v := tangents(x, rng=np.random.default_rng(1)))
    expected = slope(lambda s: (a * cs.simulate(limit, path(s), rng=1).final).sum())
    assert (result.tokens * v).sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_energy_at_the_end():
    """E_β = ½ Σ p_i p_j (e^β − e^{β⟨x_i, x_j⟩}), whose gradient is −β Σ_j p_i p_j e^{β⟨x_i, x_j⟩} x_j."""
    beta, model = 2.0, network(normalization="pre")

    def energy(y):
        pull = np.exp(beta * y @ y.T) @ y / len(y) ** 2
        return cs.measures.energy(y, beta), -beta * pull

    result = cs.gradient(model, X, energy, rng=3)
    path = great_circles(X, v := tangents(X, rng=np.random.default_rng(1)))
    expected = slope(lambda s: cs.measures.energy(cs.simulate(model, path(s), rng=3).final, beta))
    assert (result.tokens * v).sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    # A step down lowers the energy of the end.
    down = cs.normalize(X - 0.05 * result.tokens / abs(result.tokens).max())
    assert energy(cs.simulate(model, down, rng=3).final)[0] < result.value


def test_replicas_are_runs_of_their_own():
    model = network()
    both = cs.gradient(model, BATCH, lambda y: ((y**3).sum(axis=(1, 2)), 3 * y**2), rng=[3, 4])
    for r, seed in enumerate([3, 4]):
        one = cs.gradient(model, BATCH[r], lambda y: ((y**3).sum(), 3 * y**2), rng=seed)
        assert both.value[r] == pytest.approx(one.value, rel=1e-14)
        np.testing.assert_array_equal(both.tokens[r], one.tokens)
        np.testing.assert_array_equal(both.weights[r], one.weights)
        assert both.parameters["attention"]["beta"][r] == one.parameters["attention"]["beta"]


def leaves(tree):
    if isinstance(tree, dict):
        return [leaf for name in sorted(tree) for leaf in leaves(tree[name])]
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, list) else [np.asarray(tree)]


def assert_same_bits(a, b):
    for left, right in zip(leaves(vars_of(a)), leaves(vars_of(b)), strict=True):
        np.testing.assert_array_equal(left, right)


def vars_of(result):
    return {"tokens": result.tokens, "weights": result.weights, "parameters": dict(result.parameters)}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_threads_do_not_change_a_bit(dtype):
    model = network(mlp=FIXED, depth=2)
    x = cs.sample_uniform(600, 3, rng=0).astype(dtype)
    results = [cs.gradient(model, x, lambda y: (y.sum(), y**2), rng=3, n_threads=n) for n in (1, 2)]
    assert results[0].tokens.dtype == dtype
    assert_same_bits(*results)


@pytest.mark.parametrize("n_steps", [1, 2, 5, 12])
def test_states_that_are_kept_do_not_change_a_bit(n_steps, monkeypatch):
    model = network(depth=n_steps, mlp=FIXED)
    result = cs.gradient(model, X, objective, rng=3)
    for stride in (1, 3, n_steps):
        monkeypatch.setattr(module, "stride_of", lambda n, stride=stride: stride)
        assert_same_bits(result, cs.gradient(model, X, objective, rng=3))


def test_nothing_waits_for_the_cycle_collector():
    """A step leaves no arrays in reference cycles."""
    x = cs.sample_uniform(4000, 3, rng=0)
    for model in (network(attention=None, normalization="peri"), equation(attention=None)):
        cs.gradient(model, X, objective, rng=0)  # what it imports stays
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            cs.gradient(model, x, lambda y: (0.0, y), rng=0)
            left = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
            gc.enable()
        assert left < x.nbytes


def test_fused_steps():
    """Attention alone takes several layers in one call of a kernel."""
    model = network(mlp=None, depth=40)
    assert model.plan(Shape.of(BATCH)).max_fused_steps > 1
    result = cs.gradient(model, X, objective, rng=3)
    assert result.value == objective(cs.simulate(model, X, rng=3).final)[0]


def test_shared_noise():
    x = np.repeat(X[None], 2, axis=0)
    result = cs.gradient(network(), x, lambda y: (0.0, y**2), rng=3, shared_noise=True)
    np.testing.assert_array_equal(result.tokens[0], result.tokens[1])


def test_repr():
    text = repr(cs.gradient(network(), X, objective, rng=3))
    assert text.startswith("Gradient(value=")
    assert "parameters=['attention']" in text


def test_no_derivative_of_inner_steps():
    with pytest.raises(NoDerivativeError, match="DormandPrince has no derivative"):
        cs.gradient(equation(scheme="dormand-prince", field=None), X, objective, rng=0)
