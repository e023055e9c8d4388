"""Build: one static library per instruction set from one C source, and the Cython modules over them.

CHAOSPHERE_OPENMP=0|1|auto   without, with (an error if it does not work), or as found (default)
CHAOSPHERE_DEBUG=1           bounds checks on in the Cython modules

What is compiled stays in build/compiled-*, a folder for each way to compile: an editable install, a wheel and a later
build compile only what changed. Contents decide that, never dates.
"""

import copy
import glob
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from Cython import __version__ as cython_version
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.errors import SetupError

KERNELS = [
    "abi",
    "attention",
    "blocks",
    "causal",
    "expansions",
    "hardmax",
    "harmonics",
    "heads",
    "layer",
    "normals",
    "pairs",
    "prefix",
    "replica_rows",
    "replicas",
    "rows",
    "schedule",
    "sphere",
    "tangent",
]
# What Cython would write into every module, of memoryviews above all: a module of its own, that Cython writes, too.
SHARED = "chaosphere.kernels._cyutility"
IS_DEBUG = os.environ.get("CHAOSPHERE_DEBUG", "0") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": IS_DEBUG,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
}
C_PARTS = sorted(glob.glob("csrc/**/*.[chid]*", recursive=True))
C_HEADERS = ["csrc/chaosphere.h", "csrc/tuning.h", "csrc/activations.def"]
# Python's own flags ask for the debugger's tables, which take long to write and are most of a wheel's bytes.
TABLES = ["-g"] if IS_DEBUG else ["-g0"]
# Not aligned, the speed of a loop depends, by a tenth, on the length of the code before it in the shared library.
ALIGNMENT = ["-falign-functions=64", "-falign-loops=64"]
C_FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-fPIC",
    *ALIGNMENT,
    *TABLES,
]
MODULE_FLAGS = ["-O2", "-ffp-contract=off", *TABLES]  # of the Cython modules: they call the C code, which has the loops
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
# Flags of compiler and linker for OpenMP: of GCC and Clang, then of Apple's Clang, which has no libomp of its own.
OPENMP_FLAGS = [(["-fopenmp"], ["-fopenmp"]), (["-Xpreprocessor", "-fopenmp"], ["-lomp"])]
# What else decides how the C code is compiled.
VARIABLES = [
    "CHAOSPHERE_OPENMP",
    "CHAOSPHERE_DEBUG",
    "CC",
    "CPPFLAGS",
    "CFLAGS",
    "LDFLAGS",
    "ARCHFLAGS",
    "MACOSX_DEPLOYMENT_TARGET",
]
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


def compiled_folder():
    """Where what is compiled stays: a name for the interpreter, Cython, this file and the variables that decide."""
    settings = [sys.version, sysconfig.get_platform(), cython_version, Path(__file__).read_text()]
    settings += [f"{name}={os.environ.get(name)}" for name in VARIABLES]
    return os.path.join("build", f"compiled-{hashlib.sha256(repr(settings).encode()).hexdigest()[:16]}")


def digest(parts):
    """A name for the contents of some files."""
    return hashlib.sha256(repr([Path(part).read_bytes() for part in parts]).encode()).hexdigest()


def update(product, parts, *, folder, build):
    """Build a file unless that was done with these parts; a digest of them is kept in a folder.

    By content, not by date: in each isolated build Cython's files are new, and so is the C that it writes, while a copy
    may have an older date than what it replaces.
    """
    product = Path(product)
    stamp = Path(folder, f"{product.name}.sha256")
    current = digest(parts)
    if product.exists() and stamp.exists() and stamp.read_text() == current:
        return
    for old in (stamp, product):
        old.unlink(missing_ok=True)
    build()
    stamp.write_text(current)


def copy_changed(source, target):
    """Copy a file, or all files of a folder, but those that the target has with the same contents.

    Never by date: modules that were compiled with other settings are older or newer than those in place by chance.
    """
    source = Path(source)
    for part in [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]:
        place = Path(target, part.relative_to(source))
        if not place.exists() or place.read_bytes() != part.read_bytes():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # a process that runs keeps the one that it has loaded
            shutil.copy(part, place)


def write_anew(settings, *, stamp, write):
    """Return write(force=...): by force unless the last call that succeeded had these settings.

    Cython writes a C file where that is older than its sources. It does not see that it was written with others.
    """
    is_current = stamp.exists() and stamp.read_text() == settings
    stamp.unlink(missing_ok=True)
    written = write(force=not is_current)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(settings)
    return written


