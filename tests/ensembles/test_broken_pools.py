"""A process pool of Python's own whose worker dies: the call ends with a message, and no process is left.

The dead worker of these pools may hold the lock of their queue, and the others note the SIGTERM that ends them.
"""

import os
import signal
import sys
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from support.members import environment
from support.programs import started, wait_for_end

from chaosphere.ensembles.executors import cancel
from chaosphere.simulation.signals import StopRequest

PROGRAM = """
import os, sys, time
import chaosphere as cs
from support.members import processes

folder, store, n_seeds = sys.argv[1], sys.argv[2], int(sys.argv[3])

model = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=20_000, horizon=1.0)

def report(t, x):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    return [0.0] * len(x)

def start(seconds):
    open(os.path.join(folder, f"worker-{os.getpid()}"), "w").close()
    time.sleep(seconds)

if __name__ == "__main__":
    executor = processes(2)
    while len([name for name in os.listdir(folder) if name.startswith("worker")]) < 2:
        list(executor.map(start, [0.1, 0.1]))
    cs.ensemble(model, cs.laws.Uniform(dim=3), n_tokens=1500, seeds=range(n_seeds), observe={"a": report},
                save_at=[i / 1000 for i in range(1001)], executor=executor, store=store, n_threads=1)
"""


@pytest.mark.parametrize(
    ("how", "n_seeds", "message"),
    [
        pytest.param("an idle one of the group", 1, "SIGTERM; 0 of 1 runs are in", id="signal"),
        pytest.param("an idle one", 1, "a worker died, killed or out of memory", id="idle"),
        pytest.param("one that runs, after a signal", 40, "SIGTERM; 0 of 40 runs are in", id="cancelled"),
    ],
)
def test_the_call_ends_and_so_do_the_workers(tmp_path, how, n_seeds, message):
    folder = tmp_path / "seen"
    folder.mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, tmp_path / "program.py", folder, tmp_path / "study.zarr", str(n_seeds)]
    with started(command, env=environment()) as process:
        workers, running = set(), set()
        while len(running) < min(n_seeds, 2) and process.poll() is None:
            names = os.listdir(folder)
            workers = {int(name.partition("-")[2]) for name in names if name.startswith("worker")}
            running = {int(name) for name in names if name.isdigit()} - {process.pid}
            time.sleep(0.01)
        assert len(workers) == 2
        if how == "an idle one of the group":
            os.killpg(process.pid, signal.SIGTERM)
        elif how == "an idle one":
            os.kill(*(workers - running), signal.SIGKILL)
        else:
            process.send_signal(signal.SIGTERM)
            time.sleep(1.5)  # until it has cancelled what has not begun: it looks every second
            os.kill(min(running), signal.SIGKILL)
        _, errors = process.communicate()
        assert wait_for_end(process.pid, 20)
    assert process.returncode == 1
    assert message in errors.splitlines()[-1]
    assert "Exception in thread" not in errors


def test_a_cancelled_future_does_not_stop_a_pool_that_breaks():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        pid = executor.submit(os.getpid).result(timeout=60)
        futures = [executor.submit(time.sleep, 100) for _ in range(6)]  # the queue of one worker takes two or three
        deadline = time.monotonic() + 60
        while not futures[0].running() and time.monotonic() < deadline:
            time.sleep(0.01)
        is_cancelled = [cancel(future) for future in futures]
        assert not is_cancelled[0]
        assert is_cancelled[-1]
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(CancelledError):
        futures[-1].result(timeout=0)
    assert futures[0].exception(timeout=60) is not None


def raises_at_the_second(number):
    try:
        with StopRequest() as stop:
            signal.raise_signal(number)
            assert stop.received == number
            signal.raise_signal(number)
    except KeyboardInterrupt:
        return True
    return False


def test_a_worker_keeps_its_step_when_its_pool_ends_it_after_a_signal():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        numbers = (signal.SIGINT, signal.SIGTERM)
        assert list(executor.map(raises_at_the_second, numbers)) == [True, False]
        assert list(map(raises_at_the_second, numbers)) == [True, True]
