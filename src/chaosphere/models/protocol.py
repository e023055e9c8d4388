"""What the time loop, ensembles and measures need of a model, and the times of its steps.

A model is a frozen spec. For tokens of one shape it makes a plan, once a run, and the loop calls the plan. A model of
your own needs no more than this:

    class RotationPlan(ModelPlan):
        def __init__(self, matrix):
            self.matrix = matrix

        def advance(self, x, steps, context):
            return x @ self.matrix

    @dataclass(frozen=True)
    class Rotation:
        angle: float
        n_steps: int = 100
        horizon: float = 1.0
        has_own_noise = False

        def plan(self, shape, weights=None):
            c, s = math.cos(self.angle), math.sin(self.angle)
            return RotationPlan(np.array([[c, s], [-s, c]]))

More than half of this file is docstrings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chaosphere.common import checks, messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.plans import check_part, check_plan
from chaosphere.common.pullback import NoDerivativeError, Pullback
from chaosphere.common.reprs import Brief
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise
from chaosphere.interactions.protocol import InteractionPlan, Partition
from chaosphere.models.operations import Recorder

_MEMBERS = ("n_steps", "horizon", "plan")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StepContext(Brief):
    """What every step of a run is given.

    Parameters
    ----------
    noise : Noise
        Of the run: normals by stream, replica and step.
    n_threads : int
        Does not change a bit of the result.

    See Also
    --------
    chaosphere.models.protocol.ModelPlan : A model for tokens of one shape.
    chaosphere.common.streams.Noise : The noise of a run.
    chaosphere.models.protocol.ModelPlan.advance : Take steps of a model.

    Examples
    --------
    A single layer of a transformer, as the loop takes it:

    >>> import chaosphere as cs
    >>> from chaosphere.common.shape import Shape
    >>> from chaosphere.common.streams import Noise
    >>> from chaosphere.models.protocol import StepContext
    >>> mlp = cs.MLP(width=8)
    >>> model = cs.Transformer(attention=None, mlp=mlp, depth=20, horizon=1.0)
    >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=1)
    >>> context = StepContext(noise=Noise(0), n_threads=1)
    >>> model.plan(Shape.of(x)).advance(x, range(0, 1), context).shape
    (1, 10, 3)
    """

    noise: Noise
    n_threads: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Inside(Brief):
    """Times within a step of a model, and the states at them, which the step fills in.

    Parameters
    ----------
    times : ndarray of float64, shape (n,)
        Since the start of the step: increasing, larger than 0 and smaller than its length.
    states : ndarray, shape (n, R, N, d)
        Written to.

    See Also
    --------
    chaosphere.models.protocol.ModelPlan : A model for tokens of one shape.
    chaosphere.models.protocol.ModelPlan.advance_through : Take a step and fill in states within it.

    Examples
    --------
    A step of length 1 of a deterministic run, and the state in its middle:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> from chaosphere.common.shape import Shape
    >>> from chaosphere.common.streams import Noise
    >>> from chaosphere.models.protocol import Inside, StepContext
    >>> model = cs.LimitSDE(
    ...     attention=cs.SoftmaxAttention(),
    ...     field=None,
    ...     horizon=1.0,
    ...     n_steps=1,
    ...     scheme="dormand-prince",
    ... )
    >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=1)
    >>> inside = Inside(times=np.array([0.5]), states=np.empty((1, *x.shape)))
    >>> context = StepContext(noise=Noise(0), n_threads=1)
    >>> end = model.plan(Shape.of(x)).advance_through(
    ...     x, 0, inside=inside, context=context
    ... )
    >>> np.abs(np.linalg.norm(inside.states, axis=3) - 1).max() < 1e-12
    np.True_
    """

    times: Floats
    states: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a step takes, for estimates of time and memory.

    Parameters
    ----------
    pairs : float
        Pair interactions of one replica.
    normals : int
        Random numbers that are drawn for one replica.
    bytes : int
        Memory of all replicas besides that of tokens.
    is_least : bool
        Whether a step may take more, as one that is refined until an error is small.

    See Also
    --------
    chaosphere.models.protocol.ModelPlan : A model for tokens of one shape.

    Examples
    --------
    >>> import chaosphere as cs
    >>> from chaosphere.common.shape import Shape
    >>> attention = cs.SoftmaxAttention()
    >>> mlp = cs.MLP(width=8)
    >>> model = cs.Transformer(attention=attention, mlp=mlp, depth=20, horizon=1.0)
    >>> cost = model.plan(Shape(n_tokens=100, dim=3)).cost
    >>> cost.pairs, cost.normals  # N² pairs, and the weights U, W, b_U and b_W
    (10000.0, 59)
    """

    pairs: float = 0.0
    normals: int = 0
    bytes: int = 0
    is_least: bool = False