def c_library(isa):
    """One instruction set's kernels; the baseline library also carries the dispatch."""
    flags, macros = ISA_BUILDS[isa]
    return (
        f"chs_{isa}",
        {
            "sources": ["csrc/isa.c"] + (["csrc/dispatch.c"] if isa == "baseline" else []),
            "include_dirs": ["csrc"],
            "macros": macros,
            "cflags": C_FLAGS + flags,
        },
    )


class BuildLibraries(build_clib):
    """Compiles the instruction sets at the same time, each in a folder of its own: they have one source."""

    def finalize_options(self):
        super().finalize_options()
        self.build_clib = self.build_temp = os.path.join(compiled_folder(), "libraries")

    def build_libraries(self, libraries):
        def build_library(library):
            part = copy.copy(self)
            part.build_temp = os.path.join(self.build_temp, library[0])
            shutil.rmtree(part.build_temp, ignore_errors=True)
            super(BuildLibraries, part).build_libraries([library])

        def update_library(library):
            product = self.compiler.library_filename(library[0], output_dir=self.build_clib)
            update(product, C_PARTS, folder=self.build_clib, build=lambda: build_library(library))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(update_library, libraries))


class BuildExt(build_ext):
    """Adds OpenMP where a small program compiles with it *and runs*; compiles the modules at the same time."""

    def run(self):
        target, self.build_lib = self.build_lib, os.path.join(compiled_folder(), "modules")
        self.build_temp = os.path.join(compiled_folder(), "objects")
        super().run()
        compiled, self.build_lib = self.build_lib, target
        if not self.inplace:
            copy_changed(compiled, target)

    def copy_file(self, infile, outfile, **options):
        """Copy a module into the source tree."""
        copy_changed(infile, outfile)
        return outfile, True

    def build_extensions(self):
        self.parallel = self.parallel or os.cpu_count()
        if self.compiler.compiler_type == "msvc":
            raise SetupError("chaosphere needs GCC or Clang (vector extensions); MSVC cannot build it")
        compile_flags, link_flags = self.openmp_flags(os.environ.get("CHAOSPHERE_OPENMP", "auto"))
        for extension in self.extensions:
            extension.extra_compile_args += compile_flags
            extension.extra_link_args += link_flags
        super().build_extensions()

    def build_extension(self, extension):
        module, build = self.get_ext_fullpath(extension.name), super().build_extension
        parts = [*extension.sources, *extension.depends]
        update(module, parts, folder=self.build_temp, build=lambda: build(extension))

    def openmp_flags(self, wish):
        if wish not in {"0", "1", "auto"}:
            raise SetupError(f"CHAOSPHERE_OPENMP must be 0, 1 or auto, not {wish!r}")
        if wish == "0":
            return [], []
        failures = []
        for flags in OPENMP_FLAGS:
            failure = self.openmp_failure(*flags)
            if failure is None:
                return flags
            failures.append(failure)
        if wish == "1":
            raise SetupError(f"CHAOSPHERE_OPENMP=1, but an OpenMP program failed here: {failures}") from failures[0]
        print("chaosphere: OpenMP does not work with this compiler; building for one thread", file=sys.stderr)
        return [], []

    def openmp_failure(self, compile_flags, link_flags):
        """Why a small program does not compile with these flags and run; None if it does."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(OPENMP_PROGRAM)
            program = str(source.with_suffix(""))
            command = [*self.compiler.compiler_so[:1], *compile_flags, str(source), "-o", program, *link_flags]
            try:
                subprocess.run(command, check=True, capture_output=True)
                subprocess.run([program], check=True, capture_output=True, timeout=60)
            except (OSError, subprocess.SubprocessError) as error:
                return error
        return None


extensions = [
    Extension(
        f"chaosphere.kernels.{name}",
        [f"src/chaosphere/kernels/{name}.pyx"],
        include_dirs=["csrc"],
        extra_compile_args=MODULE_FLAGS,
        # The baseline library, which holds the dispatch, comes before the tables that it refers to.
        libraries=[f"chs_{isa}" for isa in ISA_BUILDS] if name == "abi" else [],
        depends=C_PARTS if name == "abi" else C_HEADERS,
    )
    for name in KERNELS
]
extensions.append(Extension(SHARED, [f"src/{SHARED.replace('.', '/')}.c"], extra_compile_args=MODULE_FLAGS))

setup(
    libraries=[c_library(isa) for isa in ISA_BUILDS],
    ext_modules=write_anew(
        repr((cython_version, DIRECTIVES)),
        stamp=Path("build", "cython.txt"),
        write=partial(cythonize, extensions, compiler_directives=DIRECTIVES, shared_utility_qualified_name=SHARED),
    ),
    cmdclass={"build_ext": BuildExt, "build_clib": BuildLibraries},
)
