"""What models need of an interaction.

An interaction is a drift that depends on the empirical measure of the tokens. Its public object is a frozen spec. For
tokens of one shape the spec makes a plan: every automatic choice, every norm and every converted matrix is in it, so
that the time loop calls nothing but the plan.

The first `n_sources` tokens are the sources, whose measure the others feel. The rest are passive tracers: they move and
are not felt. Without weights all tokens are sources of weight 1/N.

More than half of this file is docstrings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import numpy as np

from chaosphere.common import messages
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Array, Nodes
from chaosphere.common.plans import check_part, check_plan, check_vectors
from chaosphere.common.pullback import NoDerivativeError
from chaosphere.common.pullback import Pullback as Pullback
from chaosphere.common.shape import Shape
from chaosphere.geometry import sphere
from chaosphere.interactions.growth import EnergyGrowth


class Partition(Protocol):
    """Which tokens of a system this process owns, where several processes share it.

    See Also
    --------
    chaosphere.models.protocol.ModelPlan.distribute : Share a model between processes.
    chaosphere.interactions.protocol.InteractionPlan : An interaction for tokens of one shape.
    chaosphere.interactions.protocol.Partition.bounds : Bounds of the processes.
    chaosphere.measures.token_means.SharedObservable : An observable of tokens of which each process has its own.

    Examples
    --------
    A single process, which owns all of ten tokens:

    >>> import chaosphere as cs
    >>> from chaosphere.common.ordered_sums import root
    >>> from chaosphere.common.shape import Shape
    >>> class Alone:
    ...     first, stop, bounds = 0, 10, (0, 10)
    ...
    ...     def any(self, mine):
    ...         return mine
    ...
    ...     def total(self, own, *, n_parts):
    ...         return root(own)
    ...
    ...     def largest(self, mine):
    ...         return mine
    ...
    ...     def scan(self, state, advance):
    ...         advance(state)
    ...
    ...     def gather(self, own):
    ...         return own
    >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=1)
    >>> plan = cs.SoftmaxAttention(beta=1.0).plan(Shape.of(x))
    >>> shared = plan.distribute(Alone())
    >>> bool((shared.drift(x, n_threads=1) == plan.drift(x, n_threads=1)).all())
    True
    """

    @property
    def first(self) -> int:
        """First token that this process owns.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.stop : One past the last token that a process owns.
        chaosphere.interactions.protocol.Partition.gather : Gather the tokens of all processes.
        chaosphere.interactions.protocol.Partition.bounds : Bounds of the processes.
        """

    @property
    def bounds(self) -> tuple[int, ...]:
        """Bounds of the processes: number r owns tokens bounds[r] … bounds[r + 1] − 1, and the last bound is N.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.first : First token that a process owns.
        chaosphere.interactions.protocol.Partition.stop : One past the last token that a process owns.
        chaosphere.interactions.protocol.Partition : Which tokens of a system this process owns.
        """

    @property
    def stop(self) -> int:
        """One past the last.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.first : First token that a process owns.
        chaosphere.interactions.protocol.Partition.gather : Gather the tokens of all processes.
        chaosphere.interactions.protocol.Partition.bounds : Bounds of the processes.
        """

    def gather(self, own: Tokens) -> Tokens:
        """Return all tokens from the rows that each process owns.

        Parameters
        ----------
        own : ndarray, shape (R, stop − first, d)
            Tokens of this process.

        Returns
        -------
        ndarray, shape (R, N, d)
            Tokens of all processes.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.first : First token that a process owns.
        chaosphere.interactions.protocol.Partition.stop : One past the last token that a process owns.
        chaosphere.interactions.protocol.Partition.total : The sum of the parts of all processes.
        """

    def any(self, mine: bool) -> bool:
        """Return whether something holds on any process.

        Parameters
        ----------
        mine : bool
            Whether it does on this one.

        Returns
        -------
        bool
            The same on all.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.total : Add up what each process has.
        """

    def total(self, own: Nodes, *, n_parts: int) -> Array:
        """Return the sum of the parts of all processes, in bits that do not depend on who has which.

        Parameters
        ----------
        own : dict
            Nodes of this process's parts, as `chaosphere.common.ordered_sums.nodes` returns them.
        n_parts : int
            Parts of all processes.

        Returns
        -------
        ndarray
            The root, on every process.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.gather : Gather the tokens of all processes.
        chaosphere.interactions.protocol.InteractionPlan.shared_drift : The drift at a process's tokens.
        chaosphere.interactions.protocol.Partition.any : Whether something holds on any process.
        chaosphere.interactions.protocol.Partition.largest : The largest of the numbers of all processes.
        chaosphere.interactions.protocol.Partition.scan : Advance a state by what each process has.
        chaosphere.measures.token_means.SharedObservable.of_own : A number or an array of fixed shape.
        chaosphere.measures.token_means.SharedStateObservable.of_own_state : What a run calls for radii of a process.
        """

    def largest(self, mine: Array) -> Array:
        """Return the largest of the numbers of all processes, entry by entry; not a number where one is.

        Parameters
        ----------
        mine : ndarray
            Of this process.

        Returns
        -------
        ndarray
            The same on all.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.total : Add up what each process has.
        """

    def scan(self, state: Array, advance: Callable[[Array], object]) -> None:
        """Advance a state by what each process has, in the order of their tokens.

        Parameters
        ----------
        state : ndarray of float64
            What the first process starts from; the others start from what the one before has left. It is written over.
        advance : callable
            Called once with the state, which it changes in place.

        See Also
        --------
        chaosphere.interactions.protocol.Partition.total : Add up what each process has.
        """


class InteractionPlan(Protocol):
    """An interaction for tokens of one shape. A class that inherits from this needs `drift` and `pairs` alone.

    Attributes
    ----------
    pairs : float
        Pair interactions of one evaluation, of one replica.
    max_fused_steps : int
        How many steps `move` may take in one call.
    is_ordered : bool
        Whether the drift depends on the places of the tokens, as under a causal mask, not on their measure alone.
    n_fixed : int
        How many tokens, the first, the drift cannot move: theirs is a multiple of the token. Under a causal mask, one.
    block : int
        Tokens of a block that one process must own whole, for `shared_drift` to gather no tokens; 1 where that does
        not help.

    See Also
    --------
    chaosphere.models.protocol.ModelPlan : A model for tokens of one shape.
    chaosphere.CustomInteraction : A drift by a function, without a plan of its own.
    chaosphere.interactions.protocol.Interaction : What an interaction offers.
    chaosphere.interactions.protocol.Partition : Which tokens a process owns.

    Examples
    --------
    Tokens that are drawn to their mean, as a model:

    >>> import dataclasses
    >>> import numpy as np
    >>> import chaosphere as cs
    >>> from chaosphere.interactions.protocol import InteractionPlan
    >>> class ToMeanPlan(InteractionPlan):
    ...     pairs = 0.0
    ...
    ...     def drift(self, x, *, n_threads):
    ...         return np.zeros_like(x) + x.mean(axis=1, keepdims=True)
    >>> @dataclasses.dataclass(frozen=True)
    ... class ToMean:
    ...     def resolve(self, n_tokens, dim, dtype="float64"):
    ...         return self
    ...
    ...     def plan(self, shape, weights=None):
    ...         return ToMeanPlan()
    >>> model = cs.Transformer(attention=ToMean(), mlp=None, depth=50, horizon=20.0)
    >>> sol = cs.simulate(model, cs.sample_uniform(20, 3, rng=0), rng=0)
    >>> round(float(cs.measures.order_parameter(sol.final)), 3)
    1.0
    """

    pairs: float
    max_fused_steps: int = 1
    is_ordered: bool = False
    n_fixed: int = 0
    block: int = 1

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return the drift at every token, an array of its own.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens of the plan's shape on the sphere; they are not checked again.
        n_threads : int
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Drift, of the dtype of x.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.tangential_drift : The part of the drift that moves tokens.
        chaosphere.interactions.protocol.InteractionPlan.move : Steps of the tokens along the drift.
        chaosphere.interactions.protocol.InteractionPlan.rows : The drift at some tokens.
        chaosphere.interactions.protocol.InteractionPlan.at : The interaction at a time.
        chaosphere.interactions.protocol.InteractionPlan.jvp : The derivative in a direction.
        """
        raise NotImplementedError

    def tangential_drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        """Return P_x drift(x), the part of the drift that moves the tokens.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens of the plan's shape on the sphere.
        n_threads : int
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Of the dtype of x.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.drift : The drift at every token.

        Notes
        -----
        The default rounds as the drift does, by some 1e-16 of its length. An interaction may do better where almost
        all of the drift is along the token.
        """
        drift = drift_of(self, x, n_threads=n_threads)
        return np.asarray(drift - np.einsum("rik,rik->ri", x, drift)[:, :, None] * x)

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int) -> Tokens:
        """Return the derivative of `drift` at x in the direction of a tangent: the Jacobian times it.

        The drift is taken as a function of x in the ambient space: its formula, for any x of R^d.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens of the plan's shape; they are not checked again.
        tangent : ndarray, shape (R, N, d)
            Any vectors, of the dtype of x.
        n_threads : int
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Of the dtype of x.

        Raises
        ------
        ValueError
            If the interaction has no derivative.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.vjp : The transpose.
        chaosphere.interactions.protocol.InteractionPlan.drift : The drift at every token.
        chaosphere.L2Attention.jvp : The same of attention by distances.
        chaosphere.MultiHeadAttention.jvp : The same of several heads.
        chaosphere.PotentialInteraction.jvp : The same of a drift along a potential.
        chaosphere.SinkhornAttention.jvp : The same of doubly stochastic attention.
        chaosphere.SoftmaxAttention.jvp : The same of softmax attention.
        chaosphere.UnnormalizedAttention.jvp : The same of unnormalised attention.
        """
        raise_no_derivative(type(self).__name__)

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int) -> Pullback:
        """Return the gradients of the sum of cotangent times `drift`: the transpose of `jvp`, and more.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens of the plan's shape; they are not checked again.
        cotangent : ndarray, shape (R, N, d)
            Any vectors, of the dtype of x.
        n_threads : int
            Does not change a bit of the result.

        Returns
        -------
        Pullback
            In the tokens, in the weights, and in the parameters of the interaction.

        Raises
        ------
        ValueError
            If the interaction has no derivative.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.jvp : The derivative in a direction.
        chaosphere.L2Attention.vjp : The same of attention by distances.
        chaosphere.MultiHeadAttention.vjp : The same of several heads.
        chaosphere.PotentialInteraction.vjp : The same of a drift along a potential.
        chaosphere.SinkhornAttention.vjp : The same of doubly stochastic attention.
        chaosphere.SoftmaxAttention.vjp : The same of softmax attention.
        chaosphere.UnnormalizedAttention.vjp : The same of unnormalised attention.
        chaosphere.interactions.protocol.Pullback : Gradients of a drift.
        """
        raise_no_derivative(type(self).__name__)

    def move(self, x: Tokens, step_size: float, *, n_threads: int, n_steps: int = 1) -> Tokens:
        """Return LN(x + τ drift(x)), n_steps times over.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            As in `drift`.
        step_size : float
            Length τ of a step.
        n_threads : int
            Does not change a bit of the result.
        n_steps : int
            At most `max_fused_steps`.

        Returns
        -------
        ndarray, shape (R, N, d)
            Tokens on the sphere.

        See Also
        --------
        chaosphere.MLPLayer.move : A step of the tokens under the layer.
        chaosphere.models.protocol.ModelPlan.advance : Take steps of a model.
        chaosphere.interactions.protocol.InteractionPlan.drift : The drift at every token.
        chaosphere.interactions.protocol.InteractionPlan.hold : Keep tokens that the drift cannot move.
        """
        start = x
        for _ in range(n_steps):
            v = drift_of(self, x, n_threads=n_threads)
            x = sphere.layer_norm_step(x, v, step_size, n_threads, in_place=True)
        return self.hold(x, start)

    def hold(self, x: Tokens, start: Tokens) -> Tokens:
        """Return the tokens after steps along the drift, with those that it cannot move at their start to the bit.

        A step against the token that is longer than it leads to the other side of the sphere; that is kept.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens after the steps; they are written to.
        start : ndarray, shape (R, N, d)
            Tokens before the steps.

        Returns
        -------
        ndarray, shape (R, N, d)
            The tokens x.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.move : Steps of the tokens along the drift.
        """
        if self.n_fixed > 0:
            ends, starts = x[:, : self.n_fixed], start[:, : self.n_fixed]
            is_near = np.einsum("rik,rik->ri", ends, starts) > 0
            ends[is_near] = starts[is_near]
        return x

    def at(self, time: float, *, step: int) -> InteractionPlan:
        """Return the plan at a time within a step, whose `drift` is that of this time: itself where nothing changes.

        Parameters
        ----------
        time : float
            t, from 0 to the horizon of the model.
        step : int
            The step of the model, from 0.

        Returns
        -------
        InteractionPlan
            For tokens of the same shape.

        See Also
        --------
        chaosphere.L2Attention.at : Attention by distances at a time.
        chaosphere.MultiHeadAttention.at : Several heads at a time.
        chaosphere.SinkhornAttention.at : Doubly stochastic attention at a time.
        chaosphere.SoftmaxAttention.at : Softmax attention at a time.
        chaosphere.UnnormalizedAttention.at : Unnormalised attention at a time.
        chaosphere.interactions.protocol.InteractionPlan.drift : The drift at every token.
        chaosphere.models.schemes.Flow.interaction_at : The interaction at a part of a step.
        """
        return self

    def rows(self, x: Tokens, *, first: int, stop: int, n_threads: int) -> Tokens:
        """Return rows first … stop − 1 of `drift`: bitwise those of the whole, at a share of the work where that is so.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            All tokens.
        first : int
            First row: where a block of the attention kernel starts.
        stop : int
            One past the last: where a block starts, or N.
        n_threads : int
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, stop − first, d)
            Drift at these tokens.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.drift : The drift at every token.
        chaosphere.interactions.protocol.InteractionPlan.distribute : Share an interaction between processes.
        """
        return np.ascontiguousarray(self.drift(x, n_threads=n_threads)[:, first:stop])

    def shared_drift(self, x: Tokens, partition: Partition, *, n_threads: int) -> Tokens:
        """Return the drift at the tokens that this process owns.

        The default gathers all tokens. An interaction that needs only sums over them adds up those of each process
        instead, by `Partition.total`, where `block` lets it.

        Parameters
        ----------
        x : ndarray, shape (R, stop − first, d)
            Tokens of this process.
        partition : Partition
            Which tokens these are.
        n_threads : int
            At least 1.

        Returns
        -------
        ndarray, shape (R, stop − first, d)
            Bitwise those rows of `drift`.

        See Also
        --------
        chaosphere.interactions.protocol.InteractionPlan.distribute : Share an interaction between processes.
        chaosphere.interactions.protocol.Partition.total : Add up what each process has.
        """
        first, stop = partition.first, partition.stop
        return self.rows(partition.gather(x), first=first, stop=stop, n_threads=n_threads)

    def distribute(self, partition: Partition) -> InteractionPlan:
        """Return the plan that takes and returns the tokens that this process owns.

        Parameters
        ----------
        partition : Partition
            Which tokens these are, and how to gather the others.

        Returns
        -------
        InteractionPlan
            Its `drift` takes the tokens of this process.

        Raises
        ------
        ValueError
            If the interaction cannot be shared between processes.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.distribute : Share a model between processes.
        chaosphere.interactions.protocol.InteractionPlan.rows : The drift at some tokens.
        chaosphere.interactions.protocol.InteractionPlan.shared_drift : The drift at the tokens that this process owns.
        """
        return _Distributed(self, partition)


