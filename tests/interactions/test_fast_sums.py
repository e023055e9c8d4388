"""Expansions behind the public names: what a run records, statistics, distances, and the optional library."""

import math
import sys

import numpy as np
import pytest
from support import cases

import chaosphere as cs
from chaosphere import measures
from chaosphere.common.shape import Shape
from chaosphere.interactions import nufft, series
from chaosphere.kernels import pairs
from chaosphere.measures import distances


def clustered(n, dim, seed=0, width=0.1):
    rng = np.random.default_rng(seed)
    return cs.normalize(
        np.where(rng.random((n, 1)) < 0.5, np.eye(dim)[0], -np.eye(dim)[-1]) + width * rng.standard_normal((n, dim))
    )


def test_a_solution_records_what_ran():
    model = cs.Transformer(attention=cs.SoftmaxAttention(beta=2.0), mlp=None, depth=2, horizon=0.1)
    for n, dim, method, rtol in [
        (50, 2, "direct", None),
        (3000, 2, "fourier", 1.25e-12),
        (3000, 3, "harmonic", 1.25e-12),
    ]:
        sol = cs.simulate(model, cs.sample_uniform(n, dim, rng=0), rng=0)
        attention = sol.attributes["model"]["attention"]
        assert (attention["method"], attention["rtol"]) == (method, rtol)
    x = cs.sample_uniform(3000, 2, rng=0).astype(np.float32)
    sol = cs.simulate(model, x, rng=0)
    assert sol.attributes["model"]["attention"]["rtol"] == pytest.approx(1.25e-7)
    sde = cs.LimitSDE(attention=cs.SoftmaxAttention(beta=2.0), field=None, horizon=0.1, n_steps=2)
    sol = cs.simulate(sde, cs.sample_uniform(3000, 3, rng=0), rng=0)
    assert sol.attributes["model"]["attention"]["method"] == "harmonic"
    limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=2), n_nodes=1000)
    sol = cs.simulate(limit, limit.start(), rng=0)
    assert sol.attributes["model"]["model"]["attention"]["method"] == "fourier"


