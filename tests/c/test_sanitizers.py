"""The C library alone, under the sanitizers of GCC and Clang, on buffers of exactly stated sizes."""

import ast
import functools
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
HAS_CLANG = shutil.which("clang") is not None
# .ci/run sets the variable once it has installed Clang: there nothing is left out.
needs_clang = pytest.mark.skipif(not HAS_CLANG and not os.environ.get("CHAOSPHERE_REQUIRE_CLANG"), reason="needs clang")
ADDRESS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
MEMORY = ["-fsanitize=memory", "-fno-sanitize-recover=all"]
OPTIMISED, PLAIN = ["-O1", *ADDRESS], ["-O0", *ADDRESS]
# Compiler, its flags, and those for wider instruction sets than the baseline, None to leave these out. For Clang they
# are fewer, for the sake of time: UndefinedBehaviorSanitizer takes most of it, and that of GCC sees all sets.
BUILDS = {
    "gcc": (os.environ.get("CC", "cc"), OPTIMISED, OPTIMISED),
    "clang": ("clang", PLAIN, ["-O0", "-fsanitize=address"]),
    "clang-memory": ("clang", ["-O0", *MEMORY], None),
}
PARAMETERS = [pytest.param(name, marks=[needs_clang] * name.startswith("clang")) for name in BUILDS]
TYPES = {"f64": ["-Dreal=double", "-DSUFFIX=f64"], "f32": ["-Dreal=float", "-DSUFFIX=f32"]}
OUT_OF_BOUNDS = [("overrun", "heap-buffer-overflow"), ("misaligned", "misaligned address")]
FAULTS = {
    "gcc": OUT_OF_BOUNDS,
    "clang": OUT_OF_BOUNDS,
    "clang-memory": [("uninitialised", "use-of-uninitialized-value")],
}
MAINS = ["test_attention", "test_expansions", "test_layer", "test_sphere", "test_zero"]


def build_settings():
    """The names that setup.py defines, without running its setup()."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    kept = [node for node in tree.body if isinstance(node, ast.Assign | ast.If | ast.Import)]
    kept = [node for node in kept if not (isinstance(node, ast.Assign) and node.targets[0].id == "extensions")]
    names = {}
    exec(compile(ast.Module(kept, []), "setup.py", "exec"), names)
    return names


def run(command, **environment):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | environment, check=False
    )


def compile_c(sources, target, *flags, compiler):
    assert shutil.which(compiler), f"{compiler} is needed here"
    result = run(
        [compiler, "-std=c11", "-ffp-contract=off", "-g1", f"-I{ROOT / 'csrc'}", *flags, *sources, "-o", target]
    )
    assert "cannot find" not in result.stderr, f"a library is missing, of the sanitizers perhaps:\n{result.stderr}"
    assert result.returncode == 0, f"{' '.join(map(str, sources))} does not compile:\n{result.stderr[:3000]}"


def compile_library(folder, flags, *, wide_flags, compiler):
    """Object files of the library, for every instruction set that setup.py names or for the baseline alone."""
    settings = build_settings()
    sets = {isa: [*(wide_flags or []), *isa_flags] for isa, isa_flags in settings["ISA_FLAGS"].items()}
    sets = (sets if wide_flags else {}) | {"baseline": flags}
    macros = [f"-D{name}={value}" for name, value in settings["MACROS"] if wide_flags]
    jobs = [("dispatch", flags), *((f"isa_{isa}", isa_flags) for isa, isa_flags in sets.items())]

    def compile_part(job):
        name, part_flags = job
        compile_c([ROOT / "csrc" / f"{name}.c"], folder / f"{name}.o", "-c", *part_flags, *macros, compiler=compiler)
        return folder / f"{name}.o"

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compile_part, jobs))


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """A function from the name of a build to the object files of its library, compiled once."""

    @functools.cache
    def library(name):
        compiler, flags, wide_flags = BUILDS[name]
        return compile_library(tmp_path_factory.mktemp(name), flags, wide_flags=wide_flags, compiler=compiler)

    return library


@pytest.fixture(params=PARAMETERS)
def build(request, libraries):
    """A function that compiles and runs a program with one build of the library."""
    compiler, flags, _ = BUILDS[request.param]
    objects = libraries(request.param)

    def program(name, target, *more):
        compile_c([HERE / f"{name}.c", *objects], target, *flags, *more, "-Wall", "-Wextra", "-lm", compiler=compiler)
        # The library allocates nothing, and the leak checker does not run under every container.
        return run([target], ASAN_OPTIONS="detect_leaks=0:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1")

    return program


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("main", MAINS)
def test_library_under_sanitizers(build, tmp_path, main, kind):
    result = build(main, tmp_path / main, *TYPES[kind])
    assert result.returncode == 0, result.stderr[:5000]
    assert "baseline" in result.stdout


@pytest.mark.parametrize(
    ("build", "fault", "message"),
    [
        pytest.param(name, *fault, marks=[needs_clang] * name.startswith("clang"))
        for name, faults in FAULTS.items()
        for fault in faults
    ],
    indirect=["build"],
)
def test_a_fault_is_caught(build, tmp_path, fault, message):
    """Each sanitizer sees the fault that is put in for it."""
    result = build(fault, tmp_path / fault, *TYPES["f64"])
    assert result.returncode != 0
    assert message in result.stderr, result.stderr[:3000]
