"""What the object files contain: prefixed names, no state that changes, no calls that a library must not make."""

import ast
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaosphere.kernels import abi

ROOT = Path(__file__).parent.parent.parent
# All that the C library may ask of others: libm, memory blocks, and what the compiler inserts (processor features; the
# linker's own table). A list of what is allowed, not of what is forbidden: malloc, printf, exit, getenv, signal and
# whatever else one may think of are not in it.
ALLOWED = {"cos", "exp2", "sin", "sqrt", "memcpy", "memset", "memcmp", "strcmp", "sincos"}
COMPILER_OWN = {"_GLOBAL_OFFSET_TABLE_", "__cpu_model", "__cpu_indicator_init", "__stack_chk_fail"}


def build_settings():
    """The names that setup.py defines, without running its setup()."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    kept = [node for node in tree.body if isinstance(node, ast.Assign | ast.FunctionDef | ast.Import)]
    kept = [node for node in kept if not (isinstance(node, ast.Assign) and node.targets[0].id == "extensions")]
    names = {}
    exec(compile(ast.Module(kept, []), "setup.py", "exec"), names)
    return names


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True, timeout=120).stdout


def symbols(path):
    """(name, class, section) of every symbol of an object file, from nm's System V format."""
    rows = [line.split("|") for line in run("nm", "-f", "sysv", path).splitlines() if line.count("|") == 6]
    return [(row[0].strip(), row[2].strip(), row[6].strip()) for row in rows]


@pytest.fixture(scope="module")
def object_files(tmp_path_factory):
    """The C library compiled with the flags of the build but -O0, for time: one object file per source."""
    settings, folder = build_settings(), tmp_path_factory.mktemp("objects")
    compiler = shutil.which(os.environ.get("CC", "cc"))
    assert compiler, "no C compiler: the library was built with one, so these tests need it too"
    builds = settings["ISA_BUILDS"]
    jobs = [("dispatch", "dispatch", [], builds["baseline"][1])]
    jobs += [("isa", f"isa_{isa}", flags, macros) for isa, (flags, macros) in builds.items()]

    def build(job):
        source, name, flags, macros = job
        target, defined = folder / f"{name}.o", [f"-D{key}={value}" for key, value in macros]
        run(compiler, *settings["C_FLAGS"], "-O0", *flags, *defined, "-c", ROOT / "csrc" / f"{source}.c", "-o", target)
        return target

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(build, jobs))


def is_mutable(kind, section):
    """Whether a symbol is data that a program could change.

    Constant tables of pointers need relocation in position-independent code: they sit in .data.rel.ro, which nm calls
    data, but which the loader makes read-only before the program starts.
    """
    return kind in "dDbBsSgGC" and not section.startswith(".data.rel.ro")


def test_global_names_carry_the_prefix(object_files):
    names = {name for path in object_files for name, kind, _ in symbols(path) if kind.isupper() and kind not in "UVW"}
    assert {"chs_kernels_for", "chs_isa_name", "chs_isa_runs", "chs_activation_name", "chs_table_baseline"} <= names
    assert {name for name in names if not name.startswith("chs_")} == set()


def test_no_data_that_changes(object_files):
    mutable = {path.name: [row for row in symbols(path) if is_mutable(*row[1:])] for path in object_files}
    assert mutable == {path.name: [] for path in object_files}


def test_calls_nothing_but_mathematics_and_memory(object_files):
    used = {name for path in object_files for name, kind, _ in symbols(path) if kind == "U"}
    foreign = {re.sub(r"@.*", "", name) for name in used if not name.startswith("chs_")}
    assert "exp2" in foreign  # attend_rows needs it: the list is not empty by accident
    assert foreign <= ALLOWED | COMPILER_OWN, foreign - ALLOWED - COMPILER_OWN


def test_the_checks_themselves(tmp_path):
    (tmp_path / "bad.c").write_text(
        "#include <stdlib.h>\nstatic int counter = 1; static int zero; const int constant = 3;\n"
        "static const char *const names[] = {&((const char *)&constant)[0]};\n"
        "int *leak(int i) { counter += i + zero++; return names[i] ? malloc(counter) : 0; }\n"
    )
    settings = build_settings()
    run(os.environ.get("CC", "cc"), *settings["C_FLAGS"], "-c", tmp_path / "bad.c", "-o", tmp_path / "bad.o")
    rows = symbols(tmp_path / "bad.o")
    assert {name for name, *row in rows if is_mutable(*row)} == {"counter", "zero"}
    assert ("malloc", "U") in {row[:2] for row in rows}
    assert ("leak", "T") in {row[:2] for row in rows}


@pytest.mark.parametrize("module", build_settings()["KERNELS"])
def test_extension_modules_export_their_start_alone(module):
    (shared,) = Path(abi.__file__).parent.glob(f"{module}.*.so")
    rows = [line.split() for line in run("nm", "-D", "--defined-only", shared).splitlines()]
    names = {row[-1] for row in rows if not row[-1].startswith(("__pyx_module_is_main_", "_init", "_fini"))}
    assert names == {f"PyInit_{module}"}  # the marker is Cython's own
