"""Parts that a user writes: what a mistake in them says, and a rule of normalisation that is added to the table."""

import dataclasses

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.streams import Stream
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.models.normalization import NORMALIZATIONS, Normalization
from chaosphere.models.protocol import ModelPlan
from chaosphere.noise import activations, layer_derivative
from chaosphere.noise.protocol import NoisePlan

X = cs.sample_uniform(6, 3, rng=0)
SCHEMES = ("projected-euler", "geodesic-euler", "split", "heun", "rk4")
NOT_LIKE_TOKENS = {
    "nothing": (lambda x: None, r"float64 and shape \(1, 6, 3\), as the tokens, got None"),
    "one for all": (lambda x: x[:, :1].copy(), r"got float64 of shape \(1, 1, 3\)"),
    "one system": (lambda x: x[0].copy(), r"got float64 of shape \(6, 3\)"),
    "another type": (lambda x: x.astype(np.float32), "got float32 of shape"),
    "a list": (lambda x: x.tolist(), r"got \["),
    "a broadcast": (lambda x: np.broadcast_to(x[:, :1], x.shape), "is not contiguous: numpy.ascontiguousarray copies"),
}
BAD = pytest.mark.parametrize(("value", "message"), NOT_LIKE_TOKENS.values(), ids=NOT_LIKE_TOKENS)


class Part:
    """An interaction and a model in one: each makes the plan that it was given."""

    n_steps, horizon = 2, 1.0

    def __init__(self, plan):
        self.made = plan

    def resolve(self, n_tokens, dim, dtype="float64"):
        return self

    def plan(self, shape, weights=None):
        return self.made


class Shift:
    """A common noise that makes the plan that it was given."""

    is_ito = False

    def __init__(self, plan):
        self.made = plan

    def noise_plan(self, shape, weights=None):
        return self.made


class DriftPlan(InteractionPlan):
    pairs = 0.0

    def __init__(self, function):
        self.function = function

    def drift(self, x, *, n_threads):
        return self.function(x)


class ShiftPlan(NoisePlan):
    stream, is_local, pairs = Stream.BROWNIAN, True, 0.0

    def __init__(self, function):
        self.noise, self.function = Shift(self), function

    def n_normals(self, n_parts):
        return 0

    def increment(self, parts, *, duration):
        return lambda x, *, n_threads=None: self.function(x)


class StepPlan(ModelPlan):
    def __init__(self, function):
        self.function = function

    def advance(self, x, steps, context):
        return self.function(x)


class Bare:
    """No plan at all."""


def network(attention):
    return cs.Transformer(attention=attention, mlp=None, depth=2, horizon=1.0)


def equation(attention=None, field=None, scheme="projected-euler"):
    return cs.LimitSDE(attention=attention, field=field, horizon=1.0, n_steps=2, scheme=scheme)


@BAD
def test_a_drift_of_another_form_is_refused_by_name(value, message):
    interaction = Part(DriftPlan(value))
    heads = cs.MultiHeadAttention(heads=[cs.SoftmaxAttention(beta=1.0), interaction])
    runs = [network(interaction), network([interaction, interaction]), network(heads)]
    runs += [equation(interaction, scheme=scheme) for scheme in SCHEMES]
    for model in runs:
        with pytest.raises(TypeError, match=rf"DriftPlan.drift must return a contiguous array of .*{message}"):
            cs.simulate(model, X, rng=0)
    with pytest.raises(TypeError, match=message):
        heads(X)


@BAD
def test_a_noise_of_another_form_is_refused_by_name(value, message):
    noise = Shift(ShiftPlan(value))
    for model in [network(noise), *(equation(None, noise, scheme) for scheme in SCHEMES if scheme != "rk4")]:
        with pytest.raises(TypeError, match=rf"ShiftPlan.increment\S* must return a contiguous array of .*{message}"):
            cs.simulate(model, X, rng=0)


def test_a_step_that_returns_nothing_is_refused():
    with pytest.raises(TypeError, match=r"model must return tokens of shape .* from a step, got None from Part"):
        cs.simulate(Part(StepPlan(lambda x: None)), X, rng=0)


def test_an_increment_that_is_no_function_is_refused():
    plan = ShiftPlan(None)
    plan.increment = lambda parts, *, duration: None
    for model in (network(Shift(plan)), equation(None, Shift(plan))):
        with pytest.raises(TypeError, match=r"ShiftPlan.increment must return a function of the tokens, got None"):
            cs.simulate(model, X, rng=0)


