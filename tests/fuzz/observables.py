"""Observables that return nonsense, change what they see, or stop.

The rule: a run is what it would be without them, or ends in a TypeError or ValueError that names the observable, or in
what the observable raised itself; tokens of the caller never change; a checkpoint or store that is left behind can be
resumed by the same call, or is refused with one line that names it.
"""

import functools
import itertools
import shutil

import numpy as np
from damage import MODEL, REMEDY, order
from worker import Fault

import chaosphere as cs

LIMIT = 15
X = cs.sample_uniform(12, 3, rng=0, n_replicas=2)


class Own(Exception):
    """What a user's function raises."""


def stops(time, x):
    if time > 0.5:
        raise Own("at half time")
    return order(time, x)


def sorts(time, x):
    x.sort(axis=0)
    return order(time, x)


def zeroes(time, x):
    x[...] = 0.0
    return 0.0


def grows(time, x):
    return np.zeros((*x.shape[:-2], 1 + int(5 * time)))


def changes_type(time, x):
    return order(time, x) if time < 0.5 else "text"


def nothing(time, x):
    return None


def later_nothing(time, x):
    return order(time, x) if time < 0.5 else None


ODD = {
    "None": nothing,
    "later None": later_nothing,
    "dict": lambda time, x: {"a": 1.0},
    "text": lambda time, x: "a",
    "object": lambda time, x: np.array([None, 1.0], dtype=object),
    "ragged": lambda time, x: [[1.0], [1.0, 2.0]],
    "complex": lambda time, x: 1j * order(time, x),
    "nan": lambda time, x: np.nan * order(time, x),
    "bool": lambda time, x: order(time, x) > 0.5,
    "int": lambda time, x: np.zeros(x.shape[:-2], dtype=np.int64),
    "tokens": lambda time, x: x,
    "empty": lambda time, x: np.zeros((*x.shape[:-2], 0)),
    "mean over replicas": lambda time, x: x.mean(axis=tuple(range(x.ndim - 1))),
    "date": lambda time, x: np.datetime64("2020-01-01"),
    "one argument": lambda x: 1.0,
    "iterator": lambda time, x: iter([1.0]),
    "masked": lambda time, x: np.ma.masked_array(order(time, x), True),
    "huge": lambda time, x: 1e308 * (1 + order(time, x)),
    "stops": stops,
    "sorts": sorts,
    "zeroes": zeroes,
    "grows": grows,
    "changes type": changes_type,
}
OWN = {function.__code__.co_name for function in ODD.values()}
NAMES = (
    "r",
    "x",
    "token",
    "coordinate",
    "time",
    "replica",
    "a_0",
    "e_mean",
    "seed",
    "finished",
    ".zarray",
    "a/b",
    "",
    "é",
)


def cases(folder):
    return functools.partial(case, folder, itertools.count())


def case(folder, numbers, rng):
    kind = sorted(ODD)[rng.integers(len(ODD))]
    name = NAMES[rng.integers(len(NAMES))] if rng.random() < 0.4 else "m"
    observe = {name: ODD[kind]} | ({"e": order} if rng.random() < 0.3 else {})
    how = ["simulate", "checkpoint", "ensemble", "store"][rng.integers(4)]
    # No two cases share a folder, so that what one leaves behind is not another's.
    place = folder / str(next(numbers))
    return f"{how}, observable {name!r}: {kind}", functools.partial(check, how, observe, place)


def check(how, observe, place):
    place.mkdir()
    try:
        run(how, observe, place)
        if any(place.iterdir()):
            again(how, observe, place)
    finally:
        shutil.rmtree(place)


def run(how, observe, place):
    x = X.copy()
    try:
        result = call(how, observe, place, x)
    except Own:
        result = None
    except (TypeError, ValueError) as error:
        text = " ".join([str(error), *getattr(error, "__notes__", ())])
        if not is_own(error) and not any(repr(name) in text or name in text for name in observe):
            raise Fault(f"an error that does not name the observable: {text[:200]}") from error
        result = None
    if not np.array_equal(x, X):
        raise Fault("the caller's tokens were changed")
    if isinstance(result, cs.Solution):
        plain = cs.simulate(MODEL, X, rng=0, save_at=result.times)
        if not np.array_equal(result.states, plain.states):
            raise Fault("the run was changed")
        if any(values.dtype.kind not in "fiubc" for values in result.observables.values()):
            raise Fault("an observable that is no number was taken")
        data = result.to_xarray()
        if not np.array_equal(data["x"].values, result.states):
            raise Fault("to_xarray holds other states")
    elif result is not None and result.attrs and "m" in observe and "m" not in result:
        raise Fault("the observable is missing")


def is_own(error):
    """Whether the observable raised it, such as for a write to tokens that are read-only."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename == __file__ and trace.tb_frame.f_code.co_name in OWN


def call(how, observe, place, x):
    if how == "simulate":
        return cs.simulate(MODEL, x, rng=0, observe=observe, save_at=np.linspace(0, 1, 9))
    if how == "checkpoint":
        keep = cs.Checkpoint(path=place / "c.npz", every_steps=1)
        return cs.simulate(MODEL, x, rng=0, observe=observe, save_at=np.linspace(0, 1, 9), checkpoint=keep)
    store = place / "s.zarr" if how == "store" else None
    return cs.ensemble(MODEL, x, seeds=[0, 1], observe=observe, store=store, n_threads=1)


def again(how, observe, place):
    """What is left can be resumed, or is refused by name."""
    names = {path.name for path in place.iterdir()}
    try:
        call(how, observe, place, X.copy())
    except Own:
        return
    except (TypeError, ValueError, OSError) as error:
        text = " ".join([str(error), *getattr(error, "__notes__", ())])
        if "damaged" in text:
            raise Fault(f"what the first run left cannot be read: {text[:200]}") from error
        if is_own(error):
            return
        is_by_name = any(name.split(".")[0] in text for name in names) and REMEDY.search(text)
        if not is_by_name and not any(repr(name) in text or name in text for name in observe):
            raise Fault(f"the same call again: {text[:200]}") from error
