"""Rules of normalisation against NumPy, their symmetries and limits, and what they refuse."""

import dataclasses
import math

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Stream
from chaosphere.models.normalization import NORMALIZATIONS
from chaosphere.models.protocol import StepContext
from chaosphere.simulation.identity import describe

ATTENTION = cs.SoftmaxAttention(beta=2.0)
WITH_RADIUS = ("pre", "peri")


def network(normalization, **options):
    options = {"attention": ATTENTION, "mlp": None, "depth": 8, "horizon": 2.0} | options
    return cs.Transformer(normalization=normalization, **options)


def with_radius(normalization, radius):
    return {"initial_radius": radius} if normalization in WITH_RADIUS else {}


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def half(x, a, step, *, rule, time):
    """A half-layer in NumPy: the state x after the drift or noise a, taken at the unit tokens."""
    return {
        "post": lambda: unit(x + step * a),
        "pre": lambda: x + step * a,
        "peri": lambda: x + step * unit(a),
        "ngpt": lambda: unit(x + step * unit(a)),
        "sqrt": lambda: unit(x + step / math.sqrt(time + 1) * a),
    }[rule]()


@pytest.mark.parametrize("rule", NORMALIZATIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layers_are_those_of_numpy(rule, dtype):
    x = cases.tokens(20, 3, dtype, n_replicas=2)
    mlp = cs.MLP(width=16, activation="tanh", bias_std=0.3, output_bias_std=0.2)
    model = network(rule, mlp=mlp, noise_scale=0.7, **with_radius(rule, 1.5))
    radius = 1.5 if rule in WITH_RADIUS else 1.0
    plan, noise = mlp.plan(3), Noise(4, n_replicas=2)
    state = radius * x.astype(np.float64)
    for step in range(8):
        time = (step + 0.5) * 0.25
        state = half(state, twins.attention(unit(state), 2.0)[0], 0.25, rule=rule, time=time)
        layer = plan.draw([noise.draws(Stream.LAYER, step)])
        hidden = np.tanh(unit(state) @ layer.u.swapaxes(1, 2) / math.sqrt(3) + layer.b[:, None])
        g = hidden @ layer.w.swapaxes(1, 2) / 4 + layer.c[:, None]
        state = half(state, g, 0.7 * 0.5, rule=rule, time=time)
    sol = cs.simulate(model, x, rng=4, save_at=[0.0, 2.0])
    tolerance = 1e-13 if dtype == np.float64 else 1e-5
    twins.assert_close(sol.states[0], x, atol=tolerance, dtype=dtype)
    twins.assert_close(sol.final, unit(state), atol=tolerance, dtype=dtype)
    if rule not in WITH_RADIUS:
        assert sol.radii is None
        assert sol.final_radii is None
        return
    twins.assert_close(sol.final_radii, np.linalg.norm(state, axis=-1), rtol=10 * tolerance, dtype=dtype)
    twins.assert_close(sol.radii[0], np.full((2, 20), 1.5), rtol=tolerance, dtype=dtype)
    assert np.array_equal(sol.radii[1], sol.final_radii)


@pytest.mark.parametrize("rule", NORMALIZATIONS)
def test_random_heads_are_noise_of_every_rule(rule):
    """Values V alone: the noise is √(T/L) V m(θ), of length √(T/L) where it is divided by its norm."""
    x = cases.tokens(20, 3)
    sol = cs.simulate(network(rule, attention=cs.RandomAttention(beta=2.0), depth=5, horizon=1.0), x, rng=3)
    state = x
    for step in range(5):
        (values,) = Noise(3).draws(Stream.HEADS, step).normals((1, 3, 3))
        shift = twins.attention(unit(state), 2.0)[0] @ values[0, 0].T
        state = half(state, shift, math.sqrt(0.2), rule=rule, time=(step + 0.5) * 0.2)
    twins.assert_close(sol.final, unit(state), atol=1e-13)


@pytest.mark.parametrize("rule", NORMALIZATIONS)
def test_layers_of_given_matrices(rule):
    """As a Pre-LN network runs them: attention and MLP see LN(x), and add to x."""
    matrices = np.random.default_rng(0).standard_normal((3, 5, 3, 3))
    layers = [
        (cs.SoftmaxAttention(query=q, key=k, value=v), cs.FixedMLP(inner=inner, outer=outer, activation="tanh"))
        for q, k, v, inner, outer in matrices
    ]
    x = state = cases.tokens(20, 3)[0]
    model = dataclasses.replace(cs.Transformer.from_layers(layers), normalization=rule)
    for step, (q, k, v, inner, outer) in enumerate(matrices):
        drift = twins.attention(unit(state), q.T @ k, value=v)[0]
        state = half(state, drift, 1.0, rule=rule, time=step + 0.5)
        state = half(state, np.tanh(unit(state) @ inner.T) @ outer.T, 1.0, rule=rule, time=step + 0.5)
    np.testing.assert_allclose(cs.simulate(model, x, rng=0).final, unit(state), atol=1e-12)


@pytest.mark.parametrize("rule", NORMALIZATIONS)
def test_rotations_rotate_the_run(rule):
    x, q = cases.tokens(20, 4)[0], cases.rotation(4)
    ends = [cs.simulate(network(rule), y, rng=0).final for y in (x, x @ q)]
    np.testing.assert_allclose(ends[0] @ q, ends[1], atol=1e-13)


def test_one_layer_of_pre_ln_from_the_sphere_is_that_of_post_ln():
    x = cases.tokens(20, 3)
    for rule, other in (("pre", "post"), ("peri", "ngpt")):
        ends = [cs.simulate(network(name, depth=1), x, rng=0).final for name in (rule, other)]
        np.testing.assert_allclose(*ends, rtol=0, atol=1e-15)


def test_a_unit_of_length_for_radii():
    """Pre-LN from r0 is that from 1 under A/r0 and s/r0; Peri-LN that from 1 over T/r0."""
    x, mlp = cases.tokens(20, 3), cs.MLP(width=8, activation="tanh")
    large = network("pre", mlp=mlp, noise_scale=0.8, initial_radius=4.0)
    small = network("pre", attention=cs.SoftmaxAttention(beta=2.0, value_scale=0.25), mlp=mlp, noise_scale=0.2)
    for a, b in ((large, small), (network("peri", initial_radius=4.0), network("peri", horizon=0.5))):
        large, small = (cs.simulate(model, x, rng=1) for model in (a, b))
        np.testing.assert_allclose(large.final, small.final, atol=1e-14)
        np.testing.assert_allclose(large.final_radii, 4 * small.final_radii, rtol=1e-14)


def test_pre_ln_of_large_radius_is_post_ln_slowed_down():
    """The distance of Pre-LN over T from r0 to Post-LN over T/r0 falls as r0^{-2}."""
    x, errors = cases.tokens(20, 3), []
    for radius in (50.0, 100.0, 200.0):
        pre = cs.simulate(network("pre", depth=100, initial_radius=radius), x, rng=0).final
        post = cs.simulate(network("post", depth=100, horizon=2.0 / radius), x, rng=0).final
        errors.append(np.abs(pre - post).max())
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.1)


