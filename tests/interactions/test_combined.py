"""Interactions made of others: several heads, a function of the user's."""

import pickle

import numpy as np
import pytest
from support import cases

import chaosphere as cs
from chaosphere.common.shape import Shape

SEVERAL = [
    cs.SoftmaxAttention(beta=3.0),
    cs.SoftmaxAttention(beta=1.0, value_scale=-0.5),
    cs.SoftmaxAttention(query=np.diag([1.0, 2.0, 3.0]), key=np.ones((3, 3))),
]


class Stop:
    """An observable that ends the run at a time; it is the same to a checkpoint whatever that is."""

    version = 1

    def __init__(self, at):
        self.at = at

    def __call__(self, time, x):
        if time >= self.at:
            raise KeyboardInterrupt
        return 0.0


def to_mean(x, weights):
    return 0 * x + (weights @ x).astype(x.dtype)


@pytest.mark.parametrize("n_heads", range(1, 8))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_mean_of_equal_heads_is_one_head_bitwise(n_heads, dtype):
    x = cases.tokens(100, 3, dtype, n_replicas=2)
    row = np.array([[0.5, 1.0, -0.25]])
    for head in [*SEVERAL, cs.SoftmaxAttention(query=row, key=row, value=row, output=row.T)]:
        attention = cs.MultiHeadAttention(heads=[head] * n_heads)
        assert np.array_equal(attention(x), head(x))


@pytest.mark.parametrize("combine", ["mean", "sum"])
@pytest.mark.parametrize("n_heads", [1, 2, 3])
def test_heads_are_added(combine, n_heads):
    x, p = cases.tokens(40, 3, np.float64, n_replicas=2), cases.weights(40)
    drifts = [head(x, p) for head in SEVERAL[:n_heads]]
    expected = np.mean(drifts, axis=0) if combine == "mean" else np.sum(drifts, axis=0)
    actual = cs.MultiHeadAttention(heads=SEVERAL[:n_heads], combine=combine)(x, p)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=4e-16 * n_heads)


@pytest.mark.parametrize("dim", [2, 3, 17])
@pytest.mark.parametrize("n", [1, 2, 33])
def test_a_function_is_beta_zero_attention(n, dim):
    x, p = cases.tokens(n, dim, np.float64, n_replicas=2), cases.weights(n)
    p /= p.sum()
    np.testing.assert_allclose(
        cs.CustomInteraction(to_mean)(x, p), cs.SoftmaxAttention(beta=0.0)(x, p), rtol=0, atol=1e-15
    )


def test_rows_are_those_of_the_whole_bitwise():
    x = cases.tokens(1000, 3, np.float64)
    for interaction in (cs.MultiHeadAttention(heads=SEVERAL), cs.CustomInteraction(to_mean)):
        plan = interaction.plan(Shape.of(x))
        drift = plan.drift(x, n_threads=2)
        assert np.array_equal(plan.rows(x, first=512, stop=1000, n_threads=1), drift[:, 512:])


def test_tracers_are_moved_and_not_felt():
    x = cases.tokens(60, 3, np.float64)
    p = np.full(40, 1 / 40)
    for interaction in (cs.MultiHeadAttention(heads=SEVERAL), cs.CustomInteraction(to_mean)):
        drift = interaction.plan(Shape.of(x), p).drift(x, n_threads=1)
        np.testing.assert_allclose(drift[0, :40], interaction(x[0, :40]), rtol=0, atol=1e-15)
        other = interaction.plan(Shape.of(x[:, :50]), p).drift(x[:, :50], n_threads=1)
        np.testing.assert_allclose(drift[0, :50], other[0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("interaction", [cs.MultiHeadAttention(heads=SEVERAL[:2]), cs.CustomInteraction(to_mean)])
def test_they_run_in_every_model(interaction, tmp_path):
    x, mlp = cs.sample_uniform(30, 3, rng=0), cs.MLP(width=8, activation="tanh", bias_std=0.3)
    network = cs.Transformer(attention=interaction, mlp=mlp, depth=10, horizon=1.0)
    field = cs.GaussianField(kernel=mlp.kernel(3))
    limits = [
        cs.LimitSDE(attention=interaction, field=field, horizon=1.0, n_steps=10, scheme="heun"),
        cs.LimitSDE(attention=interaction, field=None, horizon=1.0, n_steps=10, scheme="rk4"),
    ]
    for model in (network, *limits):
        one, two = (cs.simulate(model, x, rng=1, n_threads=n).final for n in (1, 2))
        assert np.array_equal(one, two)
        arguments = {"rng": 1, "checkpoint": cs.Checkpoint(path=tmp_path / "c.npz", every_steps=3)}
        with pytest.raises(KeyboardInterrupt):
            cs.simulate(model, x, observe={"a": Stop(0.5)}, **arguments)
        assert (tmp_path / "c.npz").exists()
        assert np.array_equal(cs.simulate(model, x, observe={"a": Stop(9.0)}, **arguments).final, one)
    nodes = cs.MeanField(model=network, law=cs.laws.Uniform(dim=3), n_nodes=64)
    order = cs.measures.order_parameter(cs.simulate(nodes, nodes.start(), rng=0).final, weights=nodes.weights)
    assert 0 < order < 1
    assert pickle.loads(pickle.dumps(interaction)) == interaction


def test_densities_on_the_circle():
    def density(interaction):
        model = cs.LimitSDE(attention=interaction, field=None, horizon=0.5, n_steps=50, scheme="rk4")
        law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
        return model, cs.CircleDensity(model=model, law=law, n_modes=64)

    model, limit = density(cs.MultiHeadAttention(heads=SEVERAL[:2], combine="sum"))
    nodes = cs.MeanField(model=model, law=limit.law, n_nodes=128)
    x = cs.simulate(nodes, nodes.start(), rng=0).final
    modes = nodes.weights @ (x[:, 0] + 1j * x[:, 1])[:, None] ** -np.arange(5)
    np.testing.assert_allclose(limit.solve(rng=0).modes[0, :5], modes, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="circle_drift"):
        density(cs.CustomInteraction(to_mean))


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda x, p: None, TypeError, "array of floating-point numbers, got NoneType"),
        (lambda x, p: x.astype(int), TypeError, "array of floating-point numbers"),
        (lambda x, p: x[:-1], ValueError, r"shape \(8, 3\), that of x, got \(7, 3\)"),
        (lambda x, p: x / 0, ValueError, "finite numbers"),
        (lambda x, p: x.__imul__(2), ValueError, "read-only"),
        (lambda x, p: p.__imul__(2), ValueError, "read-only"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value")
def test_what_is_no_drift_is_refused(returned, error, message):
    with pytest.raises(error, match=message):
        cs.CustomInteraction(returned)(cs.sample_uniform(8, 3, rng=0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": []}, "heads must hold at least one"),
        ({"heads": [None]}, r"heads\[0\] must be .* got None"),
        ({"heads": [SEVERAL[0], 3]}, r"heads\[1\] must be .* got 3"),
        ({"heads": SEVERAL[0]}, "heads must be a list or tuple"),
        ({"heads": SEVERAL, "combine": "max"}, "combine"),
    ],
)
def test_heads_that_are_none_are_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        cs.MultiHeadAttention(**arguments)


def test_a_custom_interaction_needs_a_function():
    with pytest.raises(TypeError, match="function must be a callable"):
        cs.CustomInteraction(3)
