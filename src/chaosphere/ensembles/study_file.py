"""The TOML file of a study: read, checked key by key, made into a `Study`."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chaosphere.common import checks, files
from chaosphere.ensembles.study import Picture, Study, critical_noise_scale
from chaosphere.ensembles.sweep import check_names, parameter_values
from chaosphere.geometry import laws
from chaosphere.geometry.laws import Law
from chaosphere.interactions.softmax import SoftmaxAttention
from chaosphere.measures.observables import STATISTICS, Measure
from chaosphere.models.protocol import Steps, save_steps
from chaosphere.models.sde import LimitSDE
from chaosphere.models.transformer import Transformer
from chaosphere.noise.gaussian import GaussianField
from chaosphere.noise.mlp import MLP
from chaosphere.reporting import plotting

_EXECUTORS = ("none", "processes", "dask", "mpi")
_LAWS = {"uniform": laws.Uniform, "von-mises-fisher": laws.VonMisesFisher}
_MAX_COUNT = 100_000  # values of a swept parameter
_KERNEL_KEYS = ("activation", "bias_std", "output_bias_std", "weight_std")


def read(path: str | os.PathLike[str]) -> Study:
    """Read and check a study.

    Parameters
    ----------
    path : path
        A TOML file; the README shows one whole, `examples/` others.

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


class _Table:
    """One table of the file: keys are taken from it one by one, and what is left over is an error."""

    def __init__(self, values: Any, name: str, allowed: Sequence[str]) -> None:
        self.name, self.where = name, f"[{name}] " if name else ""
        if not isinstance(values, dict):
            raise TypeError(f"{name} must be a table, [{name}], got {values!r}")
        self.values: dict[str, Any] = values
        for key in values:
            if key not in allowed:
                raise ValueError(f"{self.where}unknown key {_unknown(key, allowed)}")

    def take(self, key: str, default: Any = dataclasses.MISSING) -> Any:
        if key not in self.values and default is dataclasses.MISSING:
            raise ValueError(f"{self.where}{key if self.name else f'a table [{key}]'} must be given")
        return self.values.get(key, default)

    def choice(self, key: str, allowed: Sequence[str], default: Any = dataclasses.MISSING) -> str:
        value = self.take(key, default)
        if value not in allowed:
            raise ValueError(f"{self.where}{key}: unknown {_unknown(value, allowed)}")
        return str(value)

    def integer(self, key: str, *, low: int, default: Any = dataclasses.MISSING) -> Any:
        value = self.take(key, default)
        return value if value is None else checks.integer(value, f"{self.where}{key}", low=low)

    def number(self, key: str, *, default: Any = dataclasses.MISSING, **bounds: float) -> Any:
        value = self.take(key, default)
        return value if value is None else checks.number(value, f"{self.where}{key}", **bounds)

    def text(self, key: str, default: Any = dataclasses.MISSING) -> Any:
        value = self.take(key, default)
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{self.where}{key} must be a string, got {value!r}")
        return value


def _unknown(value: Any, allowed: Sequence[str]) -> str:
    near = [name for name in allowed if name.split(".")[-1] == value]
    near = near or difflib.get_close_matches(str(value), allowed, n=1)
    return f"{value!r}; {f'did you mean {near[0]!r}? ' if near else ''}allowed: {', '.join(allowed) or 'none'}"


def _study(content: dict[str, Any], name: str) -> Study:
    top = _Table(content, "", ("title", "model", "tokens", "sweep", "observe", "run", "picture"))
    tokens = top.take("tokens")
    law, n_tokens = _law(tokens)
    tables = top.take("model")
    run = _Table(
        top.take("run"),
        "run",
        ("replicas", "first_seed", "save_at", "executor", "workers", "threads", "scheduler", "memory_limit_gb"),
    )
    sweep, paths = _sweep(top.take("sweep", {}))
    model = _factory(tables, law.dim, paths)
    models = _models(model, sweep, paths)
    observe = {key: _measure(values, key, n_tokens) for key, values in _tables(top.take("observe"), "observe")}
    check_names(sweep, observe)
    save_at = run.take("save_at", None)
    if save_at is not None:
        save_at = [checks.number(value, "[run] save_at") for value in _values(save_at, "[run] save_at")]
        _prefixed("run", save_steps, save_at, min(models, key=lambda one: one.horizon))
    asked = Study(
        name=name,
        title=top.text("title", name),
        model=model,
        law=law,
        n_tokens=n_tokens,
        sweep=sweep,
        observe=observe,
        replicas=run.integer("replicas", low=1),
        first_seed=run.integer("first_seed", low=0, default=0),
        save_at=save_at,
        executor=run.choice("executor", _EXECUTORS, "none"),
        workers=run.integer("workers", low=1, default=None),
        threads=run.integer("threads", low=1, default=None),
        scheduler=run.text("scheduler", None),
        memory_limit_gb=run.number("memory_limit_gb", above=0, high=1e9, default=None),
        picture=_picture(top.take("picture", None), sweep, observe),
    )
    _check_title(asked)
    if asked.first_seed + asked.replicas > 2**63:
        raise ValueError(f"[run] first_seed must be below 2**63 less the replicas, got {asked.first_seed}")
    if asked.picture is not None and asked.picture.critical:
        critical_noise_scale(asked, asked.picture.x)
    return asked


