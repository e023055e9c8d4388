"""The C library alone, under the sanitizers of GCC and Clang, on buffers of exactly stated sizes."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.builds import build_settings

from chaosphere.kernels import abi

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
HAS_CLANG = shutil.which("clang") is not None
# .ci/run sets the variable once it has installed Clang: there nothing is left out.
needs_clang = pytest.mark.skipif(not HAS_CLANG and not os.environ.get("CHAOSPHERE_REQUIRE_CLANG"), reason="needs clang")
FATAL = "-fno-sanitize-recover=all"
UNDEFINED, ADDRESS, MEMORY = (f"-fsanitize={name}" for name in ("undefined", "address", "memory"))
GCC = os.environ.get("CC", "cc")
# With these checks a compiler takes twice as long; AddressSanitizer sees most of it, and clang-undefined has them.
LEFT_OUT = "-fno-sanitize=null,pointer-overflow,object-size"
# Compiler, its flags, the instruction sets ("all" that run here, the "widest", or one), and faults that it must see.
# Each takes long to compile: where Clang is, one build has two sanitizers, and all others are slow cases.
BUILDS = {
    "clang-address-undefined": (
        "clang",
        ["-O0", ADDRESS, UNDEFINED, LEFT_OUT, FATAL],
        "widest",
        ["overrun", "misaligned"],
    ),
    "clang-memory": ("clang", ["-O0", MEMORY, FATAL], "baseline", ["uninitialised"]),
    "clang-undefined": ("clang", ["-O0", UNDEFINED, FATAL], "all", ["misaligned"]),
    "gcc-undefined": (GCC, ["-O1", UNDEFINED, LEFT_OUT, FATAL], "all", ["misaligned"]),
    "gcc-address": (GCC, ["-O1", ADDRESS], "all", ["overrun"]),
}
SLOW = {"clang-memory", "clang-undefined"} | ({"gcc-undefined", "gcc-address"} if HAS_CLANG else set())
PARAMETERS = [
    pytest.param(name, marks=[needs_clang] * name.startswith("clang") + [pytest.mark.slow] * (name in SLOW))
    for name in BUILDS
]
TYPES = {"f64": ["-Dreal=double", "-DSUFFIX=f64"], "f32": ["-Dreal=float", "-DSUFFIX=f32"]}
# Programs with a fault, and what a sanitizer says of it.
FAULTS = {
    "misaligned": "misaligned address",
    "overrun": "heap-buffer-overflow",
    "uninitialised": "use-of-uninitialized-value",
}
MAINS = [
    "test_attention",
    "test_expansions",
    "test_hardmax",
    "test_layer",
    "test_normals",
    "test_potential",
    "test_replica_rows",
    "test_replicas",
    "test_sphere",
    "test_tangent",
    "test_zero",
]


def run(command, **environment):
    """The time is only that of what hangs: a busy machine takes minutes for one instruction set."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=1200, env=os.environ | environment, check=False
    )


def compile_c(sources, target, *flags, compiler):
    assert shutil.which(compiler), f"{compiler} is needed here"
    result = run(
        [compiler, "-std=c11", "-ffp-contract=off", "-g1", f"-I{ROOT / 'csrc'}", *flags, *sources, "-o", target]
    )
    assert "cannot find" not in result.stderr, f"a library is missing, of the sanitizers perhaps:\n{result.stderr}"
    assert result.returncode == 0, f"{' '.join(map(str, sources))} does not compile:\n{result.stderr[:3000]}"


def compile_library(folder, flags, *, compiler, settings, only=None, machine=None):
    """Object files of the library, for every instruction set that runs here, or for one, that of a machine perhaps.

    With one, the baseline is there, too, without the flags: some programs compare with it. The settings are those of
    `build_settings`, for this library alone: it changes them.
    """
    if only is None:
        settings["ISAS"] = [row for row in settings["ISAS"] if abi.isa_runs(row[0])]
    builds = settings["isa_builds"](machine or settings["MACHINE"])
    if only is not None:
        names = dict.fromkeys(["baseline", only])
        macro = {"CHS_ISAS": " ".join(f"ISA({name}, 1)" for name in names)}
        builds = {name: (builds[name][0], (dict(builds[name][1]) | macro).items()) for name in names}

    def compile_part(job):
        source, name, more_flags, macros = job
        defined = [f"-D{key}={value}" for key, value in macros]
        own_flags = flags if only in (None, name) else ["-O0"]
        compile_c(
            [ROOT / "csrc" / f"{source}.c"],
            folder / f"{name}.o",
            "-c",
            *own_flags,
            *more_flags,
            *defined,
            compiler=compiler,
        )
        return folder / f"{name}.o"

    jobs = [("dispatch", "dispatch", [], builds["baseline"][1])]
    jobs += [("isa", isa, isa_flags, macros) for isa, (isa_flags, macros) in builds.items()]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compile_part, jobs))


