"""Observables: functions of (time, tokens), the statistics that study files can name, and their threads.

To add a statistic to study files, add a line to `STATISTICS`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, cast, runtime_checkable

from chaosphere.common.checks import Tokens
from chaosphere.common.reprs import Brief
from chaosphere.measures import pairwise, statistics

Observable = Callable[[float, Tokens], Any]


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
        Takes tokens (R, N, d) and the options, and returns an array with R first.
    required, optional : tuple of str
        Names of its options, numbers all.
    has_threads : bool
        Whether it takes `n_threads`.
    at_least, at_most : float
        Range of its values, which intervals of its mean respect.
    """

    function: Callable[..., Any]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    has_threads: bool = False
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def options(self) -> tuple[str, ...]:
        """Names of all options."""
        return (*self.required, *self.optional)


STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "energy": Statistic(function=pairwise.energy, optional=("beta",), has_threads=True, at_least=0),
        "order_parameter": Statistic(function=statistics.order_parameter, at_least=0, at_most=1),
        "mean_cosine": Statistic(function=statistics.mean_cosine, at_least=-1, at_most=1),
        "pair_fraction": Statistic(function=pairwise.pair_fraction, required=("above",), at_least=0, at_most=1),
        "cluster_count": Statistic(function=statistics.cluster_count, required=("tolerance",), at_least=1),
    }
)


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
        threads = {"n_threads": self.n_threads} if self.statistic.has_threads else {}
        return self.statistic.function(x, **dict(self.options), **threads)
