"""The TOML file of a study: read, checked key by key, as a `Study`."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks, files, messages
from chaosphere.common.errors import add_note
from chaosphere.ensembles.executors import EXECUTORS
from chaosphere.ensembles.study import Picture, Study, critical_noise_scale
from chaosphere.ensembles.study_parts import CONDITIONS, ModelFactory, field_names, law_and_size
from chaosphere.ensembles.study_table import Table, build, called, list_of_values
from chaosphere.ensembles.sweep import N_TOKENS, check_names, parameter_values
from chaosphere.measures.observables import STATISTICS, Measure, Statistic, measure, value_of
from chaosphere.models.protocol import Model, save_steps
from chaosphere.plot import style
from chaosphere.simulation.coalesce import check_coalesce
from chaosphere.simulation.until import Condition


def read(path: str | os.PathLike[str]) -> Study:
    """Read and check a study.

    Parameters
    ----------
    path : path
        A TOML file, such as those in `examples/`.

    Returns
    -------
    Study

    Raises
    ------
    TypeError, ValueError
        Naming the file, the table, the key, the value and what is allowed.
    OSError
        If the file cannot be read.
    """
    file, name = files.local(path, "file"), Path(path).stem
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))  # with or without a byte order mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: not a study: its values are nested too deeply") from error
    try:
        return _study(content, name)
    except (TypeError, ValueError) as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        raise type(error)(f"{path}: {error}{notes}") from error
    except OverflowError as error:
        raise ValueError(f"{path}: a number is too large: {error}") from error


def _study(content: dict[str, Any], name: str) -> Study:
    top = Table(content, "", allowed=("title", "model", "tokens", "sweep", "observe", "until", "run", "picture"))
    tokens = top.take("tokens")
    sweep, paths = _sweep(top.take("sweep", {}))
    law, n_tokens = law_and_size(tokens, is_swept=N_TOKENS in sweep)
    tables = top.take("model")
    run = Table(
        top.take("run"),
        "run",
        allowed=(
            *("replicas", "first_seed", "save_at", "coalesce"),
            *("executor", "workers", "threads", "scheduler", "memory_limit_gb"),
        ),
    )
    model = ModelFactory(values=tables, dim=law.dim, paths=paths)
    models = _models(model, sweep)
    fewest = min(sweep[N_TOKENS]) if n_tokens is None else n_tokens
    observe = {
        key: _measure(values, f"observe.{key}", name=key, n_tokens=fewest)
        for key, values in _tables(top.take("observe"), "observe")
    }
    check_names(sweep, observe)
    until = _until(top.take("until", None), n_tokens=fewest)
    save_at = run.take("save_at", None)
    if save_at is not None:
        save_at = [checks.number(value, "[run] save_at") for value in list_of_values(save_at, "[run] save_at")]
        shortest = min(models, key=lambda model: model.horizon)
        called("run", lambda: save_steps(save_at, shortest))
    study = Study(
        name=name,
        title=top.text("title", default=name),
        model=model,
        law=law,
        n_tokens=n_tokens,
        sweep=sweep,
        observe=observe,
        replicas=run.integer("replicas", low=1),
        first_seed=run.integer("first_seed", low=0, default=0),
        save_at=save_at,
        until=until,
        coalesce=called("run", lambda: check_coalesce(run.take("coalesce", None))),
        executor=run.choice("executor", tuple(EXECUTORS), default="none"),
        workers=run.integer("workers", low=1, default=None),
        threads=run.integer("threads", low=1, default=None),
        scheduler=run.text("scheduler", default=None),
        memory_limit_gb=run.number("memory_limit_gb", above=0, high=1e9, default=None),
        picture=_picture(top.take("picture", None), sweep=sweep, observe=observe),
    )
    _check_title(study)
    if study.first_seed + study.replicas > 2**63:
        raise ValueError(f"[run] first_seed must be below 2**63 less the replicas, got {study.first_seed}")
    if study.picture is not None and study.picture.critical:
        critical_noise_scale(study, study.picture.x)
    return study


def _check_title(study: Study) -> None:
    """Raise ValueError if the title cannot be written to a file or drawn, which would fail after the work else."""
    title = study.title
    if "\0" in title or title.encode(errors="ignore").decode() != title:  # the name of a file may be no text
        raise ValueError(f"title must be Unicode text without null characters, got {messages.shown(title)}")
    if study.picture is not None and "$" in title:
        style.check_text(title, "title")


def _models(model: ModelFactory, sweep: Mapping[str, list[Any]]) -> list[Model]:
    """Return the models with each swept value in turn and the others at their first; errors name the values."""
    first = {name: values[0] for name, values in sweep.items()}
    models = []
    for point in [first, *(first | {name: value} for name, values in sweep.items() for value in values[1:])]:
        try:
            models.append(model(**point))
        except (TypeError, ValueError) as error:
            if point:
                values = (f"{model.paths.get(name, name)} = {value!r}" for name, value in point.items())
                add_note(error, "with [sweep] " + ", ".join(values))
            raise
    return models


def _tables(values: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict) or not values:
        raise TypeError(f"{name} must hold at least one table, [{name}.NAME], got {messages.shown(values)}")
    yield from values.items()


def _sweep(values: Any) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Return the values of each parameter by the last part of its path, and the paths of those of [model]."""
    if not isinstance(values, dict):
        raise TypeError(f"sweep must be a table, [sweep], got {messages.shown(values)}")
    sweep: dict[str, list[Any]] = {}
    paths: dict[str, str] = {}
    for path, entry in values.items():
        name = path.split(".")[-1]
        if isinstance(entry, dict) and not {"from", "to", "count"} & set(entry):
            raise ValueError(f"[sweep] {path} must be a list or {{from, to, count}}; write dotted names in quotes")
        if name in sweep:
            raise ValueError(f"[sweep] {path} and {paths.get(name, name)} share the name {name!r}")
        sweep[name] = list_of_values(entry, f"[sweep] {path}")
        parameter_values(sweep[name], f"[sweep] {path}")
        if path == N_TOKENS:  # of the table [tokens]
            counts = (int(v) if isinstance(v, float) and v.is_integer() else v for v in sweep[name])  # of a range
            sweep[name] = [checks.integer(value, "[sweep] n_tokens", low=1) for value in counts]
        else:
            paths[name] = path
    return sweep, paths