@pytest.mark.parametrize("plan", [None, Bare()])
def test_what_is_no_plan_is_refused_with_the_class_to_inherit_from(plan):
    source = "must return a plan, an object of a class that inherits from chaosphere"
    for model, name in (
        (network(Shift(plan)), "Shift.noise_plan"),
        (equation(Part(plan)), "Part.plan"),
        (equation(None, Shift(plan)), "Shift.noise_plan"),
        (Part(plan), "Part.plan"),
    ):
        with pytest.raises(TypeError, match=rf"{name} {source}\S+Plan, got (None|<.*Bare)"):
            cs.simulate(model, X, rng=0)


def test_what_a_plan_must_have_is_named():
    class NoPairs(InteractionPlan):
        def drift(self, x, *, n_threads):
            return 0 * x

    class NoDrift(InteractionPlan):
        pairs = 0.0

    class NoNoise(NoisePlan):
        stream, is_local, pairs = Stream.BROWNIAN, True, 0.0

    class NoAdvance(ModelPlan):
        """It has all that has a default."""

    for model, missing in (
        (equation(Part(NoPairs())), "has drift, pairs; NoPairs has no pairs$"),
        (equation(Part(NoDrift())), "has drift, pairs; NoDrift has no drift$"),
        (equation(None, Shift(NoNoise())), "NoNoise has no noise, n_normals, increment$"),
        (Part(NoAdvance()), "has advance; NoAdvance has no advance$"),
    ):
        with pytest.raises(TypeError, match=missing):
            cs.simulate(model, X, rng=0)


def test_the_noise_of_a_plan_is_the_noise():
    plan = ShiftPlan(lambda x: 0 * x)
    plan.noise = None
    with pytest.raises(
        TypeError, match=r"ShiftPlan.noise must be the common noise of the plan, got None: it has no noi"
    ):
        cs.simulate(equation(None, Shift(plan)), X, rng=0)


def test_a_class_in_place_of_an_object_is_refused():
    with pytest.raises(TypeError, match=r"attention must .* got the class SoftmaxAttention: pass an object of it"):
        network(cs.SoftmaxAttention)
    with pytest.raises(TypeError, match=r"attention must .* got the class RandomAttention: pass an object of it"):
        network(cs.RandomAttention)
    with pytest.raises(TypeError, match=r"field must .* got the class GaussianField: pass an object of it"):
        equation(None, cs.GaussianField)
    with pytest.raises(TypeError, match=r"model must .* got the class Part: pass an object of it, Part\(...\)"):
        cs.simulate(Part, X, rng=0)


def test_what_is_no_part_says_what_it_lacks():
    with pytest.raises(TypeError, match=r"got <lambda>: it has no resolve, plan; CustomInteraction makes an inter"):
        network(lambda x, weights: x)
    with pytest.raises(TypeError, match=r"it has no noise_plan, is_ito$"):
        equation(None, Bare())


def test_the_error_of_a_field_names_its_function():
    model = equation(None, Shift(ShiftPlan(lambda x: 0 * x)), scheme="split")
    with pytest.raises(ValueError, match=r"field: ShiftPlan.increment\S+ has no derivative, no method jvp"):
        cs.gradient(model, X, lambda y: (y.sum(), np.ones_like(y)), rng=0)


@dataclasses.dataclass(frozen=True)
class Fading(Normalization):
    """θ ← LN(θ + h A 2^{−t})."""

    def step(self, x, half, *, time, operations):
        return operations.move(x, half.velocity, step=half.step * 2**-time, fused=half.move)


def test_a_rule_of_normalisation_can_be_added(monkeypatch):
    """Under attention alone it is post-LN with δ(t) = 2^{−t}."""
    monkeypatch.setitem(NORMALIZATIONS, "fading", Fading())

    def ends(normalization, value_scale):
        attention = cs.SoftmaxAttention(beta=2.0, value_scale=value_scale)
        options = {"mlp": None, "depth": 8, "horizon": 2.0, "normalization": normalization}
        model = cs.Transformer(attention=attention, **options)
        gradient = cs.gradient(model, X, lambda y: (y[0, 0], np.eye(6, 3)), rng=0)
        return cs.simulate(model, X, rng=0).final, gradient.tokens

    for ours, theirs in zip(ends("fading", 1.0), ends("post", lambda t: 2.0**-t), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)


def test_slopes_of_a_compiled_activation_need_no_second_form(monkeypatch):
    """Its derivative in NumPy serves where there is none by compiled functions."""
    phi, z = activations.ACTIVATIONS["tanh"], np.linspace(-3, 3, 31)
    known = layer_derivative.slope_of(phi)(z)
    monkeypatch.delitem(layer_derivative._SLOPES, "tanh")
    np.testing.assert_allclose(layer_derivative.slope_of(phi)(z), known, rtol=0, atol=2e-15)
