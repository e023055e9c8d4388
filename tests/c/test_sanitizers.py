"""The C library alone, under AddressSanitizer and UndefinedBehaviorSanitizer, on buffers of exactly stated sizes."""

import ast
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
TYPES = {"f64": ["-Dreal=double", "-DSUFFIX=f64"], "f32": ["-Dreal=float", "-DSUFFIX=f32"]}
MAINS = ["test_attention", "test_expansions", "test_layer", "test_sphere"]


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


def compile_c(source, target, *flags):
    compiler = shutil.which(os.environ.get("CC", "cc"))
    assert compiler, "no C compiler: the library was built with one, so these tests need it too"
    result = run(
        [compiler, "-std=c11", "-ffp-contract=off", *SANITIZE, f"-I{ROOT / 'csrc'}", *flags, *source, "-o", target]
    )
    assert "cannot find" not in result.stderr, f"the sanitizer runtime (libasan, libubsan) is missing:\n{result.stderr}"
    assert result.returncode == 0, f"{' '.join(map(str, source))} does not compile:\n{result.stderr[:3000]}"


@pytest.fixture(scope="session")
def objects(tmp_path_factory):
    """The library's object files, sanitized, for every instruction set that setup.py names."""
    settings, folder = build_settings(), tmp_path_factory.mktemp("objects")
    macros = [f"-D{name}={value}" for name, value in settings["MACROS"]]
    jobs = [(ROOT / "csrc/dispatch.c", folder / "dispatch.o", [])]
    jobs += [(ROOT / f"csrc/isa_{isa}.c", folder / f"{isa}.o", flags) for isa, flags in settings["ISA_FLAGS"].items()]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: compile_c([job[0]], job[1], "-c", *macros, *job[2]), jobs))
    return [job[1] for job in jobs]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("main", MAINS)
def test_library_under_sanitizers(objects, tmp_path, main, kind):
    compile_c([HERE / f"{main}.c", *objects], tmp_path / main, *TYPES[kind], "-Wall", "-Wextra", "-lm")
    # The library allocates nothing, and the leak checker does not run under every container.
    result = run([tmp_path / main], ASAN_OPTIONS="detect_leaks=0:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1")
    assert result.returncode == 0, result.stderr[:5000]
    assert "baseline" in result.stdout


def test_an_overrun_is_caught(objects, tmp_path):
    compile_c([HERE / "overrun.c", *objects], tmp_path / "overrun", *TYPES["f64"], "-lm")
    result = run([tmp_path / "overrun"], ASAN_OPTIONS="detect_leaks=0:abort_on_error=0")
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr, result.stderr[:3000]