def only_one(build):
    """The one instruction set of a build, None for all."""
    isas = BUILDS[build][2]
    if isas == "widest":
        return [row[0] for row in build_settings()["ISAS"] if abi.isa_runs(row[0])][-1]
    return None if isas == "all" else isas


PROGRAMS = pytest.StashKey["Programs"]()


class Programs:
    """Programs compiled with sanitized libraries and run, two at a time, in the background."""

    def __init__(self, folder, builds):
        self.folder = folder
        self.pool = ThreadPoolExecutor(2)
        # Not by these threads: Python 3.11 cannot parse in two at once.
        self.settings = {build: build_settings() for build in builds}
        self.only = {build: only_one(build) for build in builds}
        # Libraries first: a program that waits for its own then never keeps another from being compiled.
        self.libraries = {build: self.pool.submit(self._library, build) for build in builds}
        keys = [(build, main, kind) for build in builds for main in MAINS for kind in TYPES]
        keys += [(build, fault, "f64") for build in builds for fault in BUILDS[build][-1]]
        self.results = {key: self.pool.submit(self._run, *key) for key in keys}

    def _library(self, build):
        compiler, flags, *_ = BUILDS[build]
        (self.folder / build).mkdir()
        several = {"compiler": compiler, "settings": self.settings[build], "only": self.only[build]}
        return compile_library(self.folder / build, flags, **several)

    def _run(self, build, name, kind):
        compiler, flags, *_ = BUILDS[build]
        objects, target = self.libraries[build].result(), self.folder / build / f"{name}-{kind}"
        only = self.only[build]
        warned = [*TYPES[kind], *([] if only is None else [f'-DONLY="{only}"']), "-Wall", "-Wextra", "-lm"]
        compile_c([HERE / f"{name}.c", *objects], target, *flags, *warned, compiler=compiler)
        # The library allocates nothing, and the leak checker does not run under every container.
        return run([target], ASAN_OPTIONS="detect_leaks=0:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1")

    def close(self):
        self.pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.folder)

    def result(self, build, name, kind):
        """What a program did, or raise what its compilation raised."""
        return self.results[build, name, kind].result()


def builds_of(items):
    """The builds that the collected tests ask for, in the order of BUILDS, without those whose compiler is missing."""
    names = {item.callspec.params["build"] for item in items if "programs" in getattr(item, "fixturenames", ())}
    return [build for build in BUILDS if build in names and (HAS_CLANG or not build.startswith("clang"))]


@pytest.fixture(scope="session")
def programs(request, tmp_path_factory):
    """The programs, which conftest.py has started unless workers of pytest-xdist share the tests."""
    started = request.config.stash.get(PROGRAMS, None)
    if started is not None:
        yield started
        return
    own = Programs(tmp_path_factory.mktemp("programs"), builds_of(request.session.items))
    yield own
    own.close()


@pytest.mark.parametrize("build", PARAMETERS)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("main", MAINS)
def test_library_under_sanitizers(programs, build, main, kind):
    result = programs.result(build, main, kind)
    assert result.returncode == 0, result.stderr[:5000]
    assert result.stdout.split()[-1:] == [only_one(build) or only_one("clang-address-undefined")]  # the widest is last


@pytest.mark.parametrize("build", PARAMETERS)
def test_a_fault_is_caught(programs, build):
    """Each sanitizer sees the fault that is put in for it."""
    for fault in BUILDS[build][-1]:
        result = programs.result(build, fault, "f64")
        assert result.returncode != 0
        assert FAULTS[fault] in result.stderr, result.stderr[:3000]
