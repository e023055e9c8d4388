"""Every model takes every interaction: closed forms, runs over several processes, ensembles and study files."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from support.shares import Share

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.models.densities import moments
from chaosphere.models.schemes import SCHEMES

SMOOTH = cs.laws.VonMisesFisher(mean_direction=(1.0, 0.0), concentration=1.0)


def equiangular(n, cosine):
    """n unit vectors in R^n with equal cosines."""
    return np.linalg.cholesky((1 - cosine) * np.eye(n) + cosine)


def slope(kind, n, beta):
    """Of the cosine of n tokens with equal cosines: drifts are a multiple of the sum of the others.

    The sums of their coefficients are equal, so that doubly stochastic attention is softmax attention.
    """

    def softmax(_, rho):
        e = np.exp(beta * rho)
        return 2 * e * (1 - rho) * ((n - 1) * rho + 1) / (math.exp(beta) + (n - 1) * e)

    def unnormalized(_, rho):
        return 2 / n * np.exp(beta * rho) * (1 - rho) * ((n - 1) * rho + 1)

    def rescaled(_, rho):
        return math.exp(-beta) * unnormalized(_, rho)

    return {"softmax": softmax, "unnormalized": unnormalized, "rescaled": rescaled, "sinkhorn": softmax}[kind]


ATTENTIONS = {
    "softmax": cs.SoftmaxAttention,
    "unnormalized": cs.UnnormalizedAttention,
    "rescaled": lambda **options: cs.UnnormalizedAttention(rescaled=True, **options),
    "sinkhorn": cs.SinkhornAttention,
}


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("beta", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("n", "cosine"), [(2, -0.9), (2, 0.2), (3, -0.4), (8, 0.0), (8, 0.5)])
def test_equiangular_tokens(kind, beta, n, cosine):
    horizon = 0.1 if kind == "unnormalized" else 1.0
    exact = solve_ivp(slope(kind, n, beta), (0.0, horizon), [cosine], method="DOP853", rtol=1e-12, atol=1e-13).y[0, -1]
    model = cs.LimitSDE(attention=ATTENTIONS[kind](beta=beta), field=None, horizon=horizon, n_steps=200, scheme="rk4")
    final = cs.simulate(model, equiangular(n, cosine), rng=0).final
    cosines = cs.measures.pairwise_cosines(final)
    assert abs(exact - cosine) > 1e-4
    np.testing.assert_allclose(cosines, exact, rtol=0, atol=1e-9)


def models(attention):
    mlp = cs.MLP(width=8, activation="tanh", bias_std=0.3)
    field = cs.GaussianField(kernel=mlp.kernel(3), tolerance=1e-2)
    options = {"attention": attention, "horizon": 1.0}
    yield "network", cs.Transformer(**options, mlp=mlp, depth=12)
    yield "attention alone", cs.Transformer(**options, mlp=None, depth=12)
    for name, scheme in SCHEMES.items():
        noise = None if scheme.strong_order is None else field
        yield name, cs.LimitSDE(**options, field=noise, n_steps=12, scheme=name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_unnormalised_attention_in_every_model(dtype):
    """It runs; tracers at nodes follow them; the rescaled drift in time e^β T is the other in time T."""
    x = cs.sample_uniform(40, 3, rng=0, n_replicas=2).astype(dtype)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    for name, model in models(cs.UnnormalizedAttention(beta=2.0)):
        final = cs.simulate(model, x, rng=0).final
        assert final.dtype == dtype
        assert np.array_equal(cs.simulate(model, x, rng=0, n_threads=1).final, final), name
        assert cs.simulate(model, x, rng=0).attributes["model"]["attention"]["type"] == "UnnormalizedAttention"
        limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=3), n_nodes=60)
        followed = cs.simulate(
            limit, limit.start(limit.nodes.astype(dtype)), rng=0
        ).final  # tracers that start at nodes
        np.testing.assert_allclose(*np.split(followed, 2), rtol=0, atol=tolerance, err_msg=name)
    plain, rescaled = (
        cs.LimitSDE(
            attention=cs.UnnormalizedAttention(beta=2.0, rescaled=flag), field=None, horizon=t, n_steps=12, scheme="rk4"
        )
        for flag, t in ((False, 0.5), (True, 0.5 * math.exp(2.0)))
    )
    ends = (cs.simulate(model, x, rng=0).final for model in (plain, rescaled))
    np.testing.assert_allclose(*ends, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_doubly_stochastic_attention_in_every_model(dtype):
    """It runs, with any number of threads; tracers at nodes follow them."""
    x = cs.sample_uniform(40, 3, rng=0, n_replicas=2).astype(dtype)
    for name, model in models(cs.SinkhornAttention(beta=2.0)):
        solution = cs.simulate(model, x, rng=0)
        assert solution.final.dtype == dtype
        assert np.array_equal(cs.simulate(model, x, rng=0, n_threads=1).final, solution.final), name
        recorded = solution.attributes["model"]["attention"]
        assert recorded["type"] == "SinkhornAttention"
        assert recorded["tolerance"] == (1e-12 if dtype == np.float64 else 1e-6)
        limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=3), n_nodes=60)
        followed = cs.simulate(limit, limit.start(limit.nodes.astype(dtype)), rng=0).final
        tolerance = 1e-11 if dtype == np.float64 else 1e-4
        np.testing.assert_allclose(*np.split(followed, 2), rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize(("beta", "value_scale"), [(0.0, 1.0), (1.0, 1.0), (3.0, -0.5)])
def test_densities_agree_with_nodes(beta, value_scale, rescaled):
    law = cs.laws.Mixture(
        components=(SMOOTH, cs.laws.VonMisesFisher(mean_direction=(0.0, 1.0), concentration=4.0)),
        proportions=(0.5, 0.5),
    )
    attention = cs.UnnormalizedAttention(beta=beta, value_scale=value_scale, rescaled=rescaled)
    compare_with_nodes(attention, law, horizon=0.5 if rescaled or beta < 1 else 0.1)


@pytest.mark.parametrize(
    ("beta", "value_scale"),
    [
        (0.0, 1.0),
        pytest.param(1.0, 1.0, marks=pytest.mark.slow),
        (10.0, -0.5),
        pytest.param(30.0, 1.0, marks=pytest.mark.slow),
    ],
)
def test_doubly_stochastic_densities_agree_with_nodes(beta, value_scale):
    compare_with_nodes(cs.SinkhornAttention(beta=beta, value_scale=value_scale), SMOOTH, horizon=0.5)


def compare_with_nodes(attention, law, *, horizon):
    model = cs.LimitSDE(attention=attention, field=None, horizon=horizon, n_steps=50, scheme="rk4")
    limit = cs.MeanField(model=model, law=law, n_nodes=256)
    nodes = moments(cs.simulate(limit, limit.start(), rng=0).final, 4, weights=limit.weights)
    density = cs.CircleDensity(model=model, law=law, n_modes=128).solve(rng=0)
    np.testing.assert_allclose(density.modes[0, :5], nodes, rtol=0, atol=1e-9)


def test_a_drift_that_is_too_fast_for_a_density_is_refused():
    for rescaled in (False, True):
        attention = cs.UnnormalizedAttention(beta=30.0, rescaled=rescaled)
        model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=100)
        if rescaled:
            cs.CircleDensity(model=model, law=SMOOTH, n_modes=64)
        else:
            with pytest.raises(
                ValueError, match=r"at most 16777216 substeps a step, got .*may reach 1.07e\+13; scale it"
            ):
                cs.CircleDensity(model=model, law=SMOOTH, n_modes=64)


def test_densities_under_common_noise_agree_with_nodes():
    """Under one noise and step the two differ by the order of the step."""
    field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh", bias_std=0.3).kernel(2))
    gaps = []
    for n_steps in (64, 512):
        attention = cs.UnnormalizedAttention(beta=1.0)
        model = cs.LimitSDE(attention=attention, field=field, horizon=0.25, n_steps=n_steps, scheme="heun")
        density = cs.CircleDensity(model=model, law=SMOOTH, n_modes=128).solve(rng=0, n_replicas=8).modes[0, :, 1]
        limit = cs.MeanField(model=model, law=SMOOTH, n_nodes=128)
        nodes = cs.simulate(limit, np.tile(limit.start(), (8, 1, 1)), rng=0).final
        gaps.append(np.abs(moments(nodes, 1, weights=limit.weights)[:, 1] - density).max())
    assert gaps[1] < 0.3 * gaps[0] < 0.01


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_models_are_shared_between_processes(kind):
    from chaosphere.common.streams import Noise
    from chaosphere.models.protocol import StepContext

    x = cs.sample_uniform(100, 3, rng=0, n_replicas=2)
    for name, model in models(ATTENTIONS[kind](beta=2.0)):
        if name not in ("network", "attention alone", "euler"):
            continue
        plan = model.plan(Shape.of(x))
        context = StepContext(noise=Noise(0, n_replicas=2), n_threads=1)
        after = plan.advance(x, range(1), context)
        for first, stop in [(0, 32), (32, 100)]:
            mine = plan.distribute(Share(x, first, stop)).advance(x[:, first:stop].copy(), range(1), context)
            assert np.array_equal(mine, after[:, first:stop]), name


def test_ensembles(tmp_path):
    def model(beta):
        attention = cs.UnnormalizedAttention(beta=beta, rescaled=True)
        return cs.Transformer(attention=attention, mlp=cs.MLP(width=8), depth=5, horizon=1.0)

    options = {"n_tokens": 6, "sweep": {"beta": [1.0, 3.0]}, "seeds": [0, 1], "observe": {"r": observed}}
    store = tmp_path / "a.zarr"
    data = cs.ensemble(model, cs.laws.Uniform(dim=3), **options, store=store)
    assert data["r"].sizes["beta"] == 2
    alone = cs.simulate(model(3.0), cs.laws.Uniform(dim=3).sample(6, rng=1), rng=1)
    assert np.isfinite(alone.final).all()
    assert cs.load_ensemble(store)["r"].equals(data["r"])


def observed(time, x):
    return cs.measures.order_parameter(x)
