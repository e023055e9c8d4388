"""What may stand in place of an argument: numbers of all types and sizes, objects, arrays in other forms."""

import decimal
import fractions
import os
import types

import numpy as np
from matplotlib.figure import Figure
from subjects import ATTENTION, CIRCLE_SDE, FIELD, KERNEL, MEAN_FIELD, MLP, MODEL, SDE, UNIFORM, VMF, observe

import chaosphere as cs


class Odd:
    """An object of a stranger's class."""

    def __repr__(self):
        return "Odd()"


class Path(os.PathLike):
    def __fspath__(self):
        return "no/such/folder/c.npz"


def numbers():
    """Numbers of all types and sizes; by functions, so that no case sees what another did to them."""
    yield from (lambda v=v: v for v in (0, 1, 2, 3, -1, 7, 10**9, 2**31, 2**63, -(2**63), 10**18, 10**30, 10**400))
    yield from (lambda v=v: v for v in (0.0, -0.0, 1.0, 0.5, 2.5, -1.0, np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324))
    yield from (lambda v=v: v for v in (1e-308, 1e-16, 1e16, 700.0, 1e4, 1e9, True, False, None, 1j, "1", b"1", ""))
    yield from (
        lambda v=v: v for v in (decimal.Decimal("0.5"), fractions.Fraction(1, 2), "nan", "auto", "relu", "heun")
    )
    for kind in (
        np.float16,
        np.float32,
        np.float64,
        np.longdouble,
        np.int8,
        np.uint8,
        np.int64,
        np.uint64,
        np.complex64,
    ):
        yield lambda kind=kind: kind(3)
    yield from (lambda: np.float32(0.1), lambda: np.float64(np.nan), lambda: np.bool_(True), lambda: np.str_("relu"))
    yield from (lambda: np.array(1.0), lambda: np.array([1.0]), lambda: np.ma.masked, lambda: np.datetime64("2020"))


def objects():
    """Whatever else may come by mistake."""
    yield from (Odd, lambda: Odd, list, dict, tuple, set, lambda: [1.0], lambda: (0, 1), lambda: {"a": 1}, lambda: [[]])
    yield from (lambda: [None], lambda: ["a", "b"], lambda: range(3), lambda: iter([1, 2]), lambda: slice(None), Path)
    yield from (
        lambda: np.sin,
        lambda: lambda x: None,
        lambda: lambda *a, **k: np.nan,
        lambda: lambda x: x[:0],
        lambda: len,
    )
    yield from (lambda: object(), lambda: NotImplemented, lambda: ..., lambda: np, lambda: np.float64, lambda: types)
    yield from (lambda: np.random.default_rng(0), lambda: np.random.SeedSequence(1), lambda: np.random.RandomState(0))
    yield from (
        lambda: cs.SoftmaxAttention,
        lambda: MODEL,
        lambda: ATTENTION,
        lambda: MLP,
        lambda: KERNEL,
        lambda: UNIFORM,
    )
    yield from (
        lambda: SDE,
        lambda: FIELD,
        lambda: VMF,
        lambda: CIRCLE_SDE,
        lambda: MEAN_FIELD,
        lambda: "a\0b",
        lambda: "é",
    )
    yield from (
        lambda: {"r": observe, "r_mean": observe},
        lambda: {"": observe},
        lambda: {1: observe},
        lambda: [observe],
    )
    yield from (lambda: {"n": lambda t, x: None}, lambda: {"n": lambda t, x: "a"}, lambda: {"n": lambda t, x: np.nan})
    yield from (lambda: {"n": lambda t, x: {}}, lambda: {"n": lambda x: 1.0}, lambda: {"x": observe})
    yield from (lambda: Figure().subplots(), lambda: Figure().subplots(subplot_kw={"projection": "polar"}), Figure)
    yield from (lambda: {"n": lambda t, x: np.zeros(int(10 * t))}, lambda: {"n": lambda t, x: x.sort()})


def arrays(value):
    """The same array in other forms, or broken."""
    yield from (lambda: value.tolist(), lambda: tuple(value.tolist()), lambda: np.ma.masked_array(value))
    yield from (
        lambda: np.ma.masked_array(value, value > value.mean()),
        lambda: np.asmatrix(value.reshape(-1, value.shape[-1])),
    )
    for kind in ("f2", "f4", "g", "i8", "u1", "c16", "O", "U", "?", ">f8"):
        yield lambda kind=kind: value.astype(kind)
    yield from (lambda: np.asfortranarray(value), lambda: value[::-1], lambda: value[..., ::-1], lambda: value[:0])
    yield from (
        lambda: value[..., :0],
        lambda: value[..., :1],
        lambda: value[0],
        lambda: value[None],
        lambda: value[None, None],
    )
    yield from (lambda: value * 0, lambda: value * 1e300, lambda: value * 1e-320, lambda: -value, lambda: value * 1.001)
    yield from (
        lambda: np.repeat(value, 3, axis=0),
        lambda: np.stack([value, value]),
        lambda: value.T,
        lambda: value.view(Sub),
    )
    for bad in (np.nan, np.inf, -np.inf, 1e308, 0.0, -1.0):
        yield lambda bad=bad: _with(value, bad)


class Sub(np.ndarray):
    """A subclass that changes no arithmetic."""


def _with(value, bad):
    changed = value.astype(np.float64)
    changed.flat[changed.size // 2] = bad
    return changed


def wrong(value, rng):
    """Something in place of a value."""
    pools = [list(numbers()), list(objects())]
    if isinstance(value, np.ndarray):
        pools += [list(arrays(value))] * 3
    elif isinstance(value, int | float):
        pools += [pools[0]] * 3
        if rng.random() < 0.3:
            return float(10.0 ** rng.uniform(-320, 308) * rng.choice([-1, 1]))
    elif isinstance(value, tuple | list):
        pools += [[lambda: value[:0], lambda: value[:1], lambda: [*value, *value], lambda: [*value, None]]] * 2
        pools += [list(arrays(np.array(value, dtype=object)))] if value and isinstance(value[0], float) else []
    pool = pools[rng.integers(len(pools))]
    return pool[rng.integers(len(pool))]()