@pytest.mark.parametrize("dim", [2, 3])
def test_a_run_is_the_same_with_the_direct_sum(dim):
    """A non-chaotic run, attention alone: errors of 1e-15 a step stay small."""
    runs = []
    for method in ("direct", "auto"):
        attention = cs.SoftmaxAttention(beta=3.0, method=method)
        model = cs.Transformer(attention=attention, mlp=None, depth=20, horizon=1.0)
        runs.append(cs.simulate(model, cs.sample_uniform(3000, dim, rng=0), rng=0).final)
    assert not np.array_equal(*runs)
    np.testing.assert_allclose(*runs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_energy_of_many_tokens(dim, dtype):
    x = np.stack([clustered(4000, dim), cs.sample_uniform(4000, dim, rng=0)]).astype(dtype)
    p = np.random.default_rng(1).random(4000)
    p /= p.sum()
    assert series.is_cheaper(4000, 3.0, dim, 1e-13, np.float64)
    for weights in (None, p):
        want = pairs.pair_statistics(x.astype(float), weights, 3.0, 0, 2)[0] * 0.5 * math.exp(3.0)
        # Tokens in float32 lie off the sphere by 6e-8; the expansion projects them.
        np.testing.assert_allclose(
            measures.energy(x, 3.0, weights=weights), want, rtol=2e-12 if dtype == np.float64 else 2e-6
        )


@pytest.mark.parametrize("dim", [2, 3])
def test_energy_near_consensus_is_not_taken_from_a_difference(dim):
    far, tight = cs.sample_uniform(4000, dim, rng=0), clustered(4000, dim, width=1e-7)[:1].repeat(4000, axis=0)
    tight = cs.normalize(tight + 1e-7 * np.random.default_rng(0).standard_normal(tight.shape))
    values = measures.energy(np.stack([far, tight]), 2.0)
    want = pairs.pair_statistics(tight[None], None, 2.0, 0, 1)[0][0] * 0.5 * math.exp(2.0)
    assert values[1] == pytest.approx(want, rel=1e-13, abs=0)
    assert values[1] < 1e-12


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_power_spectrum_is_the_mean_of_polynomials(dim):
    from scipy.special import eval_gegenbauer

    x, p = clustered(200, dim), np.random.default_rng(1).random(200)
    p /= p.sum()
    cosine = np.clip(x @ x.T, -1, 1)
    for n, value in enumerate(measures.power_spectrum(x, 6, weights=p)):
        if dim == 2:
            polynomial = np.cos(n * np.arccos(cosine))
        else:
            polynomial = eval_gegenbauer(n, dim / 2 - 1, cosine) / eval_gegenbauer(n, dim / 2 - 1, 1.0)
        assert value == pytest.approx(p @ polynomial @ p, abs=1e-12)
    assert measures.power_spectrum(np.stack([x, x]), 3).shape == (2, 4)
    assert measures.power_spectrum(x, 1)[1] == pytest.approx(measures.order_parameter(x) ** 2, rel=1e-12)
    with pytest.raises(ValueError, match="n_max = 500 is too large in dim 3"):
        measures.power_spectrum(clustered(10, 3), 500)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("beta", [0.5, 20.0])
def test_mmd_of_many_tokens(dim, beta):
    x, y = clustered(3000, dim, 1), clustered(2500, dim, 2)
    q = np.random.default_rng(3).random(2500)
    q /= q.sum()

    def mean(a, b, p, q):
        return p @ np.exp(beta * (a @ b.T) - beta) @ q

    p = np.full(3000, 1 / 3000)
    square = mean(x, x, p, p) + mean(y, y, q, q) - 2 * mean(x, y, p, q)
    distance = distances.mmd(x, y, beta=beta, y_weights=q)
    assert distance**2 == pytest.approx(square, abs=1e-14)
    assert distances.mmd(x, x.copy(), beta=beta) == 0
    # Moments are subtracted before they are squared: a small distance keeps its digits.
    shifted = x.copy()
    shifted[0] = -shifted[0]
    kernel = np.exp(beta * (x @ x[0]) - beta)
    shifted_kernel = np.exp(beta * (x @ shifted[0]) - beta)
    exact = (2 - 2 * math.exp(-2 * beta)) / 3000**2
    assert distances.mmd(x, shifted, beta=beta) ** 2 == pytest.approx(exact, rel=1e-9)
    assert kernel.sum() > shifted_kernel.sum()


@pytest.mark.parametrize("dim", [2, 3])
def test_sobolev_of_many_tokens_against_pairs(dim, monkeypatch):
    x, y = clustered(1500, dim, 1), clustered(1200, dim, 2)
    by_moments = distances.sobolev(x, y, order=1.5, n_max=8)
    if dim == 3:
        monkeypatch.setattr(distances.kernels, "_moments_are_cheaper", lambda *_, **__: False)
        assert distances.sobolev(x, y, order=1.5, n_max=8) == pytest.approx(by_moments, abs=1e-7)
    else:
        angles = [np.arctan2(z[:, 1], z[:, 0]) for z in (x, y)]
        modes = [np.array([np.exp(1j * n * a).mean() for n in range(1, 9)]) for a in angles]
        want = math.sqrt(2 * sum(abs(modes[0] - modes[1]) ** 2 * np.arange(1, 9.0) ** -3.0))
        assert by_moments == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("beta", [0.5, 4.0, pytest.param(200.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rtol", [1e-5, 1e-9])
def test_nufft(dim, beta, rtol):
    n = 400
    p = np.random.default_rng(0).random(n)
    p /= p.sum()
    for x in (cs.sample_uniform(n, dim, rng=0, n_replicas=2), clustered(n, dim)):
        fast = cs.SoftmaxAttention(beta=beta, method="nufft", rtol=rtol, value_scale=-1.0)
        direct = cs.SoftmaxAttention(beta=beta, method="direct", value_scale=-1.0)
        for weights in (None, p):
            got, want = fast.evaluate(x, weights), direct.evaluate(x, weights)
            np.testing.assert_allclose(got.value, want.value, rtol=0, atol=rtol)
            np.testing.assert_allclose(got.log_partition, want.log_partition, rtol=0, atol=rtol)


def test_nufft_is_bitwise_identical_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(nufft, "_CHUNK", 700)
    x = cs.sample_uniform(3000, 3, rng=0)
    attention = cs.SoftmaxAttention(beta=20.0, method="nufft", rtol=1e-7)
    want = attention(x, n_threads=1)
    for n_threads in (2, 5):
        assert np.array_equal(attention(x, n_threads=n_threads), want)


def test_nufft_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "finufft", None)
    with pytest.raises(ImportError, match=r"finufft is needed here .*: pip install finufft, or .*'\.\[nufft\]'"):
        cs.SoftmaxAttention(beta=4.0, method="nufft")(cs.sample_uniform(10, 3, rng=0))


@pytest.mark.parametrize(
    ("dim", "beta", "message"),
    [
        (4, 1.0, "serves dim 2 or 3"),
        (3, 0.01, r"serves \|β\| from 0.1"),
        (3, 2000.0, r"would take 4\.6 GB .* \(limit 2\.0\)"),
    ],
)
def test_nufft_refuses(dim, beta, message):
    with pytest.raises(ValueError, match=message):
        cs.SoftmaxAttention(beta=beta, method="nufft")(cs.sample_uniform(10, dim, rng=0))


def test_auto_takes_nufft_only_where_an_rtol_is_given_and_harmonics_are_too_many(monkeypatch):
    """Without rtol the choice, and so every bit, is the same whether finufft is installed or not."""
    cases = [(beta, rtol, n) for beta in (4.0, 64.0, 1000.0, 3000.0) for rtol in (None, 1e-6) for n in (10**4, 10**6)]

    def chosen():
        return {case: cs.SoftmaxAttention(beta=case[0], rtol=case[1]).resolve(case[2], 3).method for case in cases}

    monkeypatch.setattr(nufft, "is_installed", lambda: True)
    with_it = chosen()
    monkeypatch.setattr(nufft, "is_installed", lambda: False)
    assert {case for case, method in chosen().items() if method != with_it[case]} == {(1000.0, 1e-6, 10**6)}
    assert with_it[1000.0, 1e-6, 10**6] == "nufft"
    assert with_it[64.0, 1e-6, 10**6] == "harmonic"
    assert with_it[3000.0, 1e-6, 10**6] == "direct"  # a grid of gigabytes


@pytest.mark.slow
def test_nufft_chosen_by_auto_keeps_the_tolerance():
    x = np.concatenate([cs.sample_uniform(100_000, 3, rng=0), clustered(50_000, 3)])
    attention = cs.SoftmaxAttention(beta=1000.0, rtol=1e-4)
    assert attention.resolve(len(x), 3).method == "nufft"
    result = attention.evaluate(x)
    rows = np.random.default_rng(0).integers(0, len(x), 100)
    direct = cs.SoftmaxAttention(beta=1000.0, method="direct").plan(Shape.of(x[None]))
    value, sums, log_scale = direct.attend_rows(x[None, rows], x[None], n_threads=2)
    log_z = np.log(sums) + log_scale
    np.testing.assert_allclose(result.value[rows], value[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(result.log_partition[rows], log_z[0], rtol=0, atol=0.5e-4)


@pytest.mark.parametrize(
    ("dim", "method"), [(2, "fourier"), (3, "harmonic"), (4, "harmonic"), (2, "nufft"), (3, "nufft")]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_partition_sums_alone(dim, method, dtype):
    """Those of attention, to rounding, with a bound of the error that is no larger."""
    x, p = cases.tokens(300, dim, dtype, n_replicas=2), cases.weights(300)
    plan = cs.SoftmaxAttention(beta=5.0, method=method, rtol=1e-10).plan(Shape.of(x), p)
    _, z, least, error = plan.sums(x, p, n_threads=1)
    alone, least_alone, error_alone = plan.sums.partition(x, p, n_threads=2)
    np.testing.assert_allclose(alone, z, rtol=0, atol=1e-15)
    np.testing.assert_allclose(least_alone, least, rtol=0, atol=1e-15)
    assert (error_alone > 0).all()
    assert (error_alone <= error).all()
    y = x.astype(np.float64)
    y /= np.linalg.norm(y, axis=2, keepdims=True)
    want = np.exp(5.0 * (y @ y.swapaxes(1, 2) - 1)) @ p
    assert (abs(alone - want) <= error_alone[:, None] + 1e-16).all()
    assert np.array_equal(plan.sums.partition(x[1:], p, n_threads=1)[0], alone[1:])
