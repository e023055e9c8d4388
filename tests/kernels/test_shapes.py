"""Shapes that do not agree are refused: by public objects with a ValueError, by every kernel with an AssertionError."""

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.streams import Noise, Stream
from chaosphere.kernels import (
    abi,
    attention,
    causal,
    expansions,
    harmonics,
    layer,
    normals,
    pairs,
    prefix,
    rows,
    sphere,
)
from chaosphere.noise.activations import get

X = cs.sample_uniform(6, 3, rng=0, n_replicas=2)
CIRCLE = cs.sample_uniform(6, 2, rng=0, n_replicas=2)
EYE, P = np.eye(3), np.full(6, 1 / 6)
N_MAX, SIZE = 2, 9
STEPS, ROWS = np.zeros(9), 5 + N_MAX + 3


def ones(*shape):
    return np.ones(shape)


def bounded(x=X, a=None, value=None, p=None, **several):
    return attention.attend_bounded(x, a, value, None if p is None else np.atleast_2d(p), 1.0, 1.0, True, 1, **several)


def by_rows(queries=X, keys=X, a=None, value=None, p=None, **several):
    return rows.attend_rows(queries, keys, a, value, p, 1.0, 1, **several)


def random_layer(u=None, b=None, w=None, c=None, activation=0):
    u, w = ones(2, 4, 3) if u is None else u, ones(2, 3, 4) if w is None else w
    return layer.layer(X, u, b, w, c, activation, 1.0, 1.0, 1)


def field(x=X, n_max=N_MAX, steps=STEPS, a=None, rows=ROWS):
    return harmonics.harmonic_field(x, n_max, steps, ones(2, SIZE * 3) if a is None else a, 1.0, rows, 1)


def moments(x=X, p=None, n_max=N_MAX, steps=STEPS, rows=ROWS, size=SIZE, length=128):
    return expansions.harmonic_moments(x, p, n_max, steps, rows, size, length, 1)


def ratios(x=X, a=None, n_max=N_MAX, steps=STEPS, rows=ROWS):
    return expansions.harmonic_field(x, ones(2, SIZE * 4) if a is None else a, n_max, steps, rows, 1)


def on_circle(x=CIRCLE, shape=(2, 3, 3, 2, 7)):
    return expansions.fourier_field(x, ones(*shape), 1)


def causal_pairs(x=X, a=None, value=None, p=None, **several):
    return causal.attend_causal(x, a, value, p, 1.0, 1.0, 1, **several)


def causal_rows(queries=X, keys=X, a=None, value=None, p=None, **several):
    return causal.attend_causal_rows(queries, keys, a, value, p, 1.0, 0.1, 1, **several)


def prefix_on_circle(x=CIRCLE, p=None, shape=(5, 3), chunk=64):
    return prefix.fourier_prefix(x, p, ones(*shape), chunk, 1.0, 1.0, 0.0, 1)


def prefix_on_sphere(x=X, p=None, n_max=N_MAX, size=4 * SIZE, columns=4 * SIZE, chunk=128, rows=ROWS):
    matrix = np.arange(size + 1), np.arange(columns) // 4, ones(columns)
    by_place = ones(128)
    several = n_max, STEPS, n_max, STEPS, rows
    return prefix.harmonic_prefix(x, p, *several, *matrix, 1.0, chunk, by_place, by_place, 1.0, 0.0, 1)


