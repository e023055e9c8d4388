"""Programs under `mpiexec`; every number of ranks fits on every machine, and root may start them."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
HAS_MPI = shutil.which("mpiexec") is not None and importlib.util.find_spec("mpi4py") is not None

# .ci/run sets the variable once it has installed both: there nothing is left out.
needs_mpi = pytest.mark.skipif(
    not HAS_MPI and not os.environ.get("CHAOSPHERE_REQUIRE_MPI"), reason="needs mpiexec and mpi4py"
)


def start_ranks(n_ranks, *arguments):
    """The process of mpiexec, whose children are the ranks."""
    return subprocess.Popen(
        ["mpiexec", "-n", str(n_ranks), sys.executable, "-W", "error", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ
        | {
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1",
            "OMPI_MCA_mpi_yield_when_idle": "1",
        },
    )


def finished(process):
    """The process, with what the ranks print."""
    out, err = process.communicate(timeout=500)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_ranks(n_ranks, *arguments):
    """The finished process, with what the ranks print."""
    return finished(start_ranks(n_ranks, *arguments))


def mpiexec(n_ranks, *arguments):
    """What the ranks print, line by line."""
    done = run_ranks(n_ranks, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("\n")
