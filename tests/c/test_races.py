"""The schedule of attention.pyx under ThreadSanitizer, with LLVM's OpenMP and Archer, which tells it of barriers."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_sanitizers import HERE, ROOT, compile_c, compile_library, needs_clang

KERNELS = ROOT / "src" / "chaosphere" / "kernels"
FLAGS = ["-O0", "-fsanitize=thread", "-fPIC"]
pytestmark = needs_clang


def clang_file(name):
    path = subprocess.run(["clang", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout
    assert os.path.isabs(path.strip()), f"clang's {name} is missing: apt-get install libomp-dev libclang-rt-dev"
    return path.strip()


def package(folder, sources, objects):
    """A package `chaosphere.kernels` of the two modules that the schedule needs."""
    kernels = folder / "chaosphere" / "kernels"
    kernels.mkdir(parents=True)
    (folder / "chaosphere" / "__init__.py").write_text("")
    shutil.copy(KERNELS / "__init__.py", kernels)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")

    def module(name):
        flags = [*FLAGS, "-fopenmp", "-shared", "-shared-libsan", "-w", f"-I{sysconfig.get_path('include')}"]
        compile_c(
            [sources[name], *(objects if name == "abi" else [])], kernels / f"{name}{suffix}", *flags, compiler="clang"
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(module, sources))
    return folder


def watched(folder):
    """Run the calls of races.py."""
    return subprocess.run(
        [sys.executable, HERE / "races.py"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ
        | {
            "PYTHONPATH": str(folder),
            "LD_PRELOAD": clang_file("libclang_rt.tsan-x86_64.so"),
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:exitcode=66",
            "OMP_TOOL_LIBRARIES": clang_file("libarcher.so"),
            "ARCHER_OPTIONS": "verbose=1",
            "OMP_NUM_THREADS": "4",
            "OPENBLAS_NUM_THREADS": "1",
        },
    )


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The C files of the two modules, as their build has left them, and the library's object files."""
    sources = {name: KERNELS / f"{name}.c" for name in ("abi", "attention")}
    for name, path in sources.items():
        assert path.exists(), f"{path} is missing: build the package in place (pip install -e .)"
        assert path.stat().st_mtime >= (KERNELS / f"{name}.pyx").stat().st_mtime, f"{path} is older than its source"
    folder = tmp_path_factory.mktemp("threads")
    return sources, compile_library(folder, *FLAGS, compiler="clang", is_complete=False)


def test_the_schedule_has_no_races(parts, tmp_path):
    done = watched(package(tmp_path, *parts))
    assert done.returncode == 0, done.stdout + done.stderr[:5000]
    assert "Archer detected OpenMP application with TSan" in done.stderr
    assert int(done.stdout.split()[0]) >= 90


def test_a_race_is_caught(parts, tmp_path):
    """Without the order that acquire and release give, a worker may read what another has not written yet."""
    sources, objects = parts
    text = re.sub("__ATOMIC_(ACQUIRE|RELEASE)", "__ATOMIC_RELAXED", sources["attention"].read_text())
    assert text != sources["attention"].read_text()
    (tmp_path / "attention.c").write_text(text)
    done = watched(package(tmp_path / "racy", sources | {"attention": tmp_path / "attention.c"}, objects))
    assert done.returncode == 66, done.stdout + done.stderr[:5000]
    assert "WARNING: ThreadSanitizer: data race" in done.stderr
