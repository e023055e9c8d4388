"""Checks of arguments: one message per rule, before any work starts."""

from __future__ import annotations

import importlib
import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, fields
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from chaosphere.common.messages import shown, unknown
from chaosphere.kernels import abi, sphere

Tokens = NDArray[Any]  # float64 or float32
Floats = NDArray[np.float64]

MAX_INTEGER = 2**63 - 1  # C's long
MAX_COUNT = 2**53  # floats hold every integer up to here
_MAX_C_INT = 2**31 - 1
MAX_SIZE = 1e100  # of what models multiply: products of three and squares are finite
MAX_STD = 1e30  # of a layer's parameters: float32 tokens get finite numbers
_CONVERSIONS = {"torch": "numpy(force=True)", "pandas": "to_numpy(dtype=np.float64)"}  # methods of their arrays
_PACKAGES = {"ot": "POT"}  # where the name on an index is not that of the module
_FLOATS = (np.float64, np.float32)
RAW = (str, bytes, bytearray, memoryview)  # sequences to Python and NumPy, and no numbers that a user means
COSINE_SLACK = 1e-6  # float32 unit vectors have inner products up to about 1 + 1e-7; farther out is a mistake
SPHERE_TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}


def integer(value: Any, name: str, *, low: int, high: int = MAX_INTEGER) -> int:
    """Return value as an int in [low, high]."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer >= {low}, got {shown(value)} ({type(value).__name__})")
    integer = int(value)
    if integer < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {shown(integer)}")
    if integer > high:
        raise ValueError(f"{name} must be an integer <= {high}, got {shown(integer)}")
    return integer


def check_sequence(values: Any, name: str) -> None:
    """Raise TypeError for text, bytes, sets, mappings and arrays without an axis; of others nothing is read."""
    has_no_axis = isinstance(values, np.ndarray) and values.ndim == 0
    if isinstance(values, (*RAW, set, frozenset, Mapping)) or has_no_axis or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence, got {shown(values)} ({type(values).__name__})")


def sequence(values: Any, name: str) -> list[Any]:
    """Return values as a list; what is no sequence is refused, see `check_sequence`."""
    check_sequence(values, name)
    return list(values)


def distinct(values: Any, name: str) -> list[Any]:
    """Return values as a list of at least one, each once."""
    listed = sequence(values, name)
    if not listed or len(set(listed)) < len(listed):
        raise ValueError(f"{name} must be different values, at least one, got {shown(listed)}")
    return listed


def choice(value: Any, name: str, *, known: Iterable[str]) -> str:
    """Return value if it is one of the known names, else raise ValueError with the nearest of them."""
    names = tuple(known)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name}: unknown {unknown(value, names)}")
    return value


def increasing(values: Any, name: str, *, low: int = 1, high: int = MAX_INTEGER) -> tuple[int, ...]:
    """Return values as a tuple of at least one integer in [low, high], increasing."""
    steps = tuple(integer(value, name, low=low, high=high) for value in sequence(values, name))
    if not steps or any(a >= b for a, b in itertools.pairwise(steps)):
        raise ValueError(f"{name} must be increasing, at least one, got {shown(list(steps))}")
    return steps


def ladder(values: Any, name: str, *, low: int = 1) -> tuple[int, ...]:
    """Return values as a tuple of at least two increasing integers."""
    steps = tuple(integer(value, name, low=low) for value in sequence(values, name))
    if len(steps) < 2 or any(a >= b for a, b in itertools.pairwise(steps)):
        raise ValueError(
            f"{name} must be at least two increasing numbers (a slope is fitted), got {shown(list(steps))}"
        )
    return steps


def number(value: Any, name: str, *, low: float = -math.inf, high: float = math.inf, above: float = -math.inf) -> float:
    """Return value as a finite float in [low, high], larger than above."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {shown(value)} ({type(value).__name__})")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < low or number > high or number <= above:
        rules = [f">= {low:g}"] * (low > -math.inf) + [f"> {above:g}"] * (above > -math.inf)
        rules += [f"<= {high:g}"] * (high < MAX_STD or number > high)  # others are named where they are broken
        must = f"must be a finite number{' ' if rules else ''}{' and '.join(rules)}"
        raise ValueError(f"{name} {must}, got {shown(value)}")
    return number