GOOD = [bounded, by_rows, random_layer, field, moments, ratios, on_circle]
GOOD += [causal_pairs, causal_rows, prefix_on_circle, prefix_on_sphere]
BAD = {
    "no causal tokens": lambda: causal_pairs(X[:, :0]),
    "causal query map": lambda: causal_pairs(a=np.eye(4)),
    "causal value map": lambda: causal_pairs(value=ones(3, 2)),
    "causal weights": lambda: causal_pairs(p=P[:5]),
    "causal rows within a block": lambda: causal_pairs(first=1),
    "causal rows beyond the end": lambda: causal_pairs(stop=64),
    "causal keys of other replicas": lambda: causal_rows(keys=X[:1]),
    "causal keys of another dim": lambda: causal_rows(keys=CIRCLE),
    "more queries than keys": lambda: causal_rows(keys=X[:, :5]),
    "queries that end within a block": lambda: causal_rows(queries=X[:, :5]),
    "queries from within a block": lambda: causal_rows(queries=X[:, :5], first=1),
    "causal values of other keys": lambda: causal_rows(values=X[:, :5]),
    "causal weights of keys": lambda: causal_rows(p=P[:5]),
    "causal query map of rows": lambda: causal_rows(a=np.eye(2)),
    "causal value map of rows": lambda: causal_rows(value=np.eye(2)),
    "prefix sums on a sphere by powers": lambda: prefix_on_circle(X),
    "weights of prefix sums": lambda: prefix_on_circle(p=P[:5]),
    "factors of prefix sums": lambda: prefix_on_circle(shape=(5, 2)),
    "no factors": lambda: prefix_on_circle(shape=(1, 3)),
    "no chunk": lambda: prefix_on_circle(chunk=0),
    "prefix sums on the circle by harmonics": lambda: prefix_on_sphere(CIRCLE),
    "weights of prefix sums on the sphere": lambda: prefix_on_sphere(p=P[:5]),
    "degree of prefix sums": lambda: prefix_on_sphere(n_max=3),
    "coefficients of prefix sums": lambda: prefix_on_sphere(size=4 * SIZE - 1),
    "columns of prefix sums": lambda: prefix_on_sphere(columns=4 * SIZE - 1),
    "columns beyond the moments": lambda: prefix_on_sphere(columns=4 * SIZE + 1),
    "places of a chunk": lambda: prefix_on_sphere(chunk=256),
    "scratch of prefix sums": lambda: prefix_on_sphere(rows=ROWS - 1),
    "no tokens": lambda: bounded(X[:, :0]),
    "query map": lambda: bounded(a=np.eye(4)),
    "value map": lambda: bounded(value=ones(3, 2)),
    "weights": lambda: bounded(p=P[:5]),
    "weights of other replicas": lambda: bounded(p=ones(3, 6)),
    "weights of sums": lambda: attention.partition_sums(X, ones(2, 5), 1.0, 1.0, 1),
    "one sum of harmonics": lambda: ratios(a=ones(2, SIZE + 1)),
    "rows within a block": lambda: bounded(first=1),
    "rows beyond the end": lambda: bounded(stop=64),
    "several steps of some rows": lambda: bounded(first=0, stop=0, step=0.1, n_steps=2),
    "several steps without one": lambda: bounded(n_steps=2),
    "keys of other replicas": lambda: by_rows(keys=X[:1]),
    "keys of another dim": lambda: by_rows(keys=CIRCLE),
    "no queries": lambda: by_rows(queries=X[:, :0]),
    "weights of keys": lambda: by_rows(p=P[:5]),
    "query map of rows": lambda: by_rows(a=np.eye(2)),
    "value map of rows": lambda: by_rows(value=np.eye(2)),
    "values of other keys": lambda: by_rows(values=X[:, :5]),
    "values of other replicas": lambda: by_rows(values=X[:1]),
    "value map of values": lambda: by_rows(values=CIRCLE, value=EYE),
    "bias of other keys": lambda: by_rows(bias=ones(2, 5)),
    "bias of other replicas": lambda: by_rows(bias=ones(1, 6)),
    "a matrix of another dim": lambda: rows.map_tokens(X, ones(4, 2), 1),
    "a matrix of no rows": lambda: rows.map_tokens(X, ones(0, 3), 1),
    "u of another dim": lambda: random_layer(u=ones(2, 4, 2)),
    "u of other replicas": lambda: random_layer(u=ones(3, 4, 3), w=ones(3, 3, 4)),
    "w of another width": lambda: random_layer(w=ones(2, 3, 1)),
    "w of another dim": lambda: random_layer(w=ones(2, 2, 4)),
    "w of other replicas": lambda: random_layer(w=ones(1, 3, 4)),
    "b of another width": lambda: random_layer(b=ones(2, 3)),
    "b of other replicas": lambda: random_layer(b=ones(1, 4)),
    "output bias of another dim": lambda: random_layer(c=ones(2, 2)),
    "no such activation": lambda: random_layer(activation=len(abi.activation_names())),
    "field of another dim": lambda: field(cs.sample_uniform(6, 4, rng=0, n_replicas=2)),
    "field of a smaller dim": lambda: field(CIRCLE),
    "field of other replicas": lambda: field(a=ones(3, SIZE * 3)),
    "steps of a field": lambda: field(steps=STEPS[:8]),
    "scratch of a field": lambda: field(rows=ROWS - 1),
    "degree of a field": lambda: field(n_max=3),
    "moments of another dim": lambda: moments(CIRCLE),
    "size of moments": lambda: moments(size=SIZE - 1),
    "weights of moments": lambda: moments(p=P[:5]),
    "steps of moments": lambda: moments(steps=STEPS[:8]),
    "scratch of moments": lambda: moments(rows=ROWS - 1),
    "blocks of moments": lambda: moments(length=100),
    "ratios of other replicas": lambda: ratios(a=ones(1, SIZE * 4)),
    "ratios of another size": lambda: ratios(a=ones(2, SIZE * 3)),
    "ratios of another dim": lambda: ratios(CIRCLE),
    "the circle in three dimensions": lambda: on_circle(X),
    "coefficients of other replicas": lambda: on_circle(shape=(1, 3, 3, 2, 7)),
    "coefficients of another layout": lambda: on_circle(shape=(2, 3, 3, 2, 6)),
    "no coefficients": lambda: on_circle(shape=(2, 0, 3, 2, 7)),
    "weights on the circle": lambda: expansions.fourier_moments(CIRCLE, P[:5], 2, 1),
    "moments on the circle of another dim": lambda: expansions.fourier_moments(X, None, 2, 1),
    "weights of pairs": lambda: pairs.pair_statistics(X, P[:5], 1.0, 2, 1),
    "bins": lambda: pairs.pair_statistics(X, None, 1.0, -1, 1),
    "no pairs": lambda: pairs.pair_statistics(X[:, :0], None, 1.0, 2, 1),
    "keys of normals": lambda: normals.normals(np.ones((2, 1), np.uint32), 0, 0, 5, 1),
    "a negative number of normals": lambda: normals.normals(np.ones((2, 2), np.uint32), 0, 0, -5, 1),
    "velocities of other tokens": lambda: sphere.step(X, ones(2, 5, 3), 1.0, 1),
    "velocities of another dim": lambda: sphere.step(X, ones(2, 6, 2), 1.0, 1),
    "an array of another shape": lambda: sphere.step(X, None, 1.0, 1, ones(2, 5, 3)),
    "the deviation of none": lambda: sphere.deviation(X[:0]),
}