@pytest.mark.parametrize("rule", ["peri", "ngpt"])
def test_rules_that_divide_by_the_norm_know_no_size(rule):
    x = cases.tokens(20, 3)
    ends = []
    for scale, weight_std in ((1.0, 0.5), (30.0, 7.0)):  # relu is homogeneous
        attention = cs.SoftmaxAttention(beta=2.0, value_scale=scale)
        mlp = cs.MLP(width=32, weight_std=weight_std)
        ends.append(cs.simulate(network(rule, attention=attention, mlp=mlp), x, rng=2).final)
    np.testing.assert_allclose(*ends, rtol=0, atol=1e-13)


@pytest.mark.parametrize("rule", NORMALIZATIONS)
def test_threads_and_replicas_change_no_bit(rule):
    mlp = cs.MLP(width=16, activation="tanh")
    model = network(rule, mlp=mlp, **with_radius(rule, 0.7))
    x = cs.sample_uniform(300, 3, rng=0, n_replicas=3)
    batch = cs.simulate(model, x, rng=[7, 8, 9], n_threads=1)
    for replica in range(3):
        alone = cs.simulate(model, x[replica], rng=7 + replica, n_threads=2)
        assert np.array_equal(batch.final[replica], alone.final)
        if rule in WITH_RADIUS:
            assert np.array_equal(batch.final_radii[replica], alone.final_radii)


def test_several_layers_at_once_for_post_ln_alone():
    shape = Shape(n_tokens=20, dim=3)
    fused = {rule: network(rule).plan(shape).max_fused_steps for rule in NORMALIZATIONS}
    assert fused.pop("post") > 1
    assert set(fused.values()) == {1}


