"""Build: one static library per instruction set from one C source, and the Cython modules over them.

CHAOSPHERE_OPENMP=0|1|auto   without, with (an error if it does not work), or as found (default)
CHAOSPHERE_DEBUG=1           bounds checks on in the Cython modules
"""

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
C_PARTS = sorted(glob.glob("csrc/*.[hi]*"))
# Not aligned, the speed of a loop depends, by a tenth, on the length of the code before it in the shared library.
ALIGNMENT = ["-falign-functions=64", "-falign-loops=64"]
C_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", "-fPIC", *ALIGNMENT]
IS_X86_64 = platform.machine().lower() in {"x86_64", "amd64"}
ISA_FLAGS = {"baseline": []}
if IS_X86_64:
    ISA_FLAGS["avx2"] = ["-mavx2", "-mfma"]
    ISA_FLAGS["avx512"] = ["-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mprefer-vector-width=512"]
MACROS = [("CHS_X86_64", "1")] if IS_X86_64 else []
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


def c_library(isa):
    """One instruction set's kernels; the baseline library also carries the dispatch."""
    sources = [f"csrc/isa_{isa}.c"] + (["csrc/dispatch.c"] if isa == "baseline" else [])
    return (
        f"chaosphere_{isa}",
        {
            "sources": sources,
            "obj_deps": {"": C_PARTS},
            "include_dirs": ["csrc"],
            "macros": MACROS,
            "cflags": C_FLAGS + ISA_FLAGS[isa],
        },
    )


class BuildLibraries(build_clib):
    """Compiles the instruction sets at the same time."""

    def build_libraries(self, libraries):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(super().build_libraries, [[library] for library in libraries]))


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
        define_macros=MACROS,
        extra_compile_args=["-O2", "-ffp-contract=off"],
        # The baseline library, which holds the dispatch, comes before the tables that it refers to.
        libraries=[f"chaosphere_{isa}" for isa in ISA_FLAGS] if name == "abi" else [],
        depends=C_PARTS if name == "abi" else [],  # linked anew when they change
    )
    for name in KERNELS
]

setup(
    libraries=[c_library(isa) for isa in ISA_FLAGS],
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
