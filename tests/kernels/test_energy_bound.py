"""AttentionResult.energy against a sum in long double, within the bound that its docstring states."""

import math

import numpy as np
import pytest

import chaosphere as cs

METHODS = [("direct", None), ("expansion", None), ("expansion", 1e-2), ("expansion", 1e-8), ("nufft", 1e-5)]


def energy(x, beta, p):
    """½ Σ p_i p_j (e^β − e^{β⟨x_i, x_j⟩}) of the tokens as they are."""
    x, p = x.astype(np.longdouble), p.astype(np.longdouble)
    return 0.5 * np.exp(np.longdouble(beta)) * (p @ -np.expm1(beta * (x @ x.T - 1)) @ p)


def clouds(dim, dtype):
    rng = np.random.default_rng(dim)
    n = 150 if dim < 10 else 40
    uniform = cs.sample_uniform(n, dim, rng=0)
    for spread in (1.0, 1e-4, 0.0):
        x = cs.normalize(uniform[:1] + spread * uniform).astype(dtype)
        yield x
        yield (x * (1 + 0.9 * (1e-9 if dtype == np.float64 else 1e-5) * rng.choice([-1, 1]))).astype(dtype)
    antipodal = np.repeat(uniform[:1], n, axis=0)
    antipodal[::2] *= -1
    yield antipodal.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("dim", [2, 3, 5, 300, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("method", "rtol"), METHODS)
def test_energy_of_a_pass_keeps_its_bound(method, rtol, dim, dtype):
    worst = 0.0
    if method == "expansion":
        method = "fourier" if dim == 2 else "harmonic"
    betas = (0.0, 1e-3, 1.0, 30.0) if method == "nufft" else (0.0, 1e-3, 1.0, 30.0, 300.0, 700.0)
    for x in clouds(dim, dtype):
        n = len(x)
        off = float(abs(np.sqrt((x.astype(np.longdouble) ** 2).sum(axis=1)) - 1).max())
        powers = np.random.default_rng(1).random(n) ** 4
        for p in (None, powers / powers.sum(), (1 - 5e-10) * powers / powers.sum()):
            full = np.full(n, 1 / np.longdouble(n)) if p is None else p
            for beta in betas:
                attention = cs.SoftmaxAttention(beta=beta, method=method, rtol=rtol)
                try:
                    resolved = attention.resolve(n, dim, dtype)
                except ValueError:
                    continue  # this method does not serve so many dimensions, or so large a β
                error = abs(attention.evaluate(x, p).energy - energy(x, beta, full))
                rounding = (4 + (2 + math.sqrt(dim) / 4) * beta) * float(np.finfo(dtype).eps)
                away = 0.5 * float(abs(full.astype(np.longdouble).sum() - 1))
                bound = math.exp(beta) * (rounding + (resolved.rtol or 0.0) / 4 + beta * off + away)
                worst = max(worst, float(error / bound))
    assert worst <= 1
    serves = method == "direct" or dim <= (3 if method == "nufft" else 5)
    assert (worst > 1e-4) == serves  # something was compared
