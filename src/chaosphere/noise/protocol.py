"""What models need of a common noise: a random function of the tokens, drawn anew for every step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.plans import check_function, check_part, check_plan
from chaosphere.common.pullback import NoDerivativeError, Pullback
from chaosphere.common.shape import Shape
from chaosphere.common.streams import Draws, Stream

_MEMBERS = ("noise_plan", "is_ito")


class Increment(Protocol):
    """The noise over one time interval: a function of position, from `GaussianField.increment`.

    See Also
    --------
    chaosphere.noise.protocol.NoisePlan : A common noise for tokens of one shape.
    chaosphere.GaussianField : Gaussian noise with a given covariance.
    chaosphere.GaussianField.increment : The noise over a time interval.

    Examples
    --------
    The field is the same at all tokens and at the first two of them:

    >>> import numpy as np
    >>> import chaosphere as cs
    >>> from chaosphere.common.streams import Noise, Stream
    >>> field = cs.GaussianField(kernel=cs.MLP(width=1, activation="tanh").kernel(3))
    >>> draws = Noise(0).draws(Stream.BROWNIAN, 0)
    >>> increment = field.increment([draws], duration=0.1, n_tokens=5)
    >>> x = cs.sample_uniform(5, 3, rng=0, n_replicas=1)
    >>> np.allclose(increment(x)[:, :2], increment(x[:, :2]))
    True
    """

    def __call__(self, x: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return ΔW(x_i).

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        n_threads : int, optional
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Of the dtype of x.

        See Also
        --------
        chaosphere.GaussianField.increment : The noise over a time interval.
        chaosphere.noise.protocol.Increment.jvp : Its derivative in a direction.
        """

    def jvp(self, x: Tokens, tangent: Tokens, *, n_threads: int | None = None) -> Tokens:
        """Return the derivative of ΔW at tokens, in a direction at each.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        tangent : ndarray, shape (R, N, d)
            Vectors of R^d, of the dtype of x.
        n_threads : int, optional
            Does not change a bit of the result.

        Returns
        -------
        ndarray, shape (R, N, d)
            Of the dtype of x. Across the sphere the derivative is that of a polynomial of the same values.

        Raises
        ------
        ValueError
            If the noise has no derivative, as a field that is drawn at the tokens alone.

        See Also
        --------
        chaosphere.noise.protocol.Increment.vjp : The transpose of the derivative.
        chaosphere.noise.protocol.Increment.__call__ : The noise at the tokens.
        """
        raise NoDerivativeError(f"{type(self).__name__} has no derivative: write its methods jvp and vjp")

    def vjp(self, x: Tokens, cotangent: Tokens, *, n_threads: int | None = None) -> Pullback:
        """Return the gradient of Σ_i ⟨cotangent_i, ΔW(x_i)⟩.

        Parameters
        ----------
        x : ndarray, shape (R, N, d)
            Tokens on the unit sphere.
        cotangent : ndarray, shape (R, N, d)
            Vectors of R^d, of the dtype of x.
        n_threads : int, optional
            Does not change a bit of the result.

        Returns
        -------
        Pullback
            In the tokens, and in their weights where the noise depends on the measure.

        Raises
        ------
        ValueError
            If the noise has no derivative, as a field that is drawn at the tokens alone.

        See Also
        --------
        chaosphere.noise.protocol.Increment.jvp : The derivative in a direction.
        """
        raise NoDerivativeError(f"{type(self).__name__} has no derivative: write its methods jvp and vjp")


