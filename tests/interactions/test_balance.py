"""The iterations behind doubly stochastic attention: how fast they are, what they do when they go astray."""

import pickle

import numpy as np
import pytest
from support import cases

import chaosphere as cs
from chaosphere.interactions import balance as module
from chaosphere.interactions.balance import balance, largest, root_mean_square


def kernel(x, beta):
    return np.exp(beta * (x @ np.swapaxes(x, -1, -2) - 1))


def solve(k, p, *, tolerance=1e-12, size=largest, spoil=None, **options):
    """Balance kernels (R, n, n); `spoil` changes the sums of the call with a number."""
    calls = []

    def sums(rows, a):
        calls.append(len(rows))
        out = np.einsum("rij,rj->ri", k[rows], p[rows] * a)
        return out if spoil is None else spoil(len(calls), out)

    return balance(sums, p, n_replicas=len(k), tolerance=tolerance, size=size, **options), calls


@pytest.mark.parametrize("beta", [1.0, 16.0, 256.0])
@pytest.mark.parametrize("power", [1, 30])
def test_the_equation_and_the_number_of_iterations(beta, power):
    """The iteration a <- sqrt(a / sums) takes about twice as many."""
    x = cases.tokens(300, 3, n_replicas=3)
    p = np.random.default_rng(0).uniform(size=(3, 300)) ** power
    p /= p.sum(axis=1, keepdims=True)
    k = kernel(x, beta)
    balanced, calls = solve(k, p)
    a = np.exp(balanced.log_a)
    excess = a * np.einsum("rij,rj->ri", k, p * a) - 1
    np.testing.assert_allclose(balanced.residual, abs(excess).max(axis=1), rtol=0, atol=1e-14)
    assert (balanced.residual <= 1e-12).all()
    assert len(calls) == balanced.n_iterations.max()
    assert calls == sorted(calls, reverse=True)
    np.testing.assert_allclose(balanced.mean_log_a, (p * balanced.log_a).sum(axis=1), rtol=0, atol=1e-12)
    f, n_plain = np.zeros(p.shape), np.zeros(3, np.int64)
    for _ in range(100):
        r = f + np.log(np.einsum("rij,rj->ri", k, p * np.exp(f)))
        n_plain += abs(np.expm1(r)).max(axis=1) > 1e-12
        f -= r / 2
    np.testing.assert_allclose(balanced.log_a, f, rtol=0, atol=1e-11)
    assert (balanced.n_iterations < 0.75 * n_plain).all()


def test_points_of_little_weight():
    """In the norm of p they count for next to nothing; with a share of equal weights they do not."""
    k, p = kernel(cases.tokens(20, 3), 80.0), 10.0 ** -np.linspace(0, 250, 20)[None]
    p /= p.sum()
    slow, fast = (solve(k, p, norm_weights=weights)[0] for weights in (None, 0.5 * (p + 1 / 20)))
    np.testing.assert_allclose(slow.log_a, fast.log_a, rtol=0, atol=1e-11)
    assert fast.n_iterations[0] < 25 < slow.n_iterations[0]


def test_the_size_that_is_asked_for():
    k, p = kernel(cases.tokens(50, 3), 4.0), cases.weights(50)[None]
    for size in (largest, root_mean_square):
        balanced, _ = solve(k, p, tolerance=1e-6, size=size)
        a = np.exp(balanced.log_a)
        excess = a * np.einsum("rij,rj->ri", k, p * a) - 1
        want = abs(excess).max() if size is largest else np.sqrt((p * excess**2).sum())
        assert balanced.residual[0] == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e-200])
def test_an_extrapolation_that_goes_astray_is_taken_back(value):
    x = cases.tokens(80, 3, n_replicas=2)
    k, p = kernel(x, 4.0), np.full((2, 80), 1 / 80)
    want, calls = solve(k, p)

    def spoil(number, sums):
        if number == 5:
            sums[0, 3] = value
        return sums

    balanced, spoiled = solve(k, p, spoil=spoil)
    np.testing.assert_allclose(balanced.log_a, want.log_a, rtol=0, atol=1e-11)
    assert balanced.residual.max() <= 1e-12
    assert np.array_equal(balanced.log_a[1], want.log_a[1])
    assert len(calls) < len(spoiled) < 3 * len(calls)


def test_a_tolerance_that_is_not_reached():
    x = cases.tokens(80, 3)
    with pytest.raises(
        cs.UnbalancedError, match=r"after 200 iterations: the residual is .*e-1[5-7], more than the toler"
    ):
        solve(kernel(x, 4.0), np.full((1, 80), 1 / 80), tolerance=-1.0)
    with pytest.raises(cs.UnbalancedError, match="the residual is nan"):
        solve(-kernel(x, 4.0), np.full((1, 80), 1 / 80))


def test_the_error_in_a_run(monkeypatch):
    """A step that finds no scaling ends the run; the tokens before it are kept."""
    monkeypatch.setattr(module, "_MAX_ITERATIONS", 3)
    x, attention = cs.sample_uniform(50, 3, rng=0), cs.SinkhornAttention(beta=4.0)
    with pytest.raises(cs.UnbalancedError, match="after 3 iterations") as caught:
        attention(x)
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.residual == caught.value.residual > 1e-12
    assert isinstance(again, ArithmeticError)
    model = cs.Transformer(attention=attention, mlp=None, depth=5, horizon=1.0)
    with pytest.raises(cs.SimulationError, match=r"step 0 \(time 0\): attention is not doubly stochastic") as stopped:
        cs.simulate(model, x, rng=0)
    assert np.array_equal(stopped.value.last_state[0], x)


def test_a_density_that_has_no_scaling():
    """Modes of no density: the kernel of few modes is no positive one."""
    drift = cs.SinkhornAttention(beta=10.0).circle_drift(3)
    with pytest.raises(ArithmeticError):
        drift(np.array([[1.0, 0.9, 0.9, 0.9]]), 16)
