"""Derivatives of every interaction: against complex steps of its formula, and against each other."""

import numpy as np
import pytest
from support import cases, drifts, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.per_layer import per_layer

DIM = 5
RNG = np.random.default_rng(0)
QUERY, KEY = 0.8 * RNG.standard_normal((2, 7, DIM))
VALUE, OUTPUT = RNG.standard_normal((2, 7, DIM))
OUTPUT = OUTPUT.T
NARROW = {"query": QUERY[:2], "key": KEY[:2], "value": VALUE[:2], "output": OUTPUT[:, :2]}
SCALARS = {"beta": 3.0, "value_scale": -0.7}
SLOPE = np.polynomial.Polynomial([0.3, -1.0, 0.0, 2.0, 1.0])
MATRICES = {
    "scalars": SCALARS,
    "a head": NARROW,
    "narrow scores": {"query": QUERY[:2], "key": KEY[:2], "value_scale": -0.7},
    "scores of more rows than d": {"query": QUERY, "key": KEY, "value": VALUE[:DIM]},
    "values of more rows than d": {"beta": 2.0, "value": VALUE, "output": OUTPUT},
    "values of fewer rows than d": {"beta": 2.0, "value": VALUE[:1], "output": OUTPUT[:, :1]},
    "switched off": {"beta": 2.0, "value_scale": 0.0},
}
# The interaction, its formula, the parameters that have gradients, and what else the formula takes.
CASES = {name: (cs.SoftmaxAttention(**own), drifts.softmax, own, {}) for name, own in MATRICES.items()}
CASES |= {
    f"causal, {name}": (
        cs.SoftmaxAttention(**own, mask="causal", decay=decay),
        drifts.softmax,
        own,
        {"decay": decay},
    )
    for name, own, decay in (("scalars", SCALARS, 0.0), ("scalars, decay", SCALARS, 3.0), ("a head", NARROW, 5.0))
}
CASES |= {
    f"distances, {name}": (cs.L2Attention(**own), drifts.softmax, own, {"is_distance": True})
    for name, own in MATRICES.items()
    if "query" in own and "output" not in own
}
CASES |= {
    "unnormalized": (cs.UnnormalizedAttention(**SCALARS), drifts.unnormalized, SCALARS, {}),
    "rescaled": (
        cs.UnnormalizedAttention(**SCALARS, rescaled=True),
        drifts.unnormalized,
        SCALARS,
        {"is_rescaled": True},
    ),
    "causal, unnormalized": (
        cs.UnnormalizedAttention(**SCALARS, mask="causal", decay=3.0),
        drifts.unnormalized,
        SCALARS,
        {"decay": 3.0},
    ),
    "doubly stochastic": (cs.SinkhornAttention(**SCALARS, tolerance=1e-13), drifts.sinkhorn, SCALARS, {}),
    "potential": (cs.PotentialInteraction(SLOPE.integ()), drifts.potential, {}, {"slope": SLOPE}),
    "linear potential": (
        cs.PotentialInteraction([0.0, 2.0]),
        drifts.potential,
        {},
        {"slope": np.polynomial.Polynomial([2.0])},
    ),
}


def vectors(n, dim=DIM, n_replicas=1, dtype=np.float64):
    """Two arrays of any vectors, tangents and cotangents."""
    return np.random.default_rng([n, dim]).standard_normal((2, n_replicas, n, dim)).astype(dtype)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weighted", ["uniform", "weights and passive tokens"])
