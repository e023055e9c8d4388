"""The schedule of attention under ThreadSanitizer, with LLVM's OpenMP and Archer, which tells it of barriers.

A change to the schedule or to what a worker does wants `pytest -m slow tests/c/test_races.py`.
"""

import os
import re
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.builds import build_settings
from test_sanitizers import HERE, ROOT, compile_c, compile_library, needs_clang, run

KERNELS = ROOT / "src" / "chaosphere" / "kernels"
FLAGS = ["-O0", "-fsanitize=thread", "-fPIC"]
INCLUDE = f"-I{sysconfig.get_path('include')}"
pytestmark = [needs_clang, pytest.mark.slow]


def archer():
    """Where Archer is: in the folder of LLVM's libraries, above that of Clang's resources."""
    command = ["clang", "-print-resource-dir"]
    resources = Path(run(command).stdout.strip())
    path = resources.parent.parent / "libarcher.so"
    assert path.exists(), f"{path} is missing; on Debian: apt-get install libomp-dev"
    return str(path)


def package(folder, sources, objects):
    """A package `chaosphere.kernels` of the modules that attention needs."""
    kernels = folder / "chaosphere" / "kernels"
    kernels.mkdir(parents=True)
    (folder / "chaosphere" / "__init__.py").write_text("")
    shutil.copy(KERNELS / "__init__.py", kernels)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")

    def module(name):
        flags = [*FLAGS, "-fopenmp", "-shared", "-w", INCLUDE]
        compile_c(
            [sources[name], *(objects if name == "abi" else [])], kernels / f"{name}{suffix}", *flags, compiler="clang"
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(module, sources))
    return folder


def watched(folder):
    """Run the calls of races.py."""
    library, version = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDVERSION")
    link = [f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{version}", "-fopenmp", "-lm", "-ldl"]
    compile_c([HERE / "python.c"], folder / "python", *FLAGS, INCLUDE, *link, compiler="clang")
    return run(
        [folder / "python", HERE / "races.py"],
        PYTHONHOME=sys.base_prefix,
        PYTHONPATH=os.pathsep.join([str(folder), sysconfig.get_path("platlib")]),
        TSAN_OPTIONS="ignore_noninstrumented_modules=1:exitcode=66:halt_on_error=1",
        OMP_TOOL_LIBRARIES=archer(),
        ARCHER_OPTIONS="verbose=1",
        OMP_NUM_THREADS="4",
        KMP_BLOCKTIME="0",
        OPENBLAS_NUM_THREADS="1",
    )


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The C files of the modules, as their build has left them, and the library's object files."""
    sources = {name: KERNELS / f"{name}.c" for name in ("_cyutility", "abi", "attention", "blocks", "schedule")}
    for path in sources.values():
        assert path.exists(), f"{path} is missing: build the package in place (pip install -e .)"
        source = path.with_suffix(".pyx")  # _cyutility has none: Cython writes it alone
        assert not source.exists() or path.stat().st_mtime >= source.stat().st_mtime, f"{path} is older than its source"
    folder = tmp_path_factory.mktemp("threads")
    return sources, compile_library(folder, FLAGS, compiler="clang", settings=build_settings(), only="baseline")


def test_the_schedule_has_no_races(parts, tmp_path):
    done = watched(package(tmp_path, *parts))
    assert done.returncode == 0, done.stdout + done.stderr[:5000]
    assert "Archer detected OpenMP application with TSan" in done.stdout
    assert "102 calls" in done.stdout


def test_a_race_is_caught(parts, tmp_path):
    """Without the order that acquire and release give, a worker may read what another has not written yet."""
    sources, objects = parts
    text = re.sub("__ATOMIC_(ACQUIRE|RELEASE)", "__ATOMIC_RELAXED", sources["schedule"].read_text())
    assert text != sources["schedule"].read_text()
    (tmp_path / "schedule.c").write_text(text)
    done = watched(package(tmp_path / "racy", sources | {"schedule": tmp_path / "schedule.c"}, objects))
    assert done.returncode == 66, done.stdout + done.stderr[:5000]
    assert "WARNING: ThreadSanitizer: data race" in done.stderr
