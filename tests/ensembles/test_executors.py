"""Every executor, driven for real, gives the bits of one process; MPI has a file of its own."""

import dataclasses
import os
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from support.members import LAW, STUDY, digest, environment, processes, transformer
from support.programs import TIMEOUT, finished

import chaosphere as cs
from chaosphere.ensembles.executors import workers
from chaosphere.ensembles.pool import Pool, processors

MEMBERS = Path(__file__).parents[1] / "support" / "members.py"


def run(*arguments, **environment):
    """The digest that the program prints, in a process of its own where every warning is an error."""
    done = finished([sys.executable, "-W", "error", MEMBERS, *arguments], env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("n_workers", [1, 3])
def test_process_pool(expected, n_workers):
    with processes(n_workers) as executor:
        assert workers(executor) == (n_workers, n_workers)
        assert digest(cs.ensemble(transformer, LAW, executor=executor, **STUDY)) == expected


STARTING = """
import os, signal
from chaosphere.simulation.signals import StopRequest
from chaosphere.ensembles.pool import Pool, processors

if __name__ == "__main__":
    with StopRequest() as stop, Pool(2) as pool:
        os.killpg(0, signal.SIGINT)  # the workers are starting
    print(stop.received.name)
"""


def test_workers_get_no_signals_not_even_while_they_start(tmp_path):
    (tmp_path / "starting.py").write_text(STARTING)
    done = finished([sys.executable, tmp_path / "starting.py"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "SIGINT\n", "")


def test_a_pool_stops_its_runs(tmp_path, expected):
    """Those that run and those that follow; the workers stay until the pool is shut down."""
    with Pool(1) as pool:
        assert digest(cs.ensemble(transformer, LAW, executor=pool, **STUDY)) == expected
        pool.stop_runs()
        with pytest.raises(cs.Interrupted, match=r"SIGTERM: stopped after step \d of 6; 0 of 36 runs are in"):
            cs.ensemble(transformer, LAW, executor=pool, store=tmp_path / "study.zarr", **STUDY)
        assert pool.submit(processors).result(timeout=TIMEOUT) >= 1


NOTICED = """
from multiprocessing import Pipe
from chaosphere.ensembles import pool
from chaosphere.simulation.signals import StopRequest

pool._stop_pipe, other = Pipe(duplex=False)  # and no thread that waits at it, the slowest of all
for stop in (False, True):
    if stop:
        other.close()
    pool.end_if_stopped()
    print(StopRequest().received)
"""


def test_a_worker_notices_the_end_before_it_takes_up_a_run():
    """Whatever its thread does: under load that came late, and a run or two were finished."""
    done = finished([sys.executable, "-c", NOTICED])
    assert (done.stdout.split(), done.stderr) == (["None", "15"], "")


def test_thread_pool(expected):
    with ThreadPoolExecutor(2) as executor:
        assert digest(cs.ensemble(transformer, LAW, executor=executor, **STUDY)) == expected


def test_dask(expected, tmp_path):
    store = tmp_path / "study.zarr"
    assert run("dask", 2, store) == expected
    assert digest(cs.load_ensemble(store)) == expected
    assert sorted(tmp_path.iterdir()) == [store]


THREADS = """
import dataclasses, os
import chaosphere as cs
from support.members import LAW, dask

@dataclasses.dataclass(frozen=True)
class Threads:
    n_threads: int | None = None
    def __call__(self, time, x):
        return [[float(self.n_threads or -1), float(os.environ.get("OMP_NUM_THREADS", -1))]] * len(x)

if __name__ == "__main__":
    model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=1, horizon=1.0)
    for n_workers in (1, 2):
        with dask(n_workers) as executor:
            data = cs.ensemble(model, LAW, n_tokens=4, seeds=[0], observe={"n": Threads()}, executor=executor)
        print(*data["n"].values[0, -1].astype(int))
"""


@pytest.mark.slow
def test_threads_of_workers_are_set_whatever_dask_says(tmp_path):
    """Each worker asks for its share of the processors, though Dask sets OMP_NUM_THREADS=1."""
    (tmp_path / "threads.py").write_text(THREADS)
    done = finished([sys.executable, tmp_path / "threads.py"], env=environment())
    assert done.returncode == 0, done.stderr
    n = processors()
    assert done.stdout.splitlines() == [f"{n} 1", f"{max(1, n // 2)} 1"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_threads_of_workers_follow_the_affinity_mask():
    mask = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mask)})  # which workers inherit
        with Pool(1) as pool:
            assert processors() == pool.submit(processors).result(timeout=TIMEOUT) == 1
    finally:
        os.sched_setaffinity(0, mask)
    assert processors() == len(mask)


