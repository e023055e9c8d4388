"""What specs do with what they are given: numbers of other types, arrays of other kinds, sizes out of range."""

import dataclasses
import json
import math

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common import checks
from chaosphere.common.shape import Shape
from chaosphere.interactions.attended import relative_weights
from chaosphere.models.densities import CircleDensity

X = cs.sample_uniform(8, 3, rng=0)
MATRIX = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 0.0], [0.1, 0.0, 1.0]])
MLP = cs.MLP(width=4, activation="tanh", bias_std=0.5)
FIELD = cs.GaussianField(kernel=MLP.kernel(2))
LIMIT = cs.LimitSDE(attention=None, field=FIELD, horizon=1.0, n_steps=4)
LAW = cs.laws.Uniform(dim=2)

SPECS = {
    "mlp": lambda i, f: cs.MLP(width=i(4), bias_std=f(0.5), output_bias_std=f(0.25), weight_std=f(2.0)),
    "attention": lambda i, f: cs.SoftmaxAttention(beta=f(2.0), value_scale=f(-1.0), rtol=f(0.0625)),
    "unnormalized": lambda i, f: cs.UnnormalizedAttention(beta=f(2.0), value_scale=f(-1.0), rtol=f(0.0625)),
    "potential": lambda i, f: cs.PotentialInteraction([f(0.0), f(1.0)], tolerance=f(0.0625)),
    "sinkhorn": lambda i, f: cs.SinkhornAttention(beta=f(2.0), value_scale=f(-1.0), tolerance=f(0.0625)),
    "transformer": lambda i, f: cs.Transformer(
        attention=None, mlp=MLP, depth=i(4), horizon=f(1.0), noise_scale=f(0.5), n_fine_steps=i(2)
    ),
    "sde": lambda i, f: cs.LimitSDE(
        attention=None, field=FIELD, horizon=f(1.0), n_steps=i(4), temperature=f(0.5), n_fine_steps=i(2)
    ),
    "field": lambda i, f: cs.GaussianField(kernel=FIELD.kernel, tolerance=f(0.0625), width=i(64)),
    "mean field": lambda i, f: cs.MeanField(model=LIMIT, law=LAW, n_nodes=i(64)),
    "density": lambda i, f: CircleDensity(model=LIMIT, law=LAW, n_modes=i(64)),
    "density on S²": lambda i, f: cs.SphereDensity(
        model=cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=4),
        law=cs.laws.Uniform(dim=3),
        n_modes=i(64),
    ),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("integer", [np.uint8, np.int16, np.int64, np.uint64])
@pytest.mark.parametrize("number", [np.float16, np.float32, np.float64, np.longdouble, np.int8])
def test_numbers_become_int_and_float(name, integer, number):
    # Every number above is exact in float16; int8 is only for those that are integers.
    def as_number(value):
        return number(value) if number is not np.int8 or value == int(value) else value

    spec, plain = SPECS[name](integer, as_number), SPECS[name](int, float)
    assert spec == plain
    assert hash(spec) == hash(plain)
    assert repr(spec) == repr(plain)
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        assert not isinstance(value, np.generic)
        if isinstance(value, int | float):
            assert type(value) is type(getattr(plain, field.name))
            assert json.dumps(value)


def test_a_width_of_one_byte_does_not_wrap():
    def final(width):
        model = cs.Transformer(attention=None, mlp=cs.MLP(width=width), depth=2, horizon=1.0)
        return cs.simulate(model, X, rng=0).final

    assert np.array_equal(final(np.uint8(200)), final(200))


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_narrow_parameters_do_not_change_a_bit(kind):
    def final(horizon, noise_scale):
        model = cs.Transformer(
            attention=cs.SoftmaxAttention(), mlp=MLP, depth=3, horizon=horizon, noise_scale=noise_scale
        )
        return cs.simulate(model, X, rng=0).final

    assert np.array_equal(final(kind(1), kind(1)), final(1.0, 1.0))


def test_sizes_of_narrow_types_choose_the_same_method():
    attention = cs.SoftmaxAttention(beta=4.0)
    assert attention.resolve(np.uint16(60_000), np.uint8(3)) == attention.resolve(60_000, 3)
    field = cs.GaussianField(kernel=MLP.kernel(3), method="dense")
    assert field.resolve(np.uint8(200)) == field.resolve(200)


