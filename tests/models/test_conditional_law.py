"""Means over the common noise of the mean field: pairs against the pair equation, one token against the heat flow.

Null: the mean over independent noises is the stated one, up to the bias of the step (order 1, far below a standard
error here). Each comparison allows 5.5 standard errors, a false-alarm rate below 1e-7; the seeds are fixed.
"""

import numpy as np
import pytest
from scipy import special

import chaosphere as cs
from chaosphere.experiments.mean_field import pair_law, start_law
from chaosphere.theory import two_point

FUNCTIONS = {"u": lambda u: u, "u²": np.square, "energy": lambda u: 0.5 * (np.exp(2.0) - np.exp(2.0 * u))}
# Half a 99 % interval of 400 replicas is this many standard errors.
INTERVAL, ALLOWED = 2.588, 5.5


def noise(dim, *, activation="tanh", bias_std=0.3, **options):
    field = cs.GaussianField(kernel=cs.MLP(width=1, activation=activation, bias_std=bias_std).kernel(dim), **options)
    return cs.LimitSDE(attention=None, field=field, horizon=1.0, n_steps=100, scheme="heun")


def deviations(pairs, expected=None):
    """In standard errors, after the start (where replicas are alike): shape (n_functions, n_times − 1)."""
    mean, low, high, exact = (pairs[f"pair_{key}"][1][:, 1:] for key in ("mean", "low", "high", "expected"))
    return np.abs(mean - (exact if expected is None else expected)) / ((high - low) / 2 / INTERVAL)


CASES = [
    (noise(2), start_law(), 96),
    (
        noise(2, activation="silu"),
        cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=2.0),
        96,
    ),
    (noise(3), cs.laws.VonMisesFisher(mean_direction=(0.0, 0.0, 1.0), concentration=3.0), 128),
    (noise(3, activation="sigmoid"), cs.laws.Uniform(dim=3), 128),
]


@pytest.mark.parametrize(("model", "law", "n_nodes"), CASES, ids=["tanh d=2", "silu d=2", "tanh d=3", "sigmoid d=3"])
def test_pairs_follow_the_pair_equation(model, law, n_nodes):
    pairs = pair_law(model, law, functions=FUNCTIONS, times=[0.0, 0.5, 1.0], rng=3, n_nodes=n_nodes, n_replicas=400)
    mean, expected = pairs["pair_mean"][1], pairs["pair_expected"][1]
    np.testing.assert_allclose(mean[:, 0], expected[:, 0], rtol=0, atol=1e-12)
    assert (deviations(pairs) < ALLOWED).all()
    # The test has the power to see a wrong equation: that of noise twice as strong is far out.
    assert deviations(pairs, expected[:, [2, 2]])[:, 0].max() > 8


@pytest.mark.slow
def test_modes_of_the_density_follow_pair_equation_and_heat_flow():
    """E|m_k|² is the pair equation's mean of T_k(u); E m_k falls like one token's e^{−κ(1)k²t/2}. 400 replicas."""
    law = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.5)
    model = cs.LimitSDE(attention=None, field=noise(2).field, horizon=0.3, n_steps=60)
    modes = cs.CircleDensity(model=model, law=law, n_modes=192).solve(rng=4, n_replicas=400).modes[0]
    kernel = model.field.kernel
    angle = 2 * np.pi * np.arange(64) / 64
    p = law.density(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    p = np.array([p @ np.roll(p, j) for j in range(64)])
    start = special.iv(np.arange(4), 1.5) / special.iv(0, 1.5)
    for k in (1, 2, 3):
        exact = two_point.expectation(
            kernel, lambda u, k=k: np.cos(k * np.arccos(u)), 0.3, u0=(np.cos(angle), p / p.sum())
        )
        one = start[k] * np.exp(-0.5 * kernel(1.0) * k**2 * 0.3)
        for values, mean in ((np.abs(modes[:, k]) ** 2, exact), (modes[:, k].real, one), (modes[:, k].imag, 0.0)):
            assert abs(values.mean() - mean) < ALLOWED * values.std(ddof=1) / 20


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"model": cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=2)},
            ValueError,
            r"model must be a LimitSDE with a GaussianField and without attention",
        ),
        ({"n_replicas": 1}, ValueError, r"n_replicas must be an integer >= 2, got 1"),
        ({"times": [2.0]}, ValueError, r"save_at must increase within \[0, 1\]"),
    ],
)
def test_bad_input(changes, error, message):
    options = {"model": noise(2), "functions": FUNCTIONS, "times": [1.0], "rng": 0, "n_replicas": 2, "n_nodes": 8}
    options |= changes
    with pytest.raises(error, match=message):
        pair_law(options.pop("model"), cs.laws.Uniform(dim=2), **options)
