"""Errors of one rank alone, which all ranks raise; `mpiexec -n 2 python -m mpi4py rank_errors.py CASE`."""

import faulthandler
import sys
import tracemalloc
from functools import partial

import numpy as np
import pytest
from mpi4py import MPI
from rank_cases import run_case

import chaosphere as cs
from chaosphere.simulation import loop, partition

COMM = MPI.COMM_WORLD
LAST = COMM.rank == COMM.size - 1
MODEL = cs.Transformer(attention=cs.SoftmaxAttention(beta=1.0), mlp=None, depth=4, horizon=1.0)
UNIFORM = cs.laws.Uniform(dim=3)
TOKENS = cs.laws.Sample(law=UNIFORM, n_tokens=300, rng=0)


class Odd(Exception):
    """Its pickle is made, but cannot be read."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


class Named(Exception):
    """Its pickle gives it another text."""

    def __init__(self, what):
        super().__init__(f"bad {what}")


class Empty(Exception):
    def __len__(self):
        return 0


class Mute(Exception):
    """It has neither a pickle nor a text."""

    def __init__(self):
        super().__init__(lambda: None)

    def __str__(self):
        raise LookupError


def errors():
    """Errors that pickle loses, and what stands for each on the other ranks."""

    class Local(Exception):
        pass

    closure = ValueError("bad")
    closure.function = lambda: 0
    noted = ValueError("noted")
    noted.function, noted.__notes__ = lambda: 0, [3]
    return [
        (Local("here"), "Local: here"),
        (Odd("a", "b"), "Odd: a b"),
        (Named("name"), "Named: bad name"),
        (closure, "ValueError: bad"),
        (noted, "ValueError: noted"),
        (Mute(), "Mute: <its text raises LookupError>"),
    ]


def raised_on_all(error, text, call, *, is_mine=LAST):
    """One rank raises the object itself, the others its type and text."""
    with pytest.raises(type(error) if is_mine else RuntimeError) as caught:
        call()
    if is_mine:
        assert caught.value is error
    else:
        assert str(caught.value) == text


def simulated(error=None, **options):
    """A run whose observable raises an error on the last rank."""

    def first_coordinate(x):
        if LAST and error is not None:
            raise error
        return x[..., 0]

    return cs.simulate(
        MODEL, TOKENS, rng=0, comm=COMM, observe={"a": cs.measures.TokenMean(function=first_coordinate)}, **options
    )


def raise_on(is_mine, error):
    if is_mine:
        raise error


def agreed(call):
    """A call within the context that each run has."""
    with partition.errors_on_all(COMM):
        call()


def errors_that_pickle_loses():
    for error, text in errors():
        raised_on_all(error, text, partial(simulated, error))
    # Also those that pickle keeps.
    for error in (ZeroDivisionError("plain"), Empty("plain")):
        with pytest.raises(type(error), match="plain"):
            simulated(error)


def errors_of_files():
    """What the keepers of states raise, or the first rank alone: checkpoints are opened and written so."""
    bounds = tuple(range(COMM.size + 1))
    for error, text in errors():
        over = partition.Rows(comm=COMM, bounds=bounds, keeps_own=True)
        raised_on_all(error, text, partial(agreed, partial(over.on_keepers, partial(raise_on, LAST, error))))
        over, is_first = partition.Rows(comm=COMM, bounds=bounds), COMM.rank == 0
        call = partial(agreed, partial(over.on_first, partial(raise_on, is_first, error)))
        raised_on_all(error, text, call, is_mine=is_first)


class Counted(cs.SimulationError):
    """It counts how often it is pickled."""

    n_pickled = 0

    def __reduce__(self):
        Counted.n_pickled += 1
        return super().__reduce__()


def errors_of_all():
    """All ranks fail: that of the first step goes to all, with the state of its rank, and no other is sent."""
    size, chosen = 300_000, min(1, COMM.size - 1)
    own = np.full(size, COMM.rank + 0.5)
    error = Counted("bad", step=3 if COMM.rank < chosen else 2, last_state=own)
    tracemalloc.start()
    with pytest.raises(Counted, match="bad") as caught:
        agreed(partial(raise_on, True, error))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3.5 * own.nbytes  # two of the pickle, and what is read from it
    assert caught.value.step == 2
    assert np.array_equal(caught.value.last_state, np.full(size, chosen + 0.5))
    assert (caught.value is error) == (COMM.rank == chosen)
    assert Counted.n_pickled == (COMM.rank == chosen)


def errors_while_an_error_is_sent():
    """A rank without memory for another's error, or an error that is no step's: nobody waits."""

    def no_room(size):
        raise MemoryError

    for error in (cs.SimulationError("bad", step=0, last_state=np.ones(9)), ValueError("bad")):
        if LAST:
            vars(partition)["bytearray"] = no_room
        with pytest.raises(RuntimeError if COMM.rank else type(error), match="bad"):
            agreed(partial(raise_on, COMM.rank == 0, error))
        vars(partition).pop("bytearray", None)
    for step in (None, lambda: 0, "text"):
        error = cs.SimulationError("bad", step=step, last_state=np.ones(9))
        with pytest.raises(RuntimeError, match="bad"):
            agreed(partial(raise_on, LAST, error))
        del error.step
        with pytest.raises(RuntimeError, match="bad"):
            agreed(partial(raise_on, LAST, error))


def errors_within_a_scan():
    """The ranks behind the one that fails do not wait for its state."""
    over = partition.Rows(comm=COMM, bounds=tuple(range(COMM.size + 1)))

    def advance(state):
        if COMM.rank == 0:
            raise MemoryError("a chunk")
        state += 1

    with pytest.raises(MemoryError, match="a chunk"), partition.errors_on_all(COMM):
        over.scan(np.zeros(3), advance)


class LawOfRanks:
    dim = 3

    def sample(self, n_tokens, *, rng, n_replicas=None):
        if LAST:
            raise ZeroDivisionError("no tokens here")
        return UNIFORM.sample(n_tokens, rng=rng, n_replicas=n_replicas)

    def density(self, x):
        return UNIFORM.density(x)


def errors_before_the_first_step():
    """While a rank draws its tokens; of arguments that differ; of the name of a checkpoint."""
    tokens = cs.laws.Sample(law=LawOfRanks(), n_tokens=300, rng=0)
    with pytest.raises(ZeroDivisionError, match="no tokens here"):
        cs.simulate(MODEL, tokens, rng=0, comm=COMM)
    x = cs.sample_uniform(300, 3, rng=0)
    x[-1] = np.nan if LAST else x[-1]
    with pytest.raises(ValueError, match="x must lie on the unit sphere"):
        cs.simulate(MODEL, x, rng=0, comm=COMM)
    with pytest.raises(TypeError, match="checkpoint"):
        simulated(checkpoint=3 if LAST else sys.argv[2])


def errors_after_the_last_step():
    stacked = loop.stacked

    def failing(*args, **options):
        if LAST:
            raise MemoryError("no room for the results")
        return stacked(*args, **options)

    loop.stacked = failing
    with pytest.raises(MemoryError, match="no room for the results"):
        simulated()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(60, exit=True)  # where ranks wait for each other for ever
    run_case(
        errors_that_pickle_loses,
        errors_of_files,
        errors_of_all,
        errors_while_an_error_is_sent,
        errors_within_a_scan,
        errors_before_the_first_step,
        errors_after_the_last_step,
    )