def test_derivatives_are_those_of_complex_steps(name, weighted):
    interaction, drift, parameters, others = CASES[name]
    n, n_sources = 9, 9 if "causal" in name or weighted == "uniform" else 7
    x, p = cases.tokens(n, DIM), cases.weights(n_sources, seed=3)
    assert weighted == "uniform" or (p == 0).any()
    p = np.full(n, 1 / n) if weighted == "uniform" else p
    plan = interaction.plan(Shape.of(x), None if weighted == "uniform" else p)
    tangent, cotangent = vectors(n)

    def value(x=x[0], p=p, **changed):
        return drift(x, p, **(parameters | others | changed))

    def total(**changed):
        return (cotangent[0] * value(**changed)).sum()

    twins.assert_close(plan.drift(x, n_threads=1)[0], value(), atol=1e-11)
    along = plan.jvp(x, tangent, n_threads=1)
    twins.assert_close(along[0], drifts.derivative(lambda z: value(x=z), x[0], tangent[0]), atol=1e-10)
    back = plan.vjp(x, cotangent, n_threads=1)
    twins.assert_close(back.tokens[0], drifts.gradient(lambda z: total(x=z), x[0]), atol=1e-10)
    twins.assert_close(back.weights[0], drifts.gradient(lambda z: total(p=z), p), atol=1e-9)
    assert set(back.parameters) == set(parameters)
    for key, values in back.parameters.items():
        want = drifts.gradient(lambda z, key=key: total(**{key: z}), parameters[key])
        twins.assert_close(values[0], want, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "dim"), [(1, 2), (2, 3), (31, 3), (33, 5), (193, 2), (100, 64)])
@pytest.mark.parametrize("kind", ["softmax", "causal", "unnormalized", "doubly stochastic", "potential"])
def test_one_is_the_transpose_of_the_other(kind, n, dim, dtype):
    interaction = {
        "softmax": cs.SoftmaxAttention(beta=4.0),
        "causal": cs.SoftmaxAttention(beta=4.0, mask="causal", decay=1.0),
        "unnormalized": cs.UnnormalizedAttention(beta=1.0),
        "doubly stochastic": cs.SinkhornAttention(beta=4.0),
        "potential": cs.PotentialInteraction(SLOPE.integ()),
    }[kind]
    x = cases.tokens(n, dim, dtype, n_replicas=2)
    p = cases.weights(n)
    tangent, cotangent = vectors(n, dim, 2, dtype)
    along, back = interaction.jvp(x, tangent, weights=p), interaction.vjp(x, cotangent, weights=p)
    assert along.dtype == back.tokens.dtype == dtype
    assert along.shape == back.tokens.shape == x.shape
    assert back.weights.shape == (2, n)
    one, other = (np.einsum("rik,rik->r", *both, dtype=float) for both in ((cotangent, along), (back.tokens, tangent)))
    size = np.linalg.norm(cotangent.astype(float)) * np.linalg.norm(along.astype(float))
    atol = (1e-13 if dtype == np.float64 else 1e-5) * (size + 1)
    if kind == "doubly stochastic":
        atol *= 100  # its scalings solve their equation to 1e-12, or 1e-6
    twins.assert_close(one, other, atol=atol)


@pytest.mark.parametrize("name", CASES)
def test_single_precision(name):
    interaction = CASES[name][0]
    x, (tangent, cotangent) = cases.tokens(40, DIM), vectors(40)
    x32, tangent32, cotangent32 = (a.astype(np.float32) for a in (x, tangent, cotangent))
    want, got = interaction.jvp(x[0], tangent[0]), interaction.jvp(x32[0], tangent32[0])
    twins.assert_close(got, want, atol=2e-4 * max(1.0, abs(want).max()), dtype=np.float32)
    want, got = interaction.vjp(x, cotangent), interaction.vjp(x32, cotangent32)
    twins.assert_close(got.tokens, want.tokens, atol=2e-4 * max(1.0, abs(want.tokens).max()), dtype=np.float32)
    for one, other in ((got.weights, want.weights), *((got.parameters[k], v) for k, v in want.parameters.items())):
        twins.assert_close(one, other, atol=2e-4 * max(1.0, abs(other).max()))