@pytest.mark.parametrize("activation", ["linear", "relu", "cos"])
def test_the_largest_layers_are_finite_in_float32(activation):
    mlp = cs.MLP(width=1000, activation=activation, bias_std=1e30, output_bias_std=1e30, weight_std=1e30)
    layer = mlp.draw(3, rng=np.random.default_rng(0))
    assert np.isfinite(layer(X.astype(np.float32))).all()


def test_a_sweep_over_an_array_of_integers():
    def model(width):
        return cs.Transformer(attention=None, mlp=cs.MLP(width=width), depth=4, horizon=1.0)

    observe = {"e": cs.measures.Energy()}
    options = {"n_tokens": 5, "seeds": range(2), "observe": observe}
    from_array = cs.ensemble(model, cs.laws.Uniform(dim=3), sweep={"width": np.array([4, 8])}, **options)
    from_list = cs.ensemble(model, cs.laws.Uniform(dim=3), sweep={"width": [4, 8]}, **options)
    assert np.array_equal(from_array["e"], from_list["e"])


def test_equality_is_by_value():
    attention = cs.SoftmaxAttention
    assert attention(beta=4) == attention(beta=4.0, value_scale=1.0)
    assert attention(query=MATRIX, key=MATRIX) == attention(query=MATRIX.tolist(), key=np.asfortranarray(MATRIX))
    assert hash(attention(query=MATRIX, key=MATRIX)) == hash(attention(query=MATRIX.copy(), key=MATRIX))
    assert attention(value=0 * MATRIX) == attention(value=-0.0 * MATRIX)
    assert hash(attention(value=0 * MATRIX)) == hash(attention(value=-0.0 * MATRIX))
    assert attention(value=MATRIX) != attention(value=MATRIX.T)
    assert attention(value=MATRIX) != attention(value=MATRIX[:2, :2])
    assert attention(beta=4.0) != attention(beta=4.0, method="direct")
    assert attention(beta=4.0) != 4.0
    models = [
        cs.Transformer(attention=attention(value=MATRIX), mlp=cs.MLP(width=4), depth=3, horizon=1.0) for _ in range(2)
    ]
    assert models[0] == models[1]
    assert len({cs.MeanField(model=model, law=cs.laws.Uniform(dim=3), n_nodes=50) for model in models}) == 1
    assert len({CircleDensity(model=LIMIT, law=LAW, n_modes=64) for _ in range(2)}) == 1


WEIGHTS = np.full(8, 0.125)


class Annotated(np.ndarray):
    pass


@pytest.mark.parametrize("convert", [np.ma.array, lambda a: a.view(np.matrix), lambda a: a.view(Annotated)])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda c: cs.SoftmaxAttention()(c(X)), "x"),
        (lambda c: cs.normalize(c(X)), "x"),
        (lambda c: cs.SoftmaxAttention()(X, c(WEIGHTS)), "weights"),
        (lambda c: cs.SoftmaxAttention(value=c(MATRIX)), "value"),
        (lambda c: cs.SoftmaxAttention(query=c(MATRIX), key=MATRIX), "query"),
        (lambda c: cs.measures.pair_fraction(c(X), 0.1), "x"),
        (lambda c: cs.measures.order_parameter(X, weights=c(WEIGHTS)), "weights"),
        (lambda c: cs.simulate(cs.Transformer(attention=None, mlp=MLP, depth=1, horizon=1.0), c(X), rng=0), "x"),
        (lambda c: cs.MeanField(model=LIMIT, law=LAW, n_nodes=8).start(c(cs.sample_uniform(3, 2, rng=0))), "passive"),
    ],
)
def test_arrays_with_an_arithmetic_of_their_own_are_refused(call, name, convert):
    with pytest.raises(TypeError, match=rf"{name}0? must not be a .*np\.asarray\({name}0?\)"):
        call(convert)


def test_a_memory_map_is_an_array(tmp_path):
    mapped = np.memmap(tmp_path / "x", dtype=np.float64, mode="w+", shape=X.shape)
    mapped[:] = X
    assert np.array_equal(cs.SoftmaxAttention()(mapped), cs.SoftmaxAttention()(X))


class Frame:
    """An object that converts itself, as a DataFrame does."""

    def __array__(self, dtype=None, copy=None):
        return np.asarray(X, dtype=dtype)


Tensor = type("Tensor", (), {"__module__": "torch"})