def integers(spec: object, *names: str, low: int, high: int = MAX_COUNT) -> None:
    """Set fields of a frozen spec to what `integer` returns for them."""
    for name in names:
        object.__setattr__(spec, name, integer(getattr(spec, name), name, low=low, high=high))


def numbers(
    spec: object, *names: str, low: float = -math.inf, high: float = math.inf, above: float = -math.inf
) -> None:
    """Set fields of a frozen spec to what `number` returns for them."""
    for name in names:
        object.__setattr__(spec, name, number(getattr(spec, name), name, low=low, high=high, above=above))


class ByValue:
    """A frozen dataclass that compares and hashes by value, arrays included; for `@dataclass(eq=False)`."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # of the dataclass that inherits this

    def _values(self) -> tuple[Any, ...]:
        values = (getattr(self, field.name) for field in fields(self) if field.compare)
        # + 0.0: −0.0 equals 0.0, in an array as elsewhere.
        return tuple((v.shape, (v + 0.0).tobytes()) if isinstance(v, np.ndarray) else v for v in values)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._values()))


def plain(value: Any, name: str) -> None:
    """Refuse arrays with an arithmetic of their own: np.ma.MaskedArray, np.matrix and other subclasses of ndarray.

    An np.memmap is an array like any other.
    """
    if not isinstance(value, np.ndarray) or type(value) in (np.ndarray, np.memmap):
        return
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must not be a masked array, whose masks would be lost: drop what is masked, and pass "
            f"np.asarray({name})"
        )
    raise TypeError(
        f"{name} must not be a {type(value).__name__}, an array with an arithmetic of its own; pass np.asarray({name})"
    )


def array(value: Any, name: str) -> Floats:
    """Return value, a list or an array of real numbers, as a float64 array; nothing is copied that need not be."""
    plain(value, name)
    try:
        values = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise TypeError(f"{name} must be an array of real numbers: {error}{conversion(value, name)}") from error
    if values.dtype.kind not in "fiu" or isinstance(value, RAW):
        raise TypeError(f"{name} must be an array of real numbers, got {type(value).__name__} of {values.dtype}")
    return np.asarray(values, dtype=np.float64)


def cosines(value: Any, name: str, *, slack: float = 0.0) -> Floats:
    """Return cosines as a float64 array with values in [−1, 1]; what rounding puts beyond by `slack` is cut off."""
    values = array(value, name)
    is_outside = ~(np.abs(values) <= 1.0 + slack)
    if is_outside.any():
        raise ValueError(f"{name} = {values[is_outside].ravel()[0]} must be in [-1, 1]")
    return np.asarray(np.clip(values, -1.0, 1.0))


def _kind(value: Any) -> str:
    """Return how a message names the type of an object: with its library, if that is one of arrays or tables."""
    if isinstance(value, np.ndarray):
        return f"array of {value.dtype}"
    library = type(value).__module__.partition(".")[0]
    return f"{library}.{type(value).__name__}" if library in _CONVERSIONS else type(value).__name__


def conversion(value: Any, name: str) -> str:
    """Return how an object becomes an array of floats, as the end of a message; nothing where there is no way."""
    library = type(value).__module__.partition(".")[0]
    if library in _CONVERSIONS:
        return f"; pass {name}.{_CONVERSIONS[library]}"
    if isinstance(value, (list, tuple)) or (hasattr(value, "__array__") and np.asarray(value).dtype.kind in "fiu"):
        return f"; pass np.asarray({name}, dtype=np.float64)"
    return ""


def square_matrix(value: Any, name: str) -> Floats:
    """Return value as a read-only (d, d) float64 array."""
    shape = np.shape(array(value, name))
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        raise ValueError(f"{name} must be a square matrix (d, d) with d >= 2, got shape {shape}")
    return matrix(value, name)


def matrix(value: Any, name: str, *, low: int = 2) -> Floats:
    """Return value as a read-only float64 array of one row or more and at least `low` columns."""
    matrix = np.array(array(value, name), order="C")
    if matrix.ndim != 2 or matrix.shape[0] < 1 or matrix.shape[1] < low:
        raise ValueError(
            f"{name} must be a matrix of at least one row and {low} column{'s'[: low - 1]}, got shape {matrix.shape}"
        )
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} must be finite, found {matrix[~np.isfinite(matrix)][0]} in it")
    matrix.flags.writeable = False
    return matrix


def floating(x: Any, name: str) -> Tokens:
    """Return x, an array of float64 or float32."""
    plain(x, name)
    if not isinstance(x, np.ndarray) or x.dtype not in _FLOATS:
        raise TypeError(f"{name} must be a float64 or float32 array, got {_kind(x)}{conversion(x, name)}")
    return x


def float_type(value: Any, name: str) -> np.dtype[Any]:
    """Return value, a name or type that NumPy knows, as the dtype that it is: float64 or float32."""
    try:
        kind: np.dtype[Any] = np.dtype(value)
    except Exception as error:  # NumPy does not say which errors its reader of types raises
        raise TypeError(f"{name} must be float64 or float32, got {type(value).__name__}") from error
    if kind not in _FLOATS:
        raise TypeError(f"{name} must be float64 or float32, got {kind}")
    return kind


def flags(**values: Any) -> None:
    """Raise TypeError unless each value is True or False; the names are those of the arguments."""
    for name, value in values.items():
        flag(value, name)


def flag(value: Any, name: str) -> None:
    """Raise TypeError unless value is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)} ({type(value).__name__})")


