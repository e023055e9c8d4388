"""What decides the bits of a run, as JSON-able values: checkpoints and stores hold it, and tell one run from another.

Numbers, text, arrays and dataclasses are described by value, functions by their code and by what they refer to. An
object with a method `identity_facts` says itself what tells it from others. An object or function with an attribute
`version` is described by its name and that version alone.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import json
import math
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from chaosphere.common import fields
from chaosphere.common.streams import STREAM_VERSION
from chaosphere.kernels import abi

_UNKNOWN = "unknown"  # key of a part that nothing tells from another


@runtime_checkable
class Identifiable(Protocol):
    """An object that says itself what tells it from others."""

    def identity_facts(self) -> Any:
        """Return values that `describe` takes; NotImplemented, to be described as objects without this method are."""


def identify(
    parts: Mapping[str, Any], *, sequences: Sequence[np.random.SeedSequence] = (), with_installation: bool = True
) -> dict[str, Any]:
    """Return the identity of a run or a study as JSON-able values.

    Checkpoints, stores and NetCDF files hold it, and are continued by a run or study of equal identity only.

    Parameters
    ----------
    parts : mapping of str to object
        What decides the results; see `describe`.
    sequences : sequence of SeedSequence, optional
        The seeds: one for each replica, or one for all.
    with_installation : bool
        Add what decides bits: the versions of chaosphere and of NumPy, and the instruction set.

    Returns
    -------
    dict
        The parts, the seeds, the version of the noise streams, and the installation.
    """
    from importlib.metadata import version  # takes long to import

    facts = {name: describe(part) for name, part in parts.items()}
    if sequences:
        facts["entropy"] = _one_or_list([sequence.entropy for sequence in sequences])
        facts["spawn_key"] = _one_or_list([tuple(sequence.spawn_key) for sequence in sequences])
    facts["stream_version"] = STREAM_VERSION
    if with_installation:
        facts |= {
            "chaosphere": version("chaosphere"),
            "numpy": np.__version__,
            "instruction_set": abi.isa_in_use(),
        }
    return facts


def _one_or_list(values: list[Any]) -> str:
    return str(values[0] if len(values) == 1 else values)


def describe(value: Any) -> Any:
    """Return a model, an observable, a law, or any part of one, as JSON-able values.

    Numbers of threads are left out: they change no bit. What cannot be described, such as an open file, is named by its
    type and marked; `check` refuses it.

    Parameters
    ----------
    value : object
        Arrays are described by shape, dtype and SHA-256. Functions are described by their name, bytecode, defaults,
        closure, and those of the global names they use that are values, or functions and classes of the same module;
        others go by name. Other objects are described by their class, its methods' bytecode and the state that pickle
        would take.

    Returns
    -------
    dict, list, str, int, float, bool or None

    Notes
    -----
    Bytecode depends on the version of Python: a function defined by the user is another function there.

    Examples
    --------
    >>> describe(lambda t, x: x.mean()) == describe(lambda t, x: x.mean())
    True
    >>> from functools import partial
    >>> describe(partial(max, 1.0)) == describe(partial(max, 2.0))
    False
    """
    return _describe(value, ())


def check(description: Any, name: str) -> None:
    """Raise TypeError if a part of a description is unknown.

    Parameters
    ----------
    description : object
        What `describe` returned.
    name : str
        The argument that needs it, such as "checkpoint".
    """
    for path, reason in _unknown(description, ""):
        raise TypeError(
            f"{name} needs to tell one run from another, and {path} cannot be told from another of its type "
            f"({reason}): give it an attribute `version`, a number or text that changes whenever its results do"
        )


def differences(stored: Mapping[str, Any], expected: Mapping[str, Any], *, inside: str = "") -> str:
    """Return which values differ, as text: "key.inner is this, not that; ..."; empty if none does.

    Lists of tables of one length are compared item by item.
    """
    texts = []
    for key in {**stored, **expected}:
        a, b = _numbered(stored.get(key)), _numbered(expected.get(key))
        if isinstance(a, dict) and isinstance(b, dict) and a != b:
            texts.append(differences(a, b, inside=f"{inside}{key}."))
        elif a != b:
            texts.append(f"{inside}{key} is {_short(a)}, not {_short(b)}")
        elif (key in stored) != (key in expected):  # of another version, before or after the key was there
            texts.append(f"{inside}{key} is " + ("null, not missing" if key in stored else "missing, not null"))
    return "; ".join(texts)


def _numbered(value: Any) -> Any:
    """Return a list of tables as a table, by the numbers of its items; anything else as it is."""
    is_list = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    return {str(number): item for number, item in enumerate(value)} if is_list else value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "…"


def _unknown(description: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(description, dict):
        if _UNKNOWN in description:
            yield path, description[_UNKNOWN]
        for key, part in description.items():
            yield from _unknown(part, f"{path}.{key}" if path else str(key))
    elif isinstance(description, list):
        for index, part in enumerate(description):
            yield from _unknown(part, f"{path}[{index}]")


def _describe(value: Any, outer: tuple[Any, ...]) -> Any:
    if any(value is one for one in outer):
        return "(itself)"
    return _of(value, functools.partial(_describe, outer=(*outer, value)))


def _of(value: Any, part: Any) -> Any:
    """Describe a value; `part` describes what it holds."""
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, np.generic):
        return part(value.item())
    if isinstance(value, complex | enum.Enum | os.PathLike | types.ModuleType | np.dtype):
        return value.__name__ if isinstance(value, types.ModuleType) else str(value)
    if isinstance(value, bytes | bytearray):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "sha256": digest}
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): part(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [part(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((part(item) for item in value), key=json.dumps)
    return _of_object(value, part)


def _of_object(value: Any, part: Any) -> Any:
    if isinstance(value, type):
        return {"class": _name(value), "code": _class_digest(value)}
    if isinstance(value, Identifiable) and (facts := value.identity_facts()) is not NotImplemented:
        return part(facts)
    own_version = getattr(value, "version", None)
    if isinstance(own_version, str | int):
        return {"name": _name(value if hasattr(value, "__qualname__") else type(value)), "version": own_version}
    if dataclasses.is_dataclass(value):
        described = {name: part(getattr(value, name)) for name in fields.in_identity(value)}
        description = {"type": type(value).__name__} | described
        is_own = type(value).__module__.startswith("chaosphere.")
        return description if is_own else description | {"code": _class_digest(type(value))}
    if isinstance(value, types.FunctionType):
        return _of_function(value, part)
    if isinstance(value, types.MethodType):
        return {"function": part(value.__func__), "of": part(value.__self__)}
    if isinstance(value, functools.partial):
        return {"function": part(value.func), "arguments": part(value.args), "keywords": part(value.keywords)}
    if hasattr(value, "__wrapped__"):
        return {"type": _name(type(value)), "function": part(value.__wrapped__)}
    if isinstance(value, np.ufunc) or hasattr(value, "__qualname__"):  # compiled
        return _name(value)
    try:
        state = value.__reduce_ex__(4)
        if isinstance(state, str):
            return {"type": _name(type(value)), "name": state}
        arguments, rest = state[1], [list(item) if isinstance(item, Iterator) else item for item in state[2:]]
    except Exception as error:  # whatever an object that cannot be pickled may raise
        return {"type": _name(type(value)), _UNKNOWN: f"{type(error).__name__}: {error}"}
    # The first argument repeats the class.
    state_parts = [item for item in (*arguments, *rest) if item is not None and item is not type(value)]
    return {"type": _name(type(value)), "code": _class_digest(type(value)), "state": part(state_parts)}


def _of_function(function: types.FunctionType, part: Any) -> dict[str, Any]:
    description: dict[str, Any] = {"name": _name(function), "code": _digest(function.__code__)}
    kept = {"defaults": function.__defaults__, "keywords": function.__kwdefaults__}
    cells = function.__closure__ or ()
    kept["closure"] = {
        name: cell.cell_contents
        for name, cell in zip(function.__code__.co_freevars, cells, strict=True)
        if _is_full(cell)
    }
    kept["globals"] = {
        name: item if _is_of_module(item, function.__module__) else _name(item)
        for name in sorted(_global_names(function.__code__))
        if (item := function.__globals__.get(name, kept)) is not kept
    }
    return description | {name: part(item) for name, item in kept.items() if item}


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that is not bound yet
        return False


def _is_of_module(item: Any, module: str) -> bool:
    """Whether a global is a value, or a function or class that was defined in this module."""
    return not hasattr(item, "__qualname__") or item.__module__ == module


def _name(item: Any) -> str:
    module = getattr(item, "__module__", None)
    name = getattr(item, "__qualname__", None) or getattr(item, "__name__", None) or type(item).__qualname__
    return name if module in (None, "builtins", "__main__") else f"{module}.{name}"


def _global_names(code: types.CodeType) -> set[str]:
    names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_global_names(item) for item in code.co_consts if isinstance(item, types.CodeType)))


def _class_digest(kind: type, seen: frozenset[Any] = frozenset()) -> str:
    """Return a digest of the bytecode of a class's methods, inherited ones included, and of what they use.

    They use the classes and functions of their own module that they name, such as the plan that a model makes. Methods
    inherited from this package are left out, as are those of its own objects. So are those that `typing.Protocol` gives
    a class: they use functions of `typing` that other libraries replace when they are imported, in the middle of a run.
    """
    total = hashlib.sha256()
    for name, member in inspect.getmembers_static(kind):
        member = getattr(member, "fget", None) or getattr(member, "__func__", member)  # properties, static methods
        if isinstance(member, types.FunctionType) and not _is_of_others(str(member.__module__)):
            total.update(f"{name} {_digest(member.__code__)}\n".encode())
            total.update(_used_digest(member, seen | {kind}).encode())
    return total.hexdigest()


def _is_of_others(module: str) -> bool:
    """Whether a module is part of this package, or holds the bases of protocols."""
    return module.partition(".")[0] in ("chaosphere", "typing", "typing_extensions")


def _used_digest(function: types.FunctionType, seen: frozenset[Any]) -> str:
    """Return a digest of the classes and functions of its module that a function names; empty if there are none."""
    digests = []
    for name in sorted(_global_names(function.__code__)):
        item = function.__globals__.get(name)
        is_own = getattr(item, "__module__", None) == function.__module__ and not _name(item).startswith("chaosphere.")
        if not is_own or item in seen:
            continue
        if isinstance(item, type):
            digests.append(f"{name} {_class_digest(item, seen)}\n")
        elif isinstance(item, types.FunctionType):
            digests.append(f"{name} {_digest(item.__code__)} {_used_digest(item, seen | {item})}\n")
    return "".join(digests)


def _digest(code: types.CodeType) -> str:
    """Return a digest of bytecode that does not depend on where the code stands."""
    total = hashlib.sha256(code.co_code)
    total.update(repr((code.co_names, code.co_varnames[: code.co_argcount], code.co_flags)).encode())
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            text = _digest(item)
        else:
            text = repr(sorted(map(repr, item)) if isinstance(item, frozenset) else item)
        total.update(f"{text}\n".encode())
    return total.hexdigest()