class Interaction(Protocol):
    """A drift that depends on the empirical measure: what `Transformer(attention=...)` takes.

    `InteractionPlan` shows how to write one.

    See Also
    --------
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.UnnormalizedAttention : Attention without the division by the partition sum.
    chaosphere.SinkhornAttention : Doubly stochastic attention.
    chaosphere.L2Attention : Attention by distances.
    chaosphere.PotentialInteraction : Drift along the gradient of any potential of the cosine.
    chaosphere.models.protocol.Model : What a model offers.
    chaosphere.interactions.protocol.InteractionPlan : An interaction for tokens of one shape.

    Examples
    --------
    What a model asks of an interaction:

    >>> import chaosphere as cs
    >>> from chaosphere.common.shape import Shape
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> plan = attention.plan(Shape(n_tokens=100, dim=3))
    >>> attention.resolve(100, 3).method, plan.pairs
    ('direct', 10000.0)
    """

    def resolve(self, n_tokens: int, dim: int, dtype: Any = "float64") -> Interaction:
        """Return the interaction with every automatic choice made, as results record it.

        Parameters
        ----------
        n_tokens : int
            N.
        dim : int
            d.
        dtype : dtype
            float64 or float32.

        Returns
        -------
        Interaction
            Itself where there is nothing to choose.

        See Also
        --------
        chaosphere.SoftmaxAttention.resolve : The attention with its method chosen.
        chaosphere.MultiHeadAttention.resolve : Heads with their methods chosen.
        chaosphere.CustomInteraction.resolve : The interaction itself.
        chaosphere.L2Attention.resolve : Attention by distances with its choices made.
        chaosphere.PotentialInteraction.resolve : Drift along a potential with its method chosen.
        chaosphere.models.protocol.ModelPlan.describe : The model with its choices made.
        """

    def plan(self, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
        """Return the plan for tokens of this shape.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,) or (K, n), optional
            Of the source tokens, which come first; >= 0 with sum 1. None: 1/N for every token. Where `is_ordered`, also
            of K layers of n nodes, each with the sum 1, at the places (k − ½)/K of infinitely many tokens in order.

        Returns
        -------
        InteractionPlan
            Gives the drift.

        Raises
        ------
        TypeError, ValueError
            If the interaction does not serve this shape.

        See Also
        --------
        chaosphere.SoftmaxAttention.plan : Plan of the attention.
        chaosphere.MultiHeadAttention.plan : Plan of several heads.
        chaosphere.CustomInteraction.plan : Plan of a function.
        chaosphere.L2Attention.plan : Plan of attention by distances.
        chaosphere.PotentialInteraction.plan : Plan of the drift along a potential.
        chaosphere.models.protocol.Model.plan : Plan of any model.
        """


class _Distributed(InteractionPlan):
    """Each process evaluates its own rows."""

    def __init__(self, plan: InteractionPlan, partition: Partition) -> None:
        self.plan, self.partition, self.pairs = plan, partition, plan.pairs
        self.is_ordered = plan.is_ordered
        self.n_fixed = max(0, min(plan.n_fixed, partition.stop) - partition.first)

    def at(self, time: float, *, step: int) -> InteractionPlan:
        plan = self.plan.at(time, step=step)
        return self if plan is self.plan else _Distributed(plan, self.partition)

    def drift(self, x: Tokens, *, n_threads: int) -> Tokens:
        return self.plan.shared_drift(x, self.partition, n_threads=n_threads)


def plan_of(interaction: Interaction, shape: Shape, weights: Floats | None = None) -> InteractionPlan:
    """Return the plan that an interaction makes; TypeError if that is no plan."""
    plan = interaction.plan(shape, weights)
    source = f"{type(interaction).__name__}.plan"
    check_plan(plan, base=InteractionPlan, needs=("drift", "pairs"), source=source)
    return plan


def drift_of(plan: InteractionPlan, x: Tokens, *, n_threads: int) -> Tokens:
    """Return the drift at tokens (R, N, d); TypeError if the plan returns anything but an array like x."""
    drift = plan.drift(x, n_threads=n_threads)
    check_vectors(drift, f"{type(plan).__name__}.drift", x=x)
    return drift


def raise_no_derivative(name: str) -> NoReturn:
    """Raise NoDerivativeError, a ValueError: an interaction of this name has no derivative."""
    raise NoDerivativeError(
        f"{name} has no derivative: an interaction has one where its plan has the methods jvp and vjp, "
        "as that of SoftmaxAttention or PotentialInteraction"
    )


def check_interaction(value: object, name: str) -> None:
    """Raise TypeError unless an object offers what `Interaction` asks for, or is None."""
    if value is not None:
        rule = "a SoftmaxAttention, another interaction, or None"
        hint = "; CustomInteraction makes an interaction of a function" if callable(value) else ""
        check_part(value, name, rule=rule, members=("resolve", "plan"), hint=hint)


def check_schedule(interaction: object, *, n_steps: int, horizon: float) -> None:
    """Raise unless parameters that change serve a model of these steps, by the method `check_schedule`."""
    if callable(check := getattr(interaction, "check_schedule", None)):
        check(n_steps=n_steps, horizon=horizon)


def interaction_at(interaction: Interaction, time: float, *, step: int) -> Interaction:
    """Return an interaction at a time within a step, by the method `at`; itself where it has none."""
    at = getattr(interaction, "at", None)
    there: Interaction = at(time, step=step) if callable(at) else interaction
    return there


def mobility_of(interaction: object) -> float | None:
    """Return δ if an interaction moves tokens by −δ times the gradient of its `energy`, by its property `mobility`."""
    return getattr(interaction, "mobility", None)


def consensus_rate_of(interaction: object) -> float | None:
    """Return the rate at which two tokens of a cluster approach, by the property `consensus_rate`; None if unknown."""
    return getattr(interaction, "consensus_rate", None)


def beta_of(interaction: object) -> float | None:
    """Return β of an interaction of weights e^{β⟨x, y⟩}, by its field `beta`; None if it has none, or it changes."""
    beta = getattr(interaction, "beta", None)
    return beta if isinstance(beta, float) else None


def growth_of(interaction: object, beta: float, *, dim: int | None) -> EnergyGrowth | None:
    """Return how fast an interaction alone can raise E_β, by the method `energy_growth`; None if nothing is known."""
    energy_growth = getattr(interaction, "energy_growth", None)
    growth: EnergyGrowth | None = energy_growth(beta, dim=dim) if callable(energy_growth) else None
    return growth


def is_ordered_of(interaction: object) -> bool:
    """Whether a drift depends on the order of the tokens, as under a causal mask, by the property `is_ordered`."""
    return bool(getattr(interaction, "is_ordered", False))


def offered(interaction: object, method: str, *, name: str) -> Callable[..., Any]:
    """Return a method that not every interaction has; ValueError that names the argument where there is none."""
    function = getattr(interaction, method, None)
    if not callable(function):
        raise ValueError(f"{name} must be an interaction with the method {method}, got {messages.shown(interaction)}")
    bound: Callable[..., Any] = function
    return bound
