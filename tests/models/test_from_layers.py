"""Layers with matrices of one's own, and networks that differ from layer to layer."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Stream
from chaosphere.simulation.identity import describe

DIM, WIDTH, N_HEADS, HEAD_DIM = 6, 10, 3, 2
ATTENTION = cs.SoftmaxAttention(beta=1.0)
GELU = {"activation": "gelu"}
ACTIVATIONS = {
    "gelu": lambda z: 0.5 * z * (1 + erf(z / math.sqrt(2))),
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "square": np.square,
}


def numbers(n_layers, *, dim=DIM, seed=0):
    """The matrices of layers as a file might hold them: heads stacked in the rows of Q, K and V."""
    rng = np.random.default_rng(seed)
    rows = N_HEADS * HEAD_DIM
    shapes = {"query": (rows, dim), "key": (rows, dim), "value": (rows, dim), "output": (dim, rows)}
    shapes |= {"inner": (WIDTH, dim), "outer": (dim, WIDTH), "inner_bias": (WIDTH,), "outer_bias": (dim,)}
    return [{name: 0.6 * rng.standard_normal(shape) for name, shape in shapes.items()} for _ in range(n_layers)]


def fixed(layer, activation="gelu", *, has_biases=True):
    names = ("inner", "outer", "inner_bias", "outer_bias") if has_biases else ("inner", "outer")
    return cs.FixedMLP(**{name: layer[name] for name in names}, activation=activation)


def heads(layer):
    parts = [slice(h * HEAD_DIM, (h + 1) * HEAD_DIM) for h in range(N_HEADS)]
    return cs.MultiHeadAttention(
        heads=[
            cs.SoftmaxAttention(
                query=layer["query"][p], key=layer["key"][p], value=layer["value"][p], output=layer["output"][:, p]
            )
            for p in parts
        ],
        combine="sum",
    )


def twin(x, layers, phi, *, step=1.0, weights=None, has_biases=True, dtype=np.longdouble):
    """The same network for tokens (N, d), plainly."""
    for layer in layers:
        layer = {name: np.asarray(value, dtype) for name, value in layer.items()}
        x = np.asarray(x, dtype)
        shift = np.zeros_like(x)
        for h in range(N_HEADS):
            p = slice(h * HEAD_DIM, (h + 1) * HEAD_DIM)
            form = layer["query"][p].T @ layer["key"][p]
            value = layer["output"][:, p] @ layer["value"][p]
            shift += twins.attention(x, form, weights=weights, value=value, dtype=dtype)[0]
        x = twins.step(x, shift, step, dtype)
        biases = {"b": layer["inner_bias"], "c": layer["outer_bias"]} if has_biases else {}
        x = twins.step(x, twins.layer(x, layer["inner"], layer["outer"], phi, dtype=dtype, **biases)[0], step, dtype)
    return x


def network(mlp, *, depth=4, attention=ATTENTION, **options):
    return cs.Transformer(attention=attention, mlp=mlp, depth=depth, horizon=1.0, **options)


@pytest.mark.parametrize("has_biases", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu", np.tanh, np.square])
def test_layers_are_those_of_plain_numpy(activation, has_biases):
    layers = numbers(5)
    model = cs.Transformer.from_layers([(heads(one), fixed(one, activation, has_biases=has_biases)) for one in layers])
    assert (model.depth, model.horizon) == (5, 5.0)
    x = cases.tokens(40, DIM, n_replicas=2)
    y = cs.simulate(model, x, rng=0).final
    phi = ACTIVATIONS[activation if isinstance(activation, str) else activation.__name__]
    for replica in range(2):
        # The twin's exponentials and activations are of longer numbers but for erf, which is of doubles.
        dtype = np.float64 if activation == "gelu" else np.longdouble
        expected = twin(x[replica], layers, phi, has_biases=has_biases, dtype=dtype)
        twins.assert_close(y[replica], expected, atol=1e-13)


def test_other_steps():
    layers = numbers(3)
    model = cs.Transformer.from_layers([(heads(one), fixed(one, "tanh")) for one in layers], horizon=0.75)
    x = cases.tokens(20, DIM)
    twins.assert_close(cs.simulate(model, x, rng=0).final[0], twin(x[0], layers, np.tanh, step=0.25), atol=1e-13)


@pytest.mark.parametrize("normalization", ["pre", "peri", "ngpt", "sqrt"])
def test_other_normalisations(normalization):
    """Residuals that are added to tokens with a radius, normalised themselves, or scaled by the depth."""
    layers, r, h = numbers(3), 2.5 if normalization in ("pre", "peri") else 1.0, 0.5
    pairs = [(heads(one), fixed(one, "tanh")) for one in layers]
    model = cs.Transformer.from_layers(pairs, horizon=1.5, normalization=normalization, initial_radius=r)
    start = cases.tokens(20, DIM)
    x = r * start[0]
    for number, pair in enumerate(pairs):
        for half in pair:
            a = half(cs.normalize(x))
            if normalization in ("peri", "ngpt"):
                a = cs.normalize(a)
            x = x + h * a / (math.sqrt(1 + h * (number + 0.5)) if normalization == "sqrt" else 1.0)
            x = x if normalization in ("pre", "peri") else cs.normalize(x)
    twins.assert_close(cs.simulate(model, start[0], rng=0).final, cs.normalize(x), atol=1e-13)


def test_float32_and_threads():
    layers = numbers(5)
    model = cs.Transformer.from_layers([(heads(one), fixed(one)) for one in layers])
    for dtype, atol in ((np.float32, 2e-6), (np.float64, 1e-13)):
        x = cases.tokens(300, DIM, dtype, n_replicas=2)
        ends = [cs.simulate(model, x, rng=0, n_threads=n).final for n in (1, 2)]
        assert np.array_equal(*ends)
        twins.assert_close(ends[0][1], twin(x[1], layers, ACTIVATIONS["gelu"], dtype=float), atol=atol, dtype=dtype)


def test_one_half_alone():
    layers, x = numbers(3), cases.tokens(20, DIM)
    attention = [heads(one) for one in layers]
    mlps = [fixed(one) for one in layers]
    for pairs, parts in (
        ([(part, None) for part in attention], {"attention": attention, "mlp": None}),
        ([(None, part) for part in mlps], {"attention": None, "mlp": mlps}),
    ):
        models = (cs.Transformer.from_layers(pairs), cs.Transformer(**parts, depth=3, horizon=3.0))
        assert np.array_equal(*(cs.simulate(model, x, rng=0).final for model in models))


def test_a_fixed_network_is_a_layer_of_numbers():
    """The network of an `MLP` with its factors in the matrices is bitwise that of `MLPLayer` at m = 4^k, d = 4."""
    mlp = cs.MLP(width=64, activation="tanh", bias_std=0.3, output_bias_std=0.2)
    layer = mlp.draw(4, rng=np.random.default_rng(0))
    same = cs.FixedMLP(
        inner=layer.u[0] / 2, outer=layer.w[0] / 8, inner_bias=layer.b[0], outer_bias=layer.c[0], activation="tanh"
    )
    x = cases.tokens(50, 4, n_replicas=2)
    assert np.array_equal(same(x), layer(x))
    assert np.array_equal(same(x[0], n_threads=1), layer(x[0]))
    scaled = replace(layer, output_scale=0.5, c=None)
    twins.assert_close(scaled(x), 4 * replace(layer, c=None)(x), atol=1e-14)
    # A callable instead of a name.
    slow = replace(scaled, activation=replace(layer.activation, kernel_id=None))
    twins.assert_close(slow(x), scaled(x), atol=1e-13)


def test_a_frozen_network_is_a_fixed_one_with_its_numbers():
    """What holds of the one, as that more layers approach an ordinary differential equation, holds of the other."""
    frozen, x = cs.MLP(width=16, activation="tanh", bias_std=0.3, resample=False), cases.tokens(30, 4)
    layer = frozen.plan(4).draw([Noise(0).draws(Stream.LAYER, 0)])
    own = cs.FixedMLP(inner=layer.u[0] / 2, outer=layer.w[0] / 4, inner_bias=layer.b[0], activation="tanh")
    options = {"depth": 20, "noise_scale": 0.7, "mlp_exponent": 0.25}
    ends = [cs.simulate(network(mlp, **options), x, rng=0).final for mlp in (frozen, own, [own] * 20)]
    assert np.array_equal(ends[0], ends[1])
    assert np.array_equal(ends[0], ends[2])


def test_equal_networks_are_one():
    x = cases.tokens(30, 3, n_replicas=2)
    for mlp in (
        cs.MLP(width=8, activation="tanh", bias_std=0.3),
        cs.MLP(width=8, resample=False),
        cs.FixedMLP(inner=np.ones((5, 3)), outer=np.eye(3, 5)),
    ):
        one, several = (cs.simulate(network(part), x, rng=0).final for part in (mlp, [mlp] * 4))
        assert np.array_equal(one, several)
        coarse = cs.simulate(network(mlp).coarsen(2), x, rng=0).final
        if not network(mlp).plan(Shape.of(x)).layers[0].resample:
            assert np.array_equal(coarse, cs.simulate(network(mlp, depth=2), x, rng=0).final)


def test_networks_one_after_the_other():
    """Noise takes √(T/L), networks that are not drawn anew T/L; each of them times s."""
    wide, narrow = cs.MLP(width=16, activation="tanh", bias_std=0.3), cs.MLP(width=4, activation="relu")
    frozen = cs.MLP(width=8, activation="sigmoid", resample=False)
    own = cs.FixedMLP(inner=np.ones((5, 3)), outer=np.eye(3, 5), activation="tanh")
    mlps, scales = [wide, own, narrow, frozen], [1.0, 0.5, 2.0, 1.5]
    model, x = network(mlps, attention=None, noise_scale=scales, mlp_exponent=0.75), cases.tokens(30, 3)
    y = x
    for number, (mlp, scale) in enumerate(zip(mlps, scales, strict=True)):
        is_noise = mlp in (wide, narrow)
        g = mlp.plan(3).draw([Noise(0).draws(Stream.LAYER, number if is_noise else 0)])(y)
        step = math.sqrt(1 / 4) if is_noise else 1 / 4
        y = cs.normalize(y + scale * step * 4**-0.25 * g)
    twins.assert_close(cs.simulate(model, x, rng=0).final, y, atol=1e-14)
    plan = model.plan(Shape.of(x))
    assert plan.cost.normals == 16 * 7 + 3
    assert plan.max_fused_steps == 1
    silent = network(mlps, noise_scale=0.0).plan(Shape.of(x))
    assert silent.cost.normals == 0


def test_infinitely_many_tokens():
    """Nodes of the limit move as tokens with the weights of the nodes do, and passive tokens as tokens of weight 0."""
    layers = numbers(4, dim=3)
    model = cs.Transformer.from_layers([(heads(one), fixed(one, "tanh")) for one in layers], horizon=1.0)
    mean_field = cs.MeanField(
        model=model, law=cs.laws.VonMisesFisher(mean_direction=(0, 0, 1), concentration=2.0), n_nodes=50
    )
    start = mean_field.start(cs.sample_uniform(5, 3, rng=1))
    weights = np.append(mean_field.weights, np.zeros(5))
    expected = twin(start, layers, np.tanh, step=0.25, weights=weights)
    twins.assert_close(cs.simulate(mean_field, start, rng=0).final, expected, atol=1e-13)


def test_checkpoints_tell_layers_apart(tmp_path):
    layers, x = numbers(4), cases.tokens(20, DIM)[0]
    pairs = [(heads(one), fixed(one)) for one in layers]
    model = cs.Transformer.from_layers(pairs)
    checkpoint = cs.Checkpoint(path=tmp_path / "c.npz", every_steps=2, keep=True)
    end = cs.simulate(model, x, rng=0, checkpoint=checkpoint).final
    assert np.array_equal(cs.simulate(model, x, rng=0, checkpoint=checkpoint).final, end)
    other = dict(layers[1], outer_bias=np.nextafter(layers[1]["outer_bias"], 1))
    changed = cs.Transformer.from_layers([pairs[0], (heads(other), fixed(other)), *pairs[2:]])
    with pytest.raises(ValueError, match=r"run: model\.mlp\.1\.outer_bias\.sha256 is "):
        cs.simulate(changed, x, rng=0, checkpoint=checkpoint)


def test_members_of_an_ensemble():
    model = cs.Transformer.from_layers([(heads(one), fixed(one)) for one in numbers(3)])
    law = cs.laws.Uniform(dim=DIM)
    options = {"n_tokens": 10, "seeds": [0, 1], "observe": {"r": lambda t, x: cs.measures.order_parameter(x)}}
    data = cs.ensemble(model, law, **options)
    for seed in options["seeds"]:
        alone = cs.simulate(model, law.sample(10, rng=seed), rng=seed, observe=options["observe"])
        assert np.array_equal(data["r"][seed], alone.observables["r"])


def test_identities():
    one, other = numbers(2)
    assert fixed(one) == fixed(one)
    assert hash(fixed(one)) == hash(fixed(one))
    assert fixed(one) != fixed(other)
    assert describe(fixed(one)) != describe(fixed(one, "tanh"))
    mlps = [fixed(one), fixed(other)]
    assert describe(network(mlps, depth=2)) == describe(network(tuple(mlps), depth=2))
    assert describe(network(mlps, depth=2)) != describe(network(mlps[::-1], depth=2))
    assert network(mlps, depth=2) == network(tuple(mlps), depth=2)
    assert repr(fixed(one)) == (
        "FixedMLP(inner=float64[10, 6], outer=float64[6, 10], inner_bias=float64[10], outer_bias=float64[6], "
        "activation='gelu')"
    )


def test_arrays_are_copied():
    layer = numbers(1)[0]
    mlp = fixed(layer)
    x = cases.tokens(10, DIM)
    before = mlp(x)
    for array in layer.values():
        array *= 2
    assert np.array_equal(mlp(x), before)
    with pytest.raises(ValueError, match="read-only"):
        mlp.inner[0, 0] = 1.0


def test_bad_matrices():
    layer = {name: value for name, value in numbers(1)[0].items() if "inner" in name or "outer" in name}
    for name in layer:
        for number, message in (
            (np.nan, "be finite, found nan"),
            (1e31, "have entries of size <= 1e"),
            (-np.inf, "be finite"),
        ):
            changed = layer[name].copy()
            changed.flat[-1] = number
            with pytest.raises(ValueError, match=f"^{name} must {message}"):
                cs.FixedMLP(**layer | {name: changed})
        with pytest.raises(TypeError, match=rf"^{name} must be an array of real numbers"):
            cs.FixedMLP(**layer | {name: "weights"})
        with pytest.raises(ValueError, match=rf"^{name} must "):
            cs.FixedMLP(**layer | {name: layer[name][None]})
    for name, array, message in (
        (
            "outer",
            layer["outer"].T,
            r"outer must have the shape \(6, 10\), that of inner in reverse, got shape \(10, 6\)",
        ),
        ("inner_bias", np.zeros(6), r"inner_bias must have the shape \(10,\), got shape \(6,\)"),
        ("outer_bias", np.zeros(10), r"outer_bias must have the shape \(6,\), got shape \(10,\)"),
        ("inner", np.ones((10, 1)), "inner must be a matrix of at least one row and 2 columns"),
        ("activation", "gelou", "activation: unknown name 'gelou'; did you mean 'gelu'"),
    ):
        with pytest.raises(ValueError, match=message):
            cs.FixedMLP(**layer | {name: array})
    mlp = cs.FixedMLP(**layer)
    for call in (
        lambda: mlp(cases.tokens(5, 3)),
        lambda: cs.simulate(network([mlp] * 4), cases.tokens(5, 3), rng=0),
    ):
        with pytest.raises(ValueError, match="x must have dim 6, that of the matrices of the mlp, got 3"):
            call()
    huge = cs.FixedMLP(inner=[[1e30, 1e30]], outer=[[1e30], [1e30]])
    with pytest.raises(ValueError, match="inner, outer and the biases must be such that the layer is finite"):
        huge(cases.tokens(5, 2, np.float32))
    with pytest.raises(ValueError, match="output_scale must be a finite number"):
        replace(mlp.plan(DIM).layer, output_scale=np.inf)


def test_bad_sequences():
    mlp = cs.FixedMLP(inner=np.ones((5, 3)), outer=np.ones((3, 5)))
    for mlps, error, message in (
        ([mlp] * 3, ValueError, "mlp must have one network for each of the 4 layers, got 3"),
        ([], ValueError, "mlp must have one network for each of the 4 layers, got 0"),
        ([mlp, None, mlp, mlp], TypeError, r"mlp\[1\] must be an MLP or a FixedMLP, got None; noise_scale = 0"),
        ([ATTENTION] * 4, TypeError, r"mlp\[0\] must be an MLP or a FixedMLP"),
        ("relu", TypeError, "mlp must be an MLP, a FixedMLP, a sequence of these, or None"),
        (mlp.plan(3).layer, TypeError, "mlp must be an MLP, a FixedMLP"),
    ):
        with pytest.raises(error, match=message):
            network(mlps)
    with pytest.raises(ValueError, match="one network for each of the 2 layers, got 4"):
        network([mlp] * 4).coarsen(2)
    for part in (mlp, [cs.MLP(width=4)] * 4):
        with pytest.raises(ValueError, match="model must have one MLP for all layers, drawn anew"):
            cs.coupled_run(network(part), cases.tokens(5, 3), rng=0)
    pair = (ATTENTION, mlp)
    for layers, error, message in (
        ([], ValueError, "layers must hold at least one pair"),
        (mlp, TypeError, "layers must be a sequence of pairs"),
        ("ab", TypeError, "layers must be a sequence of pairs"),
        ([pair, (ATTENTION,)], TypeError, r"layers\[1\] must be a pair \(attention, mlp\)"),
        (["ab"], TypeError, r"layers\[0\] must be a pair"),
        ([pair, (None, mlp)], TypeError, r"attention\[1\] must be an interaction, got None"),
        ([pair, (ATTENTION, None)], TypeError, r"mlp\[1\] must be an MLP or a FixedMLP, got None"),
        ([(None, None)], ValueError, "attention and mlp must not both be None"),
        ([pair[::-1]], TypeError, r"attention\[0\] must be a SoftmaxAttention"),
    ):
        with pytest.raises(error, match=message):
            cs.Transformer.from_layers(layers)
    for name, value, message in (
        *(("horizon", value, "horizon must be a finite number") for value in (0.0, np.nan, -1)),
        ("normalization", "pots", "normalization: unknown 'pots'; did you mean 'post'"),
        ("initial_radius", 2.0, "initial_radius must be 1 for normalization='post'"),
    ):
        with pytest.raises(ValueError, match=message):
            cs.Transformer.from_layers([pair], **{name: value})