@pytest.mark.parametrize("call", GOOD)
def test_kernels_take_shapes_that_agree(call):
    result = call()
    for part in result if isinstance(result, tuple) else (result,):
        assert np.isfinite(part).all() or call in {on_circle, prefix_on_circle, prefix_on_sphere}


@pytest.mark.parametrize("name", BAD)
def test_kernels_assert_shapes(name):
    with pytest.raises(AssertionError):
        BAD[name]()


def parts(**changes):
    layer_ = cs.MLP(width=4, activation="tanh", bias_std=0.3, output_bias_std=0.2).draw(3, rng=np.random.default_rng(0))
    return {name: getattr(layer_, name) for name in ("u", "w", "b", "c", "activation", "weight_std")} | changes


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"w": ones(1, 3, 1)}, ValueError, r"w must have shape \(1, 3, 4\), got \(1, 3, 1\)"),
        ({"w": ones(1, 4, 3)}, ValueError, r"w must have shape \(1, 3, 4\), got \(1, 4, 3\)"),
        ({"w": ones(2, 3, 4)}, ValueError, r"w must have shape \(1, 3, 4\), got \(2, 3, 4\)"),
        ({"u": ones(1, 10**6, 3)}, ValueError, r"w must have shape \(1, 3, 1000000\), got \(1, 3, 4\)"),
        ({"u": ones(4, 3)}, ValueError, r"u must have shape \(R, m, d\) with R, m >= 1 and d >= 2, got \(4, 3\)"),
        ({"u": ones(1, 4, 1)}, ValueError, "u must have shape"),
        ({"u": ones(1, 0, 3), "w": ones(1, 3, 0)}, ValueError, "u must have shape"),
        ({"b": ones(1, 3)}, ValueError, r"b must have shape \(1, 4\), got \(1, 3\)"),
        ({"b": ones(4)}, ValueError, r"b must have shape \(1, 4\), got \(4,\)"),
        ({"c": ones(1, 4)}, ValueError, r"c must have shape \(1, 3\), got \(1, 4\)"),
        ({"w": ones(1, 4, 3).transpose(0, 2, 1)}, ValueError, "w must be contiguous in C order"),
        ({"u": ones(1, 4, 3).astype(np.int64)}, TypeError, "u must be a float64 or float32 array, got array of int64"),
        ({"b": [[1.0] * 4]}, TypeError, "b must be a float64 or float32 array, got list"),
        ({"u": np.ma.masked_array(ones(1, 4, 3))}, TypeError, "u must be a float64 or float32 array, got"),
        ({"activation": "tanh"}, TypeError, "activation must be an Activation"),
        ({"weight_std": np.nan}, ValueError, "weight_std must be a finite number"),
    ],
)
def test_a_layer_checks_its_parts(changes, kind, words):
    with pytest.raises(kind, match=words):
        cs.MLPLayer(**parts(**changes))


def test_a_layer_of_other_parts():
    layer_ = cs.MLPLayer(**parts(b=None, c=None, activation=get("relu"), weight_std=1))
    x = cs.sample_uniform(5, 3, rng=0)
    want = np.maximum(x @ layer_.u[0].T, 0) @ layer_.w[0].T / 2
    np.testing.assert_allclose(layer_(x), want, rtol=1e-13)


@pytest.mark.parametrize("method", ["spectral", "dense", "features"])
def test_an_increment_checks_the_tokens(method):
    kernel = cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(3)
    noise = cs.GaussianField(kernel=kernel, method=method, tolerance=1e-3, width=50)
    for n_own in (1, 2):
        draws = Noise(0, n_replicas=n_own).draws(Stream.BROWNIAN, 0)
        increment = noise.increment([draws], duration=0.5, n_tokens=20)
        x = cs.sample_uniform(20, 3, rng=0, n_replicas=2)
        assert increment(x).shape == x.shape
        for n_replicas, dim in ((2, 4), (2, 2), (2, 7)) + (((3, 3), (1, 3)) if n_own == 2 else ()):
            with pytest.raises(ValueError, match="x must have"):
                increment(cs.sample_uniform(20, dim, rng=0, n_replicas=n_replicas))
        if method == "dense":
            with pytest.raises(ValueError, match="x must have shape"):
                increment(x[:, :19])
