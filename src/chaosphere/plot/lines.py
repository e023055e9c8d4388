"""Observables over time, with intervals over replicas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from chaosphere import stats
from chaosphere.common import checks
from chaosphere.common.checks import Floats, Tokens
from chaosphere.plot import style
from chaosphere.stats.intervals import limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@runtime_checkable
class HasObservables(Protocol):
    """What keeps observables of a run, such as a `Solution`."""

    times: Floats
    final: Tokens
    observables: Mapping[str, Any]


@runtime_checkable
class HasVariables(Protocol):
    """A labelled dataset, such as `ensemble` returns."""

    data_vars: Mapping[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """What is drawn of one observable.

    Attributes
    ----------
    name : str
    times, mean : ndarray, shape (n_times,)
    low, high : ndarray, shape (n_times,), or None
        Without replicas there is no interval.
    n_replicas : int
    """

    name: str
    times: Floats
    mean: Floats
    low: Floats | None = None
    high: Floats | None = None
    n_replicas: int = 1


def observables(
    run: Any,
    names: str | Sequence[str] | None = None,
    *,
    times: Any = None,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    label: str | None = None,
    ax: Any = None,
) -> Axes:
    """Draw observables over time; of replicas the mean, with its 99 % interval at each time.

    Parameters
    ----------
    run : Solution, Dataset or mapping of str to array_like
        A Solution of `simulate`; the Dataset of `ensemble`, at one point of its sweep; or arrays of shape (n_times,) or
        (n_times, R), one value for each of R independent replicas.
    names : str or sequence of str, optional
        Which observables; default: all.
    times : array_like, shape (n_times,)
        Of a mapping; a Solution and a Dataset have their own.
    at_least, at_most : float
        Range of the values, which intervals respect: none; from `at_least` on, such as 0 for an energy; or between
        both. See `chaosphere.stats.mean_interval`.
    label : str, optional
        For the legend, before the name of each observable. Default: the name alone.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure. A second call with the same axes adds lines in the next colours.

    Returns
    -------
    matplotlib.axes.Axes
        With a line for each observable.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError, ValueError
        If an argument is out of range, a name is unknown, or an observable is no number for each replica.

    See Also
    --------
    chaosphere.simulate : Run a model.
    chaosphere.ensemble : Run a model for many seeds and parameters.
    chaosphere.plot.save : Write a picture to a file.
    chaosphere.Solution.plot : Draw a run.

    Notes
    -----
    Replicas that share their noise (`shared_noise=True`) are independent conditional on the noise only: the interval
    then is for the mean under that noise. The intervals of a Dataset are those that it holds.

    Examples
    --------
    >>> import chaosphere as cs
    >>> model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=cs.MLP(width=16), depth=10, horizon=1.0)
    >>> x = cs.sample_uniform(20, 3, rng=0, n_replicas=8)
    >>> sol = cs.simulate(model, x, rng=0, observe={"energy": cs.measures.Energy(beta=1.0)})
    >>> ax = cs.plot.observables(sol)
    >>> ax.get_ylabel()
    'energy'
    """
    if label is not None:
        style.check_text(label, "label")
    curves = list(_curves(run, _names(names), times=times, limits=limits(at_least, at_most)))
    panel = style.axes(ax)
    n_before = sum(line.get_gid() == __name__ for line in panel.lines)
    for index, curve in enumerate(curves, start=n_before):
        colour = style.COLOURS[index % len(style.COLOURS)]
        words = style.plain(curve.name.replace("_", " "))
        shown = words if label is None else f"{label}: {words}" if len(curves) > 1 else label
        panel.plot(curve.times, curve.mean, color=colour, label=shown, gid=__name__)
        if curve.low is not None and curve.high is not None:
            band = f"{stats.CONFIDENCE:.0%} interval of the mean of {curve.n_replicas} replicas"
            is_new = band not in panel.get_legend_handles_labels()[1]
            panel.fill_between(
                curve.times,
                curve.low,
                curve.high,
                color=colour,
                alpha=0.25,
                linewidth=0,
                label=band if is_new else None,
            )
    panel.set(xlabel="time $t$", ylabel=style.plain(curves[0].name.replace("_", " ")) if len(curves) == 1 else "")
    if len(panel.get_legend_handles_labels()[1]) > 1:
        panel.legend(frameon=False)
    return panel


def _names(names: Any) -> list[str] | None:
    """Return the names that are asked for, as a list; None stands for all."""
    if names is None:
        return None
    listed = [names] if isinstance(names, str) else checks.sequence(names, "names")
    if not listed:
        raise ValueError("names must hold at least one name, got none")
    return listed


def _curves(run: Any, names: Sequence[str] | None, *, times: Any, limits: tuple[float, float]) -> Iterator[Curve]:
    if isinstance(run, HasVariables):
        _refuse_times(times)
        if limits != (-math.inf, math.inf):
            raise TypeError("at_least and at_most must not be given for a Dataset, which holds its intervals")
        yield from _of_dataset(run, names)
    elif isinstance(run, HasObservables):
        _refuse_times(times)
        n_replicas = len(run.final) if run.final.ndim == 3 else None
        for name in _chosen(names, run.observables):
            yield _of_array(name, run.observables[name], times=run.times, n_replicas=n_replicas, limits=limits)
    elif isinstance(run, Mapping):
        if times is None:
            raise TypeError("times must be given for a mapping of names to arrays")
        grid = checks.array(times, "times")
        if grid.ndim != 1:
            raise ValueError(f"times must have shape (n_times,), got {grid.shape}")
        if not np.isfinite(grid).all():
            raise ValueError(f"times must be finite, found {grid[~np.isfinite(grid)][0]}")
        if not all(isinstance(name, str) for name in run):
            raise TypeError(f"run must have names that are str, got {list(run)}")
        for name in _chosen(names, run):
            values = checks.array(run[name], f"run[{name!r}]")
            n_replicas = values.shape[1] if values.ndim == 2 else None
            yield _of_array(name, values, times=grid, n_replicas=n_replicas, limits=limits)
    else:
        raise TypeError(
            f"run must be a Solution, the Dataset of an ensemble, or a mapping of names to arrays, got "
            f"{type(run).__name__}"
        )


def _refuse_times(times: Any) -> None:
    if times is not None:
        raise TypeError("times must not be given: run has its own")


def _chosen(names: Sequence[str] | None, known: Mapping[str, Any]) -> Sequence[str]:
    if names is None:
        names = list(known)
    if not names:
        raise ValueError("run must hold observables: simulate(..., observe={'energy': ...}) records them")
    return [checks.choice(name, "names", known=known) for name in names]


def _of_array(name: str, values: Any, *, times: Floats, n_replicas: int | None, limits: tuple[float, float]) -> Curve:
    expected = (len(times),) if n_replicas is None else (len(times), n_replicas)
    if np.iscomplexobj(values) or np.shape(values) != expected:
        raise ValueError(
            f"run[{name!r}] must have shape {expected}, a real number at each time"
            f"{'' if n_replicas is None else ' for each replica'}, got {np.asarray(values).dtype} of shape "
            f"{np.shape(values)}; leave it out of names, or pass {{name: values[..., k]}} with times"
        )
    rows = np.asarray(values, dtype=np.float64).reshape(len(times), -1).T
    if len(rows) == 1:
        return Curve(name=name, times=times, mean=rows[0])
    mean, low, high = stats.mean_interval(rows, at_least=limits[0], at_most=limits[1])
    return Curve(name=name, times=times, mean=mean, low=low, high=high, n_replicas=len(rows))


def _of_dataset(dataset: Any, names: Sequence[str] | None) -> Iterator[Curve]:
    """Yield what `ensemble` has computed: NAME_mean, NAME_low and NAME_high."""
    known = {str(name): dataset[name] for name in dataset.data_vars if f"{name}_mean" in dataset.data_vars}
    for name in _chosen(names, known):
        mean, low, high = (dataset[f"{name}_{part}"] for part in ("mean", "low", "high"))
        if mean.dims != ("time",):
            others = [str(dim) for dim in mean.dims if dim != "time"]
            raise ValueError(
                f"run must have one line for {name!r}, got one for each {', '.join(others)}; choose a point by "
                f"run.sel({others[0]}=…)"
            )
        n_replicas = int(dataset["finished"].sum()) if "finished" in dataset else dataset.sizes["replica"]
        times = np.asarray(dataset["time"].values, dtype=np.float64)
        band = (None, None) if n_replicas < 2 else (low.values, high.values)
        yield Curve(name=name, times=times, mean=mean.values, low=band[0], high=band[1], n_replicas=n_replicas)