def tokens(x: Any, name: str = "x", *, first: int = 0) -> Tokens:
    """Return x, an (N, d) or (R, N, d) array of unit vectors, as (R, N, d); errors count tokens from `first`."""
    points = floating(x, name)
    if points.ndim not in (2, 3):
        raise ValueError(f"{name} must have shape (n_tokens, dim) or (n_replicas, n_tokens, dim), got {points.shape}")
    if 0 in points.shape[:-1]:
        raise ValueError(f"{name} must hold at least one token, got shape {points.shape}")
    if points.shape[-1] < 2:
        raise ValueError(f"{name} must have dim >= 2 (points on the sphere of R^dim), got shape {points.shape}")
    batch = points if points.ndim == 3 else points[None]
    off, (replica, token) = sphere.deviation(batch)
    if not off <= SPHERE_TOLERANCE[points.dtype]:
        where = f"token {first + token}" + (f" of replica {replica}" if points.ndim == 3 else "")
        problem = f"| |x| - 1 | = {off:.3g}" if math.isfinite(off) else "it is not finite"
        raise ValueError(
            f"{name} must lie on the unit sphere to {SPHERE_TOLERANCE[points.dtype]:g}: at {where} {problem}; "
            "chaosphere.normalize(x) projects"
        )
    return batch


def sources(z: Any, x: Tokens, *, name: str = "sources") -> Tokens:
    """Return z, tokens (M, d) or (R, M, d) that x (N, d) or (R, N, d) attends to, as (R, M, d)."""
    batch = tokens(z, name)
    if z.ndim != x.ndim or z.shape[-1] != x.shape[-1] or z.shape[:-2] != x.shape[:-2]:
        raise ValueError(f"{name} must have the dim and the replicas of x, {x.shape}, got {z.shape}")
    if z.dtype != x.dtype:
        raise TypeError(f"{name} must have the dtype of x, {x.dtype}, got {z.dtype}")
    return batch


def like(v: Any, name: str, *, x: Tokens, high: float | None = None) -> Tokens:
    """Return v, finite vectors of the shape and dtype of tokens x (N, d) or (R, N, d), as (R, N, d).

    Their entries are at most `high` in size where that is given.
    """
    vectors = floating(v, name)
    if vectors.shape != x.shape:
        raise ValueError(f"{name} must have the shape of x, {x.shape}, got {vectors.shape}")
    if vectors.dtype != x.dtype:
        raise TypeError(f"{name} must have the dtype of x, {x.dtype}, got {vectors.dtype}")
    if high is None and not np.isfinite(vectors).all():
        raise ValueError(f"{name} must be finite, found {vectors[~np.isfinite(vectors)][0]} in it")
    if high is not None and not (size := float(abs(vectors).max())) <= high:
        raise ValueError(f"{name} must be finite and <= {high:.3g} in size for {x.dtype} tokens, got {size:.6g}")
    return vectors if vectors.ndim == 3 else vectors[None]


