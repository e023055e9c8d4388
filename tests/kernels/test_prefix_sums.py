"""Causal attention by prefix sums agrees with the sum over pairs, to the tolerance that is asked for."""

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions import prefix

METHODS = {2: "fourier", 3: "harmonic", 4: "harmonic"}
# Chunks have 64 tokens on the circle, and eight run at once; on spheres 128 or more.
SIZES = [1, 2, 63, 64, 65, 127, 128, 129, 300, 511, 512, 513]


def causal(dim, **options):
    return cs.SoftmaxAttention(mask="causal", method=METHODS[dim], **options)


def check(attention, x, *, weights=None, value=None):
    result = attention.evaluate(x, weights, n_threads=2)
    on_sphere = cs.normalize(x.astype(np.float64))
    mean, log_partition = twins.causal_attention(
        on_sphere, attention.beta, weights=weights, decay=attention.decay, value=value
    )
    dtype = x.dtype.type
    # Tokens that are summed directly are not projected onto the sphere.
    off = 4 * attention.beta * np.finfo(dtype).eps
    rtol = attention.resolve(x.shape[-2], x.shape[-1], dtype).rtol + off
    norm = 1.0 if value is None else np.linalg.norm(value, 2)
    twins.assert_close(result.value, mean, atol=(rtol + 8 * np.finfo(dtype).eps) * norm, dtype=dtype)
    # The logarithm of a decay is rounded once, as large as it is.
    atol = rtol / 2 + 1e-14 * (1 + attention.beta)
    twins.assert_close(result.log_partition, log_partition, atol=atol, rtol=4 * np.finfo(dtype).eps)
    return result


@pytest.mark.parametrize(
    ("dim", "beta"),
    [
        pytest.param(2, 0.0, marks=pytest.mark.slow),
        (2, 1.0),
        (2, 16.0),
        (3, 0.0),
        pytest.param(3, 1.0, marks=pytest.mark.slow),
        (3, 4.0),
        (4, 1.0),
    ],
)
def test_prefix_sums(isa, dtype, dim, beta):
    for n in SIZES:
        x = cases.tokens(n, dim, dtype, n_replicas=2)
        for weights in (None, cases.weights(n)):
            check(causal(dim, beta=beta), x, weights=weights)


@pytest.mark.parametrize(
    ("dim", "beta", "decay"),
    [(2, 4.0, 2.0), pytest.param(2, 4.0, 1e4, marks=pytest.mark.slow), (2, 4.0, 1e15), (3, 2.0, 20.0)],
)
def test_decay(isa, dtype, dim, beta, decay):
    for n in (1, 129, 600, 1100):
        for weights in (None, cases.weights(n)):
            check(causal(dim, beta=beta, decay=decay), cases.tokens(n, dim, dtype), weights=weights)


def test_a_decay_over_some_chunks_of_the_sphere():
    n = 1500
    check(causal(3, beta=2.0, decay=150.0), cases.tokens(n, 3), weights=cases.weights(n))
    with pytest.raises(
        ValueError, match=r"method='harmonic' serves a decay up to \d+.* here, got 1000; use method='auto'"
    ):
        causal(3, beta=2.0, decay=1e3)(cases.tokens(n, 3))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("rtol", [1e-13, 1e-9, 1e-3])
def test_tolerances_and_values(dim, rtol):
    value = cases.form("general", dim, 2.0)
    check(causal(dim, beta=4.0, rtol=rtol, value=value), cases.tokens(700, dim), value=value)


@pytest.mark.parametrize("dim", [2, 3])
def test_tokens_that_the_expansion_cannot_serve(dtype, dim):
    """Some lie opposite all before them, with little weight of their own: those are summed directly, the others not."""
    n, beta = 900, 30.0 if dim == 2 else 12.0
    x = cases.tokens(n, dim, dtype)
    x[..., 0] = abs(x[..., 0]) + 2
    x = cs.normalize(x)
    far = np.array([0, 70, 500, 899])
    x[:, far[1:]] *= -1
    p = np.ones(n)
    p[far[1:]] = 1e-12
    result = check(causal(dim, beta=beta), x, weights=p / p.sum())
    assert 3 <= result.n_direct[0] < 450
    most = np.concatenate([x[:, :1], -x[:, 1:]], axis=1)
    p[1:] = 1e-12
    assert check(causal(dim, beta=beta), most, weights=p / p.sum()).n_direct[0] == n


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_threads_rows_and_later_tokens_change_no_bit(dtype, dim, decay):
    n = 4000
    x, p = cases.tokens(n, dim, dtype, n_replicas=2), cases.weights(n)
    attention = causal(dim, beta=3.0, decay=decay)
    plan = attention.plan(Shape.of(x), p)
    full = plan.attend(x, n_threads=1)
    for n_threads in (2, 3, 7):
        again = plan.attend(x, n_threads=n_threads)
        assert np.array_equal(again.mean, full.mean)
        assert np.array_equal(again.log_partition(), full.log_partition())
    assert np.array_equal(plan.rows(x, first=192, stop=960, n_threads=2), full.mean[:, 192:960])
    kept = 1700
    y = np.concatenate([x[:, :kept], x[:, kept:][:, ::-1]], axis=1)
    other = plan.attend(y, n_threads=2)
    assert np.array_equal(other.mean[:, :kept], full.mean[:, :kept])
    assert not np.array_equal(other.mean[:, kept:], full.mean[:, kept:])
    assert np.array_equal(attention(x[1], p), full.mean[1])