class ModelPlan(Protocol):
    """A model for tokens of one shape. A class that inherits from this needs `advance` alone.

    Attributes
    ----------
    max_fused_steps : int
        How many steps `advance` may take in one call, where nothing is recorded between them.
    cost : Cost
        What a step takes.
    is_ordered : bool
        Whether steps depend on the places of the tokens, not on their measure alone.
    has_radius : bool
        Whether each token has a radius r, so that the state, which `advance` takes and returns, is r times the unit
        tokens. Else the state is the tokens.
    block : int
        Tokens of a block that one process must own whole where several share a system, as in
        `chaosphere.interactions.protocol.InteractionPlan`.
    changing : frozenset of str
        The arguments of the model, such as "attention", that have parameters of their own in each step.
    is_dense : bool
        Whether `advance_through` fills in the states at times within a step, which `simulate` then records.

    See Also
    --------
    chaosphere.models.protocol.Model : What a model offers.
    chaosphere.models.protocol.StepContext : Noise and threads of a run.
    chaosphere.models.protocol.Cost : Pairs, random numbers and bytes of a step.
    chaosphere.models.protocol.Inside : Times within a step.
    chaosphere.interactions.protocol.InteractionPlan : An interaction for tokens of one shape.
    chaosphere.common.shape.Shape : Replicas, tokens, dimension and dtype.

    Examples
    --------
    Tokens that turn about an axis:

    >>> import dataclasses
    >>> import math
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> from chaosphere.models.protocol import ModelPlan
    >>> class RotationPlan(ModelPlan):
    ...     def __init__(self, matrix):
    ...         self.matrix = matrix
    ...
    ...     def advance(self, x, steps, context):
    ...         return x @ self.matrix
    >>> @dataclasses.dataclass(frozen=True)
    ... class Rotation:
    ...     angle: float
    ...     n_steps: int = 100
    ...     horizon: float = 1.0
    ...     has_own_noise = False
    ...
    ...     def plan(self, shape, weights=None):
    ...         c, s = math.cos(self.angle), math.sin(self.angle)
    ...         return RotationPlan(np.array([[c, s], [-s, c]]))
    >>> x = cs.sample_uniform(5, 2, rng=0)
    >>> np.allclose(cs.simulate(Rotation(math.pi / 100), x, rng=0).final, -x)
    True
    """

    max_fused_steps: int = 1
    cost: Cost = Cost()
    is_ordered: bool = False
    has_radius: bool = False
    block: int = 1
    changing: frozenset[str] = frozenset()
    is_dense: bool = False

    def start(self, x: Tokens) -> Tokens:
        """Return the state that a run starts from.

        Parameters
        ----------
        x : ndarray, shape (..., N, d)
            Unit tokens.

        Returns
        -------
        ndarray, shape of x
            Of the dtype of x; x itself, the default, for a model without radii.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.tokens : The unit tokens of a state.
        """
        return x

    def tokens(self, state: Tokens) -> Tokens:
        """Return the unit tokens of a state, which observables and results show.

        Parameters
        ----------
        state : ndarray, shape (..., N, d)
            What `start` or `advance` returned.

        Returns
        -------
        ndarray, shape of the state
            The state itself, the default, for a model without radii.

        Raises
        ------
        DegenerateTokenError
            If the state is zero or not finite at a token.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.start : The state that a run starts from.
        """
        return state

    def advance(self, x: Tokens, steps: range, context: StepContext) -> Tokens:
        """Return the state after some steps.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            State of the plan's shape: tokens on the sphere, or r times them. They are not checked again, and must not
            be changed.
        steps : range
            The steps to take, counted from 0; at most `max_fused_steps`, each after the one before.
        context : StepContext
            The noise and the threads of the run.

        Returns
        -------
        ndarray, shape (R, N, d)
            Of the dtype of x.

        Raises
        ------
        DegenerateTokenError
            If a token becomes zero or not finite.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.advance_until : Take a step in parts.
        chaosphere.models.protocol.ModelPlan.advance_through : Take a step and fill in states within it.
        chaosphere.interactions.protocol.InteractionPlan.move : Steps of the tokens along the drift.
        chaosphere.models.schemes.Scheme.step : Take a step of the equation.
        chaosphere.models.protocol.ModelPlan.jvp : Steps and their derivative.
        chaosphere.models.protocol.StepContext : Noise and threads of a run.
        """
        raise NotImplementedError

    def advance_until(
        self,
        x: Tokens,
        step: int,
        *,
        start: float,
        stop: Callable[[Tokens], bool],
        context: StepContext,
        inside: Inside | None = None,
    ) -> tuple[Tokens, float | None]:
        """Take a step, or the rest of one, of a single system.

        A plan with inner steps ends after the first of them where `stop` holds.

        Parameters
        ----------
        x : ndarray, shape (1, N, d)
            State.
        step : int
            The step, counted from 0.
        start : float
            Time since the start of the step at which x is the state; 0 for a plan without inner steps.
        stop : callable
            Of the state.
        context : StepContext
            The noise and the threads of the run.
        inside : Inside, optional
            Times of which a plan that `is_dense` fills in those between `start` and the end.

        Returns
        -------
        state : ndarray, shape (1, N, d)
            Of the dtype of x.
        elapsed : float or None
            Time since the start of the step; None at its end.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.advance : Take steps of a model.
        """
        return self.advance(x, range(step, step + 1), context), None

    def advance_through(self, x: Tokens, step: int, *, inside: Inside, context: StepContext) -> Tokens:
        """Take a step, and fill in the states at times within it.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            State.
        step : int
            The step, counted from 0.
        inside : Inside
            The times. A plan that is not dense leaves the states as they are.
        context : StepContext
            The noise and the threads of the run.

        Returns
        -------
        ndarray, shape (R, N, d)
            The state after the step, bitwise that of `advance`.

        See Also
        --------
        chaosphere.models.protocol.Inside : Times within a step.
        chaosphere.models.protocol.ModelPlan.advance : Take steps of a model.
        """
        return self.advance(x, range(step, step + 1), context)

    def record(self, x: Tokens, step: int, *, context: StepContext, is_exact: bool = False) -> Recorder:
        """Return a step with the operations that it is made of, for derivatives.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            State before the step.
        step : int
            The step, counted from 0.
        context : StepContext
            The noise and the threads of the run.
        is_exact : bool
            Whether the state after the step is bitwise that of `advance`; else it may differ by rounding.

        Returns
        -------
        Recorder
            Its methods `push` and `pull` are the derivative of the state after the step, and the transpose of that; its
            `state` is that state.

        Raises
        ------
        ValueError
            If the model, or a part of it, has no derivative.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.jvp : Steps and their derivative.
        chaosphere.models.protocol.ModelPlan.vjp : The transpose of the derivative of a step.
        """
        raise NoDerivativeError(f"model: {type(self).__name__} has no derivative: it has no method record")

    def jvp(self, x: Tokens, tangent: Tokens, *, steps: range, context: StepContext) -> tuple[Tokens, Tokens]:
        """Return the state after some steps, and its derivative in a direction at the state before them.

        The derivative is that of the steps as they are taken: of the scheme, not of the equation that it solves.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            State before the steps.
        tangent : ndarray, shape (R, N, d)
            A vector of R^d for each token, of the dtype of x.
        steps : range
            The steps to take, counted from 0.
        context : StepContext
            The noise and the threads of the run.

        Returns
        -------
        state : ndarray, shape (R, N, d)
            Bitwise that of `advance`.
        tangent : ndarray, shape (R, N, d)
            Of the dtype of x.

        Raises
        ------
        ValueError
            If the model, or a part of it, has no derivative.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.vjp : The transpose.
        chaosphere.models.protocol.ModelPlan.record : A step with its operations.
        chaosphere.models.protocol.ModelPlan.advance : The steps alone.

        Examples
        --------
        Two layers, and where they take a small difference:

        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> from chaosphere.common.streams import Noise
        >>> from chaosphere.models.protocol import StepContext
        >>> model = cs.Transformer(attention=None, mlp=cs.MLP(width=8), depth=20, horizon=1.0)
        >>> x, v = cs.sample_uniform(10, 3, rng=0, n_replicas=2)[:, None]
        >>> context = StepContext(noise=Noise(0), n_threads=1)
        >>> plan = model.plan(Shape.of(x))
        >>> y, tangent = plan.jvp(x, v, steps=range(2), context=context)
        >>> z = cs.normalize(x + 1e-6 * v)
        >>> for step in range(2):
        ...     z = plan.advance(z, range(step, step + 1), context)
        >>> bool(abs(y + 1e-6 * tangent - z).max() < 1e-11)
        True
        """
        for step in steps:
            recorder = self.record(x, step, context=context, is_exact=True)
            x, tangent = recorder.state, recorder.push(tangent)
        return x, tangent

    def vjp(self, x: Tokens, cotangent: Tokens, *, step: int, context: StepContext) -> Pullback:
        """Return the gradient of Σ ⟨cotangent, state after a step⟩ in the state before it and in parameters.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            State before the step.
        cotangent : ndarray, shape (R, N, d)
            A vector of R^d for each token, of the dtype of x.
        step : int
            The step, counted from 0.
        context : StepContext
            The noise and the threads of the run.

        Returns
        -------
        Pullback
            In the state, in the weights of the sources, and in the parameters: for each argument of the model, such as
            "attention", those by their names.

        Raises
        ------
        ValueError
            If the model, or a part of it, has no derivative.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.jvp : The derivative in a direction.
        chaosphere.models.protocol.ModelPlan.record : A step with its operations.
        chaosphere.gradient : Gradient of a function of the tokens at the end of a run.
        """
        return self.record(x, step, context=context).pull(cotangent)

    def distribute(self, partition: Partition) -> ModelPlan:
        """Return the plan that moves the tokens that this process owns, where several share a system.

        Parameters
        ----------
        partition : Partition
            Which tokens these are, and how to gather the others.

        Returns
        -------
        ModelPlan
            Takes and returns the tokens of this process.

        Raises
        ------
        TypeError, ValueError
            If tokens are coupled by more than can be shared.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.distribute : Share an interaction between processes.
        chaosphere.interactions.protocol.Partition : Which tokens a process owns.
        """
        raise TypeError(f"comm needs a model whose plan can be distributed, got {type(self).__name__}")

    def check_levels(self, x0: Tokens | None) -> None:
        """Raise if `estimate` cannot compare runs with such of other numbers of tokens and steps.

        Parameters
        ----------
        x0 : ndarray, shape (N, d), or None
            Tokens that all runs start from; None for i.i.d. tokens of a law, in any number.

        Raises
        ------
        ValueError
            If runs of other plans of the model have other laws, or are not coupled under one noise. By default never.

        See Also
        --------
        chaosphere.estimate : Expectation of an observable, from runs of several numbers of tokens and steps.
        chaosphere.noise.protocol.NoisePlan.check_levels : The same of a common noise.
        """
        return

    def describe(self) -> Any:
        """Return the model with every automatic choice made, as results and checkpoints record it.

        Returns
        -------
        model or None
            None, the default, stands for the model as it is.

        See Also
        --------
        chaosphere.interactions.protocol.Interaction.resolve : An interaction with its choices made.
        """
        return None


