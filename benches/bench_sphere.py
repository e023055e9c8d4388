"""Densities on S²: transforms by ducc0 beside the library's own harmonics, and a step beside one of tokens."""

import numpy as np
import pytest
import registry

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise
from chaosphere.geometry import sphere_grid
from chaosphere.geometry.harmonics import HarmonicBasis
from chaosphere.geometry.sphere_grid import SphereGrid
from chaosphere.models.protocol import StepContext

pytest.importorskip("ducc0", reason='the transforms need the extra "sphere"')
DEGREES = [8] if registry.IS_QUICK else [16, 32, 64, 128]
N_MODES, N_STEPS = (24, 1) if registry.IS_QUICK else (48, 10)
N_TOKENS = [600] if registry.IS_QUICK else [16384, 65536]


@pytest.mark.parametrize("library", ["ducc0", "harmonics"])
@pytest.mark.parametrize("direction", ["values", "modes"])
@pytest.mark.parametrize("degree", DEGREES)
def test_transforms(benchmark, degree, direction, library):
    """From all modes up to a degree to the values of a function at the points of the solver's grid, and back."""
    benchmark.group = f"{direction} of degree {degree}"
    grid, basis = SphereGrid(degree, n_exact=3 * degree, n_threads=registry.THREADS), HarmonicBasis(dim=3, n_max=degree)
    x = grid.points[None]
    f = np.exp(x[0] @ [0.5, -0.2, 0.3])
    own = basis.moments(x, grid.weights * f)[:, :, None]
    calls = {
        ("values", "ducc0"): lambda: grid.values(grid_modes),
        ("values", "harmonics"): lambda: basis.ratios(x, own, n_threads=registry.THREADS)[1],
        ("modes", "ducc0"): lambda: grid.modes(f),
        ("modes", "harmonics"): lambda: basis.moments(x, grid.weights * f, n_threads=registry.THREADS),
    }
    grid_modes = grid.modes(f)
    call = calls[direction, library]
    benchmark.pedantic(call, rounds=1 if registry.IS_QUICK else 5, warmup_rounds=1)
    result = call()
    if direction == "values":
        assert np.abs(result.ravel() - f).max() < 1e-7
    else:
        # Sums of squares of a degree depend on no choice of the harmonics.
        size = sphere_grid.sizes(result, degree) if library == "ducc0" else None
        if size is None:
            size = np.sqrt(np.bincount(basis.degrees, weights=result.ravel() ** 2))
        assert np.abs(size - sphere_grid.sizes(grid_modes, degree)).max() < 1e-12
    benchmark.extra_info.update({"degree": degree, "n_points": grid.n_points, "threads": registry.THREADS})


def model(n_steps):
    kernel = cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(3)
    return cs.LimitSDE(
        attention=cs.SoftmaxAttention(beta=2.0),
        field=cs.GaussianField(kernel=kernel.scaled(0.5)),
        horizon=0.01 * n_steps,
        n_steps=n_steps,
        temperature=0.1,
    )


LAW = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0, 0.0), concentration=1.0)


def test_step_of_a_density(benchmark):
    """Some steps of both resolutions, with the noise and the checks; tokens take one at a time, below."""
    benchmark.group = "step"
    limit = cs.SphereDensity(model=model(n_steps=N_STEPS), law=LAW, n_modes=N_MODES)
    sol = benchmark.pedantic(
        limit.solve,
        kwargs={"rng": 0, "n_threads": registry.THREADS},
        rounds=1 if registry.IS_QUICK else 5,
        warmup_rounds=1,
    )
    assert sol.modes[0, 0, 0] == 1
    assert sol.errors[0] < 1e-5
    seconds = benchmark.stats.stats.median / N_STEPS
    benchmark.extra_info.update({"seconds per step": seconds, "n_modes": N_MODES, "threads": registry.THREADS})


@pytest.mark.parametrize("n_tokens", N_TOKENS)
def test_step_of_tokens(benchmark, n_tokens):
    benchmark.group = "step"
    x = LAW.sample(n_tokens, rng=0)[None]
    plan, context = model(1).plan(Shape.of(x)), StepContext(noise=Noise(0), n_threads=registry.THREADS)
    y = benchmark(plan.advance, x, range(1), context)
    assert np.abs(np.linalg.norm(y, axis=-1) - 1).max() < 1e-14
    benchmark.extra_info.update({"n_tokens": n_tokens, "threads": registry.THREADS})