class NoisePlan(Protocol):
    """A common noise for tokens of one shape.

    Attributes
    ----------
    noise : CommonNoise
        The spec, with every automatic choice made.
    stream : Stream
        Where its normals come from.
    is_local : bool
        Whether several processes can share the tokens, each with the noise of its own.
    pairs : float
        Pair interactions of one evaluation, of one replica.

    See Also
    --------
    chaosphere.noise.protocol.CommonNoise : What a common noise offers.
    chaosphere.noise.protocol.Increment : The noise over a time interval, as a function.

    Examples
    --------
    >>> import chaosphere as cs
    >>> from chaosphere.common.shape import Shape
    >>> noise = cs.RandomAttention(beta=1.0)
    >>> plan = noise.noise_plan(Shape(n_tokens=10, dim=3))
    >>> plan.pairs, plan.n_normals(2)
    (100.0, 9)
    """

    noise: Any
    stream: Stream
    is_local: bool
    pairs: float

    def n_normals(self, n_parts: int) -> int:
        """Return how many numbers, of one replica, the increment over n_parts intervals holds at once.

        Parameters
        ----------
        n_parts : int
            Intervals whose noise is summed.

        Returns
        -------
        int
            Numbers of float64.

        See Also
        --------
        chaosphere.noise.protocol.NoisePlan.increment : The noise over a time interval.
        """
        raise NotImplementedError

    def increment(self, parts: Iterable[Draws], *, duration: float) -> Increment:
        """Return the noise over a time interval, the sum of that over its equal parts.

        Parameters
        ----------
        parts : iterable of Draws
            Item k draws the noise of the k-th part for every replica.
        duration : float
            Of the interval, all parts together.

        Returns
        -------
        Increment
            A function of the tokens (R, N, d).

        See Also
        --------
        chaosphere.noise.protocol.NoisePlan.n_normals : How many numbers it holds.
        chaosphere.noise.protocol.NoisePlan.distribute : Share the noise between processes.
        """
        raise NotImplementedError

    def distribute(self, partition: Any) -> NoisePlan:
        """Return the plan that takes and returns the tokens that this process owns.

        Parameters
        ----------
        partition : Partition
            Which tokens these are, and how to gather the others; see `chaosphere.interactions.protocol`.

        Returns
        -------
        NoisePlan
            Itself where the noise at a token depends on that token alone.

        See Also
        --------
        chaosphere.noise.protocol.NoisePlan.increment : The noise over a time interval.
        """
        return self

    def check_levels(self) -> None:
        """Raise if the noise of other numbers of tokens, or of sums of intervals, has another law or is not coupled.

        Raises
        ------
        ValueError
            If that is so: `estimate` compares such runs. By default never.

        See Also
        --------
        chaosphere.models.protocol.ModelPlan.check_levels : The same of a model.
        """
        return


class CommonNoise(Protocol):
    """Noise that moves all tokens together: `GaussianField`, `RandomAttention`, or one of your own.

    Attributes
    ----------
    is_ito : bool
        Whether the noise depends on the measure of the tokens, so that the limit of small steps is an Itô equation that
        no scheme with a second evaluation solves.

    See Also
    --------
    chaosphere.GaussianField : Gaussian noise with a given covariance.
    chaosphere.RandomAttention : Attention whose heads are drawn anew for every layer.
    chaosphere.noise.protocol.NoisePlan : A common noise for tokens of one shape.

    Examples
    --------
    >>> import chaosphere as cs
    >>> cs.RandomAttention(beta=1.0).is_ito
    True
    """

    @property
    def is_ito(self) -> bool:
        """Whether the noise depends on the measure of the tokens.

        See Also
        --------
        chaosphere.GaussianField.is_ito : That of a field: it does not.
        chaosphere.RandomAttention.is_ito : That of random attention: it does.
        """

    def noise_plan(self, shape: Shape, weights: Floats | None = None) -> NoisePlan:
        """Return the plan for tokens of one shape.

        Parameters
        ----------
        shape : Shape
            Replicas, tokens, dimension and dtype.
        weights : ndarray of float64, shape (n_sources,), optional
            Of the source tokens, which come first; see `chaosphere.interactions.protocol`.

        Returns
        -------
        NoisePlan
            Gives the increments.

        See Also
        --------
        chaosphere.GaussianField.noise_plan : Plan of a field.
        chaosphere.RandomAttention.noise_plan : Plan of random attention.
        """


def noise_plan_of(noise: CommonNoise, shape: Shape, weights: Floats | None = None) -> NoisePlan:
    """Return the plan that a common noise makes; TypeError if that is no plan."""
    plan = noise.noise_plan(shape, weights)
    needs = ("noise", "stream", "is_local", "pairs", "n_normals", "increment")
    check_plan(plan, base=NoisePlan, needs=needs, source=f"{type(noise).__name__}.noise_plan")
    check_part(plan.noise, f"{type(plan).__name__}.noise", rule="the common noise of the plan", members=_MEMBERS)
    return plan


def increment_of(plan: NoisePlan, parts: Iterable[Draws], *, duration: float) -> Increment:
    """Return the noise over a time interval; TypeError if the plan returns no function."""
    increment = plan.increment(parts, duration=duration)
    check_function(increment, f"{type(plan).__name__}.increment")
    return increment


def is_noise(value: object) -> bool:
    """Whether an object offers what `CommonNoise` asks for."""
    is_object = not isinstance(value, type)
    return is_object and callable(getattr(value, "noise_plan", None)) and hasattr(value, "is_ito")


def check_noise(value: object, name: str) -> None:
    """Raise TypeError unless an object is a common noise, or None."""
    if value is not None:
        rule = "a GaussianField, another common noise, or None"
        check_part(value, name, rule=rule, members=_MEMBERS)
