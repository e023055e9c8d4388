"""Every interaction with β or δ takes numbers of each step and functions of time, as softmax attention does."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support import cases

import chaosphere as cs
from chaosphere.common.shape import Shape
from chaosphere.models.schemes import SCHEMES
from chaosphere.simulation import identity

MLP = cs.MLP(width=8, activation="tanh", bias_std=0.3)
FIELD = cs.GaussianField(kernel=MLP.kernel(3), tolerance=1e-3)
X = cs.sample_uniform(12, 3, rng=0, n_replicas=2)
SEQUENCES = {
    "beta": [2.0, 0.0, 1.0, 3.0, 0.5, 2.0, 4.0, 1.0],
    "value_scale": [0.5, -0.5, 1.0, 0.0, 2.0, 0.3, -1.0, 0.7],
}
SMOOTH = {"beta": lambda t: 1 + 0.5 * math.sin(3 * t), "value_scale": lambda t: math.cos(2 * t)}


def distances(value_scale):
    return cs.L2Attention(query=np.eye(3), key=np.diag([1.0, 2.0, 0.5]), value_scale=value_scale)


def heads(beta, value_scale):
    return cs.MultiHeadAttention(
        heads=[
            cs.UnnormalizedAttention(beta=beta, value_scale=0.3),
            cs.SinkhornAttention(beta=0.7, value_scale=value_scale),
            cs.PotentialInteraction([0.0, 0.0, 0.5]),
        ]
    )


# Of each interaction, a function of its parameters that may change.
KINDS = {
    "softmax": cs.SoftmaxAttention,
    "unnormalized": cs.UnnormalizedAttention,
    "rescaled": lambda **settings: cs.UnnormalizedAttention(rescaled=True, **settings),
    "causal": lambda **settings: cs.UnnormalizedAttention(mask="causal", decay=1.0, **settings),
    "harmonic": lambda **settings: cs.UnnormalizedAttention(method="harmonic", rtol=1e-8, **settings),
    "sinkhorn": cs.SinkhornAttention,
    "l2": distances,
    "heads": heads,
}
SINGLE = [name for name in KINDS if name != "heads"]
NOISY = [name for name, scheme in SCHEMES.items() if scheme.strong_order is not None]


def settings_of(name, numbers):
    return {key: numbers[key] for key in ("value_scale",) if key in numbers} if name == "l2" else dict(numbers)


def make(name, numbers):
    return KINDS[name](**settings_of(name, numbers))


def layers(name):
    """The same sequences as an interaction of each step."""
    return [make(name, {key: values[k] for key, values in SEQUENCES.items()}) for k in range(8)]


def transformer(attention, **changes):
    return cs.Transformer(**({"attention": attention, "mlp": MLP, "depth": 8, "horizon": 1.0} | changes))


def equation(attention, scheme="projected-euler", **changes):
    options = {"attention": attention, "field": FIELD, "horizon": 1.0, "n_steps": 8, "scheme": scheme}
    return cs.LimitSDE(**(options | changes))


def final(model, x=X):
    return cs.simulate(model, x, rng=1).final


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", KINDS)
def test_numbers_of_each_step_are_the_interactions_of_each_step_to_the_bit(name, dtype):
    x = X.astype(dtype)
    scheduled = make(name, SEQUENCES)
    assert (final(transformer(scheduled), x) == final(transformer(layers(name)), x)).all()
    for scheme in SCHEMES:
        field = FIELD if scheme in NOISY else None
        one, two = (final(equation(each, scheme, field=field), x) for each in (scheduled, layers(name)))
        assert (one == two).all()
    one, two = (final(transformer(each, normalization="pre"), x) for each in (scheduled, layers(name)))
    assert (one == two).all()
    arrays = {key: np.array(values) for key, values in SEQUENCES.items()}
    assert (final(transformer(make(name, arrays)), x) == final(transformer(scheduled), x)).all()


@pytest.mark.parametrize("name", KINDS)
def test_a_layer_sees_the_middle_of_its_time(name):
    middle = {key: [function((k + 0.5) / 8) for k in range(8)] for key, function in SMOOTH.items()}
    assert (final(transformer(make(name, SMOOTH))) == final(transformer(make(name, middle)))).all()
    other = {key: [function(k / 8) for k in range(8)] for key, function in SMOOTH.items()}
    assert (final(transformer(make(name, SMOOTH))) != final(transformer(make(name, other)))).any()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "sinkhorn")) for name in SINGLE if name != "softmax"],
)
def test_orders_of_the_deterministic_schemes(name):
    """Errors against a fine rk4 run, for parameters that are smooth functions of t."""
    x = cs.sample_uniform(6, 3, rng=0)
    fine = cs.LimitSDE(attention=make(name, SMOOTH), field=None, horizon=1.0, n_steps=256, scheme="rk4")
    reference = final(fine, x)
    for scheme, order in (("rk4", 4), ("heun", 2)):
        errors = [abs(final(replace(fine, scheme=scheme, n_steps=n), x) - reference).max() for n in (16, 32, 64)]
        assert (abs(-np.diff(np.log2(errors)) - order) < 0.35).all()


@pytest.mark.parametrize("name", KINDS)
def test_mean_field_limits(name):
    limits = [
        cs.MeanField(model=transformer(attention), law=cs.laws.Uniform(dim=3), n_nodes=60)
        for attention in (make(name, SEQUENCES), layers(name))
    ]
    one, two = (final(limit, limit.start()) for limit in limits)
    assert (one == two).all()


@pytest.mark.parametrize("name", KINDS)
def test_at(name):
    scheduled = make(name, {"beta": [1.0, 3.0], "value_scale": lambda t: -t})
    plain = make(name, {"beta": 3.0, "value_scale": -0.5})
    assert scheduled.at(0.5, step=1) == plain
    assert plain.at(0.5) == plain
    if name != "causal":
        assert scheduled.at(0.5, step=1).consensus_rate == plain.consensus_rate is not None
    assert scheduled.consensus_rate is None
    assert scheduled.resolve(12, 3).at(0.5, step=1).resolve(12, 3) == plain.resolve(12, 3)


def test_what_an_interaction_offers_without_a_time():
    x = X[0]
    for kind in (cs.UnnormalizedAttention, cs.SinkhornAttention):
        moving = kind(beta=2.0, value_scale=[1.0, 0.5])
        assert (moving.mobility, moving.consensus_rate) == (None, None)
        with pytest.raises(ValueError, match=r"beta must be a number here.*attention.at\(time\)"):
            kind(beta=[1.0, 2.0]).energy(x)
        assert cs.MultiHeadAttention(heads=[moving]).energy(x) is None
        for call in (
            lambda a: a.circle_drift(8),
            lambda a: a.axisymmetric_drift([0.0, 1.0], 3),
            lambda a: a.sphere_drift(8),
            lambda a: a.linear_response(1, 3),
        ):
            for settings in ({"beta": [1.0, 2.0]}, {"value_scale": lambda t: t}):
                with pytest.raises(ValueError, match="must be a number here"):
                    call(kind(**settings))
    free = cs.UnnormalizedAttention(beta=2.0, value_scale=[1.0, 0.5])
    assert free.energy(x) == cs.UnnormalizedAttention(beta=2.0).energy(x)  # which does not depend on δ
    with pytest.raises(ValueError, match="value_scale must be a number here"):
        cs.SinkhornAttention(beta=2.0, value_scale=[1.0, 0.5]).energy(x)
    moving = cs.L2Attention(query=np.eye(3), key=np.eye(3), value_scale=[1.0, 0.5])
    for call in (lambda a: a.energy(x), lambda a: a.linear_response(1, 3), lambda a: a(x)):
        with pytest.raises(ValueError, match="value_scale must be a number here"):
            call(moving)
    with pytest.raises(ValueError, match="must be a number here"):
        cs.SinkhornAttention(beta=lambda t: t).evaluate(x)
    for name in KINDS:
        with pytest.raises(ValueError, match=r"must be a number here|at a time alone: take attention.at\(time\)"):
            make(name, SEQUENCES)(x)


def test_identity_tells_schedules_apart():
    one, two = (lambda t: 1 + t), (lambda t: 1 + 2 * t)
    for name in SINGLE:
        for first, second in ((one, two), ([1.0] * 8, [1.0] * 7 + [2.0]), (1.0, one)):
            described = [identity.describe(transformer(make(name, {"value_scale": each}))) for each in (first, second)]
            assert described[0] != described[1]
    assert identity.describe(transformer(cs.SinkhornAttention(beta=one))) == identity.describe(
        transformer(cs.SinkhornAttention(beta=lambda t: 1 + t))
    )


@pytest.mark.parametrize("name", SINGLE)
def test_a_checkpoint_resumes(name, tmp_path):
    model = transformer(make(name, SMOOTH))
    file = cs.Checkpoint(path=tmp_path / "run.npz", every_steps=1, keep=True)

    def stop(time, x):
        if time >= 0.5:
            raise KeyboardInterrupt
        return 0.0

    def pass_on(time, x):
        return 0.0

    stop.version = pass_on.version = 1
    pass_on.__qualname__ = stop.__qualname__
    with pytest.raises(KeyboardInterrupt):
        cs.simulate(model, X, rng=1, checkpoint=file, observe={"a": stop})
    resumed = cs.simulate(model, X, rng=1, checkpoint=file, observe={"a": pass_on})
    assert (resumed.final == final(model)).all()
    other = transformer(make(name, SMOOTH | {"value_scale": lambda t: math.cos(3 * t)}))
    with pytest.raises(ValueError, match="attention"):
        cs.simulate(other, X, rng=1, checkpoint=file, observe={"a": pass_on})


@pytest.mark.parametrize("name", ["unnormalized", "sinkhorn", "l2"])
def test_close_tokens_have_the_known_distance(name):
    """Without noise the logarithm of a small distance changes by −∫ of the consensus rate at each time."""
    attention = cs.L2Attention(query=np.eye(3), key=np.eye(3), value_scale=SMOOTH["value_scale"])
    attention = attention if name == "l2" else make(name, SMOOTH)
    x = cs.normalize(np.eye(3)[0] + 1e-7 * cases.tokens(2, 3)[0])
    model = cs.LimitSDE(attention=attention, field=None, horizon=2.0, n_steps=200, scheme="rk4")
    y = final(model, x)
    change = math.log(np.linalg.norm(y[0] - y[1]) / np.linalg.norm(x[0] - x[1]))
    law = cs.theory.log_distance_law(
        MLP.kernel(3), horizon=2.0, noise_scale=0.0, value_scale=lambda t: attention.at(t).consensus_rate
    )
    assert law[1] == 0.0
    assert abs(law[0]) > 0.1
    assert change == pytest.approx(law[0], abs=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cs.UnnormalizedAttention(beta=[1.0, -1.0]), ValueError, r"beta\[1\] must be .* >= 0"),
        (lambda: cs.UnnormalizedAttention(value_scale=[]), ValueError, "value_scale must be a number, a list"),
        (lambda: cs.UnnormalizedAttention(beta=[1.0], value_scale=1e300), ValueError, "e^beta, and value_scale times"),
        (lambda: cs.UnnormalizedAttention(beta=[1.0], rescaled=3), TypeError, "rescaled"),
        (lambda: cs.SinkhornAttention(beta=[1.0], tolerance=2.0), ValueError, "tolerance must be"),
        (lambda: distances("1"), TypeError, "value_scale must be a real number"),
        (
            lambda: cs.L2Attention(query=np.eye(3), key=np.eye(3), value=np.eye(3), value_scale=[1.0]),
            ValueError,
            "value_scale must not be given together with value",
        ),
        (
            lambda: transformer(cs.UnnormalizedAttention(beta=lambda t: 500 * t)),
            ValueError,
            "e^beta, and value_scale times it, must be <=",
        ),
        (
            lambda: transformer(cs.SinkhornAttention(beta=lambda t: 1e11)),
            ValueError,
            "beta must be a finite number >= 0 and <= 1e",
        ),
        (
            lambda: equation(distances([1.0])),
            ValueError,
            "value_scale must have one number for each of the 8 steps, got 1",
        ),
        (lambda: heads([1.0], 1.0).at(0.0, step=1), ValueError, "step must be below 1, the length of beta, got 1"),
        (lambda: heads([1.0], 1.0).at(-1.0), ValueError, "time must be a finite number >= 0"),
    ],
)
def test_bad_input(call, error, text):
    with pytest.raises(error, match=text.replace("e^beta", r"e\^beta")):
        call()


def test_a_plan_has_no_drift_without_a_time():
    for name in KINDS:
        with pytest.raises(ValueError, match="at a time alone"):
            make(name, SEQUENCES).plan(Shape.of(X)).drift(X, n_threads=1)
