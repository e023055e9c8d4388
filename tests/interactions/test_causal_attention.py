"""Causal attention: what it has in common with attention to all, closed forms, models and refusals."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.models.schemes import SCHEMES


def causal(**options):
    return cs.SoftmaxAttention(mask="causal", **options)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 40, 300, 1000])
def test_the_last_token_attends_to_all(dtype, n):
    x, p = cases.tokens(n, 3, dtype)[0], cases.weights(n)
    last, full = causal(beta=3.0).evaluate(x, p), cs.SoftmaxAttention(beta=3.0).evaluate(x, p)
    atol = twins.attention_tolerance(3.0, 3, dtype)
    twins.assert_close(last.value[-1], full.value[-1], atol=atol, dtype=dtype)
    assert abs(last.log_partition[-1] - full.log_partition[-1]) <= atol


@pytest.mark.parametrize("decay", [0.0, 2.0, 1e3])
@pytest.mark.parametrize("value_scale", [1.0, -0.7, 0.0])
def test_the_first_token_sees_itself(decay, value_scale):
    x = cs.sample_uniform(70, 5, rng=0)
    drift = causal(beta=3.0, decay=decay, value_scale=value_scale)(x)
    assert np.array_equal(drift[0], value_scale * x[0])
    value = cases.form("general", 5, 2.0)
    general = causal(beta=3.0, decay=decay, value=value)(x)
    twins.assert_close(general[0], value @ x[0], atol=1e-14)


def test_decay_has_its_limits():
    x = cs.sample_uniform(300, 3, rng=0)
    assert np.array_equal(causal(beta=2.0, decay=0.0)(x), causal(beta=2.0)(x))
    twins.assert_close(causal(beta=2.0, decay=1e-9)(x), causal(beta=2.0)(x), atol=1e-9)
    for decay in (1e9, 1e15):  # what is left is the token itself
        result = causal(beta=2.0, decay=decay).evaluate(x)
        twins.assert_close(result.value, x, atol=1e-15)
        twins.assert_close(result.log_partition, np.full(300, 2.0 - np.log(300)), atol=1e-13)


MODELS = {
    "transformer": lambda attention: cs.Transformer(attention=attention, mlp=None, depth=7, horizon=2.0),
    **{
        name: lambda attention, name=name: cs.LimitSDE(
            attention=attention, field=None, horizon=2.0, n_steps=7, scheme=name
        )
        for name in SCHEMES
    },
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value_scale", [1.0, -1.0])
def test_the_first_token_stays_where_it_is(kind, dtype, value_scale):
    x = cs.sample_uniform(50, 7, rng=0, n_replicas=20).astype(dtype)
    for attention in (
        causal(beta=2.0, value_scale=value_scale),
        causal(beta=2.0, value_scale=value_scale, decay=10.0),
        cs.MultiHeadAttention(heads=[causal(beta=2.0, value_scale=value_scale)] * 2),
    ):
        final = cs.simulate(MODELS[kind](attention), x, rng=0).final
        assert np.array_equal(final[:, 0], x[:, 0])
        assert (final[:, 1:] != x[:, 1:]).any(axis=2).all()


def test_a_step_against_the_first_token_is_not_held():
    """1 + τδ < 0: the step of the network leads to the other side."""
    x = cs.sample_uniform(5, 3, rng=0)
    model = cs.Transformer(attention=causal(beta=1.0, value_scale=-3.0), mlp=None, depth=1, horizon=1.0)
    np.testing.assert_allclose(cs.simulate(model, x, rng=0).final[0], -x[0], atol=1e-15)


@pytest.mark.parametrize(
    ("beta", "u0", "horizon", "expected"),
    [(1.0, 0.0, 2.0, 0.5791953369108979), (4.0, 0.5, 3.0, 0.8269524052782815), (2.0, -0.5, 1.0, None)],
)
def test_the_first_pair(beta, u0, horizon, expected):
    """u̇ = (1 − u²) e^{βu}/(e^β + e^{βu}); the two numbers are from an integration of its own."""

    def slope(_, u):
        return (1 - u**2) * np.exp(beta * u) / (np.exp(beta) + np.exp(beta * u))

    exact = solve_ivp(slope, (0.0, horizon), [u0], method="DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
    assert expected is None or abs(exact - expected) < 1e-10
    x = np.concatenate([[[1.0, 0.0, 0.0], [u0, np.sqrt(1 - u0**2), 0.0]], cs.sample_uniform(3, 3, rng=0)])
    model = cs.LimitSDE(attention=causal(beta=beta), field=None, horizon=horizon, n_steps=400, scheme="rk4")
    final = cs.simulate(model, x, rng=0).final
    assert abs(final[0] @ final[1] - exact) < 1e-9


def test_no_model_of_densities_and_no_rate_has_a_mask():
    attention = causal(beta=2.0)
    model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10)
    with pytest.raises(ValueError, match=r"mask must be None for the drift of a density.*measure of its own"):
        cs.CircleDensity(model=model, law=cs.laws.Uniform(dim=2), n_modes=64)
    with pytest.raises(ValueError, match="mask must be None for the linear response"):
        cs.theory.growth_rate(attention, 2, 3)
    assert attention.energy(cs.sample_uniform(5, 3, rng=0)) is None
    assert attention.consensus_rate is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": "casual"}, "mask: unknown 'casual'; did you mean 'causal'"),
        ({"mask": 1}, "mask: unknown 1"),
        ({"mask": "causal", "decay": -1.0}, "decay must be a finite number >= 0"),
        ({"mask": "causal", "decay": float("inf")}, "decay must be a finite number"),
        ({"decay": 1.0}, "decay must be 0 without mask='causal', got 1"),
        ({"mask": "causal", "decay": 2e15}, r"decay must be a finite number >= 0 and <= 1e\+15"),
        ({"mask": "causal", "method": "nufft"}, "method must not be 'nufft' with mask='causal'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        cs.SoftmaxAttention(beta=1.0, **options)


def test_bad_calls():
    x = cs.sample_uniform(5, 3, rng=0)
    with pytest.raises(ValueError, match="mask must be None for attention to sources"):
        causal(beta=1.0)(x, sources=x)
    with pytest.raises(ValueError, match=r"weights\[0\] must be > 0 with mask='causal', got 0"):
        causal(beta=1.0)(x, [0.0, 0.25, 0.25, 0.25, 0.25])
    with pytest.raises(ValueError, match=r"weights must have one entry per token, 5.*passive tokens"):
        causal(beta=1.0).plan(Shape.of(x[None]), np.full(4, 0.25))
    with pytest.raises(TypeError, match="decay must be a real number"):
        causal(beta=1.0, decay="1")


def test_text():
    assert repr(cs.SoftmaxAttention(beta=2.0)) == "SoftmaxAttention(beta=2.0)"
    assert repr(causal(beta=2.0, decay=0.5)) == "SoftmaxAttention(beta=2.0, mask='causal', decay=0.5)"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("decay", [0.0, 3.0, 300.0])
@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_unnormalised_attention_is_a_mean_over_the_prefix(dtype, decay, rescaled, weighted):
    n, beta = 300, 2.0
    x, p = cases.tokens(n, 3, dtype, n_replicas=2), cases.weights(n) if weighted else None
    attention = cs.UnnormalizedAttention(beta=beta, value_scale=-0.5, rescaled=rescaled, mask="causal", decay=decay)
    place = np.arange(n)
    w = np.tril(np.exp(np.minimum(-decay / n * (place[:, None] - place), 0.0))) * (np.ones(n) if p is None else p)
    w /= w.sum(axis=1, keepdims=True)
    y = x.astype(np.float64)
    w = w * np.exp(beta * (y @ y.swapaxes(1, 2) - rescaled))
    size = 1.0 if rescaled else np.exp(beta)
    atol = size * twins.attention_tolerance(2 * beta, 3, dtype)
    twins.assert_close(attention(x, p), -0.5 * w @ y, atol=atol, dtype=dtype)
    plan = attention.plan(Shape.of(x), p)
    full = plan.drift(x, n_threads=2)
    assert np.array_equal(plan.rows(x, first=64, stop=192, n_threads=2), full[:, 64:192])


def test_unnormalised_attention_without_a_rate():
    x = cs.sample_uniform(5, 2, rng=0)
    attention = cs.UnnormalizedAttention(beta=1.0, mask="causal")
    assert attention.energy(x) is None
    assert attention.consensus_rate is None
    assert np.array_equal(cs.simulate(MODELS["heun"](attention), x, rng=0).final[0], x[0])
    twins.assert_close(
        cs.UnnormalizedAttention(beta=0.0, mask="causal")(x), np.cumsum(x, 0) / np.arange(1, 6)[:, None], atol=1e-15
    )
    with pytest.raises(ValueError, match="mask must be None for the drift of a density"):
        attention.circle_drift(8)
    with pytest.raises(ValueError, match="mask must be None for the linear response"):
        attention.linear_response(1, 2)
    with pytest.raises(
        ValueError, match=r"decay is too fast for weights of 0, got 1e\+12: nothing is left of what token 1"
    ):
        cs.UnnormalizedAttention(beta=1.0, mask="causal", decay=1e12)(x, [0.5, 0.0, 0.5, 0.0, 0.0])


@pytest.mark.parametrize("kind", ["transformer", *SCHEMES])
@pytest.mark.parametrize("method", ["direct", "harmonic"])
def test_models_with_noise(kind, method):
    """Ensembles are their members one by one; later tokens change no earlier one."""
    mlp = cs.MLP(width=8, activation="tanh", bias_std=0.3)
    attention = causal(beta=2.0, method=method, decay=1.0)
    if kind == "transformer":
        model = cs.Transformer(attention=attention, mlp=mlp, depth=6, horizon=1.0)
    else:
        noise = None if SCHEMES[kind].strong_order is None else cs.GaussianField(kernel=mlp.kernel(3), tolerance=1e-2)
        model = cs.LimitSDE(attention=attention, field=noise, horizon=1.0, n_steps=6, scheme=kind)
    x = cs.sample_uniform(300, 3, rng=0, n_replicas=2)
    final = cs.simulate(model, x, rng=0).final
    assert np.array_equal(cs.simulate(model, x, rng=0, n_threads=1).final, final)
    y = x.copy()
    y[:, 200:] = x[:, 200:][:, ::-1]
    changed = cs.simulate(model, y, rng=0).final
    assert np.array_equal(changed[:, :128], final[:, :128])
    assert not np.array_equal(changed[:, 200:], final[:, 200:])
    described = cs.simulate(model, x, rng=0).attributes["model"]["attention"]
    assert described["mask"] == "causal"
    assert described["decay"] == 1.0