@pytest.mark.parametrize("name", ["a head", "causal, scalars, decay", "unnormalized", "doubly stochastic", "potential"])
def test_replicas_layouts_and_threads(name):
    interaction = CASES[name][0]
    x, p = cases.tokens(70, DIM, n_replicas=3), cases.weights(70)
    tangent, cotangent = vectors(70, n_replicas=3)
    along, back = interaction.jvp(x, tangent, weights=p), interaction.vjp(x, cotangent, weights=p)
    for r in range(3):
        assert np.array_equal(interaction.jvp(x[r], tangent[r], weights=p, n_threads=1), along[r])
        own = interaction.vjp(x[r], cotangent[r], weights=p, n_threads=2)
        assert np.array_equal(own.tokens, back.tokens[r])
        assert np.array_equal(own.weights, back.weights[r])
        for key, values in back.parameters.items():
            assert np.array_equal(own.parameters[key], values[r])
    for layout in ("strided", "Fortran", "read-only"):
        same, other, of = (cases.layouts(a)[layout] for a in (x, tangent, cotangent))
        assert np.array_equal(interaction.jvp(same, other, weights=p), along)
        own = interaction.vjp(same, of, weights=p)
        assert np.array_equal(own.tokens, back.tokens)
        assert np.array_equal(own.weights, back.weights)
        for key, values in back.parameters.items():
            assert np.array_equal(own.parameters[key], values)


def test_replicas_of_many_coordinates():
    attention = cs.SoftmaxAttention(beta=2.0, value_scale=0.5)
    x, cotangent = cases.tokens(70, 200, n_replicas=3), vectors(70, 200, n_replicas=3)[1]
    back = attention.vjp(x, cotangent)
    for r in range(3):
        own = attention.vjp(x[r], cotangent[r])
        for key, values in back.parameters.items():
            assert own.parameters[key] == values[r]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "interaction", [cs.SoftmaxAttention(beta=2.0), cs.UnnormalizedAttention(beta=2.0), cs.SinkhornAttention(beta=2.0)]
)
def test_gradients_in_small_weights_tend_to_that_in_none(interaction, dtype):
    x = cases.tokens(20, 3, dtype)[0]
    cotangent = vectors(20, 3)[1, 0].astype(dtype)
    gradients = []
    for small in (0.0, 1e-300, 1e-37, 1e-20, 1e-15):
        p = np.full(20, (1 - small) / 19)
        p[0] = small
        back = interaction.vjp(x, cotangent, weights=p)
        gradients.append((back.weights[0], *back.tokens[1]))
    assert abs(gradients[0][0]) > 0.01
    twins.assert_close(np.array(gradients[1:]), np.array([gradients[0]] * 4), atol=1e-11 + 40 * np.finfo(dtype).eps)


def test_causal_attention_looks_at_what_came_before():
    attention = cs.SoftmaxAttention(beta=2.0, value_scale=-0.5, mask="causal")
    x, (tangent, cotangent) = cases.tokens(300, 3)[0], vectors(300, 3)[:, 0]
    along = attention.jvp(x, tangent)
    twins.assert_close(along[0], -0.5 * tangent[0], atol=1e-15)
    tangent[200:] = 0
    assert np.array_equal(attention.jvp(x, tangent)[:200], along[:200])
    cotangent[200:] = 0
    back = attention.vjp(x, cotangent)
    assert not back.tokens[200:].any()
    assert not back.weights[200:].any()


