"""Derivatives of layers and of increments of fields, against differences of order eight, and their transposes."""

import numpy as np
import pytest
from support.derivatives import great_circles, slope, tangents

import chaosphere as cs
from chaosphere.common.streams import Noise, Stream
from chaosphere.noise import layer_derivative
from chaosphere.noise.activations import ACTIVATIONS, Activation

SMOOTH = [name for name, phi in ACTIVATIONS.items() if not phi.kinks]


def layer(activation, *, dim=4, width=300, n_replicas=2):
    mlp = cs.MLP(width=width, activation=activation, bias_std=0.1, output_bias_std=0.1)
    return mlp.plan(dim).draw([Noise(0, n_replicas=n_replicas).draws(Stream.LAYER, 0)])


def increment(dim, **options):
    field = cs.GaussianField(**options)
    noise = Noise(0, n_replicas=2)
    draws = [noise.draws(Stream.BROWNIAN, k) for k in range(2)]
    return field.increment(draws, duration=0.3, n_tokens=7)


def check(function, x, *, atol):
    """A function with jvp and vjp, along great circles, and the transpose."""
    rng = np.random.default_rng(1)
    v, w = tangents(x, rng=rng), rng.standard_normal(x.shape)
    path = great_circles(x, v)
    pushed = function.jvp(x, v)
    np.testing.assert_allclose(pushed, slope(lambda s: function(path(s))), rtol=0, atol=atol)
    pulled = function.vjp(x, w).tokens
    assert np.vdot(w, pushed) == pytest.approx(np.vdot(pulled, v), abs=1e-13 * abs(pushed).sum())


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_layers(name):
    check(layer(name), cs.sample_uniform(7, 4, rng=0, n_replicas=2), atol=1e-9)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in SMOOTH])