class Model(Protocol):
    """What the time loop, ensembles, mean-field limits and measures need of a model.

    `MeanField` takes a model that has an attribute `has_own_noise`, which is False: tokens have no noise of their own,
    so that the empirical measure moves by itself, conditional on the common noise. `estimate` takes fewer steps of a
    model that has a method `coarsen(factor)`, which returns the model of n_steps/factor steps under the same noise.
    With a method `with_steps(n_steps)` besides, which returns it in any number of steps, the limit of many steps is
    meant. Both may raise ValueError for a number that does not serve. With a true attribute `is_antithetic`, too,
    `estimate` also runs it with the noise of each two steps exchanged: step k then takes the draws of step k + 1, and
    the other way round. `ModelPlan` shows how to write a model.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.models.protocol.ModelPlan : A model for tokens of one shape.
    chaosphere.interactions.protocol.Interaction : What an interaction offers.

    Examples
    --------
    What the loop asks of a model:

    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=8)
    >>> model = cs.Transformer(attention=None, mlp=mlp, depth=20, horizon=1.0)
    >>> model.n_steps, model.horizon, callable(model.plan)
    (20, 1.0, True)
    """

    @property
    def n_steps(self) -> int:
        """Number of steps, >= 1.

        See Also
        --------
        chaosphere.MeanField.n_steps : Number of steps of the limit.
        chaosphere.Transformer.n_steps : Number of steps of a network: its depth.
        chaosphere.models.protocol.Model.horizon : Time that any model spans.
        """

    @property
    def horizon(self) -> float:
        """Time T > 0 that they span.

        See Also
        --------
        chaosphere.MeanField.horizon : Time that the limit spans.
        chaosphere.models.protocol.Model.n_steps : Number of steps of any model.
        """

    def plan(self, shape: Shape, weights: Floats | None = None) -> ModelPlan:
        """Return the plan for tokens of one shape.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,) or (K, n), optional
            The first n_sources tokens make up the measure that moves all of them, with these weights; the rest are
            passive tracers. None: all of them, 1/N each. Where `is_ordered`, also those of K layers of n nodes, see
            `chaosphere.interactions.protocol.Interaction.plan`.

        Returns
        -------
        ModelPlan
            Takes the steps.

        Raises
        ------
        TypeError, ValueError
            If the model does not serve this shape.

        See Also
        --------
        chaosphere.LimitSDE.plan : Plan of the equation.
        chaosphere.MeanField.plan : Plan of the limit.
        chaosphere.Transformer.plan : Plan of the network.
        chaosphere.interactions.protocol.Interaction.plan : Plan of any interaction.
        chaosphere.common.shape.Shape : Replicas, tokens, dimension and dtype.
        """