def weights(p: Any, n_tokens: int, name: str = "weights") -> Floats | None:
    """Return p as (N,) float64 probabilities; None stands for 1/N each.

    The sum must be 1 to 1e-9. Weights of a narrower type, float32 or float16, must be normalised in that type, and are
    normalised again in float64.
    """
    if p is None:
        return None
    values = np.ascontiguousarray(array(p, name))
    if values.shape != (n_tokens,):
        raise ValueError(f"{name} must have shape ({n_tokens},), one per token, got {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        at = int(np.flatnonzero(~np.isfinite(values) | (values < 0))[0])
        raise ValueError(f"{name} must be finite and >= 0: {name}[{at}] = {values[at]}")
    total, kind = float(values.sum()), np.asarray(p).dtype
    # The rounding of the quotients leaves ε/2, a pairwise sum (10 + ½ log₂ N) ε of its type.
    slack = max(1e-9, 32 * float(np.finfo(kind).eps)) if kind.kind == "f" else 1e-9
    if not abs(total - 1) <= slack:
        raise ValueError(
            f"{name} must sum to 1, got {total!r}, off by more than {slack:.2g}; pass {name} / {name}.sum()"
        )
    return values / total if slack > 1e-9 else values


def threads(n_threads: Any) -> int:
    """Return the number of threads, no more than a call starts; None stands for all that OpenMP may use."""
    if n_threads is None:
        return abi.max_threads()
    return min(integer(n_threads, "n_threads", low=1, high=_MAX_C_INT), abi.thread_limit())


def label(value: Any, name: str) -> str:
    """Return value as a name that a variable of a dataset and a folder on disk can have."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name, a str, got {shown(value)} ({type(value).__name__})")
    is_plain = value.isprintable() and value.strip() == value != "" and not {"/", "\\"} & set(value)
    if not is_plain or value.startswith(".") or len(value.encode()) > 200:
        raise ValueError(
            f"{name} must be a printable name of at most 200 bytes, without / and \\ in it, a dot before it or blanks "
            f"around it, got {shown(value)}"
        )
    return value


def dataset_names(observables: Mapping[str, int], *, others: Iterable[str], suffixes: Sequence[str] = ()) -> None:
    """Raise TypeError or ValueError unless every part of a dataset has a name of its own.

    Parameters
    ----------
    observables : mapping of str to int
        Each name with the number of axes that the observable has for itself; axis i of NAME is the dimension NAME_i.
    others : iterable of str
        The other names in the dataset: dimensions, coordinates, parameters, flags.
    suffixes : sequence of str
        Of the variables that are computed from each observable: "_mean" for NAME_mean.
    """
    owners = dict.fromkeys(others, "another part of the dataset")
    for name, n_axes in observables.items():
        label(name, "a name in observe")
        own = {name: f"observe[{name!r}]"}
        own |= {f"{name}{suffix}": f"the {suffix.strip('_')} of observe[{name!r}]" for suffix in suffixes}
        own |= {f"{name}_{axis}": f"axis {axis} of observe[{name!r}]" for axis in range(n_axes)}
        for key, owner in own.items():
            if key in owners:
                raise ValueError(
                    f"observe must not give one name to two parts of the dataset: {key!r} is {owner} and "
                    f"{owners[key]}; rename the observable"
                )
        owners |= own


def machine_memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def sample_size(n_tokens: int, dim: int, n_replicas: int) -> None:
    """Raise ValueError if a sample of tokens in float64 would not fit into this machine's memory."""
    n_bytes = 8 * n_tokens * dim * n_replicas
    if n_bytes > machine_memory():
        raise ValueError(
            f"n_tokens = {n_tokens} and n_replicas = {n_replicas} in dim {dim} take {n_bytes / 1e9:.3g} GB, more than "
            f"the {machine_memory() / 1e9:.3g} GB of this machine"
        )


def extra(module: str, group: str) -> Any:
    """Return an optional module, or say what is missing and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = _PACKAGES.get(module, module.partition(".")[0])
        raise ImportError(
            f"{package} is needed here and cannot be imported: {how_to_install(package, group)}"
        ) from error


def how_to_install(package: str, group: str) -> str:
    """Return the commands that install an optional package, and the extra that it is part of."""
    return f"pip install {package}, or in a checkout of chaosphere pip install '.[{group}]'"
