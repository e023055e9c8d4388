"""Observables: functions of tokens or of radii, the statistics that study files can name, and their threads.

To add a statistic to study files, add a line to `STATISTICS`.

More than half of this file is docstrings.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from chaosphere.common import checks
from chaosphere.common.arrays import of_replicas
from chaosphere.common.checks import Floats, Tokens
from chaosphere.common.ordered_sums import Sharing, count, over_tokens, own
from chaosphere.common.reprs import Brief
from chaosphere.interactions.protocol import Partition
from chaosphere.measures import pairwise, statistics


class StateObservable(Protocol):
    """An observable of tokens with radii: of a `Transformer` with normalization "pre" or "peri".

    See Also
    --------
    chaosphere.measures.RadiusMoment : Mean of a power of the radii.
    chaosphere.simulate : Run a model.
    chaosphere.measures.token_means.SharedStateObservable : An observable of radii of which each process has its own.

    Examples
    --------
    The largest radius:

    >>> import chaosphere as cs
    >>> class Largest:
    ...     def of_state(self, time, tokens, radii):
    ...         return radii.max(axis=-1)
    >>> attention = cs.SoftmaxAttention(beta=1.0)
    >>> model = cs.Transformer(
    ...     attention=attention, mlp=None, depth=10, horizon=1.0, normalization="peri"
    ... )
    >>> x = cs.sample_uniform(20, 3, rng=0)
    >>> sol = cs.simulate(model, x, rng=0, observe={"largest": Largest()})
    >>> sol.observables["largest"].shape
    (11,)
    """

    def of_state(self, time: float, tokens: Tokens, radii: Tokens) -> Any:
        """Return a number, or an array of fixed shape.

        Parameters
        ----------
        time : float
            t.
        tokens : ndarray, shape (N, d) or (R, N, d)
            Unit tokens, a read-only view.
        radii : ndarray, shape (N,) or (R, N)
            Their radii.

        Returns
        -------
        float or ndarray
            In an ensemble with R first.

        See Also
        --------
        chaosphere.measures.RadiusMoment.of_state : Mean of a power of the radii.
        """


OfTokens = Callable[[float, Tokens], Any]
Observable = OfTokens | StateObservable


def sees_radii(observable: object) -> bool:
    """Whether an object offers what `StateObservable` asks for."""
    return callable(getattr(observable, "of_state", None))


def value_of(observable: Observable, time: float, *, tokens: Tokens, radii: Tokens | None) -> Any:
    """Return what an observable gives: of the tokens, or of them and their radii."""
    if sees_radii(observable):
        return cast(StateObservable, observable).of_state(time, tokens, cast(Tokens, radii))
    return cast(OfTokens, observable)(time, tokens)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class RadiusMoment(checks.ByValue, Brief):
    """The mean of r^p over the tokens of each replica, as an observable of a model with radii.

    Parameters
    ----------
    power : float
        The power p.
    weights : array_like of float, shape (n,), optional
        Of the first n tokens, >= 0 with sum 1; the others have none. Those of a `MeanField` are its `weights`. Default:
        all tokens count alike.

    Raises
    ------
    TypeError, ValueError
        If the power is not a finite number, or weights are out of range.

    See Also
    --------
    chaosphere.Transformer : The discrete transformer; `normalization` "pre" and "peri" have radii.
    chaosphere.measures.Energy : The energy as an observable.
    chaosphere.measures.observables.StateObservable : An observable of radii of your own.
    chaosphere.simulate : Run a model.
    chaosphere.measures.token_means.SharedStateObservable : An observable of radii of which each process has its own.

    Examples
    --------
    Under noise alone the mean square of the radii grows as 1 + d κ(1) t:

    >>> import chaosphere as cs
    >>> mlp = cs.MLP(width=16, activation="tanh")
    >>> model = cs.Transformer(
    ...     attention=None, mlp=mlp, depth=10, horizon=2.0, normalization="pre"
    ... )
    >>> x = cs.sample_uniform(1, 3, rng=0, n_replicas=2000)
    >>> sol = cs.simulate(model, x, rng=0, observe={"square": cs.measures.RadiusMoment(power=2)})
    >>> squares = sol.observables["square"][-1]
    >>> mean, low, high = cs.stats.mean_interval(squares)
    >>> bool(low < 1 + 3 * mlp.kernel(3)(1.0) * 2 < high)
    True
    """

    power: float
    weights: Any = None

    def __post_init__(self) -> None:
        """Check."""
        checks.numbers(self, "power")
        if self.weights is not None:
            object.__setattr__(self, "weights", checks.weights(self.weights, np.size(self.weights)))

    def of_state(self, time: float, tokens: Tokens, radii: Tokens) -> Any:
        """Return the mean for radii (N,) or (R, N): a number, or an array of R.

        Parameters
        ----------
        time : float
            Not used.
        tokens : ndarray, shape (N, d) or (R, N, d)
            Not used.
        radii : ndarray, shape (N,) or (R, N)
            Radii r > 0.

        Returns
        -------
        float or ndarray of float64, shape (R,)
            Mean of r^p over the tokens.

        Raises
        ------
        ValueError
            If it is larger than any float.

        See Also
        --------
        chaosphere.measures.observables.StateObservable.of_state : What a run calls.
        chaosphere.measures.RadiusMoment.of_own_state : The mean over the radii of all processes.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> x = cs.sample_uniform(2, 3, rng=0)
        >>> float(cs.measures.RadiusMoment(power=2).of_state(0.0, x, np.array([1.0, 3.0])))
        5.0
        """
        return self._mean(radii, None)

    def of_own_state(self, time: float, tokens: Tokens, radii: Tokens, *, partition: Partition) -> Any:
        """Return the mean over the radii of all processes.

        Parameters
        ----------
        time : float
            Not used.
        tokens : ndarray, shape (n, d) or (R, n, d)
            Not used.
        radii : ndarray, shape (n,) or (R, n)
            Radii of the tokens of this process.
        partition : Partition
            Which tokens these are.

        Returns
        -------
        float or ndarray of float64, shape (R,)
            Bitwise the mean of all radii in one process.

        Raises
        ------
        ValueError
            If it is larger than any float.

        See Also
        --------
        chaosphere.measures.token_means.SharedStateObservable.of_own_state : What a run calls.
        chaosphere.measures.RadiusMoment.of_state : The mean of all radii.

        Examples
        --------
        >>> import numpy as np
        >>> import chaosphere as cs
        >>> from chaosphere.simulation.partition import rows
        >>> x, moment = cs.sample_uniform(2, 3, rng=0), cs.measures.RadiusMoment(power=2)
        >>> moment.of_own_state(0.0, x, np.array([1.0, 3.0]), partition=rows(None, 2))
        5.0
        """
        return self._mean(radii, partition)

    def _mean(self, radii: Tokens, partition: Partition | None) -> Any:
        batch = radii if radii.ndim == 2 else radii[None]
        n_tokens, p = count(batch, partition), self.weights
        if p is not None and len(p) > n_tokens:
            raise ValueError(f"weights must be at most one for each of the {n_tokens} tokens")
        if p is not None:
            p = np.append(p, np.zeros(n_tokens - len(p)))
        moment = radius_moment_of(batch, p, power=self.power, over=partition)
        return moment if radii.ndim == 2 else moment[0].item()


def radius_moment(radii: Tokens, *, power: float) -> Any:
    """Return the mean of r^power over radii (N,) or (R, N): a number, or an array of R; errors as `RadiusMoment`."""
    moment = radius_moment_of(radii if radii.ndim == 2 else radii[None], None, power=power)
    return moment if radii.ndim == 2 else moment[0].item()


def radius_moment_of(radii: Tokens, p: Floats | None, *, power: float, over: Sharing | None = None) -> Floats:
    """Return the means of r^power over radii (R, N), shape (R,); those of this process, and p of all, where shared.

    Raises
    ------
    ValueError
        If one is larger than any float.
    """
    mine = own(p, over)

    def terms(first: int, stop: int) -> Floats:
        powers = radii[:, first:stop].astype(np.float64) ** power
        # Where the weight is 0 the power may be infinite.
        return powers if mine is None else np.where(mine[first:stop] > 0, mine[first:stop] * powers, 0.0)

    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        total = over_tokens(terms, radii, over=over)
        moment = np.asarray(total / count(radii, over) if p is None else total)
    if not np.isfinite(moment).all():
        raise ValueError(
            f"power must be such that the mean of r^power is finite: it is not for power = {power:g} and radii from "
            f"{radii.min():.3g} to {radii.max():.3g}"
        )
    return moment


@runtime_checkable
class Threaded(Protocol):
    """An observable that can use threads: a dataclass with this field. None takes as many as the run that it is in."""

    n_threads: int | None


def with_threads(observable: Observable, n_threads: int) -> Observable:
    """Return an observable with this number of threads, if it is `Threaded` and its number is not set."""
    spec: object = observable
    if dataclasses.is_dataclass(type(spec)) and isinstance(spec, Threaded) and spec.n_threads is None:
        return cast(Observable, dataclasses.replace(cast(Any, spec), n_threads=n_threads))
    return observable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A function of tokens that a study can observe.

    Attributes
    ----------
    function : callable
        Takes tokens (R, N, d), or radii (R, N), and the options, and returns an array with R first.
    shared : callable, optional
        The same of tokens (R, n, d), or radii (R, n), of this process, where several own them: takes these, None for
        equal weights, `over` for the `Partition`, and the options. None where it needs all tokens in one place.
    required, optional : tuple of str
        Names of its options, numbers all.
    has_threads : bool
        Whether it takes `n_threads`.
    is_of_radii : bool
        Whether it takes radii.
    at_least, at_most : float
        Range of its values, which intervals of its mean respect.
    """

    function: Callable[..., Any]
    shared: Callable[..., Any] | None = None
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    has_threads: bool = False
    is_of_radii: bool = False
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def options(self) -> tuple[str, ...]:
        """Names of all options."""
        return (*self.required, *self.optional)


