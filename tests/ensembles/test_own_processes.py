"""A process of the caller's own, which multiprocessing started, continues after a stop that it catches."""

import signal
import sys
import time
from concurrent.futures import Executor, Future
from multiprocessing import get_context

import pytest

import chaosphere as cs
from chaosphere.ensembles import pool
from chaosphere.simulation.signals import StopRequest

MODEL = cs.Transformer(attention=cs.SoftmaxAttention(), mlp=None, depth=4, horizon=1.0)
UNIFORM = cs.laws.Uniform(dim=3)


class Here(Executor):
    """Runs each task at once, in this process."""

    def submit(self, function, /, *args, **options):
        future = Future()
        try:
            future.set_result(function(*args, **options))
        except BaseException as error:
            future.set_exception(error)
        return future


def stop(time, x):
    if isinstance(getattr(signal.getsignal(signal.SIGINT), "__self__", None), StopRequest):  # in a run
        signal.raise_signal(signal.SIGINT)
    return [0.0] * len(x)


def ensemble(folder, executor=None):
    options = {"n_tokens": 5, "seeds": [0], "observe": {"a": stop}, "n_threads": 1}
    cs.ensemble(MODEL, UNIFORM, store=folder / "s.zarr", executor=executor, **options)


def ensemble_on_own_executor(folder):
    ensemble(folder, Here())


def estimate(folder):
    model = cs.LimitSDE(attention=cs.SoftmaxAttention(), field=None, horizon=1.0, n_steps=4)
    cs.estimate(model, UNIFORM, stop, tolerance=0.1, rng=0, store=folder / "levels", n_threads=1)


def stop_all(folder):
    """End the process with 3 if a stop of each call was raised and caught, and no timer has ended it since."""
    pool._SECONDS_TO_SEND = 0.05
    for call in (ensemble, ensemble_on_own_executor, estimate):
        (folder / call.__name__).mkdir()
        with pytest.raises(cs.Interrupted):
            call(folder / call.__name__)
        time.sleep(0.3)
        print(f"on after {call.__name__}", flush=True)
    sys.exit(3)


def test_the_process_continues(tmp_path, capfd):
    process = get_context("spawn").Process(target=stop_all, args=(tmp_path,))
    process.start()
    process.join(60)
    process.kill()  # if it hangs
    lines = capfd.readouterr().out.splitlines()
    assert lines == ["on after ensemble", "on after ensemble_on_own_executor", "on after estimate"]
    assert process.exitcode == 3
