"""One thread or eight: bitwise identical. One instruction set or another: the same values to rounding."""

import numpy as np
import pytest
from support import cases, twins

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.kernels import abi
from chaosphere.kernels import causal as causal_kernel
from chaosphere.kernels import layer as layer_kernel
from chaosphere.kernels import pairs as pairs_kernel
from chaosphere.kernels import rows as rows_kernel
from chaosphere.kernels import sphere as sphere_kernel

THREADS = [2, 3, 5, 8]


# Sizes with work for more than eight threads each (in tests a thread is woken for 20 000 multiply-adds).
def symmetric(dtype, n_threads, n=1000, n_replicas=1):
    x = cases.tokens(n, 5, dtype, n_replicas=n_replicas)
    result = SoftmaxAttention(beta=3.0).evaluate(x, n_threads=n_threads)
    return result.value, result.log_partition, result.energy


def many_small_systems(dtype, n_threads):
    return symmetric(dtype, n_threads, n=32, n_replicas=50)


def weighted_general_and_symmetric(dtype, n_threads):
    form = cases.form("indefinite", 5, 2.0)
    value = cases.form("general", 5, 1.0)
    attention = SoftmaxAttention(query=form, key=np.eye(5), value=value)
    result = attention.evaluate(cases.tokens(600, 5, dtype)[0], cases.weights(600), n_threads=n_threads)
    return result.value, result.log_partition


def rescued_rows(dtype, n_threads):
    x, p = cases.tokens(600, 3, dtype)[0], cases.weights(600)
    x[:, 2] = np.where(np.arange(600) % 3 == 0, 1, -1) * (1 + np.abs(x[:, 2]))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    p[::3] = 0
    result = SoftmaxAttention(beta=2e3).evaluate(x, p / p.sum(), n_threads=n_threads)
    return result.value, result.log_partition


def rows(dtype, n_threads):
    form = cases.form("general", 5, 4.0).astype(dtype)
    queries, keys = cases.tokens(500, 5, dtype, seed=1), cases.tokens(700, 5, dtype, seed=2)
    return rows_kernel.attend_rows(queries, keys, form, None, cases.weights(700), 1.0, n_threads)


def rectangular(dtype, n_threads):
    form, output = (cases.form("general", dim, 2.0).astype(dtype) for dim in (4, 7))
    x = cases.tokens(700, 7, dtype, n_replicas=2)
    queries, keys = rows_kernel.map_tokens(x, form @ output[:4], n_threads), x[..., :4]
    bias = np.random.default_rng(0).uniform(-2, 0, (2, 700))
    p = cases.weights(700)
    return rows_kernel.attend_rows(queries, keys, form, output, p, 1.0, n_threads, values=x, bias=bias)


def symmetric_head(dtype, n_threads):
    rows = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 5, 9))
    query, value, output = rows[0, :3], rows[1], rows[2].T
    attention = SoftmaxAttention(query=query, key=np.diag([3.0, -2.0, 1.0]) @ query, value=value, output=output)
    x = cases.tokens(600, 9, dtype, n_replicas=2)
    assert attention.plan(Shape.of(x)).symmetric_head is not None
    result = attention.evaluate(x, cases.weights(600), n_threads=n_threads)
    return result.value, result.log_partition


def potential(dtype, n_threads):
    potential = cs.PotentialInteraction(np.polynomial.Polynomial([0.0, 0.5, -1.0, 0.7]), method="direct")
    x = cases.tokens(600, 5, dtype, n_replicas=2)
    return potential(x, cases.weights(600), n_threads=n_threads), potential.energy(x, n_threads=n_threads)


def layer(dtype, n_threads):
    rng = np.random.default_rng(0)
    u, b, w = (rng.standard_normal(s).astype(dtype) for s in [(2, 100, 5), (2, 100), (2, 5, 100)])
    return (layer_kernel.layer(cases.tokens(600, 5, dtype, n_replicas=2), u, b, w, None, 3, 0.4, 0.1, n_threads),)


def step(dtype, n_threads):
    x, v = cases.tokens(5000, 5, dtype, n_replicas=2), cases.tokens(5000, 5, dtype, n_replicas=2, seed=1)
    return (sphere_kernel.step(x, v, 0.3, n_threads)[0],)