def test_layers_with_kinks(name):
    """Ten neurons at one token, none of them within 5e-3 of a kink."""
    one = layer(name, width=10, n_replicas=1)
    x = cs.sample_uniform(1, 4, rng=2, n_replicas=1)
    before = one.weight_std * x @ one.u[0].T + one.b
    assert abs(before).min() > 5e-3
    check(one, x, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_compiled_slopes_are_those_of_the_activations(name):
    z = np.linspace(-12, 12, 4001).reshape(1, -1, 1)
    phi = ACTIVATIONS[name]
    values = layer_derivative.slope_of(phi)(z)
    np.testing.assert_allclose(values, phi.derivative(z), rtol=0, atol=2e-15)
    single = layer_derivative.slope_of(phi)(z.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, phi.derivative(z.astype(np.float32).astype(float)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ("sin", "cos")])
def test_slopes_of_huge_arguments_are_those_of_the_ends(name, dtype):
    phi, largest = ACTIVATIONS[name], np.finfo(dtype).max
    z = np.array([-np.inf, -largest, -1e30, 1e30, largest, np.inf], dtype)
    below, above = {"relu": (0, 1), "silu": (0, 1), "gelu": (0, 1), "linear": (1, 1), "softplus": (0, 1)}.get(
        name, {"leaky_relu": (0.01, 1), "elu": (0, 1)}.get(name, (0, 0))
    )
    with np.errstate(over="ignore"):
        slopes = [layer_derivative.slope_of(phi)(z), phi.derivative(z.astype(np.float64))]
    for values in slopes:
        np.testing.assert_allclose(values, [below] * 3 + [above] * 3, rtol=1e-7, atol=1e-30)


@pytest.mark.parametrize("name", ["silu", "gelu"])
def test_activations_end_at_0(name):
    assert ACTIVATIONS[name](np.array([-np.inf, -1e308])).tolist() == [0, 0]


def test_slope_at_a_kink_is_the_left_one():
    zero = np.zeros((1, 1, 1))
    assert layer_derivative.slope_of(ACTIVATIONS["relu"])(zero)[0, 0, 0] == ACTIVATIONS["relu"].derivative(0.0) == 0
    leaky = ACTIVATIONS["leaky_relu"]
    assert layer_derivative.slope_of(leaky)(zero)[0, 0, 0] == leaky.derivative(0.0) == 0.01
    assert layer_derivative.slope_of(ACTIVATIONS["elu"])(zero)[0, 0, 0] == 1


def test_function_with_a_derivative_of_its_own():
    cube = Activation(
        name="cube", function=lambda z: z**3, derivative=lambda z: 3 * z**2, is_odd=True, lipschitz=3000.0
    )
    check(layer(cube), cs.sample_uniform(7, 4, rng=0, n_replicas=2), atol=1e-9)
    with pytest.raises(ValueError, match="activation: '<lambda>' came without a derivative"):
        layer(lambda z: z**3).jvp(*cs.sample_uniform(7, 4, rng=0, n_replicas=4).reshape(2, 2, 7, 4))


@pytest.mark.parametrize(
    ("dim", "options"),
    [
        (2, {"method": "spectral", "tolerance": 1e-4}),
        (3, {"method": "spectral", "tolerance": 1e-4}),
        (5, {"method": "spectral", "tolerance": 1e-3}),
        (3, {"method": "features", "width": 300}),
    ],
    ids=["circle", "sphere", "S4", "features"],
)
def test_fields(dim, options):
    kernel = cs.MLP(width=1, activation="tanh").kernel(dim)
    check(increment(dim, kernel=kernel, **options), cs.sample_uniform(7, dim, rng=0, n_replicas=2), atol=1e-9)


@pytest.mark.parametrize("dim", [3, 20])
def test_fields_with_eta(dim):
    """Harmonics of degree 0 and 1: by harmonics, and from d = 16 on by a matrix."""
    kernel = cs.CovarianceKernel.from_function(lambda u: 0.3 + 0.1 * u, dim=dim, eta=lambda u: 0.1 + 0 * u)
    check(increment(dim, kernel=kernel), cs.sample_uniform(7, dim, rng=0, n_replicas=2), atol=1e-9)


def test_field_at_the_tokens_alone_has_no_derivative():
    dense = increment(3, kernel=cs.MLP(width=1).kernel(3), method="dense")
    x = cs.sample_uniform(7, 3, rng=0, n_replicas=2)
    for derivative in (dense.jvp, dense.vjp):
        with pytest.raises(
            ValueError, match=r"method 'dense' .* take GaussianField\(method='spectral' or 'features'\)"
        ):
            derivative(x, x)


def test_matrices_of_a_fixed_mlp():
    rng = np.random.default_rng(2)
    arrays = {
        "inner": rng.standard_normal((9, 3)),
        "outer": rng.standard_normal((3, 9)),
        "inner_bias": rng.standard_normal(9),
        "outer_bias": rng.standard_normal(3),
    }
    x = cs.sample_uniform(6, 3, rng=0, n_replicas=2)
    w = rng.standard_normal(x.shape)
    back = cs.FixedMLP(**arrays, activation="gelu").vjp(x, w)
    assert set(back.parameters) == set(arrays)
    for name, array in arrays.items():
        change = rng.standard_normal(array.shape)

        def value(s, name=name, array=array, change=change):
            return (w * cs.FixedMLP(**(arrays | {name: array + s * change}), activation="gelu")(x)).sum(axis=(1, 2))

        gradients = (back.parameters[name] * change).reshape(2, -1).sum(axis=1)
        np.testing.assert_allclose(gradients, slope(value), rtol=0, atol=1e-9)
    check(cs.FixedMLP(**arrays, activation="gelu"), x, atol=1e-9)
    plain = cs.FixedMLP(inner=arrays["inner"], outer=arrays["outer"]).vjp(x[0], w[0])
    assert {name: array.shape for name, array in plain.parameters.items()} == {"inner": (9, 3), "outer": (3, 9)}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_blocks_and_threads_do_not_matter(dtype, monkeypatch):
    """Blocks change the order of sums, threads and replicas not a bit."""
    one = layer("tanh", width=300)
    x, v = (cs.sample_uniform(400, 4, rng=seed, n_replicas=2).astype(dtype) for seed in (0, 1))
    pushed, pulled, matrices = (f(x, v, n_threads=1) for f in (one.jvp, one.vjp, one.parameter_gradient))
    assert pushed.dtype == pulled.tokens.dtype == matrices["u"].dtype == dtype
    np.testing.assert_array_equal(pushed, one.jvp(x, v, n_threads=2))
    np.testing.assert_array_equal(pulled.tokens, one.vjp(x, v, n_threads=2).tokens)
    again = one.parameter_gradient(x, v, n_threads=2)
    assert all(np.array_equal(matrices[name], again[name]) for name in "uwbc")
    monkeypatch.setattr(layer_derivative, "_ROWS", 256)
    monkeypatch.setattr(layer_derivative, "_NEURONS", 128)
    atol = 2000 * np.finfo(dtype).eps
    np.testing.assert_allclose(pushed, one.jvp(x, v), rtol=0, atol=atol)
    np.testing.assert_allclose(pulled.tokens, one.vjp(x, v).tokens, rtol=0, atol=atol)
    again = one.parameter_gradient(x, v)
    for name in "uwbc":
        np.testing.assert_allclose(matrices[name], again[name], rtol=0, atol=atol)


@pytest.mark.parametrize("n_tokens", [1, 40])
def test_a_replica_has_the_bits_of_its_own(n_tokens):
    both = layer("tanh", width=65)
    x, v = (cs.sample_uniform(n_tokens, 4, rng=seed, n_replicas=2) for seed in (0, 1))
    for r in range(2):
        alone = cs.MLPLayer(
            u=both.u[r : r + 1],
            w=both.w[r : r + 1],
            b=both.b[r : r + 1],
            c=both.c[r : r + 1],
            activation=both.activation,
            weight_std=both.weight_std,
        )
        np.testing.assert_array_equal(both.jvp(x, v)[r], alone.jvp(x[r], v[r]))
        np.testing.assert_array_equal(both.vjp(x, v).tokens[r], alone.vjp(x[r], v[r]).tokens)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda v: v[:-1], ValueError, r"tangent must have the shape of x, \(7, 4\), got \(6, 4\)"),
        (lambda v: v.astype(np.float32), TypeError, "tangent must have the dtype of x, float64, got float32"),
        (lambda v: v.tolist(), TypeError, "tangent must be a float64 or float32 array, got list"),
        (lambda v: v * np.inf, ValueError, "tangent must be finite"),
    ],
)
def test_bad_tangents(change, error, match):
    x = cs.sample_uniform(7, 4, rng=0)
    with pytest.raises(error, match=match):
        layer("tanh", n_replicas=1).jvp(x, change(np.array(x)))