@pytest.mark.parametrize(
    ("x", "remedy"),
    [
        (X.tolist(), r"got list; pass np\.asarray\(x, dtype=np\.float64\)"),
        (Frame(), r"got Frame; pass np\.asarray\(x, dtype=np\.float64\)"),
        (Tensor(), r"got torch\.Tensor; pass x\.numpy\(force=True\)"),
        (X.astype(np.float16), r"got array of float16; pass np\.asarray\(x, dtype=np\.float64\)"),
        (X.astype(complex), r"got array of complex128$"),
        (None, r"got NoneType$"),
    ],
)
def test_other_objects_say_how_to_convert(x, remedy):
    with pytest.raises(TypeError, match=r"x must be a float64 or float32 array, " + remedy):
        cs.SoftmaxAttention()(x)


@pytest.mark.parametrize(
    "weights", [WEIGHTS.astype(complex), WEIGHTS.astype(str), WEIGHTS > 0, [[0.5], [0.25, 0.25]], "uniform", object()]
)
def test_weights_that_are_no_real_numbers(weights):
    with pytest.raises(TypeError, match="weights must be an array of real numbers"):
        cs.SoftmaxAttention()(X, weights)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("n", [3, 1000, 300_000])
def test_weights_normalised_in_their_own_type(dtype, n):
    if dtype == np.float16 and n > 1000:
        n = 5000  # beyond, most quotients are subnormal
    p = np.random.default_rng(n).random(n).astype(dtype)
    p /= p.sum()
    values = checks.weights(p, n)
    assert abs(values.sum() - 1) < 1e-14
    assert np.array_equal(values, p.astype(float) / p.astype(float).sum())
    with pytest.raises(ValueError, match="weights must sum to 1, got"):
        checks.weights(p * dtype(1.1), n)


def test_float64_weights_are_taken_as_they_are():
    p = np.random.default_rng(0).random(1000)
    p /= p.sum()
    assert checks.weights(p, 1000) is p
    with pytest.raises(ValueError, match="weights must sum to 1"):
        checks.weights(p * (1 + 2e-9), 1000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cs.SoftmaxAttention()(X, n_threads=2**31), "n_threads must be an integer <= 2147483647"),
        (lambda: cs.SoftmaxAttention(beta=10**400), "beta must be a finite number, got an integer of 1329 bits"),
        (lambda: cs.SoftmaxAttention(beta=-(10**5000)), "beta must be a finite number, got an integer of 16610"),
        (lambda: cs.SoftmaxAttention(beta=1e20), r"beta must be <= 4\.5e\+13"),
        (lambda: cs.MLP(width=2**70), "width must be an integer <= 9007199254740992"),
        (lambda: cs.MLP(width=1, bias_std=1e200), r"bias_std must be a finite number >= 0 and <= 1e\+30"),
        (lambda: dataclasses.replace(LIMIT, n_steps=2**63), "n_steps must be an integer <= 9007199254740992"),
        (lambda: dataclasses.replace(LIMIT, horizon=1e308), r"horizon must be .* <= 1e\+100, got 1e\+308"),
        (lambda: dataclasses.replace(LIMIT, temperature=1e308), r"temperature must be .* <= 1e\+100"),
        (
            lambda: cs.Transformer(attention=None, mlp=MLP, depth=2**63, horizon=1.0),
            "depth must be an integer <= 9007199254740992, got 9223372036854775808",
        ),
        (lambda: cs.Transformer(attention=None, mlp=MLP, depth=1, horizon=1e308), r"horizon must be .* <= 1e\+100"),
        (
            lambda: cs.Transformer(attention=None, mlp=MLP, depth=1, horizon=1.0, noise_scale=1e200),
            r"noise_scale must be .* <= 1e\+100",
        ),
        (lambda: cs.SoftmaxAttention(query=1e200 * MATRIX, key=1e200 * MATRIX), "the norm of QᵀK must be .* got inf"),
        (lambda: cs.SoftmaxAttention(query=1e200 * MATRIX, key=1e100 * MATRIX), "the norm of QᵀK must be"),
        (
            lambda: cs.SoftmaxAttention(value=1e300 * MATRIX)(X.astype(np.float32)),
            r"the entries of value must be <= 3\.4e\+30",
        ),
        (lambda: cs.SoftmaxAttention(value=1e307 * MATRIX)(X), r"the entries of value must be <= 1e\+100"),
        (lambda: cs.SoftmaxAttention(value_scale=-1e300)(X.astype(np.float32)), "value_scale must be <= .* in size"),
        (lambda: cs.SoftmaxAttention(value_scale=1e300)(X), "value_scale must be <= .* in size"),
    ],
)
def test_numbers_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["direct", "harmonic"])
def test_the_largest_sizes_give_finite_results(dtype, method):
    size = min(1e100, 1e-8 * float(np.finfo(dtype).max)) * 0.99
    x, beta = X.astype(dtype), 0.01 / float(np.finfo(dtype).eps) * 0.99
    for weights in (None, WEIGHTS):
        for options in ({"value_scale": -size}, {"value": size * np.eye(3)}, {"value": size / 9 * np.ones((3, 3))}):
            assert np.isfinite(cs.SoftmaxAttention(method=method, **options)(x, weights)).all()
        if method == "direct":
            assert np.isfinite(cs.SoftmaxAttention(beta=beta)(x, weights)).all()
            matrix = math.sqrt(beta) * np.eye(3)[[1, 2, 0]]
            assert np.isfinite(cs.SoftmaxAttention(query=matrix, key=np.abs(matrix).T)(x, weights)).all()


