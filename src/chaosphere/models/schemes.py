"""Schemes for the limiting equation. A scheme is an object that states its orders and how it takes a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from chaosphere.common.checks import Tokens
from chaosphere.interactions.protocol import InteractionPlan
from chaosphere.models.operations import Operations, Recorder, Velocity
from chaosphere.noise.protocol import Increment


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """The equation over one step: its drift, and the noise that falls into the step.

    Parameters
    ----------
    interaction : InteractionPlan or None
        Its drift.
    increment : callable or None
        ΔW, the common noise, as a function of position.
    own : ndarray, shape (R, N, d), or None
        The noise that each token has for itself.
    step_size : float
        Length h of the step.
    n_threads : int
        Does not change a bit of the result.
    time : float
        t at the start of the step.
    step : int
        The step, from 0.
    recorder : Recorder, optional
        Keeps the operations of the step for derivatives; x is then a variable of it.

    See Also
    --------
    chaosphere.models.schemes.Scheme : A way to take a step of the equation.

    Examples
    --------
    A step of a scheme under attention alone:

    >>> import chaosphere as cs
    >>> from chaosphere.common.shape import Shape
    >>> from chaosphere.models.schemes import SCHEMES, Flow
    >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=1)
    >>> plan = cs.SoftmaxAttention(beta=1.0).plan(Shape.of(x))
    >>> flow = Flow(
    ...     interaction=plan, increment=None, own=None, step_size=0.1, n_threads=1
    ... )
    >>> SCHEMES["heun"].step(x, flow).shape
    (1, 10, 3)
    """

    interaction: InteractionPlan | None
    increment: Increment | None
    own: Tokens | None
    step_size: float
    n_threads: int
    time: float = 0.0
    step: int = 0
    recorder: Recorder | None = None

    @property
    def operations(self) -> Operations:
        """What a step is made of: functions of the tokens that are recorded where a recorder is given.

        See Also
        --------
        chaosphere.models.schemes.Flow.velocity : Displacement of an Euler step.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.models.schemes import Flow
        >>> x, v = cs.sample_uniform(10, 3, rng=0, n_replicas=2)[:, None]
        >>> flow = Flow(
        ...     interaction=None, increment=None, own=None, step_size=0.1, n_threads=1
        ... )
        >>> y = flow.operations.layer_norm_step(x, v, alpha=0.1)
        >>> bool((y == cs.normalize(x + 0.1 * v)).all())
        True
        """
        return Operations(self.n_threads) if self.recorder is None else self.recorder

    @property
    def is_noisy(self) -> bool:
        """Whether there is any noise.

        See Also
        --------
        chaosphere.models.schemes.Flow.noise : The noise of a step.

        Examples
        --------
        >>> from chaosphere.models.schemes import Flow
        >>> flow = Flow(
        ...     interaction=None, increment=None, own=None, step_size=0.1, n_threads=1
        ... )
        >>> flow.is_noisy
        False
        """
        return self.increment is not None or self.own is not None

    def noise(self, x: Any) -> Any:
        """Return the noise of the step at every token: ΔW(x), plus each token's own.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.

        Returns
        -------
        ndarray, shape (R, N, d)
            Zero without noise.

        See Also
        --------
        chaosphere.models.schemes.Flow.is_noisy : Whether a step has noise.
        chaosphere.models.schemes.Flow.velocity : Displacement of an Euler step.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.models.schemes import Flow
        >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=1)
        >>> flow = Flow(
        ...     interaction=None, increment=None, own=0.1 * x, step_size=0.1, n_threads=1
        ... )
        >>> bool((flow.noise(x) == 0.1 * x).all())
        True
        """
        if self.increment is None:
            total = self.operations.constant(np.zeros(x.shape, x.dtype))
        else:
            total = self.operations.evaluate(x, Velocity(value=self.increment, source=self.increment, part="field"))
        return total if self.own is None else total + self.own

    def interaction_at(self, part: float) -> InteractionPlan | None:
        """Return the interaction at a part of the step: its parameters may change over time.

        Parameters
        ----------
        part : float
            0 for the start of the step, 1 for its end.

        Returns
        -------
        InteractionPlan or None
            Has the drift at this time; None where there is no interaction.

        See Also
        --------
        chaosphere.models.schemes.Flow.velocity : Displacement of an Euler step.
        chaosphere.interactions.protocol.InteractionPlan.at : The interaction at a time.

        Examples
        --------
        >>> from chaosphere.models.schemes import Flow
        >>> flow = Flow(
        ...     interaction=None, increment=None, own=None, step_size=0.1, n_threads=1
        ... )
        >>> flow.interaction_at(0.5) is None
        True
        """
        if self.interaction is None:
            return None
        return self.interaction.at(self.time + part * self.step_size, step=self.step)

    def velocity(self, x: Any, *, part: float = 0.5) -> Any:
        """Return P_x (h drift(x) + noise(x)), the displacement of an Euler step.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        part : float
            Part of the step at whose time the drift is taken, where it changes over time: 0 for the start of the step,
            1 for its end.

        Returns
        -------
        ndarray, shape (R, N, d)
            Orthogonal to x, token by token.

        See Also
        --------
        chaosphere.models.schemes.Flow.noise : The noise of a step.
        chaosphere.models.schemes.Flow.operations : What a step is made of.
        chaosphere.models.schemes.Flow.interaction_at : The interaction at a part of a step.
        chaosphere.models.schemes.Scheme.step : Take a step of the equation.

        Examples
        --------
        >>> import chaosphere as cs
        >>> from chaosphere.common.shape import Shape
        >>> from chaosphere.models.schemes import Flow
        >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=1)
        >>> plan = cs.SoftmaxAttention(beta=1.0).plan(Shape.of(x))
        >>> flow = Flow(
        ...     interaction=plan, increment=None, own=None, step_size=0.1, n_threads=1
        ... )
        >>> float(abs((flow.velocity(x) * x).sum(axis=2)).max()) < 1e-15
        True
        """
        total = self.noise(x)
        if (interaction := self.interaction_at(part)) is not None:
            displacement = x.dtype.type(self.step_size) * self.operations.evaluate(x, of_drift(interaction))
            displacement += total
            total = displacement
        return self.operations.tangent(x, total)


class Scheme(Protocol):
    """A way to take one step of length h that stays on the sphere.

    Attributes
    ----------
    order : int
        Without noise.
    strong_order, weak_order : float or None
        With noise; None where the scheme does not take any.
    evaluations : int
        Of the interaction and of the noise, in a step.
    is_ito : bool
        Whether the noise is evaluated at the start of a step alone, so that an equation of Itô is solved.
    is_milstein : bool
        Whether a step is one of the Milstein scheme to the order h, but for the Lévy areas of the noise. Take two runs,
        one with the noise of each two steps exchanged. Their mean then differs from the run of half as many steps by
        the order h (Giles and Szpruch 2014, doi:10.1214/13-AAP957).

    See Also
    --------
    chaosphere.LimitSDE : The limit of deep and wide transformers.
    chaosphere.LimitSDE.is_antithetic : Whether the scheme of an equation serves antithetic runs.
    chaosphere.models.schemes.Flow : Drift and noise over a step.

    Examples
    --------
    The projected Euler scheme, written anew:

    >>> import chaosphere as cs
    >>> from chaosphere.models.schemes import Scheme
    >>> class Euler(Scheme):
    ...     order, strong_order, weak_order, evaluations = 1, 0.5, 1.0, 1
    ...
    ...     def step(self, x, flow):
    ...         return cs.normalize(x + flow.velocity(x))
    >>> from chaosphere.common.shape import Shape
    >>> from chaosphere.models.schemes import SCHEMES, Flow
    >>> x = cs.sample_uniform(10, 3, rng=0, n_replicas=1)
    >>> plan = cs.SoftmaxAttention(beta=1.0).plan(Shape.of(x))
    >>> flow = Flow(
    ...     interaction=plan, increment=None, own=None, step_size=0.1, n_threads=1
    ... )
    >>> difference = Euler().step(x, flow) - SCHEMES["projected-euler"].step(x, flow)
    >>> bool(abs(difference).max() < 1e-15)
    True
    """

    order: int
    strong_order: float | None
    weak_order: float | None
    evaluations: int
    is_ito: bool = False
    is_milstein: bool = False

    def step(self, x: Any, flow: Flow) -> Any:
        """Return the tokens at the end of the step.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        flow : Flow
            Drift and noise of the step, its length and the threads.

        Returns
        -------
        ndarray, shape (R, N, d)
            Tokens on the unit sphere.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.advance : Take steps of a model.
        chaosphere.models.schemes.Flow.velocity : Displacement of an Euler step.
        """


class ProjectedEuler(Scheme):
    """X ← LN(X + P_X (h Attn + ΔW))."""

    order, strong_order, weak_order, evaluations = 1, 0.5, 1.0, 1
    is_ito = True

    def step(self, x: Any, flow: Flow) -> Any:
        """Return the tokens at the end of the step."""
        return flow.operations.layer_norm_step(x, flow.velocity(x), alpha=1.0)


class GeodesicEuler(Scheme):
    """From X along the great circle of P_X (h Attn + ΔW)."""

    order, strong_order, weak_order, evaluations = 1, 0.5, 1.0, 1
    is_ito = True

    def step(self, x: Any, flow: Flow) -> Any:
        """Return the tokens at the end of the step."""
        return flow.operations.geodesic(x, flow.velocity(x))


class Heun(Scheme):
    """The trapezoidal rule, with the end of a step of `ProjectedEuler` as the second point."""

    order, strong_order, weak_order, evaluations = 2, 0.5, 1.0, 2
    is_milstein = True

    def step(self, x: Any, flow: Flow) -> Any:
        """Return the tokens at the end of the step."""
        step = flow.operations.layer_norm_step
        first = flow.velocity(x, part=0.0)
        second = flow.velocity(step(x, first, alpha=1.0), part=1.0)
        return step(x, first + second, alpha=0.5)


class Split(Scheme):
    """The transformer with a Gaussian layer: a step of attention, then one of noise."""

    order, strong_order, weak_order, evaluations = 1, 0.5, 1.0, 1
    is_ito = True

    def step(self, x: Any, flow: Flow) -> Any:
        """Return the tokens at the end of the step."""
        if (interaction := flow.interaction_at(0.5)) is not None:
            x = flow.operations.move(x, of_drift(interaction), step=flow.step_size, fused=interaction.move)
        return flow.operations.layer_norm_step(x, flow.noise(x), alpha=1.0) if flow.is_noisy else x


class RungeKutta4(Scheme):
    """The classical method of order 4 for y ↦ P_{LN y} Attn(LN y), whose flow keeps the sphere; without noise."""

    order, strong_order, weak_order, evaluations = 4, None, None, 4

    def step(self, x: Any, flow: Flow) -> Any:
        """Return the tokens at the end of the step."""
        h, operations, step = flow.step_size, flow.operations, flow.operations.layer_norm_step
        start, middle, end = (flow.interaction_at(part) for part in (0.0, 0.5, 1.0))
        assert start is not None
        assert middle is not None
        assert end is not None

        def slope(y: Any, interaction: InteractionPlan) -> Any:
            return operations.tangent(y, operations.evaluate(y, of_drift(interaction)))

        k1 = slope(x, start)
        k2 = slope(step(x, k1, alpha=0.5 * h), middle)
        k3 = slope(step(x, k2, alpha=0.5 * h), middle)
        k4 = slope(step(x, k3, alpha=h), end)
        return step(x, k1 + 2 * k2 + 2 * k3 + k4, alpha=h / 6)


SCHEMES: dict[str, Scheme] = {
    "projected-euler": ProjectedEuler(),
    "geodesic-euler": GeodesicEuler(),
    "heun": Heun(),
    "split": Split(),
    "rk4": RungeKutta4(),
}
"""The schemes that `LimitSDE` knows, by name."""


def of_drift(interaction: InteractionPlan) -> Velocity:
    """Return the drift of an interaction."""
    return Velocity(value=interaction.drift, source=interaction, part="attention")