@pytest.mark.parametrize("decay", [3e4, 1e9, 1e15])
def test_a_fast_decay_leaves_the_token_itself(decay):
    attention = cs.SoftmaxAttention(beta=2.0, mask="causal", decay=decay)
    x, (tangent, cotangent) = cases.tokens(300, 3)[0], vectors(300, 3)[:, 0]
    twins.assert_close(attention.jvp(x, tangent), tangent, atol=1e-13)
    twins.assert_close(attention.vjp(x, cotangent).tokens, cotangent, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nothing_overflows(dtype):
    """With a huge β a token sees itself alone; what one of weight 0 would give itself may be infinite."""
    x = np.concatenate([np.eye(3), -np.eye(3)]).astype(dtype)
    (tangent, cotangent), beta = vectors(6, 3, dtype=dtype)[:, 0], 1e10 if dtype == np.float64 else 8e4
    atol = 8 * beta * float(np.finfo(dtype).eps)  # a coefficient is known to the rounding of its exponent
    for attention in (cs.SoftmaxAttention(beta=beta), cs.SinkhornAttention(beta=beta)):
        twins.assert_close(attention.jvp(x, tangent), tangent, atol=atol, dtype=dtype)
        back = attention.vjp(x, cotangent)
        twins.assert_close(back.tokens, cotangent, atol=atol, dtype=dtype)
        assert all(np.isfinite(a).all() for a in (back.weights, *back.parameters.values()))
    p = np.array([0.0, 0.2, 0.2, 0.2, 0.2, 0.2])
    back = cs.SoftmaxAttention(beta=beta).vjp(x, cotangent, weights=p)
    assert np.isfinite(back.tokens).all()
    assert np.isfinite(back.weights[1:]).all()


@pytest.mark.parametrize(
    "fast",
    [
        cs.SoftmaxAttention(beta=2.0, method="harmonic"),
        cs.SoftmaxAttention(beta=2.0, method="harmonic", mask="causal", decay=1.0),
        cs.UnnormalizedAttention(beta=2.0, method="harmonic"),
        cs.SinkhornAttention(beta=2.0, method="harmonic"),
        cs.PotentialInteraction(SLOPE.integ(), method="harmonic"),
    ],
    ids=lambda interaction: type(interaction).__name__,
)
def test_expansions_have_the_derivative_of_the_exact_sums(fast):
    import dataclasses

    options = {} if isinstance(fast, cs.PotentialInteraction) else {"rtol": None}
    exact = dataclasses.replace(fast, method="direct", **options)
    x, (tangent, cotangent) = cases.tokens(200, 3)[0], vectors(200, 3)[:, 0]
    twins.assert_close(fast.jvp(x, tangent), exact.jvp(x, tangent), atol=1e-10)
    twins.assert_close(fast.vjp(x, cotangent).tokens, exact.vjp(x, cotangent).tokens, atol=1e-10)


def test_several_heads():
    heads = [cs.SoftmaxAttention(**NARROW), cs.UnnormalizedAttention(**SCALARS)]
    x, (tangent, cotangent) = cases.tokens(20, DIM)[0], vectors(20)[:, 0]
    backs = [head.vjp(x, cotangent) for head in heads]
    for combine, share in (("mean", 0.5), ("sum", 1.0)):
        both = cs.MultiHeadAttention(heads=heads, combine=combine)
        twins.assert_close(both.jvp(x, tangent), share * sum(head.jvp(x, tangent) for head in heads), atol=1e-13)
        back = both.vjp(x, cotangent)
        twins.assert_close(back.tokens, share * sum(own.tokens for own in backs), atol=1e-13)
        twins.assert_close(back.weights, share * sum(own.weights for own in backs), atol=1e-12)
        names = {f"heads[{i}].{key}" for i, own in enumerate(backs) for key in own.parameters}
        assert set(back.parameters) == names
        twins.assert_close(back.parameters["heads[1].beta"], share * backs[1].parameters["beta"], atol=1e-13)


def test_layers_of_nodes_and_passive_tokens_under_a_mask():
    """Against differences of fourth order; the transpose against the derivative."""
    x = cases.tokens(3 * 4 + 5, 3)
    tangent, cotangent = vectors(17, 3)
    weights = np.stack([cases.weights(4, seed) for seed in range(3)])
    attention, h = cs.SoftmaxAttention(beta=2.0, mask="causal", decay=1.0), 2e-4
    plan = attention.plan(Shape.of(x), weights)
    along = plan.jvp(x, tangent, n_threads=1)
    ends = [plan.drift(x + s * h * tangent, n_threads=1) for s in (-2, -1, 1, 2)]
    twins.assert_close(along, (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h), atol=1e-9)
    back = plan.vjp(x, cotangent, n_threads=1)
    assert np.isclose((back.tokens * tangent).sum(), (cotangent * along).sum(), rtol=0, atol=1e-13)
    change = np.random.default_rng(0).standard_normal(weights.shape) * (weights > 0)
    change -= weights * change.sum(axis=1, keepdims=True)  # keeps the sums at 1
    ends = [attention.plan(Shape.of(x), weights + s * h * change).drift(x, n_threads=1) for s in (-2, -1, 1, 2)]
    want = (cotangent * (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3])).sum() / (12 * h)
    assert np.isclose((back.weights[0] * change.ravel()).sum(), want, rtol=0, atol=1e-9)
    ends = [
        cs.SoftmaxAttention(beta=2.0 + s * h, mask="causal", decay=1.0).plan(Shape.of(x), weights).drift(x, n_threads=1)
        for s in (-2, -1, 1, 2)
    ]
    want = (cotangent * (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3])).sum() / (12 * h)
    assert np.isclose(back.parameters["beta"][0], want, rtol=0, atol=1e-9)


