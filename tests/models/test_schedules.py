"""Parameters that change over time: a number, one number for each step, or a function of t."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support import cases

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, root
from chaosphere.models.protocol import StepContext
from chaosphere.models.schemes import SCHEMES
from chaosphere.simulation import identity

MLP = cs.MLP(width=8, activation="tanh", bias_std=0.3)
FIELD = cs.GaussianField(kernel=MLP.kernel(3), tolerance=1e-3)
X = cs.sample_uniform(6, 3, rng=0, n_replicas=2)
SCHEMES_WITH_NOISE = [name for name, scheme in SCHEMES.items() if scheme.strong_order is not None]


def attention(**settings):
    return cs.SoftmaxAttention(**({"beta": 2.0, "value_scale": 0.5} | settings))


def transformer(**changes):
    options = {"attention": attention(), "mlp": MLP, "depth": 8, "horizon": 1.0}
    return cs.Transformer(**(options | changes))


def equation(scheme="projected-euler", **changes):
    options = {"attention": attention(), "field": FIELD, "horizon": 1.0, "n_steps": 8, "scheme": scheme}
    return cs.LimitSDE(**(options | changes))


def final(model, x=X, **options):
    return cs.simulate(model, x, rng=1, **options).final


def weighted(model, x, weights):
    """The tokens (R, N, d) at the end of a run, with weights, by the plan alone."""
    plan, context = model.plan(Shape.of(x), weights), StepContext(noise=Noise(root(1)), n_threads=1)
    for step in range(model.n_steps):
        x = plan.advance(x, range(step, step + 1), context)
    return x


def constant(number, form):
    return {"function": lambda t: number, "list": [number] * 8, "array": np.full(8, number)}[form]


MODELS = {"transformer": transformer} | {
    name: lambda name=name, **changes: equation(name, **changes) for name in SCHEMES_WITH_NOISE
}


@pytest.mark.parametrize("form", ["function", "list", "array"])
@pytest.mark.parametrize("name", MODELS)
def test_constant_schedules_are_numbers_to_the_bit(name, form):
    make = MODELS[name]
    for settings in ({"noise_scale": 0.7}, {"noise_scale": 0.0}, {}):
        expected = final(make(attention=attention(), **settings))
        scheduled = {key: constant(number, form) for key, number in settings.items()}
        assert (final(make(attention=attention(), **scheduled)) == expected).all()
        for beta, value_scale in ((constant(2.0, form), 0.5), (2.0, constant(0.5, form))):
            other = make(attention=attention(beta=beta, value_scale=value_scale), **scheduled)
            assert (final(other) == expected).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"query": np.diag([1.0, 2.0, 3.0]), "key": np.eye(3), "beta": None},
        {"mask": "causal"},
        {"method": "harmonic"},
        {"output": np.ones((3, 1)), "value": np.ones((1, 3)), "value_scale": None, "method": "direct"},
    ],
)
def test_every_kind_of_attention(settings):
    """The schedule passes through the same kernels as the numbers do: β, δ or both, at every layer."""
    numbers = attention(**settings)
    changing = {
        name: [getattr(numbers, name)] * 8 for name in ("beta", "value_scale") if getattr(numbers, name) is not None
    }
    x = cs.sample_uniform(40, 3, rng=0)
    expected = final(transformer(attention=numbers), x)
    assert (final(transformer(attention=replace(numbers, **changing)), x) == expected).all()
    heads = cs.MultiHeadAttention(heads=[replace(numbers, **changing), cs.UnnormalizedAttention(beta=1.0)])
    plain = cs.MultiHeadAttention(heads=[numbers, cs.UnnormalizedAttention(beta=1.0)])
    assert (final(transformer(attention=heads), x) == final(transformer(attention=plain), x)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [5, 700])
def test_a_layer_sees_the_middle_of_its_time(n, dtype):
    """A run with schedules is the runs of its layers one after the other, each with numbers."""
    x = cs.normalize(cases.tokens(n, 3, dtype, n_replicas=2))
    functions = {"beta": lambda t: 1 + 4 * t, "value_scale": lambda t: math.cos(3 * t)}
    model = transformer(attention=attention(**functions), mlp=None, depth=4)
    y = x
    for t in (0.125, 0.375, 0.625, 0.875):
        numbers = {name: function(t) for name, function in functions.items()}
        y = final(transformer(attention=attention(**numbers), mlp=None, depth=1, horizon=0.25), y)
    assert (final(model, x) == y).all()
    lists = {name: [function(t) for t in (0.125, 0.375, 0.625, 0.875)] for name, function in functions.items()}
    assert (final(transformer(attention=attention(**lists), mlp=None, depth=4), x) == y).all()
    weights, y = cases.weights(n), x
    for t in (0.125, 0.375, 0.625, 0.875):
        numbers = {name: function(t) for name, function in functions.items()}
        y = weighted(transformer(attention=attention(**numbers), mlp=None, depth=1, horizon=0.25), y, weights)
    assert (weighted(model, x, weights) == y).all()


def test_the_noise_of_a_layer_has_its_own_strength():
    """Zero from half time on: the rest of the run moves nothing. The draws are those of the constant strength."""
    model = transformer(attention=None, noise_scale=[1.0] * 4 + [0.0] * 4)
    sol = cs.simulate(model, X, rng=1)
    assert (sol.final == cs.simulate(replace(model, noise_scale=1.0), X, rng=1, save_at=[0.5]).states[0]).all()
    assert model.noise_scales().tolist() == [1.0] * 4 + [0.0] * 4
    middle = [(k + 0.5) / 8 for k in range(8)]
    assert transformer(noise_scale=lambda t: t).noise_scales().tolist() == middle
    assert equation(noise_scale=lambda t: t).noise_scales().tolist() == middle
    as_function, as_list = (final(transformer(noise_scale=form)) for form in (lambda t: t, middle))
    assert (as_function == as_list).all()


def test_noise_scale_of_the_equation_is_that_of_the_kernel():
    scaled = cs.GaussianField(kernel=MLP.kernel(3).scaled(0.6), tolerance=1e-3)
    for scheme in SCHEMES_WITH_NOISE:
        np.testing.assert_allclose(
            final(equation(scheme, noise_scale=0.6)), final(equation(scheme, field=scaled)), atol=1e-12
        )


def test_mean_field_limits_take_the_schedules_of_their_model():
    changing = {"beta": lambda t: 1 + t, "value_scale": [0.5 + k / 8 for k in range(8)]}
    model = transformer(attention=attention(**changing), noise_scale=lambda t: 1 - t / 2)
    limit = cs.MeanField(model=model, law=cs.laws.Uniform(dim=3), n_nodes=60)
    nodes = limit.start()
    assert (final(limit, nodes) == weighted(model, nodes[None], limit.weights)[0]).all()


def test_limits_under_a_mask_take_schedules():
    limits = [
        cs.MeanField(model=transformer(attention=masked), law=cs.laws.Uniform(dim=3), n_nodes=60)
        for masked in (attention(mask="causal"), attention(mask="causal", beta=lambda t: 2.0, value_scale=[0.5] * 8))
    ]
    one, two = (final(limit, limit.start()) for limit in limits)
    assert (one == two).all()


def test_densities_on_the_circle_take_a_noise_scale():
    field = cs.GaussianField(kernel=MLP.kernel(2))
    options = {"attention": None, "horizon": 0.1, "n_steps": 4}
    scaled = cs.LimitSDE(field=cs.GaussianField(kernel=MLP.kernel(2).scaled(0.6)), **options)
    changing = cs.LimitSDE(field=field, noise_scale=lambda t: 0.6, **options)
    one, two = (
        cs.CircleDensity(model=model, law=cs.laws.Uniform(dim=2), n_modes=32).solve(rng=0).modes
        for model in (scaled, changing)
    )
    np.testing.assert_allclose(one, two, atol=1e-12)
    model = replace(changing, attention=attention(value_scale=lambda t: t))
    with pytest.raises(ValueError, match="value_scale must be a number here"):
        cs.CircleDensity(model=model, law=cs.laws.Uniform(dim=2), n_modes=32)


class Alone:
    """The only process of one system."""

    first, stop = 0, 6

    def gather(self, own):
        return own


@pytest.mark.parametrize("make", [transformer, equation])
def test_processes_that_share_a_system(make):
    model = make(attention=cs.MultiHeadAttention(heads=[attention(beta=lambda t: 1 + t)]))
    shared = model.plan(Shape.of(X)).distribute(Alone())
    context = StepContext(noise=Noise(root(1), n_replicas=2), n_threads=1)
    x = X
    for step in range(8):
        x = shared.advance(x, range(step, step + 1), context)
    assert (x == final(model)).all()


def test_exponents_along_a_run_see_the_schedules():
    """Under repulsion alone, near consensus, the distance grows at the rate |δ|: its mean over the run."""
    model = transformer(attention=attention(value_scale=lambda t: -2 * t), mlp=None, depth=400)
    x = cs.normalize(np.eye(3)[0] + 1e-9 * cs.sample_uniform(5, 3, rng=0))
    y = final(model, x)
    growth = np.log(np.linalg.norm(y[0] - y[1]) / np.linalg.norm(x[0] - x[1]))
    assert growth == pytest.approx(1.0, abs=0.01)
    steady = replace(model, attention=attention(value_scale=-1.0))
    one, two = (cs.measures.lyapunov_exponent(each, x, rng=0) for each in (model, steady))
    assert one == pytest.approx(two, abs=0.01)
    assert one > 0.5


@pytest.mark.parametrize(("scheme", "order"), [("rk4", 4), ("heun", 2), ("projected-euler", 1), ("split", 1)])
def test_orders_of_the_deterministic_schemes(scheme, order):
    """Errors against a fine rk4 run, for β and δ that are smooth functions of t."""
    x = cs.sample_uniform(20, 4, rng=0)
    smooth = cs.SoftmaxAttention(beta=lambda t: 2 + math.sin(3 * t), value_scale=lambda t: math.cos(2 * t))
    fine = cs.LimitSDE(attention=smooth, field=None, horizon=2.0, n_steps=512, scheme="rk4")
    reference = final(fine, x)
    counts = (16, 32, 64) if order == 4 else (64, 128, 256)
    errors = [abs(final(replace(fine, scheme=scheme, n_steps=n), x) - reference).max() for n in counts]
    assert (abs(-np.diff(np.log2(errors)) - order) < 0.25).all()


def test_coarsening_keeps_functions_and_refuses_lists():
    model = transformer(attention=attention(beta=lambda t: 1 + t), noise_scale=lambda t: 1 + t)
    assert model.coarsen(4).noise_scales().tolist() == [1.25, 1.75]
    for changes in ({"noise_scale": [1.0] * 8}, {"attention": attention(beta=[1.0] * 8)}):
        for fine in (transformer(**changes), equation(**changes)):
            with pytest.raises(ValueError, match=r"must have one number for each of the 2 steps, got 8"):
                fine.coarsen(4)


def test_identity_tells_schedules_apart():
    def described(**settings):
        return identity.describe(transformer(**settings))

    one, two = (lambda t: 1 + t), (lambda t: 1 + 2 * t)
    for first, second in ((one, two), ([1.0] * 8, [1.0] * 7 + [2.0]), (1.0, one)):
        assert described(noise_scale=first) != described(noise_scale=second)
        assert described(attention=attention(beta=first)) != described(attention=attention(beta=second))
    assert described(noise_scale=one) == described(noise_scale=lambda t: 1 + t)
    assert "noise_scale" not in identity.describe(equation())  # results of before the field was there


def test_a_checkpoint_resumes_a_run_with_schedules(tmp_path):
    model = transformer(attention=attention(value_scale=lambda t: 1 - t), noise_scale=[1.0] * 4 + [0.5] * 4)
    file = cs.Checkpoint(path=tmp_path / "run.npz", every_steps=1, keep=True)

    def stop(time, x):
        if time >= 0.5:
            raise KeyboardInterrupt
        return 0.0

    stop.version = 1

    def pass_on(time, x):
        return 0.0

    pass_on.version = 1
    pass_on.__qualname__ = stop.__qualname__
    with pytest.raises(KeyboardInterrupt):
        cs.simulate(model, X, rng=1, checkpoint=file, observe={"a": stop})
    resumed = cs.simulate(model, X, rng=1, checkpoint=file, observe={"a": pass_on})
    assert (resumed.final == final(model)).all()
    with pytest.raises(ValueError, match="noise_scale"):
        cs.simulate(replace(model, noise_scale=1.0), X, rng=1, checkpoint=file, observe={"a": pass_on})


def test_at():
    changing = attention(beta=[1.0, 3.0], value_scale=lambda t: -t)
    assert changing.at(0.5, step=1) == cs.SoftmaxAttention(beta=3.0, value_scale=-0.5)
    assert attention().at(0.5) == attention()
    assert changing.consensus_rate is None
    assert attention(beta=[1.0, 3.0]).consensus_rate == 0.5


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: transformer(noise_scale=[1.0] * 7), ValueError, r"noise_scale must have one number for each of the 8"),
        (lambda: transformer(noise_scale=[]), ValueError, "noise_scale must be a number, a list"),
        (lambda: transformer(noise_scale=np.ones((8, 1))), ValueError, "noise_scale must be a number, a list"),
        (lambda: transformer(noise_scale=[1.0] * 7 + [-1.0]), ValueError, r"noise_scale\[7\] must be .* >= 0"),
        (lambda: transformer(noise_scale=lambda t: 0.5 - t), ValueError, r"noise_scale at time 0.5625 must be .* >= 0"),
        (lambda: transformer(noise_scale=lambda t: "1"), TypeError, "noise_scale at time 0.0625 must be a real number"),
        (lambda: transformer(noise_scale="1"), TypeError, "noise_scale must be a real number"),
        (lambda: equation(noise_scale=lambda t: math.nan), ValueError, "noise_scale at time 0.0625"),
        (lambda: equation(noise_scale=1e60), ValueError, "noise_scale must be a finite number >= 0 and <= 1e"),
        (lambda: equation(attention=attention(beta=[1.0])), ValueError, "beta must have one number for each of the 8"),
        (lambda: transformer(attention=attention(beta=lambda t: math.inf)), ValueError, "beta at time 0.0625"),
        (lambda: transformer(attention=attention(beta=lambda t: 1e20)), ValueError, "beta must be <="),
        (lambda: attention(value_scale=[1.0, math.inf]), ValueError, r"value_scale\[1\] must be a finite number"),
        (lambda: attention(beta=[1.0], query=np.eye(3), key=np.eye(3)), ValueError, "beta must not be given together"),
        (lambda: attention(beta=[1.0, 2.0], method="nufft", mask="causal"), ValueError, "method must not be 'nufft'"),
        (lambda: attention(beta=[1.0, 2.0])(X), ValueError, r"beta must be a number here.*attention.at\(time\)"),
        (lambda: attention(value_scale=[1.0]).energy(X), ValueError, "value_scale must be a number here"),
        (lambda: attention(value_scale=[1.0]).energy_growth(1.0), ValueError, "value_scale must be a number here"),
        (lambda: attention(beta=[1.0]).at(0.0, step=1), ValueError, "step must be below 1, the length of beta, got 1"),
        (lambda: attention(beta=[1.0]).at(-1.0), ValueError, "time must be a finite number >= 0"),
        (lambda: attention(beta=[1.0]).plan(Shape.of(X)).drift(X, n_threads=1), ValueError, "at a time alone"),
        (
            lambda: cs.coupled_run(transformer(noise_scale=[1.0] * 8), X, rng=0),
            ValueError,
            "model must have a noise_scale that is one number",
        ),
        (
            lambda: transformer(attention=cs.MultiHeadAttention(heads=[attention(beta=[1.0])])),
            ValueError,
            "beta must have one number",
        ),
    ],
)
def test_bad_input(call, error, text):
    with pytest.raises(error, match=text):
        call()
