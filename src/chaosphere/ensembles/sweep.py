"""Swept parameters: their names, their values, and the models at the points of their grid."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from chaosphere.common import checks, messages
from chaosphere.common.errors import add_note
from chaosphere.models.protocol import Model, missing_members

HITTING_TIMES = "hitting_times"  # of the dataset, where a condition ends the runs
# Names of the dataset that are no parameter's or observable's.
RESERVED = ("replica", "time", "seed", "finished", HITTING_TIMES)
N_TOKENS = "n_tokens"  # in a sweep: the number of tokens, and no parameter of the model unless its function takes it
MEAN_SUFFIXES = ("_mean", "_low", "_high")


def parameter_values(values: Sequence[Any], name: str) -> np.ndarray[Any, Any]:
    """Return the values of a swept parameter as an array, checked; the model says whether one may be infinite."""
    values = checks.sequence(values, name)
    kinds = {isinstance(value, str) for value in values}
    try:
        array = np.array(values if len(kinds) == 1 else [])
    except ValueError:  # lists of different lengths
        array = np.array([])
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iufUb":
        raise ValueError(f"{name} must be a list of numbers or of strings, got {messages.shown(values)}")
    if len(np.unique(array)) < len(array) or (array.dtype.kind == "f" and np.isnan(array).any()):
        raise ValueError(f"{name} must be distinct and not NaN, got {messages.shown(values)}")
    return array


def check_names(sweep: Iterable[str], observe: Iterable[str]) -> None:
    """Raise TypeError or ValueError if a name cannot be one of the dataset's, or stands for two of its parts."""
    for name in [*sweep, *observe]:
        if name in RESERVED or (isinstance(name, str) and "/" in name):
            raise ValueError(
                f"sweep and observe need names other than {', '.join(RESERVED)} and without /, got {name!r}"
            )
    for name in sweep:
        checks.label(name, "a name in sweep")
    if set(sweep) & set(observe):
        raise ValueError(f"sweep and observe must not share names, got {sorted(set(sweep) & set(observe))}")
    checks.dataset_names(dict.fromkeys(observe, 0), others=(*RESERVED, *sweep), suffixes=MEAN_SUFFIXES)


def parameters_at(sweep: Mapping[str, Sequence[Any]], point: tuple[int, ...]) -> dict[str, Any]:
    """Return the values of the swept parameters at a point, by its indices."""
    return {name: values[i] for (name, values), i in zip(sweep.items(), point, strict=True)}


def models_at_points(
    model: Model | Callable[..., Model], sweep: Mapping[str, Sequence[Any]]
) -> dict[tuple[int, ...], Model]:
    """Return the model at every point of the grid, by the indices of its parameters' values.

    A swept number of tokens is passed to the function if it has a parameter of that name.

    Parameters
    ----------
    model : model, or function that returns one
        With swept parameters, it is called with one value of each by name.
    sweep : mapping of str to sequence
        The parameters' values as the user wrote them, which is how the function gets them.

    Raises
    ------
    TypeError
        If it is no model, or does not return one; what the function itself raises gets a note of the point.
    """
    is_model = not isinstance(model, type) and not missing_members(model)
    if is_model and set(sweep) - {N_TOKENS}:
        raise TypeError("model must be a function of the swept parameters that returns a model, where sweep is given")
    if not is_model and not callable(model):
        raise TypeError(f"model must be a model or a function that returns one, got {messages.shown(model)}")
    is_left_out = N_TOKENS in sweep and not is_model and not _takes_n_tokens(cast(Callable[..., Model], model))
    models: dict[tuple[int, ...], Model] = {}
    for point in np.ndindex(*map(len, sweep.values())):
        parameters = parameters_at(sweep, point)
        if is_left_out:
            parameters.pop(N_TOKENS)
        try:
            models[point] = cast(Model, model) if is_model else cast(Callable[..., Model], model)(**parameters)
        except Exception as error:
            add_note(error, f"while making the model for {parameters}")
            raise
        if missing := missing_members(models[point]):
            raise TypeError(
                f"model must return a model, got {messages.shown(models[point])} for {parameters}: it has no "
                f"{', '.join(missing)}"
            )
    return models


def _takes_n_tokens(function: Callable[..., Model]) -> bool:
    try:
        return N_TOKENS in inspect.signature(function).parameters
    except ValueError:  # some compiled functions have no signature
        return False
