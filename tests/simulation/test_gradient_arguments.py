"""What `gradient` refuses: arguments, objectives, and parts of models that have no derivative."""

import dataclasses

import numpy as np
import pytest

import chaosphere as cs
from chaosphere.common.pullback import NoDerivativeError, Pullback
from chaosphere.models.schemes import SCHEMES
from chaosphere.simulation import gradient as module

X = cs.sample_uniform(6, 3, rng=0)
TANH = cs.MLP(width=1, activation="tanh").kernel(3)


def network(**changes):
    options = {"attention": cs.SoftmaxAttention(), "mlp": cs.MLP(width=8), "depth": 5, "horizon": 1.0}
    return cs.Transformer(**(options | changes))


def equation(**changes):
    options = {"attention": cs.SoftmaxAttention(), "field": cs.GaussianField(kernel=TANH), "horizon": 0.8, "n_steps": 5}
    return cs.LimitSDE(**(options | changes))


def identity(y):
    return 0.0, y


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"objective": 3}, TypeError, "objective must be a function of the final tokens, got 3"),
        ({"objective": lambda y: y}, TypeError, r"objective must return a tuple \(value, gradient\), got ndarray"),
        ({"objective": lambda y: (y, y)}, TypeError, r"objective must return a real number, .* of shape \(6, 3\)"),
        ({"objective": lambda y: (1j, y)}, TypeError, "objective must return a real number, .* got complex128"),
        (
            {"objective": lambda y: (0, y[1:])},
            ValueError,
            r"gradient of the shape of the tokens, \(6, 3\), got \(5, 3\)",
        ),
        ({"objective": lambda y: (0, y.astype("f"))}, TypeError, "gradient of float64, as the tokens, got float32"),
        ({"objective": lambda y: (0, y.astype(int))}, TypeError, "gradient of float64, as the tokens, got int64"),
        ({"objective": lambda y: (0, y / 0)}, ValueError, "objective must return a finite value and a finite gradient"),
        ({"weights": np.ones(6)}, ValueError, "weights must sum to 1"),
        ({"x": 2 * X}, ValueError, "x must lie on the unit sphere"),
        ({"model": "post"}, TypeError, "model must be a model"),
        ({"n_threads": 0}, ValueError, "n_threads must be an integer >= 1"),
        ({"shared_noise": 1}, TypeError, "shared_noise must be True or False"),
        ({"rng": -1}, ValueError, "rng"),
        (
            {"model": equation(field=cs.GaussianField(kernel=TANH, method="dense"))},
            ValueError,
            "field: method 'dense' draws the noise at the tokens alone",
        ),
        (
            {"model": network(attention=cs.CustomInteraction(lambda x, weights: x))},
            ValueError,
            r"Custom.* has no derivative",
        ),
        (
            {"model": network(mlp=cs.MLP(width=4, activation=lambda z: z**2))},
            ValueError,
            "activation: '<lambda>' came without a derivative",
        ),
    ],
)
def test_bad_arguments(arguments, error, match):
    good = {"model": network(), "x": X, "objective": identity, "rng": 0}
    with np.errstate(divide="ignore"), pytest.raises(error, match=match):
        cs.gradient(**(good | arguments))


class Other(cs.models.schemes.Scheme):
    """A step of functions that are not recorded."""

    order, strong_order, weak_order, evaluations = 1, 0.5, 1.0, 1

    def step(self, x, flow):
        return cs.normalize(x + flow.velocity(x))


@pytest.mark.parametrize("n_steps", [1, 8, 9])
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"scheme": "dormand-prince", "field": None}, "scheme: DormandPrince"),
        ({"scheme": "other"}, "scheme: Other"),
    ],
)
def test_a_scheme_without_derivative_is_an_error_before_the_run(monkeypatch, changes, what, n_steps):
    """However few the steps are: one of an adaptive scheme may be a long run. Also of `fluctuations`."""
    monkeypatch.setitem(SCHEMES, "other", Other())
    monkeypatch.setattr(module, "run_steps", None)
    model = equation(n_steps=n_steps, **changes)
    with pytest.raises(ValueError, match=f"{what} has no derivative"):
        cs.gradient(model, X, identity, rng=0)
    with pytest.raises(ValueError, match=f"{what} has no derivative"):
        cs.fluctuations(cs.MeanField(model=model, law=cs.laws.Uniform(dim=3), n_nodes=8), rng=0)


def test_missing_derivative_of_a_long_run_is_an_early_error(monkeypatch):
    model = network(attention=cs.CustomInteraction(lambda x, weights: x), depth=20)
    monkeypatch.setattr(module, "run_steps", None)
    with pytest.raises(ValueError, match=r"Custom.* has no derivative"):
        cs.gradient(model, X, identity, rng=0)