def test_forking_pools_are_refused():
    with (
        ProcessPoolExecutor(1, mp_context=get_context("fork")) as executor,
        pytest.raises(ValueError, match=r"executor must not fork.*get_context\('spawn'\)"),
    ):
        cs.ensemble(transformer, LAW, executor=executor, **STUDY)


def test_another_instruction_set_in_a_worker_is_refused(monkeypatch):
    with processes(1) as executor:
        monkeypatch.setattr("chaosphere.kernels.abi.isa_in_use", lambda: "sse9")
        with pytest.raises(RuntimeError, match=r"a worker uses the instruction set .*, this process sse9"):
            cs.ensemble(transformer, LAW, executor=executor, **STUDY)


def test_errors_of_workers_arrive_whole():
    """Also those whose constructors take more than a message."""
    x = np.eye(3)[[0, 0]]
    repel = cs.Transformer(attention=cs.SoftmaxAttention(beta=0.0, value_scale=-1.0), mlp=None, depth=1, horizon=1.0)
    with processes(1) as executor, pytest.raises(cs.SimulationError) as caught:
        cs.ensemble(repel, x, seeds=[0], observe={"energy": cs.measures.Energy()}, executor=executor)
    assert caught.value.step == 0
    assert caught.value.last_state.shape == (1, 2, 3)


class Odd(Exception):
    """Its pickle is made, but cannot be read."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


class Closed(Exception):
    """It has no pickle."""

    def __init__(self):
        super().__init__("a lambda")
        self.function = lambda: None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen(Exception):
    """It has a pickle, but a pool cannot take its traceback away."""

    why: str


def odd(t, x):
    if t > 0:
        raise Odd("a", "b")
    return np.zeros(len(x))


def closed(t, x):
    if t > 0:
        raise Closed
    return np.zeros(len(x))


def frozen(t, x):
    if t > 0:
        raise Frozen("mine")
    return np.zeros(len(x))


@pytest.mark.parametrize("pool", [processes, Pool])
def test_errors_that_pickle_loses_arrive_as_their_text(pool):
    """They are no death of a worker; where nothing is sent they are themselves."""
    for observable, text in ((odd, "Odd: a b"), (closed, "Closed: a lambda"), (frozen, "Frozen: mine")):
        with pool(1) as executor, pytest.raises(RuntimeError, match=f"^{text}") as caught:
            cs.ensemble(transformer, LAW, executor=executor, **STUDY | {"observe": {"odd": observable}})
        assert str(caught.value) == text
        assert any("in the runs with" in note for note in caught.value.__notes__)
    for executor in (None, ThreadPoolExecutor(1)):
        with pytest.raises(Odd, match=r"^a b"):
            cs.ensemble(transformer, LAW, executor=executor, **STUDY | {"observe": {"odd": odd}})
    executor.shutdown()


def test_dask_without_workers():
    class Client:
        def nthreads(self):
            return {}

    with ThreadPoolExecutor(1) as executor:
        executor._client = Client()
        with pytest.raises(ValueError, match="executor has no workers"):
            workers(executor)