def test_mean_field_takes_tokens_of_its_own_dim_and_all_replicas():
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=MLP, depth=3, horizon=1.0)
    limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=3), n_nodes=50)
    for call in (lambda x: cs.simulate(limit, x, rng=0), limit.start):
        with pytest.raises(ValueError, match="must have dim 3, that of the law, got 4"):
            call(cs.sample_uniform(60, 4, rng=0))
    passive = cs.sample_uniform(6, 3, rng=0, n_replicas=4)
    start = limit.start(passive)
    assert start.shape == (4, 56, 3)
    assert np.array_equal(start[:, 50:], passive)
    assert (start[:, :50] == limit.nodes).all()
    assert np.array_equal(limit.start(passive[2]), start[2])
    assert limit.start(passive.astype(np.float32)).dtype == np.float32
    finals = cs.simulate(limit, start, rng=3).final
    alone = cs.simulate(limit, start[0], rng=3).final  # replica 0 has the noise of a run of its own
    assert np.array_equal(finals[0], alone)


def test_a_field_of_another_dim_is_refused_before_the_first_step():
    with pytest.raises(ValueError, match=r"x must have dim 2, that of the field's kernel, got 3"):
        LIMIT.plan(Shape(n_tokens=8, dim=3))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("matrices", [False, True])
def test_subnormal_weights_keep_their_digits(matrices, dtype):
    # Token 2 is far from the others: its own term, p_2 e^β, is all of Z there. p_3 is below it by a factor e^{β/5}.
    beta = 5000.0
    x = np.array([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [-0.8, -0.6]]).astype(dtype)
    options = {"query": beta * np.eye(2), "key": np.eye(2)} if matrices else {"beta": beta}
    attention = cs.SoftmaxAttention(method="direct", **options)
    for units in (1, 3, 100, 2**51 + 1):
        p = np.array([0.3, 0.7, units * 5e-324, 7 * 5e-324])
        for row in (2, 3):
            log_z = attention.evaluate(x, p).log_partition[row]
            want = math.log2(p[row]) * math.log(2) + beta * float((x[row].astype(np.float64) ** 2).sum())
            assert abs(log_z - want) <= 4 * np.finfo(dtype).eps * beta
    near = np.array([[1.0, 0.0], [-1.0, 0.0], [-math.cos(1e-2), math.sin(1e-2)]]).astype(dtype)
    p = np.array([1.0, 3 * 5e-324, 5 * 5e-324])
    # Z of token 1 over e^β: 3 units and 5 e^{−β(1 − cos 0.01)} = 5 e^{−0.25} of them, and both enter its mean.
    cosine = float(near[1].astype(np.float64) @ near[2].astype(np.float64))
    ratio = 5 * math.exp(beta * (cosine - float((near[1].astype(np.float64) ** 2).sum()))) / 3
    mean = attention(near, p)[1]
    want = (near[1] + ratio * near[2].astype(np.float64)) / (1 + ratio)
    assert abs(mean - want).max() < 4 * np.finfo(dtype).eps * beta * 1e-2 + 4 * np.finfo(dtype).eps


def test_ordinary_weights_are_scaled_as_before():
    p = np.random.default_rng(0).random(100)
    p /= p.sum()
    relative, log_unit = relative_weights(p, 100)
    assert np.array_equal(relative, p / p.max())
    assert log_unit == math.log(p.max())


def test_missing_extras_name_library_and_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    with pytest.raises(
        ImportError, match=r"^POT is needed here .*: pip install POT, or .* pip install '\.\[transport\]'$"
    ):
        checks.extra("ot", "transport")