def pairs(dtype, n_threads):
    x = cases.tokens(1000, 3, dtype, n_replicas=2).astype(np.float64)
    return pairs_kernel.pair_statistics(x, cases.weights(1000), 2.0, 20, n_threads)


def causal(dtype, n_threads):
    attention = SoftmaxAttention(beta=3.0, mask="causal", decay=2.0)
    result = attention.evaluate(cases.tokens(1000, 5, dtype), cases.weights(1000), n_threads=n_threads)
    return result.value, result.log_partition


def causal_rows(dtype, n_threads):
    form = cases.form("general", 5, 4.0).astype(dtype)
    x = cases.tokens(700, 5, dtype, n_replicas=2)
    return causal_kernel.attend_causal_rows(x, x, form, None, cases.weights(700), 1.0, 0.1, n_threads)


def prefix_sums(dtype, n_threads, dim=2):
    attention = SoftmaxAttention(beta=3.0, mask="causal", decay=2.0, method="fourier" if dim == 2 else "harmonic")
    result = attention.evaluate(cases.tokens(3000, dim, dtype, n_replicas=2), n_threads=n_threads)
    return result.value, result.log_partition


def prefix_sums_on_a_sphere(dtype, n_threads):
    return prefix_sums(dtype, n_threads, dim=3)


def tangent(dtype, n_threads):
    attention = SoftmaxAttention(beta=3.0, mask="causal", decay=2.0)
    x = cases.tokens(600, 5, dtype, n_replicas=2)
    return (attention.jvp(x, cases.tokens(600, 5, dtype, n_replicas=2, seed=1), n_threads=n_threads),)


def cotangent(dtype, n_threads):
    attention = SoftmaxAttention(beta=3.0)
    x = cases.tokens(600, 5, dtype, n_replicas=2)
    vectors = cases.tokens(600, 5, dtype, n_replicas=2, seed=1)
    back = attention.vjp(x, vectors, weights=cases.weights(600), n_threads=n_threads)
    return back.tokens, back.weights / 600, back.parameters["beta"] / 600


RUNS = [
    causal,
    causal_rows,
    prefix_sums,
    prefix_sums_on_a_sphere,
    symmetric,
    many_small_systems,
    weighted_general_and_symmetric,
    rescued_rows,
    rows,
    rectangular,
    symmetric_head,
    potential,
    layer,
    step,
    pairs,
    tangent,
    cotangent,
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_the_number_of_threads_does_not_change_a_bit(every_isa, dtype, run):
    want = run(dtype, 1)
    for n_threads in THREADS:
        for got, one in zip(run(dtype, n_threads), want, strict=True):
            assert np.array_equal(got, one), f"{n_threads} threads"


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_a_repetition_does_not_change_a_bit(every_isa, dtype, run):
    for got, again in zip(run(dtype, 3), run(dtype, 3), strict=True):
        assert np.array_equal(got, again)


@pytest.mark.parametrize("run", [run for run in RUNS if run is not rescued_rows], ids=lambda run: run.__name__)
def test_instruction_sets_agree_to_rounding(every_isa, dtype, run):
    got = run(dtype, 2)
    abi.use_isa("baseline")  # the fixture restores
    want = run(dtype, 2)
    # Twice the bound of either; norms here are at most 8. Pair sums are double whatever the tokens.
    kind = np.float64 if run is pairs else dtype
    atol = 2 * twins.attention_tolerance(8.0, 5, kind)
    for one, other in zip(got, want, strict=True):
        scale = np.exp(3.0) if np.ndim(one) == 0 or one.shape == (50,) else 1.0  # energies come in units of e^β
        twins.assert_close(np.asarray(one), np.asarray(other), atol=atol * scale, dtype=np.asarray(other).dtype)


def test_use_isa_switches_and_refuses(every_isa):
    assert abi.isa_in_use() == every_isa
    with pytest.raises(ValueError, match="'sse9' is not available"):
        abi.use_isa("sse9")
    assert abi.isa_in_use() == every_isa
