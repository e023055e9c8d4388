"""Every test here runs twice: a fixed part in every run of the suite, a fresh part under `pytest -m fuzz`."""

import os

import pytest
from effort import SECONDS, SEED, Effort, fresh_seed

FRESH = fresh_seed()


def pytest_terminal_summary(terminalreporter, config):
    if "fuzz" in config.option.markexpr and "not fuzz" not in config.option.markexpr:
        terminalreporter.write_line(f"fuzz: fresh seeds started from {SEED}={FRESH}")


@pytest.fixture(params=["fixed", pytest.param("fresh", marks=pytest.mark.fuzz)])
def effort(request, tmp_path):
    """The fixed part, or a fresh one of a minute for each test."""
    if request.param == "fixed":
        return Effort(seed=0, seconds=None, folder=tmp_path)
    return Effort(seed=FRESH, seconds=float(os.environ.get(SECONDS, "60")), folder=tmp_path)