@pytest.mark.parametrize("error", [NoDerivativeError, ValueError])
@pytest.mark.parametrize("n_steps", [1, 20])
def test_a_transpose_alone_is_a_derivative(n_steps, error):
    class Plan(cs.models.protocol.ModelPlan):
        def advance(self, x, steps, context):
            return x

        def record(self, x, step, *, context):
            raise error("no record")

        def vjp(self, x, cotangent, *, step, context):
            return Pullback(tokens=cotangent)

    @dataclasses.dataclass(frozen=True)
    class Still:
        n_steps: int
        horizon: float = 1.0

        def plan(self, shape, weights=None):
            return Plan()

    mean = np.ones_like(X)
    result = cs.gradient(Still(n_steps), X, lambda y: (0.0, mean), rng=0)
    np.testing.assert_allclose(result.tokens, mean - (mean * X).sum(axis=1, keepdims=True) * X, atol=1e-15)


@pytest.mark.parametrize("depth", [1, 20])
def test_a_first_step_that_fails_is_the_error_of_the_run(depth):
    """The drift −x of tokens at one point, over a time of 1, leads to the origin."""
    none = np.zeros((2, 2))  # scores: the weights are equal without rounding
    attention = cs.SoftmaxAttention(query=none, key=none, value=-np.eye(2))
    model = network(attention=attention, mlp=None, depth=depth, horizon=float(depth))
    with pytest.raises(cs.SimulationError, match=r"step 0 \(time 0\): token 0 of replica 0: .* zero or not finite"):
        cs.gradient(model, np.array([[1.0, 0.0], [1.0, 0.0]]), identity, rng=0)


def test_a_model_without_derivative():
    class Plan(cs.models.protocol.ModelPlan):
        def advance(self, x, steps, context):
            return x

    @dataclasses.dataclass(frozen=True)
    class Still:
        n_steps: int = 2
        horizon: float = 1.0

        def plan(self, shape, weights=None):
            return Plan()

    with pytest.raises(ValueError, match="model: Plan has no derivative: it has no method record"):
        cs.gradient(Still(), X, identity, rng=0)


def test_a_scheme_of_other_functions_has_no_derivative(monkeypatch):
    """It still runs, and exponents take differences."""

    monkeypatch.setitem(SCHEMES, "own", Other())
    with pytest.raises(ValueError, match=r"scheme: Other has no derivative, as its step is not made of"):
        cs.gradient(equation(scheme="own"), X, identity, rng=0)
    own, euler = (cs.measures.lyapunov_exponent(equation(scheme=name), X, rng=0) for name in ("own", "projected-euler"))
    assert own == pytest.approx(euler, abs=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("model", "cotangent"),
    [
        (network(attention=None, mlp=cs.MLP(width=8, activation="sin", weight_std=1e4), depth=400), 1.0),
        (network(mlp=None), 1e308),
    ],
)
def test_a_gradient_that_overflows_is_an_error(model, cotangent):
    with pytest.raises(ValueError, match="model must be such that its gradient is finite"):
        cs.gradient(model, X, lambda y: (0.0, np.full_like(y, cotangent)), rng=0)


def test_random_heads_of_large_norm_have_a_gradient_in_float32():
    """Simulated by the kernel of rows, which bounds no norm."""
    model = network(attention=cs.RandomAttention(head_dim=2, query_key_std=1e3), mlp=None, depth=1, horizon=0.01)
    result = cs.gradient(model, X.astype("f"), lambda y: (y[:, 0].sum(), np.eye(3, dtype="f")[[0] * len(y)]), rng=0)
    assert np.isfinite(result.tokens).all()
    exact = cs.gradient(model, X, lambda y: (y[:, 0].sum(), np.eye(3)[[0] * len(y)]), rng=0)
    np.testing.assert_allclose(result.value, exact.value, atol=1e-4)


def test_the_layout_of_arrays_changes_no_bit():
    x = cs.sample_uniform(20, 5, rng=0, n_replicas=2)
    model = network(attention=cs.SoftmaxAttention(beta=2.0))
    arrays = [(a, layout) for a in (x, np.asfortranarray(x)) for layout in (np.ascontiguousarray, np.asfortranarray)]
    results = [cs.gradient(model, a, lambda y, layout=layout: (0.0, layout(y)), rng=0) for a, layout in arrays]
    for other in results[1:]:
        np.testing.assert_array_equal(other.tokens, results[0].tokens)
        np.testing.assert_array_equal(other.weights, results[0].weights)
        for name, values in results[0].parameters["attention"].items():
            np.testing.assert_array_equal(other.parameters["attention"][name], values)