def changes(interaction: InteractionPlan) -> bool:
    """Whether an interaction has another plan in each step: parameters that change, or one interaction for each."""
    return interaction.at(0.0, step=0) is not interaction


def resolved(model: Model, plan: ModelPlan) -> Any:
    """Return what tells a model's runs from others: the model, with the automatic choices of a plan."""
    description = plan.describe()
    return model if description is None else description


def radii_of(plan: ModelPlan, state: Tokens) -> Tokens | None:
    """Return the radii of a state (..., N, d), of its dtype; None for a model without radii."""
    if not plan.has_radius:
        return None
    norms: Tokens = np.linalg.norm(state.astype(np.float64), axis=-1).astype(state.dtype)
    return norms


def has_own_noise_of(model: object) -> bool:
    """Whether tokens may have noise of their own, by the attribute `has_own_noise`: a model without it may."""
    return bool(getattr(model, "has_own_noise", True))


def is_antithetic(model: object) -> bool:
    """Whether a run with the noise of each two steps exchanged helps, by `is_antithetic`: it does not by default."""
    return bool(getattr(model, "is_antithetic", False))


def coarsened(model: Model, factor: int) -> Model | None:
    """Return the model of n_steps/factor steps under the same noise, by the method `coarsen`; None where it cannot."""
    return _changed(model, "coarsen", factor)


