"""Gradients of a function of the tokens at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.reprs import Brief, Row, short
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Seeds, roots
from chaosphere.geometry.sphere import DegenerateTokenError
from chaosphere.interactions.balance import UnbalancedError
from chaosphere.models.adaptive import InnerStepsError
from chaosphere.models.operations import gradient_sum, projected
from chaosphere.models.protocol import Model, ModelPlan, StepContext, check_model, model_plan_of
from chaosphere.simulation.steps import check_state, run_steps

_MANY_STEPS = 8  # from which on the gradient of one step more is worth an early error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Gradient(Brief):
    """The value of an objective at the end of a run, and its gradient in all that the run started from.

    Parameters
    ----------
    value : float, or ndarray of shape (R,)
        What the objective returned.
    tokens : ndarray, shape of x
        In the initial tokens: the Riemannian gradient, whose rows are tangent to the sphere at the tokens. It is the
        part of the ambient gradient that a token can follow.
    weights : ndarray of float64, shape (n_sources,) or (R, n_sources), or None
        In the weight of each source token, taken as free: the sum of the weights is not held at 1. None where nothing
        depends on the weights.
    parameters : mapping of str to mapping or list
        In the parameters of the model's arguments, by their names: ``parameters["attention"]["beta"]``. There are
        entries for β, δ, Q, K, V and the output of attentions, and for the matrices of a `FixedMLP`. If a model has an
        attention or an MLP for each layer, or if its parameters change over time, there is a list with one mapping for
        each step. For a function of t an entry is the sum over the times at which the scheme evaluates the function in
        the step: several for heun and rk4, one for all others. With replicas each array has R as first axis: one part
        for each replica, and their sum is the gradient.

    See Also
    --------
    chaosphere.gradient : Gradient of a function of the final tokens.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention(beta=2.0)
    >>> model = cs.Transformer(attention=attention, mlp=None, depth=10, horizon=1.0)
    >>> x = cs.sample_uniform(5, 3, rng=0)
    >>> result = cs.gradient(model, x, lambda y: (y.sum(), 0 * y + 1), rng=0)
    >>> result.tokens.shape, sorted(result.parameters["attention"])
    ((5, 3), ['beta', 'value_scale'])
    """

    value: Any
    tokens: Tokens
    weights: Floats | None
    parameters: Mapping[str, Any]

    def _rows(self) -> list[Row]:
        facts = {"value": self.value, "tokens": self.tokens.shape, "parameters": sorted(self.parameters)}
        return [(name, short(fact)) for name, fact in facts.items()]


def gradient(
    model: Model,
    x: Tokens,
    objective: Callable[[Tokens], tuple[Any, Any]],
    *,
    rng: Seeds,
    weights: Any = None,
    shared_noise: bool = False,
    n_threads: int | None = None,
) -> Gradient:
    """Return the gradient of a function of the final tokens in the initial tokens, the weights and the parameters.

    The run is differentiated as it is taken, step by step backward: the gradient is that of the discrete model under
    this noise, exact to rounding.

    Parameters
    ----------
    model : Transformer, LimitSDE or MeanField
        All of its parts must have a derivative: a CustomInteraction and a field of method "dense", which "auto" may
        choose, have none.
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere. R replicas are independent systems.
    objective : callable
        objective(tokens) ↦ (value, gradient), a tuple, for the final tokens in the shape and dtype of x. The value is a
        number, or an array of shape (R,) whose entry r depends on replica r alone. The gradient is that of the value,
        or of the sum of the values, in the tokens as points of R^d: an array, or what NumPy makes one of, of the shape
        of the tokens. ``jax.value_and_grad(f)`` is such a function.
    rng : int, SeedSequence or Generator
        As in `simulate`: the same seed gives the same run, and the objective is given its final tokens to the bit.
    weights : array_like, shape (N,), optional
        Weights p >= 0 of the tokens in the measure that moves them, with sum 1. Default: 1/N each. None for a
        `MeanField`, which has those of its nodes.
    shared_noise : bool
        All replicas see the same noise.
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.

    Returns
    -------
    Gradient
        The value, and the gradients in tokens, weights and parameters.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, a part of the model has no derivative, or the objective does not return a value
        and a finite gradient of the shape of the tokens.
    SimulationError
        If a token becomes zero or not finite, or leaves the sphere.

    See Also
    --------
    chaosphere.Gradient : The value and its gradients.
    chaosphere.simulate : The run itself.
    chaosphere.fluctuations : Fluctuations of N tokens about their limit, by such gradients.
    chaosphere.measures.lyapunov_exponent : Growth of tangents along a run.
    chaosphere.MLPLayer.vjp : The gradient of a random layer.
    chaosphere.FixedMLP.vjp : The gradient of a network with matrices of your own.
    chaosphere.models.protocol.ModelPlan.vjp : The gradient of one step.

    Notes
    -----
    States are kept every √L steps of the L, and those between are computed again: memory O(N d √L). Noise is a pure
    function of the seed and the step, so that they are bitwise the same. A call evaluates attention and layers about
    four times as often as `simulate`, besides the transpose of each step.

    Examples
    --------
    How the order parameter |Σ x_i|/N at the end of a run depends on the tokens at its start, and on the attention:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> model = cs.Transformer(
    ...     attention=cs.SoftmaxAttention(beta=2.0), mlp=cs.MLP(width=16), depth=10, horizon=1.0
    ... )
    >>> x = cs.sample_uniform(20, 3, rng=0)
    >>> def order(y):
    ...     mean = y.mean(axis=0)
    ...     r = np.linalg.norm(mean)
    ...     return r, np.broadcast_to(mean / r, y.shape) / len(y)
    >>> result = cs.gradient(model, x, order, rng=0)
    >>> result.value == order(cs.simulate(model, x, rng=0).final)[0]
    np.True_
    >>> result.tokens.shape, sorted(result.parameters["attention"])
    ((20, 3), ['beta', 'value_scale'])
    >>> abs((result.tokens * x).sum(axis=1)).max() < 1e-15
    np.True_
    """
    check_model(model)
    batch = np.ascontiguousarray(checks.tokens(x))  # the order of sums depends on the layout
    if not callable(objective):
        raise TypeError(f"objective must be a function of the final tokens, got {messages.shown(objective)}")
    checks.flag(shared_noise, "shared_noise")
    plan = model_plan_of(model, Shape.of(batch), checks.weights(weights, batch.shape[1]))
    threads = checks.threads(n_threads)
    sequences = roots(rng, n_replicas=len(batch), is_shared=shared_noise)
    seeds = sequences if len(sequences) > 1 else sequences[0]
    noise = Noise(seeds, n_replicas=len(batch), is_shared=shared_noise, n_threads=threads)
    context = StepContext(noise=noise, n_threads=threads)
    start = plan.start(batch)
    _check_derivative(plan, start, has_many_steps=model.n_steps > _MANY_STEPS, context=context)
    kept: dict[int, Tokens] = {}
    stride = stride_of(model.n_steps)
    run = run_steps(
        model,
        plan,
        start,
        rng=seeds,
        shared_noise=shared_noise,
        n_threads=threads,
        first_step=0,
        stops=np.union1d(np.arange(0, model.n_steps, stride), model.n_steps),
    )
    for step, state in run:
        if step < model.n_steps and step % stride == 0:
            kept[step] = state
    check_state(state, plan, step=model.n_steps, model=model, last=None)
    tokens = plan.tokens(state)
    value, cotangent = _evaluated(objective, tokens if x.ndim == 3 else tokens[0], n_replicas=len(batch))
    sums = _Sums(plan)
    cotangent = cotangent if x.ndim == 3 else cotangent[None]
    if plan.has_radius:
        cotangent = projected(tokens, cotangent) / np.linalg.norm(state, axis=2, keepdims=True)
    del state
    for first in sorted(kept, reverse=True):
        states = [kept.pop(first)]
        for step in range(first, min(first + stride, model.n_steps) - 1):
            states.append(plan.advance(states[-1], range(step, step + 1), context))
        for step in reversed(range(first, first + len(states))):
            with np.errstate(over="ignore", invalid="ignore"):
                back = plan.vjp(states.pop(), cotangent, step=step, context=context)
                sums.add(back.weights, back.parameters)
            cotangent = back.tokens
            _check_finite(cotangent)
    if plan.has_radius:
        cotangent = np.linalg.norm(start, axis=2, keepdims=True) * cotangent
    cotangent = projected(batch, cotangent)
    _check_finite(cotangent, *_arrays([sums.weights, sums.parameters]))
    return Gradient(
        value=value,
        tokens=cotangent if x.ndim == 3 else cotangent[0],
        weights=sums.weights if x.ndim == 3 or sums.weights is None else sums.weights[0],
        parameters=sums.parameters if x.ndim == 3 else _of_first(sums.parameters),
    )


def _check_derivative(plan: ModelPlan, start: Tokens, *, has_many_steps: bool, context: StepContext) -> None:
    """Raise before the run if its first step has no derivative.

    The record of a step tells of the scheme, whose step may be a long run, and costs a tenth or two of the gradient of
    one step. The transpose costs as much as that gradient, so that other parts are checked before many steps alone.
    """
    # Of a step that fails, the run says which.
    with np.errstate(over="ignore", invalid="ignore"), suppress(DegenerateTokenError, InnerStepsError, UnbalancedError):
        try:
            plan.record(start, 0, context=context)
        except ValueError:  # a plan of one's own may have a transpose alone
            has_many_steps = True
        if has_many_steps:
            plan.vjp(start, np.zeros_like(start), step=0, context=context)


def stride_of(n_steps: int) -> int:
    """Return how many steps lie between states that are kept: about √L."""
    return math.isqrt(n_steps - 1) + 1


class _Sums:
    """Gradients in weights and parameters, over the steps, which come backward."""

    def __init__(self, plan: ModelPlan) -> None:
        self.changing = plan.changing
        self.weights: Floats | None = None
        self.parameters: dict[str, Any] = {}
        self._n_steps = 0

    def add(self, weights: Floats | None, parameters: Mapping[str, Any]) -> None:
        """Add those of the step before."""
        if weights is not None:
            self.weights = weights if self.weights is None else self.weights + weights
        for part, of_step in parameters.items():
            if part not in self.changing:
                self.parameters[part] = gradient_sum(self.parameters.get(part, {}), of_step)
            elif part not in self.parameters:
                self.parameters[part] = [{} for _ in range(self._n_steps)]  # of steps that have none
        for part in self.changing & self.parameters.keys():
            self.parameters[part].insert(0, dict(parameters.get(part, {})))
        self._n_steps += 1


def _evaluated(objective: Callable[[Tokens], Any], tokens: Tokens, *, n_replicas: int) -> tuple[Any, Tokens]:
    """Return the value and the gradient of an objective, checked."""
    result = objective(np.array(tokens))
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"objective must return a tuple (value, gradient), got {type(result).__name__}")
    value, cotangent = (np.asarray(part) for part in result)
    if value.dtype.kind not in "fiu" or value.shape not in ((), (n_replicas,) if tokens.ndim == 3 else ()):
        raise TypeError(
            f"objective must return a real number, or one for each of R replicas, as its value, got {value.dtype} of "
            f"shape {value.shape}"
        )
    if cotangent.dtype.kind != "f" or np.finfo(cotangent.dtype).eps > np.finfo(tokens.dtype).eps:
        raise TypeError(f"objective must return a gradient of {tokens.dtype}, as the tokens, got {cotangent.dtype}")
    if cotangent.shape != tokens.shape:
        raise ValueError(
            f"objective must return a gradient of the shape of the tokens, {tokens.shape}, got {cotangent.shape}"
        )
    cotangent = np.ascontiguousarray(cotangent, dtype=tokens.dtype)
    if not (np.isfinite(value).all() and np.isfinite(cotangent).all()):
        raise ValueError("objective must return a finite value and a finite gradient at the final tokens")
    return (value if value.ndim else float(value)), cotangent


def _check_finite(*gradients: Floats) -> None:
    if not all(np.isfinite(values).all() for values in gradients):
        raise ValueError("model must be such that its gradient is finite; it overflows over the steps")


def _arrays(gradients: Any) -> Iterator[Floats]:
    """Yield the arrays in gradients of weights and parameters."""
    if isinstance(gradients, dict | list):
        for part in gradients.values() if isinstance(gradients, dict) else gradients:
            yield from _arrays(part)
    elif gradients is not None:
        yield gradients


def _of_first(parameters: Any) -> Any:
    """Return gradients without the axis of replicas."""
    if isinstance(parameters, list):
        return [_of_first(part) for part in parameters]
    if isinstance(parameters, dict):
        return {name: _of_first(part) for name, part in parameters.items()}
    return parameters[0]