@pytest.mark.parametrize("rule", ["post", "pre", "sqrt"])
def test_coarse_layers_share_the_noise(rule):
    """One network of 64 layers, and of 16 with the same noise: nearer to each other than under another noise."""
    x = cases.tokens(50, 3)
    fine = network(rule, attention=None, mlp=cs.MLP(width=8, activation="tanh"), depth=64, horizon=1.0)
    end = cs.simulate(fine, x, rng=0).final
    shared, other = (cs.measures.coupled_distance(end, cs.simulate(fine.coarsen(4), x, rng=k).final) for k in (0, 1))
    assert shared < 0.3 * other
    # A coarse layer is the sum of fine ones at the same place, up to the normalisation between them.
    plan = fine.coarsen(4).plan(Shape.of(x))
    layers = [fine.mlp.plan(3).draw([Noise(0).draws(Stream.LAYER, k)]) for k in range(4)]
    total = sum(layer.values(x, n_threads=1) for layer in layers)
    expected = half(x, total, math.sqrt(1 / 64), rule=rule, time=1 / 32)
    after = plan.advance(x, range(1), StepContext(noise=Noise(0), n_threads=1))
    np.testing.assert_allclose(after, expected, atol=1e-14)


def test_coarse_layers_without_noise():
    x = cases.tokens(10, 3)
    for rule in ("peri", "ngpt"):
        coarse, plain = network(rule).coarsen(2), network(rule, depth=4)
        assert np.array_equal(cs.simulate(coarse, x, rng=0).final, cs.simulate(plain, x, rng=0).final)
        with pytest.raises(ValueError, match=f"normalization must not be '{rule}' to coarsen layers with noise"):
            network(rule, mlp=cs.MLP(width=4)).coarsen(2)
        with pytest.raises(ValueError, match="to coarsen layers with noise"):
            network(rule, attention=cs.RandomAttention(beta=1.0)).coarsen(2)


@pytest.mark.parametrize("rule", NORMALIZATIONS)
def test_nodes_of_a_limit_are_those_of_weighted_tokens(rule):
    """A limit passes radii on; tracers at nodes move as these do."""
    # With a larger β the drift vanishes at a node, where its direction is one of rounding errors.
    model = network(rule, attention=cs.SoftmaxAttention(beta=0.5), **with_radius(rule, 1.3))
    limit = cs.MeanField(model=model, law=cs.laws.VonMisesFisher(mean_direction=(0, 1), concentration=2), n_nodes=32)
    sol = cs.simulate(limit, limit.start(np.ascontiguousarray(limit.nodes[:5])), rng=0)
    np.testing.assert_allclose(sol.final[32:], sol.final[:5], atol=1e-13)
    state = limit.nodes * (1.3 if rule in WITH_RADIUS else 1.0)
    for step in range(8):
        a = twins.attention(unit(state), 0.5, weights=limit.weights)[0]
        state = half(state, a, 0.25, rule=rule, time=(step + 0.5) * 0.25)
    np.testing.assert_allclose(sol.final[:32], unit(state), atol=1e-13)
    if rule in WITH_RADIUS:
        np.testing.assert_allclose(sol.final_radii[:32], np.linalg.norm(state, axis=-1), rtol=1e-13)


@pytest.mark.parametrize("rule", NORMALIZATIONS)
def test_the_first_token_under_a_causal_mask(rule):
    """It sees itself alone, so that its direction stays; under "post" and "sqrt" to the bit."""
    x = cases.tokens(40, 3)
    attention = cs.SoftmaxAttention(beta=2.0, mask="causal")
    sol = cs.simulate(network(rule, attention=attention, depth=500), x, rng=0)
    np.testing.assert_allclose(sol.final[0, 0], x[0, 0], atol=0 if rule in ("post", "sqrt") else 1e-13)
    assert np.abs(sol.final[0, 1:] - x[0, 1:]).max() > 0.1
    if rule in WITH_RADIUS:
        np.testing.assert_allclose(sol.final_radii[0, 0], 3.0, rtol=1e-13)


@pytest.mark.parametrize("rule", ["peri", "ngpt"])
def test_nothing_to_divide_by(rule):
    x, what = cases.tokens(5, 3)[0], "the drift or noise, which is divided by its norm, is zero or not finite"
    still = network(rule, attention=cs.SoftmaxAttention(beta=1.0, value_scale=0.0))
    with pytest.raises(cs.SimulationError, match=rf"step 0 \(time 0\): token 0 of replica 0: {what}") as info:
        cs.simulate(still, x, rng=0)
    np.testing.assert_allclose(info.value.last_state[0], x, atol=1e-15)
    narrow = network(rule, attention=None, mlp=cs.MLP(width=1))
    with pytest.raises(cs.SimulationError, match=what):
        cs.simulate(narrow, x, rng=0)


