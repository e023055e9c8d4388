"""One ensemble on the executor that the command line names; prints a digest of all its numbers.

`python members.py KIND N_WORKERS [STORE]`, KIND one of alone, threads, processes, pool, dask, mpi (under
`python -m mpi4py.futures`).
"""

import dataclasses
import hashlib
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import chaosphere as cs
from chaosphere.ensembles.pool import Pool


@dataclasses.dataclass(frozen=True)
class Deadly:
    """An observable that kills the process it is called in, unless that has this id."""

    spared: int

    def __call__(self, time, x):
        if os.getpid() != self.spared:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros(len(x))


def environment():
    """Of a process that imports this module, and chaosphere from where this one does."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def transformer(beta, activation):
    mlp = cs.MLP(width=16, activation=activation, bias_std=0.1)
    return cs.Transformer(attention=cs.SoftmaxAttention(beta=beta), mlp=mlp, depth=6, horizon=1.0)


def mean(time, x):
    return cs.measures.mean_vector(x)


STUDY = {
    "n_tokens": 900,  # four replicas to a batch
    "seeds": [5, 6, 7, 8, 9, 1234567890123],
    "sweep": {"beta": [0.5, 4.0], "activation": ["relu", "tanh", "erf"]},
    "observe": {"energy": cs.measures.Energy(beta=1.0), "mean": mean},
    "save_at": [0.0, 0.5, 1.0],
}
LAW = cs.laws.Uniform(dim=3)
SMALL = {"n_tokens": 8, "seeds": range(3), "observe": {"energy": cs.measures.Energy(beta=1.0)}}


def one(beta=1.0):
    return cs.Transformer(attention=cs.SoftmaxAttention(beta=beta), mlp=cs.MLP(width=4), depth=3, horizon=1.0)


def digest(data):
    parts = [data[name].values.tobytes() for name in sorted([*data.data_vars, *data.coords])]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@contextmanager
def dask(n_workers):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()


@contextmanager
def mpi(n_workers):
    from mpi4py import MPI
    from mpi4py.futures import MPIPoolExecutor

    assert MPI.COMM_WORLD.Get_size() == n_workers + 1
    with MPIPoolExecutor() as executor:
        yield executor


@contextmanager
def alone(n_workers):
    yield None


def processes(n_workers):
    return ProcessPoolExecutor(n_workers, mp_context=get_context("spawn"))


KINDS = {
    "alone": alone,
    "threads": ThreadPoolExecutor,
    "processes": processes,
    "pool": Pool,
    "dask": dask,
    "mpi": mpi,
}


if __name__ == "__main__":
    with KINDS[sys.argv[1]](int(sys.argv[2])) as executor:
        data = cs.ensemble(transformer, LAW, executor=executor, store=sys.argv[3] if sys.argv[3:] else None, **STUDY)
    assert bool(data["finished"].all())
    assert np.isfinite(data["energy_low"]).all()
    print(digest(data))
