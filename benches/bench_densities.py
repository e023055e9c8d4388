"""Solvers of densities, each beside tokens of equal error.

The error of tokens is the standard deviation of the order parameter of N independent tokens of the law at the end,
σ/√N with σ² the variance of the cosine with the axis under the solver's density. N is the number at which that is
TOLERANCE[d]; the solver's own estimate of its error must be below a tenth of it. Both go over the same short time in
the same steps.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import registry

import chaosphere as cs

# Of the order parameter; beyond d = 3 there are no fast sums for so many tokens.
TOLERANCE = dict.fromkeys((2, 3, 8), 2e-2) if registry.IS_QUICK else {2: 1e-3, 3: 1e-3, 8: 5e-3}
TEMPERATURE, N_STEPS, HORIZON = 0.1, 4, 1 / 16
ATTENTION = cs.SoftmaxAttention(beta=2.0)
DIMS = [3] if registry.IS_QUICK else [3, 8]


def law_of(dim):
    return cs.laws.VonMisesFisher(mean_direction=(1.0, *[0.0] * (dim - 1)), concentration=1.0)


def law_of_state(state):
    bound = 1.01 * float(state.density([1.0])[0])
    return cs.laws.Density(function=lambda x: state.density(np.clip(x[:, 0], -1, 1)), dim=state.dim, bound=bound)


def equation(dim, *, has_field=False):
    kernel = cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(dim)
    return cs.LimitSDE(
        attention=ATTENTION,
        field=cs.GaussianField(kernel=kernel) if has_field else None,
        horizon=HORIZON,
        n_steps=N_STEPS,
        temperature=TEMPERATURE,
        scheme="heun",
    )


def n_tokens(first, second, *, dim):
    """Return N from the modes ∫ P_1 dμ and ∫ P_2 dμ."""
    variance = ((dim - 1) * second + 1) / dim - first**2
    return math.ceil(variance / TOLERANCE[dim] ** 2)


def run_tokens(benchmark, model, x):
    """Time the tokens, and return their mean at the end."""
    options = {"rng": 0, "n_threads": registry.THREADS, "save_states": False}
    rounds = {"rounds": 1 if registry.IS_QUICK else 3}
    sol = benchmark.pedantic(cs.simulate, args=(model, x), kwargs=options, **rounds)
    benchmark.extra_info.update(
        {"n_tokens": len(x), "dim": x.shape[1], "n_steps": N_STEPS, "tolerance": TOLERANCE[x.shape[1]]}
    )
    return cs.measures.mean_vector(sol.final)


def circle(n_modes=128):
    return cs.CircleDensity(model=equation(2, has_field=True), law=law_of(2), n_modes=n_modes)


def test_circle_density(benchmark):
    sol = benchmark(circle().solve, rng=0, n_threads=registry.THREADS)
    error = np.abs(sol.modes[-1, :65] - circle(64).solve(rng=0).modes[-1]).max()
    benchmark.extra_info.update({"n_modes": 128, "n_steps": N_STEPS, "error by half as many modes": float(error)})
    assert error < 0.1 * TOLERANCE[2]


def test_tokens_beside_circle_density(benchmark):
    """Both see one common noise; the steps' error under it is part of the bound."""
    modes = circle().solve(rng=0).modes[-1]
    # Up to the turn of the axis by the noise, which is small in this time.
    n = n_tokens(abs(modes[1]), abs(modes[2]), dim=2)
    mean = run_tokens(benchmark, equation(2, has_field=True), law_of(2).sample(n, rng=1))
    assert abs(mean[0] - 1j * mean[1] - modes[1]) < 8 * TOLERANCE[2]


def axisymmetric(dim):
    return cs.AxisymmetricDensity(model=equation(dim), law=law_of(dim), n_modes=48)


@pytest.mark.parametrize("dim", DIMS)
def test_axisymmetric_density(benchmark, dim):
    sol = benchmark(axisymmetric(dim).solve)
    benchmark.extra_info.update({"n_modes": 48, "dim": dim, "n_steps": N_STEPS, "error": float(sol.errors[-1])})
    assert sol.errors[-1] < 0.1 * TOLERANCE[dim]


@pytest.mark.parametrize("dim", DIMS)
def test_tokens_beside_axisymmetric_density(benchmark, dim):
    modes = axisymmetric(dim).solve().modes[-1]
    mean = run_tokens(benchmark, equation(dim), law_of(dim).sample(n_tokens(*modes[1:3], dim=dim), rng=1))
    assert abs(mean[0] - modes[1]) < 6 * TOLERANCE[dim]


@pytest.mark.parametrize("dim", DIMS)
def test_branch(benchmark, dim):
    """All states down to half of the critical temperature; a state must be stationary for the solver of densities."""
    branch = benchmark(cs.phases.branch, ATTENTION, dim)
    benchmark.extra_info.update({"n_states": len(branch.temperatures), "n_modes": branch.modes.shape[1] - 1})
    temperature = 0.6 * branch.critical_temperature
    (state,) = branch.states_at(temperature)
    model = replace(equation(dim), temperature=temperature)
    end = cs.AxisymmetricDensity(model=model, law=law_of_state(state), n_modes=48).solve().modes[-1]
    error = abs(end[1] - state.order_parameter)
    benchmark.extra_info["change of the order parameter"] = float(error)
    assert error < 1e-8


@pytest.mark.parametrize("dim", DIMS)
def test_tokens_beside_branch(benchmark, dim):
    """Tokens of one state, for a short time in which their order parameter must stay."""
    critical = cs.theory.critical_temperature(ATTENTION, dim)
    (state,) = cs.phases.branch(ATTENTION, dim, lowest=0.7 * critical).states_at(0.8 * critical)
    model = replace(equation(dim), temperature=0.8 * critical)
    mean = run_tokens(benchmark, model, law_of_state(state).sample(n_tokens(*state.modes[1:3], dim=dim), rng=1))
    assert abs(mean[0] - state.order_parameter) < 6 * TOLERANCE[dim]
