"""Programs under `mpiexec`; every number of ranks fits on every machine, and root may start them."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from .programs import started

TESTS = Path(__file__).parents[1]
HAS_MPI = shutil.which("mpiexec") is not None and importlib.util.find_spec("mpi4py") is not None

# .ci/run sets the variable once it has installed both: there nothing is left out.
needs_mpi = pytest.mark.skipif(
    not HAS_MPI and not os.environ.get("CHAOSPHERE_REQUIRE_MPI"), reason="needs mpiexec and mpi4py"
)


def started_ranks(n_ranks, *arguments):
    """`started` with mpiexec, whose children are the ranks."""
    return started(
        ["mpiexec", "-n", n_ranks, sys.executable, "-W", "error", *arguments],
        timeout=500,
        env=os.environ
        | {
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "OMPI_MCA_mpi_yield_when_idle": "1",
        },
    )


def run_ranks(n_ranks, *arguments):
    """The finished process, with what the ranks print."""
    with started_ranks(n_ranks, *arguments) as process:
        return process.finished()


def mpiexec(n_ranks, *arguments):
    """What the ranks print, line by line."""
    done = run_ranks(n_ranks, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("\n")


def check_case(program, case, *, n_ranks, path):
    """A case of a program in this folder passes on all ranks."""
    lines = mpiexec(n_ranks, "-m", "mpi4py", TESTS / "support" / program, case, path)
    assert lines == [f"passed on ranks {list(range(n_ranks))}", ""]