STATISTICS: dict[str, Statistic] = {
    "energy": Statistic(
        function=pairwise.energy, shared=pairwise.energy_of, optional=("beta",), has_threads=True, at_least=0
    ),
    "order_parameter": Statistic(
        function=statistics.order_parameter, shared=statistics.order_of, at_least=0, at_most=1
    ),
    "mean_cosine": Statistic(function=statistics.mean_cosine, shared=statistics.cosine_of, at_least=-1, at_most=1),
    "pair_fraction": Statistic(function=pairwise.pair_fraction, required=("above",), at_least=0, at_most=1),
    "cluster_count": Statistic(function=statistics.cluster_count, required=("tolerance",), at_least=1),
    "radius_moment": Statistic(
        function=radius_moment, shared=radius_moment_of, required=("power",), is_of_radii=True, at_least=0
    ),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Measure(Brief):
    """A statistic with its options, as an observable.

    Parameters
    ----------
    name : str
        In `STATISTICS`.
    options : tuple of (str, float)
    n_threads : int, optional
        Where the statistic takes it.

    Examples
    --------
    >>> import numpy as np
    >>> Measure(name="pair_fraction", options=(("above", 0.9),))(0.0, np.eye(2)[None])
    array([0.])
    """

    name: str
    options: tuple[tuple[str, float], ...] = ()
    n_threads: int | None = None

    @property
    def statistic(self) -> Statistic:
        """What is measured."""
        return STATISTICS[self.name]

    @property
    def words(self) -> str:
        """The name with its options, for an axis."""
        options = ", ".join(f"{key} {value:g}" for key, value in self.options)
        return self.name.replace("_", " ") + (f" ({options})" if options else "")

    def __call__(self, time: float, x: Tokens) -> Any:
        """Return the statistic of the tokens."""
        return self.statistic.function(x, **self._keywords())

    def _keywords(self) -> dict[str, Any]:
        """Return what the statistic takes besides the tokens."""
        threads = {"n_threads": self.n_threads} if self.statistic.has_threads else {}
        return dict(self.options) | threads


class SharedMeasure(Measure):
    """A statistic that no process needs all tokens for, with its options, as an observable.

    Examples
    --------
    >>> from chaosphere.simulation.partition import rows
    >>> shared = SharedMeasure(name="order_parameter")
    >>> shared.of_own(0.0, np.eye(2), partition=rows(None, 2)) == shared(0.0, np.eye(2))
    True
    """

    __slots__ = ()

    def of_own(self, time: float, tokens: Tokens, *, partition: Partition) -> Any:
        """Return the statistic of the tokens of all processes."""
        function = cast(Callable[..., Any], self.statistic.shared)
        batch = tokens if tokens.ndim == 3 else tokens[None]
        return of_replicas(function(batch, None, over=partition, **self._keywords()), tokens)


class RadiusMeasure(Measure):
    """A statistic of radii with its options, as an observable.

    Examples
    --------
    >>> import numpy as np
    >>> RadiusMeasure(name="radius_moment", options=(("power", 2.0),)).of_state(
    ...     0.0, np.eye(2)[None], np.array([[1.0, 3.0]])
    ... )
    array([5.])
    """

    __slots__ = ()

    def of_state(self, time: float, tokens: Tokens, radii: Tokens) -> Any:
        """Return the statistic of the radii."""
        return self.statistic.function(radii, **dict(self.options))

    def of_own_state(self, time: float, tokens: Tokens, radii: Tokens, *, partition: Partition) -> Any:
        """Return the statistic of the radii of all processes."""
        function = cast(Callable[..., Any], self.statistic.shared)
        batch = radii if radii.ndim == 2 else radii[None]
        return of_replicas(function(batch, None, over=partition, **dict(self.options)), tokens)


def measure(name: str, options: tuple[tuple[str, float], ...]) -> Measure:
    """Return a statistic of tokens, or of radii, with its options."""
    statistic = STATISTICS[name]
    if statistic.is_of_radii:
        return RadiusMeasure(name=name, options=options)
    return (Measure if statistic.shared is None else SharedMeasure)(name=name, options=options)