@pytest.mark.parametrize("rule", WITH_RADIUS)
def test_a_token_at_the_origin(rule):
    x = np.tile([1.0, 0.0], (2, 1))
    repelled = network(rule, attention=cs.SoftmaxAttention(beta=0.0, value_scale=-1.0), depth=2)
    with pytest.raises(cs.SimulationError, match=r"step 0 .*token 0 of replica 0: x \+ alpha v is zero or not finite"):
        cs.simulate(repelled, x, rng=0)
    # From radius 1.5 the second layer takes it to the other side.
    sol = cs.simulate(network(rule, attention=repelled.attention, depth=2, initial_radius=1.5), x, rng=0)
    np.testing.assert_allclose(sol.final, -x, atol=1e-15)
    np.testing.assert_allclose(sol.final_radii, 0.5, atol=1e-15)


def test_a_radius_beyond_float32():
    x = cases.tokens(5, 3, np.float32)
    model = network("pre", attention=cs.SoftmaxAttention(beta=1.0, value_scale=1e30), horizon=1e10)
    with pytest.raises(cs.SimulationError, match=r"x \+ alpha v is zero or not finite"):
        cs.simulate(model, x, rng=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"normalization": "rms"}, ValueError, "normalization: unknown 'rms'"),
        ({"normalization": "Pre"}, ValueError, "normalization: unknown 'Pre'"),
        ({"normalization": None}, ValueError, "normalization: unknown None"),
        ({"normalization": ["pre"]}, ValueError, "normalization: unknown"),
        ({"normalization": "pre", "initial_radius": 0.0}, ValueError, "initial_radius must be"),
        ({"normalization": "pre", "initial_radius": -1.0}, ValueError, "initial_radius must be"),
        ({"normalization": "pre", "initial_radius": math.nan}, ValueError, "initial_radius must be"),
        ({"normalization": "peri", "initial_radius": 1e31}, ValueError, "initial_radius must be"),
        ({"normalization": "peri", "initial_radius": "1"}, TypeError, "initial_radius must be"),
        ({"normalization": "peri", "initial_radius": [1.0, 2.0]}, TypeError, "initial_radius must be"),
        ({"initial_radius": 2.0}, ValueError, "initial_radius must be 1 for normalization='post'"),
        ({"normalization": "ngpt", "initial_radius": 2.0}, ValueError, "initial_radius must be 1 for"),
        ({"normalization": "sqrt", "initial_radius": 2.0}, ValueError, "initial_radius must be 1 for"),
    ],
)
def test_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        network(**{"normalization": "post"} | options)


def test_refusals():
    x = cs.sample_uniform(5, 3, rng=0)
    for rule in WITH_RADIUS:
        model = network(rule)
        with pytest.raises(ValueError, match="first_step must be 0 for a model with radii"):
            next(cs.trajectory(model, x, rng=0, first_step=1))
        for exponents in (cs.measures.lyapunov_exponent, cs.measures.lyapunov_spectrum):
            with pytest.raises(ValueError, match="model must be one of unit tokens: Transformer has radii"):
                exponents(model, x, rng=0)
    for rule in set(NORMALIZATIONS) - {"post"}:
        with pytest.raises(ValueError, match="model must have normalization='post'"):
            cs.coupled_run(network(rule, mlp=cs.MLP(width=4)), x, rng=0)


@pytest.mark.parametrize("rule", ["ngpt", "sqrt"])
def test_lyapunov_exponents_of_rules_without_a_radius(rule):
    """Of two tokens at one place in S²: the mean is neutral, the difference shrinks in two directions, over T = 2."""
    x = cs.normalize(np.array([[1.0, 0.0, 0.0], [1.0, 1e-7, 0.0]]))
    model = network(rule, depth=2000)
    gaps = [np.linalg.norm(y[0] - y[1]) for y in (x, cs.simulate(model, x, rng=0).final)]
    spectrum = cs.measures.lyapunov_spectrum(network(rule, depth=400), x, rng=0)
    assert abs(spectrum.sum() - math.log(gaps[1] / gaps[0])) < 0.01


def test_identities_of_before():
    """At their defaults the fields are in no identity."""
    text = str(describe(network("post")))
    assert "normalization" not in text
    assert "radius" not in text
    text = str(describe(network("pre", initial_radius=2.0)))
    assert "'normalization': 'pre', 'initial_radius': 2.0" in text
