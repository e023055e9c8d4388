"""Attention by distances: its identities with softmax attention, and all that models ask of it."""

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.ensembles.study_parts import ModelFactory
from chaosphere.models.schemes import SCHEMES

DTYPES = [np.float64, np.float32]


def matrices(k, dim, norm=1.5):
    """Q and K (k, d), whose product is not symmetric."""
    pair = np.random.default_rng([k, dim]).standard_normal((2, k, dim))
    return {name: norm * a / np.linalg.norm(a, 2) for name, a in zip(("query", "key"), pair, strict=True)}


def twin(att, x, *, keys=None, weights=None, value=1.0):
    """Dense attention from the distances themselves, in long double."""
    x = np.asarray(x, np.longdouble)
    y = x if keys is None else np.asarray(keys, np.longdouble)
    q, k = x @ att.query.T, y @ att.key.T
    p = np.ones(y.shape[-2]) if weights is None else weights
    w = p * np.exp(-((q[..., :, None, :] - k[..., None, :, :]) ** 2).sum(axis=-1))
    mean = (w @ y) / w.sum(axis=-1, keepdims=True)
    return mean @ np.asarray(value).T if np.ndim(value) else value * mean


def tolerance(dim, dtype):
    """Of norms of 1.5: a score 2⟨Qx, Ky⟩ − |Ky|² is within 7, of rounded queries and keys."""
    return twins.attention_tolerance(2 * 7.0, 2 * dim, dtype, value_norm=2.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "k", "dim"), [(1, 1, 2), (2, 3, 3), (33, 2, 5), (257, 7, 3), (65, 20, 40)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("general", [False, True])
def test_it_is_the_sum_over_all_pairs(dtype, n, k, dim, weighted, general):
    value = {"value": cases.form("general", dim, 2.0)} if general else {"value_scale": -0.5}
    att = cs.L2Attention(**matrices(k, dim), **value)
    x, p = cases.tokens(n, dim, dtype, n_replicas=2), cases.weights(n) if weighted else None
    got = att(x, p)
    twins.assert_close(
        got, twin(att, x, weights=p, value=next(iter(value.values()))), atol=tolerance(dim, dtype), dtype=dtype
    )
    assert np.array_equal(att(x[0], p), got[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n"), [(1, 70), (70, 1), (40, 300)])
def test_sources(dtype, m, n):
    att, p = cs.L2Attention(**matrices(2, 5)), cases.weights(n)
    x, z = cases.tokens(m, 5, dtype, n_replicas=2, seed=1), cases.tokens(n, 5, dtype, n_replicas=2, seed=2)
    twins.assert_close(att(x, p, sources=z), twin(att, x, keys=z, weights=p), atol=tolerance(5, dtype), dtype=dtype)
    assert np.array_equal(att(z, p, sources=z), att(z, p))
    assert np.array_equal(att(x, sources=z, n_threads=1), att(x, sources=z, n_threads=3))


@pytest.mark.parametrize(("k", "dim"), [(1, 2), (3, 3), (2, 9), (12, 9)])
def test_it_is_softmax_with_other_weights(k, dim):
    att = cs.L2Attention(**matrices(k, dim))
    x, p = cs.sample_uniform(200, dim, rng=0), cases.weights(200)
    weights = p * np.exp(-((x @ att.key.T) ** 2).sum(axis=1))
    softmax = cs.SoftmaxAttention(query=2 * att.query, key=att.key)
    twins.assert_close(att(x, p), softmax(x, weights / weights.sum()), atol=1e-14)


@pytest.mark.parametrize("beta", [0.25, 4.0, 100.0])
def test_on_the_sphere_with_equal_matrices_it_is_softmax_at_twice_the_beta(beta):
    x, p = cs.sample_uniform(200, 3, rng=0), cases.weights(200)
    root = np.sqrt(beta) * np.eye(3)
    atol = 1e-14 * (1 + beta)
    twins.assert_close(cs.L2Attention(query=root, key=root)(x, p), cs.SoftmaxAttention(beta=2 * beta)(x, p), atol=atol)


def test_a_common_rotation_of_query_and_key_changes_nothing():
    x, pair, turn = cs.sample_uniform(200, 5, rng=0), matrices(4, 5), cases.rotation(4)
    rotated = {name: turn @ a for name, a in pair.items()}
    twins.assert_close(cs.L2Attention(**rotated)(x), cs.L2Attention(**pair)(x), atol=1e-14)


def test_norms_so_large_that_only_the_nearest_source_counts():
    # Scores of 1e12; a reweighting would have lost every weight p_j e^{−|Ky_j|²}.
    z = cs.sample_uniform(300, 3, rng=1)
    x = z[::7].copy()
    att = cs.L2Attention(query=1e6 * np.eye(3), key=1e6 * np.eye(3))
    assert np.array_equal(att(x, sources=z), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_and_tracers_are_those_of_the_whole(dtype):
    x, p = cases.tokens(300, 5, dtype, n_replicas=2), cases.weights(200)
    att = cs.L2Attention(**matrices(2, 5))
    plan = att.plan(Shape.of(x), p)
    assert plan.pairs == 300 * 200
    want = plan.drift(x, n_threads=1)
    assert np.array_equal(want, att(x, p, sources=x[:, :200]))
    for first, stop in ((0, 64), (64, 192), (256, 300)):
        assert np.array_equal(plan.rows(x, first=first, stop=stop, n_threads=2), want[:, first:stop])


class Half:
    """One of two processes that share 300 tokens."""

    def __init__(self, x, *, first, stop):
        self.x, self.first, self.stop = x, first, stop

    def gather(self, own):
        assert np.array_equal(own, self.x[:, self.first : self.stop])
        return self.x


def test_processes_share_it():
    x = cases.tokens(300, 5)
    model = cs.Transformer(attention=cs.L2Attention(**matrices(2, 5)), mlp=None, depth=4, horizon=1.0)
    plan = model.attention.plan(Shape.of(x))
    want = plan.drift(x, n_threads=1)
    for first, stop in ((0, 128), (128, 300)):
        own = plan.distribute(Half(x, first=first, stop=stop))
        assert np.array_equal(own.drift(x[:, first:stop], n_threads=1), want[:, first:stop])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_schemes_of_the_equation_move_tokens_as_softmax_does(scheme):
    """At Q = K = I it is softmax at β = 2, so paths under one noise agree to rounding."""
    field = None if SCHEMES[scheme].strong_order is None else cs.GaussianField(kernel=cs.MLP(width=1).kernel(3))
    x, final = cs.sample_uniform(30, 3, rng=0), []
    for att in (cs.L2Attention(query=np.eye(3), key=np.eye(3)), cs.SoftmaxAttention(beta=2.0)):
        model = cs.LimitSDE(attention=att, field=field, horizon=1.0, n_steps=8, scheme=scheme)
        final.append(cs.simulate(model, x, rng=0).final)
    twins.assert_close(final[0], final[1], atol=1e-12)


def test_transformers_and_mean_fields_move_tokens_as_softmax_does():
    law, mlp = cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=2.0), cs.MLP(width=8)
    for softmax, l2 in zip(*(both(law, mlp, att) for att in PAIR), strict=True):
        twins.assert_close(l2, softmax, atol=1e-12)


PAIR = (cs.SoftmaxAttention(beta=2.0, method="direct"), cs.L2Attention(query=np.eye(3), key=np.eye(3)))


def both(law, mlp, attention):
    model = cs.Transformer(attention=attention, mlp=mlp, depth=10, horizon=1.0)
    limit = cs.MeanField(model=model, law=law, n_nodes=40)
    yield cs.simulate(model, cs.sample_uniform(30, 3, rng=0), rng=0).final
    yield cs.simulate(limit, limit.start(cs.sample_uniform(7, 3, rng=0)), rng=0).final


def test_a_run_resumes_and_tells_one_attention_from_another(tmp_path):
    x, path = cs.sample_uniform(20, 3, rng=0), tmp_path / "c.npz"
    model = cs.Transformer(attention=cs.L2Attention(**matrices(2, 3)), mlp=None, depth=6, horizon=1.0)
    kept = cs.Checkpoint(path=path, every_steps=2, keep=True)
    want = cs.simulate(model, x, rng=0, checkpoint=kept).final
    assert np.array_equal(cs.simulate(model, x, rng=0, checkpoint=kept).final, want)
    other = cs.Transformer(attention=cs.L2Attention(**matrices(2, 3, norm=2.0)), mlp=None, depth=6, horizon=1.0)
    with pytest.raises(ValueError, match="attention"):
        cs.simulate(other, x, rng=0, checkpoint=kept)


def test_a_study_file_names_it():
    table = {"type": "l2", "query": [[1.0, 0.0, 0.5]], "key": [[0.0, 1.0, 0.0]], "value_scale": -1.0}
    values = {"depth": 4, "horizon": 1.0, "attention": table}
    model = ModelFactory(values=values, dim=3, paths={})()
    want = cs.L2Attention(query=[[1.0, 0.0, 0.5]], key=[[0.0, 1.0, 0.0]], value_scale=-1.0)
    assert model == cs.Transformer(attention=want, mlp=None, depth=4, horizon=1.0)


X, EYE = cs.sample_uniform(8, 3, rng=0), np.eye(3)
SQUARE = {"query": EYE, "key": EYE}


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: cs.L2Attention(query=EYE, key=None), TypeError, r"key must be a matrix \(k, d\), got None"),
        (lambda: cs.L2Attention(query=None, key=EYE), TypeError, r"query must be a matrix \(k, d\), got None"),
        (lambda: cs.L2Attention(query=EYE, key=np.eye(2)), ValueError, r"must have one shape \(k, d\), got \(3, 3\)"),
        (lambda: cs.L2Attention(query="1", key=EYE), TypeError, "query must be an array of real numbers"),
        (lambda: cs.L2Attention(query=EYE, key=EYE * np.nan), ValueError, "key must be finite, found nan"),
        (lambda: cs.L2Attention(**SQUARE, value=np.eye(2)), ValueError, r"one number of columns, .* got \[2, 3\]"),
        (lambda: cs.L2Attention(**SQUARE, value=np.ones((2, 3))), ValueError, "value must be a square matrix"),
        (lambda: cs.L2Attention(**SQUARE, value=EYE, value_scale=1.0), ValueError, "value_scale must not be given"),
        (lambda: cs.L2Attention(**SQUARE, value_scale=np.inf), ValueError, "value_scale must be a finite number"),
        (lambda: cs.L2Attention(query=EYE, key=1e7 * EYE), ValueError, r"norm of key must be <= 6.71e\+06 for float64"),
        (
            lambda: cs.L2Attention(query=1e3 * EYE, key=EYE)(X.astype(np.float32)),
            ValueError,
            "the norm of query must be <= 290 for float32 tokens, got 1000",
        ),
        (lambda: cs.L2Attention(**SQUARE, value=1e101 * EYE), ValueError, r"entries of value must be <= 1e\+100"),
        (lambda: cs.L2Attention(**SQUARE)(X, sources=X[:0]), ValueError, "sources must hold at least one token"),
        (lambda: cs.L2Attention(**SQUARE)(X, np.ones(8)), ValueError, "weights must sum to 1"),
        (lambda: cs.L2Attention(query=np.eye(4), key=np.eye(4))(X), ValueError, "x must have dim 4, that of the matri"),
        (lambda: cs.L2Attention(**SQUARE).resolve(0, 3), ValueError, "n_tokens must be an integer >= 1, got 0"),
        (lambda: cs.L2Attention(**SQUARE).resolve(9, 3, "int8"), TypeError, "dtype must be float64 or float32"),
    ],
)
def test_bad_input(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_the_density_on_the_circle_is_that_of_softmax_attention_or_refused():
    def solve(attention):
        model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10, scheme="rk4")
        law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)
        return cs.CircleDensity(model=model, law=law, n_modes=64).solve(rng=0).modes

    att = cs.L2Attention(query=np.eye(2), key=np.eye(2))
    assert np.array_equal(solve(att), solve(cs.SoftmaxAttention(beta=2.0)))
    with pytest.raises(ValueError, match="circle_drift needs attention with QᵀK = βI and KᵀK = cI"):
        solve(cs.L2Attention(query=np.eye(2), key=np.diag([1.0, 2.0])))


@pytest.mark.parametrize("value_scale", [1.0, -0.5])
def test_a_cluster_contracts_at_the_consensus_rate(value_scale):
    att = cs.L2Attention(**matrices(2, 3), value_scale=value_scale)
    start = cs.normalize(cs.sample_uniform(1, 3, rng=0) + 1e-5 * np.random.default_rng(1).standard_normal((6, 3)))
    model = cs.LimitSDE(attention=att, field=None, horizon=1.0, n_steps=50, scheme="rk4")
    end = cs.simulate(model, start, rng=0).final
    rates = -np.log(np.linalg.norm(end - end[0], axis=1)[1:] / np.linalg.norm(start - start[0], axis=1)[1:])
    np.testing.assert_allclose(rates, att.consensus_rate, rtol=0, atol=1e-3)  # the size of the cluster, times a factor
