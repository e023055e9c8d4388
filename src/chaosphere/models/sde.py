"""The deep-and-wide limit: a stochastic differential equation with attention as drift and a common noise field.

More than half of this file is docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import cast

from chaosphere.common import checks, schedules
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.fields import added
from chaosphere.common.pullback import NoDerivativeError
from chaosphere.common.reprs import Brief
from chaosphere.common.schedules import Schedule
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Noise, Stream
from chaosphere.interactions import layered
from chaosphere.interactions.per_layer import per_layer
from chaosphere.interactions.protocol import (
    Interaction,
    InteractionPlan,
    Partition,
    check_interaction,
    check_schedule,
    is_ordered_of,
    plan_of,
)
from chaosphere.models.adaptive import DormandPrince, tolerance_of
from chaosphere.models.operations import Recorder
from chaosphere.models.protocol import Cost, Inside, ModelPlan, StepContext, changes, in_steps
from chaosphere.models.schemes import SCHEMES, Flow
from chaosphere.noise.increments import normalized_rows
from chaosphere.noise.protocol import CommonNoise, Increment, check_noise, increment_of, noise_plan_of

_SCALES = {"low": 0.0, "high": 1e50}  # whose squares are finite, times any step


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LimitSDE(Brief):
    """The limiting equation of deep and wide transformers at initialisation, and a scheme for it.

    dX = P_X Attn(μ, X) dt + s P_X ∘ dW(X) + √(2τ) P_X ∘ dB^i   (Stratonovich; arXiv:2604.26898, the limiting SDE)

    W is the field of `GaussianField`, common to all tokens; B^i are independent Brownian motions in R^d. In place of W
    `RandomAttention` is a common noise that depends on μ; its docstring has the equation, which is an Itô equation.

    Parameters
    ----------
    attention : SoftmaxAttention, another interaction, a sequence of interactions, or None
        The drift; None for noise alone. A sequence has one interaction for each step.
    field : GaussianField, RandomAttention, another common noise, or None
        The common noise W; None for none.
    horizon : float
        T > 0.
    n_steps : int
        Steps of length h = T / n_steps.
    scheme : str
        All schemes stay on the sphere and share one limit. Orders in h, strong and weak:
        "projected-euler" (½, 1) X ← LN(X + P(Attn h + ΔW)); "geodesic-euler" (½, 1) along the great circle of
        P(Attn h + ΔW); "heun" (½, 1) trapezoidal, two evaluations, order 2 without noise;
        "split" (½, 1) the transformer with a Gaussian layer: attention, then noise; "rk4" order 4, without any noise;
        "dormand-prince" order 5, without any noise: each step is refined until `tolerance` holds.
    temperature : float
        Strength τ >= 0 of the noise that each token has for itself.
    n_fine_steps : int
        Each step takes the noise of this many finer ones; `coarsen` sets it.
    noise_scale : float, sequence of float, or callable
        Strength s >= 0 of the common noise: a number, one number for each step, or a function of the time t, which is
        taken in the middle of each step.
    tolerance : float, optional
        For "dormand-prince" alone, in [1e-13, 0.1]: the largest error of a token in one inner step. Default 1e-8; for
        tokens of float32 1e-5, and at least 1e-6.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, nothing would move, or the scheme does not suit the noise.

    See Also
    --------
    chaosphere.Transformer : The discrete transformer.
    chaosphere.GaussianField : Gaussian noise with a given covariance.
    chaosphere.SoftmaxAttention : Softmax attention.
    chaosphere.L2Attention : Attention by distances.
    chaosphere.CircleDensity : The mean-field limit on the circle, solved for its density.
    chaosphere.models.schemes.Scheme : A way to take a step of the equation.
    chaosphere.simulate : Run a model.
    chaosphere.coupled_run : Run a network and its limit under one noise.
    chaosphere.AxisymmetricDensity : The mean-field limit of densities that are symmetric about an axis.
    chaosphere.SphereDensity : The mean-field limit on S², solved for its density.

    Notes
    -----
    A step costs one (heun: two, rk4: four) evaluations of attention, O(N² d), and of the field.
    Parameters of the attention that are functions of t are taken in the middle of a step by the schemes of one
    evaluation; by heun at its start and end; by rk4 at its start, its middle (twice) and its end. So the orders are
    those of constant parameters, for smooth functions.

    "dormand-prince" takes six evaluations for each inner step. The pair of orders 5 and 4 is that of Dormand and Prince
    (J. Comput. Appl. Math. 6, 1980), with a PI controller (Hairer and Wanner, Solving Ordinary Differential Equations
    II, IV.2). Its tolerance is of one inner step, so the error of a run grows with their number and with the flow.
    Replicas have inner steps of their own; where parameters of the attention change over time, an evaluation is then
    one for each replica. Inner steps start anew in every step of the model, so that a resumed run is bitwise identical;
    few steps are best for long times. `simulate` records any time between them by the continuous extension of order 4
    (Hairer, Nørsett and Wanner, Solving Ordinary Differential Equations I, II.6), projected to the sphere: it has an
    error of the order of the tolerance, takes no evaluation, and does not change the inner steps. As for any explicit
    scheme, inner steps of tokens in one cluster are bounded by the rate at which they approach one another; more than
    10⁶ in one step end the run with an error. Of float64 tokens with N² d <= 2¹⁸ in direct softmax attention, QᵀK = βI,
    β >= 0, V = vI, a velocity below 1e-5 is summed from differences of tokens, so that it is accurate also where it is
    below 1e-16. NumPy sums them on one thread: an evaluation takes some milliseconds for 300 such tokens.

    Examples
    --------
    The limit of networks with erf layers:

    >>> import chaosphere as cs
    >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="erf").kernel(3))
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> model = cs.LimitSDE(attention=attention, field=field, horizon=1.0, n_steps=50)
    >>> cs.simulate(model, cs.sample_uniform(20, 3, rng=0), rng=0).final.shape
    (20, 3)
    """

    attention: Interaction | Sequence[Interaction] | None
    field: CommonNoise | None
    horizon: float
    n_steps: int
    scheme: str = "projected-euler"
    temperature: float = 0.0
    n_fine_steps: int = 1
    noise_scale: Schedule = added(1.0)
    tolerance: float | None = added(None)

    def __post_init__(self) -> None:
        """Check, and convert numbers to int and float."""
        object.__setattr__(self, "attention", per_layer(self.attention))
        check_interaction(self.attention, "attention")
        check_noise(self.field, "field")
        checks.integers(self, "n_steps", "n_fine_steps", low=1)
        checks.numbers(self, "horizon", above=0, high=checks.MAX_SIZE)
        checks.numbers(self, "temperature", low=0, high=checks.MAX_SIZE)
        object.__setattr__(self, "noise_scale", schedules.schedule(self.noise_scale, "noise_scale", **_SCALES))
        check_schedule(self.attention, n_steps=self.n_steps, horizon=self.horizon)
        self.noise_scales()
        checks.choice(self.scheme, "scheme", known=SCHEMES)
        if self.tolerance is not None:
            checks.numbers(self, "tolerance", low=1e-13, high=0.1)
            if self.scheme != "dormand-prince":
                raise ValueError(f"tolerance must be None for scheme={self.scheme!r}, whose steps are fixed")
        if self.attention is None and not self._is_noisy:
            raise ValueError("attention, field and temperature must not all be absent: nothing would move")
        if self._is_noisy and SCHEMES[self.scheme].strong_order is None:
            raise ValueError(
                f"scheme={self.scheme!r} is for attention alone; it has no order with a field or a temperature"
            )

        if self.field is not None and self.field.is_ito and not SCHEMES[self.scheme].is_ito:
            raise ValueError(
                f"scheme={self.scheme!r} does not suit a field that depends on the measure of the tokens: it evaluates "
                "the noise twice, and has another limit"
            )

    @property
    def _is_noisy(self) -> bool:
        return self.field is not None or self.temperature > 0

    def noise_scales(self) -> Floats:
        """Return the strength s of the common noise in every step.

        Returns
        -------
        ndarray of float64, shape (n_steps,)
            Read-only where it is one number.

        See Also
        --------
        chaosphere.Transformer.noise_scales : Noise scale of every layer of a network.

        Examples
        --------
        >>> import chaosphere as cs
        >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
        >>> model = cs.LimitSDE(
        ...     attention=None, field=field, horizon=1.0, n_steps=2, noise_scale=[1.0, 0.5]
        ... )
        >>> model.noise_scales()
        array([1. , 0.5])
        """
        return schedules.table(self.noise_scale, "noise_scale", n_steps=self.n_steps, horizon=self.horizon, **_SCALES)

    def coarsen(self, factor: int) -> LimitSDE:
        """Return the same equation with n_steps/factor steps, each driven by the sum of `factor` increments.

        Parameters
        ----------
        factor : int
            Divides n_steps.

        Returns
        -------
        LimitSDE
            With n_steps/factor steps.

        Raises
        ------
        ValueError
            If factor does not divide n_steps, or a parameter has one number for each step.

        See Also
        --------
        chaosphere.Transformer.coarsen : A network of fewer layers, under the same noise.
        chaosphere.LimitSDE.fine_steps : Finer steps whose noise a step takes.
        chaosphere.LimitSDE.with_steps : The same equation in any number of steps.

        Examples
        --------
        The distance of 16 and of 64 steps from 256 under one noise:

        >>> import chaosphere as cs
        >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
        >>> model = cs.LimitSDE(attention=None, field=field, horizon=1.0, n_steps=256)
        >>> x = cs.sample_uniform(100, 3, rng=0)
        >>> fine = cs.simulate(model, x, rng=0).final
        >>> coarse = [cs.simulate(model.coarsen(k), x, rng=0).final for k in (16, 4)]
        >>> [round(cs.measures.coupled_distance(fine, y), 3) for y in coarse]
        [0.099, 0.045]
        """
        factor = checks.integer(factor, "factor", low=1)
        if self.n_steps % factor:
            raise ValueError(f"factor must divide n_steps {self.n_steps}, got {factor}")
        return replace(self, n_steps=self.n_steps // factor, n_fine_steps=factor * self.n_fine_steps)

    def with_steps(self, n_steps: int) -> LimitSDE:
        """Return the same equation in another number of steps, each with a noise of its own.

        Unlike those of `coarsen`, runs of both with one seed are not coupled.

        Parameters
        ----------
        n_steps : int
            >= 1.

        Returns
        -------
        LimitSDE
            With n_steps steps.

        Raises
        ------
        TypeError, ValueError
            If n_steps is no integer >= 1, or a parameter has one number for each step.

        See Also
        --------
        chaosphere.LimitSDE.coarsen : The same equation in fewer steps, under the same noise.
        chaosphere.estimate : Expectation of an observable, in the limit of many steps.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10)
        >>> model.with_steps(40).n_steps
        40
        """
        return replace(self, n_steps=checks.integer(n_steps, "n_steps", low=1), n_fine_steps=1)

    @property
    def has_own_noise(self) -> bool:
        """Whether tokens have noise of their own.

        See Also
        --------
        chaosphere.Transformer.has_own_noise : Whether tokens of a network have noise of their own.
        chaosphere.MeanField.has_own_noise : Whether tokens of the limit have noise of their own.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(
        ...     attention=None, field=None, horizon=1.0, n_steps=10, temperature=0.5
        ... )
        >>> model.has_own_noise
        True
        """
        return self.temperature > 0

    @property
    def is_antithetic(self) -> bool:
        """Whether runs with the noise of each two steps exchanged help `estimate`: there is noise, and "heun" takes it.

        See Also
        --------
        chaosphere.estimate : Expectation of an observable, by several numbers of steps.
        chaosphere.models.schemes.Scheme : A way to take a step of the equation.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(
        ...     attention=None, field=None, horizon=1.0, n_steps=10, temperature=0.5, scheme="heun"
        ... )
        >>> model.is_antithetic
        True
        """
        return self._is_noisy and SCHEMES[self.scheme].is_milstein

    @property
    def is_ordered(self) -> bool:
        """Whether the drift depends on the order of the tokens: it does if that of the attention does.

        See Also
        --------
        chaosphere.SoftmaxAttention.is_ordered : Whether softmax attention has a mask.
        chaosphere.UnnormalizedAttention.is_ordered : Whether unnormalised attention has a mask.
        chaosphere.MultiHeadAttention.is_ordered : Whether a head has a mask.
        chaosphere.Transformer.is_ordered : Whether the attention of a network has a mask.

        Examples
        --------
        >>> import chaosphere as cs
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.LimitSDE(attention=attention, field=None, horizon=1.0, n_steps=10)
        >>> model.is_ordered
        False
        """
        return is_ordered_of(self.attention)

    def plan(self, shape: Shape, weights: Floats | None = None) -> SDEPlan:
        """Return the plan for tokens of one shape, as `simulate` uses it.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,), optional
            The first n_sources tokens make up the measure that moves all of them, with these weights; the rest are
            passive tracers. None: all of them, 1/N each.

        Returns
        -------
        SDEPlan
            Takes the steps.

        Raises
        ------
        TypeError, ValueError
            If attention or field do not serve this shape.

        See Also
        --------
        chaosphere.models.protocol.Model.plan : Plan of any model.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> attention = cs.SoftmaxAttention()
        >>> model = cs.LimitSDE(
        ...     attention=attention, field=None, horizon=1.0, n_steps=10, scheme="rk4"
        ... )
        >>> model.plan(Shape(n_tokens=100, dim=3)).cost.pairs  # attention four times
        40000.0
        """
        return SDEPlan(self, shape, weights)

    def fine_steps(self, index: int) -> range:
        """Return the finer steps whose noise a step takes.

        Parameters
        ----------
        index : int
            The step, from 0.

        Returns
        -------
        range
            Numbers of the finer steps, `n_fine_steps` of them.

        See Also
        --------
        chaosphere.LimitSDE.coarsen : The same equation in fewer steps, under the same noise.

        Examples
        --------
        >>> import chaosphere as cs
        >>> model = cs.LimitSDE(
        ...     attention=None, field=None, horizon=1.0, n_steps=12, temperature=0.5
        ... )
        >>> model.coarsen(4).fine_steps(1)
        range(4, 8)
        """
        return range(index * self.n_fine_steps, (index + 1) * self.n_fine_steps)


class SDEPlan(ModelPlan):
    """A scheme for tokens of one shape.

    Parameters
    ----------
    model : LimitSDE
    shape : Shape
    weights : ndarray of float64, shape (n_sources,), optional
    """

    def __init__(self, model: LimitSDE, shape: Shape, weights: Floats | None) -> None:
        self.scheme, self.shape, self.resolved = SCHEMES[model.scheme], shape, model
        self.refined: DormandPrince | None = None
        if model.scheme == "dormand-prince":
            self.refined = DormandPrince(tolerance=tolerance_of(model.tolerance, shape.dtype))
            self.scheme = self.refined
        self.attention: InteractionPlan | None = None
        if model.attention is not None:
            attention = cast(Interaction, model.attention)
            resolved = attention.resolve(shape.n_tokens, shape.dim, shape.dtype)
            self.resolved = replace(self.resolved, attention=resolved)
            self.attention = plan_of(attention, shape, weights)
        self.is_ordered = self.attention is not None and self.attention.is_ordered
        self.block = 1 if self.attention is None else self.attention.block
        self.is_dense = self.refined is not None
        self.own_rows = (0, shape.n_tokens)
        self.changing = frozenset(["attention"] * (self.attention is not None and changes(self.attention)))
        self.field = None if model.field is None else noise_plan_of(model.field, shape, layered.of_all(weights))
        if self.field is not None:
            self.resolved = replace(self.resolved, field=self.field.noise)
            self.block = self.block if self.field.pairs == 0 else 1  # pairs have blocks of their own
        self.step_size, self.noise_scales = model.horizon / model.n_steps, model.noise_scales()
        self.own_scale = math.sqrt(2 * model.temperature * self.step_size)
        n_normals = 0 if self.field is None else self.field.n_normals(model.n_fine_steps)
        if model.temperature > 0:
            n_normals += model.n_fine_steps * shape.n_tokens * shape.dim
        n_pairs = sum(part.pairs for part in (self.attention, self.field) if part is not None)
        self.cost = Cost(
            pairs=self.scheme.evaluations * n_pairs,
            normals=n_normals,
            bytes=16 * shape.n_replicas * n_normals,
            is_least=self.refined is not None,
        )

    def advance(self, x: Tokens, steps: range, context: StepContext) -> Tokens:
        """Return the tokens after a step; see `ModelPlan`."""
        for index in steps:
            flow = self._flow(index, context)
            start, x = x, self.scheme.step(x, flow)
            if self.attention is not None and not flow.is_noisy:
                x = self.attention.hold(x, start)
        return x

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
        """Take a step, in inner steps where the scheme has them; see `ModelPlan`."""
        if self.refined is None:
            return self.advance(x, range(step, step + 1), context), None
        return self.refined.refine(x, self._flow(step, context), start=start, stop=stop, inside=inside)

    def advance_through(self, x: Tokens, step: int, *, inside: Inside, context: StepContext) -> Tokens:
        """Take a step and fill in the tokens at times within it, where the scheme has them; see `ModelPlan`."""
        if self.refined is None or self.attention is None:
            return self.advance(x, range(step, step + 1), context)
        end, _ = self.refined.refine(x, self._flow(step, context), inside=inside)
        for state in inside.states:
            self.attention.hold(state, x)
        return self.attention.hold(end, x)

    def record(self, x: Tokens, step: int, *, context: StepContext, is_exact: bool = False) -> Recorder:
        """Return a step with its operations; see `ModelPlan`."""
        recorder = Recorder(x, n_threads=context.n_threads, is_exact=is_exact)
        flow = self._flow(step, context, recorder=recorder)
        try:
            self.scheme.step(recorder.start(), flow)
        except TypeError as error:  # of a function that takes arrays alone
            name = type(self.scheme).__name__
            raise NoDerivativeError(
                f"scheme: {name} has no derivative, as its step is not made of flow.operations alone ({error})"
            ) from error
        if self.attention is not None and not flow.is_noisy:
            recorder.state = self.attention.hold(recorder.state, x)
        return recorder

    def _flow(self, index: int, context: StepContext, *, recorder: Recorder | None = None) -> Flow:
        return Flow(
            interaction=self.attention,
            increment=self.increment(index, context.noise),
            own=self._own_noise(index, context.noise),
            step_size=self.step_size,
            n_threads=context.n_threads,
            time=index * self.step_size,
            step=index,
            recorder=recorder,
        )

    def increment(self, index: int, noise: Noise) -> Increment | None:
        """Return the common noise of step `index` (from 0) as a function of position; None without a field."""
        if self.field is None:
            return None
        parts = (noise.draws(self.field.stream, k) for k in self.resolved.fine_steps(index))
        return increment_of(self.field, parts, duration=float(self.noise_scales[index]) ** 2 * self.step_size)

    def _own_noise(self, index: int, noise: Noise) -> Tokens | None:
        """Return √(2τh) times standard normals of each token's own."""
        if self.own_scale == 0:
            return None
        parts = (noise.draws(Stream.IDIOSYNCRATIC, k) for k in self.resolved.fine_steps(index))
        normals = normalized_rows(parts, self.own_rows, dim=self.shape.dim)
        return (self.own_scale * normals).astype(self.shape.dtype)

    def distribute(self, partition: Partition) -> SDEPlan:
        """Return the plan for the tokens that this process owns; see `ModelPlan`."""
        if self.resolved.scheme == "dormand-prince":
            raise ValueError("comm needs another scheme than 'dormand-prince', whose steps depend on all tokens")
        mine = copy(self)
        mine.own_rows = (partition.first, partition.stop)
        if self.field is not None:
            mine.field = self.field.distribute(partition)
        if self.attention is not None:
            mine.attention = self.attention.distribute(partition)
        return mine

    def check_levels(self, x0: Tokens | None) -> None:
        """Raise if the field is another one in other numbers of tokens and steps; see `ModelPlan`."""
        # From the same tokens, and with one value for each step, there is one level alone.
        is_alone = x0 is not None and in_steps(self.resolved, 2 * self.resolved.n_steps) is None
        if self.field is not None and not is_alone:
            self.field.check_levels()

    def describe(self) -> LimitSDE:
        """Return the model with every automatic choice made."""
        return self.resolved