def test_schedules_and_layers_have_a_derivative_at_a_time():
    x, (tangent, cotangent) = cases.tokens(20, 3), vectors(20, 3)
    changing = cs.SoftmaxAttention(beta=lambda t: 1.0 + t, value_scale=[1.0, 0.5])
    plan, constant = changing.plan(Shape.of(x)), cs.SoftmaxAttention(beta=1.5, value_scale=0.5)
    now = plan.at(0.5, step=1)
    assert np.array_equal(now.jvp(x, tangent, n_threads=1), constant.jvp(x, tangent))
    back, want = now.vjp(x, cotangent, n_threads=1), constant.vjp(x, cotangent)
    assert np.array_equal(back.parameters["beta"], want.parameters["beta"])
    layers = per_layer([cs.SoftmaxAttention(beta=1.0), constant]).plan(Shape.of(x))
    assert np.array_equal(layers.at(0.0, step=1).jvp(x, tangent, n_threads=1), constant.jvp(x, tangent))
    for without_time, match in ((plan, r"take attention.at\(time\)"), (layers, "take `at` it")):
        for method, vector in ((without_time.jvp, tangent), (without_time.vjp, cotangent)):
            with pytest.raises(ValueError, match=match):
                method(x, vector, n_threads=1)


def test_a_function_has_no_derivative():
    x, (tangent, cotangent) = cases.tokens(20, 3), vectors(20, 3)
    plan = cs.CustomInteraction(lambda x, weights: x).plan(Shape.of(x))
    for method, vector in ((plan.jvp, tangent), (plan.vjp, cotangent)):
        with pytest.raises(ValueError, match="CustomInteraction has no derivative"):
            method(x, vector, n_threads=1)


@pytest.mark.parametrize("method", ["jvp", "vjp"])
def test_bad_input(method):
    attention, x = cs.SoftmaxAttention(beta=1.0), cases.tokens(20, 3)[0]
    call, name = getattr(attention, method), {"jvp": "tangent", "vjp": "cotangent"}[method]
    for wrong, error, match in (
        (x[:-1], ValueError, f"{name} must have the shape of x"),
        (x[None], ValueError, f"{name} must have the shape of x"),
        (x.astype(np.float32), TypeError, f"{name} must have the dtype of x"),
        (x.tolist(), TypeError, f"{name} must be a float64 or float32 array"),
        (x * np.nan, ValueError, f"{name} must be finite and <= 1e\\+100 in size"),
        (1e101 * x, ValueError, f"{name} must be finite and <= 1e\\+100 in size"),
    ):
        with pytest.raises(error, match=match):
            call(x, wrong)
    with pytest.raises(ValueError, match="x must lie on the unit sphere"):
        call(2 * x, x)
    with pytest.raises(ValueError, match="weights must sum to 1"):
        call(x, x, weights=np.ones(20))