def _check_title(study: Study) -> None:
    """Raise ValueError if the title cannot be written to a file or drawn, which is found out after the work else."""
    title = study.title
    if "\0" in title or title.encode(errors="ignore").decode() != title:  # the name of a file may be no text
        raise ValueError(f"title must be Unicode text without null characters, got {title!r}")
    if study.picture is not None and "$" in title:
        plotting.check_text(title, "title")


def _models(model: Callable[..., Steps], sweep: dict[str, list[Any]], paths: Mapping[str, str]) -> list[Any]:
    """Return the models with each swept value in turn and the others at their first; errors tell the values."""
    first = {name: values[0] for name, values in sweep.items()}
    found = []
    for point in [first, *(first | {name: value} for name, values in sweep.items() for value in values[1:])]:
        try:
            found.append(model(**point))
        except (TypeError, ValueError) as error:
            if point:
                error.add_note("with [sweep] " + ", ".join(f"{paths[name]} = {point[name]!r}" for name in point))
            raise
    return found


def _tables(values: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(values, dict) or not values:
        raise TypeError(f"{name} must hold at least one table, [{name}.NAME], got {values!r}")
    yield from values.items()


def _law(values: Any) -> tuple[Law, int]:
    kind = _Table(values, "tokens", tuple(values) if isinstance(values, dict) else ()).choice(
        "law", tuple(_LAWS), "uniform"
    )
    cls = _LAWS[kind]
    fields = [field.name for field in dataclasses.fields(cls)]
    table = _Table(values, "tokens", ("law", "n_tokens", *fields))
    n_tokens = table.integer("n_tokens", low=1)
    given = {key: value for key, value in values.items() if key in fields}
    return _make(cls, given, "tokens"), n_tokens


def _make(cls: Any, values: dict[str, Any], where: str) -> Any:
    """Return cls(**values), its errors naming the table."""
    fields = dataclasses.fields(cls)
    _Table(values, where, [field.name for field in fields])
    for field in fields:
        if field.name not in values and field.default is dataclasses.MISSING:
            raise ValueError(f"[{where}] {field.name} must be given")
    return _prefixed(where, cls, **values)


def _prefixed(where: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what the call returns; its errors name the table."""
    try:
        return function(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"[{where}] {error}") from error


def _factory(values: Any, dim: int, paths: Mapping[str, str]) -> Callable[..., Steps]:
    """Return the function from swept values, by the last parts of their paths, to models."""
    kind = _Table(values, "model", tuple(values) if isinstance(values, dict) else ()).choice(
        "type", ("transformer", "limit"), "transformer"
    )
    cls: Any = Transformer if kind == "transformer" else LimitSDE
    tables = ("attention", "mlp") if kind == "transformer" else ("attention", "field")
    own = [f.name for f in dataclasses.fields(cls) if f.name not in (*tables, "n_merged")]
    allowed = {
        "attention": [f.name for f in dataclasses.fields(SoftmaxAttention)],
        "mlp": [f.name for f in dataclasses.fields(MLP)],
        "field": [*_KERNEL_KEYS, "method", "tolerance", "width"],
    }
    _Table(values, "model", ["type", *tables, *own])
    for name in tables:
        if name in values:
            _Table(values[name], f"model.{name}", allowed[name])
    sweepable = [*own, *(f"{name}.{key}" for name in tables if name in values for key in allowed[name])]
    for path in paths.values():
        if path not in sweepable:
            raise ValueError(f"[sweep] unknown parameter {_unknown(path, sweepable)}")
        *table, key = path.split(".")
        if key in (values[table[0]] if table else values):
            raise ValueError(f"[sweep] {path} must not be given in [{'.'.join(['model', *table])}] as well")

    def model(**point: Any) -> Steps:
        merged = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
        merged.pop("type", None)
        for name, value in point.items():
            *table, key = paths[name].split(".")
            (merged[table[0]] if table else merged)[key] = value
        parts: dict[str, Any] = dict.fromkeys(tables)
        if "attention" in merged:
            parts["attention"] = _make(SoftmaxAttention, merged.pop("attention"), "model.attention")
        if "mlp" in merged:
            parts["mlp"] = _make(MLP, merged.pop("mlp"), "model.mlp")
        if "field" in merged:
            given = merged.pop("field")
            network = {"width": 1} | {key: given[key] for key in _KERNEL_KEYS if key in given}
            kernel = _make(MLP, network, "model.field").kernel(dim)
            rest = {key: value for key, value in given.items() if key not in _KERNEL_KEYS}
            parts["field"] = _make(GaussianField, {"kernel": kernel} | rest, "model.field")
        made: Steps = _make(cls, merged | parts, "model")
        return made

    return model


def _sweep(values: Any) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """Return the values of each parameter, and its path in [model], by the last part of that path."""
    if not isinstance(values, dict):
        raise TypeError(f"sweep must be a table, [sweep], got {values!r}")
    sweep: dict[str, list[Any]] = {}
    paths: dict[str, str] = {}
    for path, given in values.items():
        name = path.split(".")[-1]
        if isinstance(given, dict) and not {"from", "to", "count"} & set(given):
            raise ValueError(f"[sweep] {path} must be a list or {{from, to, count}}; write dotted names in quotes")
        if name in sweep:
            raise ValueError(f"[sweep] {path} and {paths[name]} share the name {name!r}")
        sweep[name], paths[name] = _values(given, f"[sweep] {path}"), path
        parameter_values(sweep[name], f"[sweep] {path}")
    return sweep, paths


def _values(given: Any, where: str) -> list[Any]:
    """Return a list of values, written out or as {from, to, count, scale}."""
    if isinstance(given, list):
        if not given:
            raise ValueError(f"{where} must not be empty")
        return given
    if not isinstance(given, dict):
        raise TypeError(
            f"{where} must be a list or {{from = …, to = …, count = …, scale = 'linear' or 'log'}}, got {given!r}"
        )
    for key in given:
        if key not in ("from", "to", "count", "scale"):
            raise ValueError(f"{where}: unknown key {_unknown(key, ('from', 'to', 'count', 'scale'))}")
    for key in ("from", "to", "count"):
        if key not in given:
            raise ValueError(f"{where}.{key} must be given")
    count = checks.integer(given["count"], f"{where}.count", low=1)
    if count > _MAX_COUNT:
        raise ValueError(f"{where}.count must be at most {_MAX_COUNT}, got {count}")
    scale = given.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise ValueError(f"{where}.scale: unknown {_unknown(scale, ('linear', 'log'))}")
    bounds = {"above": 0.0} if scale == "log" else {}
    start, stop = (checks.number(given[key], f"{where}.{key}", **bounds) for key in ("from", "to"))
    spaced = np.linspace(start, stop, count) if scale == "linear" else np.geomspace(start, stop, count)
    # Twelve digits print as they were meant: 0.1 + 0.2 as 0.3.
    return [float(f"{value:.12g}") for value in spaced]


def _measure(values: Any, name: str, n_tokens: int) -> Measure:
    where = f"observe.{name}"
    kind = _Table(values, where, tuple(values) if isinstance(values, dict) else ()).choice(
        "measure", tuple(STATISTICS), name
    )
    statistic = STATISTICS[kind]
    _Table(values, where, ("measure", *statistic.options))
    for key in statistic.required:
        if key not in values:
            raise ValueError(f"[{where}] {key} must be given")
    measure = Measure(name=kind, options=tuple((key, values[key]) for key in statistic.options if key in values))
    _prefixed(where, measure, 0.0, np.eye(2)[None, :n_tokens])
    return measure


def _picture(values: Any, sweep: Mapping[str, Any], observe: Mapping[str, Any]) -> Picture | None:
    if values is None:
        return None
    table = _Table(values, "picture", ("value", "x", "y", "critical"))
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
        raise TypeError(f"[picture] critical must be true or false, got {critical!r}")
    if critical and (y != "noise_scale" or x == "time"):
        raise ValueError(
            f"[picture] critical needs y = 'noise_scale' and a swept parameter as x, got x = {x!r}, y = {y!r}"
        )
    return Picture(value=table.choice("value", tuple(observe)), x=x, y=y, critical=critical)
