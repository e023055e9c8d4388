"""Build: one static library per instruction set from one C source, and the Cython modules over them.

CHAOSPHERE_OPENMP=0|1|auto   without, with (an error if it does not work), or as found (default)
CHAOSPHERE_DEBUG=1           bounds checks on in the Cython modules
"""

import copy
import glob
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.errors import SetupError

KERNELS = [
    "abi",
    "attention",
    "blocks",
    "expansions",
    "harmonics",
    "layer",
    "normals",
    "pairs",
    "rows",
    "schedule",
    "sphere",
]
C_PARTS = sorted(glob.glob("csrc/**/*.[hid]*", recursive=True))
C_HEADERS = ["csrc/chaosphere.h", "csrc/tuning.h", "csrc/activations.def"]
# Not aligned, the speed of a loop depends, by a tenth, on the length of the code before it in the shared library.
ALIGNMENT = ["-falign-functions=64", "-falign-loops=64"]
C_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", "-fPIC", *ALIGNMENT]
# The instruction sets, best last: name, machine, header in csrc/simd, flags, and what the processor must have.
ISAS = [
    ("baseline", "any", "generic", [], []),
    ("avx2", "x86_64", "avx2", ["-mavx2", "-mfma"], ["avx2", "fma"]),
    (
        "avx512",
        "x86_64",
        "avx512",
        ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mprefer-vector-width=512"],
        ["avx512f", "avx512vl", "avx512dq", "avx512bw"],
    ),
    ("neon", "aarch64", "neon", [], []),
]
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
IS_DEBUG = os.environ.get("CHAOSPHERE_DEBUG", "0") == "1"
OPENMP_PROGRAM = """
#include <omp.h>
int main(void) {
    int sum = 0;
    _Pragma("omp parallel for num_threads(2) reduction(+:sum)")
    for (int i = 0; i < 100; i++) sum += i;
    return !(sum == 4950 && omp_get_max_threads() >= 1);
}
"""


def isa_builds(machine):
    """Flags and macros of csrc/isa.c for each instruction set of a machine; csrc/dispatch.c takes the macros of any."""
    rows = [row for row in ISAS if row[1] in {"any", machine}]
    runs = [" && ".join(f"HAS({feature})" for feature in features) or "1" for *_, features in rows]
    isas = " ".join(f"ISA({row[0]}, {runs_here})" for row, runs_here in zip(rows, runs, strict=True))
    return {
        name: (flags, [("CHS_ISA", name), ("CHS_SIMD_HEADER", f'"simd/{header}.h"'), ("CHS_ISAS", isas)])
        for name, _, header, flags, _ in rows
    }


ISA_BUILDS = isa_builds(MACHINE)


def c_library(isa):
    """One instruction set's kernels; the baseline library also carries the dispatch."""
    flags, macros = ISA_BUILDS[isa]
    return (
        f"chs_{isa}",
        {
            "sources": ["csrc/isa.c"] + (["csrc/dispatch.c"] if isa == "baseline" else []),
            "obj_deps": {"": C_PARTS},
            "include_dirs": ["csrc"],
            "macros": macros,
            "cflags": C_FLAGS + flags,
        },
    )


class BuildLibraries(build_clib):
    """Compiles the instruction sets at the same time, each in a folder of its own: they have one source."""

    def build_libraries(self, libraries):
        def build_library(library):
            part = copy.copy(self)
            part.build_temp = os.path.join(self.build_temp, library[0])
            super(BuildLibraries, part).build_libraries([library])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(build_library, libraries))


class BuildExt(build_ext):
    """Adds OpenMP where a small program compiles with it *and runs*; compiles the modules at the same time."""

    def build_extensions(self):
        self.parallel = self.parallel or os.cpu_count()
        if self.compiler.compiler_type == "msvc":
            raise SetupError("chaosphere needs GCC or Clang (vector extensions); MSVC cannot build it")
        flags = self.openmp_flags(os.environ.get("CHAOSPHERE_OPENMP", "auto"))
        for extension in self.extensions:
            extension.extra_compile_args += flags
            extension.extra_link_args += flags
        super().build_extensions()

    def openmp_flags(self, wish):
        if wish not in {"0", "1", "auto"}:
            raise SetupError(f"CHAOSPHERE_OPENMP must be 0, 1 or auto, not {wish!r}")
        if wish == "0":
            return []
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(OPENMP_PROGRAM)
            command = [*self.compiler.compiler_so[:1], "-fopenmp", str(source), "-o", str(source.with_suffix(""))]
            try:
                subprocess.run(command, check=True, capture_output=True)
                subprocess.run([str(source.with_suffix(""))], check=True, capture_output=True, timeout=60)
            except (OSError, subprocess.SubprocessError) as error:
                if wish == "1":
                    raise SetupError(f"CHAOSPHERE_OPENMP=1, but an OpenMP program failed here: {error}") from error
                print("chaosphere: OpenMP does not work with this compiler; building for one thread", file=sys.stderr)
                return []
        return ["-fopenmp"]


extensions = [
    Extension(
        f"chaosphere.kernels.{name}",
        [f"src/chaosphere/kernels/{name}.pyx"],
        include_dirs=["csrc"],
        extra_compile_args=["-O2", "-ffp-contract=off"],
        # The baseline library, which holds the dispatch, comes before the tables that it refers to.
        libraries=[f"chs_{isa}" for isa in ISA_BUILDS] if name == "abi" else [],
        depends=C_PARTS if name == "abi" else C_HEADERS,
    )
    for name in KERNELS
]

setup(
    libraries=[c_library(isa) for isa in ISA_BUILDS],
    ext_modules=cythonize(
        extensions,
        compiler_directives={
            "language_level": 3,
            "boundscheck": IS_DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
        },
        force=IS_DEBUG,
    ),
    cmdclass={"build_ext": BuildExt, "build_clib": BuildLibraries},
)
