"""A run as an iterator over its states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chaosphere.common import checks
from chaosphere.common.checks import Tokens
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Seeds
from chaosphere.models.protocol import Model, check_model, model_plan_of
from chaosphere.simulation.observables import read_only
from chaosphere.simulation.steps import check_state, run_steps


def trajectory(
    model: Model,
    x: Tokens,
    *,
    rng: Seeds,
    shared_noise: bool = False,
    n_threads: int | None = None,
    first_step: int = 0,
    weights: Any = None,
) -> Iterator[tuple[float, Tokens]]:
    """Iterate over a run: yield (time, tokens) at the start and after every step.

    Parameters
    ----------
    model : Transformer or another model
        As in `simulate`.
    x : ndarray of float64 or float32, shape (N, d) or (R, N, d)
        Tokens on the unit sphere; R replicas are independent systems.
    rng : int, SeedSequence or Generator, or a list of them
        As in `simulate`: the same seed gives the same run.
    shared_noise : bool
        All replicas see the same noise.
    n_threads : int, optional
        Default: all that OpenMP may use. Does not change a bit of the result.
    first_step : int
        If > 0, x is the state after that many steps, and the run continues from it. Must be 0 for a model with radii,
        which are not part of x.
    weights : array_like, shape (N,), optional
        As in `simulate`.

    Yields
    ------
    time : float
        From 0 to T.
    tokens : ndarray, shape of x
        A read-only view of the run's state; copy it to change it.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    SimulationError
        If a token becomes zero or not finite, or leaves the sphere.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.plot.clip : Write an animation of a run.
    chaosphere.SimulationError : A run stopped at a token that left the sphere.

    Examples
    --------
    >>> import chaosphere as cs
    >>> attention = cs.SoftmaxAttention()
    >>> model = cs.Transformer(attention=attention, mlp=None, depth=4, horizon=2.0)
    >>> x = cs.sample_uniform(5, 3, rng=0)
    >>> [time for time, tokens in cs.trajectory(model, x, rng=0)]
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    check_model(model)
    first_step = checks.integer(first_step, "first_step", low=0)
    checks.flag(shared_noise, "shared_noise")
    shape = Shape.of(checks.tokens(x))
    plan = model_plan_of(model, shape, checks.weights(weights, shape.n_tokens))
    if first_step > 0 and plan.has_radius:
        raise ValueError(f"first_step must be 0 for a model with radii, which x does not tell, got {first_step}")
    x = plan.start(x)
    run = run_steps(
        model, plan, x, rng=rng, shared_noise=shared_noise, n_threads=n_threads, first_step=first_step, stops=None
    )
    del x  # a caller who keeps no state needs memory for one
    for index, state in run:
        if index > first_step:
            check_state(state, plan, step=index, model=model, last=None)
        yield index * model.horizon / model.n_steps, read_only(plan.tokens(state))
