"""Options of the command line, from the parameters of functions.

Name, type and default of an option are those of a parameter, and its help is the text on it in the docstring. Only the
options that the user gives are handed on, so that each default stands in one place: the function.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaosphere.common import checks, files
from chaosphere.experiments.command import Command

_MAX_COUNT = 10**9
_MAX_DIM = 10**6
_NO_OPTIONS = {"rng", "n_threads", "store"}  # parameters that the shared options --seed, --threads and --out stand for


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option, or an argument where there is no default.

    Attributes
    ----------
    name : str
        That of the parameter.
    flag : str
        What the user types after the two dashes.
    kind : type
        The annotation of the parameter.
    default : object
    text : str
        Of the help.
    """

    name: str
    flag: str
    kind: Any
    default: Any
    text: str

    @property
    def is_argument(self) -> bool:
        """Whether the user must give a value, without a flag."""
        return self.default is inspect.Parameter.empty

    @property
    def help(self) -> str:
        """The text, and the default where there is one to show."""
        if self.is_argument or self.default is None or isinstance(self.default, bool):
            return self.text
        is_list = isinstance(self.default, Sequence) and not isinstance(self.default, str)
        default = " ".join(map(str, self.default)) if is_list else str(self.default)
        return f"{self.text} (default: {default})".strip()


def of(command: Command) -> list[Option]:
    """Return the options of a command, from the signatures and docstrings of its sources."""
    rows: dict[str, Option] = {}
    for source in command.sources:
        kinds, texts = typing.get_type_hints(source), parameter_texts(source)
        for name, parameter in inspect.signature(source).parameters.items():
            if name in _NO_OPTIONS or name.startswith("on_") or name in command.left_out or name in rows:
                continue
            flag = command.flags.get(name, name.removeprefix("n_").replace("_", "-"))
            text = texts.get(name, "")
            rows[name] = Option(name=name, flag=flag, kind=kinds[name], default=parameter.default, text=text)
    return list(rows.values())


def parameter_texts(function: Callable[..., Any]) -> dict[str, str]:
    """Return what a numpydoc docstring says on each parameter, as a line of help: small first letter, no full stop.

    Examples
    --------
    >>> parameter_texts(parameter_texts)
    {}
    >>> parameter_texts(add)["parser"]
    'of the command'
    """
    lines = [*inspect.cleandoc(function.__doc__ or "").splitlines(), ""]
    texts: dict[str, list[str]] = {}
    names: list[str] = []
    start = lines.index("Parameters") + 2 if "Parameters" in lines else len(lines)
    for line, after in itertools.pairwise(lines[start:]):
        if after.startswith("---"):  # the title of the next section
            break
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        elif line:
            for name in names:
                texts.setdefault(name, []).append(line.strip())
    joined = {name: " ".join(parts).replace("`", "").removesuffix(".") for name, parts in texts.items()}
    return {name: re.sub(r"^([A-Z])(?=[a-z])", lambda first: first[0].lower(), text) for name, text in joined.items()}


def add(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add the options of a command to its parser.

    Parameters
    ----------
    parser : ArgumentParser
        Of the command.
    command : Command
    """
    groups = {name: title for title, names in command.groups.items() for name in names}
    titled = {title: parser.add_argument_group(title) for title in command.groups}
    for option in of(command):
        settings: dict[str, Any] = {"help": option.help.replace("%", "%%")}
        if option.kind is bool:
            settings["action"] = "store_true"
        else:
            settings |= _reader(option.kind, may_be_empty=option.name in command.may_be_empty)
            symbol = None if "choices" in settings else option.flag.replace("-", "_").upper()
            settings["metavar"] = command.symbols.get(option.name, symbol)
        if option.is_argument:
            parser.add_argument(option.name, **settings)
        else:
            place = titled[groups[option.name]] if option.name in groups else parser
            place.add_argument(f"--{option.flag}", dest=option.name, default=argparse.SUPPRESS, **settings)


def _reader(kind: Any, *, may_be_empty: bool) -> dict[str, Any]:
    """Return how argparse reads values of an annotation."""
    kind = _without_none(kind)
    if typing.get_origin(kind) is Sequence:
        (inner,) = typing.get_args(kind)
        return {"nargs": "*" if may_be_empty else "+", **_reader(inner, may_be_empty=False)}
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        return {"type": type(choices[0]), "choices": choices}
    if kind not in (int, float, str, Path):
        raise TypeError(f"an option cannot be of type {kind}")
    return {"type": str if kind is Path else kind}  # paths are checked as the user typed them


def _without_none(kind: Any) -> Any:
    """Return T of the annotation T | None."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = (part for part in typing.get_args(kind) if part is not type(None))
    return kind


def values(parsed: argparse.Namespace, command: Command) -> dict[str, Any]:
    """Return the options that the user gave, by the names of the parameters; paths are resolved.

    Raises
    ------
    ValueError
        For numbers that no experiment can take, and for URLs.
    """
    typed, rows = vars(parsed), {}
    for option in of(command):
        if option.name in typed:
            value = typed[option.name]
            check_count(value, option.flag)
            is_path = _without_none(option.kind) is Path
            rows[option.name] = files.local(value, f"--{option.flag}") if is_path else value
    return rows


def check_count(value: Any, flag: str) -> None:
    """Raise ValueError for an integer, alone or in a list, that no experiment can take."""
    largest = _MAX_DIM if flag in ("dim", "dims") else _MAX_COUNT
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int) and number > largest:
            raise ValueError(f"--{flag} must be at most {largest}, got {number}")


def add_shared(parser: argparse.ArgumentParser, *, seed: int | None = 0) -> None:
    """Add the options of all commands that compute, as the last group of the help."""
    shown = "" if seed is None else f" (default: {seed})"
    group = parser.add_argument_group("seed, threads and output")
    group.add_argument("--seed", type=int, default=seed, help=f"the same seed gives the same numbers{shown}")
    group.add_argument("--threads", type=int, help="number of threads; never changes a result (default: all)")
    group.add_argument("--out", default="out", metavar="DIR", help="folder of the files written (default: out)")
    group.add_argument("--format", choices=("png", "pdf", "svg"), default="png", help="of pictures (default: png)")
    group.add_argument("--json", action="store_true", help="print the claims on stdout as JSON instead of the table")


def check_shared(parsed: argparse.Namespace) -> None:
    """Check the options of all commands that compute, and resolve the path."""
    if parsed.threads is not None:
        checks.integer(parsed.threads, "--threads", low=1)
        check_count(parsed.threads, "threads")
    if parsed.seed is not None:
        checks.integer(parsed.seed, "--seed", low=0)
    parsed.out = files.local(parsed.out, "--out")