def in_steps(model: Model, n_steps: int) -> Model | None:
    """Return the equation that a model solves in another number of steps, by `with_steps`; None where it cannot."""
    return _changed(model, "with_steps", n_steps)


def _changed(model: Model, method: str, number: int) -> Model | None:
    change = getattr(model, method, None)
    try:
        changed: Model | None = change(number) if callable(change) else None
    except ValueError:  # a parameter has one value for each step, or steps of another size are another model
        return None
    return changed


def missing_members(model: object) -> list[str]:
    """Return the names of what `Model` asks for and this object does not have."""
    return [name for name in _MEMBERS if not hasattr(model, name)]


def check_model(model: object) -> None:
    """Raise TypeError if an object cannot be run as a model."""
    rule, hint = "a model such as a Transformer or a LimitSDE", " (attention, layers and fields are parts of a model)"
    check_part(model, "model", rule=rule, members=_MEMBERS, hint=hint)


def model_plan_of(model: Model, shape: Shape, weights: Floats | None = None) -> ModelPlan:
    """Return the plan that a model makes; TypeError if that is no plan."""
    plan = model.plan(shape, weights)
    check_plan(plan, base=ModelPlan, needs=("advance",), source=f"{type(model).__name__}.plan")
    return plan


def save_steps(save_at: Any, model: Model, *, is_dense: bool = False) -> tuple[Floats, NDArray[np.int64]]:
    """Return the times that are recorded for `save_at`, and the steps made by then, ⌊t L / T⌋ for each time t.

    A time within four units in the last place of its own type of a step is at that step. Times between two steps are
    replaced by that of the step before, whose state is recorded; the share 1e-9 of a step counts as none. Of a dense
    model they stay, and are known after ⌈t L / T⌉ steps: early times of one long step may be any share of it.

    Raises
    ------
    TypeError, ValueError
        If they are not increasing numbers in [0, T].
    """
    checks.plain(save_at, "save_at")
    values = np.array(save_at)
    if values.dtype.kind not in "fiu" or isinstance(save_at, checks.RAW):
        raise TypeError(f"save_at must be a list of times, got {messages.shown(save_at)}")
    times, n_steps, horizon = values.astype(np.float64), model.n_steps, model.horizon
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"save_at must be a list of times, got {messages.shown(times.tolist())}")
    eps = float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 0.0
    if (
        not np.isfinite(times).all()
        or (np.diff(times) <= 0).any()
        or times[0] < 0
        or times[-1] > horizon * (1 + max(1e-12, 4 * eps))
    ):
        raise ValueError(f"save_at must increase within [0, {horizon:g}], got {messages.shown(times.tolist())}")
    position = times * n_steps / horizon
    rounding = 4 * float(np.finfo(np.float64).eps) * position  # of t L / T for times on the grid, and more
    slack = np.maximum(rounding if is_dense else 1e-9, 4 * eps * position)
    nearest = np.minimum(np.rint(position), n_steps)
    between = np.ceil(position) if is_dense else np.floor(position)
    off = np.abs(position - nearest)
    is_near = (off <= slack) | (position > n_steps)
    steps = np.where(is_near, nearest, between).astype(np.int64)
    if is_dense:
        return np.where(is_near & (off > rounding), steps * horizon / n_steps, times), steps
    is_on_grid = np.abs(position - steps) <= 1e-9
    return np.where(is_on_grid, times, steps * horizon / n_steps), steps