def _measure(
    values: Any,
    where: str,
    *,
    n_tokens: int,
    name: Any = MISSING,
    others: Sequence[str] = (),
    is_of_tokens: bool = False,
) -> Measure:
    """Return the measure that a table names, by the key `measure` or its own name.

    The table may have other keys; the measure may have to be one of tokens alone.
    """
    known = tuple(kind for kind, statistic in STATISTICS.items() if not (is_of_tokens and statistic.is_of_radii))
    kind = Table(values, where).choice("measure", known, default=name)
    statistic = STATISTICS[kind]
    Table(values, where, allowed=("measure", *statistic.options, *others))
    for key in statistic.required:
        if key not in values:
            raise ValueError(f"[{where}] {key} must be given")
    observable = measure(kind, tuple((key, values[key]) for key in statistic.options if key in values))
    x = np.eye(2)[None, :n_tokens]
    called(where, lambda: value_of(observable, 0.0, tokens=x, radii=np.ones(x.shape[:2])))
    return observable


def _until(values: Any, *, n_tokens: int) -> Condition | None:
    """Return the condition that ends the runs."""
    if values is None:
        return None
    kind = Table(values, "until").choice("type", tuple(CONDITIONS))
    cls, options = CONDITIONS[kind], {key: value for key, value in values.items() if key != "type"}
    if "observable" in (names := field_names(cls)):
        keys = ("type", *(name for name in names if name != "observable"))
        observable = _measure(values, "until", n_tokens=n_tokens, others=keys, is_of_tokens=True)
        options = {key: value for key, value in options.items() if key in keys} | {"observable": observable}
        _check_range(options, STATISTICS[observable.name])
    condition: Condition = build(cls, "until", values=options)
    return condition


def _check_range(bounds: Mapping[str, Any], statistic: Statistic) -> None:
    """Raise ValueError if a bound is one that no value of the statistic reaches."""
    low, high = statistic.at_least, statistic.at_most
    for key, bound in bounds.items():
        if key in ("at_least", "at_most") and not low <= checks.number(bound, f"[until] {key}") <= high:
            raise ValueError(
                f"[until] {key} must be within the values of the measure, {low:g} to {high:g}, got {bound}"
            )


def _picture(values: Any, *, sweep: Mapping[str, Any], observe: Mapping[str, Any]) -> Picture | None:
    if values is None:
        return None
    table = Table(values, "picture", allowed=("value", "x", "y", "critical"))
    dims = ("time", *sweep)
    x = table.choice("x", dims)
    y = None if "y" not in table.values else table.choice("y", [d for d in dims if d != x])
    left = [d for d in sweep if d not in (x, y)]
    if len(left) > (1 if y is None else 0):
        raise ValueError(
            f"[picture] x and y must leave no more than one line to each panel; left over: {', '.join(left)}"
        )
    critical = table.take("critical", False)
    if not isinstance(critical, bool):
        raise TypeError(f"[picture] critical must be true or false, got {messages.shown(critical)}")
    if critical and (y != "noise_scale" or x == "time"):
        raise ValueError(
            f"[picture] critical needs y = 'noise_scale' and a swept parameter as x, got x = {messages.shown(x)}, "
            f"y = {messages.shown(y)}"
        )
    return Picture(value=table.choice("value", tuple(observe)), x=x, y=y, critical=critical)