CLOUDS = {
    "one point": lambda x: np.broadcast_to(x[:1], x.shape),
    "two poles": lambda x: np.where(np.arange(len(x))[:, None] % 3 == 0, x[:1], -x[:1]),
    "a pole of the recurrences": lambda x: np.eye(x.shape[1])[-1] + 1e-7 * x,
    "a great circle": lambda x: np.where(np.arange(x.shape[1]) < 2, x, 0.0),
    "one cluster after another": lambda x: np.where(np.arange(len(x))[:, None] < 2000, x[:1], -x[:1]) + 0.1 * x,
}


@pytest.mark.parametrize("kind", CLOUDS)
@pytest.mark.parametrize(("dim", "beta"), [(2, 4.0), (2, 200.0), (3, 4.0), (3, 30.0), (4, 2.0)])
@pytest.mark.parametrize("rtol", [None, 1e-13])
def test_tokens_that_are_not_spread(kind, dim, beta, rtol):
    """Sums of all sizes keep the tolerance, or are taken over pairs."""
    x = cs.normalize(np.array(CLOUDS[kind](cs.sample_uniform(4000, dim, rng=0))))
    exact = cs.SoftmaxAttention(beta=beta, mask="causal", method="direct").evaluate(x)
    attention = causal(dim, beta=beta, rtol=rtol)
    result = attention.evaluate(x)
    rtol = attention.resolve(len(x), dim).rtol
    # The sum over pairs itself: a weight is off by β ε (dim + 4) at most.
    off = twins.attention_tolerance(beta, dim, np.float64)
    twins.assert_close(result.value, exact.value, atol=rtol + off)
    twins.assert_close(result.log_partition, exact.log_partition, atol=rtol / 2 + off)


def test_many_chunks(dtype):
    """The sums over thousands of chunks lose no digits: compared with the direct sum of the last tokens."""
    n = 100_000
    x = cases.tokens(n, 2, dtype)
    for decay in (0.0, 3.0, 1e3):
        attention = causal(2, beta=4.0, decay=decay)
        result = attention.evaluate(x)
        rows = np.arange(n - 5, n)
        bias = -decay / n * (rows[:, None] - np.arange(n))
        for row, by_place in zip(rows, bias, strict=True):
            seen = cs.normalize(x[0, : row + 1].astype(np.float64))
            mean, log_partition = twins.attention(
                seen[-1:],
                4.0,
                keys=seen,
                weights=np.full(row + 1, 1 / n),
                bias=by_place[: row + 1],
                dtype=np.longdouble,
            )
            twins.assert_close(
                result.value[0, row], mean[0].astype(float), atol=attention.resolve(n, 2, dtype).rtol, dtype=dtype
            )
            assert (
                abs(result.log_partition[0, row] - log_partition[0]) < attention.resolve(n, 2, dtype).rtol / 2 + 1e-14
            )


def test_auto_takes_what_is_faster():
    attention = cs.SoftmaxAttention(beta=4.0, mask="causal")
    assert [attention.resolve(n, 2).method for n in (100, 10**5)] == ["direct", "fourier"]
    assert [attention.resolve(n, 3).method for n in (100, 10**6)] == ["direct", "harmonic"]
    assert cs.SoftmaxAttention(beta=4.0, mask="causal", decay=1e9).resolve(10**6, 3).method == "direct"
    assert cs.SoftmaxAttention(query=np.eye(3), key=-np.eye(3), mask="causal").resolve(10**6, 3).method == "direct"
    assert prefix.nanoseconds(10**6, 1e5, 2, decay=0.0, rtol=1e-12) == np.inf
