"""The `bench` fixture and the options --quick and --contender."""

import os
import time

import pytest

CONTENDERS = ("chaosphere", "numpy", "torch", "jax", "keops")  # as in registry, which reads the options


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="tiny sizes, one round: check the benches themselves")
    parser.addoption("--contender", choices=CONTENDERS, help="only this one")


def pytest_configure(config):
    if config.getoption("--quick"):
        os.environ["CHAOSPHERE_BENCH"] = "quick"
    import registry

    registry.set_environment()


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--contender")
    if wanted:

        def contender(item):
            return item.callspec.params.get("contender", "chaosphere") if hasattr(item, "callspec") else "chaosphere"

        config.hook.pytest_deselected(items=[item for item in items if contender(item) != wanted])
        items[:] = [item for item in items if contender(item) == wanted]


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info.pop("node", None)  # the machine's name in its network has no place in a published file


@pytest.fixture
def bench(benchmark):
    """Return a function that checks one contender on one case, measures it and records what it did."""
    import contenders
    import numpy as np
    import probe
    import reference
    import registry

    def run(kind, case, name, *, work, unit, fma=None, operations=0.0):
        """Measure one contender.

        `work` counts `unit`s. fma, if there is one limit worth naming, is the least number of multiply-adds per unit,
        operations that of all arithmetic ones: the processor must find the time for both (probe.py).
        """
        try:
            contender = contenders.get(name)
            if not hasattr(contender, kind):
                pytest.skip(f"{name} has no {kind}")
            function = getattr(contender, kind)(case)
        except contenders.Missing as error:
            pytest.skip(str(error))
        tolerance = registry.TOLERANCE[case.dtype]
        if kind == "transformer":
            # Each draws its own weights; to be compared they are given ours.
            draws = contenders.get("chaosphere").draws(case)
            expected = reference.transformer(case, draws)
            out = function() if name == "chaosphere" else contender.transformer(case, draws)()
        else:
            expected = getattr(reference, kind)(case)
            out = function()
        out = np.asarray(out)
        if out.ndim == 3:
            out = out[:, reference.rows(case)]
        assert out.shape == expected.shape
        error = float(np.abs(out - expected).max() / max(1.0, np.abs(expected).max()))
        assert error <= tolerance, f"{name} is off by {error:.3g}, allowed {tolerance:.3g}"

        start = time.perf_counter()
        function()
        seconds = time.perf_counter() - start
        rounds = min(max(int(registry.SECONDS / seconds), registry.ROUNDS[0]), registry.ROUNDS[1])
        # Warm-up: the threads of whoever ran before go to sleep, pages and caches are in place.
        warmup_rounds = 0 if registry.IS_QUICK else max(1, rounds // 10)
        if seconds > registry.SLOW:
            rounds, warmup_rounds = 1, 0
        benchmark.group = f"{kind}[{case}]"
        benchmark.pedantic(function, rounds=rounds, warmup_rounds=warmup_rounds)
        benchmark.extra_info |= {
            "contender": name,
            "N": case.n_tokens,
            "d": case.dim,
            "dtype": case.dtype,
            "threads": registry.THREADS,
            "ISA": _isa(),
            "error": error,
        }
        if benchmark.stats is not None:  # None with --benchmark-disable
            rate = work / benchmark.stats.stats.median
            benchmark.extra_info[f"{unit} per second"] = rate
            if fma is not None and name == "chaosphere":
                limits = {"dtype": case.dtype, "fma": fma * work, "operations": operations * work}
                fraction = probe.fraction(function, **limits)
                if fraction is not None:
                    benchmark.extra_info["fraction of peak"] = fraction

    return run


def _isa():
    from chaosphere.common import config

    return config.configuration()["instruction set in use"]
